"""How the published samples do a job, beside the kit: statements, and what they cost.

Their ways, not their words: what is measured here is written anew, and repaired so far that it
runs and answers alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from examples.analytics import get_ticket_statistics
from examples.computed_attributes import with_response_times
from examples.models import Comment, Ticket, User

from .analytics import four_statements, without_zeros
from .databases import desk
from .harness import Case

TITLE = "Jobs as the published samples do them, and as the kit does"
BASELINE = "dashboard: kit"
QUICK, FULL = 2_000, 20_000
PEERS = ()
PAGE = 50


@contextmanager
def cases(server_url: str, size: int) -> Iterator[list[Case]]:
    """Three jobs, two ways each."""
    with desk(server_url, size) as engine:
        yield [
            Case("dashboard: kit", dashboard(engine), size, "dashboard"),
            Case("dashboard: published", four_statements(engine), size, "dashboard"),
            *pair("response times of 50 tickets", response_times(engine), one_by_one(engine), PAGE),
            *pair("ten comments added", in_one_transaction(engine), commit_each(engine), 10),
        ]


def pair(
    job: str, kit: Callable[[], object], published: Callable[[], object], rows: int
) -> list[Case]:
    """Both ways of *job*, in times of the kit's."""
    return [
        Case(f"{job}: kit", kit, rows, job, f"{job}: kit"),
        Case(f"{job}: published", published, rows, job, f"{job}: kit"),
    ]


def dashboard(engine: Engine) -> Callable[[], object]:
    """One statement."""

    def run() -> object:
        with Session(engine) as session:
            return without_zeros(get_ticket_statistics(session)["status_counts"])

    return run


def response_times(engine: Engine) -> Callable[[], object]:
    """A correlated subquery, asked for where it is wanted."""

    def run() -> object:
        with Session(engine) as session:
            found = session.scalars(with_response_times(range(1, PAGE + 1)))
            return [ticket.response_time_hours for ticket in found]

    return run


def one_by_one(engine: Engine) -> Callable[[], object]:
    """A Python property that looks through the comments of each ticket."""

    def run() -> object:
        with Session(engine) as session:
            page = select(Ticket).where(Ticket.id <= PAGE).order_by(Ticket.id)
            found: list[float | None] = []
            for ticket in session.scalars(page):
                comments = session.scalars(
                    select(Comment)
                    .where(Comment.ticket_id == ticket.id)
                    .order_by(Comment.created_at, Comment.id)
                )
                answers = [
                    comment.created_at
                    for comment in comments
                    if not comment.is_internal and session.get_one(User, comment.author_id).is_staff
                ]
                hours = [(at - ticket.created_at).total_seconds() / 3600 for at in answers]
                found.append(hours[0] if hours else None)
            return found

    return run


def in_one_transaction(engine: Engine) -> Callable[[], object]:
    """The owner of the session commits, once."""

    def run() -> object:
        with Session(engine) as session, session.begin():
            session.add_all(
                Comment(ticket_id=1, author_id=1, content=f"Comment {n}") for n in range(10)
            )
        return 10

    return run


def commit_each(engine: Engine) -> Callable[[], object]:
    """A helper that checks, commits and refreshes, called ten times."""

    def run() -> object:
        with Session(engine) as session:
            for n in range(10):
                known = select(func.count()).select_from(Ticket).where(Ticket.id == 1)
                assert session.scalar(known)
                comment = Comment(ticket_id=1, author_id=1, content=f"Comment {n}")
                session.add(comment)
                session.commit()
                session.refresh(comment)
        return 10

    return run
