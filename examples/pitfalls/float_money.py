"""Keep money in `Numeric`, not in `Float`

A binary fraction has no 0.1: sums drift, and an equality fails. `Mapped[float]` makes such a
column; `Mapped[Decimal]` with `Numeric(12, 2)` is exact, in SQL and in Python.
"""

from decimal import Decimal

from sqlalchemy import Column, Float, MetaData, Numeric, Table, func, select
from sqlalchemy.orm import Session

from ._symptom import Returns

FAMILY = "types"
SYMPTOM = Returns(wrong=False, right=True, meaning="whether 0.10 and 0.20 add up to 0.30")
RULE = "float-money"
SOURCE = (
    "Floating-Point Types",
    "https://www.postgresql.org/docs/18/datatype-numeric.html#DATATYPE-FLOAT",
)


def broken(session: Session) -> object:
    prices = Table("prices", MetaData(), Column("price", Float), prefixes=["TEMPORARY"])
    prices.create(session.connection())
    session.execute(prices.insert(), [{"price": 0.10}, {"price": 0.20}])
    return session.scalar(select(func.sum(prices.c.price) == 0.30))


def fixed(session: Session) -> object:
    prices = Table("prices", MetaData(), Column("price", Numeric(12, 2)), prefixes=["TEMPORARY"])
    prices.create(session.connection())
    session.execute(prices.insert(), [{"price": Decimal("0.10")}, {"price": Decimal("0.20")}])
    return session.scalar(select(func.sum(prices.c.price) == Decimal("0.30")))
