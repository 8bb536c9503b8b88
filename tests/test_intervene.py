"""Interventions: what a configuration says is done to the outputs of layers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from packages import LIMIT_NORM, offered

import runner
from runner.actions.scale import Scale
from runner.command_line.entry import main
from runner.errors import InputError
from runner.intervening.changed_output import ChangedOutput
from runner.intervening.edits import Edit
from runner.intervening.effect import Effect, Unchanged
from runner.model.backend import framework
from runner.record.layer_record import ChangeRecord
from runner.report.run_page import page_of_run
from runner.report.sweep_page import page_of_sweep
from runner.screen import effects, explain
from runner.tensors import TensorSpec

ROWS = 7


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((5, 3))
    x = layers.Conv1D(4, 2, activation="relu", name="conv")(inputs)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(8, activation="tanh", name="hidden")(x)
    shared = layers.Dense(8, activation="tanh", name="shared")
    x = shared(shared(layers.Dropout(0.5, name="drop")(x)))
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="out")(x))


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, 5, 3)).astype("float32")


@pytest.fixture(scope="module")
def plain(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    return values(runner.capture_activations(model, x))


def values(found: Any) -> dict[str, np.ndarray]:
    return {name: one.value for name, one in found.items()}


def changed(model: keras.Model, x: np.ndarray, **intervene: Any) -> dict[str, np.ndarray]:
    return values(runner.capture_activations(model, x, intervene=intervene))


Plain = dict[str, np.ndarray]


def test_each_action_does_what_it_says_and_layers_before_stay(
    model: keras.Model, x: np.ndarray, plain: Plain, tmp_path: Path
) -> None:
    direction = np.linspace(-1, 1, 8).astype("float32")
    np.save(tmp_path / "direction.npy", direction)
    hidden = plain["hidden"]
    only = np.isin(np.arange(8), (0, 3))
    mean = hidden.mean(axis=0, dtype="float64").astype("float32")
    expected: list[tuple[Any, np.ndarray]] = [
        ({"units": [0, 3], "set": 0}, np.where(only, 0, hidden)),
        ({"units": [0, 3], "set": [1, -1]}, np.where(only, [1, 0, 0, -1, 0, 0, 0, 0], hidden)),
        ({"units": "2-4", "set": "mean"}, np.where(np.isin(range(8), (2, 3, 4)), mean, hidden)),
        ({"set": "median"}, np.broadcast_to(np.median(hidden, axis=0), hidden.shape)),
        ({"scale": 0.5}, hidden * np.float32(0.5)),
        ({"clamp": [-0.25, 0.25]}, hidden.clip(-0.25, 0.25)),
        ({"add": str(tmp_path / "direction.npy"), "times": 2}, hidden + 2 * direction),
        ({"units": 1, "add": [0.5]}, hidden + np.eye(8, dtype="float32")[1] / 2),
    ]
    for what, after in expected:
        found = changed(model, x, hidden=what)
        np.testing.assert_array_equal(found["hidden"], after.astype("float32"), str(what))
        np.testing.assert_array_equal(found["drop"], found["hidden"])
        for name in ("conv", "flat"):
            np.testing.assert_array_equal(found[name], plain[name], str(what))
        rest = keras.Model(model.get_layer("drop").output, model.output)
        out = keras.ops.convert_to_numpy(rest(found["hidden"], training=False))
        np.testing.assert_allclose(found["out"], out, rtol=1e-5, atol=1e-6, err_msg=str(what))


def test_the_identity_is_bitwise_the_run_without_it(
    model: keras.Model, x: np.ndarray, plain: Plain
) -> None:
    found = changed(model, x, **{"**": {"scale": 1}})
    assert [*found] == [*plain]
    for name, array in plain.items():
        np.testing.assert_array_equal(found[name], array, name)


def test_noise_is_that_of_its_seed_whatever_the_batch(
    model: keras.Model, x: np.ndarray, plain: Plain
) -> None:
    noise = {"std": 0.5, "seed": 3}
    found = changed(model, x, hidden={"noise": noise})
    drawn = found["hidden"] - plain["hidden"]
    assert 0.3 < drawn.std() < 0.7
    smaller = runner.capture_activations(
        model, x, intervene={"hidden": {"noise": noise}}, batch_size=2
    )
    np.testing.assert_allclose(smaller["hidden"].value, found["hidden"], rtol=1e-5, atol=1e-6)
    other = changed(model, x, hidden={"noise": {**noise, "seed": 4}})
    assert not np.array_equal(other["hidden"], found["hidden"])


def test_positions_of_a_sequence_and_single_calls_are_changed(
    model: keras.Model, x: np.ndarray, plain: Plain
) -> None:
    found = changed(model, x, conv={"positions": [1], "units": "0-1", "set": 9})
    expected = plain["conv"].copy()
    expected[:, 1, :2] = 9
    np.testing.assert_array_equal(found["conv"], expected)
    first = changed(model, x, **{"shared@0": {"set": 0}})
    np.testing.assert_array_equal(first["shared@0"], np.zeros((ROWS, 8)))
    bias = np.tanh(model.get_layer("shared").get_weights()[1])
    np.testing.assert_allclose(first["shared@1"], np.tile(bias, (ROWS, 1)), atol=1e-7)
    both = changed(model, x, shared={"set": 0})
    np.testing.assert_array_equal(both["shared@1"], np.zeros((ROWS, 8)))
    alone = changed(model, x, **{"hidden@0": {"set": 0}})
    np.testing.assert_array_equal(alone["hidden"], np.zeros((ROWS, 8)))


def test_overlapping_interventions_apply_in_their_order(
    model: keras.Model, x: np.ndarray, plain: Plain
) -> None:
    one = {"hidden": {"set": 1}, "class:Dens*": {"scale": 3}}
    assert changed(model, x, **one)["hidden"][0, 0] == 3
    assert changed(model, x, **dict(reversed(one.items())))["hidden"][0, 0] == 1
    along = changed(model, x, drop={"set": 0})  # returns the tensor of hidden
    np.testing.assert_array_equal(along["hidden"], plain["hidden"])
    assert not along["drop"].any()


def test_what_does_not_fit_the_model_is_told_in_a_line(model: keras.Model, x: np.ndarray) -> None:
    def refused(message: str, **intervene: Any) -> None:
        with pytest.raises(InputError, match=f"^{message}$"):
            changed(model, x, **intervene)

    refused("intervene: 'hiden' matches no layer; did you mean 'hidden'\\?", hiden={"set": 0})
    refused(
        "intervene.hidden.units: 8, 9 out of range; the units of 'hidden' are 0 to 7",
        hidden={"units": [1, 8, 9], "set": 0},
    )
    refused(  # at once, in no memory
        "intervene.hidden.units: 8 out of range; the units of 'hidden' are 0 to 7",
        hidden={"units": "1-99999999999", "set": 0},
    )
    refused(
        "intervene.hidden.positions: 'hidden' has no positions of a sequence: a sample is 8; "
        "leave it out",
        hidden={"positions": 0, "set": 0},
    )
    refused(
        "intervene.hidden.set: expected a number for each of 2 units of 'hidden', found 3",
        hidden={"units": [1, 2], "set": [1, 2, 3]},
    )
    refused("intervene.hidden.sett: unknown key; did you mean 'set'\\?", hidden={"sett": 0})
    refused(
        "intervene.hidden: expected one of set, .*, add, patch, found set and scale",
        hidden={"set": 0, "scale": 1},
    )
    refused("intervene.hidden.units: the range 3-1 has .*", hidden={"units": "3-1", "set": 0})
    refused("intervene.hidden.units: must be 0 or more, .*", hidden={"units": -1, "set": 0})
    refused("intervene.hidden.noise.std: must be > 0 .*", hidden={"noise": {"std": -1}})
    refused("intervene.hidden.clamp: the lower limit 2.0 .*", hidden={"clamp": [2, 1]})
    refused(
        "intervene.hidden.times: is a key of add; leave it out beside scale",
        hidden={"scale": 1, "times": 2},
    )
    refused("intervene.hidden: expected one of set, .*, found none", hidden={"units": 1})
    refused("intervene.hidden.add: no file 'no.npy' .*", hidden={"add": "no.npy"})
    refused("intervene.hidden.set: expected a number, .* found nan", hidden={"set": float("nan")})


@pytest.mark.parametrize("shape", [(4, 4), (3,), (1, 1)])
def test_numbers_of_an_action_that_no_sample_takes_are_told(shape: tuple[int, ...]) -> None:
    spec = TensorSpec("hidden", "activation", "hidden", "Dense", 0, "0", (4,), "float32", 0)
    output = ChangedOutput("hidden", spec, 0, (0,), None, None, lambda *_: lambda *_: np.zeros(4))
    for fine in (0.5, np.zeros(4), np.zeros(1), lambda *_: np.zeros((2, 4))):
        Edit(output, Scale(scale=0.5), np.ones(1, bool), {"factor": fine})
    message = (
        r"^intervene\.hidden: the action's numbers 'factor' have shape .* a sample of 'hidden'"
    )
    with pytest.raises(InputError, match=message):
        Edit(output, Scale(scale=0.5), np.ones(1, bool), {"factor": np.zeros(shape)})


def test_a_saved_run_says_what_was_done(model: keras.Model, x: np.ndarray, tmp_path: Path) -> None:
    intervene = {"hidden": {"units": [3, 0, 1], "set": 0}}
    run = runner.save_run(model, x, tmp_path / "run", intervene=intervene)
    by_name = {tensor.name: tensor.changed_by for tensor in run.record.tensors}
    assert by_name["hidden"] == (ChangeRecord("hidden", "set to 0", (3, 0, 1), None),)
    assert by_name["drop"] == by_name["hidden/kernel"] == ()
    said = explain.show(run, "hidden", "u3")
    assert "unit u3 was set to 0\nthe stored value is 0" in said
    assert "tanh(" in said
    assert "was set" not in explain.show(run, "hidden", "u2")
    other = runner.save_run(model, x, tmp_path / "other")
    found = runner.diff(other, run)
    assert found.facts[0] == ("intervene.hidden", None, "units 0-1, 3 set to 0")
    assert found.first is not None
    assert found.first.tensor == "hidden"


def test_the_command_line_needs_no_plus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "intervene.hidden.units=[0,2]", "intervene.hidden.set=0"
    run = runner.run(*words, f"hydra.run.dir={tmp_path}/run")
    assert run.table("hidden").to_numpy()[:, [0, 2]].tolist() == [[0, 0]] * 3
    assert main(["show", str(run.path)]) == 0
    said = capsys.readouterr().out
    assert "note: hidden was changed: units 0, 2 set to 0" in said
    assert main(["train=fit", "intervene.hidden.scale=2"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: intervene: there are no interventions in a training; set train")
    assert main(["intervene={은닉:{scale:0}}"]) == 2
    advice = "; write a pattern with letters outside ASCII in a file of --config-dir"
    assert advice in capsys.readouterr().err
    assert main(["intervene={hid*:{scale:0},0:{sett:1}}", "dry_run=true"]) == 2
    assert "error: intervene.0.sett: unknown key; did you mean 'set'?" in capsys.readouterr().err


def test_effects_are_those_of_passes_made_by_hand(
    model: keras.Model, x: np.ndarray, plain: Plain, tmp_path: Path
) -> None:
    labels = np.arange(ROWS) % 3
    model.compile(loss="sparse_categorical_crossentropy")
    intervene = {"hidden": {"units": [0, 3], "set": 0}}
    two: dict[str, Any] = {"logit_difference": [2, 0]}
    run = runner.save_run(model, x, tmp_path / "run", labels=labels, intervene=intervene, **two)
    hidden = plain["hidden"].copy()
    hidden[:, [0, 3]] = 0
    rest = keras.Model(model.get_layer("drop").output, model.output)
    before = plain["out"].astype("float64")
    after = np.asarray(keras.ops.convert_to_numpy(rest(hidden, training=False)), "float64")
    [found] = run.effects.to_dict("records")
    assert (found["output"], found["samples"], found["layer"]) == ("out", ROWS, None)
    expected = {
        "mean_abs": np.abs(after - before).mean(),
        "max_abs": np.abs(after - before).max(),
        "kl": (before * np.log(before / after)).sum(axis=1).mean(),
        "flipped": (before.argmax(1) != after.argmax(1)).mean(),
        "accuracy_before": (before.argmax(1) == labels).mean(),
        "accuracy": (after.argmax(1) == labels).mean(),
        "logit_difference_before": np.log(before[:, 2] / before[:, 0]).mean(),
        "logit_difference": np.log(after[:, 2] / after[:, 0]).mean(),
        "loss_before": -np.log(before[range(ROWS), labels]).mean(),
        "loss": -np.log(after[range(ROWS), labels]).mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-7, err_msg=name)
    with pytest.raises(InputError, match=r"has no interventions; make one with: intervene\.LAYER"):
        _ = runner.save_run(model, x, tmp_path / "plain").effects
    for units, message in (
        ([1], r"^logit_difference: expected two different units, found 1; such as \[0,1\]$"),
        ([1, 3], r"^effects\.logit_difference: 3 out of range; the units of .* are 0 to 2$"),
    ):
        with pytest.raises(InputError, match=message):
            runner.save_run(model, x, tmp_path / "x", intervene=intervene, logit_difference=units)
    assert not (tmp_path / "x").exists()


def test_a_change_that_is_no_number_is_no_effect_of_zero() -> None:
    effect = Effect("out")
    for value in (1.0, np.nan, 2.0):
        effect.add(Unchanged(np.zeros((2, 3)), None), np.array([[0, 0, value], [0, 1, 0]]))
    found = effect.record(None, None)
    assert (found.samples, found.mean_abs, found.max_abs) == (6, None, None)


def test_each_unit_by_itself_is_as_in_a_run_of_its_own(
    model: keras.Model, x: np.ndarray, plain: Plain, tmp_path: Path
) -> None:
    what = {"set": "mean"}
    each = {"conv": {"units": "each", **what}, "drop": {"units": "each", **what}}
    run = runner.save_run(model, x, tmp_path / "each", intervene=each, batch_size=4)
    effects = run.record.effects
    assert [(one.layer, one.unit) for one in effects] == [
        *(("conv", unit) for unit in range(4)),
        *(("drop", unit) for unit in range(8)),
    ]
    np.testing.assert_array_equal(run.array("hidden"), plain["hidden"])
    assert not any(tensor.changed_by for tensor in run.record.tensors)
    for layer, unit in (("conv", 1), ("drop", 6)):
        alone = {layer: {"units": unit, **what}}
        path = tmp_path / layer
        [expected] = runner.save_run(model, x, path, intervene=alone, batch_size=4).record.effects
        [found] = [one for one in effects if (one.layer, one.unit) == (layer, unit)]
        for key in ("mean_abs", "max_abs", "kl", "flipped"):
            np.testing.assert_allclose(
                getattr(found, key), getattr(expected, key), rtol=1e-5, atol=1e-9, err_msg=key
            )
    beside = {"conv": {"units": "each", "set": 0}, "hidden": {"set": 0}}
    with pytest.raises(InputError, match=r"intervene\.hidden: cannot stand beside conv, of which"):
        changed(model, x, **beside)


def test_effects_are_told_by_class_and_by_sample(
    model: keras.Model, x: np.ndarray, plain: Plain, tmp_path: Path
) -> None:
    labels = np.array(["a", "b", "b", "c", "a", "b", "c"])
    what = {"hidden": {"units": [0, 3], "set": 0}}
    by: list[Any] = ["class", "sample"]
    run = runner.save_run(
        model, x, tmp_path / "run", labels=labels, intervene=what, effects_by=by, batch_size=4
    )
    hidden = plain["hidden"].copy()
    hidden[:, [0, 3]] = 0
    rest = keras.Model(model.get_layer("drop").output, model.output)
    change = np.abs(keras.ops.convert_to_numpy(rest(hidden, training=False)) - plain["out"])
    of_class = run.effects_by("class").set_index("class")
    assert of_class["samples"].to_dict() == {"a": 2, "b": 3, "c": 2}
    for label, mean in of_class["mean_abs"].items():
        np.testing.assert_allclose(mean, change[labels == label].mean(), rtol=1e-4)
    of_sample = run.effects_by("sample").set_index("sample")
    np.testing.assert_allclose(
        of_sample["mean_abs"][[str(row) for row in range(ROWS)]], change.mean(axis=1), rtol=1e-4
    )
    each = {"drop": {"units": "each", "set": 0}}
    run = runner.save_run(
        model, x, tmp_path / "each", labels=labels, intervene=each, effects_by=by[:1]
    )
    found = run.effects_by("class")
    assert len(found) == 3 * 8
    whole = (found["mean_abs"] * found["samples"]).groupby(found["unit"]).sum() / ROWS
    expected = run.effects.set_index("unit")["mean_abs"].sort_index()
    np.testing.assert_allclose(whole.sort_index().to_numpy(), expected.to_numpy(), rtol=1e-6)
    with pytest.raises(InputError, match=r"holds no effects by sample; make it again with effects"):
        run.effects_by("sample")
    with pytest.raises(InputError, match=r"^effects\.by: the probe has no labels; leave class out"):
        runner.save_run(model, x, tmp_path / "none", intervene=what, effects_by=by)


def test_the_command_tells_effects_by_class(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["experiment=digits_mlp", "probe.rows=50", "intervene.hidden_1.set=0", "format=none"]
    assert main([*words, "effects.by=[class]"]) == 0
    capsys.readouterr()
    assert main(["effects", "last", "--by", "class"]) == 0
    said = capsys.readouterr().out
    assert re.match(r"effects on 'output', by class\n\nchanged +class +mean change", said)
    assert said.count("hidden_1: all values set to 0") == 10
    assert main(["effects.by=[class]"]) == 2
    assert "effects.by: there are no interventions; add one" in capsys.readouterr().err


def test_a_sweep_measures_means_with_the_weights_of_each_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["intervene.hidden.units=1", "intervene.hidden.set=mean"]
    assert main(["-m", "seed=0,1", *words, f"hydra.sweep.dir={tmp_path}/sweep"]) == 0
    runs = runner.open_runs(tmp_path / "sweep")
    assert {run.record.own_build_because for run in runs} == {None}
    alone = runner.run("seed=1", *words, f"hydra.run.dir={tmp_path}/alone")
    [second] = [run for run in runs if run.seed == 1]
    assert runner.diff(alone, second, exact=True).same
    assert second.record.effects == alone.record.effects
    capsys.readouterr()
    assert main(["effects", str(tmp_path / "sweep")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("effects on 'output', 3 samples\n")
    assert "hidden: unit 1" in " ".join(said.split())
    assert len(runs.effects()) == 2
    part = page_of_sweep(runs).parts["effects"]
    assert part.shown["captions"] == ["mean change of the output by run, on output"]
    assert part.data[0]["data"][0]["x"] == ["0", "1"]


@pytest.mark.parametrize(
    ("swept", "fixed", "last"),
    [
        (["units=0,1,[0,2]"], ["set=0"], ["units=[0,2]"]),
        pytest.param(
            ["noise.std=0.5,0.1", "noise.seed=0,1"],
            ["units=0-1"],
            ["noise.std=0.1", "noise.seed=1"],
            marks=pytest.mark.slow,
        ),
        pytest.param(["scale=2,0"], ["units=each"], ["scale=0"], marks=pytest.mark.slow),
        pytest.param(["set=[1,1,1,1],mean"], [], ["set=mean"], marks=pytest.mark.slow),
    ],
)
def test_a_sweep_over_what_is_done_is_traced_once(
    swept: list[str],
    fixed: list[str],
    last: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    traced, trace = [], framework().trace
    monkeypatch.setattr(framework(), "trace", lambda *given: traced.append(1) or trace(*given))

    def of_hidden(keys: list[str]) -> list[str]:
        return [f"intervene.hidden.{key}" for key in keys]

    alone = runner.run(*of_hidden([*fixed, *last]), f"hydra.run.dir={tmp_path}/alone")
    once = len(traced)
    assert main(["-m", *of_hidden([*fixed, *swept]), f"hydra.sweep.dir={tmp_path}/sweep"]) == 0
    assert len(traced) == 2 * once
    runs = runner.open_runs(tmp_path / "sweep")
    assert {run.record.own_build_because for run in runs} == {None}
    found = max(runs, key=lambda run: int(run.record.run_id.rpartition("-")[2]))
    assert runner.diff(alone, found, exact=True).same
    assert found.record.effects == alone.record.effects
    changes = [tensor.changed_by for tensor in alone.record.tensors]
    assert [tensor.changed_by for tensor in found.record.tensors] == changes


def test_values_of_another_run_are_patched_in_by_sample(
    model: keras.Model, x: np.ndarray, tmp_path: Path
) -> None:
    ids = [f"s{row}" for row in range(ROWS)]
    clean = runner.save_run(model, x, tmp_path / "clean", sample_ids=ids)
    order = [3, 0, 6]
    noisy = x[order] + np.float32(0.5)
    names = [ids[row] for row in order]

    def patched(name: str, **what: Any) -> runner.Run:
        intervene = {"conv": {"patch": str(clean.path), **what}}
        return runner.save_run(model, noisy, tmp_path / name, sample_ids=names, intervene=intervene)

    run = patched("run")
    for name in ("conv", "hidden", "out"):
        np.testing.assert_allclose(run.array(name), clean.array(name)[order], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(run.array("conv"), clean.array("conv")[order])
    one = patched("one", units=2, positions=1, samples={"s3": "s5"})
    np.testing.assert_array_equal(
        one.array("conv")[:, 1, 2], clean.array("conv")[[5, 0, 6]][:, 1, 2]
    )
    with pytest.raises(
        InputError, match=r"^intervene\.conv\.patch: run .*: was not shown sample s9"
    ):
        patched("missing", samples={"s0": "s9"})
    assert not (tmp_path / "missing").exists()
    with pytest.raises(InputError, match=r"^intervene\.conv\.patch: 'nowhere' is no run; give the"):
        changed(model, x, conv={"patch": "nowhere"})
    other = runner.save_run(model, x, tmp_path / "reduced", sample_ids=ids, reduce={"conv": "mean"})
    with pytest.raises(InputError, match="a sample of 'conv' is reduced"):
        changed(model, x, conv={"patch": str(other.path)})


@pytest.mark.slow
def test_a_grid_patches_each_position_of_each_layer_in_turn(
    model: keras.Model, x: np.ndarray, plain: Plain, tmp_path: Path
) -> None:
    clean = runner.save_run(model, x, tmp_path / "clean")
    other = x[::-1].copy()
    corrupted = values(runner.capture_activations(model, other))
    patch = {"patch": str(clean.path), "positions": "each"}
    run = runner.save_run(
        model, other, tmp_path / "grid", intervene={"conv": patch}, logit_difference=[0, 1]
    )
    frame = run.effects.set_index("position").sort_index()
    assert frame.index.tolist() == [0, 1, 2, 3]
    assert set(frame["layer"]) == {"conv"}
    rest = keras.Model(model.get_layer("flat").input, model.output)
    before, way = corrupted["out"], plain["out"] - corrupted["out"]
    for position, row in frame.iterrows():
        conv = corrupted["conv"].copy()
        conv[:, position] = plain["conv"][:, position]
        after = keras.ops.convert_to_numpy(rest(conv, training=False))
        np.testing.assert_allclose(row["mean_abs"], np.abs(after - before).mean(), rtol=1e-4)
        restored = ((after - before) * way).sum() / (way**2).sum()
        np.testing.assert_allclose(row["restored"], restored, atol=1e-5)
        logits = np.log(after[:, 0] / after[:, 1]).mean()
        np.testing.assert_allclose(row["logit_difference"], logits, rtol=1e-4, atol=1e-6)
    whole = {"flat": {"patch": str(clean.path), "units": "each"}}
    units = runner.save_run(model, other, tmp_path / "units", intervene=whole).effects
    assert len(units) == 16
    assert units["position"].isna().all()
    runs = runner.open_runs(tmp_path)
    said = effects.told(runs, runs.effects())
    assert "restored" in said
    assert "conv at" in said
    part = page_of_run(run).parts["effects"]
    assert part.shown["captions"] == ["logit difference by layer and position"]
    assert part.data[0]["data"][0]["y"] == ["conv"]
    part = page_of_sweep(runs).parts["effects"]
    assert len(part.shown["rows"]) == 20
    with pytest.raises(InputError, match=r"hidden\.positions: 'hidden' has no positions of a seq"):
        changed(model, x, hidden={"positions": "each", "set": 0})


def test_a_direction_that_is_no_array_is_named_by_its_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("direction.npy").write_text("secret")
    assert main(["+intervene.hidden.add=direction.npy"]) == 2
    said = capsys.readouterr().err
    assert "intervene.hidden.add: direction.npy is not an .npy array: it is a text file" in said
    assert "secret" not in said


def test_an_action_computes_with_the_functions_of_keras(
    model: keras.Model,
    x: np.ndarray,
    plain: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {"limit_norm": "LimitNorm", "sorted": "Sorted"}
    offered("actions", names, LIMIT_NORM, tmp_path, monkeypatch)
    what = {"hidden": {"limit_norm": 0.5}, "conv": {"sorted": 0}}
    found = values(runner.capture_activations(model, x, intervene={"hidden": what["hidden"]}))
    norms = np.linalg.norm(plain["hidden"], axis=-1, keepdims=True)
    assert (norms > 0.5).any()
    expected = plain["hidden"] * 0.5 / np.maximum(norms, 0.5)
    np.testing.assert_allclose(found["hidden"], expected, rtol=1e-5)
    found = values(runner.capture_activations(model, x, intervene={"conv": what["conv"]}))
    np.testing.assert_array_equal(found["conv"], np.sort(plain["conv"]))
