"""Redraw the pictures in the documentation: ``python docs/pictures.py docs/pictures [NAME...]``.

Makes the runs that the pages show, opens their reports in Chromium and saves parts of them as
pictures in the folder: all of them, or those of some of ``tutorial``, ``digits``, ``sweep`` and
``effects``. Needs the extra ``test`` and Debian's ``chromium``.
"""

from __future__ import annotations

import contextlib
import io
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageOps
from playwright.sync_api import Locator, Page, sync_playwright

from runner.command_line.entry import main

PICTURES = Path(sys.argv[1]).resolve()
WIDTH = 1080
MARGIN = 24
COLOURS = 256
MOST_BYTES = 150_000


def draw(names: Iterable[str]) -> None:
    """Make the runs and reports of some pages in a temporary folder, and pictures from them."""
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        view = {"width": WIDTH, "height": 900}
        page = browser.new_page(viewport=view, device_scale_factor=1.5, offline=True)
        for name in names:
            commands, drawing = DRAWINGS[name]
            for command in commands.replace("\\\n", "").strip().splitlines():
                if code := main(shlex.split(command)):
                    sys.exit(code)
            drawing(page, Path(folder).resolve())
        browser.close()


def draw_tutorial(page: Page, folder: Path) -> None:
    """Draw the tutorial's network, one of its layers, and the explanation of a value."""
    show(page, folder / "tutorial.html")
    page.select_option("#sample", "1")
    keep("network", page.locator("section", has=page.locator("#network")))
    keep("layer", drawn(page.locator("#layer-0")))
    page.click('[data-unit="1-1"]')
    page.mouse.move(0, 0)
    page.set_viewport_size({"width": WIDTH, "height": 620})
    page.evaluate("document.getElementById('network-title').scrollIntoView()")
    keep("explained", page)


def draw_digits(page: Page, folder: Path) -> None:
    """Draw the feature maps of a convolution for one digit."""
    show(page, folder / "digits.html")
    page.locator("#sample").select_option(index=3)
    keep("maps", drawn(page.locator("#layer-0")))


def draw_sweep(page: Page, folder: Path) -> None:
    """Draw the figures of trainings from five seeds."""
    show(page, folder / "sweep.html")
    for name in ("runs", "stability", "training", "one"):
        keep(name, drawn(page.locator(f'[aria-labelledby="{name}-title"]')))


def draw_effects(page: Page, folder: Path) -> None:
    """Draw effects of units, patches and noise, and a layer of which two units were changed."""
    for run, name in (("each", "effects"), ("grid", "grid"), ("noisy", "noise")):
        show(page, folder / f"{run}.html")
        keep(name, drawn(page.locator('[aria-labelledby="effects-title"]')))
    show(page, folder / "off.html")
    keep("off", drawn(page.locator("#layer-1")))


def show(page: Page, report: Path) -> None:
    """Open a report, with a toolbar that does not cover the content below it."""
    page.goto(report.as_uri())
    page.add_style_tag(content=".toolbar { position: static !important; }")


def drawn(part: Locator) -> Locator:
    """Return a part of a report once every figure in it is drawn."""
    for plot in part.locator(".plot").all():
        plot.scroll_into_view_if_needed()
        plot.locator("xpath=self::*[@data-drawn]").wait_for()
    return part


def keep(name: str, part: Locator | Page) -> None:
    """Save a picture of a part, with as few colours as it needs to look the same."""
    picture = Image.open(io.BytesIO(part.screenshot())).convert("RGB")
    picture = ImageOps.expand(picture, MARGIN, "white")
    path = PICTURES / f"{name}.png"
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    sys.stdout.write(f"{path.name}: {picture.width} x {picture.height}, {size / 1000:.0f} kB\n")
    if size > MOST_BYTES:
        raise SystemExit(f"{path.name} is too large for a page")


DRAWINGS = {
    "tutorial": (
        """
hydra.run.dir=tutorial
report tutorial --output tutorial.html
""",
        draw_tutorial,
    ),
    "digits": (
        """
experiment=digits_cnn hydra.run.dir=digits
report digits --output digits.html
""",
        draw_digits,
    ),
    "sweep": (
        """
-m experiment=digits_mlp train=fit train.epochs=20 train.metrics=[accuracy] train.every=1 \
    seed=range(0,5) hydra.sweep.dir=sweep
report sweep --output sweep.html
""",
        draw_sweep,
    ),
    "effects": (
        """
experiment=digits_mlp train=fit train.epochs=5 train.save_model=true hydra.run.dir=trained
model=saved model.path=trained/model.keras probe=digits intervene.hidden_2.units=each \
    intervene.hidden_2.set=0 hydra.run.dir=each
model=saved model.path=trained/model.keras probe=digits 'intervene.hidden_2.units=[0,3]' \
    intervene.hidden_2.set=mean name=off hydra.run.dir=off
experiment=transformer hydra.run.dir=clean
experiment=transformer probe.seed=1 \
    'intervene={attention/*: {patch: clean, positions: each}, \
    add_1: {patch: clean, positions: each}}' \
    hydra.run.dir=grid
-m model=saved model.path=trained/model.keras probe=digits \
    intervene.hidden_1.noise.std=0.1,0.5,1 hydra.sweep.dir=noisy
report each --output each.html
report off --output off.html
report grid --output grid.html
report noisy --output noisy.html
""",
        draw_effects,
    ),
}
"""By name: the commands that make runs and reports, and what draws pictures from these."""


if __name__ == "__main__":
    draw(sys.argv[2:] or DRAWINGS)
