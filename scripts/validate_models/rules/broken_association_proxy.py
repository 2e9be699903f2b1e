"""An association proxy that leads nowhere."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper, RelationshipProperty

from ..core import DOCS, Hit, Project, Rule, label


def fault_of(mapper: Mapper[Any], proxy: Any) -> str | None:
    """What the proxy names and what is not there; None where all is, or cannot be told."""
    prop = mapper.attrs.get(proxy.target_collection)
    if not isinstance(prop, RelationshipProperty):
        if any(proxy.target_collection in each.attrs for each in mapper.self_and_descendants):
            return None
        return f"{label(mapper)} has no relationship {proxy.target_collection}"
    classes = [each.class_ for each in prop.mapper.self_and_descendants]
    if any(has(cls, proxy.value_attr) for cls in classes):
        return None
    return f"{label(prop.mapper)} has no attribute {proxy.value_attr}"


def has(cls: type, name: str) -> bool:
    """Whether *cls* or its objects may have *name*."""
    if hasattr(cls, "__getattr__") or name in getattr(cls, "__annotations__", ()):
        return True
    methods = [value for base in cls.__mro__ for value in vars(base).values()]
    plain = (getattr(value, "_sa_original_init", value) for value in methods)
    codes = [code for value in plain if (code := getattr(value, "__code__", None)) is not None]
    if any(name in code.co_names for code in codes):  # self.name = ... in a method
        return True
    try:
        inspect.getattr_static(cls, name)
    except AttributeError:
        return False
    return True


def check(project: Project) -> Iterator[Hit]:
    """Proxies whose relationship or whose far attribute does not exist."""
    for mapper in project.mappers:
        for key, descriptor in mapper.all_orm_descriptors.items():
            kind = getattr(descriptor.extension_type, "name", "")
            if kind != "ASSOCIATION_PROXY":
                continue
            if mapper.inherits and key in mapper.inherits.all_orm_descriptors:
                continue
            try:
                fault = fault_of(mapper, descriptor)
            except SQLAlchemyError:
                continue
            if fault:
                yield Hit(f"{key}: {fault}", mapper=mapper, attribute=key)


RULE = Rule(
    name="broken-association-proxy",
    severity="error",
    family="collections",
    title="An association proxy that leads nowhere",
    why="A proxy is text until it is used: configure_mappers() passes, and the first access raises "
    "InvalidRequestError or AttributeError.",
    fix="The name of a relationship of this class, and of an attribute of its target:\n"
    "    tag_names = association_proxy('tags', 'name')",
    url=f"{DOCS}/orm/extensions/associationproxy.html",
    check=check,
    bad="""
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list["File"]] = relationship(lazy="raise", viewonly=True)
    names: AssociationProxy[list[str]] = association_proxy("file", "name")  # found
    sizes: AssociationProxy[list[int]] = association_proxy("files", "bytes")  # found


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
    name: Mapped[str]
    size: Mapped[int]
""",
    good="""
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list["File"]] = relationship(lazy="raise", viewonly=True)
    names: AssociationProxy[list[str]] = association_proxy("files", "name")
    sizes: AssociationProxy[list[int]] = association_proxy("files", "size")


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
    name: Mapped[str]
    size: Mapped[int]
""",
    near_miss="""
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list["File"]] = relationship(lazy="raise", viewonly=True)
    labels: AssociationProxy[list[str]] = association_proxy("files", "label")
    notes: AssociationProxy[list[str]] = association_proxy("files", "note")


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)

    def __init__(self, note: str) -> None:
        self.note = note

    @property
    def label(self) -> str:
        return f"file {self.id}"
""",
)
