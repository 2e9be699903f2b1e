"""Models with one fault each, for ``side_by_side``: what one of the tools says that it finds.

Each stands in a folder of its own, so that no fault hides another.  The line ends with ``# fault``.
"""

from __future__ import annotations

import ast
import builtins
import importlib
from dataclasses import dataclass

BASE = """

class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {int: BigInteger, str: Text, datetime: DateTime(timezone=True)}
    __mapper_args__ = {"eager_defaults": True}
"""
USER = """

class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str]
"""
TICKET = """

class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
"""
OWNER = 'owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)'
OWNED = 'owner: Mapped[User] = relationship(back_populates="tickets")'
MARK = "# fault"
# A class is refused by SQLAlchemy itself: whoever imports the models says so.
IMPORT = "import"
DRIFT = "drift"


@dataclass(frozen=True)
class Plant:
    """A fault: lines for the ticket and for the user, or the whole; how each tool calls it."""

    fault: str
    codes: tuple[str, ...]
    ticket: str = ""
    user: str = ""
    more: str = ""
    base: str = BASE
    before: str = ""  # what the ticket had when the database was made, where that is the point

    def code(self) -> str:
        """The models."""
        return self.base + self.classes(self.ticket) + self.more

    def classes(self, ticket: str) -> str:
        """The user and the ticket with their lines."""
        return USER + lines(self.user) + TICKET + lines(ticket)


def lines(text: str) -> str:
    """Lines of a class, set in."""
    return "".join(f"    {line}\n" for line in text.strip().splitlines())


def line_of(code: str) -> int:
    """The line of the fault."""
    (found,) = [n for n, line in enumerate(code.splitlines(), 1) if line.endswith(MARK)]
    return found


STANDARD = {
    "enum": "import enum",
    "uuid": "import uuid",
    "UTC": "from datetime import UTC",
    "date": "from datetime import date",
    "datetime": "from datetime import datetime",
    "time": "from datetime import time",
    "timedelta": "from datetime import timedelta",
    "Decimal": "from decimal import Decimal",
    "Annotated": "from typing import Annotated",
    "Any": "from typing import Any",
    "Literal": "from typing import Literal",
    "Optional": "from typing import Optional",
    "ZoneInfo": "from zoneinfo import ZoneInfo",
}
POSTGRES = {"ARRAY", "CITEXT", "JSONB"}  # before those of the same name that are every database's
PACKAGES = (
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy",
    "sqlalchemy.orm",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.ext.hybrid",
    "sqlalchemy.ext.mutable",
)


def with_imports(code: str) -> str:
    """*code* with the imports that it needs, by name: a tool that reads text sees no star."""
    tree = ast.parse(code)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names -= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    names -= set(dir(builtins))
    found = [STANDARD[name] for name in sorted(names & STANDARD.keys())]
    names -= STANDARD.keys()
    for package in PACKAGES:
        known = names & set(dir(importlib.import_module(package)))
        known &= POSTGRES if package.endswith("postgresql") else known
        found += [f"from {package} import {name}" for name in sorted(known)]
        names -= known
    return "\n".join(found) + "\n" + code


PLANTS = (
    # What sqlalchemy-lsp says that it finds.
    Plant(
        "no __tablename__",
        ("SQLA-W101", IMPORT),
        more=f"\n\nclass Tag(Base):  {MARK}\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n",
    ),
    Plant(
        "one table name twice",
        ("SQLA-E102", IMPORT),
        more="\n\nclass Tag(Base):\n"
        f'    __tablename__ = "users"  {MARK}\n\n'
        "    id: Mapped[int] = mapped_column(primary_key=True)\n",
    ),
    Plant(
        "one column name twice",
        ("SQLA-E103", IMPORT, "duplicate-name"),
        ticket='title: Mapped[str]\nsubject: Mapped[str] = mapped_column("title")  # fault',
    ),
    Plant(
        "an index over a column that is not there",
        ("SQLA-E105", IMPORT),
        ticket='title: Mapped[str]\n__table_args__ = (Index("ix_titel", "titel"),)  # fault',
    ),
    Plant(
        "no primary key",
        ("SQLA-W104", IMPORT, "table-without-key"),
        more=f'\n\nclass Tag(Base):  {MARK}\n    __tablename__ = "tags"\n\n    name: Mapped[str]\n',
    ),
    Plant(
        "NULL allowed, and the annotation has no None",
        ("SQLA-W201", "nullability-disagrees"),
        ticket="title: Mapped[str] = mapped_column(nullable=True)  # fault",
    ),
    Plant(
        "None in the annotation, and NULL forbidden",
        ("SQLA-H202", "nullability-disagrees"),
        ticket="title: Mapped[str | None] = mapped_column(nullable=False)  # fault",
    ),
    Plant(
        "a foreign key to a table that is not there",
        ("SQLA-E301", "unresolved-foreign-key", "broken-mapper", IMPORT),
        ticket='owner_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)  # fault',
    ),
    Plant(
        "a foreign key to a column that is not there",
        ("SQLA-E302", "unresolved-foreign-key", "broken-mapper", IMPORT),
        ticket='owner_id: Mapped[int] = mapped_column(ForeignKey("users.nr"), index=True)  # fault',
    ),
    Plant(
        "a foreign key of another type",
        ("SQLA-W303", "foreign-key-type"),
        ticket='owner_id: Mapped[str] = mapped_column(Text, ForeignKey("users.id"), index=True)'
        "  # fault",
    ),
    Plant(
        "a relationship to a class that is not there",
        ("SQLA-E401", "broken-mapper"),
        ticket=f'{OWNER}\nowner: Mapped["Person"] = relationship()  # fault',
    ),
    Plant(
        "back_populates to a name that is not there",
        ("SQLA-W402", "SQLA-W403", "broken-mapper"),
        ticket=f'{OWNER}\nowner: Mapped[User] = relationship(back_populates="tickts")  # fault',
    ),
    Plant(
        "a relationship without a foreign key",
        ("SQLA-H406", "broken-mapper"),
        ticket="owner: Mapped[User] = relationship()  # fault",
    ),
    Plant(
        "two foreign keys, and the relationship names none",
        ("SQLA-W304", "broken-mapper"),
        ticket=f"{OWNER}\n{OWNER.replace('owner', 'author')}\n"
        "owner: Mapped[User] = relationship()  # fault",
    ),
    Plant(
        "uselist against the annotation",
        ("SQLA-W404", "SQLA-W413", "one-to-one-without-unique", "broken-mapper"),
        user='tickets: Mapped[list["Ticket"]] = relationship(uselist=False)  # fault',
        ticket=OWNER,
    ),
    Plant(
        "a one-to-many with a scalar annotation",
        ("SQLA-W404", "SQLA-W413", "SQLA-H407", "one-to-one-without-unique"),
        user='ticket: Mapped["Ticket"] = relationship()  # fault',
        ticket=OWNER,
    ),
    Plant(
        "a one-to-one without a unique key",
        ("SQLA-H407", "one-to-one-without-unique"),
        user='ticket: Mapped["Ticket"] = relationship(uselist=False)  # fault',
        ticket=OWNER,
    ),
    Plant(
        "a cascade that is none",
        ("SQLA-W408", IMPORT, "broken-mapper"),
        user='tickets: Mapped[list["Ticket"]] = relationship(cascade="save-update, drop")  # fault',
        ticket=OWNER,
    ),
    Plant(
        "delete-orphan without delete",
        ("SQLA-W409", IMPORT, "broken-mapper", "orphan-without-delete"),
        user='tickets: Mapped[list["Ticket"]] = relationship(cascade="delete-orphan")  # fault',
        ticket=OWNER,
    ),
    Plant(
        "a self reference without remote_side",
        ("SQLA-W411", "self-reference-without-remote-side"),
        ticket='up_id: Mapped[int | None] = mapped_column(ForeignKey("tickets.id"), index=True)\n'
        'parent: Mapped["Ticket | None"] = relationship()  # fault',
    ),
    Plant(
        "no naming convention",
        ("SQLA-H106", "SQLA-H107", "missing-naming-convention"),
        base="\n\nclass Base(DeclarativeBase):  # fault\n"
        "    type_annotation_map = {int: BigInteger, str: Text}\n",
        ticket="number: Mapped[str] = mapped_column(unique=True)",
    ),
    Plant(
        "a list as default",
        ("SQLA-W203", "mutable-default"),
        ticket="tags: Mapped[list[str]] = mapped_column(ARRAY(Text), default=[])  # fault",
    ),
    Plant(
        "default and server_default",
        ("SQLA-W204", "default-and-server-default", "two-defaults", "defaults-disagree"),
        ticket='status: Mapped[str] = mapped_column(default="open", server_default="new")  # fault',
    ),
    Plant(
        "a timestamp without time zone",
        ("SQLA-H205", "naive-timestamp"),
        ticket="due_at: Mapped[datetime] = mapped_column(DateTime)  # fault",
    ),
    Plant(
        "a collection with lazy='joined'",
        ("SQLA-H415", "joined-collection"),
        user='tickets: Mapped[list["Ticket"]] = relationship(lazy="joined", back_populates="owner")'
        "  # fault",
        ticket=f"{OWNER}\n{OWNED}",
    ),
    Plant(
        "more columns in the table of a many-to-many",
        ("SQLA-H412", "secondary-with-required-columns"),
        user='tickets: Mapped[list["Ticket"]] = relationship(secondary="watchers")  # fault',
        more='\n\nwatchers = Table(\n    "watchers",\n    Base.metadata,\n'
        '    Column("user_id", ForeignKey("users.id"), primary_key=True),\n'
        '    Column("ticket_id", ForeignKey("tickets.id"), primary_key=True, index=True),\n'
        '    Column("reason", Text, nullable=False),\n)\n',
    ),
    Plant(
        "backref",
        ("SQLA-W501", "SA203", "legacy-backref"),
        ticket=f'{OWNER}\nowner: Mapped[User] = relationship(backref="tickets")  # fault',
    ),
    Plant(
        "declarative_base()",
        ("SQLA-W502", "legacy-declarative-base"),
        base="\n\nBase = declarative_base()  # fault\n",
    ),
    Plant(
        "a column without Mapped",
        ("SQLA-W504", "SA201"),
        ticket="title = mapped_column(Text)  # fault",
    ),
    Plant(
        "a hybrid property that works on objects alone",
        ("SQLA-H601", "python-only-hybrid"),
        ticket="title: Mapped[str]\n\n@hybrid_property\n"
        "def is_long(self) -> bool:  # fault\n    return len(self.title) > 80",
    ),
    Plant(
        "DynamicMapped",
        ("SA202", "dynamic-under-asyncio", "legacy-dynamic"),
        user='tickets: DynamicMapped["Ticket"] = relationship(back_populates="owner")  # fault',
        ticket=f"{OWNER}\n{OWNED}",
    ),
    # What validate-models says that it finds.
    Plant(
        "SQL in quotes as server default",
        ("quoted-sql-default",),
        ticket='made_at: Mapped[datetime] = mapped_column(server_default="now()")  # fault',
    ),
    Plant(
        "a default computed by the import",
        ("import-time-default",),
        ticket="made_at: Mapped[datetime] = mapped_column(default=datetime.now(UTC))  # fault",
    ),
    Plant(
        "a foreign key without an index",
        ("unindexed-foreign-key",),
        ticket='owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))  # fault',
    ),
    Plant(
        "an index that repeats a unique key",
        ("key-redundant-index", "redundant-unique", "duplicate-index"),
        ticket="number: Mapped[str] = mapped_column(unique=True)\n"
        '__table_args__ = (Index("ix_number", "number"),)  # fault',
    ),
    Plant(
        "one index twice",
        ("duplicate-index",),
        ticket="title: Mapped[str] = mapped_column(index=True)\n"
        '__table_args__ = (Index("ix_title_again", "title"),)  # fault',
    ),
    Plant(
        "a deleted parent nulls a NOT NULL key",
        ("parent-delete-nulls-key",),
        user='tickets: Mapped[list["Ticket"]] = relationship(back_populates="owner")  # fault',
        ticket=f"{OWNER}\n{OWNED}",
    ),
    Plant(
        "a cascade of the ORM's alone, with passive_deletes",
        ("passive-deletes-without-ondelete",),
        user='tickets: Mapped[list["Ticket"]] = relationship(\n'
        '    back_populates="owner", cascade="all", passive_deletes=True  # fault\n)',
        ticket=f"{OWNER}\n{OWNED}",
    ),
    Plant(
        "ON DELETE SET NULL on NOT NULL",
        ("set-null-on-not-null",),
        ticket='owner_id: Mapped[int] = mapped_column(\n    ForeignKey("users.id", '
        'ondelete="SET NULL"), index=True  # fault\n)',
    ),
    Plant(
        "a delete cascade from child to parent",
        ("many-to-one-delete-cascade",),
        ticket=f'{OWNER}\nowner: Mapped[User] = relationship(cascade="all")  # fault',
    ),
    Plant(
        "a delete cascade over a many-to-many",
        ("many-to-many-delete-cascade",),
        user='seen: Mapped[list["Ticket"]] = relationship(secondary="w", cascade="all")  # fault',
        more='\n\nwatchers = Table(\n    "w",\n    Base.metadata,\n'
        '    Column("user_id", ForeignKey("users.id"), primary_key=True),\n'
        '    Column("ticket_id", ForeignKey("tickets.id"), primary_key=True, index=True),\n)\n',
    ),
    Plant(
        "two relationships write one column",
        ("overlapping-relationships",),
        user='tickets: Mapped[list["Ticket"]] = relationship(cascade="all", passive_deletes=True)',
        ticket='owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), '
        "index=True)\nowner: Mapped[User] = relationship()  # fault",
    ),
    Plant(
        "money as a binary fraction",
        ("float-money",),
        ticket="price: Mapped[float]  # fault",
    ),
    Plant(
        "json instead of jsonb",
        ("json-not-jsonb",),
        ticket="settings: Mapped[dict[str, Any]] = mapped_column(JSON)  # fault",
    ),
    Plant(
        "a boolean with a third state",
        ("three-state-boolean",),
        ticket="is_open: Mapped[bool | None]  # fault",
    ),
    Plant(
        "an enumeration without a name",
        ("nameless-enum",),
        ticket='status: Mapped[str] = mapped_column(Enum("open", "solved"))  # fault',
    ),
    Plant(
        "a ring of NOT NULL keys",
        ("foreign-key-cycle",),
        user='ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)',
        ticket=f"{OWNER}  # fault",
    ),
    Plant(
        "a name of more than 63 bytes",
        ("name-too-long", IMPORT),
        ticket=f"{'a' * 64}: Mapped[str]  # fault",
    ),
    Plant(
        "a table of a many-to-many without a key",
        ("association-without-key", "table-without-key"),
        user='tickets: Mapped[list["Ticket"]] = relationship(secondary="watchers")',
        more='\n\nwatchers = Table(  # fault\n    "watchers",\n    Base.metadata,\n'
        '    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),\n'
        '    Column("ticket_id", ForeignKey("tickets.id"), nullable=False, index=True),\n)\n',
    ),
    # What `alembic check` says that it finds: the database has something else.
    Plant(
        "a column that the database has not",
        (DRIFT,),
        ticket="title: Mapped[str]  # fault",
        before="subject: Mapped[str]",
    ),
    Plant(
        "another type than in the database",
        (DRIFT,),
        ticket="weight: Mapped[int] = mapped_column(BigInteger)  # fault",
        before="weight: Mapped[int] = mapped_column(Text)",
    ),
    Plant(
        "NOT NULL, and not in the database",
        (DRIFT,),
        ticket="title: Mapped[str]  # fault",
        before="title: Mapped[str | None]",
    ),
    Plant(
        "an index that the database has not",
        (DRIFT,),
        ticket="title: Mapped[str] = mapped_column(index=True)  # fault",
        before="title: Mapped[str]",
    ),
    Plant(
        "a unique constraint that the database has not",
        (DRIFT,),
        ticket="title: Mapped[str] = mapped_column(unique=True)  # fault",
        before="title: Mapped[str]",
    ),
    Plant(
        "a foreign key that the database has not",
        (DRIFT,),
        ticket=f"{OWNER}  # fault",
        before="owner_id: Mapped[int] = mapped_column(index=True)",
    ),
)
