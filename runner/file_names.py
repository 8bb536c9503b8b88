"""The names of all files in a run's folder."""

from __future__ import annotations

import hashlib
import re

from runner.table_formats import FORMATS
from runner.tensors import KINDS, TensorSpec

RECORD = "run.json"
"""The record, which makes the files of a run complete."""

LOG = "run.log"
"""What happened, with times; of a failed run, the error."""

HYDRA_FOLDER = ".hydra"
"""Folder of Hydra's own files."""

CONFIG, HYDRA, OVERRIDES = (
    f"{HYDRA_FOLDER}/{name}.yaml" for name in ("config", "hydra", "overrides")
)
"""Hydra's own files of a run."""

PROBE, SUMMARY, STEPS, HISTORY = "probe", "summary", "steps", "history"
EFFECTS = "effects"
"""Tables other than those of tensors, without suffix: see `plain_table`."""

WORKBOOK = "tables.xlsx"
"""The tables as sheets."""

MODEL = "model"
"""A converted model that was made for the run, without suffix."""

LAYER_ERRORS = "layer_errors.json"
"""How far the layers of a run that was made again are from those of the first run."""

CALLBACKS = "callbacks"
"""Folder of the files that the callbacks of a training write."""

PARTS = ".parts"
"""Folder of the parts of a run in an object store."""

REPORT = "report.html"
"""The report, which is made later and is no part of the run."""

_PLAIN_NAME = re.compile(r"[a-z0-9_@/:-]{1,80}")
_UNSAFE = re.compile(r"[^a-z0-9_@-]")


def plain_table(stem: str, format: str) -> str:
    """Return the name of a table other than those of tensors, such as ``probe.parquet``."""
    return stem + FORMATS[format].suffix


def step_folder(step: int) -> str:
    """Return the folder of the tables of a step of a training, such as ``steps/100``."""
    return f"{STEPS}/{step}"


def tensor_table(spec: TensorSpec, format: str, part: int | None = None) -> str:
    """Return the path of a tensor's table inside a run, such as ``activations/00_hidden.parquet``.

    The rows of part 3 are in ``activations/00_hidden/part-00003.parquet``.

    File names are unique in a run, even on file systems that ignore letter case or Unicode
    normalization: a digest is appended to names that are not safe as file names. The leading
    number avoids the reserved names of Windows.
    """
    if _PLAIN_NAME.fullmatch(spec.name):
        slug = spec.name.replace("/", ".").replace(":", "+")
    else:
        digest = hashlib.sha256(spec.name.encode("utf-8", "surrogatepass")).hexdigest()
        slug = f"{_UNSAFE.sub('_', spec.name.casefold())[:60]}~{digest[:8]}"
    inside = "" if part is None else f"/part-{part:05d}"
    return f"{KINDS[spec.kind].folder}/{spec.order:02d}_{slug}{inside}{FORMATS[format].suffix}"
