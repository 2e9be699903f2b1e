"""Branches and merges: two heads become one line again.

Problem: two people add a revision to the same head; git merges both without a word, and the next
deployment stops at ``Multiple head revisions are present``.  Pattern: re-base what no database has
run yet, merge what one has; CI asks for one head, and a file that names it makes git conflict.  Not
for branches that are meant: parts that ship apart have labels, and ``upgrade heads``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

DOWN = re.compile(r"^(down_revision\b[^=\n]*=)[^\n]*$", re.MULTILINE)
REVISES = re.compile(r"^(Revises: ).*$", re.MULTILINE)


def only_head(config: Config) -> str:
    """The one head.  Raises ``CommandError`` that names all of them, and what to do."""
    script = ScriptDirectory.from_config(config)
    heads = sorted(script.get_heads())
    if len(heads) == 1:
        return heads[0]
    named = "; ".join(f"{head} ({script.get_revision(head).doc})" for head in heads)
    raise CommandError(
        f"received {len(heads)} heads: {named or 'no revision'}; expected one; try: re-base the "
        "one that no database has run, or: alembic merge heads -m 'merge'"
    )


def rebase(config: Config, revision: str, onto: str) -> Path:
    """Let *revision*, and with it what follows it, come after *onto*; its file is changed.

    Only for a revision that no database has run.  One that has it believes afterwards that it ran
    *onto* too, and skips it: downgrade it first.  Raises ``CommandError`` for a revision that is
    unknown, merges others, or comes before *onto* already.
    """
    script = ScriptDirectory.from_config(config)
    moved, target = script.get_revision(revision), script.get_revision(onto)
    before = {step.revision for step in script.iterate_revisions(target.revision, "base")}
    if moved.is_merge_point or moved.revision in before:
        raise CommandError(
            f"received {moved.revision} to come after {target.revision}; expected a revision "
            "that merges no others and does not come before it; try: alembic history"
        )
    path = Path(moved.path)
    source, found = DOWN.subn(rf'\1 "{target.revision}"', path.read_text(encoding="utf-8"))
    if found != 1:
        raise CommandError(f"received {path}; expected one line: down_revision = …")
    path.write_text(REVISES.sub(rf"\g<1>{target.revision}", source), encoding="utf-8")
    return path


def pending(config: Config, current: Collection[str]) -> list[str]:
    """What ``alembic upgrade heads`` would run where the database is at *current*, in order."""
    script = ScriptDirectory.from_config(config)
    steps = script.iterate_revisions("heads", tuple(current) or "base", implicit_base=True)
    return [step.revision for step in steps][::-1]


def head_file(config: Config) -> Path:
    """The file that names the head: two branches that add a revision both change its one line."""
    return Path(ScriptDirectory.from_config(config).dir) / "HEAD"


def note_head(config: Config) -> Path:
    """Write it; run this with each new revision.  Raises ``CommandError`` if heads are several."""
    path = head_file(config)
    path.write_text(f"{only_head(config)}\n", encoding="utf-8")
    return path


def check_head(config: Config) -> None:
    """For CI.  Raises ``CommandError`` unless there is one head, and the file names it."""
    head, path = only_head(config), head_file(config)
    noted = path.read_text(encoding="utf-8").strip() if path.is_file() else "nothing"
    if noted != head:
        raise CommandError(
            f"received {noted!r} in {path.name}; expected {head!r}, the head; try: note_head()"
        )
