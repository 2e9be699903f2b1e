"""Duplicates are found by index, leavers' tickets go round, archives are whole, reports count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from examples.data_curation.archiving import (
    ARCHIVE,
    TICKETS,
    archive_tickets,
    async_archive_tickets,
    owned_by,
)
from examples.data_curation.duplicates import (
    INDEXES,
    async_find_duplicates,
    async_find_similar,
    duplicate_users,
    find_duplicates,
    find_similar,
    similar_tickets,
    similar_users,
    users_of_mailbox,
)
from examples.data_curation.erasure import anonymise_user
from examples.data_curation.leavers import async_reassign_tickets, reassign_tickets
from examples.data_curation.merging import merge_tags, merge_tickets, merge_users
from examples.data_curation.quality import async_data_quality, checks, data_quality
from examples.data_curation.tags import normalise_tags
from examples.database import (
    async_session_factory,
    create_asyncio_engine,
    create_sync_engine,
    session_factory,
)
from examples.models import (
    Base,
    Comment,
    OutboxMessage,
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
from examples.testing_patterns.plans import assert_indexes
from examples.testing_patterns.plugin import ASYNC_DRIVERS, SYNC_DRIVERS
from examples.testing_patterns.statements import assert_statements
from tests.saved import saved
from tests.waiting import DEADLINE, in_thread, patient_engine

NOW = datetime.now(UTC)
LONG_AGO = datetime(2019, 1, 1, tzinfo=UTC)
BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
CLOSED: dict[str, Any] = {
    "status": TicketStatus.CLOSED,
    "resolved_at": LONG_AGO,
    "created_at": LONG_AGO,
}


def prepare(session: Session) -> None:
    """The extension and the indexes, until the rollback."""
    for statement in INDEXES:
        session.execute(statement)


# --- Duplicates -----------------------------------------------------------------------------------


def test_one_mailbox_in_several_spellings(session: Session) -> None:
    users = [
        make_user(email=email, is_active=email != "ann@x.org")
        for email in ("ann@x.org", "Ann+desk@x.org", " ann+a+b@X.org ", "ann@y.org", "a+nn@x.org")
    ]
    users += [make_user(email=" ANN@y.org"), make_user(email="ann+7@erased.invalid")]
    users.append(make_user(email="ann@erased.invalid"))
    saved(session, *users)
    with assert_statements(session, exactly=1):
        found = find_duplicates(session, duplicate_users("drop"))
    # The active ones first: one of them survives.
    ann = [users[each].id for each in (1, 2, 0)]
    assert found == {"ann@x.org": ann, "ann@y.org": [users[3].id, users[5].id]}
    assert set(find_duplicates(session, duplicate_users())) == {"ann@y.org"}
    for email in ("ANN+new@x.org", "ann@x.org "):
        assert sorted(session.scalars(users_of_mailbox(email, "drop"))) == sorted(ann)
    assert session.scalars(users_of_mailbox("ann@x.org")).all() == [users[0].id]


@pytest.fixture(scope="module")
def crowd(postgres_url: str, template_name: str) -> Iterator[Engine]:
    """8,000 users and tickets, and one more that is like the seventh; analysed, read only."""
    from examples.postgres import temporary_database

    with temporary_database(postgres_url, template=template_name) as url:
        engine = create_sync_engine(url)
        with engine.begin() as connection:
            for line in (
                "INSERT INTO organizations (name, slug) VALUES ('Acme', 'acme')",
                "INSERT INTO users (email, full_name, password_hash, organization_id) "
                "SELECT n || '@x.org', substr(md5(n::text), 1, 6) || ' ' || "
                "substr(md5(n::text), 7, 6), '-', 1 FROM generate_series(1, 8000) AS n",
                "INSERT INTO tickets (title, description, organization_id, creator_id) "
                "SELECT full_name, '', 1, id FROM users ORDER BY id",
                "INSERT INTO users (email, full_name, password_hash, organization_id) SELECT "
                "'twin@x.org', full_name || 'x', '-', 1 FROM users WHERE id = 7",
                "INSERT INTO tickets (title, description, organization_id, creator_id) SELECT "
                "'x' || title, '', 1, 1 FROM tickets WHERE id = 7",
            ):
                connection.execute(text(line))
            # After the rows: a pending list would make the indexes look dear.
            for statement in (*INDEXES, text("ANALYZE")):
                connection.execute(statement)
        yield engine
        engine.dispose()


def test_similar_names_and_subjects_are_found_by_their_index(crowd: Engine) -> None:
    with Session(crowd) as session:
        with (
            assert_statements(session, exactly=2),
            assert_indexes(session, "ix_users_name_trigrams"),
        ):
            users = find_similar(session, similar_users(8_000))
        with (
            assert_statements(session, exactly=2),
            assert_indexes(session, "ix_tickets_title_trigrams"),
        ):
            tickets = find_similar(session, similar_tickets(8_000))
        assert [pair[:2] for pair in users] == [(7, 8001)]
        assert [pair[:2] for pair in tickets] == [(7, 8001)]
        assert users[0][2] > 0.8
        with assert_indexes(session, "ix_users_mailbox"):
            session.scalars(users_of_mailbox("nobody@x.org", "drop")).all()


def test_a_generic_plan_of_parameters_does_not_know_the_index(crowd: Engine) -> None:
    key = "regexp_replace(lower(btrim(email)), {}, '@')"
    parameters = r"('\+[^@]*@')"
    with crowd.connect() as connection:
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        for name, part, given in (("bound", "$1", parameters), ("fixed", parameters, "('')")):
            asked = f"SELECT id FROM users WHERE {key.format(part)} = 'a@x.org' AND $1 IS NOT NULL"
            connection.exec_driver_sql(f"PREPARE {name}(text) AS {asked}")
            lines = connection.exec_driver_sql(f"EXPLAIN EXECUTE {name}{given}").scalars()
            plan = "\n".join(lines)
            assert ("Seq Scan on users" in plan) == (name == "bound")
            assert ("ix_users_mailbox" in plan) == (name == "fixed")
            connection.exec_driver_sql(f"DEALLOCATE {name}")


def test_likeness_stays_within_the_tenant_and_the_living(session: Session) -> None:
    prepare(session)
    acme, other = make_organization(), make_organization()
    titles = ("Printer on fire", "Printer is on fire", "Printer on fire!")
    tickets = [make_ticket(organization=acme, title=title) for title in titles]
    tickets += [make_ticket(organization=other, title=titles[0])]
    tickets += [make_ticket(organization=acme, title=titles[0], deleted_at=NOW)]
    users = [make_user(full_name="Ann Lee", organization=of) for of in (acme, other, None)]
    twin = make_user(full_name="Ann  Leee", organization=acme)
    for each in (*tickets, *users, twin):
        saved(session, each)
    first, second, third = (each.id for each in tickets[:3])
    pairs = find_similar(session, similar_tickets(), threshold=0.5)
    assert {pair[:2] for pair in pairs} == {(first, second), (first, third), (second, third)}
    assert [pair[2] for pair in pairs] == sorted((pair[2] for pair in pairs), reverse=True)
    best = find_similar(session, similar_tickets(candidates=1), threshold=0.5)
    assert {pair[:2] for pair in best} == {(first, second), (first, third)}
    ours = {each.id for each in (*users, twin)}
    found = [pair[:2] for pair in find_similar(session, similar_users(), threshold=0.5)]
    assert [pair for pair in found if ours & {*pair}] == [tuple(sorted([users[0].id, twin.id]))]
    assert find_similar(session, similar_users(), threshold=1.0) == []


# --- Leavers --------------------------------------------------------------------------------------


def desk_of(session: Session, loads: list[int], own: int) -> tuple[User, list[User]]:
    """A leaver with *own* open tickets, and colleagues who have so many."""
    acme, creator = make_organization(), make_user()
    leaver, *agents = (make_user(is_staff=True) for _ in range(len(loads) + 1))
    saved(session, leaver, *agents)
    for agent, count in zip([leaver, *agents], [own, *loads], strict=True):
        for _ in range(count):
            ticket = make_ticket(organization=acme, creator=creator, assignee=agent)
            saved(session, ticket)
    return leaver, agents


def open_of(session: Session, agents: list[User]) -> list[int]:
    """How many open tickets each has."""
    counts = Counter(session.scalars(select(Ticket.assignee_id)))
    return [counts[agent.id] for agent in agents]


def test_whoever_has_least_gets_the_next(session: Session) -> None:
    leaver, agents = desk_of(session, [5, 0, 2], own=6)
    ids = [agent.id for agent in agents]
    with assert_statements(session, at_most=2 + 4):  # what the session holds is read again
        given = reassign_tickets(session, leaver.id, ids)
    assert open_of(session, agents) == [5, 4, 4]
    assert [ids.index(each) for each in given.values()] == [1, 1, 1, 2, 1, 2]


def test_in_turn(session: Session) -> None:
    leaver, agents = desk_of(session, [5, 0, 0], own=7)
    ids = [agent.id for agent in agents]
    session.expunge_all()
    with assert_statements(session, exactly=2):
        given = reassign_tickets(session, leaver.id, ids, share="in turn", reassigned_by_id=ids[0])
    assert [ids.index(each) for each in given.values()] == [0, 1, 2, 0, 1, 2, 0]
    rows = session.execute(select(Ticket.version, Ticket.updated_by_id).where(Ticket.id.in_(given)))
    assert set(map(tuple, rows)) == {(2, ids[0])}
    assert reassign_tickets(session, leaver.id, ids) == {}


def test_only_open_tickets_are_handed_over(session: Session) -> None:
    leaver, (agent,) = desk_of(session, [0], own=1)
    acme = make_organization()
    done = make_ticket(organization=acme, assignee=leaver, **CLOSED)
    resolved = make_ticket(
        organization=acme, assignee=leaver, status=TicketStatus.RESOLVED, resolved_at=NOW
    )
    gone = make_ticket(organization=acme, assignee=leaver, deleted_at=NOW)
    waiting = make_ticket(
        organization=acme, assignee=leaver, status=TicketStatus.WAITING_ON_CUSTOMER
    )
    saved(session, done, resolved, gone, waiting)
    assert len(reassign_tickets(session, leaver.id, [agent.id])) == 2
    assert (waiting.assignee_id, waiting.status) == (agent.id, TicketStatus.WAITING_ON_CUSTOMER)
    assert {done.assignee_id, resolved.assignee_id, gone.assignee_id} == {leaver.id}


def test_who_cannot_work_gets_nothing(session: Session) -> None:
    leaver, (agent,) = desk_of(session, [0], own=1)
    customer, gone = make_user(), make_user(is_staff=True, is_active=False)
    saved(session, customer, gone)
    for agents in ([], [leaver.id], [agent.id, customer.id], [gone.id], [-1]):
        with pytest.raises(ValueError, match="expected other, active staff"):
            reassign_tickets(session, leaver.id, agents)


@pytest.fixture
def desk(real_commits: str) -> Iterator[Engine]:
    """Several connections to a database of its own; nobody waits for ever."""
    with patient_engine(real_commits) as engine:
        yield engine


def test_two_hand_overs_count_each_others_tickets(desk: Engine) -> None:
    with Session(desk) as session, session.begin():
        leaver, agents = desk_of(session, [0, 0], own=3)
        second, _ = desk_of(session, [], own=3)
        leavers, ids = [leaver.id, second.id], [agent.id for agent in agents]
    with Session(desk) as one, Session(desk) as two:
        reassign_tickets(one, leavers[0], ids)
        waiting = in_thread(desk, two, lambda: reassign_tickets(two, leavers[1], ids))
        one.commit()
        assert len(waiting.result(DEADLINE)) == 3
        two.commit()
        counts = Counter(two.scalars(select(Ticket.assignee_id)))
    # Counted before the other's commit it would be 4 and 2.
    assert counts == {ids[0]: 3, ids[1]: 3}


# --- Archive --------------------------------------------------------------------------------------


def old_ticket(**values: Any) -> Ticket:
    """A ticket of long ago with one of every child."""
    ticket = make_ticket(**(CLOSED | values))
    ticket.comments = [make_comment(content="Grün 🎫")]
    ticket.attachments = [make_attachment()]
    ticket.tag_links = [TicketTag(tag=make_tag())]
    ticket.status_history.add(TicketStatusHistory(new_status=TicketStatus.OPEN))
    return ticket


def children(session: Session) -> list[int]:
    """How many rows tickets own, by table."""
    return [
        session.scalar(select(func.count()).select_from(each.table)) or 0
        for each in owned_by(TICKETS)
    ]


def test_a_batch_at_a_time_with_all_that_they_own(session: Session) -> None:
    ARCHIVE.create(session.connection())
    acme = make_organization()
    old = [old_ticket(organization=acme) for _ in range(5)]
    recent = old_ticket(organization=acme, resolved_at=NOW)
    still_open = old_ticket(organization=acme, status=TicketStatus.OPEN, resolved_at=None)
    gone = old_ticket(organization=acme, deleted_at=LONG_AGO)
    for each in (*old, recent, still_open, gone):
        saved(session, each)
    first = old[0]
    whole = {"id": first.id, "title": first.title, "status": "closed"}
    ids = [each.id for each in old]
    stays = {each.id for each in (recent, still_open, gone)}
    assert children(session) == [8] * 4
    session.expunge_all()
    # Due, their children, the catalog for both, there, gone.
    with assert_statements(session, exactly=8):
        assert archive_tickets(session, BEFORE, limit=2) == 2
    assert (
        session.scalars(select(ARCHIVE.c.ticket_id).order_by(ARCHIVE.c.ticket_id)).all()
        == (ids[:2])
    )
    assert [archive_tickets(session, BEFORE, limit=2) for _ in range(3)] == [2, 1, 0]
    assert set(session.scalars(select(Ticket.id))) == stays
    assert children(session) == [3] * 4
    rows = session.execute(select(ARCHIVE.c.document).order_by(ARCHIVE.c.ticket_id)).scalars().all()
    assert whole.items() <= rows[0].items()
    for document in rows:
        for column in owned_by(TICKETS):
            (child,) = document[column.table.name]
            assert child[column.name] == document["id"]
        assert document["comments"][0]["content"] == "Grün 🎫"


def test_what_others_refer_to_waits_for_them(session: Session) -> None:
    ARCHIVE.create(session.connection())
    acme = make_organization()
    original = old_ticket(organization=acme)
    duplicate = old_ticket(organization=acme, duplicate_of=original)
    open_one = make_ticket(organization=acme)
    kept = old_ticket(organization=acme)
    open_one.duplicate_of = kept
    for each in (original, duplicate, kept, open_one):
        saved(session, each)
    kept_id = kept.id
    assert [archive_tickets(session, BEFORE) for _ in range(3)] == [1, 1, 0]
    assert kept_id in set(session.scalars(select(Ticket.id)))
    assert open_one.duplicate_of_id == kept_id


def test_what_was_merged_goes_before_its_survivor(session: Session) -> None:
    ARCHIVE.create(session.connection())
    acme = make_organization()
    tickets = [old_ticket(organization=acme) for _ in range(2)]
    deleted = saved(session, old_ticket(organization=acme, deleted_at=LONG_AGO), *tickets)
    keeper, loser = (each.id for each in tickets)
    merge_tickets(session, keeper, [loser])
    assert [archive_tickets(session, BEFORE) for _ in range(3)] == [1, 1, 0]
    rows = session.execute(select(ARCHIVE.c.ticket_id, ARCHIVE.c.document["duplicate_of_id"]))
    assert {row[0]: row[1] for row in rows} == {loser: keeper, keeper: None}
    assert session.scalars(select(Ticket.id)).all() == [deleted.id]


def test_refused(session: Session) -> None:
    with pytest.raises(ValueError, match="expected a time zone"):
        archive_tickets(session, datetime(2020, 1, 1))
    ARCHIVE.create(session.connection())
    saved(session, old_ticket())
    session.execute(text("CREATE TABLE forgotten (t bigint REFERENCES tickets ON DELETE CASCADE)"))
    with pytest.raises(ValueError, match=r"forgotten\.t"):
        archive_tickets(session, BEFORE)


def test_a_locked_ticket_comes_next_time(desk: Engine) -> None:
    ARCHIVE.create(desk)
    with Session(desk) as session, session.begin():
        acme = make_organization()
        saved(session, *(old_ticket(organization=acme) for _ in range(3)))
    with Session(desk) as writer, Session(desk) as archiver:
        locked = writer.scalars(select(Ticket).order_by(Ticket.id).limit(1)).one()
        late = saved(writer, make_comment(ticket_id=locked.id))
        content = late.content
        assert archive_tickets(archiver, BEFORE) == 2
        # A crash: the batch is undone, and comes again.
        archiver.rollback()
        assert archive_tickets(archiver, BEFORE) == 2
        archiver.commit()
        writer.commit()
        assert archive_tickets(archiver, BEFORE) == 1
        archiver.commit()
        documents = archiver.scalars(select(ARCHIVE.c.document)).all()
        assert sorted(len(each["comments"]) for each in documents) == [1, 1, 2]
        assert content in str(documents)
        assert archiver.scalar(select(func.count()).select_from(Comment)) == 0


def test_a_comment_edited_meanwhile_is_archived_as_edited(desk: Engine) -> None:
    ARCHIVE.create(desk)
    with Session(desk) as session, session.begin():
        saved(session, old_ticket())
    with Session(desk) as writer, Session(desk) as archiver:
        writer.execute(update(Comment).values(content="edited"))
        waiting = in_thread(desk, archiver, lambda: archive_tickets(archiver, BEFORE))
        writer.commit()
        assert waiting.result(DEADLINE) == 1
        (document,) = archiver.scalars(select(ARCHIVE.c.document))
    assert document["comments"][0]["content"] == "edited"


# --- Report ---------------------------------------------------------------------------------------


def test_a_clean_desk_has_no_faults(session: Session) -> None:
    acme = make_organization()
    creator = make_user(organization=acme)
    saved(session, old_ticket(organization=acme, creator=creator, comments=[]))
    session.execute(update(User).values(organization_id=acme.id))
    session.flush()
    with assert_statements(session, exactly=1):
        report = data_quality(session)
    assert {name: count for name, count in report.items() if count} == {}
    keys = [key for table in Base.metadata.tables.values() for key in table.foreign_keys]
    assert len([name for name in report if name.startswith("orphans: ")]) == len(keys)


def test_every_fault_is_counted(session: Session) -> None:
    for line in (
        "ALTER TABLE tickets DROP CONSTRAINT ck_tickets_resolved_at_matches_status",
        "SET LOCAL session_replication_role = replica",  # foreign keys are not looked at
        "CREATE TABLE diary (noted timestamp)",
    ):
        session.execute(text(line))
    acme = make_organization()
    creator = make_user(organization=acme, email="ann@x.org")
    twin = make_user(organization=acme, email="ANN+x@x.org")
    gone = make_user(is_staff=True, is_active=False)
    of: dict[str, Any] = {"organization": acme, "creator": creator}
    saved(
        session,
        make_ticket(title="\t\n", **of),
        make_ticket(status=TicketStatus.RESOLVED, **of),
        make_ticket(resolved_at=NOW, created_at=LONG_AGO, **of),
        make_ticket(status=TicketStatus.CLOSED, resolved_at=LONG_AGO, **of),
        make_ticket(assignee=gone, title="Twice", **of),
        make_ticket(title=" tWICE ", **of),
        make_ticket(title="Twice", deleted_at=NOW, **of),
        make_ticket(title="Later", created_at=NOW + timedelta(days=1), **of),
        make_user(),
        twin,
        make_tag(),
        OutboxMessage(topic="t", payload={}, available_at=NOW + timedelta(days=1)),
    )
    ticket_id = session.scalars(select(func.max(Ticket.id))).one()
    session.execute(insert(Comment), [{"ticket_id": -1, "author_id": -2, "content": "…"}] * 2)
    session.execute(update(Ticket).where(Ticket.id == ticket_id).values(updated_by_id=-1))
    found = {name: count for name, count in data_quality(session, "drop").items() if count}
    assert found == {
        "tickets: blank subject": 1,
        "tickets: done without resolved_at": 1,
        "tickets: resolved_at, but not done": 1,
        "tickets: resolved before they came": 1,
        "tickets: open, of an inactive agent": 1,
        "tickets: open, sent twice": 1,
        "users: mailboxes of several": 1,
        "users: customers of nobody": 1,
        "tags: unused": 1,
        "columns: times without a zone": 1,
        "orphans: comments.author_id": 2,
        "orphans: comments.ticket_id": 2,
        "orphans: tickets.updated_by_id": 1,
        "in the future: tickets.created_at": 1,
    }
    assert set(found) <= set(checks())


# --- All of it ------------------------------------------------------------------------------------


def digest(session: Session) -> str:
    """One value for all that the tables hold."""
    parts = []
    for table in [*Base.metadata.sorted_tables, ARCHIVE]:
        rows = session.execute(text(f"SELECT t::text FROM {table.name} AS t")).scalars()
        parts.append(f"{table.name}: {sorted(rows)}")
    return "\n".join(parts)


def run_all(session: Session, ids: dict[str, list[int]]) -> None:
    """Every function that writes."""
    merge_users(session, ids["users"][0], [ids["users"][1]])
    merge_tickets(session, ids["tickets"][0], [ids["tickets"][1]])
    merge_tags(session, ids["tags"][0], [ids["tags"][1]])
    assert normalise_tags(session) != []
    assert reassign_tickets(session, ids["staff"][0], [ids["staff"][1]])
    anonymise_user(session, ids["users"][0])
    assert archive_tickets(session, BEFORE) == 1


def put_all(session: Session) -> dict[str, list[int]]:
    """Two of each that every function finds something to do with: their ids."""
    ARCHIVE.create(session.connection())
    acme = make_organization()
    users = [make_user(full_name="Ann Lee", organization=acme) for _ in range(2)]
    staff = [make_user(is_staff=True) for _ in range(2)]
    tags = [make_tag(), make_tag(), make_tag(name="Hard ware"), make_tag(name="hard_ware")]
    tickets = [
        make_ticket(
            organization=acme,
            creator=users[n],
            assignee=staff[0],
            tag_links=[TicketTag(tag=tags[n])],
            comments=[make_comment(author=users[n], content="Ann Lee!")],
        )
        for n in range(2)
    ]
    saved(session, *users, *staff, *tags, *tickets, old_ticket(organization=acme))
    groups: dict[str, list[Any]] = {
        "users": users,
        "staff": staff,
        "tags": tags,
        "tickets": tickets,
    }
    return {name: [each.id for each in rows] for name, rows in groups.items()}


@pytest.mark.parametrize("driver", SYNC_DRIVERS)
def test_a_rollback_undoes_every_function(real_commits: str, driver: Any) -> None:
    engine = create_sync_engine(real_commits, driver=driver)
    with session_factory(engine).begin() as session:
        ids = put_all(session)
    with session_factory(engine)() as session:
        before = digest(session)
        run_all(session, ids)
        assert digest(session) != before
        session.rollback()
        assert digest(session) == before
        run_all(session, ids)
        session.commit()
        assert digest(session) != before
    engine.dispose()


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ASYNC_DRIVERS)
async def test_a_rollback_undoes_every_function_under_asyncio(
    real_commits: str, driver: Any
) -> None:
    engine = create_asyncio_engine(real_commits, driver=driver)
    async with async_session_factory(engine).begin() as session:
        ids = await session.run_sync(put_all)
    async with async_session_factory(engine)() as session:
        before = await session.run_sync(digest)
        await session.run_sync(run_all, ids)
        assert await session.run_sync(digest) != before
        await session.rollback()
        assert await session.run_sync(digest) == before
        await session.run_sync(run_all, ids)
        await session.commit()
        assert await session.run_sync(digest) != before
    await engine.dispose()


@pytest.mark.asyncio
async def test_every_function_has_its_async_twin(async_session: AsyncSession) -> None:
    session = async_session

    def put(sync: Session) -> tuple[int, list[int], Ticket]:
        prepare(sync)
        ARCHIVE.create(sync.connection())
        leaver, agents = desk_of(sync, [1, 0], own=3)
        ticket = sync.scalars(
            select(Ticket).where(Ticket.assignee_id == leaver.id).order_by(Ticket.id).limit(1)
        ).one()
        saved(sync, old_ticket(), make_user(email="a@x.org"), make_user(email=" A@x.org"))
        return leaver.id, [each.id for each in agents], ticket

    leaver, agents, ticket = await session.run_sync(put)
    assert set(await async_find_duplicates(session, duplicate_users("drop"))) == {"a@x.org"}
    assert await async_find_similar(session, similar_users(), threshold=0.3)
    assert isinstance(await async_find_similar(session, similar_tickets()), list)
    given = await async_reassign_tickets(session, leaver, agents)
    # No MissingGreenlet: it was read again.
    assert given[ticket.id] == ticket.assignee_id
    assert await async_archive_tickets(session, BEFORE) == 1
    assert (await async_data_quality(session))["users: mailboxes of several"] == 1
