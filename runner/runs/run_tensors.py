"""The tensors of a published run by their names: as tables, arrays and blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from math import prod
from typing import Literal

import numpy as np
import pandas as pd

from runner.errors import InputError, one_of
from runner.readable_files import ReadableTable
from runner.record.layer_record import TensorRecord
from runner.record.probe_record import ProbeRecord
from runner.record.record import RunRecord
from runner.runs.run_files import RunFiles, probe_of
from runner.similarity.representation import Representation
from runner.stores.store import StoredRun
from runner.tables.layout import stored_dtype
from runner.tables.reading import read_array, read_blocks, read_rows, stored_columns
from runner.tables.rows import Rows
from runner.tensors import KINDS, PER_SAMPLE, Kind

Step = int | Literal["all"] | None


class RunTensors:
    """The tensors of a published run.

    ``run["hidden"]`` reads a table; ``"hidden" in run`` and iteration cover the names of the
    tensors captured per sample. Tables are read only when they are accessed.

    Parameters
    ----------
    stored
        The files of the run.
    record
        Content of the run's ``run.json``.
    """

    def __init__(self, stored: StoredRun, record: RunRecord) -> None:
        self.stored = stored
        self.record = record
        self._files = RunFiles(stored, record)

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Return the table of a tensor, as in `table`."""
        return self.table(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for kind, name in self._tensors if kind in PER_SAMPLE))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return any(name == known for known in self)

    def tensor(self, name: str, kind: Kind | None = None) -> TensorRecord:
        """Return the record of a tensor.

        Parameters
        ----------
        name
            Name of the tensor, such as ``encoder/dense``, ``dense@1`` or ``dense/kernel``.
        kind
            Kind of the tensor. By default, an activation takes precedence over tensors of
            other kinds with the same name.

        Raises
        ------
        UnknownTensorError
            If there is no such tensor; it is an `InputError` and a `KeyError`.
        """
        for known in (kind,) if kind is not None else KINDS:
            if (known, name) in self._tensors:
                return self._tensors[known, name]
        raise UnknownTensorError.asked(self.record, name, kind)

    def table(
        self,
        name: str,
        kind: Kind | None = None,
        step: Step = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Return a tensor's table.

        Parameters
        ----------
        name, kind
            As in `tensor`.
        step
            One of `steps`, or ``all`` of them; default: the last step.
        columns
            Units to read: ``u3``, or ``u0_1_2`` of a map; default: all.

        Returns
        -------
        pandas.DataFrame
            Values in the tensor's own dtype. Tensors per sample: indexed by ``sample``, a
            column per unit (``u0``, ``u1``...); the columns of a map are its coordinates.
            Weights: a column per entry of the last axis, indexed by the other axes. With all
            steps, the first level of the index is ``step``.

        Raises
        ------
        UnknownTensorError
            As in `tensor`.
        InputError
            If a map has too many coordinates for columns (use `array`), there is no such
            step, or the file is damaged.
        """
        return self.rows(name, kind, step, columns).frame()

    def rows(
        self,
        name: str,
        kind: Kind | None = None,
        step: Step = None,
        columns: Sequence[str] | None = None,
    ) -> Rows:
        """Return the rows of a tensor's table; arguments and errors as in `table`."""
        stored, probe = self._files.stored(self.tensor(name, kind)), self.probe_record
        format = self.record.format
        needed = None if columns is None else stored_columns(stored, format, columns)
        parts = [
            read_rows(table, stored, format, columns, probe.rows, probe.sample_ids_hash)
            for table in self._files.of(stored, step, needed)
        ]
        if step != "all":
            return parts[0]
        frame = pd.concat([part.frame() for part in parts], keys=self.steps, names=["step"])
        return Rows(frame.index, frame.columns, frame.to_numpy())

    def array(self, name: str, kind: Kind | None = None, step: Step = None) -> np.ndarray:
        """Return the values of a tensor in their full shape.

        Parameters
        ----------
        name, kind, step
            As in `table`.

        Returns
        -------
        numpy.ndarray
            Shape (sample, *axes of a sample), or the shape of the weight; memory-mapped if
            the format allows it. With all steps: shape (step, ...), in memory.
        """
        stored, probe = self._files.stored(self.tensor(name, kind)), self.probe_record
        arrays = [
            read_array(table, stored, self.record.format, probe.rows, probe.sample_ids_hash)
            for table in self._files.of(stored, step)
        ]
        return np.stack(arrays) if step == "all" else arrays[0]

    def blocks(
        self, name: str, kind: Kind | None = None, step: int | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the values of a tensor in blocks of samples.

        Parameters
        ----------
        name, kind
            As in `tensor`.
        step
            One of `steps`; by default the last.

        Yields
        ------
        numpy.ndarray
            Shape (samples, *axes of a sample); for a weight (rows, last axis), where rows
            are the entries of its other axes.
        """
        stored, probe = self._files.stored(self.tensor(name, kind)), self.probe_record
        table, format = self._files.at(stored, step), self.record.format
        return read_blocks(table, stored, format, probe.rows, probe.sample_ids_hash)

    def representation(
        self, name: str, kind: Kind | None = None, step: int | None = None
    ) -> Representation:
        """Return a tensor for comparison; its values are read later.

        Parameters
        ----------
        name, kind
            As in `tensor`.
        step
            One of `steps`; by default the last.

        Raises
        ------
        UnknownTensorError
            As in `tensor`.
        InputError
            If the tensor is a weight.
        """
        spec = self.tensor(name, kind)
        if not spec.per_sample:
            raise InputError.of(name, "is a weight, which has no samples", "name a layer")
        return Representation(
            run=self.record.run_id,
            layer=name,
            samples=self.probe_record.rows,
            width=prod(spec.shape),
            dtype=stored_dtype(spec),
            read=partial(self.array, name, spec.kind, step),
            read_blocks=partial(self.blocks, name, spec.kind, step),
            unit_run=prod(spec.shape[spec.unit_axis + 1 :]),
        )

    def weights(self, name: str, step: Step = None) -> pd.DataFrame:
        """Return the table of a weight, such as ``hidden/kernel``."""
        return self.table(name, "weight", step)

    @property
    def steps(self) -> list[int]:
        """The captured steps of the training; tables show the last one by default.

        Empty without training, and if only the trained model was captured.
        """
        return [step.step for step in self.record.steps]

    @property
    def names(self) -> list[str]:
        """The names of all tensors, weights included."""
        return list(dict.fromkeys(name for _, name in self._tensors))

    @property
    def layer_outputs(self) -> list[str]:
        """The names of the activations in call order, without aliases of other tensors."""
        return [
            t.name for t in self.record.tensors if t.kind == "activation" and t.alias_of is None
        ]

    def stored_table(
        self, name: str, kind: Kind | None = None, step: int | None = None
    ) -> ReadableTable:
        """Return a tensor's table as it is stored; arguments as in `blocks`."""
        return self._files.at(self._files.stored(self.tensor(name, kind)), step)

    @property
    def probe_record(self) -> ProbeRecord:
        """The record of the probe.

        Raises
        ------
        InputError
            If the run failed before the probe was shown.
        """
        return probe_of(self.record)

    @cached_property
    def _tensors(self) -> dict[tuple[Kind, str], TensorRecord]:
        return {(tensor.kind, tensor.name): tensor for tensor in self.record.tensors}


class UnknownTensorError(InputError, KeyError):
    """Raised for a name that no tensor of a run has."""

    __str__ = Exception.__str__  # KeyError.__str__ would quote the message

    @classmethod
    def asked(cls, record: RunRecord, name: str, kind: Kind | None) -> InputError:
        """Return the error for a name, with the reason or a suggestion."""
        place = f"run {record.run_id}"
        if record.error is not None:
            return cls.of(place, f"has no '{name}', since it failed: {record.error}")
        what = f"no {kind or 'tensor'} '{name}'"
        layer = next((layer for layer in record.layers if layer.path == name), None)
        why = layer and (layer.no_gradient if kind == "gradient" else layer.reason)
        if why:
            return cls.of(place, f"{what}: {why.removeprefix('no gradient: ')}")
        known = [
            tensor.name
            for tensor in (record.tensors if layer is None else layer.tensors)
            if kind in (tensor.kind, None)
        ]
        if layer is not None:
            return cls.of(place, what, f"this layer has {', '.join(known) or 'none'}")
        if not known:
            kinds = [*dict.fromkeys(tensor.kind for tensor in record.tensors), kind]
            advice = f"to keep them: capture.kinds=[{','.join(map(str, kinds))}]" if kind else ""
            return cls.of(place, f"{what}: the run holds no {kind or 'tensor'}s", advice)
        return cls.of(place, what, one_of(name, known))
