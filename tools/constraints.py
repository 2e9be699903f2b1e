"""Renew the pins in ``constraints/``: names and versions only, for every supported Python."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINES = {
    "2.1": "sqlalchemy>=2.1,<2.2",
    "2.0": "sqlalchemy>=2.0,<2.1",
    # The lowest that pyproject.toml allows.
    "2.0-lowest": "sqlalchemy==2.0.36",
}


def main() -> int:
    """Write one file a line.  Raises ``CalledProcessError`` where uv finds no solution."""
    for line, pin in LINES.items():
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as override:
            override.write(f"{pin}\nuv\n")
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
