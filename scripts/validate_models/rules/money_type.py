"""PostgreSQL's ``money``."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Hit, Project, Rule, sql_type


def check(project: Project) -> Iterator[Hit]:
    """Columns of type money."""
    for _, column in project.columns():
        if sql_type(column) == "MONEY":
            yield project.at(column, "the column is money, whose text depends on lc_monetary")


RULE = Rule(
    name="money-type",
    severity="warning",
    family="types",
    title="The type money",
    why="It has no currency and the decimals of the server's lc_monetary: another setting reads "
    "the same row as another amount. Drivers give its text, '$1.00', not a number.",
    fix="    price: Mapped[Decimal] = mapped_column(Numeric(12, 2))",
    url="https://wiki.postgresql.org/wiki/Don%27t_Do_This#Don.27t_use_money",
    check=check,
    bad="""
from sqlalchemy.dialects.postgresql import MONEY


class Invoice(Base):
    __tablename__ = "invoices"

    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[Any] = mapped_column(MONEY)  # found
""",
    good="""
class Invoice(Base):
    __tablename__ = "invoices"

    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[Decimal] = mapped_column(Numeric(12, 2))
""",
)
