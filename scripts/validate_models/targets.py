"""From what the user names to the mappers and tables that importing it makes."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy
from sqlalchemy import MetaData, Table, event
from sqlalchemy.orm import Mapper, interfaces, registry

from .hiding import hidden

ROOT_MARKS = ("pyproject.toml", "setup.cfg", "setup.py", "alembic.ini", ".git")
LEFT_OUT = re.compile(
    r"(^|/)(\.|(__pycache__|node_modules|site-packages|v?env[\d._-]*|build|dist|tests?)/)"
)
NO_MODELS = {"__main__.py", "conftest.py", "setup.py", "manage.py", "env.py"}
HAS_MODELS = re.compile(
    r"\b(__tablename__|mapped_column|map_imperatively|declarative_base|DeclarativeBase|MetaData)\b"
    r"|\bTable\(|\btable\s*=\s*True"
)
# Where a base names the tables, a file of models has neither; others have columns, too.
HAS_COLUMNS = re.compile(r"\A(?=.*\bsqlalchemy\b).*(?:\bColumn\(|\bMapped\[)", re.S)
STANDARD_LIBRARY = f"{Path(os.__file__).parent}{os.sep}"
SQLALCHEMY = str(Path(sqlalchemy.__file__).parent)
ASYNC_WORDS = re.compile(r"\b(create_async_engine|async_sessionmaker|AsyncSession|AsyncAttrs)\b")
FILES_LOOKED_AT = 2_000


class TargetError(Exception):
    """A foreseeable failure: what was received, what was expected, what to try."""


@dataclass(eq=False, repr=False)
class Recorder:
    """Sees mappers and tables while they are made, and lets a broken mapper not hide the rest."""

    mappers: dict[Mapper[Any], None] = field(default_factory=dict)
    metadatas: dict[MetaData, None] = field(default_factory=dict)
    made_at: dict[Table, tuple[str, int]] = field(default_factory=dict)
    broken: dict[Mapper[Any], Exception] = field(default_factory=dict)
    current: Mapper[Any] | None = None

    def _mapper(self, mapper: Mapper[Any], _cls: type) -> None:
        self.mappers[mapper] = None

    def _table(self, table: Table, parent: Any) -> None:
        self.metadatas[parent] = None
        frame = sys._getframe(1)
        # Where a module of SQLAlchemy's own makes it, that is its place: pg_catalog has tables too.
        while frame.f_back and frame.f_code.co_filename.startswith((SQLALCHEMY, "<")):
            if frame.f_code.co_name == "<module>":
                break
            frame = frame.f_back
        self.made_at.setdefault(table, (frame.f_code.co_filename, frame.f_lineno))

    def _configure(self, mapper: Mapper[Any], _cls: type) -> Any:
        if mapper in self.broken:
            return interfaces.EXT_SKIP
        self.current = mapper
        return None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Record what is made within; SQLAlchemy's events are as they were afterwards."""
        listeners: list[tuple[Any, str, Callable[..., Any], dict[str, Any]]] = [
            (Mapper, "instrument_class", self._mapper, {}),
            (Table, "after_parent_attach", self._table, {}),
            (Mapper, "before_mapper_configured", self._configure, {"retval": True}),
        ]
        for target, name, function, options in listeners:
            event.listen(target, name, function, **options)
        try:
            yield
        finally:
            for target, name, function, _ in listeners:
                event.remove(target, name, function)

    def add(self, found: object) -> bool:
        """Take what *found* holds: a base, a registry, a metadata, a table, a mapped class."""
        mapper = getattr(found, "__mapper__", None) if isinstance(found, type) else None
        if isinstance(mapper, Mapper):
            self.mappers[mapper] = None
            self.metadatas |= dict.fromkeys(
                table.metadata for table in mapper.tables if isinstance(table, Table)
            )
            return True
        if isinstance(found, Table):
            self.metadatas[found.metadata] = None
            return True
        if isinstance(found, MetaData):
            self.metadatas[found] = None
            return True
        known = found if isinstance(found, registry) else getattr(found, "registry", None)
        if isinstance(known, registry) and (isinstance(found, type) or found is known):
            self.mappers |= dict.fromkeys(known.mappers)
            self.metadatas[known.metadata] = None
            return True
        return False

    def configure(self) -> list[str]:
        """Configure every registry, broken mappers aside: the warnings that it gave."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for known in dict.fromkeys(mapper.registry for mapper in self.mappers):
                self._configure_registry(known)
        return [str(warning.message) for warning in caught]

    def _configure_registry(self, known: registry) -> None:
        while True:
            self.current = None
            try:
                known.configure(cascade=True)
            except Exception as error:
                guilty = self.current
                if guilty is None or guilty in self.broken:
                    raise TargetError(
                        f"received models that cannot be configured: {one_line(error)}\n"
                        "expected: mappers that configure_mappers() accepts\n"
                        "try: python -c 'import MODULE; "
                        "from sqlalchemy.orm import configure_mappers; configure_mappers()'"
                    ) from None
                self.broken[guilty] = error
            else:
                return


# --- Names and paths ------------------------------------------------------------------------------


def project_root(start: Path) -> Path:
    """The nearest folder above *start* that a project begins with; else *start* itself."""
    folder = start if start.is_dir() else start.parent
    for parent in (folder, *folder.parents):
        if any((parent / mark).exists() for mark in ROOT_MARKS):
            return parent
    return folder


def source_roots(root: Path) -> list[Path]:
    """The folders of a project that imports start from: ``src`` before the root."""
    return [root / "src", root] if (root / "src").is_dir() else [root]


def extend_path(folders: Iterable[Path]) -> None:
    """Put *folders* on the import path, the first first, before all others."""
    for folder in reversed(list(folders)):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def dotted_name(path: Path, roots: list[Path]) -> tuple[Path, str] | None:
    """``(root, "app.models")`` for a file; None where its name cannot be imported."""
    top = path.parent
    while (top / "__init__.py").exists():
        top = top.parent
    candidates = [top] if top != path.parent else []
    candidates += [root for root in roots if path.is_relative_to(root)]
    for root in candidates:
        parts = list(path.relative_to(root).with_suffix("").parts)
        if parts and parts[-1] == "__init__":
            parts.pop()
        if parts and all(part.isidentifier() for part in parts):
            return root, ".".join(parts)
    return None


def import_file(path: Path, root: Path) -> ModuleType:
    """Import the file at *path* by the name that the rest of its project has for it."""
    roots = source_roots(root)
    found = dotted_name(path, roots)
    # The file's own folder last: for scripts whose siblings import each other by bare names.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    extend_path(roots)
    if found is not None:
        extend_path([found[0]])
        module = importlib.import_module(found[1])
        if Path(module.__file__ or "").resolve() == path:
            return module
    name = f"validate_models_target_{abs(hash(path))}" if found is None else found[1]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(
            f"received the file {path}.\nexpected: a Python file\ntry: a file that ends with .py"
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def model_files(folder: Path) -> list[Path]:
    """The Python files under *folder* that look as if they defined tables, in order."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder).as_posix()
        if LEFT_OUT.search(inside) or path.name in NO_MODELS or path.name.startswith("test_"):
            continue
        with contextlib.suppress(OSError, UnicodeDecodeError):
            text = path.read_text(encoding="utf-8")
            # Alembic's revisions speak of tables, and are none of the models.
            looks_so = HAS_MODELS.search(text) or HAS_COLUMNS.search(text)
            if looks_so and "from alembic import" not in text:
                found.append(path)
    return found


# --- Loading --------------------------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class Loaded:
    """What was imported: the project's folder, the modules, and what could not be imported."""

    root: Path
    modules: list[ModuleType] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    named: set[Any] = field(default_factory=set)  # mappers and tables
    named_files: set[Path] = field(default_factory=set)
    is_wide: bool = False  # something was named that holds all of it


def load(targets: Iterable[str], recorder: Recorder, root: Path | None = None) -> Loaded:
    """Import every target.  Raises ``TargetError`` for what is no target."""
    loaded = Loaded(root or project_root(Path.cwd()))
    for target in targets:
        load_one(target, recorder, loaded, root)
    return loaded


def load_one(target: str, recorder: Recorder, loaded: Loaded, root: Path | None) -> None:
    """Import *target*: a module, ``module:Name``, a file or a folder."""
    name, colon, attribute = target.partition(":")
    path = existing(name)
    if colon and not all(part.isidentifier() for part in attribute.split(".")):
        path, name = None, ""
    if path is not None and (path.suffix == ".py" or os.sep in name or path.is_dir()):
        own_root = root or project_root(path)
        loaded.root = own_root
        modules = [
            attempt(str(file), import_file, loaded, file, own_root) for file in files_of(path, name)
        ]
    elif re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        extend_path(source_roots(loaded.root))
        extend_path([Path.cwd()])
        modules = [attempt(name, importlib.import_module, loaded, name)]
        package = modules[0]
        for folder in map(Path, getattr(package, "__path__", ())) if not attribute else ():
            for file in model_files(folder):
                inside = [*file.relative_to(folder).with_suffix("").parts]
                dotted = ".".join([name, *(part for part in inside if part != "__init__")])
                modules.append(attempt(dotted, importlib.import_module, loaded, dotted))
    else:
        raise TargetError(
            f"received {safe(target)!r}, and there is no such file or folder.\n"
            "expected: package.module, package.module:Base, path/to/models.py or a folder\n"
            "try: the dotted name, from the project's root"
        )
    found = [module for module in modules if module is not None]
    loaded.modules += found
    name_scope(target, path, found, loaded)
    if attribute and found:
        take(target, found[0], attribute, recorder)
    elif not attribute:
        for module in found:
            for value in list(vars(module).values()):
                if not is_foreign_class(value):
                    recorder.add(value)


def files_of(path: Path, name: str) -> list[Path]:
    """The files to import of what the user calls *name*.  Raises ``TargetError`` for none."""
    if path.is_file():
        if path.suffix != ".py":
            raise TargetError(
                f"received the file {name}.\nexpected: a Python file\n"
                "try: a file that ends with .py"
            )
        return [path]
    files = model_files(path)
    if not files:
        raise TargetError(
            f"received the folder {name}, in which no file looks as if it defined a table.\n"
            "expected: a folder with models\ntry: the file or the module that has them"
        )
    return files


def existing(name: str) -> Path | None:
    """The file or folder *name*; None where there is none, or nobody may look."""
    try:
        path = Path(name).resolve()
        return path if name and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, shut, a ring of links, a NUL
        return None


def name_scope(target: str, path: Path | None, found: list[ModuleType], loaded: Loaded) -> None:
    """Note what *target* names: a class, a table, one file; of anything else, all is judged."""
    attribute = target.partition(":")[2] if found else ""
    value = getattr(found[0], attribute, None) if attribute else None
    file = path or Path(getattr(found[0], "__file__", None) or "__init__.py") if found else path
    if isinstance(value, Table):
        loaded.named.add(value)
    elif isinstance(value, type) and isinstance(mapper := vars(value).get("__mapper__"), Mapper):
        loaded.named |= {mapper, mapper.local_table}
    elif attribute or file is None or file.is_dir() or file.name == "__init__.py":
        loaded.is_wide = True
    else:
        loaded.named_files.add(file.resolve())


def take(target: str, module: ModuleType, attribute: str, recorder: Recorder) -> None:
    """Keep of what was recorded only what belongs to ``module:attribute``."""
    value = getattr(module, attribute, None)
    narrow = Recorder()
    if not narrow.add(value):
        known = [name for name, each in vars(module).items() if Recorder().add(each)]
        raise TargetError(
            f"received {target!r}, and {attribute} is no declarative base, registry, MetaData, "
            f"table or mapped class.\nexpected: one of those in {module.__name__}\n"
            f"try: {', '.join(sorted(known)[:8]) or 'the module alone'}"
        )
    wanted = set(narrow.metadatas)
    recorder.metadatas = dict.fromkeys(wanted)
    recorder.mappers = {
        mapper: None
        for mapper in {**recorder.mappers, **narrow.mappers}
        if mapper in narrow.mappers
        or any(isinstance(table, Table) and table.metadata in wanted for table in mapper.tables)
    }


def attempt(
    name: str, function: Callable[..., ModuleType], loaded: Loaded, *arguments: Any
) -> ModuleType | None:
    """Import, or note in one message why that failed."""
    try:
        return function(*arguments)
    except TargetError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may raise what it likes, SystemExit above all
        loaded.failures.append(import_failure(name, error))
        return None


def import_failure(name: str, error: BaseException) -> str:
    """What was received, what was expected, what to try, of an import that failed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [item for item in frames if not is_library(item.filename) and item.filename[0] != "<"]
    where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    if isinstance(error, SyntaxError):
        where = f" ({error.filename}:{error.lineno})"
    return (
        f"received {safe(name)}, and importing it failed: {type(error).__name__}: {one_line(error)}"
        f"{where}\nexpected: models that import without a database\ntry: {advice(error)}"
    )


def advice(error: BaseException) -> str:
    """What most often mends an import that failed by *error*."""
    text = one_line(error)
    if isinstance(error, ModuleNotFoundError):
        return (
            f"the project's own interpreter (this is {sys.executable}), or --root with the "
            f"folder that holds {safe(str(error.name or '').partition('.')[0])}"
        )
    if isinstance(error, SystemExit):
        return "a module that holds the models alone; this one ends the program when imported"
    if isinstance(error, KeyError) or "ValidationError" in type(error).__name__:
        setting = error.args[0] if isinstance(error, KeyError) and error.args else "NAME"
        return f"--set {setting}=VALUE, or --env-file .env, if that is a setting"
    if "is already defined for this MetaData" in text:
        return "the dotted name of the module: one file was imported under two names"
    if isinstance(error, ImportError) and "relative import" in text:
        return "--root with the folder that holds the package, or its dotted name"
    return "python -X dev -c 'import MODULE', which shows where it stands"


def one_line(error: BaseException) -> str:
    """The message of *error* on one line, bounded, without the passwords of URLs."""
    try:
        text = " ".join(str(error).split()) or type(error).__name__
    except Exception:  # its own text fails
        text = type(error).__name__
    return safe(text)


def safe(text: str) -> str:
    """*text*, bounded, without the passwords of URLs."""
    text = hidden(text)
    return text if len(text) <= 400 else f"{text[:397]}..."


@functools.lru_cache(maxsize=16_384)
def is_library(path: str) -> bool:
    """Whether *path* belongs to what is installed, or to this tool."""
    installed = "site-packages" in path or "dist-packages" in path
    return installed or path.startswith((STANDARD_LIBRARY, SQLALCHEMY, str(Path(__file__).parent)))


def is_foreign_class(value: object) -> bool:
    """Whether *value* is a class that a library brought: DeclarativeBase itself, for example."""
    if not isinstance(value, type):
        return isinstance(value, ModuleType)
    module = sys.modules.get(value.__module__)
    return value.__module__ != "__main__" and is_library(getattr(module, "__file__", "") or "")


def speaks_asyncio(loaded: Loaded, mappers: Iterable[Mapper[Any]]) -> bool:
    """Whether the project uses SQLAlchemy's asyncio: its files beside the models say so."""
    if any(base.__name__ == "AsyncAttrs" for each in mappers for base in each.class_.__mro__):
        return True
    files = {Path(m.__file__) for m in loaded.modules if getattr(m, "__file__", None)}  # type: ignore[arg-type]
    folders = {top_package(file) for file in files}
    for folder in folders - {loaded.root}:
        files |= set(list(folder.rglob("*.py"))[:FILES_LOOKED_AT])
    for file in files:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            text = file.read_text(encoding="utf-8")
            if "sqlalchemy.ext.asyncio" in text and ASYNC_WORDS.search(text):
                return True
    return False


def top_package(path: Path) -> Path:
    """The folder of the outermost package around *path*."""
    top = path.parent
    while (top.parent / "__init__.py").exists():
        top = top.parent
    return top


def is_ready(mapper: Mapper[Any]) -> bool:
    """Whether the rules may ask *mapper*: configured, and its relationships, inherited ones too.

    Asking a relationship that failed for its mapper recurses without end on 2.1.
    """
    return mapper.configured and all("direction" in vars(prop) for prop in mapper.relationships)
