"""Loads models and weights from files, which may be untrusted."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from runner.config.experiment_config import SavedModel
from runner.errors import InputError, first_line
from runner.model.keras_internals import all_layers, watching_new_variables
from runner.model.model_archive import allowance, model_file, weights_file
from runner.model.named_objects import REGISTER
from runner.model.old_weights import CUDNN, renew_weights
from runner.model.stored_model import read_configuration
from runner.sizes import machine_memory, readable

# Messages about casts of weights, and what they mean.
_LOSSES = {
    "Casting complex values": "its weights are complex, and those of the model are real",
    "overflow encountered in cast": "a weight is too large for the dtype of the model",
    "could not convert string to float": "its weights are text",
}
# Bytes per value; 4 for other dtypes, as for float32.
_WIDTHS = {
    "float64": 8,
    "int64": 8,
    "uint64": 8,
    "float16": 2,
    "bfloat16": 2,
    "int8": 1,
    "uint8": 1,
}


def load_saved(config: SavedModel) -> keras.Model:
    """Load a model from its file, without running any code in it.

    Raises
    ------
    InputError
        If there is no such file, or Keras's safe mode does not load it.
    """
    path = model_file(config.path, "model.path")
    try:
        whole = f"{path} has {readable(path.stat().st_size)}"
        with _weights_within(allowance(path), "model.path", whole), _unchanged_weights():
            model = _loaded(path)
    except InputError:
        raise
    except Exception as error:  # errors for broken or hostile files have no common class
        advice = ""
        if "enable_unsafe_deserialization" in str(error):
            line = "it holds Python code (a Lambda), which is not run from a file"
            advice = "build a model that you trust in Python and use model=function"
        else:
            line = _reason(error)
        if "Could not locate class" in str(error) or "register" in str(error):
            advice = REGISTER
        raise InputError.of("model.path", f"{path} cannot be loaded: {line}", advice) from error
    _check_names(model, path)
    if config.weights is not None:
        load_weights(model, config.weights, "model.weights")
    return model


def _check_names(model: keras.Model, path: Path) -> None:
    """Check that the layers of a model file have names that can be shown and stored."""
    for layer in all_layers(model):
        if not layer.name or not layer.name.isprintable():
            raise InputError.of(
                "model.path", f"{path}: the layer name {layer.name!r} is empty or cannot be printed"
            )


def load_weights(model: keras.Model, path: str, place: str) -> None:
    """Load weights from a file into a model.

    Raises
    ------
    InputError
        At the key `place`, if there is no such file or it does not fit.
    """
    weights_file(path, place)
    try:
        with _unchanged_weights():
            model.load_weights(path)
    except Exception as error:  # errors for broken or hostile files have no common class
        raise InputError.of(place, f"{path} cannot be loaded: {_reason(error)}") from error


@contextlib.contextmanager
def _unchanged_weights() -> Iterator[None]:
    """Raise the warnings that weights lose more than precision in the model's dtype."""
    with warnings.catch_warnings():
        for message in _LOSSES:
            warnings.filterwarnings("error", message)
        yield


def _reason(error: Exception) -> str:
    """Return why Keras could not load a file, in one line."""
    # Keras shows a layer's whole configuration before the actual message.
    text = str(error).rpartition("Exception encountered: ")[2]
    nested = re.search(r"Example error message for object <\w+ name=([^,>]+)[^>]*>:\s+", text)
    layer, text = (f"layer '{nested[1]}': ", text[nested.end() :]) if nested else ("", text)
    for message, loss in _LOSSES.items():
        if message in text:
            return layer + loss
    if isinstance(error, (AttributeError, KeyError, IndexError)):
        return f"{layer}it is not as Keras writes it ({type(error).__name__}: {text})"
    return layer + (first_line(ValueError(text)) if text.strip() else type(error).__name__)


def _loaded(path: Path) -> keras.Model:
    config, renewal = read_configuration(path)
    config.pop("compile_config", None)
    if path.suffix == ".keras" and not renewal.is_old:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    model = keras.saving.deserialize_keras_object(renewal.renewed(config), safe_mode=True)
    changed = path.suffix != ".keras" and any(name in str(config) for name in CUDNN)
    with tempfile.TemporaryDirectory() as folder:
        # Keras reads files of this name in another format.
        if changed or path.name.endswith(".weights.h5"):
            path = Path(shutil.copy(path, f"{folder}/model.h5"))
        if changed:
            renew_weights(path)
        model.load_weights(path)
    return model


def within_memory() -> contextlib.AbstractContextManager[None]:
    """Refuse models whose layers declare more weights than this machine has memory."""
    memory = machine_memory() or math.inf
    return _weights_within(memory, "", f"this machine has {readable(memory)} of memory")


@contextlib.contextmanager
def _weights_within(limit: float, place: str, whole: str) -> Iterator[None]:
    """Refuse models whose layers declare weights of more than a number of bytes.

    They are counted when layers create them, before memory is allocated. Keras may wrap or
    suppress the error, so it is kept and raised at the end.

    Parameters
    ----------
    limit
        In bytes.
    place, whole
        Key to report, and what the weights cannot fit into: ``m.keras has 3.0 kB``.
    """
    declared = 0
    refusal: InputError | None = None

    def count(_: Any, initializer: Any, shape: Any, dtype: Any) -> None:  # noqa: ARG001
        nonlocal declared, refusal
        if shape is not None:
            declared += _WIDTHS.get(str(dtype), 4) * math.prod(int(axis) for axis in shape)
        if declared > limit:
            refusal = InputError.of(
                place, f"{whole}, its layers declare weights of more than {readable(declared)}"
            )
            raise refusal

    try:
        with watching_new_variables(count):
            yield
    except InputError:
        raise
    except Exception:
        if refusal is not None:
            raise refusal from None
        raise
    if refusal is not None:
        raise refusal
