"""Look at a connection from Python: ``report = look("postgresql+psycopg://…")``."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import replace

from .core import (
    TLS,
    UNREACHABLE,
    Check,
    Failed,
    Failure,
    Report,
    Secrets,
    Step,
)
from .drivers import arguments, original, require, said, with_connection
from .facts import Wanted, checks
from .protocol import ServerError
from .refusals import refusal
from .settings import Settings, named, resolve
from .walk import APPLICATION, Login, walk


def look(
    url: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    driver: str | None = None,
    timeout: float = 5.0,
    wanted: Wanted | None = None,
    secrets: Secrets | None = None,
    facts: bool = True,
) -> Report:
    """Go to the server layer by layer, then ask it what it is like.

    *timeout* in seconds for each wait.  Raises nothing: what fails is in the report.
    """
    hidden = secrets if secrets is not None else Secrets()
    known = os.environ if environ is None else environ
    try:
        settings = resolve(url, known, driver, hidden)
    except Failed as error:
        return clean(Report(target=named(url, known), failure=error.failure), hidden)
    report = Report(target=str(settings), driver=settings.driver)
    report.steps.append(Step("URL", origin(settings)))
    try:
        report.version = require(settings)
        report.steps.append(Step("driver", f"{settings.driver} {report.version}"))
        login = reached(settings, timeout, report, facts=facts)
        if facts:
            expected = replace(wanted or Wanted(), login=login)
            report.checks = by_driver(settings, timeout, expected)
    except Failed as error:
        report.failure = error.failure
        if error.failure.layer == "URL":  # it was read, and is not fine
            report.steps = [step for step in report.steps if step.layer != "URL"]
    return clean(report, hidden)


def origin(settings: Settings) -> str:
    """Who said what: the parts by their sources."""
    by_source: dict[str, list[str]] = {}
    for name in ("host", "port", "user", "password", "database", "sslmode"):
        if name in settings.sources:
            is_mode = name == "sslmode" and settings.sources[name] != "PGSSLMODE"
            spelt = settings.mode_name if is_mode else name
            by_source.setdefault(settings.sources[name], []).append(spelt)
    parts = [f"{', '.join(names)} from {source}" for source, names in by_source.items()]
    return "; ".join(parts)


def reached(settings: Settings, timeout: float, report: Report, *, facts: bool) -> Login | None:
    """Walk; where that fails the driver has the last word.  Raises ``Failed``."""
    try:
        return walk(settings, timeout, report.steps)
    except Failed as error:
        if not facts or error.failure.slow:
            raise
        try:
            with_connection(
                settings.url, arguments(settings.driver, timeout, APPLICATION), lambda _: None
            )
        except Exception as of_driver:  # whatever a driver raises
            raise Failed(replace(error.failure, said=said(of_driver))) from None
        seen = f"by hand: {error.failure.seen}"
        report.steps.append(Step(error.failure.layer, seen, "note"))
        report.steps.append(Step("driver", f"{settings.driver} connects all the same", "note"))
        return None


def by_driver(settings: Settings, timeout: float, wanted: Wanted) -> list[Check]:
    """The checks, on a connection of the driver.  Raises ``Failed``."""
    try:
        return with_connection(
            settings.url,
            arguments(settings.driver, timeout, APPLICATION),
            lambda found: checks(found, wanted),
        )
    except Failed:
        raise
    except Exception as error:  # whatever a driver raises
        raise Failed(of_driver_alone(error, settings, wanted.login)) from None


def of_driver_alone(error: Exception, settings: Settings, login: Login | None) -> Failure:
    """It got in by hand, or was left to the driver, which does not get in."""
    driver, inner = settings.driver, original(error)
    state = getattr(inner, "sqlstate", None) or getattr(inner, "pgcode", None)
    seen = f"a login by hand works, and {driver} fails"
    if login is None:
        seen = f"the login is left to {driver}, which fails"
    if isinstance(state, str) and len(state) == 5:
        met = refusal(ServerError(state, str(inner)), settings, encrypted=False)
        return replace(met, seen=f"{seen}: {met.seen}", said=said(error))
    if isinstance(inner, ssl.SSLError):
        return Failure(
            "TLS",
            TLS,
            seen,
            (f"{driver} looks for certificates elsewhere: PGSSLROOTCERT, ~/.postgresql/root.crt",),
            ("--driver all",),
            said=said(error),
        )
    causes = [
        f"{driver} reads the parameters of the URL, the PG* variables and the service file "
        "in its own way",
        "the connection was lost in between; try again",
    ]
    commands = ["--driver all"]
    if driver == "psycopg" and login is not None and login.encoding == "SQL_ASCII":
        causes = ["the database's encoding is SQL_ASCII: psycopg 3 gives bytes in place of text"]
        commands = ["client_encoding=utf8 as a parameter of the URL"]
    if "host" not in settings.sources:
        causes.insert(0, "no host is named, and each driver looks for a socket in its own places")
    if "target_session_attrs" in settings.url.query:
        causes.insert(
            0,
            "target_session_attrs asks for another kind of server: this is a standby or "
            "read-only, or it is not",
        )
    if login is None and (settings.require_auth or settings.channel_binding):
        causes.insert(0, "require_auth or channel_binding does not take the server's way to log in")
    if "service" in settings.sources.get("host", "") + settings.sources.get("user", ""):
        causes.insert(0, f"{driver} may not read the service file: write its parts into the URL")
    return Failure("driver", UNREACHABLE, seen, tuple(causes), tuple(commands), said=said(error))


def clean(report: Report, secrets: Secrets) -> Report:
    """*report* without what must not be shown."""
    hide = secrets.hide
    failure = report.failure
    if failure is not None:
        failure = replace(
            failure,
            seen=hide(failure.seen),
            causes=tuple(hide(cause) for cause in failure.causes if cause),
            commands=tuple(map(hide, failure.commands)),
            said=secrets.told(failure.said),
        )
    return replace(
        report,
        target=hide(report.target),
        steps=[replace(step, seen=hide(step.seen)) for step in report.steps],
        checks=[replace(each, seen=hide(each.seen), fix=hide(each.fix)) for each in report.checks],
        failure=failure,
    )
