"""The service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from models import Base, Organization, Ticket, User
from service import assign_next, open_tickets, solve_ticket
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

engine = create_engine(os.environ["DATABASE_URL"])


@pytest.fixture
def session() -> Iterator[Session]:
    Base.metadata.create_all(engine)
    session = Session(engine)
    yield session
    session.rollback()
    session.close()


@pytest.fixture
def user(session: Session) -> User:
    organization = session.query(Organization).filter_by(slug="acme-test").first()
    if organization is None:
        organization = Organization(slug="acme-test")
        session.add(organization)
        session.flush()
    user = session.query(User).filter_by(email="ann@test.example").first()
    if user is None:
        user = User(email="ann@test.example", organization_id=organization.id)
        session.add(user)
        session.commit()
    return user


def test_open_tickets(session: Session, user: User) -> None:
    ticket = Ticket(title="Printer", organization_id=user.organization_id)
    session.add(ticket)
    session.flush()
    assert ticket in open_tickets(session, user.organization_id)


def test_solve_ticket(session: Session, user: User) -> None:
    ticket = Ticket(title="Printer", organization_id=user.organization_id)
    session.add(ticket)
    session.flush()
    assert solve_ticket(session, ticket.id, datetime.now(UTC))
    assert ticket.solved_at is not None
    assert not solve_ticket(session, ticket.id, datetime.now(UTC))


def test_assign_next(session: Session, user: User) -> None:
    ticket = Ticket(title="Printer", organization_id=user.organization_id)
    session.add(ticket)
    session.flush()
    assigned = assign_next(session, user.id)
    assert assigned is not None
    assert assigned.assignee_id == user.id
