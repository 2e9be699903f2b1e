"""The changes that are planted into models, and what must be said of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ENUM, JSONB
from sqlalchemy.schema import SchemaItem

from tests.scripts.test_generate_migration.planting import Models

Items = Callable[[], list[SchemaItem]]
STATUS = ("open", "closed")


def tickets(items: Items = list, **options: Any) -> Models:
    """Teams, and tickets with *items* beside their key and their title."""

    def build(metadata: MetaData) -> None:
        Table("teams", metadata, Column("id", Integer, primary_key=True))
        Table(
            "tickets",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("title", String(200), nullable=False),
            *items(),
            **options,
        )

    return build


def both(*builds: Models) -> Models:
    """All of *builds*."""

    def build(metadata: MetaData) -> None:
        for each in builds:
            each(metadata)

    return build


def checked(*values: str, **options: Any) -> Enum:
    """A checked text."""
    return Enum(*values, name="status", native_enum=False, create_constraint=True, **options)


def circle(metadata: MetaData, *, use_alter: bool = False) -> None:
    """Two tables that refer to each other, and one to itself."""
    Table(
        "users",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("team_id", ForeignKey("groups.id", use_alter=use_alter)),
        Column("boss_id", ForeignKey("users.id")),
    )
    Table(
        "groups",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("owner_id", ForeignKey("users.id")),
    )


def states(*more: str, index: dict[str, Any]) -> list[SchemaItem]:
    """A state, and an index that needs its type."""
    status = Column[Any]("status", Enum(*more, *STATUS, name="status"))
    return [status, Index("ix_open", "title" if index else "status", **index)]


def elsewhere(*columns: str) -> Models:
    """A table with an odd name in another schema, with an enumeration there."""

    def build(metadata: MetaData) -> None:
        Table(
            "Odd one",
            metadata,
            Column("Key", Integer, primary_key=True),
            *(
                Column(name, Enum(*STATUS, name="State of it", schema="Its own"))
                for name in columns
            ),
            schema="Its own",
        )

    return build


@dataclass(frozen=True)
class Case:
    """One change: the models before and after it, and what must be said of it."""

    name: str
    before: Models
    after: Models
    findings: set[str] = field(default_factory=set)
    words: tuple[str, ...] = ()  # in the revision
    options: dict[str, Any] = field(default_factory=dict)
    linted: set[str] = field(default_factory=set)  # what lint has against the upgrade
    rows: str | None = "(title) SELECT 'x' || n"  # of fifty tickets before it
    stays: tuple[str, ...] = ()  # what a downgrade leaves, and why that is excused


def indexed(*columns: Any, more: Items = list, **options: Any) -> list[SchemaItem]:
    """A number, and an index of one name."""
    names = columns or ("title",)
    made = Index("ix_it", *names, **{f"postgresql_{key}": value for key, value in options.items()})
    return [Column("number", Integer), *more(), made]


# Of an index of one name: what autogenerate does not compare.
INDEXES: list[tuple[str, Items, Items, str]] = [
    (
        "where",
        lambda: indexed(where=text("title <> ':a (b, ''%'")),
        lambda: indexed(where=text("number > 5")),
        "title",
    ),
    ("include", indexed, lambda: indexed(include=["number"]), "include"),
    ("using", lambda: indexed(using="hash"), indexed, "hash"),
    ("class", indexed, lambda: indexed(ops={"title": "text_pattern_ops"}), "text_pattern_ops"),
    (
        "class-of-an-expression",
        lambda: indexed(text("lower(title) text_pattern_ops DESC"), "number"),
        lambda: indexed(text("lower(title) DESC"), "number"),
        "text_pattern_ops",
    ),
    (
        "where-of-a-new-column",
        indexed,
        lambda: indexed(more=lambda: [Column("gone_at", DateTime)], where=text("gone_at IS NULL")),
        "gone_at",
    ),
]
CASES = [
    Case(
        "column",
        tickets(),
        tickets(lambda: [Column("channel", Text, server_default="mail", nullable=False)]),
        words=("SET LOCAL lock_timeout",),
    ),
    Case(
        "column-not-null",
        tickets(),
        tickets(lambda: [Column("channel", Text, nullable=False, default="mail")]),
        {"not-null-without-default"},
        ("# Fails while tickets holds rows",),
        linted={"squawk/adding-required-field"},
        rows=None,
    ),
    Case(
        "column-dropped",
        tickets(lambda: [Column("channel", Text, nullable=False)]),
        tickets(),
        {"drops-data"},
        ("stopgap",),
        linted={"squawk/ban-drop-column"},
        rows="(title, channel) SELECT 'x', 'mail'",
    ),
    Case(
        "column-renamed",
        tickets(lambda: [Column("channel", Text)]),
        tickets(lambda: [Column("medium", Text)]),
        {"drops-data", "possible-rename"},
        linted={"squawk/ban-drop-column"},
    ),
    Case(
        "not-null",
        tickets(lambda: [Column("channel", Text)]),
        tickets(lambda: [Column("channel", Text, nullable=False)]),
        {"not-null-needs-values"},
        ("VALIDATE CONSTRAINT", "postgresql_not_valid=True", "nullable=False"),
        rows="(title, channel) SELECT 'x', 'mail'",
    ),
    Case(
        "nullable",
        tickets(lambda: [Column("channel", Text, nullable=False)]),
        tickets(lambda: [Column("channel", Text)]),
        rows="(title, channel) SELECT 'x', 'mail'",
    ),
    Case(
        "longer-text",
        tickets(lambda: [Column("channel", String(20), server_default="mail")]),
        tickets(lambda: [Column("channel", String(50), server_default="mail")]),
    ),
    Case(
        "wider-number",
        tickets(lambda: [Column("size", Integer, server_default="0")]),
        tickets(lambda: [Column("size", BigInteger, server_default="0")]),
        {"type-change"},
        linted={"blocking-rewrite"},
    ),
    Case(
        "text-to-number",
        tickets(lambda: [Column("size", Text, server_default="0")]),
        tickets(lambda: [Column("size", Numeric(10, 2), server_default="0")]),
        {"type-change"},
        ("postgresql_using",),
        linted={"blocking-rewrite"},
    ),
    Case(
        "enum-column",
        tickets(),
        tickets(lambda: [Column("status", Enum(*STATUS, name="status"), server_default="open")]),
        words=("CREATE TYPE status AS ENUM ('open', 'closed')", "DROP TYPE status"),
    ),
    Case(
        "enum-column-dropped",
        tickets(lambda: [Column("status", Enum(*STATUS, name="status"), nullable=False)]),
        tickets(),
        {"drops-data"},
        ("DROP TYPE status",),
        linted={"squawk/ban-drop-column"},
        rows="(title, status) SELECT 'x', 'closed'",
    ),
    Case(
        "enum-values-added",
        tickets(
            lambda: [
                Column("status", Enum(*STATUS, name="status"), server_default="open"),
                Column("past", ARRAY(Enum(*STATUS, name="status")), server_default="{}"),
                Index("ix_open", "title", postgresql_where=text("status = 'open'")),
                CheckConstraint("status <> 'closed' OR title <> ''", name="ck_closed"),
            ]
        ),
        tickets(
            lambda: [
                Column(
                    "status",
                    Enum("new", "open", "it's: 50%", "closed", "late", name="status"),
                    server_default="new",
                ),
                Column(
                    "past",
                    ARRAY(Enum("new", "open", "it's: 50%", "closed", "late", name="status")),
                    server_default="{}",
                ),
                Index("ix_open", "title", postgresql_where=text("status = 'open'")),
                CheckConstraint("status <> 'closed' OR title <> ''", name="ck_closed"),
            ]
        ),
        words=(
            *("ADD VALUE IF NOT EXISTS 'new' BEFORE 'open'", "AFTER 'open'", "autocommit_block"),
            "The new values of status stay",
        ),
        stays=(
            "more values than before: type public.status: "
            "enum 'new', 'open', 'it''s: 50%', 'closed', 'late'",
        ),
    ),
    Case(
        "enum-value-added-alone",
        tickets(lambda: [Column("status", Enum(*STATUS, name="status"), server_default="open")]),
        tickets(
            lambda: [Column("status", Enum(*STATUS, "late", name="status"), server_default="open")]
        ),
        words=("ADD VALUE IF NOT EXISTS 'late'", "    # The new values of status stay", "    pass"),
        stays=("more values than before: type public.status: enum 'open', 'closed', 'late'",),
    ),
    Case(
        "enum-value-removed",
        tickets(
            lambda: [Column("status", Enum("new", *STATUS, name="status"), server_default="new")]
        ),
        tickets(lambda: [Column("status", Enum(*STATUS, name="status"), server_default="open")]),
        {"enum-value-removed"},
        linted={"blocking-rewrite"},
        rows="(title, status) SELECT 'x', 'open'",
    ),
    *(
        Case(
            f"enum-value-removed-beside-{name}",
            tickets(partial(states, "new", index=index)),
            tickets(partial(states, index=index)),
            {"enum-value-removed"},
            (word,),
            linted={"blocking-rewrite"},
            rows="(title, status) SELECT 'x', 'open'",
        )
        for name, index, word in (
            ("an-index", {}, "ADD VALUE IF NOT EXISTS 'new' BEFORE 'open'"),
            ("a-condition", {"postgresql_where": text("status = 'open'")}, "= 'open'::status"),
        )
    ),
    Case(
        "text-to-enum",
        tickets(lambda: [Column("status", String(20), server_default="open")]),
        tickets(
            lambda: [
                Column(
                    "status", ENUM(*STATUS, name="status", create_type=False), server_default="open"
                )
            ]
        ),
        {"type-change"},
        ("CREATE TYPE status", "postgresql_using"),
        linted={"blocking-rewrite"},
    ),
    Case(
        "enum-shared-by-tables",
        tickets(),
        both(
            tickets(lambda: [Column("status", Enum(*STATUS, name="status"))]),
            lambda metadata: Table(
                "notes",
                metadata,
                Column("id", Integer, primary_key=True),
                Column("status", Enum(*STATUS, name="status"), nullable=False),
                Column("all", ARRAY(Enum(*STATUS, name="status"), dimensions=2)),
            ),
        ),
    ),
    Case(
        "checked-text",
        tickets(lambda: [Column("status", checked(*STATUS), nullable=False)]),
        tickets(lambda: [Column("status", checked(*STATUS, "waiting on: 5%"), nullable=False)]),
        words=("postgresql_not_valid=True", "VALIDATE CONSTRAINT status"),
        rows="(title, status) SELECT 'x', 'closed'",
    ),
    Case(
        "checked-text-column",
        tickets(),
        tickets(lambda: [Column("status", checked(*STATUS), server_default="open")]),
        words=("postgresql_not_valid=True", "VALIDATE CONSTRAINT status"),
    ),
    Case(
        "checked-text-column-dropped",
        tickets(lambda: [Column("status", checked(*STATUS), nullable=False)]),
        tickets(),
        {"drops-data"},
        linted={"squawk/ban-drop-column"},
        rows="(title, status) SELECT 'x', 'open'",
    ),
    Case(
        "checked-text-table-dropped",
        both(
            tickets(),
            lambda metadata: Table(
                "notes",
                metadata,
                Column("id", Integer, CheckConstraint("id > 0"), primary_key=True),
                Column("status", checked(*STATUS)),
                Column("kind", Enum(*STATUS, name="kind"), server_default="open"),
                Column("words", String(5), CheckConstraint(r"words ~ 'a \:b%c'"), index=True),
            ),
        ),
        tickets(),
        {"drops-data"},
        linted={"squawk/ban-drop-table"},
    ),
    Case(
        "table",
        tickets(),
        both(
            tickets(),
            lambda metadata: Table(
                "notes",
                metadata,
                Column("id", Integer, CheckConstraint("id > 0"), primary_key=True),
                Column("mood", Enum("a", "b", native_enum=False, create_constraint=True)),
                Column("status", checked(*STATUS)),
                Column("words", String(5), CheckConstraint(r"words ~ 'a \:b%c'"), index=True),
                Column("ticket_id", ForeignKey("tickets.id"), server_default=text("'1'")),
                CheckConstraint(r"words LIKE '%\:x%'", name="words"),
            ),
        ),
    ),
    Case(
        "default-changed",
        tickets(
            lambda: [
                Column("at", DateTime(timezone=True), server_default=func.now()),
                Column("urgent", Boolean, server_default=true()),
                Column("channel", Text, server_default="mail"),
                Column("data", JSONB, server_default=text("'{}'::jsonb")),
                Column("size", Integer, server_default="1"),
            ]
        ),
        tickets(
            lambda: [
                Column("at", DateTime(timezone=True), server_default=text("CURRENT_TIMESTAMP")),
                Column("urgent", Boolean, server_default=text("true")),
                Column("channel", Text, server_default="it's: 50%"),
                Column("data", JSONB, server_default="{}"),
                Column("size", Integer),
            ]
        ),
    ),
    Case(
        "constraints-without-names",
        tickets(lambda: [Column("team_id", Integer), Column("number", Integer)]),
        tickets(
            lambda: [
                Column("team_id", Integer, ForeignKey("teams.id")),
                Column("number", Integer, CheckConstraint("number > 0"), unique=True),
                CheckConstraint("number < 100 OR team_id IS NOT NULL"),
            ]
        ),
        words=('"tickets_team_id_fkey"', "tickets_number_key", '"tickets_number_check"'),
    ),
    Case(
        "foreign-key-to-a-new-unique",
        tickets(lambda: [Column("number", Integer), Column("parent", Integer)]),
        tickets(
            lambda: [
                Column("number", Integer, unique=True),
                Column("parent", ForeignKey("tickets.number")),
            ]
        ),
        linted={"blocking-scan"},
    ),
    Case(
        "foreign-key-changed",
        tickets(lambda: [Column("team_id", ForeignKey("teams.id"))]),
        tickets(lambda: [Column("team_id", ForeignKey("teams.id", ondelete="CASCADE"))]),
        words=("VALIDATE CONSTRAINT tickets_team_id_fkey",),
    ),
    Case(
        "unique-changed",
        tickets(lambda: [Column("number", Integer), UniqueConstraint("number", name="uq_tickets")]),
        tickets(
            lambda: [
                Column("number", Integer),
                UniqueConstraint("number", "title", name="uq_tickets", deferrable=True),
            ]
        ),
        words=("UNIQUE USING INDEX", "DEFERRABLE"),
    ),
    Case(
        "index",
        tickets(lambda: [Column("number", Integer), Index("ix_old", "number")]),
        tickets(
            lambda: [
                Column("number", Integer, index=True),
                Index("ix_part", "title", postgresql_where=text("number > 5")),
            ]
        ),
        words=("postgresql_concurrently=True", "SET statement_timeout = 0"),
    ),
    *(
        Case(f"index-{name}", tickets(old), tickets(new), words=("RENAME TO ix_it", word))
        for name, old, new, word in INDEXES
    ),
    Case(
        "index-changed",
        tickets(lambda: [Column("number", Integer), Index("ix_it", "number")]),
        tickets(lambda: [Column("number", Integer), Index("ix_it", "number", "title")]),
        words=("RENAME TO ix_it",),
    ),
    Case("tables-in-a-circle", tickets(), both(tickets(), lambda m: circle(m, use_alter=True))),
    Case(
        "tables-in-a-circle-dropped",
        both(tickets(), lambda m: circle(m, use_alter=True)),
        tickets(),
        {"drops-data"},
        linted={"squawk/ban-drop-table"},
    ),
    Case(
        "table-dropped-with-its-users",
        tickets(lambda: [Column("team_id", ForeignKey("teams.id"))]),
        lambda metadata: Table(
            "tickets",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("title", String(200), nullable=False),
        ),
        {"drops-data"},
        linted={"squawk/ban-drop-column", "squawk/ban-drop-table"},
    ),
    Case(
        "table-renamed",
        tickets(),
        both(
            lambda m: Table("squads", m, Column("id", Integer, primary_key=True)),
            lambda m: Table(
                "tickets",
                m,
                Column("id", Integer, primary_key=True),
                Column("title", String(200), nullable=False),
            ),
        ),
        {"drops-data", "possible-rename"},
        linted={"squawk/ban-drop-table"},
    ),
    Case("schema", tickets(), both(tickets(), elsewhere("a")), options={"include_schemas": True}),
    Case(
        "schema-column",
        both(tickets(), elsewhere()),
        both(tickets(), elsewhere("State", "b")),
        options={"include_schemas": True},
    ),
    Case(
        "computed-column",
        tickets(),
        tickets(lambda: [Column("size", Integer, Computed("length(title)", persisted=True))]),
        {"column-rewrites-table"},
        linted={"blocking-rewrite"},
    ),
    Case(
        "identity-and-comments",
        tickets(lambda: [Column("number", Integer, comment="old")]),
        tickets(
            lambda: [
                Column("number", Integer, comment="it's: new"),
                Column("row", BigInteger, Identity(always=True), nullable=False),
            ],
            comment="Tickets",
        ),
        {"column-rewrites-table"},
        linted={"blocking-rewrite"},
    ),
    Case(
        "self-reference",
        tickets(),
        tickets(
            lambda: [
                Column("parent_id", Integer, index=True),
                ForeignKeyConstraint(["parent_id"], ["tickets.id"], ondelete="SET NULL"),
            ]
        ),
    ),
]
