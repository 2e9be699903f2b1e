"""What an audit trail records, of whom, and what it must not hold."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, text, update
from sqlalchemy.orm import Session

from evals.workspace import Workspace

HASHES = ("argon2-first-hash", "argon2-second-hash")
# An audit may refer to users: whoever acts is one.
AUTHOR = "INSERT INTO users (id, email, password_hash) VALUES (42, 'eve@example.org', 'x')"


def desk(work: Workspace) -> tuple[Any, Any, Engine]:
    """The two modules and an engine whose pool has one connection; the audit is installed twice."""
    audit, models = work.module("audit"), work.module("models")
    engine = work.engine(driver="psycopg", pool_size=1, max_overflow=0, pool_timeout=5)
    models.Base.metadata.create_all(engine)
    audit.install(engine)
    audit.install(engine)
    return audit, models, engine


def tickets(engine: Engine, models: Any, count: int) -> list[int]:
    """The keys of *count* new tickets, inserted by the ORM."""
    with Session(engine) as session, session.begin():
        items = [models.Ticket(title=f"Ticket {number}") for number in range(count)]
        session.add_all(items)
        session.flush()
        return [int(item.id) for item in items]


def entries(engine: Engine, audit: Any, key: int, table: str = "tickets") -> list[dict[str, Any]]:
    """The history of a row, as a new session reads it."""
    with Session(engine) as session:
        return list(audit.history(session, table, key))


def actions(engine: Engine, audit: Any, key: int) -> list[str]:
    """Only the actions."""
    return [entry["action"] for entry in entries(engine, audit, key)]


def check_orm_changes(work: Workspace) -> None:
    """An ORM insert, update and delete are three entries with the old and the new values"""
    audit, models, engine = desk(work)
    (key,) = tickets(engine, models, 1)
    with Session(engine) as session, session.begin():
        session.get_one(models.Ticket, key).status = "closed"
    with Session(engine) as session, session.begin():
        session.delete(session.get_one(models.Ticket, key))
    found = entries(engine, audit, key)
    assert [entry["action"] for entry in found] == ["INSERT", "UPDATE", "DELETE"], found
    assert list(found[0]["changes"]["title"]) == [None, "Ticket 0"], found[0]
    assert found[1]["changes"] == {"status": ["open", "closed"]}, found[1]
    assert list(found[2]["changes"]["status"]) == ["closed", None], found[2]
    assert all(entry["at"].tzinfo is not None for entry in found), f"no zone: {found[0]['at']}"


def check_bulk_and_plain(work: Workspace) -> None:
    """Bulk statements, plain SQL and what ON DELETE does are recorded, one entry a row"""
    audit, models, engine = desk(work)
    keys = tickets(engine, models, 3)
    with Session(engine) as session, session.begin():
        session.execute(update(models.Ticket).values(status="closed"))
    with engine.begin() as connection:
        user = connection.scalar(
            text("INSERT INTO users (email, password_hash) VALUES ('a@b.c', 'x') RETURNING id")
        )
        connection.execute(text("UPDATE tickets SET assignee_id = :user"), {"user": user})
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM users"))
    for key in keys:
        found = entries(engine, audit, key)
        changed = [entry["changes"] for entry in found[1:]]
        assert changed == [
            {"status": ["open", "closed"]},
            {"assignee_id": [None, user]},
            {"assignee_id": [user, None]},
        ], f"ticket {key}: {changed}"


def check_who(work: Workspace) -> None:
    """The author is the one of act_as(), for ORM, bulk and plain statements alike"""
    audit, models, engine = desk(work)
    work.rows(AUTHOR)
    keys = tickets(engine, models, 2)
    with Session(engine) as session, session.begin():
        audit.act_as(session, 42)
        session.get_one(models.Ticket, keys[0]).title = "by the ORM"
        session.flush()
        session.execute(update(models.Ticket).values(status="closed"))
        session.execute(text("UPDATE tickets SET title = 'by SQL'"))
    for key in keys:
        users = {entry["user_id"] for entry in entries(engine, audit, key)[1:]}
        assert users == {42}, f"authors of the changes: {users}"


def check_who_ends(work: Workspace) -> None:
    """The next transaction has no author, of the same session and of the same pooled connection"""
    audit, models, engine = desk(work)
    work.rows(AUTHOR)
    (key,) = tickets(engine, models, 1)
    with Session(engine) as session:
        audit.act_as(session, 42)
        session.get_one(models.Ticket, key).title = "one"
        session.commit()
        session.get_one(models.Ticket, key).title = "two"
        session.commit()
    with Session(engine) as session, session.begin():
        session.get_one(models.Ticket, key).title = "three"
    users = [entry["user_id"] for entry in entries(engine, audit, key)]
    assert users == [None, 42, None, None], f"authors: {users}"


def check_no_secrets(work: Workspace) -> None:
    """A changed password is no reason to store a hash anywhere but in users"""
    audit, models, engine = desk(work)
    with Session(engine) as session, session.begin():
        user = models.User(email="ann@example.com", password_hash=HASHES[0])
        session.add(user)
        session.flush()
        key = user.id
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE users SET email = 'new@example.com', password_hash = :hash"),
            {"hash": HASHES[1]},
        )
        connection.execute(text("DELETE FROM users"))
    assert len(entries(engine, audit, key, "users")) == 3, entries(engine, audit, key, "users")
    tables = work.rows(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relkind IN ('r', 'p') AND nspname NOT IN ('pg_catalog', 'information_schema')"
    )
    for (table,) in tables:
        for secret in HASHES:
            rows = work.rows(f"SELECT t::text FROM {table} t WHERE t::text LIKE '%{secret}%'")
            assert not rows, f"{table} holds a hash: {rows[0][0][:200]}"


def check_rollback(work: Workspace) -> None:
    """What is rolled back, to a savepoint too, leaves no entry"""
    audit, models, engine = desk(work)
    (key,) = tickets(engine, models, 1)
    with Session(engine) as session:
        session.get_one(models.Ticket, key).title = "outer"
        session.flush()
        savepoint = session.begin_nested()
        session.execute(text("UPDATE tickets SET title = 'inner'"))
        savepoint.rollback()
        session.commit()
        session.execute(text("UPDATE tickets SET title = 'never'"))
        session.rollback()
    changed = [entry["changes"] for entry in entries(engine, audit, key)[1:]]
    assert changed == [{"title": ["Ticket 0", "outer"]}], f"entries: {changed}"


def check_no_change(work: Workspace) -> None:
    """An UPDATE that changes nothing is no entry, one of a thousand rows is a thousand"""
    audit, models, engine = desk(work)
    keys = tickets(engine, models, 1000)
    with engine.begin() as connection:
        connection.execute(text("UPDATE tickets SET title = title, status = 'open'"))
    assert actions(engine, audit, keys[0]) == ["INSERT"], actions(engine, audit, keys[0])
    with engine.begin() as connection:
        connection.execute(text("UPDATE tickets SET status = 'closed'"))
    for key in (keys[0], keys[500], keys[-1]):
        assert actions(engine, audit, key) == ["INSERT", "UPDATE"], actions(engine, audit, key)
