"""Sessions: who owns the transaction, and what an object knows when.

Problem: helpers that commit make it impossible to do two things or neither.  Pattern: the outermost
function owns ``with factory.begin()``; all it calls take the session, flush at most, and never
commit.  Not for scripts of one statement: ``engine.begin()`` and Core do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterable

from sqlalchemy import Engine, Select, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from .database import session_factory
from .models import Organization, Ticket, TicketStatus, User


def find_user(email: str) -> Select[User]:
    """The user of an address, whatever its case: written so that the unique index serves it."""
    return select(User).where(func.lower(User.email) == func.lower(email))


def open_ticket(
    session: Session, *, title: str, description: str, creator: User, organization: Organization
) -> Ticket:
    """Add a ticket and flush: its number is known, the transaction is still the caller's."""
    ticket = Ticket(
        title=title, description=description, creator=creator, organization=organization
    )
    session.add(ticket)
    session.flush()
    return ticket


def sign_up(
    factory: sessionmaker[Session], *, company: str, slug: str, email: str, full_name: str
) -> int:
    """A unit of work: organization, user and first ticket, all or none.  Returns the ticket's id.

    Raises ``IntegrityError`` where the slug or the address is taken; then nothing is stored.
    """
    with factory.begin() as session:
        organization = Organization(name=company, slug=slug)
        user = User(email=email, full_name=full_name, password_hash="!", organization=organization)
        ticket = open_ticket(
            session,
            title="Welcome",
            description="Say hello.",
            creator=user,
            organization=organization,
        )
        return ticket.id


def get_or_create_user(session: Session, *, email: str, full_name: str) -> tuple[User, bool]:
    """The user of *email*, and whether it was made just now.  Safe against a second caller.

    The savepoint confines the failure: without it, the unique violation would end the caller's
    transaction.
    """
    user = session.scalars(find_user(email)).one_or_none()
    if user is not None:
        return user, False
    try:
        with session.begin_nested():
            user = User(email=email, full_name=full_name, password_hash="!")
            session.add(user)
    except IntegrityError:
        # Somebody was faster, and READ COMMITTED sees their row now; or it is another error.
        user = session.scalars(find_user(email)).one_or_none()
        if user is None:
            raise
        return user, False
    return user, True


async def async_get_or_create_user(
    session: AsyncSession, *, email: str, full_name: str
) -> tuple[User, bool]:
    """The same for asyncio."""
    user = (await session.scalars(find_user(email))).one_or_none()
    if user is not None:
        return user, False
    try:
        async with session.begin_nested():
            user = User(email=email, full_name=full_name, password_hash="!")
            session.add(user)
    except IntegrityError:
        user = (await session.scalars(find_user(email))).one_or_none()
        if user is None:
            raise
        return user, False
    return user, True


def fresh_ticket(session: Session, ticket_id: int) -> Ticket:
    """The ticket as the database has it now, even when the session holds an older copy.

    Without ``populate_existing`` a SELECT keeps the values that a loaded object has.
    Raises ``NoResultFound``.
    """
    query = select(Ticket).where(Ticket.id == ticket_id)
    return session.scalars(query, execution_options={"populate_existing": True}).one()


def lock_ticket(session: Session, ticket_id: int) -> Ticket:
    """The ticket, locked until the end of the transaction, with the values that it has *now*.

    ``of=`` locks this table alone.  Raises ``NoResultFound``.
    """
    query = select(Ticket).where(Ticket.id == ticket_id).with_for_update(of=Ticket)
    return session.scalars(query, execution_options={"populate_existing": True}).one()


def all_tickets() -> Select[Ticket]:
    """Every live ticket in the order of the key."""
    return select(Ticket).where(Ticket.deleted_at.is_(None)).order_by(Ticket.id)


def stream_tickets(session: Session, *, batch: int = 500) -> Generator[Ticket, None, None]:
    """Every live ticket, *batch* rows in memory at a time, over a server-side cursor.

    The cursor lives in the transaction: a commit within the loop ends it.  Who may stop early holds
    this in ``contextlib.closing``.
    """
    with session.scalars(all_tickets(), execution_options={"yield_per": batch}) as found:
        yield from found


async def async_stream_tickets(
    session: AsyncSession, *, batch: int = 500
) -> AsyncGenerator[Ticket, None]:
    """The same for asyncio.  Who may stop early holds it in ``contextlib.aclosing``.

    With asyncpg the server's cursor stays until the transaction ends.
    """
    found = await session.stream_scalars(all_tickets(), execution_options={"yield_per": batch})
    try:
        async for ticket in found:
            yield ticket
    finally:
        await found.close()


async def count_by_status(
    factory: async_sessionmaker[AsyncSession], statuses: Iterable[TicketStatus]
) -> dict[TicketStatus, int]:
    """Count at the same time: **one session a task**, since a session is one conversation.

    Each task takes a connection: no more tasks than the pool gives.
    """

    async def count(status: TicketStatus) -> int:
        async with factory() as session:
            query = select(func.count()).select_from(Ticket).where(Ticket.status == status)
            return (await session.scalars(query)).one()

    async with asyncio.TaskGroup() as group:
        tasks = {status: group.create_task(count(status)) for status in statuses}
    return {status: task.result() for status, task in tasks.items()}


def demo(engine: Engine) -> None:
    """Sign a customer up twice, meet a taken address, look at one object in two sessions."""
    factory = session_factory(engine)
    ticket_id = sign_up(
        factory, company="Acme", slug="acme", email="ann@acme.example", full_name="Ann"
    )
    print(f"Signed up: organization, user and ticket {ticket_id} in one transaction.")
    try:
        sign_up(factory, company="Other", slug="other", email="ANN@acme.example", full_name="Eve")
    except IntegrityError:
        with factory() as session:
            count = session.scalar(select(func.count()).select_from(Organization))
        print(f"The address is taken, whatever its case: nothing was stored, {count} organization.")
    with factory.begin() as session:
        user, made = get_or_create_user(session, email="ann@acme.example", full_name="Ann")
        print(
            f"get_or_create: user {user.id}, made now: {made}; the caller's transaction lives on."
        )
    with factory() as mine, factory() as theirs:
        ticket = mine.get_one(Ticket, ticket_id)
        theirs.get_one(Ticket, ticket_id).title = "Welcome aboard"
        theirs.commit()
        again = mine.scalars(select(Ticket).where(Ticket.id == ticket_id)).one()
        print(f"Changed elsewhere. A second select: {again.title!r}.", end=" ")
        print(f"With populate_existing: {fresh_ticket(mine, ticket_id).title!r}.")
        assert again is ticket
    with factory() as session:
        session.add(User(email="bob@acme.example", full_name="Bob", password_hash="!"))
        count = session.execute(text("SELECT count(*) FROM users")).scalar_one()
        print(f"text() after add(), no flush by hand: {count} users (autoflush).")
