"""The dtype that a model's layers compute in, and the quantization of its weights by Keras."""

from __future__ import annotations

import contextlib
import json
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import keras

from runner.config.precision import DtypePolicy, Quantization
from runner.errors import InputError, first_line
from runner.model.backend import ENGINES
from runner.model.keras_internals import all_layers, sublayers

_POLICIES = get_args(DtypePolicy)
_CONFIGURATION = "config.json"
# What has a dtype in a model's configuration and is no layer that computes.
_NO_LAYERS = ("InputLayer", "__keras_tensor__")
_OPERATIONS = ("keras.src.ops", "keras.ops")


@contextlib.contextmanager
def policy(name: str | None) -> Iterator[None]:
    """Give the layers that are made in the scope a dtype policy, if one is named.

    Whatever is made in the scope, Keras's own policy is the same after it.

    Raises
    ------
    InputError
        If the framework does not compute in its dtype.
    """
    before = keras.config.dtype_policy()
    try:
        if name is not None:
            keras.config.set_dtype_policy(name)
            _check_dtype(keras.config.dtype_policy().compute_dtype)
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _check_dtype(wanted: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is truncated
        found = keras.backend.standardize_dtype(keras.ops.zeros((1,), wanted).dtype)
    if found != wanted:
        name = keras.config.backend()
        variables = [f"{key}={value}" for key, value in ENGINES[name].for_float64.items()]
        raise InputError.of(
            "model.dtype",
            f"{name} computes in {found} instead of {wanted} in this process",
            f"set {' '.join(variables)} in the environment" if variables else "",
        )


def check_policy(model: Any, name: str) -> None:
    """Check that a model that code returned was made with a dtype policy.

    Raises
    ------
    InputError
        If none of its layers with weights was.
    """
    layers = [layer for layer in all_layers(model) if layer.weights and not sublayers(layer)]
    if not any(layer.dtype_policy.name == name for layer in layers):
        raise InputError.of(
            "model.dtype",
            f"no layer of the model that the function returned has the policy {name}",
            "let the function make its layers without a dtype of their own, or leave out "
            "model.dtype",
        )


def with_policy(config: Any, name: str) -> Any:
    """Return the configuration of a model with another dtype policy of its layers.

    It is that of every layer that computes with floating-point numbers.

    Raises
    ------
    InputError
        If a layer is quantized.
    """
    if isinstance(config, list):
        return [with_policy(item, name) for item in config]
    if not isinstance(config, dict):
        return config
    changed = {key: with_policy(item, name) for key, item in config.items()}
    own = changed.get("config")
    if not isinstance(own, dict) or not {"name", "dtype"} <= own.keys():
        return changed
    operation = str(changed.get("module") or "").startswith(_OPERATIONS)
    if operation or changed.get("class_name") in _NO_LAYERS:
        return changed
    if _name_of(own["dtype"], str(own["name"])) in _POLICIES:
        changed["config"] = {**own, "dtype": name}
    return changed


def _name_of(dtype: Any, layer: str) -> Any:
    """Return the name of a dtype policy in a layer's configuration."""
    found = dtype["config"] if isinstance(dtype, dict) and "config" in dtype else dtype
    if isinstance(found, dict) and "mode" in found:
        raise InputError.of(
            "model.dtype", f"layer '{layer}' is quantized, and its dtype stays", "leave it out"
        )
    return found.get("name") if isinstance(found, dict) else found


def copy_with_policy(path: Path, name: str, folder: Path) -> Path:
    """Copy a ``.keras`` file into a folder, with another dtype policy of the layers.

    Raises
    ------
    InputError
        If a layer is quantized.
    """
    copy = folder / "model.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for entry in old.infolist():
            with old.open(entry) as source, new.open(entry.filename, "w", force_zip64=True) as to:
                if entry.filename != _CONFIGURATION:
                    shutil.copyfileobj(source, to)
                else:
                    to.write(json.dumps(with_policy(json.load(source), name)).encode())
    return copy


def quantize(model: Any, mode: Quantization) -> None:
    """Quantize the layers of a model for which Keras can do it.

    Raises
    ------
    InputError
        If there are none, or Keras refuses the mode.
    """
    place = "model.quantize"
    if not isinstance(model, keras.Model):
        raise InputError.of(
            place, "the model is no model of Keras, which quantizes only its own", "leave it out"
        )
    before = [layer.dtype_policy for layer in all_layers(model)]
    try:
        with warnings.catch_warnings():  # one for each layer without weights
            warnings.filterwarnings("ignore", ".*does not have a `quantize` method")
            model.quantize(mode)
    except Exception as error:  # any error, as for a layer
        raise InputError.of(place, f"Keras cannot do it: {first_line(error)}") from error
    if before == [layer.dtype_policy for layer in all_layers(model)]:
        raise InputError.of(
            place,
            "the model has no layer that Keras can quantize",
            "it quantizes Dense, EinsumDense and embeddings, and what is made of them",
        )
