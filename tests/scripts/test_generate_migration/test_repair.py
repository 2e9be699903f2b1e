"""Each trap of autogenerate: what the repair makes of it, and what it says where it cannot."""

from __future__ import annotations

import pytest
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Enum,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    Sequence,
    String,
    Table,
    Text,
    exc,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from tests.scripts.test_generate_migration.planting import (
    Models,
    Money,
    Mood,
    Project,
    Words,
    finding,
    models,
    notes,
    project,
)

# isort: split
from generate_migration.repairs.names import object_name
from generate_migration.repairs.operations import ChangeEnumOp
from generate_migration.schema import excused

__all__ = ["project"]  # a fixture


# --- A revision in two parts ----------------------------------------------------------------------


def test_a_revision_that_failed_half_way_runs_again(project: Project) -> None:
    """The unique index finds two rows alike: after they are mended, the same file goes through."""
    project.create(notes(Column("number", Integer)))
    project.execute("INSERT INTO notes (number) VALUES (1), (1)")
    after = notes(
        Column("number", Integer, unique=True),
        Column("kind", Enum("a", "b", name="kind"), server_default="a"),
        Column("parent_id", ForeignKey("notes.id")),
        Column("size", Integer, CheckConstraint("size > 0")),
    )
    Table("more", after, Column("id", Integer, primary_key=True), Column("x", Text, index=True))
    project.generate(after)
    before = project.lines()
    with pytest.raises(exc.IntegrityError, match="notes_number_key"):
        project.upgrade(after)
    assert project.lines() != before, "nothing was left behind: the test shows nothing"
    project.execute("DELETE FROM notes WHERE id = 2")
    project.upgrade(after)
    assert project.check(after) == []
    project.downgrade(after)
    assert project.lines() == before


def test_new_tables_need_none_of_this(project: Project) -> None:
    """Nobody uses them yet: one transaction, no limit for locks, nothing to validate."""
    after = notes(Column("number", Integer, index=True, unique=True))
    Table("more", after, Column("id", ForeignKey("notes.id"), CheckConstraint("id > 0")))
    source = project.generate(after).partition("def downgrade")[0]
    for word in ("autocommit_block", "lock_timeout", "VALIDATE", "not_valid", "if_not_exists"):
        assert word not in source


def test_not_null_is_refused_while_a_row_holds_null(project: Project) -> None:
    """It says so, fills nothing in, and can be run again."""
    project.create(notes(Column("words", Text)))
    project.execute("INSERT INTO notes (words) VALUES (NULL)")
    after = notes(Column("words", Text, nullable=False))
    project.generate(after)
    with pytest.raises(exc.IntegrityError, match="notes_words_not_null"):
        project.upgrade(after)
    project.execute("UPDATE notes SET words = 'x'")
    project.upgrade(after)
    assert project.check(after) == []


def test_dropped_values_do_not_stop_a_downgrade(project: Project) -> None:
    """A column that takes no NULL comes back to a table with rows."""
    kinds = Enum("a", "b", name="kind")
    before = notes(
        Column("words", Text, nullable=False),
        Column("size", Numeric, nullable=False),
        Column("at", DateTime, nullable=False),
        Column("data", JSONB, nullable=False),
        Column("tags", ARRAY(Text), nullable=False),
        Column("kind", kinds, nullable=False),
    )
    project.create(before)
    standing = project.lines()
    project.execute(
        "INSERT INTO notes (words, size, at, data, tags, kind) "
        "VALUES ('x', 1, 'now', '1', '{}', 'b')"
    )
    after = notes()
    project.generate(after)
    project.upgrade(after)
    project.downgrade(after)
    assert project.lines() == standing


# --- Names ----------------------------------------------------------------------------------------

NAMES = """
SELECT conname FROM pg_constraint
WHERE contype IN ('u', 'c') AND connamespace = 'public'::regnamespace
"""
LONG = "a_name_that_is_rather_long_for_a_table_but_nobody_minds"


@pytest.mark.parametrize(
    ("table", "column"),
    [("notes", "size"), (LONG, "size"), ("notes", LONG), (LONG, LONG), ("ü" * 20, "ö" * 25)],
)
def test_names_are_those_that_postgresql_gives(project: Project, table: str, column: str) -> None:
    """Cut like its own, to the byte."""
    project.execute(f'CREATE TABLE "{table}" ("{column}" int UNIQUE CHECK ("{column}" > 0))')
    with project.engine.begin() as connection:
        found = set(connection.scalars(text(NAMES)))
    assert found == {object_name(table, column, label) for label in ("key", "check")}


def test_names_that_are_too_long(project: Project) -> None:
    """PostgreSQL cuts them off and says nothing."""
    name = "ü" * 40
    project.generate(notes(Column(name, Integer)))
    assert finding(project, "name-too-long").severity == "error"


def test_a_naming_convention_is_kept(project: Project) -> None:
    """The names of the models, not PostgreSQL's."""
    convention = {
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
    status = {"native_enum": False, "create_constraint": True, "name": "status"}
    project.create(
        notes(
            Column("status", Enum("a", **status)),
            Column("up", Integer),
            naming_convention=convention,
        )
    )
    after = notes(
        Column("status", Enum("a", "b", **status)),
        Column("up", ForeignKey("notes.id"), unique=True),
        naming_convention=convention,
    )
    source = project.generate(after)
    for name in ("ck_notes_status", "uq_notes_up", "fk_notes_up"):
        assert f'"{name}"' in source
    project.upgrade(after)
    assert project.check(after) == []


# --- What a revision needs that it does not have --------------------------------------------------


def test_types_of_the_application(project: Project) -> None:
    """A decorator is replaced by what it decorates; for a type of its own there is an import."""
    metadata = notes(
        Column("price", Money),
        Column("place", Words),
        Column("mood", Mood),
        Column("all", ARRAY(Mood)),
    )
    source = project.generate(metadata)
    assert "sa.Numeric(precision=12, scale=2)" in source
    assert "import tests.scripts.test_generate_migration.planting" in source
    assert source.count("CREATE TYPE mood") == 1
    project.upgrade(metadata)
    assert project.check(metadata) == []
    project.downgrade(metadata)


def test_sequences(project: Project) -> None:
    """A table that counts with one of the models' finds it."""
    metadata = MetaData()
    numbers = Sequence("Numbers", start=5, metadata=metadata)
    Table(
        "notes",
        metadata,
        Column("id", Integer, numbers, server_default=numbers.next_value(), primary_key=True),
    )
    empty = project.lines()
    project.generate(metadata)
    project.upgrade(metadata)
    assert project.check(metadata) == []
    project.execute("INSERT INTO notes DEFAULT VALUES")
    project.downgrade(metadata)
    assert project.lines() == empty


def test_a_circle_without_use_alter(project: Project) -> None:
    """SQLAlchemy warns that it cannot sort the tables; the revision can be run."""
    metadata = MetaData()
    key = Column("id", Integer, primary_key=True)
    Table("users", metadata, key, Column("team_id", ForeignKey("teams.id")))
    Table("teams", metadata, key._copy(), Column("owner_id", ForeignKey("users.id")))
    with pytest.warns(exc.SAWarning, match="Cannot correctly sort tables"):
        project.generate(metadata)
    project.upgrade(metadata)
    with pytest.warns(exc.SAWarning, match="Cannot correctly sort tables"):
        assert project.check(metadata) == []
    project.downgrade(metadata)
    assert not [line for line in project.lines() if "users" in line]


# --- Enumerations ---------------------------------------------------------------------------------

ORDERS = [
    ("ab", "abc"),
    ("ab", "cab"),
    ("ab", "acb"),
    ("b", "abcd"),
    ("c", "abcde"),
    ("ace", "abcdef"),
    ("bd", "xyabzcde"),
]


def test_values_are_added_where_they_belong(project: Project) -> None:
    """In the order of the models, whatever was there."""
    for before, after in ORDERS:
        labels = ", ".join(f"'{label}'" for label in before)
        change = ChangeEnumOp(("public", "it"), tuple(before), tuple(after), [], "public")
        project.execute(f"CREATE TYPE it AS ENUM ({labels})", *change.statements())
        with project.engine.begin() as connection:
            assert (
                connection.scalar(text("SELECT array_to_string(enum_range(NULL::it), '')")) == after
            )
        project.execute("DROP TYPE it")


def test_a_value_that_was_renamed(project: Project) -> None:
    """Rows that hold it stop the revision; the finding has the statement that is instant."""
    before = notes(Column("kind", Enum("old", "b", name="kind"), server_default="old"))
    project.create(before)
    project.execute("INSERT INTO notes DEFAULT VALUES")
    after = notes(Column("kind", Enum("new", "b", name="kind"), server_default="new"))
    project.generate(after)
    found = finding(project, "enum-value-removed")
    assert "op.execute(\"ALTER TYPE kind RENAME VALUE 'old' TO 'new'\")" in found.fix
    with pytest.raises(exc.DBAPIError, match="invalid input value for enum"):
        project.upgrade(after)


def test_values_that_rows_hold_stay_at_the_downgrade(project: Project) -> None:
    """What stands beside the value goes back, and the way up is open again."""
    before = notes(Column("kind", Enum("a", name="kind"), server_default="a"))
    project.create(before)
    standing = project.lines()
    after = notes(
        Column("kind", Enum("a", "b", name="kind"), server_default="b"),
        Column("size", Integer, index=True),
    )
    source = project.generate(after)
    assert project.rules() == set()
    project.upgrade(after)
    project.execute("INSERT INTO notes (kind) VALUES ('b')")
    project.downgrade(after)
    left = "more values than before: type public.kind: enum 'a', 'b'"
    assert excused(standing, project.lines()) == ([], [left])
    assert "_old" not in source
    project.upgrade(after)


# --- What nobody can repair -----------------------------------------------------------------------


def test_a_rename_is_spelt_out(project: Project) -> None:
    """With its schema."""
    project.execute("CREATE SCHEMA app")
    project.options = {"include_schemas": True}
    project.create(notes(Column("words", String(20)), schema="app"))
    project.generate(notes(Column("text", String(20)), schema="app"))
    fix = 'op.alter_column("notes", "words", new_column_name="text", schema="app")'
    said = finding(project, "possible-rename").fix
    assert fix in said
    assert 'text: Mapped[str | None] = mapped_column("words")' in said
    assert said.index("mapped_column") < said.index("op.alter_column")
    assert "notes.words" in finding(project, "drops-data").message


def test_columns_of_other_types_are_no_rename(project: Project) -> None:
    """Only the loss is named."""
    project.create(notes(Column("words", String(20))))
    project.generate(notes(Column("size", Integer)))
    assert project.rules() == {"drops-data"}


@pytest.mark.requires_postgres(17)  # SET EXPRESSION
def test_another_expression(project: Project) -> None:
    """It rewrites the table, and it goes there and back."""
    before = notes(Column("a", Integer), Column("b", Integer, Computed("a + 1", persisted=True)))
    project.create(before)
    standing = project.lines()
    after = notes(Column("a", Integer), Column("b", Integer, Computed("a + 2", persisted=True)))
    project.generate(after)
    assert project.rules() == {"computed-changed"}
    project.upgrade(after)
    assert project.check(after) == []
    project.downgrade(after)
    assert project.lines() == standing


KINDS: list[tuple[str, Models, Models]] = [
    (
        "computed-kind",
        lambda metadata: Table("notes", metadata, Column("a", Integer), Column("b", Integer)),
        lambda metadata: Table(
            "notes",
            metadata,
            Column("a", Integer),
            Column("b", Integer, Computed("a", persisted=True)),
        ),
    ),
    (
        "serial-to-identity",
        lambda metadata: Table("notes", metadata, Column("id", Integer, primary_key=True)),
        lambda metadata: Table(
            "notes", metadata, Column("id", Integer, Identity(), primary_key=True)
        ),
    ),
    (
        "no-cast",
        lambda metadata: Table("notes", metadata, Column("a", Boolean)),
        lambda metadata: Table("notes", metadata, Column("a", DateTime)),
    ),
]


@pytest.mark.parametrize(("rule", "before", "after"), KINDS, ids=[kind[0] for kind in KINDS])
def test_what_cannot_be_changed_in_place(
    project: Project, rule: str, before: Models, after: Models
) -> None:
    """It is an error, with what to do instead."""
    project.create(models(before))
    project.generate(models(after))
    found = finding(project, rule)
    assert found.severity == "error"
    assert found.fix


def test_a_check_that_the_models_lack(project: Project) -> None:
    """It stays, and is named: nobody knows whether somebody wrote it by hand."""
    project.create(notes(Column("size", Integer)))
    project.execute("ALTER TABLE notes ADD CONSTRAINT by_hand CHECK (size > 0)")
    source = project.generate(notes(Column("size", Integer)))
    assert "by_hand" not in source
    found = finding(project, "unknown-check")
    assert found.severity == "info"
    assert 'op.drop_constraint("by_hand", "notes", type_="check")' in found.fix


def test_an_index_of_a_partitioned_table(project: Project) -> None:
    """CONCURRENTLY would fail there."""
    project.execute(
        "CREATE TABLE notes (id int PRIMARY KEY, words text) PARTITION BY RANGE (id)",
        "CREATE TABLE notes_1 PARTITION OF notes FOR VALUES FROM (0) TO (10)",
    )
    project.options = {
        "include_object": lambda item, name, kind, reflected, other: name != "notes_1"
    }
    after = MetaData()
    Table(
        "notes",
        after,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("words", Text),
        Index("ix_words", "words"),
        postgresql_partition_by="RANGE (id)",
    )
    project.generate(after)
    assert project.rules() == {"partitioned-table"}
    project.upgrade(after)
    assert project.check(after) == []
    project.downgrade(after)
