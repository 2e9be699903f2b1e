"""The time-outs that a revision sets, so that nobody queues behind it, and lifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from .operations import Place, SqlOp, literal

# Below deadlock_timeout (1s): in a deadlock it is then the migration that gives way, not a user.
LIMIT = "500ms"
NAMES = ("lock_timeout", "statement_timeout")


@dataclass(frozen=True)
class Settings:
    """Statements around those of a revision; *limit* is None where env.py sets one."""

    limit: SqlOp | None
    lifted: Sequence[SqlOp]
    restored: Sequence[SqlOp]


def read(connection: Connection) -> Settings:
    """What fits the session of *connection*, which ``env.py`` made."""
    rows = connection.execute(
        text("SELECT name, current_setting(name), source FROM pg_settings WHERE name IN (:a, :b)"),
        {"a": NAMES[0], "b": NAMES[1]},
    )
    found = {name: (value, source) for name, value, source in rows}
    limit = statement(f"SET LOCAL lock_timeout = '{LIMIT}'")
    return Settings(
        limit if found["lock_timeout"][0] == "0" else None,
        [statement(f"SET {name} = 0") for name in NAMES],
        [statement(back(name, *found[name])) for name in NAMES],
    )


def back(name: str, value: str, source: str) -> str:
    """RESET returns to how the session began: not to what a SET of ``env.py`` made of it."""
    return f"SET {name} = {literal(value)}" if source == "session" else f"RESET {name}"


def statement(sql: str) -> SqlOp:
    """One statement without a way back."""
    return SqlOp([sql], rank=Place.HEAVY, back=Place.HEAVY)
