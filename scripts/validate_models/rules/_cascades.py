"""What the rules on deleting share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKeyConstraint, Table
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.orm.interfaces import RelationshipDirection

ONETOMANY = RelationshipDirection.ONETOMANY
MANYTOONE = RelationshipDirection.MANYTOONE
MANYTOMANY = RelationshipDirection.MANYTOMANY


def child_columns(prop: RelationshipProperty[Any]) -> list[Column[Any]]:
    """The columns, at the child, of a one-to-many, that the ORM writes."""
    return [column for _, column in prop.synchronize_pairs if isinstance(column, Column)]


def compared_columns(prop: RelationshipProperty[Any]) -> list[Column[Any]]:
    """The columns, at the child, that the join compares: besides, a tenant's for example."""
    pairs = prop.local_remote_pairs or []
    return [remote for _, remote in pairs if isinstance(remote, Column)]


def foreign_key_of(prop: RelationshipProperty[Any]) -> ForeignKeyConstraint | None:
    """The one foreign key over all that is written and no more than is compared; else None."""
    written, compared = set(child_columns(prop)), set(compared_columns(prop))
    tables = {column.table for column in written}
    if len(tables) != 1:
        return None
    table = tables.pop()
    if not isinstance(table, Table):
        return None
    keys = [(key, set(key.columns)) for key in table.foreign_key_constraints]
    found = [key for key, columns in keys if written <= columns <= compared]
    return found[0] if len(found) == 1 else None


def on_delete(key: ForeignKeyConstraint) -> str:
    """``"CASCADE"``, ``"SET NULL"`` …; ``"NO ACTION"`` where nothing is given."""
    return (key.ondelete or "NO ACTION").upper()


def is_plain_join(prop: RelationshipProperty[Any]) -> bool:
    """Whether the relationship joins by its foreign key's columns and by nothing else."""
    from sqlalchemy.sql import operators, visitors
    from sqlalchemy.sql.elements import BinaryExpression

    compared = 0
    for element in visitors.iterate(prop.primaryjoin):
        if isinstance(element, BinaryExpression):
            if element.operator is not operators.eq:
                return False
            if not isinstance(element.left, Column) or not isinstance(element.right, Column):
                return False
            compared += 1
    return compared == len(prop.local_remote_pairs or [])
