"""Can everything that the service returns be read, on asyncio?"""

from __future__ import annotations

from types import ModuleType

from sqlalchemy.ext.asyncio import AsyncEngine

from evals.workspace import Workspace


def desk(work: Workspace) -> tuple[ModuleType, AsyncEngine]:
    """The service, and the tables with two users and one tag."""
    service = work.module("service")
    work.module("models").Base.metadata.create_all(work.engine())
    work.rows("INSERT INTO users (id, name) VALUES (1, 'Ann'), (2, 'Bob')")
    work.rows("INSERT INTO tags (name) VALUES ('vip')")
    return service, work.async_engine()


def some_tickets(work: Workspace) -> None:
    """Tickets 1 to 40 of Ann's, the first with comments and tags, in the wrong order."""
    work.rows(
        "INSERT INTO tickets (id, title, creator_id)"
        " SELECT n, 'Ticket ' || n, 1 FROM generate_series(1, 40) AS n"
    )
    work.rows("SELECT setval(pg_get_serial_sequence('tickets', 'id'), 40)")
    work.rows("INSERT INTO tags (id, name) VALUES (11, 'late'), (12, 'angry')")
    work.rows("INSERT INTO ticket_tags (ticket_id, tag_id) VALUES (1, 11), (1, 12)")
    work.rows(
        "INSERT INTO comments (ticket_id, body, created_at) VALUES"
        " (1, 'third', '2026-03-03T00:00:00Z'), (1, 'first', '2026-03-01T00:00:00Z'),"
        " (1, 'second', '2026-03-02T00:00:00Z'), (2, 'other', '2026-03-02T00:00:00Z')"
    )


FIRST = {
    "id": 1,
    "title": "Ticket 1",
    "creator": "Ann",
    "tags": ["angry", "late"],
    "comments": ["first", "second", "third"],
}


def check_new_ticket_can_be_read(work: Workspace) -> None:
    """After commit and close, id, created_at, creator and tags of a new ticket can be read"""
    service, engine = desk(work)

    async def story() -> None:
        async with service.make_factory(engine)() as session:
            ticket = await service.create_ticket(session, "Printer", 2, ["vip", "late"])
            bare = await service.create_ticket(session, "Laptop", 1, [])
            await session.commit()
        assert ticket.id, "no id"
        assert ticket.created_at.tzinfo is not None, "created_at has no zone"
        assert ticket.creator.name == "Bob", f"creator {ticket.creator.name}"
        names = sorted(tag.name for tag in ticket.tags)
        assert names == ["late", "vip"], f"tags {names}"
        assert list(bare.tags) == [], "tags of a ticket without tags"

    work.run(story())


def check_rename(work: Workspace) -> None:
    """rename_ticket returns the title and the updated_at that the database holds after it"""
    service, engine = desk(work)
    some_tickets(work)
    before = work.value("SELECT updated_at FROM tickets WHERE id = 1")

    async def story() -> None:
        async with service.make_factory(engine)() as session:
            told = await service.rename_ticket(session, 1, "Laptop")
            await session.commit()
        title, changed = work.rows("SELECT title, updated_at FROM tickets WHERE id = 1")[0]
        assert title == "Laptop", f"the database holds {title!r}"
        assert changed > before, "updated_at stands still in the database"
        assert told["title"] == "Laptop", f"told {told}"
        assert told["updated_at"] == changed, f"told {told['updated_at']}, holds {changed}"

    work.run(story())


def check_detail(work: Workspace) -> None:
    """ticket_detail tells creator, sorted tags and comments oldest first; None for no ticket"""
    service, engine = desk(work)
    some_tickets(work)

    async def story() -> None:
        async with service.make_factory(engine)() as session:
            told = await service.ticket_detail(session, 1)
            assert told == FIRST, f"told {told}"
            assert await service.ticket_detail(session, 999) is None, "something for no ticket"

    work.run(story())


def check_all_at_once(work: Workspace) -> None:
    """load_details keeps the order asked for, None for the missing, with a pool of two"""
    service, _ = desk(work)
    some_tickets(work)
    wanted = [7, 1, 999, *range(40, 10, -1)]

    async def story() -> None:
        small = work.async_engine(pool_size=2, max_overflow=0, pool_timeout=20)
        told = await service.load_details(small, wanted)
        ids = [detail and detail["id"] for detail in told]
        assert ids == [None if number == 999 else number for number in wanted], f"told {ids}"
        assert told[1] == FIRST, f"told {told[1]}"
        assert await service.load_details(small, []) == [], "something for no ids"

    work.run(story())


def check_tags_are_made_once(work: Workspace) -> None:
    """A tag named twice is made once, and one that exists is taken"""
    service, engine = desk(work)

    async def story() -> None:
        async with service.make_factory(engine)() as session:
            await service.create_ticket(session, "Printer", 1, ["vip", "late", "late"])
            await service.create_ticket(session, "Laptop", 1, ["late"])
            await session.commit()

    work.run(story())
    names = [row[0] for row in work.rows("SELECT name FROM tags ORDER BY name")]
    assert names == ["late", "vip"], f"tags {names}"
    links = work.value("SELECT count(*) FROM ticket_tags")
    assert links == 3, f"{links} links"


def check_rollback(work: Workspace) -> None:
    """The caller's rollback undoes create_ticket and rename_ticket"""
    service, engine = desk(work)
    some_tickets(work)

    async def story() -> None:
        async with service.make_factory(engine)() as session:
            await service.create_ticket(session, "Printer", 1, ["new"])
            await service.rename_ticket(session, 1, "Laptop")
            await session.rollback()

    work.run(story())
    assert work.value("SELECT count(*) FROM tickets") == 40, "the ticket stayed"
    assert work.value("SELECT title FROM tickets WHERE id = 1") == "Ticket 1", "the title stayed"
    assert not work.value("SELECT count(*) FROM tags WHERE name = 'new'"), "the tag stayed"
