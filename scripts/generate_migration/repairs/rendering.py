"""How types stand in a revision: so that it runs without the application, and for years."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import sqlalchemy
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type
from alembic.ddl.impl import DefaultImpl
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import ARRAY, TypeDecorator, TypeEngine

from .operations import executed

Rendered = str | Literal[False]
RenderItem = Callable[[str, Any, AutogenContext], Rendered]
DIALECT = "from sqlalchemy.dialects import postgresql"


def install(context: MigrationContext) -> None:
    """Put our rendering behind the ``render_item`` of ``env.py``, which keeps the first word."""
    opts = context.opts
    theirs: RenderItem | None = opts.get("render_item")
    if getattr(theirs, "ours", False):
        return

    def render_item(kind: str, item: Any, autogen_context: AutogenContext) -> Rendered:
        """What stands in the revision for *item*; False: as Alembic does it."""
        rendered = theirs(kind, item, autogen_context) if theirs else False
        if rendered is not False or kind != "type":
            return rendered
        return rendered_type(item, autogen_context)

    render_item.ours = True  # type: ignore[attr-defined]
    opts["render_item"] = render_item
    context.impl.render_ddl_sql_expr = exactly(context.impl)  # type: ignore[method-assign]


def exactly(impl: DefaultImpl) -> Callable[..., str]:
    """Alembic's rendering of SQL, which doubles each ``%`` and takes ``:word`` for a parameter."""
    original = impl.render_ddl_sql_expr
    doubled = getattr(impl.dialect.identifier_preparer, "_double_percents", False)

    def render(expression: Any, *given: Any, is_index: bool = False, **more: Any) -> str:
        """The SQL as a revision must say it so that it arrives as the models have it."""
        if is_index:
            more["is_index"] = True
        sql = original(expression, *given, **more)
        sql = sql.replace("%%", "%") if doubled else sql
        # literal_column() takes it at its word, text() does not.
        return sql if is_index else executed(sql)

    return render


def rendered_type(kind: TypeEngine[Any], autogen_context: AutogenContext) -> Rendered:
    """The type as a revision should name it; False: as Alembic does it.

    A native enumeration is made by a statement of its own, so no column makes it again.  A
    TypeDecorator is the application's, and may move: its implementation stands in its place.
    """
    if isinstance(kind, ARRAY):
        inner = _repr_type(kind.item_type, autogen_context)
        dimensions = f", dimensions={kind.dimensions}" if kind.dimensions is not None else ""
        if isinstance(kind, postgresql.ARRAY):
            autogen_context.imports.add(DIALECT)
            return f"postgresql.ARRAY({inner}{dimensions})"
        prefix = autogen_context.opts["sqlalchemy_module_prefix"] or ""
        return f"{prefix}ARRAY({inner}{dimensions})"
    own = not type(kind).__module__.startswith("sqlalchemy.")
    if own and autogen_context.opts.get("user_module_prefix") is None:
        if isinstance(kind, TypeDecorator):
            return _repr_type(implementation(kind), autogen_context)
        if native(kind) is None:
            autogen_context.imports.add(f"import {type(kind).__module__}")
            return False
    enum = native(kind)
    if enum is None:
        return False
    autogen_context.imports.add(DIALECT)
    words = [repr(str(label)) for label in enum.enums] + [f"name={str(enum.name)!r}"]
    if enum.schema:
        words.append(f"schema={str(enum.schema)!r}")
    return f"postgresql.ENUM({', '.join(words)}, create_type=False)"


def native(kind: TypeEngine[Any]) -> postgresql.ENUM | None:
    """The native enumeration that *kind* is; no decorator is opened."""
    if isinstance(kind, TypeDecorator):
        return None
    found = kind.dialect_impl(postgresql.dialect())  # type: ignore[no-untyped-call]
    return found if isinstance(found, postgresql.ENUM) and found.name else None


def implementation(kind: TypeDecorator[Any]) -> TypeEngine[Any]:
    """What a decorator is to PostgreSQL, as a type that anybody can import."""
    found: Any = kind
    while isinstance(found, TypeDecorator):
        found = found.load_dialect_impl(postgresql.dialect())  # type: ignore[no-untyped-call]
    for parent in type(found).__mro__:
        for module in (sqlalchemy, postgresql):
            if getattr(module, parent.__name__, None) is parent:
                # A driver's own subclass is nothing to name in a revision.
                return found if parent is type(found) else found.adapt(parent)  # type: ignore[no-any-return]
    return found  # type: ignore[no-any-return]
