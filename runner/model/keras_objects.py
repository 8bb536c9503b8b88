"""Objects of Keras and of custom modules, made by their names in a configuration."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import keras

from runner.config import catalogue
from runner.errors import InputError, first_line, suggest
from runner.model.keras_internals import is_of_keras


def class_of(class_name: str, namespace: str, place: str) -> Any:
    """Return a class by its name in a configuration, from Keras or a custom module."""
    keras_names = catalogue.load()
    name = keras_names.class_of(namespace, class_name)
    if name in keras_names.signatures[namespace] or not (
        keras_names.complete or name in catalogue.WITHHELD
    ):
        module: Any = importlib.import_module(f"keras.{namespace}")
        if hasattr(module, name):
            return getattr(module, name)
    return _registered(class_name, place)


def made(class_name: str, arguments: Mapping[str, Any], namespace: str, place: str) -> Any:
    """Create an object of Keras or of a custom module, and the objects in its arguments."""
    cls = class_of(class_name, namespace, place)
    values = {key: _value(key, value, f"{place}.{key}") for key, value in arguments.items()}
    try:
        return cls(**values)
    except Exception as error:
        reraise_bug(error, cls)
        raise InputError.of(
            place, f"{class_name} cannot be created: {first_line(error)}"
        ) from error


def _value(key: str, value: Any, place: str) -> Any:
    if isinstance(value, Mapping) and "class_name" in value:
        arguments = {name: item for name, item in value.items() if name != "class_name"}
        namespace = catalogue.namespace_of(key)
        return made(value["class_name"], arguments, namespace, place)
    if isinstance(value, list):
        return [_value(key, item, f"{place}.{position}") for position, item in enumerate(value)]
    return value


def reraise_bug(error: Exception, cls: type) -> None:
    """Raise an error again if it comes from a bug in a custom class.

    The errors that Keras raises for invalid arguments have no common class.
    """
    if not isinstance(error, (TypeError, ValueError)) and not is_of_keras(cls):
        raise error


def _registered(class_name: str, place: str) -> Any:
    """Return a class registered by a custom module, with or without its package name."""
    objects = keras.saving.get_custom_objects()
    by_name = {name.rpartition(">")[2]: cls for name, cls in objects.items()} | objects
    if class_name not in by_name:
        raise InputError.of(
            place,
            f"no class '{class_name}' in Keras or in custom_modules",
            suggest(class_name, by_name)
            or "register it with @keras.saving.register_keras_serializable()",
        )
    return by_name[class_name]
