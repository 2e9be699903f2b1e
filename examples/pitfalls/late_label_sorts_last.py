"""Write BEFORE or AFTER when you add a label to a native type

A native enumeration sorts by the order of its labels, and `ADD VALUE` alone puts a new one at the
end. Its place cannot be changed afterwards.
"""

from sqlalchemy import Engine, text

from ._symptom import Returns

FAMILY = "enums"
SYMPTOM = Returns(
    wrong=["low", "high", "medium"],
    right=["low", "medium", "high"],
    meaning="the labels in the order of ORDER BY",
)
SOURCE = ("ALTER TYPE", "https://www.postgresql.org/docs/18/sql-altertype.html")
SORTED = text(
    "SELECT value::text FROM unnest(enum_range(NULL::priority)) AS p (value) ORDER BY p.value"
)


def broken(engine: Engine) -> object:
    with engine.begin() as connection:
        connection.execute(text("CREATE TYPE priority AS ENUM ('low', 'high')"))
        connection.execute(text("ALTER TYPE priority ADD VALUE 'medium'"))
    with engine.connect() as connection:
        return connection.scalars(SORTED).all()


def fixed(engine: Engine) -> object:
    with engine.begin() as connection:
        connection.execute(text("CREATE TYPE priority AS ENUM ('low', 'high')"))
        connection.execute(text("ALTER TYPE priority ADD VALUE 'medium' BEFORE 'high'"))
    with engine.connect() as connection:
        return connection.scalars(SORTED).all()
