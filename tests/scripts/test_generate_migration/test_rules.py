"""What statements did: faults are found on a real PostgreSQL, their mended forms are silent."""

from __future__ import annotations

import pytest

from tests.scripts.test_generate_migration.observing import Project, desk_url, named, project

# isort: split

__all__ = ["desk_url", "project"]  # fixtures

BLOCK = "with op.get_context().autocommit_block():\n    "
BACKFILL = "UPDATE tickets SET title = 'x' WHERE title IS NOT NULL"
BATCHES = '''
with op.get_context().autocommit_block():
    op.execute("""DO $$
        DECLARE done bigint := 0; following bigint;
        BEGIN
            LOOP
                SELECT max(id) INTO following FROM
                    (SELECT id FROM tickets WHERE id > done ORDER BY id LIMIT 50) AS batch;
                EXIT WHEN following IS NULL;
                UPDATE tickets SET title = 'x' WHERE id > done AND id <= following;
                COMMIT;
                done := following;
            END LOOP;
        END $$""")
'''
CHECK = "ALTER TABLE tickets ADD CONSTRAINT title_set CHECK (title IS NOT NULL)"
VALIDATE = "ALTER TABLE tickets VALIDATE CONSTRAINT title_set"
BOUNDS = "CHECK (at >= '2027-01-01' AND at < '2028-01-01' AND at IS NOT NULL)"
NEXT_YEAR = "PARTITION parts_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')"
# By fault: the rule, the revision, and its mended form.
FAULTS = {
    "index": (
        "blocking-index",
        'op.create_index("ix", "tickets", ["title"])',
        f'{BLOCK}op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix")\n'
        '    op.create_index("ix", "tickets", ["title"], postgresql_concurrently=True)',
    ),
    "index in an autocommit block": (
        "blocking-index",
        f'{BLOCK}op.create_index("ix", "tickets", ["title"])',
        'op.create_table("new", sa.Column("id", sa.BigInteger))\n'
        'op.create_index("ix", "new", ["id"])',
    ),
    "unique index": (
        "blocking-index",
        'op.create_index("Odd Index", "Odd Table", ["note"], schema="Odd Desk", unique=False)',
        f'{BLOCK}op.execute(\'DROP INDEX CONCURRENTLY IF EXISTS "Odd Desk"."Odd Index"\')\n'
        '    op.create_index("Odd Index", "Odd Table", ["note"], schema="Odd Desk",'
        " postgresql_concurrently=True)",
    ),
    "partitioned index": (
        "blocking-index",
        'op.create_index("ix", "parts", ["id"])',
        'op.execute("CREATE INDEX ix ON ONLY parts (id)")\n'
        f'{BLOCK}op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_rest")\n'
        '    op.execute("CREATE INDEX CONCURRENTLY ix_rest ON parts_rest (id)")\n'
        'op.execute("ALTER INDEX ix ATTACH PARTITION ix_rest")',
    ),
    "unique constraint": (
        "blocking-scan",
        'op.create_unique_constraint("uq", "tickets", ["slug"])',
        f'{BLOCK}op.execute("DROP INDEX CONCURRENTLY IF EXISTS uq")\n'
        '    op.execute("CREATE UNIQUE INDEX CONCURRENTLY uq ON tickets (slug)")\n'
        'op.execute("ALTER TABLE tickets ADD CONSTRAINT uq UNIQUE USING INDEX uq")',
    ),
    "check": (
        "blocking-scan",
        'op.create_check_constraint("positive", "tickets", "version > 0")',
        'op.create_check_constraint("positive", "tickets", "version > 0",'
        " postgresql_not_valid=True)",
    ),
    "foreign key": (
        "blocking-scan",
        'op.create_foreign_key("fk", "tickets", "users", ["creator_id"], ["id"])',
        'op.create_foreign_key("fk", "tickets", "users", ["creator_id"], ["id"],'
        " postgresql_not_valid=True)",
    ),
    "set not null": (
        "blocking-scan",
        'op.alter_column("tickets", "title", nullable=False)',
        f'{BLOCK}op.execute("{CHECK} NOT VALID")\n'
        f'    op.execute("{VALIDATE}")\n'
        'op.alter_column("tickets", "title", nullable=False)\n'
        'op.execute("ALTER TABLE tickets DROP CONSTRAINT title_set")',
    ),
    "validate in the same transaction": (
        "heavy-statements-share-a-transaction",
        f'op.execute("{CHECK} NOT VALID")\nop.execute("{VALIDATE}")',
        f'op.execute("{CHECK} NOT VALID")\n{BLOCK}op.execute("{VALIDATE}")',
    ),
    "much work under a lock": (
        "heavy-statements-share-a-transaction",
        'op.add_column("tickets", sa.Column("channel_name", sa.Text))\n'
        'op.execute("CREATE TABLE copy AS SELECT * FROM comments")',
        'op.execute("CREATE TABLE copy AS SELECT * FROM comments")\n'
        'op.add_column("tickets", sa.Column("channel_name", sa.Text))',
    ),
    "a block of code": (
        "blocking-scan",
        'op.execute("DO $$ BEGIN ALTER TABLE tickets ALTER title SET NOT NULL; END $$")',
        'op.execute("DO $$ BEGIN ALTER TABLE tickets ALTER title DROP NOT NULL; END $$")',
    ),
    "another type": (
        "blocking-rewrite",
        'op.alter_column("tickets", "version", type_=sa.BigInteger)',
        'op.alter_column("tickets", "slug", type_=sa.Text)',  # the same bytes
    ),
    "volatile default": (
        "blocking-rewrite",
        'op.add_column("tickets", sa.Column("key", sa.Uuid,'
        ' server_default=sa.text("gen_random_uuid()")))',
        'op.add_column("tickets", sa.Column("at", sa.DateTime, server_default=sa.text("now()")))',
    ),
    "stored column": (
        "blocking-rewrite",
        'op.add_column("tickets", sa.Column("size", sa.Integer,'
        ' sa.Computed("length(title)", persisted=True)))',
        'op.add_column("tickets", sa.Column("size", sa.Integer))',
    ),
    "rewrite in an autocommit block": (
        "blocking-rewrite",
        f'{BLOCK}op.alter_column("tickets", "version", type_=sa.BigInteger)',
        f'{BLOCK}op.alter_column("tickets", "slug", type_=sa.Text)',
    ),
    "backfill": ("blocking-backfill", f'op.execute("{BACKFILL}")', BATCHES),
    "backfill in an autocommit block": (
        "blocking-backfill",
        f'{BLOCK}op.execute("{BACKFILL}")',
        f'{BLOCK}op.execute("{BACKFILL} AND id > 0 AND id <= 150")',
    ),
    "backfill in a block of code": (
        "blocking-backfill",
        f'op.execute("DO $$ BEGIN {BACKFILL}; END $$")',
        BATCHES,
    ),
    "backfill of a part, and a CHECK": (
        "blocking-backfill",
        "op.execute(\"UPDATE tickets SET title = 'x' WHERE id % 4 = 0\")\n"
        f'op.execute("{CHECK} NOT VALID")',
        "op.execute(\"UPDATE tickets SET title = 'x' WHERE id IN (4, 8)\")\n"
        f'op.execute("{CHECK} NOT VALID")',
    ),
    "delete": (
        "blocking-backfill",
        'op.execute("DELETE FROM comments")',
        "op.execute(\"DELETE FROM settings WHERE name = 'name 1'\")",
    ),
    "batches in one transaction": (
        "blocking-backfill",
        "for first in (0, 100):\n"
        "    op.execute(f\"UPDATE tickets SET title = 'x' "
        'WHERE id > {first} AND id <= {first + 100}")',
        f"{BLOCK}for first in (0, 100):\n"
        "        op.execute(f\"UPDATE tickets SET title = 'x' "
        'WHERE id > {first} AND id <= {first + 100}")',
    ),
    "setting left": (
        "timeouts-not-reset",
        'op.execute("SET statement_timeout = 0")',
        'op.execute("SET LOCAL statement_timeout = 0")',
    ),
    "setting left in an autocommit block": (
        "timeouts-not-reset",
        f"{BLOCK}op.execute(\"SET lock_timeout TO '1h'\")",
        f'{BLOCK}op.execute("SET lock_timeout TO \'1h\'")\n    op.execute("RESET lock_timeout")',
    ),
    "search path left": (
        "timeouts-not-reset",
        "op.execute(\"SELECT set_config('search_path', 'public', false)\")",
        "op.execute(\"SELECT set_config('search_path', 'public', true)\")",
    ),
    "setting lost": (
        "set-local-without-effect",
        f"{BLOCK}op.execute(\"SET LOCAL work_mem = '64MB'\")",
        "op.execute(\"SET LOCAL work_mem = '64MB'\")",
    ),
    "unseen": (
        "statement-outside-a-transaction",
        f'{BLOCK}op.execute("REINDEX TABLE tickets")',
        f'{BLOCK}op.execute("REINDEX TABLE CONCURRENTLY tickets")',
    ),
    "broken build": (
        "index-not-repeatable",
        f'{BLOCK}op.create_index("ix", "tickets", ["title"], postgresql_concurrently=True,'
        " if_not_exists=True)",
        f'{BLOCK}op.drop_index("ix", "tickets", postgresql_concurrently=True, if_exists=True)\n'
        '    op.create_index("ix", "tickets", ["title"], postgresql_concurrently=True)',
    ),
    "nameless constraint": (
        "nameless-constraint",
        'op.create_foreign_key(None, "tickets", "users", ["creator_id"], ["id"],'
        " postgresql_not_valid=True)",
        'op.create_foreign_key("fk", "tickets", "users", ["creator_id"], ["id"],'
        " postgresql_not_valid=True)",
    ),
    "required column": (
        "squawk/adding-required-field",
        'op.add_column("empty", sa.Column("title", sa.Text, nullable=False))',
        'op.add_column("empty", sa.Column("title", sa.Text, nullable=False, server_default=""))',
    ),
    "dropped column": (
        "squawk/ban-drop-column",
        'op.drop_column("tickets", "title")',
        'op.drop_column("tickets", "title")  # generate-migration: ignore[squawk/ban-drop-column]'
        " nobody reads it since 3.1",
    ),
    "renamed column": (
        "squawk/renaming-column",
        'op.alter_column("tickets", "title", new_column_name="subject")',
        'op.add_column("tickets", sa.Column("subject", sa.Text))',
    ),
    "commit by hand": (
        "squawk/transaction-nesting",
        'op.execute("COMMIT")\nop.execute("BEGIN")',
        f'{BLOCK}op.execute("SELECT 1")',
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(project: Project, fault: str) -> None:
    rule, bad, _ = FAULTS[fault]
    prepare(project, fault)
    found = project.lint(bad)
    # squawk may speak of it too, where PostgreSQL could not be watched.
    ours = {each for each in named(found) if each == rule or not each.startswith("squawk/")}
    assert ours == {rule}, found
    for each in found:
        assert each.path == project.folder / "one.py"
        assert each.line is not None
        assert each.fix
        assert each.url.startswith("https://")


@pytest.mark.parametrize("fault", FAULTS)
def test_the_mended_form_is_silent(project: Project, fault: str) -> None:
    prepare(project, fault)
    assert named(project.lint(FAULTS[fault][2])) == []


def prepare(project: Project, fault: str) -> None:
    """An empty table for what PostgreSQL refuses on any other."""
    if fault == "required column":
        project.execute("CREATE TABLE empty (id bigint)")


# --- Near misses: they look like a fault, and are none --------------------------------------------

SILENT = {
    "a small table": "op.execute(\"UPDATE settings SET value = 'x' WHERE name = 'name 1'\")",
    "all of a small table": "op.execute(\"UPDATE settings SET value = 'x'\")",
    "a table of its own": """
        op.create_table("teams", sa.Column("id", sa.BigInteger, primary_key=True),
            sa.Column("name", sa.Text), sa.Column("lead_id", sa.BigInteger))
        op.create_index("ix_teams_name", "teams", ["name"])
        op.execute("INSERT INTO teams SELECT id, email, id FROM users")
        op.execute("UPDATE teams SET name = lower(name)")
        op.alter_column("teams", "name", nullable=False)
        op.create_unique_constraint("uq_teams_name", "teams", ["name"])
        op.alter_column("teams", "name", type_=sa.String(200))
        op.drop_column("teams", "lead_id")
    """,
    "an empty table that points at a full one": """
        op.create_table("teams", sa.Column("lead_id", sa.BigInteger))
        op.create_foreign_key("fk_teams_lead_id_users", "teams", "users", ["lead_id"], ["id"])
    """,
    "a table of its own in an autocommit block": """
        with op.get_context().autocommit_block():
            op.create_table("teams", sa.Column("id", sa.BigInteger), sa.Column("name", sa.Text))
            op.execute("INSERT INTO teams SELECT id, email FROM users")
            op.create_index("ix_teams_name", "teams", ["name"])
            op.alter_column("teams", "name", nullable=False)
            op.execute("UPDATE teams SET name = 'x'")
    """,
    "an odd table of its own": """
        op.execute('CREATE TABLE "Odd Desk"."New Table" ("Odd Id" bigint)')
        op.execute('INSERT INTO "Odd Desk"."New Table" SELECT id FROM public.users')
        op.execute('CREATE INDEX "Odd" ON "Odd Desk"."New Table" ("Odd Id")')
    """,
    "a column": 'op.add_column("tickets", sa.Column("note", sa.Text))',
    "a default for new rows": 'op.alter_column("tickets", "title", server_default="none")',
    "NULL allowed": 'op.alter_column("tickets", "version", nullable=True)',
    "a CHECK replaced": """
        op.execute("ALTER TABLE tickets ADD CONSTRAINT positive CHECK (version > 0) NOT VALID")
        op.execute("ALTER TABLE tickets DROP CONSTRAINT positive, "
            "ADD CONSTRAINT positive CHECK (version >= 0) NOT VALID")
    """,
    "a comment": 'op.create_table_comment("tickets", "What customers ask")',
    "a row in a new table": """
        kinds = op.create_table("kinds", sa.Column("name", sa.Text))
        op.bulk_insert(kinds, [{"name": f"kind {n}; -- '{n}'"} for n in range(300)])
    """,
    "rows read without a lock": 'op.get_bind().execute(sa.text("SELECT count(*) FROM tickets"))',
    "a view": 'op.execute("CREATE VIEW open AS SELECT id FROM tickets")',
    "a table made by a query": """
        op.execute("SELECT * INTO copy FROM tickets")
        op.execute("CREATE INDEX ON copy (id)")
        op.execute("ALTER TABLE copy ALTER title SET NOT NULL")
    """,
    "a script": """
        op.execute("CREATE TABLE teams (id int, old text); INSERT INTO teams SELECT 1, ';'; "
            "CREATE INDEX ON teams (id); ALTER TABLE teams DROP COLUMN old; "
            "SET lock_timeout = 0; RESET lock_timeout;")
    """,
    "a foreign key with its column": """
        op.execute("ALTER TABLE tickets ADD COLUMN user_id bigint "
            "CONSTRAINT fk_tickets_user_id_users REFERENCES users (id)")
    """,
    "a trigger": """
        op.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN UPDATE tickets SET title = 'x'; COMMIT; RETURN NEW; END $$")
        op.execute("CREATE TRIGGER t BEFORE INSERT ON comments FOR EACH ROW EXECUTE FUNCTION f()")
    """,
    "a value, in a block of its own": """
        with op.get_context().autocommit_block():
            op.execute("ALTER TYPE channel ADD VALUE 'phone'")
        op.execute("UPDATE tickets SET channel = 'phone' WHERE id = 1")
    """,
    "settings put back": """
        op.execute("SET lock_timeout = '5s'")
        op.execute("SET lock_timeout = '500ms'")
        op.execute("SET ROLE NONE")
    """,
    "all settings put back": """
        op.execute("SET TIME ZONE 'UTC'")
        op.execute("RESET ALL")
    """,
    "an index renamed": """
        op.execute("ALTER INDEX tickets_pkey RENAME TO pk_tickets")
    """,
    "two tables, and it gives way": """
        op.add_column("tickets", sa.Column("note", sa.Text))
        op.add_column("comments", sa.Column("note", sa.Text))
    """,
    "a partition that brings its bounds": f"""
        op.execute("CREATE TABLE parts_2027 (LIKE parts, CONSTRAINT bounds {BOUNDS})")
        op.execute("ALTER TABLE parts_rest ADD CONSTRAINT rest CHECK (at < '2027-01-01') NOT VALID")
        with op.get_context().autocommit_block():
            op.execute("ALTER TABLE parts_rest VALIDATE CONSTRAINT rest")
        op.execute("ALTER TABLE parts ATTACH {NEXT_YEAR}")
    """,
}


@pytest.mark.parametrize("case", SILENT)
def test_a_near_miss_is_silent(project: Project, case: str) -> None:
    assert named(project.lint(SILENT[case])) == []


# --- Time-outs, and two tables --------------------------------------------------------------------


def test_a_lock_without_limit_is_told_once(project: Project) -> None:
    found = project.lint(
        """
        op.create_table("teams", sa.Column("id", sa.BigInteger))
        op.add_column("tickets", sa.Column("note", sa.Text))
        op.create_foreign_key("fk", "tickets", "users", ["creator_id"], ["id"],
            postgresql_not_valid=True)
        """,
        lock_timeout="0",
    )
    (told,) = found
    assert (told.rule, told.severity, told.line) == ("no-lock-timeout", "error", 13)
    assert "ACCESS EXCLUSIVE on public.tickets" in told.message
    assert "1 more" in told.message


def test_a_new_table_that_points_at_one_locks_it_too(project: Project) -> None:
    users = 'sa.Column("user_id", sa.BigInteger, sa.ForeignKey("users.id", name="fk"))'
    (told,) = project.lint(f'op.create_table("teams", {users})', lock_timeout="0")
    assert "SHARE ROW EXCLUSIVE on public.users" in told.message
    assert project.lint(f'op.create_table("teams_2", {users})') == []


def test_what_blocks_nobody_may_wait(project: Project) -> None:
    found = project.lint(
        """
        op.execute("UPDATE settings SET value = 'x'")
        with op.get_context().autocommit_block():
            op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix")
            op.create_index("ix", "tickets", ["title"], postgresql_concurrently=True)
        """,
        lock_timeout="0",
    )
    assert found == []


def test_two_tables_in_one_transaction(project: Project) -> None:
    """Only where the migration does not give way in a deadlock: see the pitfall."""
    both = """
        op.add_column("tickets", sa.Column("note", sa.Text))
        op.add_column("comments", sa.Column("note", sa.Text))
        op.add_column("settings", sa.Column("note", sa.Text))
        """
    (told,) = project.lint(both, lock_timeout="5s")
    assert (told.rule, told.severity, told.line) == (
        "two-tables-share-a-transaction",
        "warning",
        13,
    )
    assert "public.comments" in told.message
    assert "public.tickets (line 12)" in told.message


def test_a_foreign_key_cannot_help_locking_two(project: Project) -> None:
    made = """
        op.add_column("tickets", sa.Column("editor_id", sa.BigInteger))
        op.create_foreign_key("fk", "tickets", "users", ["editor_id"], ["id"],
            postgresql_not_valid=True)
        """
    assert project.lint(made, lock_timeout="5s") == []


def test_a_downgrade_warns_at_most(project: Project) -> None:
    down = 'def downgrade() -> None:\n    op.create_index("ix", "tickets", ["title"])\n'
    (told,) = project.lint('op.execute("SELECT 1")', down, down=True)
    assert (told.rule, told.severity) == ("blocking-index", "warning")
    assert told.message.startswith("downgrade: ix is built on public.tickets under SHARE")


def test_a_downgrade_may_rewrite_what_the_upgrade_did_not(project: Project) -> None:
    """Longer text and back: there is no other way, and nothing to mend."""
    down = 'def downgrade() -> None:\n    op.alter_column("tickets", "slug", type_=sa.String(40))\n'
    (told,) = project.lint(
        'op.alter_column("tickets", "slug", type_=sa.String(80))', down, down=True
    )
    assert (told.rule, told.severity) == ("blocking-rewrite", "info")


def test_rows_are_those_of_the_table(project: Project) -> None:
    """Not read once more for each index that is written anew."""
    project.execute("CREATE INDEX a ON tickets (title); CREATE INDEX b ON tickets (slug)")
    (told,) = project.lint('op.alter_column("tickets", "version", type_=sa.BigInteger)')
    assert told.message == (
        "public.tickets is written anew under ACCESS EXCLUSIVE, and 200 rows are read"
    )


def test_a_message_says_what_postgresql_saw(project: Project) -> None:
    (told,) = project.lint('op.create_check_constraint("positive", "tickets", "version > 0")')
    (both,) = project.lint('op.create_foreign_key("f", "tickets", "users", ["creator_id"], ["id"])')
    assert "200 rows of public.tickets are read under SHARE ROW EXCLUSIVE" in both.message
    assert told.message == "200 rows of public.tickets are read under ACCESS EXCLUSIVE"
    assert told.statement.startswith("ALTER TABLE tickets ADD CONSTRAINT positive CHECK")
    assert "ALTER TABLE tickets VALIDATE CONSTRAINT positive" in told.fix
    assert told.revision == "one"


def test_rows_count_from_where_the_lock_came(project: Project) -> None:
    found = project.lint(
        """
        op.add_column("tickets", sa.Column("note", sa.Text))
        op.get_bind().execute(sa.text("SELECT max(version) FROM tickets"))
        """
    )
    (told,) = found
    assert told.message == (
        "200 rows of public.tickets are read while ACCESS EXCLUSIVE on public.tickets (line 12) "
        "is held"
    )
