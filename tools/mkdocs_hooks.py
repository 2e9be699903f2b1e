"""Show the root's pages on the site, and the modules that pages link to; Markdown for agents.

``docs_dir`` cannot be the root of the repository, so the pages of the root are added as generated
files, and links between the two places are mended on the way.  Each page's Markdown lies beside it,
and ``llms.txt`` names them all: see https://llmstxt.org.
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
SEARCH = 'data-md-component="search" role="dialog" aria-label="Search"'
FRONTMATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
WHEN = re.compile(r"^\*When to read this: (.+?\.)\*", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's pages, the licence and every module."""
    for name in ROOT_PAGES:
        files.append(File.generated(config, name, content=(ROOT / name).read_text()))
    files.append(File.generated(config, "LICENSE", abs_src_path=str(ROOT / "LICENSE")))
    for name in ("site.css", "site.js"):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / "tools" / name)))
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    for folder in sorted({path.parent for path in modules()}):
        name = f"{folder.relative_to(ROOT).as_posix()}/index.md"
        files.append(File.generated(config, name, content=listing(folder)))
    return files


def modules() -> list[Path]:
    """What a page may link to: every module, and the template of the revisions."""
    return sorted(
        path
        for folder in FOLDERS
        for suffix in ("py", "mako")
        for path in (ROOT / folder).rglob(f"*.{suffix}")
    )


def listing(folder: Path) -> str:
    """The modules of *folder*, as a page."""
    links = [f"- [{path.name}]({path.name})" for path in modules() if path.parent == folder]
    return "\n".join([f"# {folder.relative_to(ROOT).as_posix()}", "", *links, ""])


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Drop the generator's marks, and point links at where the files are on the site."""
    return shown(markdown)


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Name the theme's search box, for whoever hears the page."""
    return output.replace('data-md-component="search" role="dialog"', SEARCH)


def on_post_build(*, config: MkDocsConfig) -> None:
    """Write ``llms.txt``, and each page's Markdown beside the page."""
    site = Path(config.site_dir)
    lines = [f"# {config.site_name}", "", f"> {config.site_description}"]
    for group in config.nav or []:
        for name, entries in group.items():
            lines += ["", f"## {name}", ""]
            for entry in entries:
                for title, path in entry.items():
                    markdown = shown(source(path).read_text())
                    (site / path).write_text(markdown)
                    lines.append(f"- [{title}]({path}){when(markdown)}")
    (site / "llms.txt").write_text("\n".join([*lines, ""]))


def source(path: str) -> Path:
    """Where the page is written."""
    return ROOT / path if path in ROOT_PAGES else ROOT / "references" / path


def shown(markdown: str) -> str:
    """A page's Markdown as the site has it."""
    markdown = MARKS.sub("", FRONTMATTER.sub("", markdown))
    # references/x.md lies at the site's root, and ../examples/ beside it.
    markdown = re.sub(r"\]\(references/", "](", markdown)
    markdown = re.sub(r"\]\(\.\./", "](", markdown)
    return re.sub(r"\]\(((?:examples|scripts)/[\w/]*)/\)", r"](\1/index.md)", markdown)


def when(markdown: str) -> str:
    """``: you …``, out of the page's first line; nothing where it has none."""
    found = WHEN.search(markdown)
    return ": " + " ".join(found[1].split()) if found else ""
