"""No page and no example teaches what is deprecated; the wrong sides do, and are left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages.blocks import Block, blocks_of
from tests.pages.deprecated import deprecated

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = sorted((ROOT / "examples").rglob("*.py"))
# upgrading*.md show what there was.
PAGES = [
    ROOT / "SKILL.md",
    ROOT / "EXAMPLES.md",
    *sorted(
        page for page in (ROOT / "references").glob("*.md") if not page.name.startswith("upgrading")
    ),
]
pytestmark = pytest.mark.once


def taught(text: str) -> list[Block]:
    """The Python blocks of a page but those under ``**Wrong**``, and those that must raise."""
    lines = text.splitlines()

    def heading(block: Block) -> str:
        """The last of the marks above *block*; a fence before it ends the search."""
        for line in reversed(lines[: block.line - 1]):
            if mark := re.match(r"\*\*(Wrong|Right)\*\*", line):
                return mark[1]
            if line.startswith(("#", "```")):
                return ""
        return ""

    found = [block for block in blocks_of(text) if block.language == "python"]
    return [block for block in found if not block.raises and heading(block) != "Wrong"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_teaches_nothing_deprecated(path: Path) -> None:
    wrong = "broken" if path.parent.name == "pitfalls" else None
    assert deprecated(path.read_text(), without=wrong) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_teaches_nothing_deprecated(page: Path) -> None:
    found = [
        f"{page.name}:{block.line} {fault}"
        for block in taught(page.read_text())
        for fault in deprecated(block.code)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("session.query(Ticket)", "session.query; use select()"),
        ("self.session.query(Ticket).get(1)", "self.session.query; use select()"),
        ("engine.execute('x')", "engine.execute; use connection.execute()"),
        ("at = datetime.datetime.utcnow()", "datetime.datetime.utcnow; use datetime.now(UTC)"),
        ("default=utcnow\nmapped_column(default=datetime.utcnow)", "use datetime.now(UTC)"),
        ("session.bulk_save_objects(rows)", "use session.add_all()"),
        ("from sqlalchemy.orm import declarative_base", "use class Base(DeclarativeBase)"),
        ("from sqlalchemy.ext.declarative import declared_attr", "use sqlalchemy.orm"),
        ("from sqlalchemy.future import select", "use sqlalchemy"),
        ("a = relationship('B', backref='as')", "relationship(backref=); use back_populates"),
        ("a = orm.relationship('B', lazy='dynamic')", "lazy='dynamic'; use lazy='write_only'"),
        ("select(Ticket).options(noload(Ticket.tags))", "noload; use raiseload()"),
        ("select([Ticket.id])", "select([…]); use select(…)"),
        ("create_engine('postgresql://h/d')", "without a driver; use postgresql+psycopg://"),
        ("op.drop_constraint(None, 't')", "drop_constraint(None); use its name"),
        ("@app.on_event('startup')\ndef start(): ...", "app.on_event; use lifespan="),
        ("TicketOut.from_orm(ticket)", "TicketOut.from_orm; use model_validate()"),
    ],
)
def test_what_is_deprecated_is_seen(code: str, fault: str) -> None:
    (found,) = deprecated(code)
    assert fault in found


@pytest.mark.parametrize(
    "code",
    [
        "select(Ticket.query)",
        "request.query",
        "relationship(back_populates='a', lazy='selectin')",
        "create_engine('postgresql+psycopg://h/d')",
        "connection.execute(text('select 1'))",
        "op.drop_constraint('uq_a', 't')",
        "select(*[Ticket.id])",
    ],
)
def test_what_looks_like_it_is_not(code: str) -> None:
    assert deprecated(code) == []


def test_the_wrong_sides_are_left_out() -> None:
    wrong = "**Wrong**: rows are lost.\n\n```python\nsession.query(1)\n```\n"
    right = "\n**Right**\n\n```python\nsession.query(2)\n```\n"
    assert [block.code for block in taught(wrong + right)] == ["session.query(2)\n"]
    pitfall = "def broken():\n    session.query(1)\n\ndef fixed():\n    session.query(2)\n"
    assert deprecated(pitfall, without="broken") == ["5: session.query; use select()"]
