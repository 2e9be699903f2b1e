"""Measure what cases cost beside each other: in turn, several times, as ratios of one run.

A shared machine is noisy, so no absolute figure means much.  Every round runs each case once; the
median of the rounds is compared with that of a baseline which ran between the same disturbances.
Cases of one group do the same work, and must give the same answer.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import psycopg
from sqlalchemy import Engine, event

# A shorter sample is mostly the clock's and the scheduler's.
SAMPLE_SECONDS = 0.05
PACKAGES = ("sqlalchemy", "psycopg", "psycopg2-binary", "asyncpg")
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
SAVEPOINTS = ("SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO SAVEPOINT ")


class BenchmarkError(Exception):
    """A comparison that would not be fair, or a server that it cannot run on."""


@dataclass(frozen=True)
class Case:
    """One way to do it.  *run* returns its answer; *rows* is how many rows it works through.

    Cases with the same *group* must answer alike; without one, an answer is not compared.
    *baseline* names the case that it is told in times of, where that is not the suite's.
    With *own_clock*, *run* returns its answer and the seconds that count: those of a child process,
    or without what it had to prepare; and it may add that process's peak of memory in MiB.
    """

    name: str
    run: Callable[[], object]
    rows: int
    group: str = ""
    baseline: str = ""
    own_clock: bool = False


@dataclass(frozen=True)
class Measurement:
    """What a case took: seconds, the interquartile range as a part of them, times the baseline.

    *statements* is None where SQLAlchemy executed none: a driver on its own.  *peak_mib* is of one
    run, and None where a case does not tell it.
    """

    case: str
    rows: int
    median_s: float
    spread: float
    ratio: float
    baseline: str
    statements: int | None
    peak_mib: float | None = None


class Suite(Protocol):
    """A module of this folder.

    ``UNIT`` says what its size counts, where that is not rows; ``REPETITIONS`` how often it is
    measured, where that is not 15 times.
    """

    TITLE: str
    BASELINE: str
    QUICK: int
    FULL: int
    PEERS: tuple[str, ...]

    @staticmethod
    def cases(server_url: str, size: int) -> AbstractContextManager[list[Case]]:
        """Fill a database and yield the ways to read it."""
        ...


def measure(cases: Sequence[Case], baseline: str, repetitions: int) -> list[Measurement]:
    """Run all *cases* in turn, *repetitions* times.  Raises ``BenchmarkError``."""
    statements, peaks = check_answers(cases)
    calls = {case.name: 1 if case.own_clock else calls_per_sample(case) for case in cases}
    samples: dict[str, list[float]] = {case.name: [] for case in cases}
    for _ in range(repetitions):
        for case in cases:
            samples[case.name].append(sample(case, calls[case.name]))
    for name in (case.baseline or baseline for case in cases):
        if name not in samples:
            raise BenchmarkError(f"received the baseline {name!r}; expected one of {list(samples)}")
    medians = {name: statistics.median(taken) for name, taken in samples.items()}
    return [
        Measurement(
            case.name,
            case.rows,
            significant(medians[case.name]),
            significant(spread(samples[case.name])),
            significant(medians[case.name] / medians[case.baseline or baseline]),
            case.baseline or baseline,
            statements[case.name],
            peaks[case.name],
        )
        for case in cases
    ]


def check_answers(
    cases: Sequence[Case],
) -> tuple[dict[str, int | None], dict[str, float | None]]:
    """Run each case once, which warms the caches too: the statements of each, and its memory.

    Raises ``BenchmarkError`` where two of a group answer differently.
    """
    answers: dict[str, tuple[str, object]] = {}
    statements: dict[str, int | None] = {}
    peaks: dict[str, float | None] = {}
    for case in cases:
        with counted_statements() as count:
            answer, _, peak = answered(case)
        peaks[case.name] = None if peak is None else significant(peak)
        statements[case.name] = len(count) or None
        first, expected = answers.setdefault(case.group, (case.name, answer))
        if case.group and answer != expected:
            raise BenchmarkError(
                f"received from {case.name!r} another answer than from {first!r}: "
                f"{str(answer)[:200]}, not {str(expected)[:200]}"
            )
    return statements, peaks


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """Every statement that any engine executes in the block, savepoints left out."""
    found: list[str] = []

    def count(_connection: object, _cursor: object, sql: str, *_rest: Any) -> None:
        if not sql.startswith(SAVEPOINTS):
            found.append(sql)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", count)


def calls_per_sample(case: Case) -> int:
    """How often to call a case for one sample of at least ``SAMPLE_SECONDS``."""
    return max(1, round(SAMPLE_SECONDS / max(sample(case, 1), 1e-6)))


def sample(case: Case, calls: int) -> float:
    """Seconds a call, over *calls* calls."""
    if case.own_clock:
        return statistics.fmean(answered(case)[1] for _ in range(calls))
    started = time.perf_counter()
    for _ in range(calls):
        case.run()
    return (time.perf_counter() - started) / calls


def answered(case: Case) -> tuple[object, float, float | None]:
    """One call: its answer, the seconds that its own clock gives, else 0, and its memory."""
    told: Any = case.run()
    if not case.own_clock:
        return told, 0.0, None
    answer, seconds, *peak = told
    return answer, seconds, peak[0] if peak else None


def spread(samples: Sequence[float]) -> float:
    """The interquartile range of *samples* as a part of their median."""
    if len(samples) < 2:
        return 0.0
    first, _, third = statistics.quantiles(samples, n=4, method="inclusive")
    return (third - first) / statistics.median(samples)


def significant(number: float, digits: int = 3) -> float:
    """*number* to so many digits: more would claim a precision that is not there."""
    return float(f"{number:.{digits}g}")


def require_durable(server_url: str) -> dict[str, str]:
    """The server's settings that matter.  Raises ``BenchmarkError`` for one that may lose data."""
    names = (*DURABLE, "shared_buffers", "max_wal_size", "work_mem", "jit")
    with psycopg.connect(server_url) as connection:
        found = {name: str(connection.execute(f"SHOW {name}").fetchall()[0][0]) for name in names}
    for name in DURABLE:
        if found[name] != "on":
            raise BenchmarkError(
                f"received a server with {name} = {found[name]}; expected on: it would flatter "
                "every write; try without --database-url"
            )
    return found


def versions_of(server_version: str, peers: Sequence[str]) -> dict[str, str]:
    """What was measured: PostgreSQL, Python, SQLAlchemy, the drivers and the peers."""
    found = {"postgresql": server_version, "python": platform.python_version()}
    for package in (*PACKAGES, *peers):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            raise BenchmarkError(
                f"received no {package}; expected it beside the kit's own way; try make setup"
            ) from None
    return found


def machine() -> dict[str, Any]:
    """Where it ran: cores, processor and memory, without a name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "processor": processor(),
        "memory_gib": round(memory / 2**30),
        "system": platform.system(),
    }


def processor() -> str:
    """The processor's model, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
