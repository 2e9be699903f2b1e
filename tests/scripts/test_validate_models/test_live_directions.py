"""``--database-url``: what only one side has, whose fault it is, and how to ignore just that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from examples.postgres import temporary_database
from tests.scripts.test_validate_models.samples import PRELUDE, loaded, run_script
from tests.scripts.test_validate_models.test_live import (
    COMMAND_URL,
    compared,
    create,
    execute,
    told,
)

# isort: split
from validate_models.core import Finding
from validate_models.targets import TargetError


@pytest.fixture
def empty(postgres_url: str) -> Iterator[str]:
    """The URL of a database without a schema."""
    with temporary_database(postgres_url) as url:
        yield url


CLASSES = """
class Day(Base):
    __tablename__ = "days"
    __table_args__ = (
        Index("i1", "day", postgresql_ops={"day": "date_ops"}),
        Index("i2", "title", postgresql_ops={"title": "text_ops"}),
        Index("i3", "note", postgresql_using="gin", postgresql_ops={"note": "jsonb_ops"}),
        Index("i4", "note", postgresql_using="gin", postgresql_ops={"note": "jsonb_path_ops"}),
        Index("i5", "day", "title", postgresql_ops={"title": "text_pattern_ops"}),
        Index("i6", text("title text_ops DESC")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[date]
    title: Mapped[str]
    note: Mapped[dict[str, Any]] = mapped_column(JSONB)
"""
REPLACED = """
ALTER INDEX i1 RENAME TO another;
DROP INDEX i2;
CREATE INDEX i2 ON days (title text_pattern_ops);
DROP INDEX i3;
CREATE INDEX i3 ON days USING gin (note jsonb_path_ops);
DROP INDEX i4;
CREATE INDEX i4 ON days USING gin (note);
"""


def test_a_default_operator_class_may_be_spelt_out(empty: str, tmp_path: Path) -> None:
    with loaded(tmp_path, CLASSES) as module:
        create(empty, module.Base.metadata)
        assert told(compared(empty, module.Base)) == []
        execute(empty, REPLACED)
        found = told(compared(empty, module.Base))
    classes = "drift-index: {}: the operator classes: ({}) in the models, ({}) in the database"
    assert sorted(found) == [
        "drift-index: i1 has another name in the database: another",
        classes.format("i2", "text_ops", "text_pattern_ops"),
        classes.format("i3", "jsonb_ops", "jsonb_path_ops"),
        classes.format("i4", "jsonb_path_ops", "default"),
    ]


SHOP = """
class Base(DeclarativeBase):
    metadata = MetaData(schema="shop")


class Person(Base):
    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    score: Mapped[int] = mapped_column(server_default="0")
"""


def test_a_schema_that_the_role_may_not_use_is_no_clean_bill(empty: str, tmp_path: Path) -> None:
    role = empty.rpartition("/")[2].replace("soe_", "soe_blind_")
    with loaded(tmp_path, SHOP) as module:
        execute(empty, "CREATE SCHEMA shop")
        create(empty, module.Base.metadata)
        execute(empty, f"CREATE ROLE {role} LOGIN PASSWORD 'blind'")
        url = make_url(empty).set(username=role, password="blind")
        blind = url.render_as_string(hide_password=False)
        try:
            with pytest.raises(TargetError, match="may not use the schema shop, where people is"):
                compared(blind, module.Base)
            execute(empty, f"GRANT USAGE ON SCHEMA shop TO {role}")
            assert told(compared(blind, module.Base)) == []
            # Another schema's table of that name is not ours.
            execute(
                empty,
                "CREATE SCHEMA secret;\nCREATE TABLE secret.people (id int);\n"
                "DROP TABLE shop.people",
            )
            found = told(compared(blind, module.Base))
            assert found == ["drift-table: the database has no table shop.people"]
        finally:
            execute(empty, f"DROP OWNED BY {role};\nDROP ROLE {role}")


BOTH = """
class Team(Base):
    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)


class Person(Base):
    __tablename__ = "people"
    __table_args__ = (
        CheckConstraint("score > 0", name="score"),
        Index("ix_mine", "score"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    score: Mapped[int]
    level: Mapped[str] = mapped_column(Enum("low", "high", name="level"))
    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), index=True)
    other_id: Mapped[int] = mapped_column(index=True)
"""
DIRECTIONS = {
    "DROP INDEX ix_mine": ("drift-index", "the database has no", "CREATE INDEX CONCURRENTLY"),
    "CREATE INDEX loose ON people (level)": (
        *("drift-index", "do not know the index loose", "DROP INDEX CONCURRENTLY loose"),
    ),
    "CREATE UNIQUE INDEX loose ON people (level)": (
        *("drift-index", "do not know the index loose", "DROP INDEX CONCURRENTLY loose"),
    ),
    "ALTER INDEX ix_mine RENAME TO theirs": (
        *("drift-index", "another name", "ALTER INDEX theirs RENAME TO ix_mine"),
    ),
    "ALTER TYPE level ADD VALUE 'top'": (
        "drift-enum",
        "models lack 'top'",
        "Add 'top' to the Enum",
    ),
    "ALTER TYPE level RENAME VALUE 'low' TO 'top'": (
        *("drift-enum", "database lacks 'low'", "ALTER TYPE … ADD VALUE"),
    ),
    "ALTER TABLE people DROP CONSTRAINT ck_people_score": (
        *("drift-check", "lacks the check ck_people_score", "ADD CONSTRAINT in a migration"),
    ),
    "ALTER TABLE people ADD CONSTRAINT theirs CHECK (score < 9)": (
        *("drift-check", "do not know the check theirs", "DROP CONSTRAINT theirs"),
    ),
    "ALTER TABLE people DROP CONSTRAINT fk_people_team_id_teams": (
        *("drift-foreign-key", "foreign key fk_people_team_id_teams:", "ADD CONSTRAINT in a"),
    ),
    "ALTER TABLE people ADD CONSTRAINT theirs FOREIGN KEY (other_id) REFERENCES teams": (
        *("drift-foreign-key", "foreign key theirs: (other_id)", "DROP CONSTRAINT theirs"),
    ),
    "ALTER TABLE people DROP CONSTRAINT fk_people_team_id_teams, ADD CONSTRAINT theirs "
    "FOREIGN KEY (team_id) REFERENCES teams": (
        *("drift-foreign-key", "theirs: ON DELETE is CASCADE", "Drop the constraint and add"),
    ),
    "ALTER TABLE people ADD extra text": (
        *("drift-column", "models lack the column extra", "Map extra, or drop it"),
    ),
    "ALTER TABLE people ADD extra text NOT NULL": (
        *("drift-column", "every INSERT of the models fails", "give it a default or NULL"),
    ),
}
INFO = {
    "CREATE INDEX loose ON people (level)",
    "ALTER INDEX ix_mine RENAME TO theirs",
    "ALTER TABLE people ADD extra text",
}


def test_why_and_fix_fit_the_side_that_lacks_it(empty: str, tmp_path: Path) -> None:
    with loaded(tmp_path, BOTH) as module:
        for statement, (rule, message, fix) in DIRECTIONS.items():
            execute(empty, "DROP SCHEMA public CASCADE;\nCREATE SCHEMA public")
            create(empty, module.Base.metadata)
            execute(empty, statement)
            item: Finding
            (item,) = compared(empty, module.Base).findings
            assert item.rule == rule, statement
            assert message in item.message, statement
            assert fix in item.fix, statement
            assert (item.severity == "info") == (statement in INFO), statement
            assert item.attribute is not None or rule == "drift-check", statement


ONLY_THERE = """
CREATE TABLE old (a int);
ALTER TABLE people ADD extra text;
ALTER TABLE people ADD more text;
CREATE INDEX loose ON people (level);
ALTER TABLE people ADD CONSTRAINT theirs CHECK (score < 9)
"""
IGNORES = """
[tool.validate-models]
targets = ["models.py"]
select = ["database", "unused-ignore"]
ignore = ["unused-index"]

[tool.validate-models.per-table-ignores]
"old" = ["unknown-table"]

[tool.validate-models.per-attribute-ignores]
"people.extra" = ["drift-column"]
"people.loose" = ["drift-index"]
"Person.theirs" = ["drift-check"]
"people.gone" = ["drift-column"]
"""


def test_what_only_the_database_has_is_ignored_by_its_name(empty: str, tmp_path: Path) -> None:
    with loaded(tmp_path, BOTH) as module:
        create(empty, module.Base.metadata)
    execute(empty, ONLY_THERE)
    (tmp_path / "models.py").write_text(PRELUDE + BOTH)
    given = ("--output-format", "json", "--database-url", COMMAND_URL)

    def found() -> list[tuple[str, str | None, str | None]]:
        result = run_script(*given, cwd=tmp_path, SOE_LIVE_URL=empty)
        items = json.loads(result.stdout)["findings"]
        return [(item["rule"], item["table"], item["attribute"]) for item in items]

    (tmp_path / "pyproject.toml").write_text(IGNORES.partition("[tool.validate-models.per")[0])
    assert sorted(found()) == [
        ("drift-check", "people", "score"),
        ("drift-column", "people", "extra"),
        ("drift-column", "people", "more"),
        ("drift-index", "people", "level"),
        ("unknown-table", "old", None),
    ]
    (tmp_path / "pyproject.toml").write_text(IGNORES)
    assert sorted(found(), key=str) == [
        ("drift-column", "people", "more"),
        ("unused-ignore", None, None),
    ]


BOOKINGS = """
from sqlalchemy.dialects.postgresql import TSTZRANGE, ExcludeConstraint


class Room(Base):
    __tablename__ = "rooms"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)


class Booking(Base):
    __tablename__ = "bookings"
    __table_args__ = (ExcludeConstraint(("room_id", "="), ("during", "&&"), name="mine"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    room_id: Mapped[int] = mapped_column(ForeignKey("rooms.id"))
    during: Mapped[Any] = mapped_column(TSTZRANGE)
"""
GONE = "ALTER TABLE bookings DROP CONSTRAINT mine"
EXCLUSION = "EXCLUDE USING gist (room_id WITH =, during WITH &&)"
# What happens to the database, and what is found.
EXCLUSIONS = {
    "SELECT 1": [],
    GONE: [f"drift-key: the database lacks mine: {EXCLUSION}"],
    f"{GONE}, ADD CONSTRAINT mine EXCLUDE USING gist (room_id WITH <>, during WITH &&)": [
        f"drift-key: mine is {EXCLUSION} in the models, "
        "EXCLUDE USING gist (room_id WITH <>, during WITH &&) in the database"
    ],
    f"{GONE}, ADD CONSTRAINT mine {EXCLUSION} WHERE (room_id > 1) DEFERRABLE": [
        f"drift-key: mine is {EXCLUSION} in the models, "
        f"{EXCLUSION} WHERE ((room_id > 1)) DEFERRABLE in the database",
    ],
    "ALTER TABLE bookings ADD CONSTRAINT theirs EXCLUDE USING gist (during WITH &&)": [
        "drift-key: the models do not know theirs: EXCLUDE USING gist (during WITH &&)"
    ],
    "ALTER TABLE bookings RENAME CONSTRAINT mine TO theirs": [],
    "DROP EXTENSION btree_gist CASCADE": [
        "missing-extension: the database has no extension btree_gist, "
        "which the exclusion constraint needs"
    ],
    "ALTER TABLE bookings DROP COLUMN during": [
        "drift-column: the database has no column during",
    ],
}


@pytest.mark.parametrize("statement", EXCLUSIONS)
def test_exclusions_are_compared_and_serve_a_foreign_key(
    statement: str, empty: str, tmp_path: Path
) -> None:
    """No other index begins with the room's id; one cause is one finding."""
    execute(empty, "CREATE EXTENSION btree_gist")
    with loaded(tmp_path, BOOKINGS) as module:
        create(empty, module.Base.metadata)
        execute(empty, statement)
        assert told(compared(empty, module.Base)) == EXCLUSIONS[statement]


def test_the_same_exclusion_in_another_order_is_the_same(empty: str, tmp_path: Path) -> None:
    other = "EXCLUDE USING gist (during WITH &&, room_id WITH =)"
    execute(empty, "CREATE EXTENSION btree_gist")
    with loaded(tmp_path, BOOKINGS) as module:
        create(empty, module.Base.metadata)
        execute(empty, f"{GONE}, ADD {other};\nCREATE INDEX ix ON bookings (room_id)")
        assert told(compared(empty, module.Base)) == [
            "drift-index: the models do not know the index ix"
        ]


SPELT = """
from sqlalchemy.dialects.postgresql import ExcludeConstraint


class Booking(Base):
    __tablename__ = "bookings"
    __table_args__ = (
        ExcludeConstraint(
            (text("int8range(first, last + 1)"), "OPERATOR(pg_catalog.&&)"),
            where=text("first IN (1, 2)"),
            deferrable=True,
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    first: Mapped[int]
    last: Mapped[int]
"""


def test_an_exclusion_without_a_name_is_compared_by_what_it_says(
    empty: str, tmp_path: Path
) -> None:
    with loaded(tmp_path, SPELT) as module:
        create(empty, module.Base.metadata)
        outcome = compared(empty, module.Base)
        assert told(outcome) == []
        assert not [note for note in outcome.notes if "could not" in note]
        execute(empty, "ALTER TABLE bookings DROP CONSTRAINT bookings_int8range_excl")
        (found,) = told(compared(empty, module.Base))
        assert found.startswith("drift-key: the database lacks the constraint: EXCLUDE USING gist")
        execute(empty, "ALTER TABLE bookings ALTER first TYPE text USING first::text")
        outcome = compared(empty, module.Base)
    assert [item.split(":")[0] for item in told(outcome)] == ["drift-type"]
    assert "could not compare the exclusion constraints of bookings" in outcome.notes
