"""Ask for old values in `before_flush`, under asyncio

`active_history=True` loads an expired value at the moment when a new one is set, and no `await` can
stand there. A listener of the flush may send queries; `references/events.md` asks for many at once.
"""

from sqlalchemy import event, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ..models import Tag
from .lazy_load_async import NO_GREENLET

FAMILY = "audit"
SYMPTOM = NO_GREENLET
SOURCE = (
    "Using events with the asyncio extension",
    "https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html"
    "#using-events-with-the-asyncio-extension",
)


async def broken(session: AsyncSession) -> object:
    class Base(DeclarativeBase):
        pass

    class Tag(Base):
        __tablename__ = "tags"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(active_history=True)

    session.add(tag := Tag(name="old"))
    await session.flush()
    session.expire(tag)
    tag.name = "new"
    return inspect(tag).attrs.name.history.deleted


async def fixed(session: AsyncSession) -> object:
    asked: list[str] = []

    def ask(session: Session, *_: object) -> None:
        tags = [inspect(tag) for tag in session.dirty if isinstance(tag, Tag)]
        old = select(Tag.name).where(Tag.id.in_(tag.identity[0] for tag in tags if tag.identity))
        asked.extend(session.connection().scalars(old))

    session.add(tag := Tag(name="old"))
    await session.flush()
    session.expire(tag)
    event.listen(session.sync_session, "before_flush", ask)
    tag.name = "new"
    await session.flush()
    return asked
