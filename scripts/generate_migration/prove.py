"""Whether a revision goes up, down and up again on a database with rows, and what it leaves.

What is shown needs no luck: schemas and rows are compared, nothing is timed.  Not shown: how long
a statement waits for its lock behind somebody's long transaction.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from alembic.util import CommandError
from sqlalchemy import URL, Connection

from .advice import ALWAYS, BY_ROWS, upgrade_fails
from .contents import Contents, changed, contents_of, dropped, lost
from .core import (
    ALEMBIC,
    POSTGRES,
    Alembic,
    Databases,
    Finding,
    Proof,
    Refused,
    Statement,
    Step,
)
from .fill import ROWS, VERSION_TABLE, fill
from .mend import mend, without_parts
from .places import place_of
from .refusal import one_line, reason
from .repairs.renames import drops
from .resume import has_commits, resumed
from .rules import AUTOCOMMIT
from .schema import differences, excused, readable, schema_of
from .scratch import with_connection

T = TypeVar("T")
DECLARED = "declared irreversible"
SHOWN = 10  # lines of one step in a finding's message
ACCEPTED = "accepted by the revision"
LOST, UNFILLED, TABLE_GONE = "values lost", "tables without rows", ": its rows go with the table"
# The steps in their order, and the rule that each breaks when it fails; the last are no steps.
UPGRADE, MODELS, DOWNGRADE = "upgrade", "models", "downgrade"
SCHEMA, ROWS_KEPT = "schema after the downgrade", "rows"
AGAIN, SAME = "second upgrade", "schema after the second upgrade"
RESUMED = "upgrade broken off after each commit, and run again"
RULES = {
    UPGRADE: "upgrade-fails",
    MODELS: "models-differ",
    DOWNGRADE: "downgrade-fails",
    SCHEMA: "downgrade-leaves",
    ROWS_KEPT: "rows-lost",
    AGAIN: "upgrade-fails",
    SAME: "upgrade-differs",
    RESUMED: "upgrade-not-repeatable",
    DECLARED: "irreversible",
    LOST: "values-lost",
    UNFILLED: "not-proved",
    TABLE_GONE: "drops-data",
}


def prove(
    alembic: Alembic,
    databases: Databases,
    before: URL,
    revision: str,
    *,
    is_head: bool,
    accepted: Collection[str] = (),
    rows: int = ROWS,
    version_table: str = VERSION_TABLE,
) -> Proof:
    """What came out of taking *revision* up, down and up again on a filled copy of *before*.

    The database at *before* is at the revision before it, and stays as it is.  *accepted* are the
    rules that the revision's own source suppresses: their steps pass, and say so.  The models are
    compared only where *is_head*.  Raises ``Refused`` alone; a migration that fails is a step.
    """
    with databases.clone(before) as url:
        counts, unfilled = committed(
            url, lambda connection: fill(connection, rows=rows, version_table=version_table)
        )
        trial = Trial(alembic, url, revision, frozenset(accepted), version_table)
        if not trial.walk(is_head=is_head):
            trial.steps = without_rows(trial, databases, before, is_head=is_head)
        if has_commits(trial.statements):
            table = trial.version_table
            seen = resumed(alembic, databases, before, revision, version_table=table)
            if seen is not None:
                trial.step(RESUMED, *seen)
    return Proof(revision, tuple(trial.steps), counts, tuple(unfilled), tuple(trial.statements))


def committed(url: URL, work: Callable[[Connection], T]) -> T:
    """*work* in a transaction on a connection of its own."""

    def and_commit(connection: Connection) -> T:
        result = work(connection)
        connection.commit()
        return result

    return with_connection(url, and_commit)


@dataclass
class Trial:
    """One walk up, down and up on the database at *url*."""

    alembic: Alembic
    url: URL
    revision: str
    accepted: frozenset[str]
    version_table: str
    steps: list[Step] = field(default_factory=list)
    statements: Sequence[Statement] = ()

    def walk(self, *, is_head: bool) -> bool:
        """Go on as long as the next step can say something; whether the first upgrade ran."""
        schema, rows = self.look()
        if not self.upgrade(UPGRADE):
            return False
        if is_head:
            self.compare_models()
        upgraded, upgraded_rows = self.look()
        if not self.downgrade():
            return True
        back, back_rows = self.look()
        left, notes = excused(schema, back)
        left = without_parts(left, back)
        named = [
            with_mend(line, mend(each, left, back))
            for line, each in zip(readable(left), left, strict=True)
        ]
        is_clean = self.step(SCHEMA, named, notes)
        meant = dropped(rows, upgraded_rows, back_rows)
        others = {name: held for name, held in rows.items() if name not in meant}
        gone = [
            *(f"{line} by the upgrade" for line in lost(others, upgraded_rows)),
            *(f"{line} by upgrade and downgrade" for line in lost(others, back_rows)),
        ]
        notes = [*(f"{name}{TABLE_GONE}" for name in meant), *changed(others, back_rows)]
        if RULES[LOST] in self.accepted:
            notes = [f"{line}, {ACCEPTED}" if line.endswith(LOST) else line for line in notes]
        self.step(ROWS_KEPT, without_repeats(gone), notes)
        # What a downgrade left lies in the way of the next upgrade: that is said already.
        if is_clean and self.upgrade(AGAIN):
            self.step(SAME, readable(differences(upgraded, self.look()[0])))
        return True

    def look(self) -> tuple[list[str], Contents]:
        """The schema and what the tables hold."""
        return committed(
            self.url,
            lambda connection: (
                schema_of(connection, version_table=self.version_table),
                contents_of(connection, version_table=self.version_table),
            ),
        )

    def step(self, name: str, faults: Sequence[str], notes: Sequence[str] = ()) -> bool:
        """Write down *name*; it passes without *faults*, or with accepted ones."""
        accepted = bool(faults) and RULES[name] in self.accepted
        said = [*faults, *notes, *([ACCEPTED] if accepted else [])]
        self.steps.append(Step(name, accepted or not faults, "\n".join(said)))
        return self.steps[-1].passed

    def upgrade(self, name: str) -> bool:
        """Whether the upgrade went through."""
        try:
            statements = self.alembic.upgrade(self.url, self.revision)
        except Refused:
            raise
        except (Exception, SystemExit) as error:  # whatever the revision raises
            self.step(name, [reason(error) + place_of(error)])
            return False
        if name == UPGRADE:
            self.statements = tuple(statements)
        return self.step(name, [])

    def compare_models(self) -> None:
        """Ask autogenerate what it would still write."""
        try:
            self.step(MODELS, list(self.alembic.differences(self.url)))
        except Refused:
            raise
        except (Exception, SystemExit) as error:
            self.step(MODELS, [f"the comparison failed: {reason(error)}"])

    def downgrade(self) -> bool:
        """Whether it went through; one that is declared irreversible did not, accepted or not."""
        try:
            self.alembic.downgrade(self.url, self.revision)
        except Refused:
            raise
        except (Exception, SystemExit) as error:
            if is_declared(error):
                said = f"{DECLARED}: {reason(error)}"
                accepted = RULES[DECLARED] in self.accepted
                said = f"{said}\n{ACCEPTED}" if accepted else said
                self.steps.append(Step(DOWNGRADE, accepted, said))
            else:
                self.step(DOWNGRADE, [reason(error) + place_of(error)])
            return False
        return self.step(DOWNGRADE, [])


def is_declared(error: BaseException) -> bool:
    """Whether the revision says itself that there is no way back."""
    return (
        isinstance(error, NotImplementedError | CommandError) or "irreversib" in str(error).lower()
    )


def without_rows(trial: Trial, databases: Databases, before: URL, *, is_head: bool) -> list[Step]:
    """The failed upgrade of *trial*, and whether it runs where there are no rows.

    Where the revision accepts the failure, the rest of the way is tried there.
    """
    failed = trial.steps[-1]
    with databases.clone(before) as url:
        empty = Trial(trial.alembic, url, trial.revision, trial.accepted, trial.version_table)
        works = empty.walk(is_head=is_head) if failed.passed else empty.upgrade(UPGRADE)
    if not works:
        return [Step(failed.name, False, f"{failed.seen}\n{ALWAYS}")]
    said = f"{failed.seen}\n{BY_ROWS}"
    if not failed.passed:
        return [Step(failed.name, False, said)]
    trial.statements = empty.statements
    return [Step(failed.name, True, f"{said}; what follows was tried there"), *empty.steps[1:]]


def with_mend(line: str, mended: str) -> str:
    """*line*, and what to write into the downgrade, where that is known."""
    return f"{line}; add to the downgrade: {mended}" if mended else line


def without_repeats(lines: Sequence[str]) -> list[str]:
    """The first line of each table: what the upgrade took, the downgrade did not bring back."""
    first: dict[str, str] = {}
    for line in lines:
        first.setdefault(line.partition(":")[0], line)
    return list(first.values())


# --- Findings -------------------------------------------------------------------------------------

SEVERITY = {"values-lost": "info", "not-proved": "warning"}
ADVICE = {
    "upgrade-fails": (
        "The revision stops in production as it stopped here, and every deployment with it.",
        "Mend the statement that the message names.",
    ),
    "models-differ": (
        "The head of the migrations is not the schema that the application expects.",
        "Correct this revision, or delete it and generate anew; or correct the models.",
    ),
    "downgrade-fails": (
        "The way back is needed on the night when nobody has time to mend it.",
        "Write the downgrade as the upgrade read backwards, on tables with rows.",
    ),
    "irreversible": (
        "After this revision there is no way back but a backup.",
        "Write the downgrade; or say that it is meant, beside the raise: "
        "# generate-migration: ignore[irreversible] and the reason.",
    ),
    "downgrade-leaves": (
        "What a downgrade leaves or loses lies in the way of the next upgrade, or of the older "
        "application.",
        "Undo in the downgrade all that the upgrade does, last things first.",
    ),
    "rows-lost": (
        "Rows that were there before are gone after it.",
        "Move them, or keep the old table until a later revision; where they are meant to go: "
        "# generate-migration: ignore[rows-lost] and the reason.",
    ),
    "values-lost": (
        "The column comes back empty: a downgrade restores a schema, no values.",
        "Keep the old column until nobody will go back: expand first, contract in a later release.",
    ),
    "upgrade-differs": (
        "The same revision makes different schemas, so that no two databases need be alike.",
        "Let the downgrade undo all of it, and the upgrade not depend on what it finds.",
    ),
    "upgrade-not-repeatable": (
        "What stands before an autocommit block, and each statement in it, is committed. Where a "
        "later one fails, for want of a lock, the next deployment begins at the first line.",
        "Let it run twice: if_not_exists=True, if_exists=True, DROP CONSTRAINT IF EXISTS right "
        "before ADD CONSTRAINT; or give what must be committed first a revision of its own.",
    ),
    "not-proved": (
        "Without rows nothing is proved of the data: a constraint that they break is not seen.",
        "Look at the reason; a trigger, a rule or a CHECK that no plain value passes. Try the "
        "revision on a copy of real rows.",
    ),
}
URLS = {
    "models-differ": f"{ALEMBIC}/autogenerate.html",
    "upgrade-fails": f"{POSTGRES}/sql-altertable.html",
    "downgrade-leaves": f"{ALEMBIC}/tutorial.html#downgrading",
    "upgrade-not-repeatable": AUTOCOMMIT,
}
OF_UPGRADE = frozenset({
    "models-differ",
    "upgrade-differs",
    "upgrade-fails",
    "upgrade-not-repeatable",
})  # fmt: skip


def findings(proof: Proof, path: Path, known: Sequence[Finding] = ()) -> list[Finding]:
    """What *proof* found wrong with the revision at *path*, and what it could not show.

    Their lines are those that failed, else those of ``upgrade`` and ``downgrade``; that of a
    dropped table is the statement's.  Those *known* come first, but for what is said twice.
    """
    gone = [
        line.removesuffix(TABLE_GONE)
        for step in proof.steps
        for line in step.seen.split("\n")
        if step.name == ROWS_KEPT and line.endswith(TABLE_GONE)
    ]
    said_already = {
        (RULES[TABLE_GONE], table_dropped(name).message)
        for each in gone
        for name in (each, each.removeprefix("public."))
    }
    return [
        *(each for each in known if (each.rule, each.message) not in said_already),
        *faults(proof, path),
        *(
            replace(table_dropped(each), path=path, revision=proof.revision, line=line)
            for each in gone
            for line in [line_of_drop(proof, each, path)]
        ),
    ]


def table_dropped(name: str) -> Finding:
    """The finding of a table that is dropped on purpose, as the repair words it."""
    return drops(f"the table {name}", "the table")


def line_of_drop(proof: Proof, table: str, path: Path) -> int | None:
    """The line that drops *table*, else that of ``upgrade``."""
    words = re.compile(rf"\bDROP\s+TABLE\b.*{re.escape(table.rpartition('.')[2])}", re.I | re.S)
    lines = [each.line for each in proof.statements if words.search(each.sql)]
    return next((line for line in lines if line is not None), beginnings(path).get("upgrade"))


def faults(proof: Proof, path: Path) -> list[Finding]:
    """What turned a step red, and what could not be tried."""
    said = [
        *((rule_of(step), step.seen) for step in proof.steps if not step.passed),
        *((RULES[LOST], lines) for step in proof.steps if (lines := lost_values(step))),
        *((RULES[UNFILLED], f"{each.table} has no row: {each.reason}") for each in proof.unfilled),
    ]
    places = beginnings(path)
    return [
        Finding(
            rule,
            SEVERITY.get(rule, "error"),
            shown(seen),
            ADVICE[rule][0],
            upgrade_fails(seen) if rule == RULES[UPGRADE] else ADVICE[rule][1],
            path=path,
            line=line_said(seen, path) or places.get(function_of(rule)),
            revision=proof.revision,
            url=URLS.get(rule, ""),
        )
        for rule, seen in said
    ]


def function_of(rule: str) -> str:
    """The function of the revision that *rule* is about."""
    return "upgrade" if rule in OF_UPGRADE else "downgrade"


def line_said(seen: str, path: Path) -> int | None:
    """The line of the file at *path* that the first line of *seen* names as its place."""
    place = re.search(rf"{re.escape(path.name)}:(\d+)\)", seen.split("\n", maxsplit=1)[0])
    return int(place[1]) if place else None


def rule_of(step: Step) -> str:
    """The rule that *step* breaks."""
    declared = step.name == DOWNGRADE and step.seen.startswith(DECLARED)
    return RULES[DECLARED if declared else step.name]


def lost_values(step: Step) -> str:
    """The lines of *step* that speak of values that did not come back."""
    lines = step.seen.split("\n") if step.name == ROWS_KEPT else []
    return "\n".join(line for line in lines if line.endswith(LOST))


def shown(seen: str) -> str:
    """*seen* on one line, and no more of it than one reads."""
    lines = seen.split("\n")
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "; ".join(one_line(line) for line in [*lines[:SHOWN], *more])


def beginnings(path: Path) -> dict[str, int]:
    """The lines on which the functions of the file at *path* begin."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    return {item.name: item.lineno for item in tree.body if isinstance(item, ast.FunctionDef)}
