"""Is the schema right: for the ORM, for plain SQL, and for asyncio?"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from evals.workspace import Workspace, must_raise


def created(work: Workspace) -> ModuleType:
    """The module, its tables in the database."""
    models = work.module("models")
    models.Base.metadata.create_all(work.engine())
    return models


def plain_ticket(work: Workspace) -> int:
    """A ticket made by plain SQL that names only what it must; its id."""
    organization = work.value(
        "INSERT INTO organizations (name, slug) VALUES ('Acme', 'acme') RETURNING id"
    )
    user = work.value(
        "INSERT INTO users (email, full_name, organization_id)"
        " VALUES ('ann@example.org', 'Ann', :organization) RETURNING id",
        organization=organization,
    )
    return int(
        work.value(
            "INSERT INTO tickets (title, description, organization_id, creator_id)"
            " VALUES ('Printer', 'It smokes', :organization, :creator) RETURNING id",
            organization=organization,
            creator=user,
        )
    )


def member(kind: Iterable[Any], word: str) -> Any:
    """The member of an enumeration that is *word*, by its value or by its name."""
    found = [each for each in kind if word in (each.value, each.name.lower())]
    assert found, f"none of {list(kind)} is {word}"
    return found[0]


def new_ticket(models: ModuleType) -> Any:
    """A ticket with its creator and its organization, not yet added."""
    organization = models.Organization(name="Acme", slug="acme")
    creator = models.User(email="ann@example.org", full_name="Ann", organization=organization)
    return models.Ticket(
        title="Printer",
        description="It smokes",
        organization=organization,
        creator=creator,
        status=member(models.TicketStatus, "open"),
        priority=member(models.TicketPriority, "normal"),
    )


def check_foreign_keys_are_indexed(work: Workspace) -> None:
    """Every foreign key has an index that begins with its column"""
    created(work)
    keys = work.rows(
        "SELECT conrelid::regclass::text, conkey[1] FROM pg_constraint WHERE contype = 'f'"
    )
    assert len(keys) >= 6, f"only {len(keys)} foreign keys"
    bare = work.rows(
        "SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint c"
        " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
        " WHERE c.contype = 'f' AND NOT EXISTS (SELECT 1 FROM pg_index i"
        "   WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1] AND ("
        # What is NULL refers to nobody.
        "     i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid)"
        "       = format('(%I IS NOT NULL)', a.attname)))"
        " ORDER BY 1, 2"
    )
    assert not bare, "without an index: " + ", ".join(f"{row[0]}.{row[1]}" for row in bare)


def check_status_by_value(work: Workspace) -> None:
    """A status is stored as 'open', not 'OPEN', and the database refuses another word"""
    models = created(work)
    with Session(work.engine()) as session:
        session.add(new_ticket(models))
        session.commit()
    stored = work.value("SELECT status::text FROM tickets")
    assert stored == "open", f"stored {stored!r}"
    with must_raise(DBAPIError):
        work.rows("UPDATE tickets SET status = 'nonsense'")


def check_plain_sql_gets_defaults(work: Workspace) -> None:
    """A ticket that plain SQL inserts without status, priority and times gets them all"""
    created(work)
    plain_ticket(work)
    row = work.rows("SELECT status::text, priority::text, created_at, updated_at FROM tickets")[0]
    assert row[0] == "open", f"status {row[0]!r}"
    assert all(value is not None for value in row), f"got {tuple(row)}"


def check_times_have_a_zone(work: Workspace) -> None:
    """No column holds a time without its zone"""
    created(work)
    columns = work.rows(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type LIKE 'timestamp%' ORDER BY 1, 2"
    )
    assert len(columns) >= 3, f"only {len(columns)} times"
    naive = [f"{row[0]}.{row[1]}" for row in columns if row[2] != "timestamp with time zone"]
    assert not naive, f"without a zone: {naive}"


def check_email_is_one_in_any_case(work: Workspace) -> None:
    """A second user whose e-mail differs only by case is refused by the database"""
    created(work)
    work.rows("INSERT INTO organizations (name, slug) VALUES ('Acme', 'acme')")
    insert = (
        "INSERT INTO users (email, full_name, organization_id)"
        " SELECT :email, 'Other', id FROM organizations"
    )
    work.rows(insert, email="ann@example.org")
    work.rows(insert, email="bob@example.org")
    with must_raise(DBAPIError):
        work.rows(insert, email="Ann@Example.org")


def check_search_vector(work: Workspace) -> None:
    """The search vector is filled, follows an UPDATE of plain SQL, and has a GIN index"""
    models = created(work)
    with Session(work.engine()) as session:
        session.add(new_ticket(models))
        session.commit()
    find = "SELECT count(*) FROM tickets WHERE search_vector @@ plainto_tsquery('simple', :word)"
    assert work.value(find, word="printer") == 1, "a word of the title is not found"
    work.rows("UPDATE tickets SET title = 'Laptop'")
    assert work.value(find, word="laptop") == 1, "a word of the changed title is not found"
    assert work.value(find, word="printer") == 0, "a word of the old title is still found"
    index = work.value(
        "SELECT count(*) FROM pg_indexes WHERE tablename = 'tickets'"
        " AND indexdef ILIKE '%using gin%search_vector%'"
    )
    assert index, "no GIN index on search_vector"


def check_updated_at_on_asyncio(work: Workspace) -> None:
    """After a flush on asyncio updated_at can be read, and it has moved"""
    models = created(work)

    async def story() -> None:
        engine = work.async_engine()
        async with AsyncSession(engine, expire_on_commit=False) as session:
            ticket = new_ticket(models)
            session.add(ticket)
            await session.commit()
            first = ticket.updated_at
            ticket.title = "Laptop"
            await session.flush()
            in_memory = ticket.updated_at  # MissingGreenlet, where the flush did not fetch it
            await session.commit()
            await session.refresh(ticket)
            assert ticket.updated_at > first, "updated_at stands still"
            assert in_memory == ticket.updated_at, "memory and database differ"

    work.run(story())
