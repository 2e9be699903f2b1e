"""Random valid models: no rule fails on them, and every finding is whole."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Computed

from tests.scripts.test_validate_models.samples import PRELUDE, forget, write_sample

# isort: split
from validate_models import api
from validate_models.core import SEVERITIES, Finding, Project, all_rules
from validate_models.report import FORMATS, render

HEAD = """
from dataclasses import dataclass
from sqlalchemy.dialects.postgresql import (
    BYTEA, DATERANGE, DOMAIN, ExcludeConstraint, HSTORE, INTERVAL, TSVECTOR
)
from sqlalchemy.types import NullType, UserDefinedType


class State(enum.Enum):
    OPEN = "open"
    CLOSED = "closed"


class Odd(TypeDecorator[Any]):
    impl = Text
    cache_ok = True
    __hash__ = None


class Raw(UserDefinedType[Any]):
    def get_col_spec(self, **kw: Any) -> str:
        return "RAW"


class Mute(UserDefinedType[Any]):
    pass


@dataclass
class Point:
    x: int
    y: int


Note = Annotated[str | None, mapped_column(Text)]
mappers = registry(metadata=Base.metadata)


class Dated:
    made_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())

    @declared_attr
    def seen_at(cls) -> Mapped[datetime | None]:
        return mapped_column(DateTime(timezone=False))


class Data(MappedAsDataclass, Base, kw_only=True):
    __abstract__ = True


class Lazy(AsyncAttrs, Base):
    __abstract__ = True

"""

# Each is a column of its own; {0} makes the names different.
COLUMNS = [
    "aa{0}: Mapped[int]",
    "b{0}: Mapped[str | None] = mapped_column(String(9), index=True)",
    "c{0}: Mapped[Optional[bool]]",
    "d{0}: Mapped[Note]",
    "e{0}: Mapped[State]",
    "f{0}: Mapped[State] = mapped_column("
    "Enum(State, native_enum=False, create_constraint=True, name='f{0}'))",
    "g{0}: Mapped[Literal['a', 'b']]",
    "h{0}: Mapped[list[str]] = mapped_column(ARRAY(Text), index=True)",
    "i{0}: Mapped[list[State]] = mapped_column(ARRAY(Enum(State, name='states', schema='x')))",
    "j{0}: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text(\"'{{}}'\"))",
    "k{0}: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSONB()))",
    "l{0}: Mapped[int] = mapped_column(Computed('1 + 1', persisted=True))",
    "m{0}: Mapped[uuid.UUID] = mapped_column(server_default=text('gen_random_uuid()'))",
    "n{0}: Mapped[Any] = mapped_column(TSVECTOR, deferred=True, index=True)",
    "o{0}: Mapped[Any] = mapped_column(Odd, unique=True)",
    "p{0}: Mapped[Any] = mapped_column(Raw)",
    "q{0}: Mapped[Any] = mapped_column(Mute)",
    "r{0}: Mapped[Any] = mapped_column(DATERANGE)",
    "s{0}: Mapped[timedelta] = mapped_column(INTERVAL)",
    "t{0}: Mapped[str] = mapped_column('Order Number {0}', CITEXT, unique=True, index=True)",
    "u{0}: Mapped[str] = mapped_column('größe{0}', Text, CheckConstraint('true', name='true{0}'))",
    "v{0}: Mapped[Any] = mapped_column(HSTORE, nullable=False)",
    "w{0} = Column(NullType)",
    "x{0} = Column(Float, default=lambda: 0.5, comment='no annotation')",
    "y{0}: Mapped[str] = mapped_column(DOMAIN('postal{0}', Text))",
    "z{0}: Mapped[bytes | None] = mapped_column(BYTEA, server_default=FetchedValue())",
    "email{0}: Mapped[str] = mapped_column(unique=True)",
    "price{0}: Mapped[Decimal] = mapped_column(Numeric(9, 2), default=Decimal(0))",
    "moment{0}: Mapped[datetime] = mapped_column(default=lambda context: None)",
    "number{0}: Mapped[int] = mapped_column(Sequence('numbers{0}'), autoincrement=False)",
    "json{0}: Mapped[dict[str, Any]] = mapped_column(JSON(none_as_null=True))",
    "vary{0}: Mapped[Any] = mapped_column(JSON().with_variant(JSONB(), 'postgresql'))",
]
# What a class may have besides; a dataclass cannot hold all of them.
EXTRAS = [
    "total{0}: Mapped[int] = column_property(select(func.count()).scalar_subquery())",
    "other{0}: Mapped[Any] = synonym('a0')",
    "point{0}: Mapped[Point] = composite(mapped_column('x{0}x'), mapped_column('y{0}y'))",
    "@hybrid_property\n    def double{0}(self) -> Any:\n        return self.a0 * 2",
    "@hybrid_property\n    def length{0}(self) -> int:\n        return len(str(self.a0))",
    "@validates('a0')\n    def check{0}(self, key: str, value: Any) -> Any:\n        return value",
    "plain{0} = 7",
    "@property\n    def plain_too{0}(self) -> int:\n        return 1",
]
ARGUMENTS = [
    "Index(None, 'a0')",
    "Index('ix_{0}_{1}', 'a0', unique=True, postgresql_where=text('a0 > 1'))",
    "Index('ix_{0}_{1}', text('lower(a0::text)'), postgresql_using='btree')",
    "Index('ix_{0}_{1}', func.abs(literal_column('a0')).desc().nulls_last())",
    "Index('ix_{0}_{1}', 'a0', postgresql_include=['a1'], postgresql_with={{'fillfactor': 50}})",
    "Index('ix_{0}_{1}', 'a0', postgresql_using='hash', postgresql_concurrently=True)",
    "Index('ix_{0}_{1}', 'a0', 'a1', postgresql_ops={{'a0': 'int8_ops'}})",
    "Index('ix_{0}_{1}', 'a1', 'a0', unique=True, postgresql_nulls_not_distinct=True)",
    "UniqueConstraint('a1', 'a0', deferrable=True, initially='DEFERRED')",
    "UniqueConstraint('a0', 'a1', postgresql_nulls_not_distinct=True)",
    "CheckConstraint('a0 > 0', name='positive')",
    "CheckConstraint(text('a1 > 0'), name='{0}_{1}')",
    "ExcludeConstraint(('a0', '='), ('a1', '<>'), using='gist', where=text('a0 > 1'))",
    "ExcludeConstraint((text('int4range(a0, a1)'), '&&'), name='ex_{0}_{1}')",
]
KINDS = ("Base", "Lazy", "Data", "imperative", "core", "joined", "single", "abstract")
LAZY = ("'select'", "'raise'", "'selectin'", "'joined'", "'noload'", "'immediate'")


@dataclass
class Made:
    """A table that exists already: its class, its name, its key's columns with their types."""

    cls: str | None
    table: str
    key: list[tuple[str, str]]
    polymorphic: bool = False


def some(draw: Any, texts: list[str], most: int) -> list[str]:
    """Up to *most* of *texts*."""
    return list(draw(st.lists(st.sampled_from(texts), max_size=most, unique=True)))


def key_of(draw: Any) -> list[tuple[str, str]]:
    """The columns of a primary key, one or two."""
    single = [("id", "Integer"), ("id", "Uuid"), ("code", "String(5)"), ("Id Key", "BigInteger")]
    first = draw(st.sampled_from(single))
    return [first, ("tenant", "BigInteger")] if draw(st.booleans()) else [first]


def attribute(name: str) -> str:
    """The attribute for a column's name."""
    return name.lower().replace(" ", "_")


def references(draw: Any, made: Made, prefix: str) -> tuple[list[str], list[str]]:
    """Columns that refer to *made*, and what ``__table_args__`` needs for that."""
    null = draw(st.booleans())
    names = [f"{prefix}_{attribute(name)}" for name, _ in made.key]
    kinds = [kind for _, kind in made.key]
    options = draw(st.sampled_from(["", ", ondelete='CASCADE'", ", ondelete='SET NULL'"]))
    columns = [
        f"{name}: Mapped[Any] = mapped_column({kind}, nullable={null})"
        for name, kind in zip(names, kinds, strict=True)
    ]
    targets = [f"{made.table}.{name}" for name, _ in made.key]
    return columns, [f"ForeignKeyConstraint({names}, {targets}{options})"]


def declared(draw: Any, number: int, kind: str, known: list[Made]) -> tuple[str, Made]:
    """A declarative class."""
    name, table, key = f"C{number}", f"t{number}", key_of(draw)
    data = kind == "Data"
    bases = ["Base" if kind == "abstract" else kind]
    if not data and draw(st.booleans()):
        bases.insert(0, "Dated")
    if kind == "abstract":
        bases.insert(0, f"Abstract{number}")
    lines = [
        f"{attribute(column)}: Mapped[Any] = mapped_column({column!r}, {type_}, primary_key=True)"
        for column, type_ in key
    ]
    lines += ["a0: Mapped[int]", "a1: Mapped[int | None]"]
    lines += [text.format(number) for text in some(draw, COLUMNS, 4)]
    lines += [] if data else [text.format(number) for text in some(draw, EXTRAS, 2)]
    arguments = [text.format(table, n) for n, text in enumerate(some(draw, ARGUMENTS, 3))]
    after: list[str] = []
    polymorphic = not data and draw(st.booleans())
    made = Made(name, table, key, polymorphic)
    targets = [each for each in known if each.cls] + [made]
    for turn, target in enumerate(draw(st.lists(st.sampled_from(targets), max_size=2))):
        prefix = f"ref{turn}"
        columns, more = references(draw, target, prefix)
        lines += columns
        arguments += more
        local = ", ".join(f"{name}.{prefix}_{attribute(column)}" for column, _ in target.key)
        remote = ", ".join(f"{target.cls}.{attribute(column)}" for column, _ in target.key)
        joined = ", ".join(
            f"{left} == {right}"
            for left, right in zip(local.split(", "), remote.split(", "), strict=True)
        )
        lazy = draw(st.sampled_from(LAZY))
        options = f"foreign_keys='[{local}]', primaryjoin='and_({joined})', lazy={lazy}"
        options += f", remote_side='[{remote}]'"
        reverse = draw(st.sampled_from(["", "back", "backref", "collection"])) if not data else ""
        if reverse == "backref":
            options += f", backref='back_{name}_{turn}'"
        if reverse == "back":
            options += f", back_populates='back_{name}_{turn}'"
        lines.append(f"{prefix}: Mapped[{target.cls!r}] = relationship({options})")
        if reverse in {"back", "collection"}:
            shape = draw(
                st.sampled_from(["Mapped[list[{0}]]", "Mapped[{0}]", "WriteOnlyMapped[{0}]"])
            ).format(repr(name))
            cascade = draw(st.sampled_from(["", ", cascade='all, delete-orphan'"]))
            passive = draw(
                st.sampled_from(["", ", passive_deletes=True", ", passive_deletes='all'"])
            )
            if cascade and "'all'" in passive:
                passive = ""
            if "WriteOnly" in shape and not cascade:
                passive = passive or ", passive_deletes=True"
            both = f", back_populates='{prefix}'" if reverse == "back" else ", overlaps='x'"
            line = (
                f"back_{name}_{turn}: {shape} = relationship({name!r}, foreign_keys='[{local}]', "
                f"primaryjoin='and_({joined})'{cascade}{passive}{both})"
            )
            if target is made:
                lines.append(line)
            else:
                after.append(f"{target.cls}.{line.partition(':')[0]} = {line.partition(' = ')[2]}")
    mapper = []
    if polymorphic:
        lines.append("kind: Mapped[str]")
        mapper = [
            f"__mapper_args__ = {{'polymorphic_on': 'kind', 'polymorphic_identity': {name!r}}}"
        ]
    head = [f"class {name}({', '.join(bases)}):", f"__tablename__ = {table!r}"]
    settings_ = [f"__table_args__ = ({', '.join(arguments)},)"] if arguments else []
    body = "\n    ".join([*head, *settings_, *mapper, *lines])
    before = ""
    if kind == "abstract":
        column = draw(st.sampled_from(COLUMNS)).format(f"{number}_")
        before = f"class Abstract{number}(Base):\n    __abstract__ = True\n    {column}\n\n\n"
    late = "".join(f"\n{line}\n" for line in after)
    return f"{before}{body}\n{late}", made


def derived(draw: Any, number: int, kind: str, base: Made) -> tuple[str, Made]:
    """A subclass, with a table of its own or in that of its base."""
    name, table = f"C{number}", f"t{number}"
    lines = [f"class {name}({base.cls}):"]
    columns = [text.format(f"{number}_") for text in some(draw, COLUMNS, 3)]
    lines.append(f"__mapper_args__ = {{'polymorphic_identity': {name!r}}}")
    if kind == "joined":
        lines.append(f"__tablename__ = {table!r}")
        own = [attribute(column) for column, _ in base.key]
        targets = [f"{base.table}.{column}" for column, _ in base.key]
        lines.append(f"__table_args__ = (ForeignKeyConstraint({own}, {targets}),)")
        lines += [
            f"{attribute(column)}: Mapped[Any] = mapped_column({type_}, primary_key=True)"
            for column, type_ in base.key
        ]
    lines += columns
    if kind == "single":
        return "\n    ".join(lines) + "\n", replace(base, cls=name)
    key = [(attribute(column), type_) for column, type_ in base.key]
    return "\n    ".join(lines) + "\n", Made(name, table, key, True)


def plain(draw: Any, number: int, kind: str) -> tuple[str, Made]:
    """A table of Core, with or without a class mapped to it by hand."""
    table, key = f"t{number}", key_of(draw)
    columns = [f"Column({name!r}, {type_}, primary_key=True)" for name, type_ in key]
    columns += ["Column('a0', Integer, index=True)", "Column('a1', Float, default=1)"]
    columns += [text.format(table, n) for n, text in enumerate(some(draw, ARGUMENTS, 2))]
    schema = ", schema='aside'" if draw(st.booleans()) else ""
    text = f"{table} = Table({table!r}, Base.metadata, {', '.join(columns)}{schema})\n"
    full = f"aside.{table}" if schema else table
    if kind == "core":
        return text, Made(None, full, key)
    text += f"\n\nclass C{number}:\n    pass\n\n\nmappers.map_imperatively(C{number}, {table})\n"
    return text, Made(None, full, key)


def link(draw: Any, number: int, left: Made, right: Made) -> str:
    """A many-to-many between two classes, the same one perhaps."""
    lines: list[str] = []
    local: list[str] = []
    remote: list[str] = []
    keyed = draw(st.booleans())
    for side, made, joins in (("left", left, local), ("right", right, remote)):
        names = [f"{side}_{attribute(name)}" for name, _ in made.key]
        lines += [
            f"Column({name!r}, {type_}, primary_key={keyed})"
            for name, (_, type_) in zip(names, made.key, strict=True)
        ]
        targets = [f"{made.table}.{name}" for name, _ in made.key]
        lines.append(f"ForeignKeyConstraint({names}, {targets})")
        joins += [
            f"{made.cls}.{attribute(name)} == links{number}.c.{column}"
            for column, (name, _) in zip(names, made.key, strict=True)
        ]
    options = draw(st.sampled_from(["", ", cascade='all'", ", viewonly=True", ", lazy='dynamic'"]))
    return (
        f"links{number} = Table('links{number}', Base.metadata, {', '.join(lines)})\n"
        f"{left.cls}.many{number} = relationship({right.cls}, secondary=links{number}, "
        f"overlaps='x', primaryjoin=and_({', '.join(local)}), "
        f"secondaryjoin=and_({', '.join(remote)}){options})\n"
    )


@st.composite
def models(draw: Any) -> str:
    """The source of up to five tables."""
    parts: list[str] = []
    known: list[Made] = []
    for number in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(KINDS))
        bases = [made for made in known if made.polymorphic and made.cls]
        if kind in {"joined", "single"} and bases:
            text, made = derived(draw, number, kind, draw(st.sampled_from(bases)))
        elif kind in {"core", "imperative"}:
            text, made = plain(draw, number, kind)
        else:
            kind = "Base" if kind in {"joined", "single"} else kind
            text, made = declared(draw, number, kind, known)
        parts.append(text)
        known.append(made)
    classes = [made for made in known if made.cls]
    if classes and draw(st.booleans()):
        ends = draw(st.sampled_from(classes)), draw(st.sampled_from(classes))
        parts.append(link(draw, 9, *ends))
    return HEAD + "\n\n".join(parts)


def ask(folder: Path, sample: str) -> list[Finding]:
    """All rules about *sample*; it must configure, and each rule must come to its end."""
    path = write_sample(folder, sample)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = api.run([str(path)], select=["all"], asyncio=True, root=folder)
    finally:
        forget(path.stem)
    assert outcome.problems == [], outcome.problems
    assert outcome.mappers + outcome.tables > 0
    assert_whole(outcome.findings, path)
    return outcome.findings


def assert_whole(findings: list[Finding], path: Path) -> None:
    """Every field of every finding can be shown, and the place is really there."""
    lines, rules = path.read_text().splitlines(), all_rules()
    assert len({item.fingerprint for item in findings}) == len(findings)
    for item in findings:
        rule = rules[item.rule]
        assert item.rule != "broken-mapper", item.message
        assert item.severity in SEVERITIES
        assert (item.why, item.url) == (rule.why, rule.url)
        for text in (item.message, item.fix):
            assert text.strip()
        assert "\n" not in item.message
        assert " object at 0x" not in item.message
        assert re.fullmatch("[0-9a-f]{16}", item.fingerprint)
        assert item.model or item.table
        assert item.path == path.name
        assert item.line
        assert item.column
        assert item.frame is not None
        assert item.frame == lines[item.line - 1]
        assert item.line > PRELUDE.count("\n") or item.rule == "missing-naming-convention"
        assert 1 <= item.column <= len(item.frame) + 1
        assert (item.end_column or 0) > item.column
    for name in FORMATS:
        text = render(name, findings, len(findings), rules)
        assert name not in {"json", "sarif"} or json.loads(text)


CAREFUL = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@CAREFUL
@given(sample=models())
def test_no_rule_fails_on_random_models(
    tmp_path_factory: pytest.TempPathFactory, sample: str
) -> None:
    ask(tmp_path_factory.getbasetemp(), sample)


def test_a_rule_that_fails_now_and_then_is_found(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same search, with a rule that forgets one kind of column."""

    def forgetful(project: Project) -> Any:
        for _, column in project.columns():
            assert not isinstance(column.server_default, Computed)
        return ()

    rules = {**all_rules(), "int4-key": replace(all_rules()["int4-key"], check=forgetful)}
    monkeypatch.setattr(api, "all_rules", lambda: rules)

    @settings(CAREFUL, phases=[Phase.generate])
    @given(sample=models())
    def search(sample: str) -> None:
        ask(tmp_path_factory.getbasetemp(), sample)

    with pytest.raises(AssertionError, match="could not be proved"):
        search()
