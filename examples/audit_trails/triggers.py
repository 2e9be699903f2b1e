"""Triggers that see every writer: the ORM, raw SQL, COPY, TRUNCATE, cascades, other services.

Problem: what bypasses the session bypasses its events.  Pattern: a function generated for each
table, which compares its columns; triggers for each *statement*, so that 20,000 changed rows are
one INSERT into the trail.  A migration installs them, and again whenever columns come or go.
Not seen: ``session_replication_role = replica``, a disabled trigger, DDL that rewrites a table.
Also not for a table whose AFTER ROW trigger updates its own rows: the inner change would come first
in the trail; make it BEFORE.  PostgreSQL 14 or newer.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, text

from .tables import AuditedTable, Kind, joined, long_sql, member_sql, object_sql, quoted

SETTINGS = (
    "search_path = pg_catalog, pg_temp",  # SECURITY DEFINER: no function of the caller's is called
    # One JSON for one value, whatever the writer's session has set.
    "timezone = 'UTC'",
    "datestyle = 'ISO, YMD'",
    "intervalstyle = 'postgres'",
    "extra_float_digits = 1",
    # The plan is made once a connection, from the first statement's row or two, and kept.  Nested
    # loops over the 20,000 rows of a later statement would be 400 million comparisons.
    "enable_nestloop = off",
    # Else, once a plan is made for many rows, each single row after it is planned anew.
    "plan_cache_mode = force_generic_plan",
)
INSERT = "INSERT INTO {log} (created_at, table_name, record_id, action, user_id, changes)\n    "
EVENTS = {
    "insert": "AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows",
    "update": "AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": "AFTER DELETE ON {table} REFERENCING OLD TABLE AS old_rows",
    "truncate": "BEFORE TRUNCATE ON {table}",
}


def install_ddl(table: AuditedTable) -> list[str]:
    """The statements of a migration's ``upgrade``; they replace what an earlier one installed.

    They lock the table against writers (SHARE ROW EXCLUSIVE) for as long as DDL takes.
    """
    function, on = f"{quoted(table.schema)}.{quoted(function_name(table))}", target(table)
    settings = "\n".join(f"SET {setting}" for setting in SETTINGS)
    return [
        # The definer's rights: the application needs none on the trail, and so cannot forge it.
        f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger\n"
        f"LANGUAGE plpgsql SECURITY DEFINER\n{settings}\nAS $audit${body_sql(table)}$audit$",
        # Whoever may execute it could attach it to a table of made-up rows.
        f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC",
        *(
            f"CREATE OR REPLACE TRIGGER audit_{event} {when.format(table=on)} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            for event, when in EVENTS.items()
        ),
    ]


def remove_ddl(table: AuditedTable) -> list[str]:
    """The statements of its ``downgrade``.  The trail stays."""
    drops = [f"DROP TRIGGER IF EXISTS audit_{event} ON {target(table)}" for event in EVENTS]
    function = f"{quoted(table.schema)}.{quoted(function_name(table))}"
    return [*drops, f"DROP FUNCTION IF EXISTS {function}()"]


def target(table: AuditedTable) -> str:
    """The table with its schema."""
    return f"{quoted(table.schema)}.{quoted(table.name)}"


def function_name(table: AuditedTable) -> str:
    """The name of the table's trigger function."""
    return f"audit_{table.name}"


def body_sql(table: AuditedTable) -> str:
    """The function's body.  No value is ever put into SQL text, so none can be in an error."""
    insert = INSERT.format(log=f"{quoted(table.schema)}.audit_log")
    gone = whole_row(table, "DELETE", "old", "o")
    came = whole_row(table, "INSERT", "new", "n")
    same_key = " AND ".join(f"o.{quoted(name)} = n.{quoted(name)}" for name in table.key)
    return f"""
<<audit>>
DECLARE
    moment CONSTANT timestamptz := clock_timestamp();  -- now() would be the transaction's begin
    setting CONSTANT text := current_setting('app.user_id', true);
    actor CONSTANT bigint := CASE WHEN setting ~ '^[0-9]{{1,18}}$' THEN setting::bigint END;
    -- After its transaction a setting is '' and not NULL.
    about CONSTANT text := concat(
        ',"request_id":' || to_json(nullif(current_setting('app.request_id', true), ''))::text,
        CASE WHEN actor IS NULL THEN ',"db_user":' || to_json(session_user)::text END
    );
BEGIN
    IF TG_OP = 'INSERT' THEN
    {insert}{came} FROM new_rows AS n;
    ELSIF TG_OP = 'DELETE' THEN
    {insert}{gone} FROM old_rows AS o;
    ELSIF TG_OP = 'TRUNCATE' THEN
    {insert}{gone} FROM {target(table)} AS o;
    ELSE
    {insert}{changed_rows(table, same_key)};
    IF EXISTS (
        SELECT FROM new_rows AS n WHERE NOT EXISTS (SELECT FROM old_rows AS o WHERE {same_key})
    ) THEN  -- the key itself was changed: one record ends, another begins
    {insert}{gone} FROM old_rows AS o
        WHERE NOT EXISTS (SELECT FROM new_rows AS n WHERE {same_key});
    {insert}{came} FROM new_rows AS n
        WHERE NOT EXISTS (SELECT FROM old_rows AS o WHERE {same_key});
    END IF;
    END IF;
    RETURN NULL;
END
"""  # noqa: S608 - names that AuditedTable has checked


def whole_row(table: AuditedTable, action: str, side: str, row: str) -> str:
    """The SELECT of an INSERT's or a DELETE's entries, up to its FROM."""
    cut = [
        f"CASE WHEN {long_sql(row, name)} THEN '\"{name}\"' END"
        for name, kind in table.columns.items()
        if kind != "exact"
    ]
    return (
        f"SELECT audit.moment, '{table.name}', {row}.{quoted(table.key[0])}, '{action}', "
        f"audit.actor,\n        ('{{\"{side}\":' || {object_sql(row, table.columns)}"
        f"{key_sql(table, row)}\n        || {list_sql('cut', cut)} || audit.about || '}}')::jsonb\n"
        "   "
    )


def changed_rows(table: AuditedTable, same_key: str) -> str:
    """The SELECT of an UPDATE's entries: the columns that differ, and no row where none does."""
    columns = table.changing
    differs = {name: differs_sql(name, kind) for name, kind in columns.items()}

    def side(row: str) -> str:
        return joined(
            f"CASE WHEN {differs[name]} THEN {member_sql(row, name, kind)} END"
            for name, kind in columns.items()
        )

    cut = [
        f"CASE WHEN {differs[name]} AND ({long_sql('o', name)} OR {long_sql('n', name)}) "
        f"THEN '\"{name}\"' END"
        for name, kind in columns.items()
        if kind != "exact"
    ]
    secret = [
        f"CASE WHEN {differs_sql(name, 'text')} THEN '\"{name}\"' END" for name in table.secrets
    ]
    return f"""SELECT audit.moment, '{table.name}', c.record_id, 'UPDATE', audit.actor,
        ('{{"old":{{' || c.old_members || '}},"new":{{' || c.new_members || '}}'
        || c.rest || c.redacted || audit.about || '}}')::jsonb
    FROM (
        SELECT n.{quoted(table.key[0])} AS record_id,
        {side("o")} AS old_members,
        {side("n")} AS new_members,
        ''{key_sql(table, "n")} || {list_sql("cut", cut)} AS rest,
        {list_sql("redacted", secret)} AS redacted
        FROM old_rows AS o JOIN new_rows AS n ON {same_key}
        OFFSET 0  -- compute each once
    ) AS c
    WHERE c.new_members <> '' OR c.redacted <> ''"""  # noqa: S608 - as above


def differs_sql(name: str, kind: Kind) -> str:
    """Whether a column changed; NULL is a value like any other.

    ``record_image_ne`` compares bytes: json has no ``=``, and to citext, numeric and interval some
    values are equal that are not the same.
    """
    column = quoted(name)
    if kind == "exact":
        return f"o.{column} IS DISTINCT FROM n.{column}"
    return f"record_image_ne(ROW(o.{column}), ROW(n.{column}))"


def key_sql(table: AuditedTable, row: str) -> str:
    """The rest of a key of several columns, which ``record_id`` does not hold."""
    rest: dict[str, Kind] = {name: table.columns[name] for name in table.key[1:]}
    return f"\n        || ',\"key\":' || {object_sql(row, rest)}" if rest else ""


def list_sql(member: str, names: Iterable[str]) -> str:
    """``,"member":["a","b"]``, or nothing where every one of *names* is NULL."""
    found = list(names)
    if not found:
        return "''"
    return f"coalesce(',\"{member}\":[' || nullif({joined(found)}, '') || ']', '')"


# --- Are they still right? ------------------------------------------------------------------------

INSTALLED = text(
    """
    SELECT p.prosrc, array(
        SELECT g.tgname::text FROM pg_trigger AS g
        WHERE g.tgrelid = c.oid AND g.tgfoid = p.oid AND g.tgenabled IN ('O', 'A')
    )
    FROM pg_class AS c JOIN pg_namespace AS s ON s.oid = c.relnamespace
    LEFT JOIN pg_proc AS p ON p.pronamespace = s.oid AND p.proname = :function
    WHERE s.nspname = :schema AND c.relname = :table
    """
)


def faults(connection: Connection, tables: Iterable[AuditedTable]) -> list[str]:
    """What is wrong with the triggers of *tables*; empty where they are as generated now.

    For a test after ``alembic upgrade head``: autogenerate does not look at triggers, a new column
    would go unrecorded, and a dropped one makes every write to the table fail.
    """
    found = []
    for table in tables:
        asked = {"function": function_name(table), "schema": table.schema, "table": table.name}
        row = connection.execute(INSTALLED, asked).one_or_none()
        if row is None or row[0] is None:
            found.append(f"{table.name}: not installed")
            continue
        source, triggers = row
        if source != body_sql(table):
            found.append(f"{table.name}: other columns than its function compares; install again")
        missing = {f"audit_{event}" for event in EVENTS} - set(triggers)
        found += [f"{table.name}: {name} is missing or disabled" for name in sorted(missing)]
    return found
