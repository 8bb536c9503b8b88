"""Finds the library that a model belongs to, without importing any."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from runner.capture.model_library import Library
from runner.errors import InputError
from runner.model.backend import check_backend


@dataclass(frozen=True)
class _Known:
    """A library of models.

    Attributes
    ----------
    package
        The package that has been imported if there is a model of it.
    model_class
        The class of its models, by its name in the package.
    functions
        The module with the functions of `Library`.
    check
        Function that raises an error if the library cannot be used as it is set up.
    """

    package: str
    model_class: str
    functions: str
    check: Callable[[], object] = lambda: None

    def has(self, model: Any) -> bool:
        """Return whether a model belongs to the library."""
        found: Any = sys.modules.get(self.package)
        for name in self.model_class.split("."):
            found = getattr(found, name, None)
        return isinstance(found, type) and isinstance(model, found)


# In this order: with Keras's backend torch, its models are modules of PyTorch as well.
LIBRARIES = (
    _Known("keras", "Model", "runner.keras_models.keras_library", check_backend),
    _Known("torch", "nn.Module", "runner.torch_modules.torch_library"),
    _Known(
        "runner.converted_models.graph",
        "ConvertedModel",
        "runner.converted_models.converted_library",
    ),
)


def loaded_libraries() -> tuple[Library, ...]:
    """Return the functions of the libraries whose packages have been imported."""
    return tuple(_functions(library) for library in LIBRARIES if library.package in sys.modules)


def library_of(model: Any) -> Library:
    """Return the functions for a model.

    Raises
    ------
    InputError
        If it is a model of no library, or Keras runs on a backend that has no engine.
    """
    for library in LIBRARIES:
        if library.has(model):
            library.check()
            return _functions(library)
    for library in LIBRARIES:
        library.check()
    names = [f"a {each.package}.{each.model_class}" for each in LIBRARIES]
    expected = " or ".join(name for name in names if not name.startswith("a runner."))
    raise InputError.of(
        "model",
        f"expected {expected}, found {type(model).__name__}",
        "the first argument is the model, the second its inputs",
    )


def _functions(library: _Known) -> Library:
    return cast("Library", importlib.import_module(library.functions))
