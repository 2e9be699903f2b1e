"""The safe recipe for a statement that stands in the way, as Alembic code to copy."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from sqlalchemy.dialects import postgresql

from .sql import QUALIFIED, Table, actions, bare, begins, parts, says, targets

BATCHES = '''A thousand rows a transaction, by key, in a revision of its own:
with op.get_context().autocommit_block():
    op.execute("""DO $$
        DECLARE done bigint := 0; following bigint;
        BEGIN
            LOOP
                SELECT max(id) INTO following FROM
                    (SELECT id FROM {table} WHERE id > done ORDER BY id LIMIT 1000) AS batch;
                EXIT WHEN following IS NULL;
                UPDATE {table} SET … WHERE id > done AND id <= following AND …;
                COMMIT;
                done := following;
            END LOOP;
        END $$""")'''
NOT_VALID = """Add it without a look at the rows, and look at them in another transaction:
op.execute("ALTER TABLE {table} ADD {constraint} … NOT VALID")
# in the next revision:
op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {name}")"""
NOT_NULL = """Let a CHECK prove it first, each line in a revision of its own:
op.execute("ALTER TABLE {table} ADD CONSTRAINT {set} CHECK ({sql_column} IS NOT NULL) NOT VALID")
op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {set}")
op.alter_column({plain}, {column}, nullable=False{schema})  # reads no row now
op.execute("ALTER TABLE {table} DROP CONSTRAINT {set}")  # a statement of its own"""
BY_INDEX = """Build the index while others write, and make it the constraint afterwards:
with op.get_context().autocommit_block():
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {index}")
    op.execute("CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} (…)")
op.execute("ALTER TABLE {table} ADD CONSTRAINT {name} {kind} USING INDEX {name}")"""
INDEX = """Build it while others write; a broken build is dropped first:
with op.get_context().autocommit_block():
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {index}")
    op.create_index({plain_name}, {plain}, […]{schema}, postgresql_concurrently=True)
A partitioned table refuses CONCURRENTLY: index each partition so, then ON ONLY the parent."""
NEW_COLUMN = """Make a new column beside the old one, and change over:
op.add_column({plain}, sa.Column({new_column}, …){schema})  # NULL allowed, no computed default
# then: a trigger or the application writes both; fill the old rows in batches; read the new one;
# drop the old one when no release reads it."""
DEFAULT = """Add the column empty, set its default for new rows, fill the old ones in batches:
op.add_column({plain}, sa.Column({column}, …){schema})
op.alter_column({plain}, {column}, server_default=sa.text("…"){schema})"""
REQUIRED = """With a default, the rows that are there get it, and nothing is written anew:
column = sa.Column({column}, …, server_default=sa.text("…"), nullable=False)
op.add_column({plain}, column{schema})
# drop the default in a later revision if the models have none"""
SPLIT = """Give each statement its own transaction: one revision each, with
transaction_per_migration=True in env.py; or end the lock's transaction first:
with op.get_context().autocommit_block():
    op.execute("…")  # what reads or writes the rows"""
ATTACH = """Prove the bounds before, so that ATTACH reads no row:
op.execute("ALTER TABLE partition ADD CONSTRAINT bounds CHECK (…) NOT VALID")
op.execute("ALTER TABLE partition VALIDATE CONSTRAINT bounds")  # in a transaction of its own
op.execute("ALTER TABLE {table} ATTACH PARTITION partition FOR VALUES …")"""
LOCK_TIMEOUT = """For every revision, in env.py, where the engine is made:
engine_from_config(…, connect_args={"options": "-c lock_timeout=500ms"})  # psycopg, psycopg2
async_engine_from_config(…, connect_args={"server_settings": {"lock_timeout": "500ms"}})  # asyncpg
Or here: op.execute("SET LOCAL lock_timeout = '500ms'").  What got no lock is run again."""
QUOTES = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]
GENERIC = "Find a form that reads no row while it holds its lock, or work on a new table."


# How a failed upgrade went where there are no rows.
ALWAYS = "on empty tables too"
BY_ROWS = "it runs on empty tables: the rows are in its way"
# By the class of PostgreSQL's code, the longest first.
OF_ROWS = (
    (
        "23502",
        "Add the column with a server default or as NULL, fill it in batches, and only then "
        "forbid NULL.",
    ),
    ("23", "Before it, in a revision of its own, clear the rows that break the constraint."),
    (
        "22",
        "Before it, in a revision of its own, change the values that the new type does not take; "
        "or say in postgresql_using what becomes of them.",
    ),
    ("", "Make it run on tables with rows."),
)
MADE_UP = (
    " The rows are made up, and legal by the schema; where yours are never so: "
    "# generate-migration: ignore[upgrade-fails] and the reason."
)


def upgrade_fails(seen: str) -> str:
    """What to do about an upgrade that failed as *seen* says."""
    if BY_ROWS in seen:
        code = re.search(r"\(([0-9A-Z]{5})\)", seen)
        found = code[1] if code else ""
        return next(words for key, words in OF_ROWS if found.startswith(key)) + MADE_UP
    if ALWAYS in seen:
        return "Mend that statement; the rows have nothing to do with it."
    return "Undo in the downgrade what lies in its way; the first upgrade ran."


def recipe(sql: str) -> str:
    """The recipe for *sql*, with the names that it gives."""
    names = names_in(sql)
    if begins(sql, r"(UPDATE|DELETE|INSERT|MERGE|WITH|DO)\b"):
        return BATCHES.format(**names)
    if begins(sql, r"CREATE\b.*\bINDEX\b"):
        return INDEX.format(**names, **names_of(index_name(sql) or "…", targets(sql)))
    for action in actions(sql):
        found = _action(action, names, targets(sql))
        if found:
            return found
    return GENERIC


def required(sql: str) -> str:
    """The recipe for a column NOT NULL that *sql* adds to a table with rows."""
    column = next(filter(None, map(column_of, actions(sql))), "…")
    return REQUIRED.format(**names_in(sql), **columns(column))


def names_in(sql: str) -> dict[str, str]:
    """The table of *sql*, as SQL and as the arguments of an operation."""
    named = targets(sql)
    plain, schema = (named[0][-1], named[0][:-1]) if named else ("…", ())
    return {
        "table": quoted(*named[0]) if named else "…",
        "plain": text(plain),
        "schema": f", schema={text(schema[-1])}" if schema else "",
    }


def names_of(name: str, named: Sequence[Table]) -> dict[str, str]:
    """The constraint or index *name*: as SQL, and with the schema of its table, where it lies."""
    schema = named[0][:-1] if named else ()
    return {"name": quoted(name), "index": quoted(*schema, name), "plain_name": text(name)}


def columns(name: str) -> dict[str, str]:
    """The column *name*, and what a recipe makes of it."""
    return {
        "column": text(name),
        "sql_column": quoted(name),
        "set": quoted(f"{name}_set"),
        "new_column": text(f"{name}_new"),
    }


def quoted(*names: str) -> str:
    """A name for SQL that stands in a Python string."""
    return ".".join(name if name == "…" else text(QUOTES.quote(name))[1:-1] for name in names)


def text(name: str) -> str:
    """*name* as a Python string."""
    return json.dumps(name, ensure_ascii=False)


def column_of(action: str) -> str:
    """The column that an action adds or alters."""
    match = re.match(
        rf"(?:ADD|ALTER)\s+(?:COLUMN\s+)?(?:IF\s+NOT\s+EXISTS\s+)?({QUALIFIED})",
        action,
        re.IGNORECASE,
    )
    return parts(match[1])[-1] if match else "…"


KEY_WITH_COLUMN = """
Or let a new column bring it, which reads no row:
op.execute("ALTER TABLE {table} ADD COLUMN … CONSTRAINT {name} REFERENCES …")"""


def _action(action: str, names: dict[str, str], named: Sequence[Table]) -> str | None:
    """The recipe for one action of an ALTER TABLE."""
    constraint = re.match(rf"ADD\s+CONSTRAINT\s+({QUALIFIED})", action, re.IGNORECASE)
    name = parts(constraint[1])[-1] if constraint else "name"
    unique = re.search(r"\b(UNIQUE|PRIMARY\s+KEY)\b", action, re.IGNORECASE)
    names = {**names, **names_of(name, named), **columns(column_of(action))}
    if unique and re.match(r"ADD\s+(CONSTRAINT|UNIQUE|PRIMARY)", action, re.IGNORECASE):
        return BY_INDEX.format(kind=unique[1].upper(), **names)
    if re.match(r"ADD\s+(CONSTRAINT|FOREIGN|CHECK|EXCLUDE)", action, re.IGNORECASE):
        kind = re.search(r"FOREIGN\s+KEY|CHECK", action, re.IGNORECASE)
        if kind is None:  # EXCLUDE knows no NOT VALID
            return GENERIC
        form = NOT_VALID if kind[0].upper() == "CHECK" else NOT_VALID + KEY_WITH_COLUMN
        return form.format(constraint=f"CONSTRAINT {names['name']} {kind[0].upper()}", **names)
    for pattern, form in (
        (r"ALTER\b.*\bSET\s+NOT\s+NULL", NOT_NULL),
        (r"ALTER\b.*\bTYPE\b", NEW_COLUMN),
        (r"ADD\b.*\bGENERATED\b.*\bSTORED", NEW_COLUMN),
        (r"ADD\b.*\bREFERENCES\b", NOT_VALID.replace("ADD {constraint}", "ADD CONSTRAINT {name}")),
        (r"ADD\b", DEFAULT),
        (r"ATTACH\s+PARTITION", ATTACH),
        (r"VALIDATE\s+CONSTRAINT", SPLIT),
    ):
        if re.match(pattern, action, re.IGNORECASE):
            return form.format(**names)
    return None


def index_name(sql: str) -> str | None:
    """The name of the index that *sql* creates."""
    match = re.match(
        r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?"
        rf"(?!ON\b)({QUALIFIED})",
        bare(sql),
        re.IGNORECASE,
    )
    return parts(match[1])[-1] if match else None


def may_scan(sql: str) -> bool:
    """Whether *sql* is DDL that looks at every row, or writes it anew, under a lock that blocks.

    By its text alone: a default may be a constant, a type binary compatible, a CHECK may prove it.
    """
    if begins(sql, r"(CLUSTER|VACUUM\s*(\(.*\bFULL\b|FULL\b)|REINDEX\b(?!.*\bCONCURRENTLY\b))"):
        return True
    if begins(sql, r"ALTER\s+DOMAIN\b.*\b(ADD|SET\s+NOT\s+NULL)") and not says(sql, r"NOT\s+VALID"):
        return True
    return any(_action_scans(action) for action in actions(sql))


def _action_scans(action: str) -> bool:
    """The same of one action."""
    if re.search(r"\bNOT\s+VALID\b|\bUSING\s+INDEX\b", action, re.IGNORECASE):
        return False
    return bool(
        re.match(
            r"ADD\s+(CONSTRAINT|UNIQUE|PRIMARY|FOREIGN|CHECK|EXCLUDE)\b"
            r"|ADD\b.*\b(IDENTITY|STORED|REFERENCES|UNIQUE|CHECK|SERIAL|BIGSERIAL)\b"
            r"|ADD\b.*\bDEFAULT\b.*\("
            r"|ALTER\b.*\b(SET\s+NOT\s+NULL|TYPE|SET\s+EXPRESSION)\b"
            r"|ATTACH\s+PARTITION\b|SET\s+(UN)?LOGGED\b",
            action,
            re.IGNORECASE,
        )
    )
