"""What an import stores, rejects, repeats and completes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from evals.workspace import Workspace

HEADER = "number,title,hours,opened_at"
TIME = "2026-03-01T10:00:00+02:00"
STORED = "SELECT number, title, hours, opened_at, xmin::text FROM tickets ORDER BY number"


def desk(work: Workspace, *lines: str, ending: str = "\r\n", head: str = "") -> tuple[Any, ...]:
    """The function, an engine over an empty table, and the path of a file of *lines*."""
    module, models = work.module("csv_import"), work.module("models")
    engine = work.engine(driver="psycopg")
    models.Base.metadata.create_all(engine)
    path = work.path / "export.csv"
    path.write_bytes((head + ending.join([HEADER, *lines, ""])).encode())
    return module.import_tickets, engine, path


def counts(report: Any) -> tuple[int, int, int, int]:
    """The report in four numbers."""
    return report.inserted, report.updated, report.unchanged, len(report.rejected)


def check_values(work: Workspace) -> None:
    """Values arrive as they are: exact hours, times with their zone, quotes and line breaks"""
    import_tickets, engine, path = desk(
        work,
        f'T-1,"Printer ""2nd floor"", on fire",0.10,{TIME}',
        'T-2,"two\nlines",,2026-03-01T08:00:00Z',
        f"T-3,naïve Größe,999999.99,{TIME}",
    )
    report = import_tickets(engine, path)
    assert counts(report) == (3, 0, 0, 0), report
    stored = [tuple(row[:4]) for row in work.rows(STORED)]
    moment = datetime(2026, 3, 1, 8, tzinfo=UTC)
    assert stored == [
        ("T-1", 'Printer "2nd floor", on fire', Decimal("0.10"), moment),
        ("T-2", "two\nlines", None, moment),
        ("T-3", "naïve Größe", Decimal("999999.99"), moment),
    ], stored


def check_again(work: Workspace) -> None:
    """A second run finds all unchanged and writes nothing; a changed line alone is updated"""
    import_tickets, engine, path = desk(work, *(f"T-{n},Title,1.5,{TIME}" for n in range(10)))
    assert counts(import_tickets(engine, path, 4)) == (10, 0, 0, 0)
    before = work.rows(STORED)
    report = import_tickets(engine, path, 4)
    assert counts(report) == (0, 0, 10, 0), report
    assert work.rows(STORED) == before, "rows were written again"
    path.write_text(path.read_text(encoding="utf-8").replace("T-7,Title", "T-7,New"))
    report = import_tickets(engine, path, 4)
    assert counts(report) == (0, 1, 9, 0), report
    assert work.value("SELECT title FROM tickets WHERE number = 'T-7'") == "New"


def check_rejected(work: Workspace) -> None:
    """Bad lines are reported by their number in the file, the others are stored"""
    import_tickets, engine, path = desk(
        work,
        f'T-1,"two\nlines",1,{TIME}',  # lines 2 and 3
        f"T-2,  ,1,{TIME}",  # 4
        f"T-3,Fine,1,{TIME}",
        f"T-4,Title,many,{TIME}",  # 6
        "T-5,Title,1,2026-03-01T10:00:00",  # 7
        "T-6,Title,1,yesterday",  # 8
        f"T-7,Fine too,1,{TIME}",
    )
    report = import_tickets(engine, path)
    assert sorted(number for number, _ in report.rejected) == [4, 6, 7, 8], report.rejected
    assert all(reason for _, reason in report.rejected), report.rejected
    numbers = [row[0] for row in work.rows(STORED)]
    assert numbers == ["T-1", "T-3", "T-7"], f"stored: {numbers}"
    assert report.inserted == 3, report


def check_database_refuses(work: Workspace) -> None:
    """What only PostgreSQL would refuse (too many digits, NaN-like, a NUL, a short line) costs its own line alone"""  # noqa: E501
    import_tickets, engine, path = desk(
        work,
        f"T-1,Fine,1,{TIME}",
        f"T-2,Title,123456789.00,{TIME}",
        f"T-3,A\0B,1,{TIME}",
        "T-4,Title",
        f"T-5,Title,Infinity,{TIME}",
        f"T-6,Fine too,1,{TIME}",
    )
    report = import_tickets(engine, path)
    numbers = [row[0] for row in work.rows(STORED)]
    assert numbers == ["T-1", "T-6"], f"stored: {numbers}"
    assert sorted(number for number, _ in report.rejected) == [3, 4, 5, 6], report.rejected


def check_excel(work: Workspace) -> None:
    """A byte order mark, as Excel writes it, does not hide the first column"""
    import_tickets, engine, path = desk(work, f"T-1,Größe,1,{TIME}", head="\ufeff")
    report = import_tickets(engine, path)
    assert counts(report) == (1, 0, 0, 0), report
    assert [tuple(row[:2]) for row in work.rows(STORED)] == [("T-1", "Größe")], work.rows(STORED)


def check_duplicates(work: Workspace) -> None:
    """A number that comes twice, in one chunk or in two, ends as its last line, and stays so when run again"""  # noqa: E501
    import_tickets, engine, path = desk(
        work,
        f"T-1,first,1,{TIME}",
        f"T-1,second,1,{TIME}",
        f"T-2,other,1,{TIME}",
        f"T-3,another,1,{TIME}",
        f"T-1,last,1,{TIME}",
    )
    import_tickets(engine, path, 2)
    found = [tuple(row[:2]) for row in work.rows(STORED)]
    assert found == [("T-1", "last"), ("T-2", "other"), ("T-3", "another")], found
    before = work.rows(STORED)
    report = import_tickets(engine, path, 2)
    assert (report.inserted, report.updated) == (0, 0), report
    assert work.rows(STORED) == before, "the second run wrote rows"


def broken_off(work: Workspace, import_tickets: Any, engine: Engine, path: Path) -> None:
    """Run it with a table that fails at ticket T-025."""
    work.rows(
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION USING ERRCODE = '57P01', MESSAGE = 'going down'; END $$"
    )
    work.rows(
        "CREATE TRIGGER stop BEFORE INSERT ON tickets FOR EACH ROW "
        "WHEN (NEW.number = 'T-025') EXECUTE FUNCTION stop()"
    )
    try:
        import_tickets(engine, path, 10)
    except Exception as error:
        work.note(f"broke off with {type(error).__name__}")
    work.rows("DROP TRIGGER stop ON tickets")


def check_completes(work: Workspace) -> None:
    """Where it breaks off, the chunks before are committed, and the next run completes the import"""  # noqa: E501
    import_tickets, engine, path = desk(work, *(f"T-{n:03},Title,1,{TIME}" for n in range(50)))
    broken_off(work, import_tickets, engine, path)
    stored = [row[0] for row in work.rows(STORED)]
    first = [f"T-{n:03}" for n in range(20)]
    assert stored[:20] == first, f"stored when it broke off: {len(stored)} rows"
    assert "T-025" not in stored
    report = import_tickets(engine, path, 10)
    assert len(work.rows(STORED)) == 50, f"{len(work.rows(STORED))} rows after the second run"
    assert report.inserted + report.unchanged == 50, report
    assert report.updated == 0, report


def check_many(work: Workspace) -> None:
    """Five thousand lines take at most 100 statements"""
    import_tickets, engine, path = desk(work, *(f"T-{n},Title,1,{TIME}" for n in range(5000)))
    with work.statements(engine) as seen:
        report = import_tickets(engine, path)
    assert counts(report) == (5000, 0, 0, 0), counts(report)
    assert seen.count <= 100, f"{seen}"
