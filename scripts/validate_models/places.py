"""From a class and an attribute to file, line and column, by the syntax tree of the source."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, Table
from sqlalchemy.orm import Mapper

from .core import Hit, Ignore, Place
from .targets import is_library

# What holds statements: of if, for, while, with, try, match.  And what holds none.
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
SIMPLE = (ast.Expr, ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)
IGNORE = re.compile(r"#\s*validate-models:\s*ignore\[([\w\s,-]+)\]\s*(.*)$")


@dataclass(eq=False, repr=False)
class Source:
    """One file: its lines, and its classes by their qualified name."""

    path: Path
    lines: list[str]
    tree: ast.Module
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    excuses: bool = False  # whether any comment may be one

    def __post_init__(self) -> None:
        """Index the classes, those within functions too."""
        self.excuses = any(map(IGNORE.search, self.lines))
        self._index(self.tree, "")

    def _index(self, node: ast.AST, prefix: str) -> None:
        for block in BLOCKS:  # no class stands in an expression
            for child in getattr(node, block, ()):
                if isinstance(child, ast.ClassDef):
                    self.classes[prefix + child.name] = child
                    self._index(child, f"{prefix}{child.name}.")
                elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                    self._index(child, f"{prefix}{child.name}.<locals>.")
                elif not isinstance(child, SIMPLE):
                    self._index(child, prefix)


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a class, those under ``if`` too."""
    for item in body:
        yield item
        if isinstance(item, ast.If):
            yield from statements(item.body)
            yield from statements(item.orelse)


def definitions(node: ast.ClassDef) -> dict[str, tuple[ast.stmt, ast.AST]]:
    """By name: the first statement of the class that defines it, and the node that names it."""
    found: dict[str, tuple[ast.stmt, ast.AST]] = {}
    for item in statements(node.body):
        if isinstance(item, ast.FunctionDef | ast.ClassDef):
            found.setdefault(item.name, (item, item))
            continue
        targets = (
            [item.target]
            if isinstance(item, ast.AnnAssign)
            else item.targets
            if isinstance(item, ast.Assign)
            else []
        )
        for target in targets:
            if isinstance(target, ast.Name):
                found.setdefault(target.id, (item, target))
    return found


class Places:
    """Finds places; reads each file at most once, and only when something is found in it."""

    def __init__(self, made_at: dict[Table, tuple[str, int]] | None = None) -> None:
        """*made_at*: where each table was made, as seen while it was."""
        self.made_at = made_at or {}
        self.used: set[tuple[Path, int, str]] = set()
        self.told: set[tuple[Path, int, str]] = set()  # those without a reason
        self._files: dict[str, Source | None] = {}
        self._definitions: dict[ast.ClassDef, dict[str, tuple[ast.stmt, ast.AST]]] = {}

    def source(self, path: str | None) -> Source | None:
        """The file at *path*, parsed; None where there is no readable Python."""
        if path is None:
            return None
        if path not in self._files:
            try:
                text = Path(path).read_text(encoding="utf-8")
                made = Source(Path(path), text.splitlines(), ast.parse(text))
            except (OSError, SyntaxError, ValueError):
                made = None
            self._files[path] = made
        return self._files[path]

    def class_node(self, cls: type) -> tuple[Source, ast.ClassDef] | None:
        """Where *cls* is written; None for a library's class, which nobody can mend."""
        path = getattr(sys.modules.get(cls.__module__), "__file__", None)
        source = self.source(path) if path and not is_library(path) else None
        node = source.classes.get(cls.__qualname__) if source else None
        return (source, node) if source and node else None

    def attribute_node(self, cls: type, name: str) -> tuple[Source, ast.stmt, ast.AST] | None:
        """The statement that defines *name*, in *cls* or in the base or mixin that has it."""
        for base in cls.__mro__:
            found = self.class_node(base) if base is not object else None
            if found is None:
                continue
            source, node = found
            if node not in self._definitions:
                self._definitions[node] = definitions(node)
            if name in self._definitions[node]:
                return source, *self._definitions[node][name]
        return None

    def text_of(self, mapper: Mapper[Any], name: str) -> str | None:
        """The source of the statement that defines an attribute."""
        found = self.attribute_node(mapper.class_, name)
        if found is None:
            return None
        source, item, _ = found
        return "\n".join(source.lines[item.lineno - 1 : item.end_lineno])

    def locate(self, hit: Hit) -> tuple[Place | None, dict[str, int], dict[str, int]]:
        """The place of *hit*, what comments there ignore, and what they would with a reason."""
        if hit.place is not None:
            return hit.place, {}, {}
        found = self._item(hit) or self._attribute(hit) or self._column(hit) or self._whole(hit)
        if found is None:
            return None, {}, {}
        source, node, first, last = found
        ignored, bare = ignored_rules(source, first, last)
        return place_of(source, node), ignored, bare

    def _item(self, hit: Hit) -> Found | None:
        """An index or a constraint by its name."""
        if hit.item is None:
            return None
        for source, scope in self._scopes(hit):
            for node in ast.walk(scope):
                if isinstance(node, ast.Call) and names_item(node, hit.item):
                    return source, node, node.lineno, node.end_lineno or node.lineno
        return None

    def _attribute(self, hit: Hit) -> Found | None:
        """A mapped attribute; one made by ``backref`` stands where the backref does."""
        if hit.mapper is None or hit.attribute is None:
            return None
        found = self.attribute_node(hit.mapper.class_, hit.attribute)
        if found is None and (prop := mapped_property(hit.mapper, hit.attribute)) is not None:
            for other in getattr(prop, "_reverse_property", ()):
                if getattr(other, "backref", None):
                    found = self.attribute_node(other.parent.class_, other.key)
        if found is None:
            return None
        source, item, target = found
        return source, target, first_line(item), item.end_lineno or item.lineno

    def _column(self, hit: Hit) -> Found | None:
        """A column of a table that no class maps, or whose class does not write it."""
        if hit.column is None:
            return None
        for source, scope in self._scopes(hit):
            for node in ast.walk(scope):
                if isinstance(node, ast.Call) and names_item(node, hit.column):
                    return source, node, node.lineno, node.end_lineno or node.lineno
        return None

    def _whole(self, hit: Hit) -> Found | None:
        """The class, or the table, or what made the metadata."""
        if hit.metadata is not None:
            return self._metadata(hit.metadata)
        for source, scope in self._scopes(hit):
            first = first_line(scope)
            return source, scope, first, getattr(scope, "lineno", first)
        return None

    def _metadata(self, metadata: MetaData) -> Found | None:
        """The declarative base that holds *metadata*, or the first table in it."""
        for table in metadata.tables.values():
            for cls in self._classes.get(table, ()):
                bases = [base for base in cls.__mro__ if getattr(base, "metadata", 0) is metadata]
                found = self.class_node(bases[-1]) if bases else None
                if found:
                    source, node = found
                    return source, node, first_line(node), node.lineno
        for table in metadata.tables.values():
            found_table = self._whole(Hit("", table=table))
            if found_table:
                return found_table
        return None

    _classes: dict[Table, list[type]] = {}  # noqa: RUF012 - replaced by knows()

    def knows(self, mappers: list[Mapper[Any]]) -> None:
        """Remember which class has which table."""
        self._classes = {}
        for mapper in mappers:
            if isinstance(mapper.local_table, Table):
                self._classes.setdefault(mapper.local_table, []).append(mapper.class_)

    def _scopes(self, hit: Hit) -> Iterator[tuple[Source, ast.AST]]:
        """Where to look: the class with its bases, then the call that made the table."""
        cls = hit.mapper.class_ if hit.mapper else None
        classes = (
            [cls] if cls else self._classes.get(hit.table, []) if hit.table is not None else []
        )
        for each in classes:
            for base in each.__mro__:
                found = self.class_node(base) if base is not object else None
                if found:
                    yield found
        if hit.table is not None and hit.table in self.made_at:
            path, line = self.made_at[hit.table]
            source = self.source(path)
            if source:
                calls = (node for node in ast.walk(source.tree) if isinstance(node, ast.Call))
                made = [node for node in calls if node.lineno <= line <= (node.end_lineno or 0)]
                named = [node for node in made if names_item(node, hit.table.name)]
                if named or made:
                    yield source, (named or made)[0]

    def ignores(self, mappers: Iterable[Mapper[Any]], whole: bool) -> Iterator[Ignore]:
        """The ignore comments beside *mappers*; with *whole*, those outside their classes too."""
        classes: dict[Path, list[tuple[ast.ClassDef, Mapper[Any]]]] = {}
        files: dict[str, None] = {}
        for mapper in mappers:
            for base in mapper.class_.__mro__:
                path = getattr(sys.modules.get(base.__module__), "__file__", None)
                if path and path not in files and not is_library(path):
                    files[path] = None
        files |= {path: None for path, _ in self.made_at.values() if not is_library(path)}
        marked = [path for path in files if has_mark(path)]
        for mapper in mappers if marked else ():
            found = self.class_node(mapper.class_)
            if found:
                classes.setdefault(found[0].path, []).append((found[1], mapper))
        for source in filter(None, map(self.source, marked)):
            nodes = classes.get(source.path, [])
            for line, column, names in comments_of(source):
                around = [
                    mapper
                    for node, mapper in nodes
                    if lead(source, first_line(node)) <= line <= (node.end_lineno or 0)
                ]
                if around or whole:
                    seen = self.used | self.told  # a missing reason is told with what it excuses
                    used = {name for name in names if (source.path, line, name) in seen}
                    place = Place(source.path, line, column, len(source.lines[line - 1]) + 1)
                    there = around[-1] if around else None
                    node = self.class_node(there.class_) if there else None
                    near = name_near(source, node[1], line) if node else None
                    yield Ignore(place, names, there, frozenset(used), attribute=near)


Found = tuple[Source, ast.AST, int, int]


def has_mark(path: str) -> bool:
    """Whether the file speaks of ignoring at all: it is parsed only then."""
    try:
        return b"validate-models:" in Path(path).read_bytes()
    except OSError:
        return False


def comments_of(source: Source) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Line, 1-based column and rules of each ignore comment; a string that has one is none."""
    text = "\n".join(source.lines) + "\n"
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):  # form feeds and the like, cut into lines
        return
    for token in tokens:
        match = IGNORE.search(token.string) if token.type == tokenize.COMMENT else None
        if match:
            names = tuple(dict.fromkeys(name.strip() for name in match[1].split(",")))
            yield token.start[0], token.start[1] + match.start() + 1, names


def name_near(source: Source, node: ast.ClassDef, line: int) -> str | None:
    """The attribute that the class defines at *line*, or under the comment there."""
    for item in statements(node.body):
        if lead(source, first_line(item)) <= line <= (item.end_lineno or 0):
            targets = item.targets if isinstance(item, ast.Assign) else [item]
            named = getattr(targets[0], "target", targets[0])
            name = getattr(named, "id", getattr(named, "name", None))
            if name is not None:
                return str(name)
    return None


def mapped_property(mapper: Mapper[Any], key: str) -> Any:
    """The property *key*, or None."""
    return mapper.attrs.get(key) if mapper.configured else None


def names_item(node: ast.Call, name: str) -> bool:
    """Whether the call's first argument, or its ``name=``, is the string *name*."""
    given = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "name")]
    return any(isinstance(item, ast.Constant) and item.value == name for item in given)


def first_line(node: Any) -> int:
    """The first line of *node*, its decorators included."""
    lines = [item.lineno for item in getattr(node, "decorator_list", [])]
    return int(min([node.lineno, *lines]))


def lead(source: Source, first: int) -> int:
    """The first of the lines directly above *first* that are comments; *first* where none is."""
    while first > 1 and source.lines[first - 2].lstrip().startswith("#"):
        first -= 1
    return first


def place_of(source: Source, node: Any) -> Place:
    """The place of the name in *node*, or of its beginning."""
    line, column = node.lineno, node.col_offset
    text = source.lines[line - 1]
    if not text.isascii():  # the tree counts bytes
        column = len(text.encode()[:column].decode(errors="ignore"))
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        column = text.index(node.name, column) if node.name in text[column:] else column
        return Place(source.path, line, column + 1, column + 1 + len(node.name))
    name = re.match(r"[\w.]+", text[column:])
    return Place(source.path, line, column + 1, column + 1 + (len(name[0]) if name else 1))


def ignored_rules(source: Source, first: int, last: int) -> tuple[dict[str, int], dict[str, int]]:
    """The rules that a comment on these lines, or right above them, ignores with a reason.

    And those without one; each with the line of its comment.
    """
    found: dict[str, int] = {}
    bare: dict[str, int] = {}
    if not source.excuses:
        return found, bare
    for number in range(lead(source, first), min(last, len(source.lines)) + 1):
        line = source.lines[number - 1]
        match = IGNORE.search(line)
        if match:
            names = {name.strip(): number for name in match[1].split(",")}
            if match[2].strip():
                found |= names
            else:
                bare |= names
    return found, bare
