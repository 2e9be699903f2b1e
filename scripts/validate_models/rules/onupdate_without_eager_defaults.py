"""An ``updated_at`` or a generated column that asyncio cannot read after an UPDATE."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.orm import ColumnProperty

from ..core import DOCS, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Columns that the server sets at an UPDATE, of mappers that do not fetch them."""
    for mapper in project.mappers:
        if mapper.eager_defaults is True:
            continue
        for prop in mapper.column_attrs:
            if not isinstance(prop, ColumnProperty) or prop.parent is not mapper:
                continue
            for column in prop.columns:
                onupdate = getattr(column, "onupdate", None)
                by_sql = onupdate is not None and onupdate.is_clause_element
                if by_sql or getattr(column, "server_onupdate", None) is not None:
                    yield Hit(
                        f"{prop.key} is expired by every UPDATE that the ORM sends",
                        mapper=mapper,
                        attribute=prop.key,
                    )
                    break


RULE = Rule(
    name="onupdate-without-eager-defaults",
    severity="warning",
    family="asyncio",
    title="SQL onupdate or Computed without eager_defaults, under asyncio",
    why="After an UPDATE the server's value is not known; reading it is a lazy load, which raises "
    "MissingGreenlet. The default 'auto' fetches after an INSERT only.",
    fix="    class Base(DeclarativeBase):\n        __mapper_args__ = {'eager_defaults': True}",
    url=f"{DOCS}/orm/extensions/asyncio.html#preventing-implicit-io-when-using-asyncsession",
    check=check,
    asyncio=True,
    bad="""
class Note(Base):
    __tablename__ = "notes"
    __mapper_args__ = {"eager_defaults": "auto"}

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(  # found
        server_default=func.now(), onupdate=func.now()
    )
    length: Mapped[int] = mapped_column(Computed("length(body)", persisted=True))  # found
""",
    good="""
class Note(Base):
    __tablename__ = "notes"
    __mapper_args__ = {"eager_defaults": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    length: Mapped[int] = mapped_column(Computed("length(body)", persisted=True))
""",
    near_miss="""
class Note(Base):
    __tablename__ = "notes"
    __mapper_args__ = {"eager_defaults": "auto"}

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(
        default=lambda: datetime.now(UTC), onupdate=lambda: datetime.now(UTC)
    )
""",
)
