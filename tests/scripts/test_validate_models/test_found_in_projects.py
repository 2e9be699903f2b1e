"""What went wrong in real projects: a crash, an endless loop, what was missed, what was false."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine, insert

from tests.scripts.test_validate_models.samples import PRELUDE, loaded
from tests.scripts.test_validate_models.test_proofs import desk
from tests.scripts.test_validate_models.test_real_code import found_by_default
from tests.scripts.test_validate_models.test_rules import ask

# isort: split
from validate_models.core import all_rules
from validate_models.rules.python_only_hybrid import Endless, ask_class
from validate_models.targets import model_files

SA_21 = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2]) >= (2, 1)
HEAD = """
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
"""
NAMES = """
    people: Mapped[list[dict[str, str]] | None] = mapped_column(JSONB)

    @hybrid_property
    def names(self) -> list[str]:
        return [person["name"] for person in self.people or ()]
"""


def test_the_condition_of_an_index_may_be_an_expression(tmp_path: Path) -> None:
    sample = (
        HEAD
        + "    title: Mapped[str] = mapped_column(index=True)\n"
        + "    closed_at: Mapped[datetime | None] = mapped_column()\n"
        + '    __table_args__ = (Index("ix_open", title, postgresql_where=closed_at.is_(None)),)\n'
    )
    assert found_by_default(tmp_path, sample, asyncio=False) == []
    twice = sample.replace("(Index(", '(Index("ix_again", title), Index(')
    assert found_by_default(tmp_path, twice, asyncio=False) == ["duplicate-index"]


@contextmanager
def at_most(calls: int) -> Iterator[None]:
    """Raises ``TimeoutError`` after so many calls: what never ends would hang the test."""
    left = calls

    def count(_frame: FrameType, event: str, _what: Any) -> None:
        nonlocal left
        left -= event == "call"
        if left < 0:
            raise TimeoutError

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)


def test_a_hybrid_over_a_document_never_ends(engines: dict[str, Engine], tmp_path: Path) -> None:
    with desk(engines["psycopg"], tmp_path, HEAD + NAMES) as (module, session):
        if SA_21:
            with pytest.raises(TimeoutError), at_most(100_000):
                session.execute(insert(module.Ticket), [{"people": []}, {"people": []}])
        else:
            session.execute(insert(module.Ticket), [{"people": []}, {"people": []}])


def test_a_hybrid_that_never_ends_is_found_in_the_end(tmp_path: Path) -> None:
    assert found_by_default(tmp_path, HEAD + NAMES, asyncio=False) == ["python-only-hybrid"]
    with loaded(tmp_path, HEAD + NAMES) as module:
        seen: list[str] = []

        def watch(_frame: FrameType, event: str, _what: Any) -> None:
            seen.append(event)

        sys.setprofile(watch)  # as a profiler of the user's would
        try:
            with pytest.raises(Endless):
                ask_class(module.Ticket, "names")
            assert sys.getprofile() is watch
        finally:
            sys.setprofile(None)


def test_a_function_may_be_called_utcnow(tmp_path: Path) -> None:
    clock = """
class Clock:
    @staticmethod
    def utcnow() -> datetime:
        return datetime.now(UTC).replace(tzinfo=None)


def utcnow() -> datetime:
    return Clock.utcnow()

"""
    sample = clock + HEAD + "    made: Mapped[datetime] = mapped_column(DateTime, default=utcnow)\n"
    for default in ("utcnow", "Clock.utcnow", "lambda: Clock.utcnow()"):
        changed = sample.replace("default=utcnow", f"default={default}")
        assert "utcnow-default" not in found_by_default(tmp_path, changed, asyncio=False)
    for default in ("datetime.utcnow", "lambda: datetime.utcnow()"):
        changed = sample.replace("default=utcnow", f"default={default}")
        assert "utcnow-default" in found_by_default(tmp_path, changed, asyncio=False)


def test_models_whose_base_names_their_tables_are_seen(tmp_path: Path) -> None:
    models = {
        "base.py": PRELUDE,
        "columns.py": "import sqlalchemy as sa\nclass A(Base):\n    a = sa.Column(sa.Text)\n",
        "dist_a/mapped.py": "from sqlalchemy.orm import Mapped\nclass A:\n    a: Mapped[X]\n",
        "environment.py": "from sqlalchemy import Column\nclass A(Base):\n    a = Column(Text)\n",
    }
    others = {
        "table.py": "from rich.table import Column\nwidth = Column('sqlite')\n",
        "tests/models.py": PRELUDE,
        "venv/lib/models.py": PRELUDE,
        "venv-2.0/models.py": PRELUDE,
        "env/models.py": PRELUDE,
        "build/models.py": PRELUDE,
        ".hidden/models.py": PRELUDE,
        "versions/one.py": "from alembic import op\nimport sqlalchemy\nsqlalchemy.Column('a')\n",
    }
    for name, text in {**models, **others}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = [path.relative_to(tmp_path).as_posix() for path in model_files(tmp_path)]
    assert sorted(found) == sorted(models)


KEY = """    ticket_id: Mapped[int | None] = mapped_column(
        ForeignKey("tickets.id", ondelete="SET NULL"), index=True
    )
"""
BOTH = """    ticket_id: Mapped[int | None]
    __table_args__ = (
        ForeignKeyConstraint(
            ["ticket_id", "tenant"], ["tickets.id", "tickets.tenant"], ondelete="CASCADE"
        ),
    )
"""


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (KEY, []),
        (
            KEY.replace("int | None", "int").replace("SET NULL", "RESTRICT"),
            ["deleting a Ticket that has some sets Comment.ticket_id to NULL, which is NOT NULL"],
        ),
        (
            KEY.replace("SET NULL", "CASCADE"),
            ["the database deletes the children, and the ORM keeps them with NULL"],
        ),
        (BOTH, ["the database deletes the children, and the ORM keeps them with NULL"]),
    ],
    ids=["as it is", "not null", "cascade", "both in the key"],
)
def test_a_join_by_more_than_the_key_is_judged_by_the_key(
    key: str, expected: list[str], tmp_path: Path
) -> None:
    """The tenant is compared, and not written: the near miss of the rule, and what it might be."""
    sample = all_rules()["parent-delete-nulls-key"].near_miss
    assert KEY in sample
    outcome, _ = ask(tmp_path, sample.replace(KEY, key), "cascades", ["missing-ondelete"])
    assert [item.message for item in outcome.findings] == expected


ONE = """
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    bill: Mapped["Bill | None"] = relationship(
        primaryjoin=lambda: and_(Ticket.id == foreign(Bill.ticket_id), Ticket.tenant == Bill.tenant)
    )


class Bill(Base):
    __tablename__ = "bills"
    __table_args__ = (UniqueConstraint("ticket_id", "tenant"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    ticket_id: Mapped[int | None] = mapped_column(ForeignKey("tickets.id", ondelete="SET NULL"))
"""


def test_a_one_to_one_may_be_kept_by_more_than_the_key(tmp_path: Path) -> None:
    name = "one-to-one-without-unique"
    assert ask(tmp_path, ONE, name)[0].findings == []
    outcome, _ = ask(tmp_path, ONE.replace('"ticket_id", "tenant"', '"id", "tenant"'), name)
    assert [item.rule for item in outcome.findings] == [name]
