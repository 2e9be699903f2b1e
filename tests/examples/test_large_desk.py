"""The large desk is what its docstring says; plans and aggregates of other tests lean on it."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
from psycopg import sql
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from examples.database import create_sync_engine
from examples.models import Comment, Ticket, TicketTag, User
from examples.testing_patterns.large_desk import (
    CUSTOMERS,
    ORGANIZATIONS,
    RARE_WORD,
    STAFF,
    TAGS,
    fill_desk,
)
from tests.conftest import drop_large_desk, large_desk_name


def test_what_is_there(large_desk: Engine) -> None:
    counts = select(
        func.count(),
        func.count().filter(Ticket.resolved_at.is_(None)),
        func.count(Ticket.deleted_at),
        func.count(Ticket.organization_id.distinct()),
        func.count(Ticket.creator_id.distinct()),
        func.count(Ticket.assignee_id.distinct()),
        func.count().filter(Ticket.title.contains(RARE_WORD)),
        func.count().filter(Ticket.created_at < datetime(2025, 7, 1, tzinfo=UTC)),
        func.max(Ticket.created_at),
    )
    with Session(large_desk) as session:
        assert tuple(session.execute(counts).one()) == (
            100_000,
            15_000,
            1_030,
            ORGANIZATIONS,
            CUSTOMERS,
            STAFF,
            40,
            0,
            datetime(2026, 7, 1, tzinfo=UTC),
        )
        # A ticket is of its creator's organization, and they are numbered as they were created.
        strangers = (
            select(func.count())
            .select_from(Ticket)
            .join(User, User.id == Ticket.creator_id)
            .where(User.organization_id.is_distinct_from(Ticket.organization_id))
        )
        assert session.scalar(strangers) == 0
        assert session.scalar(select(func.count(TicketTag.tag_id.distinct()))) == TAGS
        notes = select(func.count()).select_from(Comment).join(User, User.id == Comment.author_id)
        assert session.scalar(notes.where(Comment.is_internal, ~User.is_staff)) == 0


def test_columns_are_independent(large_desk: Engine) -> None:
    """Each organization has tickets of every status and priority: no plan gets lucky."""
    kinds = select(func.count(func.distinct(Ticket.status, Ticket.priority)))
    with Session(large_desk) as session:
        per_organization = session.scalars(kinds.group_by(Ticket.organization_id)).all()
    assert len(per_organization) == ORGANIZATIONS
    assert set(per_organization) == {20}, "five statuses times four priorities"


def test_it_is_analysed_and_as_small_as_wanted(real_commits: str) -> None:
    small = create_sync_engine(real_commits)
    try:
        fill_desk(small, tickets=300)
        with small.connect() as connection:
            assert connection.scalar(select(func.count()).select_from(Ticket)) == 300
            known = "SELECT reltuples, relpages - relallvisible FROM pg_class "
            known += "WHERE relname = 'tickets'"
            assert tuple(connection.exec_driver_sql(known).one()) == (300, 0)
    finally:
        small.dispose()


def test_the_controller_drops_it(postgres_url: str, real_commits: str) -> None:
    name = real_commits.rpartition("/")[2]
    large = large_desk_name(name)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(create.format(sql.Identifier(large), sql.Identifier(name)))
        drop_large_desk(postgres_url, name)
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [large])
        assert known.fetchone() is None
        drop_large_desk(postgres_url, name)  # where there is none, nothing happens
