"""Events do what is of their row; what others must do leaves after the commit, or not at all."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import MetaData, event, func, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError, SAWarning, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, column_property, sessionmaker

from examples.database import create_sync_engine
from examples.events import (
    ERROR_LENGTH,
    MAX_ATTEMPTS,
    CleanTitle,
    after_commit,
    announce,
    announce_statuses,
    async_relay,
    clean_title,
    due_messages,
    fill_slug,
    on_set,
    relay,
    run_after_commits,
    slug_of,
)
from examples.models import Base, Organization, OutboxMessage, Ticket, TicketStatus
from examples.query_plans import explain
from examples.testing_patterns.factories import make_comment, make_organization, make_ticket
from examples.testing_patterns.statements import assert_statements, recorded_statements


class DeskBase(DeclarativeBase):
    """A registry of its own, so that the desk's classes stay as they are."""

    metadata = MetaData()


class CleanOrganization(DeskBase):
    """The desk's table, with a default out of another column."""

    __table__ = Organization.__table__


class CleanTicket(CleanTitle, DeskBase):
    """The desk's table, with a title that is cleaned."""

    __table__ = Ticket.__table__
    __mapper_args__ = {"exclude_properties": ["search_vector"]}  # noqa: RUF012

    if TYPE_CHECKING:
        id: Mapped[int]
        title: Mapped[str]


class RememberingTicket(DeskBase):
    """The desk's table, with a status that loads its old value when it is set."""

    __table__ = Ticket.__table__
    __mapper_args__ = {"exclude_properties": ["search_vector"]}  # noqa: RUF012

    status = column_property(Base.metadata.tables["tickets"].c.status, active_history=True)

    if TYPE_CHECKING:
        id: Mapped[int]


event.listen(CleanOrganization, "before_insert", fill_slug)


@pytest.fixture
def listening(session: Session) -> Session:
    """A session with the outbox's listener and the hooks."""
    announce_statuses(session)
    run_after_commits(session)
    return session


def messages(session: Session) -> list[tuple[str, Any]]:
    """What waits in the outbox: topic and status, oldest first."""
    rows = session.execute(
        select(OutboxMessage.topic, OutboxMessage.payload).order_by(OutboxMessage.id)
    )
    return [(topic, payload.get("status")) for topic, payload in rows]


# --- Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["init", "set"])
def test_a_title_is_cleaned_when_it_is_set(how: str) -> None:
    if how == "init":
        ticket = CleanTicket(title="  Printer \n burns ")
    else:
        ticket = CleanTicket()
        ticket.title = "  Printer \n burns "
    assert ticket.title == "Printer burns"
    with pytest.raises(ValueError, match="received a title of 0 characters; expected 1 to 500"):
        ticket.title = " \t "
    with pytest.raises(ValueError, match="received a title of 501"):
        CleanTicket(title="x" * 501)
    assert ticket.title == "Printer burns", "what is refused is not kept"


@given(st.text())
def test_a_cleaned_title_stays_clean(title: str) -> None:
    try:
        cleaned = clean_title(title)
    except ValueError:
        return
    assert cleaned == clean_title(cleaned)
    assert cleaned.strip() == cleaned != ""


def test_what_sets_no_attribute_is_not_validated(session: Session) -> None:
    ticket = make_ticket(title="Good")
    session.add(ticket)
    session.flush()
    values = {"description": "-", "organization_id": ticket.organization_id}
    row = values | {"creator_id": ticket.creator_id, "title": " bulk "}
    session.execute(insert(CleanTicket), [row])
    session.execute(update(CleanTicket).where(CleanTicket.id == ticket.id).values(title=" late "))
    titles = session.scalars(select(Ticket.title).order_by(Ticket.id)).all()
    assert titles == [" late ", " bulk "]
    # The CHECK is what holds.
    with pytest.raises(IntegrityError, match="title_length"), session.begin_nested():
        session.execute(update(CleanTicket).values(title="   "))


def test_a_class_that_is_not_ours() -> None:
    class Own(DeclarativeBase):
        metadata = MetaData()

    class Copy(Own):
        __table__ = Ticket.__table__
        __mapper_args__ = {"exclude_properties": ["search_vector"]}  # noqa: RUF012

    cls: Any = Copy
    on_set(cls.title, clean_title)
    assert cls(title=" a  b ").title == "a b"
    ticket = cls(title="a")
    with pytest.raises(ValueError, match="received a title of 0"):
        ticket.title = ""
    assert Ticket(title=" a ").title == " a ", "the desk's own class is as it was"


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Acme", "acme"),
        ("Ümlaut & Sons", "umlaut-sons"),
        ("  A--B  ", "a-b"),
        ("株式会社", "customer"),
    ],
)
def test_a_default_out_of_another_column(session: Session, name: str, slug: str) -> None:
    made: Any = CleanOrganization
    organization = made(name=name)
    session.add(organization)
    session.flush()
    assert organization.slug == slug
    given_slug = made(name=name, slug="its-own")
    session.add(given_slug)
    session.flush()
    assert given_slug.slug == "its-own"


@given(st.text())
def test_every_slug_passes_the_check(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug_of(name))


# --- What not to do in an event -------------------------------------------------------------------


def listen_for(session: Session, name: str, listener: Callable[..., Any]) -> None:
    """A mapper event for the objects of one test."""
    event.listen(Organization, name, listener)
    session.info["undo"] = lambda: event.remove(Organization, name, listener)


def test_an_object_added_in_a_mapper_event_is_warned_of(session: Session) -> None:
    def add_message(_mapper: object, _connection: object, organization: Organization) -> None:
        session.add(OutboxMessage(topic="organization", payload={"slug": organization.slug}))

    listen_for(session, "after_insert", add_message)
    try:
        session.add(make_organization())
        with pytest.warns(SAWarning, match=r"Session\.add.* operation is not currently supported"):
            session.flush()
        assert messages(session) != [], "the next flush writes it, if there is one"
    finally:
        session.info["undo"]()


def test_before_update_fires_without_a_change(session: Session) -> None:
    fired: list[bool] = []

    def note(_mapper: object, _connection: object, organization: Organization) -> None:
        fired.append(session.is_modified(organization, include_collections=False))

    organization = make_organization(name="Acme")
    session.add(organization)
    session.flush()
    listen_for(session, "before_update", note)
    try:
        organization.name = "Acme"
        with assert_statements(session, exactly=0):
            session.flush()
        # Nothing is written, and the listener has run: ask is_modified().
        assert fired == [False]
        session.execute(update(Organization).values(name="Bulk"))
        assert fired == [False], "and bulk statements run none"
    finally:
        session.info["undo"]()


def test_before_update_fires_for_a_collection(session: Session) -> None:
    fired: list[tuple[bool, bool]] = []

    def note(_mapper: object, _connection: object, ticket: Ticket) -> None:
        of_columns = session.is_modified(ticket, include_collections=False)
        fired.append((session.is_modified(ticket), of_columns))

    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    session.refresh(ticket, ["comments"])
    event.listen(Ticket, "before_update", note)
    try:
        session.add(make_comment(ticket=ticket, author=ticket.creator))
        with assert_statements(session, exactly=1):
            session.flush()
        assert fired == [(True, False)], "the comment is written, its ticket is not"
    finally:
        event.remove(Ticket, "before_update", note)


# --- The outbox -----------------------------------------------------------------------------------


def test_a_status_change_leaves_a_message(listening: Session) -> None:
    ticket = make_ticket(status=TicketStatus.OPEN)
    listening.add(ticket)
    listening.flush()
    assert messages(listening) == [("ticket.status", "open")]
    ticket.title = "Another title"
    listening.flush()
    ticket.status = TicketStatus.OPEN
    listening.flush()
    assert len(messages(listening)) == 1, "no change of the status, no message"
    ticket.status = TicketStatus.IN_PROGRESS
    listening.flush()
    ticket.status, ticket.resolved_at = TicketStatus.RESOLVED, datetime.now(UTC)
    listening.flush()
    assert [status for _, status in messages(listening)] == ["open", "in_progress", "resolved"]
    payload = listening.scalars(select(OutboxMessage.payload).order_by(OutboxMessage.id)).first()
    assert payload == {"ticket_id": ticket.id, "status": "open"}


def test_a_status_that_was_expired_when_it_was_set(listening: Session) -> None:
    """After a commit the session does not know what it was: it is asked for before the flush."""
    tickets = [make_ticket(status=TicketStatus.OPEN) for _ in range(3)]
    listening.add_all(tickets)
    listening.commit()
    sent_before = len(messages(listening))
    for ticket, status in zip(tickets, ["open", "in_progress", "in_progress"], strict=True):
        ticket.status = TicketStatus(status)
        assert inspect(ticket).attrs.status.history.deleted == (), "the trap"
    with recorded_statements(listening) as statements:
        listening.flush()
    assert sum("tickets.status" in sql for sql in statements if " FOR " in sql) == 1
    told = listening.scalars(select(OutboxMessage.payload).order_by(OutboxMessage.id)).all()
    changed = {ticket.id: "in_progress" for ticket in tickets[1:]}
    assert {each["ticket_id"]: each["status"] for each in told[sent_before:]} == changed
    assert len(told) == sent_before + 2, "the first one was open already"
    assert [ticket.version for ticket in tickets] == [1, 2, 2], "and nothing of it was written"


def test_many_changes_are_one_statement(listening: Session) -> None:
    tickets = [make_ticket() for _ in range(5)]
    listening.add_all(tickets)
    listening.flush()
    for ticket in tickets:
        ticket.status = TicketStatus.IN_PROGRESS
    with assert_statements(listening, at_most=6) as statements:
        listening.flush()
    assert sum("INSERT INTO outbox_messages" in sql for sql in statements) == 1
    assert len(messages(listening)) == 5


def test_a_bulk_update_is_not_seen(listening: Session) -> None:
    listening.add(make_ticket())
    listening.flush()
    listening.execute(update(Ticket).values(status=TicketStatus.IN_PROGRESS))
    assert messages(listening) == []


def test_a_rollback_takes_the_message_along(listening: Session) -> None:
    ticket = make_ticket(status=TicketStatus.OPEN)
    listening.add(ticket)
    listening.flush()
    savepoint = listening.begin_nested()
    ticket.status = TicketStatus.IN_PROGRESS
    announce(listening, "email", {"to": "ann"})
    listening.flush()
    assert len(messages(listening)) == 3, "the ticket's own, its change, the e-mail"
    savepoint.rollback()
    assert messages(listening) == [("ticket.status", "open")]


# --- The relay ------------------------------------------------------------------------------------


class Receiver:
    """Remembers ids, as a receiver must; refuses the topics that it is told to."""

    def __init__(self, *refused: str) -> None:
        self.ids: list[int] = []
        self.refused = refused

    def __call__(self, message_id: int, topic: str, payload: dict[str, Any]) -> None:
        if topic in self.refused:
            raise ConnectionError(f"no {topic} today\0" + "x" * 1_000)
        self.ids.append(message_id)


def test_what_is_due_is_sent_once(session: Session) -> None:
    for n in range(3):
        announce(session, "email", {"n": n})
    later = OutboxMessage(topic="later", payload={}, available_at=datetime.now(UTC) + timedelta(1))
    session.add(later)
    session.flush()
    receiver = Receiver()
    with assert_statements(session, exactly=2):
        assert relay(session, receiver, limit=2) == 2
    assert relay(session, receiver) == 1
    assert relay(session, receiver) == 0
    assert len(set(receiver.ids)) == 3
    left = session.scalars(select(OutboxMessage).filter_by(processed_at=None)).all()
    assert left == [later]


def test_what_fails_is_tried_again_later(session: Session) -> None:
    announce(session, "email", {})
    announce(session, "sms", {})
    session.flush()
    receiver = Receiver("email")
    assert relay(session, receiver) == 1
    assert relay(session, receiver) == 0, "not at once"
    query = select(OutboxMessage).where(OutboxMessage.topic == "email")
    message = session.scalars(query, execution_options={"populate_existing": True}).one()
    assert (message.attempts, message.processed_at) == (1, None)
    assert message.last_error is not None
    assert message.last_error.startswith("ConnectionError: no email today?xxx")
    assert len(message.last_error) == ERROR_LENGTH
    assert message.available_at > datetime.now(UTC)
    session.execute(update(OutboxMessage).values(available_at=func.now()))
    session.expire_all()
    receiver.refused = ()
    assert relay(session, receiver) == 1


def test_it_gives_up_in_the_end(session: Session) -> None:
    announce(session, "email", {})
    session.flush()
    receiver = Receiver("email")
    for _ in range(MAX_ATTEMPTS):
        assert len(session.scalars(due_messages(9)).all()) == 1
        relay(session, receiver)
        session.execute(update(OutboxMessage).values(available_at=func.now()))
        session.expire_all()
    assert session.scalars(due_messages(9)).all() == []
    assert session.scalar(select(OutboxMessage.processed_at)) is None, "a person can look at it"


def test_a_crash_before_the_commit_sends_again(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    with Session(engine) as session, session.begin():
        announce(session, "email", {})
    receiver = Receiver()
    with Session(engine) as dying:
        assert relay(dying, receiver) == 1
        # The process ends here: nothing is committed.
    with Session(engine) as session, session.begin():
        assert relay(session, receiver) == 1
    with Session(engine) as session:
        assert relay(session, receiver) == 0
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1, "the same id: the receiver can tell"
    engine.dispose()


@pytest.mark.concurrent
def test_relays_side_by_side_share_the_work(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    with Session(engine) as session, session.begin():
        for n in range(40):
            announce(session, "email", {"n": n})
    both_hold = threading.Barrier(2, timeout=30)
    receivers = [Receiver(), Receiver()]

    def work(receiver: Receiver) -> None:
        with Session(engine) as session, session.begin():
            relay(session, receiver, limit=10)
            both_hold.wait()
        while True:
            with Session(engine) as session, session.begin():
                if not relay(session, receiver, limit=3):
                    return

    threads = [threading.Thread(target=work, args=[receiver]) for receiver in receivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    ids = receivers[0].ids + receivers[1].ids
    assert len(ids) == len(set(ids)) == 40
    assert min(len(receiver.ids) for receiver in receivers) >= 10
    engine.dispose()


def test_the_outbox_is_found_by_its_index(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    with engine.begin() as connection:
        for line in (
            "INSERT INTO outbox_messages (topic, payload, processed_at, available_at) "
            "SELECT 't', '{}', CASE WHEN n % 500 > 0 THEN now() END, "
            "now() - n * interval '1 minute' FROM generate_series(1, 20000) AS n",
            "ANALYZE outbox_messages",
        ):
            connection.execute(text(line))
    with Session(engine) as session:
        plan = explain(session, due_messages(20))
        assert plan.indexes == {"ix_outbox_messages_pending"}
    engine.dispose()


@pytest.mark.asyncio
async def test_active_history_is_refused_by_asyncio(async_session: AsyncSession) -> None:
    ticket = make_ticket(status=TicketStatus.OPEN)
    async_session.add(ticket)
    await async_session.flush()
    remembering = await async_session.get_one(RememberingTicket, ticket.id)
    async_session.expire(remembering)
    with pytest.raises(SQLAlchemyError, match="greenlet_spawn has not been called"):
        remembering.status = TicketStatus.OPEN


@pytest.mark.asyncio
async def test_an_expired_status_under_asyncio(async_session: AsyncSession) -> None:
    announce_statuses(async_session.sync_session)
    ticket = make_ticket(status=TicketStatus.OPEN)
    async_session.add(ticket)
    await async_session.flush()
    async_session.expire(ticket)
    ticket.status = TicketStatus.OPEN
    await async_session.flush()
    async_session.expire(ticket)
    ticket.status = TicketStatus.IN_PROGRESS
    await async_session.flush()
    assert [status for _, status in await async_session.run_sync(messages)] == [
        "open",
        "in_progress",
    ]


@pytest.mark.asyncio
async def test_relay_under_asyncio(async_session: AsyncSession) -> None:
    await async_session.run_sync(announce, "email", {"to": "ann"})
    await async_session.flush()
    receiver = Receiver()
    assert await async_relay(async_session, receiver) == 1
    assert await async_relay(async_session, receiver) == 0


# --- After the commit -----------------------------------------------------------------------------


@pytest.fixture
def factory(real_commits: str) -> Any:
    """Real commits, with hooks."""
    made = create_sync_engine(real_commits)
    sessions = sessionmaker(made)
    run_after_commits(sessions)
    yield sessions
    made.dispose()


def test_hooks_run_after_the_commit(factory: sessionmaker[Session]) -> None:
    told: list[int] = []
    with factory() as session:
        session.add(make_organization())

        def look() -> None:
            with factory() as other:
                told.append(other.scalar(select(func.count()).select_from(Organization)) or 0)

        after_commit(session, look)
        session.flush()
        assert told == []
        session.commit()
        assert told == [1], "another session sees the row: it is committed"
        session.add(make_organization())
        session.commit()
    assert told == [1], "a hook runs once"


def test_a_rollback_forgets_the_hooks(factory: sessionmaker[Session]) -> None:
    told: list[str] = []
    with factory() as session:
        session.execute(select(1))
        after_commit(session, lambda: told.append("lost"))
        session.rollback()
        session.execute(select(1))
        session.commit()
    with factory() as session:
        after_commit(session, lambda: told.append("closed without a commit"))
    with factory.begin() as session:
        after_commit(session, lambda: told.append("kept"))
    assert told == ["kept"]


def test_after_commit_fires_for_a_savepoint(factory: sessionmaker[Session]) -> None:
    """The trap that the hooks are made for."""
    fired: list[str] = []
    with factory() as session:
        event.listen(session, "after_commit", lambda _session: fired.append("commit"))
        with session.begin_nested():
            session.add(make_organization())
        assert fired == ["commit"], "a savepoint was released, nothing is committed"
        session.rollback()


def test_hooks_of_savepoints(factory: sessionmaker[Session]) -> None:
    told: list[str] = []
    with factory.begin() as session:
        after_commit(session, lambda: told.append("outer"))
        with session.begin_nested():
            after_commit(session, lambda: told.append("released"))
            with session.begin_nested():
                after_commit(session, lambda: told.append("released twice"))
        savepoint = session.begin_nested()
        after_commit(session, lambda: told.append("rolled back"))
        with session.begin_nested():
            after_commit(session, lambda: told.append("released into what is rolled back"))
        savepoint.rollback()
        assert told == []
    assert told == ["outer", "released", "released twice"]
    told.clear()
    with factory() as session:
        with session.begin_nested():
            after_commit(session, lambda: told.append("released, then lost"))
        session.rollback()
        session.execute(select(1))
        session.commit()
    assert told == []


def test_hooks_of_a_savepoint_within_the_one_rolled_back(factory: sessionmaker[Session]) -> None:
    """The inner one is closed, not rolled back: no rollback event tells of it."""
    told: list[str] = []
    with factory.begin() as session:
        outer = session.begin_nested()
        session.begin_nested()
        after_commit(session, lambda: told.append("lost"))
        outer.rollback()
    assert told == []


def test_hooks_of_a_session_that_was_closed(factory: sessionmaker[Session]) -> None:
    told: list[str] = []
    session = factory()
    after_commit(session, lambda: told.append("lost"))
    session.begin_nested()
    after_commit(session, lambda: told.append("lost with its savepoint"))
    session.close()
    session.add(make_organization())
    session.commit()
    session.close()
    assert told == []


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_hooks_of_a_savepoint_within_a_flush(factory: sessionmaker[Session], end: str) -> None:
    """A flush is a part of its own, which ends before what is around it."""
    told: list[str] = []

    def listener(session: Session, _context: object) -> None:
        with session.begin_nested():
            after_commit(session, lambda: told.append("kept"))

    with factory() as session:
        event.listen(session, "after_flush", listener)
        savepoint = session.begin_nested()
        session.add(make_organization())
        session.flush()
        getattr(savepoint, end)()
        assert told == []
        session.commit()
    assert told == (["kept"] if end == "commit" else [])


def test_a_hook_that_fails_does_not_look_like_a_failed_commit(
    factory: sessionmaker[Session], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def fail() -> None:
        raise ConnectionError("the cache is away")

    with factory.begin() as session:
        session.add(make_organization())
        after_commit(session, fail)
        after_commit(session, lambda: told.append("the next one"))
    assert told == ["the next one"]
    assert "a hook failed after the commit" in caplog.text
    assert "the cache is away" in caplog.text
    with factory() as session:
        assert session.scalar(select(func.count()).select_from(Organization)) == 1


def test_tables_of_other_registries_are_the_desk_s() -> None:
    """The classes above map the desk's own tables, and add none."""
    assert DeskBase.metadata.tables == {}
    assert CleanTicket.__table__ is Base.metadata.tables["tickets"]
