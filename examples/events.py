"""Events: clean values, defaults, and messages that leave when the commit has happened.

Problem: an event fires in the middle of a flush, or for a savepoint, or not at all, and the e-mail
is out before the transaction fails.  Pattern: an event does what is about its own row, and writes
what others must do into an outbox, in the same transaction; a relay sends it afterwards.  Not for
rules that every writer must keep: those are constraints and triggers.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Select, Update, event, func, insert, inspect, select
from sqlalchemy import update as sql_update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    InstrumentedAttribute,
    Mapper,
    Session,
    SessionTransaction,
    sessionmaker,
    validates,
)
from sqlalchemy.orm.attributes import set_committed_value

from .database import session_factory
from .models import Organization, OutboxMessage, Ticket, TicketStatus, User

log = logging.getLogger(__name__)
HOOKS = "after_commit_hooks"
MAX_ATTEMPTS = 8
ERROR_LENGTH = 500

Send = Callable[[int, str, dict[str, Any]], None]
"""Takes a message's id, topic and payload; raises what it likes where it could not send it."""


# --- Values ---------------------------------------------------------------------------------------


def clean_title(title: str) -> str:
    """*title* without stray blanks.  Raises ``ValueError`` where nothing, or too much, is left."""
    cleaned = " ".join(title.split())
    if not cleaned or len(cleaned) > 500:
        raise ValueError(f"received a title of {len(cleaned)} characters; expected 1 to 500")
    return cleaned


class CleanTitle:
    """To mix into a class with a title: the value is cleaned when it is set, ``__init__`` included.

    Bulk statements, Core and plain SQL set no attribute: the CHECK of the table is what holds.
    """

    @validates("title")
    def _clean_title(self, _name: str, value: str) -> str:
        return clean_title(value)


def on_set(attribute: InstrumentedAttribute[Any], clean: Callable[[Any], Any]) -> None:
    """The same for a class that is not yours: ``on_set(Ticket.title, clean_title)``."""

    def listener(_target: object, value: Any, _old: object, _initiator: object) -> Any:
        return clean(value)

    event.listen(attribute, "set", listener, retval=True)


def slug_of(name: str) -> str:
    """*name* as lower-case ASCII words joined by hyphens; "customer" where none is left."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "-".join(re.findall(r"[a-z0-9]+", ascii_name.lower())) or "customer"


def fill_slug(_mapper: Mapper[Any], _connection: Connection, organization: Organization) -> None:
    """A ``before_insert`` listener: a default out of another column of the same row.

    It may set plain columns of this object and nothing else: the flush has been planned.
    """
    if organization.slug is None:
        organization.slug = slug_of(organization.name)


# --- The outbox -----------------------------------------------------------------------------------


def announce(session: Session, topic: str, payload: dict[str, Any]) -> None:
    """Let a message leave if, and only if, the caller's transaction commits.

    *payload* is stored as JSON: ids and strings, not objects.
    """
    session.add(OutboxMessage(topic=topic, payload=payload))


def announce_statuses(target: sessionmaker[Session] | type[Session] | Session) -> None:
    """Let sessions of *target* leave a message for each change of a ticket's status."""
    event.listen(target, "before_flush", load_old_statuses)
    event.listen(target, "after_flush", announce_status_changes)


def load_old_statuses(session: Session, _context: object, _instances: object) -> None:
    """A ``before_flush`` listener: a status that was expired when it was set has no old value.

    ``active_history=True`` would load it at that moment: a statement for each ticket, in every
    session of the process, and under asyncio MissingGreenlet.
    """
    unknown: dict[int, Ticket] = {}
    for ticket in session.dirty:
        if isinstance(ticket, Ticket):
            state = inspect(ticket)
            history = state.attrs.status.history
            if state.identity and history.added and not history.deleted:
                unknown[state.identity[0]] = ticket
    if not unknown:
        return
    of_these = select(Ticket.id, Ticket.status).where(Ticket.id.in_(list(unknown)))
    rows = of_these.order_by(Ticket.id).with_for_update(key_share=True)
    for ticket_id, old in session.connection().execute(rows):
        ticket = unknown[ticket_id]
        new = ticket.status
        set_committed_value(ticket, "status", old)  # type: ignore[no-untyped-call,unused-ignore]
        ticket.status = new


def announce_status_changes(session: Session, _context: object) -> None:
    """An ``after_flush`` listener: a message for each ticket whose status changed.

    After the flush the ids are known and the history is still there; one executemany.  What
    ``update()`` changes in bulk is not seen.
    """
    messages = []
    for ticket in (*session.new, *session.dirty):
        if not isinstance(ticket, Ticket):
            continue
        history = inspect(ticket).attrs.status.history
        if history.added and history.added[0] != (history.deleted or [None])[0]:
            payload = {"ticket_id": ticket.id, "status": TicketStatus(ticket.status).value}
            messages.append({"topic": "ticket.status", "payload": payload})
    if messages:
        session.connection().execute(insert(OutboxMessage), messages)


def due_messages(limit: int) -> Select[OutboxMessage]:
    """What is to be sent, oldest first, locked; another relay's are passed over."""
    return (
        select(OutboxMessage)
        .where(
            OutboxMessage.processed_at.is_(None),
            OutboxMessage.available_at <= func.now(),
            OutboxMessage.attempts < MAX_ATTEMPTS,
        )
        .order_by(OutboxMessage.available_at, OutboxMessage.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def sent(message_ids: Sequence[int]) -> Update:
    """They have left."""
    return (
        sql_update(OutboxMessage)
        .where(OutboxMessage.id.in_(message_ids))
        .values(processed_at=func.clock_timestamp(), attempts=OutboxMessage.attempts + 1)
    )


def failed(message_id: int, attempts: int, reason: str) -> Update:
    """Try it again later: after 2, 4, 8 … seconds; after ``MAX_ATTEMPTS`` it waits for a person."""
    return (
        sql_update(OutboxMessage)
        .where(OutboxMessage.id == message_id)
        .values(
            attempts=attempts + 1,
            last_error=reason[:ERROR_LENGTH].replace("\0", "?"),
            available_at=func.clock_timestamp() + timedelta(seconds=2 ** (attempts + 1)),
        )
    )


def relay(session: Session, send: Send, *, limit: int = 100) -> int:
    """Send what is due: how many left.  The caller commits, and calls again.

    **At least once**: who dies between sending and the commit sends again, with the same id; the
    receiver remembers ids.  The messages stay locked while they are sent: keep *limit* small.
    """
    done = []
    for message in session.scalars(due_messages(limit)).all():
        try:
            send(message.id, message.topic, message.payload)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            session.execute(failed(message.id, message.attempts, reason))
        else:
            done.append(message.id)
    if done:
        session.execute(sent(done))
    return len(done)


async def async_relay(session: AsyncSession, send: Send, *, limit: int = 100) -> int:
    """The same for asyncio; *send* must not block: hand it a queue."""
    return await session.run_sync(lambda sync: relay(sync, send, limit=limit))


# --- After the commit, within this process --------------------------------------------------------


def run_after_commits(target: sessionmaker[Session] | type[Session] | Session) -> None:
    """Make ``after_commit()`` work for sessions of *target*."""
    event.listen(target, "after_commit", hooks_on_commit)
    event.listen(target, "after_transaction_end", hooks_on_end)


def after_commit(session: Session, hook: Callable[[], None]) -> None:
    """Call *hook* when the outermost transaction has committed; never if this part is rolled back.

    For what may be lost, like a cache entry to forget: who dies after the commit calls no hook.
    What must happen goes through ``announce()``.  *hook* must not use the session.
    """
    if not session.in_transaction():
        session.begin()
    session.info.setdefault(HOOKS, []).append((innermost(session), hook))


def innermost(session: Session) -> SessionTransaction | None:
    """The savepoint that is open, else the transaction."""
    return session.get_nested_transaction() or session.get_transaction()


def hooks_on_commit(session: Session) -> None:
    """``after_commit`` fires for every savepoint as well: its hooks lose their owner, no more."""
    hooks = session.info.pop(HOOKS, [])
    nested = session.get_nested_transaction()
    if nested is not None:
        session.info[HOOKS] = [(None if owner is nested else owner, hook) for owner, hook in hooks]
        return
    for _, hook in hooks:
        try:
            hook()
        except Exception:
            # It is committed: an error here would tell the caller that it was not.
            log.exception("a hook failed after the commit")


def hooks_on_end(session: Session, ended: SessionTransaction) -> None:
    """Forget what was not committed; what a savepoint released passes to what is around it.

    ``after_soft_rollback`` would miss ``close()``, and a savepoint within the one rolled back.
    """
    hooks, around = session.info.pop(HOOKS, []), innermost(session)
    if around is not None:
        session.info[HOOKS] = [
            (owner or around, hook) for owner, hook in hooks if owner is not ended
        ]


def demo(engine: Engine) -> None:
    """Change tickets, fail, succeed, and see what leaves."""
    factory = session_factory(engine)
    announce_statuses(factory)
    run_after_commits(factory)
    outside: list[str] = []
    with factory.begin() as session:
        acme = Organization(name="Ümlaut & Sons", slug=slug_of("Ümlaut & Sons"))
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="!")
        title = clean_title("  Printer \n burns ")
        ticket = Ticket(title=title, description="…", organization=acme, creator=ann)
        session.add(ticket)
        session.flush()
        print(f"{ticket.title!r} for {acme.slug!r}")
        ticket_id = ticket.id
    try:
        with factory.begin() as session:
            ticket = session.get_one(Ticket, ticket_id)
            ticket.status = TicketStatus.IN_PROGRESS
            after_commit(session, lambda: outside.append("hook of the one that fails"))
            session.flush()
            raise RuntimeError("something fails")
    except RuntimeError:
        print("Rolled back; hooks that ran:", outside)
    with factory.begin() as session:
        session.get_one(Ticket, ticket_id).status = TicketStatus.IN_PROGRESS
        announce(session, "email", {"to": "ann@acme.example", "ticket_id": ticket_id})
        after_commit(session, lambda: outside.append("hook"))
    print("Committed; hooks that ran:", outside)

    def send(message_id: int, topic: str, payload: dict[str, Any]) -> None:
        if topic == "email":
            raise ConnectionError("the mail server is away")
        print(f"Sent {message_id}: {topic} {payload}")

    with factory.begin() as session:
        print("Left:", relay(session, send))
    with factory.begin() as session:
        waiting = session.scalars(select(OutboxMessage).filter_by(processed_at=None)).one()
        print(f"Waiting: {waiting.topic}, attempts {waiting.attempts}, {waiting.last_error}")
