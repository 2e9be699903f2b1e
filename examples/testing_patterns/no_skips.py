"""A pytest plugin: where ``CI=true``, a skipped test is a failed test.

Problem: a missing package or server skips half a suite, and the build stays green.  Pattern: only
the skip that names a version of PostgreSQL passes.  Needs pytest alone.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

ALLOWED = "Skipped: requires PostgreSQL "


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn *report* red when it is a skip without a name that is allowed."""
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.startswith(ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"a skip is an error where CI=true: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at each test's report."""
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Look at each module's: it may skip itself whole."""
    report = yield
    refuse_skip(report)
    return report
