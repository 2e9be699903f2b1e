"""Build the installable skill: what an agent needs, without the marks of the generator.

``python tools/build_skill.py build/sqlalchemy-orm-expert`` makes the folder, and beside it the zip
that some agents take, with the folder at its top.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (1980, 1, 1, 0, 0, 0)  # that a zip can say
PARTS = ("SKILL.md", "AGENTS.md", "EXAMPLES.md", "LICENSE", "references", "examples", "scripts")
MARKS = re.compile(r"^<!-- \[\[\[.*?\]\]\] -->\n?", re.MULTILINE | re.DOTALL)


def without_marks(text: str) -> str:
    """The page as a reader wants it: the generated parts stay, the generator's comments go."""
    return MARKS.sub("", text)


def build(target: Path) -> Path:
    """Make *target* afresh.  Raises ``ValueError`` for a folder that this did not make."""
    if target.exists():
        if not (target / "SKILL.md").is_file():
            raise ValueError(f"{target} exists and is no skill folder: name another one")
        shutil.rmtree(target)
    target.mkdir(parents=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=ignore)
        else:
            shutil.copy2(source, target / part)
    for page in target.rglob("*.md"):
        page.write_text(without_marks(page.read_text()))
    return target


def pack(folder: Path) -> Path:
    """The zip beside *folder*: its top is a folder of that name; equal folders make equal files."""
    target = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = (Path(folder.name) / path.relative_to(folder)).as_posix()
                item = zipfile.ZipInfo(name, date_time=OLDEST)
                # Who unpacks it must still be able to run the scripts.
                item.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
                archive.writestr(item, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return target


def main(arguments: list[str]) -> int:
    """Exit 0 with the folder and the zip made, 2 on a wrong call."""
    if len(arguments) != 1:
        print("usage: build_skill.py FOLDER", file=sys.stderr)
        return 2
    try:
        folder = build(Path(arguments[0]))
        print(folder)
        print(pack(folder))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
