"""The linter beside the others, on the same faults and the same clean models.

``python -m benchmarks.side_by_side`` installs the others from PyPI into a folder that is gone
afterwards, and writes ``results/side_by_side.json``.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy

from examples.postgres import PostgresError, postgres_server, temporary_database

from .planted_faults import BASE, DRIFT, IMPORT, PLANTS, line_of, with_imports

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "validate-models.py"
RESULTS = ROOT / "benchmarks" / "results"
RIVALS = {"sqlalchemy-lsp": "0.2.4", "flake8-sqlalchemy2": "0.3.0", "alembic": "1.20.1"}
BESIDE = {"flake8": "7.5.0", "psycopg[binary]": "3.3.9"}
OURS = "validate-models"
BROKEN = "breaks down"
TOOLS = (OURS, *RIVALS)
TIMEOUT = 600
HELP = """\
examples:
  python -m benchmarks.side_by_side                    a few minutes; writes results/
  python -m benchmarks.side_by_side --results /tmp/x   somewhere else

exit codes:
  0  compared     1  a tool could not be run     2  wrong usage, or no PostgreSQL to be had
"""

# A process that has imported what takes a while, and forks for each run.
FORKS = """
import importlib, json, os, runpy, sys, traceback
for name in sys.argv[1:]:
    importlib.import_module(name)
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (1, 2):
            os.dup2(os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        os.chdir(asked["folder"])
        sys.path.insert(0, asked["folder"])
        sys.argv = asked["arguments"]
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
"""
# Empties the database, and makes in it what the module has.
PREPARE = """
import importlib, sys
from sqlalchemy import MetaData, create_engine, text
url, module = sys.argv[1:]
engine = create_engine(url)
with engine.begin() as connection:
    found = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'"
    for name in connection.execute(text(found)).scalars().all():
        connection.execute(text(f'DROP SCHEMA "{name}" CASCADE'))
    connection.execute(text("CREATE SCHEMA public"))
    connection.execute(text("CREATE EXTENSION IF NOT EXISTS citext SCHEMA public"))
values = vars(importlib.import_module(module)).values()
held = {each if isinstance(each, MetaData) else getattr(each, "metadata", None) for each in values}
for metadata in held:
    if isinstance(metadata, MetaData):
        with engine.begin() as connection:
            for schema in {table.schema for table in metadata.tables.values()} - {None}:
                connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        metadata.create_all(engine)
"""
ENV = """
import os
from alembic import context
from sqlalchemy import MetaData, create_engine
import models

values = vars(models).values()
held = [each if isinstance(each, MetaData) else getattr(each, "metadata", None) for each in values]
found = [each for each in dict.fromkeys(held) if isinstance(each, MetaData) and each.tables]
with create_engine(context.get_x_argument(as_dictionary=True)["url"]).connect() as connection:
    context.configure(connection=connection, target_metadata=found)
    with context.begin_transaction():
        context.run_migrations()
"""
ALEMBIC = "from alembic.config import main\nmain()\n"


class ToolError(Exception):
    """A tool could not be run: what was received, expected, what to try."""


@dataclass(frozen=True)
class Report:
    """What a tool says at a line: its code."""

    code: str
    line: int


# --- The corpora ----------------------------------------------------------------------------------


def planted() -> dict[str, str]:
    """The code of each fault by the name of its folder."""
    return {
        f"{number:02}_{slug(plant.fault)}": with_imports(plant.code())
        for number, plant in enumerate(PLANTS)
    }


def before() -> dict[str, str]:
    """What the database is made of, where it is not the models themselves."""
    folders = zip(planted(), PLANTS, strict=True)
    return {
        folder: with_imports(plant.base + plant.classes(plant.before) + plant.more)
        for folder, plant in folders
        if plant.before
    }


def clean() -> dict[str, str]:
    """The kit's models, and what the rules' authors wrote as right or as looking wrong."""
    sys.path.insert(0, str(SCRIPT.parent))
    from validate_models.core import all_rules  # noqa: PLC0415 - found by that path

    found = {"kit": (ROOT / "examples" / "models.py").read_text()}
    for name, rule in all_rules().items():
        for kind, sample in (("good", rule.good), ("near_miss", rule.near_miss)):
            # Not those on ignoring: what is ignored there is a fault.
            if re.search(r"\(Base\)|Base\.metadata", sample) and "validate-models:" not in sample:
                found[f"{slug(name)}_{kind}"] = with_imports(f"{BASE}\n{sample}")
    return found


def slug(text: str) -> str:
    """*text* as the name of a folder."""
    return re.sub(r"\W+", "_", text.lower()).strip("_")


def write(folder: Path, files: dict[str, str], name: str) -> None:
    """A folder for each, with *name* in it."""
    for inside, code in files.items():
        (folder / inside).mkdir(parents=True, exist_ok=True)
        (folder / inside / name).write_text(code)


# --- What each tool says --------------------------------------------------------------------------


def of_ours(text: str) -> list[Report]:
    """Of ``--output-format json``; what cannot be imported is told on stderr."""
    start = text.find('{\n  "version"')
    if start < 0:
        if "importing it failed" in text or "cannot be configured" in text:
            return [Report(IMPORT, 0)]
        return [Report(BROKEN, 0)]
    document = json.JSONDecoder().raw_decode(text[start:])[0]
    found = [Report(item["rule"], item["line"] or 0) for item in document["findings"]]
    found = [Report(DRIFT, i.line) if i.code.startswith("drift-") else i for i in found]
    return found + [Report(IMPORT, 0)] * ("importing it failed" in text)


def of_lsp(text: str) -> list[Report]:
    """Of ``sqlalchemy-lsp check --reporter json``."""
    return [Report(item["code"], item["location"]["row"]) for item in json.loads(text or "[]")]


def of_flake8(text: str) -> dict[str, list[Report]]:
    """Of flake8's lines, by the folder."""
    found: dict[str, list[Report]] = {}
    pattern = r"^\./(\w+)/models\.py:(\d+):\d+: (\w+) "
    for folder, line, code in re.findall(pattern, text, re.MULTILINE):
        found.setdefault(folder, []).append(Report(code, int(line)))
    return found


def of_alembic(text: str) -> list[Report]:
    """Of ``alembic check``: operations, or SQLAlchemy's refusal of the models."""
    if "New upgrade operations detected" in text:
        return [Report(DRIFT, 0)]
    if "No new upgrade operations detected" in text:
        return []
    if "sqlalchemy.exc." in text or "sqlalchemy.orm.exc." in text:
        return [Report(IMPORT, 0)]
    return [Report(BROKEN, 0)]


class Forks:
    """A process of one interpreter that forks for each run."""

    def __init__(self, python: Path, *modules: str) -> None:
        """Start it."""
        self.process = subprocess.Popen(
            [str(python), "-B", "-c", FORKS, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, folder: Path, *arguments: object) -> tuple[int, str]:
        """The exit code of a script and what it wrote."""
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as output:
            asked = {"folder": str(folder), "arguments": list(map(str, arguments))}
            assert self.process.stdin
            assert self.process.stdout
            self.process.stdin.write(json.dumps(asked | {"output": output.name}) + "\n")
            self.process.stdin.flush()
            code = self.process.stdout.readline()
            if not code:
                raise ToolError(f"received no answer to {arguments[0]}")
            return int(code), output.read()

    def __enter__(self) -> Forks:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: object, _where: TracebackType | None
    ) -> None:
        self.process.communicate(timeout=TIMEOUT)


class Bench:
    """The tools, a database, and the folders with the corpora."""

    def __init__(self, folder: Path, url: str, python: Path, ours: Forks, theirs: Forks) -> None:
        """*python* is that of the scratch environment."""
        self.folder, self.url, self.python = folder, url, python
        self.ours, self.theirs = ours, theirs
        self.said: dict[Path, dict[str, list[Report]]] = {}
        (folder / "prepare.py").write_text(PREPARE)
        (folder / "alembic_check.py").write_text(ALEMBIC)
        (folder / "migrations" / "versions").mkdir(parents=True)
        (folder / "migrations" / "env.py").write_text(ENV)
        where = f"[alembic]\nscript_location = {folder / 'migrations'}\npath_separator = os\n"
        (folder / "alembic.ini").write_text(where)

    def flake8(self, corpus: Path) -> dict[str, list[Report]]:
        """What flake8 says of all folders of *corpus*, asked once."""
        if corpus not in self.said:
            command = [self.python, "-m", "flake8", "--select", "SA2", "."]
            self.said[corpus] = of_flake8(output_of(*command, cwd=corpus))
        return self.said[corpus]

    def ask(self, inside: Path) -> dict[str, list[Report]]:
        """What each tool says of the models in *inside*."""
        made = "before" if (inside / "before.py").exists() else "models"
        code, _ = self.theirs.run(inside, self.folder / "prepare.py", self.url, made)
        (inside / "before.py").unlink(missing_ok=True)  # the others would read it, too
        database = ["--database-url", self.url] if code == 0 else []
        arguments = ["--isolated", "--output-format", "json", *database, "models.py"]
        _, ours = self.ours.run(inside, SCRIPT, *arguments)
        check = ["-c", self.folder / "alembic.ini", "-x", f"url={self.url}", "check"]
        _, alembic = self.theirs.run(inside, self.folder / "alembic_check.py", *check)
        beside = self.python.parent
        return {
            OURS: of_ours(ours),
            "sqlalchemy-lsp": of_lsp(
                output_of(beside / "sqlalchemy-lsp", "check", "--reporter", "json", cwd=inside)
            ),
            "flake8-sqlalchemy2": self.flake8(inside.parent).get(inside.name, []),
            "alembic": of_alembic(alembic),
        }


def output_of(*command: object, cwd: Path) -> str:
    """What a command writes to stdout.  Raises ``ToolError`` where it breaks down."""
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, check=False, capture_output=True, text=True
    )
    if result.returncode not in (0, 1):
        raise ToolError(f"received {result.returncode} of {command}: {result.stderr[-400:]}")
    return result.stdout


# --- The comparison -------------------------------------------------------------------------------


@contextmanager
def benches(folder: Path, database_url: str | None) -> Iterator[tuple[Bench, dict[str, str]]]:
    """All that is needed, and the versions of it."""
    python = install(folder / "rivals")
    listed = output_of(python, "-m", "pip", "list", "--format", "json", cwd=folder)
    versions = {item["name"].lower(): item["version"] for item in json.loads(listed)}
    named = ("sqlalchemy", *RIVALS, "flake8")
    with (
        postgres_server(database_url=database_url) as server,
        temporary_database(server.url) as url,
        Forks(Path(sys.executable), "sqlalchemy.orm", "psycopg") as ours,
        Forks(python, "alembic.config", "sqlalchemy.orm", "psycopg") as theirs,
    ):
        plain = sqlalchemy.make_url(url).set(drivername="postgresql+psycopg")
        shown = plain.render_as_string(hide_password=False)
        found = {name: versions[name] for name in named} | {"postgresql": server.version}
        yield Bench(folder, shown, python, ours, theirs), found


def install(folder: Path) -> Path:
    """The interpreter of a scratch environment with the others.  Raises ``ToolError``."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    wanted = [f"{name}=={version}" for name, version in (RIVALS | BESIDE).items()]
    wanted.append(f"sqlalchemy[asyncio]=={sqlalchemy.__version__}")
    command = [str(python), "-m", "pip", "install", "--quiet", *wanted]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise ToolError(
            f"received from pip: {result.stderr.strip()[-400:]}\nexpected: {', '.join(wanted)}\n"
            "try: a machine that reaches PyPI"
        )
    return python


def compare(folder: Path, database_url: str | None) -> dict[str, Any]:
    """The document that is kept.  Raises ``ToolError``."""
    write(folder / "planted", planted(), "models.py")
    write(folder / "planted", before(), "before.py")
    good = clean()
    write(folder / "clean", good, "models.py")
    with benches(folder, database_url) as (bench, versions):
        faults = {inside: bench.ask(folder / "planted" / inside) for inside in planted()}
        right = [bench.ask(folder / "clean" / inside) for inside in good]
    return {
        "name": "side_by_side",
        "versions": versions,
        "tools": list(TOOLS),
        "planted": [
            {
                "fault": plant.fault,
                "file": f"{inside}/models.py",
                "line": line_of(planted()[inside]),
                "found": [tool for tool in TOOLS if is_found(faults[inside][tool], plant.codes)],
                "said": {
                    tool: sorted({each.code for each in faults[inside][tool]}) for tool in TOOLS
                },
            }
            for inside, plant in zip(planted(), PLANTS, strict=True)
        ],
        "clean": {
            "files": len(good),
            "lines": sum(len(code.splitlines()) for code in good.values()),
            "reports": {tool: tally(found[tool] for found in right) for tool in TOOLS},
        },
    }


def is_found(reports: Iterable[Report], codes: Iterable[str]) -> bool:
    """Whether the fault is told, by its own name, at whatever line of its file."""
    return bool({each.code for each in reports} & set(codes))


def tally(found: Iterable[list[Report]]) -> dict[str, int]:
    """How often each code is said, the most frequent first."""
    counted = Counter(each.code for reports in found for each in reports)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def main(arguments: list[str] | None = None) -> int:
    """Compare, and keep the result.  Exit codes as in ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.side_by_side",
        description=(__doc__ or "").partition("\n")[0],
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--database-url", metavar="URL", help="a server that runs already")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the corpora there")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="soe-side-by-side-") as name:
            document = compare(Path(name), options.database_url)
            if options.keep:
                ignored = shutil.ignore_patterns("rivals", "__pycache__")
                shutil.copytree(name, options.keep, dirs_exist_ok=True, ignore=ignored)
    except PostgresError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    options.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (options.results / "side_by_side.json").write_text(text)
    for tool in TOOLS:
        found = sum(tool in each["found"] for each in document["planted"])
        false = sum(document["clean"]["reports"][tool].values())
        print(f"{tool:20} found {found:3} of {len(PLANTS)}, on clean models {false}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
