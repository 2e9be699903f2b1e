"""Every rule of the schema, asked of PostgreSQL's catalogue or seen in its behaviour."""

from __future__ import annotations

import re
from datetime import date
from itertools import count, islice, product
from string import ascii_lowercase
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import (
    Column,
    Computed,
    Connection,
    Integer,
    MetaData,
    Table,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, undefer
from sqlalchemy.orm.exc import StaleDataError

from examples.database import create_sync_engine
from examples.models import (
    AuditLog,
    Base,
    ImportCheckpoint,
    OutboxMessage,
    Tag,
    Ticket,
    TicketStatus,
    TicketStatusHistory,
    TicketTag,
    User,
    audit_partition_ddl,
)
from examples.testing_patterns.factories import (
    make_attachment,
    make_comment,
    make_organization,
    make_tag,
    make_ticket,
    make_user,
)

UNINDEXED_KEYS = """
    SELECT conrelid::regclass || '.' || conname FROM pg_constraint
    WHERE contype = 'f' AND connamespace = current_schema()::regnamespace AND NOT EXISTS (
        SELECT FROM pg_index
        WHERE indrelid = conrelid AND indpred IS NULL
        AND (string_to_array(indkey::text, ' ')::int2[])[1:cardinality(conkey)] @> conkey)
"""
REDUNDANT_INDEXES = """
    SELECT a.indexrelid::regclass || ' < ' || b.indexrelid::regclass
    FROM pg_index a JOIN pg_index b ON a.indrelid = b.indrelid AND a.indexrelid <> b.indexrelid
    JOIN pg_class c ON c.oid = a.indrelid
    WHERE c.relnamespace = current_schema()::regnamespace AND NOT a.indisunique
    AND a.indpred IS NULL AND b.indpred IS NULL AND a.indexprs IS NULL AND b.indexprs IS NULL
    AND b.indkey::text || ' ' LIKE a.indkey::text || ' %'
"""
NAIVE_TIMESTAMPS = """
    SELECT table_name || '.' || column_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND data_type LIKE 'timestamp without%'
"""


def found(connection: Connection, query: str) -> list[str]:
    """The first column of *query*, sorted."""
    return sorted(connection.scalars(text(query)))


@pytest.mark.parametrize("query", [UNINDEXED_KEYS, REDUNDANT_INDEXES, NAIVE_TIMESTAMPS])
def test_the_catalogue_holds_no_fault(session: Session, query: str) -> None:
    assert found(session.connection(), query) == []


@pytest.mark.parametrize(
    ("ddl", "query", "fault"),
    [
        (
            "CREATE TABLE f (id int PRIMARY KEY, up int CONSTRAINT fk_f REFERENCES f)",
            UNINDEXED_KEYS,
            "f.fk_f",
        ),
        (
            "CREATE TABLE f (a int, b int); CREATE INDEX f_a ON f (a); "
            "CREATE INDEX f_ab ON f (a, b)",
            REDUNDANT_INDEXES,
            "f_a < f_ab",
        ),
        ("CREATE TABLE f (at timestamp)", NAIVE_TIMESTAMPS, "f.at"),
    ],
)
def test_a_fault_would_be_found(session: Session, ddl: str, query: str, fault: str) -> None:
    connection = session.connection()
    for statement in ddl.split(";"):
        connection.execute(text(statement))
    assert found(connection, query) == [fault]


def test_keys_are_bigint_identities() -> None:
    for table in Base.metadata.sorted_tables:
        for column in table.primary_key:
            if column.name == "id":
                assert column.identity is not None, table
                assert str(column.type) == "BIGINT", table


def test_every_constraint_has_a_name_by_convention(session: Session) -> None:
    names = found(
        session.connection(),
        "SELECT conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid "
        "WHERE connamespace = current_schema()::regnamespace AND contype <> 'n' "
        "AND NOT relispartition",
    )
    assert names
    assert [name for name in names if not re.match(r"(pk|uq|fk|ck)_[a-z0-9_]+$", name)] == []
    assert max(map(len, names)) <= 63


def test_every_foreign_key_says_what_a_delete_does() -> None:
    keys = [key for table in Base.metadata.sorted_tables for key in table.foreign_keys]
    assert {key.ondelete for key in keys} == {"CASCADE", "RESTRICT", "SET NULL"}
    for key in keys:
        assert key.ondelete != "SET NULL" or key.parent.nullable, key


def test_orm_cascade_and_on_delete_agree() -> None:
    checked = 0
    for mapper in Base.registry.mappers:
        for relation in mapper.relationships:
            if relation.direction.name != "ONETOMANY" or relation.viewonly:
                continue
            (column,) = relation.remote_side
            (key,) = column.foreign_keys
            expected = {"CASCADE": (True, True), "SET NULL": (False, True)}
            actual = (relation.cascade.delete, relation.passive_deletes)
            assert actual == expected.get(str(key.ondelete), (False, "all")), relation
            checked += 1
    assert checked >= 10


def test_nothing_loads_by_accident() -> None:
    for mapper in Base.registry.mappers:
        for relation in mapper.relationships:
            assert relation.lazy in {"raise", "write_only"}, relation


def test_the_mapping_matches_the_tables(session: Session) -> None:
    inspector = inspect(session.connection())
    for table in Base.metadata.sorted_tables:
        columns = {column["name"]: column for column in inspector.get_columns(table.name)}
        assert set(columns) == set(table.columns.keys())
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, column


def test_plain_sql_gets_the_defaults(session: Session) -> None:
    session.add(make_user(email="ann@x.example"))
    session.add(make_organization(slug="acme"))
    session.flush()
    row = session.execute(
        text(
            "INSERT INTO tickets (title, description, organization_id, creator_id) "
            "SELECT 'Printer', '', o.id, u.id FROM organizations o, users u "
            "WHERE slug = 'acme' AND email = 'ann@x.example' RETURNING *"
        )
    ).one()
    assert (row.status, row.priority, row.version) == ("open", "medium", 1)
    assert re.fullmatch(r"TCK-\d{6}", row.ticket_number)
    assert row.created_at.tzinfo is not None
    assert row.updated_at == row.created_at


def everything() -> list[Any]:
    """One row of every table that is mapped, with its parents."""
    ticket, user, tag = make_ticket(), make_user(is_staff=True), make_tag(color="#00ff00")
    ticket.assignee = ticket.created_by = ticket.updated_by = user
    return [
        ticket,
        make_comment(ticket=ticket, author=user, is_internal=True),
        make_attachment(ticket=ticket, uploaded_by_id=None),
        TicketTag(ticket=ticket, tag=tag),
        TicketStatusHistory(ticket=ticket, new_status=TicketStatus.OPEN),
        AuditLog(table_name="tickets", record_id=1, action="INSERT", changes={"a": [1, None]}),
        OutboxMessage(topic="ticket.created", payload={"id": 1}),
        ImportCheckpoint(source="crm", position="7"),
    ]


def test_every_table_takes_and_returns_a_row(session: Session) -> None:
    session.add_all(everything())
    session.commit()
    session.expunge_all()
    for mapper in Base.registry.mappers:
        loaded = session.scalars(select(mapper.class_).options(undefer("*"))).all()
        assert loaded, mapper
    assert session.scalars(select(Ticket)).one().status is TicketStatus.OPEN
    assert session.scalars(select(AuditLog)).one().changes == {"a": [1, None]}
    assert session.scalars(text("SELECT tableoid::regclass::text FROM audit_log")).one() == (
        "audit_log_default"
    )


async def async_everything(session: AsyncSession) -> None:
    """The same, through an async driver."""
    session.add_all(everything())
    await session.commit()
    session.expunge_all()
    for mapper in Base.registry.mappers:
        query = select(mapper.class_).options(undefer("*"))
        assert (await session.scalars(query)).all(), mapper


@pytest.mark.asyncio
async def test_every_table_takes_and_returns_a_row_async(async_session: AsyncSession) -> None:
    await async_everything(async_session)


@pytest.mark.asyncio
async def test_updated_at_is_readable_after_an_update(async_session: AsyncSession) -> None:
    ticket = make_ticket()
    async_session.add(ticket)
    await async_session.flush()
    ticket.title = "Other"
    await async_session.flush()
    assert ticket.updated_at >= ticket.created_at
    assert ticket.version == 2


@pytest.mark.parametrize(
    ("make", "constraint"),
    [
        (lambda: make_tag(color="red"), "ck_tags_color_format"),
        (lambda: make_tag(color="#FF00GG"), "ck_tags_color_format"),
        (lambda: make_organization(slug="No Slug"), "ck_organizations_slug_format"),
        (lambda: make_user(email="nobody"), "ck_users_email_format"),
        (lambda: make_ticket(title="  "), "ck_tickets_title_length"),
        (lambda: make_ticket(title="x" * 501), "ck_tickets_title_length"),
        (
            lambda: make_ticket(status=TicketStatus.CLOSED),
            "ck_tickets_resolved_at_matches_status",
        ),
        (
            lambda: make_attachment(ticket=make_ticket(), size_bytes=0),
            "ck_attachments_size_limit",
        ),
        (
            lambda: make_attachment(ticket=make_ticket(), size_bytes=26_214_401),
            "ck_attachments_size_limit",
        ),
        (lambda: make_attachment(ticket=make_ticket(), sha256="g" * 64), "ck_attachments_sha256"),
        (lambda: make_attachment(ticket=make_ticket(), filename="../x"), "ck_attachments_filename"),
        (lambda: make_comment(ticket=make_ticket(), content=" "), "ck_comments_content_not_blank"),
        (
            lambda: AuditLog(table_name="t", record_id=1, action="TRUNCATE"),
            "ck_audit_log_action",
        ),
    ],
)
def test_the_database_checks(session: Session, make: Any, constraint: str) -> None:
    session.add(make())
    with pytest.raises(IntegrityError, match=constraint):
        session.flush()


def test_an_unknown_status_is_refused_in_plain_sql(session: Session) -> None:
    session.add(make_ticket())
    session.flush()
    with pytest.raises(IntegrityError, match="ck_tickets_ticket_status"):
        session.execute(text("UPDATE tickets SET status = 'OPEN'"))


def test_email_is_unique_regardless_of_case(session: Session) -> None:
    session.add_all([make_user(email="ann@x.example"), make_user(email="ANN@X.example")])
    with pytest.raises(IntegrityError, match="uq_users_email_lower"):
        session.flush()


def test_the_millionth_ticket_has_a_number_of_its_own(real_commits: str) -> None:
    """``lpad(…, 6, '0')`` pads, and cuts: TCK-1000000 would have been TCK-100000 once more."""
    engine = create_sync_engine(real_commits)
    with Session(engine) as session:
        for start, number in ((100_000, "TCK-100000"), (1_000_000, "TCK-1000000")):
            session.execute(select(func.setval("ticket_numbers", start, False)))
            ticket = make_ticket()
            session.add(ticket)
            session.flush()
            assert ticket.ticket_number == number
        assert session.scalar(text("SELECT lpad('1000000', 6, '0')")) == "100000"
        session.execute(select(func.setval("ticket_numbers", 2**63 - 1, False)))
        last = make_ticket()
        session.add(last)
        session.flush()
        assert last.ticket_number == f"TCK-{2**63 - 1}"
    engine.dispose()


def test_a_number_is_free_again_after_a_soft_delete(session: Session) -> None:
    first = make_ticket(ticket_number="A-1")
    session.add(first)
    session.flush()
    first.deleted_at = first.created_at
    session.flush()
    session.add(make_ticket(ticket_number="A-1"))
    session.flush()
    session.add(make_ticket(ticket_number="A-1"))
    with pytest.raises(IntegrityError, match="uq_tickets_ticket_number_live"):
        session.flush()


@pytest.mark.parametrize("how", ["orm", "sql"])
def test_a_user_with_tickets_stays(session: Session, how: str) -> None:
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    with pytest.raises(IntegrityError, match="fk_tickets_creator_id_users"):  # noqa: PT012
        if how == "orm":
            session.delete(ticket.creator)
            session.flush()
        else:
            session.execute(text("DELETE FROM users"))


@pytest.mark.parametrize("how", ["orm", "sql"])
def test_a_ticket_takes_its_children_along(session: Session, how: str) -> None:
    session.add_all(everything())
    session.commit()
    ticket = session.scalars(select(Ticket)).one()
    if how == "orm":
        session.delete(ticket)
        session.flush()
    else:
        session.execute(text("DELETE FROM tickets"))
    tables = ["comments", "attachments", "ticket_tags", "ticket_status_history"]
    for table in tables:
        assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0
    assert session.scalar(select(Tag.name)) is not None


def test_a_lost_update_is_refused(session: Session) -> None:
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    session.connection().execute(text("UPDATE tickets SET version = version + 1"))
    ticket.title = "Mine"
    with pytest.raises(StaleDataError):
        session.flush()


def test_a_password_hash_is_loaded_on_purpose_only(session: Session) -> None:
    session.add(make_user())
    session.commit()
    session.expunge_all()
    user = session.scalars(select(User)).one()
    with pytest.raises(InvalidRequestError, match="raiseload"):
        _ = user.password_hash
    assert "not a hash" not in repr(user)


def test_repr_never_loads(session: Session) -> None:
    ticket = make_ticket()
    assert repr(ticket) == "<Ticket new>"
    session.add(ticket)
    session.commit()
    identity = ticket.id
    session.expire_all()
    session.connection().execute(text("DELETE FROM tickets"))
    assert repr(ticket) == f"<Ticket {identity}>"


def test_search_finds_words_and_ranks_the_title(session: Session) -> None:
    session.add_all([make_ticket(title="Printers burn"), make_ticket(description="a printer")])
    session.flush()
    query = text(
        "SELECT title FROM tickets, websearch_to_tsquery('english', 'printer') q "
        "WHERE search_vector @@ q ORDER BY ts_rank(search_vector, q) DESC"
    )
    titles = session.scalars(query).all()
    assert titles[0] == "Printers burn"
    assert len(titles) == 2


def distinct_words(size: int) -> str:
    """*size* characters, and no word twice."""
    words = map("".join, product(ascii_lowercase, repeat=5))
    return " ".join(islice(words, size // 6 + 1))[:size]


def long_compounds(size: int) -> str:
    """The worst that *size* characters can be: four bytes each, in a compound and in its part."""
    letters = map(chr, count(0x20000))
    compounds = (f"{next(letters) * 255}-{next(letters) * 255}" for _ in range(size // 512 + 1))
    return " ".join(compounds)[:size]


@pytest.mark.parametrize(
    "description",
    [distinct_words(100_000), long_compounds(100_000), distinct_words(3_000_000)],
    ids=["many words", "long words", "a pasted log"],
)
def test_a_long_description_is_stored_and_found_by_its_beginning(
    session: Session, description: str
) -> None:
    session.add(make_ticket(description=description))
    session.flush()
    found = select(func.length(Ticket.description)).where(
        Ticket.search_vector.bool_op("@@")(
            func.websearch_to_tsquery("english", description.split(maxsplit=1)[0])
        )
    )
    assert session.scalars(found).all() == [len(description)]


@pytest.mark.parametrize(
    ("month", "name", "bounds"),
    [
        (date(2026, 11, 21), "audit_log_2026_11", "'2026-11-01 00:00:00+00'"),
        (date(2026, 12, 1), "audit_log_2026_12", "TO ('2027-01-01 00:00:00+00')"),
    ],
)
def test_a_month_has_its_partition(session: Session, month: date, name: str, bounds: str) -> None:
    ddl = audit_partition_ddl(month)
    assert bounds in ddl
    session.execute(text(ddl))
    session.execute(text(ddl))
    session.execute(text("SET LOCAL TIME ZONE 'Asia/Tokyo'"))
    where = session.scalar(
        text(
            "INSERT INTO audit_log (created_at, table_name, record_id, action) "
            "VALUES (CAST(:at AS date) + interval '1 day', 'tickets', 1, 'INSERT') "
            "RETURNING tableoid::regclass::text"
        ),
        {"at": month.isoformat()},
    )
    assert where == name


def test_a_month_that_the_default_partition_holds_is_moved(session: Session) -> None:
    """The steps that the page names."""
    month = audit_partition_ddl(date(2026, 3, 1))
    session.execute(
        text(
            "INSERT INTO audit_log (created_at, table_name, record_id, action) "
            "VALUES ('2026-03-05', 'tickets', 1, 'INSERT')"
        )
    )
    with (
        pytest.raises(IntegrityError, match="updated partition constraint for default partition"),
        session.begin_nested(),
    ):
        session.execute(text(month))
    for step in (
        "ALTER TABLE audit_log DETACH PARTITION audit_log_default",
        month,
        "WITH moved AS (DELETE FROM audit_log_default WHERE created_at >= '2026-03-01' "
        "AND created_at < '2026-04-01' RETURNING *) "
        "INSERT INTO audit_log OVERRIDING SYSTEM VALUE SELECT * FROM moved",
        "ALTER TABLE audit_log ATTACH PARTITION audit_log_default DEFAULT",
    ):
        session.execute(text(step))
    assert session.scalar(text("SELECT tableoid::regclass::text FROM audit_log")) == (
        "audit_log_2026_03"
    )


def test_a_native_type_cannot_use_a_value_that_it_just_got(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    with engine.begin() as connection:
        connection.execute(text("CREATE TYPE mood AS ENUM ('calm')"))
    with engine.connect() as connection:
        connection.execute(text("ALTER TYPE mood ADD VALUE 'angry'"))
        with pytest.raises(DBAPIError, match="unsafe use of new value"):
            connection.execute(text("SELECT 'angry'::mood"))
    engine.dispose()


def test_checked_text_takes_and_loses_a_value_in_a_transaction(session: Session) -> None:
    session.add(make_ticket())
    session.flush()
    drop = text("ALTER TABLE tickets DROP CONSTRAINT ck_tickets_ticket_status")
    add = "ALTER TABLE tickets ADD CONSTRAINT ck_tickets_ticket_status CHECK (status IN ({}))"
    session.execute(drop)
    session.execute(text(add.format("'open', 'on_hold'")))
    session.execute(text("UPDATE tickets SET status = 'on_hold'"))
    session.execute(text("UPDATE tickets SET status = 'open'"))
    session.execute(drop)
    session.execute(text(add.format("'open'")))
    with pytest.raises(IntegrityError, match="ck_tickets_ticket_status"):
        session.execute(text("UPDATE tickets SET status = 'on_hold'"))


@pytest.mark.requires_postgres(18)
def test_a_computed_column_without_persisted_takes_no_index(session: Session) -> None:
    table = Table(
        "doubled",
        MetaData(),
        Column("n", Integer),
        Column("twice", Integer, Computed("n * 2"), index=True),
    )
    if sqlalchemy.__version__.startswith("2.0."):
        table.create(session.connection())
        return
    with pytest.raises(DBAPIError, match="virtual generated columns"):
        table.create(session.connection())


def test_create_all_twice_and_drop_all_leaves_nothing(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    try:
        Base.metadata.create_all(engine)
        Base.metadata.drop_all(engine)
        with engine.connect() as connection:
            left = found(
                connection,
                "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
                "UNION ALL SELECT typname FROM pg_type WHERE typnamespace = "
                "current_schema()::regnamespace UNION ALL SELECT proname FROM pg_proc "
                "WHERE pronamespace = current_schema()::regnamespace",
            )
        assert left == []
    finally:
        engine.dispose()
