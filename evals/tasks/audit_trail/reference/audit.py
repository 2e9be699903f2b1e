"""An audit trail that the database keeps itself."""

from typing import Any

from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

SECRETS = ("password_hash",)

TABLE = """
CREATE TABLE IF NOT EXISTS audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name text NOT NULL,
    row_id bigint NOT NULL,
    action text NOT NULL,
    changes jsonb NOT NULL,
    user_id bigint,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
INDEX = "CREATE INDEX IF NOT EXISTS ix_audit_log_row ON audit_log (table_name, row_id, id)"
FUNCTION = """
CREATE OR REPLACE FUNCTION audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) ELSE '{}' END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ELSE '{}' END;
    changes jsonb;
    secret text;
BEGIN
    SELECT coalesce(jsonb_object_agg(key, jsonb_build_array(old_row -> key, new_row -> key)), '{}')
      INTO changes
      FROM (SELECT jsonb_object_keys(old_row || new_row) AS key) AS keys
     WHERE TG_OP <> 'UPDATE' OR old_row -> key IS DISTINCT FROM new_row -> key;
    IF TG_OP = 'UPDATE' AND changes = '{}' THEN
        RETURN NULL;
    END IF;
    FOREACH secret IN ARRAY TG_ARGV[0]::text[] LOOP
        IF changes ? secret THEN
            changes := changes || jsonb_build_object(secret, jsonb_build_array(
                CASE WHEN TG_OP <> 'INSERT' THEN '***' END,
                CASE WHEN TG_OP <> 'DELETE' THEN '***' END));
        END IF;
    END LOOP;
    INSERT INTO audit_log (table_name, row_id, action, changes, user_id)
    VALUES (TG_TABLE_NAME, ((old_row || new_row) ->> 'id')::bigint, TG_OP, changes,
            nullif(current_setting('desk.user_id', true), '')::bigint);
    RETURN NULL;
END $$
"""


def install(engine: Engine) -> None:
    """Create what is missing and replace the rest; safe to call again."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('audit install'))"))
        for statement in (TABLE, INDEX, FUNCTION):
            connection.execute(text(statement))
        for table in ("tickets", "users"):
            connection.execute(
                text(
                    f"CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON {table} "
                    f"FOR EACH ROW EXECUTE FUNCTION audit_change('{{{','.join(SECRETS)}}}')"
                )
            )


def act_as(session: Session, user_id: int) -> None:
    """Whose changes these are, until the end of the transaction."""
    session.execute(select(func.set_config("desk.user_id", str(user_id), True)))


def history(session: Session, table: str, key: int) -> list[dict[str, Any]]:
    """The changes of one row, oldest first."""
    statement = text(
        "SELECT action, changes, user_id, at FROM audit_log"
        " WHERE table_name = :table AND row_id = :key ORDER BY id"
    )
    rows = session.execute(statement, {"table": table, "key": key}).mappings()
    return [dict(row) for row in rows]
