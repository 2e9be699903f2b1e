"""What a migration of a big table does to its rows, and to whoever uses it meanwhile."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from alembic.config import Config, main
from alembic.script import ScriptDirectory
from sqlalchemy import text

from evals.workspace import Workspace, describe

SECONDS = 240.0  # the limit of a check
ROWS = 160_000  # of both sources more than one transaction may change
BATCH = 50_000
COLUMNS = (
    "SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns"
    " WHERE table_name = 'tickets' ORDER BY ordinal_position"
)
SHAPE = (
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE conrelid = 'tickets'::regclass"
    " UNION ALL SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
    " WHERE indrelid = 'tickets'::regclass"
    " UNION ALL SELECT tgname, tgname FROM pg_trigger"
    " WHERE tgrelid = 'tickets'::regclass AND NOT tgisinternal AND tgname NOT LIKE 'grader%'"
    " ORDER BY 1"
)
# A scan or rewrite by ALTER TABLE, and an UPDATE, while this transaction shuts readers out.
WATCH = (
    "CREATE TABLE grader_seen (what text, locked bool, tx bigint, changed bigint)",
    "CREATE FUNCTION grader_locked() RETURNS bool LANGUAGE sql AS $$ SELECT EXISTS ("
    " SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'tickets'::regclass"
    " AND mode = 'AccessExclusiveLock' AND granted) $$",
    "CREATE FUNCTION grader_scans() RETURNS bigint LANGUAGE sql AS"
    " $$ SELECT coalesce(pg_stat_get_xact_numscans('tickets'::regclass), 0) $$",
    "CREATE FUNCTION grader_start() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF to_regclass('tickets') IS NOT NULL THEN"
    " PERFORM set_config('grader.scans', grader_scans()::text, true); END IF; END $$",
    "CREATE FUNCTION grader_end() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF to_regclass('tickets') IS NOT NULL"
    " AND grader_scans() > nullif(current_setting('grader.scans', true), '')::bigint THEN"
    " INSERT INTO grader_seen SELECT 'scan by ' || regexp_replace(current_query(), '\\s+', ' ',"
    " 'g'), grader_locked(), txid_current(), 0; END IF; END $$",
    "CREATE FUNCTION grader_rewrite() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO grader_seen SELECT 'rewrite by ' || current_query(), true, txid_current(), 0;"
    " END $$",
    "CREATE FUNCTION grader_update() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO grader_seen SELECT 'update', grader_locked(), txid_current(),"
    " (SELECT count(*) FROM changed); RETURN NULL; END $$",
    "CREATE TRIGGER grader_update AFTER UPDATE ON tickets REFERENCING NEW TABLE AS changed"
    " FOR EACH STATEMENT EXECUTE FUNCTION grader_update()",
    "CREATE EVENT TRIGGER grader_start ON ddl_command_start EXECUTE FUNCTION grader_start()",
    "CREATE EVENT TRIGGER grader_end ON ddl_command_end EXECUTE FUNCTION grader_end()",
    "CREATE EVENT TRIGGER grader_rewrite ON table_rewrite EXECUTE FUNCTION grader_rewrite()",
)
UNWATCH = (
    "DROP EVENT TRIGGER IF EXISTS grader_start",
    "DROP EVENT TRIGGER IF EXISTS grader_end",
    "DROP EVENT TRIGGER IF EXISTS grader_rewrite",
    "DROP TRIGGER IF EXISTS grader_update ON tickets",
    "DROP TABLE IF EXISTS grader_seen",
)
# The statement at which the sequence arrives at 0 is refused, as by lock_timeout.  A rollback does
# not take nextval back, so a statement that is tried again is the next one.
REFUSE = (
    "CREATE SEQUENCE grader_left INCREMENT -1 MINVALUE -1000000 MAXVALUE 1000000 START 1",
    "CREATE FUNCTION grader_refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF nextval('grader_left') = 0 THEN RAISE EXCEPTION"
    " 'canceling statement due to lock timeout' USING ERRCODE = '55P03'; END IF; END $$",
    "CREATE EVENT TRIGGER grader_refuse ON ddl_command_start"
    " WHEN TAG IN ('ALTER TABLE', 'CREATE INDEX', 'DROP INDEX', 'CREATE TRIGGER', 'DROP TRIGGER')"
    " EXECUTE FUNCTION grader_refuse()",
)
REFUSED = "SELECT is_called AND last_value <= 0 FROM grader_left"


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


def filled(work: Workspace, rows: int = 1000) -> None:
    """The table at revision 0001, with rows, every third from the portal."""
    solved(work)
    alembic("upgrade", "0001")
    work.rows(
        "INSERT INTO tickets (title, source) SELECT 'Ticket ' || n,"
        " CASE WHEN n % 3 = 0 THEN 'portal' ELSE 'mail' END FROM generate_series(1, :rows) n",
        rows=rows,
    )


def no_helper(work: Workspace, before: Sequence[Any]) -> None:
    """Of the table's constraints, indexes and triggers only channel's NOT NULL may be new."""
    added = {tuple(row) for row in work.rows(SHAPE)} - {tuple(row) for row in before}
    names = [name for name, shown in added if "NOT NULL channel" not in shown]
    assert not names, f"left on the table: {sorted(added)}"


def check_values(work: Workspace) -> None:
    """upgrade head runs on a table with rows: each has its channel, and NULL is refused"""
    filled(work)
    alembic("upgrade", "head")
    found = work.rows("SELECT source, channel, count(*) FROM tickets GROUP BY 1, 2 ORDER BY 1, 2")
    assert [tuple(row) for row in found] == [("mail", "email", 667), ("portal", "web", 333)], found
    column = [tuple(row[1:]) for row in work.rows(COLUMNS) if row[0] == "channel"]
    assert column == [("text", "NO", None)], f"(type, nullable, default) of channel: {column}"


def check_alembic_check(work: Workspace) -> None:
    """From nothing to head and alembic check finds no difference; no helper object stays"""
    solved(work)
    alembic("upgrade", "0001")
    before = work.rows(SHAPE)
    alembic("upgrade", "head")
    alembic("check")
    no_helper(work, before)
    invalid = work.rows(
        "SELECT conname FROM pg_constraint"
        " WHERE conrelid = 'tickets'::regclass AND NOT convalidated"
    )
    assert not invalid, f"not validated: {invalid}"


def watched(work: Workspace, rows: int) -> list[tuple[str, bool, int, int]]:
    """What an upgrade of a filled table did, in order."""
    filled(work, rows)
    for statement in WATCH:
        work.rows(statement)
    alembic("upgrade", "head")
    seen = [tuple(row) for row in work.rows("SELECT what, locked, tx, changed FROM grader_seen")]
    for statement in UNWATCH:
        work.rows(statement)
    assert work.value("SELECT count(*) FROM tickets WHERE channel IS NOT NULL") == rows
    return [(str(what), bool(locked), int(tx), int(changed)) for what, locked, tx, changed in seen]


def check_no_blocking_scan(work: Workspace) -> None:
    """No scan and no rewrite of the table happens while readers are shut out (ACCESS EXCLUSIVE)"""
    seen = watched(work, 1000)
    blocking = [what for what, locked, _, _ in seen if locked and what != "update"]
    assert not blocking, f"under ACCESS EXCLUSIVE: {blocking}"


def check_batches(work: Workspace) -> None:
    """Rows are filled while readers are let in, and at most 50,000 in a transaction"""
    updates = [each for each in watched(work, ROWS) if each[0] == "update" and each[3]]
    assert updates, "no UPDATE was seen"
    locked = sum(changed for _, exclusive, _, changed in updates if exclusive)
    assert not locked, f"{locked} rows were updated under ACCESS EXCLUSIVE"
    transactions: Counter[int] = Counter()
    for _, _, tx, changed in updates:
        transactions[tx] += changed
    most = max(transactions.values())
    assert most <= BATCH, f"{most} of {ROWS} rows were updated in one transaction"
    work.note(f"{len(transactions)} transactions, {most} rows at most")


def check_lock_timeout(work: Workspace) -> None:
    """Behind a reader's long transaction it waits 3 seconds at most, and when run again completes"""  # noqa: E501
    filled(work)
    engine = work.engine()
    codes: list[int] = []

    def upgrade() -> None:
        codes.append(work.command(["alembic", "upgrade", "head"], seconds=60).returncode)

    runner = threading.Thread(target=upgrade, daemon=True)
    waits = (
        "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), -1)::float"
        " FROM pg_locks WHERE NOT granted AND relation = 'tickets'::regclass"
    )
    longest = -1.0
    with engine.connect() as reader:
        reader.execute(text("SELECT count(*) FROM tickets")).scalar_one()
        runner.start()
        end = time.monotonic() + 40
        since = None
        while runner.is_alive() and time.monotonic() < end and longest < 4:
            longest = max(longest, float(work.value(waits)))
            if longest >= 0:
                since = since or time.monotonic()
                if time.monotonic() - since > 12:  # it tries again and again: right, too
                    break
            time.sleep(0.1)
        reader.rollback()
    runner.join(70)
    assert longest < 4, f"a lock was waited for {longest:.1f} s, with every other reader behind it"
    assert codes, "the upgrade did not end"
    alembic("upgrade", "head")
    found = work.rows("SELECT channel, count(*) FROM tickets GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in found] == [("email", 667), ("web", 333)], found
    alembic("check")


def check_any_failure(work: Workspace) -> None:
    """Wherever a change of the table fails, running it again completes it"""
    filled(work, 300)
    before = work.rows(SHAPE)
    for statement in REFUSE:
        work.rows(statement)
    for number in itertools.count(1):
        work.rows(f"ALTER SEQUENCE grader_left RESTART WITH {number - 1}")
        work.rows("ALTER EVENT TRIGGER grader_refuse ENABLE")
        with suppress(AssertionError):  # it may also try again itself
            alembic("upgrade", "head")
        work.rows("ALTER EVENT TRIGGER grader_refuse DISABLE")
        refused = work.value(REFUSED)
        try:
            completes(work, before)
        except AssertionError as error:
            began = f"statement {number} was refused" if refused else "nothing was refused"
            raise AssertionError(f"{began}; then {error}") from error
        if not refused:
            work.note(f"{number - 1} statements, each refused once")
            return
        alembic("downgrade", "0001")


def completes(work: Workspace, before: Sequence[Any]) -> None:
    """upgrade head runs; 300 tickets are as they have to be, and *before* is all that is beside."""
    alembic("upgrade", "head")
    found = work.rows("SELECT channel, count(*) FROM tickets GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in found] == [("email", 200), ("web", 100)], found
    column = [tuple(row[1:]) for row in work.rows(COLUMNS) if row[0] == "channel"]
    assert column == [("text", "NO", None)], f"(type, nullable, default) of channel: {column}"
    alembic("check")
    no_helper(work, before)


def check_downgrade(work: Workspace) -> None:
    """downgrade to 0001 gives the table back as it was, rows included, and upgrade runs again"""
    filled(work)
    before = work.rows(COLUMNS), work.rows(SHAPE), work.rows("SELECT * FROM tickets ORDER BY id")
    alembic("upgrade", "head")
    alembic("downgrade", "0001")
    after = work.rows(COLUMNS), work.rows(SHAPE), work.rows("SELECT * FROM tickets ORDER BY id")
    assert after[0] == before[0], f"columns: {after[0]}, were {before[0]}"
    assert after[1] == before[1], f"constraints and indexes: {after[1]}, were {before[1]}"
    assert after[2] == before[2], "the rows are others"
    alembic("upgrade", "head")
    assert work.value("SELECT count(*) FROM tickets WHERE channel IS NULL") == 0
