"""Write what follows from a change in `after_flush`, by Core

A second session on the listener's connection is never flushed: no error, and no audit.
See `references/events.md`; for every writer, triggers: `references/audit-trails.md`.
"""

from sqlalchemy import Connection, event, func, insert, select
from sqlalchemy.orm import Session

from ..models import AuditLog, Tag
from ..testing_patterns.factories import make_tag
from ._symptom import Returns

FAMILY = "audit"
SYMPTOM = Returns(wrong=0, right=1, meaning="audit rows stored for one INSERT")
SOURCE = (
    "Persistence Events",
    "https://docs.sqlalchemy.org/en/21/orm/session_events.html#persistence-events",
)


def broken(session: Session) -> object:
    def audit(_mapper: object, connection: Connection, tag: Tag) -> None:
        entry = AuditLog(table_name="tags", record_id=tag.id, action="INSERT")
        Session(bind=connection).add(entry)

    event.listen(Tag, "after_insert", audit)
    session.add(make_tag())
    session.flush()
    event.remove(Tag, "after_insert", audit)
    return session.scalar(select(func.count(AuditLog.id)))


def fixed(session: Session) -> object:
    def audit(session: Session, _context: object) -> None:
        tags = [tag for tag in session.new if isinstance(tag, Tag)]
        entries = [{"table_name": "tags", "record_id": t.id, "action": "INSERT"} for t in tags]
        if entries:
            session.connection().execute(insert(AuditLog), entries)

    event.listen(session, "after_flush", audit)
    session.add(make_tag())
    session.flush()
    return session.scalar(select(func.count(AuditLog.id)))
