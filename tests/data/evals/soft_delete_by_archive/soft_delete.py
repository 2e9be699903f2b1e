"""Soft delete of tickets and users by an archive."""

from typing import TypeVar

from models import Comment, Ticket, User  # type: ignore[import-not-found]
from sqlalchemy import Engine, Executable, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

S = TypeVar("S", bound=Executable)
TICKET = ((Ticket, "id"), (Comment, "ticket_id"))
USER = ((User, "id"),)


def with_deleted(statement: S) -> S:
    """*statement* over the views that hold everything."""
    return statement.execution_options(schema_translate_map={None: "whole"})


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions that neither see nor change what is deleted: it is elsewhere."""
    return sessionmaker(engine)


def move(session: Session, parts: tuple[tuple[type, str], ...], key: int, way: str) -> bool:
    """Move a row and what belongs to it; False where there is none."""
    source, target = way.split()
    session.flush()
    moved = []
    for entity, column in parts:
        name = entity.__tablename__  # type: ignore[attr-defined]
        rows = text(
            f"WITH gone AS (DELETE FROM {source}.{name} WHERE {column} = :key RETURNING *)"
            f" INSERT INTO {target}.{name} OVERRIDING SYSTEM VALUE SELECT * FROM gone"
            " RETURNING id"
        )
        moved.append(len(session.execute(rows, {"key": key}).all()))
    session.expire_all()
    return moved[0] == 1


def soft_delete_ticket(session: Session, ticket_id: int) -> bool:
    """Delete a ticket; False where there is no live one."""
    return move(session, TICKET, ticket_id, "public archive")


def soft_delete_user(session: Session, user_id: int) -> bool:
    """Delete a user; False where there is no live one."""
    return move(session, USER, user_id, "public archive")


def restore_ticket(session: Session, ticket_id: int) -> bool:
    """Bring a ticket back; False where it is not deleted or its number is taken."""
    session.flush()
    try:
        with session.begin_nested():
            return move(session, TICKET, ticket_id, "archive public")
    except IntegrityError:
        return False
