"""Do the tests pass where they should, turn red where they should, and leave no trace?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, MetaData, text

from evals.workspace import Workspace

SECONDS = 400.0
SERVICE = (Path(__file__).parent / "files" / "service.py").read_text(encoding="utf-8")
REVERSE = """\
def pytest_collection_modifyitems(items):
    items.reverse()
"""
TABLES = ("organizations", "users", "tickets")
ROWS = (
    "INSERT INTO organizations (slug) VALUES ('acme'), ('other')",
    "INSERT INTO users (email, organization_id) VALUES ('ann@example.org', 1),"
    " ('bob@example.org', 2)",
    "INSERT INTO tickets (title, organization_id, assignee_id, created_at, solved_at)"
    " VALUES ('Printer', 1, NULL, '2020-01-01Z', NULL), ('Laptop', 1, 1, '2020-01-02Z', NULL),"
    " ('Mouse', 2, 2, '2020-01-03Z', '2020-01-04Z')",
)


def fill(engine: Engine, metadata: MetaData) -> None:
    """Make the tables, with rows of other people."""
    with engine.begin() as connection:
        metadata.create_all(connection)
        for statement in ROWS:
            connection.execute(text(statement))


def desk(work: Workspace) -> None:
    """The tables with rows of other people, and the service as it was given."""
    assert (work.path / "test_service.py").exists(), "there is no test_service.py"
    fill(work.engine(), work.module("models").Base.metadata)
    work.write("service.py", SERVICE)


def held(work: Workspace) -> list[Any]:
    """Every row of every table."""
    return [work.rows(f"SELECT * FROM {table} ORDER BY id") for table in TABLES]


def run(work: Workspace, *options: str) -> tuple[int, str]:
    """Run the tests: pytest's exit code and its last lines."""
    done = work.command(["python", "-m", "pytest", "-q", *options, "test_service.py"])
    return done.returncode, done.stdout[-600:] + done.stderr[-200:]


def green(work: Workspace, *options: str) -> None:
    """The tests have to pass: at least one, and no error."""
    code, output = run(work, *options)
    assert code == 0, f"pytest ended with {code}: {output}"
    assert " passed" in output, f"no test passed: {output}"


def notices(work: Workspace, *faults: tuple[str, str]) -> None:
    """The tests have to pass on the service, and to fail on it with each of *faults*."""
    desk(work)
    green(work)
    for old, new in faults:
        assert SERVICE.count(old) >= 1, f"the fault has no place: {old}"
        work.write("service.py", SERVICE.replace(old, new))
        code, output = run(work)
        assert code == 1, f"pytest ended with {code} where {old!r} became {new!r}: {output}"


def check_pass(work: Workspace) -> None:
    """The tests pass on the service as it is, beside the rows of other people"""
    desk(work)
    green(work)


def check_again_and_reversed(work: Workspace) -> None:
    """They pass again after themselves, and in the reverse order"""
    desk(work)
    work.write("reverse_order.py", REVERSE)
    green(work)
    green(work)
    green(work, "-p", "reverse_order")


def check_no_trace(work: Workspace) -> None:
    """The database holds afterwards what it held before"""
    desk(work)
    before = held(work)
    green(work)
    for table, old, new in zip(TABLES, before, held(work), strict=True):
        assert old == new, f"{table}: {len(old)} rows before, {len(new)} after, or others"


def check_forgotten_commit(work: Workspace) -> None:
    """They turn red where solve_ticket or assign_next forgets its commit"""
    notices(
        work,
        (
            "ticket.solved_at = when\n    session.commit()",
            "ticket.solved_at = when\n    session.flush()",
        ),
        (
            "free[0].assignee_id = user_id\n    session.commit()",
            "free[0].assignee_id = user_id\n    session.flush()",
        ),
    )


def check_solved_twice(work: Workspace) -> None:
    """They turn red where solve_ticket moves a solved ticket's time, or says True for no ticket"""
    guard = "    if ticket is None or ticket.solved_at is not None:\n        return False\n"
    notices(
        work,
        (
            guard,
            "    if ticket is None:\n        return False\n"
            "    if ticket.solved_at is not None:\n"
            "        ticket.solved_at = when\n        session.commit()\n        return False\n",
        ),
        (
            guard,
            "    if ticket is None:\n        return True\n"
            "    if ticket.solved_at is not None:\n        return False\n",
        ),
    )


def check_hidden(work: Workspace) -> None:
    """They turn red where open_tickets lists deleted, solved or another organization's tickets"""
    notices(
        work,
        (".where(Ticket.deleted_at.is_(None))", ""),
        (".where(Ticket.solved_at.is_(None))", ""),
        (".where(Ticket.organization_id == organization_id)", ""),
    )


def check_assignment(work: Workspace) -> None:
    """They turn red where assign_next takes the newest ticket, or one that is somebody's"""
    notices(
        work,
        ("free[0]", "free[-1]"),
        ("    free = [ticket for ticket in free if ticket.assignee_id is None]\n", ""),
    )
