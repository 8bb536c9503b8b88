"""The configuration in a model's file, and which Keras wrote it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py

from runner.errors import InputError
from runner.model.old_graphs import Config, is_model
from runner.model.old_models import Renewal, decoded

# Attributes of a model's HDF5 file.
_ATTRIBUTES = ("model_config", "keras_version", "backend")


def read_configuration(path: Path) -> tuple[Config, Renewal]:
    """Return the configuration in a model's file, and what brings it up to date.

    Raises
    ------
    InputError
        If the file has no weights, or its configuration is none of a model.
    """
    if path.suffix == ".keras":
        name, backend = "config.json", "tensorflow"
        with zipfile.ZipFile(path) as archive:
            text: bytes | str = archive.read(name)
            if "metadata.json" not in archive.namelist():
                raise _damaged(path, "it has no metadata.json")
            metadata = _object(archive.read("metadata.json"), path, "metadata.json")
        version = metadata.get("keras_version")
    else:
        name = "model_config"
        with h5py.File(path) as file:
            found = (file.attrs.get(attribute, "") for attribute in _ATTRIBUTES)
            text, version, backend = (
                item.decode() if isinstance(item, bytes) else str(item) for item in found
            )
            if "model_weights" not in file:
                raise InputError.of(
                    "model.path",
                    f"{path} holds a model without its weights",
                    "save it again with model.save('model.keras')",
                )
        version = version or "1"
    if not isinstance(version, str) or not version.partition(".")[0].isdecimal():
        raise _damaged(path, "its keras_version is not a version")
    config = _object(text, path, name)
    _check_form(config, path, name)
    return config, Renewal("model.path", str(path), version, backend)


def _object(text: bytes | str, path: Path, name: str) -> Config:
    """Return an object from JSON in a model's file."""
    try:
        found = json.loads(text, object_hook=decoded)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its {name} is not JSON") from error
    if not isinstance(found, dict):
        raise _damaged(path, f"its {name} is not a JSON object")
    return found


def _check_form(stored: Any, path: Path, name: str) -> None:
    """Check that every model and layer has a class and a configuration."""
    if not isinstance(stored, dict) or not isinstance(stored.get("class_name"), str):
        raise _damaged(path, f"a layer in its {name} has no class_name")
    inner = stored.get("config")
    if not isinstance(inner, (dict, list)):
        raise _damaged(path, f"'{stored['class_name']}' in its {name} has no config")
    if is_model(stored):
        layers = inner if isinstance(inner, list) else inner.get("layers")
        if not isinstance(layers, list):
            raise _damaged(path, f"'{stored['class_name']}' in its {name} has no list of layers")
        for layer in layers:
            _check_form(layer, path, name)


def _damaged(path: Path, why: str) -> InputError:
    return InputError.of("model.path", f"{path} is damaged: {why}", "save the model again in Keras")
