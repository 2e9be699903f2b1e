"""The Alembic project: where it is, its revisions, and whether it may get a new one."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import sys
import tomllib
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from alembic.config import CommandLine, Config
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError, coerce_resource_to_filename

from .core import NOT_READY, Refused
from .places import place_of
from .redirect import Unasked
from .refusal import reason

INI, TOML = "alembic.ini", "pyproject.toml"


class OwnConfig(Config):
    """Alembic's, with one folder of revisions more: that of a revision nobody wants to keep."""

    extra: Path | None = None

    def get_version_locations_list(self) -> list[str] | None:
        """The folders, or None for the usual one."""
        found = super().get_version_locations_list()
        if self.extra is None:
            return found
        folder = coerce_resource_to_filename(str(self.get_alembic_option("script_location")))
        return [*(found or [str(Path(folder) / "versions")]), str(self.extra)]


@dataclass(frozen=True)
class Project:
    """Where the project's settings are, and how it is called."""

    file: Path  # that the user names, or that was found
    folder: Path  # in which Alembic runs
    section: str = "alembic"
    x: tuple[str, ...] = ()
    extra: Path | None = None

    @property
    def command(self) -> str:
        """What to type for ``alembic`` in this project."""
        try:
            shown = os.path.relpath(self.file)
        except ValueError:
            shown = str(self.file)
        usual = shown in {INI, TOML}
        section = "" if self.section == "alembic" else f" -n {self.section}"
        return f"alembic{'' if usual else f' -c {shlex.quote(shown)}'}{section}"

    def config(self, *words: str) -> Config:
        """Alembic's settings, with the options that ``alembic WORDS`` would have."""
        is_toml = self.file.suffix == ".toml"
        toml = self.file if is_toml else self.file.with_name(TOML)
        made = OwnConfig(
            None if is_toml else self.file,
            toml_file=toml if toml.is_file() else None,
            ini_section=self.section,
            stdout=sys.stderr,
            cmd_opts=self._options(words),
        )
        made.extra = self.extra
        return made

    def _options(self, words: Sequence[str]) -> Namespace:
        """What an ``env.py`` finds in ``config.cmd_opts``."""
        named = [word for value in self.x for word in ("-x", value)]
        parser = CommandLine(prog="alembic").parser
        options = ["-c", str(self.file), "-n", self.section, *named]
        return parser.parse_args([*options, *(words or ("heads",))])

    def scripts(self) -> ScriptDirectory:
        """The revisions, read anew.  Raises ``Refused`` where one cannot be read."""
        self._require_folder()
        try:
            found = ScriptDirectory.from_config(self.config())
            found.get_heads()
        except Unasked as error:
            raise Refused(
                f"received {self.file}, whose revisions import what connects to a database"
                f"{place_of(error)}\n"
                "expected: revisions that Alembic can list without one\n"
                "try: connect in a function, not while the module is imported; or copy into the "
                "revision what it imports",
                NOT_READY,
            ) from None
        except Exception as error:  # the files are imported: whatever they raise
            raise Refused(
                f"received {self.file}, whose revisions cannot be read: {reason(error)}"
                f"{place_of(error)}\n"
                "expected: revisions that Alembic can list\n"
                f"try: {self.command} history",
                NOT_READY,
            ) from None
        return found

    def _require_folder(self) -> None:
        """Raises ``Refused`` where ``script_location`` names no folder."""
        try:
            config = self.config()
            location = config.get_alembic_option("script_location")
            folder = Path(coerce_resource_to_filename(str(location)))
        except Exception:  # whatever reading it raises is told when it is read as Alembic does
            return
        if location is not None and not folder.is_dir():
            number = line_of(self.file, "script_location")
            raise Refused(
                f"received {self.file}{f':{number}' if number else ''}, whose script_location is "
                f"{folder}, and there is no such folder\n"
                "expected: the folder that holds env.py\n"
                "try: script_location = %(here)s/…, which is the folder of this file",
                NOT_READY,
            )

    def with_folder(self, extra: Path) -> Project:
        """The same with one folder of revisions more."""
        return replace(self, extra=extra)


def line_of(path: Path, option: str) -> int | None:
    """The line of the settings file at *path* that sets *option*."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = (n for n, line in enumerate(lines, 1) if re.match(rf"\s*{option}\s*[=:]", line))
    return next(found, None)


def find(given: Path | None, start: Path, section: str, x: Sequence[str]) -> Project:
    """The project that *given* names, or the nearest from *start* upward.

    Raises ``Refused``.
    """
    named = given or (Path(value) if (value := os.environ.get("ALEMBIC_CONFIG")) else None)
    if named is not None:
        path = named.resolve()
        if not path.is_file():
            raise Refused(
                f"received --config {named}, and there is no such file\n"
                f"expected: {INI}, or a {TOML} with [tool.alembic]\n"
                "try: without --config, from the project's folder"
            )
        if path.suffix == ".toml" and not has_alembic(path):
            raise Refused(
                f"received --config {named}, which has no [tool.alembic]\n"
                f"expected: {INI}, or a {TOML} with [tool.alembic]\ntry: another file"
            )
        project = Project(path, start, section, tuple(x))
        return replace(project, folder=folder_of(project, start))
    for folder in (start, *start.parents):
        for name in (INI, TOML):
            path = folder / name
            if path.is_file() and (name == INI or has_alembic(path)):
                return Project(path, folder, section, tuple(x))
    raise Refused(
        f"received the folder {start}, and neither it nor one above it is an Alembic project\n"
        f"expected: {INI}, or {TOML} with [tool.alembic]\n"
        "try: --config FILE; or alembic init migrations, for a new one",
        NOT_READY,
    )


def has_alembic(path: Path) -> bool:
    """Whether *path* has a section for Alembic."""
    try:
        return "alembic" in tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False


def lines_of(error: Exception, project: Project) -> str:
    """Where in the settings of *project* it is that *error* speaks of."""
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"{project.file}:{error.lineno}: [alembic] stands above the settings"
    if isinstance(error, configparser.ParsingError) and error.errors:
        return f"{project.file}:{error.errors[0][0]}"
    if isinstance(error, configparser.InterpolationError):
        number = line_of(project.file, re.escape(error.option))
        return f"{project.file}{f':{number}' if number else ''}"
    return str(project.file)


def folder_of(project: Project, start: Path) -> Path:
    """Where to run Alembic: *start*, unless its relative paths mean the file's own folder.

    Raises ``Refused`` for settings that cannot be read.
    """
    try:
        config = project.config()
        location = config.get_alembic_option("script_location")
        several = config.get_main_option("databases") if config.config_file_name else None
    except (CommandError, configparser.Error, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(
            f"received {project.file}, and it cannot be read: {reason(error)}\n"
            f"expected: Alembic's settings in [{project.section}]\n"
            f"try: mend {lines_of(error, project)}; --name SECTION where the section has another "
            "name",
            NOT_READY,
        ) from None
    if several:
        raise Refused(
            f"received {project.file}, whose environment has several databases: {several}\n"
            "expected: one database an environment\n"
            "try: a section for each, and --name SECTION",
            NOT_READY,
        )
    if not location or Path(location).is_absolute() or ":" in location:
        return start
    beside = project.file.parent
    is_beside = (beside / location).is_dir() and not (start / location).is_dir()
    return beside if is_beside else start


@contextmanager
def inside(project: Project) -> Iterator[None]:
    """Within: the working folder and the import path are those that Alembic has there."""
    before, path = Path.cwd(), list(sys.path)
    os.chdir(project.folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path


# --- Revisions ------------------------------------------------------------------------------------


def require_one_head(project: Project, scripts: ScriptDirectory, head: str | None) -> None:
    """Refuse several heads, unless the user names the *head* that is meant."""
    heads = scripts.get_heads()
    if len(heads) > 1 and head is None:
        raise Refused(
            f"received {len(heads)} heads: {', '.join(told(scripts, heads))}\n"
            "expected: one; two branches were merged in git, and their revisions were not\n"
            f'try: {project.command} merge heads -m "merge"; or --head REVISION, to go on from one',
            NOT_READY,
        )


def told(scripts: ScriptDirectory, revisions: Sequence[str]) -> list[str]:
    """Each revision with what it is about."""
    found = [scripts.get_revision(revision) for revision in revisions]
    return [f"{each.revision} ({each.doc})" if each.doc else each.revision for each in found]


def after(scripts: ScriptDirectory, since: str) -> list[Script]:
    """The revisions after *since*, oldest first.  Raises ``Refused`` where it is none."""
    try:
        lower = None if since == "base" else scripts.get_revision(since).revision
        newer = list(scripts.iterate_revisions("heads", lower or "base"))
    except (CommandError, AttributeError, AssertionError) as error:  # Alembic's, for ""
        raise Refused(
            f"received --since {since}: {reason(error)}\n"
            "expected: a revision of this project, or base\ntry: alembic history"
        ) from None
    return [each for each in reversed(newer) if each.revision != lower]


def all_of(scripts: ScriptDirectory) -> list[Script]:
    """Every revision, oldest first."""
    return list(scripts.walk_revisions())[::-1]


def names_in(scripts: ScriptDirectory) -> dict[str, str]:
    """The revision of each file, as the code of the file names it."""
    return {
        name: each.revision
        for each in scripts.walk_revisions()
        for name in {str(each.module.__file__), each.path}
    }


def before(script: Script) -> list[str]:
    """What the database is to be at right before *script*; none for an empty one."""
    down = script.down_revision
    parents = [down] if isinstance(down, str) else list(down or ())
    needed = script.dependencies
    return parents + ([needed] if isinstance(needed, str) else list(needed or ()))
