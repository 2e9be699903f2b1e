"""The safe recipe for a statement that stands in the way, as Alembic code to copy."""

from __future__ import annotations

import re

from .sql import QUALIFIED, actions, bare, begins, parts, says, targets

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
op.execute("ALTER TABLE {table} ADD CONSTRAINT {column}_set CHECK ({column} IS NOT NULL) NOT VALID")
op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {column}_set")
op.alter_column("{plain}", "{column}", nullable=False)  # reads no row now
op.execute("ALTER TABLE {table} DROP CONSTRAINT {column}_set")  # a statement of its own"""
BY_INDEX = """Build the index while others write, and make it the constraint afterwards:
with op.get_context().autocommit_block():
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.execute("CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} (…)")
op.execute("ALTER TABLE {table} ADD CONSTRAINT {name} {kind} USING INDEX {name}")"""
INDEX = """Build it while others write; a broken build is dropped first:
with op.get_context().autocommit_block():
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.create_index("{name}", "{plain}", […], postgresql_concurrently=True)
A partitioned table refuses CONCURRENTLY: index each partition so, then ON ONLY the parent."""
NEW_COLUMN = """Make a new column beside the old one, and change over:
op.add_column("{plain}", sa.Column("{column}_new", …))  # NULL allowed, no default that is computed
# then: a trigger or the application writes both; fill the old rows in batches; read the new one;
# drop the old one when no release reads it."""
DEFAULT = """Add the column empty, set its default for new rows, fill the old ones in batches:
op.add_column("{plain}", sa.Column("{column}", …))
op.alter_column("{plain}", "{column}", server_default=sa.text("…"))"""
SPLIT = """Give each statement its own transaction: one revision each, with
transaction_per_migration=True in env.py; or end the lock's transaction first:
with op.get_context().autocommit_block():
    op.execute("…")  # what reads or writes the rows"""
ATTACH = """Prove the bounds before, so that ATTACH reads no row:
op.execute("ALTER TABLE partition ADD CONSTRAINT bounds CHECK (…) NOT VALID")
op.execute("ALTER TABLE partition VALIDATE CONSTRAINT bounds")  # in a transaction of its own
op.execute("ALTER TABLE {table} ATTACH PARTITION partition FOR VALUES …")"""
LOCK_TIMEOUT = """For every revision, in env.py, where the engine is made:
create_engine(url, connect_args={"options": "-c lock_timeout=500ms"})  # psycopg, psycopg2
create_async_engine(url, connect_args={"server_settings": {"lock_timeout": "500ms"}})  # asyncpg
Or here: op.execute("SET LOCAL lock_timeout = '500ms'").  What got no lock is run again."""
GENERIC = "Find a form that reads no row while it holds its lock, or work on a new table."


def recipe(sql: str) -> str:
    """The recipe for *sql*, with the names that it gives."""
    named = targets(sql)
    table = ".".join(named[0]) if named else "…"
    names = {"table": table, "plain": named[0][-1] if named else "…"}
    if begins(sql, r"(UPDATE|DELETE|INSERT|MERGE|WITH|DO)\b"):
        return BATCHES.format(**names)
    if begins(sql, r"CREATE\b.*\bINDEX\b"):
        return INDEX.format(name=index_name(sql) or "…", **names)
    for action in actions(sql):
        found = _action(action, names)
        if found:
            return found
    return GENERIC


KEY_WITH_COLUMN = """
Or let a new column bring it, which reads no row:
op.execute("ALTER TABLE {table} ADD COLUMN … CONSTRAINT {name} REFERENCES …")"""


def _action(action: str, names: dict[str, str]) -> str | None:
    """The recipe for one action of an ALTER TABLE."""
    constraint = re.match(rf"ADD\s+CONSTRAINT\s+({QUALIFIED})", action, re.IGNORECASE)
    name = parts(constraint[1])[-1] if constraint else "name"
    unique = re.search(r"\b(UNIQUE|PRIMARY\s+KEY)\b", action, re.IGNORECASE)
    column = re.match(
        rf"(?:ADD|ALTER)\s+(?:COLUMN\s+)?(?:IF\s+NOT\s+EXISTS\s+)?({QUALIFIED})",
        action,
        re.IGNORECASE,
    )
    names = {**names, "name": name, "column": parts(column[1])[-1] if column else "…"}
    if unique and re.match(r"ADD\s+(CONSTRAINT|UNIQUE|PRIMARY)", action, re.IGNORECASE):
        return BY_INDEX.format(kind=unique[1].upper(), **names)
    if re.match(r"ADD\s+(CONSTRAINT|FOREIGN|CHECK|EXCLUDE)", action, re.IGNORECASE):
        kind = re.search(r"FOREIGN\s+KEY|CHECK", action, re.IGNORECASE)
        if kind is None:  # EXCLUDE knows no NOT VALID
            return GENERIC
        text = NOT_VALID if kind[0].upper() == "CHECK" else NOT_VALID + KEY_WITH_COLUMN
        return text.format(constraint=f"CONSTRAINT {name} {kind[0].upper()}", **names)
    for pattern, text in (
        (r"ALTER\b.*\bSET\s+NOT\s+NULL", NOT_NULL),
        (r"ALTER\b.*\bTYPE\b", NEW_COLUMN),
        (r"ADD\b.*\bGENERATED\b.*\bSTORED", NEW_COLUMN),
        (r"ADD\b.*\bREFERENCES\b", NOT_VALID.replace("ADD {constraint}", "ADD CONSTRAINT {name}")),
        (r"ADD\b", DEFAULT),
        (r"ATTACH\s+PARTITION", ATTACH),
        (r"VALIDATE\s+CONSTRAINT", SPLIT),
    ):
        if re.match(pattern, action, re.IGNORECASE):
            return text.format(**names)
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
