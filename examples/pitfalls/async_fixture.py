"""Mark async fixtures with `@pytest_asyncio.fixture`

In pytest-asyncio's strict mode, the default, nobody runs an async `@pytest.fixture`. pytest 9 makes
an error of it.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from ._symptom import Returns

FAMILY = "testing"
SYMPTOM = Returns(wrong="1 error", right="1 passed", meaning="what pytest reports")
SOURCE = (
    "Discovery modes",
    "https://pytest-asyncio.readthedocs.io/en/stable/concepts.html#test-discovery-modes",
)


def broken(url: str) -> object:
    return outcome("""
import pytest
@pytest.fixture
async def answer():
    return 42
@pytest.mark.asyncio
async def test_answer(answer):
    assert answer == 42
""")


def fixed(url: str) -> object:
    return outcome("""
import pytest, pytest_asyncio
@pytest_asyncio.fixture
async def answer():
    return 42
@pytest.mark.asyncio
async def test_answer(answer):
    assert answer == 42
""")


def outcome(source: str) -> str:
    """The count in pytest's last line."""
    return run_pytest(source).strip().splitlines()[-1].partition(" in ")[0]


def run_pytest(source: str, *options: str) -> str:
    """What pytest prints of *source*, with pytest-asyncio alone."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "test_it.py"
        file.write_text(source)
        # No settings and no plugins but these.
        command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", folder]
        command += options
        ran = subprocess.run(
            [*command, "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider", "--color=no", file],
            env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
            capture_output=True,
            text=True,
            check=False,
        )
    return ran.stdout
