"""A large desk in seconds: the server makes the rows, the same ones each time.

Problem: on ten rows every plan is a sequential scan, so a test of an index proves nothing.
Pattern: ``INSERT … SELECT`` from ``generate_series``, every value computed from the row's number,
then VACUUM ANALYZE, so that the planner knows what is there.  Copy with ``models.py`` and adapt.
"""

from __future__ import annotations

from sqlalchemy import Engine, text

ORGANIZATIONS, STAFF, CUSTOMERS, TAGS = 50, 20, 500, 40
RARE_WORD = "zebra"  # in one title of 2,500

# One year of tickets, evenly spread. Each column turns at its own pace: none foretells another.
TICKETS = (
    "INSERT INTO organizations (name, slug, created_at) "
    "SELECT 'Customer ' || n, 'customer-' || n, TIMESTAMPTZ '2025-07-01 00:00Z' "
    "FROM generate_series(1, :organizations) AS n",
    "INSERT INTO users (email, full_name, password_hash, is_staff, organization_id) "
    "SELECT 'user' || n || '@example.org', 'User ' || n, '-', n <= :staff, "
    "CASE WHEN n > :staff THEN n % :organizations + 1 END "
    "FROM generate_series(1, :staff + :customers) AS n",
    "INSERT INTO tags (name) SELECT 'tag-' || n FROM generate_series(1, :tags) AS n",
    """
    INSERT INTO tickets (title, description, status, priority, organization_id, creator_id,
                         assignee_id, created_at, updated_at, resolved_at, deleted_at)
    SELECT CASE WHEN n % 2500 = 7 THEN :rare_word || ' ' ELSE '' END || words[n * 7 % 16 + 1]
               || ' ' || words[n / 16 % 16 + 1] || ' ' || n,
           'The ' || words[n / 3 % 16 + 1] || ' of ' || md5(n::text) || ' does not work.',
           status,
           (ARRAY['low', 'medium', 'medium', 'medium', 'high', 'high', 'urgent'])[n % 7 + 1],
           customer % :organizations + 1,
           customer,
           CASE WHEN n % 6 > 0 THEN n / 20 % :staff + 1 END,
           created_at,
           created_at,
           CASE WHEN status IN ('resolved', 'closed')
                THEN created_at + (1 + n * 37 % 200) * interval '1 hour' END,
           CASE WHEN n % 97 = 0 THEN created_at + interval '9 days' END
    FROM (SELECT n,
                 TIMESTAMPTZ '2025-07-01 00:00Z' + n * interval '365 days' / :tickets
                     AS created_at,
                 (n * 13 + n / 500) % :customers + :staff + 1 AS customer,
                 CASE n % 20 WHEN 0 THEN 'open' WHEN 1 THEN 'in_progress'
                             WHEN 2 THEN 'waiting_on_customer' WHEN 3 THEN 'resolved'
                             WHEN 4 THEN 'resolved' ELSE 'closed' END AS status,
                 ARRAY['printer', 'invoice', 'login', 'report', 'export', 'upload', 'search',
                       'mail', 'calendar', 'password', 'screen', 'keyboard', 'license', 'backup',
                       'network', 'phone'] AS words
          FROM generate_series(1, CAST(:tickets AS bigint)) AS n) AS made
    ORDER BY n
    """,
)
# A note of the desk, its public answer, and the customer's thanks; every fifth has no answer.
THREADS = (
    "INSERT INTO ticket_tags (ticket_id, tag_id) SELECT id, id % :tags + 1 FROM tickets "
    "UNION ALL SELECT id, (id + 7) % :tags + 1 FROM tickets WHERE id % 3 = 0",
    """
    INSERT INTO comments (ticket_id, author_id, content, is_internal, created_at)
    SELECT id, author_id, content, is_internal, created_at + delay
    FROM tickets CROSS JOIN LATERAL (VALUES
        (id % :staff + 1, 'Who knows this one?', true, interval '5 minutes', id % 4 = 0),
        (id % :staff + 1, 'We look into it.', false, (1 + id * 11 % 48) * interval '1 hour',
         id % 5 > 0),
        (creator_id, 'Thank you.', false, interval '60 hours', id % 3 = 0)
    ) AS comment (author_id, content, is_internal, delay, there)
    WHERE there
    """,
    """
    INSERT INTO ticket_status_history (ticket_id, old_status, new_status, changed_at)
    SELECT id, old_status, new_status, changed_at
    FROM tickets CROSS JOIN LATERAL (VALUES
        (NULL, 'open', created_at, true),
        ('open', 'in_progress', created_at + interval '30 minutes', status <> 'open'),
        ('in_progress', 'waiting_on_customer', created_at + interval '45 minutes',
         status = 'waiting_on_customer'),
        ('in_progress', 'resolved', resolved_at, resolved_at IS NOT NULL),
        ('resolved', 'closed', resolved_at + interval '2 days', status = 'closed')
    ) AS change (old_status, new_status, changed_at, there)
    WHERE there
    ORDER BY changed_at, id
    """,
)


def fill_desk(engine: Engine, tickets: int = 100_000, *, threads: bool = True) -> None:
    """Fill an empty schema with so many tickets, and with their threads, and analyse it.

    15 of 100 tickets are open, one in 97 is deleted; all were created within the year that ends
    on 2026-07-01 UTC, in the order of their ids.  *threads*: with tags, comments and status
    history.  One transaction.
    """
    numbers = {
        "organizations": ORGANIZATIONS,
        "staff": STAFF,
        "customers": CUSTOMERS,
        "tags": TAGS,
        "tickets": tickets,
        "rare_word": RARE_WORD,
    }
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL synchronous_commit = on"))
        for rows in TICKETS + THREADS * threads:
            statement = text(rows)
            wanted = statement.compile().params.keys()
            connection.execute(statement, {name: numbers[name] for name in wanted})
    analyze(engine)


def analyze(engine: Engine) -> None:
    """Tell the planner what is there, and mark the pages visible, for index-only scans.

    With ``synchronous_commit``: VACUUM marks no page whose last writer may still be lost.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for line in (
            "SET synchronous_commit = on",
            "VACUUM ANALYZE",
            "RESET synchronous_commit",
        ):
            connection.execute(text(line))
