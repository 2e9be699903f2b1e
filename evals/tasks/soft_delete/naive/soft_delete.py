"""Soft delete of tickets and users."""

from datetime import UTC, datetime

from models import Ticket, User
from sqlalchemy import Engine, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import ORMExecuteState, Session, sessionmaker, with_loader_criteria


def with_deleted(statement):
    return statement.execution_options(include_deleted=True)


def hide_deleted(state: ORMExecuteState) -> None:
    if state.is_select and not state.execution_options.get("include_deleted", False):
        state.statement = state.statement.options(
            with_loader_criteria(Ticket, lambda cls: cls.deleted_at.is_(None)),
            with_loader_criteria(User, lambda cls: cls.deleted_at.is_(None)),
        )


def session_factory(engine: Engine) -> sessionmaker[Session]:
    factory = sessionmaker(engine)
    event.listen(factory, "do_orm_execute", hide_deleted)
    return factory


def soft_delete_ticket(session: Session, ticket_id: int) -> bool:
    ticket = session.get(Ticket, ticket_id)
    if ticket is None:
        return False
    ticket.deleted_at = datetime.now(UTC)
    return True


def soft_delete_user(session: Session, user_id: int) -> bool:
    user = session.get(User, user_id)
    if user is None:
        return False
    user.deleted_at = datetime.now(UTC)
    return True


def restore_ticket(session: Session, ticket_id: int) -> bool:
    ticket = session.get(Ticket, ticket_id, execution_options={"include_deleted": True})
    if ticket is None or ticket.deleted_at is None:
        return False
    ticket.deleted_at = None
    try:
        session.flush()
    except IntegrityError:
        session.rollback()
        return False
    return True
