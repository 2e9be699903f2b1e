"""``timestamp without time zone``."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import TypeDecorator

from ..core import POSTGRES, Hit, Project, Rule, sql_type


def check(project: Project) -> Iterator[Hit]:
    """Columns that lose the time zone; behind a TypeDecorator that may be meant."""
    for _, column in project.columns():
        if sql_type(column).startswith("TIMESTAMP WITHOUT TIME ZONE"):
            hidden = isinstance(column.type, TypeDecorator)
            yield project.at(
                column,
                "the column has no time zone" + (" (behind a TypeDecorator)" if hidden else ""),
                severity="info" if hidden else None,
            )


RULE = Rule(
    name="naive-timestamp",
    severity="warning",
    family="types",
    title="A timestamp without time zone",
    why="It stores what a clock on a wall shows, not a moment: now() is cut to the session's zone, "
    "psycopg drops the offset of an aware datetime in silence, and asyncpg refuses it.",
    fix="DateTime(timezone=True), once for all columns:\n"
    "    type_annotation_map = {datetime: DateTime(timezone=True)}",
    url=f"{POSTGRES}/datatype-datetime.html#DATATYPE-DATETIME",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime)  # found
    closed_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=False))  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
""",
    near_miss="""
class Moment(TypeDecorator[datetime]):
    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        return dialect.type_descriptor(DateTime(timezone=True))


Stamp = Annotated[datetime, mapped_column(DateTime(timezone=True))]


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[Stamp]
    seen_at: Mapped[datetime] = mapped_column(
        DateTime().with_variant(TIMESTAMP(timezone=True), "postgresql")
    )
    opens_at: Mapped[time]
""",
)
