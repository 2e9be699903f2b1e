"""Draw the schema: ``python -m examples.er_diagram FILE.svg [--check]``.

Problem: a diagram drawn by hand is wrong after the next change.  Pattern: make it from the models,
and let a check compare it.  The output is the same for the same metadata, byte for byte.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from sqlalchemy import Column, MetaData, Table
from sqlalchemy.dialects import postgresql

from .models import Base

WIDTH, ROW, GAP_X, GAP_Y, MARGIN = 330, 18, 130, 40, 20
COLUMNS = 3
STYLE = (
    "text{font:12px ui-monospace,monospace;fill:#222}.t{font-weight:bold;fill:#fff}"
    ".k{fill:#777}.box{fill:#fff;stroke:#456}.head{fill:#345678}"
    ".fk{fill:none;stroke:#888}"
)


def describe(column: Column[object]) -> str:
    """``name type`` with the marks of a key and of NOT NULL: what a reader asks first."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    kind = column.type.compile(dialect=dialect).lower()
    kind = kind.replace("timestamp with time zone", "timestamptz")
    return f"{column.name} {kind}{'' if column.nullable else ' not null'}"


def mark(column: Column[object]) -> str:
    """PK, FK or nothing."""
    return "PK" if column.primary_key else "FK" if column.foreign_keys else ""


def layout(tables: Sequence[Table]) -> dict[str, tuple[int, int]]:
    """Table name → left and top: each table goes to the shortest of the columns."""
    heights = [MARGIN] * COLUMNS
    places = {}
    for table in tables:
        column = heights.index(min(heights))
        places[table.name] = (MARGIN + column * (WIDTH + GAP_X), heights[column])
        heights[column] += ROW * (len(table.columns) + 1) + GAP_Y
    return places


def draw_table(table: Table, x: int, y: int) -> list[str]:
    """A box: the name, then a row a column."""
    height = ROW * (len(table.columns) + 1) + 6
    lines = [
        f'<rect class="box" x="{x}" y="{y}" width="{WIDTH}" height="{height}"/>',
        f'<rect class="head" x="{x}" y="{y}" width="{WIDTH}" height="{ROW}"/>',
        f'<text class="t" x="{x + 6}" y="{y + 13}">{escape(table.name)}</text>',
    ]
    for number, column in enumerate(table.columns, 1):
        top = y + ROW * number + 14
        lines.append(f'<text class="k" x="{x + 6}" y="{top}">{mark(column)}</text>')
        lines.append(f'<text x="{x + 30}" y="{top}">{escape(describe(column))}</text>')
    return lines


def draw_keys(table: Table, places: dict[str, tuple[int, int]]) -> list[str]:
    """A curve from each foreign key's row to the table that it refers to."""
    lines = []
    x, y = places[table.name]
    for number, column in enumerate(table.columns, 1):
        for key in column.foreign_keys:
            to_x, to_y = places[key.column.table.name]
            top, target = y + ROW * number + 9, to_y + 9
            if to_x > x:
                start, end, bend = x + WIDTH, to_x, 60
            elif to_x < x:
                start, end, bend = x, to_x + WIDTH, -60
            else:  # the same column: round the right side
                start = end = x + WIDTH
                bend = 40 + 4 * number
            end_bend = bend if start == end else -bend
            lines.append(
                f'<path class="fk" marker-end="url(#a)" d="M{start},{top} '
                f'C{start + bend},{top} {end + end_bend},{target} {end},{target}"/>'
            )
    return lines


def er_diagram(metadata: MetaData) -> str:
    """The SVG of *metadata*'s tables, parents first."""
    tables = metadata.sorted_tables
    places = layout(tables)
    body: list[str] = []
    for table in tables:
        body += draw_keys(table, places)
    for table in tables:
        body += draw_table(table, *places[table.name])
    width = 2 * MARGIN + COLUMNS * WIDTH + (COLUMNS - 1) * GAP_X
    height = max(y + ROW * (len(metadata.tables[n].columns) + 1) for n, (_, y) in places.items())
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 90} {height + 40}">',
            "<title>Tables of the support desk</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
            'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8" fill="#888"/></marker></defs>',
            f'<rect width="{width + 90}" height="{height + 40}" fill="#fafafa"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or with ``--check`` compare it: 0 the same, 1 not."""
    parser = argparse.ArgumentParser(prog="python -m examples.er_diagram", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    drawn = er_diagram(Base.metadata)
    if options.check:
        same = options.file.is_file() and options.file.read_text() == drawn
        if not same:
            print(f"{options.file} is not what the models say; try: make pages", file=sys.stderr)
        return 0 if same else 1
    options.file.parent.mkdir(parents=True, exist_ok=True)
    options.file.write_text(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
