"""A generated key of four bytes."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule, sql_type


def check(project: Project) -> Iterator[Hit]:
    """Surrogate keys that end at 2,147,483,647."""
    for table in project.tables:
        column = table.autoincrement_column
        if column is not None and sql_type(column) in {"INTEGER", "SERIAL"}:
            yield project.at(column, "the generated key is a four-byte integer")


RULE = Rule(
    name="int4-key",
    severity="info",
    family="keys",
    title="A generated key ends at 2,147,483,647",
    why="Failed and rolled-back inserts use numbers up too; at the end every INSERT fails, and the "
    "change to bigint rewrites the table and all that refer to it under a lock. Alignment eats "
    "most of the four bytes saved.",
    fix="BigInteger for all keys:\n    type_annotation_map = {int: BigInteger}",
    url=f"{POSTGRES}/datatype-numeric.html#DATATYPE-INT",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
""",
    near_miss="""
class Country(Base):
    __tablename__ = "countries"

    iso_number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)


class Level(Base):
    __tablename__ = "levels"

    id: Mapped[int] = mapped_column(SmallInteger, Identity(), primary_key=True)


class Token(Base):
    __tablename__ = "tokens"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
""",
)
