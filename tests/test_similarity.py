"""Measures of similarity: known figures, what each must not mind, and where it misleads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import make_run

import runner
from runner.command_line.commands import main
from runner.errors import InputError
from runner.runs.locate import open_runs
from runner.similarity.measures import MEASURES, linear_cka, linear_cka_biased, signature
from runner.similarity.moments import CrossMoments
from runner.similarity.pairs import Representation, similarities

# What independent public implementations give for these two.
KNOWN = {
    "cka": 0.51345649, "cka_biased": 0.55761326, "cca": 0.73101396, "procrustes": 0.74327648,
    "rsa": 0.47243967, "knn": 0.170125,
}  # fmt: skip
LINEAR = {
    "cka": CrossMoments.linear_cka, "cka_biased": CrossMoments.linear_cka_biased,
    "cca": CrossMoments.mean_cca, "svcca": CrossMoments.svcca,
    "procrustes": CrossMoments.procrustes,
}  # fmt: skip


def known() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.RandomState(1337)
    x = draw.randn(100, 10)
    return x, draw.randn(100, 10) + x


def representation(run: str, values: np.ndarray, block: int = 7) -> Representation:
    def blocks():  # noqa: ANN202
        for start in range(0, len(values), block):
            yield values[start : start + block]

    return Representation(run, "h", len(values), values.shape[1], blocks)


@pytest.mark.parametrize(("name", "value"), KNOWN.items())
def test_known_figures(name: str, value: float) -> None:
    assert MEASURES[name](*known()) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", MEASURES)
def test_a_representation_is_like_itself_and_the_order_of_two_does_not_matter(name: str) -> None:
    x, y = known()
    assert MEASURES[name](x, x) == pytest.approx(float(name != "procrustes"), abs=1e-12)
    assert MEASURES[name](x, y) == pytest.approx(MEASURES[name](y, x), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 9))
@pytest.mark.parametrize("name", ["cka", "cka_biased", "cca", "svcca", "procrustes"])
def test_rotation_scale_shift_and_order_of_units_do_not_matter(
    name: str, seed: int, width: int, other: int
) -> None:
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(40, width)), draw.normal(size=(40, other))
    rotation = np.linalg.qr(draw.normal(size=(width, width)))[0]
    moved = (x @ rotation)[:, draw.permutation(width)] * 3.5 + draw.normal(size=width)
    assert MEASURES[name](moved, y) == pytest.approx(MEASURES[name](x, y), abs=1e-9)
    assert MEASURES[name](moved, x) == pytest.approx(float(name != "procrustes"), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_cca_does_not_mind_any_invertible_map(seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(60, 5)), draw.normal(size=(60, 4))
    mixed = x @ (draw.normal(size=(5, 5)) + 3 * np.eye(5))
    assert MEASURES["cca"](mixed, y) == pytest.approx(MEASURES["cca"](x, y), abs=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
@pytest.mark.parametrize("name", ["rsa", "knn"])
def test_scale_and_order_of_units_do_not_matter_to_the_others(name: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(30, 6)), draw.normal(size=(30, 4))
    moved = x[:, draw.permutation(6)] * 0.25
    assert MEASURES[name](moved, y) == pytest.approx(MEASURES[name](x, y), abs=1e-9)


def test_rsa_minds_rotation() -> None:
    x, y = known()
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(10, 10)))[0]
    assert abs(MEASURES["rsa"](x @ rotation, y) - MEASURES["rsa"](x, y)) > 1e-3


def test_noise_of_many_units_is_alike_only_to_the_biased_one() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(32, 512)), draw.normal(size=(32, 512))
    assert linear_cka_biased(x, y) > 0.9
    assert abs(linear_cka(x, y)) < 0.05


@pytest.mark.parametrize("name", MEASURES)
def test_a_constant_layer_has_no_similarity(name: str) -> None:
    x, _ = known()
    assert np.isnan(MEASURES[name](x, np.full_like(x, 0.1)))


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_covariances_give_the_same_block_by_block(name: str, shift: float) -> None:
    x, y = (values.astype(np.float32) + np.float32(shift) for values in known())
    y = y[:, :6]
    moments = CrossMoments(representation("a", x).blocks, representation("b", y).blocks)
    assert moments.n == 100
    assert LINEAR[name](moments) == pytest.approx(MEASURES[name](x, y), abs=1e-9)


def test_signatures_multiply_to_cka() -> None:
    x, y = known()
    assert signature(x) @ signature(y) == pytest.approx(linear_cka(x, y), abs=1e-12)
    assert np.isnan(signature(x[:3])).all()


def test_every_pair_is_a_row() -> None:
    x, y = known()
    layers = [representation("a", x), representation("b", y[:, :4]), representation("c", x)]
    frame = similarities(layers, [(0, 1), (0, 2)])
    assert frame.to_dict("records") == [
        {"run_a": "a", "layer_a": "h", "run_b": "b", "layer_b": "h", "metric": "cka",
         "value": pytest.approx(linear_cka(x, y[:, :4])), "n": 100, "width_a": 10, "width_b": 4},
        {"run_a": "a", "layer_a": "h", "run_b": "c", "layer_b": "h", "metric": "cka",
         "value": pytest.approx(1), "n": 100, "width_a": 10, "width_b": 10},
    ]  # fmt: skip


def test_a_function_is_a_measure_too() -> None:
    def ratio(x: np.ndarray, y: np.ndarray) -> float:
        return float(x.sum() / y.sum())

    x, _ = known()
    frame = similarities([representation("a", x), representation("b", 2 * x)], [(0, 1)], ratio)
    assert frame["metric"].tolist() == ["ratio"]
    assert frame["value"].tolist() == [0.5]


@pytest.mark.parametrize("name", ["cka", "procrustes"])
def test_linear_measures_of_many_samples_use_all_of_them(name: str) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(3000, 4)).astype(np.float32)
    y = (x + draw.normal(size=(3000, 4))).astype(np.float32)
    [row] = similarities(
        [representation("a", x, 500), representation("b", y, 500)], [(0, 1)], name
    ).to_dict("records")
    assert row["n"] == 3000
    assert row["value"] == pytest.approx(MEASURES[name](x, y), abs=1e-7)


def test_other_measures_of_many_samples_say_how_many_they_took() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(2500, 4))
    layers = [representation("a", x, 500), representation("b", x, 700)]
    [row] = similarities(layers, [(0, 1)], "rsa").to_dict("records")
    assert (row["n"], row["value"]) == (2048, pytest.approx(1))


@pytest.mark.parametrize(
    ("metric", "shape", "line"),
    [
        ("cca", (20, 30), r"cca with 20 samples and up to 30 units: .* comes out as 1"),
        ("cka_biased", (20, 50), "cka_biased with 20 samples and up to 50 units is near 1"),
        ("cka", (6, 2), "6 samples are few"),
    ],
)
def test_a_number_that_misleads_is_warned_of(
    metric: str, shape: tuple[int, int], line: str
) -> None:
    draw = np.random.default_rng(0)
    layers = [representation(run, draw.normal(size=shape)) for run in "ab"]
    with pytest.warns(UserWarning, match=line):
        similarities(layers, [(0, 1)], metric)


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(InputError, match="metric: unknown measure 'ckaa'; did you mean 'cka'"):
        similarities([], [], "ckaa")


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Three runs of two layers; the second run's layers are rotations of the first's."""
    draw = np.random.default_rng(0)
    hidden, conv = draw.normal(size=(12, 4)), draw.normal(size=(12, 2, 2, 1))
    rotation = np.linalg.qr(draw.normal(size=(4, 4)))[0]
    for number, change in enumerate((np.eye(4), rotation, draw.normal(size=(4, 4)))):
        tensors = {
            "hidden": (hidden @ change).astype(np.float32),
            "conv": (conv.reshape(12, 4) @ change).reshape(conv.shape).astype(np.float32),
        }
        make_run(
            tmp_path / f"outputs/s/{number}", tensors, run_id=f"5eed5eed-{number}",
            samples=range(12), sweep="5eed5eed", config={"seed": number},
        )  # fmt: skip
    return tmp_path / "outputs"


def test_runs_compare_the_same_layers_or_all(outputs: Path) -> None:
    runs = open_runs(outputs)
    same = runs.similarity()
    assert len(same) == 6
    assert (same["layer_a"] == same["layer_b"]).all()
    wide = same.pivot_table(index="run_a", columns="run_b", values="value")
    assert wide.loc["5eed5eed-0", "5eed5eed-1"] == pytest.approx(1, abs=1e-5)
    assert wide.loc["5eed5eed-0", "5eed5eed-2"] < 0.95
    assert len(runs.similarity(layers="all")) == 6 * 5 / 2
    assert len(runs.similarity("procrustes", layers=["hidden"])) == 3


def test_other_samples_are_refused(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="hidden")])
    x = np.eye(3, dtype=np.float32)
    a, b = (runner.save_run(model, x, tmp_path / ids, sample_ids=ids) for ids in ("pqr", "prq"))
    with pytest.raises(InputError, match=rf"different sample ids: .* by run {a.id}, .* {b.id}"):
        open_runs([a.path, b.path]).similarity(layers=["hidden"])


def test_the_command(outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["similarity", "5eed5eed", "--outputs", str(outputs), "--layers", "hidden"]
    assert main([*words, "--csv", str(tmp_path / "all.csv")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "cka, 12 samples"
    assert out[2] == "hidden"
    assert out[4].split() == ["0", "5eed5eed-0", "1.000", out[4].split()[-1]]
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 4
    assert main([*words, "--metric", "ckaa"]) == 2
    assert "error: metric: unknown measure 'ckaa'" in capsys.readouterr().err
