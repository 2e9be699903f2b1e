"""The site in a browser: no error, no request to elsewhere, nothing cut off, fit for all."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, sync_playwright

from tests.waiting import DEADLINE, until
from tools.mkdocs_hooks import ROOT_PAGES, shown, source, when

pytestmark = pytest.mark.once
ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")  # Debian's package
WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}
NAMES = [
    path
    for group in yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    for entries in group.values()
    for entry in entries
    for path in entry.values()
]
# Spans of code that look like one before them: their contrast is measured once a page.
ALIKE = """() => {
    const seen = new Set(), again = [];
    for (const span of document.querySelectorAll("pre code span[class]:not(:has(*))")) {
        const own = getComputedStyle(span), around = span.parentElement;
        const look = [own.color, own.backgroundColor, own.opacity, own.fontSize, own.fontWeight,
            getComputedStyle(around).backgroundColor, around.className].join();
        if (seen.has(look)) again.push(span); else seen.add(look);
    }
    for (const span of again) span.replaceWith(...span.childNodes);
}"""
# What passes is not listed; style sheets are not fetched again: no rule that counts here asks them.
FRAME = [[".md-header"], [".md-sidebar--primary"], [".md-footer"]]
AXE = {"resultTypes": ["violations"], "preload": False}
SHOWN = "image => image.decode().then(() => image.naturalWidth > 0, () => false)"
# What a page shows that another does not: tables, code, figures, a diagram.
TYPICAL = ("index.html", "SKILL.html", "models.html", "measurements.html", "pitfalls.html")


def html_of(name: str) -> str:
    """The page that ``name.md`` becomes."""
    return "index.html" if name == "README.md" else name.replace(".md", ".html")


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, and says nothing."""

    def log_message(self, format: str, *arguments: Any) -> None:
        """Pytest's output is not the place."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The URL of *folder* on a loopback port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` does."""
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT, target)
    assert done.returncode == 0, done.stderr
    return target


def build(project: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Run what the Makefile's ``docs`` runs."""
    (line,) = re.findall(r"^docs: .*\n\t.*\$\(RUN\) (.+)$", (ROOT / "Makefile").read_text(), re.M)
    command = [sys.executable, *line.split(), "-d", str(target)]
    return subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    """Its URL."""
    with served(folder) as url:
        yield url


@pytest.fixture(scope="module")
def light(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same with one entry to search: each page that is opened would make an index of all."""
    target = tmp_path_factory.mktemp("light") / "site"
    shutil.copytree(folder, target)
    path = target / "search" / "search_index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps(index | {"docs": index["docs"][:1]}))
    with served(target) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    if not Path(CHROMIUM).exists():
        pytest.skip("requires Chromium: apt-get install chromium, or name one in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu"])
        yield browser
        browser.close()


@dataclass
class Seen:
    """What a page did that it should not."""

    home: str
    errors: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Listen from now on."""
        page.on("console", lambda said: self.note(said.type == "error", f"says {said.text}"))
        page.on("pageerror", lambda error: self.note(True, f"raises {error}"))
        page.on("request", lambda asked: self.note(self.outside(asked.url), f"asks {asked.url}"))
        page.on("requestfailed", lambda asked: self.note(True, f"misses {asked.url}"))

    def outside(self, url: str) -> bool:
        """Whether *url* leads elsewhere."""
        return not url.startswith((self.home, "data:", "blob:"))

    def note(self, fault: bool, what: str) -> None:
        """Keep it where it is one."""
        if fault:
            self.errors.append(what)


@contextlib.contextmanager
def opened(
    browser: Browser, home: str, width: str, scheme: Literal["light", "dark"] = "light"
) -> Iterator[tuple[Page, Seen]]:
    """A page of its own, and what it does."""
    across, down = WIDTHS[width]
    context = browser.new_context(
        viewport={"width": across, "height": down}, color_scheme=scheme, reduced_motion="reduce"
    )
    try:
        page, seen = context.new_page(), Seen(home)
        page.set_default_timeout(1_000 * DEADLINE)  # as long as all others wait
        seen.watch(page)
        yield page, seen
    finally:
        context.close()


def faults_of(page: Page, seen: Seen, url: str) -> list[str]:
    """What is wrong with the page at *url*: what it says or asks, what is cut off or not shown."""
    seen.errors.clear()
    page.goto(url, wait_until="networkidle")
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()  # those below are loaded late
        if not image.evaluate(SHOWN):
            seen.errors.append(f"does not show {image.get_attribute('src')}")
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        seen.errors.append("is wider than the screen")
    if not page.locator("h1").count():
        seen.errors.append("has no title")
    return list(seen.errors)


def barriers(page: Page, *, framed: bool = True) -> list[str]:
    """What axe finds that is serious or critical; without what frames every page, if asked."""
    context = None if framed else {"exclude": FRAME}
    page.evaluate(ALIKE)
    found = Axe().run(page, context, AXE).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:120]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_whole_and_fit_for_all_readers(
    browser: Browser, light: str, width: str
) -> None:
    found = {}
    with opened(browser, light, width) as (page, seen):
        for name in NAMES:
            found[name] = faults_of(page, seen, f"{light}/{html_of(name)}")
            if width == "desktop":
                page.evaluate("scrollTo(0, 0)")
                found[name] += barriers(page, framed=html_of(name) in TYPICAL)
    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_dark_scheme_is_as_good(browser: Browser, site: str, width: str) -> None:
    with opened(browser, site, width, "dark") as (page, seen):
        for name in TYPICAL:
            assert faults_of(page, seen, f"{site}/{name}") == []
            assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"
            assert barriers(page) == []


def test_the_scheme_can_be_changed(browser: Browser, site: str) -> None:
    with opened(browser, site, "desktop") as (page, _):
        page.goto(f"{site}/index.html")
        assert page.locator("body").get_attribute("data-md-color-scheme") == "default"
        page.locator("label[title=Dark]").click()
        assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("word", "wanted"),
    [("MissingGreenlet", "eager-loading.html"), ("SKIP LOCKED", "locking.html")],
)
def test_search_finds(browser: Browser, site: str, width: str, word: str, wanted: str) -> None:
    with opened(browser, site, width) as (page, seen):
        page.goto(f"{site}/index.html")
        if width == "phone":
            page.locator("label.md-header__button[for=__search]").click()
        # Key by key: the script listens for keys let go, and fill() presses none.
        page.locator("input.md-search__input").press_sequentially(word)
        page.locator(f".md-search-result__link[href*='{wanted}']").first.wait_for(state="attached")
        assert seen.errors == []


def clipboard(page: Page) -> str:
    """What has been copied."""
    return str(page.evaluate("navigator.clipboard.readText()")).strip()


def test_code_is_copied(browser: Browser, site: str) -> None:
    with opened(browser, site, "desktop") as (page, seen):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(f"{site}/eager-loading.html")
        code = page.locator("pre > code").first
        code.hover()
        page.locator("pre button[data-md-type=copy], pre .md-clipboard").first.click()
        wanted = code.inner_text().strip()
        assert len(wanted) > 100
        until(lambda: clipboard(page) == wanted, "the code is in the clipboard")
        assert seen.errors == []


# --- For agents -----------------------------------------------------------------------------------


def test_each_page_lies_there_as_markdown(folder: Path) -> None:
    told = (folder / "llms.txt").read_text()
    assert told.startswith("# sqlalchemy-orm-expert\n\n> ")
    assert re.findall(r"^- \[.+?\]\((\S+?)\)", told, re.MULTILINE) == NAMES
    for name in NAMES:
        text = (folder / name).read_text()
        assert text == shown(source(name).read_text())
        assert "[[[" not in text


def untold(told: str, pages: dict[str, str]) -> list[str]:
    """The *pages* of references/ of which the index *told* does not say when to read them."""
    found = []
    for name, markdown in pages.items():
        first = " ".join(markdown.partition("*When to read this: ")[2].split("\n\n")[0].split())
        reason = first.partition(".*")[0]
        said = re.findall(rf"^- \[[^\]]+\]\({re.escape(name)}\)(.*)$", told, re.MULTILINE)
        if not reason or said != [f": {reason}."]:
            found.append(name)
    return found


def test_the_index_says_when(folder: Path) -> None:
    pages = {name: source(name).read_text() for name in NAMES if name not in ROOT_PAGES}
    assert untold((folder / "llms.txt").read_text(), pages) == []


@pytest.mark.parametrize(
    ("line", "page"),
    [
        ("- [A](a.md)", "# A\n\n*When to read this: you\nsearch.*\n"),
        ("- [A](a.md): you sort.", "# A\n\n*When to read this: you\nsearch.*\n"),
        ("- [A](a.md)", "# A\n\nText.\n"),
        ("- [A](a.md): you search.", "# A\n\n*Read this when you search.*\n"),
    ],
)
def test_an_index_that_does_not_say_when_is_seen(line: str, page: str) -> None:
    right = "# A\n\n*When to read this: you\nsearch.* More.\n"
    assert untold("- [A](a.md): you search.", {"a.md": right}) == []
    assert when(right) == ": you search."
    assert untold(line, {"a.md": page}) == ["a.md"]


def dead_links(folder: Path) -> list[str]:
    """The links of the site to files that it has not."""
    found = []
    for page in sorted(folder.rglob("*.html")):
        for link in re.findall(r' (?:href|src)="?([^"\s>]+)', page.read_text()):
            path, _, _ = unescape(link).partition("#")
            if not path or re.match(r"\w+:|//|/", path) or page.name == "404.html":
                continue
            if not (page.parent / path).resolve().exists():
                found.append(f"{page.relative_to(folder)}: {link}")
    return found


def test_every_link_leads_somewhere(folder: Path) -> None:
    assert dead_links(folder) == []


# --- Seeded faults: what turns these gates red ----------------------------------------------------


@pytest.mark.parametrize("link", ["[a](gone.md)", "[a](index.md#gone)", "[a](gone/)"])
def test_a_broken_link_stops_the_build(tmp_path: Path, link: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Title\n\n{link}\n")
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    kept = {name: settings[name] for name in ("site_name", "strict", "validation")}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(kept))
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "gone" in done.stderr


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#x">b</a><a href=gone.html>c</a>')
    (tmp_path / "b.html").write_text('<a href="https://127.0.0.1/">d</a>')
    assert dead_links(tmp_path) == ["a.html: gone.html"]


PALE = "<span class=k style='color:#ccc;background:#fff'>pale</span>"
WHOLE = "<!doctype html><html lang=en><title>t</title><main><h1>Title</h1><p>Text</p>{}</main>"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("", ""),
        ("<script>console.error('so it is')</script>", "says so it is"),
        ("<script>throw new Error('so it is')</script>", "raises"),
        ("<img alt=x src=gone.png>", "does not show gone.png"),
        ("<img alt=x src=http://127.0.0.1:9/x.png>", "asks http://127.0.0.1:9/x.png"),
        ("<pre style='width:3000px'>wide</pre>", "is wider than the screen"),
    ],
)
def test_a_fault_is_seen(browser: Browser, tmp_path: Path, fault: str, told: str) -> None:
    (tmp_path / "page.html").write_text(WHOLE.format(fault))
    (tmp_path / "favicon.ico").write_bytes(b"")
    with served(tmp_path) as home, opened(browser, home, "phone") as (page, seen):
        found = faults_of(page, seen, f"{home}/page.html")
    assert any(told in each for each in found) if told else found == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("", ""),
        ("<p style='color:#ccc;background:#fff'>pale</p>", "color-contrast"),
        (f"<pre><code>{'<span class=k>def</span> ' * 3}{PALE}</code></pre>", "color-contrast"),
        ("<img src=x.png>", "image-alt"),
        ("<button></button>", "button-name"),
    ],
)
def test_a_barrier_is_seen(browser: Browser, tmp_path: Path, fault: str, told: str) -> None:
    (tmp_path / "page.html").write_text(WHOLE.format(fault))
    with served(tmp_path) as home, opened(browser, home, "desktop") as (page, _):
        page.goto(f"{home}/page.html")
        found = barriers(page)
    assert any(each.startswith(told) for each in found) if told else found == []
