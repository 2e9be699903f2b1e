"""Show the root's pages on the site, and the modules that pages link to.

``docs_dir`` cannot be the root of the repository, so the pages of the root are added as generated
files, and links between the two places are mended on the way.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
ROOT_PAGES = ("README.md", "SKILL.md", "AGENTS.md", "EXAMPLES.md")
FOLDERS = ("examples", "scripts")
MARKS = re.compile(r"^<!-- (\[\[\[|raises:|not run:).*?-->\n", re.MULTILINE)
FRONTMATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's pages, the licence and every module."""
    for name in ROOT_PAGES:
        files.append(File.generated(config, name, content=(ROOT / name).read_text()))
    files.append(File.generated(config, "LICENSE", abs_src_path=str(ROOT / "LICENSE")))
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Drop the generator's marks, and point links at where the files are on the site."""
    markdown = MARKS.sub("", FRONTMATTER.sub("", markdown))
    # references/x.md lies at the site's root, and ../examples/ beside it.
    markdown = re.sub(r"\]\(references/", "](", markdown)
    return re.sub(r"\]\(\.\./", "](", markdown)
