"""What no taught code may use: legacy in SQLAlchemy 2.x, gone from 2.1, deprecated beside it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

# The end of what is read or called, and what stands in its place.
NAMES = {
    "session.query": "select()",
    "engine.execute": "connection.execute()",
    "metadata.bind": "an engine that is passed in",
    "datetime.utcnow": "datetime.now(UTC)",
    "datetime.utcfromtimestamp": "datetime.fromtimestamp(…, UTC)",
    "asyncio.get_event_loop": "asyncio.run() or a Runner",
    "app.on_event": "lifespan=",
    "bulk_save_objects": "session.add_all()",
    "bulk_insert_mappings": "session.execute(insert(…), rows)",
    "bulk_update_mappings": "session.execute(update(…), rows)",
    "declarative_base": "class Base(DeclarativeBase)",
    "as_declarative": "class Base(DeclarativeBase)",
    "dynamic_loader": "WriteOnlyMapped",
    "noload": "raiseload()",
    "parse_obj": "model_validate()",
    "from_orm": "model_validate()",
}
MODULES = {
    "sqlalchemy.ext.declarative": "sqlalchemy.orm",
    "sqlalchemy.future": "sqlalchemy",
}
# By what is called: a keyword that it should not get.
KEYWORDS = {
    ("relationship", "backref"): "back_populates on both sides",
    ("create_engine", "future"): "nothing: it is always so",
    ("sessionmaker", "autocommit"): "session.begin()",
}
LAZY = {"dynamic": "write_only", "noload": "raise"}


def deprecated(code: str, *, without: str | None = None) -> list[str]:
    """``line: what it uses; what to use`` for each fault of *code*, in its order.

    The function *without* is passed over: the wrong side of a pitfall.
    """
    tree = ast.parse(code)
    if without is not None:
        tree.body = [node for node in tree.body if getattr(node, "name", None) != without]
    found = {
        f"{getattr(node, 'lineno', 0)}: {used}; use {instead}"
        for node in ast.walk(tree)
        for used, instead in faults(node)
    }
    return sorted(found, key=lambda line: int(line.partition(":")[0]))


def faults(node: ast.AST) -> Iterator[tuple[str, str]]:
    """What *node* uses that it should not, and what to use instead."""
    if isinstance(node, ast.Attribute | ast.Name):
        path = dotted(node)
        for name, instead in NAMES.items():
            if path == name or path.endswith(f".{name}"):
                yield path, instead
    elif isinstance(node, ast.ImportFrom):
        for item in node.names:
            if item.name in NAMES:
                yield item.name, NAMES[item.name]
        if node.module in MODULES:
            yield node.module, MODULES[node.module]
    elif isinstance(node, ast.Call):
        called = dotted(node.func).rpartition(".")[2]
        for keyword in node.keywords:
            if (called, keyword.arg) in KEYWORDS:
                yield f"{called}({keyword.arg}=)", KEYWORDS[called, str(keyword.arg)]
            value = getattr(keyword.value, "value", None)
            if called == "relationship" and keyword.arg == "lazy" and value in LAZY:
                yield f"lazy={value!r}", f"lazy={LAZY[value]!r}"
        first = node.args[0] if node.args else None
        if called == "select" and isinstance(first, ast.List):
            yield "select([…])", "select(…)"
        if called in {"create_engine", "create_async_engine", "make_url"} and is_bare_url(first):
            yield "postgresql:// without a driver", "postgresql+psycopg://"
        # Unnamed, it cannot be dropped where there is no naming convention.
        if called == "drop_constraint" and getattr(first, "value", first) is None and first:
            yield "drop_constraint(None)", "its name"


def is_bare_url(node: ast.AST | None) -> bool:
    """Whether it is a URL that names no driver: psycopg2's on 2.0, psycopg's on 2.1."""
    value = getattr(node, "value", None)
    return isinstance(value, str) and value.startswith(("postgresql://", "postgres://"))


def dotted(node: ast.AST) -> str:
    """``a.b.c``; a call on the way is left out."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return dotted(node.func)
    return node.id if isinstance(node, ast.Name) else ""
