"""Build the installable skill folder: what an agent needs, without the marks of the generator.

``python tools/build_skill.py build/sqlalchemy-orm-expert``
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("SKILL.md", "EXAMPLES.md", "LICENSE", "references", "examples", "scripts")
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


def main(arguments: list[str]) -> int:
    """Exit 0 with the folder made, 2 on a wrong call."""
    if len(arguments) != 1:
        print("usage: build_skill.py FOLDER", file=sys.stderr)
        return 2
    try:
        print(build(Path(arguments[0])))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
