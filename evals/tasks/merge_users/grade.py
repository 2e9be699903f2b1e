"""Whether a merge loses anything."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from evals.workspace import Workspace, must_raise

# Users: 1 is kept, 2 and 3 are duplicates, 4 is somebody else.
DATA = (
    "INSERT INTO users (email) VALUES ('ann@x.y'), ('ann2@x.y'), ('ann3@x.y'), ('bob@x.y')",
    "INSERT INTO tickets (title, creator_id, assignee_id)"
    " VALUES ('A', 1, NULL), ('B', 2, 3), ('C', 3, 4), ('D', 4, 2)",
    "INSERT INTO comments (body, ticket_id, author_id)"
    " SELECT 'by ' || u.id || ' on ' || t.id, t.id, u.id FROM users u, tickets t",
)
FOREIGN = (
    "CREATE SCHEMA billing",
    'CREATE TABLE billing."Time Sheet" (id int PRIMARY KEY, "user" bigint NOT NULL'
    " REFERENCES users ON DELETE CASCADE)",
    'INSERT INTO billing."Time Sheet" VALUES (1, 1), (2, 2), (3, 3), (4, 4)',
    "CREATE TABLE calls (id int PRIMARY KEY, caller int REFERENCES users ON DELETE SET NULL,"
    " callee int REFERENCES users)",
    "INSERT INTO calls VALUES (1, 2, 4), (2, 4, 3), (3, 2, 3)",
)


def desk(work: Workspace, *statements: str) -> tuple[Any, Any, Engine]:
    """The function, the models and an engine over four users with tickets and comments."""
    merge, models = work.module("merge"), work.module("models")
    engine = work.engine(driver="psycopg")
    models.Base.metadata.create_all(engine)
    for statement in (*DATA, *statements):
        work.rows(statement)
    return merge.merge_users, models, engine


def merged(
    merge_users: Any, engine: Engine, keep: int = 1, others: tuple[int, ...] = (2, 3)
) -> None:
    """One merge, committed."""
    with Session(engine) as session, session.begin():
        merge_users(session, keep, list(others))


def table(work: Workspace, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    return [tuple(row) for row in work.rows(sql)]


def check_moves(work: Workspace) -> None:
    """Tickets, assignments and comments of the duplicates are the kept user's, none is lost"""
    merge_users, _models, engine = desk(work)
    merged(merge_users, engine)
    tickets = table(work, "SELECT title, creator_id, assignee_id FROM tickets ORDER BY id")
    assert tickets == [("A", 1, None), ("B", 1, 1), ("C", 1, 4), ("D", 4, 1)], tickets
    comments = table(work, "SELECT author_id, count(*) FROM comments GROUP BY 1 ORDER BY 1")
    assert comments == [(1, 12), (4, 4)], f"comments by author: {comments}"
    users = table(work, "SELECT id FROM users ORDER BY id")
    assert users == [(1,), (4,)], f"users left: {users}"


def check_collisions(work: Workspace) -> None:
    """A ticket that several of them watch is watched once, and that of a duplicate alone still is"""  # noqa: E501
    merge_users, _models, engine = desk(
        work,
        "INSERT INTO watchers (ticket_id, user_id)"
        " VALUES (1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (4, 4), (1, 4)",
    )
    merged(merge_users, engine)
    found = table(work, "SELECT ticket_id, user_id FROM watchers ORDER BY 1, 2")
    assert found == [(1, 1), (1, 4), (2, 1), (3, 1), (4, 4)], f"watchers: {found}"


def check_settings(work: Workspace) -> None:
    """The kept user's settings win, else those of one duplicate are taken over, never two"""
    merge_users, _models, engine = desk(
        work, "INSERT INTO settings (user_id, theme) VALUES (2, 'dark'), (3, 'dark'), (4, 'light')"
    )
    merged(merge_users, engine)
    found = table(work, "SELECT user_id, theme FROM settings ORDER BY 1")
    assert found == [(1, "dark"), (4, "light")], f"settings: {found}"
    merged(merge_users, engine, 1, (4,))
    found = table(work, "SELECT user_id, theme FROM settings ORDER BY 1")
    assert found == [(1, "dark")], f"settings: {found}"


def check_foreign_tables(work: Workspace) -> None:
    """Rows of tables that models.py does not know move too, in another schema and by several keys"""  # noqa: E501
    merge_users, _models, engine = desk(work, *FOREIGN)
    merged(merge_users, engine)
    sheets = table(work, 'SELECT id, "user" FROM billing."Time Sheet" ORDER BY 1')
    assert sheets == [(1, 1), (2, 1), (3, 1), (4, 4)], f"Time Sheet: {sheets}"
    calls = table(work, "SELECT id, caller, callee FROM calls ORDER BY 1")
    assert calls == [(1, 1, 4), (2, 4, 1), (3, 1, 1)], f"calls: {calls}"


def check_managers(work: Workspace) -> None:
    """Who was managed by a duplicate is managed by the kept user, who never manages themselves"""
    merge_users, _models, engine = desk(
        work,
        "UPDATE users SET manager_id = 2 WHERE id IN (1, 4)",
        "UPDATE users SET manager_id = 4 WHERE id = 3",
    )
    merged(merge_users, engine)
    found = table(work, "SELECT id, manager_id FROM users ORDER BY id")
    assert dict(found)[4] == 1, f"managers: {found}"
    assert dict(found)[1] != 1, f"the kept user manages themselves: {found}"


def check_refused(work: Workspace) -> None:
    """An unknown user or the kept one among the duplicates is a ValueError that changes nothing; no duplicates are no error"""  # noqa: E501
    merge_users, _models, engine = desk(work)
    before = table(work, "SELECT * FROM tickets ORDER BY id")
    for keep, others in ((1, (2, 1)), (1, (2, 99)), (99, (2,))):
        with Session(engine) as session:
            with must_raise(ValueError):
                merge_users(session, keep, list(others))
            session.commit()
    with Session(engine) as session, session.begin():
        merge_users(session, 1, [])
    assert table(work, "SELECT * FROM tickets ORDER BY id") == before, "tickets were changed"
    assert work.value("SELECT count(*) FROM users") == 4, "users were deleted"
    merged(merge_users, engine, 1, (2, 2, 3))
    assert work.value("SELECT count(*) FROM users") == 2, "a repeated duplicate"


def check_session(work: Workspace) -> None:
    """The caller's rollback undoes all of it, and what the session had loaded shows the new owner"""  # noqa: E501
    merge_users, models, engine = desk(
        work, *FOREIGN, "INSERT INTO settings (user_id, theme) VALUES (2, 'dark')"
    )
    before = table(work, "SELECT * FROM tickets ORDER BY id")
    with Session(engine) as session:
        tickets = session.scalars(select(models.Ticket).order_by(models.Ticket.id)).all()
        users = session.scalars(select(models.User).order_by(models.User.id)).all()
        assert users[1].settings.theme == "dark"
        merge_users(session, 1, [2, 3])
        creators = [ticket.creator_id for ticket in tickets]
        assert creators == [1, 1, 1, 4], f"loaded tickets show creators {creators}"
        session.flush()
        session.rollback()
    assert table(work, "SELECT * FROM tickets ORDER BY id") == before
    assert work.value("SELECT count(*) FROM users") == 4, "the rollback did not bring them back"
    with Session(engine) as session:
        users = session.scalars(select(models.User).order_by(models.User.id)).all()
        assert users[1].settings.theme == "dark"
        merge_users(session, 1, [2, 3])
        session.commit()
    assert table(work, "SELECT user_id, theme FROM settings") == [(1, "dark")]
