"""A run as text: what is printed after it, and by ``runner show``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml
from rich.table import Table
from rich.text import Text

from runner.config.packaged import CONFIG_NAME
from runner.file_names import HYDRA, WORKBOOK
from runner.local_paths import OUTPUTS
from runner.record.batch_dependence import batch_notes
from runner.record.interventions import intervention_notes
from runner.record.layer_record import TensorRecord
from runner.runs.published_run import Run
from runner.screen import story
from runner.screen.dense import DenseCall
from runner.screen.tables import WIDTH, cut, text_of
from runner.sizes import readable
from runner.table_formats import FORMATS
from runner.tables.statistic import Statistic
from runner.tables.summary import all_statistics, not_finite
from runner.tensors import shape_text

_MOST_RUNS = 20
_LARGEST_YAML = 100_000


def show(run: Run) -> str:
    """Return a summary of a run as plain text, 80 columns wide.

    A small chain of Dense layers is shown step by step; other models are shown as a table
    with one row per layer. Paths are never shortened.
    """
    if run.record.error is not None:
        parts = [_header(run), f"failed: {run.record.error}", _saved(run)]
    else:
        layers = story.chain(run)
        told = [story.retell(run, layers)] if layers else []
        if not told or max(map(len, told[0].splitlines())) > WIDTH:
            told = [_header(run), *_layers(run)]
        parts = [*told, *_warning(run), *_notes(run), f"{_saved(run)}\n{_next(run, layers)}"]
    return "\n\n".join(parts) + "\n"


def show_several(runs: Sequence[Run]) -> str:
    """Return one line for each run, at most 20, and the commands to continue with."""
    sweep = runs[0].record.sweep
    together = sweep is not None and all(run.record.sweep == sweep for run in runs)
    table = Table("run", "status", "tensors", "overrides", box=None, pad_edge=False)
    for run in runs[:_MOST_RUNS]:
        headline = run.record.headline
        tensors = "" if headline is None else str(headline.tensors)
        words = " ".join(run.record.overrides)
        table.add_row(*map(Text, (run.id, run.record.status, tensors, words)))
    left = f"\nand {len(runs) - _MOST_RUNS:,} more" if len(runs) > _MOST_RUNS else ""
    done = sum(run.record.status == "COMPLETED" for run in runs)
    lines = [["show", runs[0].id]]
    if together:
        lines += [["similarity", str(sweep)], ["report", str(sweep)]]
    following = "\n".join(f"next   python -m runner {shlex.join(words)}" for words in lines)
    said = f"{done:,} of {len(runs):,} runs completed"
    named = f"sweep  {sweep}\n       {said}" if together else said
    return f"{named}\n\n{text_of(table)}{left}\n\n{following}\n"


def _header(run: Run) -> str:
    record = run.record
    lines = [f"run    {run.id}" + (f", {record.name}" if record.name else "")]
    if record.model is not None:
        lines.append(f"model  {record.model.model_class}, {record.model.weights:,} weights")
    if record.seed is not None:
        lines.append(f"seed   {record.seed}")
    if record.probe is not None:
        lines.append(f"probe  {record.probe.source}, {record.probe.rows:,} samples")
    if record.training is not None:
        steps = f"; {len(record.steps)} steps captured" if record.steps else ""
        told = f"train  {story.trained(record.training)}{steps}"
        lines += wrap(told, WIDTH, subsequent_indent=" " * 7)
    if record.status == "INTERRUPTED":
        lines.append("       interrupted: the results up to that point are below")
    return "\n".join(lines)


def _layers(run: Run) -> Iterator[str]:
    """Yield a table of the captured tensors, and one of the layers without any."""
    rows = {(row["kind"], row["name"]): row for row in run.summary.to_dict("records")}
    row_of = {
        tensor.file: rows[tensor.kind, tensor.name]
        for tensor in run.record.tensors
        if tensor.alias_of is None
    }
    captured = Table("layer", "class", box=None, pad_edge=False)
    shown = {name: each for name, each in all_statistics().items() if each.is_shown}
    for title in ("shape", *shown):
        captured.add_column(title.replace("_", " "), justify="right", no_wrap=True)
    others = Table("no table", "class", "why", box=None, pad_edge=False)
    for layer in run.record.layers:
        tensors = [tensor for tensor in layer.tensors if tensor.per_sample]
        for tensor in tensors:
            captured.add_row(*map(Text, _cells(tensor, row_of[tensor.file], shown)))
        if not tensors:
            cells = (cut(layer.path), layer.layer_class, layer.reason or "")
            others.add_row(*map(Text, cells))
    for table in (captured, others):
        if table.rows:
            yield text_of(table)


def _cells(
    tensor: TensorRecord, row: Mapping[Hashable, Any], shown: Mapping[str, Statistic[Any]]
) -> tuple[str, ...]:
    kind = "" if tensor.kind == "activation" else f" ({tensor.kind})"
    same = "" if tensor.alias_of is None else f" = {cut(tensor.alias_of)}"
    return (
        f"{cut(tensor.name)}{kind}{same}",
        tensor.layer_class,
        shape_text(tensor.shape),
        *(
            each.text(row[name], row["units"]) if name in row else ""
            for name, each in shown.items()
        ),
    )


def _warning(run: Run) -> Iterator[str]:
    """Yield a warning with the number and the places of NaN and infinite values, if any."""
    if found := not_finite(run.summary.to_dict("records")):
        yield f"warning: {found}"


def _notes(run: Run) -> Iterator[str]:
    """Yield a paragraph that says what interventions did, and how values depend on batches."""
    notes = [
        wrap(f"note: {one}", WIDTH, subsequent_indent=" " * 6)
        for one in (*intervention_notes(run.record), *batch_notes(run.record))
    ]
    if notes:
        yield "\n".join(line for lines in notes for line in lines)


def _saved(run: Run) -> str:
    lines = [f"saved  {_place(run)}"]
    files = {name: digest.bytes for name, digest in run.record.files.items()}
    suffix = FORMATS[run.record.format].suffix
    sizes = {name: size for name, size in files.items() if name.endswith(suffix)}
    sizes |= {tensor.file: tensor.bytes for tensor in run.record.tensors}
    for step in run.record.steps:
        sizes |= {f"{step.folder}/{name}": digest.bytes for name, digest in step.files.items()}
    if not run.record.keeps_values:
        lines.append("       the statistics alone: no values were kept")
    elif sizes:
        size = readable(sum(sizes.values()))
        lines.append(f"       {len(sizes)} tables as {run.record.format}, {size}")
    if WORKBOOK in files:
        lines.append(f"       and {WORKBOOK}, {readable(files[WORKBOOK])}")
    return "\n".join(lines)


def _place(run: Run) -> str:
    folder = run.stored.folder
    return run.stored.place() if folder is None else str(_from_here(folder))


def _from_here(folder: str | Path) -> Path:
    folder, here = Path(folder).resolve(), Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _next(run: Run, layers: list[DenseCall]) -> str:
    """Return the commands to continue with."""
    folder, is_named = run.stored.folder, run.stored.is_named
    name = _place(run)
    commands = [["list"]]
    if is_named and folder is None:
        commands = [["list", "--outputs", name.rpartition("/")[0]]]
    if folder is not None and folder.resolve().is_relative_to(OUTPUTS.resolve()):
        name = run.id
    if layers and is_named:
        layer, row, column = story.telling_value(layers)
        unit, sample = layer.output.columns[column], str(layer.output.index[row])
        commands = [["explain", layer.name, unit, name, "--sample", sample]]
    if run.record.effects and is_named:
        commands = [["effects", name]]
    if run.seed is not None and "probe" in run.config:
        kept = [given for given in run.record.overrides if not given.startswith(("seed=", "name="))]
        kept = [re.sub(r"^\+\+(?=intervene\b)", "", given) for given in kept]
        commands.append([*_own_configs(run), *kept, f"seed={run.seed + 1}"])
    return "\n".join(f"next   python -m runner {shlex.join(words)}" for words in commands)


def _own_configs(run: Run) -> list[str]:
    """Return the flags with which the user's own configs were selected."""
    name = HYDRA
    if name not in run.record.files or run.record.files[name].bytes > _LARGEST_YAML:
        return []
    try:
        with run.file(name).open() as file:
            node = yaml.load(file.read().decode(), _Unaliased)["hydra"]
        sources = node["runtime"]["config_sources"]
        folders = [str(own["path"]) for own in sources if own["provider"] == "command-line"]
        flags = [word for folder in folders for word in ("--config-dir", str(_from_here(folder)))]
        config = str(node["job"]["config_name"])
    except (yaml.YAMLError, RecursionError, LookupError, TypeError, ValueError):
        return []  # not written by Hydra, so the flags are unknown
    return flags if config == CONFIG_NAME else [*flags, "--config-name", config]


class _Unaliased(yaml.SafeLoader):
    """YAML loader that rejects aliases, which can expand a short text into a huge one."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)
