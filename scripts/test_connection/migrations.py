"""The heads of an Alembic project, without running its ``env.py``."""

from __future__ import annotations

from pathlib import Path

from .core import USAGE, failed


def revisions_of(config: str) -> tuple[frozenset[str], frozenset[str], str]:
    """What a database at the heads has, all revisions, and what to upgrade it to.

    Of a head that another revision depends on Alembic keeps no row.  Raises ``Failed``.
    """
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
        known, needed = set[str](), set[str]()
        for script in scripts.walk_revisions():
            known.add(script.revision)
            others = scripts.get_revisions(script.dependencies or ())
            needed |= {other.revision for other in others if other is not None}
        heads = scripts.get_heads()
        target = "heads" if len(heads) > 1 else "head"
        return frozenset(heads) - needed, frozenset(known), target
    except Exception as error:  # the versions are imported: whatever they raise
        raise failed(
            "URL",
            USAGE,
            f"--alembic {config}: {type(error).__name__}: {error}",
            "script_location is relative to another folder than this one",
        ) from None
