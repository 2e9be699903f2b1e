"""Locking: each ticket to one agent, no change lost, no deadlock, nobody waits without end.

Problem: two processes read the same row, both decide by what they read, and the second undoes the
first.  Pattern: a row lock where a change is decided by what was read in the same transaction, a
version where a person thinks in between, a name where there is no row to lock; always in one order.
Not for a counter: ``SET n = n + 1`` is right without any of this.  READ COMMITTED (PostgreSQL's own
default) unless said otherwise.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Engine,
    Select,
    any_,
    case,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.sql.dml import ReturningUpdate

from .database import async_session_factory, session_factory
from .models import DONE, Organization, Ticket, TicketPriority, TicketStatus, User

T = TypeVar("T")
Wait = Literal["until free", "not at all", "skip"]

URGENCY = {priority: rank for rank, priority in enumerate(reversed(TicketPriority))}
"""0 is the most urgent."""

# What another attempt of the whole transaction may cure: serialization failure, deadlock.
TRY_AGAIN = {"40001", "40P01"}


class ChangedMeanwhile(Exception):
    """Somebody else changed the ticket since *expected* was read; ``found`` None: it is gone."""

    def __init__(self, ticket_id: int, expected: int, found: int | None) -> None:
        state = "is gone" if found is None else f"is at version {found}"
        super().__init__(f"ticket {ticket_id} {state}; expected version {expected}; read it again")
        self.ticket_id, self.expected, self.found = ticket_id, expected, found


class NobodyLeft(Exception):
    """The last agent on duty cannot leave."""


# --- The queue ------------------------------------------------------------------------------------


def urgency() -> ColumnElement[int]:
    """0 for urgent; the text itself would sort high, low, medium, urgent."""
    return case(*((Ticket.priority == priority, rank) for priority, rank in URGENCY.items()))


def waiting_tickets(limit: int) -> Select[Ticket]:
    """The next tickets that nobody works on, most urgent first, then oldest; locked.

    Work on them *in this transaction* when that takes milliseconds: if the process dies, its locks
    go with its connection, and the tickets are waiting again.
    """
    return (
        select(Ticket)
        .where(
            Ticket.status == TicketStatus.OPEN,
            Ticket.assignee_id.is_(None),
            Ticket.deleted_at.is_(None),
            Ticket.resolved_at.is_(None),  # follows from the status; the index asks for it
        )
        .order_by(urgency(), Ticket.created_at, Ticket.id)
        .limit(limit)
        # of: a joined table's rows would be locked too, and SKIP LOCKED would pass over tickets.
        .with_for_update(key_share=True, skip_locked=True, of=Ticket)
        .execution_options(populate_existing=True)
    )


def claim_tickets(agent_id: int, limit: int = 1) -> ReturningUpdate[Ticket]:
    """Give the next tickets to an agent, in one statement and in no order; for long work.

    The caller commits at once, works, and commits again: no transaction stays open for an hour.
    What a dead worker leaves behind comes back by ``return_abandoned``.
    """
    # A CTE that locks is run once, whatever the plan.
    waiting = waiting_tickets(limit).with_only_columns(Ticket.id).cte("waiting")
    return changed_by_update(waiting.c.id, assignee_id=agent_id, status=TicketStatus.IN_PROGRESS)


def return_abandoned(idle: timedelta) -> ReturningUpdate[Ticket]:
    """Put back what was in progress and not touched for *idle*; one that is locked is in use.

    A worker that takes longer says that it lives by any update: ``updated_at`` moves.
    """
    abandoned = (
        select(Ticket.id)
        .where(
            Ticket.status == TicketStatus.IN_PROGRESS,
            Ticket.deleted_at.is_(None),
            Ticket.updated_at < func.now() - idle,
        )
        .with_for_update(key_share=True, skip_locked=True, of=Ticket)
        .cte("abandoned")
    )
    return changed_by_update(abandoned.c.id, assignee_id=None, status=TicketStatus.OPEN)


def assign_tickets(ticket_ids: Iterable[int], agent_id: int) -> ReturningUpdate[Ticket]:
    """Give these tickets to an agent; those that are done or deleted stay as they are.

    UPDATE locks in the order of its plan; the CTE locks in the order of the key, so that two of
    these wait for each other's end and not for each other.
    """
    locked = (
        select(Ticket.id)
        .where(one_of(ticket_ids), Ticket.status.not_in(DONE), Ticket.deleted_at.is_(None))
        .order_by(Ticket.id)
        .with_for_update(key_share=True, of=Ticket)
        .cte("locked")
    )
    return changed_by_update(locked.c.id, assignee_id=agent_id)


def changed_by_update(ids: ColumnElement[int], **values: object) -> ReturningUpdate[Ticket]:
    """An UPDATE that moves the version by hand, as ``update()`` does not, and returns the tickets.

    Without ``populate_existing`` a ticket that the session holds would keep its old values.
    """
    return (
        update(Ticket)
        .where(Ticket.id.in_(select(ids)))
        .values(version=Ticket.version + 1, **values)
        .returning(Ticket)
        .execution_options(synchronize_session=False, populate_existing=True)
    )


def one_of(ticket_ids: Iterable[int]) -> ColumnElement[bool]:
    """Whether a ticket is one of these: one parameter, however many."""
    return Ticket.id == any_(literal(list(ticket_ids), ARRAY(BigInteger)))


def next_first(tickets: Iterable[Ticket]) -> list[Ticket]:
    """*tickets* in the order of the queue: RETURNING has none."""
    return sorted(tickets, key=lambda each: (URGENCY[each.priority], each.created_at, each.id))


def claim_next(session: Session, agent_id: int, limit: int = 1) -> list[Ticket]:
    """Claim the next tickets; none where nothing is waiting.  One statement; the caller commits."""
    return next_first(session.scalars(claim_tickets(agent_id, limit)))


async def async_claim_next(session: AsyncSession, agent_id: int, limit: int = 1) -> list[Ticket]:
    """The same for asyncio."""
    return next_first(await session.scalars(claim_tickets(agent_id, limit)))


# --- Row locks ------------------------------------------------------------------------------------


def lock_tickets(ticket_ids: Iterable[int], wait: Wait = "until free") -> Select[Ticket]:
    """Live tickets, locked until the end of the transaction, with the values that they have *now*.

    In the order of the key: whoever locks several in one order meets no deadlock.
    "not at all" raises ``DBAPIError`` with SQLSTATE 55P03; "skip" leaves out what is locked.
    """
    return (
        select(Ticket)
        .where(one_of(ticket_ids), Ticket.deleted_at.is_(None))
        .order_by(Ticket.id)
        .with_for_update(
            key_share=True,  # FOR NO KEY UPDATE: comments can be added meanwhile
            of=Ticket,
            nowait=wait == "not at all",
            skip_locked=wait == "skip",
        )
        # A SELECT, locking or not, leaves a loaded object as it is: the decision would be stale.
        .execution_options(populate_existing=True)
    )


def lock_timeout(milliseconds: int) -> Select[str]:
    """Run it first: how long each lock may be waited for in this transaction, then 55P03."""
    return select(func.set_config("lock_timeout", f"{milliseconds}ms", True))


def close_as_duplicate(found: Iterable[Ticket], duplicate_id: int, original_id: int) -> Ticket:
    """Close one of two locked tickets as the duplicate of the other.  Raises ``ValueError``."""
    tickets = {ticket.id: ticket for ticket in found}
    duplicate, original = tickets.get(duplicate_id), tickets.get(original_id)
    if duplicate is None or original is None or duplicate is original:
        raise ValueError(f"received {duplicate_id}, {original_id}; expected two live tickets")
    if original.duplicate_of_id is not None or duplicate.status in DONE:
        raise ValueError(
            f"received {duplicate!r} as duplicate of {original!r}; "
            "expected one that is open, of one that is no duplicate itself"
        )
    duplicate.duplicate_of_id, duplicate.status = original.id, TicketStatus.CLOSED
    duplicate.resolved_at = datetime.now(UTC)
    return duplicate


def mark_duplicate(session: Session, duplicate_id: int, original_id: int) -> Ticket:
    """Close one ticket as the duplicate of another; of two that cross, the second is refused.

    Both rows are locked in one statement *before* anything is decided.  Raises ``ValueError``.
    """
    found = session.scalars(lock_tickets([duplicate_id, original_id]))
    ticket = close_as_duplicate(found, duplicate_id, original_id)
    session.flush()
    return ticket


async def async_mark_duplicate(
    session: AsyncSession, duplicate_id: int, original_id: int
) -> Ticket:
    """The same for asyncio."""
    found = await session.scalars(lock_tickets([duplicate_id, original_id]))
    ticket = close_as_duplicate(found, duplicate_id, original_id)
    await session.flush()
    return ticket


# --- Versions -------------------------------------------------------------------------------------


def etag(version: int) -> str:
    """What a response carries in ``ETag``."""
    return f'"{version}"'


def expected_version(if_match: str) -> int:
    """The version in ``If-Match``.  Raises ``ValueError``; a weak tag matches none (RFC 9110)."""
    found = re.fullmatch(r'"([0-9]{1,9})"', if_match.strip())
    if found is None:
        raise ValueError(f'received If-Match: {if_match!r}; expected an ETag, for example "3"')
    return int(found[1])


def ticket_as_stored(ticket_id: int) -> Select[Ticket]:
    """A live ticket with the values that the database has."""
    return (
        select(Ticket)
        .where(Ticket.id == ticket_id, Ticket.deleted_at.is_(None))
        .execution_options(populate_existing=True)
    )


def stored_version(ticket_id: int) -> Select[int]:
    """The version of a live ticket; no row where it is gone."""
    return select(Ticket.version).where(Ticket.id == ticket_id, Ticket.deleted_at.is_(None))


def require_version(ticket: Ticket | None, ticket_id: int, expected: int) -> Ticket:
    """*ticket*, which must be there, at *expected*.  Raises ``ChangedMeanwhile``."""
    if ticket is None:
        raise ChangedMeanwhile(ticket_id, expected, None)
    if ticket.version != expected:
        raise ChangedMeanwhile(ticket_id, expected, ticket.version)
    return ticket


@contextmanager
def changing(session: Session, ticket_id: int, expected: int) -> Iterator[Ticket]:
    """The ticket to be changed in the block, if it still is what the client has seen.

    Compared twice: here with the client's version, and by the UPDATE (``version_id_col``) with
    what was read here.  The block is a savepoint: the caller's transaction survives a refusal.
    Raises ``ChangedMeanwhile`` for both.
    """
    session.flush()  # what came before: its failure is not ours to tell
    try:
        with session.begin_nested():
            ticket = session.scalars(ticket_as_stored(ticket_id)).one_or_none()
            yield require_version(ticket, ticket_id, expected)
    except StaleDataError as error:
        found = session.scalars(stored_version(ticket_id)).one_or_none()
        raise ChangedMeanwhile(ticket_id, expected, found) from error


@asynccontextmanager
async def async_changing(
    session: AsyncSession, ticket_id: int, expected: int
) -> AsyncIterator[Ticket]:
    """The same for asyncio."""
    await session.flush()
    try:
        async with session.begin_nested():
            ticket = (await session.scalars(ticket_as_stored(ticket_id))).one_or_none()
            yield require_version(ticket, ticket_id, expected)
    except StaleDataError as error:
        found = (await session.scalars(stored_version(ticket_id))).one_or_none()
        raise ChangedMeanwhile(ticket_id, expected, found) from error


# --- Locks on names -------------------------------------------------------------------------------


def lock_key(name: str) -> ColumnElement[int]:
    """The 64-bit key of *name*: the same in every process, as ``hash()`` is not."""
    digest = hashlib.sha256(name.encode()).digest()
    return literal(int.from_bytes(digest[:8], "big", signed=True), BigInteger)


def lock_name(name: str) -> Select[None]:
    """Wait for *name*; it is free again when the transaction ends, in whatever way."""
    return select(func.pg_advisory_xact_lock(lock_key(name)))


def try_lock_name(name: str) -> Select[bool]:
    """Take *name* until the end of the transaction if it is free: True."""
    return select(func.pg_try_advisory_xact_lock(lock_key(name)))


@contextmanager
def only_one(engine: Engine, name: str) -> Iterator[bool]:
    """Whether this process is the one to do it: for jobs of hours, which hold no transaction.

    The lock is the *connection's*, so it has one of its own, and gives it up before the pool gets
    it back.  It ends with the process, too.  Not through PgBouncer in transaction mode.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        got: bool = connection.scalars(select(func.pg_try_advisory_lock(lock_key(name)))).one()
        try:
            yield got
        finally:
            if got:
                connection.execute(select(func.pg_advisory_unlock(lock_key(name))))


@asynccontextmanager
async def async_only_one(engine: AsyncEngine, name: str) -> AsyncIterator[bool]:
    """The same for asyncio."""
    async with engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        taken = await connection.scalars(select(func.pg_try_advisory_lock(lock_key(name))))
        got: bool = taken.one()
        try:
            yield got
        finally:
            if got:
                await connection.execute(select(func.pg_advisory_unlock(lock_key(name))))


# --- Isolation ------------------------------------------------------------------------------------


def agents_on_duty(*, lock: bool) -> Select[int]:
    """The ids of the staff who are active, locked if asked for."""
    query = select(User.id).where(User.is_staff, User.is_active).order_by(User.id)
    return query.with_for_update(key_share=True, of=User) if lock else query


def leave_desk(session: Session, agent_id: int, *, lock: bool = True) -> None:
    """Sign an agent off, unless nobody would be left (``NobodyLeft``).

    Two who leave at once see each other on duty, and change different rows.  Lock what the
    decision rests on, or run it with ``lock=False`` under ``serializable``.
    """
    on_duty = session.scalars(agents_on_duty(lock=lock)).all()
    if set(on_duty) <= {agent_id}:
        raise NobodyLeft(f"agent {agent_id} is the last on duty")
    session.execute(update(User).where(User.id == agent_id).values(is_active=False))


async def async_leave_desk(session: AsyncSession, agent_id: int, *, lock: bool = True) -> None:
    """The same for asyncio."""
    await session.run_sync(leave_desk, agent_id, lock=lock)


def sqlstate(error: DBAPIError) -> str | None:
    """The five characters by which PostgreSQL names an error; the drivers differ in all else."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def serializable(engine: Engine, work: Callable[[Session], T], *, attempts: int = 5) -> T:
    """Run *work* in a SERIALIZABLE transaction, as a whole again after a serialization failure.

    The failure may come as late as at the COMMIT: only who owns the transaction can repeat it.
    *work* must do nothing outside the database.  Raises the last ``DBAPIError``.
    """
    factory = session_factory(engine.execution_options(isolation_level="SERIALIZABLE"))
    while True:
        attempts -= 1
        try:
            with factory.begin() as session:
                return work(session)
        except DBAPIError as error:
            if attempts < 1 or sqlstate(error) not in TRY_AGAIN:
                raise


async def async_serializable(
    engine: AsyncEngine, work: Callable[[AsyncSession], Awaitable[T]], *, attempts: int = 5
) -> T:
    """The same for asyncio."""
    factory = async_session_factory(engine.execution_options(isolation_level="SERIALIZABLE"))
    while True:
        attempts -= 1
        try:
            async with factory.begin() as session:
                return await work(session)
        except DBAPIError as error:
            if attempts < 1 or sqlstate(error) not in TRY_AGAIN:
                raise


def titles(tickets: Sequence[Ticket]) -> list[str]:
    """What the demo shows."""
    return [ticket.title for ticket in tickets]


def demo(engine: Engine) -> None:
    """Two agents at one queue, at one ticket, at one rule."""
    factory = session_factory(engine)
    with factory.begin() as session:
        acme = Organization(name="Acme", slug="acme")
        ann, bob = (
            User(email=f"{name}@desk.example", full_name=name, password_hash="!", is_staff=True)
            for name in ("Ann", "Bob")
        )
        fields = {"description": "It fails.", "organization": acme, "creator": ann}
        for title, priority in (("A", "low"), ("B", "high"), ("C", "urgent"), ("D", "high")):
            session.add(Ticket(title=title, priority=TicketPriority(priority), **fields))
            session.flush()  # one by one: the ids follow the letters
        session.add(bob)
        session.flush()
        ann_id, bob_id = ann.id, bob.id
    with factory() as one, factory() as two:
        print("Ann takes", titles(claim_next(one, ann_id, 2)), end="; ")
        print("Bob, who does not wait, takes", titles(claim_next(two, bob_id)))
        one.rollback()
        two.commit()
        print("Ann's process dies. Bob takes", titles(claim_next(two, bob_id)))
        two.commit()
    with factory() as one, factory() as two:
        ticket_id, version = one.execute(
            select(Ticket.id, Ticket.version).order_by(Ticket.id).limit(1)
        ).one()
        print(f"Both have read ticket {ticket_id} with ETag {etag(version)}")
        with changing(two, ticket_id, version) as ticket:
            ticket.title = "Bob's title"
        two.commit()
        try:
            with changing(one, ticket_id, expected_version(etag(version))) as ticket:
                ticket.title = "Ann's title"
        except ChangedMeanwhile as refused:
            print("Ann is refused:", refused)
    with factory() as one, factory() as two:
        print("Ann locks", titles(one.scalars(lock_tickets([1, 2])).all()), end="; ")
        print("Bob, asking to skip, gets", titles(two.scalars(lock_tickets([2, 3], "skip")).all()))
        print("Nightly job: Ann", one.scalar(try_lock_name("nightly")), end="; ")
        print("Bob", two.scalar(try_lock_name("nightly")))
    strict = session_factory(engine.execution_options(isolation_level="SERIALIZABLE"))
    with strict() as one, strict() as two:
        leave_desk(one, ann_id, lock=False)
        leave_desk(two, bob_id, lock=False)
        one.commit()
        try:
            two.commit()
        except DBAPIError as error:
            print("Ann leaves; Bob at the same time is refused:", sqlstate(error))
    try:
        serializable(engine, lambda session: leave_desk(session, bob_id, lock=False))
    except NobodyLeft as refused:
        print("He tries again:", refused)
