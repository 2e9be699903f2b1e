"""``lazy="noload"``, which 2.1 deprecates."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Relationships that never load anything."""
    for mapper, prop in project.relationships():
        if prop.lazy == "noload":
            nothing = "an empty collection" if prop.uselist else "None"
            yield Hit(
                f"{prop.key} is {nothing}, whatever the rows say", mapper=mapper, attribute=prop.key
            )


RULE = Rule(
    name="lazy-noload",
    severity="warning",
    family="upgrading",
    title="lazy='noload'",
    why="The attribute says that there is nothing where there is something, and code that trusts "
    "it acts on that. SQLAlchemy 2.1 deprecates it for this reason, and will remove it.",
    fix="    relationship(lazy='raise')\n"
    "or WriteOnlyMapped, for a collection that is only added to.",
    url=f"{DOCS}/changelog/migration_21.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list["File"]] = relationship(viewonly=True, lazy="noload")  # found


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list["File"]] = relationship(viewonly=True, lazy="raise")


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
""",
)
