"""The project's own Alembic, run on databases of ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from alembic.autogenerate import RevisionContext
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import ops
from alembic.runtime.environment import EnvironmentContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import URL, text

from .core import NOT_READY, Finding, Refused, Statement
from .layout import lay_out
from .project import Project, names_in
from .redirect import Redirection
from .repair import differences, repair
from .scratch import shown
from .watch import Watch

Process: TypeAlias = Callable[[MigrationContext, Sequence[ops.MigrationScript]], None]


@dataclass(frozen=True)
class Request:
    """What ``alembic revision`` is asked for."""

    message: str | None = None
    head: str = "head"
    splice: bool = False
    branch_label: str | None = None
    version_path: str | None = None
    rev_id: str | None = None
    allow_empty: bool = False


@dataclass(frozen=True)
class Generated:
    """The revision that was written, and what repairing it found."""

    revision: str
    path: Path
    findings: tuple[Finding, ...] = ()


@dataclass
class Runner:
    """Runs *project* on databases of ours; see ``Alembic`` of core.py.

    What a revision or ``env.py`` raises comes out as it is.
    """

    project: Project
    redirection: Redirection = field(default_factory=Redirection)
    version_table: str = "alembic_version"
    version_table_schema: str | None = None
    one_transaction: bool = False  # env.py runs all revisions in one
    # Of each revision the statements of its first upgrade and its first downgrade.
    first_runs: dict[str, list[Statement]] = field(default_factory=dict)
    # Those that failed half-way, and whether it was the upgrade.
    _broken: set[tuple[str, bool]] = field(default_factory=set, init=False, repr=False)
    _scripts: ScriptDirectory | None = field(default=None, init=False, repr=False)

    def scripts(self) -> ScriptDirectory:
        """The revisions, read once: a project may have hundreds."""
        if self._scripts is None:
            with self.redirection.on():
                self._scripts = self.project.scripts()
        return self._scripts

    def learn(self, url: URL) -> None:
        """Run env.py without a step, for the version table that it names."""
        config = self.project.config("current")
        scripts = ScriptDirectory.from_config(config)
        self._run_env(url, config, scripts, lambda *_: [], dont_mutate=True)

    def upgrade(self, url: URL, revision: str, *, break_at: int = 0) -> Sequence[Statement]:
        """Upgrade the database at *url* to *revision*: the statements of the revisions.

        Raises ``BrokenOff`` after the *break_at*-th commit within them, if there are that many.
        """
        return self._migrate(url, revision, upgrade=True, break_at=break_at)

    def downgrade(self, url: URL, revision: str) -> Sequence[Statement]:
        """Downgrade the database at *url* by the one *revision*: the statements of it."""
        target = below(self.scripts().get_revision(revision))
        return self._migrate(url, target, upgrade=False)

    def differences(self, url: URL) -> Sequence[str]:
        """What autogenerate, with our comparisons, would still write: one operation a line."""
        found: list[str] = []

        def process(context: MigrationContext, directives: Sequence[ops.MigrationScript]) -> None:
            found.extend(differences(context, directives[0].upgrade_ops_list[-1]))

        self._compare(url, Request(), process)
        return found

    def generate(self, url: URL, request: Request) -> list[Generated]:
        """Write what the models have and the database at *url*, at the head, has not.

        No revision where there is nothing to write, unless *request* allows an empty one.
        """
        findings: list[Finding] = []

        def process(context: MigrationContext, directives: Sequence[ops.MigrationScript]) -> None:
            findings.extend(repair(context, None, directives))

        made = self._compare(url, request, process)
        empty = all(
            each.is_empty()
            for script in made.generated_revisions
            for each in script.upgrade_ops_list
        )
        if empty and not request.allow_empty:
            return []
        scripts = [script for script in made.generate_scripts() if script is not None]
        self._scripts = None  # there is one more
        if not made.script_directory.hooks:  # the project formats its revisions itself
            for script in scripts:
                lay_out(Path(script.path))
        return [
            Generated(script.revision, Path(script.path), tuple(findings)) for script in scripts
        ]

    def _migrate(
        self, url: URL, target: str, *, upgrade: bool, break_at: int = 0
    ) -> Sequence[Statement]:
        """``alembic upgrade`` or ``downgrade`` to *target*, watched."""
        config = self.project.config("upgrade" if upgrade else "downgrade", target)
        scripts = ScriptDirectory.from_config(config)
        find = scripts._upgrade_revs if upgrade else scripts._downgrade_revs
        watch = Watch(names_in(self.scripts()), upgrade=upgrade, break_at=break_at)
        try:
            with watch.on():
                self._run_env(
                    url, config, scripts, lambda now, _: find(target, now), destination_rev=target
                )
        except BaseException:
            if watch.broken_off is not None:  # whatever env.py made of it
                raise watch.broken_off from None
            self._keep(watch.statements, upgrade)
            self._broken.update((each.revision, upgrade) for each in watch.statements[-1:])
            raise
        if watch.broken_off is not None:
            raise watch.broken_off
        self._keep(watch.statements, upgrade)
        if watch.version_table is not None:
            self.one_transaction = watch.one_transaction
        return watch.statements

    def _run_env(
        self,
        url: URL,
        config: Config,
        scripts: ScriptDirectory,
        steps: Callable[[Any, MigrationContext], list[Any]],
        **options: Any,
    ) -> None:
        """Run ``env.py``, and the *steps* that it asks for, on the database at *url* alone."""

        def checked(now: Any, context: MigrationContext) -> list[Any]:
            require_ours(self.project, context, url)
            self.version_table = context.version_table
            self.version_table_schema = context.version_table_schema
            return steps(now, context)

        environment = EnvironmentContext(config, scripts, fn=checked, as_sql=False, **options)
        with self.redirection.to(url), environment, quiet():
            scripts.run_env()

    def _keep(self, statements: Sequence[Statement], upgrade: bool) -> None:
        """Remember what was seen for the first time; of one that failed half-way, then the rest."""
        whole = {each.revision for each in statements} & {
            revision for revision, way in self._broken if way is upgrade
        }
        for revision in whole:
            seen = self.first_runs.pop(revision, [])
            mine = [each for each in statements if each.revision == revision]
            self.first_runs[revision] = completed(seen, mine, upgrade)
            self._broken.discard((revision, upgrade))
        known = {
            revision
            for revision, seen in self.first_runs.items()
            if any(each.upgrade is upgrade for each in seen)
        }
        for each in statements:
            if each.revision not in known:
                self.first_runs.setdefault(each.revision, []).append(each)

    def _compare(self, url: URL, request: Request, process: Process) -> RevisionContext:
        """What autogenerate makes of the database at *url*; nothing is written.

        It is ``alembic revision`` up to the point where that writes its file.  *process* comes
        before the hook that ``env.py`` may have.
        """
        config = self.project.config("revision", "--autogenerate", "-m", request.message or "")
        scripts = ScriptDirectory.from_config(config)
        arguments: dict[str, Any] = {
            "message": request.message,
            "autogenerate": True,
            "sql": False,
            "head": request.head,
            "splice": request.splice,
            "branch_label": request.branch_label,
            "version_path": request.version_path,
            "rev_id": request.rev_id,
            "depends_on": None,
        }
        made = RevisionContext(
            config,
            scripts,
            arguments,
            process_revision_directives=lambda context, _, directives: process(context, directives),
        )

        def compare(revision: Any, context: MigrationContext) -> list[Any]:
            made.run_autogenerate(revision, context)
            return []

        self._run_env(
            url,
            config,
            scripts,
            compare,
            template_args=made.template_args,
            revision_context=made,
        )
        return made


def require_ours(project: Project, context: MigrationContext, url: URL) -> None:
    """Refuse what ``env.py`` connects to, before anything runs there, if it is not at *url*."""
    connection = context.connection
    assert connection is not None  # Alembic has read the version there
    found = connection.engine.url
    if connection.dialect.name == "postgresql":
        name = connection.scalar(text("SELECT pg_catalog.current_database()"))
        if name == url.database:
            return
        found = found.set(database=name)
    raise Refused(
        f"received {project.file}, whose env.py connects to {shown(found)}, "
        "which is no scratch database\n"
        "expected: PostgreSQL, by a connection that SQLAlchemy makes when it is asked for\n"
        "try: create_engine() or engine_from_config() in env.py",
        NOT_READY,
    )


def completed(
    seen: Sequence[Statement], whole: Sequence[Statement], upgrade: bool
) -> list[Statement]:
    """*seen* of one direction, which failed half-way, and what came after it in the *whole* run.

    What was seen for the first time stays: there were rows to read.
    """
    mine = [each for each in seen if each.upgrade is upgrade]
    others = [each for each in seen if each.upgrade is not upgrade]
    last = mine[-1] if mine else None
    lines = [each.line for each in whole]
    if last is None or last.line not in lines:
        return [*others, *whole]
    # The one that failed has done nothing; the whole run tells what it would have done.
    went = bool(last.taken or last.scanned or last.written)
    rest = whole[lines.index(last.line) + went :]
    return [*others, *(mine if went else mine[:-1]), *rest]


def below(script: Script) -> str:
    """What to downgrade to so that *script* alone is undone, and nothing that stands beside it.

    Of a merge any parent will do: the others stay.
    """
    parents = script.down_revision
    parent = parents if isinstance(parents, str) else next(iter(parents or ()), "base")
    return f"{script.revision}@{parent}"


@contextmanager
def quiet() -> Iterator[None]:
    """Within: nobody tells that all goes well; env.py configures Alembic's logger as it likes."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
