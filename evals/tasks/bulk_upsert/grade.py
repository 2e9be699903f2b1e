"""What a bulk upsert stores, returns, and leaves alone."""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from evals.workspace import Workspace

Row = dict[str, str | None]
SECONDS = 180.0  # the limit of a check
KNOWN = "SELECT id, email, full_name, phone, updated_at, xmin::text FROM users ORDER BY id"


def desk(work: Workspace) -> tuple[Any, Any, Engine]:
    """The two modules and an engine over the users ann and Bob."""
    upsert, models = work.module("upsert"), work.module("models")
    engine = work.engine(driver="psycopg")
    models.Base.metadata.create_all(engine)
    work.rows(
        "INSERT INTO users (email, full_name, phone)"
        " VALUES ('ann@example.com', 'Ann', NULL), ('Bob@Example.com', 'Bob', '+1')"
    )
    return upsert, models, engine


def row(name: str, full_name: str, phone: str | None = None) -> Row:
    """One input row."""
    return {"email": f"{name}@example.com", "full_name": full_name, "phone": phone}


def upserted(engine: Engine, upsert: Any, rows: list[Row]) -> list[tuple[int, str]]:
    """What a call in a transaction of its own returns."""
    with Session(engine) as session, session.begin():
        return [(int(key), str(outcome)) for key, outcome in upsert.upsert_users(session, rows)]


def check_results(work: Workspace) -> None:
    """Each input row gets the id and the outcome that are its own, in the order of the input"""
    upsert, _models, engine = desk(work)
    rows = [
        row("zoe", "Zoe"),
        row("bob", "Robert", "+1"),
        row("ann", "Ann"),
        row("eve", "Eve", "+2"),
    ]
    results = upserted(engine, upsert, rows)
    assert [outcome for _, outcome in results] == [
        "inserted",
        "updated",
        "unchanged",
        "inserted",
    ], results
    ids = {email.lower(): key for key, email in work.rows("SELECT id, email FROM users")}
    assert [key for key, _ in results] == [ids[str(each["email"])] for each in rows], results
    stored = work.rows("SELECT email, full_name, phone FROM users ORDER BY lower(email)")
    assert [tuple(each) for each in stored] == [
        ("ann@example.com", "Ann", None),
        ("Bob@Example.com", "Robert", "+1"),
        ("eve@example.com", "Eve", "+2"),
        ("zoe@example.com", "Zoe", None),
    ], stored


def check_empty(work: Workspace) -> None:
    """No rows: an empty list, and nothing is written"""
    upsert, _models, engine = desk(work)
    before = work.rows(KNOWN)
    results = upserted(engine, upsert, [])
    assert list(results) == [], results
    assert work.rows(KNOWN) == before, "an empty call wrote something"


def check_duplicates(work: Workspace) -> None:
    """Where an email comes twice, in whatever case, the last row counts and all get its result"""
    upsert, _models, engine = desk(work)
    rows = [row("zoe", "First"), row("ANN", "Anna"), row("Zoe", "Last"), row("ann", "Ann")]
    results = upserted(engine, upsert, rows)
    assert [outcome for _, outcome in results] == [
        "inserted",
        "unchanged",
        "inserted",
        "unchanged",
    ], results
    assert results[0] == results[2], results
    assert results[1] == results[3], results
    names = [each[0] for each in work.rows("SELECT full_name FROM users ORDER BY lower(email)")]
    assert names == ["Ann", "Bob", "Last"], f"the table holds {names}"


def check_unchanged(work: Workspace) -> None:
    """Unchanged rows are not written again, not even as the same values"""
    upsert, _models, engine = desk(work)
    before = work.rows(KNOWN)
    results = upserted(engine, upsert, [row("bob", "Bob", "+1"), row("ann", "Ann")])
    assert [outcome for _, outcome in results] == ["unchanged", "unchanged"], results
    assert work.rows(KNOWN) == before, f"rewritten: {work.rows(KNOWN)}"


def check_updated_at(work: Workspace) -> None:
    """updated_at moves for updated rows, created_at and the stored spelling stay"""
    upsert, _models, engine = desk(work)
    query = "SELECT updated_at, created_at, email, phone FROM users WHERE full_name = 'Bob'"
    ((updated, created, email, _phone),) = work.rows(query)
    upserted(engine, upsert, [row("BOB", "Bob", None)])
    ((now_updated, now_created, now_email, phone),) = work.rows(query)
    assert phone is None, f"phone is {phone!r}"
    assert now_updated > updated, f"updated_at stands at {updated}"
    assert (now_created, now_email) == (created, email), (now_created, now_email)


def check_many(work: Workspace) -> None:
    """Thirty thousand rows take at most 100 statements, and every row has its result"""
    upsert, _models, engine = desk(work)
    rows = [row(f"user{number}", f"User {number}") for number in range(29_998)]
    rows += [row("ann", "Ann"), row("bob", "Robert")]
    with work.statements(engine) as seen:
        results = upserted(engine, upsert, rows)
    outcomes = [outcome for _, outcome in results]
    assert outcomes == ["inserted"] * 29_998 + ["unchanged", "updated"], outcomes[-5:]
    assert len({key for key, _ in results}) == 30_000, "ids are not distinct"
    assert seen.count <= 100, f"{seen}"
    key, _ = results[21_234]
    email = work.value("SELECT email FROM users WHERE id = :key", key=key)
    assert email == "user21234@example.com", f"row 21,234 got the id of {email}"
    work.note(f"{seen.count} statements")


def check_session(work: Workspace) -> None:
    """The caller's rollback undoes it, and objects that the session holds show the new values"""
    upsert, models, engine = desk(work)
    before = work.rows(KNOWN)
    with Session(engine) as session:
        users = session.scalars(select(models.User).order_by(models.User.id)).all()
        names = [user.full_name for user in users]
        assert names == ["Ann", "Bob"], names
        upsert.upsert_users(session, [row("bob", "Robert"), row("zoe", "Zoe")])
        loaded = session.scalars(select(models.User).order_by(models.User.id)).all()
        names = [user.full_name for user in loaded]
        assert names == ["Ann", "Robert", "Zoe"], f"the session shows {names}"
        session.rollback()
    assert work.rows(KNOWN) == before, "the caller's rollback did not undo it"


def check_concurrent(work: Workspace) -> None:
    """A user whom another transaction is inserting meanwhile is updated, no error and no second row"""  # noqa: E501
    upsert, _models, engine = desk(work)
    with engine.connect() as rival:
        rival.execute(
            text("INSERT INTO users (email, full_name) VALUES ('Zoe@example.com', 'Rival')")
        )
        timer = threading.Timer(1.0, rival.commit)
        timer.start()
        results = upserted(engine, upsert, [row("zoe", "Zoe"), row("eve", "Eve")])
        timer.join()
    assert [outcome for _, outcome in results] == ["updated", "inserted"], results
    names = [each[0] for each in work.rows("SELECT full_name FROM users ORDER BY lower(email)")]
    assert names == ["Ann", "Bob", "Eve", "Zoe"], f"the table holds {names}"
