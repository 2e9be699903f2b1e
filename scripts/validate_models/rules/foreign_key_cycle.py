"""Tables that refer to each other in a ring."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ForeignKeyConstraint, Table

from ..core import DOCS, Hit, Project, Rule


def rings(edges: dict[Table, set[Table]]) -> list[set[Table]]:
    """The groups of at least two tables that reach each other, in linear time (Kosaraju)."""
    backwards: dict[Table, set[Table]] = {}
    for table, targets in edges.items():
        for target in targets:
            backwards.setdefault(target, set()).add(table)
    order: list[Table] = []
    seen: set[Table] = set()
    for table in edges:
        visit(table, edges, seen, order)
    found: list[set[Table]] = []
    seen = set()
    for table in reversed(order):
        group: list[Table] = []
        visit(table, backwards, seen, group)
        if len(group) > 1:
            found.append(set(group))
    return found


def visit(
    start: Table, edges: dict[Table, set[Table]], seen: set[Table], order: list[Table]
) -> None:
    """Append to *order* what *start* reaches and nobody saw, each after what it reaches."""
    if start in seen:
        return
    seen.add(start)
    stack = [(start, iter(edges.get(start, ())))]
    while stack:
        table, targets = stack[-1]
        following = next((target for target in targets if target not in seen), None)
        if following is None:
            order.append(table)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(edges.get(following, ()))))


def fault_of(keys: list[ForeignKeyConstraint]) -> str | None:
    """What goes wrong with a ring of these keys; None where it can be filled and dropped."""
    held = [all(not column.nullable for column in key.columns) for key in keys]
    if all(held) and not any(key.deferrable for key in keys):
        return "no first row can be inserted: every foreign key of the ring is NOT NULL"
    if not any(isinstance(key.name, str) for key in keys) and not any(k.use_alter for k in keys):
        return "drop_all() fails: no foreign key of the ring has a name"
    return None


def check(project: Project) -> Iterator[Hit]:
    """Rings that cannot be filled, or not be dropped."""
    edges: dict[Table, set[Table]] = {}
    between = [item for item in project.foreign_keys() if item[1].referred_table is not item[0]]
    for table, key in between:
        edges.setdefault(table, set()).add(key.referred_table)
    groups = rings(edges)
    number_of = {table: number for number, group in enumerate(groups) for table in group}
    keys_of: list[list[ForeignKeyConstraint]] = [[] for _ in groups]
    for table, key in between:  # once for all rings: there may be many
        number = number_of.get(table)
        if number is not None and number == number_of.get(key.referred_table):
            keys_of[number].append(key)
    for group, keys in zip(groups, keys_of, strict=True):
        fault = fault_of(keys)
        if fault:
            names = ", ".join(sorted(table.name for table in group))
            yield project.at(next(iter(keys[0].columns)), f"{names}: {fault}")


RULE = Rule(
    name="foreign-key-cycle",
    severity="warning",
    family="keys",
    title="Foreign keys form a ring that cannot be filled or dropped",
    why="A ring of NOT NULL keys takes no first row: CircularDependencyError, or a foreign key "
    "violation. A ring without names cannot be dropped by drop_all().",
    fix="One key of the ring nullable, relationship(post_update=True), and named:\n"
    "    ForeignKey('comments.id', use_alter=True, name='fk_tickets_last_comment_id')",
    url=f"{DOCS}/orm/relationship_persistence.html#rows-that-point-to-themselves-mutually-dependent"
    "-rows",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    last_comment_id: Mapped[int] = mapped_column(ForeignKey("comments.id"), index=True)


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    last_comment_id: Mapped[int | None] = mapped_column(
        ForeignKey("comments.id", use_alter=True), index=True
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
""",
    near_miss="""
class Node(Base):
    __tablename__ = "nodes"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"), index=True)


class Edge(Base):
    __tablename__ = "edges"

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("nodes.id"), index=True)
    target_id: Mapped[int] = mapped_column(ForeignKey("nodes.id"), index=True)
""",
)
