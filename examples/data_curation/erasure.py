"""Anonymise a person: in the row, in free text, in JSON, in the trail that records it.

Problem: the row is blanked, and the name lives on in comments, file names, outbox payloads, and in
the audit trail, which has just recorded the old values.  Pattern: blank the row, then look
everywhere and rewrite what is found, until nothing is; what cannot be rewritten is an error.
In files, logs, backups and the write-ahead log it is still there.  After the commit run
``VACUUM ANALYZE``: until then old row versions and the planner's statistics have it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Select,
    Text,
    Update,
    column,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy import cast as as_type
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from ..models import AuditLog, Base, User
from .held import reread
from .references import version_of
from .scanning import Finding, Place, pattern, relation_of, says, scan

ROUNDS = 5
HOST = "erased.invalid"
# A mailbox of such words alone is nobody's name: help-desk, sales2.
ROLE = re.compile(
    "accounts?|admin|billing|contact|customers?|desk|hello|help|info|invoices?|mail|no|office|"
    "orders?|reply|sales|services?|support|team"
)


class StillFound(Exception):
    """The database still says it; roll back, or tolerate these tables and look at each."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        where = ", ".join(f"{found.place} ({found.rows})" for found in findings)
        super().__init__(f"still found in {where}; expected nowhere")
        self.findings = list(findings)


@dataclass(frozen=True)
class Erasure:
    """How many rows were rewritten, by column, and what was tolerated."""

    user_id: int
    rewritten: dict[str, int]
    tolerated: list[Finding]


def terms_of(full_name: str, email: str, also: Iterable[str] = ()) -> list[str]:
    """What to look for: the address, with and without its +tag, its local part, the name.

    The name also with its last word first.  A local part that may be a word (will, info, a.b) is
    in texts of everybody, and so is a name of one word (Mark): give it in *also* if you mean it.
    """
    found = {each.strip() for each in also}
    if not email.endswith(f"@{HOST}"):
        local, _, host = email.strip().rpartition("@")
        base = local.partition("+")[0]
        found |= {email.strip(), f"{base}@{host}"}
        found |= {each for each in (local, base) if is_telling(each)}
        words = full_name.split()
        if len(words) > 1 or is_telling(full_name):
            found |= {full_name.strip(), " ".join([words[-1], *words[:-1]])}
    return sorted(term for term in found if re.search(r"[^\W_]", term))


def is_telling(word: str) -> bool:
    """Whether *word* cannot be one of everybody's: ann.lee, O'Neill, lee7; not will, a.b, sales2.

    It has a sign between letters, or a digit; and more than two letters, not of roles alone.
    """
    letters = re.findall(r"[^\W\d_]+", word.lower())
    of_several = re.search(r"[^\W_][\W_]+[^\W_]|\d", word) is not None
    return of_several and len("".join(letters)) > 2 and not all(map(ROLE.fullmatch, letters))


def lock_person(user_id: int) -> Select[str, str]:
    """``(full name, email)``, locked."""
    return select(User.full_name, User.email).where(User.id == user_id).with_for_update()


def blank_user(user_id: int) -> Update:
    """The row without the person: the id stays, so that tickets and comments keep an author."""
    return (
        update(User)
        .where(User.id == user_id)
        .values(
            full_name=token(user_id),
            email=f"{token(user_id)}@{HOST}",
            password_hash="!",
            is_active=False,
            last_login=null(),
        )
        .execution_options(synchronize_session=False)
    )


def token(user_id: int) -> str:
    """What stands for the person: his own, so that unique columns stay so, and fit for a slug."""
    return f"erased-{user_id}"


def rewrite(places: Sequence[Place], terms: Sequence[str], user_id: int) -> Update:
    """Rewrite columns of one table, in the rows that say one of *terms*.

    An address becomes an address.  The version moves: whoever has read the old text and writes it
    back is refused.
    """
    values = {place.name: rewritten(place, terms, user_id) for place in places}
    mapped = Base.metadata.tables.get(places[0].relation)
    version = None if mapped is None else version_of(mapped)
    if version is not None:
        values[version.name] = column(version.name) + 1
    target = relation_of(places, *([] if version is None else [version.name]))
    return update(target).where(or_(*(says(place, terms) for place in places))).values(values)


def rewritten(place: Place, terms: Sequence[str], user_id: int) -> Any:
    """The value without *terms*: text replaced, JSON and arrays by way of their text."""
    if place.kind == "tsvector":
        return without_lexemes(place, terms)
    escaped = place.kind != "text"
    value: ColumnElement[Any] = as_type(place.column, Text)
    addresses = [term for term in terms if "@" in term]
    for wanted, instead in (
        (addresses, f"{token(user_id)}@{HOST}"),
        ([term for term in terms if "@" not in term], token(user_id)),
    ):
        if wanted:
            found = pattern(wanted, escaped=escaped)
            value = func.regexp_replace(value, found, instead, "gi", type_=Text)
    # Text is assigned as it is: a value too long for its column is an error, not cut.
    return value.op("::")(literal_column(place.type_name)) if escaped else value


def without_lexemes(place: Place, terms: Sequence[str]) -> Any:
    """A tsvector that nobody generates: without the words of *terms*, in any spelling or stem."""
    words = func.unnest(place.column).table_valued("lexeme", name="word")
    stems = select(
        func.unnest(
            func.tsvector_to_array(
                func.to_tsvector(literal_column("'simple'"), " ".join(terms)).op("||")(
                    func.to_tsvector(literal_column("'english'"), " ".join(terms))
                )
            )
        )
    )
    gone = select(words.c.lexeme).where(
        or_(
            words.c.lexeme.in_(stems),
            as_type(words.c.lexeme, Text).regexp_match(pattern(terms, escaped=False), flags="i"),
        )
    )
    return func.ts_delete(place.column, func.array(gone.scalar_subquery()))


# --- At the edge ----------------------------------------------------------------------------------


def rewrite_found(
    session: Session, findings: Iterable[Finding], terms: Sequence[str], user_id: int
) -> Counter[str]:
    """One round: every table that can be written, then the materialized views: rows by column.

    Not the users: somebody else of the same name stays who she is.  Partitions one by one.
    """
    done: Counter[str] = Counter()
    places = [found.place for found in findings]
    for _, group in groupby(places, key=lambda place: place.oid):
        rows = [place for place in group if place.relkind == "r" and not place.generated]
        if rows and rows[0].relation != User.__tablename__:
            result = session.execute(rewrite(rows, terms, user_id))
            done[", ".join(map(str, rows))] += cast("CursorResult[Any]", result).rowcount
    for view in dict.fromkeys((p.schema, p.relation) for p in places if p.relkind == "m"):
        quote = session.get_bind().dialect.identifier_preparer.quote
        session.execute(text(f"REFRESH MATERIALIZED VIEW {'.'.join(map(quote, view))}"))
        done[".".join(view)] = 0
    return done


def anonymise_user(
    session: Session,
    user_id: int,
    *,
    also: Iterable[str] = (),
    tolerate: Collection[str] = (),
    erased_by_id: int | None = None,
) -> Erasure:
    """Take a person out of every table, view and trail.

    *also*: other names, former addresses.  A trigger's trail records the old values while they are
    replaced; hence rounds, until a scan finds nothing.  Raises ``ValueError`` for nobody, and
    ``StillFound`` for what cannot be rewritten (a view of something else, a namesake among the
    users) unless its relation is in *tolerate*.
    """
    session.flush()
    person = session.execute(lock_person(user_id)).one_or_none()
    if person is None:
        raise ValueError(f"received user {user_id}, who is not there")
    terms = terms_of(person[0], person[1], also)
    done: Counter[str] = Counter()
    # A trail that is written by a deferred trigger would be written after the last look.
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    session.execute(blank_user(user_id))
    found = scan(session, terms) if terms else []
    for _ in range(ROUNDS):
        changed = rewrite_found(session, found, terms, user_id)
        if not changed:
            break
        done += changed
        found = scan(session, terms)
    left = [each for each in found if each.place.relation not in tolerate]
    if left:
        raise StillFound(left)
    entry = {
        "table_name": User.__tablename__,
        "record_id": user_id,
        "action": "UPDATE",
        "user_id": erased_by_id,
        "changes": {"old": {}, "new": {}, "erased": dict(done)},
    }
    session.execute(insert(AuditLog), [entry])
    reread(session)
    return Erasure(user_id, dict(done), found)


async def async_anonymise_user(
    session: AsyncSession,
    user_id: int,
    *,
    also: Iterable[str] = (),
    tolerate: Collection[str] = (),
    erased_by_id: int | None = None,
) -> Erasure:
    """The same for asyncio."""
    return await session.run_sync(
        lambda sync: anonymise_user(
            sync, user_id, also=also, tolerate=tolerate, erased_by_id=erased_by_id
        )
    )
