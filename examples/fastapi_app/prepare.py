"""A database to serve: the tables, the audit triggers, a customer and an agent.

For demos and tests.  In production migrations do this (``migration_guide``): an application that
may change its schema may also drop it.
"""

from __future__ import annotations

from sqlalchemy import Engine

from ..audit_trails.tables import audited
from ..audit_trails.triggers import install_ddl
from ..database import session_factory
from ..models import Base, Organization, User

AUDITED = ("tickets", "comments", "ticket_tags")


def install_audit(engine: Engine) -> None:
    """Put every change of a ticket on record, whoever makes it."""
    with engine.begin() as connection:
        for name in AUDITED:
            for statement in install_ddl(audited(Base.metadata.tables[name])):
                connection.exec_driver_sql(statement)


def seed(engine: Engine) -> None:
    """Organization 1; Ann, a customer, is user 1; Sam, an agent, is user 2."""
    with session_factory(engine).begin() as session:
        acme = Organization(name="Acme", slug="acme")
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="!", organization=acme)
        session.add(ann)
        session.flush()  # one by one: the ids are known beforehand
        session.add(
            User(email="sam@desk.example", full_name="Sam", password_hash="!", is_staff=True)
        )
