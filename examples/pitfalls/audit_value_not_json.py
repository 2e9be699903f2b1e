"""Turn values into JSON's own before they are logged

A time, a Decimal or a member of a plain Enum in a JSONB column fails the flush, and with it the
change that was to be recorded. From psycopg it is no SQLAlchemyError.
"""

from datetime import UTC, datetime

from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from ..models import AuditLog
from ._symptom import Raises

FAMILY = "audit"
SYMPTOM = (
    Raises(TypeError, "type datetime is not JSON serializable", drivers=("psycopg",)),
    Raises(
        StatementError, "type datetime is not JSON serializable", drivers=("psycopg2", "asyncpg")
    ),
)
SOURCE = (
    "JSON",
    "https://docs.sqlalchemy.org/en/21/core/type_basics.html#sqlalchemy.types.JSON",
)


def broken(session: Session) -> object:
    changes = {"resolved_at": datetime.now(UTC)}
    entry = AuditLog(table_name="tickets", record_id=1, action="UPDATE", changes=changes)
    session.add(entry)
    session.flush()
    return None


def fixed(session: Session) -> object:
    changes = {"resolved_at": datetime.now(UTC).isoformat()}
    entry = AuditLog(table_name="tickets", record_id=1, action="UPDATE", changes=changes)
    session.add(entry)
    session.flush()
    return None
