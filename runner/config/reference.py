"""The page that lists every key of the configuration: ``python -m runner.config.reference``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from runner.config.experiment_config import ExperimentConfig
from runner.config.key_examples import EXAMPLES
from runner.config.loading import CONFIG_DIRECTORY

_HEAD = """\
# Configuration

Every key, its type, what it is unless it is set, and what it means, with an example. On the command
line a key is set by its path, `capture.batch_size=32`, with a `+` before it where the chosen file
does not have it, and in quotes where the shell would read a bracket. In a file it stands below its
section. The first example of a table chooses what the others go with.

A `file` or `folder` is looked up from the folder that Runner is started in, unless its path is
absolute. All that are missing are said together, before anything is built, and a sweep that goes on
makes a run again if the content of one has changed. A `module` is Python code that runs.

`--cfg job` shows the whole configuration of a command line, and
`runner schema --output runner.schema.json` writes the schema with which an editor completes and
checks such files.

`model`, `probe`, `loss`, `optimizer`, `capture`, `format`, `train` and `experiment` are also groups
of files: `probe=digits` takes `probe/digits.yaml`, Runner's own or one below `--config-dir`.
Unless others are chosen they are `model=tutorial probe=tutorial loss=mse optimizer=adam capture=all
format=parquet train=none`.
"""

_MODELS = """\
## Models

A model is told by the one of `layers`, `path`, `class_name` and `function` that it has.
"""
_PROBES = """\
## Probes

`probe.source` says which kind it is: `probe=csv` sets it. With `probe.allow_nan=true` NaN and
infinite inputs are shown to the model; otherwise they are refused.
"""
_EACH_PROBE = ("source", "allow_nan")

# Title and key path of each class, in the order of a reader's questions.
_SECTIONS = {
    "ExperimentConfig": ("## An experiment", ""),
    "DeclaredModel": ("### Declared layer by layer", "model."),
    "LayerNode": ("### A layer", "model.layers.NAME."),
    "ModelInput": ("### An input", "model.inputs.NAME."),
    "SavedModel": ("### From a file", "model."),
    "ApplicationModel": ("### Of keras.applications", "model."),
    "FunctionModel": ("### From Python code", "model."),
    "TutorialConfig": ("### tutorial", "probe."),
    "InlineConfig": ("### inline", "probe."),
    "CsvConfig": ("### csv", "probe."),
    "ParquetConfig": ("### parquet", "probe."),
    "NpyConfig": ("### npy", "probe."),
    "NpzConfig": ("### npz", "probe."),
    "ImagesConfig": ("### images", "probe."),
    "DigitsConfig": ("### digits", "probe."),
    "IrisConfig": ("### iris", "probe."),
    "RandomConfig": ("### random", "probe."),
    "FunctionConfig": ("### function", "probe."),
    "CaptureConfig": ("## What is kept", "capture."),
    "TrainConfig": ("## Training", "train."),
    "NamedObject": ("## An object of Keras", ""),
}
_BEFORE = {"DeclaredModel": _MODELS, "TutorialConfig": _PROBES}
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "string": "text",
    "null": "`null`",
}


def reference_page() -> str:
    """Return the page, in Markdown.

    Raises
    ------
    KeyError
        If a part of the configuration has no section, or a key no example.
    """
    whole = ExperimentConfig.model_json_schema()
    parts: dict[str, Any] = {**whole.pop("$defs"), "ExperimentConfig": whole}
    for name in parts:
        _SECTIONS[name]
    return "\n".join(
        [_HEAD, _choices(), *(line for name in _SECTIONS for line in _section(name, parts))]
    )


def _choices() -> str:
    """Return what groups there are, in the words that their files begin with."""
    lines = ["## What there is to choose from\n", "| choice | what it is |", "|---|---|"]
    for path in sorted(CONFIG_DIRECTORY.glob("*/*.yaml")):
        group = path.parent.name
        text = path.read_text(encoding="utf-8").removeprefix("# @package _global_\n")
        if text.startswith("# ") and group != "hydra":
            about = text.splitlines()[0].removeprefix("# ").rstrip(".:")
            lines.append(f"| `{group}={path.stem}` | {about} |")
    for group in ("loss", "optimizer", "format"):
        names = sorted(path.stem for path in CONFIG_DIRECTORY.glob(f"{group}/*.yaml"))
        lines.append(f"| `{group}=` | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join([*lines, ""])


def _section(name: str, parts: Mapping[str, Any]) -> Iterator[str]:
    title, path = _SECTIONS[name]
    part = parts[name]
    if name in _BEFORE:
        yield _BEFORE[name]
    yield f"{title}\n\n{_words(part['description']).replace('``', '`')}\n"
    left_out = _EACH_PROBE if path == "probe." else ()
    rows = {key: value for key, value in part["properties"].items() if key not in left_out}
    if rows:
        yield "| key | type | unless set | what, and an example |\n|---|---|---|---|"
    for key, value in rows.items():
        default = "*required*"
        if key not in part.get("required", ()):
            default = "" if "$ref" in value else f"`{json.dumps(value.get('default'))}`"
        about = value.get("description") or parts[_referred(value)]["description"]
        example = shlex.join(shlex.split(EXAMPLES[name][key]))
        yield f"| `{path}{key}` | {_type(value)} | {default} | {_words(about)}<br>`{example}` |"
    yield ""


def _type(value: Mapping[str, Any]) -> str:
    """Return what may be given, in words."""
    if "$ref" in value:
        name = _referred(value)
        if _SECTIONS[name][1] == "probe.":
            return "[a probe](#probes)"
        if _SECTIONS[name][1] == "model.":
            return "[a model](#models)"
        title = _SECTIONS[name][0].lstrip("# ")
        anchor = title.lower().replace(" ", "-")
        return f"[{title[0].lower()}{title[1:]}](#{anchor})"
    for union in ("anyOf", "oneOf"):
        if union in value:
            return " or ".join(dict.fromkeys(_type(one) for one in value[union]))
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if "format" in value:
        return str(value["format"])
    if value.get("type") == "array":
        items = _type(value["items"]) if value.get("items") else ""
        if " or " in items:
            items = f"({items})"
        return f"list of {items}" if items else "list"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"mapping to {_type(inner)}" if isinstance(inner, dict) else "mapping"
    least = f" from {value['minimum']}" if value.get("minimum") else ""
    return f"{_TYPES[value['type']]}{least}"


def _referred(value: Mapping[str, Any]) -> str:
    name: str = value["$ref"].rpartition("/")[2]
    return name


def _words(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference_page())
