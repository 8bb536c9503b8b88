"""The documentation page of every configuration key: ``python -m runner.config.key_page``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from runner.actions.noise import NoiseConfig
from runner.config.capture_config import CaptureConfig
from runner.config.declared_config import LayerNode, ModelInput
from runner.config.effects_config import EffectsConfig
from runner.config.experiment_config import ExperimentConfig
from runner.config.intervene_config import ACTIONS
from runner.config.model_config import MODEL_KINDS, RUNTIMES, NamedObject
from runner.config.packaged import CONFIG_DIRECTORY
from runner.config.precision import Precision
from runner.config.probe_config import SOURCES
from runner.config.strict import Strict
from runner.config.train_config import TrainConfig
from runner.intervening.action import Action
from runner.probe.source import ProbeSource
from runner.table_formats import FORMATS

_HEAD = """\
# Configuration

This page lists every key with its type, default value, description and an example. On the command
line a key is set by its path, `capture.batch_size=32`. Put a `+` before a key that the chosen file
does not have, and quote values with brackets for the shell. In a file a key is nested in its
section. If an example is refused alone, type the first example of its table before it, which makes
the choice that it needs.

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

*_FIRST, _LAST = MODEL_KINDS
_MODELS = f"""\
## Models

The kind of a model follows from which of `{"`, `".join(_FIRST)}` and `{_LAST}` it has.
"""
_PROBES = """\
## Probes

`probe.source` is the kind of the probe: `probe=csv` sets it.
"""
_INTERVENTIONS = """\
## Interventions

`intervene` maps patterns of layers to what is done to their outputs: one of the actions below.
"""
_BASES: tuple[type[Strict], ...] = (Precision, ProbeSource, Action)
"""Parts whose keys others have too; these are on the page once."""

_DECLARED, *_OTHERS = MODEL_KINDS.values()
SECTIONS: dict[type[Strict], str] = {
    ExperimentConfig: "",
    Precision: "model.",
    _DECLARED: "model.",
    LayerNode: "model.layers.NAME.",
    ModelInput: "model.inputs.NAME.",
    **dict.fromkeys(_OTHERS, "model."),
    ProbeSource: "probe.",
    **dict.fromkeys(SOURCES.values(), "probe."),
    CaptureConfig: "capture.",
    Action: "intervene.PATTERN.",
    **dict.fromkeys(ACTIONS.values(), "intervene.PATTERN."),
    NoiseConfig: "intervene.PATTERN.noise.",
    EffectsConfig: "effects.",
    TrainConfig: "train.",
    NamedObject: "",
}
"""The parts of the configuration in the order of the page, with the paths of their keys."""
_NAMED = {part.__name__: part for part in SECTIONS}
_BEFORE: dict[type[Strict], str] = {
    Precision: _MODELS,
    ProbeSource: _PROBES,
    Action: _INTERVENTIONS,
}
_UNIONS = {
    "model.": "[a model](#models)",
    "probe.": "[a probe](#probes)",
    "intervene.PATTERN.": "[an intervention](#interventions)",
}
"""Paths of the keys of parts of which there are several kinds, with the words for one of them."""
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
    parts |= {base.__name__: base.model_json_schema() for base in _BASES}
    for name in parts:
        _NAMED[name]
    return "\n".join(
        [_HEAD, _choices(), *(line for part in SECTIONS for line in _section(part, parts))]
    )


def _choices() -> str:
    """Return the table of choices: files by the comment that they begin with, and sources."""
    about = {
        f"probe={name}": _words(source.__doc__ or "").partition(". ")[0].replace("``", "`")
        for name, source in SOURCES.items()
    }
    for name, runtime in RUNTIMES.items():
        files = f"`{runtime.suffix}` file ({runtime.format})"
        about[f"model={name}"] = f"A model from a {files}: each of its operations is a layer"
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


def _section(part: type[Strict], parts: Mapping[str, Any]) -> Iterator[str]:
    path, schema = SECTIONS[part], parts[part.__name__]
    if part in _BEFORE:
        yield _BEFORE[part]
    level = "###" if path.startswith(tuple(_UNIONS)) else "##"
    yield f"{level} {part.section_name()}\n\n{_words(schema['description']).replace('``', '`')}\n"
    above = [base for base in _BASES if issubclass(part, base) and part is not base]
    left_out = {"source", *(key for base in above for key in base.model_fields)}
    rows = {key: value for key, value in schema["properties"].items() if key not in left_out}
    required = schema.get("required", ())
    rows = dict(sorted(rows.items(), key=lambda row: row[0] not in required))
    if rows:
        yield "| key | type | default | description and example |\n|---|---|---|---|"
    for key, value in rows.items():
        default = "*required*"
        if key not in required:
            default = "" if "$ref" in value else f"`{json.dumps(value.get('default'))}`"
        about = value.get("description") or parts[_referred(value)]["description"]
        example = shlex.join(shlex.split(part.examples[key]))
        yield f"| `{path}{key}` | {_type(value)} | {default} | {_words(about)}<br>`{example}` |"
    yield ""


def _type(value: Mapping[str, Any]) -> str:
    """Return the type of a key in words."""
    if "$ref" in value:
        part = _NAMED[_referred(value)]
        if SECTIONS[part] in _UNIONS:
            return _UNIONS[SECTIONS[part]]
        title = part.section_name()
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
