"""``[tool.validate-models]`` of a ``pyproject.toml``: what a run does without being told."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .api import expand
from .core import SEVERITIES, all_rules
from .excuses import Entry
from .targets import TargetError

NAME = "pyproject.toml"
TABLE = "validate-models"
FORMATS = ("full", "concise", "json", "sarif", "github")
WORDS = {"severity": SEVERITIES, "fail-on": SEVERITIES, "output-format": FORMATS}
LISTS = ("targets", "select", "ignore")
FILES = ("baseline", "env-file", "root")  # seen from the file's folder
GLOBS = ("per-table-ignores", "per-attribute-ignores")
# What one run decides: a file that everybody shares must not.
COMMAND_ALONE = (
    *("exit-zero", "database-url", "write-baseline", "allow-growth", "statistics", "set"),
    *("config", "isolated", "list-rules", "explain"),
)
KEYS = (*LISTS, *WORDS, "asyncio", "max-findings", *FILES, *GLOBS)
DEFAULTS = {"output_format": "full", "severity": "info", "fail_on": "warning"}


@dataclass(frozen=True)
class Config:
    """What the file says: options as the command line names them, and whom it excuses."""

    path: Path
    options: dict[str, Any]
    entries: tuple[Entry, ...]


def settle(options: argparse.Namespace) -> Config | None:
    """Fill in what the command line leaves open: from the file, then from the defaults.

    Raises ``TargetError`` for a file that cannot be right.
    """
    config = None
    if options.config is not None:
        config = read(options.config)
    elif not options.isolated:
        path = found_for(options)
        config = read(path) if path else None
    if config is not None:
        if not options.targets and options.root is None and "targets" in config.options:
            options.root = config.options.get("root", config.path.parent)
        for name, value in config.options.items():
            written = name == "baseline" and options.write_baseline is not None
            if getattr(options, name) in (None, []) and not written:
                setattr(options, name, value)
    fill_defaults(options)
    return config


def fill_defaults(options: argparse.Namespace) -> None:
    """What neither the command line nor a file says."""
    for name, value in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, value)


def found_for(options: argparse.Namespace) -> Path | None:
    """The nearest file with our table, above the root, the first target or the working folder."""
    start: Path = options.root or Path.cwd()
    for target in options.targets[:1] if options.root is None else ():
        path = Path(target.partition(":")[0])
        try:
            start = path if path.exists() else start
        except (OSError, ValueError):  # too long, a NUL: told when it is loaded
            continue
    start = start.resolve()
    for folder in (start, *start.parents):
        path = folder / NAME
        if path.is_file() and TABLE in text_of(path) and raw_table(path) is not None:
            return path
        if (folder / ".git").exists():
            break
    return None


def text_of(path: Path) -> str:
    """The text of the file.  Raises ``TargetError``."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(
            f"received the configuration {path}, which cannot be read: {error}\n"
            "expected: a TOML file\ntry: --isolated, to do without"
        ) from None


def raw_table(path: Path) -> Any:
    """Our table; None where there is none.  Raises ``TargetError`` for what is no TOML."""
    import tomllib

    try:
        tool = tomllib.loads(text_of(path)).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise TargetError(
            f"received the configuration {path}, which is no TOML: {error}\n"
            f"expected: [tool.{TABLE}] in a TOML file\ntry: --isolated, to do without"
        ) from None
    return tool.get(TABLE) if isinstance(tool, dict) else None


def read(path: Path) -> Config:
    """The configuration at *path*.  Raises ``TargetError`` for what is no setting of ours."""
    raw = raw_table(path)
    if not isinstance(raw, dict):
        raise TargetError(
            f"received the configuration {path} without [tool.{TABLE}].\n"
            f"expected: that table\ntry: the project's {NAME}, or --isolated"
        )
    lines = Lines(path)
    options: dict[str, Any] = {}
    entries: list[Entry] = []
    for key, value in raw.items():
        if key.replace("_", "-") in COMMAND_ALONE:
            option = "--" + key.replace("_", "-")
            expected = "that option on the command line alone, where each run decides"
            raise lines.fault(f"the setting {key!r}", expected, [option], key)
        if key not in KEYS:
            near = close_to(key, KEYS)
            raise lines.fault(f"the setting {key!r}", "one of " + ", ".join(KEYS), near, key)
        if key in GLOBS:
            entries += entries_of(key, value, lines)
        else:
            options[key.replace("-", "_")] = option_of(key, value, lines)
    return Config(path, options, tuple(entries))


def close_to(word: str, known: Iterable[str]) -> list[str]:
    """What was perhaps meant."""
    import difflib

    return difflib.get_close_matches(word, list(known), 3, 0.5)


def option_of(key: str, value: Any, lines: Lines) -> Any:
    """The value of one setting, as the command line would give it.  Raises ``TargetError``."""
    folder = lines.path.resolve().parent
    if key in LISTS:
        names = strings(key, value, lines)
        if key == "targets":
            return [from_folder(name, folder) for name in names]
        for name in names:
            known_rules(name, lines, key, name)
        return names
    if key in WORDS:
        if value not in WORDS[key]:
            near = close_to(str(value), WORDS[key]) or [WORDS[key][1]]
            raise lines.fault(f"{key} = {value!r}", f"one of {', '.join(WORDS[key])}", near, key)
        return value
    if key == "asyncio":
        if not isinstance(value, bool):
            raise lines.fault(f"{key} = {value!r}", "true or false", ["true"], key)
        return value
    if key == "max-findings":
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise lines.fault(f"{key} = {value!r}", "a number, 0 or more", ["100"], key)
        return value
    if not isinstance(value, str) or not value:
        raise lines.fault(f"{key} = {value!r}", "a path, from this file's folder", [], key)
    return folder / value


def from_folder(target: str, folder: Path) -> str:
    """A file or a folder of *folder* by its whole name; what else it is, as it is."""
    name, colon, attribute = target.partition(":")
    path = folder / name
    return f"{path}{colon}{attribute}" if name and path.exists() else target


def strings(key: str, value: Any, lines: Lines, *words: str) -> list[str]:
    """A list of strings; one string is none, since it would be taken letter by letter."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        near = [f'["{value}"]'] if isinstance(value, str) else []
        raise lines.fault(f"{key} = {value!r}", "a list of strings", near, *words, key)
    return value


def entries_of(key: str, value: Any, lines: Lines) -> list[Entry]:
    """What one of the tables of globs excuses.  Raises ``TargetError``."""
    if not isinstance(value, dict):
        raise lines.fault(f"{key} = {value!r}", "a table: glob = [rules]", [], key)
    found = []
    for glob, rules in value.items():
        if key == "per-attribute-ignores" and "." not in glob:
            near = [f'"{glob}.*"', f'"*.{glob}"']
            raise lines.fault(f"{glob!r} in {key}", "Model.attribute or table.column", near, key)
        for name in strings(glob, rules, lines, key):
            meant = known_rules(name, lines, key, glob, name)
            place = lines.path.resolve(), lines.of(key, glob, name)
            found.append(Entry(key == "per-table-ignores", glob, name, meant, *place))
    return found


def known_rules(name: str, lines: Lines, *words: str) -> frozenset[str]:
    """The rules that *name* means.  Raises ``TargetError``, which says where it stands."""
    try:
        return frozenset(expand(name, all_rules()))
    except TargetError as error:
        received, rest = str(error).split("\n", 1)
        raise TargetError(
            f"{received.rstrip('.')} in {lines.path}, line {lines.of(*words)}.\n{rest}"
        ) from None


class Lines:
    """Where something stands in a TOML file: the parser of the standard library does not tell."""

    def __init__(self, path: Path) -> None:
        """Read the file; its comments are blanked."""
        self.path = path
        self._text = "\n".join(map(without_comment, text_of(path).splitlines()))

    def of(self, *words: str) -> int:
        """The line of the last of *words*, each looked for behind the one before it."""
        position = 0
        for word in (TABLE, *words):
            name = re.escape(word).replace(r"\-", "-")
            found = re.compile(rf"(?<![\w*-]){name}(?![\w*-])").search(self._text, position)
            position = found.start() if found else position
        return self._text.count("\n", 0, position) + 1

    def fault(self, received: str, expected: str, near: Iterable[str], *words: str) -> TargetError:
        """What is wrong, at which line."""
        return TargetError(
            f"received {received} in {self.path}, line {self.of(*words)}.\n"
            f"expected: {expected}\ntry: {', '.join(near) or 'validate-models.py --help'}"
        )


def without_comment(line: str) -> str:
    """*line* up to a ``#`` that stands in no string."""
    quote = ""
    for number, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign == "#":
            return line[:number]
    return line
