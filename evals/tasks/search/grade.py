"""Does the search find what was asked for, count it, and page through it?"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from evals.workspace import Statements, Workspace

INSERT = (
    "INSERT INTO tickets (id, organization_id, title, description, status, created_at, deleted_at)"
    " VALUES (:id, :organization, :title, :description, :status,"
    " timestamptz '2026-03-01T00:00:00Z' + :id * interval '1 minute',"
    " CASE WHEN :deleted THEN now() END)"
)


def desk(work: Workspace) -> None:
    """The tables and three tags; the search can be imported."""
    work.module("search")
    work.module("models").Base.metadata.create_all(work.engine())
    work.rows("INSERT INTO tags (id, name) VALUES (1, 'vip'), (2, 'late'), (3, 'angry')")


def ticket(
    work: Workspace,
    number: int,
    title: str = "Printer",
    description: str = "It smokes",
    *,
    status: str = "open",
    organization: int = 1,
    deleted: bool = False,
    tags: tuple[int, ...] = (),
) -> None:
    """Insert a ticket, a minute younger than the one before."""
    work.rows(
        INSERT,
        id=number,
        organization=organization,
        title=title,
        description=description,
        status=status,
        deleted=deleted,
    )
    for tag in tags:
        work.rows("INSERT INTO ticket_tags VALUES (:number, :tag)", number=number, tag=tag)


def found(work: Workspace, organization: int = 1, **filters: Any) -> tuple[list[int], int]:
    """The ids of a page and the number of hits."""
    with Session(work.engine()) as session:
        page, total = work.module("search").search_tickets(session, organization, **filters)
        return [hit.id for hit in page], total


def check_words_as_typed(work: Workspace) -> None:
    """100%, a_b and a backslash are found as typed, in title and description, in any case"""
    desk(work)
    ticket(work, 1, "Disk at 100% again")
    ticket(work, 2, "Disk at 100 degrees")
    ticket(work, 3, "Printer", "the file a_b is gone")
    ticket(work, 4, "Printer", "the file axb is gone")
    ticket(work, 5, "Share C:\\temp is full")
    expected = {
        "100%": [1],
        "a_b": [3],
        "A_B": [3],
        "c:\\Temp": [5],
        "%": [1],
        "_": [3],
        "PRINTER": [4, 3],
    }
    for word, ids in expected.items():
        told = found(work, text=word)
        assert told == (ids, len(ids)), f"{word!r}: told {told}, expected {ids}"


def check_all_tags(work: Workspace) -> None:
    """Of two tags both are needed; a hit is listed and counted once, with all of its tags"""
    desk(work)
    ticket(work, 1, tags=(1,))
    ticket(work, 2, tags=(1, 2, 3))
    ticket(work, 3, tags=(2,))
    ticket(work, 4, tags=(1, 2))
    assert found(work, tags=["vip", "late"]) == ([4, 2], 2), found(work, tags=["vip", "late"])
    assert found(work, tags=["vip"]) == ([4, 2, 1], 3), found(work, tags=["vip"])
    assert found(work, tags=["vip", "unknown"]) == ([], 0), found(work, tags=["vip", "unknown"])
    with Session(work.engine()) as session:
        page, _ = work.module("search").search_tickets(session, 1, tags=["angry"])
        names = [sorted(tag.name for tag in hit.tags) for hit in page]
    assert names == [["angry", "late", "vip"]], f"its tags: {names}"


def check_number_beyond_the_end(work: Workspace) -> None:
    """The number of hits is right on a page beyond the last"""
    desk(work)
    for number in range(1, 8):
        ticket(work, number, tags=(1, 2))
    assert found(work, limit=3) == ([7, 6, 5], 7), found(work, limit=3)
    assert found(work, limit=3, offset=6) == ([1], 7), found(work, limit=3, offset=6)
    assert found(work, limit=3, offset=9) == ([], 7), found(work, limit=3, offset=9)


def check_empty_list(work: Workspace) -> None:
    """An empty list of statuses finds nothing; None finds all"""
    desk(work)
    ticket(work, 1)
    ticket(work, 2, status="solved")
    assert found(work, statuses=["solved"]) == ([2], 1), found(work, statuses=["solved"])
    assert found(work, statuses=None) == ([2, 1], 2), found(work, statuses=None)
    assert found(work, statuses=[]) == ([], 0), f"of no status: {found(work, statuses=[])}"


def check_hidden(work: Workspace) -> None:
    """Deleted tickets and those of other organizations are neither listed nor counted"""
    desk(work)
    ticket(work, 1, "Laptop", tags=(1,))
    ticket(work, 2, "Laptop", deleted=True, tags=(1,))
    ticket(work, 3, "Other", "the laptop", organization=2, tags=(1,))
    told = found(work, text="laptop", tags=["vip"], statuses=["open"])
    assert told == ([1], 1), f"told {told}"
    assert found(work, text="laptop", organization=2) == ([3], 1), "the other organization's"


def check_pages(work: Workspace) -> None:
    """Pages of equally old tickets show each once, newest first"""
    desk(work)
    work.rows(
        "INSERT INTO tickets (id, organization_id, title, description, status, created_at)"
        " SELECT n, 1, 'Printer', 'It smokes', 'open', timestamptz '2026-03-01T00:00:00Z'"
        " FROM generate_series(1, 90) AS n"
    )
    ticket(work, 91)
    seen: list[int] = []
    for offset in range(0, 91, 7):
        seen += found(work, limit=7, offset=offset)[0]
        # A row that is written moves on the disk, and with it in a sort without a tie-breaker.
        work.rows("UPDATE tickets SET description = 'new' WHERE id = :id", id=offset + 1)
    assert seen[0] == 91, f"the newest is {seen[0]}"
    assert sorted(seen) == list(range(1, 92)), "shown twice or never: " + ", ".join(
        str(number) for number in range(1, 92) if seen.count(number) != 1
    )


def check_few_statements(work: Workspace) -> None:
    """Twenty hits take no more statements than two, the reading of their tags included"""
    desk(work)
    engine = work.engine()
    few, many = (statements_of(work, engine, numbers) for numbers in (range(1, 3), range(3, 21)))
    assert many.count <= few.count, f"{few.count} for two, for twenty {many}"


def statements_of(work: Workspace, engine: Engine, numbers: range) -> Statements:
    """What a search takes once these tickets are there too."""
    for number in numbers:
        ticket(work, number, tags=(1, 2))
    with Session(engine) as session, work.statements(engine) as seen:
        page, _ = work.module("search").search_tickets(session, 1, text="print", tags=["vip"])
        names = {tag.name for hit in page for tag in hit.tags}
    assert len(page) == numbers.stop - 1, f"{len(page)} hits"
    assert names == {"late", "vip"}, f"tags {names}"
    return seen
