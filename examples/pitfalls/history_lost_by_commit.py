"""Ask for `active_history` where a listener needs the old value

A commit expires the object. What is then set without having been read has no old value in the
history, nor has `load_history()`. `active_history=True` loads it as the new one is set: a statement
for each expired object, and under asyncio MissingGreenlet. There, ask in `before_flush`: see
`references/events.md`.
"""

from sqlalchemy import inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ._symptom import Returns

FAMILY = "audit"
SYMPTOM = Returns(wrong=[], right=["old"], meaning="the old values in the attribute's history")
SOURCE = (
    "column_property.active_history",
    "https://docs.sqlalchemy.org/en/21/orm/mapping_api.html"
    "#sqlalchemy.orm.mapped_column.params.active_history",
)


def broken(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Tag(Base):
        __tablename__ = "tags"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    tag = Tag(name="old")
    session.add(tag)
    session.commit()
    tag.name = "new"
    return list(inspect(tag).attrs.name.load_history().deleted)


def fixed(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Tag(Base):
        __tablename__ = "tags"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(active_history=True)

    tag = Tag(name="old")
    session.add(tag)
    session.commit()
    tag.name = "new"
    return list(inspect(tag).attrs.name.load_history().deleted)
