"""What PostgreSQL or a revision says when it refuses, on one line."""

from __future__ import annotations

import configparser
import re

from sqlalchemy.exc import DBAPIError

from .hiding import hidden

LONGEST = 400  # characters


def reason(error: BaseException) -> str:
    """The message with PostgreSQL's code, detail and hint; a Python error with its type."""
    if isinstance(error, configparser.Error):
        return of_settings(error)
    if not isinstance(error, DBAPIError) or error.orig is None:
        said = one_line(str(error))
        return f"{type(error).__name__}: {said}" if said else type(error).__name__
    driver = error.orig
    # psycopg2 calls it pgcode; SQLAlchemy's asyncpg has both.
    code = getattr(driver, "sqlstate", None) or getattr(driver, "pgcode", None)
    said = re.sub(r"^<class '[\w.]+'>: ", "", str(driver))
    # Not the statement: its lines follow as LINE 1: … and a caret.
    said = re.sub(r"\nLINE \d+: .*?\n *\^", "", said, flags=re.DOTALL)
    said = one_line(said)
    return f"{said} ({code})" if code else said


def of_settings(error: configparser.Error) -> str:
    """What is wrong with a settings file, and on which line; never what stands there."""
    if isinstance(error, configparser.InterpolationError):
        return f"{error.option} in [{error.section}] has a % of its own: write %% for each %"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno} stands before the first [section]"
    if isinstance(error, configparser.ParsingError):
        lines = ", ".join(str(number) for number, _ in error.errors)
        return f"line {lines} is neither a [section] nor name = value"
    return f"{type(error).__name__}: {one_line(str(error))}"


def one_line(words: str) -> str:
    """*words* without line ends and passwords, and not too long."""
    joined = " ".join(hidden(words).split())
    return joined if len(joined) <= LONGEST else f"{joined[: LONGEST - 1]}…"
