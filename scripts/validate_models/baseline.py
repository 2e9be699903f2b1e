"""A baseline: the findings that a project lives with for now, in a file that only shrinks."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .targets import TargetError, existing

if TYPE_CHECKING:
    from .api import Outcome
    from .core import Finding

VERSION = 1
MARKS = ("rule", "table", "attribute", "fingerprint")
SHOWN = 10
Entry = dict[str, str]


@dataclass(frozen=True)
class Baseline:
    """The entries by fingerprint, and the targets that they were found in."""

    entries: dict[str, Entry]
    targets: tuple[str, ...]

    def hides(self, item: Finding) -> bool:
        """Whether *item* is known."""
        return item.fingerprint in self.entries

    def gone(self, outcome: Outcome, targets: Iterable[str]) -> list[Entry]:
        """The entries that no longer occur in *targets*; none that this run may have missed.

        A rule that was not asked, and under other targets a table that was not seen, are not
        judged; after a failed import or a broken rule nothing is.
        """
        if outcome.problems:
            return []
        found = {item.fingerprint for item in outcome.findings}
        same = tuple(targets) == self.targets
        return [
            entry
            for mark, entry in self.entries.items()
            if mark not in found
            and entry["rule"] in outcome.asked
            and (same or entry["table"] in outcome.table_keys)
        ]


def named(targets: Iterable[str], path: Path) -> tuple[str, ...]:
    """*targets* as the file at *path* has them: sorted, with slashes, seen from its folder."""
    return tuple(sorted({one_target(target, path.resolve().parent) for target in targets}))


def one_target(target: str, folder: Path) -> str:
    """*target* seen from *folder* where it is a path; a dotted name is the same anywhere."""
    name, colon, attribute = target.partition(":")
    found = existing(name)
    if found is None:
        return target
    with contextlib.suppress(ValueError):  # another drive
        found = Path(os.path.relpath(found, folder))
    return f"{found.as_posix()}{colon}{attribute}"


def read(path: Path) -> Baseline:
    """The baseline at *path*.  Raises ``TargetError``."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TargetError(
            f"received the baseline {path}, and there is no such file.\n"
            f"expected: what --write-baseline wrote\ntry: --write-baseline {path}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise refused(path, f"which cannot be read: {error}") from None
    if any(line.startswith(("<<<<<<<", ">>>>>>>")) for line in text.splitlines()):
        raise refused(path, "in which a merge left its conflicts", "keep the lines of both sides")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refused(path, f"which is no JSON: {error}") from None
    entries = document.get("findings") if isinstance(document, dict) else None
    targets = document.get("targets") if isinstance(document, dict) else None
    if not is_baseline(entries, targets) or entries is None or targets is None:
        raise refused(path, "which is no baseline")
    if document.get("version") != VERSION:
        raise refused(
            path,
            f"of version {document.get('version')}",
            f"the validate-models that wrote it; this one knows version {VERSION}",
        )
    return Baseline({entry["fingerprint"]: entry for entry in entries}, tuple(targets))


def is_baseline(entries: Any, targets: Any) -> bool:
    """Whether both have the shape of what is written here."""
    return (
        isinstance(targets, list)
        and all(isinstance(target, str) for target in targets)
        and isinstance(entries, list)
        and all(
            isinstance(entry, dict) and all(isinstance(entry.get(mark), str) for mark in MARKS)
            for entry in entries
        )
    )


def refused(path: Path, fault: str, advice: str = "") -> TargetError:
    """What is wrong with the file."""
    return TargetError(
        f"received the baseline {path}, {fault}\nexpected: what --write-baseline wrote\n"
        f"try: {advice or f'restore it, for example git checkout -- {path}; or another name'}"
    )


def entry_of(item: Finding) -> Entry:
    """What the file keeps of a finding: no line, no path."""
    values = (item.rule, item.table or "", item.attribute or item.model or "", item.fingerprint)
    return dict(zip(MARKS, values, strict=True))


def rendered(entries: Iterable[Entry], targets: Iterable[str]) -> str:
    """The text of the file: an entry a line, in an order that is always the same."""
    lines = sorted(
        {json.dumps({mark: entry[mark] for mark in MARKS}) for entry in entries},
        key=lambda line: [json.loads(line)[mark] for mark in ("table", "attribute", *MARKS)],
    )
    head = f'{{\n  "version": {VERSION},\n  "targets": {json.dumps(list(targets))},\n'
    found = ",\n".join(f"    {line}" for line in lines)
    return f'{head}  "findings": [\n{found}\n  ]\n}}\n'


def write(
    path: Path, shown: list[Finding], outcome: Outcome, targets: Iterable[str], grow: bool
) -> str:
    """Write *shown* to *path*, or shrink what is there: what was done.

    An entry is added to an existing file only with *grow*.  Raises ``TargetError``.
    """
    if outcome.problems:
        return f"{path} is not written, since not everything could be looked at"
    targets = named(targets, path)
    new = {item.fingerprint: entry_of(item) for item in shown}
    known = read(path) if path.exists() else None
    if known is None:
        put(path, rendered(new.values(), targets))
        return f"{len(new)} findings written to {path}"
    gone = {entry["fingerprint"] for entry in known.gone(outcome, targets)}
    # What still occurs is written as it is called now; what was not looked at stays as it is.
    current = {item.fingerprint: entry_of(item) for item in outcome.findings}
    kept = {mark: current.get(mark, entry) for mark, entry in known.entries.items()}
    kept = {mark: entry for mark, entry in kept.items() if mark not in gone}
    added = {mark: entry for mark, entry in new.items() if mark not in kept} if grow else {}
    # Of two sets of targets, neither run may call the other's entries gone.
    under = sorted({*known.targets, *targets}) if added else known.targets
    put(path, rendered((kept | added).values(), under))
    refusal = len(new.keys() - kept.keys()) - len(added)
    said = f"{len(gone)} entries removed from {path}, {len(added)} added, {len(kept)} kept"
    return said + (
        f"; {refusal} findings are new and not added: mend them, or --allow-growth"
        if refusal
        else ""
    )


def put(path: Path, text: str) -> None:
    """Write the file whole or not at all, with the line ends of every system alike."""
    made: Path | None = None
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~umask()
        descriptor, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=".baseline-")
        made = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        made.chmod(mode)
        made.replace(path.resolve())
    except OSError as error:
        if made is not None:
            made.unlink(missing_ok=True)
        raise TargetError(
            f"received --write-baseline {path}, which cannot be written: {error.strerror}\n"
            "expected: a file in a folder that is there\ntry: validate-models-baseline.json"
        ) from None


def umask() -> int:
    """The rights that new files do not get."""
    kept = os.umask(0o077)
    os.umask(kept)
    return kept


def told_gone(path: Path, gone: list[Entry]) -> str:
    """Which entries no longer occur, the first of them by name."""
    lines = sorted(
        f"  {entry['rule']}: {'.'.join(filter(None, (entry['table'], entry['attribute'])))}"
        for entry in gone
    )
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join(
        [
            f"{len(gone)} entries of {path} no longer occur:",
            *lines[:SHOWN],
            *more,
            f"try: --write-baseline {path}, which removes them",
        ]
    )
