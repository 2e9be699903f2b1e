"""Fixtures, factories and a statement counter: what a test sees, and what it leaves behind."""

from __future__ import annotations

from sqlalchemy import Engine, Select, func, select
from sqlalchemy.orm import selectinload

from ..models import Ticket
from .factories import make_comment, make_ticket
from .isolation import isolated_session
from .statements import assert_statements


def demo(engine: Engine) -> None:
    """Commit inside an isolated session, count statements, and look for what is left."""
    with isolated_session(engine) as session:
        tickets = [make_ticket() for _ in range(3)]
        session.add_all(tickets)
        session.add_all(make_comment(ticket=ticket) for ticket in tickets)
        session.commit()
        session.rollback()
        print("Committed, then rolled back, tickets seen:", session.scalar(count_tickets()))
        session.expunge_all()
        with assert_statements(session, at_most=2):
            loaded = session.scalars(select(Ticket).options(selectinload(Ticket.comments)))
            print("Comments of each:", [len(ticket.comments) for ticket in loaded])
        try:
            with assert_statements(session, exactly=0):
                session.scalar(count_tickets())
        except AssertionError as error:
            print(error)
    with isolated_session(engine) as session:
        print("The next test sees:", session.scalar(count_tickets()))


def count_tickets() -> Select[int]:
    """How many tickets there are."""
    return select(func.count()).select_from(Ticket)
