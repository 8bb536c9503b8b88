"""What becomes of a run whose values are no numbers."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import runner
from runner.command_line.entry import main
from runner.errors import InputError, RunError

X = np.array([[1.0, np.nan, 0.0], [np.inf, 0.0, 1.0], [0.0, 1.0, 0.0]], np.float32)


@pytest.fixture
def model() -> keras.Model:
    """A model whose first layer passes on what it is given, so that the counts are plain."""
    keras.backend.clear_session()
    dense = keras.layers.Dense(1, kernel_initializer="ones", name="dense")
    return keras.Sequential([keras.Input((3,)), dense, keras.layers.ReLU(name="relu")])


def test_they_are_kept_counted_and_shown(model: keras.Model) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = runner.save_run(model, X, "mine")
    np.testing.assert_array_equal(run["dense"].to_numpy(), [[np.nan], [np.inf], [1]])
    assert (run.record.headline.nan, run.record.headline.inf) == (2, 2)


def test_a_warning_names_the_layers_and_the_run_is_published(model: keras.Model) -> None:
    said = f"{Path.cwd() / 'mine'}: 2 NaN and 2 infinite values: dense, relu$"
    with pytest.warns(UserWarning, match=said):
        run = runner.save_run(model, X, "mine", on_nan="warn")
    assert np.isnan(run["dense"].to_numpy()).any()


def test_refused_they_end_the_run(model: keras.Model) -> None:
    said = "2 NaN and 2 infinite values: dense, relu; capture.on_nan=fail refuses them"
    with pytest.raises(RunError, match=said):
        runner.save_run(model, X, "mine", on_nan="fail")
    assert not list(Path().iterdir())


@pytest.mark.parametrize("choice", ["warn", "fail"])
def test_numbers_are_nothing_to_mind(model: keras.Model, choice: str) -> None:
    assert runner.save_run(model, X[2:], "mine", on_nan=choice).record.headline.nan == 0


def test_a_step_of_a_training_is_named(model: keras.Model) -> None:
    recorder = runner.ActivationRecorder(X, "mine", capture_at=[0], on_nan="fail")
    model.compile(loss="mse")
    with pytest.raises(RunError, match=r"steps/0+: 2 NaN and 2 infinite values: dense, relu; "):
        model.fit(X, X[:, :1], callbacks=[recorder], verbose=0)
    recorder.abandon()
    assert not list(Path().iterdir())


def test_another_choice_is_refused(model: keras.Model) -> None:
    with pytest.raises(InputError, match="on_nan: expected one of keep, warn, fail, found 'stop'"):
        runner.save_run(model, X, "mine", on_nan="stop")


@pytest.mark.filterwarnings("default")
def test_the_command_line_says_it_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", X)
    words = ["probe=npy", "probe.path=x.npy", "probe.allow_nan=true"]
    assert main([*words, "hydra.run.dir=warned", "capture.on_nan=warn"]) == 0
    said = "8 NaN and 2 infinite values: hidden, output"
    assert capsys.readouterr().err == f"warning: {Path.cwd() / 'warned'}: {said}\n"
    assert main([*words, "hydra.run.dir=failed", "capture.on_nan=fail"]) == 1
    assert capsys.readouterr().err == f"error: {said}; capture.on_nan=fail refuses them\n"
    failed = runner.open_run("failed")
    assert (failed.record.status, len(failed)) == ("FAILED", 0)
    assert not Path("failed/activations").exists()
