"""Compare in `case()`; do not give it a dictionary of members

`case({member: …}, value=column)` sends the members without the column's type: as names, or as what
the driver makes of them. No row matches, or the driver refuses.
"""

import enum

from sqlalchemy import Enum, case, literal, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from ._symptom import Raises, Returns

FAMILY = "enums"
SYMPTOM = (
    Raises(DBAPIError, "expected str, got Level", drivers=("asyncpg",)),
    Returns(
        wrong=1,
        right=0,
        meaning="the rank that `case` gives an urgent row",
        drivers=("psycopg_async",),
    ),
)
SOURCE = (
    "case",
    "https://docs.sqlalchemy.org/en/21/core/sqlelement.html#sqlalchemy.sql.expression.case",
)


class Level(enum.Enum):
    """How urgent something is."""

    LOW = "low"
    URGENT = "urgent"


BY_VALUE = Enum(Level, native_enum=False, values_callable=lambda all_: [m.value for m in all_])


async def broken(session: AsyncSession) -> object:
    level = literal(Level.URGENT, BY_VALUE)  # or a column of that type
    rank = case({Level.URGENT: 0, Level.LOW: 1}, value=level, else_=1)
    return await session.scalar(select(rank))


async def fixed(session: AsyncSession) -> object:
    level = literal(Level.URGENT, BY_VALUE)  # or a column of that type
    rank = case((level == Level.URGENT, 0), (level == Level.LOW, 1), else_=1)
    return await session.scalar(select(rank))
