"""Several runs: what tells them apart, and the choice of some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, Self, TypeVar

import pandas as pd

from runner.errors import InputError, some, suggest
from runner.runs.configs import differing_values, flat_config, hashable
from runner.runs.omissions import completed, each
from runner.runs.published_run import Run
from runner.runs.short_labels import labels_beside_seed, run_labels
from runner.stores.store import Unreadable

_ABSENT = object()
_T = TypeVar("_T")


class RunCollection:
    """A collection of runs.

    Parameters
    ----------
    runs
        Runs, in the order in which they are listed.
    unreadable
        Runs among them that cannot be read; they are not counted as runs.

    Attributes
    ----------
    unreadable : list[Unreadable]
        As given.
    """

    def __init__(self, runs: Iterable[Run], unreadable: Iterable[Unreadable] = ()) -> None:
        self._runs = list(runs)
        self.unreadable = list(unreadable)

    @property
    def differing(self) -> list[str]:
        """Dotted config keys in which the runs differ, including keys that only some runs have.

        Of many runs, there are at most 1,000. Of several keys with the same values in every run,
        such as a key that refers to another, only the outermost is there.
        """
        return list(self._columns)

    @cached_property
    def _columns(self) -> dict[str, list[Any]]:
        configs = [run.config for run in self._runs]
        values = differing_values(list(filter(None, configs)))
        if all(configs):
            return values
        columns = {key: iter(own) for key, own in values.items()}  # a failed run may have none
        return {
            key: [next(own) if config else None for config in configs]
            for key, own in columns.items()
        }

    @cached_property
    def _configs(self) -> list[dict[str, Any]]:
        return [dict(flat_config(run.config)) for run in self._runs]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {some([run.id for run in self])}>"

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, index: int) -> Run:
        return self._runs[index]

    def _repr_html_(self) -> str:
        """Return the HTML that notebooks display: at most 60 rows of `frame`."""
        return f"<p>{len(self)} runs</p>{self.frame.to_html(index=False, max_rows=60)}"

    @property
    def frame(self) -> pd.DataFrame:
        """A row per run: ``run``, ``status``, the config keys that differ, headline statistics.

        The statistics are ``tensors``, ``dead_units``, ``nan`` and ``inf``, missing for failed
        runs, followed by the figures of the last epoch of trained runs (``loss``,
        ``accuracy``). If a run failed, the last column ``error`` holds the reasons. A run that
        cannot be read has a row with the name of its folder and the status UNREADABLE.
        """
        frame = pd.DataFrame(self.rows())
        errors = [run.record.error for run in self] + [one.why for one in self.unreadable]
        if any(error is not None for error in errors):
            frame["error"] = errors
        return frame

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of `frame`, without ``error`` and without what is missing."""
        for run, *values in zip(self._runs, *self._columns.values(), strict=True):
            identity = {"run": run.id, "status": run.record.status}
            headline = vars(run.record.headline) if run.record.headline is not None else {}
            differing = dict(zip(self._columns, values, strict=True))
            # A key or a metric may have the name of another column.
            yield identity | differing | headline | run.record.last_figures | identity
        yield from ({"run": one.name, "status": "UNREADABLE"} for one in self.unreadable)

    def where(self, **conditions: Any) -> Self:
        """Return the runs that meet all conditions.

        Parameters
        ----------
        **conditions
            Value, or list of values, of a config key (``**{"model.hidden_units": 4}`` if it is
            dotted), or of ``run`` or ``status``.

        Raises
        ------
        InputError
            If no run has such a key, or no run meets a condition.
        """
        kept = list(zip(self._runs, self._configs, strict=True))
        for key, wanted in conditions.items():
            own = [{**config, "run": r.id, "status": r.record.status} for r, config in kept]
            found = [facts.get(key, _ABSENT) for facts in own]
            if all(value is _ABSENT for value in found):
                known = {name for facts in own for name in facts}
                raise InputError.of(key, "no run has this config key", suggest(key, known))
            choices = list(wanted) if pd.api.types.is_list_like(wanted) else [wanted]
            kept = [pair for pair, value in zip(kept, found, strict=True) if value in choices]
            if not kept:
                there = some(sorted({str(value) for value in found if value is not _ABSENT}))
                raise InputError.of(key, f"no run has {wanted!r}", f"there are {there}")
        return type(self)(run for run, _ in kept)

    def labels(self) -> tuple[dict[str, str], str]:
        """Return the label of each run by its id, and the name of what the labels show."""
        return run_labels(self._runs, self._columns)

    def apart_from_seed(self) -> dict[str, str]:
        """Return by run id the values in which runs differ, except the seed: ``hidden_units=4``."""
        return labels_beside_seed(self._runs, self._columns)

    def _completed(self) -> Self:
        kept = completed(self._runs)
        return self if len(kept) == len(self) else type(self)(kept)

    def _each(self, read: Callable[[Run], _T]) -> tuple[Self, list[_T]]:
        kept, found = each(self._runs, read)
        return (self if len(kept) == len(self) else type(self)(kept)), found

    def _levels(self) -> dict[str, list[Any]]:
        """Return the index levels that distinguish the runs, each with its value in every run."""
        levels = {key: list(map(hashable, values)) for key, values in self._columns.items()}
        if len(set(zip(*levels.values(), strict=True))) < len(self):
            return {"run": [run.id for run in self], **levels}
        return levels
