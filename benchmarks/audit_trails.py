"""What an audit trail adds to the write: the trigger, session events, and two libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from postgresql_audit import (  # type: ignore[import-untyped]
    VersioningManager as PostgresqlAudit,
)
from sqlalchemy import Engine, MetaData, select, update
from sqlalchemy.orm import DeclarativeBase, Mapper, Session, configure_mappers
from sqlalchemy_continuum import (  # type: ignore[import-untyped]
    VersioningManager as Continuum,
)

from examples.audit_trails.session_events import SessionAudit
from examples.audit_trails.tables import audited
from examples.audit_trails.triggers import install_ddl
from examples.models import Base, TicketPriority

from .databases import desk
from .harness import Case

TITLE = "Rows changed in one commit, with and without a trail"
BASELINE = "ORM flush: no trail"
QUICK, FULL = 1_000, 20_000
PEERS = ("SQLAlchemy-Continuum", "PostgreSQL-Audit")
FLUSHED = 4  # the ORM changes a quarter of the rows


@contextmanager
def cases(server_url: str, size: int) -> Iterator[list[Case]]:
    """Each way has a database of its own, so that all bloat alike."""
    with ExitStack() as stack:
        found = []
        for name, install in WAYS.items():
            engine = stack.enter_context(desk(server_url, size, threads=False))
            ticket, session = install(engine)
            stack.enter_context(session)
            flushed = size // FLUSHED
            at_once = f"ORM flush: {name}"
            found.append(
                Case(at_once, flush(session, ticket, flushed), flushed, "", "ORM flush: no trail")
            )
            in_bulk = Case(
                f"one UPDATE: {name}", one_update(session, ticket), size, "", "one UPDATE: no trail"
            )
            found.append(in_bulk)
        yield sorted(found, key=lambda case: case.rows)


def flush(session: Session, ticket: Any, rows: int) -> Callable[[], object]:
    """Change loaded objects and commit; loading them is not measured."""
    loaded = session.scalars(select(ticket).where(ticket.id <= rows).order_by(ticket.id)).all()
    turn = alternating()

    def run() -> object:
        value = next(turn)
        for each in loaded:
            each.priority = value
        session.commit()
        return len(loaded)

    return run


def one_update(session: Session, ticket: Any) -> Callable[[], object]:
    """One statement over all rows, and a commit."""
    turn = alternating()

    def run() -> object:
        options = {"synchronize_session": False}
        session.execute(update(ticket).values(priority=next(turn)), execution_options=options)
        session.commit()
        return None

    return run


def alternating() -> Iterator[TicketPriority]:
    """A value that is never the one before: an UPDATE without effect would be no change."""
    while True:
        yield TicketPriority.URGENT
        yield TicketPriority.LOW


# --- The ways -------------------------------------------------------------------------------------

Way = tuple[Any, Session]


def own_ticket(base: type[DeclarativeBase], **attributes: Any) -> Any:
    """A class of *base* on a copy of the desk's table: the same columns for every way."""
    for table in Base.metadata.sorted_tables:
        table.to_metadata(base.metadata)
    table = base.metadata.tables["tickets"]
    options = {"__mapper_args__": {"eager_defaults": True, "exclude_properties": ["search_vector"]}}
    return type("Ticket", (base,), {"__table__": table} | options | attributes)


def fresh_base() -> type[DeclarativeBase]:
    """A registry of its own."""
    return type("PeerBase", (DeclarativeBase,), {"metadata": MetaData()})


def kept(engine: Engine, cls: type[Session] = Session) -> Session:
    """A session that keeps its objects over commits."""
    return cls(engine, expire_on_commit=False)


def no_trail(engine: Engine) -> Way:
    """The bare write."""
    return own_ticket(fresh_base()), kept(engine)


def trigger(engine: Engine) -> Way:
    """The kit's way."""
    with engine.begin() as connection:
        for statement in install_ddl(audited(Base.metadata.tables["tickets"])):
            connection.exec_driver_sql(statement)
    return own_ticket(fresh_base()), kept(engine)


def session_events(engine: Engine) -> Way:
    """The kit's other way, where no trigger may be."""
    ticket, session = own_ticket(fresh_base()), kept(engine)
    SessionAudit(ticket).listen(session)
    return ticket, session


def continuum(engine: Engine) -> Way:
    """SQLAlchemy-Continuum: a version table, written by the session.

    What its ``make_versioned()`` does, but for what is of association tables; and it listens to
    this mapper and these sessions alone, not to every one of the process.
    """

    class VersionedSession(Session):
        """So that no other session is listened to."""

    manager, base = Continuum(), fresh_base()
    manager.user_cls = None
    manager.apply_class_configuration_listeners(Mapper)
    try:
        ticket = own_ticket(base, __versioned__={"exclude": ["search_vector"]})
        configure_mappers()
    finally:
        manager.remove_class_configuration_listeners(Mapper)
    manager.track_operations(ticket)
    manager.track_session(VersionedSession)
    base.metadata.create_all(engine)
    return ticket, kept(engine, VersionedSession)


def postgresql_audit(engine: Engine) -> Way:
    """PostgreSQL-Audit: triggers that write an activity table, for each row.

    Its statement triggers, which are its default, keep the plan of their first statement: after
    single rows, one UPDATE of 1,000 was seen to take 256 times the bare one.  Without its session
    listener, which tells who acts: here nobody is told of.
    """
    manager, base = PostgresqlAudit(use_statement_level_triggers=False), fresh_base()
    manager.base = base
    manager.transaction_cls = manager.transaction_model_factory(base)
    manager.activity_cls = manager.activity_model_factory(base, manager.transaction_cls)
    manager.attach_table_listeners()
    ticket = own_ticket(base)
    with engine.begin() as connection:
        manager.transaction_cls.__table__.create(connection)
        manager.activity_cls.__table__.create(connection)
        connection.execute(manager.build_audit_table_query(ticket.__table__, ["search_vector"]))
    return ticket, kept(engine)


WAYS: dict[str, Callable[[Engine], Way]] = {
    "no trail": no_trail,
    "trigger": trigger,
    "session events": session_events,
    "SQLAlchemy-Continuum": continuum,
    "PostgreSQL-Audit, row triggers": postgresql_audit,
}
