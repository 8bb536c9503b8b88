"""Imports the Python code that a configuration names."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from runner.config.references import look_in_working_directory
from runner.errors import InputError


def imported(module: str, place: str) -> Any:
    """Import a module, also from the working directory.

    Parameters
    ----------
    module
        Its name.
    place
        The key that names it.

    Raises
    ------
    InputError
        If there is no such module.
    """
    look_in_working_directory()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError.of(
            place,
            f"no module '{error.name}' (looked in {Path.cwd()} and in the installed packages)",
        ) from error


def function_of(name: str, arguments: Mapping[str, Any], part: str) -> Callable[[], Any]:
    """Return a function with its arguments.

    Parameters
    ----------
    name
        Module and function: ``my_package.nets:build``.
    arguments
        Its keyword arguments.
    part
        The part of the configuration that has the keys ``function`` and ``arguments``.

    Raises
    ------
    InputError
        If there is no such function, or it does not take the arguments.
    """
    module, _, attribute = name.partition(":")
    function = getattr(imported(module, f"{part}.function"), attribute, None)
    if not callable(function):
        raise InputError.of(f"{part}.function", f"module '{module}' has no function '{attribute}'")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have none
        return partial(function, **arguments)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise InputError.of(f"{part}.arguments", f"{name} does not take these: {error}") from error
    return partial(function, **arguments)
