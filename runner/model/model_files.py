"""Loads models and weights from files, which may be untrusted."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras

from runner.config.model_config import SavedModel
from runner.errors import InputError, first_line
from runner.model.cudnn_weights import CUDNN, renew_weights
from runner.model.declared_sizes import within_file
from runner.model.keras_internals import all_layers
from runner.model.model_archive import model_file, weights_file
from runner.model.named_objects import REGISTER
from runner.model.precision import copy_with_policy, with_policy
from runner.model.stored_model import read_configuration

# Messages about casts of weights, and what they mean.
_LOSSES = {
    "Casting complex values": "its weights are complex, and those of the model are real",
    "overflow encountered in cast": "a weight is too large for the dtype of the model",
    "could not convert string to float": "its weights are text",
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
        with within_file(path, "model.path"), _unchanged_weights():
            model = _loaded(path, config.dtype)
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


def _loaded(path: Path, dtype: str | None) -> keras.Model:
    config, renewal = read_configuration(path)
    config.pop("compile_config", None)
    with tempfile.TemporaryDirectory() as folder:
        if path.suffix == ".keras" and not renewal.is_old:
            source = path if dtype is None else copy_with_policy(path, dtype, Path(folder))
            return keras.saving.load_model(source, compile=False, safe_mode=True)
        renewed = renewal.renewed(config)
        if dtype is not None:
            renewed = with_policy(renewed, dtype)
        model = keras.saving.deserialize_keras_object(renewed, safe_mode=True)
        changed = path.suffix != ".keras" and any(name in str(config) for name in CUDNN)
        # Keras reads files of this name in another format.
        if changed or path.name.endswith(".weights.h5"):
            path = Path(shutil.copy(path, f"{folder}/model.h5"))
        if changed:
            renew_weights(path)
        model.load_weights(path)
    return model
