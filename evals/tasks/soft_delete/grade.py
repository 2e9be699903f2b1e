"""What a soft delete hides, keeps and gives back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased, selectinload

from evals.workspace import Workspace


@contextmanager
def desk(work: Workspace) -> Iterator[tuple[Any, Any, Any]]:
    """The two modules and a factory over four tickets of two users; ticket 2 has been deleted."""
    soft, models = work.module("soft_delete"), work.module("models")
    engine = work.engine(driver="psycopg")
    models.Base.metadata.create_all(engine)
    factory = soft.session_factory(engine)
    with factory() as session:
        for name, numbers in (("ann", ("T-1", "T-2", "T-3")), ("bob", ("T-4",))):
            user = models.User(email=f"{name}@example.com", full_name=name)
            session.add(user)
            session.flush()
            for number in numbers:
                ticket = models.Ticket(number=number, title="Printer", creator_id=user.id)
                ticket.comments = [models.Comment(body=f"on {number}")]
                session.add(ticket)
                session.flush()
        session.commit()
        two = session.scalars(select(models.Ticket.id).filter_by(number="T-2")).one()
        assert soft.soft_delete_ticket(session, two) is True, "soft_delete_ticket: not True"
        session.commit()
    yield soft, models, factory


def key_of(session: Any, soft: Any, models: Any, number: str) -> int:
    """The key of a ticket, deleted or not."""
    statement = soft.with_deleted(select(models.Ticket).filter_by(number=number))
    return int(session.scalars(statement).first().id)


def check_hidden_from_queries(work: Workspace) -> None:
    """A deleted ticket is found neither by select(), by an alias nor by session.get(); with_deleted() finds it"""  # noqa: E501
    with desk(work) as (soft, models, factory), factory() as session:
        two = key_of(session, soft, models, "T-2")
        session.expunge_all()
        numbers = session.scalars(select(models.Ticket.number)).all()
        assert sorted(numbers) == ["T-1", "T-3", "T-4"], f"select() found {sorted(numbers)}"
        other = aliased(models.Ticket)
        numbers = session.scalars(select(other.number)).all()
        assert sorted(numbers) == ["T-1", "T-3", "T-4"], f"an alias found {sorted(numbers)}"
        assert session.get(models.Ticket, two) is None, "session.get() found it"


def check_counts_and_any(work: Workspace) -> None:
    """Counts, any() and relationships leave deleted tickets out"""
    with desk(work) as (soft, models, factory), factory() as session:
        count = session.scalar(select(func.count()).select_from(models.Ticket))
        assert count == 3, f"count(*) was {count}, expected 3"
        four = session.scalars(select(models.Ticket.id).filter_by(number="T-4")).one()
        assert soft.soft_delete_ticket(session, four) is True
        session.commit()
        having = session.scalars(select(models.User.full_name).where(models.User.tickets.any()))
        found = sorted(having)
        assert found == ["ann"], f"User.tickets.any() found {found}"
        session.expunge_all()
        for options in ((), (selectinload(models.User.tickets),)):
            ann = session.scalars(
                select(models.User).filter_by(full_name="ann").options(*options)
            ).one()
            numbers = [ticket.number for ticket in ann.tickets]
            assert numbers == ["T-1", "T-3"], f"user.tickets shows {numbers} with {options}"
            session.expunge_all()


def check_comments_follow(work: Workspace) -> None:
    """The comments of a deleted ticket are out of sight, and back after restore_ticket()"""
    with desk(work) as (soft, models, factory), factory() as session:
        bodies = sorted(session.scalars(select(models.Comment.body)))
        assert bodies == ["on T-1", "on T-3", "on T-4"], f"comments found: {bodies}"
        two = key_of(session, soft, models, "T-2")
        assert soft.restore_ticket(session, two) is True, "restore_ticket: not True"
        session.commit()
        assert len(session.scalars(select(models.Comment.body)).all()) == 4
        assert session.get(models.Ticket, two) is not None, "not found after restore_ticket()"


def check_reuse(work: Workspace) -> None:
    """The number and the email of what is deleted can be used again, those of live ones cannot"""
    with desk(work) as (soft, models, factory), factory() as session:
        bob = session.scalars(select(models.User.id).filter_by(full_name="bob")).one()
        assert soft.soft_delete_user(session, bob) is True
        session.commit()
        again = models.User(email="bob@example.com", full_name="bob again")
        session.add(again)
        session.flush()
        session.add(models.Ticket(number="T-2", title="New", creator_id=again.id))
        session.commit()
        taken = (
            models.User(email="ann@example.com", full_name="ann again"),
            models.Ticket(number="T-1", title="New", creator_id=again.id),
        )
        for item in taken:
            session.add(item)
            try:
                session.flush()
            except IntegrityError:
                session.rollback()
            else:
                raise AssertionError(f"a second live {type(item).__name__} was accepted")


def check_restore_taken(work: Workspace) -> None:
    """restore_ticket() returns False where the number is taken, and the caller's transaction goes on"""  # noqa: E501
    with desk(work) as (soft, models, factory), factory() as session:
        ann = session.scalars(select(models.User.id).filter_by(full_name="ann")).one()
        two = key_of(session, soft, models, "T-2")
        session.add(models.Ticket(number="T-2", title="New", creator_id=ann))
        session.commit()
        session.add(models.User(email="eve@example.com", full_name="eve"))
        assert soft.restore_ticket(session, two) is False, "restored beside a live one"
        session.commit()
        with factory() as other:
            live = other.scalars(select(models.Ticket.title).filter_by(number="T-2")).all()
            assert live == ["New"], f"live tickets numbered T-2: {live}"
            names = sorted(other.scalars(select(models.User.full_name)))
            assert names == ["ann", "bob", "eve"], f"the caller's own insert is lost: {names}"


def check_again_is_false(work: Workspace) -> None:
    """Deleting or restoring a second time returns False"""
    with desk(work) as (soft, models, factory), factory() as session:
        two = key_of(session, soft, models, "T-2")
        session.expunge_all()
        assert soft.soft_delete_ticket(session, two) is False, "deleted twice"
        assert soft.restore_ticket(session, two) is True
        session.commit()
        assert soft.restore_ticket(session, two) is False, "restored twice"
        assert soft.soft_delete_ticket(session, 10**6) is False, "deleted what does not exist"


def check_bulk_update(work: Workspace) -> None:
    """An ORM update() of all tickets leaves deleted ones as they were, also after restore_ticket()"""  # noqa: E501
    expected = {"T-1": "Changed", "T-2": "Printer", "T-3": "Changed", "T-4": "Changed"}
    with desk(work) as (soft, models, factory), factory() as session:
        two = key_of(session, soft, models, "T-2")
        session.expunge_all()
        session.execute(update(models.Ticket).values(title="Changed"))
        session.commit()
        session.expunge_all()
        tickets = session.scalars(soft.with_deleted(select(models.Ticket))).all()
        found = {ticket.number: ticket.title for ticket in tickets}
        assert found == expected, f"with_deleted() found {found}"
        assert soft.restore_ticket(session, two) is True, "restore_ticket: not True"
        session.commit()
        with factory() as other:
            found = {ticket.number: ticket.title for ticket in other.scalars(select(models.Ticket))}
        assert found == expected, f"after restore_ticket(): {found}"
