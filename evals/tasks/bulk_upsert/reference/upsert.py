"""Insert or update users by e-mail, with a result for each row."""

from collections.abc import Sequence

from models import User
from sqlalchemy import ARRAY, Text, any_, func, literal, literal_column, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

CHUNK = 5_000


def upsert_users(session: Session, rows: Sequence[dict[str, str | None]]) -> list[tuple[int, str]]:
    """``(id, outcome)`` for each row, in their order."""
    if not rows:
        return []
    session.flush()
    keys = [lowered(session, rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)]
    flat = [key for part in keys for key in part]
    last = dict(zip(flat, rows, strict=True))
    results: dict[str, tuple[int, str]] = {}
    # In one order, so that two of these do not deadlock.
    wanted = sorted(last)
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        results |= upsert_chunk(session, {key: last[key] for key in chunk})
    session.expire_all()
    return [results[key] for key in flat]


def lowered(session: Session, rows: Sequence[dict[str, str | None]]) -> list[str]:
    """The keys as the index sees them: lower() of the database, not of Python."""
    emails = func.unnest(literal([row["email"] for row in rows], ARRAY(Text)))
    table = emails.table_valued("email", with_ordinality="position").render_derived()
    statement = select(func.lower(table.c.email)).order_by(table.c.position)
    return list(session.scalars(statement))


def upsert_chunk(
    session: Session, rows: dict[str, dict[str, str | None]]
) -> dict[str, tuple[int, str]]:
    """The results of rows whose keys are distinct, by key."""
    statement = insert(User.__table__).values(
        [{name: row.get(name) for name in ("email", "full_name", "phone")} for row in rows.values()]
    )
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[func.lower(User.email)],
        set_={"full_name": new.full_name, "phone": new.phone, "updated_at": func.clock_timestamp()},
        where=or_(
            User.full_name.is_distinct_from(new.full_name), User.phone.is_distinct_from(new.phone)
        ),
    ).returning(func.lower(User.email), User.id, literal_column("old.id IS NULL"))
    results = {
        key: (identity, "inserted" if inserted else "updated")
        for key, identity, inserted in session.execute(statement)
    }
    left = [key for key in rows if key not in results]
    if left:
        same = select(func.lower(User.email), User.id).where(
            func.lower(User.email) == any_(literal(left, ARRAY(Text)))
        )
        results |= {key: (identity, "unchanged") for key, identity in session.execute(same)}
    return results
