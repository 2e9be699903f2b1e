"""Data curation: duplicates merged, tags in one spelling, people anonymised, old tickets put away.

Problem: a clean-up script knows the tables that there were when it was written, and forgets what
came later.  Pattern: ask the metadata who refers to a row, and the catalog where a text may stand;
lock in one order; leave a trail; let the caller commit.  Not in a request: these are jobs, and read
much.  READ COMMITTED; PostgreSQL 15 or newer; ``pg_trgm`` for what is only alike.

To copy: this folder, ``models.py`` and ``database.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, select

from ..database import session_factory
from ..models import (
    Comment,
    Organization,
    OutboxMessage,
    Tag,
    Ticket,
    TicketStatus,
    TicketTag,
    User,
)
from .archiving import ARCHIVE, archive_tickets
from .duplicates import (
    INDEXES,
    duplicate_users,
    find_duplicates,
    find_similar,
    similar_tickets,
)
from .erasure import anonymise_user, terms_of
from .leavers import reassign_tickets
from .merging import merge_tickets, merge_users
from .quality import data_quality
from .scanning import scan
from .tags import normalise_tags

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def put_a_mess(engine: Engine) -> None:
    """A desk after five years."""
    with session_factory(engine).begin() as session:
        acme = Organization(name="Acme", slug="acme")
        lee, again, bob, cy = (
            User(email=email, full_name=name, password_hash="!", is_staff=staff, organization=of)
            for email, name, staff, of in (
                ("ann.lee@acme.example", "Ann Lee", False, acme),
                ("Ann.Lee+desk@acme.example", "Ann  Lee", False, acme),
                ("bob@desk.example", "Bob", True, None),
                ("cy@desk.example", "Cy", True, None),
            )
        )
        hardware, twin, vip = (Tag(name=name) for name in ("Hard ware", "hard_ware", "VIP"))
        for title, author, tags in (
            ("Printer on fire", lee, [hardware]),
            ("Printer is on fire", again, [twin, hardware]),
            ("Invoice for Ann Lee", again, [vip]),
        ):
            ticket = Ticket(title=title, description="…", organization=acme, creator=author)
            ticket.tag_links = [TicketTag(tag=tag) for tag in tags]
            ticket.assignee = bob
            ticket.comments = [Comment(author=author, content=f"{title}? Ask ANN-LEE.")]
            session.add(ticket)
            session.flush()
        old = Ticket(title="Old", description="…", organization=acme, creator=lee, assignee=cy)
        old.status, old.created_at, old.resolved_at = TicketStatus.CLOSED, LONG_AGO, LONG_AGO
        old.comments = [Comment(author=lee, content="Thank you.")]
        session.add_all([old, OutboxMessage(topic="mail", payload={"to": lee.email.upper()})])


def demo(engine: Engine) -> None:
    """Clean up a desk."""
    ARCHIVE.create(engine)
    with engine.begin() as connection:
        for statement in INDEXES:
            connection.execute(statement)
    put_a_mess(engine)
    factory = session_factory(engine)
    with factory() as session:
        wrong = data_quality(session, "drop")
        print("Wrong:", {name: count for name, count in wrong.items() if count})
    with factory.begin() as session:
        for mailbox, ids in find_duplicates(session, duplicate_users("drop")).items():
            merge = merge_users(session, ids[0], ids[1:])
            print(f"One mailbox, {mailbox}: users {ids}")
            for name, keys in merge.done.moved.items():
                print(f"   {name}: {len(keys)} re-pointed")
    with factory.begin() as session:
        likely = find_similar(session, similar_tickets())
        for older, newer, likeness in likely:
            merge = merge_tickets(session, older, [newer])
            print(f"Tickets {older} and {newer} are {likeness:.0%} alike; merged")
            print("   moved:", merge.done.moved)
            print("   dropped:", [row["tag_id"] for row in merge.done.dropped["ticket_tags"]])
    with factory.begin() as session:
        print("Tags merged:", [(each.keeper, each.losers) for each in normalise_tags(session)])
        print("Tags:", list(session.scalars(select(Tag.name).order_by(Tag.name))))
    with factory.begin() as session:
        bob, cy = session.scalars(select(User.id).where(User.is_staff).order_by(User.id))
        print("Bob leaves; ticket → agent:", reassign_tickets(session, bob, [cy]))
    with factory.begin() as session:
        lee = session.scalars(select(User).where(User.full_name == "Ann Lee")).one()
        terms = terms_of(lee.full_name, lee.email)
        print("Looked for:", terms)
        print("Before:", {str(each.place): each.rows for each in scan(session, terms)})
        anonymise_user(session, lee.id)
        print("After:", scan(session, terms))
        print("Now:", session.scalars(select(Ticket.title).order_by(Ticket.id)).all())
    put_away = [-1]
    while put_away[-1]:
        with factory.begin() as session:
            before = datetime.now(UTC) - timedelta(days=730)
            put_away.append(archive_tickets(session, before))
    print("Archived, a batch a transaction:", put_away[1:])
