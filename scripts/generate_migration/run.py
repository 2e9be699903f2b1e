"""The project's own Alembic, run on databases of ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from alembic import command
from alembic.autogenerate import RevisionContext
from alembic.migration import MigrationContext
from alembic.operations import ops
from alembic.runtime.environment import EnvironmentContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import URL

from .core import Finding, Statement
from .layout import lay_out
from .project import Project, names_in
from .redirect import Redirection
from .repair import differences, repair
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
            self._scripts = self.project.scripts()
        return self._scripts

    def upgrade(self, url: URL, revision: str) -> Sequence[Statement]:
        """Upgrade the database at *url* to *revision*: the statements of the revisions."""
        config = self.project.config("upgrade", revision)
        return self._migrate(url, lambda: command.upgrade(config, revision), upgrade=True)

    def downgrade(self, url: URL, revision: str) -> Sequence[Statement]:
        """Downgrade the database at *url* by the one *revision*: the statements of it."""
        target = below(self.scripts().get_revision(revision))
        config = self.project.config("downgrade", target)
        return self._migrate(url, lambda: command.downgrade(config, target), upgrade=False)

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
        self, url: URL, work: Callable[[], object], *, upgrade: bool
    ) -> Sequence[Statement]:
        watch = Watch(names_in(self.scripts()), upgrade=upgrade)
        try:
            with self.redirection.to(url), watch.on(), quiet():
                work()
        except BaseException:
            self._keep(watch.statements, upgrade)
            self._broken.update((each.revision, upgrade) for each in watch.statements[-1:])
            raise
        self._keep(watch.statements, upgrade)
        if watch.version_table is not None:
            self.version_table, self.version_table_schema = watch.version_table
            self.one_transaction = watch.one_transaction
        return watch.statements

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
            self.version_table = context.version_table
            self.version_table_schema = context.version_table_schema
            made.run_autogenerate(revision, context)
            return []

        environment = EnvironmentContext(
            config,
            scripts,
            fn=compare,
            as_sql=False,
            template_args=made.template_args,
            revision_context=made,
        )
        with self.redirection.to(url), environment, quiet():
            scripts.run_env()
        return made


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
