"""An audit trail out of the session's events."""

from datetime import UTC, datetime

from models import Ticket, User
from sqlalchemy import JSON, DateTime, Engine, Identity, event, inspect, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class AuditBase(DeclarativeBase):
    pass


class AuditLog(AuditBase):
    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    table_name: Mapped[str]
    row_id: Mapped[int]
    action: Mapped[str]
    changes: Mapped[dict] = mapped_column(JSON)
    user_id: Mapped[int | None]
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


def record(session, item, action):
    if not isinstance(item, (Ticket, User)):
        return
    changes = {}
    for attribute in inspect(item).mapper.column_attrs:
        found = inspect(item).attrs[attribute.key].history
        old = found.deleted[0] if found.deleted else None
        new = found.added[0] if found.added else None
        if action == "DELETE":
            old, new = getattr(item, attribute.key), None
        if attribute.key != "password_hash" and old != new:
            changes[attribute.key] = [old, new]
    if action == "UPDATE" and not changes:
        return
    session.add(
        AuditLog(
            table_name=item.__tablename__,
            row_id=item.id,
            action=action,
            changes=changes,
            user_id=session.info.get("user_id"),
            at=datetime.now(UTC),
        )
    )


def after_flush(session, context):
    for item in session.new:
        record(session, item, "INSERT")
    for item in session.dirty:
        record(session, item, "UPDATE")
    for item in session.deleted:
        record(session, item, "DELETE")


def install(engine: Engine) -> None:
    AuditBase.metadata.create_all(engine)
    if not event.contains(Session, "after_flush", after_flush):
        event.listen(Session, "after_flush", after_flush)


def act_as(session: Session, user_id: int) -> None:
    session.info["user_id"] = user_id


def history(session: Session, table: str, key: int) -> list[dict]:
    statement = (
        select(AuditLog)
        .where(AuditLog.table_name == table, AuditLog.row_id == key)
        .order_by(AuditLog.id)
    )
    return [
        {"action": one.action, "changes": one.changes, "user_id": one.user_id, "at": one.at}
        for one in session.scalars(statement)
    ]
