"""What the views of a sweep's page have in common: runs, layers and similarities, read once."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import pandas as pd

from runner.caller_warnings import warn_caller
from runner.errors import DamagedError, InputError, some
from runner.plots.drawing import evenly_spaced, how_many
from runner.runs.omissions import check_table
from runner.runs.published_run import Run
from runner.runs.runs import Runs
from runner.similarity.progress import Progress, SlowWarning, silent, titled

METRIC = "cka"

_MOST_RUNS = 60
_MOST_LAYERS = 300
_MOST_TABLES = 1200
_NO_COMMON_LAYER = (
    "There is no figure here because no two of these models have a layer of the same name: "
    "stability is the similarity of one layer in several runs. Layer by layer, below, compares "
    "every layer of one run with every layer of another, whatever their names."
)


class ShownSweep:
    """Several runs as a page shows them.

    Parameters
    ----------
    runs
        The runs.
    progress
        Called with what is being computed, how much of it is done, and of how much.

    Attributes
    ----------
    names, about : dict, str
        Names of the runs by their ids, and what the names are: a key, or ``run``.
    completed : list of Run
        The runs that did not fail.
    drawn : Runs
        Those of them that the figures show, all undamaged.
    damaged : list of tuple
        Runs that would be shown if their files could be read, and the error of each.
    titles : list of str
        Names of the drawn runs.
    """

    def __init__(self, runs: Runs, progress: Progress = silent) -> None:
        self.runs = runs
        self.progress = progress
        self.names, self.about = runs.labels()
        self.completed = [run for run in runs if run.record.error is None]
        places = evenly_spaced(len(self.completed), _MOST_RUNS)
        drawn, self.damaged = _undamaged([self.completed[place] for place in places], progress)
        self.drawn = Runs(drawn)
        self.titles = [self.names[run.id] for run in drawn]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The statistics of all activations: one row per drawn run (``number``) and tensor."""
        frames = []
        for number, run in enumerate(self.drawn):
            frame = run.summary
            frames.append(frame[frame["kind"] == "activation"].assign(number=number))
        return pd.concat(frames, ignore_index=True)

    @cached_property
    def layers(self) -> list[str]:
        """Names of the activations of the drawn runs."""
        return list(dict.fromkeys(self.summary["name"]))

    @cached_property
    def plotted_layers(self) -> list[str]:
        """Those of `layers` whose statistics are shown."""
        return [self.layers[place] for place in evenly_spaced(len(self.layers), _MOST_LAYERS)]

    @cached_property
    def chosen_layers(self) -> list[str]:
        """Those of `plotted_layers` whose values are read: fewer if there are many runs."""
        most = max(1, _MOST_TABLES // len(self.drawn))
        places = evenly_spaced(len(self.plotted_layers), most)
        return [self.plotted_layers[place] for place in places]

    @property
    def told_runs(self) -> str:
        """How many of the completed runs are drawn."""
        return how_many(len(self.drawn), len(self.completed), "completed run")

    @property
    def pairs(self) -> pd.DataFrame | None:
        """The similarity of each layer in each pair of runs; ``None`` if there is none."""
        return self._similarity[0]

    @property
    def no_pairs(self) -> str:
        """Why there are no similarities; empty if there are."""
        return self._similarity[1]

    @property
    def cautions(self) -> list[str]:
        """Warnings about the similarities."""
        return self._similarity[2]

    @cached_property
    def _similarity(self) -> tuple[pd.DataFrame | None, str, list[str]]:
        if len(self.drawn) < 2:
            return None, "Only one run is completed, so there is nothing to compare.", []
        having = Counter(name for run in self.drawn for name in run.layer_outputs)
        if max(having.values(), default=0) < 2:
            return None, _NO_COMMON_LAYER, []
        progress = titled(self.progress, "similarity")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            try:
                pairs = self.drawn.similarity(metric=METRIC, layers="same", progress=progress)
            except InputError as error:
                return None, f"The runs cannot be compared: {error}", []
        told = [one.message for one in caught if not issubclass(one.category, SlowWarning)]
        cautions = list(dict.fromkeys(map(str, told)))
        if pairs["value"].isna().all():
            notes = pairs["note"] if "note" in pairs else pd.Series(dtype=object)
            why = f"No two runs have a similarity. {'; '.join(notes.unique()[:3])}"
            return None, why, cautions
        return pairs, "", cautions


def _undamaged(
    runs: Sequence[Run], progress: Progress
) -> tuple[list[Run], list[tuple[Run, DamagedError]]]:
    """Return the runs whose files can all be read, and the other runs with their errors."""
    readable, damaged = [], []
    for number, run in enumerate(runs, 1):
        try:
            for name in run.record.digests:
                run.file(name).open().close()
            for name in run.layer_outputs:
                check_table(run, name)
            _ = run.summary
            readable.append(run)
        except DamagedError as error:
            damaged.append((run, error))
        progress("checksums: runs", number, len(runs))
    if damaged:
        why = some([str(error) for _, error in damaged], most=3)
        warn_caller(f"{len(damaged)} of {len(runs)} runs are not drawn: {why}")
    return readable, damaged
