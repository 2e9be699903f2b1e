"""A table or a column whose name SQL reserves."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule

# catcode R and T of pg_get_keywords() in PostgreSQL 18; a test compares them.
WORDS = """
all analyse analyze and any array as asc asymmetric authorization binary both case cast check
collate collation column concurrently constraint create cross current_catalog current_date
current_role current_schema current_time current_timestamp current_user default deferrable desc
distinct do else end except false fetch for foreign freeze from full grant group having ilike in
initially inner intersect into is isnull join lateral leading left like limit localtime
localtimestamp natural not notnull null offset on only or order outer overlaps placing primary
references returning right select session_user similar some symmetric system_user table
tablesample then to trailing true union unique user using variadic verbose when where window
with
"""
RESERVED = frozenset(WORDS.split())


def check(project: Project) -> Iterator[Hit]:
    """Names that must stand in double quotes in every statement written by hand."""
    for table in project.tables:
        if table.name in RESERVED:
            mapper = project.owners.get(table)
            yield Hit(f"{table.name} is a reserved word", mapper=mapper, table=table)
        for column in table.columns:
            if column.name in RESERVED:
                yield project.at(column, f"{column.name} is a reserved word")


RULE = Rule(
    name="reserved-word",
    severity="info",
    family="names",
    title="A name that SQL reserves",
    why="SQLAlchemy quotes it; whoever writes SQL must. Unquoted, select * from user is no error: "
    "it gives the name of the login.",
    fix="Another name, in the plural for tables:  __tablename__ = 'users'",
    url=f"{POSTGRES}/sql-keywords-appendix.html",
    check=check,
    bad="""
class User(Base):  # found
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    order: Mapped[int]  # found
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int]
""",
    near_miss="""
class Value(Base):
    __tablename__ = "values"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    type: Mapped[str]
    date: Mapped[datetime]
""",
)
