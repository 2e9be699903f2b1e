"""Test on PostgreSQL, not on SQLite

SQLite stores what PostgreSQL refuses: a text that is too long, a word as a number, a key of no row.
See `references/testing-patterns.md`.
"""

from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    text,
)
from sqlalchemy.exc import DBAPIError

from ._symptom import Returns

FAMILY = "testing"
SYMPTOM = Returns(
    wrong=["too long", "no number", "no such row"],
    right=[],
    meaning="faults that the tests let pass",
)
SOURCE = ("Flexible Typing", "https://www.sqlite.org/flextypegood.html")
FAULTS = {
    "too long": "INSERT INTO parcels (code) VALUES ('more than five')",
    "no number": "INSERT INTO parcels (weight) VALUES ('heavy')",
    "no such row": "INSERT INTO parcels (part_of) VALUES (404)",
}


def broken(engine: Engine) -> object:
    lite = create_engine("sqlite+pysqlite://")
    parcels().create_all(lite)
    passed = [fault for fault in FAULTS if accepts(lite, FAULTS[fault])]
    lite.dispose()
    return passed


def fixed(engine: Engine) -> object:
    parcels().create_all(engine)
    return [fault for fault in FAULTS if accepts(engine, FAULTS[fault])]


def parcels() -> MetaData:
    """A table with a length, a number and a foreign key."""
    metadata = MetaData()
    Table(
        "parcels",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("code", String(5)),
        Column("weight", Integer),
        Column("part_of", ForeignKey("parcels.id")),
    )
    return metadata


def accepts(engine: Engine, statement: str) -> bool:
    """Whether the database takes it."""
    try:
        with engine.begin() as connection:
            connection.execute(text(statement))
    except DBAPIError:
        return False
    return True
