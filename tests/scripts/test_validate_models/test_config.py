"""``[tool.validate-models]``, ``info`` and the comments: what a project says it lives with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import ForeignKey, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from tests.scripts.test_validate_models.samples import PRELUDE, run_script

# isort: split
from validate_models.api import validate
from validate_models.config import Lines, read
from validate_models.excuses import info_of
from validate_models.targets import TargetError

MODELS = """
class Priced:
    price: Mapped[float]


class Ticket(Priced, Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    due_at: Mapped[datetime] = mapped_column(DateTime)


class Old(Priced, Base):
    __tablename__ = "legacy_tickets"
    __table_args__ = {"schema": "archive"}

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    due_at: Mapped[datetime] = mapped_column("due", DateTime)
"""
ALL = {
    "tickets.price: float-money",
    "tickets.due_at: naive-timestamp",
    "archive.legacy_tickets.price: float-money",
    "archive.legacy_tickets.due_at: naive-timestamp",
    "archive.legacy_tickets.id: int4-key",
}
CONCISE = ("--output-format", "concise")
# Named, since the rules become more.
RULES = ("float-money", "naive-timestamp", "int4-key", "unused-ignore")
ASKED = ("--select", ",".join(RULES))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a folder with a space, with its models in ``shop/models.py``."""
    folder = tmp_path / "a shop"
    (folder / "shop").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "shop" / "base.py").write_text(PRELUDE)
    write(folder, MODELS)
    return folder


def write(project: Path, models: str) -> None:
    """Write the models."""
    (project / "shop" / "models.py").write_text(f"from shop.base import *\n\n{models}")


def configure(project: Path, text: str) -> None:
    """Write the table of ``pyproject.toml``, from line 4 on."""
    head = "[project]\nname = 'shop'\n\n[tool.validate-models]\n"
    (project / "pyproject.toml").write_text(head + text)


def told(result: subprocess.CompletedProcess[str]) -> list[str]:
    """Place and message of each line of a report."""
    assert "Traceback" not in result.stderr
    assert result.returncode < 2, result.stderr
    return result.stdout.splitlines()


def left(project: Path) -> set[str]:
    """``table.attribute: rule`` of what is found, by the configuration."""
    result = run_script("--output-format", "json", cwd=project)
    assert result.returncode < 2, result.stderr
    found = json.loads(result.stdout)["findings"]
    return {f"{item['table']}.{item['attribute']}: {item['rule']}" for item in found}


# --- Settings -------------------------------------------------------------------------------------


def test_targets_of_the_file_need_no_argument(project: Path) -> None:
    """From the project's folder, and from one below it."""
    for targets in ('["shop"]', '["shop.models"]', '["shop/models.py"]', '["shop.models:Base"]'):
        configure(project, f"targets = {targets}\nselect = {list(RULES)}\n")
        for folder in (project, project / "shop"):
            result = run_script(*CONCISE, cwd=folder)
            assert len(told(result)) == 5, result.stderr
            assert "shop/models.py:5:5: warning: float-money" in result.stdout


def test_the_settings_are_those_of_the_command_line(project: Path) -> None:
    configure(
        project,
        'targets = ["shop"]\nselect = ["float-money", "naive-timestamp", "int4-key"]\n'
        'ignore = ["float-money"]\n'
        'severity = "info"\nfail-on = "error"\noutput-format = "concise"\nmax-findings = 2\n'
        'asyncio = false\nroot = "."\nenv-file = "settings"\n',
    )
    (project / "settings").write_text("SHOP=1\n")
    write(project, "import os\nassert os.environ['SHOP']\n" + MODELS)
    result = run_script(cwd=project)
    assert len(result.stdout.splitlines()) == 2
    assert "3 findings (0 error, 2 warning, 1 info); 1 not shown" in result.stderr
    assert result.returncode == 0


def test_the_command_line_wins(project: Path) -> None:
    configure(
        project,
        'targets = ["shop.nothing"]\nselect = ["names"]\nignore = ["types"]\nfail-on = "error"\n'
        'severity = "error"\noutput-format = "json"\nmax-findings = 1\n',
    )
    given = "--select float-money --ignore naive-timestamp --severity info --fail-on info"
    result = run_script(*given.split(), *CONCISE, "--max-findings", "9", "shop", cwd=project)
    assert [line.split(": ")[2] for line in told(result)] == ["float-money"] * 2
    assert result.returncode == 1
    isolated = run_script("--isolated", *CONCISE, *ASKED, "shop", cwd=project)
    assert len(told(isolated)) == 5
    assert "received no target" in run_script("--isolated", cwd=project).stderr


def test_another_file_and_the_nearest_one(project: Path) -> None:
    (project / "pyproject.toml").write_text("[project]\nname = 'validate-models of a shop'\n")
    (project / "other.toml").write_text(
        "[tool.validate-models]\nselect = ['float-money']\nignore = ['types']\n"
    )
    result = run_script("--config", "other.toml", *CONCISE, "shop", cwd=project)
    assert told(result) == []
    assert len(told(run_script(*CONCISE, *ASKED, "shop", cwd=project))) == 5
    # That of the target's own project; one without the table is passed over; Git ends the search.
    configure(project, "select = ['float-money']\nignore = ['types']\n")
    inner = project / "inner"
    inner.mkdir()
    (inner / "models.py").write_text(PRELUDE + MODELS)
    (inner / "pyproject.toml").write_text("[project]\nname = 'inner'\n")
    assert told(run_script(*CONCISE, inner / "models.py", cwd=project.parent)) == []
    (inner / ".git").write_text("gitdir: elsewhere\n")
    assert len(told(run_script(*CONCISE, *ASKED, inner / "models.py", cwd=project))) == 5


FAULTS = {
    "igore = []": ("the setting 'igore'", "try: ignore"),
    "per_table_ignores = {}": ("the setting 'per_table_ignores'", "try: per-table-ignores"),
    "ignore = ['flaot-money']": ("'flaot-money' in", "try: float-money"),
    "select = 'types'": ("select = 'types'", 'try: ["types"]'),
    "ignore = [1]": ("ignore = [1]", "a list of strings"),
    "severity = 'worning'": ("severity = 'worning'", "try: warning"),
    "fail-on = 3": ("fail-on = 3", "one of info, warning, error"),
    "output-format = 'xml'": ("output-format = 'xml'", "one of full, concise"),
    "asyncio = 1": ("asyncio = 1", "true or false"),
    "max-findings = true": ("max-findings = True", "a number"),
    "max-findings = -1": ("max-findings = -1", "a number"),
    "baseline = ['x']": ("baseline = ['x']", "a path"),
    "per-table-ignores = ['x']": ("per-table-ignores = ['x']", "a table"),
    "per-table-ignores = {x = 'types'}": ("x = 'types'", 'try: ["types"]'),
    "per-table-ignores = {x = ['tipes']}": ("'tipes' in", "a rule, a family or all"),
    "per-attribute-ignores = {price = ['types']}": ("'price' in", "Model.attribute"),
}


@pytest.mark.parametrize("text", FAULTS)
def test_what_is_no_setting_is_told_with_its_line(project: Path, text: str) -> None:
    received, rest = FAULTS[text]
    configure(project, f"# igore, flaot-money\n{text}\n")
    with pytest.raises(TargetError) as caught:
        read(project / "pyproject.toml")
    message = str(caught.value).replace("the rule ", "")
    for words in (f"received {received}", "pyproject.toml, line 6", rest, "expected: ", "try: "):
        assert words in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.validate-models\n", "which is no TOML"),
        ("[tool]\nvalidate-models = 3\n", "without [tool.validate-models]"),
        ("[tool.other]\n", "without [tool.validate-models]"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_right(project: Path, text: str | None, said: str) -> None:
    if text is not None:
        (project / "pyproject.toml").write_text(text)
    result = run_script("--config", "pyproject.toml", "shop", cwd=project)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_config_and_isolated_exclude_each_other(project: Path) -> None:
    result = run_script("--isolated", "--config", "pyproject.toml", "shop", cwd=project)
    assert result.returncode == 2
    assert "not allowed with" in result.stderr


def test_lines_are_found_in_every_spelling(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(
        "# validate-models: ignore float-money\n[tool.other]\nignore = ['int4-key']\n"
        "[tool]\nvalidate-models.per-table-ignores.'a#*' = [ # int4-key\n  'int4-key-not',\n"
        "  'int4-key',\n]\n"
    )
    assert Lines(path).of("per-table-ignores", "a#*", "int4-key") == 7
    assert Lines(path).of("nothing of this name") == 5


# --- Globs ----------------------------------------------------------------------------------------


OLD, NEW = "archive.legacy_tickets", "tickets"


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("[tool.validate-models.per-table-ignores]\n'legacy_*' = ['all']", f"{OLD}."),
        ("per-table-ignores = {'archive.*' = ['types', 'keys']}", f"{OLD}."),
        ("per-table-ignores = {tickets = ['float-money']}", f"{NEW}.price"),
        ("per-attribute-ignores = {'Ticket.due_at' = ['types']}", f"{NEW}.due_at"),
        ("per-attribute-ignores = {'tickets.due_at' = ['types']}", f"{NEW}.due_at"),
        ("per-attribute-ignores = {'Old.due_at' = ['types']}", f"{OLD}.due_at"),
        ("per-attribute-ignores = {'*_tickets.due' = ['types']}", f"{OLD}.due_at"),
        ("per-attribute-ignores = {'Old.[!d]*' = ['types']}", f"{OLD}.price"),
        ("per-attribute-ignores = {'TICKET.price' = ['types']}", "nothing"),
    ],
)
def test_globs_ignore_what_they_match_and_nothing_else(project: Path, text: str, gone: str) -> None:
    asked = f'select = {list(RULES)}\nignore = ["unused-ignore"]'
    configure(project, f'targets = ["shop"]\n{asked}\n{text}\n')
    assert left(project) == {item for item in ALL if not item.startswith(gone)}


def unused(result: subprocess.CompletedProcess[str]) -> list[str]:
    """``file:line message`` of what ignores nothing."""
    lines = [line for line in told(result) if "unused-ignore" in line]
    return [f"{line.rpartition('/')[2].partition(':')[0]}:{line.split(':')[1]}" for line in lines]


ENTRIES = f"""targets = ["shop"]
select = {[*RULES, "btree-on-array"]}

[tool.validate-models.per-table-ignores]
"legacy_*" = [
    "types",  # not all of it is asked: that is not judged
    "reserved-word",  # nor is this
    "btree-on-array",
]
"gone_*" = ["int4-key", "float-money"]

[tool.validate-models.per-attribute-ignores]
"Ticket.price" = ["float-money", "naive-timestamp"]
"Ticket.gone" = ["float-money"]
"tickets.id" = ["int4-key"]
"""


def test_settings_that_ignore_nothing_are_told(project: Path) -> None:
    configure(project, ENTRIES)
    result = run_script(*CONCISE, cwd=project)
    places = [f"pyproject.toml:{line}" for line in (12, 14, 17, 18, 19)]
    assert unused(result) == places
    assert result.returncode == 1
    for words in (
        "btree-on-array is not ignored by per-table-ignores 'legacy_*': it finds nothing",
        "per-table-ignores 'gone_*' matches nothing",
        "per-attribute-ignores 'Ticket.gone' matches nothing",
        "int4-key is not ignored by per-attribute-ignores 'tickets.id'",
    ):
        assert words in result.stdout


def test_a_part_of_the_project_judges_what_it_sees_alone(project: Path) -> None:
    """What the others excuse may be there."""
    configure(project, ENTRIES)
    result = run_script(*CONCISE, "shop.models:Ticket", cwd=project)
    assert unused(result) == ["pyproject.toml:17", "pyproject.toml:19"]
    (project / "shop" / "broken.py").write_text("1 / 0  # mapped_column\n")
    result = run_script(*CONCISE, cwd=project)
    assert "unused-ignore" not in result.stdout


# --- info -----------------------------------------------------------------------------------------


def info(*rules: str) -> str:
    """An ``info`` that ignores *rules*."""
    return f"info={{'validate-models': {{'ignore': {list(rules)}}}}}"


def test_who_looks_for_an_info_makes_none() -> None:
    """SQLAlchemy makes one when it is asked: a dictionary for each of thousands of columns."""

    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        parent_id: Mapped[int | None] = mapped_column(ForeignKey("tickets.id"))
        parent: Mapped[Ticket | None] = relationship(remote_side=id)

    mapper = inspect(Ticket)
    for item in (*Ticket.__table__.columns, Ticket.__table__):
        assert info_of(item) == {}
        assert "info" not in vars(item)
    for prop in mapper.attrs:
        assert info_of(prop) == {}
        with pytest.raises(AttributeError):
            object.__getattribute__(prop, "info")
    Ticket.__table__.c.id.info["a"] = mapper.attrs.parent.info["a"] = 1
    assert info_of(Ticket.__table__.c.id) == info_of(mapper.attrs.parent) == {"a": 1}


INFO_RULES = (
    *("duplicate-index", "redundant-unique", "unindexed-foreign-key", "foreign-key-type"),
    *("legacy-backref", "email-unique-by-case"),
)
EVERYWHERE = f"""
class Stamped:
    made_at: Mapped[datetime] = mapped_column(DateTime, {info("naive-timestamp")})


class User(Stamped, Base):
    __tablename__ = "users"
    __table_args__ = (
        Index("ix_a", "made_at"),
        Index("ix_b", "made_at", {info("duplicate-index")}),
        UniqueConstraint("email", name="uq_z_again", {info("redundant-unique")}),
        {{"info": {{"validate-models": {{"ignore": ["keys"], "reason": "small"}}}}}},
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


class Ticket(Stamped, Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[str] = mapped_column(Text, ForeignKey("users.id", {info("foreign-key-type")}))
    fee: Mapped[float] = mapped_column("amount", {info("float-money")})
    user_id: Mapped[int] = mapped_column(
        Integer, ForeignKey(User.id), {info("float-money", "indexes")}
    )
    user: Mapped[User] = relationship(
        backref="tickets", foreign_keys=user_id, {info("legacy-backref")}
    )

    @hybrid_property
    def is_open(self) -> bool:
        return True


at = Column("at", DateTime, {info("naive-timestamp")})
logs = Table("logs", Base.metadata, at, {info("keys")})
"""


def test_info_ignores_at_each_kind_of_thing(project: Path) -> None:
    write(project, EVERYWHERE.replace("    user_id", "    # found\n    user_id"))
    asked = ",".join([*RULES, *INFO_RULES])
    with_info = run_script(*CONCISE, "--select", asked, "shop", cwd=project)
    bare = EVERYWHERE.replace("'validate-models'", "'other'").replace('"validate-models"', "'o'")
    write(project, bare.replace("    user_id", "    # found\n    user_id"))
    without = run_script(*CONCISE, "--select", asked, "shop", cwd=project)
    rules = {line.split(": ")[2] for line in told(without)}
    assert rules == {*RULES, *INFO_RULES} - {"unused-ignore"}
    kept = [line.split(": ")[2] for line in told(with_info)]
    assert kept == ["unindexed-foreign-key", "unused-ignore"], with_info.stdout
    assert "float-money is not ignored by the info of Ticket.user_id" in with_info.stdout


def test_info_that_ignores_nothing_is_told(project: Path) -> None:
    write(
        project,
        f"""
class Stamped:
    made_at: Mapped[datetime] = mapped_column(DateTime, {info("naive-timestamp")})
    note: Mapped[str] = mapped_column({info("naive-timestamp")})


class Right(Stamped, Base):
    __tablename__ = "rights"
    made_at: Mapped[datetime] = mapped_column(DateTime(True))
    id: Mapped[int] = mapped_column(primary_key=True, {info("int5-key")})


class Used(Stamped, Base):
    __tablename__ = "useds"
    __table_args__ = (Index("ix", "id", info={{"validate-models": ["int4-key"]}}),)
    id: Mapped[int] = mapped_column(primary_key=True, info={{"validate-models": {{"ignor": []}}}})
    child: Mapped[list["Child"]] = relationship(viewonly=True, {info("float-money")})


class Child(Base):
    __tablename__ = "children"
    id: Mapped[int] = mapped_column(primary_key=True)
    used_id: Mapped[int] = mapped_column(ForeignKey(Used.id), index=True)


Base.metadata.info["validate-models"] = {{"ignore": ["missing-naming-convention", "float-money"]}}
""",
    )
    result = run_script(*CONCISE, *ASKED, "shop", cwd=project)
    # The mixin's first column is used by one of its two classes; the second by none: told once.
    places = ["base.py:16", *(f"models.py:{line}" for line in (6, 12, 17, 18, 19))]
    assert sorted(unused(result)) == sorted(places)
    assert "int5-key is no rule: the info of Right.id" in result.stdout
    assert result.stdout.count("info is not {'validate-models': {'ignore': ['a-rule']}}") == 2
    assert "float-money is not ignored by the info of the MetaData" in result.stdout


# --- Comments -------------------------------------------------------------------------------------


def test_a_comment_without_a_reason_is_one_finding(project: Path) -> None:
    mark = "# validate-models: ignore[float-money]"
    write(project, MODELS.replace("Mapped[float]", f"Mapped[float]  {mark}", 1))
    lines = told(run_script(*CONCISE, *ASKED, "shop", cwd=project))
    assert len(lines) == 5
    told_so = [line for line in lines if "(an ignore comment needs a reason)" in line]
    assert [line.split(": ")[2] for line in told_so] == ["float-money"] * 2
    # Another rule on that line is not told of a reason that it does not need.
    write(
        project,
        MODELS.replace("mapped_column(DateTime)", f"mapped_column(DateTime)  {mark}", 1),
    )
    lines = told(run_script(*CONCISE, *ASKED, "shop", cwd=project))
    assert [line.split(": ")[2] for line in lines].count("unused-ignore") == 1
    assert not any("needs a reason" in line for line in lines)


# --- From a test ----------------------------------------------------------------------------------


def test_validate_takes_the_configuration(tmp_path: Path) -> None:
    from examples.models import Base

    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.validate-models]\nselect = ['all']\n")
    assert validate(Base, config=path) == []
    path.write_text("[tool.validate-models]\nbaseline = 'known.json'\n")
    with pytest.raises(TargetError, match="there is no such file"):
        validate(Base, config=path)
    assert read(path).options == {"baseline": tmp_path / "known.json"}
