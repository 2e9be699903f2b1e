"""Insert or update users by e-mail, with a result for each row."""

from collections.abc import Sequence

from models import User
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session


def upsert_users(session: Session, rows: Sequence[dict[str, str | None]]) -> list[tuple[int, str]]:
    emails = [row["email"].lower() for row in rows]
    known = set(
        session.scalars(select(func.lower(User.email)).where(func.lower(User.email).in_(emails)))
    )
    statement = insert(User).values(list(rows))
    statement = statement.on_conflict_do_update(
        index_elements=[func.lower(User.email)],
        set_={"full_name": statement.excluded.full_name, "phone": statement.excluded.phone},
    ).returning(User.id, User.email)
    ids = {email.lower(): key for key, email in session.execute(statement)}
    return [(ids[email], "updated" if email in known else "inserted") for email in emails]
