"""Whatever refers to a duplicate refers to the survivor, and two mergers lose nothing."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from examples.audit_trails.tables import audited
from examples.audit_trails.trail import load_history, replay
from examples.audit_trails.triggers import install_ddl
from examples.data_curation.duplicates import (
    async_find_duplicates,
    duplicate_tags,
    find_duplicates,
)
from examples.data_curation.merging import (
    TICKETS,
    USERS,
    async_merge_tags,
    async_merge_tickets,
    async_merge_users,
    merge_tags,
    merge_tickets,
    merge_users,
)
from examples.data_curation.references import (
    references_to,
    refuse_unknown,
    repoint,
    unique_keys,
)
from examples.data_curation.tags import async_normalise_tags, normalise_tags
from examples.models import (
    AuditLog,
    Tag,
    Ticket,
    TicketStatus,
    TicketStatusHistory,
    TicketTag,
    User,
)
from examples.testing_patterns.factories import (
    make_attachment,
    make_comment,
    make_organization,
    make_tag,
    make_ticket,
    make_user,
)
from examples.testing_patterns.statements import assert_statements
from tests.saved import saved
from tests.waiting import DEADLINE, in_thread, patient_engine

NOW = datetime.now(UTC)


def full_ticket(**values: Any) -> Ticket:
    """A ticket with one of every child."""
    ticket = make_ticket(**values)
    ticket.comments = [make_comment(author=ticket.creator)]
    ticket.attachments = [make_attachment()]
    ticket.tag_links = [TicketTag(tag=make_tag())]
    ticket.status_history.add(TicketStatusHistory(new_status=TicketStatus.OPEN))
    return ticket


def refers(session: Session, target: Table, key: int) -> dict[str, int]:
    """How many rows refer to a row, by column."""
    counts = {}
    for column in references_to(target):
        count = select(func.count()).select_from(column.table).where(column == key)
        counts[str(column)] = session.scalar(count) or 0
    return counts


# --- Every reference ------------------------------------------------------------------------------


def test_the_metadata_knows_who_refers() -> None:
    assert [str(each) for each in references_to(TICKETS)] == [
        "tickets.duplicate_of_id",
        "attachments.ticket_id",
        "comments.ticket_id",
        "ticket_status_history.ticket_id",
        "ticket_tags.ticket_id",
    ]
    assert len(references_to(USERS)) == 8


def test_every_reference_to_a_user_follows(session: Session) -> None:
    ann, twin = make_user(), make_user()
    saved(session, ann, twin, full_ticket())
    columns = references_to(USERS)
    for column in columns:
        session.execute(update(column.table).values({column.name: twin.id}))
    assert set(refers(session, USERS, twin.id).values()) == {1}
    session.expunge_all()
    merge = merge_users(session, ann.id, [twin.id])
    assert set(merge.done.moved) == {str(each) for each in columns}
    assert set(refers(session, USERS, twin.id).values()) == {0}
    assert set(refers(session, USERS, ann.id).values()) == {1}
    assert session.get(User, twin.id) is None


def test_every_reference_to_a_ticket_follows(session: Session) -> None:
    acme = make_organization()
    first = saved(session, full_ticket(organization=acme))
    second = saved(session, full_ticket(organization=acme))
    third = saved(session, make_ticket(organization=acme, duplicate_of=second))
    before = refers(session, TICKETS, second.id)
    assert set(before.values()) == {1}
    session.expunge_all()
    merge_tickets(session, first.id, [second.id])
    after = refers(session, TICKETS, second.id)
    assert set(after.values()) == {0}
    # The survivor's own and the other's; or the third and the other itself.
    assert set(refers(session, TICKETS, first.id).values()) == {2}
    buried = session.get_one(Ticket, second.id)
    assert (buried.status, buried.duplicate_of_id) == (TicketStatus.CLOSED, first.id)
    assert None not in {buried.deleted_at, buried.resolved_at}
    assert session.get_one(Ticket, third.id).duplicate_of_id == first.id


def test_a_ticket_may_keep_its_own_history(session: Session) -> None:
    acme = make_organization()
    first = saved(session, full_ticket(organization=acme))
    second = saved(session, full_ticket(organization=acme))
    merge_tickets(session, first.id, [second.id], stay={"ticket_status_history.ticket_id"})
    assert refers(session, TICKETS, second.id)["ticket_status_history.ticket_id"] == 1


def later_tables() -> MetaData:
    """Users, and the tables of a product that grew."""
    metadata = MetaData()
    Table("users", metadata, Column("id", BigInteger, primary_key=True))

    def user(name: str = "user_id", **more: Any) -> Column[Any]:
        return Column(name, ForeignKey("users.id", ondelete="CASCADE"), **more)

    Table("later_plain", metadata, Column("id", BigInteger, primary_key=True), user())
    Table(
        "later_constraint",
        metadata,
        Column("id", BigInteger, primary_key=True),
        user(),
        Column("kind", Text),
        UniqueConstraint("user_id", "kind"),
    )
    Table(
        "later_partial",
        metadata,
        Column("id", BigInteger, primary_key=True),
        user(),
        Column("kind", Text),
        Column("live", BigInteger),
        Index(
            "later_one",
            "user_id",
            func.lower(text("kind")),
            unique=True,
            postgresql_where=text("live = 1"),
        ),
    )
    Table("later_follows", metadata, user("who", primary_key=True), user("whom", primary_key=True))
    Table("later_profile", metadata, user(primary_key=True), Column("motto", Text))
    Table(
        "later_photo",
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("profile", ForeignKey("later_profile.user_id", ondelete="CASCADE")),
    )
    return metadata


@pytest.fixture
def later(session: Session) -> dict[str, Table]:
    """A later product's tables, with rows of users 1 (survives), 2 and 3."""
    metadata = later_tables()
    tables = metadata.tables
    session.execute(text("CREATE SCHEMA later"))
    session.execute(text("SET LOCAL search_path = later"))
    metadata.create_all(session.connection(), checkfirst=False)
    rows: dict[str, list[tuple[Any, ...]]] = {
        "users": [(1,), (2,), (3,), (9,)],
        "later_plain": [(1, 1), (2, 2), (3, 3)],
        "later_constraint": [
            (1, 1, "a"),
            (2, 2, "a"),
            (3, 3, "b"),
            (4, 2, "b"),
            (5, 2, None),
            (6, 1, None),
            (7, 9, "a"),
        ],
        "later_partial": [(1, 2, "A", 1), (2, 3, "a", 1), (3, 2, "a", 0), (4, 3, "b", 1)],
        "later_follows": [(1, 2), (2, 9), (3, 9), (9, 1), (9, 3), (2, 3)],
        "later_profile": [(1, "mine"), (2, "theirs")],
        "later_photo": [(1, 2), (2, 1)],
    }
    for name, values in rows.items():
        session.execute(insert(tables[name]).values(values))
    return dict(tables)


def test_tables_added_later_follow_and_collide_nowhere(
    session: Session, later: dict[str, Table]
) -> None:
    done = repoint(session, later["users"], 1, [2, 3])
    session.execute(text("DELETE FROM users WHERE id IN (2, 3)"))

    def rows(name: str) -> list[tuple[Any, ...]]:
        found = session.execute(select(later[name]).order_by(*later[name].primary_key))
        return [tuple(row) for row in found]

    assert rows("later_plain") == [(1, 1), (2, 1), (3, 1)]
    # One "a", the survivor's; one "b", the older; NULL collides with nothing.
    kinds = [(1, 1, "a"), (3, 1, "b"), (5, 1, None), (6, 1, None), (7, 9, "a")]
    assert rows("later_constraint") == kinds
    # Beyond the condition of the index a second one may stay.
    assert rows("later_partial") == [(1, 1, "A", 1), (3, 1, "a", 0), (4, 1, "b", 1)]
    assert rows("later_follows") == [(1, 1), (1, 9), (9, 1)]
    assert rows("later_profile") == [(1, "mine")]
    # Not taken along by the profile's ON DELETE CASCADE.
    assert rows("later_photo") == [(1, 1), (2, 1)]
    assert done.moved["later_photo.profile"] == [1]
    assert done.dropped["later_profile"] == [{"user_id": 2, "motto": "theirs"}]


def test_what_cannot_be_repointed_is_told() -> None:
    metadata = later_tables()
    users = metadata.tables["users"]
    of_expression = Table(
        "later_expression",
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("user_id", ForeignKey("users.id")),
        Index("odd", text("coalesce(user_id, 0)"), unique=True),
    )
    with pytest.raises(ValueError, match="odd, of an expression"):
        list(unique_keys(of_expression.c.user_id))
    Table(
        "pair",
        metadata,
        Column("a", BigInteger, primary_key=True),
        Column("b", BigInteger, primary_key=True),
    )
    both = ForeignKeyConstraint(["a", "b"], ["pair.a", "pair.b"], name="two")
    columns = [Column(name, BigInteger) for name in "ab"]
    Table("of_pair", metadata, Column("id", BigInteger, primary_key=True), *columns, both)
    with pytest.raises(ValueError, match="two; expected one of a single column"):
        references_to(metadata.tables["pair"])
    assert references_to(users)


def test_a_foreign_key_that_the_metadata_lacks_stops_a_merge(session: Session) -> None:
    ann, twin = make_user(), make_user()
    saved(session, ann, twin)
    session.execute(
        text("CREATE TABLE forgotten (owner bigint REFERENCES users ON DELETE CASCADE)")
    )
    session.execute(text("INSERT INTO forgotten VALUES (:id)"), {"id": twin.id})
    with pytest.raises(ValueError, match=r"also \['forgotten.owner'\] refer to users"):
        merge_users(session, ann.id, [twin.id])
    # What would have become of it.
    session.delete(twin)
    session.flush()
    assert session.scalar(text("SELECT count(*) FROM forgotten")) == 0


def test_a_table_whose_name_is_quoted_is_looked_at_too(session: Session) -> None:
    things = Table("Things", MetaData(), Column("id", BigInteger, primary_key=True))
    things.create(session.connection())
    refuse_unknown(session, things)
    session.execute(text('CREATE TABLE forgotten (thing bigint REFERENCES "Things")'))
    with pytest.raises(ValueError, match=r"also \['forgotten.thing'\] refer to Things"):
        refuse_unknown(session, things)


def test_a_merge_takes_so_many_statements(session: Session) -> None:
    acme, ann, twin = make_organization(), make_user(), make_user()
    saved(session, ann, twin, *(make_ticket(organization=acme, creator=twin) for _ in range(20)))
    session.expunge_all()
    # The catalog, the users, a lock a table, the one column that has rows and its neighbours,
    # what survives, what goes, the trail; however many tickets.
    with assert_statements(session, exactly=14):
        merge_users(session, ann.id, [twin.id])


# --- Collisions -----------------------------------------------------------------------------------


def test_tags_and_links_that_both_have_stay_once(session: Session) -> None:
    acme, both, only = make_organization(), make_tag(), make_tag()
    by = saved(session, make_user())
    first = make_ticket(organization=acme, tag_links=[TicketTag(tag=both)])
    second = make_ticket(
        organization=acme, tag_links=[TicketTag(tag=both, added_by_id=by.id), TicketTag(tag=only)]
    )
    saved(session, first, second)
    # Re-pointing alone fails.
    with pytest.raises(IntegrityError, match="pk_ticket_tags"), session.begin_nested():
        session.execute(update(TicketTag).values(ticket_id=first.id))
    merge = merge_tickets(session, first.id, [second.id])
    session.expire_all()
    links = session.scalars(select(TicketTag.tag_id).where(TicketTag.ticket_id == first.id))
    assert set(links) == {both.id, only.id}
    (dropped,) = merge.done.dropped["ticket_tags"]
    assert (dropped["ticket_id"], dropped["added_by_id"]) == (second.id, by.id)


def test_merging_tags(session: Session) -> None:
    vip, twin = make_tag(), make_tag()
    one = make_ticket(tag_links=[TicketTag(tag=vip), TicketTag(tag=twin)])
    two = make_ticket(tag_links=[TicketTag(tag=twin)])
    saved(session, one, two)
    merge_tags(session, vip.id, [twin.id])
    found = session.execute(select(TicketTag.ticket_id, TicketTag.tag_id)).all()
    assert sorted(map(tuple, found)) == [(one.id, vip.id), (two.id, vip.id)]
    assert session.get(Tag, twin.id) is None


def test_a_survivor_that_is_a_duplicate_of_the_merged_one(session: Session) -> None:
    acme = make_organization()
    first, second = make_ticket(organization=acme), make_ticket(organization=acme)
    first.duplicate_of = second
    saved(session, first, second)
    merge_tickets(session, first.id, [second.id])
    assert (first.duplicate_of_id, second.duplicate_of_id) == (None, first.id)


# --- Refused --------------------------------------------------------------------------------------


def test_who_would_see_what_is_not_theirs_is_not_merged(session: Session) -> None:
    ann, twin = make_user(organization=make_organization()), make_user()
    staff, other = make_user(is_staff=True), make_user(organization=make_organization())
    saved(session, ann, twin, staff, other)
    with pytest.raises(ValueError, match="different organization_id"):
        merge_users(session, ann.id, [twin.id, other.id])
    with pytest.raises(ValueError, match="different is_staff"):
        merge_users(session, twin.id, [staff.id])
    for losers in ([], [ann.id]):
        with pytest.raises(ValueError, match="expected others"):
            merge_users(session, ann.id, losers)
    with pytest.raises(ValueError, match=r"users \[-1\], which are not there"):
        merge_users(session, ann.id, [-1])
    tickets = make_ticket(), make_ticket()
    saved(session, *tickets)
    with pytest.raises(ValueError, match="different organization_id"):
        merge_tickets(session, tickets[0].id, [tickets[1].id])


def test_a_deleted_ticket_is_not_merged(session: Session) -> None:
    acme = make_organization()
    live, gone = make_ticket(organization=acme), make_ticket(organization=acme, deleted_at=NOW)
    saved(session, live, gone)
    for keeper, loser in ((live, gone), (gone, live)):
        with pytest.raises(ValueError, match="which are deleted"):
            merge_tickets(session, keeper.id, [loser.id])


# --- What else must be right ----------------------------------------------------------------------


def test_a_late_comment_follows_by_merging_again(session: Session) -> None:
    acme = make_organization()
    first, second = make_ticket(organization=acme), make_ticket(organization=acme)
    saved(session, first, second)
    merge_tickets(session, first.id, [second.id])
    late = saved(session, make_comment(ticket_id=second.id))
    assert merge_tickets(session, first.id, [second.id]).done.moved["comments.ticket_id"] == [
        late.id
    ]
    assert late.ticket_id == first.id


def test_the_survivor_has_the_latest_sign_in_and_an_organization(session: Session) -> None:
    ann, twin = make_user(), make_user(last_login=NOW, organization=make_organization())
    saved(session, ann, twin)
    merge_users(session, ann.id, [twin.id])
    assert (ann.last_login, ann.organization_id) == (NOW, twin.organization_id)


def test_what_the_session_holds_is_read_again(session: Session) -> None:
    ticket = make_ticket(creator=make_user(), comments=[make_comment()])
    ann = saved(session, make_user(), ticket)
    twin, version, touched = ticket.creator, ticket.version, ticket.updated_at
    ticket.title = "Not flushed yet"
    merge_users(session, ann.id, [twin.id])
    assert twin not in session
    with assert_statements(session, exactly=0):
        # Who has read it before and writes it now is refused: the version has moved, twice.
        assert (ticket.creator_id, ticket.version) == (ann.id, version + 2)
        assert (ticket.title, ticket.updated_at >= touched) == ("Not flushed yet", True)


def test_the_trail_tells_the_merge_and_no_secret(session: Session) -> None:
    ann = saved(session, make_user())
    twin = saved(session, make_user(email="twin@x.org", password_hash="$argon2$secret"))
    ticket = saved(session, make_ticket(creator=twin))
    merge_users(session, ann.id, [twin.id], merged_by_id=7)
    kept, gone = session.scalars(select(AuditLog).order_by(AuditLog.id))
    assert (kept.record_id, kept.action, kept.user_id) == (ann.id, "UPDATE", 7)
    assert kept.changes["merged"] == [twin.id]
    assert kept.changes["moved"] == {"tickets.creator_id": [ticket.id]}
    assert (gone.record_id, gone.action, gone.user_id) == (twin.id, "DELETE", 7)
    assert gone.changes["old"]["email"] == "twin@x.org"
    assert gone.changes["merged_into"] == ann.id
    assert "argon2" not in str([kept.changes, gone.changes])


def test_the_triggers_trail_and_ours_agree(session: Session) -> None:
    for table in (USERS, TICKETS):
        for statement in install_ddl(audited(table)):
            session.execute(text(statement))
    acme = make_organization()
    first, second = make_ticket(organization=acme), make_ticket(organization=acme)
    saved(session, first, second)
    creators = first.creator_id, second.creator_id
    merge_tickets(session, first.id, [second.id])
    merge_users(session, creators[0], [creators[1]])
    history = load_history(session, "tickets", second.id)
    state = replay(history)
    assert state is not None
    assert (state["status"], state["creator_id"]) == ("closed", creators[0])
    assert replay(load_history(session, "users", creators[1])) is None


# --- Tags -----------------------------------------------------------------------------------------


def test_tags_in_one_spelling(session: Session) -> None:
    names = ["VIP", "vi p", "Hard ware", "hard_ware", " HARD--ware ", "-", "fine", "Ünder Score"]
    tags = {name: make_tag(name=name) for name in names}
    ticket = make_ticket(tag_links=[TicketTag(tag=tags["hard_ware"])])
    saved(session, *tags.values(), ticket)
    with assert_statements(session, exactly=1):
        groups = find_duplicates(session, duplicate_tags())
    # Most used first.
    wanted = [tags[each].id for each in ("hard_ware", "Hard ware", " HARD--ware ")]
    assert groups == {"hard-ware": wanted}
    (merge,) = normalise_tags(session)
    assert (merge.keeper, list(merge.losers)) == (wanted[0], wanted[1:])
    found = set(session.scalars(select(Tag.name)))
    assert found - {"Ünder-score", "ünder-score"} == {"vip", "vi-p", "hard-ware", "-", "fine"}
    assert tags["hard_ware"].name == "hard-ware"
    assert normalise_tags(session) == []


# --- Under asyncio --------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_every_function_has_its_async_twin(async_session: AsyncSession) -> None:
    session = async_session
    acme, ann, twin = make_organization(), make_user(), make_user()
    tags = [make_tag(name="Hard ware"), make_tag(name="hard_ware"), make_tag(), make_tag()]
    tickets = [
        make_ticket(organization=acme, creator=twin, tag_links=[TicketTag(tag=tags[n])])
        for n in range(2)
    ]
    session.add_all([ann, twin, *tags, *tickets])
    await session.flush()
    merged = await async_merge_users(session, ann.id, [twin.id])
    assert merged.done.moved == {"tickets.creator_id": [each.id for each in tickets]}
    await async_merge_tickets(session, tickets[0].id, [tickets[1].id])
    await async_merge_tags(session, tags[2].id, [tags[3].id])
    assert set(await async_find_duplicates(session, duplicate_tags())) == {"hard-ware"}
    assert len(await async_normalise_tags(session)) == 1
    # No MissingGreenlet: all of it was read again.
    assert (tickets[0].creator_id, tickets[1].duplicate_of_id) == (ann.id, tickets[0].id)
    assert tags[0].name == "hard-ware"


# --- Two at once ----------------------------------------------------------------------------------


@pytest.fixture
def desk(real_commits: str) -> Iterator[Engine]:
    """Several connections to a database of its own; nobody waits for ever."""
    with patient_engine(real_commits) as engine:
        yield engine


def put_users(engine: Engine, count: int) -> list[int]:
    """Users with a ticket and a comment each; each ticket is assigned to the next user."""
    with Session(engine) as session, session.begin():
        acme, users = make_organization(), [make_user() for _ in range(count)]
        session.add_all(users)
        session.flush()
        for number, user in enumerate(users):
            ticket = make_ticket(organization=acme, creator=user)
            ticket.assignee = users[(number + 1) % count]
            ticket.comments = [make_comment(author=user)]
            session.add(ticket)
        return [user.id for user in users]


def test_of_two_that_cross_the_second_is_refused(desk: Engine) -> None:
    ann, twin = put_users(desk, 2)
    with Session(desk) as one, Session(desk) as two:
        merge_users(one, ann, [twin])
        waiting = in_thread(desk, two, lambda: merge_users(two, twin, [ann]))
        one.commit()
        with pytest.raises(ValueError, match="not there"):
            waiting.result(DEADLINE)
    with Session(desk) as session:
        assert refers(session, USERS, ann)["comments.author_id"] == 2


def test_a_merge_waits_for_who_is_writing(desk: Engine) -> None:
    ann, twin = put_users(desk, 2)
    with Session(desk) as writer, Session(desk) as merger:
        ticket_id = writer.scalars(select(Ticket.id).limit(1)).one()
        late = saved(writer, make_comment(ticket_id=ticket_id, author_id=twin))
        waiting = in_thread(desk, merger, lambda: merge_users(merger, ann, [twin]))
        writer.commit()
        assert late.id in waiting.result(DEADLINE).done.moved["comments.author_id"]
        merger.commit()


def test_who_writes_during_a_merge_is_told(desk: Engine) -> None:
    ann, twin, other = put_users(desk, 3)
    with Session(desk) as writer, Session(desk) as merger:
        ticket_id = writer.scalars(
            select(func.max(Ticket.id)).where(Ticket.creator_id == twin)
        ).one()
        merge_users(merger, ann, [twin])
        # The ticket itself is free: its key does not change.
        saved(writer, make_comment(ticket_id=ticket_id, author_id=other))

        def write() -> None:
            saved(writer, make_comment(ticket_id=ticket_id, author_id=twin))

        waiting = in_thread(desk, writer, write)
        merger.commit()
        with pytest.raises(IntegrityError, match="fk_comments_author_id_users"):
            waiting.result(DEADLINE)


MERGERS, USERS_AT_ONCE = 4, 12


@pytest.mark.concurrent
def test_many_mergers_lose_nothing(desk: Engine) -> None:
    ids = put_users(desk, USERS_AT_ONCE)
    half = USERS_AT_ONCE // 2
    # Each user is merged by one, but their tickets are everybody's.
    work = list(zip(ids[:half], ids[half:], strict=True))
    random.shuffle(work)
    barrier = threading.Barrier(MERGERS)

    def run(turn: int) -> int:
        deadlocks = 0
        barrier.wait(DEADLINE)
        for keeper, loser in work[turn::MERGERS]:
            while True:
                try:
                    with Session(desk) as session, session.begin():
                        merge_users(session, keeper, [loser])
                    break
                except DBAPIError as error:
                    if getattr(error.orig, "sqlstate", None) != "40P01":
                        raise
                    deadlocks += 1
        return deadlocks

    with ThreadPoolExecutor(MERGERS) as pool:
        assert sum(pool.map(run, range(MERGERS))) == 0
    with Session(desk) as session:
        for keeper, loser in work:
            counts = refers(session, USERS, keeper)
            assert counts["comments.author_id"] == counts["tickets.creator_id"] == 2
            assert counts["tickets.assignee_id"] == 2
            assert set(refers(session, USERS, loser).values()) == {0}
