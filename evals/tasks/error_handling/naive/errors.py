"""Database errors by their class."""

import time
from collections.abc import Callable
from typing import TypeVar

from models import Tag
from sqlalchemy import exc
from sqlalchemy.orm import Session, sessionmaker

T = TypeVar("T")


def kind(error: BaseException) -> str:
    if isinstance(error, exc.TimeoutError):
        return "timeout"
    code = getattr(getattr(error, "orig", None), "pgcode", None)
    if code == "23505":
        return "conflict"
    if code == "23503":
        return "missing_reference"
    if code in ("23502", "23514", "22001", "22003"):
        return "invalid"
    if code in ("40001", "40P01", "55P03"):
        return "busy"
    if code == "57014":
        return "timeout"
    if isinstance(error, exc.OperationalError):
        return "unavailable"
    return "other"


def run(factory: sessionmaker[Session], work: Callable[[Session], T], attempts: int = 3) -> T:
    with factory() as session:
        for attempt in range(attempts):
            try:
                result = work(session)
            except exc.OperationalError:
                session.rollback()
                if attempt == attempts - 1:
                    raise
                time.sleep(0.05)
            else:
                session.commit()
                return result


def add_tags(session: Session, names: list[str]) -> list[str]:
    added = []
    for name in names:
        try:
            session.add(Tag(name=name))
            session.flush()
            added.append(name)
        except exc.IntegrityError:
            session.rollback()
    return added
