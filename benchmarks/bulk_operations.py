"""Many rows: the kit's bulk functions beside raw COPY, and beside what people do."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import psycopg
from sqlalchemy import Engine, MetaData, insert
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.exc import SADeprecationWarning
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Session

from examples.bulk_operations.copying import async_copy_rows, copy_rows, table_of
from examples.bulk_operations.inserting import (
    async_bulk_insert_with_return,
    bulk_create_tickets,
    bulk_insert_with_return,
)
from examples.bulk_operations.upserting import TICKETS, async_upsert_rows
from examples.database import create_asyncio_engine
from examples.models import Base, OutboxMessage, Ticket, TicketPriority
from examples.testing_patterns.large_desk import CUSTOMERS, ORGANIZATIONS, STAFF

from .databases import desk, driver_url
from .harness import BenchmarkError, Case

with warnings.catch_warnings():
    warnings.simplefilter("ignore", SADeprecationWarning)  # 1.12 is older than SQLAlchemy 2.1
    from advanced_alchemy.repository import SQLAlchemyAsyncRepository

TITLE = "Rows written in one commit: messages, a tenth of them tickets, a hundredth as objects"
BASELINE = "COPY: asyncpg alone"
QUICK, FULL = 20_000, 1_000_000
REPETITIONS = 5  # each is a minute
PEERS = ("advanced-alchemy",)
ROOT = Path(__file__).resolve().parent.parent
COPIED_TICKETS = "inserts: asyncpg alone, COPY"
FEWER = "a tenth of the upserts"
ADDED = "objects: add_all, one flush"
A_COMMIT = 1_000
TIMEOUT = 600

COPY_TICKETS = (
    "COPY tickets (ticket_number, title, description, priority, organization_id, creator_id) "
    "FROM STDIN"
)
MESSAGE_COLUMNS = ["topic", "payload", "available_at"]
AVAILABLE_AT = datetime(2026, 7, 1, tzinfo=UTC)
Row: TypeAlias = dict[str, Any]
# The ids in the order of the input, where a way gives them.
Ids: TypeAlias = Sequence[int] | None

# The kit's COPY in a process of its own: told how many rows, it prints how many it has copied, the
# seconds, and the most memory that it ever had, in MiB.
CHILD = """\
import asyncio, datetime, json, pathlib, sys, time
from sqlalchemy.ext.asyncio import AsyncSession
from examples.bulk_operations.copying import async_copy_rows
from examples.database import create_asyncio_engine
from examples.models import OutboxMessage

COLUMNS = ["topic", "payload", "available_at"]
AT = datetime.datetime(2026, 7, 1, tzinfo=datetime.UTC)

async def main():
    engine = create_asyncio_engine(sys.stdin.readline().strip())
    for line in sys.stdin:
        rows = (("ticket.created", {"ticket": n}, AT) for n in range(int(line)))
        started = time.perf_counter()
        async with AsyncSession(engine) as session, session.begin():
            copied = await async_copy_rows(session, OutboxMessage, COLUMNS, rows)
        seconds = time.perf_counter() - started
        status = pathlib.Path("/proc/self/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        print(json.dumps([copied, seconds, peak]), flush=True)
    await engine.dispose()

asyncio.run(main())
"""


@dataclass(frozen=True)
class Desk:
    """One database, and every way to reach it."""

    admin: psycopg.Connection  # what is not measured
    psycopg: psycopg.Connection
    asyncpg: asyncpg.Connection
    engine: Engine
    async_engine: AsyncEngine
    runner: asyncio.Runner


@contextmanager
def cases(server_url: str, size: int) -> Iterator[list[Case]]:
    """*size* messages, a tenth as many tickets, a hundredth as many objects; one database."""
    with ExitStack() as stack:
        engine = stack.enter_context(desk(server_url, 1, threads=False))
        url = driver_url(engine)
        admin = stack.enter_context(psycopg.connect(url, autocommit=True))
        # The peer knows no partial index; whoever names the condition may use one without.
        admin.execute("DROP INDEX uq_tickets_ticket_number_live")
        admin.execute("CREATE UNIQUE INDEX uq_tickets_ticket_number ON tickets (ticket_number)")
        alone = stack.enter_context(psycopg.connect(url))
        runner = stack.enter_context(asyncio.Runner())
        async_engine = create_asyncio_engine(url)
        stack.callback(lambda: runner.run(async_engine.dispose()))
        async_alone = runner.run(asyncpg.connect(url))
        stack.callback(lambda: runner.run(async_alone.close()))
        made = Desk(admin, alone, async_alone, engine, async_engine, runner)
        child = stack.enter_context(Child(url, admin))
        yield [
            *copies(made, size),
            child.case("memory: a tenth of the rows", size // 10),
            child.case("memory: all rows", size),
            *of_tickets(made, size // 10),
            *beside_peer(made, size // 100),
            *of_objects(made, size // 100),
        ]


# --- COPY of an iterable --------------------------------------------------------------------------


def messages(count: int) -> Iterator[tuple[Any, ...]]:
    """Rows that no list holds."""
    for number in range(count):
        yield "ticket.created", {"ticket": number}, AVAILABLE_AT


def encoded(count: int) -> Iterator[tuple[Any, ...]]:
    """The same as a driver alone wants them: JSON as text."""
    for topic, payload, available_at in messages(count):
        yield topic, json.dumps(payload), available_at


def copies(desk: Desk, size: int) -> list[Case]:
    """With asyncpg, and a tenth of the rows with psycopg, each beside its driver alone."""
    tenth = size // 10

    async def by_asyncpg() -> None:
        async with desk.asyncpg.transaction():
            await desk.asyncpg.copy_records_to_table(
                "outbox_messages", columns=MESSAGE_COLUMNS, records=encoded(size)
            )

    async def by_session() -> None:
        async with AsyncSession(desk.async_engine) as session, session.begin():
            await async_copy_rows(session, OutboxMessage, MESSAGE_COLUMNS, messages(size))

    def by_psycopg() -> None:
        with (
            desk.psycopg.transaction(),
            desk.psycopg.cursor() as cursor,
            cursor.copy("COPY outbox_messages (topic, payload, available_at) FROM STDIN") as copy,
        ):
            for row in encoded(tenth):
                copy.write_row(row)

    def by_sync_session() -> None:
        with Session(desk.engine) as session, session.begin():
            copy_rows(session, OutboxMessage, MESSAGE_COLUMNS, messages(tenth))

    def case(kind: str, rows: int, driver: str, name: str, write: Callable[[], None]) -> Case:
        def run() -> object:
            desk.admin.execute("TRUNCATE outbox_messages RESTART IDENTITY")
            seconds = timed(write)[1]
            return copied(desk.admin, rows), seconds

        return Case(f"{kind}: {name}", run, rows, kind, f"{kind}: {driver} alone", own_clock=True)

    run = desk.runner.run
    full, short = ("COPY", size, "asyncpg"), ("COPY of a tenth", tenth, "psycopg")
    return [
        case(*full, "asyncpg alone", lambda: run(by_asyncpg())),
        case(*full, "copy_rows, asyncpg", lambda: run(by_session())),
        case(*short, "psycopg alone", by_psycopg),
        case(*short, "copy_rows, psycopg", by_sync_session),
    ]


def copied(admin: psycopg.Connection, size: int) -> object:
    """What is in the table, in short.  Raises ``BenchmarkError`` for another number of rows."""
    found = admin.execute(
        "SELECT count(*), sum(id), sum((payload ->> 'ticket')::bigint * id), min(available_at), "
        "max(available_at), min(topic), max(topic) FROM outbox_messages"
    ).fetchall()[0]
    if found[0] != size:
        raise BenchmarkError(f"received {found[0]} rows; expected {size}")
    return found


class Child:
    """The process whose memory is looked at (as Linux tells it); it is told how many to copy."""

    def __init__(self, url: str, admin: psycopg.Connection) -> None:
        self.url, self.admin, self.largest = url, admin, 0
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def case(self, name: str, rows: int) -> Case:
        """The seconds, and the peak of memory in MiB since the process has started; looked at once.

        The fewer rows first, in a new process; then the more, in the same.
        """

        @cache
        def run() -> tuple[object, float, float]:
            if self.process is None or rows <= self.largest:
                self.start()
            self.largest = rows
            self.admin.execute("TRUNCATE outbox_messages RESTART IDENTITY")
            number, seconds, peak = self.asked(str(rows))
            copied(self.admin, rows)
            return number, seconds, peak

        return Case(name, run, rows, baseline="memory: all rows", own_clock=True)

    def start(self) -> None:
        """A new process."""
        self.close()
        self.largest = 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.tell(self.url)

    def tell(self, line: str) -> None:
        """Write a line; whoever has ended does not read it."""
        assert self.process is not None
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()

    def asked(self, line: str) -> Any:
        """What it answers.  Raises ``BenchmarkError`` where it ended without an answer."""
        self.tell(line)
        assert self.process is not None
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if not answer:
            raise BenchmarkError(
                f"received nothing from a child; it ended with {self.process.wait()}"
            )
        return json.loads(answer)

    def close(self) -> None:
        """Let it end: its standard input closes."""
        if self.process is not None:
            self.process.communicate(timeout=TIMEOUT)
            self.process = None


# --- Tickets --------------------------------------------------------------------------------------


def ticket_rows(count: int) -> list[Row]:
    """Rows by their number; all that a ticket must have."""
    priorities = list(TicketPriority)
    return [
        {
            "ticket_number": f"CRM-{n:07}",
            "title": f"The printer on floor {n % 90} is out of paper",
            "description": f"Since this morning; the display says {n}.",
            "priority": priorities[n % len(priorities)],
            "organization_id": n % ORGANIZATIONS + 1,
            "creator_id": n % CUSTOMERS + STAFF + 1,
        }
        for n in range(count)
    ]


def of_tickets(desk: Desk, count: int) -> list[Case]:
    """Inserts with ids, upserts with half of the rows there: in times of COPY of the rows."""
    rows = ticket_rows(count)

    async def by_asyncpg() -> None:
        async with desk.asyncpg.transaction():
            records = (tuple(row.values()) for row in rows)
            await desk.asyncpg.copy_records_to_table(
                "tickets", columns=list(rows[0]), records=records
            )

    empty, half = tickets_there(desk, []), tickets_there(desk, rows[::2])
    ways: dict[str, tuple[Callable[[], None], Callable[[], Ids]]] = {
        COPIED_TICKETS: (empty, lambda: desk.runner.run(by_asyncpg())),
        "inserts: bulk_insert_with_return": (
            empty,
            committed(desk, async_bulk_insert_with_return, rows),
        ),
        "inserts: insertmanyvalues": (empty, committed(desk, insertmanyvalues, rows)),
        "upserts: upsert_rows": (half, committed(desk, upserted, rows)),
        "upserts: executemany, ON CONFLICT": (half, committed(desk, executemany, rows)),
    }
    return [
        Case(name, ticket_run(desk, *way), count, "tickets", COPIED_TICKETS, own_clock=True)
        for name, way in ways.items()
    ]


def beside_peer(desk: Desk, count: int) -> list[Case]:
    """Fewer upserts: the peer takes its time."""
    rows = ticket_rows(count)
    half = tickets_there(desk, rows[::2])
    first = f"{FEWER}: upsert_rows"
    ways = {first: upserted, f"{FEWER}: advanced-alchemy": advanced_alchemy}
    return [
        Case(
            name,
            ticket_run(desk, half, committed(desk, way, rows)),
            count,
            FEWER,
            first,
            own_clock=True,
        )
        for name, way in ways.items()
    ]


def committed(
    desk: Desk, way: Callable[[AsyncSession, list[Row]], Awaitable[Ids]], rows: list[Row]
) -> Callable[[], Ids]:
    """*way* in a session of its own, with asyncpg, and the commit."""

    async def commit() -> Ids:
        async with AsyncSession(desk.async_engine) as session, session.begin():
            return await way(session, rows)

    return lambda: desk.runner.run(commit())


def tickets_there(desk: Desk, rows: list[Row]) -> Callable[[], None]:
    """What makes a table of nothing but *rows*, with other titles."""

    def before() -> None:
        desk.admin.execute("TRUNCATE tickets RESTART IDENTITY CASCADE")
        with desk.admin.cursor() as cursor, cursor.copy(COPY_TICKETS) as copy:
            for row in rows:
                changed = row | {"title": "?", "priority": row["priority"].value}
                copy.write_row(list(changed.values()))

    return before


def ticket_run(
    desk: Desk, before: Callable[[], None], write: Callable[[], Ids]
) -> Callable[[], object]:
    """All ways leave the same tickets."""

    def run() -> object:
        before()
        ids, seconds = timed(write)
        return stored(desk.admin, ids), seconds

    return run


def stored(admin: psycopg.Connection, ids: Ids) -> object:
    """The tickets by their number.  Raises ``BenchmarkError`` for ids that are not theirs."""
    found = admin.execute(
        "SELECT id, ticket_number, title, priority, creator_id FROM tickets ORDER BY ticket_number"
    ).fetchall()
    if ids is not None and list(ids) != [row[0] for row in found]:
        raise BenchmarkError("received ids that are not those of the rows, in their order")
    return [row[1:] for row in found]


async def insertmanyvalues(session: AsyncSession, rows: list[Row]) -> Ids:
    """SQLAlchemy's own way: a thousand rows a statement."""
    statement = insert(Ticket).returning(Ticket.id, sort_by_parameter_order=True)
    return (await session.scalars(statement, rows)).all()


async def upserted(session: AsyncSession, rows: list[Row]) -> Ids:
    """The kit's way: also what became of each row."""
    return [row.id for row in await async_upsert_rows(session, TICKETS, rows)]


async def executemany(session: AsyncSession, rows: list[Row]) -> Ids:
    """A statement for each row, sent together; nothing comes back."""
    statement = postgres_insert(table_of(Ticket))
    changing = {name: statement.excluded[name] for name in rows[0] if name != "ticket_number"}
    statement = statement.on_conflict_do_update(
        index_elements=["ticket_number"],
        index_where=Ticket.deleted_at.is_(None),
        set_=changing,
    )
    await (await session.connection()).execute(statement, rows)
    return None


async def advanced_alchemy(session: AsyncSession, rows: list[Row]) -> Ids:
    """The peer's way: objects in, objects out; not what became of each."""
    repository = PeerTickets(session=session)
    tickets = [PeerTicket(**row) for row in rows]
    found = await repository.upsert_many(tickets, match_fields=["ticket_number"])
    ids = {ticket.ticket_number: ticket.id for ticket in found}
    return [ids[row["ticket_number"]] for row in rows]


class PeerBase(DeclarativeBase):
    """A registry of its own."""

    metadata = MetaData(naming_convention=Base.metadata.naming_convention)


def peer_table() -> Any:
    """The desk's table as the peer's native upsert takes it; else it selects, adds and updates.

    No condition to the key, no relationship, no ``onupdate`` of SQL: ``updated_at`` stays behind.
    """
    for each in Base.metadata.sorted_tables:
        each.to_metadata(PeerBase.metadata)
    table = PeerBase.metadata.tables["tickets"]
    for index in table.indexes:
        if index.unique:
            index.dialect_options["postgresql"]["where"] = None
    table.c.updated_at.onupdate = None
    return table


PeerTicket: Any = type(
    "PeerTicket",
    (PeerBase,),
    {"__table__": peer_table(), "__mapper_args__": {"exclude_properties": ["search_vector"]}},
)


class PeerTickets(SQLAlchemyAsyncRepository[Any]):
    """The peer's repository."""

    model_type = PeerTicket


# --- Objects --------------------------------------------------------------------------------------


def of_objects(desk: Desk, count: int) -> list[Case]:
    """In times of an ORM flush, with psycopg."""
    rows, empty = ticket_rows(count), tickets_there(desk, [])
    ways: dict[str, Callable[[Session, list[Row]], Ids]] = {
        ADDED: add_all,
        "objects: bulk_create_tickets": by_kit,
        "objects: add, commit each 1,000": commit_each,
        "no objects: bulk_insert_with_return": bulk_insert_with_return,
    }

    def written(way: Callable[[Session, list[Row]], Ids]) -> Callable[[], Ids]:
        def commit() -> Ids:
            with Session(desk.engine) as session:
                ids = way(session, rows)
                session.commit()
                return ids

        return commit

    return [
        Case(
            name,
            ticket_run(desk, empty, written(way)),
            count,
            "objects",
            ADDED,
            own_clock=True,
        )
        for name, way in ways.items()
    ]


def add_all(session: Session, rows: Iterable[Row]) -> Ids:
    """What the documentation shows."""
    tickets = [Ticket(**row) for row in rows]
    session.add_all(tickets)
    session.flush()
    return [ticket.id for ticket in tickets]


def by_kit(session: Session, rows: Iterable[Row]) -> Ids:
    """The same, and children if they are given."""
    return [ticket.id for ticket in bulk_create_tickets(session, rows)]


def commit_each(session: Session, rows: Iterable[Row]) -> Ids:
    """One after the other; a commit now and then."""
    for number, row in enumerate(rows, 1):
        session.add(Ticket(**row))
        if number % A_COMMIT == 0:
            session.commit()
    return None


def timed(write: Callable[[], Any]) -> tuple[Any, float]:
    """What *write* gives, and its seconds."""
    started = time.perf_counter()
    found = write()
    return found, time.perf_counter() - started
