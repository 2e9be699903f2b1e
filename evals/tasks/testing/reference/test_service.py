"""The service, each test on its own rows."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from models import Organization, Ticket, User
from service import assign_next, open_tickets, solve_ticket
from sqlalchemy.orm import Session

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Desk:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.organization = self.new_organization()
        self.user = self.new_user()

    def new_organization(self) -> int:
        made = Organization(slug=uuid.uuid4().hex)
        self.session.add(made)
        self.session.commit()
        return made.id

    def new_user(self) -> int:
        made = User(email=f"{uuid.uuid4().hex}@example.org", organization_id=self.organization)
        self.session.add(made)
        self.session.commit()
        return made.id

    def ticket(self, minutes: int = 0, **values: object) -> int:
        values = {"organization_id": self.organization, **values}
        made = Ticket(title="Printer", created_at=NOON + timedelta(minutes=minutes), **values)
        self.session.add(made)
        self.session.commit()
        return made.id

    def stored(self, key: int) -> Ticket:
        self.session.rollback()  # what was not committed is gone
        return self.session.get_one(Ticket, key, populate_existing=True)


@pytest.fixture
def desk(session: Session) -> Desk:
    return Desk(session)


def ids(desk: Desk) -> list[int]:
    return [ticket.id for ticket in open_tickets(desk.session, desk.organization)]


def test_open_tickets_oldest_first(desk: Desk) -> None:
    late, early = desk.ticket(5), desk.ticket(1)
    assert ids(desk) == [early, late]


def test_hidden_tickets(desk: Desk) -> None:
    desk.ticket(solved_at=NOON)
    desk.ticket(deleted_at=NOON)
    desk.ticket(organization_id=desk.new_organization())
    assert ids(desk) == []


def test_solve(desk: Desk) -> None:
    key = desk.ticket()
    assert solve_ticket(desk.session, key, NOON)
    assert desk.stored(key).solved_at == NOON


def test_solve_twice(desk: Desk) -> None:
    key = desk.ticket(solved_at=NOON)
    assert not solve_ticket(desk.session, key, NOON + timedelta(hours=1))
    assert desk.stored(key).solved_at == NOON


def test_solve_none(desk: Desk) -> None:
    assert not solve_ticket(desk.session, -1, NOON)


def test_assign_oldest_free(desk: Desk) -> None:
    late, early = desk.ticket(5), desk.ticket(1)
    other = desk.new_user()
    taken = desk.ticket(0, assignee_id=other)
    given = assign_next(desk.session, desk.user)
    assert given is not None
    assert given.id == early
    assert desk.stored(early).assignee_id == desk.user
    assert desk.stored(taken).assignee_id == other
    assert desk.stored(late).assignee_id is None


def test_assign_none(desk: Desk) -> None:
    assert assign_next(desk.session, desk.user) is None
