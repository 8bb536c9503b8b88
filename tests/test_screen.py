from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from making import make_run
from tutorial import FIGURES, tutorial_config, tutorial_run

from runner.record.batch_dependence import batch_facts
from runner.record.layer_record import LayerRecord
from runner.runs.published_run import Run
from runner.screen.show import show as whole
from runner.stores.places import run_at

TUTORIAL = """\
1 Inputs

sample input0 input1 input2
0           1      0      0
1           0      1      0
2           0      0      1

2 Layers
  hidden = Dense(4, relu): 16 weights
  output = Dense(2, softmax): 10 weights

3 Network
  3 -> 4 -> 2: 26 weights, drawn from seed 0,
  as tf.random.set_seed(0) drew them before Keras 3

4 Compile
  loss MeanSquaredError, optimizer Adam(learning_rate=0.001)
  nothing is trained: the weights stay as they are

5 hidden = relu(inputs x kernel + bias)

kernel           u0           u1           u2          u3
input0  -0.3851872   -0.54333335   0.0655309   0.1134268
input1  -0.15428883   0.5699866   -0.01254469  0.9223561
input2   0.36428273  -0.6936733    0.38850498  0.30073535
bias 0

hidden          u0         u1          u2          u3
0       0           0          0.0655309   0.1134268
1       0           0.5699866  0           0.9223561
2       0.36428273  0          0.38850498  0.30073535

6 output = softmax(hidden x kernel + bias); each row sums to 1

kernel              u0            u1
hidden u0   0.11082816  -0.55741405
hidden u1   0.7298498    0.5545671
hidden u2   0.29023337   0.060724497
hidden u3  -0.971118     0.74701834
bias 0

output          u0         u1
0       0.45516008  0.5448399
1       0.18469977  0.8153002
2       0.4541021   0.5458979

Why? One value of hidden:

sample 1, u1 = relu(0*-0.54333335 + 1*0.5699866 + 0*-0.6936733 + 0) = 0.5699866

saved  outputs/run
       8 tables as parquet, SIZE
next   python -m runner explain hidden u1 0a1b2c3d --sample 1
next   python -m runner seed=1
"""


def show(run: Run) -> str:
    return re.sub(r"\d+(\.\d)? k?B", "SIZE", whole(run))


def test_the_tutorial_is_told_as_it_is_printed() -> None:
    assert show(tutorial_run()) == TUTORIAL


def test_a_bias_that_is_not_zero_is_shown_below_the_kernel() -> None:
    said = show(tutorial_run(**{"output/bias": [0.5, -0.25]}))
    assert re.search(r"\nhidden u3 .*\nbias +0\.5 +-0\.25\n\noutput ", said)


@pytest.mark.parametrize(
    ("config", "seeding", "said"),
    [
        ({"optimizer": None}, "keras", "without an optimizer nothing is compiled"),
        ({}, "keras", "as keras.utils.set_random_seed(0) draws them"),
        (
            {"model": {**tutorial_config()["model"], "weights": "w.h5"}},
            "keras",
            "loaded from w.h5",
        ),
    ],
)
def test_the_story_tells_where_weights_come_from_and_what_is_compiled(
    config: dict[str, object], seeding: str, said: str
) -> None:
    assert said in show(tutorial_run(config=tutorial_config() | config, seeding=seeding))


def test_units_too_many_for_a_line_go_on_below() -> None:
    kernel = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)
    config = tutorial_config(units=8)
    said = show(
        tutorial_run(
            config=config,
            **{
                "hidden": np.maximum(kernel, 0),
                "hidden/kernel": kernel,
                "hidden/bias": np.zeros(8),
                "output/kernel": np.ones((8, 2)),
            },
        )
    )
    assert said.startswith("1 Inputs")
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    "changes",
    [
        {"seeding": None},
        {"config": {"seed": 0}},
        {"config": tutorial_config(activation={"class_name": "ReLU"})},
        {
            "samples": range(13),
            "hidden": np.zeros((13, 4)),
            "output": np.zeros((13, 2)),
            "inputs": np.zeros((13, 3), np.float32),
        },
    ],
)
def test_what_cannot_be_told_in_steps_gets_a_row_a_layer(changes: dict[str, object]) -> None:
    said = show(tutorial_run(**changes))
    assert said.startswith("run    0a1b2c3d\nmodel  Functional, 26 weights\nseed   0\n")
    assert re.search(
        r"\nlayer   class  shape +mean +zeros  dead units\nhidden  Dense      4 ", said
    )


def test_every_layer_has_a_row_or_a_reason() -> None:
    name = f"encoder.{'x' * 50}.dense"
    array = np.array([[1, 0], [1, 0]], np.float32)
    path = make_run(Path("outputs/run"), {name: array}, samples=["a", "b"])
    record = Run.read(path).record
    reason = "opaque: runs step by step inside the loop"
    layers = (*record.layers, LayerRecord("lstm/cell", "LSTMCell", 1, (), reason))
    said = show(Run(run_at(path), dataclasses.replace(record, layers=layers)))
    assert re.search(
        r"\nencoder\.xxxxx\.\.\.xxxxxxx\.dense  Dense +2 +0\.5 +50\.0% +1 of 2\n", said
    )
    assert "lstm/cell  LSTMCell  opaque: runs step by step inside the loop\n" in said
    assert max(map(len, said.splitlines())) <= 80
    assert said.endswith("next   python -m runner list\n")


def test_an_alias_is_shown_with_what_it_is() -> None:
    path = make_run(Path("outputs/run"), {"flatten": np.ones((3, 2), np.float32)},
                    aliases={"dropout": "flatten"})  # fmt: skip
    assert re.search(r"\ndropout = flatten  Dense +2 +1 +0\.0%", show(Run.read(path)))


def test_values_that_are_no_numbers_are_warned_of() -> None:
    hidden = np.array(FIGURES["hidden"], np.float32)
    hidden[0, 0], hidden[2, 1] = np.nan, np.inf
    said = show(tutorial_run(hidden=hidden))
    assert "\n\nwarning: 1 NaN and 1 infinite values: hidden\n\n" in said


@pytest.mark.parametrize(
    ("found", "measured", "said"),
    [
        ({}, True, ""),
        ({"hidden": "none", "output": "none"}, False, ""),
        (
            {"hidden": "rounding"},
            True,
            "note: a sample's values change by rounding when it is shown in another batch:\n"
            "      hidden\n\n",
        ),
        (
            {"hidden": None, "output": "none"},
            True,
            "note: a sample's values depend on the other samples in its batch: output\n"
            "note: the values differ each time the same batch is shown: hidden\n\n",
        ),
    ],
)
def test_values_that_depend_on_the_batch_are_noted(
    found: dict[str, str | None], measured: bool, said: str
) -> None:
    run = tutorial_run()
    record = run.record
    layers = tuple(
        dataclasses.replace(
            layer,
            tensors=tuple(
                dataclasses.replace(own, invariance=found.get(own.name, "bitwise"))
                for own in layer.tensors
            ),
        )
        for layer in record.layers
    )
    probe = dataclasses.replace(
        record.probe, batch_size=3, compared_sizes=(48, 48) if measured else ()
    )
    record = dataclasses.replace(record, layers=layers, probe=probe)
    shown = show(Run(run.stored, record))
    assert shown == TUTORIAL.replace("saved  ", f"{said}saved  ")
    batches = "3 samples each"
    if measured:
        notes = said.strip().replace("note: ", "").replace("\n     ", "").replace("\n", "; ")
        notes = notes or "all values are bit-for-bit identical"
        batches += f"; compared with batches of 48: {notes}"
    assert batch_facts(record) == {"batches": batches}


def test_a_failed_run_says_why() -> None:
    path = make_run(Path("outputs/run"), name="mine", error="the disk is full")
    assert show(Run.read(path)) == (
        "run    0a1b2c3d, mine\nseed   0\n\nfailed: the disk is full\n\nsaved  outputs/run\n"
    )


def test_the_commands_repeat_what_the_run_was_given() -> None:
    run = tutorial_run("mine", overrides=("seed=3", "probe.path=a b.csv"), name="x")
    assert show(run).endswith(
        "saved  mine\n"
        "       8 tables as parquet, SIZE\n"
        "next   python -m runner explain hidden u1 mine --sample 1\n"
        "next   python -m runner 'probe.path=a b.csv' seed=1\n"
    )
