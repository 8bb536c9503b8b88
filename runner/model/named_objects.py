"""What the configuration in a model's file may name: parts of models, and no file.

Keras's safe mode refuses Python code, and depends on its version for the rest: a vocabulary
could be any file of this machine, an activation any function of Keras, such as one that changes
its settings, and before Keras 3.9 a layer anything in any module, which is imported for it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from runner.config import catalogue
from runner.config.arguments import size_problems
from runner.errors import InputError

_PARTS = (
    "activations", "constraints", "dtype_policies", "engine", "initializers", "layers", "legacy",
    "losses", "metrics", "models", "ops", "optimizers", "quantizers", "random", "regularizers",
)  # fmt: skip
"""Modules of Keras whose classes and functions are parts of models."""
_OTHERS = frozenset({"keras.utils.FeatureSpace"})
_PACKAGES = frozenset({"keras", "builtins"})
_MORE_PACKAGES = frozenset({"keras_hub", "keras_cv", "keras_nlp"})
"""Packages that Keras imports for a model; a folder with such a name may be anyone's."""
REGISTER = (
    "register its classes with @keras.saving.register_keras_serializable() "
    "and name their module in custom_modules"
)
"""Advice for classes and functions that are not Keras's own."""
_TYPE = r"^(bool|string|(u?int|b?float|complex)\d+(_e\dm\d(fn)?)?)$"
_FILES = ("vocabulary", "merges", "filepath")
"""Arguments of layers that are the content of a file, or its path."""

_MOST = 1_000_000
"""Lists and mappings in a configuration: each takes about 20 times its text."""


def check_parts(text: bytes, path: Path, place: str) -> None:
    """Check that JSON in a model's file does not hold more lists and mappings than any model.

    Raises
    ------
    InputError
        At the key `place`, if it does.
    """
    if text.count(b"{") + text.count(b"[") > _MOST:
        message = f"{path} cannot be loaded: its model has more than {_MOST:,} parts"
        raise InputError.of(place, message)


def check_objects(text: bytes | str, path: Path, place: str) -> None:
    """Check the names in a model's configuration, raise InputError otherwise.

    Parameters
    ----------
    text
        The configuration as JSON. What is not JSON is left to Keras.
    path, place
        The file, and the key that names it.

    Raises
    ------
    InputError
        For the first object that is not part of a model, and the first file, or as `check_parts`.
    """
    check_parts(text if isinstance(text, bytes) else text.encode(errors="replace"), path, place)
    try:
        config = json.loads(text)
    except ValueError:
        return
    except RecursionError as error:
        raise InputError.of(
            place, f"{path} cannot be loaded: its model is nested too deeply"
        ) from error
    if isinstance(config, dict):
        config.pop("compile_config", None)  # which is not read
    for held in _mappings(config):
        if (other := _unregistered(held)) is not None:
            raise InputError.of(
                place,
                f"{path} cannot be loaded: it names {other}, which is not registered",
                REGISTER,
            )
        name = _name(held)
        if name is not None and not _is_part(name):
            raise InputError.of(
                place, f"{path} cannot be loaded: it names {name}, which is not part of a model"
            )
        if name is None and not re.search(_TYPE, str(_dtype(held))):
            raise InputError.of(
                place, f"{path} cannot be loaded: it holds an array of '{_dtype(held)}'"
            )
        for key, value in _arguments(held):
            for problem in size_problems(key, value, key):
                raise InputError.of(
                    place, f"{path} cannot be loaded: {problem.place}: {problem.message}"
                )
        for key in _FILES:
            if isinstance(held.get(key), str):
                raise InputError.of(
                    place,
                    f"{path} cannot be loaded: its {key} is a file outside of it",
                    "build a model that you trust in Python and use model=function",
                )


def _mappings(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in plain data."""
    waiting = [config]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _name(held: dict[str, Any]) -> str | None:
    """Return the full name of the class or function of Keras that a mapping stands for."""
    module, name = held.get("module"), held.get("class_name")
    if name == "function":
        name = held.get("config")
    if isinstance(module, str) and isinstance(name, str) and module.partition(".")[0] == "keras":
        return f"{module}.{name}"
    return None


def _arguments(held: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return the arguments of the layer of Keras that a mapping stands for, if it does."""
    inner = held.get("config")
    layers = catalogue.load().signatures["layers"]
    if isinstance(inner, dict) and str(held.get("class_name")) in layers:
        return inner.items()
    return ()


def _unregistered(held: dict[str, Any]) -> str | None:
    """Return the full name of what Keras would import for a mapping; ``None`` if it would not."""
    from keras.saving import get_custom_objects  # here, since it loads TensorFlow

    module, name = held.get("module"), held.get("class_name")
    package = module.partition(".")[0] if isinstance(module, str) else "builtins"
    if package in _PACKAGES or (package in _MORE_PACKAGES and package in sys.modules):
        return None
    key = held.get("registered_name") or name
    if name == "function":
        name = key = held.get("config")
    return None if key in get_custom_objects() else f"{module}.{name}"


def _dtype(held: dict[str, Any]) -> Any:
    """Return the dtype of the array that a mapping stands for: a text of any length, if forged."""
    inner = held.get("config")
    if held.get("class_name") in ("__numpy__", "__tensor__") and isinstance(inner, dict):
        return inner.get("dtype")
    return "bool"


def _is_part(name: str) -> bool:
    """Return whether a name of Keras is a class at its top, or in a module of parts of models."""
    _, *modules, last = name.replace("keras.src.", "keras.", 1).split(".")
    return name in _OTHERS or (modules[0] in _PARTS if modules else last[:1].isupper())
