"""Merge users who are one person."""

from collections.abc import Sequence

from models import Base, Settings, User
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session


def merge_users(session: Session, keep_id: int, duplicate_ids: Sequence[int]) -> None:
    if keep_id in duplicate_ids:
        raise ValueError("keep_id is among the duplicates")
    ids = [keep_id, *duplicate_ids]
    if len(session.scalars(select(User.id).where(User.id.in_(ids))).all()) != len(ids):
        raise ValueError("no such user")
    if session.scalar(select(Settings).where(Settings.user_id == keep_id)):
        session.execute(delete(Settings).where(Settings.user_id.in_(duplicate_ids)))
    for table in Base.metadata.sorted_tables:
        for key in table.foreign_keys:
            if key.column.table.name == "users":
                session.execute(
                    update(table)
                    .where(key.parent.in_(duplicate_ids))
                    .values({key.parent.name: keep_id})
                )
    session.execute(delete(User).where(User.id.in_(duplicate_ids)))
