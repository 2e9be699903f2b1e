"""Computed attributes: a value that Python and PostgreSQL work out alike.

Problem: a hybrid that works in Python alone gives ``WHERE false``, half of its condition, or a full
scan, and its two sides part ways where a clock changes.  Pattern: write both sides, compare columns
with a moment, and let SQL compute whatever would have to be loaded.  Not for what one report needs:
select it there.  PostgreSQL 15; virtual generated columns need 18.

To copy: mix ``TicketAges`` and ``EmailLogin`` into classes of yours, ``class Ticket(TicketAges,
Base)``.  ``DeskTicket`` and ``DeskUser`` are the other way, for classes that you may not edit: they
read the same tables, on a registry of which the desk's own classes know nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Computed,
    DateTime,
    Double,
    Engine,
    ForeignKey,
    Identity,
    Interval,
    MetaData,
    ScalarSelect,
    Select,
    SQLColumnExpression,
    and_,
    cast,
    extract,
    func,
    inspect,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.hybrid import Comparator, hybrid_method, hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    mapped_column,
    undefer,
)
from sqlalchemy.sql import operators

from .database import session_factory
from .models import Base, Comment, Organization, Ticket, TicketStatus, User

OVERDUE_AFTER = timedelta(days=7)

# --- Time -----------------------------------------------------------------------------------------


def in_utc(moment: datetime) -> datetime:
    """*moment* in UTC, as arithmetic needs it.  Raises ``ValueError`` where it has no time zone.

    Within any other zone Python subtracts on the wall clock: an hour off over a clock change.
    """
    if moment.tzinfo is None:
        raise ValueError(
            f"received {moment.isoformat()}; expected a time zone; try datetime.now(UTC)"
        )
    return moment.astimezone(UTC)


def moment_before(age: timedelta, now: datetime) -> datetime:
    """The moment *age* before *now*.  Raises ``ValueError`` where *now* has no time zone."""
    return in_utc(now) - age


def sql_moment_before(age: timedelta, now: datetime | None) -> ColumnElement[datetime] | datetime:
    """The same in SQL; without *now* by the server's clock, at the start of the transaction.

    In seconds: drivers send a ``timedelta`` as days, and "7 days" are 167 to 169 hours in a session
    whose zone changed its clocks (PostgreSQL, "Date/Time Functions and Operators").
    """
    if now is not None:
        return moment_before(age, now)
    seconds = func.make_interval(0, 0, 0, 0, 0, 0, age.total_seconds(), type_=Interval)
    return func.now() - seconds


def hours_between(start: datetime, end: datetime) -> float:
    """Hours that really passed.  Raises ``ValueError`` where one has no time zone."""
    return (in_utc(end) - in_utc(start)).total_seconds() / 3600


def sql_hours_between(
    start: SQLColumnExpression[Any], end: SQLColumnExpression[Any]
) -> ColumnElement[float | None]:
    """The same in SQL, NULL where one is; as a float, since EXTRACT gives a ``Decimal``."""
    hours: ColumnElement[Any] = cast(extract("epoch", end - start), Double) / 3600.0
    return hours


# --- Hybrids, to mix into a class that has the columns --------------------------------------------


class TicketAges:
    """How long a ticket has waited, by columns of its own row alone."""

    if TYPE_CHECKING:  # an annotation that declarative sees would make a column
        status: Mapped[TicketStatus]
        created_at: Mapped[datetime]
        resolved_at: Mapped[datetime | None]
        deleted_at: Mapped[datetime | None]

    @hybrid_method
    def is_open_since(self, age: timedelta, now: datetime | None = None) -> bool:
        """Whether it was made more than *age* before *now* and is neither done nor deleted."""
        if self.created_at is None or self.resolved_at or self.deleted_at:
            return False  # one that is not saved has no age
        return self.created_at < moment_before(age, now or datetime.now(UTC))

    @is_open_since.expression
    @classmethod
    def _is_open_since(cls, age: timedelta, now: datetime | None = None) -> ColumnElement[bool]:
        return open_since(cls, age, now)

    @hybrid_property
    def is_overdue(self) -> bool:
        """Whether it is open after ``OVERDUE_AFTER``."""
        return self.is_open_since(OVERDUE_AFTER)

    @is_overdue.inplace.expression
    @classmethod
    def _is_overdue(cls) -> ColumnElement[bool]:
        return open_since(cls, OVERDUE_AFTER)

    @hybrid_method
    def is_priority_escalation_needed(self, hours: float = 24, now: datetime | None = None) -> bool:
        """Whether nobody has begun to work on it for more than *hours*."""
        return self.status == TicketStatus.OPEN and self.is_open_since(timedelta(hours=hours), now)

    @is_priority_escalation_needed.expression
    @classmethod
    def _is_priority_escalation_needed(
        cls, hours: float = 24, now: datetime | None = None
    ) -> ColumnElement[bool]:
        age = timedelta(hours=hours)
        return and_(cls.status == TicketStatus.OPEN, open_since(cls, age, now))

    @hybrid_property
    def resolution_hours(self) -> float | None:
        """Hours from its creation until it was resolved; None while it is not."""
        if self.created_at is None or self.resolved_at is None:
            return None
        return hours_between(self.created_at, self.resolved_at)

    @resolution_hours.inplace.expression
    @classmethod
    def _resolution_hours(cls) -> ColumnElement[float | None]:
        return sql_hours_between(cls.created_at, cls.resolved_at)


def open_since(
    ticket: type[TicketAges], age: timedelta, now: datetime | None = None
) -> ColumnElement[bool]:
    """The SQL of ``is_open_since``.

    The column stands alone on its side, so an index serves it; the rest repeats the WHERE of
    ``ix_tickets_open_queue``, which PostgreSQL uses only for a query that implies it.
    """
    return and_(
        ticket.deleted_at.is_(None),
        ticket.resolved_at.is_(None),
        ticket.created_at < sql_moment_before(age, now),
    )


class Caseless(Comparator[str]):
    """Compares regardless of case, by the index on ``lower(column)``: ``==``, ``!=``, ``in_()``.

    PostgreSQL lowers both sides: its letters are those of the database's locale, not Python's.
    """

    def operate(
        self, op: operators.OperatorType, *other: Any, **options: Any
    ) -> ColumnElement[Any]:
        """Raises ``NotImplementedError`` for any other operator, which would mind the case."""
        column: ColumnElement[str] = func.lower(self.__clause_element__())
        if op in (operators.eq, operators.ne):
            return op(column, func.lower(other[0]), **options)
        if op in (operators.in_op, operators.not_in_op):
            return op(column, [func.lower(word) for word in other[0]], **options)
        raise NotImplementedError(f"received {op.__name__}; expected ==, != or in_()")


class EmailLogin:
    """``User.login == "Ann@X.org"`` finds ann@x.org.  On an object it is the address as stored."""

    if TYPE_CHECKING:
        email: Mapped[str]

    @hybrid_property
    def login(self) -> str:
        """The address; compare it in SQL, where case does not count."""
        return self.email

    @login.inplace.comparator
    @classmethod
    def _login(cls) -> Caseless:
        return Caseless(cls.email)


def hybrids_without_sql(base: type[DeclarativeBase]) -> list[str]:
    """Hybrids of the classes of *base* whose SQL side nobody wrote: assert that there is none.

    The Python side then runs on the class: ``if``, ``and``, ``or``, ``not`` take one branch for all
    rows, often in silence; in 2.1 one that raises breaks every ORM bulk INSERT and UPDATE.
    """
    found = []
    for mapper in base.registry.mappers:
        for name, attribute in inspect(mapper).all_orm_descriptors.items():
            if isinstance(attribute, hybrid_property):
                written = bool(attribute.expr or attribute.custom_comparator)
            elif isinstance(attribute, hybrid_method):
                written = attribute.expr is not attribute.func
            else:
                continue
            if not written:
                found.append(f"{mapper.class_.__name__}.{name}")
    return sorted(found)


# --- Correlated subqueries, and classes that read the desk's tables -------------------------------


def first_response_at(ticket_id: SQLColumnExpression[int]) -> ScalarSelect[datetime]:
    """When staff first answered a ticket in public; NULL while nobody has.

    ``correlate_except``: only the ticket comes from outside, even where that query names comments.
    """
    return (
        select(Comment.created_at)
        .where(
            Comment.ticket_id == ticket_id,
            Comment.is_internal.is_(False),
            User.id == Comment.author_id,
            User.is_staff,
        )
        .order_by(Comment.created_at, Comment.id)
        .limit(1)  # the index stops at the first; min() would read them all
        .correlate_except(Comment, User)
        .scalar_subquery()
    )


class DeskBase(DeclarativeBase):
    """A registry and metadata of their own."""

    metadata = MetaData(naming_convention=Base.metadata.naming_convention)
    type_annotation_map = {int: BigInteger, datetime: DateTime(timezone=True)}  # noqa: RUF012
    # A generated column changes with its row: UPDATE returns it, instead of expiring it.
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012


class DeskTicket(TicketAges, DeskBase):
    """A ticket for reading; write through ``Ticket``, which has all columns and their rules."""

    __table__ = Ticket.__table__
    __mapper_args__ = {  # noqa: RUF012
        "include_properties": [
            *("id", "ticket_number", "title", "status", "priority", "assignee_id"),
            *("created_at", "resolved_at", "deleted_at"),
        ]
    }

    if TYPE_CHECKING:
        id: Mapped[int]
        ticket_number: Mapped[str]
        title: Mapped[str]
        assignee_id: Mapped[int | None]

    # Needs other rows, so SQL alone computes it, and only where a statement asks by undefer().
    response_time_hours: Mapped[float | None] = column_property(
        sql_hours_between(__table__.c.created_at, first_response_at(__table__.c.id)),
        deferred=True,
        raiseload=True,
    )


class DeskUser(EmailLogin, DeskBase):
    """A user for reading, without what only signing in needs."""

    __table__ = User.__table__
    __mapper_args__ = {"include_properties": ["id", "email", "full_name"]}  # noqa: RUF012

    if TYPE_CHECKING:
        id: Mapped[int]
        full_name: Mapped[str]


class TimeEntry(DeskBase):
    """Work on a ticket; PostgreSQL computes ``seconds``, for plain SQL too, and indexes it."""

    __tablename__ = "time_entries"
    __table_args__ = (CheckConstraint("ended_at >= started_at", name="ends_after_start"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    ticket_id: Mapped[int] = mapped_column(
        ForeignKey(Ticket.__table__.c.id, ondelete="CASCADE"), index=True
    )
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    seconds: Mapped[int] = mapped_column(
        Computed("extract(epoch FROM ended_at - started_at)", persisted=True), index=True
    )


# --- Statements -----------------------------------------------------------------------------------


def overdue_tickets(assignee_id: int | None = None, *, limit: int = 50) -> Select[DeskTicket]:
    """Overdue tickets, of one assignee if given, oldest first."""
    query = select(DeskTicket).where(DeskTicket.is_overdue)
    if assignee_id is not None:
        query = query.where(DeskTicket.assignee_id == assignee_id)
    return query.order_by(DeskTicket.created_at, DeskTicket.id).limit(limit)


def tickets_to_escalate(hours: float = 24, *, limit: int = 50) -> Select[DeskTicket]:
    """Tickets that nobody has begun to work on for more than *hours*, oldest first."""
    return (
        select(DeskTicket)
        .where(DeskTicket.is_priority_escalation_needed(hours))
        .order_by(DeskTicket.created_at, DeskTicket.id)
        .limit(limit)
    )


def with_response_times(ticket_ids: Sequence[int]) -> Select[DeskTicket]:
    """Tickets with their ``response_time_hours``; no comment is loaded.

    ``populate_existing``: a ticket that the session holds would keep the value that it had.
    """
    return (
        select(DeskTicket)
        .where(DeskTicket.id.in_(list(ticket_ids)))
        .order_by(DeskTicket.id)
        .options(undefer(DeskTicket.response_time_hours))
        .execution_options(populate_existing=True)
    )


def user_by_email(email: str) -> Select[DeskUser]:
    """The one user with this address, however it is written."""
    return select(DeskUser).where(DeskUser.login == email)


def find_overdue(session: Session, assignee_id: int | None = None) -> Sequence[DeskTicket]:
    """The tickets of ``overdue_tickets``."""
    return session.scalars(overdue_tickets(assignee_id)).all()


async def async_find_overdue(
    session: AsyncSession, assignee_id: int | None = None
) -> Sequence[DeskTicket]:
    """The same for asyncio."""
    return (await session.scalars(overdue_tickets(assignee_id))).all()


def demo(engine: Engine) -> None:
    """Three tickets, old and new, asked in Python and in SQL."""
    DeskBase.metadata.create_all(engine)
    now = datetime.now(UTC)
    with session_factory(engine).begin() as session:
        acme = Organization(name="Acme", slug="acme")
        ann = User(email="Ann@Acme.example", full_name="Ann", password_hash="!")
        sam = User(email="sam@desk.example", full_name="Sam", password_hash="!", is_staff=True)
        fields = {"description": "It fails.", "organization": acme, "creator": ann}
        for title, days in (("New", 0.5), ("Waiting", 2), ("Forgotten", 7.5)):
            ticket = Ticket(title=title, created_at=now - timedelta(days=days), **fields)
            ticket.comments = [
                Comment(author=ann, content="Anybody there?", created_at=now - timedelta(days=0.4)),
                Comment(author=sam, content="On it.", created_at=now - timedelta(hours=6)),
            ]
            session.add(ticket)
        session.flush()
        begun = now - timedelta(hours=1)
        session.add(TimeEntry(ticket_id=ticket.id, started_at=begun, ended_at=now))
    with session_factory(engine)() as session:
        ids = list(session.scalars(select(DeskTicket.id)))
        for found in session.scalars(with_response_times(ids)):
            print(
                f"{found.title:10} overdue: {found.is_overdue!s:6}"
                f"escalate: {found.is_priority_escalation_needed()!s:6}"
                f"first answer after {found.response_time_hours:.1f} hours"
            )
        print("SQL, overdue:  ", [found.title for found in find_overdue(session)])
        print("SQL, escalate: ", [found.title for found in session.scalars(tickets_to_escalate())])
        print("ann@acme.example is", session.scalars(user_by_email("ann@acme.example")).one().email)
        print("Seconds worked, by PostgreSQL:", session.scalar(select(TimeEntry.seconds)))
        print("Hybrids without an SQL side:", hybrids_without_sql(DeskBase))
