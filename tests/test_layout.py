"""The house keeps its rules: one topic one name, arrows one way, no ``__init__.py``."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
# What a topic may lean on. Everything else of examples/ it must leave alone.
BASE = {"models", "database"}
# These are no topics: they serve the demos, or draw the schema.
TOOLS = {"postgres", "er_diagram"}
TOPICS = sorted(
    path.stem
    for path in EXAMPLES.glob("*.py")
    if not path.stem.startswith("_") and path.stem not in BASE | TOOLS
)
# A page may stand for a module whose subject it shares: database.py is told in sessions.md.
PAGES = {"database": "sessions", "fastapi_app": "fastapi"}


def relative_imports(source: str) -> set[str]:
    """Names of the sibling modules that *source* imports: ``from .models import X`` → models."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


def absolute_imports(source: str) -> set[str]:
    """Top-level packages that *source* imports by absolute name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_there_are_topics() -> None:
    assert {"sessions", "relationships", "advanced_patterns"} <= set(TOPICS)
    assert {"testing_patterns", "migration_guide"} <= set(FOLDERS)


FOLDERS = sorted(path.parent.name for path in EXAMPLES.glob("*/demo.py"))


@pytest.mark.parametrize("topic", TOPICS + FOLDERS)
def test_a_topic_has_its_page_and_its_tests(topic: str) -> None:
    page = PAGES.get(topic, topic).replace("_", "-")
    assert (ROOT / "references" / f"{page}.md").is_file()
    assert list((ROOT / "tests" / "examples").glob(f"test_{topic}*"))


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_imports_only_the_base(topic: str) -> None:
    source = (EXAMPLES / f"{topic}.py").read_text()
    assert relative_imports(source) <= BASE
    assert "examples" not in absolute_imports(source)


def test_scripts_and_examples_do_not_import_each_other() -> None:
    for path in (ROOT / "scripts").rglob("*.py"):
        assert "examples" not in absolute_imports(path.read_text()), path
    for path in EXAMPLES.rglob("*.py"):
        assert not absolute_imports(path.read_text()) & {"scripts", "tests", "tools"}, path


def test_a_forbidden_import_would_be_seen() -> None:
    assert relative_imports("from .sessions import save\nfrom . import models") == {
        "sessions",
        "models",
    }
    assert absolute_imports("import examples.models\nfrom tests.pages import x") == {
        "examples",
        "tests",
    }


def test_nothing_depends_on_init_files() -> None:
    found = [
        path
        for folder in ("examples", "scripts", "tests", "tools")
        for path in (ROOT / folder).rglob("__init__.py")
    ]
    assert not found
