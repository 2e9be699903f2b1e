"""Filters of any combination find what a plain Python model finds; nothing that is typed raises."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Select, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from examples.database import create_sync_engine
from examples.models import Tag, Ticket, TicketPriority, TicketStatus, TicketTag
from examples.postgres import temporary_database
from examples.query_plans import explain
from examples.search import (
    TEXT_LIMIT,
    TRIGRAMS,
    SearchError,
    TicketSearch,
    async_find_tickets,
    best_matches,
    count_tickets,
    find_tickets,
    most_similar,
    search_tickets,
    similarity_threshold,
    snippet_html,
    snippets,
)
from examples.testing_patterns.factories import make_organization, make_tag, make_ticket, make_user
from examples.testing_patterns.large_desk import fill_desk
from examples.testing_patterns.plans import assert_indexes
from examples.testing_patterns.statements import assert_statements
from tests.short import times

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TITLES = ["Printer on fire", "100% wrong", "snake_case", r"C:\temp", "It's O'Brien", "Grün 🎫"]
TAGS = ["billing", "hardware", "VIP"]


def add(session: Session, *tickets: Ticket) -> None:
    """Save *tickets*, and let the session forget them."""
    session.execute(TRIGRAMS[0])
    session.add_all(tickets)
    session.flush()
    session.expunge_all()


def titles(session: Session, search: TicketSearch) -> list[str]:
    """What is found, and that the total agrees."""
    page, total = find_tickets(session, search, limit=200)
    assert total == len(page)
    return [ticket.title for ticket in page]


# --- Text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize("match", ["substring"])
def test_a_substring_is_taken_to_the_letter(session: Session, title: str, match: Any) -> None:
    add(session, *(make_ticket(title=each, description="-") for each in TITLES))
    assert titles(session, TicketSearch(text=title[2:-1], match=match)) == [title]
    assert titles(session, TicketSearch(text=title.upper(), match=match)) == [title]


@pytest.mark.parametrize(("typed", "found"), [("%", 1), ("_", 1), ("\\", 1), ("%%", 0), ("'", 1)])
def test_wildcards_are_themselves(session: Session, typed: str, found: int) -> None:
    add(session, *(make_ticket(title=each, description="-") for each in TITLES))
    assert len(titles(session, TicketSearch(text=typed, match="substring"))) == found


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("burning printers", ["Printer on fire"]),
        ('"on fire"', ["Printer on fire"]),
        ("printer -fire", []),
        ("printer or wrong", ["100% wrong", "Printer on fire"]),
        ("the", []),
    ],
)
def test_words_as_people_type_them(session: Session, typed: str, found: list[str]) -> None:
    add(session, make_ticket(title="Printer on fire", description="It burns."))
    add(session, make_ticket(title="100% wrong", description="-"))
    assert titles(session, TicketSearch(text=typed)) == found


STRANGE = [
    "&|!():*<->",
    "a & | b",
    "'",
    "\\",
    "%_",
    '"unclosed',
    "🎫" * 9,
    "x" * 100_000,
    " ",
    "::",
]


@pytest.mark.parametrize("match", ["words", "substring", "similar"])
@pytest.mark.parametrize("typed", STRANGE, ids=range(len(STRANGE)))
def test_nothing_that_is_typed_raises(session: Session, match: Any, typed: str) -> None:
    add(session, make_ticket())
    titles(session, TicketSearch(text=typed, match=match))
    session.execute(best_matches(typed)).all()
    session.execute(most_similar(typed)).all()


def test_a_nul_character_is_told() -> None:
    with pytest.raises(SearchError, match="NUL character"):
        TicketSearch(text="a\0b")
    with pytest.raises(SearchError, match="NUL character"):
        TicketSearch(no_tags=("a\0b",))


def test_similar_words(session: Session) -> None:
    add(session, make_ticket(title="Printer on fire"), make_ticket(title="Cannot log in"))
    assert titles(session, TicketSearch(text="printr", match="similar")) == ["Printer on fire"]
    swapped = TicketSearch(text="pritner", match="similar")
    assert titles(session, swapped) == []
    with assert_statements(session, exactly=1):
        assert session.scalars(similarity_threshold(0.3)).one() == "0.3"
    assert titles(session, swapped) == ["Printer on fire"]
    with assert_statements(session, exactly=1):
        ticket, likeness = session.execute(most_similar("printer")).one()
    assert (ticket.title, likeness) == ("Printer on fire", 1.0)


def test_the_title_outweighs_the_description(session: Session) -> None:
    add(session, make_ticket(title="Other", description="A printer."))
    add(session, make_ticket(title="Printer", description="It fails."))
    with assert_statements(session, exactly=1):
        rows = session.execute(best_matches("printer")).all()
    assert [ticket.title for ticket, _ in rows] == ["Printer", "Other"]
    assert rows[0].rank > rows[1].rank


def test_a_snippet_is_safe_for_a_page(session: Session) -> None:
    ticket = make_ticket(description="The printer says <script>alert('printer')</script> & stops.")
    session.add(ticket)
    session.flush()
    with assert_statements(session, exactly=1):
        ((_, snippet),) = session.execute(snippets("printers", [ticket.id])).all()
    shown = snippet_html(snippet)
    assert "<mark>printer</mark>" in shown
    assert "<script" not in shown
    assert snippet_html("a < b\x02c\x03") == "a &lt; b<mark>c</mark>"


# --- Tags, pages, totals --------------------------------------------------------------------------


def with_tags(title: str, *tags: Tag) -> Ticket:
    """A ticket that bears *tags*."""
    return make_ticket(title=title, tag_links=[TicketTag(tag=tag) for tag in tags])


def test_a_ticket_with_three_of_the_tags_is_one(session: Session) -> None:
    tags = [make_tag(name=name) for name in TAGS]
    add(session, *(with_tags(f"{number}", *tags) for number in range(10)))
    search = TicketSearch(any_tags=("billing", "hardware", "vip"))
    page, total = find_tickets(session, search, limit=5)
    assert (len({ticket.id for ticket in page}), total) == (5, 10)
    assert all(len(ticket.tags) == 3 for ticket in page)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (TicketSearch(any_tags=("BILLING",)), {"b", "bh"}),
        (TicketSearch(any_tags=("billing", "hardware")), {"b", "h", "bh"}),
        (TicketSearch(all_tags=("billing", "hardware")), {"bh"}),
        (TicketSearch(no_tags=("billing",)), {"h", ""}),
        (TicketSearch(any_tags=("hardware",), no_tags=("billing",)), {"h"}),
        (TicketSearch(any_tags=("no such",)), set()),
    ],
)
def test_tags_any_all_none(session: Session, search: TicketSearch, found: set[str]) -> None:
    billing, hardware = make_tag(name="billing"), make_tag(name="Hardware")
    tickets = [with_tags("b", billing), with_tags("h", hardware), make_ticket(title="-")]
    add(session, *tickets, with_tags("bh", billing, hardware))
    assert {title.strip("-") for title in titles(session, search)} == found


def test_a_page_takes_three_statements(session: Session) -> None:
    add(session, *(with_tags(f"{number}", make_tag()) for number in range(7)))
    with assert_statements(session, exactly=3):
        page, total = find_tickets(session, TicketSearch(), limit=3, offset=3)
        assert [len(ticket.tags) for ticket in page] == [1, 1, 1]
    assert total == 7


def test_equal_times_are_served_once(session: Session) -> None:
    add(session, *(make_ticket(created_at=NOON) for _ in range(10)))
    pages = [find_tickets(session, TicketSearch(), limit=3, offset=n)[0] for n in (0, 3, 6, 9)]
    served = [ticket.id for page in pages for ticket in page]
    assert served == sorted(served, reverse=True)
    assert len(set(served)) == 10


def test_the_last_day_counts_whole(session: Session) -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    late = day + timedelta(hours=23, minutes=59)
    add(
        session,
        make_ticket(title="late", created_at=late),
        make_ticket(created_at=NOON - day.resolution),
    )
    march = TicketSearch(created_from=day, created_before=day + timedelta(days=1))
    assert len(titles(session, march)) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"limit": 0}, "received limit=0"),
        ({"limit": 201}, "expected 1 to 200"),
        ({"offset": -1}, "offset=-1"),
    ],
)
def test_a_page_that_is_none_is_told(wrong: dict[str, int], said: str) -> None:
    with pytest.raises(SearchError, match=said):
        search_tickets(TicketSearch(), **wrong)


def test_a_time_without_a_zone_is_told() -> None:
    with pytest.raises(SearchError, match="expected a time zone"):
        TicketSearch(created_from=datetime(2026, 3, 1))


@pytest.mark.asyncio
async def test_under_asyncio(async_session: AsyncSession) -> None:
    async_session.add_all([with_tags("Printer", make_tag(name="VIP")), make_ticket()])
    await async_session.flush()
    search = TicketSearch(text="printer", any_tags=("vip",), statuses=(TicketStatus.OPEN,))
    with assert_statements(async_session, exactly=3):
        page, total = await async_find_tickets(async_session, search)
    assert ([ticket.title for ticket in page], total) == (["Printer"], 1)


# --- Every combination, against a model -----------------------------------------------------------

PEOPLE = 3
searches = st.builds(
    TicketSearch,
    text=st.sampled_from(["", "r", "printer", "%", "IN"]),
    match=st.just("substring"),
    statuses=st.lists(st.sampled_from(TicketStatus), max_size=2).map(tuple),
    priorities=st.lists(st.sampled_from(TicketPriority), max_size=2).map(tuple),
    assignee=st.sampled_from([None, "nobody", 0, 1]),
    creator_id=st.sampled_from([None, 0, 1]),
    organization_id=st.sampled_from([None, 0, 1]),
    created_from=st.sampled_from([None, NOON, NOON + timedelta(days=5)]),
    created_before=st.sampled_from([None, NOON + timedelta(days=5), NOON + timedelta(days=15)]),
    any_tags=st.lists(st.sampled_from(TAGS), max_size=2).map(tuple),
    all_tags=st.lists(st.sampled_from(TAGS), max_size=2).map(tuple),
    no_tags=st.lists(st.sampled_from(TAGS), max_size=1).map(tuple),
)


@pytest.fixture(scope="module")
def population(postgres_url: str, template_name: str) -> Iterator[Engine]:
    """Sixty tickets of every sort, committed once; nothing of them is changed."""
    with temporary_database(postgres_url, template=template_name) as url:
        engine = create_sync_engine(url)
        with Session(engine) as session:
            users = [make_user() for _ in range(PEOPLE)]
            organizations = [make_organization() for _ in range(PEOPLE)]
            tags = [make_tag(name=name) for name in TAGS]
            for number in range(60):
                status = list(TicketStatus)[number % 5]
                done = status in {TicketStatus.RESOLVED, TicketStatus.CLOSED}
                session.add(
                    make_ticket(
                        title=TITLES[number % 6],
                        description="in" if number % 7 else "out",
                        status=status,
                        priority=list(TicketPriority)[number % 4],
                        creator=users[number % PEOPLE],
                        assignee=users[number % 2] if number % 3 else None,
                        organization=organizations[number % 2],
                        created_at=NOON + timedelta(days=number % 20),
                        resolved_at=NOON if done else None,
                        deleted_at=NOON if number % 11 == 0 else None,
                        tag_links=[
                            TicketTag(tag=tag) for bit, tag in enumerate(tags) if number >> bit & 1
                        ],
                    )
                )
            session.commit()
        yield engine
        engine.dispose()


def expected(session: Session, search: TicketSearch) -> list[int]:
    """The same in plain Python: what is meant, without any SQL."""
    found = []
    for ticket in session.scalars(select(Ticket)).all():
        names = {name.lower() for name in session.scalars(names_of(ticket.id))}
        text_hit = search.text.lower() in f"{ticket.title}\n{ticket.description}".lower()
        wanted = search.assignee
        if (
            ticket.deleted_at is None
            and text_hit
            and (not search.statuses or ticket.status in search.statuses)
            and (not search.priorities or ticket.priority in search.priorities)
            and (wanted is None or (ticket.assignee_id or "nobody") == wanted)
            and search.creator_id in (None, ticket.creator_id)
            and search.organization_id in (None, ticket.organization_id)
            and (not search.created_from or ticket.created_at >= search.created_from)
            and (not search.created_before or ticket.created_at < search.created_before)
            and (not search.any_tags or names & {tag.lower() for tag in search.any_tags})
            and {tag.lower() for tag in search.all_tags} <= names
            and not names & {tag.lower() for tag in search.no_tags}
        ):
            found.append(ticket)
    found.sort(key=lambda ticket: (ticket.created_at, ticket.id), reverse=True)
    return [ticket.id for ticket in found]


def names_of(ticket_id: int) -> Select[str]:
    """The names of a ticket's tags."""
    return select(Tag.name).join(Tag.ticket_links).where(TicketTag.ticket_id == ticket_id)


@settings(max_examples=times(40, 8), deadline=None)
@given(search=searches)
def test_every_combination_agrees_with_the_model(population: Engine, search: TicketSearch) -> None:
    with Session(population) as session:
        # Positions become the ids of this database.
        users = list(session.scalars(text("SELECT id FROM users ORDER BY id")))
        organizations = list(session.scalars(text("SELECT id FROM organizations ORDER BY id")))
        changes: dict[str, Any] = {}
        if isinstance(search.assignee, int):
            changes["assignee"] = users[search.assignee]
        if search.creator_id is not None:
            changes["creator_id"] = users[search.creator_id]
        if search.organization_id is not None:
            changes["organization_id"] = organizations[search.organization_id]
        asked = TicketSearch(**(vars(search) | changes))
        page, total = find_tickets(session, asked, limit=200)
        ids = [ticket.id for ticket in page]
        session.expunge_all()
        assert ids == expected(session, asked)
        assert total == len(ids)


# --- Statements and plans -------------------------------------------------------------------------

SPRING = datetime(2026, 3, 1, tzinfo=UTC)
ONE_DAY = TicketSearch(created_from=SPRING, created_before=SPRING + timedelta(days=1))
NEWEST, TENANTS = "ix_tickets_created_at_id", "ix_tickets_organization_id_created_at_id"


@pytest.mark.parametrize(
    ("statement", "statements", "indexes"),
    [
        (search_tickets(TicketSearch()), 2, {NEWEST, "pk_ticket_tags"}),
        (search_tickets(TicketSearch(organization_id=7)), 2, {TENANTS, "pk_ticket_tags"}),
        (search_tickets(TicketSearch(creator_id=77)), 2, {"ix_tickets_creator_id"}),
        (search_tickets(ONE_DAY), 2, {NEWEST}),
        (count_tickets(TicketSearch(text="zebra")), 1, {"ix_tickets_search_vector"}),
        (count_tickets(TicketSearch(organization_id=7)), 1, {TENANTS}),
        (count_tickets(TicketSearch(creator_id=77)), 1, {"ix_tickets_creator_id"}),
        (count_tickets(TicketSearch(assignee=7)), 1, {"ix_tickets_assignee_id"}),
        (count_tickets(TicketSearch(any_tags=("tag-7",))), 1, {"ix_ticket_tags_tag_id"}),
        (count_tickets(ONE_DAY), 1, {NEWEST}),
        (best_matches("zebra"), 1, {"ix_tickets_search_vector"}),
        (snippets("zebra", [7, 2_507, 5_007]), 1, {"pk_tickets"}),
    ],
    ids=[
        *("search", "search organization", "search creator", "search day"),
        *("count words", "count organization", "count creator", "count assignee", "count tag"),
        *("count day", "best_matches", "snippets"),
    ],
)
def test_the_statements_and_indexes_of_each_read(
    large_desk: Engine, statement: Select[Any], statements: int, indexes: set[str]
) -> None:
    with (
        Session(large_desk) as session,
        assert_statements(session, exactly=statements),
        assert_indexes(session, *indexes),
    ):
        assert session.execute(statement).all()


@pytest.fixture(scope="module")
def with_trigrams(postgres_url: str, template_name: str) -> Iterator[Engine]:
    """10,000 tickets with the indexes of ``TRIGRAMS``, analysed; four tell of a zebra."""
    with temporary_database(postgres_url, template=template_name) as url:
        engine = create_sync_engine(url)
        with engine.begin() as connection:
            for statement in TRIGRAMS:
                connection.execute(statement)
        fill_desk(engine, tickets=10_000, threads=False)
        yield engine
        engine.dispose()


@pytest.mark.parametrize(
    ("statement", "statements", "index"),
    [
        (search_tickets(TicketSearch(text="zebra")), 2, "ix_tickets_search_vector"),
        (search_tickets(TicketSearch(text="zebr", match="substring")), 2, "ix_tickets_trigrams"),
        (search_tickets(TicketSearch(text="zebra", match="similar")), 2, "ix_tickets_trigrams"),
        (count_tickets(TicketSearch(text="zebr", match="substring")), 1, "ix_tickets_trigrams"),
        (count_tickets(TicketSearch(text="zebra", match="similar")), 1, "ix_tickets_trigrams"),
        (most_similar("zebra"), 1, "ix_tickets_trigrams"),
    ],
    ids=[
        *("search words", "search substring", "search similar"),
        *("count substring", "count similar", "most_similar"),
    ],
)
def test_the_statements_and_indexes_of_each_text(
    with_trigrams: Engine, statement: Select[Any], statements: int, index: str
) -> None:
    with (
        Session(with_trigrams) as session,
        assert_statements(session, exactly=statements),
        assert_indexes(session, index),
    ):
        assert session.execute(statement).all()


def test_an_index_without_trigrams_is_no_help(with_trigrams: Engine) -> None:
    """What ILIKE does where nobody made the index."""
    counted = count_tickets(TicketSearch(text="zebr", match="substring"))
    with Session(with_trigrams) as session:
        session.execute(text("DROP INDEX ix_tickets_trigrams"))
        plan = explain(session, counted)
        session.rollback()
    assert plan.scanned_tables == {"tickets"}


def test_very_long_input_is_cut() -> None:
    search = TicketSearch(text="x" * 9_999, match="substring")
    values = count_tickets(search).compile().params.values()
    assert {len(value) for value in values if isinstance(value, str)} == {TEXT_LIMIT}


def test_a_longer_word_cannot_be_indexed(session: Session) -> None:
    """PostgreSQL leaves it out without an error; the search text is cut long before."""
    count = text("SELECT length(to_tsvector('simple', :word))")
    lexemes = [session.scalar(count, {"word": "x" * size}) for size in (2_046, 2_047)]
    assert lexemes == [1, 0]
