"""Fill the generated parts of the pages, or with ``--check`` see that they are up to date.

In a page, ``excerpt("examples/sessions.py", "sign_up")`` between cog's marks becomes the code of
that function with a link to its file.  Nothing in a page is copied by hand.
"""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def pages() -> list[Path]:
    """Every page: the two of the root that agents load, and the references."""
    return [ROOT / "SKILL.md", ROOT / "EXAMPLES.md", *sorted((ROOT / "references").glob("*.md"))]


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


def pitfall(slug: str) -> None:
    """Print one pitfall: title, why, the wrong code with its symptom, the right one.  For cog."""
    path = f"examples/pitfalls/{slug}.py"
    module = importlib.import_module(f"examples.pitfalls.{slug}")
    title, _, why = (module.__doc__ or "").strip().partition("\n\n")
    print(f"## {title.strip()}\n\n{why.strip()}\n")
    print(f"**Wrong**: {module.SYMPTOM.told()}.\n\n```python\n{source_of(path, 'broken')}\n```\n")
    print(f"**Right**\n\n```python\n{source_of(path, 'fixed')}\n```\n")
    print(f"From [`{path}`](../{path}); see [{module.SOURCE[0]}]({module.SOURCE[1]}).")


def pitfall_sides(slug: str) -> None:
    """Print a pitfall within another page: why, wrong, right; the page has the title.  For cog."""
    module = importlib.import_module(f"examples.pitfalls.{slug}")
    why = (module.__doc__ or "").strip().partition("\n\n")[2].strip()
    path = f"examples/pitfalls/{slug}.py"
    print(f"{why}\n\n**Wrong**: {module.SYMPTOM.told()}.\n")
    print(f"```python\n{source_of(path, 'broken')}\n```\n")
    print(f"**Right**\n\n```python\n{source_of(path, 'fixed')}\n```\n")
    print(f"From [`{path}`](../{path}).")


def measured(name: str) -> None:
    """Print what ``benchmarks/results`` says of one suite: a table, and its plot.  For cog."""
    document = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    versions, machine = document["versions"], document["machine"]
    print(f"{document['title']}, {document['size']:,} rows:\n")
    print("| | median | spread | times | statements |\n|---|--:|--:|--:|--:|")
    for case in document["cases"]:
        statements = "" if case["statements"] is None else f"{case['statements']:,}"
        print(
            f"| {case['case']} | {case['median_s'] * 1000:.3g} ms | {case['spread']:.0%} "
            f"| {case['ratio']:.3g} | {statements} |"
        )
    print(f"\n![{document['title']}](images/benchmark-{name}.svg)\n")
    print(
        f"*One run of `python -m benchmarks {name}`: {document['repetitions']} rounds in turn, "
        f"{machine['cores']} cores, PostgreSQL {versions['postgresql']}, "
        f"SQLAlchemy {versions['sqlalchemy']}. Read the ratios.*"
    )


def run_cog(arguments: list[str]) -> int:
    """Run cog over every page."""
    prologue = "from tools.pages import *"
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
