"""``json`` where ``jsonb`` is meant."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule, sql_type


def check(project: Project) -> Iterator[Hit]:
    """Columns that PostgreSQL is told to keep as the text of a document."""
    for _, column in project.columns():
        if sql_type(column) == "JSON":
            yield project.at(column, "the column is json, which has no equality and no GIN index")


RULE = Rule(
    name="json-not-jsonb",
    severity="warning",
    family="types",
    title="json instead of jsonb",
    why="json keeps the text: it has no = operator, so DISTINCT, GROUP BY and UNION over the "
    "column fail; it has no containment and no GIN index, and is parsed anew at each access.",
    fix="    from sqlalchemy.dialects.postgresql import JSONB\n"
    "JSON().with_variant(JSONB(), 'postgresql') where another database is served too.\n"
    "Keep json only where the order of an object's keys matters: jsonb does not keep it.",
    url=f"{POSTGRES}/datatype-json.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    extra: Mapped[dict[str, Any]] = mapped_column(JSON)  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB)
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    extra: Mapped[dict[str, Any]] = mapped_column(JSON().with_variant(JSONB(), "postgresql"))
    tracked: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSONB))
""",
)
