"""Reports in a real browser: Debian's Chromium, or Chrome, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from making import make_run
from test_report import HOSTILE, LAYERS, hostile_run, other_models, visible
from tutorial import tutorial_run

import runner
from runner.report.writing import write_report
from runner.runs.published_run import Run
from runner.runs.runs import Runs

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PROGRAM = next(filter(None, map(shutil.which, _PROGRAMS)), None)

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra test")
pytestmark = pytest.mark.skipif(_PROGRAM is None, reason=f"needs one of {', '.join(_PROGRAMS)}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=_PROGRAM)
        yield launched
        launched.close()


class Reader:
    """A page being read: it fails on any error in its console and any request."""

    def __init__(self, browser: Any, report: Path, width: int, **options: Any) -> None:
        view = {"width": width, "height": 900}
        self.context = browser.new_context(viewport=view, offline=True, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("dialog", lambda dialog: self.troubles.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.address = report.resolve().as_uri()
        self.page.goto(self.address)

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).first.text_content())

    def drawn(self, selector: str) -> None:
        """Wait until a figure is drawn."""
        self.page.locator(selector).first.scroll_into_view_if_needed()
        self.page.wait_for_selector(f"{selector}[data-drawn]")

    def check(self) -> None:
        assert self.troubles == []
        assert [url for url in self.requests if not url.startswith(("data:", "blob:"))] == [
            self.address
        ]


@pytest.fixture
def read(browser: Any) -> Iterator[Any]:
    readers: list[Reader] = []

    def open_page(runs: Run | Runs, width: int = 1280, **options: Any) -> Reader:
        report = write_report(Runs([runs]) if isinstance(runs, Run) else runs, Path("r.html"))
        readers.append(Reader(browser, report, width, **options))
        return readers[-1]

    yield open_page
    for reader in readers:
        reader.check()
        reader.context.close()


@pytest.mark.slow
def test_choosing_the_sample_changes_every_view(read: Any) -> None:
    reader = read(tutorial_run())
    assert reader.text('[data-unit="1-1"] title') == "hidden u1: 0"
    assert reader.text(".input li:nth-child(2)") == "input10"
    reader.drawn("#layer-0 .heat")
    reader.drawn("#layer-0 .distribution")
    reader.page.click("#layer-0 .values summary")
    reader.page.select_option("#sample", "1")
    assert reader.text('[data-unit="1-1"] title') == "hidden u1: 0.5699866"
    assert reader.text(".input li:nth-child(2)") == "input11"
    assert reader.text("#layer-0 .chips li:nth-child(4)") == "u30.9223561"
    marked = reader.page.evaluate("document.querySelector('#layer-0 .heat').layout.shapes[0].y0")
    assert marked == 0.5
    marks = reader.page.evaluate("document.querySelector('#layer-0 .distribution').data[1].x")
    np.testing.assert_array_equal(np.float32(marks), tutorial_run("again")["hidden"].loc[1])
    reader.page.click("#next")
    assert reader.page.is_disabled("#next")


def test_choosing_a_unit_explains_its_value(read: Any) -> None:
    reader = read(tutorial_run())
    reader.page.select_option("#sample", "1")
    reader.page.click('[data-unit="1-1"]')
    assert reader.text("#panel h2") == "hidden u1, sample 1: 0.5699866"
    assert "relu(0.5699866) = 0.5699866" in reader.text("#panel pre")
    assert reader.page.locator("#network .weight").all_text_contents() == [
        "-0.543",
        "0.57",
        "-0.694",
    ]
    reader.page.keyboard.press("Escape")
    assert reader.page.is_hidden("#panel")


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 700, 1280, 1800])
def test_the_panel_covers_nothing_of_what_it_explains(read: Any, width: int) -> None:
    reader = read(tutorial_run(), width=width)
    reader.page.click('[data-unit="1-1"]')
    reader.page.wait_for_timeout(300)
    panel = reader.page.locator("#panel").bounding_box()
    for unit in ("0-0", "1-1", "2-1"):  # an input, the chosen unit and an output
        circle = reader.page.locator(f'[data-unit="{unit}"] circle').bounding_box()
        below = circle["y"] + circle["height"] <= panel["y"]
        assert below or circle["x"] + circle["width"] <= panel["x"]
    assert reader.page.evaluate("document.documentElement.scrollWidth") <= width
    reader.page.keyboard.press("Escape")
    assert reader.page.evaluate("document.body.className") == ""


@pytest.mark.slow
@pytest.mark.parametrize(("width", "cut"), [(390, True), (1280, False)])
def test_a_table_that_goes_on_says_so(read: Any, width: int, cut: bool) -> None:
    reader = read(tutorial_run(), width=width)
    cue = reader.text(".cue")
    assert cue.startswith("Scroll to the right for ") is cut
    assert reader.page.locator(".cued[data-more]").count() == cut
    if cut:
        assert cue.endswith("inf, constant, saturated.")
        reader.page.evaluate("document.querySelector('.cued .scroll').scrollLeft = 9999")
        reader.page.wait_for_function("document.querySelector('.cue').textContent === ''")


@pytest.mark.slow
def test_bands_replace_many_boxes(read: Any) -> None:
    paths = [
        make_run(Path(f"runs/{seed}"), run_id=f"abcd0123-{seed}", sweep="abcd0123",
                 config={"seed": seed})
        for seed in range(26)
    ]  # fmt: skip
    reader = read(Runs(map(Run.read, paths)))
    reader.drawn("#boxes")
    assert reader.page.evaluate("document.getElementById('boxes').data.length") == 5
    middle = reader.page.evaluate("[...document.getElementById('boxes').data[2].y]")
    np.testing.assert_allclose(middle, np.median(Run.read(paths[0])["hidden"]), rtol=1e-6)


@pytest.mark.slow
def test_a_heat_map_is_read_with_the_keyboard(read: Any) -> None:
    reader = read(tutorial_run())
    reader.drawn("#layer-0 .heat")
    reader.page.focus("#layer-0 .heat")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight"):
        reader.page.keyboard.press(key)
    assert reader.text("#layer-0 .readout") == "sample 1, u3: 0.9223561"
    reader.page.keyboard.press("Enter")
    assert reader.text("#panel h2") == "hidden u3, sample 1: 0.9223561"
    assert reader.page.input_value("#sample") == "1"


@pytest.mark.slow
def test_a_value_is_chosen_in_a_heat_map_with_the_pointer(read: Any) -> None:
    reader = read(tutorial_run())
    reader.drawn("#layer-0 .heat")
    box = reader.page.locator("#layer-0 .heat .heatmaplayer image").bounding_box()
    reader.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
    reader.page.wait_for_selector("#layer-0 .heat .hoverlayer .hovertext")
    reader.page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
    reader.page.wait_for_selector("#panel:not([hidden])")
    assert reader.text("#panel h2") == "hidden u1, sample 1: 0.5699866"


@pytest.mark.slow
def test_tables_are_sorted_by_a_heading(read: Any) -> None:
    reader = read(tutorial_run())
    names = reader.page.locator("table.sortable").first.locator("tbody th a")
    reader.page.click("table.sortable thead button:text-is('max')")
    assert names.all_text_contents() == ["hidden", "output"]
    reader.page.click("table.sortable thead button:text-is('max')")
    assert names.all_text_contents() == ["output", "hidden"]


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), pytest.param(390, "dark", marks=pytest.mark.slow)]
)
def test_what_is_hostile_is_text_on_any_screen(read: Any, width: int, scheme: str) -> None:
    reader = read(hostile_run(), width, color_scheme=scheme, has_touch=width == 390)
    assert reader.page.title() == f"Run {HOSTILE[0]}"
    assert reader.page.locator(".layer h3").all_text_contents() == visible(LAYERS)
    options = reader.page.locator("#sample option").all_text_contents()
    assert options == [f"{id} (label {id})"[:80] for id in visible(HOSTILE)]
    reader.drawn("#layer-0 .heat")
    ticks = reader.page.locator("#layer-0 .heat .ytick text").all_text_contents()
    assert "<b>bold</b> ... {{ 7 * 7 }}" in ticks
    reader.page.select_option("#sample", "2")
    reader.drawn("#layer-1 .heat")
    reader.page.locator("#layer-1 .values summary").click()
    assert reader.text("#layer-1 .which") == HOSTILE[2]
    reader.page.locator("#layer-1 .chips button").first.click()
    assert HOSTILE[2] in reader.text("#panel h2")
    wide, shown = reader.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide == shown


@pytest.mark.slow
def test_inputs_that_are_text_are_read(read: Any) -> None:
    words = keras.Input((2,), dtype="string", name="words")
    known = keras.layers.StringLookup(vocabulary=["a", "<b>"], name="known")
    dense = keras.layers.Dense(2, name="dense")
    outputs = dense(keras.layers.Flatten()(keras.layers.Embedding(3, 2)(known(words))))
    model = keras.Model(words, outputs)
    shown = np.array([["a", "<b>"], ["c", "a"]], dtype=object)
    reader = read(runner.save_run(model, shown, "run"))
    assert reader.text("[data-input='0'] .chips") == "input0ainput1<b>"
    reader.page.click("#next")
    assert reader.text("[data-input='0'] .chips") == "input0cinput1a"
    reader.drawn(".layer:visible .heat")


@pytest.mark.slow
def test_feature_maps_are_drawn_and_read(read: Any) -> None:
    maps = np.arange(3 * 4 * 5 * 2, dtype=np.float32).reshape(3, 4, 5, 2)
    reader = read(Run.read(make_run(Path("run"), {"maps": maps})))
    reader.page.select_option("#sample", "2")
    canvas = reader.page.locator("#layer-0 .maps canvas").nth(1)
    assert canvas.evaluate("canvas => [canvas.width, canvas.height]") == [5, 4]
    corners = canvas.evaluate(
        "c => { const d = c.getContext('2d').getImageData(0, 0, 5, 4).data;"
        "return [...d.slice(-4)]; }"
    )
    assert corners == [0xFD, 0xE7, 0x25, 255]  # the largest value of all, at the scale's end
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.9})
    assert reader.text("#panel h2") == f"maps u3_2_1, sample 2: {maps[2, 3, 2, 1]:.0f}"
    assert "no weight 'maps/kernel'" in reader.text("#panel pre")


@pytest.mark.slow
def test_of_many_layers_one_is_shown(read: Any) -> None:
    rng = np.random.default_rng(0)
    tensors = {
        f"block_{number}_{part}": rng.normal(size=(3, 4)).astype("f4")
        for number in range(14)
        for part in "abc"
    }
    reader = read(Run.read(make_run(Path("run"), tensors)))
    assert reader.page.locator(".layer:visible").count() == 1
    assert reader.page.locator(".block").count() == 14
    reader.page.click("#unfold")
    reader.page.click("[data-layer='block_7_b'] a")
    reader.page.wait_for_selector("#layer-22[open]")
    assert reader.page.locator(".layer:visible").count() == 1
    assert reader.page.input_value("#layer") == "22"
    reader.drawn("#layer-22 .heat")
    reader.page.click("#next-layer")
    assert reader.page.locator(".layer:visible h3").text_content() == "block_7_c"


@pytest.mark.slow
def test_a_sweep_is_seen_at_a_glance(read: Any) -> None:
    rng = np.random.default_rng(0)
    samples = range(40)
    runs = [
        make_run(
            Path(f"sweep/{seed}"),
            {name: rng.normal(seed, 1, (40, 4)).astype("f4") for name in ("hidden", "output")},
            samples=samples,
            run_id=f"abcd0123-{seed}",
            sweep="abcd0123",
            config={"seed": seed},
        )
        for seed in range(20)
    ]
    failed = make_run(
        Path("sweep/20"),
        run_id="abcd0123-20",
        sweep="abcd0123",
        config={"seed": 20},
        error=HOSTILE[0],
    )
    alike = Runs(map(Run.read, runs)).similarity()
    alike = alike[(alike["run_a"] == "abcd0123-0") & (alike["run_b"] == "abcd0123-1")]
    hidden, output = alike["value"]
    reader = read(Runs(map(Run.read, [*runs, failed])))
    assert reader.text("td.wrap") == HOSTILE[0]
    for figure in ("#stability", "#by-layer", "#boxes", "#matrix"):
        reader.drawn(figure)
    assert reader.page.evaluate("document.getElementById('stability').calcdata[2].length") == 2
    reader.page.select_option("#statistic", label="maximum")
    assert reader.text("#statistic-title") == "Maximum"
    shown = "document.getElementById('matrix').data[0].z[0][1]"
    assert reader.page.evaluate(shown) == pytest.approx(hidden, abs=1e-6)
    reader.page.click("#next-layer")
    assert reader.page.evaluate(shown) == pytest.approx(output, abs=1e-6)
    medians = reader.page.evaluate("document.getElementById('boxes').data[0].median")
    expected = [np.median(Run.read(run)["output"]) for run in runs]
    np.testing.assert_allclose(medians, expected, rtol=1e-6)


@pytest.mark.slow
def test_the_layers_of_any_two_runs_are_compared(read: Any) -> None:
    runs = other_models()
    values = runs.similarity(layers="all").set_index(["run_a", "layer_a", "run_b", "layer_b"])
    names = [run.layer_outputs for run in runs]
    reader = read(runs)
    reader.drawn("#layerwise")

    def check(a: int, b: int) -> None:
        # What is drawn, not what was handed over.
        rows, columns, cells = reader.page.evaluate(
            """(() => { const [{ y, x, z }] = document.getElementById("layerwise").calcdata[0];
            return [y, x, z.map((row) => [...row])]; })()"""
        )
        drawn = reader.page.evaluate(
            """["yaxis", "xaxis"].map((axis) =>
            document.getElementById("layerwise")._fullLayout[axis]._categories)"""
        )
        assert drawn == [names[a], names[b]]
        assert (len(rows), len(columns)) == (len(names[a]) + 1, len(names[b]) + 1)  # the edges
        for row, one in enumerate(names[a]):
            for column, other in enumerate(names[b]):
                pair = (runs[a].id, one, runs[b].id, other)
                turned = (*pair[2:], *pair[:2])
                known = pair if pair in values.index else turned
                expected = 1 if pair == turned else values.loc[known, "value"]
                assert cells[row][column] == pytest.approx(expected, abs=1e-6)
        said = f"rows: {'xyz'[a]}.keras; columns: {'xyz'[b]}.keras"
        assert reader.text("#layerwise-runs") == said

    check(0, 1)
    reader.page.get_by_label("Columns").select_option(label="z.keras")
    check(0, 2)
    reader.page.get_by_label("Rows").select_option(label="y.keras")
    check(1, 2)
    reader.page.get_by_label("Columns").select_option(label="y.keras")
    check(1, 1)


@pytest.mark.slow
def test_a_page_is_printed_in_full(read: Any) -> None:
    reader = read(tutorial_run(), color_scheme="dark")
    reader.page.wait_for_function("typeof Plotly !== 'undefined'")
    assert reader.page.pdf(format="A4").startswith(b"%PDF")
    assert reader.page.locator(".plot:not([data-drawn])").count() == 0
    reader.page.emulate_media(media="print")
    assert reader.page.is_hidden("#previous")
    colours = (
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert reader.page.evaluate(colours) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    heat, bars = (reader.page.locator(f"#layer-0 .{name}").bounding_box() for name in
                  ("heat", "distribution"))  # fmt: skip
    assert heat["y"] + heat["height"] <= bars["y"]  # below each other: neither is cut


@pytest.mark.slow
def test_a_browser_that_is_too_old_says_so(read: Any) -> None:
    reader = read(tutorial_run())
    reader.page.add_init_script("delete window.DecompressionStream")
    reader.page.reload()
    reader.page.wait_for_selector("#trouble:not([hidden])")
    assert "this browser is too old for the figures" in reader.text("#trouble")
    assert reader.text('[data-unit="1-1"] title') == "hidden u1: 0"
    reader.requests.pop()


@pytest.mark.slow
def test_every_figure_and_control_has_a_name(read: Any) -> None:
    reader = read(tutorial_run())
    nameless = reader.page.evaluate(
        """[...document.querySelectorAll("button, select, canvas, .plot, [role=group], [tabindex]")]
        .filter((one) => !one.getAttribute("aria-label") && !one.labels?.length)
        .filter((one) => !one.textContent.trim())
        .map((one) => one.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "layers", "width"),
    [
        (["experiment=digits_cnn"], 7, 1280),
        (
            ["model=application", "model.class_name=ResNet50", "+model.input_shape=[64,64,3]",
             "probe=random", "probe.rows=4", "capture.reduce={**: mean}"],
            177,
            390,
        ),
    ],
)  # fmt: skip
def test_the_report_of_a_real_run(read: Any, words: list[str], layers: int, width: int) -> None:
    reader = read(runner.run(*words), width, has_touch=width == 390)
    assert reader.page.locator("[data-layer]").count() == layers
    reader.page.click("#next")
    if layers > 8:  # one is shown at a time
        reader.page.select_option("#layer", label="conv5_block3_out")
    reader.drawn(".layer:visible .heat")
    reader.drawn(".layer:visible .distribution")
    assert reader.text("#trouble") == ""
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert reader.page.evaluate(wide) <= 0


@pytest.mark.slow
def test_the_report_of_a_real_sweep(read: Any) -> None:
    for seed in range(20):
        words = ["experiment=digits_mlp", "probe.rows=200", f"hydra.run.dir=sweep/{seed}"]
        runner.run(*words, f"seed={seed}")
    runs = runner.open_runs("sweep")
    reader = read(runs)
    for figure in ("#stability", "#by-layer", "#boxes", "#matrix"):
        reader.drawn(figure)
    drawn = reader.page.evaluate(
        "document.getElementById('stability').calcdata.at(-1).map((point) => point.y)"
    )
    frame = runs.similarity().groupby("layer_a", sort=False)["value"].mean()
    assert drawn == pytest.approx(frame.tolist(), abs=1e-6)
