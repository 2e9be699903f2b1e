"""What a target names: of a class or a file, what the import brought besides is not judged."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, Table
from sqlalchemy.orm import Mapper

from .core import Hit, Project
from .targets import Loaded

ALWAYS = {"broken-mapper"}  # what it leaves out may be what is asked for


@dataclass(frozen=True, eq=False, repr=False)
class Scope:
    """The mappers, tables and files that are judged; of files, what holds their tables, too."""

    mappers: frozenset[Mapper[Any]]
    tables: frozenset[Table]
    files: frozenset[Path]
    metadatas: frozenset[MetaData]

    def holds(self, rule: str, hit: Hit, file: Path | None) -> bool:
        """Whether *hit*, found in *file*, belongs to it."""
        if rule in ALWAYS or (file is not None and (file in self.files or file.suffix != ".py")):
            return True
        if hit.mapper is not None:
            return hit.mapper in self.mappers
        return hit.table in self.tables or hit.metadata in self.metadatas


def scope_of(
    project: Project, loaded: Loaded, made_at: dict[Table, tuple[str, int]]
) -> Scope | None:
    """The scope of what was named; None where that is all.

    A file that defines no model of its own gathers those of others, and stands for them.
    """
    if loaded.is_wide or not (loaded.named or loaded.named_files):
        return None
    all_mappers = [*project.mappers, *(mapper for mapper, _ in project.broken)]
    mappers = {mapper: file_of(mapper) for mapper in all_mappers}
    tables = {
        table: real_path(made_at[table][0]) if table in made_at else None
        for table in project.tables
    }
    own = {*mappers.values(), *tables.values()}
    if not loaded.named_files <= own:
        return None
    return Scope(
        frozenset(
            mapper
            for mapper, file in mappers.items()
            if mapper in loaded.named or file in loaded.named_files
        ),
        frozenset(
            table
            for table, file in tables.items()
            if table in loaded.named or file in loaded.named_files
        ),
        frozenset(loaded.named_files),
        frozenset(table.metadata for table, file in tables.items() if file in loaded.named_files),
    )


def file_of(mapper: Mapper[Any]) -> Path | None:
    """The file that defines the class."""
    path = getattr(sys.modules.get(mapper.class_.__module__), "__file__", None)
    return real_path(path) if path else None


@functools.lru_cache(maxsize=4096)  # a file has many classes
def real_path(path: str | Path) -> Path:
    """*path* from the root, without links."""
    return Path(path).resolve()
