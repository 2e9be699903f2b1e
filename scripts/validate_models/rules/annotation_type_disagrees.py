"""``Mapped[float]`` over a column that gives another type."""

from __future__ import annotations

import datetime
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Iterator
from typing import Any, ForwardRef, Union, get_args, get_origin

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Time,
    Uuid,
)
from sqlalchemy.orm import ColumnProperty
from sqlalchemy.types import TypeEngine

from ..core import DOCS, Hit, Project, Rule, label
from ._annotations import annotation_of, evaluate, raw_annotation

# bool, datetime and enum classes are subclasses of some of these, and fit there.
PLAIN = {
    *(int, str, bool, float, bytes, decimal.Decimal, uuid.UUID),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta),
}
JUDGED = (
    *(Boolean, Date, DateTime, Enum, Integer, Interval),
    *(LargeBinary, Numeric, String, Time, Uuid),
)


def plain_type(kind: Any, cls: type) -> type | None:
    """The one type that *kind* means, None aside; None where it is none that we judge."""
    if isinstance(kind, type):
        return kind if kind in PLAIN or issubclass(kind, enum.Enum) else None
    if isinstance(kind, ForwardRef):
        kind = kind.__forward_arg__
    if isinstance(kind, str):
        kind = evaluate(kind, cls)
    if isinstance(kind, typing.NewType):
        return plain_type(kind.__supertype__, cls)
    if hasattr(kind, "__value__"):  # type X = ...
        return plain_type(kind.__value__, cls)
    origin = get_origin(kind)
    if origin is typing.Annotated:
        return plain_type(get_args(kind)[0], cls)
    if origin is Union or isinstance(kind, types.UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        return plain_type(parts[0], cls) if len(parts) == 1 else None
    return None


def given_type(kind: TypeEngine[Any]) -> type | None:
    """What the rows give for a type of SQLAlchemy's own; None for any other."""
    kind = getattr(kind, "_variant_mapping", {}).get("postgresql", kind)
    if not isinstance(kind, JUDGED) or not type(kind).__module__.startswith("sqlalchemy."):
        return None
    try:
        found = kind.python_type
    except NotImplementedError:
        return None
    known = found in PLAIN or issubclass(found, enum.Enum)
    return found if known else None


def fits(given: type, wanted: type) -> bool:
    """Whether a value of *given* may stand where *wanted* is annotated."""
    return issubclass(given, wanted) or (wanted is float and given is int)


def check(project: Project) -> Iterator[Hit]:
    """Columns whose rows give another type than their annotation says."""
    for mapper in project.mappers:
        for prop in mapper.column_attrs:
            if not isinstance(prop, ColumnProperty) or prop.parent is not mapper:
                continue
            column, known = prop.columns[0], annotation_of(mapper, prop.key)
            raw = raw_annotation(mapper.class_, prop.key)
            if not isinstance(column, Column) or known is None or raw is None:
                continue
            wanted, given = plain_type(known.inner, raw[1]), given_type(column.type)
            if wanted is None or given is None or fits(given, wanted):
                continue
            yield Hit(
                f"{label(mapper, prop.key)} is annotated as {wanted.__name__}, and the rows give "
                f"{given.__name__}",
                mapper=mapper,
                attribute=prop.key,
                # A str compares as the StrEnum does, and 1 as True.
                severity="info" if issubclass(wanted, given) and given in {str, int} else None,
            )


RULE = Rule(
    name="annotation-type-disagrees",
    severity="warning",
    family="annotations",
    title="The annotation says another type than the column gives",
    why="An explicit type wins over Mapped[...], in silence: the type checker passes "
    "Decimal + float, status.name of a str, or a comparison of a date and a datetime; they fail "
    "or lie when they run.",
    fix="    price: Mapped[Decimal] = mapped_column(Numeric(12, 2))\n"
    "    status: Mapped[Status] = mapped_column(Enum(Status, native_enum=False))\n"
    "or leave the type out of mapped_column().",
    url=f"{DOCS}/orm/declarative_tables.html#mapped-column-derives-the-datatype-and-nullability-"
    "from-the-mapped-annotation",
    check=check,
    bad="""
class Status(enum.Enum):
    OPEN = "OPEN"


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    hours: Mapped[float] = mapped_column(Numeric(9, 2))  # found
    status: Mapped[Status] = mapped_column(String(20))  # found
    due_on: Mapped[datetime | None] = mapped_column(Date)  # found
""",
    good="""
class Status(enum.Enum):
    OPEN = "OPEN"


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    hours: Mapped[Decimal] = mapped_column(Numeric(9, 2))
    status: Mapped[Status] = mapped_column(Enum(Status, native_enum=False))
    due_on: Mapped[date | None]
""",
    near_miss="""
class Level(enum.IntEnum):
    LOW = 1


class Hours(TypeDecorator[float]):
    impl = Numeric(9, 2)
    cache_ok = True


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    hours: Mapped[float] = mapped_column(Hours)
    weight: Mapped[float] = mapped_column(Integer)
    width: Mapped[float] = mapped_column(Numeric(9, 2, asdecimal=False))
    level: Mapped[Literal["low", "high"]] = mapped_column(Text)
    made_on: Mapped[date] = mapped_column(DateTime(timezone=True))
    token: Mapped[str] = mapped_column(Uuid(as_uuid=False))
    extra: Mapped[str] = mapped_column(JSONB)
    level_too: Mapped[Level | int] = mapped_column(Integer)
    anything: Mapped[Any] = mapped_column(Text)
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text))
""",
)
