"""Ask whether columns have changed in `before_update` and `after_update`

They run for an object that was set to the value it had, although nothing is written.
`is_modified()` counts collections, too, unless it is told not to.
"""

from sqlalchemy import event
from sqlalchemy.orm import Session

from ..models import Tag
from ._symptom import Returns

FAMILY = "audit"
SYMPTOM = Returns(
    wrong=["vpn"], right=[], meaning="what an audit records when a value is set to itself"
)
SOURCE = (
    "MapperEvents.before_update",
    "https://docs.sqlalchemy.org/en/21/orm/events.html#sqlalchemy.orm.MapperEvents.before_update",
)


def broken(session: Session) -> object:
    recorded: list[str] = []

    def audit(_mapper: object, _connection: object, tag: Tag) -> None:
        recorded.append(tag.name)

    tag = Tag(name="vpn")
    session.add(tag)
    session.flush()
    event.listen(Tag, "before_update", audit)
    tag.name = "vpn"
    session.flush()
    event.remove(Tag, "before_update", audit)
    return recorded


def fixed(session: Session) -> object:
    recorded: list[str] = []

    def audit(_mapper: object, _connection: object, tag: Tag) -> None:
        if session.is_modified(tag, include_collections=False):
            recorded.append(tag.name)

    tag = Tag(name="vpn")
    session.add(tag)
    session.flush()
    event.listen(Tag, "before_update", audit)
    tag.name = "vpn"
    session.flush()
    event.remove(Tag, "before_update", audit)
    return recorded
