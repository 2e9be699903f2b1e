"""The console commands of the wheel, where this file and what it runs lie in one package."""

from __future__ import annotations

import runpy
import sys
from importlib import import_module
from pathlib import Path


def command(package: str) -> int:
    """Run a script's package with the command line.  Exit codes are the script's."""
    # By name: in the repository the packages stand in scripts/, not beside this file.
    code: int = import_module(f"{__package__}.{package}.__main__").main(sys.argv[1:])
    return code


def validate_models() -> int:
    """``validate-models``."""
    return command("validate_models")


def test_connection() -> int:
    """``test-connection``."""
    return command("test_connection")


def generate_migration() -> int:
    """``generate-migration``."""
    return command("generate_migration")


def start_postgres() -> None:
    """``start-postgres``: one file, which ends the process itself."""
    runpy.run_path(str(Path(__file__).with_name("start-postgres.py")), run_name="__main__")
