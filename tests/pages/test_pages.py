"""Every page holds: its blocks run, its links lead somewhere, its size is bounded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from examples.testing_patterns.isolation import isolated_session
from tests.pages.blocks import Block, blocks_of, broken_links
from tools.build_skill import build
from tools.pages import excerpt, source_of

ROOT = Path(__file__).resolve().parent.parent.parent
REFERENCES = sorted((ROOT / "references").glob("*.md"))
PAGES = [*(ROOT / f"{name}.md" for name in ("README", "SKILL", "AGENTS", "EXAMPLES")), *REFERENCES]
LIMITS = {"SKILL.md": 16_000, "AGENTS.md": 8_000, "EXAMPLES.md": 24_000}
SHELL = {"sh", "bash", "shell"}


def cases(languages: set[str]) -> list[Any]:
    """Parameters: every hand-written block of *languages*, named by its page and line."""
    return [
        pytest.param(block, id=f"{page.name}:{block.line}")
        for page in PAGES
        for block in blocks_of(page.read_text())
        if block.language in languages and not block.generated
    ]


def run_python(block: Block, engine: Engine, session: Session) -> None:
    """Execute *block*.  Raises ``AssertionError`` where it does not raise as declared."""
    code = compile(block.code, f"block of line {block.line}", "exec")
    names = {"engine": engine, "session": session, "__name__": "page"}
    if block.raises is None:
        exec(code, names)  # noqa: S102 - the pages are ours
        return
    kind, fragment = block.raises
    try:
        exec(code, names)  # noqa: S102
    except Exception as error:
        names_of_error = {cls.__name__ for cls in type(error).__mro__}
        if kind not in names_of_error or fragment not in str(error):
            raise AssertionError(f"{kind}: {fragment} declared, raised {error!r}") from error
    else:
        raise AssertionError(f"{kind}: {fragment} declared, nothing raised")


def run_shell(block: Block) -> str:
    """Run *block* as a user would: its standard output."""
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"POSTGRES_PROVIDER": "embedded"}
    environment.pop("DATABASE_URL", None)
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("block", cases({"python"}))
def test_python_blocks(block: Block, engines: dict[str, Engine]) -> None:
    assert block.not_run is None, "a python block is always run"
    with isolated_session(engines["psycopg"]) as session:
        run_python(block, engines["psycopg"], session)


@pytest.mark.parametrize("block", cases(SHELL))
def test_shell_blocks(block: Block) -> None:
    if block.not_run:
        assert is_reason(block.not_run), f"{block.not_run!r} is no reason that we know"
        return
    printed = run_shell(block)
    if block.expected is not None:
        assert printed.strip() == block.expected.strip()


def is_reason(text: str) -> bool:
    """Whether a block may be left out for it: the list is closed."""
    runner = text.removeprefix("run by ")
    return text == "changes the machine" or (runner != text and (ROOT / runner).is_file())


def test_no_block_escapes() -> None:
    known = {"python", *SHELL}
    left_out = total = 0
    for page in PAGES:
        for block in blocks_of(page.read_text()):
            assert block.language in known, f"{page.name}:{block.line} is {block.language!r}"
            total, left_out = total + 1, left_out + bool(block.not_run)
    assert left_out <= total * 0.02, f"{left_out} of {total} blocks are not run"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_short(page: Path) -> None:
    text = page.read_text()
    assert len(text) < LIMITS.get(page.name, 12_000)
    assert page.name != "SKILL.md" or len(text.splitlines()) < 500


@pytest.mark.parametrize("page", REFERENCES, ids=lambda page: page.name)
def test_a_page_says_when_to_read_it(page: Path) -> None:
    title, blank, opening = page.read_text().splitlines()[:3]
    assert title.startswith("# ")
    assert not blank
    assert opening.startswith("*When to read this: ")


@pytest.mark.parametrize("page", REFERENCES, ids=lambda page: page.name)
def test_the_site_names_every_page(page: Path) -> None:
    assert f": {page.name}\n" in (ROOT / "mkdocs.yml").read_text()


@pytest.mark.parametrize("page", REFERENCES, ids=lambda page: page.name)
def test_the_skill_routes_to_every_page(page: Path) -> None:
    assert f"(references/{page.name})" in (ROOT / "SKILL.md").read_text()


@pytest.mark.once
def test_the_validator_takes_the_skill(tmp_path: Path) -> None:
    skill = build(tmp_path / "sqlalchemy-orm-expert")
    command = [sys.executable, "-m", "skills_ref.cli", "validate", str(skill)]
    assert subprocess.run(command, check=False).returncode == 0
    text = (skill / "SKILL.md").read_text()
    (skill / "SKILL.md").write_text(text.replace("name: sqlalchemy-orm-expert", "name: Wrong Name"))
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


# Seeded faults: what turns the gates red.


def block_of(text: str) -> Block:
    """The only block of *text*."""
    (block,) = blocks_of(text)
    return block


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\nassert 1 == 2, 'so it is'\n```", "so it is"),
        ("<!-- raises: ValueError: x -->\n```python\nint(1)\n```", "nothing raised"),
        ("<!-- raises: ValueError: x -->\n```python\n1 / 0\n```", "division by zero"),
        ("<!-- raises: ValueError: other -->\n```python\nint('x')\n```", "invalid literal"),
    ],
)
def test_a_broken_python_block_is_red(text: str, message: str) -> None:
    nothing: Any = None
    with pytest.raises(AssertionError, match=message):
        run_python(block_of(text), nothing, nothing)


@pytest.mark.parametrize("text", ["it would take long", "run by tests/gone.py", "run by "])
def test_another_reason_is_red(text: str) -> None:
    assert not is_reason(text)


def test_a_broken_shell_block_is_red() -> None:
    with pytest.raises(AssertionError):
        run_shell(block_of("```sh\nfalse | true\n```"))


def test_an_open_fence_is_red() -> None:
    with pytest.raises(ValueError, match="line 1 is never closed"):
        blocks_of("```python\n1\n")


def test_a_broken_link_is_red(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n[a](gone.md) [b](#title) [c](#no-title) [d](page.md#gone)\n")
    assert broken_links(page) == ["gone.md", "#no-title", "page.md#gone"]


def test_a_missing_excerpt_is_red() -> None:
    with pytest.raises(LookupError, match=re.escape("has no function or class 'nobody'")):
        excerpt("examples/sessions.py", "nobody")


def test_an_excerpt_has_its_decorators() -> None:
    code = source_of("examples/testing_patterns/isolation.py", "isolated_session")
    assert code.startswith("@contextmanager\ndef isolated_session(")


@pytest.mark.once
def test_a_page_that_lags_behind_its_module_is_red(tmp_path: Path) -> None:
    copy = tmp_path / "clone"
    ignore = shutil.ignore_patterns(".git", ".venv*", "*_cache", "site", "build")
    shutil.copytree(ROOT, copy, ignore=ignore)
    command = [sys.executable, "-m", "tools.pages", "--check"]

    def check() -> int:
        return subprocess.run(command, cwd=copy, check=False, capture_output=True).returncode

    assert check() == 0
    module = copy / "examples" / "sessions.py"
    module.write_text(module.read_text().replace("def sign_up(", "def sign_up(  # changed"))
    assert check() == 1
