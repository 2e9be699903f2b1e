"""Give every time its zone: `datetime.now(UTC)`

`datetime.utcnow()` has none. psycopg and psycopg2 let the server read it in the session's time
zone: noon in London is stored as noon in New York.
"""

from datetime import UTC, datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from ..models import ImportCheckpoint
from ._symptom import Returns

FAMILY = "types"
SYMPTOM = Returns(
    wrong="17:00", right="12:00", meaning="the time stored for 12:00 UTC, given without a zone"
)
SOURCE = (
    "Date/Time Types: Time Stamps",
    "https://www.postgresql.org/docs/18/datatype-datetime.html#DATATYPE-DATETIME-INPUT-TIME-STAMPS",
)
STORED = select(func.to_char(func.timezone("UTC", ImportCheckpoint.finished_at), "HH24:MI"))


def broken(session: Session) -> object:
    session.execute(text("SET LOCAL timezone = 'America/New_York'"))
    noon = datetime(2026, 1, 15, 12)
    session.add(ImportCheckpoint(source="crm", finished_at=noon))
    session.flush()
    return session.scalar(STORED)


def fixed(session: Session) -> object:
    session.execute(text("SET LOCAL timezone = 'America/New_York'"))
    noon = datetime(2026, 1, 15, 12, tzinfo=UTC)
    session.add(ImportCheckpoint(source="crm", finished_at=noon))
    session.flush()
    return session.scalar(STORED)
