"""Plans are read right, say what hurts and nothing else, and turn a test red."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import (
    Engine,
    Select,
    Update,
    and_,
    cast,
    delete,
    exists,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import DATE
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, selectinload

from examples.database import create_asyncio_engine, create_sync_engine
from examples.models import Comment, Tag, Ticket, TicketPriority, TicketStatus
from examples.query_plans import Plan, async_explain, explain, read_plan
from examples.testing_patterns.factories import make_tag, make_ticket
from examples.testing_patterns.plans import assert_indexes, recorded_plans
from examples.testing_patterns.plugin import ASYNC_DRIVERS, SYNC_DRIVERS
from examples.testing_patterns.statements import assert_statements, recorded_statements

NEWEST = (
    select(Ticket)
    .where(Ticket.organization_id == 7)
    .order_by(Ticket.created_at.desc(), Ticket.id.desc())
    .limit(50)
)


def plan_of(large_desk: Engine, statement: Any, *, analyze: bool = True) -> Plan:
    """Its plan on 100,000 tickets."""
    with Session(large_desk) as session:
        return explain(session, statement, analyze=analyze)


# --- Reading --------------------------------------------------------------------------------------


def test_a_good_plan_has_no_findings(large_desk: Engine) -> None:
    plan = plan_of(large_desk, NEWEST)
    assert plan.indexes == {"ix_tickets_organization_id_created_at_id"}
    assert plan.findings() == []
    assert plan.scanned_tables == frozenset()
    assert [node.kind for node in plan.nodes] == ["Limit", "Index Scan"]
    assert plan.nodes[1].rows == 50
    assert plan.pages is not None
    assert plan.pages <= 60, "a page a row, and the index's own few"


def test_without_analyze_nothing_runs(large_desk: Engine) -> None:
    with Session(large_desk) as session, assert_statements(session, exactly=1):
        plan = explain(session, NEWEST)
    assert not plan.analyzed
    assert (plan.pages, plan.nodes[0].rows, plan.nodes[0].read) == (None, None, None)
    assert plan.nodes[0].expected_rows == 50
    assert "about 50 rows" in str(plan)


def test_rows_of_loops_are_summed(large_desk: Engine) -> None:
    comments = select(Ticket.id, Comment.id).join(Ticket.comments).where(Ticket.id.in_([3, 6, 9]))
    plan = plan_of(large_desk, comments)
    inner = [node for node in plan.nodes if node.table == "comments"]
    assert inner[0].loops == 3
    with Session(large_desk) as session:
        assert inner[0].rows == len(session.execute(comments).all()) > 3


# Of 1,500 loops 600 found a row: before PostgreSQL 18 EXPLAIN says 0.
LOOP: dict[str, Any] = {"Relation Name": "tags", "Total Cost": 0.3, "Actual Loops": 1_500}


@pytest.mark.parametrize(
    "node",
    [
        {"Node Type": "Index Scan"},
        {"Node Type": "Index Scan", "Rows Removed by Filter": 1},
        {"Node Type": "Seq Scan", "Rows Removed by Filter": 1, "Filter": "(id > 1)"},
    ],
    ids=["estimate", "index", "table"],
)
@pytest.mark.parametrize(("mean", "told"), [(0, "about 0 rows"), (0.4, "600 rows")])
def test_a_rounded_mean_accuses_nobody(node: dict[str, Any], mean: float, told: str) -> None:
    plan = read_plan([{"Plan": LOOP | node | {"Plan Rows": 1, "Actual Rows": mean}}])
    assert plan.findings() == []
    assert f": {told}, 1,500 expected" in str(plan)


def test_a_rounded_mean_hides_nobody() -> None:
    node = LOOP | {"Node Type": "Index Scan", "Actual Rows": 0}
    (finding,) = read_plan([{"Plan": node | {"Plan Rows": 100}}]).findings()
    assert finding.startswith("tags: about 0 rows where 150,000 were expected")
    (finding,) = read_plan(
        [{"Plan": node | {"Plan Rows": 1, "Rows Removed by Filter": 9, "Filter": "(id > 1)"}}]
    ).findings()
    assert "13,500 rows are found, and a filter keeps about 0; try an index" in finding
    # One loop is no mean.
    (finding,) = read_plan([{"Plan": node | {"Plan Rows": 1_000, "Actual Loops": 1}}]).findings()
    assert finding.startswith("tags: 0 rows where 1,000 were expected")


def test_text_and_parsed_json_are_the_same() -> None:
    raw = {"Node Type": "Result", "Plan Rows": 1, "Total Cost": 0.01}
    assert read_plan([{"Plan": raw}]) == read_plan(
        '[{"Plan": {"Node Type": "Result", "Plan Rows": 1, "Total Cost": 0.01}}]'
    )


def test_each_driver(real_commits: str) -> None:
    statements = (
        select(Ticket).where(Ticket.id.in_([1, 2]), Ticket.status == TicketStatus.OPEN),
        update(Ticket).where(Ticket.id == 1).values(title="%s :x $1"),
        delete(Ticket).where(Ticket.id == 1).returning(Ticket.id),
    )
    for driver in SYNC_DRIVERS:
        engine = create_sync_engine(real_commits, driver=driver)
        with Session(engine) as session:
            plans = [explain(session, statement, analyze=True) for statement in statements]
        engine.dispose()
        assert [plan.nodes[0].kind for plan in plans] == [
            plans[0].nodes[0].kind,
            "ModifyTable",
            "ModifyTable",
        ]
        assert all(plan.analyzed for plan in plans)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ASYNC_DRIVERS)
async def test_under_asyncio(large_desk: Engine, driver: Any) -> None:
    url = large_desk.url.render_as_string(hide_password=False)
    engine = create_asyncio_engine(url, driver=driver)
    async with AsyncSession(engine) as session:
        with assert_statements(session, exactly=1) as ran:
            plan = await async_explain(session, NEWEST, analyze=True)
        assert ran[0].startswith("EXPLAIN (FORMAT JSON, ANALYZE True")
        with recorded_plans(session) as plans:
            await session.scalars(NEWEST)
    await engine.dispose()
    assert plan.indexes == plans.indexes == {"ix_tickets_organization_id_created_at_id"}


def test_analyze_changes_nothing(session: Session) -> None:
    ticket = make_ticket(title="Before")
    session.add(ticket)
    # The new ticket, its customer and organization; then one statement.
    with assert_statements(session, exactly=4) as statements:
        plan = explain(session, update(Ticket).values(title="After"), analyze=True)
    assert statements[-1].startswith("EXPLAIN (FORMAT JSON, ANALYZE True")
    assert plan.nodes[-1].rows == 1, "the new ticket was flushed first"
    assert session.scalars(select(Ticket.title)).all() == ["Before"]
    with assert_statements(session, exactly=1):
        explain(session, delete(Ticket), analyze=True)
    assert session.scalar(select(func.count()).select_from(Ticket)) == 1


# --- What hurts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("analyze", [True, False])
def test_a_function_around_the_column_reads_the_table(large_desk: Engine, analyze: bool) -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    around = select(Ticket).where(cast(Ticket.created_at, DATE) == day.date())
    plan = plan_of(large_desk, around, analyze=analyze)
    assert plan.scanned_tables == {"tickets"}
    (finding,) = plan.findings()
    assert finding.startswith("reads all of tickets for ")
    assert "try an index for (" in finding
    bounds = select(Ticket).where(Ticket.created_at >= day, Ticket.created_at < day.replace(day=2))
    plan = plan_of(large_desk, bounds, analyze=analyze)
    assert plan.indexes == {"ix_tickets_created_at_id"}
    assert plan.findings() == []


def test_reading_all_for_all_is_no_fault(large_desk: Engine) -> None:
    most = select(func.count()).where(Ticket.priority != TicketPriority.LOW)
    for analyze in (True, False):
        plan = plan_of(large_desk, most, analyze=analyze)
        assert plan.scanned_tables == {"tickets"}
        assert plan.findings() == []


def test_a_small_table_is_read_without_a_word(large_desk: Engine) -> None:
    plan = plan_of(large_desk, select(Tag).where(Tag.color == "#123456"))
    assert plan.scanned_tables == {"tags"}
    assert plan.findings() == []


def test_an_index_that_finds_too_much(large_desk: Engine) -> None:
    one_word = select(Ticket).where(
        Ticket.organization_id == 7, Ticket.description.contains("c4ca4238")
    )
    findings = plan_of(large_desk, one_word).findings()
    assert len(findings) == 1
    assert "a filter keeps 0; try an index that also has (description" in findings[0]


# Every customer belongs to one organization. The planner takes the two for independent.
CREATED = and_(Ticket.creator_id == 27, Ticket.organization_id == 28)


def test_a_bad_estimate_and_its_cure(large_desk: Engine) -> None:
    counted = select(func.count()).where(CREATED)
    findings = plan_of(large_desk, counted).findings()
    assert any("try ANALYZE, or CREATE STATISTICS" in finding for finding in findings)
    with large_desk.connect() as connection, Session(connection) as session:
        # Rolled back: the large desk is everybody's.
        for line in (
            "CREATE STATISTICS belongs (dependencies) ON creator_id, organization_id FROM tickets",
            "ANALYZE tickets",
        ):
            session.execute(text(line))
        assert explain(session, counted, analyze=True).findings() == []
        session.rollback()


def test_whoever_stops_early_is_not_accused(large_desk: Engine) -> None:
    one = select(Ticket.id).where(Ticket.deleted_at.is_(None)).limit(1)
    assert plan_of(large_desk, one).findings() == []
    answered = exists().where(Comment.ticket_id == Ticket.id, Comment.is_internal)
    asked = select(func.count()).select_from(Ticket).where(answered)
    assert plan_of(large_desk, asked).findings() == []
    # EXISTS stops at the first of a hundred thousand.
    assert plan_of(large_desk, select(exists().where(Comment.id > 0))).findings() == []


def test_a_sort_on_disk(large_desk: Engine) -> None:
    by_text = select(Ticket.id, Ticket.description).order_by(Ticket.description)
    with Session(large_desk) as session:
        session.execute(text("SET LOCAL work_mem = '64kB'"))
        (finding,) = explain(session, by_text, analyze=True).findings()
        assert finding.startswith("Sort takes ")
        session.execute(text("SET LOCAL work_mem = '64MB'"))
        assert explain(session, by_text, analyze=True).findings() == []


def test_heap_fetches(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    with engine.begin() as connection:
        for line in (
            "SET LOCAL synchronous_commit = on",  # VACUUM marks nothing that may still be lost
            "INSERT INTO organizations (name, slug) VALUES ('A', 'a')",
            "INSERT INTO users (email, full_name, password_hash) VALUES ('u@x.org', 'U', '-')",
            "INSERT INTO tickets (title, description, organization_id, creator_id, created_at) "
            "SELECT 'T', repeat(md5(n::text), 30), 1, 1, now() - n * interval '1 day' "
            "FROM generate_series(1, 20000) AS n",
            "ANALYZE tickets",
        ):
            connection.execute(text(line))
    since = datetime.now(UTC) - timedelta(days=1_500)
    recent = select(func.count()).where(Ticket.created_at > since)
    with Session(engine) as session:
        (finding,) = explain(session, recent, analyze=True).findings()
        assert finding.startswith("ix_tickets_created_at_id alone would do, but ")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM tickets"))
    with Session(engine) as session:
        assert explain(session, recent, analyze=True).findings() == []
    engine.dispose()


def test_a_statement_is_counted_whatever_its_values(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    database = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    counted: list[tuple[int, bool]] = []
    with Session(engine) as session:
        preloaded = str(session.scalar(text("SHOW shared_preload_libraries")))
        if "pg_stat_statements" not in preloaded:
            pytest.skip("the server does not preload pg_stat_statements")
        session.execute(text("CREATE EXTENSION pg_stat_statements"))
        for _ in range(3):  # where others fill the list, it forgets what is seldom called
            session.execute(text(f"SELECT pg_stat_statements_reset(0, {database}, 0)"))
            for title in ("one", "two", "three"):
                session.scalars(select(Ticket).where(Ticket.title == title)).all()
            found = session.execute(
                text(
                    "SELECT calls, query LIKE '%three%' FROM pg_stat_statements "
                    f"WHERE query LIKE '%tickets.title = $1%' AND dbid = {database}"
                )
            )
            counted = [(calls, told) for calls, told in found]
            if counted == [(3, False)]:
                break
    engine.dispose()
    assert counted == [(3, False)]


def test_ten_rows_prove_nothing(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    by_number = select(Ticket).where(Ticket.ticket_number == "TCK-1", Ticket.deleted_at.is_(None))
    with Session(engine) as session:
        session.add_all(make_ticket() for _ in range(10))
        session.flush()
        session.execute(text("ANALYZE tickets"))
        assert explain(session, by_number).findings() == []
        with (
            pytest.raises(AssertionError, match="uq_tickets_ticket_number_live is not used"),
            assert_indexes(session, "uq_tickets_ticket_number_live"),
        ):
            session.scalars(by_number).all()
    engine.dispose()


def test_an_index_that_does_not_pay_is_passed_over(large_desk: Engine) -> None:
    """PostgreSQL's own choice is what is asserted: for most of the rows it reads the table."""
    latest = select(func.max(Ticket.resolved_at))
    start = datetime(2025, 7, 15, tzinfo=UTC)
    with Session(large_desk) as session:
        with (
            pytest.raises(AssertionError, match="ix_tickets_created_at_id is not used"),
            assert_indexes(session, "ix_tickets_created_at_id"),
        ):
            session.scalars(latest.where(Ticket.created_at >= start)).one()
        with assert_indexes(session, "ix_tickets_created_at_id"):
            session.scalars(latest.where(Ticket.created_at < start)).one()


def test_a_partial_index_wants_its_condition(large_desk: Engine) -> None:
    """The queue's index holds what is not resolved: who asks by status does not say so."""
    queue: Select[Any] = (
        select(Ticket)
        .where(Ticket.assignee_id == 3, Ticket.deleted_at.is_(None))
        .order_by(Ticket.created_at)
        .limit(20)
    )
    by_status = queue.where(Ticket.status.in_(["open", "in_progress", "waiting_on_customer"]))
    assert "ix_tickets_open_queue" not in plan_of(large_desk, by_status).indexes
    said = queue.where(Ticket.resolved_at.is_(None))
    assert plan_of(large_desk, said).indexes == {"ix_tickets_open_queue"}


# --- Tests that turn red --------------------------------------------------------------------------


def test_every_statement_of_the_block_is_explained(large_desk: Engine) -> None:
    with_tags = NEWEST.options(selectinload(Ticket.tags))
    with (
        Session(large_desk) as session,
        recorded_statements(session) as ran,
        recorded_plans(session) as plans,
    ):
        found = session.scalars(with_tags).all()
    assert len(found) == 50
    assert found[0].tags
    assert len(plans) == len(ran) == 2, "and the EXPLAINs are not counted"
    assert "ix_tickets_organization_id_created_at_id" in plans.indexes
    assert plans.sequential_scans() == []


def test_what_has_no_plan_is_left_out(session: Session) -> None:
    session.add_all([make_tag(), make_tag()])
    with recorded_plans(session) as plans:
        session.flush()
        session.execute(text("SET LOCAL work_mem = '1MB'"))
        session.execute(text("WITH one AS (SELECT 1) SELECT * FROM one"))
    assert len(plans) == 1
    assert str(recorded_nothing(session)) == "(none)"


def recorded_nothing(session: Session) -> Any:
    """The plans of a block that executes nothing."""
    with recorded_plans(session) as plans:
        pass
    return plans


def test_a_lost_index_fails_with_the_plan(large_desk: Engine) -> None:
    wrapped = select(Ticket).where(func.upper(Ticket.ticket_number) == "TCK-000777")
    with Session(large_desk) as session:
        with assert_indexes(session, "uq_tickets_ticket_number_live"):
            session.scalars(
                select(Ticket).where(
                    Ticket.ticket_number == "TCK-000777", Ticket.deleted_at.is_(None)
                )
            ).one()
        with (
            pytest.raises(AssertionError) as caught,
            assert_indexes(session, "uq_tickets_ticket_number_live"),
        ):
            session.scalars(wrapped).one()
    told = str(caught.value)
    assert told.startswith("uq_tickets_ticket_number_live is not used; reads all of tickets for ")
    assert "Seq Scan on tickets keeping (upper(ticket_number) = 'TCK-000777'::text)" in told


def test_an_update_has_a_plan_too(large_desk: Engine) -> None:
    closing: Update = update(Ticket).where(Ticket.title == "no such").values(title="x")
    with Session(large_desk) as session:
        with (
            pytest.raises(AssertionError, match="reads all of tickets for about 1 rows"),
            assert_indexes(session),
        ):
            session.execute(closing)
        session.rollback()


CONFTEST = """
import sys
import pytest
sys.path.insert(0, {root!r})
from examples.database import create_sync_engine
pytest_plugins = ["examples.testing_patterns.plans"]

@pytest.fixture
def engine():
    made = create_sync_engine({url!r})
    yield made
    made.dispose()
"""
TESTS = """
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from examples.models import Ticket

pytestmark = pytest.mark.usefixtures("no_sequential_scans")

def test_by_key(engine):
    with Session(engine) as session:
        assert session.get(Ticket, 7)

def test_by_text(engine):
    with Session(engine) as session:
        session.scalars(select(Ticket).where(Ticket.title == "x")).all()
"""


@pytest.mark.once
def test_the_fixture_fails_whoever_reads_a_large_table(
    pytester: pytest.Pytester, pytestconfig: pytest.Config, large_desk: Engine
) -> None:
    url = large_desk.url.set(drivername="postgresql").render_as_string(hide_password=False)
    pytester.makeconftest(CONFTEST.format(url=url, root=str(pytestconfig.rootpath)))
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess(
        "-p", "no:randomly", "-p", "no:xdist", f"--rootdir={pytester.path}"
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*reads all of tickets for about * rows; try an index for*"])
