"""Rows of a test in its transaction."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy.orm import Session

T = TypeVar("T")


def saved(session: Session, first: T, *more: object) -> T:
    """*first* and *more* in the database, with their keys: the first of them."""
    session.add_all([first, *more])
    session.flush()
    return first
