"""Configurations in files of Keras 2, changed to what gives the same values in Keras 3.

Keras 2 wrote them in several forms, and its layers have arguments and meanings that Keras 3
does not have. Each one is changed to what gives the same values, or refused.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import Any

import keras

from runner.config.catalogue import namespace_of
from runner.errors import InputError
from runner.model.cudnn_weights import CUDNN
from runner.model.keras_internals import without_tensorflow
from runner.model.old_graphs import Config, is_model, plain_name, with_calls

# Classes that Keras 3 has under another name.
_RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "ThresholdedReLU": "ReLU",
    "UnifiedLSTM": "LSTM",
    "UnifiedGRU": "GRU",
}
# What to use instead of a class that Keras 3 does not have.
_OPERATION = "a layer of Keras, such as Add or Rescaling, in place of the TensorFlow operation"
_REPLACEMENTS = {
    "CuDNNGRU": "GRU(reset_after=True, recurrent_activation='sigmoid')",
    "CuDNNLSTM": "LSTM(recurrent_activation='sigmoid')",
    "RandomHeight": "another layer",
    "RandomWidth": "another layer",
    **dict.fromkeys(("LocallyConnected1D", "LocallyConnected2D"), "another layer"),
    **dict.fromkeys(("SlicingOpLambda", "TFOpLambda", "TensorFlowOpLayer"), _OPERATION),
}
_RENAMED_ARGUMENTS = {
    ("LeakyReLU", "alpha"): "negative_slope",
    ("ReLU", "theta"): "threshold",
}
# Arguments that classes read without declaring them.
_UNDECLARED = {
    "GRU": {"implementation"},
    "GRUCell": {"implementation"},
    "LSTM": {"implementation"},
    "LSTMCell": {"implementation"},
    "IntegerLookup": {"vocabulary_size", "has_input_vocabulary"},
    "StringLookup": {"vocabulary_size", "has_input_vocabulary"},
    "TextVectorization": {"vocabulary_size", "has_input_vocabulary"},
}
# Arguments that change no value, by their name; `...` stands for any value.
_WITHOUT_EFFECT: dict[str, Any] = {
    "batch_input_shape": ...,
    "causal": False,
    "dynamic": False,
    "fused": ...,
    "groups": 1,
    "implementation": ...,
    "input_length": ...,
    "kernel_constraint": ...,
    "kernel_initializer": ...,
    "kernel_regularizer": ...,
    "key_shape": ...,
    "query_shape": ...,
    "ragged": False,
    "renorm": False,
    "rms_scaling": False,
    "rng_type": ...,
    "softmax_robust_masking": False,
    "sparse": False,
    "time_major": False,
    "trainable": ...,
    "value_shape": ...,
}


@keras.saving.register_keras_serializable("runner")  # type: ignore[untyped-decorator]
def hard_sigmoid_of_keras_2(x: Any) -> Any:
    """Return the hard sigmoid as Keras 2 computed it, ``0.2 x + 0.5`` between 0 and 1.

    That of Keras 3 is ``x / 6 + 0.5`` between 0 and 1.
    """
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


with without_tensorflow():
    _ACTIVATIONS = {
        "hard_sigmoid": keras.activations.serialize(hard_sigmoid_of_keras_2),
        "softmax_v2": "softmax",
    }


def decoded(found: Config) -> Any:
    """Return a JSON object as a plain value: tuples, shapes and numbers are written as objects."""
    match found:
        case {"class_name": "__tuple__", "items": [*items]}:
            return tuple(items)
        case {"class_name": "TensorShape", "items": items}:
            return items
        case {"type": str(), "value": value} if len(found) == 2:
            return value
    return found


@dataclass(frozen=True)
class Renewal:
    """Changes the configuration of one model.

    Attributes
    ----------
    place, file
        The key and the file that an error names.
    keras, backend
        Version and backend of the Keras that wrote the file.
    """

    place: str
    file: str
    keras: str
    backend: str

    @property
    def is_old(self) -> bool:
        """Whether the model was written before Keras 3."""
        return int(self.keras.partition(".")[0]) < 3

    def renewed(self, stored: Config) -> Config:
        """Return the configuration of a layer or a model.

        Raises
        ------
        InputError
            If Keras 3 has no such class, or the class has no such argument.
        """
        name = str(stored.get("registered_name") or stored["class_name"])
        name = _RENAMED.get(name, name)
        inner = stored["config"]
        if name in CUDNN and not self.file.endswith(".keras"):
            name, more = CUDNN[name]
            inner = {**inner, **more}
        if isinstance(inner, list):
            inner = {"name": "sequential", "layers": inner}
        title = plain_name(str(inner.get("name", stored.get("name", name))))
        if is_model(stored):
            kind = {"class_name": "Sequential" if name == "Sequential" else "Model"}
            if keras.saving.get_registered_object(name):
                kind = {"class_name": name.rpartition(">")[2], "registered_name": name}
            return {"module": "keras", **kind, "config": self._model(inner, title)}
        if keras.saving.get_registered_object(name):
            kind = {"class_name": name.rpartition(">")[2], "registered_name": name}
            rest = {"module": None, "build_config": stored.get("build_config")}
            return {**rest, **kind, "config": self._values(inner)}
        if name == "Lambda":
            raise InputError.of(
                self.place,
                f"{self.file} cannot be loaded: it holds Python code (a Lambda), which is not "
                "run from a file",
                "build a model that you trust in Python and use model=function",
            )
        cls = _class_of("layers", name)
        if cls is None:
            raise self._unknown(name, title)
        config = self._arguments(cls, name, title, inner)
        return {"module": "keras.layers", "class_name": name, "config": config}

    def _model(self, inner: Config, title: str) -> Config:
        stored = inner["layers"]
        layers = [self.renewed(layer) for layer in stored]
        if "input_layers" in inner:
            graph = with_calls(stored, layers, inner, self.is_old)
        else:
            graph = {"layers": [*_input_before(stored[0]), *layers] if stored else []}
        return {**inner, "name": title, **graph}

    def _arguments(self, cls: Any, name: str, title: str, inner: Config) -> Config:
        self._check_values(name, title, inner)
        known = _arguments_of(cls) | _UNDECLARED.get(name, set())
        config: Config = {}
        for argument, value in inner.items():
            argument = _RENAMED_ARGUMENTS.get((name, argument), argument)
            if argument in known:
                config[argument] = self._value(argument, value)
            elif argument == "batch_input_shape" and name == "InputLayer":
                config["batch_shape"] = value
            elif value is not None and _has_effect(argument, value):
                raise self._refused(name, title, argument, value)
        if isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
            [config["axis"]] = config["axis"]
        if "name" in config:
            config["name"] = title
        if name in ("GRU", "GRUCell") and self.is_old:
            config.setdefault("reset_after", False)
        return config

    def _values(self, config: Config) -> Config:
        return {argument: self._value(argument, value) for argument, value in config.items()}

    def _value(self, argument: str, value: Any) -> Any:
        match value:
            case {"class_name": "Policy" | "PolicyV1", "config": {"name": name}}:
                return None if name in ("infer", "_infer") else name
            case {"class_name": str(name), "config": dict(inner)}:
                space = namespace_of(argument)
                cls = _class_of(space, _RENAMED.get(name, name))
                if space == "layers" and (cls is not None or name in CUDNN):
                    return self.renewed(value)
                if space == "initializers" and cls is not None:
                    # The file's weights replace what an initializer draws.
                    known = _arguments_of(cls)
                    inner = {key: item for key, item in inner.items() if key in known}
                return {**value, "config": inner}
            case dict():
                return self._values(value)
            case list():
                return [self._value(argument, item) for item in value]
            case str() if argument.endswith("activation") and self.is_old:
                return _ACTIVATIONS.get(value, value)
        return value

    def _check_values(self, name: str, title: str, inner: Config) -> None:
        """Refuse a layer that computed other values with the backend that it was made with."""
        former = self.keras.startswith(("2.0", "2.1", "2.2")) and self.keras != "2.2.4-tf"
        if self.backend == "theano" and "Conv" in name:
            why = "Theano turned the kernels of convolutions by 180 degrees"
        elif name == "UpSampling2D" and inner.get("interpolation") == "bilinear" and former:
            why = f"Keras {self.keras} placed the pixels of a bilinear interpolation differently"
        else:
            return
        raise InputError.of(
            self.place,
            f"{self.file} cannot be loaded: layer '{title}' would give other values, as {why}",
            "train the model again, or convert its weights by hand",
        )

    def _unknown(self, name: str, title: str) -> InputError:
        message = f"{self.file} cannot be loaded: layer '{title}' is of the class '{name}', "
        if name in _REPLACEMENTS:
            message += f"which Keras {keras.__version__} does not have"
            return InputError.of(self.place, message, self._again(_REPLACEMENTS[name]))
        return InputError.of(
            self.place,
            f"{message}which is not one of Keras",
            "register its classes with @keras.saving.register_keras_serializable() and name "
            "their module in custom_modules",
        )

    def _refused(self, name: str, title: str, argument: str, value: Any) -> InputError:
        message = (
            f"{self.file} cannot be loaded: layer '{title}' has {argument}={value!r}, and "
            f"{name} of Keras {keras.__version__} has no such argument"
        )
        return InputError.of(self.place, message, self._again(f"a layer without {argument}"))

    def _again(self, replacement: str) -> str:
        return (
            f"in the environment that made the file (Keras {self.keras}), build the model with "
            f"{replacement}, load its weights and save it again"
        )


def _has_effect(argument: str, value: Any) -> bool:
    return argument not in _WITHOUT_EFFECT or _WITHOUT_EFFECT[argument] not in (..., value)


def _class_of(namespace: str, name: str) -> Any:
    """Return a public class of Keras, ``None`` if there is none of the name."""
    found = getattr(getattr(keras, namespace, None), name, None)
    return found if inspect.isclass(found) else None


@functools.cache
def _arguments_of(cls: Any) -> frozenset[str]:
    """Return the arguments that a class and its base classes declare."""
    names: set[str] = set()
    for ancestor in cls.__mro__:
        if "__init__" not in vars(ancestor):
            continue
        parameters = inspect.signature(vars(ancestor)["__init__"]).parameters.values()
        names.update(parameter.name for parameter in parameters)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return frozenset(names)


def _input_before(first: Config) -> list[Config]:
    """Return the input layer that a Sequential model has if its first layer names a shape."""
    if first["class_name"] == "InputLayer" or isinstance(first["config"], list):
        return []
    config = first["config"]
    if not config.get("batch_input_shape"):
        return []
    dtype = config.get("dtype")
    described = {
        "batch_shape": config["batch_input_shape"],
        "dtype": dtype if dtype in ("float64", "float16", "int32", "int64") else "float32",
        "name": f"{plain_name(config['name'])}_input",
    }
    return [{"module": "keras.layers", "class_name": "InputLayer", "config": described}]
