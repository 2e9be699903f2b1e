"""Name columns, not a constraint, in ON CONFLICT

`unique=True, index=True` makes one unique index, and no constraint by that name. The columns find
either. A partial index wants its condition as well: see `references/pitfalls-keeping.md`.
"""

from sqlalchemy import Column, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "models"
SYMPTOM = Raises(ProgrammingError, 'constraint "ix_contacts_email" for table "contacts" does not')
SOURCE = (
    "INSERT…ON CONFLICT (Upsert)",
    "https://docs.sqlalchemy.org/en/21/dialects/postgresql.html#postgresql-insert-on-conflict",
)


def broken(session: Session) -> object:
    email = Column("email", Text, unique=True, index=True)
    contacts = Table("contacts", MetaData(), email, prefixes=["TEMPORARY"])
    contacts.create(session.connection())
    new = insert(contacts).values(email="ann@x.example")
    session.execute(new.on_conflict_do_nothing(constraint="ix_contacts_email"))
    return None


def fixed(session: Session) -> object:
    email = Column("email", Text, unique=True, index=True)
    contacts = Table("contacts", MetaData(), email, prefixes=["TEMPORARY"])
    contacts.create(session.connection())
    new = insert(contacts).values(email="ann@x.example")
    session.execute(new.on_conflict_do_nothing(index_elements=["email"]))
    return None
