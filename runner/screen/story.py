"""A small run of Dense layers as text, step by step as in a tutorial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

from runner.arithmetic.layer_call import LayerCall
from runner.arithmetic.spelling import spell_out
from runner.config.seedings import DRAWN
from runner.errors import DamagedError, InputError
from runner.record.interventions import changes_told
from runner.record.training_record import TrainingRecord
from runner.runs.published_run import Run
from runner.screen.dense import DenseCall
from runner.screen.tables import WIDTH, shortest, text_table

_MOST_SAMPLES = 12
_MOST_UNITS = 8
_MOST_LAYERS = 4

_FIRST_LAYER_STEP = 5


def chain(run: Run) -> list[DenseCall]:
    """Return the Dense layers of a run, each called on the one before.

    Empty if the model is not such a chain or was not built from a config, or if it is too
    large: more than 12 samples, 4 layers, or 8 inputs or units of a layer.
    """
    probe, model = run.record.probe, run.config.get("model")
    if probe is None or run.record.seeding not in DRAWN:
        return []
    if not isinstance(model, Mapping) or "layers" not in model:
        return []
    if changes_told(run.record):  # its layers do not return what they compute
        return []
    named = [layer for layer in run.record.layers if layer.layer_class != "InputLayer"]
    if probe.rows > _MOST_SAMPLES or len(named) > _MOST_LAYERS:
        return []
    try:
        layers = [DenseCall.read(run, layer.path) for layer in named]
    except DamagedError:
        raise
    except InputError:  # layers that cannot be explained are not shown step by step
        return []
    linked = all(after.source == before.name for before, after in pairwise(layers))
    small = all(max(layer.kernel.shape) <= _MOST_UNITS for layer in layers)
    return layers if linked and small else []


def retell(run: Run, layers: list[DenseCall]) -> str:
    """Return the steps from inputs to outputs, and the arithmetic of one value."""
    steps = [
        f"1 Inputs\n\n{text_table(layers[0].inputs)}",
        _network(run, layers),
        _compiled(run),
        *(_computed(step, layer) for step, layer in enumerate(layers, _FIRST_LAYER_STEP)),
        f"Why? One value of {telling_value(layers)[0].name}:\n\n{_arithmetic(run, layers)}",
    ]
    return "\n\n".join(steps)


def telling_value(layers: list[DenseCall]) -> tuple[DenseCall, int, int]:
    """Return the value to explain: its layer, row and column.

    It is the first nonzero value of the middle sample, in the first layer without a softmax,
    which mixes all units.
    """
    layer = next((layer for layer in layers if layer.activation != "softmax"), layers[0])
    row = len(layer.output) // 2
    return layer, row, int(np.argmax(layer.output.iloc[row].to_numpy() != 0))


def _network(run: Run, layers: list[DenseCall]) -> str:
    counts = {
        layer.path: sum(math.prod(own.shape) for own in layer.tensors if own.kind == "weight")
        for layer in run.record.layers
    }
    listed = [
        f"  {layer.name} = Dense({len(layer.bias)}, {layer.activation}): "
        f"{counts[layer.name]} weights"
        for layer in layers
    ]
    sizes = [layers[0].kernel.shape[0], *(len(layer.bias) for layer in layers)]
    file = run.config["model"].get("weights")
    drawn = DRAWN[str(run.record.seeding)].format(run.seed)
    origin = f"loaded from {file}" if file else f"drawn from seed {run.seed},\n  {drawn}"
    return (
        "2 Layers\n" + "\n".join(listed) + "\n\n"
        f"3 Network\n  {' -> '.join(map(str, sizes))}: {sum(counts.values())} weights, {origin}"
    )


def _compiled(run: Run) -> str:
    config, training = run.config, run.record.training
    if config.get("optimizer") is None:
        return "4 Compile\n  without an optimizer nothing is compiled; nothing is trained"
    parts = [f"{key} {_called(config[key])}" for key in ("loss", "optimizer") if config.get(key)]
    said = fill(", ".join(parts), WIDTH, initial_indent="  ", subsequent_indent="  ")
    outcome = "nothing is trained: the weights stay as they are"
    if training is not None:
        outcome = f"trained for {trained(training)}: the weights are those it ended with"
    return f"4 Compile\n{said}\n{fill(outcome, WIDTH, initial_indent='  ', subsequent_indent='  ')}"


def trained(training: TrainingRecord) -> str:
    """Return the number of epochs of a training and its metrics at the end."""
    ends = {name: values[-1] for name, values in training.history.items() if values}
    figures = [f"{name} {'NaN' if end is None else f'{end:.4g}'}" for name, end in ends.items()]
    epochs = f"{training.epochs} epoch{'s' if training.epochs != 1 else ''}"
    return ", ".join([epochs, *figures])


def _called(config: Any) -> str:
    if not isinstance(config, Mapping):  # a run saved from Python may hold anything here
        return str(config)
    arguments = [f"{key}={value}" for key, value in config.items() if key != "class_name"]
    return str(config.get("class_name", "")) + (f"({', '.join(arguments)})" if arguments else "")


def _computed(step: int, layer: DenseCall) -> str:
    kernel = pd.DataFrame(layer.kernel, layer.inputs.columns, layer.output.columns)
    bias = "\nbias 0"
    if layer.bias.any():
        kernel.loc["bias"] = layer.bias
        bias = ""
    source = "inputs" if step == _FIRST_LAYER_STEP else layer.source
    sums = layer.output.sum(axis=1) if layer.activation == "softmax" else math.nan
    told = "; each row sums to 1" if np.allclose(sums, 1) else ""
    return (
        f"{step} {layer.name} = {layer.activation}({source} x kernel + bias){told}\n\n"
        f"{text_table(kernel.rename_axis('kernel'))}{bias}\n\n"
        f"{text_table(layer.output.rename_axis(layer.name))}"
    )


def _arithmetic(run: Run, layers: list[DenseCall]) -> str:
    layer, row, column = telling_value(layers)
    call = LayerCall.read(run, layer.name, row)
    account, stored = spell_out(call, (column,)), layer.output.to_numpy()[row, column]
    result = shortest(stored)
    if not account.agrees(stored, call.epsilon):
        result = f"{shortest(account.result(stored.dtype))}; the table holds {result}"
    pairs = zip(layer.inputs.iloc[row], layer.kernel[:, column], strict=True)
    terms = [f"{shortest(value)}*{shortest(weight)}" for value, weight in pairs]
    told = " + ".join([*terms, shortest(layer.bias[column])])
    among = f" among {len(layer.bias)} units" if layer.activation == "softmax" else ""
    return fill(
        f"sample {layer.output.index[row]}, {layer.output.columns[column]} = "
        f"{layer.activation}({told}){among} = {result}",
        WIDTH,
    )
