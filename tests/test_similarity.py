"""Pairs of layers of stored runs, compared from values, from sums, and through the runs."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import STORED, make_run

from runner.command_line.commands import main
from runner.errors import InputError
from runner.runs.locate import open_runs
from runner.runs.published_run import Run
from runner.runs.run_tensors import UnknownTensorError
from runner.runs.runs import Runs
from runner.screen.similarity import told
from runner.similarity import dimensions, pairs
from runner.similarity.dimensions import layer_statistics
from runner.similarity.matrices import matrices_of
from runner.similarity.measures import MEASURES
from runner.similarity.moments import JointMoments
from runner.similarity.pairs import compare_layers
from runner.similarity.progress import SlowWarning
from runner.similarity.representation import Representation, side_by_side

COLUMNS = ["run_a", "layer_a", "run_b", "layer_b", "metric", "value", "n", "width_a", "width_b"]


def held(name: str, values: np.ndarray) -> Representation:
    """A layer whose values are in memory."""

    def blocks() -> Iterator[np.ndarray]:
        rows = 7 + len(name) % 2  # layers are not cut alike
        yield from (values[start : start + rows] for start in range(0, len(values), rows))

    width = values[0].size
    return Representation("run", name, len(values), width, values.dtype, lambda: values, blocks)


def layers(count: int, samples: int, seed: int = 0) -> list[Representation]:
    random = np.random.default_rng(seed)
    shared = random.normal(size=(samples, 3))
    return [
        held(f"l{i}", np.hstack([shared, random.normal(size=(samples, 2 + i))]) + 10)
        for i in range(count)
    ]


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_every_pair_has_the_value_of_the_measure(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = layers(5, 40)
    frame = compare_layers([group], name)
    assert list(frame.columns) == [*COLUMNS, "note"]
    assert list(zip(frame["layer_a"], frame["layer_b"], strict=True)) == [
        (f"l{i}", f"l{j}") for i in range(5) for j in range(i + 1, 5)
    ]
    known = {layer.layer: layer for layer in group}
    for found in frame.to_dict("records"):
        a, b = known[found["layer_a"]], known[found["layer_b"]]
        assert found["value"] == pytest.approx(MEASURES[name](a.read(), b.read()), abs=1e-12)
        assert (found["n"], found["width_a"], found["width_b"]) == (40, a.width, b.width)
        assert (found["metric"], found["note"]) == (name, "")
    # Every layer is a chunk of its own.
    monkeypatch.setattr("runner.similarity.group._CHUNK_BYTES", 1)
    monkeypatch.setattr("runner.similarity.group._by_moments", lambda *_: False)
    pd.testing.assert_frame_equal(compare_layers([group], name), frame)


@pytest.mark.parametrize("name", [name for name in MEASURES if MEASURES[name].by_product])
def test_many_layers_are_multiplied_some_at_a_time(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = [*layers(7, 40), held("flat", np.ones((40, 2)))]
    with pytest.warns(UserWarning, match="flat of run holds the same"):
        expected = compare_layers([group, layers(3, 40)], name)
    assert expected["note"].ne("").sum() == 7
    for rows, room in ((3, 2 << 30), (2, 8 * 40 * 30)):
        monkeypatch.setattr("runner.similarity.group._PRODUCT_ROWS", rows)
        monkeypatch.setattr("runner.similarity.group._CHUNK_BYTES", room)
        with pytest.warns(UserWarning, match="flat of run holds the same"):
            found = compare_layers([group, layers(3, 40)], name)
        pd.testing.assert_frame_equal(found, expected, atol=1e-12, rtol=0)


def test_too_many_pairs_are_refused_before_anything_is_read() -> None:
    def unread() -> np.ndarray:
        raise AssertionError("it was read")

    one = Representation("run", "h", 9, 2, np.dtype(np.float32), unread, lambda: iter(()))
    line = r"similarity: 49,995,000 pairs of 10,000 layers would take 4\.2 GB of memory, the limit "
    with pytest.raises(InputError, match=line + r"is 1\.0 GB; .* raise max_bytes"):
        compare_layers([[one] * 10_000], max_bytes=10**9)


def test_the_rows_take_no_more_memory_than_is_said() -> None:
    frame = compare_layers([layers(1, 30) * 300])
    assert frame.memory_usage(index=False).sum() <= len(frame) * pairs._PAIR_BYTES


@pytest.mark.parametrize("metric", ["cka", "procrustes"])
def test_what_is_done_is_counted(metric: str) -> None:
    told: list[tuple[str, int, int]] = []
    compare_layers([layers(4, 30), layers(3, 30)], metric, progress=lambda *done: told.append(done))
    assert [done for done in told if done[0] == "layers"][:4] == [
        ("layers", number, 4) for number in (1, 2, 3, 4)
    ]
    assert told[-1] == ("pairs", 9, 9)


def test_how_long_a_comparison_will_take_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.similarity.progress._PATIENCE", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare_layers([layers(4, 30)], "procrustes")  # quick
    monkeypatch.setattr("runner.similarity.progress._LONG", 0)
    with pytest.warns(SlowWarning, match=r"15 pairs take about 0\.\d minutes more") as warned:
        compare_layers([layers(6, 30)], "procrustes")
    assert len(warned) == 1


@pytest.mark.parametrize("name", [name for name in MEASURES if MEASURES[name].moments])
@pytest.mark.parametrize("units", [1, 16, 4096])
def test_sums_over_samples_give_the_values_of_the_samples(
    name: str, units: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = [*layers(4, 3000), held("flat", np.full((3000, 2), 0.1))]
    monkeypatch.setattr("runner.similarity.group._FEW_SAMPLES", 10_000)
    with pytest.warns(UserWarning, match="flat of run holds the same values for every sample"):
        expected = compare_layers([group], name)
    monkeypatch.setattr("runner.similarity.group._FEW_SAMPLES", 1)
    monkeypatch.setattr("runner.similarity.group._CHUNK_BYTES", 1)
    monkeypatch.setattr("runner.similarity.group._CHUNK_UNITS", units)
    monkeypatch.setattr("runner.similarity.group._from_values", None)
    with pytest.warns(UserWarning, match="flat of run holds the same values for every sample"):
        found = compare_layers([group], name)
    pd.testing.assert_frame_equal(found, expected, atol=1e-9, rtol=0)
    assert found["value"].isna().sum() == 4


@settings(max_examples=40)
@given(
    st.integers(0, 1000), st.lists(st.integers(1, 59), max_size=4), st.sampled_from([0, 1e3, 1e6])
)
def test_moments_are_exact_however_samples_are_cut(seed: int, cuts: list[int], mean: float) -> None:
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(60, 3)) + mean, random.normal(size=(60, 2))
    joint, apart = JointMoments([3, 2]), JointMoments([3, 2])
    cut = sorted(set(cuts))
    for number, blocks in enumerate(zip(np.split(x, cut), np.split(y, cut), strict=True)):
        (joint, apart)[number % 2].update(blocks)
    joint.merge(apart)
    joint.check(1)
    together = np.hstack([x, y])
    assert joint.count == 60
    np.testing.assert_allclose(joint.mean, together.mean(0), rtol=1e-12, atol=1e-12)
    exact = (together - together.mean(0)).T @ (together - together.mean(0))
    found = np.block([[joint.between(a, b) for b in (0, 1)] for a in (0, 1)])
    np.testing.assert_allclose(found, exact, atol=1e-9 * max(1, mean / 1e3))
    np.testing.assert_array_equal(joint.between(0, 1), joint.between(1, 0).T)


def test_float32_values_about_a_large_mean_are_summed_in_float64() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(5000, 4))
    group = [
        held("a", (x + 1000).astype(np.float32)),
        held("b", (x + random.normal(size=(5000, 4))).astype(np.float32)),
    ]
    exact = MEASURES["cka"](x[:2000], group[1].read()[:2000])
    assert compare_layers([group])["value"][0] == pytest.approx(exact, abs=0.03)
    assert compare_layers([group], "cka_biased")["value"][0] == pytest.approx(
        MEASURES["cka_biased"](group[0].read().astype(float), group[1].read()), abs=1e-9
    )


@pytest.mark.parametrize("name", ["rsa", "knn"])
def test_many_samples_are_drawn_from_and_named(name: str) -> None:
    group = layers(2, 300)
    found = compare_layers([group], name, samples=50, seed=3)
    rows = np.sort(np.random.default_rng(3).choice(300, 50, replace=False))
    a, b = (layer.read()[rows] for layer in group)
    assert found["value"][0] == pytest.approx(MEASURES[name](a, b), abs=1e-12)
    assert found["n"][0] == 50
    assert found["note"][0] == "50 of 300 samples, seed 3"
    assert compare_layers([group], name, samples=50, seed=4)["value"][0] != found["value"][0]


def test_a_function_of_ones_own_is_a_metric() -> None:
    def widths(x: np.ndarray, y: np.ndarray) -> float:
        return 100 * x.shape[1] + y.shape[1]

    found = compare_layers([layers(3, 40)], widths)
    assert found["value"].tolist() == [506, 507, 607]
    assert set(found["metric"]) == {"widths"}
    assert set(compare_layers([layers(2, 40)], partial(widths))["metric"]) == {"partial"}


@pytest.mark.parametrize(
    ("metric", "line"),
    [
        ("ckaa", "metric: unknown metric 'ckaa'; did you mean 'cka'"),
        ("zzz", "there are cka, "),
        ("cka:bias=1", r"^metric: cka has no options; leave out ':bias=1'"),
        ("knn:neighbors=3", r"^metric\.knn\.neighbors: unknown key; did you mean 'neighbours'\?"),
        ("knn:neighbours=0", r"^metric\.knn\.neighbours: must be >= 1, found 0"),
        ("knn:neighbours=few", r"^metric\.knn\.neighbours: expected an integer, found 'few'"),
        ("svcca:variance=", r"^metric\.svcca\.variance: expected a number, found ''"),
    ],
)
def test_an_unknown_metric_is_answered_with_what_there_is(metric: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        compare_layers([layers(2, 40)], metric)


def test_what_no_memory_would_hold_is_refused_before_it_is_read() -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("read")

    wide = [
        Representation("run", name, 50_000, 800_000, np.dtype("f4"), never, never) for name in "ab"
    ]
    for metric in MEASURES:
        with pytest.raises(InputError, match=r"a of run: .* samples of 800,000 values would take "):
            compare_layers([wide], metric)


def noise(name: str, samples: int, width: int) -> Representation:
    random = np.random.default_rng(ord(name))
    return held(name, random.normal(size=(samples, width)))


@pytest.mark.parametrize(
    ("metric", "samples", "width", "line"),
    [
        ("cka", 20, 5, "cka: 20 samples are few: values are mostly chance"),
        ("cca", 40, 60, r"cca: 1 of 1 values are near 1 for any .* 40 samples .* than 60 units"),
        ("svcca", 40, 40, "svcca: 1 of 1 values are near 1 for any two layers"),
        ("cka_biased", 32, 512, r"cka_biased: independent noise of these widths scores up to 0.94"),
    ],
)
def test_a_number_that_misleads_is_warned_of(
    metric: str, samples: int, width: int, line: str
) -> None:
    group = [noise("a", samples, width), noise("b", samples, width)]
    with pytest.warns(UserWarning, match=line):
        compare_layers([group], metric)


@pytest.mark.parametrize("metric", ["cka_biased", "procrustes"])
@pytest.mark.parametrize("few", [1, 1 << 30])
def test_one_sample_that_decides_is_named(
    metric: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.similarity.group._FEW_SAMPLES", few)
    monkeypatch.setattr("runner.similarity.group._CHUNK_BYTES", few)
    values = np.random.default_rng(0).normal(size=(2, 100, 8))
    values[:, 7] += 1000
    group = [held("a", values[0]), held("b", values[1])]
    with pytest.warns(UserWarning, match=f"{metric}: 99% of the variance in a of run comes from"):
        found = compare_layers([group], metric)
    assert abs(found["value"][0] - (0 if metric == "procrustes" else 1)) < 0.2
    assert abs(compare_layers([group])["value"][0]) < 0.1  # debiased, it is not moved
    assert "variance in a of run" in found["note"][0]
    assert "variance in b of run" in found["note"][0]


def test_what_is_nothing_to_worry_about_is_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in MEASURES:
            compare_layers([layers(3, 60)], metric)


def test_layers_without_a_similarity_are_nan_and_the_others_are_not() -> None:
    group = [*layers(2, 60), held("dead", np.zeros((60, 4)))]
    with pytest.warns(UserWarning, match="cka: dead of run holds the same values for every sampl"):
        found = compare_layers([group])
    assert found["value"].isna().tolist() == [False, True, True]
    assert found["note"].tolist()[0] == ""
    assert found["note"].tolist()[1] == "dead of run holds the same values for every sample"
    with pytest.warns(UserWarning, match="dead of run"):
        assert compare_layers([[group[2], group[2]]])["value"].isna().all()


def seeds(folder: Path, count: int = 3, samples: int = 40, **known: Any) -> Runs:
    """Runs whose layers share something; the wider of them is a map."""
    random = np.random.default_rng(0)
    shared = random.normal(size=(samples, 3))
    for seed in range(count):
        noise = random.normal(size=(samples, 24))
        hidden = np.hstack([shared, noise[:, :4]]).astype(np.float32)
        tensors = {
            "conv": noise.astype(np.float32).reshape(samples, 2, 3, 4),
            "hidden": hidden,
            "hidden/kernel": np.eye(2, dtype=np.float32),
        }
        make_run(
            folder / str(seed), tensors, run_id=f"run{seed}", samples=range(samples),
            config={"seed": seed}, aliases={"dropout": "hidden"}, **known,
        )  # fmt: skip
    return open_runs(folder)


@pytest.mark.parametrize("format", STORED)
def test_runs_compare_the_same_layer_across_seeds(tmp_path: Path, format: str) -> None:
    runs = seeds(tmp_path, format=format)
    found = runs.similarity()
    assert found["layer_a"].tolist() == ["conv"] * 3 + ["hidden"] * 3
    assert (found["layer_a"] == found["layer_b"]).all()
    assert set(found["width_a"]) == {24, 7}
    a, b = (run.array("conv").reshape(40, 24) for run in (runs[0], runs[2]))
    assert found["value"][1] == pytest.approx(MEASURES["cka"](a, b), abs=1e-12)
    matrix = found[found["layer_a"] == "hidden"].pivot(
        index="run_a", columns="run_b", values="value"
    )
    assert matrix.shape == (2, 2)
    assert matrix.loc["run0", "run2"] > 0.1


def test_layers_are_compared_with_all_others_or_those_named(tmp_path: Path) -> None:
    runs = seeds(tmp_path)
    assert len(runs.similarity(layers="all")) == 6 * 5 / 2
    assert len(runs.similarity(layers=["hidden"])) == 3
    named = runs.similarity("procrustes", layers=["hidden", "dropout"])
    assert len(named) == 15
    twins = named[(named["run_a"] == named["run_b"])]
    assert twins["value"].tolist() == pytest.approx([0, 0, 0], abs=1e-9)
    one = Runs([runs[0]]).similarity(layers="all")
    assert one[["layer_a", "layer_b"]].to_numpy().tolist() == [["conv", "hidden"]]


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    runs = seeds(tmp_path)
    with pytest.raises(InputError, match="'same' compares a layer in different runs, and no two"):
        Runs([runs[0]]).similarity()
    with pytest.raises(InputError, match="layers: expected two to compare, found 1"):
        Runs([runs[0]]).similarity(layers=["hidden"])
    with pytest.raises(InputError, match="expected same, all or a list, found 'al'; did you mean"):
        runs.similarity(layers="al")
    with pytest.raises(UnknownTensorError, match="no tensor 'hiden'; did you mean 'hidden'"):
        runs.similarity(layers=["hiden"])
    with pytest.raises(InputError, match="hidden/kernel: is a weight, which has no samples"):
        runs.similarity(layers=["hidden/kernel"])


def test_runs_of_other_probes_are_refused(tmp_path: Path) -> None:
    hidden = {"hidden": np.arange(12, dtype=np.float32).reshape(4, 3)}
    inputs = np.eye(4, dtype=np.float32)
    make_run(tmp_path / "a", hidden, samples=range(4), inputs=inputs, run_id="aaaa")
    inputs[2, 1] = 5
    make_run(tmp_path / "b", hidden, samples=range(4), inputs=inputs, run_id="bbbb")
    with pytest.raises(InputError) as caught:
        open_runs(tmp_path).similarity()
    assert re.sub("[0-9a-f]{12}", "<hash>", str(caught.value)) == (
        "probe: the runs were shown different inputs: <hash> and <hash>; "
        "first at sample 2, input1: 0.0 and 5.0"
    )


def test_failed_runs_are_left_out_with_a_warning(tmp_path: Path) -> None:
    seeds(tmp_path, 2)
    make_run(tmp_path / "bad", run_id="bad00000", error="no memory")
    with pytest.warns(UserWarning, match="1 of 3 runs failed and have no tables: bad00000"):
        assert len(open_runs(tmp_path).similarity(layers=["hidden"])) == 1


@pytest.mark.parametrize("format", STORED)
def test_layers_are_read_in_blocks_of_the_same_samples(tmp_path: Path, format: str) -> None:
    values = np.arange(5000 * 6, dtype=np.float32).reshape(5000, 2, 3)
    tensors = {"map": values, "narrow": values[:, 0, 0]}
    run = Run.read(make_run(tmp_path / "run", tensors, samples=range(5000), format=format))
    layers = [run.representation(name) for name in tensors]
    blocks = list(side_by_side(layers))
    assert [len(a) for a, _ in blocks] == [len(b) for _, b in blocks] == [1024] * 4 + [904]
    np.testing.assert_array_equal(np.concatenate([a for a, _ in blocks]), values.reshape(5000, 6))
    assert (
        layers[0].values(np.array([3, 1024, 4999])).tolist()
        == values[[3, 1024, 4999]].reshape(3, 6).tolist()
    )


def test_the_command_prints_a_matrix_a_layer_and_writes_every_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = seeds(tmp_path / "outputs")
    words = ["similarity", "run0", "run1", "run2", "--layers", "hidden"]
    assert main([*words, "--csv", "all.csv"]) == 0
    out = capsys.readouterr().out.splitlines()
    values = runs.similarity(layers=["hidden"])["value"]
    assert out == [
        "cka, 40 samples",
        "",
        "seed    run",
        "seed=0  run0",
        "seed=1  run1",
        "seed=2  run2",
        "",
        "hidden",
        "             0     1     2",
        f"0 seed=0       {values[0]:.3f} {values[1]:.3f}",
        f"1 seed=1 {values[0]:.3f}       {values[2]:.3f}",
        f"2 seed=2 {values[1]:.3f} {values[2]:.3f}",
    ]
    with Path("all.csv").open() as file:  # pandas may round
        assert [float(row["value"]) for row in csv.DictReader(file)] == values.tolist()
    assert main([*words, "--metric", "ckaa"]) == 2
    assert "error: metric: unknown metric 'ckaa'; did you mean 'cka'" in capsys.readouterr().err
    assert main(["similarity", "run0"]) == 2
    assert "'all' compares every layer with every other" in capsys.readouterr().err


def test_few_runs_have_a_matrix_of_layers_for_each_two(tmp_path: Path) -> None:
    found = seeds(tmp_path).similarity("procrustes", layers="all")
    assert told(found).splitlines()[0] == "procrustes, 40 samples; 0 is the same"
    first, *others = matrices_of(found)
    assert [matrix.runs for matrix in (first, *others)] == list(
        combinations(["run0", "run1", "run2"], 2)
    )
    assert first.rows == first.columns == ("conv", "hidden")
    known = found.set_index(["run_a", "layer_a", "run_b", "layer_b"])["value"]
    for (row, column), value in np.ndenumerate(first.values):
        assert value == known["run0", first.rows[row], "run1", first.columns[column]]
    text = told(found)
    assert "rows: layers of run0; columns: layers of run1" in text
    assert f"1 hidden {first.values[1, 0]:.3f} {first.values[1, 1]:.3f}" in text


def test_models_with_other_layers_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number, names in enumerate((("a", "b"), ("c", "d", "e"), ("f",))):
        config = {"model": {"path": f"/models/{number}/{'xyz'[number]}.keras"}}
        tensors = {name: random.normal(size=(40, 5)).astype(np.float32) for name in names}
        make_run(tmp_path / str(number), tensors, run_id=f"run{number}", config=config,
                 samples=range(40), inputs=np.zeros((40, 1), np.float32))  # fmt: skip
    runs = open_runs(tmp_path)
    labels = {"run0": "x.keras", "run1": "y.keras", "run2": "z.keras"}
    assert runs.labels() == (labels, "path")
    lines = told(runs.similarity(layers="all"), *runs.labels()).splitlines()
    assert lines[2:6] == ["path     run", "x.keras  run0", "y.keras  run1", "z.keras  run2"]
    assert lines[7:9] == [
        "rows: layers of x.keras; columns: layers of y.keras",
        "columns 0 c, 1 d, 2 e",
    ]
    assert [line.split()[:2] for line in lines[10:12]] == [["0", "a"], ["1", "b"]]
    figure = runs.plot_similarity()
    assert [trace.z.shape for trace in figure.data] == [(2, 3), (2, 1), (3, 1)]
    assert figure.layout.xaxis.title.text == "layers of y.keras"


def test_the_values_of_many_runs_are_means_and_say_so() -> None:
    five = [f"r{number}" for number in range(5)]
    layers = [(run, layer) for run in five for layer in "gh"]
    frame = pd.DataFrame(
        [
            {"run_a": a, "layer_a": one, "run_b": b, "layer_b": other, "metric": "cka", "n": 99,
             "value": 1.0 if a == b else 0.25 if one == other else 0.5}
            for (a, one), (b, other) in combinations(layers, 2)
        ]
    )  # fmt: skip
    [matrix] = matrices_of(frame)
    # A layer and another of the same run say nothing about two runs.
    assert matrix.values.tolist() == [[0.25, 0.5], [0.5, 0.25]]
    assert matrix.averaged == 10
    assert "each value is the mean over 10 pairs of runs\n" in told(frame)
    assert matrices_of(frame[frame["layer_a"] + frame["run_a"] != "gr0"]) == []


@pytest.mark.parametrize(("count", "shown"), [(9, "0.123"), (13, "0.12"), (20, "12")])
def test_a_matrix_has_as_many_digits_as_fit(count: int, shown: str) -> None:
    text = told(pairs_of([f"5eed5eed-{number}" for number in range(count)]))
    assert shown in text.splitlines()[4].split()
    assert max(map(len, text.splitlines())) <= 80
    assert ("(in hundredths)" in text) == (shown == "12")


def test_what_does_not_fit_is_summed_up() -> None:
    text = told(pairs_of([f"5eed5eed-{number}" for number in range(30)]))
    assert text.splitlines()[2].split() == ["layers", "pairs", "mean", "std", "min", "max"]
    assert text.splitlines()[3].split() == ["h", "435", "0.123", "0.000", "0.123", "0.123"]


def pairs_of(runs: list[str]) -> pd.DataFrame:
    """One layer of runs, all as alike as each other."""
    return pd.DataFrame(
        [
            {"run_a": a, "layer_a": "h", "run_b": b, "layer_b": "h", "metric": "cka", "n": 99,
             "value": 0.123}
            for a, b in combinations(runs, 2)
        ]
    )  # fmt: skip


@pytest.mark.parametrize("format", STORED)
def test_a_run_tells_what_its_layers_do(tmp_path: Path, format: str) -> None:
    random = np.random.default_rng(0)
    plane = random.normal(size=(400, 2)) @ random.normal(size=(2, 9))
    tensors = {
        "plane": plane.astype(np.float32),
        "ball": random.normal(size=(400, 9)).astype(np.float32),
        "tanh": np.tanh(20 * random.normal(size=(400, 3))).astype(np.float32),
        "relu": np.maximum(random.normal(size=(400, 2, 2, 4)), 0).astype(np.float32),
        "flat": np.full((400, 3), 0.1, np.float32),
        "nan": np.full((400, 3), np.nan, np.float32),
    }
    run = Run.read(make_run(tmp_path / "run", tensors, samples=range(400), format=format))
    found = run.statistics().set_index("name")
    assert found.loc["plane", "effective_rank"] == pytest.approx(2, abs=0.1)
    assert found.loc["plane", "participation_ratio"] < 2
    assert found.loc["ball", "effective_rank"] == pytest.approx(9, abs=0.2)
    assert found.loc["ball", "participation_ratio"] == pytest.approx(9, abs=0.5)
    norms = np.linalg.norm(tensors["ball"].astype(float), axis=1)
    assert found.loc["ball", "norm"] == pytest.approx(norms.mean())
    assert found.loc["ball", "norm_std"] == pytest.approx(norms.std())
    assert found.loc["tanh", "saturation"] > 0.8
    assert found.loc["ball", "saturation"] < 0.01
    assert found.loc["relu", "sparsity"] == pytest.approx(0.5, abs=0.05)
    assert found.loc["relu", "units"] == 4
    assert found.loc["flat", ["effective_rank", "participation_ratio"]].tolist() == [0, 0]
    assert found.loc["nan", "nan"] == 1200
    assert found.loc["nan", ["norm", "effective_rank"]].isna().all()


def test_dimensions_are_those_of_the_singular_values(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(50, 6)) * [5, 4, 3, 2, 1, 0]
    singular = np.linalg.svd(x - x.mean(0), compute_uv=False)
    shares = singular[:5] / singular.sum()
    rank = np.exp(-(shares * np.log(shares)).sum())
    ratio = (singular**2).sum() ** 2 / (singular**4).sum()
    reach = (6, float(x.min()), float(x.max()))
    found = layer_statistics(held("x", x), *reach)
    assert found["effective_rank"] == pytest.approx(rank, rel=1e-6)
    assert found["participation_ratio"] == pytest.approx(ratio, rel=1e-9)
    monkeypatch.setattr(dimensions, "_MOST_UNITS", 5)  # too many units, and too many samples
    assert np.isnan(layer_statistics(held("x", x), *reach)["effective_rank"])


def test_a_layer_wider_than_it_has_samples_has_dimensions_too() -> None:
    x = np.random.default_rng(0).normal(size=(8, 5000))
    found = layer_statistics(held("x", x), 5000, float(x.min()), float(x.max()))
    assert found["effective_rank"] == pytest.approx(7, abs=0.1)


def test_statistics_are_averaged_over_seeds_of_the_same_config(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number, (width, seed) in enumerate([(2, 0), (2, 1), (5, 0)]):
        make_run(
            tmp_path / str(number),
            {"hidden": random.normal(size=(40, width)).astype(np.float32)},
            run_id=f"run{number}", samples=range(40), config={"seed": seed, "width": width},
        )  # fmt: skip
    runs = open_runs(tmp_path)
    found = runs.statistics()
    assert found.index.tolist() == [(2, "hidden", "activation"), (5, "hidden", "activation")]
    assert found["runs"].tolist() == [2, 1]
    own = [run.statistics()["norm"][0] for run in runs]
    assert found[("norm", "mean")].tolist() == pytest.approx([(own[0] + own[1]) / 2, own[2]])
    assert found[("norm", "std")].tolist() == pytest.approx(
        [abs(own[0] - own[1]) / np.sqrt(2), np.nan], nan_ok=True
    )
