"""Make the project's own environment in ``.venv``, once, whoever asks first.

``python3 tools/bootstrap.py [--line LINE] [extra …]`` installs the packages of ``pyproject.toml``
under the pins of ``constraints/LINE.txt``.  uv does it where it is on the PATH; else pip fetches uv
into the environment.  A stamp holds the hash of what was asked, so that a second run needs neither
network nor time; a lock makes two runs at once queue up.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("web", "test", "bench", "docs", "lint")
OLDEST = (3, 11)


def requirements(extras: list[str]) -> list[str]:
    """The requirement strings of the project and of its *extras*."""
    import tomllib  # new in 3.11: an older Python must get as far as main()'s message

    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return wanted


def fingerprint(wanted: list[str], constraints: Path) -> str:
    """What the environment was made from: interpreter, place, packages, pins."""
    parts = [sys.version, str(ROOT), *wanted, constraints.read_text()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def install(directory: Path, wanted: list[str], constraints: Path) -> None:
    """Fill a fresh environment.  Raises ``CalledProcessError`` where a command fails."""
    uv_on_path = shutil.which("uv")
    # Without uv the environment needs pip of its own, to fetch uv with.
    venv.create(directory, with_pip=uv_on_path is None, clear=directory.exists())
    python = directory / "bin" / "python"
    if uv_on_path is None:
        run([str(python), "-m", "pip", "install", "--quiet", "-c", str(constraints), "uv"])
    uv = uv_on_path or str(directory / "bin" / "uv")
    run([uv, "pip", "install", "--quiet", "--python", str(python), "-c", str(constraints), *wanted])


def run(command: list[str]) -> None:
    """Run one command without the caller's idea of which environment is active."""
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    subprocess.run(command, check=True, env=environment)


def main() -> int:
    """Exit 0 with the environment in place, 2 with one clear message otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    lines = sorted(path.stem for path in (ROOT / "constraints").glob("*.txt"))
    parser.add_argument("--line", default="2.1", choices=lines, help="SQLAlchemy line")
    parser.add_argument("extras", nargs="*", default=EXTRAS, help="default: all")
    options = parser.parse_args()
    if tuple(sys.version_info) < OLDEST:
        version = ".".join(map(str, sys.version_info[:3]))
        print(f"error: Python {version} found, 3.11 or newer needed.", file=sys.stderr)
        return 2
    name = ".venv" if options.line == "2.1" else f".venv-{options.line}"
    directory, constraints = ROOT / name, ROOT / "constraints" / f"{options.line}.txt"
    wanted = requirements(list(options.extras))
    stamp, expected = directory / ".stamp", fingerprint(wanted, constraints)
    with (ROOT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == expected:
            return 0
        print(f"Setting up {name} (SQLAlchemy {options.line}) …", file=sys.stderr)
        try:
            install(directory, wanted, constraints)
        except (subprocess.CalledProcessError, OSError) as error:
            print(
                f"error: the environment {name} could not be made: {error}\n"
                "expected: python3 with venv, and a package index that answers.\n"
                "try: apt-get install make git python3-venv, check the network, then the same "
                "command again.",
                file=sys.stderr,
            )
            return 2
        stamp.write_text(expected)
    return 0


if __name__ == "__main__":
    sys.exit(main())
