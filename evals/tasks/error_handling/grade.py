"""What an error is called, when a transaction is repeated, and when it is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, exc, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from evals.workspace import Workspace, describe, must_raise

SYNC = ("psycopg2", "psycopg")
CONSTRAINTS = {
    "INSERT INTO customers (email) VALUES ('ann@example.com')": "conflict",
    "INSERT INTO tickets (title, customer_id) VALUES ('Printer', 999)": "missing_reference",
    "DELETE FROM customers WHERE email = 'ann@example.com'": "in_use",
    "INSERT INTO tickets (title, customer_id) VALUES ('', 1)": "invalid",
    "INSERT INTO tickets (title, customer_id) VALUES (NULL, 1)": "invalid",
    "INSERT INTO customers (email) VALUES (repeat('x', 60))": "invalid",
    "INSERT INTO tickets (title, customer_id) VALUES ('Printer', 3000000000)": "invalid",
}
NO_PORT = "127.0.0.1:1"


def desk(work: Workspace, driver: str = "psycopg2", **options: Any) -> tuple[Any, Any, Engine]:
    """The two modules and an engine over one customer with one ticket, and the tag "old"."""
    errors, models = work.module("errors"), work.module("models")
    engine = work.engine(driver=driver, **options)
    models.Base.metadata.create_all(engine)
    if not work.value("SELECT count(*) FROM customers"):
        work.rows("INSERT INTO customers (email) VALUES ('ann@example.com')")
        work.rows("INSERT INTO tickets (title, customer_id) SELECT 'Kept', id FROM customers")
        work.rows("INSERT INTO tags (name) VALUES ('old')")
    return errors, models, engine


def raised(engine: Engine, *statements: str) -> BaseException:
    """What the last of the *statements* raises, in one transaction."""
    try:
        with engine.connect() as connection:
            for sql in statements:
                connection.execute(text(sql))
    except Exception as error:
        return error
    raise AssertionError(f"nothing was raised by {statements}")


async def raised_async(url: str, *statements: str) -> BaseException:
    """The same by asyncpg."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            for sql in statements:
                await connection.execute(text(sql))
    except Exception as error:
        return error
    finally:
        await engine.dispose()
    raise AssertionError(f"nothing was raised by {statements}")


def same(errors: Any, error: BaseException, expected: str, by: str) -> None:
    """Compare; the evidence is the error itself."""
    found = errors.kind(error)
    assert found == expected, f"{by}: {found!r}, expected {expected!r}, for {describe(error)[:200]}"


def check_kinds_sync(work: Workspace) -> None:
    """Constraint and data errors are told apart with psycopg2 and psycopg, RESTRICT on PostgreSQL 18 too"""  # noqa: E501
    for driver in SYNC:
        errors, _models, engine = desk(work, driver)
        for sql, expected in CONSTRAINTS.items():
            same(errors, raised(engine, sql), expected, driver)
        same(errors, raised(engine, "SELECT * FROM no_such_table"), "other", driver)


def check_kinds_asyncpg(work: Workspace) -> None:
    """The same errors get the same names with asyncpg"""
    errors, _models, _engine = desk(work)
    url = work.url("asyncpg")
    for sql, expected in CONSTRAINTS.items():
        same(errors, work.run(raised_async(url, sql)), expected, "asyncpg")
    same(errors, work.run(raised_async(url, "SELECT * FROM no_such_table")), "other", "asyncpg")
    same(
        errors,
        work.run(raised_async(url, "SET statement_timeout = 50", "SELECT pg_sleep(20)")),
        "timeout",
        "asyncpg",
    )


def check_waiting(work: Workspace) -> None:
    """A lock that is not to be had is busy, a statement that takes too long is a timeout"""
    for driver in SYNC:
        errors, _models, engine = desk(work, driver)
        locking = "SELECT 1 FROM customers FOR UPDATE"
        with engine.begin() as holder:
            holder.execute(text(locking))
            same(errors, raised(engine, f"{locking} NOWAIT"), "busy", driver)
            limited = raised(engine, "SET LOCAL lock_timeout = 50", locking)
            same(errors, limited, "busy", driver)
        slow = raised(engine, "SET LOCAL statement_timeout = 50", "SELECT pg_sleep(20)")
        same(errors, slow, "timeout", driver)
        serial = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"
        same(errors, raised(engine, serial), "busy", driver)


def check_unavailable(work: Workspace) -> None:
    """A refused connection and an exhausted pool are unavailable, with every driver"""
    errors, _models, engine = desk(work, pool_size=1, max_overflow=0, pool_timeout=0.1)
    with engine.connect():
        same(errors, raised(engine, "SELECT 1"), "unavailable", "an exhausted pool")
    for driver in SYNC:
        closed = create_engine(f"postgresql+{driver}://nobody@{NO_PORT}/none")
        same(errors, raised(closed, "SELECT 1"), "unavailable", driver)
    refused = work.run(raised_async(f"postgresql+asyncpg://nobody@{NO_PORT}/none", "SELECT 1"))
    same(errors, refused, "unavailable", "asyncpg")


def check_retry(work: Workspace) -> None:
    """A serialization failure and a deadlock are repeated in a new transaction, and stored once"""
    errors, models, engine = desk(work)
    factory = sessionmaker(engine)
    for code in ("40001", "40P01"):
        calls: list[int] = []

        def once(session: Session, code: str = code, calls: list[int] = calls) -> str:
            calls.append(session.scalar(text("SELECT txid_current()")) or 0)
            session.add(models.Tag(name=f"tag {code}"))
            session.flush()
            if len(calls) == 1:
                failing = f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$"
                session.execute(text(failing))
            return "done"

        assert errors.run(factory, once) == "done"
        assert len(set(calls)) == 2, f"{code}: {len(set(calls))} transaction(s), expected 2"
        stored = work.value("SELECT count(*) FROM tags WHERE name = :name", name=f"tag {code}")
        assert stored == 1, f"{code}: stored {stored} times"


def check_retry_commit(work: Workspace) -> None:
    """A serialization failure that only COMMIT meets is repeated too"""
    errors, models, engine = desk(work)
    work.rows("CREATE SEQUENCE commits")
    work.rows(
        "CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF nextval('commits') = 1 THEN RAISE EXCEPTION USING ERRCODE = '40001'; END IF; "
        "RETURN NULL; END $$"
    )
    work.rows(
        "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON tags DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION fail_once()"
    )
    errors.run(sessionmaker(engine), lambda session: session.add(models.Tag(name="late")))
    assert work.value("SELECT count(*) FROM tags WHERE name = 'late'") == 1, "not stored"


def attempts_of(run: Callable[..., Any], engine: Engine, sql: str) -> int:
    """How often a statement that always fails is tried, with three attempts allowed."""
    calls: list[int] = []

    def work(session: Session) -> None:
        calls.append(1)
        session.execute(text(sql))

    with must_raise(exc.DBAPIError):
        run(sessionmaker(engine), work, 3)
    return len(calls)


def check_not_repeated(work: Workspace) -> None:
    """What cannot get better is tried once, what does not get better three times; both raise"""
    errors, _models, engine = desk(work)
    for sql in (*CONSTRAINTS, "SELECT * FROM no_such_table"):
        count = attempts_of(errors.run, engine, sql)
        assert count == 1, f"tried {count} times: {sql}"
    serial = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"
    count = attempts_of(errors.run, engine, serial)
    assert count == 3, f"a serialization failure was tried {count} times of 3"
    assert work.value("SELECT count(*) FROM tickets") == 1


@contextmanager
def committed_when_waited_for(work: Workspace, rival: Session) -> Iterator[None]:
    """*rival* commits as soon as somebody waits for it, at the latest when the block has ended."""
    pid = rival.scalar(text("SELECT pg_backend_pid()"))
    over = threading.Event()
    waited = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND :pid = ANY(pg_blocking_pids(pid)))"
    )

    def commit() -> None:
        while not (over.is_set() or work.value(waited, pid=pid)):
            time.sleep(0.01)
        rival.commit()

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def check_tags(work: Workspace) -> None:
    """add_tags() copes with known, repeated and no names, and with a concurrent insert, and what the caller wrote before stays"""  # noqa: E501
    errors, models, engine = desk(work)
    with Session(engine) as session:
        session.add(models.Customer(email="bob@example.com"))
        added = errors.add_tags(session, ["new", "old", "new", "newer"])
        assert sorted(added) == ["new", "newer"], f"added: {added}"
        assert list(errors.add_tags(session, [])) == [], "an empty list added something"
        session.commit()
    names = [row[0] for row in work.rows("SELECT name FROM tags ORDER BY name")]
    assert names == ["new", "newer", "old"], f"tags: {names}"
    assert work.value("SELECT count(*) FROM customers") == 2, "the caller's own insert is lost"
    with Session(engine) as rival, Session(engine) as session:
        rival.add(models.Tag(name="race"))
        rival.flush()
        session.add(models.Customer(email="eve@example.com"))
        with committed_when_waited_for(work, rival):
            added = errors.add_tags(session, ["race", "calm"])
        session.commit()
    assert list(added) == ["calm"], f"added beside a concurrent insert: {added}"
    assert work.value("SELECT count(*) FROM customers") == 3, "the caller's own insert is lost"
