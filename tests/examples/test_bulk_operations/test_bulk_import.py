"""An import that is killed, run again, and asked what it refused: no row lost, none twice."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.orm import Session

from examples.bulk_operations.__main__ import show
from examples.bulk_operations.importing import (
    BadRowsError,
    Report,
    import_at_once,
    import_tickets,
    write,
)
from examples.bulk_operations.records import (
    ImportRefusedError,
    Kind,
    Record,
    Rejected,
    checked,
    records,
)
from examples.database import PoolSettings, create_sync_engine
from examples.models import (
    ImportCheckpoint,
    Organization,
    Ticket,
    TicketPriority,
    TicketStatus,
)
from examples.testing_patterns.factories import make_organization, make_ticket, make_user
from examples.testing_patterns.plugin import SYNC_DRIVERS
from tests.saved import saved
from tests.waiting import DEADLINE, in_thread, until

ROOT = Path(__file__).resolve().parents[3]
COLUMNS = ["ticket_number", "title", "description", "organization", "creator", "status"]


@pytest.fixture(params=SYNC_DRIVERS)
def desk(real_commits: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A database of its own, with an organization and a user."""
    pool = PoolSettings(external=True)
    engine = create_sync_engine(real_commits, driver=request.param, pool=pool)
    with Session(engine) as session, session.begin():
        session.add_all([make_organization(slug="acme"), make_user(email="Ann@acme.example")])
    yield engine
    engine.dispose()


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A good row."""
    return {
        "ticket_number": f"CRM-{number}",
        "title": f"Ticket {number}",
        "description": 'Two lines,\nand a "quote".',
        "organization": "acme",
        "creator": "ann@ACME.example",
        "status": "open",
    } | changes


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """*rows* as a spreadsheet writes them, with a mark at the beginning."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """*rows*, an object a line."""
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def numbers(engine: Engine) -> list[int]:
    """The numbers of all tickets, in order."""
    with Session(engine) as session:
        return sorted(
            int(n.removeprefix("CRM-")) for n in session.scalars(select(Ticket.ticket_number))
        )


def rejected_lines(path: Path) -> list[int]:
    """The lines in the reject file."""
    return [json.loads(line)["line"] for line in path.read_text().splitlines()]


def load(desk: Engine, path: Path, **options: Any) -> Report:
    """Import *path*."""
    kind: Kind = "csv" if path.suffix == ".csv" else "jsonl"
    return import_tickets(desk, path, kind=kind, rejects=path.with_suffix(".rejects"), **options)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_exactly_the_bad_rows_are_rejected(desk: Engine, tmp_path: Path, kind: str) -> None:
    bad = {
        13: ({"title": " "}, "title: received 1 characters; expected 1 to 500"),
        113: ({"status": "opened"}, "status: received 'opened'; expected one of open, in_prog"),
        213: ({"organization": "nobody"}, "organization: received 'nobody'"),
        313: ({"creator": "bob@x"}, "creator: received 'bob@x'"),
        413: ({"title": "x" * 501}, "received 501 characters"),
        513: ({"ticket_number": ""}, "ticket_number"),
    }
    rows = [row(n, **bad.get(n, ({},))[0]) for n in range(600)]
    write = write_csv if kind == "csv" else write_jsonl
    path = write(tmp_path / f"tickets.{kind}", rows)
    report = load(desk, path, batch=100)
    assert (report.rows, report.rejected, report.outcomes) == (600, 6, {"inserted": 594})
    assert numbers(desk) == [n for n in range(600) if n not in bad]
    # In CSV each row has two lines, after the heading.
    lines = [2 + 2 * n if kind == "csv" else n + 1 for n in bad]
    assert rejected_lines(path.with_suffix(".rejects")) == lines
    assert [each.line for each in report.examples] == lines
    for each, (_, reason) in zip(report.examples, bad.values(), strict=True):
        assert reason in each.reason
    with Session(desk) as session:
        ticket = session.scalars(select(Ticket).where(Ticket.ticket_number == "CRM-0")).one()
        assert ticket.description == 'Two lines,\nand a "quote".'
        checkpoint = session.scalars(select(ImportCheckpoint)).one()
        assert (checkpoint.rows_done, checkpoint.finished_at is not None) == (600, True)


def test_a_second_run_does_nothing(desk: Engine, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "tickets.csv", [row(n) for n in range(10)] + [row(3, title="Last")])
    assert load(desk, path).outcomes == {"inserted": 11}
    with Session(desk) as session, session.begin():
        session.execute(update(Ticket).where(Ticket.ticket_number == "CRM-1").values(title="Ours"))
    again = load(desk, path)
    assert (again.skipped, again.rows, again.outcomes) == (11, 0, {})
    with Session(desk) as session:
        assert session.scalar(select(func.count()).where(Ticket.title == "Ours")) == 1
    assert load(desk, path, again=True).outcomes == {"unchanged": 10, "updated": 1}
    # A changed file is another import; what is the same in it stays as it is.
    write_csv(path, [row(n) for n in range(12)])
    changed = load(desk, path)
    assert changed.outcomes == {"unchanged": 9, "updated": 1, "inserted": 2}


def test_what_postgresql_alone_refuses_is_found_by_halving(desk: Engine, tmp_path: Path) -> None:
    with desk.begin() as connection:
        connection.execute(
            text("ALTER TABLE tickets ADD CONSTRAINT ck_tickets_odd CHECK (title <> 'Ticket 37')")
        )
    path = write_jsonl(tmp_path / "tickets.jsonl", [row(n) for n in range(64)])
    report = load(desk, path)
    assert (report.rejected, report.outcomes) == (1, {"inserted": 63})
    assert report.examples[0].line == 38
    assert "ck_tickets_odd" in report.examples[0].reason
    assert "Ticket 37" not in report.examples[0].reason


# --- What others have -----------------------------------------------------------------------------


def tickets(engine: Engine) -> dict[str, tuple[str, str]]:
    """Organization and title of each live ticket, by number."""
    with Session(engine) as session:
        found = session.execute(
            select(Ticket.ticket_number, Organization.slug, Ticket.title)
            .join(Ticket.organization)
            .where(Ticket.deleted_at.is_(None))
        )
        return {number: (slug, title) for number, slug, title in found}


@pytest.mark.parametrize("batch", [1, 100])
def test_a_number_is_one_organizations(desk: Engine, tmp_path: Path, batch: int) -> None:
    with Session(desk) as session, session.begin():
        session.add(make_organization(slug="globex"))
    load(desk, write_jsonl(tmp_path / "acme.jsonl", [row(1), row(3)]))
    with Session(desk) as session, session.begin():
        deleted = update(Ticket).where(Ticket.ticket_number == "CRM-3")
        session.execute(deleted.values(deleted_at=func.now()))
    globex = {"organization": "globex", "title": "Theirs"}
    rows = [row(1, **globex), row(2, **globex), row(2), row(2, **globex), row(3, **globex), row(4)]
    path = write_jsonl(tmp_path / "globex.jsonl", [*rows, row(4, **globex)])
    report = load(desk, path, batch=batch)
    assert rejected_lines(path.with_suffix(".rejects")) == [1, 3, 7]
    assert {"another organization has" in each.reason for each in report.examples} == {True}
    assert tickets(desk) == {
        "CRM-1": ("acme", "Ticket 1"),
        "CRM-2": ("globex", "Theirs"),
        "CRM-3": ("globex", "Theirs"),
        "CRM-4": ("acme", "Ticket 4"),
    }


def test_a_number_that_is_taken_meanwhile(desk: Engine) -> None:
    batch = [Record(line, row(line), 0) for line in range(4)]
    with Session(desk) as one, Session(desk) as two:
        globex = saved(one, make_organization(slug="globex"))
        saved(one, make_ticket(ticket_number="CRM-2", title="Theirs", organization=globex))
        waiting = in_thread(desk, two, lambda: write(two, batch))
        one.commit()
        written, rejected = waiting.result(DEADLINE)
        two.commit()
    assert (dict(written), [each.line for each in rejected]) == ({"inserted": 3}, [2])
    assert "another organization has" in rejected[0].reason
    assert tickets(desk)["CRM-2"] == ("globex", "Theirs")


@pytest.mark.parametrize("batch", [1, 100])
def test_a_priority_that_is_not_given_stays(desk: Engine, tmp_path: Path, batch: int) -> None:
    path = write_csv(tmp_path / "tickets.csv", [row(1), row(2)])
    load(desk, path, batch=batch)
    urgent = update(Ticket).where(Ticket.ticket_number == "CRM-1")
    with Session(desk) as session, session.begin():
        session.execute(urgent.values(priority=TicketPriority.URGENT))
    assert load(desk, path, batch=batch, again=True).outcomes == {"unchanged": 2}
    more = [row(2, priority="high"), row(2), row(3, priority="low"), row(3), row(3, title="New")]
    load(desk, write_jsonl(tmp_path / "more.jsonl", more), batch=batch)
    with Session(desk) as session:
        found = session.execute(select(Ticket.ticket_number, Ticket.priority)).all()
    assert {number: priority.value for number, priority in found} == {
        "CRM-1": "urgent",
        "CRM-2": "high",
        "CRM-3": "low",
    }


# --- Not UTF-8, not JSON --------------------------------------------------------------------------

HALF = "Hi \ud83d"


def test_rows_that_no_driver_can_send_are_rejected(
    desk: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    rows = [row(1), row(2, title=HALF), row(3, **{HALF: "x"}), row(4, title=deep), row(5)]
    path = write_jsonl(tmp_path / "tickets.jsonl", rows)
    with path.open("a") as file:
        file.write("[" * 100_000 + "\n" + json.dumps(row(7)) + "\n")
    report = load(desk, path)
    assert numbers(desk) == [1, 5, 7]
    said = path.with_suffix(".rejects").read_text(encoding="utf-8")
    found = [json.loads(line) for line in said.splitlines()]
    assert [each["line"] for each in found] == [2, 3, 4, 6]
    assert [each["reason"] for each in found[:3]] == [
        "title: not UTF-8 text",
        f"unknown {HALF}",
        "title: received list; expected text",
    ]
    assert found[3]["reason"].startswith("not JSON: ")
    assert found[0]["values"]["title"] == HALF
    for output_format in ("full", "json"):
        show(report, output_format, path)
    assert "line 3: unknown Hi \\ud83d" in capsys.readouterr().out


# --- Killed, twice, in one file -------------------------------------------------------------------


class Killed(Exception):
    """The process is gone."""


@pytest.mark.parametrize("moment", ["after the rows", "after the rejects", "after the commit"])
def test_a_run_that_ends_in_the_middle_goes_on(
    desk: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    rows = [row(n, **({"title": ""} if n % 10 == 7 else {})) for n in range(100)]
    path = write_jsonl(tmp_path / "tickets.jsonl", rows)
    path.with_suffix(".rejects").write_text('{"line": 0}\n')  # of an earlier import
    import examples.bulk_operations.importing as module

    name = {"after the rows": "append", "after the rejects": "move"}.get(moment)
    calls = 0

    def stop(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Killed
        return original(*arguments, **options)

    if name:
        original = getattr(module, name)
        with monkeypatch.context() as patch:
            patch.setattr(module, name, stop)
            with pytest.raises(Killed):
                load(desk, path, batch=20)
    else:
        original = lambda rows, read: None  # noqa: E731
        with pytest.raises(Killed):
            load(desk, path, batch=20, progress=stop)
    done = 60 if moment == "after the commit" else 40
    assert len(numbers(desk)) == done * 9 // 10
    with path.with_suffix(".rejects").open("ab") as file:
        file.write(b'{"file": "tick')  # so far the disk
    report = load(desk, path, batch=7)
    assert (report.skipped, report.rows) == (done, 100 - done)
    assert numbers(desk) == [n for n in range(100) if n % 10 != 7]
    lines = [n + 1 for n in range(100) if n % 10 == 7]
    assert rejected_lines(path.with_suffix(".rejects")) == [0, *lines]


def command(path: Path, url: str, *options: str) -> list[str]:
    """The command line."""
    module = [sys.executable, "-m", "examples.bulk_operations", "import", str(path)]
    return [*module, "--database-url", url, *options]


def alone(desk: Engine) -> bool:
    """Whether nobody else is connected to the database."""
    others = """
        SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
            AND datname = current_database() AND pid <> pg_backend_pid()"""
    with desk.connect() as connection:
        return bool(connection.scalar(text(others)) == 0)


@pytest.mark.once
def test_kill_9_and_run_again(desk: Engine, real_commits: str, tmp_path: Path) -> None:
    rows = [row(n, **({"status": "?"} if n % 100 == 99 else {})) for n in range(2_000)]
    path = write_csv(tmp_path / "tickets.csv", rows)
    with Session(desk) as rival:
        # However late we look, it is not through: it waits for who brings a number of its own.
        rival.add(make_ticket(ticket_number="CRM-1500"))
        rival.flush()
        process = subprocess.Popen(command(path, real_commits, "--batch", "50"), cwd=ROOT)
        until(lambda: bool(numbers(desk)) or process.poll() is not None, "some rows are in")
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: alone(desk), "its COMMIT, if it sent one, is done or undone")
    before = len(numbers(desk))
    assert 0 < before < 1_980, "it was killed in the middle"
    again = subprocess.run(
        command(path, real_commits, "--output-format", "json"),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    report = json.loads(again.stdout)
    assert again.returncode == 1
    assert report["skipped"] + report["rows"] == 2_000
    assert report["skipped"] > 0
    assert report["outcomes"] == {"inserted": 1_980 - before}
    assert numbers(desk) == [n for n in range(2_000) if n % 100 != 99]
    assert rejected_lines(path.with_name("tickets.csv.rejects.jsonl")) == [
        2 + 2 * n for n in range(2_000) if n % 100 == 99
    ]


def test_all_or_nothing(desk: Engine, tmp_path: Path) -> None:
    rows = [row(n) for n in range(20)]
    path = write_jsonl(tmp_path / "tickets.jsonl", [*rows, row(99, title="")])
    with pytest.raises(BadRowsError, match="1 bad rows; nothing was imported") as caught:
        import_at_once(desk, path, kind="jsonl", batch=5)
    assert caught.value.report.examples[0].line == 21
    assert numbers(desk) == []
    write_jsonl(path, rows)
    assert import_at_once(desk, path, kind="jsonl", batch=5, dry_run=True).outcomes == {
        "inserted": 20
    }
    assert numbers(desk) == []
    assert import_at_once(desk, path, kind="jsonl", batch=5).outcomes == {"inserted": 20}
    assert numbers(desk) == list(range(20))


def test_two_processes_with_one_file(desk: Engine, tmp_path: Path) -> None:
    rows = [row(n, **({"title": ""} if n % 10 == 7 else {})) for n in range(40)]
    path = write_jsonl(tmp_path / "tickets.jsonl", rows)
    started = False

    def other(_rows: int, _read: int) -> None:
        nonlocal started
        if not started:
            started = True
            load(desk, path, batch=10)

    with pytest.raises(ImportRefusedError, match="another process imports this file"):
        load(desk, path, batch=10, progress=other)
    assert numbers(desk) == [n for n in range(40) if n % 10 != 7]
    assert rejected_lines(path.with_suffix(".rejects")) == [8, 18, 28, 38]


@pytest.mark.parametrize("killed", [False, True])
def test_two_files_with_one_file_of_rejects(
    desk: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    rejects = tmp_path / "all.jsonl"
    rejects.write_text("Mine.\n")
    paths = []
    for name, bad in (("a", 3), ("b", 5)):
        rows = [row(n, **({"title": ""} if n % 10 == bad else {})) for n in range(20)]
        paths.append(write_jsonl(tmp_path / f"{name}.jsonl", rows))

    def stop(*_arguments: object) -> None:
        raise Killed

    if killed:
        with monkeypatch.context() as patch:
            patch.setattr("examples.bulk_operations.importing.move", stop)
            with pytest.raises(Killed):
                import_tickets(desk, paths[0], kind="jsonl", rejects=rejects, batch=7)
        assert '"a.jsonl", "line": 4' in rejects.read_text()
        paths.reverse()  # the other one comes between
    for path in paths:
        import_tickets(desk, path, kind="jsonl", rejects=rejects, batch=7)
    first, *lines = rejects.read_text().splitlines()
    found = [(each["file"], each["line"]) for each in map(json.loads, lines)]
    assert first == "Mine."
    assert sorted(found) == [("a.jsonl", 4), ("a.jsonl", 14), ("b.jsonl", 6), ("b.jsonl", 16)]


def test_a_file_is_not_for_its_own_rejects(desk: Engine, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "tickets.jsonl", [row(1), row(2, title="")])
    said, link = path.read_text(), tmp_path / "link"
    link.symlink_to(path)
    for rejects in (path, link):
        with pytest.raises(ImportRefusedError, match="for its own rejects; expected another file"):
            import_tickets(desk, path, kind="jsonl", rejects=rejects)
    assert (path.read_text(), numbers(desk)) == (said, [])


# --- The file -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"title\n", "csv", "missing ticket_number"),
        (b"", "csv", r"received the columns \(none\)"),
        (b'"title"s\n', "csv", "received a heading that is not CSV: "),
        (b"title,a,,, Title\n", "csv", "received title more than once"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, content: bytes, kind: Kind, said: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ImportRefusedError, match=said):
        list(records(path, kind))


def test_rows_that_are_none_are_told(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    heading = "ticket_number,title,description,organization,creator"
    path.write_text(f'{heading}\n1,t,d,o,c\n\n2,t\n3,"a"b,d,o,c\n4,t,d,o,c\n')
    found = list(records(path, "csv"))
    assert [(each.line, type(each)) for each in found] == [
        (2, Record),
        (4, Rejected),
        (5, Rejected),
        (6, Record),
    ]
    path.write_text('{"a": 1}\n\n[1]\nnot json\n')
    kinds = [(each.line, getattr(each, "reason", "")) for each in records(path, "jsonl")]
    assert kinds[0] == (1, "")
    assert kinds[1] == (3, "received list; expected an object")
    assert kinds[2][1].startswith("not JSON")


GOOD = row(1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": None}, "title: received NoneType; expected text"),
        ({"title": "a\0b"}, "title: not UTF-8 text"),
        ({"description": HALF}, "description: not UTF-8 text"),
        ({"title": "\udc3d"}, "title: not UTF-8 text"),
        ({"ticket_number": " "}, "ticket_number: received none"),
        ({"priority": "HIGH"}, "priority: received 'HIGH'; expected one of low"),
        ({"created_at": "2026-01-01"}, "created_at: received '2026-01-01'; expected"),
        ({"created_at": "yesterday"}, "created_at: received 'yesterday'"),
        ({"resolved_at": "2026-01-01T00:00:00Z"}, "resolved_at: received one for a ticket that is"),
        ({"colour": "red"}, "unknown colour"),
    ],
)
def test_a_value_is_told_with_its_reason(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked(GOOD | change)


def test_a_closed_ticket_has_its_time() -> None:
    created = "2026-01-01T00:00:00Z"
    found = checked(GOOD | {"status": "closed", "created_at": created})
    assert found["resolved_at"] == found["created_at"]
    assert found["status"] is TicketStatus.CLOSED


# --- The command ----------------------------------------------------------------------------------


def run(path: Path, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command, piped."""
    return subprocess.run(
        command(path, url, *options), cwd=ROOT, check=False, capture_output=True, text=True
    )


@pytest.mark.once
def test_the_command(real_commits: str, tmp_path: Path) -> None:
    engine = create_sync_engine(real_commits, pool=PoolSettings(external=True))
    with Session(engine) as session, session.begin():
        session.add_all([make_organization(slug="acme"), make_user(email="ann@acme.example")])
    path = write_csv(tmp_path / "tickets.csv", [row(1), row(2, title="")])
    tried = run(path, real_commits, "--dry-run")
    assert (tried.returncode, numbers(engine)) == (1, [])
    refused = run(path, real_commits, "--all-or-nothing")
    assert (refused.returncode, numbers(engine)) == (1, [])
    assert "1 bad rows; nothing was imported" in refused.stderr
    done = run(path, real_commits)
    assert (done.returncode, numbers(engine)) == (1, [1])
    assert done.stderr == "", "no progress bar where it is piped"
    assert "line 4: title: received 0 characters" in done.stdout or "missing title" in done.stdout
    assert run(path, real_commits).returncode == 0, "nothing is left to do"
    cases: list[tuple[Path, str, list[str], str]] = [
        (tmp_path / "none.csv", real_commits, [], "expected a file"),
        (path, "mysql://x/y", [], "expected postgresql://"),
        (path, real_commits, ["--batch", "0"], "expected 1 or more"),
        (path, f"{real_commits}_none", [], "the database refused"),
    ]
    for file, url, options, said in cases:
        failed = run(file, url, *options)
        assert failed.returncode == 2
        assert said in failed.stderr, failed.stderr
        assert "Traceback" not in failed.stderr
    engine.dispose()


@pytest.mark.once
def test_a_progress_bar_on_a_terminal(real_commits: str, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "tickets.jsonl", [row(1)])
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(path, real_commits), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs
    )
    process.wait()
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "100% 1 rows" in shown
