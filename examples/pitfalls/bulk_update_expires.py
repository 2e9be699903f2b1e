"""Let a bulk UPDATE return the objects that you hold, under asyncio

`update()` sets plain values on loaded objects, and expires what SQL computes: reading that sends a
query. `synchronize_session=False` alone leaves the old values. A synchronous session does it only
when the result is read: `.all()`.
"""

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from ..models import Ticket
from ..testing_patterns.factories import make_ticket
from .lazy_load_async import NO_GREENLET

FAMILY = "writing"
SYMPTOM = NO_GREENLET
SOURCE = (
    "Selecting a Synchronization Strategy",
    "https://docs.sqlalchemy.org/en/21/orm/queryguide/dml.html"
    "#selecting-a-synchronization-strategy",
)


async def broken(session: AsyncSession) -> object:
    session.add(ticket := make_ticket(title="vpn"))
    await session.flush()
    change = update(Ticket).where(Ticket.id == ticket.id)
    await session.execute(change.values(title=func.upper(Ticket.title)))
    return ticket.title


async def fixed(session: AsyncSession) -> object:
    session.add(ticket := make_ticket(title="vpn"))
    await session.flush()
    change = update(Ticket).where(Ticket.id == ticket.id)
    await session.execute(
        change.values(title=func.upper(Ticket.title)).returning(Ticket),
        execution_options={"synchronize_session": False, "populate_existing": True},
    )
    return ticket.title
