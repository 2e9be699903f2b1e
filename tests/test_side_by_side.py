"""The comparison is of this corpus, each tool's report is read rightly, and ours says so again."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from benchmarks.planted_faults import DRIFT, IMPORT, MARK, PLANTS, line_of, with_imports
from benchmarks.side_by_side import (
    BROKEN,
    OURS,
    RESULTS,
    SCRIPT,
    TOOLS,
    Forks,
    Report,
    before,
    clean,
    is_found,
    main,
    of_alembic,
    of_flake8,
    of_lsp,
    of_ours,
    planted,
    tally,
    write,
)
from tools.pages import side_by_side

RESULT = {
    "type": "object",
    "required": ["name", "versions", "tools", "planted", "clean"],
    "additionalProperties": False,
    "properties": {
        "name": {"const": "side_by_side"},
        "versions": {"type": "object", "required": ["sqlalchemy", "postgresql", *TOOLS[1:]]},
        "tools": {"const": list(TOOLS)},
        "planted": {"type": "array", "minItems": 50},
        "clean": {
            "type": "object",
            "required": ["files", "lines", "reports"],
            "properties": {"files": {"type": "integer", "minimum": 50}},
        },
    },
}
DOCUMENT: dict[str, Any] = json.loads((RESULTS / "side_by_side.json").read_text())


def test_the_committed_result_is_of_this_corpus() -> None:
    jsonschema.validate(DOCUMENT, RESULT)
    kept = [(each["fault"], each["file"], each["line"]) for each in DOCUMENT["planted"]]
    assert kept == [
        (plant.fault, f"{folder}/models.py", line_of(code))
        for plant, (folder, code) in zip(PLANTS, planted().items(), strict=True)
    ]
    for each, plant in zip(DOCUMENT["planted"], PLANTS, strict=True):
        found = [tool for tool in TOOLS if set(each["said"][tool]) & set(plant.codes)]
        assert each["found"] == found, "judged by the names that stand in the corpus"


def test_the_corpus_is_python_with_one_mark_and_no_star() -> None:
    for code in planted().values():
        assert sum(line.endswith(MARK) for line in code.splitlines()) == 1
        assert "import *" not in code
        ast.parse(code)
    for code in (*before().values(), *clean().values()):
        assert not any(line.endswith((MARK, "# found")) for line in code.splitlines())
        ast.parse(code)
    drifted = [plant for plant in PLANTS if DRIFT in plant.codes]
    assert len(before()) == len(drifted) >= 5


def test_every_tool_finds_something_that_it_claims() -> None:
    """Else it was not run rightly."""
    for tool in TOOLS:
        assert any(tool in each["found"] for each in DOCUMENT["planted"]), tool
        assert BROKEN not in DOCUMENT["clean"]["reports"][OURS]


def test_ours_says_so_again(tmp_path: Path) -> None:
    """Without a database, and so without what only that can tell."""
    folders = planted()
    write(tmp_path, folders, "models.py")
    found = {}
    with Forks(Path(sys.executable), "sqlalchemy.orm") as ours:
        for plant, folder in zip(PLANTS, folders, strict=True):
            if DRIFT not in plant.codes:
                arguments = ("--isolated", "--output-format", "json", "models.py")
                _, text = ours.run(tmp_path / folder, SCRIPT, *arguments)
                found[plant.fault] = is_found(of_ours(text), plant.codes)
    kept = {each["fault"]: OURS in each["found"] for each in DOCUMENT["planted"]}
    assert found == {fault: kept[fault] for fault in found}


def test_reports_are_read() -> None:
    item = {"rule": "int4-key", "line": 3}
    document = json.dumps({"version": 1, "findings": [item]}, indent=2)
    assert of_ours(f"noise\n{document}\nvalidate-models: 1 mappers") == [Report("int4-key", 3)]
    assert of_ours(document.replace("int4-key", "drift-type")) == [Report(DRIFT, 3)]
    assert of_ours("received x, and importing it failed: y") == [Report(IMPORT, 0)]
    assert of_ours("Segmentation fault") == [Report(BROKEN, 0)]
    said = [{"code": "SQLA-W203", "location": {"row": 4, "column": 1}}]
    assert of_lsp(json.dumps(said)) == [Report("SQLA-W203", 4)]
    assert of_lsp("") == []
    text = "./01_a/models.py:5:1: SA201 Missing\n./02_b/models.py:7:5: SA203 Use\nother\n"
    assert of_flake8(text) == {"01_a": [Report("SA201", 5)], "02_b": [Report("SA203", 7)]}
    assert of_alembic("ERROR [alembic] New upgrade operations detected: []") == [Report(DRIFT, 0)]
    assert of_alembic("No new upgrade operations detected.") == []
    assert of_alembic("sqlalchemy.exc.ArgumentError: x") == [Report(IMPORT, 0)]
    assert of_alembic("Killed") == [Report(BROKEN, 0)]
    assert tally([[Report("b", 1)], [Report("a", 1), Report("b", 2)]]) == {"b": 2, "a": 1}


def test_imports_are_named() -> None:
    code = "class A:\n    x: Mapped[datetime] = mapped_column(ARRAY(Text), default=int)\n"
    head = with_imports(code).removesuffix(code)
    assert head.splitlines() == [
        "from datetime import datetime",
        "from sqlalchemy.dialects.postgresql import ARRAY",
        "from sqlalchemy import Text",
        "from sqlalchemy.orm import Mapped",
        "from sqlalchemy.orm import mapped_column",
    ]


def test_the_table_is_made_of_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    side_by_side()
    printed = capsys.readouterr().out
    for each in DOCUMENT["planted"]:
        (row,) = [line for line in printed.splitlines() if line.startswith(f"| {each['fault']} |")]
        assert row.count("yes") == len(each["found"])


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--nothing"])
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err
