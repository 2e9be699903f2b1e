"""Page by a total order: the time and the id

Rows of one transaction have one `created_at`. A page that goes on after it passes over the others.
See `references/pagination.md`.
"""

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from ..models import Tag
from ..testing_patterns.factories import make_tag
from ._symptom import Returns

FAMILY = "queries"
SYMPTOM = Returns(wrong=2, right=3, meaning="how many of three tags are seen on two pages of two")
SOURCE = (
    "Row Constructor Comparison",
    "https://www.postgresql.org/docs/18/functions-comparisons.html#ROW-WISE-COMPARISON",
)


def broken(session: Session) -> object:
    session.add_all([make_tag() for _ in range(3)])
    newest = select(Tag).order_by(Tag.created_at.desc()).limit(2)
    first = session.scalars(newest).all()
    second = session.scalars(newest.where(Tag.created_at < first[-1].created_at)).all()
    return len({*first, *second})


def fixed(session: Session) -> object:
    session.add_all([make_tag() for _ in range(3)])
    newest = select(Tag).order_by(Tag.created_at.desc(), Tag.id.desc()).limit(2)
    first = session.scalars(newest).all()
    last = tuple_(first[-1].created_at, first[-1].id)
    second = session.scalars(newest.where(tuple_(Tag.created_at, Tag.id) < last)).all()
    return len({*first, *second})
