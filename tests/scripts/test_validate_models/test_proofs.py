"""What a rule predicts happens on PostgreSQL with its bad sample, and not with its good one."""

# ruff: noqa: SIM117 - what must raise stands apart from what prepares it
from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine, delete, event, func, insert, select, text
from sqlalchemy.exc import (
    CompileError,
    DataError,
    DBAPIError,
    IdentifierError,
    IntegrityError,
    InvalidRequestError,
    MissingGreenlet,
    ProgrammingError,
    SAWarning,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, selectinload
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.schema import DropConstraint

from examples.testing_patterns.isolation import isolated_async_session, isolated_session
from tests.scripts.test_validate_models.samples import loaded

# isort: split
from validate_models.core import all_rules
from validate_models.rules.reserved_word import RESERVED

# The driver decides whether it comes wrapped.
NO_GREENLET = (MissingGreenlet, StatementError)
SA_21 = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2]) >= (2, 1)
FRESH = ("CREATE SCHEMA proof", "SET LOCAL search_path TO proof")


def bad(name: str, *kept: str) -> str:
    """The bad sample of a rule; with *kept*, of its marked lines only those that hold one."""
    lines = all_rules()[name].bad.splitlines()
    return "\n".join(
        line
        for line in lines
        if not kept or not line.endswith("# found") or any(word in line for word in kept)
    )


def good(name: str) -> str:
    """The good sample of a rule."""
    return all_rules()[name].good


def near_miss(name: str) -> str:
    """The near miss of a rule."""
    return all_rules()[name].near_miss


@contextmanager
def desk(engine: Engine, folder: Path, sample: str) -> Iterator[tuple[Any, Session]]:
    """The module of *sample*, and a session on its tables in a schema of their own."""
    with (
        warnings.catch_warnings(),
        loaded(folder, sample) as module,
        isolated_session(engine) as session,
    ):
        warnings.simplefilter("ignore")
        for statement in FRESH:
            session.execute(text(statement))
        getattr(module, "Plain", module.Base).metadata.create_all(
            session.connection(), checkfirst=False
        )
        yield module, session


@pytest.fixture
def psycopg(engines: dict[str, Engine]) -> Engine:
    """One driver is enough: it is the database that answers."""
    return engines["psycopg"]


def stored(session: Session, *rows: Any) -> Any:
    """Flush *rows*, forget them, give back the first one's key."""
    session.add_all(rows)
    session.flush()
    key = rows[0].id
    session.expunge_all()
    return key


# --- Defaults -------------------------------------------------------------------------------------


def default_of(session: Session, column: str) -> str:
    """The default as PostgreSQL has it."""
    query = text(
        "SELECT column_default FROM information_schema.columns "
        "WHERE table_schema = 'proof' AND column_name = :column"
    )
    return str(session.scalar(query, {"column": column}))


@pytest.mark.parametrize("column", ["created_at", "seen_at"])
def test_a_quoted_timestamp_default_is_frozen(psycopg: Engine, tmp_path: Path, column: str) -> None:
    with desk(psycopg, tmp_path, bad("quoted-sql-default", column)) as (_, session):
        assert default_of(session, column).startswith("'20")
    with desk(psycopg, tmp_path, good("quoted-sql-default")) as (_, session):
        assert default_of(session, "created_at") == "now()"


@pytest.mark.parametrize("column", ["token", "labels", "extra"])
def test_other_quoted_defaults_are_refused(psycopg: Engine, tmp_path: Path, column: str) -> None:
    sample = bad("quoted-sql-default", column)
    with pytest.raises(DBAPIError), desk(psycopg, tmp_path, sample):
        pass


def test_a_quoted_default_of_a_text_is_stored(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("quoted-sql-default", "number")) as (module, session):
        stored(session, module.Ticket())
        assert session.scalar(select(module.Ticket.number)) == "gen_random_uuid()"


def test_an_import_time_default_is_one_value(psycopg: Engine, tmp_path: Path) -> None:
    for sample, values in ((bad("import-time-default"), 1), (good("import-time-default"), 2)):
        with desk(psycopg, tmp_path, sample) as (module, session):
            stored(session, module.Ticket())
            stored(session, module.Ticket())
            for column in (module.Ticket.created_at, module.Ticket.token):
                assert session.scalar(select(func.count(column.distinct()))) == values


def test_a_mutable_default_is_shared(psycopg: Engine, tmp_path: Path) -> None:
    for sample, leaked in ((bad("mutable-default"), True), (good("mutable-default"), False)):
        with desk(psycopg, tmp_path, sample) as (module, session):
            first = module.Ticket()
            session.add(first)
            session.flush()
            first.extra["seen"] = True
            second = module.Ticket()
            session.add(second)
            session.flush()
            session.expire_all()
            assert ("seen" in second.extra) is leaked


def test_a_naive_default_is_hours_off(psycopg: Engine, tmp_path: Path) -> None:
    for sample, off in (
        (bad("default-time-zone", "utcnow"), True),
        (good("default-time-zone"), False),
    ):
        with desk(psycopg, tmp_path, sample) as (module, session):
            session.execute(text("SET LOCAL timezone TO 'America/New_York'"))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                stored(session, module.Ticket())
            found = session.scalars(select(module.Ticket.created_at)).one()
            assert (abs(found - datetime.now(UTC)) > timedelta(hours=1)) is off


# --- Types ----------------------------------------------------------------------------------------


def test_a_naive_timestamp_loses_the_zone(psycopg: Engine, tmp_path: Path) -> None:
    for sample, zone in ((bad("naive-timestamp"), False), (good("naive-timestamp"), True)):
        with desk(psycopg, tmp_path, sample) as (module, session):
            stored(session, module.Ticket(created_at=datetime.now(UTC)))
            found = session.scalars(select(module.Ticket.created_at)).one()
            assert (found.tzinfo is not None) is zone


def test_floats_do_not_add_up(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("float-money")) as (module, session):
        stored(session, *(module.Invoice(unit_price=0.1, amount=1) for _ in range(10)))
        assert session.scalar(select(func.sum(module.Invoice.unit_price))) != 1
    with desk(psycopg, tmp_path, good("float-money")) as (module, session):
        rows = (module.Invoice(unit_price=Decimal("0.1"), amount_cents=1) for _ in range(10))
        stored(session, *rows)
        assert session.scalar(select(func.sum(module.Invoice.unit_price))) == 1


def test_json_has_no_equality(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("json-not-jsonb")) as (module, session):
        with pytest.raises(ProgrammingError, match="could not identify an equality operator"):
            session.scalars(select(module.Ticket.extra).distinct()).all()
    with desk(psycopg, tmp_path, good("json-not-jsonb")) as (module, session):
        assert session.scalars(select(module.Ticket.extra).distinct()).all() == []


def test_a_four_byte_key_ends(psycopg: Engine, tmp_path: Path) -> None:
    large = {"id": 2_147_483_648}
    with desk(psycopg, tmp_path, bad("int4-key")) as (module, session):
        with pytest.raises(DataError, match="integer out of range"):
            session.execute(insert(module.Ticket), large)
    with desk(psycopg, tmp_path, good("int4-key")) as (module, session):
        session.execute(insert(module.Ticket), large)


def test_an_enum_by_name_has_no_such_value(psycopg: Engine, tmp_path: Path) -> None:
    query = text("SELECT count(*) FROM tickets WHERE status = 'open'")
    with desk(psycopg, tmp_path, bad("enum-by-name")) as (_, session):
        with pytest.raises(DataError, match="invalid input value for enum"):
            session.scalar(query)
    with desk(psycopg, tmp_path, good("enum-by-name")) as (_, session):
        assert session.scalar(query) == 0


def test_a_nameless_enum_is_refused(psycopg: Engine, tmp_path: Path) -> None:
    with (
        pytest.raises(CompileError, match="requires a name"),
        desk(psycopg, tmp_path, bad("nameless-enum")),
    ):
        pass
    with desk(psycopg, tmp_path, good("nameless-enum")):
        pass


def test_a_boolean_of_three_states_is_found_by_neither(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("three-state-boolean")) as (module, session):
        session.execute(text("INSERT INTO tickets DEFAULT VALUES"))
        flag = module.Ticket.is_public
        assert session.scalar(select(func.count()).where(flag)) == 0
        assert session.scalar(select(func.count()).where(~flag)) == 0
    with desk(psycopg, tmp_path, good("three-state-boolean")) as (module, session):
        with pytest.raises(IntegrityError, match="null value"):
            session.execute(text("INSERT INTO tickets DEFAULT VALUES"))


# --- Cascades -------------------------------------------------------------------------------------


def delete_parent(module: Any, session: Session, child: Any) -> int:
    """Delete the ticket of *child* through the ORM: how many children are left."""
    key = child.ticket_id
    stored(session, child)
    session.delete(session.get_one(module.Ticket, key))
    session.flush()
    return session.scalar(select(func.count()).select_from(type(child))) or 0


def test_deleting_a_parent_nulls_the_key(psycopg: Engine, tmp_path: Path) -> None:
    for sample, fails in (
        (bad("parent-delete-nulls-key"), True),
        (good("parent-delete-nulls-key"), False),
    ):
        with desk(psycopg, tmp_path, sample) as (module, session):
            child = module.Comment(ticket_id=stored(session, module.Ticket()))
            if fails:
                with pytest.raises(IntegrityError, match="null value in column"):
                    delete_parent(module, session, child)
            else:
                assert delete_parent(module, session, child) == 0


def test_set_null_on_not_null_refuses_the_delete(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("set-null-on-not-null")) as (module, session):
        stored(session, module.Ticket(assignee_id=stored(session, module.User())))
        with pytest.raises(IntegrityError, match="null value in column"):
            session.execute(delete(module.User))
    with desk(psycopg, tmp_path, good("set-null-on-not-null")) as (module, session):
        stored(session, module.Ticket(assignee_id=stored(session, module.User())))
        session.execute(delete(module.User))
        assert session.scalars(select(module.Ticket.assignee_id)).one() is None


@pytest.mark.parametrize(("child", "by_orm", "by_sql"), [("Comment", 0, 1), ("File", 1, 0)])
def test_the_orm_and_the_database_disagree(
    psycopg: Engine, tmp_path: Path, child: str, by_orm: int, by_sql: int
) -> None:
    with desk(psycopg, tmp_path, bad("cascade-disagrees")) as (module, session):
        cls = getattr(module, child)
        row = cls(ticket_id=stored(session, module.Ticket()))
        assert delete_parent(module, session, row) == by_orm
        session.execute(delete(cls))
        stored(session, cls(ticket_id=stored(session, module.Ticket())))
        session.execute(delete(module.Ticket))
        assert session.scalar(select(func.count()).select_from(cls)) == by_sql


def test_both_agree_on_what_is_left(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, good("cascade-disagrees")) as (module, session):
        row = module.Comment(ticket_id=stored(session, module.Ticket()))
        assert delete_parent(module, session, row) == 1
        session.execute(delete(module.Comment))
        stored(session, module.Comment(ticket_id=stored(session, module.Ticket())))
        session.execute(delete(module.Ticket))
        assert session.scalar(select(func.count()).select_from(module.Comment)) == 1


@pytest.mark.parametrize("known", [True, False], ids=["loaded", "not-loaded"])
def test_what_is_loaded_decides_on_what_is_left(
    psycopg: Engine, tmp_path: Path, known: bool
) -> None:
    name = "cascade-disagrees"
    for sample, child, attribute, left in (
        (bad(name), "Link", "links", 1 if known else 0),
        (bad(name), "Note", "notes", 0 if known else 1),
        (near_miss(name), "File", "files", 0),
    ):
        with desk(psycopg, tmp_path, sample) as (module, session):
            cls, collection = getattr(module, child), getattr(module.Ticket, attribute)
            key = stored(session, module.Ticket())
            stored(session, cls(ticket_id=key))
            ticket = session.get_one(
                module.Ticket, key, options=[selectinload(collection)] if known else []
            )
            session.delete(ticket)
            session.flush()
            assert session.scalar(select(func.count()).select_from(cls)) == left


def test_what_is_loaded_and_not_null_holds_its_parent(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("cascade-disagrees")) as (module, session):
        key = stored(session, module.Ticket())
        stored(session, module.Part(ticket_id=key))
        ticket = session.get_one(module.Ticket, key)
        assert len(ticket.parts) == 1
        session.delete(ticket)
        with pytest.raises(IntegrityError, match="null value in column"):
            session.flush()


def test_what_is_never_loaded_goes_with_its_parent(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, near_miss("cascade-disagrees")) as (module, session):
        ticket = module.Ticket()
        session.add(ticket)
        session.flush()
        ticket.links.add(module.Link())
        session.flush()
        session.delete(ticket)
        session.flush()
        assert session.scalar(select(func.count()).select_from(module.Link)) == 0


def test_a_join_by_more_than_the_key_writes_the_key_alone(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, near_miss("parent-delete-nulls-key")) as (module, session):
        user = stored(session, module.User())
        ticket = module.Ticket(creator_id=user, tenant="north")
        ticket.comments = [module.Comment(tenant="north")]
        session.add(ticket)
        session.flush()
        session.delete(ticket)
        session.flush()
        found = session.execute(select(module.Comment.ticket_id, module.Comment.tenant))
        assert [tuple(row) for row in found] == [(None, "north")]


def test_without_passive_deletes_the_children_are_loaded(psycopg: Engine, tmp_path: Path) -> None:
    for sample, loads in (
        (bad("missing-passive-deletes"), True),
        (good("missing-passive-deletes"), False),
    ):
        seen: list[str] = []

        def note(*arguments: Any, seen: list[str] = seen) -> None:
            seen.append(arguments[2])

        with desk(psycopg, tmp_path, sample) as (module, session):
            child = module.Comment(ticket_id=stored(session, module.Ticket()))
            event.listen(psycopg, "before_cursor_execute", note)
            try:
                assert delete_parent(module, session, child) == 0
            finally:
                event.remove(psycopg, "before_cursor_execute", note)
            assert any(sql.startswith("DELETE FROM comments") for sql in seen) is loads


def test_passive_deletes_need_the_database(psycopg: Engine, tmp_path: Path) -> None:
    name = "passive-deletes-without-ondelete"
    with desk(psycopg, tmp_path, bad(name)) as (module, session):
        child = module.Comment(ticket_id=stored(session, module.Ticket()))
        with pytest.raises(IntegrityError, match="violates foreign key constraint"):
            delete_parent(module, session, child)
    with desk(psycopg, tmp_path, good(name)) as (module, session):
        child = module.Comment(ticket_id=stored(session, module.Ticket()))
        assert delete_parent(module, session, child) == 0


def test_a_cascade_over_many_to_many_takes_what_others_have(
    psycopg: Engine, tmp_path: Path
) -> None:
    for sample, tags in (
        (bad("many-to-many-delete-cascade"), 0),
        (good("many-to-many-delete-cascade"), 1),
    ):
        with desk(psycopg, tmp_path, sample) as (module, session):
            tag = module.Tag()
            first, second = module.Ticket(tags=[tag]), module.Ticket(tags=[tag])
            session.add_all([first, second])
            session.flush()
            session.delete(first)
            session.flush()
            assert session.scalar(select(func.count()).select_from(module.Tag)) == tags


def test_a_cascade_from_the_child_takes_the_parent(psycopg: Engine, tmp_path: Path) -> None:
    for sample, left in (
        (bad("many-to-one-delete-cascade"), 0),
        (good("many-to-one-delete-cascade"), 1),
    ):
        with desk(psycopg, tmp_path, sample) as (module, session):
            ticket = stored(session, module.Ticket())
            key = stored(
                session, module.Comment(ticket_id=ticket), module.Comment(ticket_id=ticket)
            )
            session.delete(session.get_one(module.Comment, key))
            session.flush()
            for cls in (module.Ticket, module.Comment):
                assert session.scalar(select(func.count()).select_from(cls)) == left


# --- Relationships --------------------------------------------------------------------------------


def test_without_remote_side_the_other_row_is_written(psycopg: Engine, tmp_path: Path) -> None:
    name = "self-reference-without-remote-side"
    for sample, expected in ((bad(name), [(1, 2), (2, None)]), (good(name), [(1, None), (2, 1)])):
        with desk(psycopg, tmp_path, sample) as (module, session):
            parent = module.Node(id=1)
            stored(session, parent, module.Node(id=2, parent=parent))
            query = select(module.Node.id, module.Node.parent_id).order_by(module.Node.id)
            assert [tuple(row) for row in session.execute(query)] == expected


def test_a_one_to_one_that_is_none(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("one-to-one-without-unique")) as (module, session):
        user = stored(session, module.User())
        stored(session, module.Profile(user_id=user), module.Profile(user_id=user))
        with pytest.warns(SAWarning, match="Multiple rows returned with uselist=False"):
            assert session.get_one(module.User, user).profile
    with desk(psycopg, tmp_path, good("one-to-one-without-unique")) as (module, session):
        user = stored(session, module.User())
        with pytest.raises(IntegrityError, match="duplicate key"):
            stored(session, module.Profile(user_id=user), module.Profile(user_id=user))


def test_null_comes_through_the_annotation(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("nullability-disagrees")) as (module, session):
        session.execute(text("INSERT INTO tickets DEFAULT VALUES"))
        assert session.scalars(select(module.Ticket)).one().title is None
    with desk(psycopg, tmp_path, bad("optional-relationship-disagrees")) as (module, session):
        session.execute(text("INSERT INTO tickets DEFAULT VALUES"))
        assert session.scalars(select(module.Ticket)).one().assignee is None
    with desk(psycopg, tmp_path, good("nullability-disagrees")) as (module, session):
        with pytest.raises(IntegrityError, match='null value in column "body"'):
            session.execute(text("INSERT INTO tickets DEFAULT VALUES"))


def test_overlapping_sides_do_not_know_each_other(psycopg: Engine, tmp_path: Path) -> None:
    for sample, seen in (
        (bad("overlapping-relationships"), 0),
        (good("overlapping-relationships"), 1),
    ):
        with desk(psycopg, tmp_path, sample) as (module, _):
            ticket = module.Ticket()
            module.Comment(ticket=ticket)
            assert len(ticket.comments) == seen


def test_a_broken_mapper_breaks_every_query(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("broken-mapper")) as (module, session):
        with pytest.raises(InvalidRequestError, match="'Attachment' failed to locate a name"):
            session.scalars(select(module.Tag)).all()
    with desk(psycopg, tmp_path, good("broken-mapper")) as (module, session):
        assert session.scalars(select(module.Tag)).all() == []


def test_without_the_way_back_a_loaded_collection_misses_what_is_added(
    psycopg: Engine, tmp_path: Path
) -> None:
    for sample, seen in ((bad("no-reverse"), 0), (good("overlapping-relationships"), 1)):
        with desk(psycopg, tmp_path, sample) as (module, session):
            ticket = module.Ticket(comments=[])
            session.add(ticket)
            session.flush()
            way_back = hasattr(module.Comment, "ticket")
            assert way_back is bool(seen)
            session.add(
                module.Comment(**({"ticket": ticket} if way_back else {"ticket_id": ticket.id}))
            )
            session.flush()
            assert session.scalar(select(func.count()).select_from(module.Comment)) == 1
            assert len(ticket.comments) == seen


def test_a_backref_appears_late(tmp_path: Path) -> None:
    for sample, seen in ((bad("legacy-backref"), False), (good("legacy-backref"), True)):
        with loaded(tmp_path, sample) as module:
            assert ("tickets" in vars(module.User)) is seen
            assert ("tickets" in module.User.__annotations__) is seen
            module.Base.registry.configure()
            assert "tickets" in vars(module.User)


def test_a_python_only_hybrid_breaks_bulk_inserts(psycopg: Engine, tmp_path: Path) -> None:
    for sample, fails in (
        (bad("python-only-hybrid"), SA_21),
        (good("python-only-hybrid"), False),
        (near_miss("python-only-hybrid"), False),
    ):
        with desk(psycopg, tmp_path, sample) as (module, session):
            statement = insert(module.Ticket)
            if fails:
                with pytest.raises(TypeError, match="has no len"):
                    session.execute(statement, [{"title": "a"}])
            else:
                session.execute(statement, [{"title": "a"}])


# --- asyncio --------------------------------------------------------------------------------------


@contextmanager
def asyncio_sample(folder: Path, sample: str) -> Iterator[Any]:
    """The module of *sample*, for an async session."""
    with warnings.catch_warnings(), loaded(folder, sample) as module:
        warnings.simplefilter("ignore")
        yield module


async def furnish(module: Any, session: AsyncSession) -> None:
    """Make the tables."""
    for statement in FRESH:
        await session.execute(text(statement))
    connection = await session.connection()
    await connection.run_sync(module.Base.metadata.create_all)


@pytest.mark.asyncio
async def test_onupdate_without_eager_defaults(async_engine: AsyncEngine, tmp_path: Path) -> None:
    name = "onupdate-without-eager-defaults"
    for sample, fails in ((bad(name), True), (good(name), False), (near_miss(name), False)):
        with asyncio_sample(tmp_path, sample) as module:
            async with isolated_async_session(async_engine) as session:
                await furnish(module, session)
                note = module.Note(body="a")
                session.add(note)
                await session.flush()
                note.body = "b"
                await session.flush()
                for attribute in {"updated_at", "length"} & set(module.Note.__table__.c.keys()):
                    if fails:
                        with pytest.raises(NO_GREENLET, match="greenlet_spawn has not been called"):
                            getattr(note, attribute)
                    else:
                        assert getattr(note, attribute)


@pytest.mark.asyncio
async def test_dynamic_under_asyncio(async_engine: AsyncEngine, tmp_path: Path) -> None:
    with asyncio_sample(tmp_path, bad("dynamic-under-asyncio")) as module:
        async with isolated_async_session(async_engine) as session:
            await furnish(module, session)
            ticket = module.Ticket()
            session.add(ticket)
            await session.flush()
            with pytest.raises(NO_GREENLET, match="greenlet_spawn has not been called"):
                list(ticket.comments)
    with asyncio_sample(tmp_path, good("dynamic-under-asyncio")) as module:
        async with isolated_async_session(async_engine) as session:
            await furnish(module, session)
            ticket = module.Ticket()
            session.add(ticket)
            await session.flush()
            assert (await session.scalars(ticket.comments.select())).all() == []


@pytest.mark.asyncio
async def test_an_implicit_lazy_load(async_engine: AsyncEngine, tmp_path: Path) -> None:
    with asyncio_sample(tmp_path, bad("implicit-lazy-load")) as module:
        async with isolated_async_session(async_engine) as session:
            await furnish(module, session)
            user = module.User()
            session.add(user)
            await session.flush()
            session.add(module.Ticket(creator_id=user.id))
            await session.flush()
            session.expunge_all()
            ticket = (await session.scalars(select(module.Ticket))).one()
            with pytest.raises(NO_GREENLET, match="greenlet_spawn has not been called"):
                _ = ticket.creator
    with asyncio_sample(tmp_path, near_miss("implicit-lazy-load")) as module:
        async with isolated_async_session(async_engine) as session:
            await furnish(module, session)
            user = module.User()
            session.add(user)
            await session.flush()
            session.add(module.Ticket(creator_id=user.id, updated_by_id=user.id))
            await session.flush()
            session.expunge_all()
            ticket = (await session.scalars(select(module.Ticket))).one()
            assert (await ticket.awaitable_attrs.creator).id == ticket.updated_by.id


# --- Keys, indexes, names -------------------------------------------------------------------------


def plan(session: Session, query: str) -> str:
    """The plan of *query*."""
    return "\n".join(session.scalars(text(f"EXPLAIN {query}")))


def test_an_unindexed_foreign_key_reads_the_table(psycopg: Engine, tmp_path: Path) -> None:
    fill = (
        "INSERT INTO users (id) SELECT g FROM generate_series(1, 2000) g",
        "INSERT INTO tickets (owner_id{0}) SELECT 1 + g % 2000{1} FROM generate_series(1, 20000) g",
        "ANALYZE",
    )
    for sample, more, node in (
        (bad("unindexed-foreign-key"), (", creator_id", ", 1"), "Seq Scan"),
        (good("unindexed-foreign-key"), ("", ""), "Index"),
    ):
        with desk(psycopg, tmp_path, sample) as (_, session):
            for statement in fill:
                session.execute(text(statement.format(*more)))
            assert node in plan(session, "SELECT * FROM tickets WHERE owner_id = 7")


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("duplicate-index", "(title)"),
        ("key-redundant-index", "(number)"),
        ("redundant-unique", "(number)"),
    ],
)
def test_an_index_is_made_twice(psycopg: Engine, tmp_path: Path, name: str, columns: str) -> None:
    query = text("SELECT indexdef FROM pg_indexes WHERE schemaname = 'proof'")
    for sample, number in ((bad(name), 2), (good(name), 1)):
        with desk(psycopg, tmp_path, sample) as (_, session):
            found = [item for item in session.scalars(query) if item.endswith(columns)]
            assert len(found) == number


def test_the_longer_index_serves_what_the_shorter_does(psycopg: Engine, tmp_path: Path) -> None:
    indexes = text("SELECT indexname FROM pg_indexes WHERE schemaname = 'proof'")
    name = "prefix-redundant-index"
    for sample, number in ((bad(name), 3), (good(name), 2)):
        with desk(psycopg, tmp_path, sample) as (_, session):
            assert len(session.scalars(indexes).all()) == number
    with desk(psycopg, tmp_path, good(name)) as (_, session):
        for statement in (
            "INSERT INTO tickets (status, created_at) "
            "SELECT 's' || g, now() FROM generate_series(1, 5000) g",
            "ANALYZE",
        ):
            session.execute(text(statement))
        query = "SELECT * FROM tickets WHERE status = 's7'"
        assert "ix_status_created" in plan(session, query)


def test_a_btree_serves_no_containment(psycopg: Engine, tmp_path: Path) -> None:
    fill = (
        "INSERT INTO tickets (labels{0}) SELECT array['l' || g]{1} "
        "FROM generate_series(1, 20000) g",
        "ANALYZE",
    )
    for sample, more, node in (
        (bad("btree-on-array"), (", extra", ", '{}'::jsonb"), "Seq Scan"),
        (good("btree-on-array"), ("", ""), "Bitmap"),
    ):
        with desk(psycopg, tmp_path, sample) as (_, session):
            for statement in fill:
                session.execute(text(statement.format(*more)))
            assert node in plan(session, "SELECT * FROM tickets WHERE labels @> array['l7']")


def test_a_btree_refuses_what_is_long(psycopg: Engine, tmp_path: Path) -> None:
    # Hexadecimal digits of a hash hardly compress: some 4 kB.
    row = {"labels": [hashlib.sha256(bytes([number])).hexdigest() for number in range(100)]}
    with desk(psycopg, tmp_path, bad("btree-on-array")) as (module, session):
        with pytest.raises(DBAPIError, match="exceeds btree version 4 maximum 2704"):
            session.execute(insert(module.Ticket), {**row, "extra": {}})
    with desk(psycopg, tmp_path, good("btree-on-array")) as (module, session):
        session.execute(insert(module.Ticket), row)


def test_an_address_twice(psycopg: Engine, tmp_path: Path) -> None:
    rows = [{"email": "Ann@example.com"}, {"email": "ann@example.com"}]
    with desk(psycopg, tmp_path, bad("email-unique-by-case")) as (module, session):
        session.execute(insert(module.User), rows)
    with desk(psycopg, tmp_path, good("email-unique-by-case")) as (module, session):
        with pytest.raises(IntegrityError, match="duplicate key"):
            session.execute(insert(module.User), rows)


def test_a_link_twice(psycopg: Engine, tmp_path: Path) -> None:
    name = "association-without-key"
    with desk(psycopg, tmp_path, bad(name)) as (module, session):
        ticket, tag = stored(session, module.Ticket()), stored(session, module.Tag())
        link = {"ticket_id": ticket, "tag_id": tag}
        session.execute(insert(module.ticket_tags), [link, link])
        owner = session.get_one(module.Ticket, ticket)
        owner.tags.clear()
        with pytest.raises(StaleDataError, match="expected to delete 1 row"):
            session.flush()
    for sample in (good(name), near_miss(name)):
        with desk(psycopg, tmp_path, sample) as (module, session):
            ticket, tag = stored(session, module.Ticket()), stored(session, module.Tag())
            link = {"ticket_id": ticket, "tag_id": tag}
            with pytest.raises(IntegrityError, match="duplicate key"):
                session.execute(insert(module.ticket_tags), [link, link])


def test_what_has_no_name_cannot_be_dropped(psycopg: Engine, tmp_path: Path) -> None:
    def unique(module: Any) -> Any:
        kinds = module.Ticket.__table__.constraints
        return next(item for item in kinds if type(item).__name__ == "UniqueConstraint")

    with desk(psycopg, tmp_path, bad("missing-naming-convention")) as (module, session):
        with pytest.raises(CompileError, match="it has no name"):
            session.execute(DropConstraint(unique(module)))
    with desk(psycopg, tmp_path, good("missing-naming-convention")) as (module, session):
        session.execute(DropConstraint(unique(module)))


def test_a_long_name_is_refused(psycopg: Engine, tmp_path: Path) -> None:
    with (
        pytest.raises(IdentifierError, match="exceeds maximum length"),
        desk(psycopg, tmp_path, bad("name-too-long")),
    ):
        pass
    with desk(psycopg, tmp_path, near_miss("name-too-long")):
        pass


def test_the_reserved_words_are_those_of_postgresql(psycopg: Engine) -> None:
    with psycopg.connect() as connection:
        query = text("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')")
        found = set(connection.scalars(query))
        version = connection.scalar(text("SELECT current_setting('server_version_num')::int"))
    assert found <= RESERVED
    assert version < 180000 or found == RESERVED


def test_an_unquoted_user_is_the_login(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("reserved-word")) as (_, session):
        assert session.scalars(text("SELECT * FROM user")).all() == [
            session.scalar(text("SELECT current_user"))
        ]


def test_a_ring_takes_no_first_row(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("foreign-key-cycle")) as (module, session):
        with pytest.raises(IntegrityError, match="violates foreign key constraint"):
            session.execute(insert(module.Ticket), {"id": 1, "last_comment_id": 1})
    with desk(psycopg, tmp_path, good("foreign-key-cycle")) as (module, session):
        ticket = stored(session, module.Ticket())
        session.get_one(module.Ticket, ticket).last_comment_id = stored(
            session, module.Comment(ticket_id=ticket)
        )
        session.flush()


def test_types_that_cannot_be_compared(psycopg: Engine, tmp_path: Path) -> None:
    with (
        pytest.raises(ProgrammingError, match="cannot be implemented"),
        desk(psycopg, tmp_path, bad("foreign-key-type", "creator_id")),
    ):
        pass
    with desk(psycopg, tmp_path, bad("foreign-key-type", "owner_id")) as (module, session):
        large = {"id": 3_000_000_000}
        session.execute(insert(module.User), large)
        with pytest.raises(DataError, match="out of range"):
            session.execute(insert(module.Ticket), {"owner_id": large["id"]})
    for sample in (good("foreign-key-type"), near_miss("foreign-key-type")):
        with desk(psycopg, tmp_path, sample):
            pass


# They tell of a comment, of a habit, of what costs time: nothing fails that a test could show.
NOTHING_FAILS = {
    *("all-nullable-table", "deep-inheritance", "entity-attribute-value", "index-on-boolean"),
    *("many-indexes", "missing-comment", "missing-timestamps", "natural-key", "repeating-columns"),
    *("single-column-table", "sparse-single-table", "unused-ignore", "utcnow-default"),
    *("wide-index", "wide-key"),
}


def test_every_rule_has_its_proof() -> None:
    """Here, among those of the catalogue, or of the live database."""
    files = (Path(__file__).with_name(f"test_{name}.py") for name in ("proofs", "catalogue_proofs"))
    told = "".join(path.read_text() for path in files)
    rules = {name for name, rule in all_rules().items() if rule.family != "database"}
    assert rules >= NOTHING_FAILS
    assert not [name for name in rules - NOTHING_FAILS if f'"{name}"' not in told]
