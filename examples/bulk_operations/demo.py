"""Bulk operations: many rows in few statements, and the caller can still roll all of it back.

Problem: row by row costs a round trip each, and what is fast (COPY, one big UPDATE) goes around
the session: it commits by itself, re-opens tickets, leaves versions and loaded objects behind.
Pattern: one function a need, all within the caller's transaction; COPY to the table or beside it,
then one statement.  Not for a handful of rows: ``session.add_all`` is plainer, and fires events.
PostgreSQL 15 or newer.

To copy: this folder, ``models.py`` and ``database.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from ..database import session_factory
from ..models import Organization, OutboxMessage, Tag, Ticket, TicketStatus, TicketTag, User
from .changing import bulk_assign_tickets, bulk_delete, bulk_update_ticket_status
from .copying import copy_rows
from .inserting import bulk_create_tickets, bulk_insert_with_return, insert_rows
from .reading import read_in_batches
from .upserting import TAGS, TICKETS, update_rows, upsert_rows


def demo(engine: Engine) -> None:
    """Bring in 5,000 tickets, bring them in again, and change some of them."""
    factory = session_factory(engine)
    with factory.begin() as session:
        acme = Organization(name="Acme", slug="acme")
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="!", is_staff=True)
        session.add_all([acme, ann])
        session.flush()
        ids = {"organization_id": acme.id, "creator_id": ann.id}
    agent = ids["creator_id"]

    def rows(count: int, word: str = "old") -> Iterator[dict[str, object]]:
        for number in range(count):
            key = f"CRM-{number}"
            yield {"ticket_number": key, "title": f"{word} {number}", "description": "…", **ids}

    columns = ["ticket_number", "title", "description", *ids]
    with factory() as session:
        records = (tuple(row.values()) for row in rows(5_000))
        print("COPY:", copy_rows(session, Ticket, columns, records))
        session.rollback()
        print("After the rollback:", count_of(session))
    with factory.begin() as session:
        found = upsert_rows(session, TICKETS, rows(4_000))
        print("Upsert:", dict(Counter(row.outcome for row in found)))
        again = upsert_rows(session, TICKETS, [*rows(5_000), *rows(10, "new")])
        print("Again, with 10 twice:", dict(Counter(row.outcome for row in again)))
        print("The same id:", found[7].id == again[7].id == again[-3].id)
    with factory.begin() as session:
        made = bulk_insert_with_return(
            session, [{"title": f"Call {n}", "description": "…", **ids} for n in range(1_000)]
        )
        print("Ids in order:", made == sorted(made), len(made))
        vip = Tag(name="VIP")
        tickets = bulk_create_tickets(
            session,
            [
                {"title": f"Mail {n}", "description": "…", **ids, "tag_links": [TicketTag(tag=vip)]}
                for n in range(3)
            ],
        )
        print("Objects:", tickets)
        print("Tags:", [row.outcome for row in upsert_rows(session, TAGS, [{"name": "vip"}])])
        print("Nothing of nothing:", insert_rows(session, OutboxMessage, []))
    with factory.begin() as session:
        held = session.get_one(Ticket, made[0])
        print("Assigned:", len(bulk_assign_tickets(session, made, agent)))
        print("The session sees:", held.status.value, "version", held.version)
        print("Closed:", len(bulk_update_ticket_status(session, made[:10], TicketStatus.CLOSED)))
        print("Re-opened:", bulk_update_ticket_status(session, made[:10], TicketStatus.OPEN))
        changes = [{"id": key, "title": f"Call {key}", "version": 2} for key in made[:12]]
        print("Titles:", dict(Counter(update_rows(session, Ticket, changes))))
    with factory() as session:
        sizes = [len(batch) for batch in read_in_batches(session, select(Ticket), 2_000)]
        print("Read, a batch at a time:", sizes)
    deleted: list[int] = []
    while not deleted or deleted[-1]:
        with factory.begin() as session:
            deleted.append(bulk_delete(session, Ticket, Ticket.id.in_(made), limit=400))
    print("Deleted, a transaction a batch:", deleted)


def count_of(session: Session) -> int:
    """How many tickets there are."""
    return session.scalars(select(func.count()).select_from(Ticket)).one()
