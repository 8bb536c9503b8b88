"""What a model is shown: one class for each kind of probe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from runner.config.arguments import join
from runner.config.references import UNTYPED, InputFile, InputFolder
from runner.config.strict import Function, Length, Seed, Strict, expecting, refuse
from runner.errors import Problem


class ProbeSource(Strict):
    """What every probe may say."""

    allow_nan: bool = False
    """Whether missing, NaN and infinite inputs are shown to the model rather than refused."""


class TutorialConfig(ProbeSource):
    """The tutorial's three samples and targets."""

    source: Literal["tutorial"]


class InlineConfig(ProbeSource):
    """Samples written out in the configuration."""

    source: Literal["inline"]
    inputs: Annotated[
        list[Any] | dict[str, list[Any]],
        expecting("a list of samples, or a mapping from input to such a list"),
    ]
    """A list of samples; of several inputs, a mapping from input to such a list."""
    ids: Annotated[list[int] | list[str], expecting("whole numbers, or texts")] | None = None
    """The samples' ids; `null`: counted from 0."""
    labels: list[Any] | None = None
    """A label for each sample."""
    targets: list[Any] | None = None
    """What the loss compares each sample's output with."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse(self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        named = self.inputs if isinstance(self.inputs, dict) else {"": self.inputs}
        rows = len(next(iter(named.values()), []))
        others = {"ids": self.ids, "labels": self.labels, "targets": self.targets}
        sized = {join("inputs", name): samples for name, samples in named.items()} | others
        for key, values in sized.items():
            if values is not None and len(values) != rows:
                yield Problem(key, f"expected one for each of {rows} samples, found {len(values)}")


class _TableConfig(ProbeSource):
    path: InputFile
    """The file."""
    id_column: str | None = None
    """Column of the samples' ids; `null`: `id`, else a DataFrame's index, else row numbers."""
    label_column: str | None = None
    """Column of the labels; `null`: `label` where there is one."""
    target_columns: list[str] = Field(default=[])
    """Columns that the loss compares the output with."""
    input_columns: list[str] | None = None
    """Columns of numbers that are the model's one input; `null`: all that are left."""
    max_bytes: Length = 2**30
    """Refuse a file of which more than this would be in memory at once."""


class CsvConfig(_TableConfig):
    """A text file with one sample a row.

    Columns ``id`` and ``label`` are used as sample ids and labels unless others are named; all
    that are left are inputs.
    """

    source: Literal["csv"]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """What separates columns; `null`: found in the first rows."""
    decimal: Literal[".", ","] = "."
    """What stands before the decimals of a number."""
    header: bool | None = None
    """Whether the first line names the columns; `null`: it must, and must not look like numbers."""
    encoding: str = "utf-8"
    """The text's encoding."""


class ParquetConfig(_TableConfig):
    """A Parquet table with one sample a row; columns as in `CsvConfig`."""

    source: Literal["parquet"]


class NpyConfig(ProbeSource):
    """One NumPy array, samples first; ids, labels and targets in files of their own."""

    source: Literal["npy"]
    path: InputFile
    """The file."""
    ids_path: InputFile | None = None
    """A `.npy` file of the samples' ids."""
    labels_path: InputFile | None = None
    """A `.npy` file of labels."""
    targets_path: InputFile | None = None
    """A `.npy` file of targets."""
    max_bytes: Length = 10 * 2**30
    """Refuse arrays that declare more bytes than this."""


class NpzConfig(ProbeSource):
    """Several NumPy arrays in one file, named as the model's inputs."""

    source: Literal["npz"]
    path: InputFile
    """The file. Its members `id`, `label` and `target` are used as such; others are inputs."""
    max_bytes: Length = 10 * 2**30
    """Refuse arrays that declare more bytes than this together."""


class ImagesConfig(ProbeSource):
    """A folder of pictures; the folder inside it that holds one is its label."""

    source: Literal["images"]
    path: InputFolder
    """The folder."""
    labels: InputFile | None = None
    """A CSV or Parquet table of labels, and of ids where it has them, joined by file name;
    `null`: the folder that holds a picture is its label.
    """
    file_column: str | None = None
    """Its column of file names; `null`: `file` where there is one, else the first."""
    label_column: str | None = None
    """Its column of labels; `null`: `label` where there is one."""
    id_column: str | None = None
    """Its column of sample ids; `null`: `id` where there is one, else a picture's path."""
    scale: Literal["0-1", "0-255"] = "0-1"
    """The range of the pixels: as Keras reads them (`0-255`), or divided by 255."""
    interpolation: Literal[
        "bilinear",
        "nearest",
        "bicubic",
        "area",
        "lanczos3",
        "lanczos5",
        "gaussian",
        "mitchellcubic",
    ] = "bilinear"
    """How pictures are resized: a method of `keras.utils.image_dataset_from_directory`."""
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    """What becomes of other proportions; Keras's `crop_to_aspect_ratio`, `pad_to_aspect_ratio`."""
    exif_rotation: bool = False
    """Whether the rotation that a camera noted is applied. Keras ignores it."""


class DigitsConfig(ProbeSource):
    """Handwritten digits from scikit-learn; the first `rows` of them."""

    source: Literal["digits"]
    rows: Length | None = None
    """Only the first so many."""


class IrisConfig(ProbeSource):
    """Flowers from scikit-learn; the first `rows` of them."""

    source: Literal["iris"]
    rows: Length | None = None
    """Only the first so many."""


class RandomConfig(ProbeSource):
    """Random numbers; whole ones from 0 to below `high` for inputs that are integers."""

    source: Literal["random"]
    rows: Length
    """How many samples."""
    seed: Seed = 0
    """What they are drawn from."""
    distribution: Literal["normal", "uniform"] = "normal"
    """Standard normal, or uniform from 0 to 1."""
    high: Length = 10
    """Inputs that are integers are below it."""
    shapes: dict[str, list[Length]] = Field(default={})
    """By input, its shape without the samples: for inputs whose axes the model leaves open."""


class FunctionConfig(ProbeSource):
    """What Python code returns; naming it runs that code."""

    source: Literal["function"]
    function: Function
    """The callable, `package.module:name`, of arrays, a `tf.data.Dataset` or a generator; with
    sample ids and labels as a mapping, whole or batch by batch.
    """
    arguments: Annotated[dict[str, Any], UNTYPED] = Field(default={})
    """Its keyword arguments."""


ProbeConfig = Annotated[
    TutorialConfig
    | InlineConfig
    | CsvConfig
    | NpyConfig
    | NpzConfig
    | ParquetConfig
    | ImagesConfig
    | DigitsConfig
    | IrisConfig
    | RandomConfig
    | FunctionConfig,
    Field(discriminator="source"),
]

SOURCES: dict[str, type[ProbeSource]] = {
    get_args(probe.model_fields["source"].annotation)[0]: probe
    for probe in get_args(get_args(ProbeConfig)[0])
}
"""What `source` can be, and the class of each."""
