"""Soft delete of tickets and users."""

from typing import Any, TypeVar

from models import Comment, Ticket, User
from sqlalchemy import Engine, Executable, event, exists, func, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import ORMExecuteState, Session, sessionmaker, with_loader_criteria

S = TypeVar("S", bound=Executable)


def with_deleted(statement: S) -> S:
    """*statement*, seeing what is deleted too."""
    return statement.execution_options(include_deleted=True)


def hide_deleted(state: ORMExecuteState) -> None:
    """Add the conditions to every SELECT, UPDATE and DELETE of the ORM."""
    if state.execution_options.get("include_deleted", False) or state.is_column_load:
        return
    if not (state.is_select or state.is_update or state.is_delete):
        return
    tickets = Ticket.__table__.alias()
    of_live = exists().where(tickets.c.id == Comment.ticket_id, tickets.c.deleted_at.is_(None))
    state.statement = state.statement.options(
        with_loader_criteria(Ticket, Ticket.deleted_at.is_(None), include_aliases=True),
        with_loader_criteria(User, User.deleted_at.is_(None), include_aliases=True),
        with_loader_criteria(Comment, of_live, include_aliases=True),
    )


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions that neither see nor change what is deleted."""
    factory = sessionmaker(engine)
    event.listen(factory, "do_orm_execute", hide_deleted)
    return factory


def soft_delete(session: Session, entity: Any, key: int) -> bool:
    """Mark one row; False where there is no live one."""
    statement = (
        update(entity)
        .where(entity.id == key, entity.deleted_at.is_(None))
        .values(deleted_at=func.now())
        .returning(entity.id)
    )
    found = session.scalar(with_deleted(statement)) is not None
    session.expire_all()
    return found


def soft_delete_ticket(session: Session, ticket_id: int) -> bool:
    """Delete a ticket; False where there is no live one."""
    return soft_delete(session, Ticket, ticket_id)


def soft_delete_user(session: Session, user_id: int) -> bool:
    """Delete a user; False where there is no live one."""
    return soft_delete(session, User, user_id)


def restore_ticket(session: Session, ticket_id: int) -> bool:
    """Bring a ticket back; False where it is not deleted or its number is taken."""
    statement = (
        update(Ticket)
        .where(Ticket.id == ticket_id, Ticket.deleted_at.is_not(None))
        .values(deleted_at=None)
        .returning(Ticket.id)
    )
    session.flush()
    try:
        with session.begin_nested():
            found = session.scalar(with_deleted(statement)) is not None
    except IntegrityError:
        return False
    session.expire_all()
    return found
