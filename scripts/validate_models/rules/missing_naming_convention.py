"""Constraints whose names only the database knows."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import MetaData, PrimaryKeyConstraint, Table

from ..core import DOCS, Hit, Project, Rule


def nameless(tables: list[Table]) -> int:
    """How many constraints have no name, primary keys aside: those are never dropped alone."""
    return sum(
        constraint.name is None or not isinstance(constraint.name, str)
        for table in tables
        for constraint in table.constraints
        if not isinstance(constraint, PrimaryKeyConstraint)
        and not getattr(constraint, "_type_bound", False)
    )


def check(project: Project) -> Iterator[Hit]:
    """Metadata without a convention for foreign keys, whose constraints have no names."""
    for metadata in project.metadatas:
        tables = [table for table in project.tables if table.metadata is metadata]
        number = nameless(tables)
        if number and not has_convention(metadata):
            yield Hit(f"{number} constraints have no name", metadata=metadata, table=tables[0])


def has_convention(metadata: MetaData) -> bool:
    """Whether *metadata* names its foreign keys or its unique constraints."""
    return bool(set(metadata.naming_convention) - {"ix"})


RULE = Rule(
    name="missing-naming-convention",
    severity="info",
    family="names",
    title="No naming convention",
    why="Alembic writes drop_constraint(None) for a constraint without a name, which fails when "
    "the migration runs, and drop_all() cannot untangle tables that refer to each other.",
    fix="    metadata = MetaData(naming_convention={\n"
    "        'uq': 'uq_%(table_name)s_%(column_0_N_name)s',\n"
    "        'ck': 'ck_%(table_name)s_%(constraint_name)s',\n"
    "        'fk': 'fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s',\n"
    "        'pk': 'pk_%(table_name)s'})",
    url=f"{DOCS}/core/constraints.html#configuring-constraint-naming-conventions",
    check=check,
    bad="""
class Plain(DeclarativeBase):  # found
    type_annotation_map = {int: BigInteger, str: Text}


class Ticket(Plain):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
""",
    near_miss="""
class Plain(DeclarativeBase):
    type_annotation_map = {int: BigInteger, str: Text}


class Ticket(Plain):
    __tablename__ = "tickets"
    __table_args__ = (UniqueConstraint("number", name="uq_tickets_number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str]
""",
)
