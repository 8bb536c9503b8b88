"""The samples, units and positions of a run that a page shows."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isqrt, prod

import numpy as np

from runner.plots.drawing import evenly_spaced
from runner.runs.published_run import Run
from runner.tables.table_files import read_file
from runner.tensors import TensorSpec

_MOST_SAMPLES = 50
_LEAST_SAMPLES = 8
_LEAST_MAP = 512  # values of one sample's feature maps, at least
_CELLS = 300_000  # values by sample and unit in the whole page
_MAP_VALUES = 500_000
_READ_VALUES = 150_000_000  # of all tensors together
_MEASURED_VALUES = 2_000_000  # of one tensor, for its histogram
_MOST_UNITS = 256
_LARGEST_MAP = 4096
_MOST_IMAGES = (16, 8, 4, 1)


@dataclass(frozen=True)
class Excerpt:
    """The part of a run that its report shows.

    Attributes
    ----------
    places
        Row numbers of the shown samples, ascending: shape (sample,).
    samples
        Ids of the shown samples, as text.
    labels
        Labels of the shown samples, as text; ``None`` if the probe has none.
    rows
        Number of samples of the run.
    units
        Largest number of units shown of a tensor.
    map_values
        Largest number of values shown of one sample's feature maps.
    """

    places: np.ndarray
    samples: list[str]
    labels: list[str] | None
    rows: int
    units: int
    map_values: int

    @classmethod
    def of(cls, run: Run, tensors: list[TensorSpec]) -> Excerpt:
        """Choose the samples, units and values to show of some tensors of a completed run."""
        probe = run.probe_record
        maps = max(1, sum(len(tensor.shape) > 1 for tensor in tensors))
        row_size = max(1, sum(prod(tensor.shape) for tensor in tensors))
        most = min(_MOST_SAMPLES, max(_LEAST_SAMPLES, _MAP_VALUES // (maps * _LEAST_MAP)))
        most = max(1, min(most, _READ_VALUES // row_size))
        places = evenly_spaced(probe.rows, most)
        shown = max(1, len(places))
        ids = run.samples
        labels = None
        if probe.has_labels:
            column = read_file(run.file(probe.file), run.record.format, ["label"]).column(0)
            labels = [str(column[int(place)].as_py()) for place in places]
        return cls(
            places,
            [str(ids[place]) for place in places],
            labels,
            probe.rows,
            max(8, min(_MOST_UNITS, _CELLS // (shown * max(1, len(tensors))))),
            min(_LARGEST_MAP, _MAP_VALUES // (shown * maps)),
        )

    def measured(self, tensor: TensorSpec) -> np.ndarray:
        """Return the numbers of the rows used for a tensor's histogram: shape (row,).

        All rows if there are few enough; the shown rows are always among them.
        """
        most = max(1, _MEASURED_VALUES // max(1, prod(tensor.shape)))
        return np.union1d(self.places, evenly_spaced(self.rows, most))


@dataclass(frozen=True)
class MapExcerpt:
    """The part of one sample's feature maps that is shown as small images.

    Attributes
    ----------
    axis
        Axis of a sample with one entry per image; ``None`` for a single image.
    images
        Entries of `axis` that are shown: shape (image,).
    step
        Distance between the shown rows, and between the shown columns, of an image.
    fixed
        Entry shown of each remaining axis, in axis order.
    """

    axis: int | None
    images: np.ndarray
    step: int
    fixed: tuple[int, ...] = ()

    @classmethod
    def of(cls, spec: TensorSpec, most: int) -> MapExcerpt | None:
        """Return the images to show of a tensor, ``None`` if a sample has fewer than two axes.

        Parameters
        ----------
        spec
            The tensor.
        most
            Largest number of values to show of one sample.
        """
        shape = spec.shape
        if len(shape) < 2 or 0 in shape:
            return None
        if len(shape) == 2:
            return cls(None, np.zeros(1, np.int64), _step(shape, most))
        axis = spec.axes.index("head") if spec.axes and "head" in spec.axes else spec.unit_axis
        rest = [length for place, length in enumerate(shape) if place != axis]
        fixed, sides = tuple(length // 2 for length in rest[:-2]), tuple(rest[-2:])
        for number in _MOST_IMAGES:
            number = min(number, shape[axis])
            step = _step(sides, most // number)
            if step == 1 or min(ceil(side / step) for side in sides) >= 12:
                break
        return cls(axis, evenly_spaced(shape[axis], number), step, fixed)

    def cut(self, values: np.ndarray) -> np.ndarray:
        r"""Cut the images out of the values of some samples.

        Parameters
        ----------
        values
            Shape (sample, \*axes).

        Returns
        -------
        numpy.ndarray
            Shape (sample, image, height, width).
        """
        if self.axis is None:
            images = values[:, None]
        else:
            taken = np.take(values, self.images, self.axis + 1)
            images = np.moveaxis(taken, self.axis + 1, 1)
        for place in self.fixed:
            images = images[:, :, place]
        return np.ascontiguousarray(images[:, :, :: self.step, :: self.step])


def _step(sides: tuple[int, ...], most: int) -> int:
    """Return the smallest step with which an image has at most `most` values."""
    step = max(1, isqrt(prod(sides) // max(1, most)))
    while ceil(sides[0] / step) * ceil(sides[1] / step) > max(1, most):
        step += 1
    return step
