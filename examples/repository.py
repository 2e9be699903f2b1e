"""Repository: one place for a rule that every query must keep; for all else, the session is one.

Problem: a forgotten ``organization_id`` shows a customer the tickets of another; the usual cure, a
generic ``create(**kwargs)`` that commits, takes any column, drops what is misspelt, and makes two
steps two transactions.  Pattern: a small class bound to a session *and a tenant*, whose values are
typed and whose methods flush at most; a unit of work owns the transaction.  Not where there is no
such rule: a class that only forwards to ``session.get`` and ``session.add`` hides the loading
options, the locks and the statements that its callers need.
"""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Engine,
    Select,
    any_,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from .database import session_factory
from .models import Comment, Organization, Ticket, TicketPriority, User

PAGE_LIMIT = 200


class NoTicketError(LookupError):
    """This customer has no such live ticket; whether another has is not told."""


class FieldError(TypeError):
    """A change of what is not to be changed, or is misspelt."""


@dataclass(frozen=True, kw_only=True)
class NewTicket:
    """What a ticket is opened with; a name that is not here is a ``TypeError``."""

    title: str
    description: str
    creator_id: int
    priority: TicketPriority = TicketPriority.MEDIUM


class TicketChanges(TypedDict, total=False):
    """What may be changed; only what is named is.

    Not the tenant, the version or the status, whose change has rules: those have functions.
    """

    title: str
    description: str
    priority: TicketPriority
    assignee_id: int | None


FIELDS = frozenset(TicketChanges.__annotations__)


# --- Statements -----------------------------------------------------------------------------------


def checked(changes: TicketChanges) -> dict[str, Any]:
    """*changes* as values of an UPDATE.

    A type checker refuses a wrong name in a literal; this refuses what came out of JSON.
    Raises ``FieldError``, and ``ValueError`` where nothing is to be changed.
    """
    for name in changes:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, 1)
            hint = f"; try {near[0]!r}" if near else ""
            raise FieldError(
                f"received the field {name!r}; expected {', '.join(sorted(FIELDS))}{hint}"
            )
    if not changes:
        raise ValueError("received no changes; expected at least one")
    return dict(changes)


def within(organization_id: int) -> ColumnElement[bool]:
    """The rule: this customer's, and not deleted.  Every statement here has it."""
    return (Ticket.organization_id == organization_id) & Ticket.deleted_at.is_(None)


def ticket_of(organization_id: int, ticket_id: int) -> Select[Ticket]:
    """One by key."""
    return select(Ticket).where(within(organization_id), Ticket.id == ticket_id)


def tickets_of(organization_id: int, *, after: int = 0, limit: int = 50) -> Select[Ticket]:
    """The next *limit* in the order of the key.  Raises ``ValueError``: no list is unbounded."""
    if not 1 <= limit <= PAGE_LIMIT:
        raise ValueError(f"received limit={limit}; expected 1 to {PAGE_LIMIT}")
    query = select(Ticket).where(within(organization_id), Ticket.id > after)
    return query.order_by(Ticket.id).limit(limit)


def opening() -> ReturningInsert[int]:
    """Many rows in one statement; their ids come back in the order of the rows."""
    return insert(Ticket).returning(Ticket.id, sort_by_parameter_order=True)


def rows_of(organization_id: int, new: Sequence[NewTicket]) -> list[dict[str, Any]]:
    """The rows of ``opening``: the tenant is the repository's, whatever a caller would like."""
    return [asdict(each) | {"organization_id": organization_id} for each in new]


def changing(
    organization_id: int, ticket_ids: Sequence[int], changes: TicketChanges
) -> ReturningUpdate[Ticket]:
    """Change many at once, one parameter for all keys; the version moves, as ``update()`` forgets.

    ``populate_existing``: what the session holds gets the new values.  Raises ``FieldError``.
    """
    chosen = Ticket.id == any_(literal(list(ticket_ids), ARRAY(BigInteger)))
    return (
        update(Ticket)
        .where(within(organization_id), chosen)
        .values(version=Ticket.version + 1, **checked(changes))
        .returning(Ticket)
        .execution_options(synchronize_session=False, populate_existing=True)
    )


def removal(organization_id: int, ticket_id: int) -> ReturningUpdate[Ticket]:
    """Put it into the bin; what the session holds gets the new values, as in ``changing``."""
    return (
        update(Ticket)
        .where(within(organization_id), Ticket.id == ticket_id)
        .values(deleted_at=func.now(), version=Ticket.version + 1)
        .returning(Ticket)
        .execution_options(synchronize_session=False, populate_existing=True)
    )


def found(ticket: Ticket | None, ticket_id: int) -> Ticket:
    """*ticket*.  Raises ``NoTicketError`` where there is none."""
    if ticket is None:
        raise NoTicketError(f"no ticket {ticket_id}")
    return ticket


# --- The repository -------------------------------------------------------------------------------


class Tickets:
    """The live tickets of one customer, in the caller's transaction: nothing here commits."""

    def __init__(self, session: Session, organization_id: int) -> None:
        self.session, self.organization_id = session, organization_id

    def get(self, ticket_id: int) -> Ticket:
        """One by key.  Raises ``NoTicketError``, for another customer's as well."""
        query = ticket_of(self.organization_id, ticket_id)
        return found(self.session.scalars(query).one_or_none(), ticket_id)

    def page(self, *, after: int = 0, limit: int = 50) -> Sequence[Ticket]:
        """The next ones behind the key *after*."""
        query = tickets_of(self.organization_id, after=after, limit=limit)
        return self.session.scalars(query).all()

    def open(self, new: NewTicket) -> Ticket:
        """Add one, flushed: its key, its number and its defaults are there."""
        ticket = Ticket(**asdict(new), organization_id=self.organization_id)
        self.session.add(ticket)
        self.session.flush()
        return ticket

    def open_many(self, new: Sequence[NewTicket]) -> Sequence[int]:
        """Add many: their keys, in the order of *new*.  An empty list is none, not one."""
        rows = rows_of(self.organization_id, new)
        return self.session.scalars(opening(), rows).all() if rows else []

    def change(self, ticket_id: int, changes: TicketChanges) -> Ticket:
        """Change one, flushed.  Raises ``FieldError``, ``NoTicketError``, ``StaleDataError``.

        By its key: an object could be another customer's, and got by another way.
        """
        values, ticket = checked(changes), self.get(ticket_id)
        for name, value in values.items():
            setattr(ticket, name, value)
        self.session.flush()
        return ticket

    def change_many(self, ticket_ids: Sequence[int], changes: TicketChanges) -> Sequence[Ticket]:
        """Change many: those that were there.  Raises ``FieldError``."""
        return self.session.scalars(changing(self.organization_id, ticket_ids, changes)).all()

    def remove(self, ticket_id: int) -> None:
        """Put it into the bin.  Raises ``NoTicketError``."""
        if self.session.scalar(removal(self.organization_id, ticket_id)) is None:
            raise NoTicketError(f"no ticket {ticket_id}")

    def comment(self, ticket_id: int, author_id: int, content: str) -> Comment:
        """Add a note.  Raises ``NoTicketError``: a foreign key knows no customer and no bin."""
        comment = Comment(ticket_id=self.get(ticket_id).id, author_id=author_id, content=content)
        self.session.add(comment)
        self.session.flush()
        return comment


class AsyncTickets:
    """The same for asyncio."""

    def __init__(self, session: AsyncSession, organization_id: int) -> None:
        self.session, self.organization_id = session, organization_id

    async def get(self, ticket_id: int) -> Ticket:
        """One by key.  Raises ``NoTicketError``."""
        query = ticket_of(self.organization_id, ticket_id)
        return found((await self.session.scalars(query)).one_or_none(), ticket_id)

    async def page(self, *, after: int = 0, limit: int = 50) -> Sequence[Ticket]:
        """The next ones behind the key *after*."""
        query = tickets_of(self.organization_id, after=after, limit=limit)
        return (await self.session.scalars(query)).all()

    async def open(self, new: NewTicket) -> Ticket:
        """Add one, flushed."""
        ticket = Ticket(**asdict(new), organization_id=self.organization_id)
        self.session.add(ticket)
        await self.session.flush()
        return ticket

    async def open_many(self, new: Sequence[NewTicket]) -> Sequence[int]:
        """Add many: their keys, in the order of *new*."""
        rows = rows_of(self.organization_id, new)
        return (await self.session.scalars(opening(), rows)).all() if rows else []

    async def change(self, ticket_id: int, changes: TicketChanges) -> Ticket:
        """Change one, flushed.  Raises ``FieldError``, ``NoTicketError``, ``StaleDataError``."""
        values, ticket = checked(changes), await self.get(ticket_id)
        for name, value in values.items():
            setattr(ticket, name, value)
        await self.session.flush()
        return ticket

    async def change_many(
        self, ticket_ids: Sequence[int], changes: TicketChanges
    ) -> Sequence[Ticket]:
        """Change many: those that were there.  Raises ``FieldError``."""
        query = changing(self.organization_id, ticket_ids, changes)
        return (await self.session.scalars(query)).all()

    async def remove(self, ticket_id: int) -> None:
        """Put it into the bin.  Raises ``NoTicketError``."""
        if await self.session.scalar(removal(self.organization_id, ticket_id)) is None:
            raise NoTicketError(f"no ticket {ticket_id}")

    async def comment(self, ticket_id: int, author_id: int, content: str) -> Comment:
        """Add a note.  Raises ``NoTicketError``."""
        ticket = await self.get(ticket_id)
        comment = Comment(ticket_id=ticket.id, author_id=author_id, content=content)
        self.session.add(comment)
        await self.session.flush()
        return comment


# --- The unit of work -----------------------------------------------------------------------------


@contextmanager
def unit_of_work(factory: sessionmaker[Session], organization_id: int) -> Iterator[Tickets]:
    """One transaction for all that is done in the block: committed at its end, or none of it.

    Further repositories take the same session: ``Others(tickets.session, …)``.
    """
    with factory.begin() as session:
        yield Tickets(session, organization_id)


@asynccontextmanager
async def async_unit_of_work(
    factory: async_sessionmaker[AsyncSession], organization_id: int
) -> AsyncIterator[AsyncTickets]:
    """The same for asyncio."""
    async with factory.begin() as session:
        yield AsyncTickets(session, organization_id)


def demo(engine: Engine) -> None:
    """Two customers, a typo, a stranger's ticket, and a unit that fails half-way."""
    factory = session_factory(engine)
    with factory.begin() as session:
        acme, other = (Organization(name=name, slug=name.lower()) for name in ("Acme", "Other"))
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="!")
        session.add_all([acme, other, ann])
        session.flush()
        acme_id, other_id, ann_id = acme.id, other.id, ann.id
    with unit_of_work(factory, acme_id) as tickets:
        ticket = tickets.open(NewTicket(title="Printer", description="…", creator_id=ann_id))
        tickets.comment(ticket.id, ann_id, "Help")
        new = [NewTicket(title=f"Ticket {n}", description="…", creator_id=ann_id) for n in range(3)]
        ids = tickets.open_many(new)
        changed = tickets.change_many(ids, {"priority": TicketPriority.HIGH})
        print("Opened", [ticket.id, *ids], "and raised", len(changed))
        for received in ({"titel": "Invoice"}, {"organization_id": other_id}):
            try:
                tickets.change(ticket.id, received)  # type: ignore[arg-type]
            except FieldError as error:
                print("Refused:", error)
    try:
        with unit_of_work(factory, other_id) as theirs:
            own = theirs.open(NewTicket(title="Theirs", description="…", creator_id=ann_id))
            print("Another customer opened", own.id)
            theirs.get(ids[0])
    except NoTicketError as error:
        print("and has", error, "of ours; the unit is rolled back:")
    with factory() as session:
        counts = [len(Tickets(session, each).page()) for each in (acme_id, other_id)]
        print("Acme has", counts[0], "tickets, the other", counts[1])
