"""Give many ids as one array, not to `in_()`

`in_()` sends a parameter for each id: asyncpg takes 32,767 in one statement, psycopg 65,535. An
array is one parameter, whatever its length.
"""

from sqlalchemy import ARRAY, BigInteger, any_, literal, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from ..models import Ticket
from ._symptom import Raises

FAMILY = "writing"
SYMPTOM = (
    Raises(
        InterfaceError, "the number of query arguments cannot exceed 32767", drivers=("asyncpg",)
    ),
    Raises(
        OperationalError,
        "number of parameters must be between 0 and 65535",
        drivers=("psycopg_async",),
    ),
)
SOURCE = (
    "Row and Array Comparisons: ANY",
    "https://www.postgresql.org/docs/18/functions-comparisons.html#FUNCTIONS-COMPARISONS-ANY-SOME",
)


async def broken(session: AsyncSession) -> object:
    ids = list(range(65_536))
    query = select(Ticket.id).where(Ticket.id.in_(ids))
    return (await session.scalars(query)).all()


async def fixed(session: AsyncSession) -> object:
    ids = list(range(65_536))
    query = select(Ticket.id).where(Ticket.id == any_(literal(ids, ARRAY(BigInteger))))
    return (await session.scalars(query)).all()
