"""What keeps rows unique, or refers to them, is exchanged; no moment between finds it missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    NullPool,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    text,
)

from tests.scripts.test_generate_migration.observing import linted, named
from tests.scripts.test_generate_migration.planting import Project, notes, project

# isort: split
from generate_migration.core import Statement
from generate_migration.watch import Watch

__all__ = ["project"]  # a fixture

# Unique indexes that serve, and foreign keys, as somebody else sees them.
STANDING = text(
    """
    SELECT
        (SELECT count(*) FROM pg_index
         WHERE indrelid = CAST('notes' AS regclass) AND indisunique AND indisvalid
             AND NOT indisprimary),
        (SELECT count(*) FROM pg_constraint
         WHERE conrelid = CAST('notes' AS regclass) AND contype = 'f')
    """
)


def numbered(*items: Any, ondelete: str | None = None, refers: bool = False) -> MetaData:
    """Notes with a number, and a reference to it."""
    parent = [ForeignKey("notes.number", ondelete=ondelete)] if refers else []
    return notes(
        Column("number", Integer), Column("parent", Integer, *parent), Column("title", Text), *items
    )


def answered(index: str, ondelete: str | None = None) -> MetaData:
    """Notes whose number a unique index keeps, and replies that refer to it."""
    made = numbered(Index(index, "number", unique=True))
    number = Column("number", Integer, ForeignKey("notes.number", ondelete=ondelete))
    Table("replies", made, Column("id", Integer, primary_key=True), number)
    return made


EXCHANGES = {
    "columns": (
        numbered(UniqueConstraint("number", name="uq_it")),
        numbered(UniqueConstraint("number", "title", name="uq_it")),
    ),
    "name": (
        numbered(UniqueConstraint("number", name="uq_old")),
        numbered(UniqueConstraint("number", name="uq_new")),
    ),
    "constraint to index": (
        numbered(UniqueConstraint("number", name="uq_it")),
        numbered(Index("uq_it", "number", "title", unique=True)),
    ),
    "index": (
        numbered(Index("ux_old", "number", unique=True)),
        numbered(Index("ux_new", "number", "title", unique=True)),
    ),
    "with a foreign key": (
        numbered(UniqueConstraint("number", name="uq_old"), refers=True),
        numbered(UniqueConstraint("number", name="uq_new"), refers=True, ondelete="CASCADE"),
    ),
    "index with a foreign key": (answered("ux_old"), answered("ux_new", "CASCADE")),
}


@contextmanager
def looking(project: Project) -> Iterator[list[tuple[int, int]]]:
    """Within: after each statement of the project, what stands by then."""
    found: list[tuple[int, int]] = []
    other = create_engine(project.engine.url, poolclass=NullPool)

    def look(*_: object) -> None:
        with other.connect() as connection:
            unique, foreign = connection.execute(STANDING).one()
            found.append((unique, foreign))

    event.listen(project.engine, "after_cursor_execute", look)
    try:
        yield found
    finally:
        event.remove(project.engine, "after_cursor_execute", look)


def least_of(name: str) -> int:
    """How many foreign keys of the notes there are at any moment."""
    return 1 if name == "with a foreign key" else 0


@pytest.mark.parametrize("name", EXCHANGES)
def test_at_no_moment_it_is_missing(project: Project, name: str) -> None:
    """Neither on the way up nor on the way down; and the way up is open a second time."""
    before, after = EXCHANGES[name]
    project.create(before)
    project.execute(
        "INSERT INTO notes (number, title, parent) SELECT n, 'x', n FROM generate_series(1, 50) n"
    )
    standing = project.lines()
    project.generate(after)
    assert project.rules() == set()
    least = least_of(name)
    for step in (project.upgrade, project.downgrade, project.upgrade):
        with looking(project) as found:
            step(after)
        assert len(found) > 5
        assert all(unique >= 1 and foreign >= least for unique, foreign in found)
        if step == project.downgrade:
            assert project.lines() == standing
        else:
            assert project.check(after) == []


@pytest.mark.parametrize("name", EXCHANGES)
def test_they_change_places_at_once(project: Project, name: str) -> None:
    """When the new index is built, constraints in one transaction; an index goes without one."""
    before, after = EXCHANGES[name]
    project.create(before)
    project.generate(after)
    [path] = (project.folder / "versions").glob("*.py")
    for step, upgrade in ((project.upgrade, True), (project.downgrade, False)):
        watch = Watch({str(path): "0001"}, upgrade=upgrade)
        with watch.on():
            step(after)
        late = {"blocking-scan"} if "foreign key" in name else set[str]()
        assert set(named(linted(watch.statements, path))) <= late
        if "index" in name:
            continue
        [built] = numbers(watch.statements, "CREATE UNIQUE INDEX CONCURRENTLY")
        dropped = numbers(watch.statements, " DROP CONSTRAINT ")
        added = numbers(watch.statements, " ADD CONSTRAINT ")
        assert built < min(dropped) <= max(dropped) < min(added)
        assert len(dropped) == len(added) == (2 if least_of(name) else 1)
        transactions = {watch.statements[n].transaction for n in (*dropped, *added)}
        assert watch.statements[built].transaction is None
        assert len(transactions - {None}) == len(transactions) == 1


def numbers(statements: Sequence[Statement], words: str) -> list[int]:
    """The places of those with *words*."""
    return [n for n, each in enumerate(statements) if words in each.sql]
