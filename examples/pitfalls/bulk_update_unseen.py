"""Audit by triggers what more than the ORM writes

`update()`, `insert()`, Core, plain SQL, COPY and ON DELETE run no mapper event.
See `references/audit-trails.md`.
"""

from sqlalchemy import event, func, select, update
from sqlalchemy.orm import Session

from ..audit_trails.tables import AuditedTable
from ..audit_trails.triggers import install_ddl
from ..models import AuditLog, Tag
from ..testing_patterns.factories import make_tag
from ._symptom import Returns

FAMILY = "audit"
SYMPTOM = Returns(wrong=0, right=1, meaning="audit entries made by a bulk UPDATE of one row")
SOURCE = (
    "CREATE TRIGGER",
    "https://www.postgresql.org/docs/18/sql-createtrigger.html",
)


def broken(session: Session) -> object:
    def audit(_mapper: object, _connection: object, tag: Tag) -> None:
        session.info["entries"] = session.info.get("entries", 0) + 1

    session.add(make_tag())
    session.flush()
    event.listen(Tag, "after_update", audit)
    session.execute(update(Tag).values(color="#ff0000"))
    event.remove(Tag, "after_update", audit)
    return session.info.get("entries", 0)


def fixed(session: Session) -> object:
    session.add(make_tag())
    session.flush()
    for ddl in install_ddl(AuditedTable("tags", {"id": "exact", "color": "text"})):
        session.connection().exec_driver_sql(ddl)  # in a migration
    session.execute(update(Tag).values(color="#ff0000"))
    return session.scalar(select(func.count(AuditLog.id)))
