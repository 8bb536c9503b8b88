"""The JSON schema with which editors complete and check configuration files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.config import catalogue
from runner.config.arguments import expected_type
from runner.config.catalogue import NAMESPACES, namespace_of
from runner.config.experiment_config import ExperimentConfig
from runner.config.model_config import MODEL_KINDS
from runner.config.train_config import CHOSEN_BY_SHAPE

Schema = dict[str, Any]

# ``${...}`` and ``???`` may stand for any value.
_PENDING: Schema = {"type": "string", "pattern": r"\$\{|^\?\?\?$"}
_CUSTOM: Schema = {"type": "string", "pattern": ".>."}

_JSON_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


def json_schema() -> Schema:
    """Return the schema of an experiment's file, or of a model's file (with ``layers``...).

    No key is required, since a file may hold only a part of a configuration. A custom class has
    the name that it is registered under (``my_package>Scale``).
    """
    experiment = ExperimentConfig.model_json_schema()
    definitions = {name: _adapted(part) for name, part in experiment.pop("$defs").items()}
    del experiment["properties"]["model"]
    for key, kind in reversed(MODEL_KINDS.items()):
        others = {"else": definitions["model"]} if "model" in definitions else {}
        chosen = {"if": {"required": [key]}, "then": _ref(kind.__name__)}
        definitions["model"] = {"type": "object", **chosen, **others}
    for namespace in NAMESPACES:
        definitions |= _classes(namespace)
    calls = definitions["LayerNode"]["properties"]
    definitions["LayerNode"] = {
        "if": {"required": ["reuse"]},
        "then": {"properties": {"reuse": True, "inputs": True}, "additionalProperties": False},
        "else": _ref("layers"),
        "properties": {"reuse": calls["reuse"], "inputs": calls["inputs"]},
    }
    definitions["ApplicationModel"] = _ref("applications")
    metrics = {"enum": [*CHOSEN_BY_SHAPE, *catalogue.load().names("metrics")]}
    definitions["TrainConfig"]["properties"] |= {
        "metrics": {"type": "array", "items": {"anyOf": [metrics, _ref("metrics"), _CUSTOM]}},
        "callbacks": {"type": "object", "additionalProperties": _ref("callbacks")},
        "defaults": {"type": "array"},
    }
    definitions |= _values()
    experiment = _adapted(experiment)
    experiment["properties"] |= {
        "model": _ref("model"),
        "loss": {"anyOf": [_ref("losses"), {"type": "null"}, _PENDING]},
        "optimizer": {"anyOf": [_ref("optimizers"), {"type": "null"}, _PENDING]},
        "defaults": {"type": "array"},
        "hydra": {"type": "object"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Runner configuration",
        "type": "object",
        "if": {"anyOf": [{"required": [key]} for key in MODEL_KINDS]},
        "then": _ref("model"),
        "else": _ref("experiment"),
        "$defs": definitions | {"experiment": experiment},
    }


def _adapted(schema: Any) -> Any:
    """Return pydantic's schema without required keys, and with interpolations allowed."""
    if isinstance(schema, list):
        return [_adapted(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    noise = ("required", "title", "discriminator", "properties")
    kept = {key: _adapted(value) for key, value in schema.items() if key not in noise}
    if "oneOf" in kept:
        kept["anyOf"] = kept.pop("oneOf")
    if "properties" in schema:
        kept["properties"] = {
            key: {"anyOf": [_adapted(value), _PENDING]}
            for key, value in schema["properties"].items()
        }
    for inner in ("items", "additionalProperties"):
        if isinstance(kept.get(inner), dict):
            kept[inner] = {"anyOf": [kept[inner], _PENDING]}
    return kept


def _classes(namespace: str) -> dict[str, Schema]:
    """Return the schemas of a namespace's objects and of each class's arguments."""
    known = catalogue.load()
    definitions = {}
    choices = []
    for name, signature in known.signatures[namespace].items():
        names = [name, *(a for a, cls in known.aliases[namespace].items() if cls == name)]
        choices.append(
            {
                "if": {"properties": {"class_name": {"enum": names}}, "required": ["class_name"]},
                "then": _ref(f"{namespace}.{name}"),
            }
        )
        arguments = {
            key: _argument(key, signature.optional.get(key, ...)) for key in signature.names
        }
        own = {"class_name": True} | ({"inputs": True} if namespace == "layers" else {})
        definitions[f"{namespace}.{name}"] = {
            "properties": own | arguments,
            "additionalProperties": False,
        }
    class_names = {"anyOf": [{"enum": sorted(known.names(namespace))}, _CUSTOM, _PENDING]}
    return definitions | {
        namespace: {"type": "object", "properties": {"class_name": class_names}, "allOf": choices}
    }


def _argument(name: str, default: Any) -> Schema:
    namespace = namespace_of(name)
    kind = expected_type(name, default)
    if name.endswith("activation"):
        return _ref("activation")
    if namespace in ("initializers", "regularizers", "constraints"):
        return _ref(f"{namespace}.value")
    if name == "dtype":
        return _ref("dtype")
    schema = _ref("value") if kind is None or default == "auto" else _ref(_JSON_TYPES[kind])
    return schema if default in (..., None) else schema | {"default": default}


def _values() -> dict[str, Schema]:
    """Return the schemas of argument values: plain values, names and nested objects."""
    known = catalogue.load()
    values: dict[str, Schema] = {
        kind: {"anyOf": [{"type": [kind, "array", "null"]}, _ref("object"), _PENDING]}
        for kind in _JSON_TYPES.values()
    }
    for namespace in ("initializers", "regularizers", "constraints"):
        names = {"enum": [*known.names(namespace), None]}
        values[f"{namespace}.value"] = {"anyOf": [names, _ref(namespace), _CUSTOM, _PENDING]}
    activations = {"enum": [*known.activations, None]}
    return values | {
        "activation": {"anyOf": [activations, _ref("layers"), _CUSTOM, _PENDING]},
        "dtype": {"anyOf": [{"enum": [*known.dtypes, None]}, {"pattern": "_from_"}, _PENDING]},
        "object": {
            "type": "object",
            "properties": {"class_name": True},
            "if": {"required": ["class_name"]},
            "then": {
                "anyOf": [_ref(namespace) for namespace in ("layers", "optimizers.schedules")]
            },
        },
        "value": {
            "if": {"type": "object"},
            "then": _ref("object"),
            "else": {"items": _ref("value")},
        },
    }


def _ref(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}"}
