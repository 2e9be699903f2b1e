"""Every pitfall shows exactly its symptom, and its remedy does not."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from examples.database import create_sync_engine
from examples.pitfalls._symptom import Raises, Returns

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "pitfalls"
SLUGS = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
LINE = ".".join(sqlalchemy.__version__.split(".")[:2])


def check_broken(pitfall: ModuleType | Any, session: Session | Engine) -> None:
    """The wrong side shows its symptom on the versions that it names, and on no other."""
    symptom = pitfall.SYMPTOM
    shows = LINE in symptom.lines
    if isinstance(symptom, Raises) and shows:
        with pytest.raises(symptom.exception, match=re.escape(symptom.fragment)):
            pitfall.broken(session)
    elif isinstance(symptom, Raises):
        pitfall.broken(session)
    else:
        assert symptom.wrong != symptom.right
        expected = symptom.wrong if shows else symptom.right
        assert pitfall.broken(session) == expected, symptom.told()


def check_fixed(pitfall: ModuleType | Any, session: Session | Engine) -> None:
    """The right side does not."""
    result = pitfall.fixed(session)
    if isinstance(pitfall.SYMPTOM, Returns):
        assert result == pitfall.SYMPTOM.right


def test_there_are_pitfalls() -> None:
    assert len(SLUGS) >= 5


def takes(slug: str) -> str:
    """What ``broken()`` takes: a session that is undone, or an engine where commits are real."""
    module = importlib.import_module(f"examples.pitfalls.{slug}")
    (taken,) = inspect.signature(module.broken).parameters
    return taken


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if takes(slug) == "session"])
@pytest.mark.parametrize("check", [check_broken, check_fixed])
def test_a_pitfall_is_as_told(
    slug: str, check: Callable[[Any, Session], None], session: Session
) -> None:
    check(importlib.import_module(f"examples.pitfalls.{slug}"), session)


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if takes(slug) == "engine"])
@pytest.mark.parametrize("check", [check_broken, check_fixed])
def test_a_pitfall_of_several_connections_is_as_told(
    slug: str, check: Callable[[Any, Engine], None], real_commits: str
) -> None:
    engine = create_sync_engine(real_commits)
    check(importlib.import_module(f"examples.pitfalls.{slug}"), engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("symptom", "broken"),
    [
        (Raises(ValueError, "two words"), lambda _: None),
        (Raises(ValueError, "two words"), lambda _: int("x")),
        (Raises(ValueError, "invalid literal", lines=("1.4",)), lambda _: int("x")),
        (Returns(1, 2, "a sum"), lambda _: 2),
    ],
    ids=["cured", "other message", "unnamed version", "right after all"],
)
def test_a_changed_symptom_turns_the_test_red(symptom: Any, broken: Any) -> None:
    nobody: Any = None
    # pytest.fail.Exception: pytest.raises() itself says "did not raise" with it.
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        check_broken(SimpleNamespace(SYMPTOM=symptom, broken=broken), nobody)


def test_a_remedy_that_does_not_help_turns_the_test_red() -> None:
    nobody: Any = None
    with pytest.raises(AssertionError):
        check_fixed(SimpleNamespace(SYMPTOM=Returns(1, 2, "a sum"), fixed=lambda _: 1), nobody)
