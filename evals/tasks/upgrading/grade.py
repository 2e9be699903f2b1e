"""Does the code of 2.0 do on 2.1 what it did?"""

from __future__ import annotations

import warnings
from types import ModuleType

from sqlalchemy import Engine
from sqlalchemy.exc import SADeprecationWarning
from sqlalchemy.orm import Session

from evals.workspace import Workspace


def plain_url(work: Workspace) -> str:
    """The URL as it was given to 2.0: it names no driver."""
    return work.url().replace("+psycopg2", "", 1)


def desk(work: Workspace) -> tuple[ModuleType, Engine]:
    """The module; its tables with two users, of the ids 1 and 2."""
    module = work.module("desk")
    engine = work.engine()
    module.create_desk(engine)
    work.rows("INSERT INTO users (email) VALUES ('ann@example.org'), ('bob@example.org')")
    return module, engine


def ticket(work: Workspace, number: int, creator: int, labels: str = "{}") -> None:
    """Insert a ticket by plain SQL."""
    work.rows(
        "INSERT INTO tickets (number, title, status, labels, creator_id) VALUES"
        " (:number, 'Printer', 'open', CAST(:labels AS text[]), :creator)",
        number=number,
        creator=creator,
        labels=labels,
    )


def check_engine(work: Workspace) -> None:
    """make_engine connects by a postgresql:// URL; add_user says False for a taken e-mail"""
    module, _ = desk(work)
    engine = module.make_engine(plain_url(work))
    with Session(engine) as session:
        assert module.add_user(session, "eve@example.org") is True, "a free e-mail"
        assert module.add_user(session, "ann@example.org") is False, "a taken e-mail"
        session.commit()
    engine.dispose()
    assert work.value("SELECT count(*) FROM users") == 3, "not three users"


def check_search(work: Workspace) -> None:
    """create_desk makes a search column that is kept up to date and has a GIN index"""
    desk(work)
    ticket(work, 1, 1)
    work.rows("UPDATE tickets SET title = 'A laptop'")
    assert work.value("SELECT count(*) FROM tickets WHERE search @@ to_tsquery('laptop')") == 1
    index = work.value(
        "SELECT count(*) FROM pg_indexes WHERE tablename = 'tickets' AND indexdef ILIKE '%gin%'"
    )
    assert index == 1, f"{index} GIN indexes"


def check_drop(work: Workspace) -> None:
    """drop_desk leaves neither a table nor a type behind, and create_desk works again"""
    module, engine = desk(work)
    for _ in range(2):
        module.drop_desk(engine)
        left = work.rows(
            "SELECT typname FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace"
            " WHERE nspname = 'public' ORDER BY 1"
        )
        assert not left, f"left: {[row[0] for row in left]}"
        module.create_desk(engine)


def check_numbers(work: Workspace) -> None:
    """add_ticket gives the next number to each new ticket"""
    module, engine = desk(work)
    with Session(engine) as session:
        numbers = [module.add_ticket(session, 1, "Printer").number for _ in range(3)]
        session.commit()
    assert numbers == [1, 2, 3], f"numbers {numbers}"


def check_tickets_of(work: Workspace) -> None:
    """tickets_of finds the tickets of the user, not the ticket of that id"""
    module, engine = desk(work)
    for number, creator in ((1, 2), (2, 1), (3, 2), (4, 2)):
        ticket(work, number, creator)
    with Session(engine) as session:
        told = [found.number for found in module.tickets_of(session, 2)]
    assert told == [1, 3, 4], f"numbers {told}"


def check_import(work: Workspace) -> None:
    """import_tickets inserts many rows, and a ticket still has its label"""
    module, engine = desk(work)
    rows = [{"number": n, "title": f"Ticket {n}", "creator_id": 1} for n in range(1, 31)]
    with Session(engine) as session:
        module.import_tickets(session, rows)
        session.commit()
        told = [found.label for found in module.tickets_of(session, 1)]
    assert work.value("SELECT count(*) FROM tickets") == 30, "not thirty tickets"
    assert work.value("SELECT count(*) FROM tickets WHERE status = 'open'") == 30, "their status"
    assert told[:2] == ["TCK-00001", "TCK-00002"], f"labels {told[:2]}"


def check_queries(work: Workspace) -> None:
    """newest_of_each and labelled find the right tickets"""
    module, engine = desk(work)
    ticket(work, 1, 1, "{vip,late}")
    ticket(work, 2, 1)
    ticket(work, 3, 2, "{vip}")
    with Session(engine) as session:
        newest = [found.number for found in module.newest_of_each(session)]
        marked = [found.number for found in module.labelled(session, "vip")]
        none = list(module.labelled(session, "vi"))
    assert newest == [2, 3], f"newest {newest}"
    assert marked == [1, 3], f"labelled {marked}"
    assert none == [], f"of no such label {none}"


def check_no_warning(work: Workspace) -> None:
    """Nothing warns of a deprecation"""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module, engine = desk(work)
        with Session(engine) as session:
            module.newest_of_each(session)
            module.labelled(session, "vip")
            module.tickets_of(session, 1)
        module.drop_desk(engine)
    kinds = (SADeprecationWarning, DeprecationWarning)
    told = [str(one.message)[:150] for one in caught if issubclass(one.category, kinds)]
    assert not told, f"warned: {told}"
