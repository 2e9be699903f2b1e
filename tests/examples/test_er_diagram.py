"""The diagram is what the models say."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from examples.er_diagram import er_diagram, main
from examples.models import Base


def test_the_diagram_shows_every_table_and_key() -> None:
    svg = er_diagram(Base.metadata)
    root = ElementTree.fromstring(svg)  # noqa: S314 - it is ours
    shown = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert set(Base.metadata.tables) <= shown
    keys = sum(len(table.foreign_keys) for table in Base.metadata.tables.values())
    assert svg.count('class="fk"') == keys
    assert er_diagram(Base.metadata) == svg


def test_a_stale_diagram_is_red(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "er.svg"
    assert main([str(file), "--check"]) == 1
    assert main([str(file)]) == 0
    assert main([str(file), "--check"]) == 0
    file.write_text(file.read_text().replace("tickets", "boxes"))
    assert main([str(file), "--check"]) == 1
    assert "make pages" in capsys.readouterr().err
