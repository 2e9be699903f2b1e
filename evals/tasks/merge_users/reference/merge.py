"""Merge users who are one person."""

from collections.abc import Sequence

from models import Settings, User, Watcher
from sqlalchemy import (
    ARRAY,
    BigInteger,
    any_,
    column,
    delete,
    exists,
    func,
    literal,
    select,
    table,
    text,
    update,
)
from sqlalchemy.orm import Session, aliased

REFERENCES = text("""
    SELECT n.nspname, c.relname, a.attname
    FROM pg_constraint f
    JOIN pg_class c ON c.oid = f.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = f.conkey[1]
    WHERE f.contype = 'f' AND f.confrelid = 'users'::regclass
      AND f.conparentid = 0 AND cardinality(f.conkey) = 1
    ORDER BY 1, 2, 3
""")


def merge_users(session: Session, keep_id: int, duplicate_ids: Sequence[int]) -> None:
    """Move all that the duplicates have to *keep_id* and delete them."""
    ids = sorted(set(duplicate_ids))
    if keep_id in ids:
        raise ValueError(f"received {keep_id} as its own duplicate")
    everybody = select(User.id).where(User.id.in_([keep_id, *ids])).order_by(User.id)
    session.flush()
    found = set(session.scalars(everybody.with_for_update()))
    if missing := {keep_id, *ids} - found:
        raise ValueError(f"received {sorted(missing)}, expected users that exist")
    if not ids:
        return
    duplicates = any_(literal(ids, ARRAY(BigInteger)))
    drop_colliding_watchers(session, keep_id, duplicates)
    drop_colliding_settings(session, keep_id, duplicates)
    for schema, name, referring in session.execute(REFERENCES).all():
        target = table(name, column(referring), schema=schema)
        session.execute(
            update(target).where(target.c[referring] == duplicates).values({referring: keep_id})
        )
    # A duplicate may have been the manager of the kept one, or the other way round.
    session.execute(
        update(User)
        .where(User.id == keep_id, User.manager_id == keep_id)
        .values(manager_id=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        delete(User).where(User.id == duplicates).execution_options(synchronize_session=False)
    )
    for held in list(session):
        if isinstance(held, User) and held.id in ids:
            session.expunge(held)
    session.expire_all()


def drop_colliding_watchers(session, keep_id, duplicates) -> None:
    """Of each ticket that several of them watch, one row stays."""
    other = aliased(Watcher)
    better = exists().where(
        other.ticket_id == Watcher.ticket_id,
        (other.user_id == keep_id)
        | ((other.user_id == duplicates) & (other.user_id < Watcher.user_id)),
    )
    session.execute(
        delete(Watcher)
        .where(Watcher.user_id == duplicates, better)
        .execution_options(synchronize_session=False)
    )


def drop_colliding_settings(session, keep_id, duplicates) -> None:
    """The kept user's settings stay, else the first duplicate's."""
    other = aliased(Settings)
    first = select(func.min(other.user_id)).where(other.user_id == duplicates).scalar_subquery()
    stays = aliased(Settings)
    own = select(stays.id).where(stays.user_id == keep_id).exists()
    session.execute(
        delete(Settings)
        .where(Settings.user_id == duplicates, own | (Settings.user_id != first))
        .execution_options(synchronize_session=False)
    )
