"""A scalar self reference that SQLAlchemy takes for a one-to-many."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Table

from ..core import DOCS, Hit, Project, Rule, unique_sets
from ._cascades import MANYTOONE, ONETOMANY


def check(project: Project) -> Iterator[Hit]:
    """Scalar one-to-many of a class to itself that nothing makes one-to-one."""
    for mapper, prop in project.relationships():
        if prop.direction is not ONETOMANY or prop.uselist or prop.viewonly:
            continue
        if not prop.mapper.common_parent(mapper):
            continue
        reverse = {getattr(other, "direction", None) for other in prop._reverse_property}
        table, remote = mapper.local_table, set(prop.remote_side)
        unique = isinstance(table, Table) and any(
            columns and columns <= remote for columns in unique_sets(table)
        )
        if MANYTOONE not in reverse and not unique:
            yield Hit(
                f"{prop.key} looks from the parent to a child: the foreign key is on the far side",
                mapper=mapper,
                attribute=prop.key,
            )


RULE = Rule(
    name="self-reference-without-remote-side",
    severity="error",
    family="relationships",
    title="A scalar self reference without remote_side",
    why="Both sides are the same table, so SQLAlchemy assumes one-to-many: setting node.parent "
    "writes the foreign key of the *other* row, and reading it gives a child.",
    fix="    parent: Mapped[Node | None] = relationship(remote_side=id)",
    url=f"{DOCS}/orm/self_referential.html",
    check=check,
    bad="""
class Node(Base):
    __tablename__ = "nodes"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"), index=True)
    parent: Mapped[Optional["Node"]] = relationship()  # found
""",
    good="""
class Node(Base):
    __tablename__ = "nodes"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"), index=True)
    parent: Mapped[Optional["Node"]] = relationship(
        remote_side=id, back_populates="children", lazy="raise"
    )
    children: Mapped[list["Node"]] = relationship(back_populates="parent", lazy="raise")
""",
    near_miss="""
class Page(Base):
    __tablename__ = "pages"

    id: Mapped[int] = mapped_column(primary_key=True)
    next_id: Mapped[int | None] = mapped_column(ForeignKey("pages.id"), unique=True)
    next: Mapped[Optional["Page"]] = relationship(
        remote_side=id, back_populates="previous", lazy="raise"
    )
    previous: Mapped[Optional["Page"]] = relationship(back_populates="next", lazy="raise")
""",
)
