"""Where the user's own code raised something, and what that was."""

from __future__ import annotations

import configparser
import os
import re
import sys
import traceback
from pathlib import Path

from alembic.util import CommandError
from sqlalchemy.exc import NoSuchModuleError

LIBRARY = (f"{Path(os.__file__).parent}{os.sep}", str(Path(__file__).parent))

MENDS: tuple[tuple[type[BaseException], str], ...] = (
    (CommandError, "what it says; alembic history and alembic heads show the revisions"),
    (SystemExit, "an env.py, or models, that do not end the program when they are imported"),
    # `alembic init` leaves driver://user:pass@localhost/dbname.
    (
        NoSuchModuleError,
        "sqlalchemy.url = postgresql+psycopg://localhost/app, in alembic.ini; no database of "
        "yours is touched",
    ),
)


def place_of(error: BaseException) -> str:
    """`` (models.py:12)``: the innermost line that is the user's; nothing where there is none."""
    if isinstance(error, SyntaxError):
        return f" ({os.path.normpath(error.filename or '')}:{error.lineno})"
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((*LIBRARY, "<"))
        and not re.search(r"[/\\](site|dist)-packages[/\\]", frame.filename)
    ]
    # %(here)s/../src comes as it was written.
    return f" ({os.path.normpath(own[-1].filename)}:{own[-1].lineno})" if own else ""


def advice(error: BaseException) -> str:
    """What most often mends an ``env.py``, or models, that failed by *error*."""
    if isinstance(error, ModuleNotFoundError):
        name = str(error.name or "").partition(".")[0]
        return (
            f"the project's own interpreter (this is {sys.executable}), or prepend_sys_path with "
            f"the folder that holds {name}"
        )
    if isinstance(error, configparser.InterpolationError):
        return f"%% for each % in {error.option}, in alembic.ini"
    for kind, words in MENDS:
        if isinstance(error, kind):
            return words
    if isinstance(error, KeyError) or "ValidationError" in type(error).__name__:
        setting = error.args[0] if isinstance(error, KeyError) and error.args else "NAME"
        return f"--set {setting}=VALUE, or --env-file .env, if that is a setting"
    return "alembic current, which runs env.py too"
