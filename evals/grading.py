"""Grade workspaces: every check in a process of its own, on a database of its own, with a limit.

``python -m evals.grading TASK SECONDS`` is the worker: it reads workspaces from standard input, one
a line, imports what every check needs once, and forks a process for each check.  So whatever a
workspace does (``sys.exit``, ``os._exit``, an endless loop, printing, closing descriptors) spoils
its own check and nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn
from urllib.parse import urlsplit

import psycopg
import sqlalchemy
from psycopg import sql

from evals.workspace import PASSWORDS, Workspace, describe, hide, passwords_of
from examples.postgres import postgres_server, temporary_database

ROOT = Path(__file__).resolve().parent.parent
TASKS = ROOT / "evals" / "tasks"
CHECK_SECONDS = 120.0
SQLALCHEMY = (2, 1)
POSTGRESQL = 18
ADOPT = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>
EVIDENCE_CHARACTERS = 1_500
IGNORED = (".git", ".venv*", "venv", "__pycache__", "node_modules", ".*_cache", "grading.json")
# Ours, which a workspace may have under the same name; imported by the worker, not for it.
OURS = ("examples", "scripts", "tests", "tools", "benchmarks")
# Imported once for all checks of a worker: half a second each time.
SHARED = ("asyncpg", "psycopg2", "psycopg", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql")

Check = Callable[[Workspace], None]


class EvalError(Exception):
    """Wrong usage or an environment that cannot grade: received, expected, try."""


@dataclass(frozen=True)
class Task:
    """One entry of ``evals.json`` and the folder that it came from."""

    id: str
    prompt: str
    expected_output: str
    files: list[str]
    assertions: list[str]

    @property
    def folder(self) -> Path:
        """Where its files and its grader are."""
        return TASKS / self.id


# --- tasks --------------------------------------------------------------------------------------


def task_ids() -> list[str]:
    """Every task, by name."""
    return sorted(path.parent.name for path in TASKS.glob("*/task.json"))


def load_task(name: str) -> Task:
    """The task *name*.  Raises ``EvalError`` where there is none."""
    if name not in task_ids():
        raise EvalError(
            f"received the task {name!r}.\nexpected: a name out of --list\n"
            "try: python -m evals --list"
        )
    return Task(**json.loads((TASKS / name / "task.json").read_text(encoding="utf-8")))


def checks_of(task: str) -> tuple[ModuleType, list[Check]]:
    """The grader of *task* and its checks, in the order in which they are written."""
    module = importlib.import_module(f"evals.tasks.{task}.grade")
    return module, [found for name, found in vars(module).items() if name.startswith("check_")]


def text_of(check: Check) -> str:
    """The assertion that *check* proves: its docstring's first line."""
    return (check.__doc__ or "").strip().partition("\n")[0]


def prepare(task: Task, workspace: Path) -> None:
    """Copy what the task begins with into *workspace*, which must be empty or not there yet."""
    if workspace.exists() and (not workspace.is_dir() or any(workspace.iterdir())):
        raise EvalError(
            f"received the workspace {workspace}, which is not an empty folder.\n"
            "expected: an empty folder, or a name that is free\ntry: another name"
        )
    workspace.mkdir(parents=True, exist_ok=True)
    lay_over(task.folder / "files", workspace)


def lay_over(source: Path, target: Path) -> None:
    """Copy the files of *source*, where there are any, over those of *target*."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=unwanted, symlinks=True)


def unwanted(folder: str, names: list[str]) -> set[str]:
    """What of a workspace is not copied: ``IGNORED``, and sockets and pipes, which cannot be."""
    found = {name for name in names if any(fnmatch(name, pattern) for pattern in IGNORED)}
    for name in names:
        path = Path(folder, name)
        if not (path.is_symlink() or path.is_file() or path.is_dir()):
            found.add(name)
    return found


# --- one check ----------------------------------------------------------------------------------


def child(check: Check, folder: Path, url: str, answer: int, output: Path) -> NoReturn:
    """Within the forked process: run *check*, write its verdict to *answer*, end."""
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    # What the workspace prints is evidence, and never mixes with our answer.
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.dont_write_bytecode = True
    work = Workspace(folder, url)
    os.chdir(folder)
    environment = work.environment()
    os.environ.clear()  # what we were started with must not reach its connections: PGOPTIONS
    os.environ.update(environment)
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    sys.path[:] = [str(folder), *(part for part in sys.path if not is_ours(part))]
    try:
        check(work)
        verdict: dict[str, Any] = {"passed": True, "evidence": "; ".join(work.notes) or "held"}
    except AssertionError as error:
        verdict = {"passed": False, "evidence": str(error) or where(error)}
    except BaseException as error:
        verdict = {"passed": False, "evidence": f"{describe(error)} ({where(error)})"}
    # Hidden before it is cut: half of a password would not be found.
    verdict["evidence"] = hide(verdict["evidence"], PASSWORDS)[:EVIDENCE_CHARACTERS]
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os.write(answer, json.dumps(verdict).encode() + b"\n")  # last: then we are killed
    work.close()
    os._exit(0)


def is_ours(part: str) -> bool:
    """Whether this entry of ``sys.path`` is the repository's root, or wherever we were started."""
    return not part or Path(part).resolve() == ROOT


def where(error: BaseException) -> str:
    """The last line of *error*'s traceback, without a path of this machine."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "no traceback"
    last = frames[-1]
    return f"{Path(last.filename).name}, line {last.lineno}: {last.line}"


@contextmanager
def check_database(server: str) -> Iterator[str]:
    """A database for a check, as ``temporary_database``; afterwards the check's role is dropped.

    Roles are the cluster's, and whoever is killed drops none.  A check may make one of its
    database's name (``Workspace.role``), which is known here too.
    """
    name = ""
    try:
        with temporary_database(server) as url:
            name = database_of(url)
            yield url
    finally:
        if name:  # after the database, in which the role might own something
            drop = sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name))
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(drop)


def database_of(url: str) -> str:
    """The database that *url* names."""
    return urlsplit(url).path.strip("/")


def adopt() -> None:
    """Become the parent of every orphan that descends from us, where Linux has that."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0)


def children() -> set[int]:
    """Our children by /proc; none where there is no /proc."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # "pid (name) state parent …": the name may hold spaces and parentheses.
            parent = path.read_text(errors="replace").rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                found.add(int(path.parent.name))
    return found


def end_children(kept: set[int]) -> None:
    """Kill every child but *kept*, and those that become ours by that, until there is none.

    A process that left its check's group by ``start_new_session`` ends thus, and one whose parent
    has ended, as far as we adopt it.
    """
    refused = set(kept)
    while found := children() - refused:
        for process in found:
            try:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            except PermissionError:  # another user's, by sudo: it may outlive us
                refused.add(process)


def run_check(check: Check, source: Path, server: str, seconds: float) -> dict[str, Any]:
    """Fork, wait, kill what is left: ``{"text", "passed", "evidence"}``."""
    before = children()
    with tempfile.TemporaryDirectory(prefix="soe-eval-") as base, check_database(server) as url:
        folder = Path(base, "workspace")
        shutil.copytree(source, folder, symlinks=True)
        output = Path(base, "output")
        reading, writing = os.pipe()
        sys.stdout.flush()  # the child would print what is still in our buffer
        process = os.fork()
        if process == 0:
            os.close(reading)
            try:
                child(check, folder, url, writing, output)
            finally:
                os._exit(70)
        os.close(writing)
        try:
            answer, status = read_until_end(reading, process, seconds)
        finally:
            os.close(reading)
            # Also after a verdict: whoever the check started is not to outlive it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, 0)
            end_children(before)
        printed = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
        printed = hide(printed, passwords_of(server)).strip()
    try:
        verdict = json.loads(answer)
    except ValueError:
        verdict = {"passed": False, "evidence": status}
    if not verdict["passed"] and printed:
        verdict["evidence"] += f"\nprinted: …{printed[-300:]}"
    # A fresh database's name and folder would make every run's evidence another text.
    evidence = str(verdict["evidence"]).replace(str(folder), "WORKSPACE")
    evidence = evidence.replace(database_of(url), "DATABASE")
    return {
        "text": text_of(check),
        "passed": verdict["passed"],
        "evidence": evidence[:EVIDENCE_CHARACTERS],
    }


def read_until_end(reading: int, process: int, seconds: float) -> tuple[bytes, str]:
    """What the child answered, and how it ended where it answered nothing."""
    deadline = time.monotonic() + seconds
    answer = b""
    while (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([reading], [], [], min(left, 0.1))
        if readable:
            piece = os.read(reading, 65_536)
            answer += piece
            if not piece or answer.endswith(b"\n"):
                return answer, "the process ended before the check did"
        elif os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            # A grandchild may hold the pipe open.
            return answer, "the process ended before the check did"
    return answer, f"still running after {seconds:g} s: killed"


# --- the worker ---------------------------------------------------------------------------------


def grade_here(task: str, workspace: Path, server: str, limit: str) -> dict[str, Any]:
    """Grade in this process, which must have one thread: it forks.  The contents of grading.json.

    *limit*, in seconds, stands for the grader's own where it is not empty.  Raises nothing for what
    a workspace does.
    """
    module, checks = checks_of(task)
    seconds = float(limit or getattr(module, "SECONDS", CHECK_SECONDS))
    with tempfile.TemporaryDirectory(prefix="soe-eval-") as base:
        source = Path(base, "workspace")
        lay_over(workspace, source)
        results = [run_check(check, source, server, seconds) for check in checks]
    return {"assertion_results": results, "summary": summary_of(results)}


def summary_of(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts and the share that passed, to four digits."""
    passed = sum(bool(result["passed"]) for result in results)
    return {
        "passed": passed,
        "failed": len(results) - passed,
        "total": len(results),
        "pass_rate": round(passed / len(results), 4) if results else 0.0,
    }


def stop(_number: int, _frame: object) -> NoReturn:
    """Leave by the ``finally`` clauses, which end the check's processes and its database."""
    raise SystemExit(143)


def work_through(task: str, limit: str, server: str) -> None:
    """Grade each workspace that standard input names; one line of JSON each."""
    signal.signal(signal.SIGTERM, stop)
    adopt()
    for name in SHARED:
        importlib.import_module(name)
    for line in sys.stdin:
        grading = grade_here(task, Path(line.rstrip("\n")), server, limit)
        print(json.dumps(grading), flush=True)


# --- whoever asks -------------------------------------------------------------------------------


def grade(
    task: str, workspaces: Sequence[Path], server: str, *, seconds: float | None = None
) -> list[dict[str, Any]]:
    """Grade *workspaces* in a worker; the contents of a grading.json for each.

    *server* is the URL of a server on which databases may be made, without a driver; *seconds*
    stands for the limit of each check.  Raises
    ``EvalError`` where a workspace is no folder, or the worker itself fails.
    """
    for workspace in workspaces:
        if not workspace.is_dir():
            raise EvalError(
                f"received the workspace {workspace}.\nexpected: a folder\n"
                f"try: python -m evals --prepare {task} {workspace}"
            )
    limit = "" if seconds is None else str(seconds)
    command = [sys.executable, "-m", "evals.grading", task, limit]
    environment = os.environ | {"EVALS_SERVER": server, "PYTHONHASHSEED": "0"}
    worker = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        paths = "".join(f"{workspace.resolve()}\n" for workspace in workspaces)
        out, err = worker.communicate(paths)
    except BaseException:
        worker.terminate()  # it ends its checks and drops its database
        worker.wait(30)
        raise
    if worker.returncode:
        raise EvalError(
            f"the grader of {task} failed:\n{hide(err, passwords_of(server)).strip()[-2000:]}\n"
            "expected: a grader that can be imported, and a server that lets us create databases\n"
            "try: python -m evals --reference " + task
        )
    return [json.loads(line) for line in out.splitlines()]


@contextmanager
def solution(task: Task, kind: str) -> Iterator[Path]:
    """A workspace that holds the task's ``reference`` or ``naive`` solution."""
    with tempfile.TemporaryDirectory(prefix="soe-eval-") as base:
        workspace = Path(base, kind)
        prepare(task, workspace)
        lay_over(task.folder / kind, workspace)
        yield workspace


@contextmanager
def server_url() -> Iterator[str]:
    """The URL of a PostgreSQL for the block, by the rules of ``scripts/start-postgres.py``.

    Raises ``EvalError`` where it, or SQLAlchemy, is older than what the tasks are about.
    """
    with postgres_server() as server:
        refuse_older(sqlalchemy.__version__, server.version)
        yield server.url


def refuse_older(orm: str, server: str) -> None:
    """Raise ``EvalError`` for a version that would fail a right solution."""
    if version_of(orm) >= SQLALCHEMY and version_of(server)[0] >= POSTGRESQL:
        return
    raise EvalError(
        f"received SQLAlchemy {orm} and PostgreSQL {server}.\n"
        f"expected: SQLAlchemy {'.'.join(map(str, SQLALCHEMY))} and PostgreSQL {POSTGRESQL},"
        " or later\n"
        "try: the environment of this repository, and POSTGRES_PROVIDER=embedded"
    )


def version_of(text: str) -> tuple[int, ...]:
    """The first numbers of a version: ``18.1`` and ``2.1.0b1`` have two, ``19beta1`` has one."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


if __name__ == "__main__":
    work_through(sys.argv[1], sys.argv[2], os.environ.pop("EVALS_SERVER"))
