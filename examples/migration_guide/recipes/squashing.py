"""Squashing: many old revisions become one baseline.

Problem: hundreds of revisions make a new database slow to build, and hide what the schema is.
Pattern: the baseline keeps the id of the last revision that it replaces, so that databases there
have nothing to do and later revisions need no change; its body is the schema as pg_dump prints it.
Not before every database is past that revision: one in the middle has no way on, and is told so.
"""

from __future__ import annotations

import re
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from ..checks import schema_of

TEMPLATE = '''"""Baseline: all that the revisions up to {revision} made, in one.

Locks: none that anybody waits for; every table is new.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op
from alembic.util import CommandError

revision: str = "{revision}"
down_revision: str | tuple[str, ...] | None = None
branch_labels: str | tuple[str, ...] | None = {labels!r}
depends_on: str | tuple[str, ...] | None = None

# Alembic does not read this; refuse_the_middle() does.
replaces: tuple[str, ...] = (
{replaces}
)
SCHEMA = Path(__file__).with_suffix(".sql")


def upgrade() -> None:
    """One statement, which every driver takes; each colon is a colon.

    A dump has functions before the tables that they read: their bodies are not checked.
    """
    schema = SCHEMA.read_text(encoding="utf-8").replace(":", "\\\\:")
    op.execute(
        "DO $baseline$ BEGIN SET LOCAL check_function_bodies = off; "
        f"EXECUTE $schema${{schema}}$schema$; END $baseline$"
    )


def downgrade() -> None:
    """There is nothing below."""
    raise CommandError(
        "received a downgrade below the baseline {revision}; expected to stay at it or above; "
        "try: drop the database"
    )
'''


def squash(config: Config, revision: str, dump: str) -> Path:
    """Replace *revision* and all before it by one, whose file is returned; the old files go.

    *dump* is what ``pg_dump --schema-only --no-owner --no-privileges
    --exclude-table=alembic_version`` printed of a database at *revision*.  Raises ``CommandError``,
    and changes no file, for a dump without a table, or if a later revision leans on one of those
    that would go.
    """
    script = ScriptDirectory.from_config(config)
    last = script.get_revision(revision)
    steps = list(script.iterate_revisions(last.revision, "base"))
    gone = {step.revision for step in steps if step is not last}
    for step in script.walk_revisions():
        leaning = {*(step._all_down_revisions)} & gone
        if leaning and step.revision not in gone | {last.revision}:
            raise CommandError(
                f"received {last.revision} to squash up to; expected no later revision on one "
                f"before it, but {step.revision} is on {', '.join(sorted(leaning))}; "
                "try: squash up to where the branches part, or from where they are merged"
            )
    earlier = {old for step in steps for old in getattr(step.module, "replaces", ())}
    replaces = "\n".join(f'    "{old}",' for old in sorted(gone | earlier))
    labels = tuple(sorted(last._orig_branch_labels)) or None
    path = Path(last.path).with_name(f"{last.revision}_baseline.py")
    made = {
        path.with_suffix(".sql"): baseline_sql(dump),
        path: TEMPLATE.format(revision=last.revision, replaces=replaces, labels=labels),
    }
    # Nothing goes before what replaces it is there.
    for file, words in made.items():
        file.write_text(words, encoding="utf-8")
    for old in (Path(step.path) for step in steps):
        for file in {old, old.with_suffix(".sql")} - made.keys():
            file.unlink(missing_ok=True)
    return path


def baseline_sql(dump: str) -> str:
    """*dump* without what is for psql or for the session: its head, and each line ``\\restrict``.

    The head empties search_path for the session, and Alembic would not find its version table.
    """
    _, found, body = dump.partition("\n--\n-- Name: ")
    if not found:
        raise CommandError("received a dump without a table; expected that of a database at head")
    lines = (found + body).splitlines(keepends=True)
    return "".join(line for line in lines if not re.match(r"\\(un)?restrict ", line)).lstrip()


def refuse_the_middle(config: Config, connection: Connection) -> None:
    """For ``env.py``, before ``context.configure``; *connection* is in no transaction then.

    Raises ``CommandError`` where a baseline replaces the revision at which the database is.
    Alembic itself says ``Can't locate revision``.
    """
    current = MigrationContext.configure(connection).get_current_heads()
    # In a transaction Alembic would believe that somebody else commits.
    connection.rollback()
    for step in ScriptDirectory.from_config(config).walk_revisions():
        middle = sorted({*current} & {*getattr(step.module, "replaces", ())})
        if middle:
            raise CommandError(
                f"received a database at {', '.join(middle)}, which the baseline {step.revision} "
                f"replaces; expected an empty one, or one at {step.revision} or later; try: with "
                f"the last release before the squash, alembic upgrade {step.revision}; then again"
            )


def differences(old: Connection, new: Connection, schema: str = "public") -> list[str]:
    """What two databases do not share, the one built by the revisions, the other by the baseline.

    Build both from nothing: then the rows that are there are those that revisions insert, and a
    dump of the schema does not have them.
    """
    mine, other = facts(old, schema), facts(new, schema)
    lost = [f"lost {line}" for line in mine if line not in other]
    return lost + [f"more {line}" for line in other if line not in mine]


def facts(connection: Connection, schema: str) -> list[str]:
    """The schema a line each, and how many rows each table has."""
    tables = connection.execute(
        text(
            "SELECT relname, quote_ident(nspname) || '.' || quote_ident(relname) "
            "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace "
            "WHERE nspname = :schema AND relkind = 'r' AND relname <> 'alembic_version' ORDER BY 1"
        ),
        {"schema": schema},
    ).all()
    counts = []
    for name, quoted in tables:
        query = text(f"SELECT count(*) FROM {quoted}")  # noqa: S608 - quoted
        counts.append(f"{connection.scalar(query)} rows in {name}")
    return [as_restored(line) for line in schema_of(connection, schema)] + counts


WORD = r"'(?:[^']|'')*'::character varying"
WORDS = re.compile(rf"\(ARRAY\[({WORD}(?:, {WORD})*)\]\)::text\[\]")


def as_restored(definition: str) -> str:
    """*definition* as a restored database prints it: each word of an ``IN`` list is cast by itself.

    ``varchar IN (…)`` is the one that PostgreSQL prints otherwise; it means the same.
    """
    return WORDS.sub(
        lambda found: f"ARRAY[{re.sub(WORD, lambda word: f'({word[0]})::text', found[1])}]",
        definition,
    )
