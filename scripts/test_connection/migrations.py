"""The heads of an Alembic project, without running its ``env.py``."""

from __future__ import annotations

from pathlib import Path

from .core import USAGE, failed


def revisions_of(config: str) -> tuple[frozenset[str], frozenset[str]]:
    """The revisions that no other follows, and all there are.  Raises ``Failed``."""
    try:
        from alembic.config import Config
        from alembic.script import ScriptDirectory
    except ImportError:
        raise failed(
            "URL",
            USAGE,
            "--alembic was given, and Alembic is not installed here",
            commands=("pip install alembic",),
        ) from None
    path = Path(config)
    if not path.is_file():
        raise failed("URL", USAGE, f"--alembic {config}: there is no such file")
    try:
        scripts = ScriptDirectory.from_config(Config(str(path)))
        known = frozenset(script.revision for script in scripts.walk_revisions())
        return frozenset(scripts.get_heads()), known
    except Exception as error:  # the versions are imported: whatever they raise
        raise failed(
            "URL",
            USAGE,
            f"--alembic {config}: {type(error).__name__}: {error}",
            "script_location is relative to another folder than this one",
        ) from None
