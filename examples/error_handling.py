"""Errors: from what the driver says to what a user may read, and a retry of what is safe to repeat.

Problem: three drivers tell one failure in three ways, the text quotes the row with its password
hash, and a retry at the wrong place stores everything twice.  Pattern: read the SQLSTATE and the
constraint's name, raise an error whose text is ours, log the rest, repeat whole transactions only.
Not for scripts: a traceback on a terminal is the best message that there is.

The names of fields come out of the metadata, so every constraint needs a name (``Base`` has the
convention).  PostgreSQL 18 reports RESTRICT as 23001, older ones as 23503: both are ``InUseError``.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import random
import re
import secrets
import socket
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from sqlalchemy import (
    CheckConstraint,
    Engine,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
    event,
    exc,
    select,
    update,
)
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from .database import session_factory
from .models import Base, Organization, Tag, Ticket, User

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

# DETAIL quotes the key, in every language, as (column)=(value).
KEY = re.compile(r"\(([^()]*)\)=\(")


class DeskError(Exception):
    """Words that a user may read: ours, and names of our columns.  ``incident`` finds the log."""

    said: ClassVar[str] = "Something went wrong"

    def __init__(
        self, fields: tuple[str, ...] = (), sqlstate: str | None = None, may_retry: bool = False
    ) -> None:
        super().__init__(fields, sqlstate, may_retry)  # what a worker's queue pickles
        self.fields, self.sqlstate, self.may_retry = fields, sqlstate, may_retry
        self.incident = secrets.token_hex(4)

    def __str__(self) -> str:
        return f"{self.said}: {', '.join(self.fields)}" if self.fields else self.said


class NotFoundError(DeskError):
    said = "There is no such record"


class StaleError(DeskError):  # never retried: the user must look
    said = "Somebody changed this meanwhile; load it again"


class RejectedError(DeskError):
    """PostgreSQL refused these values; others may do.  ``fields`` names the columns."""


class ConflictError(RejectedError):  # unique, exclusion
    said = "Already taken"


class InvalidValueError(RejectedError):  # a check, NULL, what the type cannot hold
    said = "Not a valid value"


class MissingReferenceError(RejectedError):  # a foreign key to nothing
    said = "Refers to what does not exist"


class InUseError(RejectedError):  # others refer to it; fields are theirs
    said = "Still in use"


class BusyError(DeskError):  # a lock, a deadlock, a serialization failure
    said = "Busy; try again"


class TimedOutError(DeskError):  # or cancelled
    said = "It took too long"


class UnavailableError(DeskError):  # no connection: none free, refused, lost
    said = "The desk cannot be reached; try again later"


class ReadOnlyError(DeskError):  # a replica, or a read-only transaction
    said = "Nothing can be changed at the moment"


class ForbiddenError(DeskError):  # privileges, and row-level security
    said = "Not permitted"


class OutcomeUnknownError(DeskError):  # the answer to COMMIT was lost
    said = "It may have been stored, or not; look before you try again"


class UnexpectedError(DeskError):
    """Anything else: a mistake of ours, such as two rows where one was asked for."""


# SQLSTATE, or its first two letters → kind (PostgreSQL, "Error Codes").
KINDS: dict[str, type[DeskError]] = {
    "23505": ConflictError,  # unique
    "23P01": ConflictError,  # exclusion
    "23503": MissingReferenceError,
    "23001": InUseError,
    "23": InvalidValueError,
    "22": InvalidValueError,
    "40001": BusyError,  # serialization failure
    "40P01": BusyError,  # deadlock
    "55P03": BusyError,  # lock not available: NOWAIT, lock_timeout
    "57014": TimedOutError,  # statement_timeout, pg_cancel_backend
    "25006": ReadOnlyError,
    "42501": ForbiddenError,
    # Lost, refused by password or database name, no resources (53300: connections), shut down;
    # idle_in_transaction_session_timeout and transaction_timeout end the connection as well.
    **dict.fromkeys(("08", "28", "3D", "53", "57", "25P03", "25P04"), UnavailableError),
}
# What comes without an SQLSTATE.
RAISED: dict[type[BaseException], type[DeskError]] = {
    exc.NoResultFound: NotFoundError,
    ObjectDeletedError: NotFoundError,
    StaleDataError: StaleError,
    exc.TimeoutError: UnavailableError,  # the pool's: no connection became free
    # What asyncpg raises bare: its command_timeout, and a server that does not answer.
    TimeoutError: TimedOutError,
    ConnectionError: UnavailableError,
    socket.gaierror: UnavailableError,
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the server or the driver said, whichever driver it was.  For the log, not for users."""

    driver_class: str
    sqlstate: str | None
    lost: bool  # the connection is gone
    message: str
    detail: str
    schema: str | None
    table: str | None
    column: str | None
    constraint: str | None
    statement: str
    parameters: Any  # None unless the engine has hide_parameters=False


def facts_of(error: BaseException) -> Facts:
    """Read *error*: psycopg and psycopg2 keep it in ``diag``, asyncpg in the cause.

    psycopg2 calls the SQLSTATE ``pgcode``, and has none for a connection that died: there,
    SQLAlchemy's ``connection_invalidated`` tells.
    """
    wrapped = error if isinstance(error, exc.StatementError) else None
    raised = (wrapped and wrapped.orig) or error
    cause = raised.__cause__
    driver = cause if wrapped and hasattr(cause, "sqlstate") else raised
    said = getattr(driver, "diag", driver)
    shown = wrapped is not None and not wrapped.hide_parameters
    # A session that must be rolled back first quotes what went before.
    first_line = re.split(r"exception(?: was)?: |\n", str(driver))[0]
    return Facts(
        driver_class=f"{type(driver).__module__}.{type(driver).__name__}",
        sqlstate=getattr(driver, "sqlstate", None) or getattr(driver, "pgcode", None),
        lost=wrapped is not None and wrapped.connection_invalidated,
        message=getattr(said, "message_primary", None) or first_line,
        detail=getattr(said, "message_detail", None) or getattr(said, "detail", None) or "",
        schema=getattr(said, "schema_name", None),
        table=getattr(said, "table_name", None),
        column=getattr(said, "column_name", None),
        constraint=getattr(said, "constraint_name", None),
        statement=(wrapped and wrapped.statement) or "",
        parameters=wrapped.params if wrapped and shown else None,
    )


def kind_of(error: BaseException, facts: Facts) -> type[DeskError] | None:
    """What kind *error* is; ``None`` for what is no error of a database."""
    for raised, kind in RAISED.items():
        if isinstance(error, raised):
            return kind
    # asyncio's, and so asyncpg's: no way to the host, or to any of its addresses.
    no_way = isinstance(error, OSError) and (
        error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}
        or str(error).startswith("Multiple exceptions: ")
    )
    if facts.lost or no_way:
        return UnavailableError
    if facts.sqlstate:
        return KINDS.get(facts.sqlstate) or KINDS.get(facts.sqlstate[:2]) or UnexpectedError
    if isinstance(error, exc.OperationalError):
        return UnavailableError  # psycopg and psycopg2 have no SQLSTATE for a failed connect
    if isinstance(error, exc.StatementError):
        # The value did not get as far as the server: an unknown label, a NUL character.
        refused = isinstance(error.orig, LookupError | TypeError | ValueError)
        return InvalidValueError if refused or isinstance(error, exc.DataError) else UnexpectedError
    return UnexpectedError if isinstance(error, exc.SQLAlchemyError) else None


def find_rule(facts: Facts, metadata: MetaData) -> tuple[Table | None, Any]:
    """The table that *facts* names, and its constraint or unique index; each where known."""
    names: Any = PGDialect().identifier_preparer  # type: ignore[no-untyped-call]
    tables = metadata.tables
    table = tables.get(f"{facts.schema}.{facts.table}", tables.get(facts.table or ""))
    rules: list[Any] = [] if table is None else [*table.constraints, *table.indexes]
    for rule in rules:
        # The preparer cuts long names as CREATE TABLE does.
        made = names.format_index if isinstance(rule, Index) else names.format_constraint
        if rule.name is not None and (made(rule) or "").strip('"') == facts.constraint:
            return table, rule
    return table, None


def fields_of(facts: Facts, metadata: MetaData) -> tuple[str, ...]:
    """The columns at fault; none where *metadata* does not know the constraint."""
    table, rule = find_rule(facts, metadata)
    if table is None:
        return ()
    if isinstance(rule, Index):
        written = " ".join(map(str, rule.expressions))
    elif isinstance(rule, CheckConstraint):
        written = re.sub(r"'[^']*'", "", str(rule.sqltext))  # a literal may look like a column
    else:
        written = " ".join(rule.columns.keys() if rule is not None else [facts.column or ""])
    words = re.findall(r"\w+", written)
    return tuple(dict.fromkeys(word for word in words if word in table.columns))


def is_still_referred_to(facts: Facts, metadata: MetaData) -> bool:
    """Whether a foreign key refused to let a row go, rather than to take one in."""
    # The words of the message depend on the server's language; the columns of its key do not.
    (_, rule), key = find_rule(facts, metadata), KEY.search(facts.detail)
    if isinstance(rule, ForeignKeyConstraint) and key:
        referred = [element.column.name for element in rule.elements]
        if referred != [column.name for column in rule.columns]:
            return key[1].split(", ") == referred
    return facts.statement.lstrip().upper().startswith("DELETE")


def translate(error: BaseException, metadata: MetaData = Base.metadata) -> DeskError | None:
    """*error* as one of ours, on every driver the same; ``None`` for what is no database error."""
    if isinstance(error, DeskError):
        return error
    facts = facts_of(error)
    kind = kind_of(error, facts)
    if kind is None:
        return None
    if kind is MissingReferenceError and is_still_referred_to(facts, metadata):
        kind = InUseError
    return kind(
        fields=fields_of(facts, metadata),
        sqlstate=facts.sqlstate,
        may_retry=facts.lost or facts.sqlstate in {"40001", "40P01"},
    )


def log_text(error: BaseException, translated: DeskError) -> str:
    """All of *error*, except what would quote a customer's row or a password.

    ``hide_parameters`` alone is not enough: the DETAIL of a failed check is the whole row, a value
    of the wrong type stands in the message itself, and ``log.exception`` prints both.
    """
    facts = facts_of(error)
    state = facts.sqlstate or ""
    lines = [f"incident {translated.incident}: {facts.driver_class}, SQLSTATE {state or 'none'}"]
    shown = facts.parameters is not None
    # What refused a value quotes it.
    quotes = state[:2] == "22" or (isinstance(error, exc.StatementError) and not state)
    if shown or not quotes or isinstance(translated, UnavailableError | OutcomeUnknownError):
        lines.append(f"message: {facts.message}")
    if facts.detail and (shown or state[:2] in {"40", "55", "57"}):
        lines.append(f"detail: {facts.detail}")
    labels = ("table", "column", "constraint", "statement", "parameters")
    lines += [f"{label}: {getattr(facts, label)}" for label in labels if getattr(facts, label)]
    return "\n".join([*lines, *map(str.rstrip, traceback.format_tb(error.__traceback__))])


@contextmanager
def domain_errors(metadata: MetaData = Base.metadata) -> Iterator[None]:
    """Raise what the database says within the block as a ``DeskError``, and log the rest.

    Put it around the unit of work, COMMIT included; it serves ``async with`` blocks as well.
    ``from None``: whoever logs the new error must not print the old one behind it.
    """
    try:
        yield
    except DeskError:
        raise
    except Exception as error:
        translated = translate(error, metadata)
        if translated is None:
            raise
        expected = isinstance(translated, NotFoundError | StaleError | RejectedError)
        log.log(logging.INFO if expected else logging.ERROR, "%s", log_text(error, translated))
        raise translated from None


def add_each(session: Session, rows: Iterable[R]) -> list[tuple[R, RejectedError]]:
    """Add *rows*, each in a savepoint; those that PostgreSQL refused, and why.

    Only a refusal is survived: after a deadlock, a serialization failure or a lost connection the
    transaction is over, and the error is raised as it came.
    """
    refused = []
    session.flush()  # what was pending before must not count against the first row
    for row in rows:
        try:
            with session.begin_nested():
                session.add(row)
        except exc.StatementError as error:
            translated = translate(error)
            if not isinstance(translated, RejectedError):
                raise
            refused.append((row, translated))
    return refused


async def async_add_each(session: AsyncSession, rows: Iterable[R]) -> list[tuple[R, RejectedError]]:
    """The same for asyncio."""
    return await session.run_sync(add_each, rows)


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often, and how long between: seconds, doubled each time, and a random part of it.

    Without a pause a deadlock's loser may take its row before the winner wakes, and lose again.
    """

    attempts: int = 5
    first: float = 0.05
    longest: float = 1.0

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for what would not try at all, or not end."""
        if self.attempts < 1 or not 0 <= self.first <= self.longest < 3600:
            raise ValueError(f"received {self}; expected attempts >= 1, 0 <= first <= longest")

    def pauses(self) -> Iterator[float]:
        """A pause for each attempt but the first."""
        for number in range(self.attempts - 1):
            # 30: the power of a long series would not fit a float.
            yield random.uniform(0, min(self.longest, self.first * 2 ** min(number, 30)))  # noqa: S311


@contextmanager
def refused_commits(session: Session) -> Iterator[None]:
    """Within the block only savepoints are released: half a transaction cannot be repeated."""

    def refuse(session: Session) -> None:
        if not session.in_nested_transaction():
            raise RuntimeError("work that is retried must not commit: the retry does")

    event.listen(session, "before_commit", refuse)
    try:
        yield
    finally:
        event.remove(session, "before_commit", refuse)


def flush_whole(session: Session) -> None:
    """Flush, and raise unless COMMIT will store what the transaction has done.

    A statement that failed has ended it, though the error was caught: then PostgreSQL answers
    COMMIT with ROLLBACK, and no driver tells.
    """
    session.flush()
    if session.in_transaction():
        session.execute(select(1))  # 25P02, and nothing is committed


def pause_before_retry(error: Exception, pauses: Iterator[float], *, committing: bool) -> float:
    """Seconds to wait before the next attempt.  Raises *error* where there must be none.

    A COMMIT that was answered with an SQLSTATE was refused, and nothing is stored.  One whose
    answer was lost may have been done: raises ``OutcomeUnknownError``.
    """
    facts = facts_of(error)
    unanswered = isinstance(error, exc.DBAPIError) and facts.sqlstate is None
    if committing and (facts.lost or unanswered or isinstance(error, TimeoutError)):
        unknown = OutcomeUnknownError(sqlstate=facts.sqlstate)
        log.error("%s", log_text(error, unknown))
        raise unknown from None
    translated = translate(error)
    pause = next(pauses, None) if translated and translated.may_retry else None
    if pause is None:
        raise error
    log.warning("SQLSTATE %s: the transaction is repeated in %.3f s", facts.sqlstate, pause)
    return pause


def retried(
    work: Callable[Concatenate[Session, P], R], *, retry: Retry | None = None
) -> Callable[Concatenate[sessionmaker[Session], P], R]:
    """A decorator: *work* is written for a session, and called with a factory of sessions.

    Each attempt is the whole transaction in a session of its own, committed here.  Repeated are a
    serialization failure, a deadlock, a connection lost before COMMIT.  *work* may run several
    times: it sends no e-mail, does not commit (``RuntimeError``), and returns values, no objects.
    """

    @functools.wraps(work)
    def run(factory: sessionmaker[Session], /, *args: P.args, **kwargs: P.kwargs) -> R:
        pauses = (retry or Retry()).pauses()
        while True:
            committing = False
            try:
                with factory() as session:
                    with refused_commits(session):
                        result = work(session, *args, **kwargs)
                        flush_whole(session)  # what fails here is surely not committed
                    committing = True
                    session.commit()
                return result
            except Exception as error:
                pause = pause_before_retry(error, pauses, committing=committing)
            time.sleep(pause)  # the connection is back in the pool meanwhile

    return run


def async_retried(
    work: Callable[Concatenate[AsyncSession, P], Awaitable[R]], *, retry: Retry | None = None
) -> Callable[Concatenate[async_sessionmaker[AsyncSession], P], Coroutine[Any, Any, R]]:
    """The same for asyncio."""

    @functools.wraps(work)
    async def run(
        factory: async_sessionmaker[AsyncSession], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        pauses = (retry or Retry()).pauses()
        while True:
            committing = False
            try:
                async with factory() as session:
                    with refused_commits(session.sync_session):
                        result = await work(session, *args, **kwargs)
                        await session.run_sync(flush_whole)
                    committing = True
                    await session.commit()
                return result
            except Exception as error:
                pause = pause_before_retry(error, pauses, committing=committing)
            await asyncio.sleep(pause)

    return run


def demo(engine: Engine) -> None:
    """Meet a taken address, a user in use, a list with bad rows, and a rival."""
    factory = session_factory(engine)
    with factory.begin() as session:
        acme = Organization(name="Acme", slug="acme")
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="h4sh")
        session.add(Ticket(title="Hello", description="!", organization=acme, creator=ann))
    try:
        with factory.begin() as session:
            session.add(User(email="ANN@acme.example", full_name="Eve", password_hash="h4sh"))
    except exc.IntegrityError as error:
        conflict = translate(error)
        assert conflict is not None
        print(f"The user reads: {conflict}.  The log has:")
        logged = log_text(error, conflict)
        print(*(f"    {line[:90]}" for line in logged.splitlines()[:6]), sep="\n")
        print(f"and no hash: {'h4sh' not in logged}.")
    try:
        with domain_errors(), factory.begin() as session:
            session.delete(session.scalars(select(User)).one())
    except InUseError as error:
        print(f"Ann cannot be deleted: {error}.")
    with factory.begin() as session:
        tags = [Tag(name="VIP"), Tag(name="vip"), Tag(name="new", color="red"), Tag(name="old")]
        for _, why in add_each(session, tags):
            print(f"Refused in its savepoint: {why}.")
        print("Kept:", session.scalars(select(Tag.name).order_by(Tag.id)).all())

    seen: list[str] = []

    def rename(session: Session) -> None:
        seen.append(session.scalars(select(Organization.name)).one())
        if len(seen) == 1:
            with factory.begin() as rival:
                rival.execute(update(Organization).values(name="Acme Ltd"))
        session.execute(update(Organization).values(name=f"{seen[-1]}, Berlin"))

    retried(rename)(sessionmaker(engine.execution_options(isolation_level="REPEATABLE READ")))
    print(f"{len(seen)} attempts, which read {seen}: the rival's change is not lost.")
