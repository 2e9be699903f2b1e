"""Fill a column of a large table.

Problem: one UPDATE locks each row that it has changed until the last one is done, and begins again
from nothing when it is broken off.  Pattern: a thousand rows by key, committed together with the
place that was reached; who stands in the way goes first; as long a pause as the batch took.  Only
once new rows come filled, by code, a trigger or a default.  Not for a few hundred thousand rows:
the loop of ``rename_column`` does; it begins anew, and passes over what is done.
"""

from __future__ import annotations

import logging
import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

from .step import Step

SETUP = ("ALTER TABLE comments ADD COLUMN organization_id integer",)
CODE = (
    "INSERT INTO comments (ticket_id, organization_id, body) "
    "SELECT id, organization_id, 'New' FROM tickets WHERE id = %(id)s",
    "UPDATE comments SET body = 'Changed' WHERE id = %(id)s",
)


def prepare() -> None:
    """The code that fills the column runs.  Where the backfill is, anybody can look up."""
    op.create_table(
        "comments_backfill",
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO comments_backfill SELECT 0, coalesce(max(id), 0) FROM comments")


def prepare_down() -> None:
    """As before."""
    op.drop_table("comments_backfill")


def backfill() -> None:
    """It can be broken off at any moment, and goes on where it was.

    The rows are locked in the order of their keys: two that do so cannot be a deadlock.
    """
    log = logging.getLogger("alembic.runtime.migration")
    next_batch = sa.text(
        """
        WITH batch AS (
            SELECT id, ticket_id FROM comments
            WHERE id > (SELECT done FROM comments_backfill)
                AND id <= (SELECT last FROM comments_backfill)
            ORDER BY id LIMIT 1000 FOR NO KEY UPDATE
        ), filled AS (
            UPDATE comments SET organization_id = tickets.organization_id
            FROM batch JOIN tickets ON tickets.id = batch.ticket_id
            WHERE comments.id = batch.id AND comments.organization_id IS NULL
        )
        UPDATE comments_backfill SET done = (SELECT max(id) FROM batch)
        WHERE EXISTS (SELECT FROM batch)
        RETURNING done, last
        """
    )
    with op.get_context().autocommit_block():
        in_vain = 0
        while True:
            began = time.monotonic()
            try:
                reached = op.get_bind().execute(next_batch).one_or_none()
            except DBAPIError as error:
                code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
                in_vain += 1
                # No lock within lock_timeout, or a deadlock: somebody works on these rows.
                if code not in {"55P03", "40P01"} or in_vain == 100:
                    raise
                log.info("gave way to somebody, trying again")
                time.sleep(0.1)
                continue
            if reached is None:
                break
            in_vain = 0
            log.info("filled to %s of %s", reached.done, reached.last)
            time.sleep(time.monotonic() - began)  # half of the time belongs to the others


def finish() -> None:
    """Once the query that verifies finds nothing."""
    op.drop_table("comments_backfill")


def finish_down() -> None:
    """A backfill that has nothing to do."""
    op.create_table(
        "comments_backfill",
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
    )
    op.execute(
        "INSERT INTO comments_backfill SELECT coalesce(max(id), 0), coalesce(max(id), 0) "
        "FROM comments"
    )


def naive() -> None:
    """Each row that it has changed is locked until it is over."""
    op.execute(
        "UPDATE comments SET organization_id = tickets.organization_id "
        "FROM tickets WHERE tickets.id = comments.ticket_id"
    )


STEPS = (
    Step(prepare, prepare_down, CODE),
    Step(backfill, None, CODE, "SELECT id FROM comments WHERE organization_id IS NULL"),
    Step(finish, finish_down, CODE),
)
NAIVE = Step(naive, None, CODE)
