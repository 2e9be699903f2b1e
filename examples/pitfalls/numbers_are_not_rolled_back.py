"""Ask a row for its id; never write it into a test

A rollback gives no number back: the first row of the second test has the id 2.
"""

from sqlalchemy import Engine

from ..models import Tag
from ..testing_patterns.factories import make_tag
from ..testing_patterns.isolation import isolated_session
from ._symptom import Returns

FAMILY = "testing"
SYMPTOM = Returns(wrong=False, right=True, meaning="whether the second test finds its row")
SOURCE = (
    "Sequence Manipulation Functions",
    "https://www.postgresql.org/docs/18/functions-sequence.html",
)


def broken(engine: Engine) -> object:
    found = False
    for _test in range(2):
        with isolated_session(engine) as session:
            session.add(make_tag())
            session.commit()
            found = session.get(Tag, 1) is not None
    return found


def fixed(engine: Engine) -> object:
    found = False
    for _test in range(2):
        with isolated_session(engine) as session:
            tag = make_tag()
            session.add(tag)
            session.commit()
            found = session.get(Tag, tag.id) is not None
    return found
