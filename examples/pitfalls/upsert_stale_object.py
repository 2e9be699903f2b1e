"""Ask for `populate_existing` when an upsert returns objects

RETURNING brings the new row, and the object that the session holds already keeps its old values.
"""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ..models import ImportCheckpoint
from ._symptom import Returns

FAMILY = "writing"
SYMPTOM = Returns(wrong="1", right="2", meaning="the position read after an upsert set it to 2")
SOURCE = (
    "ORM upsert Statements",
    "https://docs.sqlalchemy.org/en/21/orm/queryguide/dml.html#orm-upsert-statements",
)


def broken(session: Session) -> object:
    held = ImportCheckpoint(source="crm", position="1")
    session.add(held)
    upsert = insert(ImportCheckpoint).values(source="crm", position="2")
    upsert = upsert.on_conflict_do_update(
        index_elements=["source"], set_={"position": upsert.excluded.position}
    )
    found = session.scalars(upsert.returning(ImportCheckpoint)).one()
    assert found is held
    return found.position


def fixed(session: Session) -> object:
    held = ImportCheckpoint(source="crm", position="1")
    session.add(held)
    upsert = insert(ImportCheckpoint).values(source="crm", position="2")
    upsert = upsert.on_conflict_do_update(
        index_elements=["source"], set_={"position": upsert.excluded.position}
    )
    found = session.scalars(
        upsert.returning(ImportCheckpoint), execution_options={"populate_existing": True}
    ).one()
    assert found is held
    return found.position
