"""Models and weights from files, which may come from anybody."""

from __future__ import annotations

import zipfile
from pathlib import Path, PureWindowsPath

import keras

from runner.config.experiment_config import SavedModel
from runner.errors import InputError, first_line
from runner.preflight import readable
from runner.regular_files import regular_file

# What an archive may unpack to: weights hardly shrink when they are compressed.
_UNPACKED_TIMES = 20
_UNPACKED_BYTES = 100_000_000


def load_saved(config: SavedModel) -> keras.Model:
    """Load a model from its file, none of whose code is run.

    Raises
    ------
    InputError
        If there is no such file, or it is not one that Keras loads in its safe mode.
    """
    path = regular_file(config.path, "model.path")
    _check_archive(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
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
    regular_file(path, place)
    try:
        model.load_weights(path)
    except Exception as error:  # what a broken or hostile file raises has no common class
        raise InputError.of(place, f"{path} cannot be loaded: {first_line(error)}") from error


def _check_archive(path: Path) -> None:
    """Refuse an archive whose members would be unpacked outside it, or to far more than it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile:
        return  # an older format, or none: Keras says which
    for member in members:
        name = PureWindowsPath(member.filename)
        if name.anchor or ".." in name.parts:
            raise InputError.of(
                "model.path", f"{path} holds {member.filename!r}, outside the archive"
            )
    size, unpacked = path.stat().st_size, sum(member.file_size for member in members)
    if unpacked > max(_UNPACKED_TIMES * size, _UNPACKED_BYTES):
        raise InputError.of(
            "model.path", f"{path} has {readable(size)}, and unpacks to {readable(unpacked)}"
        )
