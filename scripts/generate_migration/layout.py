"""Lays out the statements of a generated revision as ruff and Black do; the rest stays as it is.

Alembic writes a statement on one line, or with its continuation under nothing.  A revision is read
more often than it is generated.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

WIDTH = 88  # what ruff and Black take unless told otherwise
STEP = 4


def lay_out(path: Path) -> None:
    """Write the revision at *path* anew, laid out."""
    path.write_text(laid_out(path.read_text(encoding="utf-8")), encoding="utf-8")


def laid_out(source: str, width: int = WIDTH) -> str:
    """*source* with its calls of ``op`` laid out; as it is where it is no Python.

    Comments between statements stay; a statement with a comment inside is left alone.
    """
    try:
        module = ast.parse(source)
    except SyntaxError:
        return source
    lines = source.splitlines()
    for statement in reversed(list(statements(module))):
        assert statement.end_lineno is not None
        first, last = statement.lineno - 1, statement.end_lineno
        indent = statement.col_offset
        text = shown(statement.value, indent, width)
        # Whatever is on the lines besides the statement, such as a comment, would be lost.
        given = "\n".join(lines[first:last])
        if lines[first][:indent].strip() or not same(given, text):
            continue
        lines[first:last] = (" " * indent + text).splitlines()
    for value in names(module):
        line = lines[value.lineno - 1]
        start, end = value.col_offset, value.end_col_offset
        if line.isascii():  # an offset counts bytes
            lines[value.lineno - 1] = line[:start] + flat(value) + line[end:]
    return "\n".join(lines) + "\n"


def names(module: ast.Module) -> Iterator[ast.expr]:
    """The values of ``revision`` and its like."""
    for node in module.body:
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        simple = isinstance(value, ast.Constant) and isinstance(value.value, str)
        if value is not None and simple and value.lineno == value.end_lineno:
            yield value


def statements(module: ast.Module) -> Iterator[ast.Expr]:
    """The calls that stand alone in functions, in their order."""
    for function in module.body:
        if isinstance(function, ast.FunctionDef):
            found = [node for node in ast.walk(function) if isinstance(node, ast.Expr)]
            calls = [node for node in found if isinstance(node.value, ast.Call)]
            yield from sorted(calls, key=lambda node: node.lineno)


def same(given: str, made: str) -> bool:
    """Whether *made* says what *given* says, and *given* has no comment."""
    bare = "\n".join(line.strip() for line in given.splitlines())
    try:
        before, after = (ast.dump(ast.parse(text)) for text in (bare, made))
    except SyntaxError:
        return False
    return before == after and not commented(given)


def commented(given: str) -> bool:
    """Whether a comment is in *given*; a ``#`` in a string is none."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(given.strip()).readline))
    except (tokenize.TokenError, IndentationError):
        return True
    return any(token.type == tokenize.COMMENT for token in tokens)


def shown(node: ast.expr, indent: int, width: int, room: int = 0) -> str:
    """*node* on one line where it fits, else an argument a line; *room* is for what follows."""
    line = flat(node)
    if indent + len(line) + room <= width:
        return line
    if isinstance(node, ast.Call) and (node.args or node.keywords):
        head, items, tail = f"{flat(node.func)}(", arguments(node), ")"
    elif isinstance(node, (ast.List, ast.Tuple)) and node.elts:
        opened = "[" if isinstance(node, ast.List) else "("
        head, items, tail = opened, [("", item) for item in node.elts], line[-1]
    else:
        return line
    inner = indent + STEP
    # Black keeps the arguments together if they fit on a line of their own.
    together = ", ".join(name + flat(item) for name, item in items)
    pad = " " * inner
    if inner + len(together) <= width and not isinstance(node, (ast.List, ast.Tuple)):
        return f"{head}\n{pad}{together}\n{' ' * indent}{tail}"
    if len(items) == 1 and isinstance(items[0][1], ast.Constant):
        return f"{head}\n{pad}{together}\n{' ' * indent}{tail}"  # nothing to break
    body = "".join(f"{pad}{name}{hung(item, inner, len(name), width)},\n" for name, item in items)
    return f"{head}\n{body}{' ' * indent}{tail}"


def hung(item: ast.expr, indent: int, name: int, width: int) -> str:
    """The value of an argument: what it opens is closed under the argument's *name*."""
    line = flat(item)
    if indent + name + len(line) + 1 <= width:
        return line
    return shown(item, indent, width, len(line))  # on several


def arguments(node: ast.Call) -> list[tuple[str, ast.expr]]:
    """What a call is given, with its keywords."""
    named = [(f"{item.arg}=" if item.arg else "**", item.value) for item in node.keywords]
    starred: Sequence[ast.expr] = node.args
    return [*(("", item) for item in starred), *named]


def flat(node: ast.expr) -> str:
    """*node* on one line."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return quoted(node.value)
    if isinstance(node, ast.Call):
        inside = ", ".join(name + flat(item) for name, item in arguments(node))
        return f"{flat(node.func)}({inside})"
    if isinstance(node, ast.Attribute):
        return f"{flat(node.value)}.{node.attr}"
    if isinstance(node, ast.List):
        return f"[{', '.join(map(flat, node.elts))}]"
    if isinstance(node, ast.Starred):
        return f"*{flat(node.value)}"
    return ast.unparse(node)


def quoted(value: str) -> str:
    """*value* as a literal in double quotes, unless it has more of them than of single ones."""
    plain = repr(value)
    if plain.startswith('"') or value.count('"') > value.count("'"):
        return plain
    return '"' + plain[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
