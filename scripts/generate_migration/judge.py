"""The three runs: generate a revision, print one without writing it, look at what is there."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from alembic.script import Script
from sqlalchemy import URL

from . import lint, prove
from .core import ALEMBIC, FINDINGS, FINE, NOT_READY, SEVERITIES, Finding, Proof, Refused, Statement
from .fill import ROWS
from .options import called
from .places import advice, place_of
from .project import Project, after, all_of, before, find, inside, names_in, require_one_head
from .redirect import Redirection
from .refusal import reason
from .run import Generated, Request, Runner
from .scratch import Scratch, own_url, scratch_server
from .squawk import find_squawk
from .state import changed, heads_in, require_at_head, require_committed, uncommitted

MISSING = "missing-migration"
ONE_TRANSACTION = (
    "env.py runs all revisions of an upgrade in one transaction: a VALIDATE in the next revision "
    "shares the lock of the ADD before it; context.configure(…, transaction_per_migration=True)"
)


@dataclass(frozen=True)
class Judged:
    """One revision: what it ran, what was found, what was proved.  *source* where none was kept."""

    revision: str
    path: Path
    statements: tuple[Statement, ...] = ()
    findings: tuple[Finding, ...] = ()
    proof: Proof | None = None
    source: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    mode: str  # generate, dry-run or check
    command: str  # what to type for alembic here
    revisions: tuple[Judged, ...] = ()
    missing: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    program: str = "generate-migration.sh"  # what to type for this, with its settings

    @property
    def findings(self) -> list[Finding]:
        """All of them."""
        return [*self.missing, *(each for one in self.revisions for each in one.findings)]

    def exit_code(self, fail_on: str) -> int:
        """Of the run; what is not proved fails it, in CI also what could not be tried."""
        least = SEVERITIES.index(fail_on)
        found = any(SEVERITIES.index(each.severity) >= least for each in self.findings)
        proofs = [each.proof for each in self.revisions if each.proof is not None]
        failed = any(not proof.passed for proof in proofs)
        # A comment of the revision may excuse that one, with its reason.
        unfilled = prove.RULES[prove.UNFILLED]
        untried = self.mode == "check" and any(each.rule == unfilled for each in self.findings)
        return FINDINGS if found or failed or untried else FINE


@dataclass
class Work:
    """What a run works with: the project, a server, and what was asked for."""

    runner: Runner
    scratch: Scratch
    options: argparse.Namespace
    squawk: str | None

    def at_head(self, url: URL) -> None:
        """Bring the empty database at *url* to the heads.  Raises ``Refused``."""
        project = self.runner.project
        scripts = project.scripts()
        try:
            self.runner.upgrade(url, "heads")
        except Refused:
            raise
        except (Exception, SystemExit) as error:
            raise failed(project, names_in(scripts), error) from None
        # What another head depends on has no row of its own.
        heads = set(scripts.get_heads(consider_depends_on=True))
        found = self.heads(url)
        if not heads <= found:
            raise Refused(
                f"received {project.file}, whose env.py ran, and the scratch database is at "
                f"{', '.join(sorted(found)) or 'no revision'}\n"
                f"expected: at {', '.join(sorted(heads))}, by a connection of SQLAlchemy's\n"
                "try: create_engine() or engine_from_config() in env.py, "
                "and context.run_migrations()",
                NOT_READY,
            )

    def heads(self, url: URL) -> set[str]:
        """Where the database at *url* is."""
        runner = self.runner
        return set(heads_in(url, runner.version_table, runner.version_table_schema))

    def judged(
        self, script: Script, parent: URL, *, is_head: bool, more: Sequence[Finding] = ()
    ) -> Judged:
        """*script* linted and proved, on copies of *parent*, the database right before it."""
        path = Path(script.path)
        self.runner.first_runs.clear()
        proof = prove.prove(
            self.runner,
            self.scratch,
            parent,
            script.revision,
            is_head=is_head,
            accepted=lint.accepted(path),
            rows=self.options.rows or ROWS,
            version_table=self.runner.version_table,
        )
        statements = tuple(self.runner.first_runs.get(script.revision, ()))
        findings = lint.lint(
            statements,
            path,
            squawk=self.squawk,
            postgres_version=str(self.scratch.version),
            more=prove.findings(proof, path, more),
            others=prove.RULES.values(),
            rows=proof.rows,
        )
        return Judged(script.revision, path, statements, tuple(findings), proof)


def failed(project: Project, files: Collection[str], error: BaseException) -> Refused:
    """What to say of an upgrade to head that raised *error*: a revision, env.py or the models."""
    place = place_of(error)
    of_revision = any(f"({file}:" in place for file in files)
    what = (
        "whose revisions do not run on an empty database"
        if of_revision
        else "whose env.py, or what it imports, failed"
    )
    mend = (
        "mend that revision; --scratch-url with a server that has what it needs"
        if of_revision
        else advice(error)
    )
    return Refused(
        f"received {project.file}, {what}: {reason(error)}{place}\n"
        "expected: alembic upgrade head to run on an empty PostgreSQL\n"
        f"try: {mend}",
        NOT_READY,
    )


def run(options: argparse.Namespace, start: Path) -> Outcome:
    """Do what *options* ask, from the folder *start*.  Raises ``Refused``."""
    squawk = None if options.no_squawk else find_squawk()
    project = find(options.config, start, options.name, options.x)
    developers = own_url(options.database_url, "--database-url") if options.database_url else None
    redirection = Redirection()
    # Reading the revisions imports them, and what they import.
    with inside(project), redirection.on():
        scripts = project.scripts()
        require_one_head(project, scripts, options.head)
        files = [Path(each.path) for each in all_of(scripts)]
        if not options.check and not options.allow_uncommitted:
            require_committed(project, files)
        chosen, notes = to_check(project, options.since) if options.check else ([], [])
        with scratch_server(options.scratch_url) as scratch, scratch.empty() as url:
            work = Work(Runner(project, redirection), scratch, options, squawk)
            if options.check:
                made = check(work, url, chosen, notes)
            else:
                work.at_head(url)
                if developers is not None:
                    look(work, url, developers)
                made = (dry_run if options.dry_run else generate)(work, url)
            if options.check and developers is not None:
                look(work, url, developers)
            made = replace(made, program=called(options))
            if len(made.revisions) > 1 and work.runner.one_transaction:
                made = replace(made, notes=(*made.notes, ONE_TRANSACTION))
            return made


def look(work: Work, url: URL, developers: URL) -> None:
    """Whether the developer's database is where the one at *url* is, at head.

    Raises ``Refused``.
    """
    runner = work.runner
    known = [each.revision for each in runner.scripts().walk_revisions()]
    table = (runner.version_table, runner.version_table_schema)
    require_at_head(runner.project, developers, sorted(work.heads(url)), known, table)


# --- Generate -------------------------------------------------------------------------------------


def request(options: argparse.Namespace) -> Request:
    """What ``alembic revision`` would be told."""
    return Request(
        options.message,
        options.head or "head",
        options.splice,
        options.branch_label,
        options.version_path,
        options.rev_id,
        options.allow_empty,
    )


def generate(work: Work, url: URL) -> Outcome:
    """Write the revision beside the others, then judge it."""
    project = work.runner.project
    made = written(work.runner, url, request(work.options))
    try:
        judged = judge_generated(work, url, made)
    except BaseException:
        files = " ".join(str(each.path) for each in made)
        print(
            f"generate-migration: {files} was written and stands; it was not judged to the end\n"
            f"try: --check; or rm {files}, to begin again",
            file=sys.stderr,
        )
        raise
    return Outcome("generate", project.command, tuple(judged))


def dry_run(work: Work, url: URL) -> Outcome:
    """The same in a folder that is gone afterwards."""
    plain = work.runner.project
    wanted = request(work.options)
    target = planned_folder(plain, wanted)
    with tempfile.TemporaryDirectory(prefix="soe-revision-") as name:
        folder = Path(name).resolve()
        work.runner = Runner(plain.with_folder(folder), work.runner.redirection)
        made = written(work.runner, url, replace(wanted, version_path=str(folder)))
        judged = [
            moved(each, target, each.path.read_text(encoding="utf-8"))
            for each in judge_generated(work, url, made)
        ]
    return Outcome("dry-run", plain.command, tuple(judged))


def written(runner: Runner, url: URL, wanted: Request) -> list[Generated]:
    """The new files.  Raises ``Refused`` where there are none; nothing is left of an attempt."""
    folder, known = None, set[Path]()
    try:
        folder = planned_folder(runner.project, wanted)
        known = set(folder.glob("*.py"))
        made = runner.generate(url, wanted)
    except (Exception, SystemExit) as error:
        for file in set(folder.glob("*.py")) - known if folder else ():
            file.unlink()
        if isinstance(error, Refused):
            raise
        raise Refused(
            f"received {runner.project.file}, and generating the revision failed: "
            f"{reason(error)}{place_of(error)}\n"
            "expected: models that Alembic can compare, and options that name revisions\n"
            f"try: {advice(error)}",
            NOT_READY,
        ) from None
    if not made:
        raise Refused(
            "received models in which nothing is new: the revisions make the same tables\n"
            "expected: a change that autogenerate sees\n"
            "try: import the module of the new models where env.py takes target_metadata from; "
            "or --allow-empty, for a revision to write by hand",
            NOT_READY,
        )
    return made


def planned_folder(project: Project, wanted: Request) -> Path:
    """Where ``alembic revision`` would write."""
    if wanted.version_path is not None:
        return Path(wanted.version_path).absolute()
    scripts = project.scripts()
    for script in scripts.get_revisions(wanted.head):
        if script is not None:
            return Path(script.path).parent
    locations = project.config().get_version_locations_list()
    return Path(locations[0] if locations else Path(scripts.dir) / "versions").absolute()


def judge_generated(work: Work, url: URL, made: Sequence[Generated]) -> list[Judged]:
    """Each of *made*, the first on the database at *url*, which is right before it."""
    scripts = work.runner.project.scripts()
    found = []
    for number, each in enumerate(made, 1):
        script = scripts.get_revision(each.revision)
        last = number == len(made)
        found.append(work.judged(script, url, is_head=last, more=each.findings))
        if not last:
            work.runner.upgrade(url, each.revision)
    return found


def moved(judged: Judged, folder: Path, source: str) -> Judged:
    """*judged* as if its file were in *folder*."""
    path = folder / judged.path.name

    def there(words: str) -> str:
        return words.replace(str(judged.path), str(path))

    proof = judged.proof
    if proof is not None:
        steps = tuple(replace(each, seen=there(each.seen)) for each in proof.steps)
        proof = replace(proof, steps=steps)
    return replace(
        judged,
        path=path,
        source=source,
        statements=tuple(replace(each, path=path) for each in judged.statements),
        findings=tuple(
            replace(
                each,
                path=path if each.path == judged.path else each.path,
                message=there(each.message),
            )
            for each in judged.findings
        ),
        proof=proof,
    )


# --- Check ----------------------------------------------------------------------------------------


def to_check(project: Project, since: str | None) -> tuple[list[Script], list[str]]:
    """The revisions to look at, oldest first, and what to say of the choice."""
    scripts = project.scripts()
    if since is not None:
        return after(scripts, since), []
    every = all_of(scripts)
    found = changed(Path(each.path) for each in every)
    if found is None:
        heads = [each for each in every if each.is_head]
        why = "git knows no default branch here: the head alone is looked at; see --since"
        return heads, [why]
    files, branch = found
    chosen = [each for each in every if Path(each.path).resolve() in files]
    return chosen, [f"new against {branch}: {len(chosen)} of {len(every)} revisions"]


def check(work: Work, url: URL, chosen: Sequence[Script], notes: Sequence[str]) -> Outcome:
    """Judge the *chosen* revisions one by one, then look whether one is missing."""
    runner = work.runner
    heads = runner.project.scripts().get_heads()
    judged: list[Judged] = []
    missing: list[Finding] = []
    for script in chosen:
        parents: list[str | None] = [*before(script)]
        for parent in parents or [None]:
            reach(work, url, parent)
        judged.append(work.judged(script, url, is_head=heads == [script.revision]))
        if not runs(judged[-1]):
            break  # nothing that comes after it can be reached
    else:
        work.at_head(url)
        missing = missing_migration(work, url)
        judged, missing = told_once(judged, missing)
    return Outcome("check", runner.project.command, tuple(judged), tuple(missing), tuple(notes))


def told_once(judged: list[Judged], missing: list[Finding]) -> tuple[list[Judged], list[Finding]]:
    """What models and revisions differ in is the head's fault while it may still be changed.

    Later it wants a revision of its own.
    """
    differ = prove.RULES[prove.MODELS]
    if not judged or not missing or all(each.rule != differ for each in judged[-1].findings):
        return judged, missing
    if uncommitted([judged[-1].path]):
        return judged, []
    left = tuple(each for each in judged[-1].findings if each.rule != differ)
    return [*judged[:-1], replace(judged[-1], findings=left)], missing


def reach(work: Work, url: URL, revision: str | None) -> None:
    """Bring the database at *url* to *revision*, or leave it empty.  Raises ``Refused``."""
    try:
        if revision is None:
            work.runner.learn(url)
        else:
            work.runner.upgrade(url, revision)
    except Refused:
        raise
    except (Exception, SystemExit) as error:
        files = names_in(work.runner.scripts())
        raise failed(work.runner.project, files, error) from None


def runs(judged: Judged) -> bool:
    """Whether its upgrade, the first step of the proof, went through."""
    steps = judged.proof.steps if judged.proof is not None else ()
    return all(step.passed for step in steps[:1])


def missing_migration(work: Work, url: URL) -> list[Finding]:
    """What the models have and the revisions have not, as one finding."""
    try:
        lines = list(work.runner.differences(url))
    except Refused:
        raise
    except (Exception, SystemExit) as error:
        files = names_in(work.runner.scripts())
        raise failed(work.runner.project, files, error) from None
    if not lines:
        return []
    return [
        Finding(
            MISSING,
            "error",
            f"the models have what no revision makes: {len(lines)} of autogenerate's operations",
            "The code of this commit does not fit the database that its revisions make.",
            'Generate it, -m "what changed", and commit the revision.',
            statement="\n".join(lines),
            url=f"{ALEMBIC}/autogenerate.html",
        )
    ]
