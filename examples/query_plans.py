"""Query plans: what PostgreSQL does with a statement, and what hurts, in words.

Problem: a query that lost its index is right, and slow only on real data.  Pattern: ask for the
plan as JSON, make it a value, and let it say what hurts.  ``testing_patterns/plans.py`` turns that
into a test that fails.  Not for one look at a terminal: there ``EXPLAIN (ANALYZE)`` in psql serves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ClauseElement,
    Delete,
    Engine,
    Executable,
    Insert,
    Select,
    Update,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler

from .database import session_factory
from .models import Organization, Ticket, User

# Below, reading everything is what a good plan does.
MANY_ROWS = 1_000
MANY_PAGES = 100
# An estimate that is out by less seldom changes the plan.
FACTOR = 10

Explainable = Select[*tuple[Any, ...]] | Update | Delete


@dataclass(frozen=True)
class Node:
    """One step of a plan.  Rows are of all its loops; what ANALYZE alone knows is None without."""

    kind: str
    depth: int
    table: str | None
    index: str | None
    condition: str | None
    filter: str | None
    expected_rows: int
    cost: float
    rows: int | None
    more: int
    removed: int
    loops: int
    pages: int | None
    disk_kb: int
    heap_fetches: int
    stops_early: bool

    @property
    def read(self) -> int | None:
        """How many rows it looked at: those that it passed on, and those that a filter removed."""
        return None if self.rows is None else self.rows + self.removed

    @property
    def most(self) -> int:
        """How many rows there may have been, where EXPLAIN rounds."""
        return (self.rows or 0) + self.more

    @property
    def told(self) -> str:
        """The rows in words."""
        return f"{'about ' * bool(self.more)}{self.rows or 0:,}"

    def __str__(self) -> str:
        parts = [self.kind]
        parts += [f"on {self.table}"] * bool(self.table)
        parts += [f"by {self.index}"] * bool(self.index)
        parts += [self.condition or ""] * bool(self.condition)
        parts += [f"keeping {self.filter}"] * bool(self.filter)
        told = f"about {self.expected_rows:,} rows"
        if self.rows is not None:
            told = f"{self.told} rows, {self.expected_rows * self.loops:,} expected"
        if self.removed:
            told += f", {self.removed:,} removed"
        if self.pages is not None:
            told += f", {self.pages:,} pages"
        return f"{'  ' * self.depth}{' '.join(parts)}: {told}"


@dataclass(frozen=True)
class Plan:
    """The steps, outermost first; ``str()`` is for people."""

    nodes: tuple[Node, ...]
    analyzed: bool

    @property
    def indexes(self) -> frozenset[str]:
        """The names of the indexes that are used."""
        return frozenset(node.index for node in self.nodes if node.index)

    @property
    def scanned_tables(self) -> frozenset[str]:
        """The tables that are read from end to end."""
        scans = (node for node in self.nodes if node.kind == "Seq Scan")
        return frozenset(node.table for node in scans if node.table)

    @property
    def pages(self) -> int | None:
        """Pages of 8 kB that were touched, in memory or not: the cost that no noise changes."""
        return self.nodes[0].pages

    def findings(self) -> list[str]:
        """What will hurt, a sentence each, with what to try; the worst kind first."""
        checks = (sequential_scan, wasted_rows, bad_estimate, spill, heap_fetches)
        found = (check(node) for check in checks for node in self.nodes)
        return [finding for finding in found if finding]

    def __str__(self) -> str:
        return "\n".join([*map(str, self.nodes), *(f"! {each}" for each in self.findings())])


# --- What hurts -----------------------------------------------------------------------------------


def sequential_scan(node: Node) -> str | None:
    """A table is read from end to end for a few of its rows."""
    if node.kind != "Seq Scan" or not node.filter:
        return None
    if node.read is None:
        # Fewer rows than pages: an index would touch a page a row. The cost is a page's and up.
        few = node.cost >= MANY_PAGES and node.expected_rows * 2 <= node.cost
        kept = f"about {node.expected_rows:,}"
    else:
        few = node.read >= MANY_ROWS and node.most * FACTOR <= node.read
        kept = f"{node.told} of {node.read:,}"
    if not few:
        return None
    return f"reads all of {node.table} for {kept} rows; try an index for {node.filter}"


def wasted_rows(node: Node) -> str | None:
    """An index finds many rows, and a filter throws most of them away."""
    if node.kind == "Seq Scan" or not node.table or node.rows is None:
        return None
    if node.removed < max(MANY_ROWS, node.most * FACTOR):
        return None
    return (
        f"{node.index or node.table}: {node.read:,} rows are found, and a filter keeps "
        f"{node.told}; try an index that also has {node.filter}"
    )


def bad_estimate(node: Node) -> str | None:
    """The planner counts on far fewer or more rows than there are, and plans for these."""
    if node.rows is None:
        return None
    got, expected = node.rows, node.expected_rows * node.loops
    under = got >= MANY_ROWS // FACTOR and got >= expected * FACTOR
    # Who stops reading, because of a LIMIT say, gets less than there is.
    most = max(node.most, 1)
    over = not node.stops_early and expected >= MANY_ROWS and expected >= most * FACTOR
    if not under and not over:
        return None
    where = node.table or node.kind
    return (
        f"{where}: {node.told} rows where {expected:,} were expected; "
        "try ANALYZE, or CREATE STATISTICS for columns that depend on each other"
    )


def spill(node: Node) -> str | None:
    """A sort or a hash does not fit into memory."""
    if not node.disk_kb:
        return None
    return f"{node.kind} takes {node.disk_kb:,} kB of disk; try fewer or narrower rows, or work_mem"


def heap_fetches(node: Node) -> str | None:
    """An index-only scan that looks into the table after all."""
    if node.heap_fetches < MANY_ROWS:
        return None
    return f"{node.index} alone would do, but {node.heap_fetches:,} rows were fetched; try VACUUM"


# --- Asking ---------------------------------------------------------------------------------------


class Explain(Executable, ClauseElement):
    """EXPLAIN of a statement, with its parameters, as one JSON value."""

    inherit_cache = False
    _inline = False  # what the compiler asks whatever holds an INSERT or UPDATE

    def __init__(self, statement: Explainable, how: str) -> None:
        self.statement = statement
        self.how = how


@compiles(Explain)
def render_explain(element: Explain, compiler: SQLCompiler, **arguments: Any) -> str:
    """The SQL of ``Explain``."""
    return f"EXPLAIN ({element.how}) {compiler.process(element.statement, **arguments)}"


def explanation(statement: Explainable, *, analyze: bool = False) -> Explain:
    """The statement that asks for the plan of *statement*; with *analyze* it runs it as well."""
    return Explain(statement, explain_options(analyze=analyze))


def explain_options(*, analyze: bool) -> str:
    """The options of EXPLAIN.  TIMING off: it slows what it measures, and counts do not change."""
    return f"FORMAT JSON, ANALYZE {analyze}, BUFFERS {analyze}" + ", TIMING off" * analyze


def explain(session: Session, statement: Explainable, *, analyze: bool = False) -> Plan:
    """The plan of *statement* in the transaction of *session*, its unflushed objects flushed.

    *analyze* runs the statement, to count what it reads, in a savepoint that is rolled back: an
    UPDATE changes nothing; but a sequence moves on, and its locks are held meanwhile.
    """
    asked = explanation(statement, analyze=analyze)
    with session.begin_nested() as savepoint:
        plan = read_plan(session.execute(asked).scalar_one())
        savepoint.rollback()
    return plan


async def async_explain(
    session: AsyncSession, statement: Explainable, *, analyze: bool = False
) -> Plan:
    """The same for asyncio."""
    asked = explanation(statement, analyze=analyze)
    async with session.begin_nested() as savepoint:
        plan = read_plan((await session.execute(asked)).scalar_one())
        await savepoint.rollback()
    return plan


def read_plan(document: str | Sequence[dict[str, Any]]) -> Plan:
    """The plan out of EXPLAIN's JSON; some drivers give it as text, others parsed."""
    parsed = json.loads(document) if isinstance(document, str) else document
    nodes = tuple(walk(parsed[0]["Plan"]))
    return Plan(nodes, analyzed=nodes[0].rows is not None)


def walk(raw: dict[str, Any], depth: int = 0, stops_early: bool = False) -> Iterator[Node]:
    """*raw* and what is below it, outermost first."""
    # EXISTS wants one row.
    stops_early = stops_early or raw.get("Parent Relationship") in {"InitPlan", "SubPlan"}
    loops = raw.get("Actual Loops", 1)
    pages = None
    if "Shared Hit Blocks" in raw:
        pages = raw["Shared Hit Blocks"] + raw["Shared Read Blocks"]
    # EXPLAIN tells the mean of all loops: before PostgreSQL 18 in whole rows, since then as 0.40.
    mean = raw.get("Actual Rows")
    rounded = loops > 1 and isinstance(mean, int)
    removed = raw.get("Rows Removed by Filter", 0) + raw.get("Rows Removed by Index Recheck", 0)
    yield Node(
        kind=raw["Node Type"],
        depth=depth,
        table=raw.get("Relation Name"),
        index=raw.get("Index Name"),
        condition=raw.get("Index Cond") or raw.get("Hash Cond") or raw.get("Merge Cond"),
        filter=raw.get("Filter"),
        expected_rows=raw["Plan Rows"],
        cost=raw["Total Cost"],
        rows=None if mean is None else round(mean * loops),
        more=loops // 2 if rounded else 0,
        removed=round(removed * loops),
        loops=loops,
        pages=pages,
        disk_kb=disk_of(raw),
        heap_fetches=raw.get("Heap Fetches", 0),
        stops_early=stops_early,
    )
    stops_early |= raw["Node Type"] in {"Limit", "Merge Join"}
    stops_early |= raw.get("Join Type") in {"Semi", "Anti"}
    for child in raw.get("Plans", []):
        yield from walk(child, depth + 1, stops_early)


def disk_of(raw: dict[str, Any]) -> int:
    """The kB that a sort, a hash or an aggregate wrote to disk."""
    used = raw.get("Disk Usage", 0)
    if raw.get("Sort Space Type") == "Disk":
        used += raw["Sort Space Used"]
    if raw.get("Hash Batches", 1) > 1:
        used += raw["Peak Memory Usage"] * (raw["Hash Batches"] - 1)
    return int(used)


def many_tickets(number: int, organization_id: int, creator_id: int) -> Insert:
    """*number* tickets, made by the server."""
    numbers = func.generate_series(1, number).column_valued("n")
    title = func.concat("Ticket ", numbers)
    row = select(title, literal("It fails."), literal(organization_id), literal(creator_id))
    return insert(Ticket).from_select(
        ["title", "description", "organization_id", "creator_id"], row
    )


def demo(engine: Engine) -> None:
    """See a query without an index, give it one, and see it again."""
    with session_factory(engine).begin() as session:
        acme = Organization(name="Acme", slug="acme")
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="!")
        session.add_all([acme, ann])
        session.flush()
        session.execute(many_tickets(20_000, acme.id, ann.id))
        session.execute(text("ANALYZE tickets"))
        by_title = select(Ticket).where(Ticket.title == "Ticket 777")
        print("Asked, and run:")
        print(explain(session, by_title, analyze=True))
        session.execute(text("CREATE INDEX ix_tickets_title ON tickets (title)"))
        print("With an index:")
        print(explain(session, by_title, analyze=True))
        renamed = update(Ticket).where(Ticket.title == "Ticket 777").values(title="Renamed")
        print("An UPDATE, rolled back:")
        print(explain(session, renamed, analyze=True))
        print("Still there:", session.scalars(by_title).one().title)
