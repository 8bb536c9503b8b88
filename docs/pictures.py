"""Redraw the pictures in the documentation: ``python docs/pictures.py docs/pictures``.

Makes the runs that the pages show, opens their reports in Chromium and saves parts of them as
pictures in the folder. Needs the extra ``test`` and Debian's ``chromium``.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageOps
from playwright.sync_api import Locator, Page, sync_playwright

ROOT = Path(__file__).parent.parent
PICTURES = Path(sys.argv[1])
COMMANDS = """
hydra.run.dir=tutorial
experiment=digits_cnn hydra.run.dir=digits
-m experiment=digits_mlp train=fit train.epochs=20 train.metrics=[accuracy] train.every=1 \
    seed=range(0,5) hydra.sweep.dir=sweep
report tutorial --output tutorial.html
report digits --output digits.html
report sweep --output sweep.html
"""
WIDTH = 1080
MARGIN = 24
COLOURS = 256
MOST_BYTES = 150_000


def main() -> None:
    """Make the runs and their reports in a temporary folder, and the pictures from them."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        for command in COMMANDS.replace("\\\n", "").strip().splitlines():
            arguments = [sys.executable, "-m", "runner", *shlex.split(command)]
            subprocess.run(arguments, cwd=folder, env=environment, check=True)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            view = {"width": WIDTH, "height": 900}
            page = browser.new_page(viewport=view, device_scale_factor=1.5, offline=True)
            for draw in (draw_tutorial, draw_digits, draw_sweep):
                draw(page, Path(folder).resolve())
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


if __name__ == "__main__":
    main()
