"""The documentation: every page in its place, whole, and true to what it is made from."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.command_line.commands import COMMANDS
from runner.config.compose import compose_one
from runner.config.intervene_config import ACTIONS
from runner.config.key_page import SECTIONS, reference_page
from runner.config.strict import Strict
from runner.errors import InputError
from runner.intervening.action import Action
from runner.report.views import VIEWS
from runner.similarity.measures import MEASURES
from runner.table_formats import FORMATS
from runner.tables.statistics import STATISTICS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CHROMIUM = shutil.which("chromium")
BLOCK = re.compile(r"```\w+\n.*?```", re.DOTALL)


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def navigation() -> list[str]:
    """Return the pages that the navigation leads to, whatever their sections."""
    return pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])


def pages(part: Any) -> list[str]:
    if isinstance(part, str):
        return [part]
    inner = part.values() if isinstance(part, dict) else part
    return [page for each in inner for page in pages(each)]


def test_the_modules_that_the_security_page_names_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+/(?:\w+(?:\.py)?)?)`", text)
    assert len(named) > 8
    assert [name for name in named if not (ROOT / "runner" / name).exists()] == []


def test_the_reference_of_the_configuration_is_generated() -> None:
    assert text_of("config.md") == reference_page()


@pytest.mark.parametrize("name", MEASURES)
def test_the_table_of_measures_says_what_they_say_themselves(name: str) -> None:
    measure = MEASURES[name]
    cells = (f"`{name}`", measure.definition, measure.invariant_to, measure.remarks)
    assert all(cells[:3])
    row = " | ".join(cells).rstrip()
    assert f"\n| {row} |\n" in text_of("similarity.md")


def test_the_table_of_statistics_says_what_they_say_themselves() -> None:
    rows = [f"| `{name}` | {each.definition} |\n" for name, each in STATISTICS.items()]
    assert f"| column | description |\n|---|---|\n{''.join(rows)}\n" in text_of("python.md")


@pytest.mark.parametrize("page", ["of_run", "of_sweep"])
def test_the_tables_of_views_say_what_they_say_themselves(page: str) -> None:
    views = [VIEWS[name] for name in VIEWS.own if getattr(VIEWS[name], page) is not None]
    ordered = sorted(views, key=lambda view: view.order)
    rows = [f"| {what} | {why} |\n" for view in ordered for what, why in view.questions.items()]
    assert all(view.questions for view in views)
    table = f"| View | The question it answers |\n|---|---|\n{''.join(rows)}\n"
    assert table in text_of("report.md")


def test_the_table_of_formats_names_them_all_in_order() -> None:
    names = re.findall(r"^\| `(\w+)`(?: \(default\))? \|", text_of("formats.md"), re.MULTILINE)
    assert names == sorted(FORMATS.own, key=lambda name: FORMATS[name].order)


def test_the_table_of_interventions_has_a_row_for_each_key() -> None:
    own = [ACTIONS[name] for name in ACTIONS.own]
    ordered = [*sorted(own, key=lambda action: action.order), Action]
    keys = dict.fromkeys(
        key for one in ordered for key in one.model_fields
        if one is Action or key not in Action.model_fields
    )  # fmt: skip
    table = text_of("interventions.md").partition("| key | what it does |\n|---|---|\n")[2]
    rows = re.match(r"(\|.*\n)*", table)
    assert rows is not None
    named = [re.findall(r"`(\w+)`", row.split(" | ")[0]) for row in rows[0].splitlines()]
    assert [key for row in named for key in row] == [*keys]


@pytest.mark.slow
@pytest.mark.parametrize("part", [part for part in SECTIONS if part.examples])
def test_the_examples_of_the_reference_are_admitted(part: type[Strict]) -> None:
    first, *others = map(shlex.split, part.examples.values())
    compose_one(first, "0123abcd")
    for example in others:
        try:
            compose_one(example, "0123abcd")
        except InputError:  # it belongs to the choice that the first one makes
            compose_one([*first, *example], "0123abcd")


def test_every_command_has_a_page_and_every_page_its_place() -> None:
    there = navigation()
    assert sorted(there) == sorted(path.name for path in DOCS.glob("*.md"))
    assert {f"{name}.md" for name in ("run", *COMMANDS.own)} <= set(there)


def test_both_tutorials_show_the_same() -> None:
    english, korean = (BLOCK.findall(text_of(f"tutorial{lang}.md")) for lang in ("", ".ko"))
    assert english == korean
    assert len(english) > 5


def test_every_picture_is_there_small_and_told_in_words() -> None:
    shown = {
        (told, name)
        for page in DOCS.glob("*.md")
        for told, name in re.findall(r"!\[(.*?)\]\((.*?)\)", page.read_text(encoding="utf-8"))
    }
    assert {name for _, name in shown} == {f"pictures/{p.name}" for p in DOCS.glob("pictures/*")}
    for told, name in shown:
        assert len(told) > 15
        assert (DOCS / name).stat().st_size < 150_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("zensical") is None:
        pytest.skip("needs zensical, of the extra docs")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


class _Loaded(HTMLParser):
    """The addresses of what a page loads: all but where its links lead."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("src", "srcset", "data", "poster") + (() if tag == "a" else ("href",))
        self.addresses += [value or "" for name, value in attrs if name in names]


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(navigation())  # and one for what is not there
    for page in pages:
        loaded = _Loaded(page).addresses
        assert loaded
        assert [address for address in loaded if re.match(r"(\w+:)?//", address)] == [], page
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert re.findall(r"@import|url\([\"']?(?:\w+:)?//", text) == [], sheet


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_site_is_read_and_searched_from_a_folder(site: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    troubles: list[str] = []
    requests: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        for name in navigation():
            page.goto((site / name).with_suffix(".html").as_uri())
            wide, shown = page.evaluate(
                "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            )
            assert wide <= shown, name
        page.keyboard.press("Control+k")
        page.wait_for_timeout(1000)
        page.keyboard.type("procrustes", delay=50)
        page.get_by_text("Do they represent the same?").last.wait_for()
        browser.close()
    assert troubles == []
    assert [url for url in requests if not url.startswith("file:")] == []


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_pictures_can_be_drawn_anew(tmp_path: Path) -> None:
    words = [DOCS / "pictures.py", tmp_path, "tutorial", "digits"]
    subprocess.run([sys.executable, *words], check=True)
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {"network.png", "layer.png", "explained.png", "maps.png"}
    assert drawn < {path.name for path in DOCS.glob("pictures/*.png")}
