"""The documentation: every page in its place, whole, and true to what it is made from."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from runner.command_line.commands import NAMES
from runner.config.reference import reference_page

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(r"```\w+\n.*?```", re.DOTALL)


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def pages(nav: object) -> list[str]:
    """Return the pages of a navigation, whatever their sections."""
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav
    return [page for part in inner for page in pages(part)]  # type: ignore[attr-defined]


def test_the_reference_of_the_configuration_is_generated() -> None:
    assert text_of("config.md") == reference_page()


def test_every_command_has_a_page_and_every_page_its_place() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    there = pages(site["nav"])
    assert sorted(there) == sorted(path.name for path in DOCS.glob("*.md"))
    assert {f"{name}.md" for name in ("run", *NAMES)} <= set(there)


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


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_asks_no_other_host(tmp_path: Path) -> None:
    if find_spec("zensical") is None:
        pytest.skip('zensical is not installed: pip install "activation-runner[docs]"')
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    site = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("site/*.html")}
    assert len(site) > 15
    loaded = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']?((?:https?:)?//)")
    assert not {name for name, text in site.items() if loaded.search(text)}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_the_pictures_can_be_drawn_anew(tmp_path: Path) -> None:
    subprocess.run([sys.executable, DOCS / "pictures.py", tmp_path], check=True)
    kept = {path.name for path in DOCS.glob("pictures/*.png")}
    assert {path.name for path in tmp_path.glob("*.png")} == kept
