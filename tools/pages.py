"""Fill the generated parts of the pages, or with ``--check`` see that they are up to date.

In a page, ``excerpt("examples/sessions.py", "sign_up")`` between cog's marks becomes the code of
that function with a link to its file.  Nothing in a page is copied by hand.
"""

from __future__ import annotations

import ast
import functools
import importlib
import itertools
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import warnings
from pathlib import Path
from textwrap import dedent, indent, shorten
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from validate_models.core import Rule

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 160  # of a message
VARYING = re.compile(r"\d{4}-\d\d-\d\d [\d:.+]+|[0-9a-f]{8}-[0-9a-f-]{27}")  # times, UUIDs
VERDICTS = ("proved", "corrected", "dropped", "later")  # of the checklists
# What a sample has because it must, and a reader need not see.
KEY = "    id: Mapped[int] = mapped_column(primary_key=True)\n"
PLAIN = re.compile(rf"class \w+\(Base\):\n    __tablename__ = .*\n\n{re.escape(KEY.rstrip())}")


def pages() -> list[Path]:
    """Every page: those of the root that agents load, and the references."""
    root = [ROOT / name for name in ("SKILL.md", "AGENTS.md", "EXAMPLES.md")]
    return [*root, *sorted((ROOT / "references").glob("*.md"))]


def source_of(path: str, name: str) -> str:
    """The code of the function or class *name*, its decorators included.

    Raises ``LookupError`` where the module has no such name.
    """
    text = (ROOT / path).read_text()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name != name:
                continue
            first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
            return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    raise LookupError(f"{path} has no function or class {name!r}")


def excerpt(path: str, *names: str) -> None:
    """Print the code of *names* as one fenced block, and where it stands.  For cog."""
    code = "\n\n\n".join(source_of(path, name) for name in names)
    # Built here, so that no page holds a fence within a fence.
    link = f"[`{path}`](../{path})"
    print(f"```python\n{code}\n```\n\nFrom {link}.")


def excerpt_here(path: str, *names: str) -> None:
    """The same for a page of the root."""
    code = "\n\n\n".join(source_of(path, name) for name in names)
    print(f"```python\n{code}\n```\n\nFrom [`{path}`]({path}).")


def measured(name: str) -> None:
    """Print what ``benchmarks/results`` says of one suite: a table, and its plot.  For cog."""
    document = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    versions, machine = document["versions"], document["machine"]
    print(f"{document['title']}, {document['size']:,} {document.get('unit', 'rows')}:\n")
    told = any(case.get("peak_mib") for case in document["cases"])
    print("| | median | spread | times | statements |" + " peak of memory |" * told)
    print("|---|--:|--:|--:|--:|" + "--:|" * told)
    for case in document["cases"]:
        statements = "" if case["statements"] is None else f"{case['statements']:,}"
        peak = f"{case['peak_mib']:.3g} MiB" if case.get("peak_mib") else ""
        print(
            f"| {case['case']} | {case['median_s'] * 1000:.3g} ms | {case['spread']:.0%} "
            f"| {case['ratio']:.3g} | {statements} |" + f" {peak} |" * told
        )
    print(f"\n![{document['title']}](images/benchmark-{name}.svg)\n")
    print(
        f"*One run of `python -m benchmarks {name}`: {document['repetitions']} rounds in turn, "
        f"{machine['cores']} cores, PostgreSQL {versions['postgresql']}, "
        f"SQLAlchemy {versions['sqlalchemy']}. Read the ratios.*"
    )


def proved(name: str) -> dict[str, Any]:
    """A result that ``make prove`` has written."""
    document: dict[str, Any] = json.loads(
        (ROOT / "benchmarks" / "results" / f"{name}.json").read_text()
    )
    return document


def long_forms() -> None:
    """Print what ``tools.prove_service`` found: how much was done, and how often it failed."""
    document = proved("prove_service")
    versions = document["versions"]
    print("| | driver | done | failures |\n|---|---|--:|--:|")
    for form in document["forms"]:
        print(f"| {form['form']} | {form['case']} | {form['done']:,} | {form['failures']:,} |")
    print(
        f"\n*`python -m tools.prove_service`: PostgreSQL {versions['postgresql']}, PgBouncer "
        f"{versions['pgbouncer']}, SQLAlchemy {versions['sqlalchemy']}, "
        f"FastAPI {versions['fastapi']}.*"
    )


def repeated() -> None:
    """Print what ``tools.prove`` found: how often the concurrent tests ran, and failed."""
    document = proved("repetitions")
    print("| | tests | runs | failures |\n|---|--:|--:|--:|")
    modules: dict[str, list[dict[str, Any]]] = {}
    for test in document["tests"]:
        modules.setdefault(test["test"].partition(":")[0], []).append(test)
    for module, tests in modules.items():
        runs = sum(test["runs"] for test in tests)
        failures = sum(test["failures"] for test in tests)
        print(f"| `{module}` | {len(tests)} | {runs:,} | {failures:,} |")
    print(
        f"\n*`python -m tools.prove`: each test {document['repetitions']} times, "
        "and each of its variants.*"
    )


def side_by_side() -> None:
    """Print how the linter and others did on the same models: ``benchmarks.side_by_side``."""
    document = proved("side_by_side")
    tools, faults, clean = document["tools"], document["planted"], document["clean"]
    versions = document["versions"]
    print(
        f"| | of {len(faults)} faults: found | missed | reports on {clean['files']} clean files |"
    )
    print("|---|--:|--:|---|")
    for tool in tools:
        found = sum(tool in fault["found"] for fault in faults)
        said = [f"{number} `{code}`" for code, number in clean["reports"][tool].items()]
        total = sum(clean["reports"][tool].values())
        shown = f"{total}" + (f": {', '.join(said[:4])}" + " …" * (len(said) > 4) if said else "")
        name = f"{tool} {versions[tool]}" if tool in versions else tool
        print(f"| {name} | {found} | {len(faults) - found} | {shown} |")
    print(f"\n| planted fault | {' | '.join(tools)} |\n|---{'|---' * len(tools)}|")
    for fault in faults:
        marks = ("yes" if tool in fault["found"] else "" for tool in tools)
        print(f"| {fault['fault']} | " + " | ".join(marks) + " |")
    print(
        f"\n*One run of `python -m benchmarks.side_by_side`: SQLAlchemy {versions['sqlalchemy']}, "
        f"PostgreSQL {versions['postgresql']}.*"
    )


def routes(text: str) -> dict[tuple[str, ...], list[str]]:
    """The tables of the skill: for the pages that stand in one row, the tasks and the symptoms."""
    found: dict[tuple[str, ...], list[str]] = {}
    for title in ("Read by task", "Read by symptom"):
        section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        for line in section.splitlines():
            what, _, where = line.strip("| ").rpartition(" | ")
            if links := tuple(re.findall(r"\]\(([^)#]+)[^)]*\)", where)):
                found.setdefault(links, []).append(what)
    return found


def agents_index() -> None:
    """Print the skill's tables a line a page: its tasks, then its symptoms.  For cog."""
    for links, told in routes((ROOT / "SKILL.md").read_text()).items():
        print(f"- {' '.join(links)}: {'; '.join(told)}")


def recipe(slug: str, *names: str) -> None:
    """Print one recipe: its text, its revisions with what they lock, the code of *names*.  For cog.

    The locks are those that the recipe's test has measured.
    """
    path = f"examples/migration_guide/recipes/{slug}.py"
    module = importlib.import_module(f"examples.migration_guide.recipes.{slug}")
    title, _, text = (module.__doc__ or "").strip().partition("\n\n")
    told = escaped(text.strip()).replace("``", "`")
    print(f"## {title.rstrip('.')}\n\n{told}\n")
    print("| Revision | Strongest lock | Held | Back |\n|---|---|---|---|")
    found = proved("recipe_locks")[slug]
    for step in module.STEPS:
        name = step.upgrade.__name__
        back = "none" if step.one_way else "yes" if step.downgrade else "–"
        print(f"| `{name}` | {locks_told(found['steps'][name])} | {back} |")
    for name, seen in found.get("naive", {}).items():
        print(f"| *wrong:* `{name}` | {locks_told(seen)} | |")
    print()
    if names:
        excerpt(path, *names)
    else:
        print(f"Code: [`{path}`](../{path}).")


# In a page the modes are named as in SQL.
ROW_EXCLUSIVE, UPDATE_EXCLUSIVE = "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"
WEAK = ("ACCESS SHARE", "ROW SHARE")


def locks_told(seen: dict[str, Any]) -> str:
    """Two cells: the strongest lock by table, and how long it is held."""
    modes = {
        table: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", mode.removesuffix("Lock")).upper()
        for table, mode in seen["locks"].items()
    }
    strong = {table: mode for table, mode in modes.items() if mode not in WEAK}
    tables: dict[str, list[str]] = {}
    for table, mode in strong.items():
        tables.setdefault(mode, []).append(f"`{table}`")
    locks = "; ".join(f"{mode} on {', '.join(names)}" for mode, names in tables.items())
    read = ", ".join(f"`{table}`" for table in seen["read"])
    anew = [scan for scan in seen.get("scans", ()) if scan.endswith("written anew")]
    if seen.get("scans"):
        did = "writes the table anew" if anew else "reads the table"
        held = f"while it {did}: everybody waits"
    elif seen.get("written"):
        held = "rows: until the last one is changed"
    elif seen.get("refused"):
        held = f"a moment; then the old code gets {', '.join(seen['refused'])}"
    elif read:
        held = f"while it reads {read}; writers go on"
    elif not strong:
        held = ""
    elif set(tables) == {ROW_EXCLUSIVE}:
        held = "a batch"
    elif set(tables) <= {ROW_EXCLUSIVE, UPDATE_EXCLUSIVE}:
        held = "writers go on"
    else:
        held = "a moment"
    return f"{locks or 'none'} | {held}"


def checklist_data() -> dict[str, Any]:
    """The lists of the published skills, and what became of each item."""
    return tomllib.loads((ROOT / "tests" / "data" / "checklists.toml").read_text())


def checklist_row(row: dict[str, Any]) -> str:
    """One claim: a row of the table, its figures out of the benchmarks."""
    figures = (
        f"{case['ratio']:.3g}"
        for suite, name in row.get("ratios", [])
        for case in proved(suite)["cases"]
        if case["case"] == name
    )
    proofs = (f"`{test.partition('::test_')[2]}`" for test in row.get("tests", []))
    checks = (f"`{name}`" for name in row.get("rules", []))
    cells = [f"[{row['do']}]({row['page']})", row["verdict"], row["why"].format(*figures)]
    return (
        f"| {' | '.join([*cells, ', '.join(proofs), ' '.join(checks), ' '.join(row['items'])])} |"
    )


def checklist() -> None:
    """Print what became of the published lists: counts, and a row a claim.  For cog."""
    data = checklist_data()
    rows = data["row"]
    counts = ((word, sum(row["verdict"] == word for row in rows)) for word in VERDICTS)
    told = ", ".join(f"{number} {word}" for word, number in counts)
    print(f"{sum(data['lists'].values())} items, {len(rows)} claims: {told}.\n")
    print("| Claim | Verdict | What holds | Proof | Rule | From |\n|---|---|---|---|---|---|")
    print("\n".join(map(checklist_row, rows)))


@functools.cache
def linter_rules() -> dict[str, list[Rule]]:
    """The rules of validate-models by family."""
    sys.path.insert(0, str(ROOT / "scripts"))
    core = importlib.import_module("validate_models.core")
    found: dict[str, list[Rule]] = {}
    for rule in core.all_rules().values():
        found.setdefault(rule.family, []).append(rule)
    return dict(sorted(found.items()))


def rule_page(family: str) -> str:
    """The name of the page on the rules of *family*."""
    return f"validating-models-{family}.md"


def rule_index() -> None:
    """Print the names of the rules, a row a family, with links to their pages.  For cog."""
    print("| family | error | warning | info | opt-in |\n|---|---|---|---|---|")
    for family, members in linter_rules().items():
        cells = [
            " ".join(f"`{rule.name}`" for rule in members if rule.default and rule.severity == word)
            for word in ("error", "warning", "info")
        ]
        cells.append(" ".join(f"`{rule.name}`" for rule in members if not rule.default))
        print(f"| [{family}]({rule_page(family)}) | {' | '.join(cells)} |")


def linter_says(output_format: str) -> None:
    """Print what the linter says, in one format, of the models that stand in its page.  For cog."""
    page = (ROOT / "references" / "validating-models.md").read_text()
    models = re.search(r"cat > models\.py <<'END'\n(.*?)^END$", page, re.DOTALL | re.MULTILINE)
    assert models
    with tempfile.TemporaryDirectory(prefix="soe-pages-") as folder:
        (Path(folder) / "models.py").write_text(models[1])
        script = ROOT / "scripts" / "validate-models.py"
        result = subprocess.run(
            [sys.executable, str(script), "--output-format", output_format, "models.py"],
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
        )
    if result.returncode != 1:
        raise LookupError(f"expected findings, received {result.returncode}: {result.stderr}")
    # Set in, not fenced: a fenced block would be run.  The first line keeps cog from undoing that.
    print(f"`--output-format {output_format}`:\n\n{indent(result.stdout.rstrip(), '    ')}")


def rules(family: str) -> None:
    """Print all that there is to say of the rules of *family*.  For cog."""
    print("\n\n".join(rule_in_full(rule) for rule in linter_rules()[family]))


def rule_in_full(rule: Rule) -> str:
    """One rule: severity, why, wrong code with the message that it gets, fix, right code."""
    marks = [rule.severity]
    marks += [] if rule.default else ["opt-in"]
    marks += ["only where asyncio is used"] if rule.asyncio else []
    if rule.live:
        return live_rule(rule, marks)
    marks += [f"SQLAlchemy {rule.versions}"] if rule.versions != "2.0, 2.1" else []
    keyless = not re.search(r"primary_key=.*# found", rule.bad)
    wrong = parts_of(rule.bad, keyless)
    same = {part.replace("  # found", "") for part in wrong}
    right = parts_of(rule.good, keyless)
    right = [part for part in right if part not in same] or right
    told = (shorten(message, LONGEST, placeholder=" …") for message in messages_of(rule))
    messages = "; ".join(f"`{message}`" for message in itertools.islice(told, 2))
    return "\n\n".join(
        [
            f"## {rule.name}",
            f"*{', '.join(marks)}.* {rule.title}.",
            escaped(rule.why),
            f"**Wrong**: {messages}.",
            *in_python(wrong),
            f"**Right**:{in_markdown(rule.fix)}",
            *in_python(right),
            f"[Documentation]({rule.url}).",
        ]
    )


def live_rule(rule: Rule, marks: list[str]) -> str:
    """A rule on a database: the line of the models, the SQL that puts the database at fault."""
    line = next(line for line in rule.bad.splitlines() if line.endswith("# found"))
    return "\n\n".join(
        [
            f"## {rule.name}",
            f"*{', '.join(marks)}.* {rule.title}. {escaped(rule.why)}",
            f"**Wrong**: `{line.strip()}`, after:",
            indent(rule.drift.strip(), "    "),
            f"**Right**:{in_markdown(rule.fix)} [See]({rule.url}).",
        ]
    )


def parts_of(sample: str, keyless: bool) -> list[str]:
    """The classes and tables of a sample; *keyless*: without keys that are not the point."""
    parts = dedent(sample).strip().split("\n\n\n")
    if not keyless:
        return parts
    return [without_key(part) for part in parts if not PLAIN.fullmatch(part)]


def without_key(part: str) -> str:
    """A class without its key, unless it speaks of that again: ``remote_side=id``."""
    short = part.replace(KEY, "")
    return part if re.search(r"(?<!\.)\bid\b", short) else short


def in_python(parts: list[str]) -> list[str]:
    """*parts* as one block, if any.  No test of the pages runs it: those of the rules did."""
    return ["```python\n" + "\n\n\n".join(parts) + "\n```"] * bool(parts)


def messages_of(rule: Rule) -> list[str]:
    """What *rule* says of its bad sample, by asking it.

    Raises ``LookupError`` where it finds nothing.
    """
    samples = importlib.import_module("tests.scripts.test_validate_models.samples")
    api = importlib.import_module("validate_models.api")
    kept = list(sys.path)
    with tempfile.TemporaryDirectory(prefix="soe-pages-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what SQLAlchemy says of bad samples by itself
        path = samples.write_sample(Path(folder), rule.bad).rename(f"{folder}/models.py")
        try:
            outcome = api.run([str(path)], select=[rule.name], asyncio=True, root=Path(folder))
        finally:
            samples.forget(path.stem)
            sys.path[:] = kept
    found = list(dict.fromkeys(VARYING.sub("…", item.message) for item in outcome.findings))
    if not found:
        raise LookupError(f"{rule.name} finds nothing in its bad sample: {outcome.problems}")
    return found


def escaped(text: str) -> str:
    """*text* as Markdown prose: ``__init__`` is no emphasis."""
    return text.replace("__", r"\_\_")


def in_markdown(fix: str) -> str:
    """A rule's fix: lines that are set in are code, the others prose."""
    lines: list[str] = []
    was_code = False
    for line in fix.strip("\n").splitlines():
        is_code = line.startswith("    ")
        lines += [""] * (is_code != was_code)
        lines.append(line if is_code else escaped(line))
        was_code = is_code
    return ("\n" if lines[0] == "" else " ") + "\n".join(lines)


def run_cog(arguments: list[str]) -> int:
    """Run cog over every page."""
    # The last wins where two have one name.
    modules = ("benchmarks.claims", "tools.pitfall_pages", "tools.pages")
    prologue = "; ".join(f"from {module} import *" for module in modules)
    names = [str(page.relative_to(ROOT)) for page in pages()]
    command = [sys.executable, "-m", "cogapp", "-p", prologue, "-P", "-I", str(ROOT)]
    return subprocess.run([*command, *arguments, *names], cwd=ROOT, check=False).returncode


def main(arguments: list[str]) -> int:
    """Exit 0 when the pages are filled or up to date, 1 when ``--check`` finds a difference."""
    if arguments == ["--check"]:
        return 1 if run_cog(["--check", "--diff"]) else 0
    if arguments:
        print("usage: python -m tools.pages [--check]", file=sys.stderr)
        return 2
    diagram = [sys.executable, "-m", "examples.er_diagram", "references/images/er-diagram.svg"]
    subprocess.run(diagram, cwd=ROOT, check=True)
    return run_cog(["-r"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
