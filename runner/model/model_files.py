"""Models and weights from files, which may come from anybody."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from runner.config.experiment_config import SavedModel
from runner.errors import InputError, first_line
from runner.model.model_archive import allowance, model_file, weights_file
from runner.preflight import readable

# Bytes of a value; of other types 4, those of a float32.
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
    """Load a model from its file, none of whose code is run.

    Raises
    ------
    InputError
        If there is no such file, or it is not one that Keras loads in its safe mode.
    """
    path = model_file(config.path, "model.path")
    try:
        with _weights_no_larger_than(path):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except InputError:
        raise
    except Exception as error:  # what a broken or hostile file raises has no common class
        # Keras shows a layer's whole configuration before what is wrong with it.
        line = first_line(ValueError(str(error).rpartition("Exception encountered: ")[2]))
        advice = ""
        if "safe_mode" in line or "unsafe" in line.lower():
            line = "it holds Python code (a Lambda), which is not run from a file"
            advice = "build a model that you trust in Python and use model=function"
        elif "Could not locate class" in str(error) or "register" in str(error):
            advice = (
                "register its classes with @keras.saving.register_keras_serializable() "
                "and name their module in custom_modules"
            )
        raise InputError.of("model.path", f"{path} cannot be loaded: {line}", advice) from error
    if config.weights is not None:
        load_weights(model, config.weights, "model.weights")
    return model


def load_weights(model: keras.Model, path: str, place: str) -> None:
    """Load weights from a file into a model.

    Raises
    ------
    InputError
        At the key `place`, if there is no such file or it does not fit.
    """
    weights_file(path, place)
    try:
        model.load_weights(path)
    except Exception as error:  # what a broken or hostile file raises has no common class
        raise InputError.of(place, f"{path} cannot be loaded: {first_line(error)}") from error


@contextlib.contextmanager
def _weights_no_larger_than(path: Path) -> Iterator[None]:
    """Refuse weights that a file's configuration declares and the file cannot hold.

    They are counted as layers ask for them, before any memory is taken. Keras may wrap what is
    raised on the way or pass over it, so that the refusal is kept.
    """
    limit = allowance(path)
    declared = 0
    refusal: InputError | None = None
    make = keras.Variable.__init__

    def counted(
        variable: Any, initializer: Any, shape: Any = None, dtype: Any = None, **others: Any
    ) -> None:
        nonlocal declared, refusal
        if shape is not None:
            declared += _WIDTHS.get(str(dtype), 4) * math.prod(int(axis) for axis in shape)
        if declared > limit:
            size = path.stat().st_size
            refusal = InputError.of(
                "model.path",
                f"{path} has {readable(size)}, its layers declare weights of more than "
                f"{readable(declared)}",
            )
            raise refusal
        make(variable, initializer, shape, dtype, **others)

    keras.Variable.__init__ = counted
    try:
        yield
    except Exception:
        if refusal is not None:
            raise refusal from None
        raise
    finally:
        keras.Variable.__init__ = make
    if refusal is not None:
        raise refusal
