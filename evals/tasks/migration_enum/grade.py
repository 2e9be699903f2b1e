"""An enumeration's value, added and removed again."""

from __future__ import annotations

from alembic.config import Config, main
from alembic.script import ScriptDirectory
from sqlalchemy import select
from sqlalchemy.orm import Session

from evals.workspace import Workspace, describe

LABELS = (
    "SELECT enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = enumtypid"
    " WHERE typname = 'ticket_status' ORDER BY enumsortorder"
)
TYPES = "SELECT typname FROM pg_type WHERE typtype = 'e' ORDER BY 1"
ROWS = (
    ("A", False, "open"),
    ("B", True, "open"),
    ("C", True, "closed"),
    ("D", False, "resolved"),
)
SHAPE = (
    "SELECT 'column ' || attname, format_type(atttypid, atttypmod), attnotnull::text,"
    " coalesce(pg_get_expr(adbin, adrelid), '') FROM pg_attribute"
    " LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
    " WHERE attrelid IN ('tickets'::regclass, to_regclass('live_tickets')) AND attnum > 0"
    " AND NOT attisdropped"
    " UNION ALL SELECT 'index', pg_get_indexdef(indexrelid), indisvalid::text, '' FROM pg_index"
    " WHERE indrelid = 'tickets'::regclass"
    " UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid), '' FROM pg_constraint"
    " WHERE conrelid = 'tickets'::regclass"
    " UNION ALL SELECT 'view', viewname, definition, '' FROM pg_views WHERE schemaname = 'public'"
    " UNION ALL SELECT 'comment', typname, obj_description(oid, 'pg_type'), '' FROM pg_type"
    " WHERE typname = 'ticket_status' ORDER BY 1, 2, 3, 4"
)


def alembic(*arguments: str) -> None:
    """Run Alembic as its command line does, in this process; it has to succeed."""
    try:
        main(argv=list(arguments))
    except SystemExit as ended:
        # Its command line prints the reason, which the runner adds to the evidence.
        failed = f"alembic {' '.join(arguments)} failed"
        if ended.code:
            raise AssertionError(failed) from ended
    except Exception as error:
        failed = f"alembic {' '.join(arguments)} failed: {describe(error)}"
        raise AssertionError(failed) from error


def solved(work: Workspace) -> None:
    """There has to be a revision after 0001: whatever else a check finds would mean nothing."""
    assert (work.path / "alembic.ini").is_file(), "there is no alembic.ini"
    heads = ScriptDirectory.from_config(Config(work.path / "alembic.ini")).get_heads()
    assert heads, "there is no revision"
    assert "0001" not in heads, f"the head is {heads}"


def filled(work: Workspace) -> None:
    """The table at revision 0001, with rows."""
    solved(work)
    alembic("upgrade", "0001")
    for title, waiting, status in ROWS:
        work.rows(
            "INSERT INTO tickets (title, waiting, status)"
            " VALUES (:title, :waiting, CAST(:status AS ticket_status))",
            title=title,
            waiting=waiting,
            status=status,
        )


def statuses(work: Workspace) -> dict[str, str]:
    """The status of each ticket."""
    rows = work.rows("SELECT title, status::text AS status FROM tickets ORDER BY title")
    return {row.title: row.status for row in rows}


def check_upgrade(work: Workspace) -> None:
    """upgrade head adds on_hold between open and resolved, and only waiting open tickets become it"""  # noqa: E501
    filled(work)
    alembic("upgrade", "head")
    labels = [row[0] for row in work.rows(LABELS)]
    assert labels == ["open", "on_hold", "resolved", "closed"], f"labels: {labels}"
    found = statuses(work)
    assert found == {"A": "open", "B": "on_hold", "C": "closed", "D": "resolved"}, found


def check_from_nothing(work: Workspace) -> None:
    """The whole history runs on an empty database, and alembic check finds no difference"""
    solved(work)
    alembic("upgrade", "head")
    assert len(work.rows(LABELS)) == 4, work.rows(LABELS)
    alembic("check")


def check_orm(work: Workspace) -> None:
    """The ORM stores and reads Status.ON_HOLD"""
    filled(work)
    alembic("upgrade", "head")
    models = work.module("models")
    with Session(work.engine()) as session, session.begin():
        session.add(models.Ticket(title="E", status=models.Status.ON_HOLD))
        session.flush()
        statement = select(models.Ticket.title).where(models.Ticket.status == models.Status.ON_HOLD)
        found = sorted(session.scalars(statement))
    assert found == ["B", "E"], f"on hold: {found}"
    assert statuses(work)["E"] == "on_hold"


def check_no_rewrite(work: Workspace) -> None:
    """The upgrade does not rewrite the table"""
    filled(work)
    before = work.value("SELECT pg_relation_filenode('tickets')")
    work.rows("CREATE TABLE grader_seen (query text)")
    work.rows(
        "CREATE FUNCTION grader_rewrite() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO grader_seen VALUES (current_query()); END $$"
    )
    work.rows("CREATE EVENT TRIGGER grader ON table_rewrite EXECUTE FUNCTION grader_rewrite()")
    alembic("upgrade", "head")
    seen = [row[0] for row in work.rows("SELECT query FROM grader_seen")]
    assert not seen, f"rewritten by {seen}"
    after = work.value("SELECT pg_relation_filenode('tickets')")
    assert after == before, "the table lies in another file"


def check_downgrade_rows(work: Workspace) -> None:
    """downgrade turns on_hold tickets into open ones, leaves the others, and a new on_hold is refused"""  # noqa: E501
    filled(work)
    alembic("upgrade", "head")
    work.rows("UPDATE tickets SET status = 'on_hold' WHERE title = 'D'")
    alembic("downgrade", "0001")
    found = statuses(work)
    assert found == {"A": "open", "B": "open", "C": "closed", "D": "open"}, found
    labels = [row[0] for row in work.rows(LABELS)]
    assert labels == ["open", "resolved", "closed"], f"labels: {labels}"


def check_downgrade_shape(work: Workspace) -> None:
    """downgrade gives back default, NOT NULL, partial index and view as they were, and leaves no type behind"""  # noqa: E501
    filled(work)
    before, types = work.rows(SHAPE), work.rows(TYPES)
    alembic("upgrade", "head")
    alembic("downgrade", "0001")
    assert work.rows(TYPES) == types, f"types: {work.rows(TYPES)}, were {types}"
    lost, new = set(before) - set(work.rows(SHAPE)), set(work.rows(SHAPE)) - set(before)
    assert not lost | new, f"lost: {sorted(lost)}; new: {sorted(new)}"


def check_round_trip(work: Workspace) -> None:
    """upgrade, downgrade and upgrade again end as the first upgrade did"""
    filled(work)
    alembic("upgrade", "head")
    first = work.rows(SHAPE), work.rows(LABELS), statuses(work)
    alembic("downgrade", "0001")
    alembic("upgrade", "head")
    second = work.rows(SHAPE), work.rows(LABELS), statuses(work)
    assert second == first, f"{second}, was {first}"
