"""Audit trails: who changed what, by whichever way the change came in, and what it was before.

Problem: a log that is written by the application misses what goes around the application.
Pattern: triggers that a migration installs, told by each transaction who acts; session events only
where no trigger may be.  Not for undoing at scale or for figures: the trail is JSON, a record at a
time.  PostgreSQL 14 or newer.

To copy: this folder, ``models.py`` (its ``AuditLog``) and ``database.py``.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Engine, Table, func, inspect, select, text, update

from ..database import session_factory
from ..models import AuditLog, Organization, Ticket, TicketPriority, User
from .actor import ACTOR, Actor, act_as, tell_actors
from .retention import keep_partitions
from .tables import audited
from .trail import changes_of, load_history, row_as_of
from .triggers import faults, install_ddl


def table_of(cls: type[Any]) -> Table:
    """The table of a mapped class."""
    table = inspect(cls).local_table
    assert isinstance(table, Table)
    return table


def told(entry: AuditLog) -> str:
    """One line for a person."""
    old, new = entry.changes.get("old", {}), entry.changes.get("new", {})
    quiet = {"updated_at", "version"}
    what = [f"{name}: {old[name]!r} → {new[name]!r}" for name in new if name in old.keys() - quiet]
    what += [f"{name} (not told)" for name in entry.changes.get("redacted", ())]
    who = f"user {entry.user_id}" if entry.user_id else entry.changes.get("db_user")
    asked = entry.changes.get("request_id", "-")
    return f"{entry.action:6} by {who}, request {asked}: {', '.join(what) or f'{len(new)} columns'}"


def demo(engine: Engine) -> None:
    """Change a ticket in five ways, and read who did it."""
    tables = [audited(table_of(cls)) for cls in (User, Ticket)]
    with engine.begin() as connection:
        for table in tables:
            for statement in install_ddl(table):
                connection.exec_driver_sql(statement)
        print("Triggers at fault:", faults(connection, tables) or "none")
        made, _ = keep_partitions(connection, date.today(), ahead=1)
        print("Partitions made:", len(made))
    factory = session_factory(engine)
    tell_actors(factory)
    with factory(info={ACTOR: Actor(7, "req-1")}) as session:
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="$argon2$ann")
        ticket = Ticket(
            title="Printer on fire",
            description="It burns.",
            organization=Organization(name="Acme", slug="acme"),
            creator=ann,
        )
        session.add(ticket)
        session.commit()
        ticket_id, user_id = ticket.id, ann.id
        made_at = session.scalars(select(func.clock_timestamp())).one()
        ticket.title = "Printer is smouldering"  # the ORM
        ann.password_hash = "$argon2$secret"  # noqa: S105 - none
        session.commit()
        act_as(session, Actor(8, "req-2"))
        session.execute(update(Ticket).values(priority=TicketPriority.HIGH))  # bulk
        session.commit()
    with engine.begin() as connection:  # somebody with psql
        connection.execute(text("UPDATE tickets SET title = 'Printer is gone'"))
        connection.execute(text("UPDATE tickets SET title = title"))
    with factory() as session:
        print("The ticket:")
        for entry in load_history(session, "tickets", ticket_id):
            print("  ", told(entry))
        print("Its user:")
        for entry in load_history(session, "users", user_id):
            print("  ", told(entry))
        titles = session.scalars(changes_of("tickets", ticket_id, "title")).all()
        print("Title set by:", [entry.user_id for entry in titles])
        before = row_as_of(session, table_of(Ticket), ticket_id, made_at)
        assert before is not None
        print("When it was new:", before["title"], "/", before["priority"])
        (leaks,) = session.execute(
            text("SELECT count(*) FROM audit_log WHERE changes::text LIKE '%argon2%'")
        ).one()
        print("Entries with a password hash:", leaks)
