"""Modules of PyTorch that compute what a chain of Keras layers computes, under other names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
from torch import nn

from benchmarks.planting import Shifted


class Axes(nn.Module):
    """Moves axes: of shape (sample, *axes before)."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the moved axes."""
        return x.permute(0, *self.order).contiguous()


def _activation(layer: keras.Layer) -> nn.Module | None:
    known = {
        "relu": nn.ReLU(),
        "tanh": nn.Tanh(),
        "sigmoid": nn.Sigmoid(),
        "silu": nn.SiLU(),
        "mish": nn.Mish(),
        "elu": nn.ELU(),
        "softmax": nn.Softmax(-1),
    }
    name = layer.activation.__name__
    return None if name == "linear" else known[name]


def _set(module: nn.Module, **values: np.ndarray) -> nn.Module:
    state = {name: torch.tensor(np.ascontiguousarray(value)) for name, value in values.items()}
    module.load_state_dict(state, strict=False)
    return module


def _modules(layer: keras.Layer) -> Iterator[nn.Module]:
    """Yield what a layer becomes, what it returns last."""
    weights = {each.name: np.asarray(each) for each in layer.variables}
    if isinstance(layer, keras.layers.Dense):
        kernel = weights["kernel"].T
        yield _set(nn.Linear(*kernel.shape[::-1]), weight=kernel, bias=weights["bias"])
    elif isinstance(layer, keras.layers.Conv2D):
        kernel = weights["kernel"].transpose(3, 2, 0, 1)
        stride = layer.strides[0]
        pads = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
        pads = (1, 0, 1, 0) if isinstance(layer, Shifted) else pads
        yield nn.ZeroPad2d(pads)
        made = nn.Conv2d(kernel.shape[1], len(kernel), 3, stride, bias=layer.use_bias)
        yield _set(made, weight=kernel, **({"bias": weights["bias"]} if layer.use_bias else {}))
    elif isinstance(layer, keras.layers.BatchNormalization):
        names = ("weight", "bias", "running_mean", "running_var")
        made = nn.BatchNorm2d(len(weights["gamma"]), eps=layer.epsilon)
        yield _set(made, **dict(zip(names, layer.get_weights(), strict=True)))
    elif isinstance(layer, keras.layers.ReLU):
        yield nn.Hardtanh(0.0, float(layer.max_value))
    elif isinstance(layer, keras.layers.LeakyReLU):
        yield nn.LeakyReLU(layer.negative_slope)
    elif isinstance(layer, keras.layers.AveragePooling2D):
        yield nn.AvgPool2d(2)
    elif isinstance(layer, keras.layers.MaxPooling2D):
        yield nn.MaxPool2d(2)
    elif isinstance(layer, keras.layers.Flatten):
        yield Axes(2, 3, 1)
        yield nn.Flatten()
    else:
        raise TypeError(f"{layer.name} has no port")
    if hasattr(layer, "activation") and (made := _activation(layer)) is not None:
        yield made


def ported(model: keras.Model, map_file: Path) -> nn.Module:
    """Return a chain of layers as a module, and write a file that says which belong together."""
    parts: list[tuple[str, nn.Module]] = []
    lines: list[str] = []
    if len(model.inputs[0].shape) == 4:
        parts.append(("first", Axes(3, 1, 2)))
    for layer in model.layers[1:]:
        for module in _modules(layer):
            parts.append((f"{type(module).__name__.lower()}_{len(parts)}x", module))
        axes = ", axes: chw->hwc" if len(layer.output.shape) == 4 else ""
        lines.append(f"{layer.name}: {{to: {parts[-1][0]}{axes}}}\n")
    map_file.write_text("".join(lines), encoding="utf-8")
    whole = nn.Sequential()
    for name, module in parts:
        whole.add_module(name, module)
    return whole.eval()


def in_place_of(model: keras.Model, map_file: Path) -> Any:
    """Return the port of a model that is a chain; ``None`` of any other."""
    chain = all(len(layer._inbound_nodes[0].parent_nodes) <= 1 for layer in model.layers)
    known = not any(isinstance(layer, keras.layers.RNN) for layer in model.layers)
    return ported(model, map_file) if chain and known else None
