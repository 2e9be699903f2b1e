"""Money in binary fractions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule, sql_type

MONEY = {
    *("price", "prices", "cost", "costs", "salary", "wage", "wages", "fee", "fees", "revenue"),
    *("payment", "refund", "subtotal", "vat", "tax", "balance", "amount", "budget", "money"),
}
# A rate, a share or a physical quantity may well be a float.
NO_MONEY = {
    *("rate", "ratio", "percent", "percentage", "pct", "factor", "score", "weight", "index"),
    *("elasticity", "multiplier", "share", "change", "growth", "estimate", "prediction"),
    *("color", "colour", "white", "energy", "water", "rain", "rainfall", "model", "loss"),
}


def is_money(name: str) -> bool:
    """Whether a column of this name holds an amount of money."""
    words = set(re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()))
    return bool(words & MONEY) and not words & NO_MONEY


def check(project: Project) -> Iterator[Hit]:
    """Floats whose name says money."""
    for _, column in project.columns():
        kind = sql_type(column)
        if kind.startswith(("FLOAT", "DOUBLE", "REAL")) and is_money(column.name):
            stored = "double precision" if kind == "FLOAT" else kind.lower()  # 2.0 says FLOAT
            yield project.at(column, f"an amount of money is stored as {stored}")


RULE = Rule(
    name="float-money",
    severity="warning",
    family="types",
    title="Money is stored as a binary fraction",
    why="0.1 has no exact binary form: the sum of ten times 0.1 is 0.9999999999999999, totals do "
    "not add up, and equality fails.",
    fix="    price: Mapped[Decimal] = mapped_column(Numeric(12, 2))\nor whole cents in a bigint.",
    url=f"{POSTGRES}/datatype-numeric.html#DATATYPE-FLOAT",
    check=check,
    bad="""
class Invoice(Base):
    __tablename__ = "invoices"

    id: Mapped[int] = mapped_column(primary_key=True)
    unit_price: Mapped[float]  # found
    amount: Mapped[float] = mapped_column(REAL)  # found
""",
    good="""
class Invoice(Base):
    __tablename__ = "invoices"

    id: Mapped[int] = mapped_column(primary_key=True)
    unit_price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    amount_cents: Mapped[int] = mapped_column(BigInteger)
""",
    near_miss="""
class Invoice(Base):
    __tablename__ = "invoices"

    id: Mapped[int] = mapped_column(primary_key=True)
    tax_rate: Mapped[float]
    price_elasticity: Mapped[float]
    coffee_grams: Mapped[float]
""",
)
