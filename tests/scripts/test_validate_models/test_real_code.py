"""Well-kept code that looks suspicious is left alone; one small change to it is found."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tests.scripts.test_validate_models.samples import forget, write_sample

# isort: split
from validate_models.api import run

HEAD = """
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
"""
USER = """
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)

"""

# What it is: the code, a change, and the rule that finds the change.
REAL: dict[str, tuple[str, tuple[str, str], str]] = {
    "a type decorator over timestamptz": (
        """
class Utc(TypeDecorator[datetime]):
    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.astimezone(UTC) if value else None

"""
        + HEAD
        + "    seen_at: Mapped[datetime] = mapped_column(Utc, default=lambda: datetime.now(UTC))\n"
        "    closed_at: Mapped[datetime | None] = mapped_column(Utc())\n",
        ("mapped_column(Utc())", "mapped_column(DateTime())"),
        "naive-timestamp",
    ),
    "unique and index, which is one index": (
        HEAD + "    number: Mapped[str] = mapped_column(unique=True, index=True)\n",
        (
            "    __tablename__",
            "    __table_args__ = (UniqueConstraint('number'),)\n    __tablename__",
        ),
        "redundant-unique",
    ),
    "partial and expression indexes": (
        USER
        + HEAD
        + """
    title: Mapped[str]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)
    deleted_at: Mapped[datetime | None]
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")

    __table_args__ = (
        Index("ix_title_lower", func.lower(text("title"))),
        Index("ix_live", "title", postgresql_where=text("deleted_at IS NULL")),
        Index("ix_dead", "title", postgresql_where=text("deleted_at IS NOT NULL")),
        Index("ix_newest", text("id DESC"), postgresql_where=text("deleted_at IS NULL")),
        Index("ix_kind", text("(extra ->> 'kind')")),
        Index("ix_extra", "extra", postgresql_using="gin"),
        Index("uq_live_title", "title", unique=True, postgresql_where=text("owner_id IS NULL")),
    )
""",
        ("IS NOT NULL", "IS NULL"),
        "duplicate-index",
    ),
    "a composite index whose first column is the key": (
        USER
        + HEAD
        + """    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]

    __table_args__ = (Index("ix_owner_created", "owner_id", "created_at"),)
""",
        ('"owner_id", "created_at"', '"created_at", "owner_id"'),
        "unindexed-foreign-key",
    ),
    "an index that is refused, where a helper refuses it by itself": (
        USER
        + """

def link(target: str, index: bool = False) -> Any:
    return mapped_column(ForeignKey(target), index=index)
"""
        + HEAD
        + """    owner_id: Mapped[int] = link("users.id", index=False)
""",
        ('"users.id", index=False', '"users.id"'),
        "unindexed-foreign-key",
    ),
    "an index that is refused for both columns of a key": (
        """
class Seat(Base):
    __tablename__ = "seats"

    row: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)

"""
        + HEAD
        + """    row: Mapped[int] = mapped_column(index=False)
    number: Mapped[int] = mapped_column(index=False)

    __table_args__ = (ForeignKeyConstraint(["row", "number"], ["seats.row", "seats.number"]),)
""",
        ("number: Mapped[int] = mapped_column(index=False)", "number: Mapped[int]"),
        "unindexed-foreign-key",
    ),
    "annotated types and a type map": (
        """
Key = Annotated[int, mapped_column(Identity(), primary_key=True)]
Moment = Annotated[datetime, mapped_column(server_default=func.now())]
Note = Annotated[str | None, mapped_column(Text)]
Amount = Annotated[Decimal, mapped_column(Numeric(12, 2))]
Document = dict[str, Any]


class Plain(DeclarativeBase):
    metadata = MetaData(naming_convention=Base.metadata.naming_convention)
    type_annotation_map = {int: BigInteger, datetime: TIMESTAMP(timezone=True), Document: JSONB}


class Ticket(Plain):
    __tablename__ = "tickets"

    id: Mapped[Key]
    created_at: Mapped[Moment]
    closed_at: Mapped[Optional[datetime]]
    note: Mapped[Note]
    price: Mapped[Amount]
    extra: Mapped[Document]
""",
        ("TIMESTAMP(timezone=True)", "TIMESTAMP()"),
        "naive-timestamp",
    ),
    "mixins": (
        USER
        + """
class Dated:
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class Owned:
    @declared_attr
    def owner_id(cls) -> Mapped[int]:
        return mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)

    @declared_attr
    def owner(cls) -> Mapped["User"]:
        return relationship(lazy="raise")


class Ticket(Dated, Owned, Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)


class Comment(Dated, Owned, Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
""",
        ("server_default=func.now())\n    updated", 'server_default="now()")\n    updated'),
        "quoted-sql-default",
    ),
    "a write-only collection": (
        HEAD
        + """    comments: WriteOnlyMapped["Comment"] = relationship(
        back_populates="ticket", cascade="all, delete-orphan", passive_deletes=True
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
    ticket: Mapped[Ticket] = relationship(back_populates="comments", lazy="raise")
""",
        (', ondelete="CASCADE"', ""),
        "passive-deletes-without-ondelete",
    ),
    "a one-to-one that shares its key": (
        USER.rstrip()
        + """
    settings: Mapped["Settings"] = relationship(
        back_populates="user", cascade="all, delete-orphan", passive_deletes=True, lazy="raise"
    )


class Settings(Base):
    __tablename__ = "settings"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int]
    user: Mapped[User] = relationship(back_populates="settings", lazy="raise")
""",
        ("    number: Mapped[int]", "    number: Mapped[int] = mapped_column(primary_key=True)"),
        "one-to-one-without-unique",
    ),
    "citext": (
        USER.rstrip() + "\n    email: Mapped[str] = mapped_column(CITEXT, unique=True)\n",
        ("CITEXT", "Text"),
        "email-unique-by-case",
    ),
    "a tracked dictionary": (
        HEAD
        + "    extra: Mapped[dict[str, Any]] = mapped_column(\n"
        + '        MutableDict.as_mutable(JSONB), default=dict, server_default="{}"\n    )\n',
        ("default=dict", "default={'by': []}"),
        "mutable-default",
    ),
    "several bases, one of them without a convention of its own": (
        HEAD
        + """

class Second(DeclarativeBase):
    metadata = Base.metadata


class Tag(Second):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
""",
        ("    name: Mapped[str]", "    price: Mapped[float]\n    name: Mapped[str]"),
        "float-money",
    ),
    "joined and single inheritance": (
        """
class Event(Base):
    __tablename__ = "events"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "event"}

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]


class Call(Event):
    __tablename__ = "calls"
    __mapper_args__ = {"polymorphic_identity": "call"}

    id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), primary_key=True
    )
    seconds: Mapped[int]


class Mail(Event):
    __mapper_args__ = {"polymorphic_identity": "mail"}

    subject: Mapped[str] = mapped_column(nullable=True)
    was_read: Mapped[bool] = mapped_column(nullable=True)
""",
        ("    seconds: Mapped[int]", "    seconds: Mapped[int] = mapped_column(nullable=True)"),
        "nullability-disagrees",
    ),
    "a dataclass mapping": (
        """
class Data(MappedAsDataclass, Base):
    __abstract__ = True


class Ticket(Data):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text), default_factory=list)
    created_at: Mapped[datetime] = mapped_column(
        insert_default=lambda: datetime.now(UTC), init=False
    )
    status: Mapped[str] = mapped_column(default="open")
""",
        ("insert_default=lambda: datetime.now(UTC)", "insert_default=datetime.now(UTC)"),
        "import-time-default",
    ),
}


def found_by_default(folder: Path, sample: str, asyncio: bool) -> list[str]:
    """The rules of the default set that find something in *sample*."""
    path = write_sample(folder, sample)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = run([str(path)], asyncio=asyncio, root=folder)
    finally:
        forget(path.stem)
    assert outcome.problems == []
    return [item.rule for item in outcome.findings]


@pytest.mark.parametrize("what", REAL)
def test_real_code_is_left_alone(what: str, tmp_path: Path) -> None:
    sample, (right, wrong), rule = REAL[what]
    for asyncio in (False, True):
        assert found_by_default(tmp_path, sample, asyncio) == []
    assert right in sample
    assert rule in found_by_default(tmp_path, sample.replace(right, wrong), True)
