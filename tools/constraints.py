"""Renew the pins in ``constraints/``: names and versions only, for every supported Python.

``python tools/constraints.py [LINE …]`` renews all, or those that are named.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINES = ("2.1", "2.0", "2.0-lowest")


def pins(line: str) -> list[str]:
    """What is pinned on top of ``pyproject.toml``.

    ``2.0-lowest`` has the lowest SQLAlchemy and the lowest of the extra ``web`` that are allowed:
    the service leans on what FastAPI 0.121 was the first to have.
    """
    if line != "2.0-lowest":
        return [f"sqlalchemy=={line}.*"]
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    allowed = [*project["dependencies"], *project["optional-dependencies"]["web"]]
    web = [item.partition(">=")[0] for item in project["optional-dependencies"]["web"]]
    lowest = (item.replace(">=", "==") for item in allowed)
    return [item for item in lowest if item.partition("==")[0] in {"sqlalchemy[asyncio]", *web}]


def main() -> int:
    """Write one file a line.  Raises ``CalledProcessError`` where uv finds no solution."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lines", nargs="*", metavar="LINE", help=f"of {', '.join(LINES)}")
    lines: list[str] = parser.parse_args().lines or list(LINES)
    for line in lines:
        if line not in LINES:
            parser.error(f"received {line!r}; expected one of {', '.join(LINES)}")
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as override:
            override.write("\n".join([*pins(line), "uv", ""]))
            override.flush()
            result = subprocess.run(
                [
                    *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"),
                    *("--python-version", "3.11", "--all-extras", "--no-annotate", "--no-header"),
                    *("--no-emit-index-url", "--no-emit-find-links", "--upgrade"),
                    *("pyproject.toml", override.name),
                ],
                cwd=ROOT,
                check=True,
                capture_output=True,
                text=True,
            )
        (ROOT / "constraints" / f"{line}.txt").write_text(result.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
