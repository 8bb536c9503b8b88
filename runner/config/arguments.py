"""Checks of the arguments of Keras objects, made without importing Keras."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from runner.config import catalogue
from runner.errors import Problem, suggest

# Noun for the names of a namespace, and the page of the Keras documentation that lists them.
_NOUNS = {
    "layers": ("layer class", "layers"),
    "initializers": ("initializer", "layers/initializers"),
    "regularizers": ("regularizer", "layers/regularizers"),
    "constraints": ("constraint", "layers/weight_constraints"),
    "losses": ("loss", "losses"),
    "optimizers": ("optimizer", "optimizers"),
    "optimizers.schedules": ("learning rate schedule", "optimizers/learning_rate_schedules"),
    "applications": ("application", "applications"),
    "activations": ("activation", "layers/activations"),
    "metrics": ("metric", "metrics"),
    "callbacks": ("callback", "callbacks"),
}
_IN_PYTHON = {
    "metrics": "train in Python with runner.ActivationRecorder",
    "callbacks": "train in Python with runner.ActivationRecorder",
}

TYPES: dict[type, str] = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
"""Types of plain values and their names in error messages."""


class _Rule(NamedTuple):
    type: type
    admits: Callable[[Any], bool]
    range: str


_COUNT = _Rule(int, lambda value: value >= 1, ">= 1")
_POSITIVE = _Rule(float, lambda value: value > 0, "> 0")
_SHARE = _Rule(float, lambda value: 0 <= value < 1, "in [0, 1)")
_NAME = _Rule(str, bool, "a name")
_NUMBER = _Rule(float, math.isfinite, "finite")  # floats whose default happens to be an integer

COUNTS = (
    "units", "filters", "kernel_size", "pool_size", "strides", "dilation_rate", "size", "n",
    "depth_multiplier", "height", "width", "input_dim", "output_dim", "num_tokens", "classes",
    "num_heads", "key_dim", "value_dim", "head_dim", "num_query_heads", "num_key_value_heads",
)  # fmt: skip
"""Arguments that are sizes: integers of at least one."""

# Rules by argument name, for every class, where the default does not show the type.
_RULES = {
    **dict.fromkeys(COUNTS, _COUNT),
    **dict.fromkeys(("learning_rate", "initial_learning_rate"), _POSITIVE),
    **dict.fromkeys(("rate", "dropout", "recurrent_dropout"), _SHARE),
    "name": _NAME,
    **dict.fromkeys(("max_value", "adam_lr_ratio", "min_delta"), _NUMBER),
    **dict.fromkeys(("seed", "patience", "cooldown"), _Rule(int, lambda value: value >= 0, ">= 0")),
}

# Arguments of layers whose integers are no sizes.
_NO_SIZES = (
    "seed", "salt", "vocabulary", "mask_token", "oov_token", "mask_value", "bin_boundaries",
    "idf_weights", "scale", "offset", "fill_value", "max_value", "threshold",
)  # fmt: skip
# Largest values of others than any size: Keras makes a list of so many, or repeats what it does.
_LARGEST = {
    **dict.fromkeys(("num_oov_indices", "num_thresholds", "output_size", "bins"), 1_000_000),
    **dict.fromkeys(("ngrams", "num_chains", "num_ops", "power_iterations"), 1_000),
}

# Other types accepted for an argument whose default is this word.
_INSTEAD = {"auto": bool, "epoch": int}


def argument_problems(
    namespace: str,
    class_name: str,
    arguments: Mapping[str, Any],
    place: str = "",
    *,
    custom: bool = False,
) -> Iterator[Problem]:
    """Yield the problems in one object's class and arguments, including nested objects.

    Parameters
    ----------
    namespace
        Namespace of the class: one of `runner.config.catalogue.NAMESPACES`.
    class_name, arguments
        Name and arguments of the class, as declared.
    place
        Key path of the object.
    custom
        Whether the user's modules may register names that Keras does not have; unknown
        names are then accepted here and checked when the model is built.
    """
    keras = catalogue.load()
    signature = keras.signature(namespace, class_name)
    if signature is None and class_name in catalogue.NEEDS_CODE:
        yield Problem(
            join(place, "class_name"),
            f"{class_name} takes Python code, which a configuration cannot hold",
            _IN_PYTHON.get(
                namespace,
                "build the model in Python and name the function that does with model=function",
            ),
        )
    elif signature is None and (not custom or class_name in catalogue.WITHHELD):
        yield from _unknown(namespace, class_name, join(place, "class_name"))
    for name in signature.required if signature is not None else ():
        if name not in arguments:
            yield Problem(join(place, name), f"{class_name} needs it, and it is not given")
    for name, value in arguments.items():
        below = join(place, name)
        if namespace in ("layers", "metrics"):
            yield from size_problems(name, value, below)
        if signature is not None and name in signature.names:
            yield from _type_problems(name, value, signature.optional.get(name, ...), below)
            if name == "bin_boundaries" and isinstance(value, list) and not _are_sorted(value):
                yield Problem(below, "must be numbers in ascending order, without NaN")
        elif signature is not None and keras.complete:
            known = ", ".join(signature.names)
            advice = suggest(name, signature.names) or f"it takes {known or 'no arguments'}"
            yield Problem(below, f"{class_name} has no '{name}'", advice + _as_of())
        yield from _nested_problems(name, value, below, custom)


def dtype_problems(value: str, place: str) -> Iterator[Problem]:
    """Yield a problem if a text names neither a dtype nor a dtype policy of Keras."""
    keras = catalogue.load()
    known = value.rpartition("_from_")[2] in keras.dtypes  # int8_from_float32: a quantized one
    if not known and keras.complete:
        advice = suggest(value, keras.dtypes) or f"there are {', '.join(keras.dtypes)}"
        yield Problem(place, f"unknown dtype '{value}'", advice)


def expected_type(name: str, default: Any) -> type | None:
    """Return the type of an argument's plain values, ``None`` if unknown.

    Parameters
    ----------
    name
        Name of the argument.
    default
        Default of the argument; ``...`` if it has none.
    """
    if name in _RULES:
        return _RULES[name].type
    return type(default) if type(default) in TYPES else None


def join(*parts: str) -> str:
    """Return the key path of some parts, without the empty ones."""
    return ".".join(part for part in parts if part)


def shown(value: Any) -> str:
    """Return a value as text for an error message, with YAML's ``null`` and ``true``."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return {None: "null", True: "true", False: "false"}[value] if _is_word(value) else repr(value)


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _type_problems(name: str, value: Any, default: Any, place: str) -> Iterator[Problem]:
    kind = expected_type(name, default)
    if kind is None or isinstance(value, Mapping) or (value is None and default is not ...):
        return
    if isinstance(value, list) and kind is not str:
        for position, item in enumerate(value if kind is int else ()):
            yield from _type_problems(name, item, default, f"{place}.{position}")
        return
    rule = _RULES.get(name)
    instead = _INSTEAD.get(default) if isinstance(default, str) else None
    if not _has_type(value, kind) and type(value) is not instead:
        yield Problem(place, f"expected {TYPES[kind]}, found {shown(value)}")
    elif rule is not None and value != default and not rule.admits(value):
        yield Problem(place, f"must be {rule.range}, found {shown(value)}")


def size_problems(name: str, value: Any, place: str) -> Iterator[Problem]:
    """Yield a problem for each integer in an argument that is too large for a size.

    TensorFlow computes most sizes with 32 bits, and larger ones wrap around or end the process.

    Parameters
    ----------
    name, value
        The argument.
    place
        Its key path.
    """
    if isinstance(value, list) and name not in _NO_SIZES:
        for position, item in enumerate(value):
            yield from size_problems(name, item, f"{place}.{position}")
    elif isinstance(value, int) and not isinstance(value, bool):
        largest = 2**63 - 1 if name in _NO_SIZES else _LARGEST.get(name, 2**31 - 1)
        if abs(value) > largest:
            message = f"an integer here is at most {largest:,}, found {value:,}"
            yield Problem(place, message, "" if name in _NO_SIZES else "make it smaller")


def _are_sorted(values: list[Any]) -> bool:
    are_numbers = all(_has_type(value, float) and value == value for value in values)
    return are_numbers and values == sorted(values)


def _has_type(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _nested_problems(name: str, value: Any, place: str, custom: bool) -> Iterator[Problem]:
    """Yield the problems in the names and objects nested in an argument, at any depth."""
    namespace = catalogue.namespace_of(name)
    if isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, (Mapping, list)):
                yield from _nested_problems(name, item, f"{place}.{position}", custom)
    elif isinstance(value, Mapping) and "class_name" in value:
        arguments = {key: item for key, item in value.items() if key != "class_name"}
        class_name = value["class_name"]
        if isinstance(class_name, str):
            yield from argument_problems(namespace, class_name, arguments, place, custom=custom)
        else:
            yield from _unknown(namespace, class_name, f"{place}.class_name")
    elif isinstance(value, Mapping) or value is None:
        return
    elif name.endswith("activation"):
        if not custom and value not in catalogue.load().activations:
            yield from _unknown("activations", value, place)
    elif namespace in ("initializers", "regularizers", "constraints"):
        if not custom and value not in catalogue.load().names(namespace):
            yield from _unknown(namespace, value, place)
    elif name == "dtype" and isinstance(value, str):
        yield from dtype_problems(value, place)


def _unknown(namespace: str, value: Any, place: str) -> Iterator[Problem]:
    keras = catalogue.load()
    if isinstance(value, str) and not keras.complete:
        return
    noun, page = _NOUNS[namespace]
    names = keras.activations if namespace == "activations" else keras.names(namespace)
    listed = f"all are at https://keras.io/api/{page}/"
    if value in ("Input", "InputLayer"):
        listed = "declare the model's inputs with input_shape or inputs"
    advice = f"{suggest(str(value), names)} {listed}".lstrip()
    yield Problem(place, f"unknown {noun} {shown(value)}", advice + _as_of())


def _as_of() -> str:
    keras = catalogue.load()
    return "" if keras.installed == keras.keras else f" (names are those of Keras {keras.keras})"
