"""A line for a person about each operation that autogenerate would write."""

from __future__ import annotations

from typing import Any

from sqlalchemy.sql.schema import Column, Constraint, Index, Table


def in_words(change: tuple[Any, ...]) -> str:
    """*change*, a tuple of Alembic's ``to_diff_tuple``: its own word for it, then what and where.

    ``modify_nullable billing.invoices.due: True -> False``.
    """
    kind, *rest = change
    if kind.startswith("modify_") and len(rest) > 3:
        schema, table, column, _, before, after = rest
        place = f"{dotted(schema, table)}.{column}"
        return f"{kind} {place}: {one_line(before)} -> {one_line(after)}"
    if len(rest) == 3 and isinstance(rest[2], Column):
        schema, table, column = rest
        return f"{kind} {dotted(schema, table)}.{column.name} {one_line(column.type)}"
    if kind == "modify_enum":
        name, before, after = rest
        return f"{kind} {name}: {', '.join(before)} -> {', '.join(after)}"
    # Of a comment, the one before stands behind it.
    return " ".join([kind, *map(named, rest[:1])])


def dotted(schema: str | None, table: str) -> str:
    """The table with its schema, where it has one."""
    return f"{schema}.{table}" if schema else table


def named(thing: object) -> str:
    """A table, an index or a constraint by its name and its columns; anything else as it is."""
    if isinstance(thing, Table):
        return dotted(thing.schema, thing.name)
    if isinstance(thing, Index | Constraint):
        table = getattr(thing, "table", None)
        where = f" on {named(table)}" if isinstance(table, Table) else ""
        columns = ", ".join(one_line(each) for each in getattr(thing, "column_keys", ()))
        if isinstance(thing, Index):
            columns = ", ".join(getattr(each, "name", one_line(each)) for each in thing.expressions)
        name = thing.name if isinstance(thing.name, str) else "without a name"
        return f"{name}{where}{f' ({columns})' if columns else ''}"
    return one_line(thing)


def one_line(thing: object) -> str:
    """*thing* on one line; of a server default, its SQL."""
    argument = getattr(thing, "arg", None)
    if argument is not None:
        thing = getattr(argument, "text", argument)
    return " ".join(str(thing).split())
