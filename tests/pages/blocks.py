"""Read a page: its fenced blocks, links and headings."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

OPENING = re.compile(r"^```(\w*)\s*$")
RAISES = re.compile(r"^<!-- raises: (\w+): (.+?) -->$")
NOT_RUN = re.compile(r"^<!-- not run: (.+?) -->$")
COG, COG_END = "<!-- [[[cog", "<!-- [[[end]]]"
LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, code and line; what it must raise; what it must print."""

    language: str
    code: str
    line: int
    generated: bool
    raises: tuple[str, str] | None = None
    not_run: str | None = None
    expected: str | None = None


def blocks_of(text: str) -> list[Block]:
    """Every fenced block, in order; a ``text`` block belongs to the one before it.

    Raises ``ValueError`` for a fence that is never closed.
    """
    found: list[Block] = []
    generated, note, start = False, "", 0
    language: str | None = None
    code: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if language is not None:
            if line.rstrip() != "```":
                code.append(line)
                continue
            body = "\n".join(code) + "\n"
            if language == "text" and found and not generated:
                found.append(replace(found.pop(), expected=body))
            else:
                raises, not_run = RAISES.match(note), NOT_RUN.match(note)
                found.append(
                    Block(
                        language,
                        body,
                        start,
                        generated,
                        (raises[1], raises[2]) if raises else None,
                        not_run[1] if not_run else None,
                    )
                )
            language, note = None, ""
        elif opening := OPENING.match(line):
            language, code, start = opening[1], [], number
        elif line.startswith(COG):
            generated = True
        elif line.startswith(COG_END):
            generated = False
        elif line.strip():
            note = line
    if language is not None:
        raise ValueError(f"the block of line {start} is never closed")
    return found


def without_blocks(text: str) -> str:
    """The prose alone."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links_of(text: str) -> list[str]:
    """The targets of the links in the prose."""
    return LINK.findall(without_blocks(text))


def anchors_of(text: str) -> set[str]:
    """What ``#…`` may point at: a heading in lower case, dashes for spaces."""
    titles = re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken_links(page: Path) -> list[str]:
    """Relative links of *page* to a file or a heading that is not there."""
    broken = []
    for link in links_of(page.read_text()):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors_of(target.read_text())
        ):
            broken.append(link)
    return broken
