"""``--database-url``: what differs is found, what is equal is silent, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import errors
from sqlalchemy import Connection, MetaData, make_url, text
from sqlalchemy.exc import DBAPIError

from examples.database import create_sync_engine
from examples.models import Base
from examples.postgres import temporary_database
from tests.examples.test_migration_guide.desk import upgrade
from tests.scripts.test_validate_models.samples import loaded, marked_lines, run_script

# isort: split
from validate_models import live, live_alembic  # the script's folder: see samples.py
from validate_models.api import Outcome, run, validate
from validate_models.core import Finding, Rule, all_rules
from validate_models.report import explanation
from validate_models.targets import TargetError

LIVE = [rule for rule in all_rules().values() if rule.live]
NAMES = {rule.name for rule in LIVE}
COMMAND_URL = "env:SOE_LIVE_URL"
FRESH = """
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
"""


@pytest.fixture
def empty(postgres_url: str) -> Iterator[str]:
    """The URL of a database without a schema."""
    with temporary_database(postgres_url) as url:
        yield url


def execute(url: str, script: str) -> None:
    """Run statements one by one, outside transactions; a broken index is made by failing."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in script.split(";\n"):
            if not statement.strip():
                continue
            try:
                connection.execute(statement.encode())
            except errors.UniqueViolation:
                assert "CONCURRENTLY" in statement


def create(url: str, *metadatas: MetaData) -> None:
    """``create_all``, and no connection left."""
    engine = create_sync_engine(url)
    try:
        with engine.begin() as connection:
            for metadata in metadatas:
                metadata.create_all(connection)
    finally:
        engine.dispose()


def compared(url: str, *targets: object, **options: Any) -> Outcome:
    """What the rules on a database find; no query has used the indexes of a new one."""
    given = {"select": ["database"], "ignore": ["unused-index"], **options}
    return run(targets, database_url=url, **given)


def told(outcome: Outcome) -> list[str]:
    """The findings on the database, without their places."""
    assert outcome.problems == []
    return [f"{item.rule}: {item.message}" for item in outcome.findings if item.rule in NAMES]


@contextmanager
def hidden_alembic(monkeypatch: pytest.MonkeyPatch, hidden: bool) -> Iterator[None]:
    """As if Alembic was not installed."""
    with monkeypatch.context() as patch:
        if hidden:
            patch.setattr(live_alembic, "version", lambda: None)
        yield


# --- The rules' samples ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reused(postgres_url: str) -> Iterator[str]:
    """The URL of a database whose schema each test makes anew."""
    with temporary_database(postgres_url) as url:
        yield url


@pytest.mark.parametrize("rule", LIVE, ids=lambda rule: rule.name)
def test_a_drift_is_found_at_its_line_and_mended(
    rule: Rule, reused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is found, and after the cure nothing at all; Alembic is asked elsewhere."""
    monkeypatch.setattr(live_alembic, "version", lambda: None)
    execute(reused, FRESH)
    with loaded(tmp_path, rule.bad) as module:
        lines = marked_lines(Path(module.__file__ or "").read_text())
        base = getattr(module, "Desk", module.Base)
        create(reused, base.metadata)
        opt_in = [each.name for each in LIVE if not each.default and each is not rule]

        def found() -> list[Finding]:
            outcome = compared(reused, base, ignore=opt_in)
            assert outcome.problems == []
            return outcome.findings

        execute(reused, rule.drift)
        (item,) = found()
        assert item.rule == rule.name
        assert [item.line] == lines
        assert (item.why, item.url) == (rule.why, rule.url)
        execute(reused, rule.mend)
        # An index that the models lack, or that is gone, is another fault.
        drifted = rule.name not in {"unused-index", "live-unindexed-foreign-key"}
        assert [str(item) for item in found() if item.rule == rule.name or drifted] == []


def test_a_sample_has_one_line_and_its_cure() -> None:
    for rule in LIVE:
        assert rule.bad.count("# found") == 1
        assert rule.family == "database"
        assert rule.mend


# --- At head --------------------------------------------------------------------------------------


def build(url: str) -> None:
    """The kit's own models, by ``create_all``."""
    create(url, Base.metadata)


@pytest.mark.parametrize("hidden", [False, True], ids=["alembic", "no-alembic"])
@pytest.mark.parametrize("make", [build, upgrade], ids=["create-all", "migrations"])
def test_a_database_at_head_has_no_finding(
    make: Any, hidden: bool, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(empty)
    with hidden_alembic(monkeypatch, hidden):
        outcome = compared(empty, Base)
    assert told(outcome) == []
    word = "Alembic is not installed" if hidden else f"Alembic {live_alembic.version()}"
    (note,) = outcome.notes
    assert note.startswith("compared by the catalogue")
    assert word in note


ZOO = """
class Mood(enum.Enum):
    GOOD = "good"
    BAD = "it's bad"


class Loud(TypeDecorator):
    impl = String(40)
    cache_ok = True


class Plain(DeclarativeBase):
    metadata = MetaData()


CLASSES = {"data": "jsonb_path_ops", "title": "text_pattern_ops"}


class Animal(Plain):
    __tablename__ = "Animals"
    __table_args__ = (
        CheckConstraint("title LIKE '100%' OR title <> 'a:b'"),
        CheckConstraint("length(title) BETWEEN 1 AND 500", name="Title"),
        UniqueConstraint("title", "order"),
        UniqueConstraint("ratio", name="late", deferrable=True, initially="DEFERRED"),
        UniqueConstraint("born", postgresql_nulls_not_distinct=True),
        Index("ix_path", "data", postgresql_using="gin", postgresql_ops=CLASSES),
        Index("ix_pattern", "title", postgresql_ops=CLASSES),
        Index("ix_expression", text("(data ->> 'name')"), text("born DESC NULLS LAST")),
        Index("ix_lower", func.lower(text("title")), postgresql_where=text("ratio > 1 + 1")),
        Index("ix_include", "ratio", postgresql_include=["order"]),
        Index("ix_hash", "title", postgresql_using="hash"),
        Index("ix_brin", "born", postgresql_using="brin"),
        Index("ix_live", "born", postgresql_where=text("mood IN ('GOOD', 'BAD') AND ratio = 0.5")),
        Index("ix_trigram", text("title gin_trgm_ops"), postgresql_using="gin"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(40), server_default="it's 50% a:b")
    order: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    ratio: Mapped[Decimal] = mapped_column(Numeric(10, 2), server_default=text("0.5"))
    weight: Mapped[float] = mapped_column(Float(53), server_default="1")
    mood: Mapped[Mood] = mapped_column(server_default="GOOD", index=True, unique=True)
    moods: Mapped[list[Mood]] = mapped_column(ARRAY(Enum(Mood, name="mood")), server_default="{}")
    checked: Mapped[Mood] = mapped_column(
        Enum(Mood, name="checked_mood", native_enum=False, create_constraint=True,
             values_callable=lambda kind: [each.value for each in kind])
    )
    flag: Mapped[bool] = mapped_column(Boolean(create_constraint=True), server_default=true())
    token: Mapped[uuid.UUID] = mapped_column(server_default=text("gen_random_uuid()"))
    data: Mapped[Any] = mapped_column(JSONB, server_default=text("'{}'"))
    labels: Mapped[Any] = mapped_column(ARRAY(Text), server_default=text("ARRAY[]::text[]"))
    born: Mapped[datetime] = mapped_column(DateTime(True), server_default=func.current_timestamp())
    utc: Mapped[datetime] = mapped_column(server_default=text("(now() AT TIME ZONE 'utc')"))
    day: Mapped[date] = mapped_column(server_default=func.current_date())
    pause: Mapped[timedelta] = mapped_column(server_default=text("INTERVAL '1 day'"))
    loud: Mapped[str] = mapped_column(Loud, server_default="x", comment="it's loud")
    sorted_: Mapped[str] = mapped_column("sorted", String(9, collation="C"))
    citext: Mapped[str] = mapped_column(Text().with_variant(CITEXT(), "postgresql"))
    area: Mapped[Decimal] = mapped_column(Numeric, Computed("ratio * 2", persisted=True))
    filled: Mapped[int | None] = mapped_column(server_default=FetchedValue())
    parent: Mapped[int | None] = mapped_column(
        ForeignKey("Animals.id", ondelete="SET NULL", onupdate="CASCADE", deferrable=True),
        index=True,
    )
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}


class Cat(Animal):
    lives: Mapped[int | None] = mapped_column(CheckConstraint("lives <= 9"))
    __mapper_args__ = {"polymorphic_identity": "cat"}


class Dog(Animal):
    __tablename__ = "dogs"
    id: Mapped[int] = mapped_column(ForeignKey(Animal.id), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "dog"}


Table(
    "select",
    Plain.metadata,
    Column("first", Integer, Identity(always=True), primary_key=True),
    Column("second", BigInteger, server_default=Sequence("numbers").next_value()),
    Column("Mixed Case", Text, CheckConstraint('"Mixed Case" <> \\'\\'')),
    Column("span", TSRANGE),
    Column("xmin", Integer, system=True),
    ExcludeConstraint(("span", "&&"), using="gist"),
    schema="zoo",
)
Table(
    "pair",
    Plain.metadata,
    Column("a", Integer, primary_key=True, autoincrement=False),
    Column("b", Integer, primary_key=True),
    Column("c", Integer),
    Column("d", Integer),
    ForeignKeyConstraint(["d", "c"], ["pair.b", "pair.a"], name="back", use_alter=True),
    Index("ix_pair", "d", "c"),
    Column("a_column_with_a_name_so_long_that_the_index_is_cut_at_63_bytes", Text, index=True),
)
"""


def zoo() -> str:
    """The models of the zoo, with what they import besides."""
    return "from sqlalchemy.dialects.postgresql import TSRANGE, ExcludeConstraint\n" + ZOO


@pytest.mark.parametrize("hidden", [False, True], ids=["alembic", "no-alembic"])
def test_whatever_create_all_can_make_has_no_finding(
    hidden: bool, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for statement in ("EXTENSION citext", "EXTENSION pg_trgm", "SCHEMA zoo", "SEQUENCE numbers"):
        execute(empty, f"CREATE {statement}")
    with loaded(tmp_path, zoo()) as module, hidden_alembic(monkeypatch, hidden):
        create(empty, module.Plain.metadata)
        outcome = compared(empty, module.Plain)
        assert told(outcome) == []
        assert len(outcome.notes) == 1, outcome.notes
        execute(empty, 'ALTER TABLE zoo."select" DROP CONSTRAINT select_span_excl')
        assert told(compared(empty, module.Plain)) == [
            "drift-key: the database lacks the constraint: EXCLUDE USING gist (span WITH &&)"
        ]


# --- A drifted database ---------------------------------------------------------------------------

PLANTED = {
    "DROP TABLE import_checkpoints": ("drift-table", "import_checkpoints", None),
    "ALTER TABLE tags DROP COLUMN description": ("drift-column", "tags", "description"),
    "ALTER TABLE tags ADD COLUMN rank integer": ("drift-column", "tags", "rank"),
    "ALTER TABLE users ALTER full_name TYPE varchar(200)": ("drift-type", "users", "full_name"),
    "ALTER TABLE comments ALTER content DROP NOT NULL": (
        *("drift-nullability", "comments", "content"),
    ),
    "ALTER TABLE outbox_messages ALTER last_error SET NOT NULL": (
        *("drift-nullability", "outbox_messages", "last_error"),
    ),
    "ALTER TABLE users ALTER is_active SET DEFAULT false": ("drift-default", "users", "is_active"),
    "ALTER TABLE comments ALTER is_internal DROP DEFAULT": (
        *("drift-default", "comments", "is_internal"),
    ),
    "ALTER TABLE attachments ALTER id SET GENERATED ALWAYS": ("drift-default", "attachments", "id"),
    """ALTER TABLE tickets DROP CONSTRAINT ck_tickets_ticket_priority,
        ADD CONSTRAINT ck_tickets_ticket_priority CHECK (priority IN ('low', 'medium', 'high'))
    """: ("drift-enum", "tickets", "priority"),
    "ALTER TABLE attachments DROP CONSTRAINT uq_attachments_storage_key": (
        *("drift-key", "attachments", "storage_key"),
    ),
    "ALTER TABLE ticket_tags DROP CONSTRAINT pk_ticket_tags, ADD PRIMARY KEY (tag_id)": (
        *("drift-key", "ticket_tags", "ticket_id"),
    ),
    """ALTER TABLE attachments DROP CONSTRAINT fk_attachments_ticket_id_tickets,
        ADD CONSTRAINT fk_attachments_ticket_id_tickets
        FOREIGN KEY (ticket_id) REFERENCES tickets ON DELETE SET NULL
    """: ("drift-foreign-key", "attachments", "ticket_id"),
    "ALTER TABLE comments DROP CONSTRAINT fk_comments_author_id_users": (
        *("drift-foreign-key", "comments", "author_id"),
    ),
    "ALTER TABLE organizations DROP CONSTRAINT ck_organizations_slug_format": (
        *("drift-check", "organizations", None),
    ),
    """DROP INDEX ix_tickets_open_queue;
    CREATE INDEX ix_tickets_open_queue ON tickets (assignee_id, created_at)
        WHERE deleted_at IS NULL""": ("drift-index", "tickets", "assignee_id"),
    "DROP INDEX ix_users_organization_id": ("drift-index", "users", "organization_id"),
    """ALTER TABLE attachments DROP CONSTRAINT ck_attachments_size_limit;
    ALTER TABLE attachments ADD CONSTRAINT ck_attachments_size_limit
        CHECK (size_bytes BETWEEN 1 AND 26214400) NOT VALID""": (
        *("not-valid-constraint", "attachments", "size_bytes"),
    ),
    "SELECT setval(pg_get_serial_sequence('users', 'id'), 9000000000000000000)": (
        *("sequence-near-end", "users", "id"),
    ),
    "CREATE INDEX by_hand ON outbox_messages (available_at, id) WHERE processed_at IS NULL": (
        *("live-duplicate-index", "outbox_messages", "available_at"),
    ),
}


@pytest.mark.parametrize("hidden", [False, True], ids=["alembic", "no-alembic"])
def test_twenty_planted_differences_are_twenty_findings(
    hidden: bool, real_commits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(PLANTED) == 20
    execute(real_commits, ";\n".join(PLANTED))
    with hidden_alembic(monkeypatch, hidden):
        outcome = compared(real_commits, Base, select=[])
    assert outcome.problems == []
    found = [item for item in outcome.findings if item.rule in NAMES]
    places = [(item.rule, item.table, item.attribute) for item in found]
    assert sorted(places, key=str) == sorted(PLANTED.values(), key=str), "\n".join(map(str, found))
    assert len({item.fingerprint for item in found}) == 20
    assert all(item.path == "examples/models.py" for item in found)


DIFFERENT = """
ALTER TABLE users ALTER email TYPE text COLLATE "C";
ALTER TABLE users ADD COLUMN pin text NOT NULL;
ALTER TABLE tickets ALTER id DROP IDENTITY;
ALTER TABLE tickets ALTER search_vector DROP EXPRESSION;
ALTER TABLE tags ALTER description SET DEFAULT 'none';
ALTER TABLE users ADD CONSTRAINT by_hand UNIQUE (password_hash);
ALTER TABLE users ADD CONSTRAINT long_name CHECK (length(full_name) > 1);
ALTER TABLE comments RENAME CONSTRAINT ck_comments_content_not_blank TO another_name;
ALTER INDEX ix_comments_author_id RENAME TO another_index;
DROP INDEX uq_tags_name_lower;
CREATE UNIQUE INDEX uq_tags_name_lower ON tags (lower(name) DESC);
CREATE INDEX only_here ON tags USING hash (color);
ALTER TABLE tickets ADD CONSTRAINT only_here FOREIGN KEY (id) REFERENCES users;
ALTER TABLE organizations DROP CONSTRAINT ck_organizations_name_not_blank,
    ADD CONSTRAINT ck_organizations_name_not_blank CHECK (btrim(name) <> 'x');
ALTER TABLE outbox_messages DROP CONSTRAINT pk_outbox_messages, ADD PRIMARY KEY (id, topic);
ALTER TABLE attachments DROP CONSTRAINT uq_attachments_storage_key,
    ADD CONSTRAINT uq_attachments_storage_key UNIQUE NULLS NOT DISTINCT (storage_key) DEFERRABLE;
"""
SAID = {
    ("drift-type", "the collation is the default in the models, C in the database", "error"),
    ("drift-column", "every INSERT of the models fails", "error"),
    ("drift-default", "an identity in the models, none in the database", "warning"),
    ("drift-default", "generated in the models, a plain column in the database", "warning"),
    ("drift-default", "the models have no default, the database has 'none'::text", "info"),
    ("drift-key", "the models do not know by_hand: (password_hash) is unique", "error"),
    ("drift-check", "the models do not know the check long_name", "warning"),
    ("drift-index", "ix_comments_author_id has another name in the database: another_in", "info"),
    ("drift-index", "uq_tags_name_lower: the order: (ASC) in the models, (DESC)", "warning"),
    ("drift-index", "the models do not know the index only_here", "info"),
    ("drift-foreign-key", "the models do not know the foreign key only_here: (id) to u", "error"),
    ("drift-check", "name_not_blank is btrim(name) <> '' in the models, (btrim(name)", "warning"),
    ("drift-key", "the primary key is (id) in the models, is (id, topic)", "error"),
    ("drift-key", "not deferrable in the models, deferrable in the database; NULLS NOT", "error"),
}


def test_what_is_said_of_other_differences(real_commits: str) -> None:
    """A constraint of another name that says the same is none; of an index, that is info."""
    execute(real_commits, DIFFERENT)
    outcome = compared(real_commits, Base)
    left = {(item.rule, item.message, item.severity) for item in outcome.findings}
    assert len(left) == len(SAID), sorted(left)
    for rule, fragment, severity in SAID:
        found = {each for each in left if (each[0], each[2]) == (rule, severity)}
        assert [each for each in found if fragment in each[1]], fragment


ENUMS = """
class Mood(enum.Enum):
    GOOD = 1
    BAD = 2


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    mood: Mapped[Mood]
    former: Mapped[Mood]
"""


@pytest.mark.parametrize("index", ["False", "None"])
def test_an_index_that_the_model_refuses_is_not_missed(
    index: str, reused: str, tmp_path: Path
) -> None:
    execute(reused, FRESH)
    sample = all_rules()["live-unindexed-foreign-key"].bad
    refused = sample.replace('"tickets.id")', f'"tickets.id"), index={index}')
    assert refused != sample
    with loaded(tmp_path, refused) as module:
        create(reused, module.Base.metadata)
        assert len(told(compared(reused, module.Base))) == (index == "None")


def test_a_native_enumeration_is_told_once(empty: str, tmp_path: Path) -> None:
    with loaded(tmp_path, ENUMS) as module:
        create(empty, module.Base.metadata)
        execute(empty, "ALTER TYPE mood ADD VALUE 'FAIR'")
        (first,) = compared(empty, module.Base).findings
        assert (first.severity, first.attribute) == ("warning", "mood")
        assert first.message == "type mood: the models lack 'FAIR'"
        execute(empty, "ALTER TYPE mood RENAME VALUE 'BAD' TO 'SAD'")
        (second,) = compared(empty, module.Base).findings
        assert second.severity == "error"
        assert (
            second.message == "type mood: the database lacks 'BAD'; the models lack 'SAD', 'FAIR'"
        )
        assert second.fingerprint == first.fingerprint


def test_what_belongs_to_others_is_no_unknown_table(real_commits: str) -> None:
    execute(
        real_commits,
        "CREATE TABLE alembic_version (version_num text);\n"
        "CREATE SCHEMA other;\nCREATE TABLE other.things (id int);\n"
        "CREATE TABLE audit_log_2026_01 PARTITION OF audit_log "
        "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');\n"
        "CREATE VIEW seen AS SELECT 1 AS one;\nCREATE TABLE stray (id int)",
    )
    (item,) = compared(real_commits, Base, select=["unknown-table"]).findings
    assert item.message == "the models do not know the table stray"
    assert compared(real_commits, Base, select=[]).findings == []


@pytest.mark.requires_postgres(18)
def test_what_only_postgresql_18_has(real_commits: str) -> None:
    execute(
        real_commits,
        "ALTER TABLE comments ALTER content DROP NOT NULL;\n"
        "ALTER TABLE comments ADD CONSTRAINT filled NOT NULL content NOT VALID;\n"
        "ALTER TABLE tags ADD COLUMN big text GENERATED ALWAYS AS (upper(color)) VIRTUAL",
    )
    assert told(compared(real_commits, Base)) == [
        "not-valid-constraint: the NOT NULL filled is NOT VALID: old rows may break it",
        "drift-column: the models lack the column big",
    ]


def test_a_view_in_the_place_of_a_table_is_compared_by_its_columns(real_commits: str) -> None:
    execute(
        real_commits,
        "ALTER TABLE import_checkpoints RENAME TO kept;\n"
        "CREATE VIEW import_checkpoints AS SELECT * FROM kept",
    )
    assert told(compared(real_commits, Base, select=[])) == []


# --- The transaction ------------------------------------------------------------------------------


@pytest.fixture
def reader(real_commits: str) -> Iterator[str]:
    """The URL of a role that has SELECT on the tables, and nothing else."""
    role = real_commits.rpartition("/")[2].replace("soe_", "soe_reader_")
    script = (
        f"CREATE ROLE {role} LOGIN PASSWORD 'p@ss/word';\n"
        f"REVOKE ALL ON SCHEMA public FROM PUBLIC;\nGRANT USAGE ON SCHEMA public TO {role};\n"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    )
    execute(real_commits, script)
    url = make_url(real_commits).set(username=role, password="p@ss/word")
    yield url.render_as_string(hide_password=False)
    execute(real_commits, f"DROP OWNED BY {role};\nDROP ROLE {role}")


def test_a_role_that_may_only_read_is_enough(reader: str, real_commits: str) -> None:
    """It lacks the sequences, and is told so; nothing else is missed."""
    outcome = compared(reader, Base)
    assert told(outcome) == []
    assert "may not read the sequence attachments_id_seq: GRANT SELECT ON it" in outcome.notes
    execute(real_commits, "ALTER TABLE tags DROP COLUMN description")
    assert told(compared(reader, Base)) == ["drift-column: the database has no column description"]
    role = make_url(reader).username
    execute(real_commits, f"REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM {role}")
    assert len(told(compared(reader, Base))) == 1, "no table is read"
    execute(real_commits, f"REVOKE USAGE ON SCHEMA public FROM {role}")
    with pytest.raises(TargetError, match="may not use the schema public"):
        compared(reader, Base)


def test_one_transaction_that_writes_nothing(
    real_commits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    read = live.read

    def watched(connection: Connection, *arguments: Any) -> None:
        def asked(*queries: str) -> list[Any]:
            return [connection.scalar(text(query)) for query in queries]

        moment = ("SELECT pg_current_snapshot()::text", "SELECT now()")
        first = asked(*moment)
        read(connection, *arguments)
        seen.append(asked(*moment) == first)
        seen.extend(asked("SELECT pg_current_xact_id_if_assigned()::text"))
        names = ("transaction_read_only", "transaction_isolation", "statement_timeout")
        seen.extend(asked(*(f"SHOW {name}" for name in (*names, "lock_timeout"))))
        seen.extend(asked("SHOW application_name"))
        with pytest.raises(DBAPIError, match="read-only transaction"), connection.begin_nested():
            connection.execute(text("CREATE TABLE written (id int)"))

    monkeypatch.setattr(live, "read", watched)
    assert told(compared(real_commits, Base)) == []
    # The same moment all the time, and no number drawn: what writes needs one.
    assert seen == [True, None, "on", "repeatable read", "30s", "2s", "validate-models"]


def test_no_connection_stays(real_commits: str) -> None:
    compared(real_commits, Base)
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'validate-models' AND datname = current_database()"
    )
    with psycopg.connect(real_commits, autocommit=True) as connection:
        # A backend takes a moment to go; one that stays is found.
        for _ in range(400):
            if connection.execute(query.encode()).fetchone() == (0,):
                return
            connection.execute("SELECT pg_sleep(0.05)")
    pytest.fail("a connection of ours is still there")


def test_a_statement_that_fails_is_told(real_commits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LIMITS", ("SET LOCAL statement_timeout = 'soon'",))
    with pytest.raises(TargetError, match="and a statement failed: "):
        compared(real_commits, Base)


# --- Drivers and URLs -----------------------------------------------------------------------------


@pytest.mark.parametrize("only", ["psycopg", "psycopg2", "asyncpg"])
def test_every_driver_gives_the_same(
    only: str, real_commits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "installed", lambda driver: driver == only)
    execute(real_commits, "ALTER TABLE users ALTER is_active SET DEFAULT false")
    url = real_commits.replace("postgresql://", "postgresql+asyncpg://")
    assert told(compared(url, Base)) == [
        "drift-default: the default is true in the models, false in the database"
    ]


def test_a_url_of_asyncpg_is_translated() -> None:
    given = "postgresql+asyncpg://a:b@h/d?ssl=require&prepared_statement_cache_size=0"
    url, note = live.with_driver(live.given_url(given))
    assert url.drivername == "postgresql+psycopg"
    assert dict(url.query) == {"sslmode": "require"}
    assert note == "connects by psycopg, not by asyncpg"
    assert live.given_url("postgres://h/d").drivername == "postgresql"
    assert live.given_url("postgresql://a@b:c%40d@h/e?application_name=f@g").host == "h"


CLOSED = "postgresql://somebody:s3cret@127.0.0.1:1/none"


@pytest.mark.parametrize(
    ("given", "fragment"),
    [
        (CLOSED, "somebody@127.0.0.1:1/none cannot be reached"),
        ("{server}/soe_missing", "does not exist"),
        ("wrong password", "the user and the password of the URL"),
        ("mysql://somebody:s3cret@127.0.0.1/d", "a --database-url of mysql"),
        ("no url: s3cret", "that is no URL"),
        ("postgresql+pg8000://somebody:s3cret@127.0.0.1/d", "the driver pg8000, which is not"),
        ("postgresql://somebody:s3cret@127.0.0.1:port/d", "that is no URL"),
        ("env:SOE_NOWHERE", "received --database-url env:SOE_NOWHERE, and SOE_NOWHERE is not set"),
        (CLOSED.replace("s3cret", "half@s3cret"), "one in the password is not percent-encoded"),
        (CLOSED.replace("s3cret", "half@x/s3cret"), "one in the password is not percent-encoded"),
        (CLOSED.replace("s3cret", "half@x?s3cret"), "one in the password is not percent-encoded"),
        (
            CLOSED.replace(":s3cret", "").replace("none", "none?password=s3cret"),
            "cannot be reached",
        ),
    ],
)
def test_what_goes_wrong_is_told_without_a_password(
    given: str, fragment: str, postgres_url: str
) -> None:
    if given == "wrong password":
        url = make_url(postgres_url).set(password="s3cret")
        given = url.render_as_string(hide_password=False)
    given = given.replace("{server}", postgres_url.rpartition("/")[0])
    result = run_script("--database-url", given, "examples.models", PGPASSFILE="/nonexistent")
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    assert fragment in result.stderr
    assert "expected: " in result.stderr
    assert "try: " in result.stderr
    for secret in ("s3cret", make_url(postgres_url).password or "s3cret", "Traceback"):
        assert secret not in result.stderr


# --- The command ----------------------------------------------------------------------------------


def test_the_command_at_head_and_drifted(real_commits: str) -> None:
    result = run_script("--database-url", COMMAND_URL, "examples.models", SOE_LIVE_URL=real_commits)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert "validate-models: compared by the catalogue" in result.stderr
    execute(real_commits, "ALTER TABLE tags DROP COLUMN description")
    arguments = ("--output-format", "concise", "--database-url", COMMAND_URL, "examples.models")
    result = run_script(*arguments, SOE_LIVE_URL=real_commits)
    assert result.returncode == 1
    assert result.stdout.startswith("examples/models.py:")
    assert result.stdout.endswith(": error: drift-column: the database has no column description\n")


def test_rules_on_a_database_need_one() -> None:
    result = run_script("--select", "database", "examples.models")
    assert (result.returncode, result.stdout) == (2, "")
    assert "try: --database-url env:DATABASE_URL" in result.stderr


IGNORED = """
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    # validate-models: ignore[drift-type] the database follows in the next release
    views: Mapped[int]
"""


def test_a_comment_ignores_a_drift_and_is_not_judged_without_a_database(
    empty: str, tmp_path: Path
) -> None:
    with loaded(tmp_path, IGNORED) as module:
        create(empty, module.Base.metadata)
        assert run([module.Base]).findings == [], "the comment is not called unused"
        (unused,) = validate(module.Base, database_url=empty)
        assert unused.rule == "unused-ignore"
        execute(empty, "ALTER TABLE tickets ALTER views TYPE integer")
        assert validate(module.Base, database_url=empty) == []


@pytest.mark.parametrize("rule", LIVE, ids=lambda rule: rule.name)
def test_an_explanation_shows_the_sql(rule: Rule) -> None:
    said = explanation(rule)
    assert "with --database-url" in said
    assert said.index("models:\n") < said.index("wrong, on a database") < said.index("right again:")
    assert "# found" not in said


# --- Alembic --------------------------------------------------------------------------------------

UNSPELT = """
class Odd(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_):
        return "bigint) AS x, (NULL"  # no type alone


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    odd: Mapped[str] = mapped_column(Odd())
"""


@pytest.mark.parametrize("hidden", [False, True], ids=["alembic", "no-alembic"])
def test_what_cannot_be_compared_is_said(
    hidden: bool, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL cannot spell the type; Alembic, where it is there, is asked."""
    execute(empty, "CREATE TABLE tickets (id bigint GENERATED BY DEFAULT AS IDENTITY, odd text)")
    execute(empty, "ALTER TABLE tickets ADD CONSTRAINT pk_tickets PRIMARY KEY (id)")
    execute(empty, "ALTER TABLE tickets ALTER odd SET NOT NULL")
    sample = f"from sqlalchemy.types import UserDefinedType\n{UNSPELT}"
    with loaded(tmp_path, sample) as module, hidden_alembic(monkeypatch, hidden):
        outcome = compared(empty, module.Base)
    assert "could not compare the type of tickets.odd" in outcome.notes
    assert [item.rule for item in outcome.findings] == ["drift-type"] * (not hidden)


def test_alembic_that_fails_spoils_nothing(
    real_commits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(connection: Connection, *_: object) -> list[Any]:
        connection.execute(text("SELECT 1 / 0"))
        return []

    monkeypatch.setattr(live_alembic, "compare", broken)
    execute(real_commits, "ALTER TABLE tags DROP COLUMN description")
    outcome = compared(real_commits, Base)
    assert told(outcome) == ["drift-column: the database has no column description"]
    assert "failed: " in outcome.notes[0]


UNSEEN = """
ALTER TABLE tickets DROP CONSTRAINT ck_tickets_ticket_priority;
ALTER TABLE organizations DROP CONSTRAINT ck_organizations_slug_format;
ALTER TABLE outbox_messages DROP CONSTRAINT pk_outbox_messages, ADD PRIMARY KEY (id, topic);
DROP INDEX ix_tickets_open_queue;
CREATE INDEX ix_tickets_open_queue ON tickets (assignee_id, created_at)
"""


def test_what_alembic_alone_would_miss(real_commits: str) -> None:
    """What the pages say of it: checks with their values, a primary key, the WHERE of an index."""
    execute(real_commits, UNSEEN)
    engine = create_sync_engine(real_commits)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            found = compare_metadata(context, Base.metadata)
    finally:
        engine.dispose()
    # The partitions are tables that the models do not have.
    assert {item[0] for item in found} <= {"remove_table", "remove_index"}, found
    rules = [item.rule for item in compared(real_commits, Base).findings]
    assert sorted(rules) == ["drift-check", "drift-check", "drift-index", "drift-key"]
