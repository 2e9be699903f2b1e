"""What is deleted is found by no ORM statement, comes back whole, and is purged when it is time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import (
    Connection,
    Engine,
    Select,
    delete,
    event,
    exists,
    func,
    select,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.exc import IntegrityError, InvalidRequestError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, aliased, joinedload, selectinload

from examples import soft_delete
from examples.database import create_asyncio_engine, create_sync_engine
from examples.models import Comment, Organization, Tag, Ticket, TicketStatus, TicketTag, User
from examples.query_plans import explain
from examples.soft_delete import (
    CHILDREN,
    LIVE_VIEW,
    ROW_SECURITY,
    HardDeleteError,
    NumberTakenError,
    async_purge_deleted,
    async_restore_ticket,
    async_soft_delete_ticket,
    bin_of,
    hide_deleted,
    live_async_session_factory,
    live_session_factory,
    purge,
    purge_deleted,
    refuse_hard_deletes,
    restore_ticket,
    see_deleted,
    soft_delete_ticket,
    with_deleted,
)
from examples.testing_patterns.factories import (
    make_attachment,
    make_comment,
    make_organization,
    make_tag,
    make_ticket,
    make_user,
)
from examples.testing_patterns.plugin import ASYNC_DRIVERS
from examples.testing_patterns.statements import assert_statements
from tests.test_upgrading import SA_21


@pytest.fixture
def live(session: Session) -> Session:
    """A session that hides what is deleted; undone like every other."""
    event.listen(session, "do_orm_execute", hide_deleted)
    event.listen(session, "before_flush", refuse_hard_deletes)
    return session


def add_three(session: Session) -> list[Ticket]:
    """Three tickets of one customer, each with a comment, a file and a tag; the second is deleted
    and a duplicate of the first, the third one of the second."""
    organization, creator, tag = make_organization(), make_user(), make_tag()
    tickets = [
        make_ticket(
            title=title,
            organization=organization,
            creator=creator,
            comments=[make_comment(author=creator)],
            attachments=[make_attachment()],
            tag_links=[TicketTag(tag=tag)],
        )
        for title in ("live", "gone", "also live")
    ]
    tickets[1].duplicate_of, tickets[2].duplicate_of = tickets[0], tickets[1]
    tickets[1].deleted_at = datetime.now(UTC)
    session.add_all(tickets)
    session.flush()
    session.expunge_all()
    return tickets


A = aliased(Ticket)
COUNT = select(func.count())
LIVE = {"live", "also live"}
# What finds tickets, and how many there are unless the deleted one is hidden.
READS: dict[str, tuple[Callable[[Session], int], int]] = {
    "select": (lambda s: len(s.scalars(select(Ticket)).all()), 3),
    "columns": (lambda s: len(s.scalars(select(Ticket.id)).all()), 3),
    "count": (lambda s: s.scalar(COUNT.select_from(Ticket)) or 0, 3),
    "count of a subquery": (
        lambda s: s.scalar(COUNT.select_from(select(Ticket.id).subquery())) or 0,
        3,
    ),
    "an alias": (lambda s: len(s.scalars(select(A)).all()), 3),
    "a join": (lambda s: len(s.execute(select(User.id, Ticket.id).join(Ticket.creator)).all()), 3),
    "an outer join": (
        lambda s: sum(
            row[0] is not None
            for row in s.execute(select(Ticket.id).select_from(User).outerjoin(Ticket, true()))
        ),
        3,
    ),
    "in (subquery)": (
        lambda s: (
            len(s.scalars(select(Tag.id).where(Tag.id.in_(select(Ticket.id)))).all())
            + (s.scalar(COUNT.select_from(select(Ticket.id).cte())) or 0)
        ),
        3,
    ),
    "a union": (lambda s: len(s.execute(union_all(select(Ticket.id), select(Ticket.id))).all()), 6),
    "lateral": (
        lambda s: len(
            s.execute(
                select(User.id).join(
                    select(Ticket.id).where(Ticket.creator_id == User.id).lateral(), true()
                )
            ).all()
        ),
        3,
    ),
    "write-only": (
        lambda s: len(s.scalars(s.scalars(select(User)).one().tickets_created.select()).all()),
        3,
    ),
    "Session.query": (lambda s: s.query(Ticket).count(), 3),
    "streamed": (
        lambda s: len(list(s.scalars(select(Ticket).execution_options(yield_per=1)))),
        3,
    ),
    "selectinload": (
        lambda s: sum(
            len(ticket.duplicates)
            for ticket in s.scalars(select(Ticket).options(selectinload(Ticket.duplicates)))
        ),
        2,
    ),
    "joinedload": (
        lambda s: sum(
            ticket.duplicate_of is not None
            for ticket in s.scalars(select(Ticket).options(joinedload(Ticket.duplicate_of)))
        ),
        2,
    ),
    "comments": (lambda s: len(s.scalars(select(Comment)).all()), 3),
    "tag links": (lambda s: len(s.scalars(select(TicketTag)).all()), 3),
    "files": (lambda s: s.scalar(COUNT.select_from(CHILDREN[1])) or 0, 3),
    "an alias, joined": (lambda s: len(s.execute(select(A.id).join(A.tags)).all()), 3),
    "a child's alias": (lambda s: len(s.scalars(select(aliased(Comment))).all()), 3),
}
HIDDEN = {"a union": 4, "selectinload": 0, "joinedload": 0}
if sqlalchemy.__version__ == "2.0.36":  # the lowest that is supported
    HIDDEN["a union"] = 6


@pytest.mark.parametrize("name", READS)
def test_no_orm_statement_finds_it(session: Session, name: str) -> None:
    read, everything = READS[name]
    add_three(session)
    assert read(session) == everything, "there is nothing to hide, the test proves nothing"
    session.expunge_all()
    event.listen(session, "do_orm_execute", hide_deleted)
    assert read(session) == HIDDEN.get(name, 2)


CORRELATED: dict[str, Select[Any]] = {
    "exists": select(User.id).where(exists().where(Ticket.title == "gone")),
    "any": select(User.id).where(User.tickets_created.any(Ticket.title == "gone")),
    "has": select(Tag.id).where(Tag.ticket_links.any(TicketTag.ticket.has(Ticket.title == "gone"))),
    "a scalar subquery": select(User.id).where(
        select(func.count()).where(Ticket.title == "gone").scalar_subquery() == 1
    ),
}


@pytest.mark.parametrize("name", CORRELATED)
def test_what_2_0_does_not_cover(live: Session, name: str) -> None:
    add_three(live)
    found = live.execute(CORRELATED[name]).all()
    assert len(found) == (0 if SA_21 else 1)


def test_what_neither_covers(live: Session) -> None:
    """From a ticket to tickets: the table of the subquery is an alias that the option passes by."""
    add_three(live)
    of_deleted = select(Ticket.title).where(Ticket.duplicate_of.has())
    assert live.scalars(of_deleted).all() == ["also live"]
    into_live = select(Ticket.title).where(Ticket.duplicates.any())
    assert live.scalars(into_live).all() == ["live"]


def test_a_condition_of_ones_own_covers_2_0_too(live: Session) -> None:
    add_three(live)
    gone = Ticket.title == "gone"
    said = User.tickets_created.any(gone & Ticket.deleted_at.is_(None))
    assert live.scalars(select(User.id).where(said)).all() == []


def test_get_and_refresh(live: Session) -> None:
    gone_id = add_three(live)[1].id
    assert live.get(Ticket, gone_id) is None
    option = {"include_deleted": True}
    ticket = live.get(Ticket, gone_id, execution_options=option)
    assert ticket is not None
    # Who holds it may refresh and change it.
    live.refresh(ticket)
    live.expire(ticket)
    assert ticket.title == "gone"
    ticket.title = "gone for good"
    live.flush()
    # And the identity map gives it to whoever asks by key: sessions are short.
    assert live.get(Ticket, gone_id) is ticket


def test_updates_and_deletes_pass_it_over(live: Session) -> None:
    add_three(live)
    renamed = update(Ticket).values(title="renamed").returning(Ticket.id)
    assert len(live.scalars(renamed).all()) == 2
    assert len(live.scalars(delete(Comment).returning(Comment.id)).all()) == 2
    titles = select(Ticket.title).order_by(Ticket.id)
    assert live.scalars(with_deleted(titles)).all() == ["renamed", "gone", "renamed"]


def test_an_update_by_key_is_refused(live: Session) -> None:
    """It takes no condition, and would change what is deleted: a ticket, or its comment."""
    ids = [ticket.id for ticket in add_three(live)]
    of_all = select(Comment.id).order_by(Comment.ticket_id)
    comments = [
        {"id": key, "content": "changed"} for key in live.scalars(with_deleted(of_all)).all()
    ]
    for statement, rows in (
        (update(Comment), comments),
        (update(Ticket), [{"id": key, "title": "changed", "version": 1} for key in ids]),
    ):
        with pytest.raises(InvalidRequestError, match="UPDATE by primary key, which changes what"):
            live.execute(statement, rows)
        live.execute(with_deleted(statement), rows)
    found = live.execute(with_deleted(select(Ticket.title, Comment.content).join(Ticket.comments)))
    assert found.all() == [("changed", "changed")] * 3
    tag = live.scalars(select(Tag)).one()
    live.execute(update(Tag), [{"id": tag.id, "name": "changed"}])


def test_the_mappings_of_old_are_not_refused(live: Session) -> None:
    """Nobody is asked before them: what is deleted is changed, too."""
    rows = [{"id": ticket.id, "title": "changed", "version": 1} for ticket in add_three(live)]
    live.bulk_update_mappings(Ticket, rows)
    titles = live.scalars(with_deleted(select(Ticket.title)))
    assert titles.all() == ["changed"] * 3


def test_opting_in(live: Session) -> None:
    add_three(live)
    assert set(live.scalars(select(Ticket.title))) == LIVE
    assert set(live.scalars(with_deleted(select(Ticket.title)))) == LIVE | {"gone"}
    organization_id = live.scalars(select(Organization.id)).one()
    with assert_statements(live, exactly=1):
        binned = live.scalars(bin_of(organization_id)).all()
    assert [ticket.title for ticket in binned] == ["gone"]
    loaded = live.scalars(with_deleted(select(Ticket).options(selectinload(Ticket.duplicates))))
    assert {ticket.title: len(ticket.duplicates) for ticket in loaded} == {
        "live": 1,
        "gone": 1,
        "also live": 0,
    }


def test_each_statement_has_the_condition(live: Session) -> None:
    add_three(live)
    with assert_statements(live, exactly=2) as statements:
        live.scalars(select(Ticket).options(selectinload(Ticket.duplicates))).all()
    assert all("deleted_at IS NULL" in sql for sql in statements)


def test_the_condition_is_made_once(live: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four aliases for each statement cost more than a read by key."""
    made: list[Any] = []
    ours = soft_delete.of_live_ticket

    def counted(child: Any) -> Any:
        made.append(child)
        return ours(child)

    monkeypatch.setattr(soft_delete, "of_live_ticket", counted)
    soft_delete.hiding.cache_clear()
    for _ in range(3):
        live.scalars(select(Ticket)).all()
        live.scalars(select(Comment)).all()
    assert len(made) == len(set(made)) > 1


def test_the_children_cost_a_lookup_by_key(large_desk: Engine) -> None:
    factory = live_session_factory(large_desk)
    with factory() as session, assert_statements(session, exactly=1) as statements:
        session.scalars(select(Comment).where(Comment.ticket_id == 97)).all()
    assert "EXISTS (SELECT" in statements[0]
    tickets = Ticket.__table__.alias()
    live = exists().where(tickets.c.id == Comment.ticket_id, tickets.c.deleted_at.is_(None))
    with Session(large_desk) as session:
        plan = explain(session, select(Comment).where(Comment.ticket_id == 97, live))
    assert plan.indexes == {"pk_tickets", "ix_comments_ticket_id_created_at_id"}


# --- What is not covered --------------------------------------------------------------------------


def test_core_and_sql_see_it(live: Session) -> None:
    add_three(live)
    assert len(live.execute(select(Ticket.__table__)).all()) == 3
    assert live.scalar(text("SELECT count(*) FROM tickets")) == 3
    core: Any = Ticket.__table__
    changed = live.execute(update(core).values(title="renamed").returning(core.c.id))
    assert len(changed.all()) == 3


def test_the_view_hides_it_from_everybody(live: Session) -> None:
    add_three(live)
    live.execute(LIVE_VIEW)
    assert live.scalar(text("SELECT count(*) FROM live_tickets")) == 2


@contextmanager
def as_application(connection: Connection, attribute: str = "NOBYPASSRLS") -> Iterator[None]:
    """Be a role that owns nothing; the role goes with the transaction."""
    role = f"soe_{attribute.lower()}"
    connection.execute(text(f"CREATE ROLE {role} {attribute}"))
    grant = f"GRANT SELECT, INSERT, UPDATE, DELETE ON tickets, comments TO {role}"
    connection.execute(text(grant))
    connection.execute(text(f"SET LOCAL ROLE {role}"))
    yield
    connection.execute(text("RESET ROLE"))


def test_row_security_hides_it_from_sql_too(live: Session) -> None:
    first = add_three(live)[0].id
    connection = live.connection()
    for statement in ROW_SECURITY:
        connection.execute(statement)
    count = text("SELECT count(*) FROM tickets")
    with as_application(connection):
        assert live.scalar(count) == 2
        assert live.scalar(COUNT.select_from(Ticket.__table__)) == 2
        # The trap: the row that an UPDATE leaves must be visible, and a deleted one is not.
        with pytest.raises(ProgrammingError, match="row-level security"), live.begin_nested():
            soft_delete_ticket(live, first)
        live.execute(see_deleted)
        # The third is a duplicate of a duplicate: the deleted one between them is passed over.
        assert len(soft_delete_ticket(live, first)) == 2
        assert live.scalar(count) == 3
        live.execute(text("SELECT set_config('app.include_deleted', 'off', true)"))
        assert live.scalar(count) == 0
    assert live.scalar(count) == 3, "the owner sees it all"
    with as_application(connection, "BYPASSRLS"):
        assert live.scalar(count) == 3


# --- Into the bin and out of it -------------------------------------------------------------------


def family_of_four(session: Session) -> list[int]:
    """A ticket, two duplicates of it, and a duplicate of the first of these."""
    first, second, third, fourth = (make_ticket(title=f"T{n}") for n in range(4))
    second.duplicate_of = third.duplicate_of = first
    fourth.duplicate_of = second
    session.add_all([first, second, third, fourth])
    session.flush()
    return [first.id, second.id, third.id, fourth.id]


def test_deleted_and_restored_together(live: Session) -> None:
    ids = family_of_four(live)
    other = make_ticket()
    live.add(other)
    live.flush()
    with assert_statements(live, exactly=1):
        assert set(soft_delete_ticket(live, ids[0])) == set(ids)
    assert live.scalars(select(Ticket.id)).all() == [other.id]
    with assert_statements(live, exactly=1):
        assert set(restore_ticket(live, ids[0])) == set(ids)
    assert set(live.scalars(select(Ticket.id))) == {*ids, other.id}


def test_what_was_deleted_before_stays_deleted(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    factory = live_session_factory(engine)
    with factory.begin() as session:
        ids = family_of_four(session)
    with factory.begin() as session:
        soft_delete_ticket(session, ids[2])
    with factory.begin() as session:
        assert set(soft_delete_ticket(session, ids[0])) == {ids[0], ids[1], ids[3]}
    with factory.begin() as session:
        assert set(restore_ticket(session, ids[0])) == {ids[0], ids[1], ids[3]}
        assert session.get(Ticket, ids[2]) is None
    engine.dispose()


def test_twice_is_once(live: Session) -> None:
    ticket = make_ticket()
    live.add(ticket)
    live.flush()
    assert restore_ticket(live, ticket.id) == [], "it was never deleted"
    assert soft_delete_ticket(live, ticket.id) == [ticket.id]
    assert soft_delete_ticket(live, ticket.id) == []
    assert restore_ticket(live, ticket.id) == [ticket.id]
    assert restore_ticket(live, ticket.id) == []
    assert soft_delete_ticket(live, 2**40) == []


def test_the_version_moves_and_the_status_stays(live: Session) -> None:
    done = datetime(2026, 1, 1, tzinfo=UTC)
    ticket = make_ticket(status=TicketStatus.CLOSED, resolved_at=done)
    live.add(ticket)
    live.flush()
    soft_delete_ticket(live, ticket.id)
    restore_ticket(live, ticket.id)
    live.refresh(ticket)
    assert (ticket.version, ticket.status, ticket.resolved_at) == (3, TicketStatus.CLOSED, done)


def test_a_circle_of_duplicates_comes_to_an_end(live: Session) -> None:
    first, second = make_ticket(), make_ticket()
    live.add_all([first, second])
    live.flush()
    first.duplicate_of_id, second.duplicate_of_id = second.id, first.id
    live.flush()
    assert set(soft_delete_ticket(live, first.id)) == {first.id, second.id}


def test_a_number_that_was_given_away(live: Session) -> None:
    ticket = make_ticket(ticket_number="A-1")
    live.add(ticket)
    live.flush()
    soft_delete_ticket(live, ticket.id)
    live.add(make_ticket(ticket_number="A-1"))
    live.flush()
    with pytest.raises(NumberTakenError, match=f"ticket {ticket.id}: its number is taken"):
        restore_ticket(live, ticket.id)
    # The caller's transaction goes on.
    assert live.scalar(COUNT.select_from(Ticket)) == 1


def test_another_violation_is_not_called_a_taken_number(live: Session) -> None:
    ticket = make_ticket()
    live.add(ticket)
    live.flush()
    soft_delete_ticket(live, ticket.id)
    live.execute(text("CREATE UNIQUE INDEX one_live ON tickets ((true)) WHERE deleted_at IS NULL"))
    live.add(make_ticket())
    live.flush()
    with pytest.raises(IntegrityError, match="one_live"):
        restore_ticket(live, ticket.id)


def test_a_hard_delete_is_refused(live: Session) -> None:
    ticket = make_ticket()
    live.add(ticket)
    live.flush()
    live.delete(ticket)
    with pytest.raises(HardDeleteError, match=r"received session\.delete\(<Ticket \d+>\)"):
        live.flush()


# --- For good -------------------------------------------------------------------------------------


def test_purge(live: Session) -> None:
    now = datetime.now(UTC)
    tickets = [
        make_ticket(deleted_at=now - timedelta(days=days), comments=[make_comment()])
        for days in (40, 31, 29)
    ]
    kept = make_ticket()
    live.add_all([*tickets, kept])
    live.flush()
    ids = [ticket.id for ticket in tickets]
    live.expunge_all()
    month = timedelta(days=30)
    with assert_statements(live, exactly=1):
        assert purge_deleted(live, month, batch=1) == 1
    left = with_deleted(select(Ticket.id).order_by(Ticket.id))
    assert live.scalars(left).all() == [*ids[1:], kept.id], "the oldest goes first"
    assert [purge_deleted(live, month, batch=1) for _ in range(2)] == [1, 0]
    assert live.scalars(left).all() == [ids[2], kept.id]
    assert live.scalar(with_deleted(COUNT.select_from(Comment))) == 1, "its children went along"


@pytest.mark.parametrize("way", ["subquery", "cte"])
def test_a_limit_in_a_subquery_does_not_hold(real_commits: str, way: str) -> None:
    """The planner takes the table for one row, and runs the subquery for each row that there is."""
    engine = create_sync_engine(real_commits)
    now = datetime.now(UTC)
    with Session(engine) as session:
        session.add(make_ticket(deleted_at=now - timedelta(days=60)))
        session.flush()
        session.execute(text("ANALYZE tickets"))
        session.add_all(make_ticket(deleted_at=now - timedelta(days=50 + n)) for n in range(5))
        session.flush()
        due = (
            select(Ticket.id)
            .where(Ticket.deleted_at < func.now() - timedelta(days=30))
            .order_by(Ticket.deleted_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        wrong = delete(Ticket).where(Ticket.id.in_(due)).returning(Ticket.id)
        statement = wrong if way == "subquery" else purge(timedelta(days=30), batch=1)
        deleted = session.scalars(statement).all()
    engine.dispose()
    assert len(deleted) == (2 if way == "subquery" else 1)


def test_purge_passes_over_what_is_being_restored(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    factory = live_session_factory(engine)
    with factory.begin() as session:
        first, second = make_ticket(), make_ticket()
        first.deleted_at = second.deleted_at = datetime.now(UTC) - timedelta(days=99)
        session.add_all([first, second])
        session.flush()
        first_id = first.id
    with factory() as restoring:
        restore_ticket(restoring, first_id)
        with factory.begin() as purging:
            purging.execute(text("SET LOCAL lock_timeout = '20s'"))
            assert purge_deleted(purging, timedelta(days=30)) == 1
        restoring.commit()
    with factory() as session:
        assert session.scalars(with_deleted(select(Ticket.id))).all() == [first_id]
    engine.dispose()


# --- Factories ------------------------------------------------------------------------------------


def test_the_factory_leaves_other_sessions_alone(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    with live_session_factory(engine).begin() as session:
        add_three(session)
        assert len(session.scalars(select(Ticket)).all()) == 2
    with Session(engine) as session:
        assert len(session.scalars(select(Ticket)).all()) == 3
    engine.dispose()


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ASYNC_DRIVERS)
async def test_under_asyncio(real_commits: str, driver: Any) -> None:
    engine: AsyncEngine = create_asyncio_engine(real_commits, driver=driver)
    factory = live_async_session_factory(engine)
    async with factory.begin() as session:
        first = (await session.run_sync(add_three))[0].id
        assert len((await session.scalars(select(Ticket))).all()) == 2
    async with factory.begin() as session:
        assert len(await async_soft_delete_ticket(session, first)) == 2
    async with factory.begin() as session:
        assert await session.get(Ticket, first) is None
        assert len(await async_restore_ticket(session, first)) == 2
        restored = await session.get(Ticket, first)
        assert restored is not None
        await session.delete(restored)
        with pytest.raises(HardDeleteError):
            await session.flush()
        session.expunge(restored)
        assert await async_purge_deleted(session, timedelta(0)) == 1
    async with AsyncSession(engine) as session:
        assert len((await session.scalars(select(Ticket))).all()) == 2
    await engine.dispose()


@pytest.mark.asyncio
async def test_a_taken_number_under_asyncio(async_session: AsyncSession) -> None:
    ticket = make_ticket(ticket_number="A-1")
    async_session.add(ticket)
    await async_session.flush()
    await async_soft_delete_ticket(async_session, ticket.id)
    async_session.add(make_ticket(ticket_number="A-1"))
    await async_session.flush()
    with pytest.raises(NumberTakenError):
        await async_restore_ticket(async_session, ticket.id)
