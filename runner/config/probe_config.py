"""Configuration of probes, the inputs shown to a model: one class per kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from runner.config.arguments import join
from runner.config.references import UNTYPED, InputFile, InputFolder
from runner.config.strict import Function, Length, Seed, Strict, expecting, refuse
from runner.errors import Problem


class ProbeSource(Strict):
    """Keys of every probe."""

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
    """A list of samples; for several inputs, a mapping from input to such a list."""
    ids: Annotated[list[int] | list[str], expecting("whole numbers, or texts")] | None = None
    """Sample ids; `null`: counted from 0."""
    labels: list[Any] | None = None
    """A label for each sample."""
    targets: list[Any] | None = None
    """Targets of the loss, one for each sample."""

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
    """Column of sample ids; `null`: `id`, else a DataFrame's index, else row numbers."""
    label_column: str | None = None
    """Column of labels; `null`: `label` if there is one."""
    target_columns: list[str] = Field(default=[])
    """Columns of the targets of the loss."""
    input_columns: list[str] | None = None
    """Numeric columns that form the model's only input; `null`: all remaining columns."""
    max_bytes: Length = 2**30
    """Limit in bytes on the part of the file in memory at once; larger files are refused."""


class CsvConfig(_TableConfig):
    """A text file with one sample per row.

    Columns ``id`` and ``label`` are used as sample ids and labels unless others are named; all
    remaining columns are inputs.
    """

    source: Literal["csv"]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Separator of columns; `null`: detected from the first rows."""
    decimal: Literal[".", ","] = "."
    """Decimal separator."""
    header: bool | None = None
    """Whether the first line names the columns; `null`: it must, and numbers there are refused."""
    encoding: str = "utf-8"
    """Encoding of the text."""


class ParquetConfig(_TableConfig):
    """A Parquet table with one sample per row; columns as in a `csv` probe."""

    source: Literal["parquet"]


class NpyConfig(ProbeSource):
    """One NumPy array, samples along the first axis; ids, labels and targets in separate files."""

    source: Literal["npy"]
    path: InputFile
    """The file."""
    ids_path: InputFile | None = None
    """A `.npy` file of sample ids."""
    labels_path: InputFile | None = None
    """A `.npy` file of labels."""
    targets_path: InputFile | None = None
    """A `.npy` file of targets."""
    max_bytes: Length = 10 * 2**30
    """Limit in bytes on the declared size of an array; larger ones are refused."""


class NpzConfig(ProbeSource):
    """Several NumPy arrays in one file, named after the model's inputs."""

    source: Literal["npz"]
    path: InputFile
    """The file. Its arrays `id`, `label` and `target` are used as such; the others are inputs."""
    max_bytes: Length = 10 * 2**30
    """Limit in bytes on the declared size of all arrays; larger files are refused."""


class ImagesConfig(ProbeSource):
    """A folder of pictures, labelled by default with the name of the subfolder that holds them."""

    source: Literal["images"]
    path: InputFolder
    """The folder."""
    labels: InputFile | None = None
    """A CSV or Parquet table of labels, and optionally of ids, joined by file name; `null`: the
    name of the folder that holds a picture is its label.
    """
    file_column: str | None = None
    """Column of file names in that table; `null`: `file` if there is one, else the first."""
    label_column: str | None = None
    """Column of labels in that table; `null`: `label` if there is one."""
    id_column: str | None = None
    """Column of sample ids in that table; `null`: `id` if there is one, else the picture's path."""
    scale: Literal["0-1", "0-255"] = "0-1"
    """Range of the pixel values: as Keras reads them (`0-255`), or divided by 255."""
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
    """Method of resizing, as in `keras.utils.image_dataset_from_directory`."""
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    """Fit of other proportions, as by Keras's `crop_to_aspect_ratio` or `pad_to_aspect_ratio`."""
    exif_rotation: bool = False
    """Whether to apply the rotation in a picture's EXIF data, which Keras ignores."""


class DigitsConfig(ProbeSource):
    """The first `rows` handwritten digits from scikit-learn."""

    source: Literal["digits"]
    rows: Length | None = None
    """Number of samples; `null`: all."""


class IrisConfig(ProbeSource):
    """The first `rows` iris flowers from scikit-learn."""

    source: Literal["iris"]
    rows: Length | None = None
    """Number of samples; `null`: all."""


class RandomConfig(ProbeSource):
    """Random numbers; for integer inputs, whole numbers from 0 to `high` - 1."""

    source: Literal["random"]
    rows: Length
    """Number of samples."""
    seed: Seed = 0
    """Seed of the random numbers."""
    distribution: Literal["normal", "uniform"] = "normal"
    """Standard normal, or uniform from 0 to 1."""
    high: Length = 10
    """Exclusive upper limit of integer inputs."""
    shapes: dict[str, list[Length]] = Field(default={})
    """Shapes by input, without the sample axis, for inputs whose axes the model leaves open."""


class FunctionConfig(ProbeSource):
    """Data returned by Python code; naming it runs that code."""

    source: Literal["function"]
    function: Function
    """The callable, `package.module:name`, that returns arrays, a `tf.data.Dataset` or a generator;
    sample ids and labels are given in a mapping, for all samples or for each batch.
    """
    arguments: Annotated[dict[str, Any], UNTYPED] = Field(default={})
    """Keyword arguments of the callable."""


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
"""Classes of probes by the value of `source`."""
