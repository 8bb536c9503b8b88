from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from making import make_run, spec_of
from tutorial import tutorial_run

import runner
from runner.command_line.commands import main
from runner.errors import InputError
from runner.plots.activation_figures import by_unit, heat_map, histogram
from runner.plots.drawing import DIVERGING, SEQUENTIAL, colour_scale, evenly_spaced, labels
from runner.plots.similarity_figures import stability_figure
from runner.plots.sweep_figures import boxes
from runner.record.environment import Environment
from runner.record.layer_record import LayerRecord
from runner.report.excerpt import Excerpt, MapExcerpt
from runner.report.layer_view import Units, image_view
from runner.report.network import Block, dense_chain, feeders, layer_tree
from runner.report.page import embedded, write_page
from runner.report.probe_view import input_views
from runner.report.writing import write_report
from runner.runs.published_run import Run
from runner.runs.runs import Runs
from runner.screen.explain import show
from runner.tensors import TensorSpec

HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(2)>",
    "<b>bold</b> &amp; {{ 7 * 7 }}",
    "long" * 75,
    "\u05e9\u05dc\u05d5\u05dd \u202eright to left",
    "\ud55c\uad6d\uc5b4 \uc774\ub984",
    "a\u2028b",
)

# To `make_run`, a slash is that of a weight.
LAYERS = tuple(name.replace("/", "\\") for name in HOSTILE)


def visible(texts: Sequence[str]) -> list[str]:
    """Return texts as a page shows them: a mark of direction as an escape."""
    return [text.replace("\u202e", "\\u202e") for text in texts]


def hostile_run(path: Path | str = "hostile") -> Run:
    """Publish a run whose layers, samples, labels, name and configuration are hostile."""
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=(7, 3)).astype("f4") for name in LAYERS}
    return Run.read(
        make_run(
            Path(path),
            tensors,
            samples=list(HOSTILE),
            labels=list(HOSTILE),
            name=HOSTILE[0],
            overrides=(HOSTILE[1],),
            config={"seed": 0, HOSTILE[0]: list(HOSTILE)},
        )
    )


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_command_writes_a_page_beside_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    run = tutorial_run("outputs/run")
    assert main(["report"]) == 0
    assert re.fullmatch(r"written outputs/run/report\.html, [12]\.\d MB\n", capsys.readouterr().out)
    assert sorted(path.name for path in run.path.iterdir() if "report" in path.name) == [
        "report.html"
    ]
    assert main(["report", run.id, "--output", "mine.html"]) == 0
    assert Path("mine.html").read_bytes() == (run.path / "report.html").read_bytes()


def test_the_page_of_a_sweep_stands_beside_its_runs() -> None:
    for seed in range(2):
        make_run(
            Path(f"outputs/sweep/{seed}"),
            run_id=f"abcd0123-{seed}",
            sweep="abcd0123",
            config={"seed": seed},
        )
    assert main(["report"]) == 0
    page = Path("outputs/sweep/report.html").read_text(encoding="utf-8")
    assert "<title>Sweep abcd0123</title>" in page
    assert "abcd0123-1" in page


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["report", "--output", "missing/r.html"], "missing/r.html: cannot be written: No such fi"),
        (["report", "--output", "outputs"], "outputs: expected a file to write to, found a folder"),
        (["report", "outputs"], "report: the runs lie in several folders; say where to write with"),
        (["report", "zzz"], "zzz: no folder of a run, and no id or name in outputs"),
    ],
)
def test_what_cannot_be_written_is_said(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tutorial_run("outputs/a/run")
    tutorial_run("outputs/b/run", run_id="ffff0000")
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {line}")


@pytest.mark.parametrize("package", ["plotly", "jinja2"])
def test_a_missing_package_is_said_with_what_to_type(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tutorial_run()
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    message = r'(?i:(plot|report): needs %s); type: pip install "activation-runner\[report\]"'
    with pytest.raises(InputError, match=message % package):
        write_report(Runs([run]))


def test_a_page_is_written_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("report.html")
    write_page("old", path)

    def no_rename(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_rename)
    with pytest.raises(InputError, match=r"report\.html: cannot be written: No space left"):
        write_page("new", path)
    assert path.read_text() == "old"
    assert list(Path().iterdir()) == [path]


def test_a_page_is_as_readable_as_any_file() -> None:
    Path("other").write_text("")
    write_page("text", Path("report.html"))
    assert Path("report.html").stat().st_mode == Path("other").stat().st_mode


def test_what_is_hostile_stays_text() -> None:
    page = write_report(Runs([hostile_run()])).read_text(encoding="utf-8")
    assert page.count("</script>") == 3
    assert "<img" not in page
    assert "<b>bold" not in page
    assert "{{ 7 * 7 }}" in page
    assert html.escape(HOSTILE[0]) in page
    data = data_of(page)
    assert data["samples"] == visible(HOSTILE) == data["labels"]
    assert [layer["name"] for layer in data["layers"]] == visible(LAYERS)


def test_only_the_scripts_of_the_page_may_run() -> None:
    page = write_report(Runs([tutorial_run()])).read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    script = re.search(r"<script>(.*?)</script>", page, re.S)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    allowed = html.unescape(policy[1])
    assert allowed.startswith(f"default-src 'none'; script-src 'sha256-{digest}' 'sha256-")
    assert "unsafe-eval" not in allowed
    assert "http" not in allowed


def test_json_inside_a_page_ends_no_script() -> None:
    data = {"</script>": "\u2028 & <!--"}
    assert not set("<>&\u2028") & set(embedded(data))
    assert json.loads(embedded(data)) == data
    with pytest.raises(ValueError, match="Out of range float values"):
        embedded([np.nan])


def test_a_page_stays_small_and_says_what_it_left_out() -> None:
    wide = np.random.default_rng(0).normal(size=(400, 3000)).astype("f4")
    path = make_run(Path("run"), {"wide": wide, "same": wide}, samples=list(range(400)))
    report = write_report(Runs([Run.read(path)]))
    page = report.read_text(encoding="utf-8")
    assert report.stat().st_size < 3_500_000
    assert "50 of 400 samples, evenly spaced; 256 of 3,000 units, evenly spaced" in page
    assert len(data_of(page)["samples"]) == 50


def test_a_page_of_many_layers_draws_some_and_counts_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.ones((3, 3), np.float32)
    path = make_run(Path("run"), {f"layer{place}": values for place in range(5)})
    monkeypatch.setattr("runner.report.shown_run._MOST_VIEWS", 2)
    page = write_report(Runs([Run.read(path)])).read_text(encoding="utf-8")
    assert "3 more tensors are not shown on this page; the statistics include all of them" in page
    assert [view["name"] for view in data_of(page)["layers"]] == ["layer0", "layer1"]
    assert "layer4" in page


def test_a_failed_run_has_a_page_that_says_why() -> None:
    path = make_run(Path("run"), error="<no> memory", name="이름")
    page = write_report(Runs([Run.read(path)])).read_text(encoding="utf-8")
    assert "&lt;no&gt; memory" in page
    assert "이름" in page
    assert 'id="sample"' not in page


def test_a_page_has_every_fact_of_the_environment() -> None:
    environment = Environment("3.11.9", "Linux", {"own": "7.8"}, None, "one & two", cores=5)
    path = make_run(Path("run"), environment=environment)
    page = write_report(Runs([Run.read(path)])).read_text(encoding="utf-8")
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd><bdi>(.*?)</bdi></dd>", page))
    expected = {"python": "3.11.9", "processor": "one &amp; two", "cores": "5", "own": "7.8"}
    assert expected.items() <= facts.items()


def test_failed_runs_of_a_sweep_are_listed_with_their_errors() -> None:
    good = make_run(Path("a/0"), run_id="abcd0123-0", sweep="abcd0123", config={"seed": 0})
    bad = make_run(
        Path("a/1"), run_id="abcd0123-1", sweep="abcd0123", config={"seed": 1}, error="<boom>"
    )
    page = write_report(Runs(map(Run.read, (good, bad)))).read_text(encoding="utf-8")
    assert "2, of which 1 failed" in page
    assert "&lt;boom&gt;" in page
    assert "Only one run is completed, so there is nothing to compare." in page


def test_a_sweep_of_failed_runs_alone_has_a_page() -> None:
    runs = [
        make_run(Path(f"a/{seed}"), run_id=f"abcd0123-{seed}", config={"seed": seed}, error="boom")
        for seed in range(2)
    ]
    page = write_report(Runs(map(Run.read, runs))).read_text(encoding="utf-8")
    assert "2, of which 2 failed" in page
    assert "Statistics by layer" not in page


def test_values_that_depend_on_the_batch_are_noted() -> None:
    run = tutorial_run()
    probe = replace(run.probe_record, batch_size=3, compared_sizes=(48, 48))
    record = replace(run.record, probe=probe)
    page = write_report(Runs([Run(run.stored, record)])).read_text(encoding="utf-8")
    note = "the values differ each time the same batch is shown: hidden, output"
    assert f'<p class="notice"><bdi>{note}</bdi></p>' in page
    assert f"<bdi>3 samples each; compared with batches of 48: {note}</bdi>" in page


def other_models() -> Runs:
    """Return three runs of models that have no layer in common."""
    rng = np.random.default_rng(0)
    for number, layers in enumerate((("a", "b"), ("c", "d", "e"), ("f",))):
        make_run(
            Path(f"models/{number}"),
            {name: rng.normal(size=(40, 5)).astype("f4") for name in layers},
            run_id=f"{number}0000000",
            samples=range(40),
            inputs=np.zeros((40, 1), "f4"),
            config={"model": {"path": f"/saved/{number}/{'xyz'[number]}.keras"}},
        )
    return runner.open_runs("models")


def heads(page: str) -> tuple[list[str], list[str]]:
    """Return the headings of the table of runs, and the first cell of each row."""
    table = page.split('<table class="sortable">')[1].split("</table>")[0]
    titles = re.findall(r"<button type=\"button\"><bdi>(.*?)</bdi>", table)
    return titles, re.findall(r'<th scope="row"><bdi>(.*?)</bdi>', table)


def test_the_table_of_runs_begins_with_what_they_are_called() -> None:
    page = write_report(other_models()).read_text(encoding="utf-8")
    titles, first = heads(page)
    assert titles[:4] == ["path", "run", "status", "model.path"]
    assert first == ["x.keras", "y.keras", "z.keras"]
    for number, name in enumerate(("small", "large")):
        make_run(Path(f"named/{number}"), run_id=f"{number}1", name=name, config={"seed": number})
    Path("named/broken").mkdir()
    Path("named/broken/run.json").write_text("{")
    with pytest.warns(UserWarning, match="broken"):
        runs = runner.open_runs("named")
    titles, first = heads(write_report(runs).read_text(encoding="utf-8"))
    assert titles[:4] == ["name", "run", "status", "seed"]
    assert first == ["small", "large", "&ndash;"]
    seeds = []
    for seed in (0, 1):  # with as many dead units
        hidden = np.ones((3, 4), np.float32) * (np.arange(4) >= seed)
        path = Path(f"s/{seed}")
        seeds.append(make_run(path, {"hidden": hidden}, run_id=f"{seed}2", config={"seed": seed}))
    page = write_report(Runs(map(Run.read, seeds))).read_text(encoding="utf-8")
    titles, first = heads(page)
    assert titles[:5] == ["seed", "run", "status", "tensors", "dead units"]  # not the seed twice
    assert first == ["0", "1"]
    same = [make_run(Path(f"t/{place}"), run_id=f"{place}3") for place in range(2)]
    page = write_report(Runs(map(Run.read, same))).read_text(encoding="utf-8")
    assert heads(page) == (heads(page)[0], ["03", "13"])
    assert heads(page)[0][:2] == ["run", "status"]


def test_why_there_is_no_figure_of_stability_is_said() -> None:
    runs = other_models()
    page = write_report(runs).read_text(encoding="utf-8")
    assert "no two of these models have a layer of the same name" in page
    assert data_of(page)["parts"]["layerwise"]["layers"] == [["a", "b"], ["c", "d", "e"], ["f"]]
    assert 'id="stability"' not in page
    assert 'id="matrix"' not in page
    rng = np.random.default_rng(0)
    for units in (4, 8):
        hidden = {"hidden": rng.normal(size=(40, units)).astype("f4")}
        config = {"seed": 0, "units": units}
        make_run(Path(f"u/{units}"), hidden, run_id=f"{units}", samples=range(40), config=config)
    page = write_report(runner.open_runs("u")).read_text(encoding="utf-8")
    assert "no two comparable runs differ only in their seed" in page
    assert 'id="stability"' not in page
    assert 'id="matrix"' in page


def test_how_far_a_report_is_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    runs = other_models()
    ends: dict[str, tuple[int, int]] = {}

    def progress(what: str, done: int, total: int) -> None:
        assert done > ends.get(what, (0, 0))[0]
        ends[what] = (done, total)

    write_report(runs, Path("page.html"), progress)
    assert ends == {
        "checksums: runs": (3, 3),
        "distributions: runs": (3, 3),
        "layer by layer: layers": (6, 6),
        "layer by layer: pairs": (15, 15),
    }
    ends.clear()
    write_report(Runs([runs[1]]), Path("page.html"), progress)
    assert ends == {"layers": (3, 3)}
    assert main(["report", "models", "--output", "page.html"]) == 0
    assert capsys.readouterr().err == ""  # which is no terminal


def test_a_value_in_the_page_comes_with_its_arithmetic() -> None:
    data = data_of(write_report(Runs([tutorial_run()])).read_text(encoding="utf-8"))
    hidden = data["layers"][0]
    assert "relu(0.5699866) = 0.5699866" in hidden["explained"]["texts"][1]["u1"]
    assert [len(texts) for texts in hidden["explained"]["texts"]] == [4, 4, 4]


def test_the_names_of_a_wide_table_are_those_of_its_values() -> None:
    names = ["id", *(f"gene {number}" for number in range(5000))]
    table = pd.DataFrame(np.ones((2, 5001), "f4"), columns=names)
    table["gene 42"] = 8
    given = keras.Input((5001,))
    model = keras.Model(given, keras.layers.Dense(1, kernel_initializer="ones", name="d")(given))
    run = runner.save_run(model, table, "wide")
    term = re.compile(r"^gene 42 +8 +1 +8$", re.MULTILINE)
    assert term.search(show(run, "d", "u0", "1"))
    data = data_of(write_report(Runs([run])).read_text(encoding="utf-8"))
    assert data["inputs"][0]["columns"] == names[:512]
    assert term.search(data["layers"][0]["explained"]["texts"][1]["u0"])


def test_why_a_value_has_no_arithmetic_is_said() -> None:
    path = make_run(Path("run"), {"maps": np.ones((3, 4, 4, 2), np.float32)})
    data = data_of(write_report(Runs([Run.read(path)])).read_text(encoding="utf-8"))
    assert "texts" not in data["layers"][0]["explained"]
    assert (
        data["layers"][0]["explained"]["why_not"]
        == "no weight 'maps/kernel': the run holds no weights"
    )


def test_what_is_not_finite_does_not_break_a_page() -> None:
    values = np.array([[np.nan, np.inf, 1], [2, -np.inf, 3], [0, 0, 0]], np.float32)
    path = make_run(Path("run"), {"bad": values, "worse": np.full((3, 2), np.nan, np.float32)})
    page = write_report(Runs([Run.read(path)])).read_text(encoding="utf-8")
    assert "7 values are NaN and 2 are infinite." in page
    assert "9 values of 3 samples; 3 that are not finite are left out; 3 (33.3%) are" in page


@pytest.mark.parametrize("dtype", ["bool", "int64", "float16", "uint8", "float64"])
def test_every_type_is_drawn(dtype: str) -> None:
    values = np.array([[0, 1], [1, 1], [0, 0]], dtype)
    path = make_run(Path("run"), {"layer": values, "none": np.zeros((3, 0), np.float32)})
    data = data_of(write_report(Runs([Run.read(path)])).read_text(encoding="utf-8"))
    assert data["layers"][0]["cells"]["shape"] == [3, 2]
    assert data["layers"][1]["cells"]["shape"] == [3, 0]


def test_the_tutorial_is_drawn_unit_by_unit() -> None:
    chain = dense_chain(tutorial_run())
    assert chain is not None
    assert chain["inputs"] == ["input0", "input1", "input2"]
    assert [layer["name"] for layer in chain["layers"]] == ["hidden", "output"]
    assert [layer["kernel"]["shape"] for layer in chain["layers"]] == [[3, 4], [4, 2]]


def test_what_is_no_chain_of_dense_layers_is_drawn_layer_by_layer() -> None:
    wide = {"hidden": np.zeros((3, 40), np.float32)}
    assert dense_chain(Run.read(make_run(Path("b"), wide))) is None


def layer(path: str, order: int | None) -> LayerRecord:
    return LayerRecord(path, "Dense", order, (), None)


def outline(parts: list[LayerRecord | Block]) -> list[Any]:
    return [
        {part.name: outline(part.parts)} if isinstance(part, Block) else part.path for part in parts
    ]


def test_layers_below_one_path_are_a_block() -> None:
    paths = ["stem", "enc/a/q", "enc/a/k", "enc/a", "enc/norm", "enc", "head"]
    tree = layer_tree([*(layer(path, place) for place, path in enumerate(paths)), layer("x", None)])
    assert outline(tree) == [
        "stem",
        {"enc": [{"enc/a": ["enc/a/q", "enc/a/k", "enc/a"]}, "enc/norm", "enc"]},
        "head",
        "x",
    ]


def test_many_layers_without_paths_are_folded_by_their_numbers() -> None:
    paths = ["stem", *(f"block_{block}_{part}" for block in range(12) for part in "abc"), "head"]
    tree = layer_tree([layer(path, place) for place, path in enumerate(paths)])
    assert outline(tree)[:3] == [
        "stem",
        {"block_0": ["block_0_a", "block_0_b", "block_0_c"]},
        {"block_1": ["block_1_a", "block_1_b", "block_1_c"]},
    ]
    assert sum(part.layers if isinstance(part, Block) else 1 for part in tree) == len(paths)


def test_what_feeds_a_layer_is_told() -> None:
    assert feeders(tutorial_run("a").record) == {"hidden": ["input"], "output": ["hidden"]}


def test_a_line_leads_through_the_dropout_that_a_tensor_came_through() -> None:
    given = keras.Input((4,), name="input")
    first = keras.layers.Dense(4, name="first")(given)
    dropped = keras.layers.Dropout(0.5, name="dropped")(first)
    total = keras.layers.Add(name="total")([first, dropped])
    again = keras.layers.Dropout(0.5, name="again")(total)
    model = keras.Model(given, keras.layers.Dense(2, name="last")(again))
    run = runner.save_run(model, np.ones((2, 4), np.float32), Path("run"))
    assert feeders(run.record) == {
        "first": ["input"],
        "dropped": ["first"],
        "total": ["first", "dropped"],
        "again": ["total"],
        "last": ["again"],
    }


def test_pixels_of_a_flat_digit_are_a_picture() -> None:
    picture = np.arange(6, dtype=np.float32).reshape(1, 6)
    path = make_run(Path("run"), {"hidden": picture}, samples=["a"], inputs=picture)
    run = Run.read(path)
    assert run.record.probe is not None
    probe = replace(run.record.probe, picture=(2, 3))
    run = Run(run.stored, replace(run.record, probe=probe))
    [view], _ = input_views(run, Excerpt.of(run, list(run.record.tensors)))
    assert view["maps"]["values"]["shape"] == [1, 1, 2, 3]
    assert view["maps"]["told"] == "height downwards, width to the right"
    assert view["columns"] == [f"input{pixel}" for pixel in range(6)]  # as text as well


@pytest.mark.parametrize("runs", [24, 25])
def test_many_runs_are_bands_and_few_are_boxes(runs: int) -> None:
    quantiles = np.sort(np.random.default_rng(0).normal(size=(runs, 5)))
    figure = boxes(quantiles, range(runs), "seed")
    if runs == 24:
        assert [trace.type for trace in figure.data] == ["box"]
        return
    assert [trace.fill for trace in figure.data] == [None, *["tonexty"] * 4]
    np.testing.assert_array_equal(figure.data[2].y, quantiles[:, 2])


@pytest.mark.parametrize("shape", [(6, 7), (40, 40, 3), (5, 9, 64), (3, 8, 8, 2), (1, 1, 5)])
@pytest.mark.parametrize("most", [4, 60, 400, 4096])
def test_images_are_entries_of_the_tensor(shape: tuple[int, ...], most: int) -> None:
    values = np.random.default_rng(0).normal(size=(2, *shape))
    cut = MapExcerpt.of(spec_of("maps", values), most)
    assert cut is not None
    images = cut.cut(values)
    assert images.ndim == 4
    for image, row, column in np.ndindex(images.shape[1:]):
        place = [*cut.fixed, row * cut.step, column * cut.step]
        if cut.axis is not None:
            place.insert(cut.axis, int(cut.images[image]))
        np.testing.assert_array_equal(images[:, image, row, column], values[(..., *place)])


def test_scores_of_attention_are_an_image_a_head() -> None:
    spec = TensorSpec("a", "activation", "a", "Own", 0, "1", (2, 9, 8), "float32", 0)
    cut = MapExcerpt.of(replace(spec, axes=("head", "query", "key")), 4096)
    assert cut is not None
    values = np.random.default_rng(0).normal(size=(3, 2, 9, 8))
    np.testing.assert_array_equal(cut.cut(values), values)
    by_name = MapExcerpt.of(replace(spec, layer_class="MultiHeadAttention"), 4096)
    assert by_name is not None
    assert by_name.axis == 2
    projected = MapExcerpt.of(replace(spec, axes=("position", "head", "unit")), 4096)
    assert projected is not None
    np.testing.assert_array_equal(projected.cut(values), np.moveaxis(values, 2, 1))
    assert MapExcerpt.of(spec_of("vector", np.zeros((3, 4))), 100) is None


def test_channels_that_come_first_are_the_images_and_the_units() -> None:
    values = np.random.default_rng(0).normal(size=(3, 4, 6, 5)).astype(np.float32)
    values[:, 2] = 0
    spec = replace(spec_of("maps", values), axes=("channel", "height", "width"))
    cut = MapExcerpt.of(spec, 4096)
    assert cut is not None
    np.testing.assert_array_equal(cut.cut(values), values)
    told = image_view(cut.cut(values), spec, cut)
    assert told["titles"] == ["u0", "u1", "u2", "u3"]
    assert told["told"].endswith("height downwards, width to the right")
    np.testing.assert_allclose(by_unit(values, 0), values.mean(axis=(2, 3)), rtol=1e-5)
    assert Units.of(values, "relu", 0) == Units([2], [], None)


def test_samples_are_spread_over_the_run() -> None:
    tensors = {"a": np.arange(600, dtype=np.float32).reshape(200, 3)}
    run = Run.read(make_run(Path("run"), tensors, samples=[f"s{row}" for row in range(200)]))
    excerpt = Excerpt.of(run, [run.tensor("a")])
    assert (len(excerpt.places), excerpt.samples[0], excerpt.samples[-1]) == (50, "s0", "s199")
    assert np.isin(excerpt.places, excerpt.measured(run.tensor("a"))).all()


def test_units_are_sorted_by_what_became_of_them() -> None:
    values = np.array([[0, 2, 0.995, 0.5], [0, 2, 0.999, -1]], np.float32)
    assert Units.of(values, "tanh") == Units([0], [1], [1, 2])
    assert Units.of(values, "relu") == Units([0], [1], None)


@pytest.mark.parametrize("count", [0, 1, 5, 7, 1000])
def test_places_are_evenly_spaced(count: int) -> None:
    places = evenly_spaced(count, 7)
    assert len(places) == min(count, 7)
    assert list(places[[0, -1]]) == [0, count - 1] if count else not len(places)
    assert count < 2 or np.ptp(np.diff(places)) <= 1


def test_the_diverging_scale_has_0_in_its_middle() -> None:
    assert colour_scale(np.array([-1, 3, np.nan])) == (DIVERGING, -3, 3)
    assert colour_scale(np.array([1.0, 3, np.inf])) == (SEQUENTIAL, 1, 3)
    for constant in (0, 2, -2):
        _, low, high = colour_scale(np.full(3, constant))
        assert low < high
        assert low <= constant <= high


def test_labels_are_plain_short_and_distinct() -> None:
    made = labels(["<b>", "<b>", "x" * 300, "x" * 299])
    assert made[:2] == ["&lt;b&gt;", "&lt;b&gt; (2)"]
    assert len(set(made)) == 4
    assert max(map(len, made)) < 40


def test_a_unit_of_a_map_is_averaged_over_its_positions() -> None:
    values = np.arange(24.0).reshape(2, 2, 3, 2)
    np.testing.assert_array_equal(by_unit(values), values.mean(axis=(1, 2)))
    assert by_unit(np.ones((3, 2), np.float32)).dtype == np.float32
    assert by_unit(np.ones((3, 0, 2), np.float32)).shape == (3, 2)


def test_a_heat_map_holds_the_values_as_they_are() -> None:
    values = np.array([[-1.5, 0.25], [np.nan, 2]], np.float32)
    [trace] = heat_map(values, ["a", "b"], ["u0", "u1"]).data
    np.testing.assert_array_equal(trace.z, values)
    assert (trace.zmin, trace.zmax) == (-2, 2)


@pytest.mark.parametrize(
    "values",
    [[0.5], [], [np.nan], [3, 3, 3], [0, 0, 0], [1e30, -1e30], [1e-300, 2e-300], [1 + 1e-16, 1]],
)
def test_a_histogram_counts_every_finite_value(values: list[float]) -> None:
    bars, strip = histogram(np.array(values, np.float64)).data
    assert bars.y.sum() == np.isfinite(values).sum()
    assert strip.name == "chosen"


def test_a_figure_has_its_whole_look_and_no_other() -> None:
    # To merge the look with plotly's default took 30 ms a figure, a minute for 1,000 layers.
    for figure in (histogram(np.ones(3)), heat_map(np.ones((2, 2)), "ab", "cd")):
        layout = figure.to_plotly_json()["layout"]
        assert len(json.dumps(layout["template"])) < 2000
        axes = [value for name, value in layout.items() if name[1:5] == "axis"]
        assert len(axes) >= 2
        assert all(axis["automargin"] and axis["exponentformat"] == "e" for axis in axes)


def test_many_zeros_have_no_bar() -> None:
    bars, _ = histogram(np.array([0, 0, 0, 1, 2])).data
    assert bars.y.sum() == 2


def pairs(values: dict[tuple[str, str, str], float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"run_a": a, "layer_a": layer, "run_b": b, "layer_b": layer, "value": value}
            for (a, b, layer), value in values.items()
        ]
    )


def test_stability_is_told_of_runs_that_differ_in_their_seed_alone() -> None:
    found = pairs(
        {
            ("a", "b", "one"): 0.9,
            ("a", "c", "one"): 0.7,
            ("a", "x", "one"): 0.0,
            ("a", "b", "two"): 0.5,
            ("a", "c", "two"): np.nan,
        }
    )
    figure = stability_figure(found, {"a": "", "b": "", "c": "", "x": "units=8"})
    low, high, mean = figure.data
    assert list(mean.x) == ["one", "two"]
    np.testing.assert_allclose(mean.y, [0.8, 0.5])
    np.testing.assert_allclose([low.y[0], high.y[0]], [0.7, 0.9])
    with pytest.raises(InputError, match="no two runs differ in their seed alone; sweep seeds"):
        stability_figure(found, {"a": "1", "b": "2", "c": "3", "x": "4"})


def test_runs_are_named_by_what_they_differ_in() -> None:
    configs = [{"seed": seed, "model": {"units": units}} for seed in (0, 1) for units in (4, 8)]
    runs = Runs(
        Run.read(make_run(Path(str(place)), run_id=f"id{place}", config=config))
        for place, config in enumerate(configs)
    )
    assert runs.labels() == (
        {"id0": "0, 4", "id1": "0, 8", "id2": "1, 4", "id3": "1, 8"},
        "seed, units",
    )
    assert runs.apart_from_seed() == {
        "id0": "units=4",
        "id1": "units=8",
        "id2": "units=4",
        "id3": "units=8",
    }


def test_runs_with_and_without_interventions_are_named_in_words() -> None:
    plans = [{}, {"hidden": {"units": 3, "set": 0}}, {"out": {"scale": 2}}]
    long = {name: {"units": at, "scale": at + 3} for at, name in enumerate("abcd")}
    runs = Runs(
        Run.read(make_run(Path(str(place)), run_id=f"id{place}", config={"intervene": plan}))
        for place, plan in enumerate([*plans, long])
    )
    labels = {
        "id0": "without intervene",
        "id1": "hidden.units=3, hidden.set=0",
        "id2": "out.scale=2",
        "id3": "with intervene",
    }
    assert runs.labels() == (labels, "intervene")
    assert runs.apart_from_seed() == labels


def test_notebooks_show_runs_and_their_figures() -> None:
    run = hostile_run()
    shown = run._repr_html_()
    assert html.escape(HOSTILE[0]) in shown
    assert "<script>" not in shown
    assert "<script>" not in Runs([run])._repr_html_()
    figure = tutorial_run().plot("hidden")
    np.testing.assert_array_equal(figure.data[0].z, tutorial_run("again")["hidden"])
    assert figure.layout.title.text == "hidden<br><sup>3 samples; 4 units</sup>"
    assert tutorial_run("third").plot("hidden/kernel").data[0].z.shape == (3, 4)
    maps = Run.read(make_run(Path("maps"), {"maps": np.ones((3, 4, 4, 2), np.float32)}))
    assert "mean over 4 x 4 positions" in maps.plot("maps").layout.title.text


@pytest.mark.slow
def test_trainings_are_drawn_with_the_drift_of_their_layers() -> None:
    for seed in (0, 1):
        words = ["experiment=iris_mlp", "train=fit", "train.epochs=2", "train.every=1"]
        runner.run(*words, f"seed={seed}", f"hydra.run.dir=trained/{seed}")
    page = write_report(runner.open_runs("trained"), Path("page.html")).read_text(encoding="utf-8")
    training = data_of(page)["parts"]["training"]
    [[name, curve]] = training["curves"]
    assert name == "loss"
    assert [trace["name"] for trace in curve["data"]] == ["0", "1"]
    assert [trace["name"] for trace in training["drift"]["data"]] == [
        "normalize",
        "hidden",
        "output",
    ]
    assert "2 runs; 3 layers; 3 steps; 150 samples" in page
    assert "debiased linear CKA with the last step" in page
    assert "<figcaption>Debiased linear CKA by layer" in page
    runs = Runs([runner.open_run("trained/1")])
    alone = write_report(runs, Path("one.html")).read_text(encoding="utf-8")
    [[_, own]] = data_of(alone)["parts"]["training"]["curves"]
    assert [trace["y"] for trace in own["data"]] == [curve["data"][1]["y"]]
    assert "1 run; 3 layers; 3 steps; 150 samples" in alone
    trained = runner.open_runs("trained")
    for step in (0, 2):
        [line] = [own for own in trained.plot_stability(step=step).data if own.mode != "lines"]
        pairs = trained.similarity(step=step)
        assert list(line.x) == list(pairs["layer_a"]) == ["normalize", "hidden", "output"]
        np.testing.assert_array_equal(line.y, pairs["value"])
        heat = trained[0].plot("hidden", step=step).data[0].z
        np.testing.assert_array_equal(heat, trained[0].table("hidden", step=step))
    assert not np.array_equal(heat, trained[0].array("hidden", step=0))
    with pytest.raises(InputError, match="has no step 7"):
        trained.plot_stability(step=7)


def test_without_training_there_is_none() -> None:
    runs = [make_run(Path(f"s/{seed}"), run_id=f"{seed:08}") for seed in (1, 2)]
    page = write_report(Runs(map(Run.read, runs)), Path("page.html")).read_text(encoding="utf-8")
    assert "training" not in data_of(page)["parts"]
    assert "training-title" not in page
    one = Runs([Run.read(runs[0])])
    alone = write_report(one, Path("one.html")).read_text(encoding="utf-8")
    assert "training" not in data_of(alone)["parts"]
    assert "training-title" not in alone


def test_only_what_all_have_in_common_is_said_to_be() -> None:
    model = {"width": 4, "layers": {"a": {"units": 4, "activation": "relu"}}}
    other = {"width": 8, "layers": {"a": {"units": 8, "activation": "relu"}}}
    runs = [
        make_run(Path(f"s/{seed}"), run_id=f"{seed:08}", config={"seed": 0, "model": chosen})
        for seed, chosen in enumerate((model, other))
    ]
    page = write_report(Runs(map(Run.read, runs)), Path("page.html")).read_text(encoding="utf-8")
    common = "seed: 0\nmodel:\n  layers:\n    a:\n      activation: relu\n"
    assert f">{common}<" in page
