"""Search: any combination of filters, three ways to match text, and a total that is right.

Problem: filters are glued together as strings, ``%`` finds everything, and a join on tags counts
each ticket once for every tag.  Pattern: a value that says what is looked for, a list of conditions
made from it, and a statement each for the page and the total.  ``pg_trgm`` is needed for the index
of substrings and for similar words.  Not for millions of documents with facets: that is a search
engine's work.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import (
    ColumnElement,
    Engine,
    Select,
    String,
    and_,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, selectinload

from .database import session_factory
from .models import Organization, Tag, Ticket, TicketPriority, TicketStatus, TicketTag, User

# Longer words cannot be indexed (2,046 bytes), and nobody types more.
TEXT_LIMIT = 500
PAGE_LIMIT = 200
# Not HTML: what stands between the marks is the customer's and is escaped afterwards.
MARK, END = "\x02", "\x03"

Match = Literal["words", "substring", "similar"]
Nobody = Literal["nobody"]

TRIGRAMS = (
    text("CREATE EXTENSION IF NOT EXISTS pg_trgm"),
    text(
        "CREATE INDEX IF NOT EXISTS ix_tickets_trigrams ON tickets "
        "USING gin (title gin_trgm_ops, description gin_trgm_ops)"
    ),
)
"""What substrings and similar words need; on a full table CONCURRENTLY, in a migration."""


class SearchError(ValueError):
    """What is looked for cannot be: what was received, what was expected."""


@dataclass(frozen=True, kw_only=True)
class TicketSearch:
    """What is looked for; a field that is left out filters nothing.

    ``created_from`` is included and ``created_before`` is not: a day ends where the next begins.
    """

    text: str = ""
    match: Match = "words"
    statuses: tuple[TicketStatus, ...] = ()
    priorities: tuple[TicketPriority, ...] = ()
    assignee: int | Nobody | None = None
    creator_id: int | None = None
    organization_id: int | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    any_tags: tuple[str, ...] = ()
    all_tags: tuple[str, ...] = ()
    no_tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise ``SearchError`` for what PostgreSQL would refuse, or take for another time."""
        for word in (self.text, *self.any_tags, *self.all_tags, *self.no_tags):
            if "\0" in word:
                raise SearchError("received a NUL character; expected text: PostgreSQL stores none")
        for moment in (self.created_from, self.created_before):
            if moment is not None and moment.tzinfo is None:
                raise SearchError(
                    f"received {moment.isoformat()}; expected a time zone; "
                    "try datetime.now(UTC), or replace(tzinfo=…)"
                )


def conditions(search: TicketSearch) -> list[ColumnElement[bool]]:
    """The WHERE of *search*; deleted tickets are never found."""
    found: list[ColumnElement[bool]] = [Ticket.deleted_at.is_(None)]
    if words := search.text.strip()[:TEXT_LIMIT]:
        found.append(MATCHES[search.match](words))
    if search.statuses:
        found.append(Ticket.status.in_(search.statuses))
    if search.priorities:
        found.append(Ticket.priority.in_(search.priorities))
    if search.assignee == "nobody":
        found.append(Ticket.assignee_id.is_(None))
    elif search.assignee is not None:
        found.append(Ticket.assignee_id == search.assignee)
    if search.creator_id is not None:
        found.append(Ticket.creator_id == search.creator_id)
    if search.organization_id is not None:
        found.append(Ticket.organization_id == search.organization_id)
    if search.created_from is not None:
        found.append(Ticket.created_at >= search.created_from)
    if search.created_before is not None:
        found.append(Ticket.created_at < search.created_before)
    if search.any_tags:
        found.append(tagged(search.any_tags))
    found += [tagged([name]) for name in search.all_tags]
    if search.no_tags:
        found.append(~tagged(search.no_tags))
    return found


def tagged(names: Sequence[str]) -> ColumnElement[bool]:
    """Whether a ticket bears one of *names*, regardless of case.  EXISTS: no row is multiplied."""
    lowered = [func.lower(name) for name in names]
    return (
        select(TicketTag.tag_id)
        .join(TicketTag.tag)
        .where(TicketTag.ticket_id == Ticket.id, func.lower(Tag.name).in_(lowered))
        .correlate(Ticket)
        .exists()
    )


def has_words(words: str) -> ColumnElement[bool]:
    """Full text: *words* as people type them, with "a phrase", or, and -not.  Never an error."""
    return Ticket.search_vector.bool_op("@@")(func.websearch_to_tsquery("english", words))


def has_substring(words: str) -> ColumnElement[bool]:
    """*words* to the letter, regardless of case: ``%``, ``_`` and the backslash are themselves."""
    return or_(
        Ticket.title.icontains(words, autoescape=True),
        Ticket.description.icontains(words, autoescape=True),
    )


def has_similar(words: str) -> ColumnElement[bool]:
    """A word of the title much like *words*: finds "printr" in "Printer on fire"."""
    return literal(words, String).bool_op("<%")(Ticket.title)


MATCHES = {"words": has_words, "substring": has_substring, "similar": has_similar}


def search_tickets(search: TicketSearch, *, limit: int = 50, offset: int = 0) -> Select[Ticket]:
    """A page of what *search* finds, newest first, the id as tie-breaker, with its tags.

    Raises ``SearchError`` for a page that is none.
    """
    if not 1 <= limit <= PAGE_LIMIT or offset < 0:
        raise SearchError(
            f"received limit={limit}, offset={offset}; expected 1 to {PAGE_LIMIT}, and 0 or more"
        )
    return (
        select(Ticket)
        .where(*conditions(search))
        .order_by(Ticket.created_at.desc(), Ticket.id.desc())
        .limit(limit)
        .offset(offset)
        .options(selectinload(Ticket.tags))
    )


def count_tickets(search: TicketSearch) -> Select[int]:
    """How many tickets *search* finds: of the same conditions, without order and loads."""
    return select(func.count()).select_from(Ticket).where(*conditions(search))


def best_matches(words: str, *, limit: int = 20) -> Select[Ticket, float]:
    """``(ticket, rank)``, best first: a hit in the title outweighs one in the description."""
    query = func.websearch_to_tsquery("english", words[:TEXT_LIMIT])
    rank = func.ts_rank_cd(Ticket.search_vector, query).label("rank")
    return (
        select(Ticket, rank)
        .where(*conditions(TicketSearch(text=words)))
        .order_by(rank.desc(), Ticket.id.desc())
        .limit(limit)
    )


def snippets(words: str, ticket_ids: Sequence[int]) -> Select[int, str]:
    """``(ticket id, the part of its description that matches)``; for one page, since it is slow.

    The hits stand between two control characters: pass the text through ``snippet_html``.
    """
    query = func.websearch_to_tsquery("english", words[:TEXT_LIMIT])
    options = f"StartSel={MARK}, StopSel={END}, MaxFragments=2, MaxWords=20, MinWords=5"
    headline = func.ts_headline("english", Ticket.description, query, options)
    return select(Ticket.id, headline).where(Ticket.id.in_(list(ticket_ids)))


def snippet_html(snippet: str) -> str:
    """*snippet* safe for a page: the customer's text escaped, the hits in ``<mark>``."""
    return html.escape(snippet).replace(MARK, "<mark>").replace(END, "</mark>")


def most_similar(words: str, *, limit: int = 10) -> Select[Ticket, float]:
    """``(ticket, similarity 0 to 1)``: "did you mean", best first."""
    likeness = func.word_similarity(literal(words[:TEXT_LIMIT], String), Ticket.title)
    return (
        select(Ticket, likeness.label("similarity"))
        .where(and_(Ticket.deleted_at.is_(None), has_similar(words[:TEXT_LIMIT])))
        .order_by(literal_column("similarity").desc(), Ticket.id.desc())
        .limit(limit)
    )


def similarity_threshold(value: float) -> Select[str]:
    """Run it before a search of similar words: how like they must be, in this transaction alone.

    *value* is 0 to 1; PostgreSQL's own is 0.6, and finds a letter that is missing or doubled.
    """
    return select(func.set_config("pg_trgm.word_similarity_threshold", str(value), True))


def find_tickets(
    session: Session, search: TicketSearch, *, limit: int = 50, offset: int = 0
) -> tuple[Sequence[Ticket], int]:
    """``(page, total)``: three statements, however many tickets; the third loads the tags."""
    total = session.scalars(count_tickets(search)).one()
    return session.scalars(search_tickets(search, limit=limit, offset=offset)).all(), total


async def async_find_tickets(
    session: AsyncSession, search: TicketSearch, *, limit: int = 50, offset: int = 0
) -> tuple[Sequence[Ticket], int]:
    """The same for asyncio."""
    total = (await session.scalars(count_tickets(search))).one()
    page = await session.scalars(search_tickets(search, limit=limit, offset=offset))
    return page.all(), total


def demo(engine: Engine) -> None:
    """Look for printers in five ways."""
    with engine.begin() as connection:
        for statement in TRIGRAMS:
            connection.execute(statement)
    with session_factory(engine).begin() as session:
        acme = Organization(name="Acme", slug="acme")
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="!")
        hardware, vip = Tag(name="hardware"), Tag(name="VIP")
        for title, description, tags in (
            ("Printer on fire", "The printers burn <b>brightly</b>.", [hardware, vip]),
            ("Invoice is 100% wrong", "It counts the printer twice.", [vip]),
            ("Cannot log in", "The button does nothing.", []),
        ):
            links = [TicketTag(tag=tag) for tag in tags]
            session.add(
                Ticket(
                    title=title,
                    description=description,
                    organization=acme,
                    creator=ann,
                    tag_links=links,
                )
            )
    with session_factory(engine)() as session:
        for search in (
            TicketSearch(text="burning printer"),
            TicketSearch(text="100%", match="substring"),
            TicketSearch(text="printr", match="similar"),
            TicketSearch(any_tags=("vip", "hardware")),
            TicketSearch(no_tags=("vip",), assignee="nobody"),
        ):
            page, total = find_tickets(session, search)
            wanted = search.text or search.any_tags or search.no_tags
            print(f"{wanted!s:24} {total} found:", [ticket.title for ticket in page])
        for ticket, rank in session.execute(best_matches("printer")):
            print(f"rank {rank:.2f}: {ticket.title}")
        ids = list(session.scalars(select(Ticket.id)))
        for _, snippet in session.execute(snippets("printer", ids[:1])):
            print("snippet:", snippet_html(snippet))
