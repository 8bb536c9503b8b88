"""Public names of Keras and their arguments, available without importing Keras.

``catalogue.json`` is generated from an installed Keras by ``python -m runner.config.catalogue``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("catalogue.json")

NAMESPACES = (
    "layers",
    "initializers",
    "regularizers",
    "constraints",
    "losses",
    "optimizers",
    "optimizers.schedules",
    "applications",
    "metrics",
    "callbacks",
)

NEEDS_CODE = frozenset((
    "FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper",
    "MultiOptimizer", "OptimizerMap", "MeanMetricWrapper", "LambdaCallback",
    "LearningRateScheduler",
))  # fmt: skip
"""Classes that take Python objects, which a configuration cannot hold."""

WITHHELD = frozenset((
    "Layer", "Wrapper", "InputLayer", "InputSpec", "Initializer", "Regularizer", "Constraint",
    "Loss", "Optimizer", "LearningRateSchedule", "Metric", "Mean", "Sum",
    "Callback", "CallbackList", "History", "ProgbarLogger", "BackupAndRestore",
    "OrbaxCheckpoint", "RemoteMonitor",
))  # fmt: skip
"""Classes that a configuration may not name: base classes, classes declared elsewhere (inputs), and
callbacks without use here, as a run's folder appears only at its end and no server is contacted.
"""

# Namespaces by the ending of an argument's name; any other argument holds a layer.
_ENDINGS = {
    "initializer": "initializers",
    "regularizer": "regularizers",
    "constraint": "constraints",
    "optimizer": "optimizers",
    "learning_rate": "optimizers.schedules",
}


@dataclass(frozen=True)
class Signature:
    """The arguments of one class, or of one function of ``keras.applications``.

    Attributes
    ----------
    required
        Names of the required arguments.
    optional
        Defaults by name; ``None`` also for a default that is not a plain value.
    """

    required: tuple[str, ...]
    optional: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """All arguments, the required ones first."""
        return (*self.required, *self.optional)


@dataclass(frozen=True)
class Catalogue:
    """Names and signatures of one version of Keras.

    Attributes
    ----------
    keras
        Version of Keras.
    activations, dtypes
        Valid names of an ``activation`` and a ``dtype``.
    signatures
        Signatures by namespace (one of `NAMESPACES`) and class name.
    aliases
        Class names by namespace and alias (``mse``, ``adam``, ``AvgPool2D``).
    """

    keras: str
    activations: tuple[str, ...]
    dtypes: tuple[str, ...]
    signatures: Mapping[str, Mapping[str, Signature]]
    aliases: Mapping[str, Mapping[str, str]]

    def names(self, namespace: str) -> tuple[str, ...]:
        """Return every name in a namespace, aliases last."""
        return (*self.signatures[namespace], *self.aliases[namespace])

    def class_of(self, namespace: str, name: str) -> str:
        """Return the class name of an alias, or any other name unchanged."""
        return self.aliases[namespace].get(name, name)

    def signature(self, namespace: str, name: str) -> Signature | None:
        """Return the arguments of a class, ``None`` for an unknown name."""
        return self.signatures[namespace].get(self.class_of(namespace, name))

    @functools.cached_property
    def installed(self) -> str:
        """Version of the installed Keras."""
        return importlib.metadata.version("keras")

    @functools.cached_property
    def complete(self) -> bool:
        """Whether the catalogue holds every name of the installed Keras.

        It does unless the installed Keras is newer: `generate` keeps the few names that
        Keras dropped.
        """
        return _feature_release(self.installed) <= _feature_release(self.keras)


def namespace_of(argument: str) -> str:
    """Return the namespace of the ``class_name`` in an argument's value.

    It is ``initializers`` for ``kernel_initializer``, and ``layers`` for an argument without
    a namespace of its own (``layer``, ``cell``, ``activation``).
    """
    return next((space for end, space in _ENDINGS.items() if argument.endswith(end)), "layers")


@functools.cache
def load() -> Catalogue:
    """Return the catalogue that comes with Runner."""
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    signatures = {
        namespace: {
            name: Signature(tuple(arguments["required"]), arguments["optional"])
            for name, arguments in classes.items()
        }
        for namespace, classes in stored["signatures"].items()
    }
    return Catalogue(
        keras=stored["keras"],
        activations=tuple(stored["activations"]),
        dtypes=tuple(stored["dtypes"]),
        signatures=signatures,
        aliases=stored["aliases"],
    )


def generate() -> dict[str, Any]:
    """Return the content of ``catalogue.json`` for the installed Keras, which is imported."""
    import keras
    from keras.src.backend.common.dtypes import ALLOWED_DTYPES

    signatures: dict[str, Any] = {}
    aliases: dict[str, Any] = {}
    for namespace in NAMESPACES:
        offered = _offered(importlib.import_module(f"keras.{namespace}"))
        is_kind = inspect.isfunction if namespace == "applications" else inspect.isclass
        classes = {
            name: thing
            for name, thing in offered.items()
            if is_kind(thing) and name == thing.__name__ and name not in WITHHELD | NEEDS_CODE
        }
        signatures[namespace] = {name: _arguments(cls) for name, cls in sorted(classes.items())}
        # A loss function (`mean_squared_error`, `mse`) stands for the class of the same name.
        by_folded = {_folded(name): name for name in classes}
        others = {name: thing for name, thing in offered.items() if inspect.isclass(thing)}
        aliases[namespace] = {
            name: by_folded[_folded(thing.__name__)]
            for name, thing in sorted((others | _accepted(namespace)).items())
            if name not in classes and _folded(thing.__name__) in by_folded
        }
    # Names of Keras 3.6 to 3.10 that later versions dropped.
    signatures["layers"]["LayerNormalization"]["optional"].setdefault("rms_scaling", False)
    aliases["initializers"].setdefault("orthogonal_initializer", "Orthogonal")
    return {
        "keras": keras.__version__,
        "activations": sorted(_accepted("activations")),
        "dtypes": [*ALLOWED_DTYPES, "mixed_bfloat16", "mixed_float16"],
        "signatures": signatures,
        "aliases": aliases,
    }


def text_of(content: Mapping[str, Any]) -> str:
    """Return generated content as the text of the file."""
    return json.dumps(content, indent=1) + "\n"


def _offered(module: Any) -> dict[str, Any]:
    return {name: thing for name, thing in vars(module).items() if not name.startswith("_")}


def _accepted(namespace: str) -> dict[str, Any]:
    """Return every name that Keras accepts, including short forms that it does not export."""
    if namespace in ("layers", "applications", "optimizers.schedules", "callbacks"):
        return {}
    return dict(importlib.import_module(f"keras.src.{namespace}").ALL_OBJECTS_DICT)


def _arguments(thing: Any) -> dict[str, Any]:
    """Return the arguments of a class, including those its ``**kwargs`` pass to its bases."""
    required: list[str] = []
    optional: dict[str, Any] = {}
    owners = thing.__mro__ if inspect.isclass(thing) else (thing,)
    makers = [vars(owner).get("__init__") for owner in owners] if len(owners) > 1 else [thing]
    for position, maker in enumerate(filter(None, makers)):
        parameters = list(inspect.signature(maker).parameters.values())
        for parameter in parameters:
            name, default = parameter.name, parameter.default
            variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if variadic or name in {"self", "input_tensor", *required, *optional}:
                continue
            if default is not parameter.empty:
                optional[name] = _literal(default)
            elif position == 0:  # the class itself passes what its bases require
                required.append(name)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return {"required": required, "optional": optional}


def _literal(default: Any) -> Any:
    if isinstance(default, tuple):
        return [_literal(item) for item in default]
    return default if isinstance(default, (bool, int, float, str)) else None


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


def _feature_release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


if __name__ == "__main__":
    FILE.write_text(text_of(generate()), encoding="utf-8")
