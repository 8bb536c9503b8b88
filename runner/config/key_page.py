"""The documentation page of every configuration key: ``python -m runner.config.key_page``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from runner.config.experiment_config import ExperimentConfig
from runner.config.key_examples import EXAMPLES
from runner.config.packaged import CONFIG_DIRECTORY
from runner.config.probe_config import SOURCES
from runner.probe.source import ProbeSource
from runner.table_formats import FORMATS

_HEAD = """\
# Configuration

This page lists every key with its type, default value, description and an example. On the command
line a key is set by its path, `capture.batch_size=32`. Put a `+` before a key that the chosen file
does not have, and quote values with brackets for the shell. In a file a key is nested in its
section. The first example of a table makes the choice that the other examples belong to.

The path of a `file` or `folder` is absolute, or relative to the folder in which Runner is started.
All missing files are reported together, before anything is built. A resumed sweep repeats a run if
the content of one of its files has changed. A `module` is Python code that is run.

`--cfg job` shows the whole configuration of a command line, and
`runner schema --output runner.schema.json` writes a schema with which editors complete and check
configuration files.

`model`, `probe`, `loss`, `optimizer`, `capture`, `format`, `train` and `experiment` are also groups
of files: `loss=huber` loads `loss/huber.yaml`, from Runner's own files or from `--config-dir`. For
`probe` each source is also a choice: `probe=digits` sets `probe.source` and all its keys. The
defaults are `model=tutorial probe=tutorial loss=mse optimizer=adam capture=all format=parquet
train=none`.
"""

_MODELS = """\
## Models

The kind of a model follows from which of `layers`, `path`, `class_name` and `function` it has.
"""
_PROBES = """\
## Probes

`probe.source` is the kind of the probe: `probe=csv` sets it. With `probe.allow_nan=true` NaN and
infinite inputs are shown to the model; otherwise they are refused.
"""
_EACH_PROBE = ("source", *ProbeSource.model_fields)

# Title and key path of each class, in the order of the page.
_SECTIONS = {
    "ExperimentConfig": ("## An experiment", ""),
    "DeclaredModel": ("### Declared layer by layer", "model."),
    "LayerNode": ("### A layer", "model.layers.NAME."),
    "ModelInput": ("### An input", "model.inputs.NAME."),
    "SavedModel": ("### From a file", "model."),
    "ApplicationModel": ("### Of keras.applications", "model."),
    "FunctionModel": ("### From Python code", "model."),
    **{source.__name__: (f"### {name}", "probe.") for name, source in SOURCES.items()},
    "CaptureConfig": ("## What is kept", "capture."),
    "TrainConfig": ("## Training", "train."),
    "NamedObject": ("## An object of Keras", ""),
}
_BEFORE = {"DeclaredModel": _MODELS, next(iter(SOURCES.values())).__name__: _PROBES}
_TYPES = {
    "integer": "integer",
    "number": "number",
    "boolean": "`true` or `false`",
    "string": "text",
    "null": "`null`",
}


def reference_page() -> str:
    """Return the page as Markdown.

    Raises
    ------
    KeyError
        If a part of the configuration has no section, or a key has no example.
    """
    whole = ExperimentConfig.model_json_schema()
    parts: dict[str, Any] = {**whole.pop("$defs"), "ExperimentConfig": whole}
    for name in parts:
        _SECTIONS[name]
    return "\n".join(
        [_HEAD, _choices(), *(line for name in _SECTIONS for line in _section(name, parts))]
    )


def _choices() -> str:
    """Return the table of choices: files by the comment that they begin with, and sources."""
    about = {
        f"probe={name}": _words(source.__doc__ or "").partition(". ")[0].replace("``", "`")
        for name, source in SOURCES.items()
    }
    for path in CONFIG_DIRECTORY.glob("*/*.yaml"):
        text = path.read_text(encoding="utf-8").removeprefix("# @package _global_\n")
        if text.startswith("# ") and path.parent.name != "hydra":
            about[f"{path.parent.name}={path.stem}"] = text.splitlines()[0].removeprefix("# ")
    lines = ["## Choices\n", "| choice | description |", "|---|---|"]
    lines += [f"| `{choice}` | {about[choice].rstrip('.:')} |" for choice in sorted(about)]
    names_of = {
        group: sorted(path.stem for path in CONFIG_DIRECTORY.glob(f"{group}/*.yaml"))
        for group in ("loss", "optimizer")
    }
    for group, names in {**names_of, "format": FORMATS.own}.items():
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
        yield "| key | type | default | description and example |\n|---|---|---|---|"
    for key, value in rows.items():
        default = "*required*"
        if key not in part.get("required", ()):
            default = "" if "$ref" in value else f"`{json.dumps(value.get('default'))}`"
        about = value.get("description") or parts[_referred(value)]["description"]
        example = shlex.join(shlex.split(EXAMPLES[name][key]))
        yield f"| `{path}{key}` | {_type(value)} | {default} | {_words(about)}<br>`{example}` |"
    yield ""


def _type(value: Mapping[str, Any]) -> str:
    """Return the type of a key in words."""
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
