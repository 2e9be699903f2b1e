"""Models with the faults that published skills teach: found by ``test_seed_like_models.py``.

A service desk of our own that behaves as those models do.  Each fault has its comment.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, DateTime, Enum, ForeignKey, String, Table, Text, func
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Root(DeclarativeBase):  # constraints without names: Alembic cannot drop them
    """The base."""


class Stage(enum.Enum):
    """Written in small letters, stored in capitals."""

    NEW = "new"
    WAITING = "waiting"
    DONE = "done"


class Kept:
    """Deleted by a mark, whose time has no zone."""

    removed_at: Mapped[datetime | None] = mapped_column(default=None)


class Signed:
    """Two foreign keys to people, beside those that the class itself has."""

    made_by: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    changed_by: Mapped[int | None] = mapped_column(ForeignKey("people.id"))


case_labels = Table(
    "case_labels",
    Root.metadata,
    Column("case_id", ForeignKey("cases.id"), primary_key=True),
    Column("label_id", ForeignKey("labels.id"), primary_key=True),  # looked up, without an index
)


class Person(Root, Kept):
    """Who asks and who answers."""

    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)  # ends at 2,147,483,647
    email: Mapped[str] = mapped_column(String(200), unique=True, index=True)  # to the letter
    is_active: Mapped[bool] = mapped_column(default=True)  # unknown to the database
    # Deleting a person with remarks writes NULL into a NOT NULL column.
    remarks: Mapped[list[Remark]] = relationship(back_populates="person")


class Case(Root, Kept):
    """What somebody asked."""

    __tablename__ = "cases"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(String(40), unique=True)  # taken for ever, once removed
    stage: Mapped[Stage] = mapped_column(Enum(Stage), default=Stage.NEW)
    changed_at: Mapped[datetime] = mapped_column(  # expired after each UPDATE
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )
    remarks: Mapped[list[Remark]] = relationship(
        back_populates="case", cascade="all, delete-orphan"
    )
    labels: Mapped[list[Label]] = relationship(secondary=case_labels, back_populates="cases")

    @hybrid_property
    def waited_hours(self) -> float | None:
        """Raises where the class is asked."""
        if not self.remarks:
            return None
        first = min(self.remarks, key=lambda remark: remark.id)
        return (first.made_at - self.changed_at).total_seconds() / 3600


class Remark(Root):
    """What somebody said of it."""

    __tablename__ = "remarks"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    case: Mapped[Case] = relationship(back_populates="remarks")
    person: Mapped[Person] = relationship(back_populates="remarks")


class Label(Root):
    """A word for a case."""

    __tablename__ = "labels"

    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(String(80), unique=True)
    cases: Mapped[list[Case]] = relationship(secondary=case_labels, back_populates="labels")


class Entry(Root):
    """What changed, as json without equality, whose changes in place are not written."""

    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"), index=True)
    changes: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    person: Mapped[Person | None] = relationship()


class Device(Root):
    """Its parts are of a class that nobody wrote."""

    __tablename__ = "devices"

    id: Mapped[int] = mapped_column(primary_key=True)
    parts: Mapped[list[Any]] = relationship("Part", back_populates="device")


class Visit(Root, Signed):
    """Which of three foreign keys leads to the guest is anybody's guess."""

    __tablename__ = "visits"

    id: Mapped[int] = mapped_column(primary_key=True)
    guest_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    guest: Mapped[Person] = relationship()
