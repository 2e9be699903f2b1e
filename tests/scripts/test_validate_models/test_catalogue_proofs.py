"""What rules of the catalogue predict happens on PostgreSQL, and not with good samples."""

# ruff: noqa: SIM117 - what must raise stands apart from what prepares it
from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, insert, select, text
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    NoReferencedColumnError,
    NoReferencedTableError,
    ProgrammingError,
)
from sqlalchemy.orm import Session

from examples.testing_patterns.isolation import isolated_session
from tests.scripts.test_validate_models.samples import loaded
from tests.scripts.test_validate_models.test_proofs import (
    FRESH,
    SA_21,
    bad,
    default_of,
    good,
    near_miss,
    plan,
    stored,
)
from tests.scripts.test_validate_models.test_proofs import desk as loud_desk
from tests.scripts.test_validate_models.test_rules import ask

DEFAULTS = text("INSERT INTO tickets DEFAULT VALUES")


@pytest.fixture
def psycopg(engines: dict[str, Engine]) -> Engine:
    """One driver is enough: it is the database that answers."""
    return engines["psycopg"]


@contextmanager
def desk(engine: Engine, folder: Path, sample: str) -> Iterator[tuple[Any, Session]]:
    """The same, without what SQLAlchemy says of some bad samples when it makes the classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with loud_desk(engine, folder, sample) as made:
            yield made


def count(session: Session, cls: Any) -> int:
    """How many rows there are."""
    return session.scalar(select(func.count()).select_from(cls)) or 0


# --- Keys -----------------------------------------------------------------------------------------


def test_without_a_key_a_row_cannot_be_told_from_its_double(
    psycopg: Engine, tmp_path: Path
) -> None:
    row = {"page": "/", "seen_at": func.now()}
    for sample, keys in ((bad("table-without-key"), 0), (good("table-without-key"), 2)):
        with desk(psycopg, tmp_path, sample) as (module, session):
            session.execute(insert(module.visits).values(row))
            session.execute(insert(module.visits).values(row))
            rows = session.execute(select(module.visits)).all()
            assert len(set(rows)) == (2 if keys else 1)


def test_a_foreign_key_is_made_twice(psycopg: Engine, tmp_path: Path) -> None:
    query = text(
        "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = 'tickets'::regclass"
    )
    name = "duplicate-foreign-key"
    for sample, number in ((bad(name), 2), (good(name), 1)):
        with desk(psycopg, tmp_path, sample) as (_, session):
            assert session.scalar(query) == number


def test_a_target_that_is_not_unique_is_refused(psycopg: Engine, tmp_path: Path) -> None:
    name = "foreign-key-target-not-unique"
    with (
        pytest.raises(ProgrammingError, match="no unique constraint matching given keys"),
        desk(psycopg, tmp_path, bad(name)),
    ):
        pass
    for sample in (good(name), near_miss(name)):
        with desk(psycopg, tmp_path, sample):
            pass


@pytest.mark.parametrize(
    ("target", "error"), [("user.id", NoReferencedTableError), ("team", NoReferencedColumnError)]
)
def test_a_target_that_is_not_there_is_refused(
    psycopg: Engine, tmp_path: Path, target: str, error: type[Exception]
) -> None:
    name = "unresolved-foreign-key"
    with pytest.raises(error), desk(psycopg, tmp_path, bad(name, target)):
        pass
    with desk(psycopg, tmp_path, good(name)):
        pass


def test_a_numeric_key_is_serial_or_empty(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("numeric-key")) as (_, session):
        if SA_21:
            with pytest.raises(IntegrityError, match="null value"):
                session.execute(DEFAULTS)
        else:
            assert "nextval" in default_of(session, "id")
            with pytest.raises(DataError, match="out of range"):
                session.execute(text("INSERT INTO tickets (id) VALUES (2147483648)"))
    with desk(psycopg, tmp_path, good("numeric-key")) as (_, session):
        session.execute(DEFAULTS)


def test_a_serial_key_meets_what_was_given(psycopg: Engine, tmp_path: Path) -> None:
    given = text("INSERT INTO tickets (id) VALUES (1)")
    with desk(psycopg, tmp_path, bad("serial-key")) as (_, session):
        session.execute(given)
        with pytest.raises(IntegrityError, match="duplicate key"):
            session.execute(DEFAULTS)
    with desk(psycopg, tmp_path, good("serial-key")) as (_, session):
        with pytest.raises(ProgrammingError, match="cannot insert a non-DEFAULT value"):
            session.execute(given)


def test_without_a_foreign_key_any_number_is_taken(psycopg: Engine, tmp_path: Path) -> None:
    name = "missing-foreign-key"
    with desk(psycopg, tmp_path, bad(name)) as (module, session):
        stored(session, module.Ticket(user_id=7))
    with desk(psycopg, tmp_path, good(name)) as (module, session):
        with pytest.raises(IntegrityError, match="violates foreign key constraint"):
            stored(session, module.Ticket(user_id=7))


# --- Cascades and collections ---------------------------------------------------------------------


def test_set_default_without_a_default_sets_null(psycopg: Engine, tmp_path: Path) -> None:
    name = "set-default-without-default"
    for sample, fails in ((bad(name), True), (good(name), False)):
        with desk(psycopg, tmp_path, sample) as (module, session):
            stored(session, module.User(id=0), module.User(id=1))
            stored(session, module.Ticket(owner_id=1))
            leaving = delete(module.User).where(module.User.id == 1)
            if fails:
                with pytest.raises(IntegrityError, match="null value"):
                    session.execute(leaving)
            else:
                session.execute(leaving)
                assert session.scalar(select(module.Ticket.owner_id)) == 0


def test_without_ondelete_a_parent_stays(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("missing-ondelete")) as (module, session):
        stored(session, module.Ticket(owner_id=stored(session, module.User())))
        with pytest.raises(IntegrityError, match="violates foreign key constraint"):
            session.execute(delete(module.User))


def test_a_link_cannot_have_what_it_must(psycopg: Engine, tmp_path: Path) -> None:
    name = "secondary-with-required-columns"
    with desk(psycopg, tmp_path, bad(name)) as (module, session):
        session.add(module.User(teams=[module.Team()]))
        with pytest.raises(IntegrityError, match='null value in column "role"'):
            session.flush()
    with desk(psycopg, tmp_path, near_miss(name)) as (module, session):
        session.add(module.User(teams=[module.Team()]))
        session.flush()
        assert session.scalar(select(func.count()).select_from(module.links)) == 1


def test_one_side_alone_is_not_told(tmp_path: Path) -> None:
    name = "one-sided-back-populates"
    for sample, seen in ((bad(name), 0), (good(name), 1)):
        with loaded(tmp_path, sample) as module:
            ticket = module.Ticket()
            comment = module.Comment(ticket=ticket)
            assert len(ticket.comments) == seen
            other = module.Comment()
            ticket.comments.append(other)
            assert other.ticket is ticket
            assert comment.ticket is ticket


def test_an_orphan_of_a_deleted_parent_stays(psycopg: Engine, tmp_path: Path) -> None:
    for sample, left in ((bad("orphan-without-delete"), 1), (good("orphan-without-delete"), 0)):
        with desk(psycopg, tmp_path, sample) as (module, session):
            key = stored(session, module.Ticket(comments=[module.Comment()]))
            session.delete(session.get_one(module.Ticket, key))
            session.flush()
            assert count(session, module.Comment) == left


@pytest.mark.parametrize("attribute", ["names", "sizes"])
def test_a_broken_proxy_raises_when_it_is_used(tmp_path: Path, attribute: str) -> None:
    name = "broken-association-proxy"
    for sample, fails in ((bad(name), True), (good(name), False)):
        with loaded(tmp_path, sample) as module:
            module.Base.registry.configure()
            ticket = module.Ticket(files=[module.File(name="a", size=1)])
            if fails:
                with pytest.raises((InvalidRequestError, AttributeError)):
                    list(getattr(ticket, attribute))
            else:
                assert list(getattr(ticket, attribute)) in (["a"], [1])


def test_a_joined_collection_wants_unique(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("joined-collection")) as (module, session):
        stored(session, module.Ticket())
        with pytest.raises(InvalidRequestError, match=r"unique\(\) method must be invoked"):
            session.scalars(select(module.Ticket)).all()
    with desk(psycopg, tmp_path, good("joined-collection")) as (module, session):
        assert session.scalars(select(module.Ticket)).all() == []


def test_noload_says_that_there_is_nothing(psycopg: Engine, tmp_path: Path) -> None:
    for sample, silent in ((bad("lazy-noload"), True), (good("lazy-noload"), False)):
        with desk(psycopg, tmp_path, sample) as (module, session):
            key = stored(session, module.Ticket())
            stored(session, module.File(ticket_id=key))
            ticket = session.get_one(module.Ticket, key)
            if silent:
                assert ticket.files == []
            else:
                with pytest.raises(InvalidRequestError, match="lazy='raise'"):
                    _ = ticket.files


# --- Defaults -------------------------------------------------------------------------------------


def test_a_default_that_is_no_label(psycopg: Engine, tmp_path: Path) -> None:
    name = "default-does-not-fit"
    with (
        pytest.raises(DataError, match="invalid input value for enum"),
        desk(psycopg, tmp_path, bad(name, "server_default")),
    ):
        pass
    with desk(psycopg, tmp_path, bad(name, "String(5)")) as (module, session):
        with pytest.raises(DataError, match="value too long"):
            stored(session, module.Ticket())
    for sample in (good(name), near_miss(name)):
        with desk(psycopg, tmp_path, sample) as (_, session):
            if "String(8)" in sample:
                session.execute(DEFAULTS)


def test_two_defaults_give_two_values(psycopg: Engine, tmp_path: Path) -> None:
    for sample, values in ((bad("defaults-disagree"), 2), (good("defaults-disagree"), 1)):
        with desk(psycopg, tmp_path, sample) as (module, session):
            stored(session, module.Ticket(attempts=0) if values == 1 else module.Ticket())
            session.execute(DEFAULTS)
            for column in (module.Ticket.is_open, module.Ticket.attempts, module.Ticket.kind):
                assert session.scalar(select(func.count(column.distinct()))) == values


def test_sql_does_not_know_the_default_of_the_orm(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("client-only-default")) as (_, session):
        with pytest.raises(IntegrityError, match="null value"):
            session.execute(DEFAULTS)
    with desk(psycopg, tmp_path, good("client-only-default")) as (_, session):
        session.execute(DEFAULTS)


# --- Types and annotations ------------------------------------------------------------------------


def test_money_comes_as_text(psycopg: Engine, tmp_path: Path) -> None:
    for sample, kind in ((bad("money-type"), str), (good("money-type"), Decimal)):
        with desk(psycopg, tmp_path, sample) as (module, session):
            session.execute(text("INSERT INTO invoices (total) VALUES (1)"))
            assert type(session.scalar(select(module.Invoice.total))) is kind


def test_one_moment_with_two_offsets(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("time-with-time-zone")) as (_, session):
        session.execute(text("INSERT INTO desks (opens_at) VALUES ('12:00+02')"))
        same = text("SELECT count(*) FROM desks WHERE opens_at = '10:00+00'")
        assert session.scalar(same) == 0
    with desk(psycopg, tmp_path, good("time-with-time-zone")) as (module, session):
        stored(session, module.Desk(opens_at=time(12)))
        assert session.scalar(select(module.Desk.opens_at)) == time(12)


def test_char_pads(psycopg: Engine, tmp_path: Path) -> None:
    for sample, code in ((bad("char-type"), "ab      "), (good("char-type"), "ab")):
        with desk(psycopg, tmp_path, sample) as (module, session):
            stored(session, module.Customer(code="ab"))
            assert session.scalar(select(module.Customer.code)) == code


def test_the_rows_give_what_the_column_says(psycopg: Engine, tmp_path: Path) -> None:
    row = "INSERT INTO tickets (hours, status, due_on) VALUES (1.5, 'OPEN', '2026-01-02')"
    name = "annotation-type-disagrees"
    for sample, status in ((bad(name), "str"), (good(name), "Status")):
        with desk(psycopg, tmp_path, sample) as (module, session):
            session.execute(text(row))
            ticket = session.scalars(select(module.Ticket)).one()
            assert type(ticket.hours) is Decimal
            assert type(ticket.due_on) is date
            assert type(ticket.status).__name__ == status


def test_nothing_checks_what_is_not_mapped(psycopg: Engine, tmp_path: Path) -> None:
    sample = bad("allow-unmapped").replace(", nullable=False", "")
    with desk(psycopg, tmp_path, sample) as (module, session):
        session.execute(DEFAULTS)
        assert session.scalars(select(module.Ticket)).one().title is None
    with desk(psycopg, tmp_path, good("allow-unmapped")) as (_, session):
        with pytest.raises(IntegrityError, match="null value"):
            session.execute(DEFAULTS)


def test_a_change_in_place_is_not_written(psycopg: Engine, tmp_path: Path) -> None:
    name = "untracked-mutable"
    for sample, written in ((bad(name, "JSONB"), {}), (good(name), {"seen": True})):
        with desk(psycopg, tmp_path, sample) as (module, session):
            key = stored(session, module.Ticket(extra={}))
            ticket = session.get_one(module.Ticket, key)
            ticket.extra["seen"] = True
            session.flush()
            session.expire_all()
            assert session.scalar(select(module.Ticket.extra)) == written


# --- Inheritance ----------------------------------------------------------------------------------


def test_the_others_of_a_table_cannot_be_inserted(psycopg: Engine, tmp_path: Path) -> None:
    name = "single-table-not-null"
    with desk(psycopg, tmp_path, bad(name)) as (module, session):
        stored(session, module.Incident(cause="rain"))
        with pytest.raises(IntegrityError, match='null value in column "cause"'):
            stored(session, module.Ticket())
    for sample, cls in ((good(name), "Ticket"), (near_miss(name), "Problem")):
        with desk(psycopg, tmp_path, sample) as (module, session):
            more = {"cause": "rain"} if cls == "Problem" else {}
            stored(session, getattr(module, cls)(**more))


def test_whose_row_it_is_cannot_be_told(psycopg: Engine, tmp_path: Path) -> None:
    name = "missing-polymorphic-identity"
    for sample, comes_back in ((bad(name), "Incident"), (good(name), "Ticket")):
        with desk(psycopg, tmp_path, sample) as (module, session):
            key = stored(session, module.Ticket())
            assert type(session.get_one(module.Ticket, key)).__name__ == comes_back
    with desk(psycopg, tmp_path, bad(name)) as (module, session):
        stored(session, module.Problem())
        assert session.scalar(text("SELECT kind FROM tickets")) is None


def test_one_attribute_writes_two_tables(psycopg: Engine, tmp_path: Path) -> None:
    with desk(psycopg, tmp_path, bad("implicitly-combined-column")) as (module, session):
        stored(session, module.Incident(note="rain"))
        for table in ("tickets", "incidents"):
            assert session.scalar(text(f"SELECT note FROM {table}")) == "rain"
    for sample in (good("implicitly-combined-column"), near_miss("implicitly-combined-column")):
        with desk(psycopg, tmp_path, sample):
            pass


# --- Names, indexes, design -----------------------------------------------------------------------


def test_a_name_is_taken_once(psycopg: Engine, tmp_path: Path) -> None:
    with (
        pytest.raises(ProgrammingError, match="already exists"),
        desk(psycopg, tmp_path, bad("duplicate-name", "Index")),
    ):
        pass
    with desk(psycopg, tmp_path, good("duplicate-name")):
        pass


def test_of_two_enumerations_one_is_made(psycopg: Engine, tmp_path: Path) -> None:
    sample = bad("duplicate-name", "Enum")
    with (
        warnings.catch_warnings(),
        loaded(tmp_path, sample) as module,
        isolated_session(psycopg) as session,
    ):
        warnings.simplefilter("ignore")
        for statement in FRESH:
            session.execute(text(statement))
        module.Base.metadata.create_all(session.connection())
        session.add_all(
            [
                module.Ticket(made_at=func.now(), state="open"),
                module.Comment(made_at=func.now(), state="draft"),
            ]
        )
        with pytest.raises(DataError, match="invalid input value for enum"):
            session.flush()


def test_unquoted_the_name_is_another(psycopg: Engine, tmp_path: Path) -> None:
    query = text("SELECT createdAt FROM tickets")
    with desk(psycopg, tmp_path, bad("quoted-name")) as (_, session):
        with pytest.raises(ProgrammingError, match="does not exist"):
            session.execute(query)
    with desk(psycopg, tmp_path, good("quoted-name")) as (_, session):
        assert session.execute(text("SELECT created_at FROM tickets")).all() == []


def test_a_condition_that_always_holds_keeps_the_order_from_the_index(
    psycopg: Engine, tmp_path: Path
) -> None:
    name = "needless-index-condition"
    fill = (
        "INSERT INTO tickets (made_at) "
        "SELECT now() - g * interval '1 s' FROM generate_series(1, 5000) g",
        "ANALYZE",
    )
    for sample, node in ((bad(name), "Seq Scan"), (good(name), "Index Scan")):
        with desk(psycopg, tmp_path, sample) as (_, session):
            for statement in fill:
                session.execute(text(statement))
            assert node in plan(session, "SELECT * FROM tickets ORDER BY made_at LIMIT 1")


NAMED = {"name": "Ann"}
READERS = [{**NAMED, "email": "ann@example.com"}, {**NAMED, "email": "bob@example.com"}]


def test_an_index_over_a_text_takes_one_row(psycopg: Engine, tmp_path: Path) -> None:
    name = "index-without-column"
    with desk(psycopg, tmp_path, bad(name)) as (module, session):
        session.execute(insert(module.User), READERS[0])
        with pytest.raises(IntegrityError, match="uq_users_email_lower"):
            session.execute(insert(module.User), READERS[1])
    with desk(psycopg, tmp_path, good(name)) as (module, session):
        session.execute(insert(module.User), READERS)
        with pytest.raises(IntegrityError, match="uq_users_email_lower"):
            session.execute(insert(module.User), {**NAMED, "email": "ANN@example.com"})


@pytest.mark.parametrize(
    "constant",
    ['func.lower(literal("x"))', 'cast("x", Text)', 'func.coalesce("a", "b")'],
)
def test_any_text_takes_one_row(psycopg: Engine, tmp_path: Path, constant: str) -> None:
    sample = bad("index-without-column").replace('func.lower("email")', constant)
    outcome, lines = ask(tmp_path, sample, "index-without-column")
    assert [item.line for item in outcome.findings] == lines
    with desk(psycopg, tmp_path, sample) as (module, session):
        with pytest.raises(IntegrityError, match="uq_users_email_lower"):
            session.execute(insert(module.User), READERS)


def test_an_index_over_a_text_beside_a_column_takes_one_row_of_each(
    psycopg: Engine, tmp_path: Path
) -> None:
    sample = bad("index-without-column").replace('func.lower("email")', '"name", func.lower("x")')
    outcome, _ = ask(tmp_path, sample, "index-without-column")
    assert [(item.severity, item.message.partition(":")[0]) for item in outcome.findings] == [
        ("error", "uq_users_email_lower has the text 'x' for a column"),
        ("warning", "ix_users_shown has the text 'nickname' for a column"),
    ]
    with desk(psycopg, tmp_path, sample) as (module, session):
        session.execute(insert(module.User), [READERS[0], {**READERS[0], "name": "Bob"}])
        with pytest.raises(IntegrityError, match="uq_users_email_lower"):
            session.execute(insert(module.User), READERS[1])


def test_an_index_over_a_text_serves_no_query(psycopg: Engine, tmp_path: Path) -> None:
    fill = (
        "INSERT INTO users (email, name) "
        "SELECT g || '@example.com', 'n' || g FROM generate_series(1, 5000) g",
        "ANALYZE",
    )
    query = "SELECT * FROM users WHERE coalesce(nickname, name) = 'n7'"
    name = "index-without-column"
    for sample, node in ((bad(name, "ix_"), "Seq Scan"), (good(name), "ix_users_shown")):
        with desk(psycopg, tmp_path, sample) as (_, session):
            for statement in fill:
                session.execute(text(statement))
            assert node in plan(session, query)


def test_what_may_name_a_column_names_one(psycopg: Engine, tmp_path: Path) -> None:
    query = text(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE i.indrelid = 'users'::regclass AND NOT i.indisprimary AND NOT EXISTS ("
        "SELECT FROM pg_depend d WHERE d.objid = i.indexrelid AND d.refobjid = i.indrelid "
        "AND d.refobjsubid > 0)"
    )
    name = "index-without-column"
    for sample, constant in (
        (bad(name), ["ix_users_shown", "uq_users_email_lower"]),
        (good(name), []),
        (near_miss(name), ["uq_users_one"]),  # one row alone, which is meant
    ):
        with desk(psycopg, tmp_path, sample) as (_, session):
            assert sorted(session.scalars(query)) == constant


@pytest.mark.parametrize(
    "word",
    [
        'func.lower("email")',
        'func.lower(bindparam("email", "x"))',
        "func.lower(literal_column(\"'email'\"))",
        "text(\"lower('my email')\")",
    ],
)
def test_the_lower_case_of_a_word_sees_to_no_address(
    psycopg: Engine, tmp_path: Path, word: str
) -> None:
    name = "email-unique-by-case"
    rows = [{"email": "Ann@example.com"}, {"email": "ann@example.com"}]
    standing = 'Index("ix_users_email_lower", func.lower(text("email")))'
    # Unique over one word is one row in all: here, no row.
    never = "unique=True, postgresql_where=text('false')"
    sample = bad(name).replace(standing, f'Index("ix_lower", {word}, {never})')
    assert word in sample
    outcome, lines = ask(tmp_path, sample, name)
    assert [item.line for item in outcome.findings] == lines
    with desk(psycopg, tmp_path, sample) as (module, session):
        session.execute(insert(module.User), rows)
    mended = sample.replace(f"{word}, {never}", "text('lower(email::text)'), unique=True")
    assert ask(tmp_path, mended, name)[0].findings == []
    with desk(psycopg, tmp_path, mended) as (module, session):
        with pytest.raises(IntegrityError, match="ix_lower"):
            session.execute(insert(module.User), rows)


def test_two_types_cannot_be_joined(psycopg: Engine, tmp_path: Path) -> None:
    query = text("SELECT 1 FROM tickets t JOIN files f ON t.device_number = f.device_number")
    with desk(psycopg, tmp_path, bad("column-type-varies")) as (_, session):
        with pytest.raises(ProgrammingError, match="operator does not exist"):
            session.execute(query)
    with desk(psycopg, tmp_path, good("column-type-varies")) as (_, session):
        assert session.execute(query).all() == []


def test_a_deleted_row_holds_its_name(psycopg: Engine, tmp_path: Path) -> None:
    for sample, fails in ((bad("soft-delete-unique"), True), (good("soft-delete-unique"), False)):
        with desk(psycopg, tmp_path, sample) as (module, session):
            stored(session, module.User(login="ann", deleted_at=func.now()))
            if fails:
                with pytest.raises(IntegrityError, match="duplicate key"):
                    stored(session, module.User(login="ann"))
            else:
                stored(session, module.User(login="ann"))


def test_padding_takes_room(psycopg: Engine, tmp_path: Path) -> None:
    sizes = []
    for sample in (bad("column-padding"), good("column-padding")):
        with desk(psycopg, tmp_path, sample) as (module, session):
            stored(session, module.Ticket(owner=1, price=1, is_open=True, is_paid=True))
            sizes.append(session.scalar(text("SELECT pg_column_size(t.*) FROM tickets t")) or 0)
    assert sizes[0] - sizes[1] >= 8


def test_a_generated_column_by_the_versions(psycopg: Engine, tmp_path: Path) -> None:
    kind = text("SELECT attgenerated FROM pg_attribute WHERE attname = 'total' AND attrelid = ")
    name = "computed-without-persisted"
    with psycopg.connect() as connection:
        version = connection.scalar(text("SELECT current_setting('server_version_num')::int"))
    virtual = SA_21 and version >= 180000
    of_items = text(f"{kind.text}'items'::regclass")
    with desk(psycopg, tmp_path, bad(name, "price * 2")) as (_, session):
        assert session.scalar(of_items) == ("v" if virtual else "s")
    with desk(psycopg, tmp_path, good(name)) as (_, session):
        assert session.scalar(of_items) == "s"
    if virtual:
        with (
            pytest.raises(DBAPIError, match="virtual generated columns"),
            desk(psycopg, tmp_path, bad(name, "price / 5")),
        ):
            pass
