"""What git and the developer's database say of the revisions.  Both are only asked."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import SQLAlchemyError

from .core import NOT_READY, USAGE, Refused
from .project import Project
from .run import quiet
from .scratch import reason, shown, with_connection

SECONDS = 60
BRANCHES = ("origin/main", "main", "origin/master", "master")


# --- git ------------------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> str | None:
    """What git says in *folder*; None where it is not there, or says no."""
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), "--no-optional-locks", *words],
            check=False,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None


def uncommitted(files: Iterable[Path]) -> list[Path]:
    """Those of *files* that the last commit has not, or has otherwise; none without git."""
    known = sorted({file.resolve() for file in files})
    found: set[Path] = set()
    for folder in sorted({file.parent for file in known}):
        top = git(folder, "rev-parse", "--show-toplevel")
        if top is None or git(folder, "rev-parse", "--verify", "HEAD") is None:
            continue
        words = ("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", ".")
        for entry in (git(folder, *words) or "").split("\0"):
            found.add((Path(top.rstrip("\n")) / entry[3:]).resolve())
    return [file for file in known if file in found]


def changed(files: Iterable[Path]) -> tuple[list[Path], str] | None:
    """Those of *files* that are new against the default branch, and what that branch is.

    None where git cannot tell: no repository, no such branch, a history cut short.
    """
    known = sorted({file.resolve() for file in files})
    found = set(uncommitted(known))
    branch = ""
    for folder in sorted({file.parent for file in known}):
        top = git(folder, "rev-parse", "--show-toplevel")
        named = git(folder, "symbolic-ref", "--short", "refs/remotes/origin/HEAD")
        candidates = [*([named.strip()] if named else []), *BRANCHES]
        for candidate in candidates:
            base = git(folder, "merge-base", "HEAD", candidate)
            if top is not None and base is not None:
                break
        else:
            return None
        words = ("diff", "--name-only", "-z", "--no-renames", "--diff-filter=AM", base.strip(), ".")
        for entry in (git(folder, *words) or "").split("\0"):
            found.add((Path(top.rstrip("\n")) / entry).resolve())
        branch = candidate
    return [file for file in known if file in found], branch


def require_committed(project: Project, files: Collection[Path]) -> None:
    """Refuse to go on from a revision that may still change."""
    waiting = uncommitted(files)
    if waiting:
        listed = "\n  ".join(str(file) for file in waiting[:10])
        raise Refused(
            f"received a project with {len(waiting)} uncommitted revision"
            f"{'s' if len(waiting) > 1 else ''}:\n  {listed}\n"
            "expected: all in git, since the new one goes on from them\n"
            "try: git add and git commit; or rm, to generate it anew; or --allow-uncommitted",
            NOT_READY,
        )


# --- A database -----------------------------------------------------------------------------------


def heads_in(url: URL, table: str, schema: str | None) -> tuple[str, ...]:
    """The revisions that the database at *url* is at; nothing of it is changed."""

    def read(connection: Connection) -> tuple[str, ...]:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        options = {"version_table": table, "version_table_schema": schema}
        return MigrationContext.configure(connection, opts=options).get_current_heads()

    with quiet():
        return with_connection(url, read)


def require_at_head(
    project: Project,
    url: URL,
    heads: Sequence[str],
    known: Collection[str],
    version_table: tuple[str, str | None],
) -> None:
    """Refuse where the developer's database at *url* is not at the *heads*."""
    try:
        found = heads_in(url, *version_table)
    except (SQLAlchemyError, OSError) as error:
        raise Refused(
            f"received --database-url {shown(url)}, and it failed: {reason(error, url)}\n"
            "expected: a PostgreSQL that answers there\n"
            "try: scripts/test-connection.py with the same URL; or without --database-url",
            USAGE,
        ) from None
    if set(found) == set(heads):
        return
    strange = sorted(set(found) - set(known))
    if strange:
        advice = (
            f"a branch of git that has {', '.join(strange)}; or {project.command} downgrade there"
        )
    elif found:
        advice = f"{project.command} upgrade head"
    else:
        advice = f"{project.command} upgrade head; or stamp head, if it has these tables already"
    raise Refused(
        f"received the database {shown(url)} at {', '.join(found) or 'no revision'}\n"
        f"expected: at {', '.join(heads) or 'no revision'}\n"
        f"try: {advice}",
        NOT_READY,
    )
