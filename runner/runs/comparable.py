"""Selection of the layers of runs to compare with each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.errors import InputError, some, suggest
from runner.runs.published_run import Run
from runner.runs.same_probe import check_probes
from runner.similarity.representation import Representation


def comparable_layers(
    runs: Sequence[Run], layers: str | Iterable[str], step: int | None = None
) -> list[list[Representation]]:
    """Return groups of layers; every pair within a group is to be compared.

    Parameters
    ----------
    runs
        Runs that completed.
    layers
        ``same``: a group for each layer that several runs have. ``all``: one group of
        all layers of all runs. Otherwise names of layers: one group of these. An alias of
        another tensor is included only if it is named.
    step
        A step of the trainings; by default the last of each.

    Raises
    ------
    InputError
        If the runs were shown different probes, a run lacks a named layer, or there are
        fewer than two layers to compare.
    """
    for run in runs[1:]:
        check_probes(runs[0], run)
    own = {run: run.layer_outputs for run in runs}
    every = list(dict.fromkeys(name for names in own.values() for name in names))
    if layers == "same":
        having = {name: [run for run in runs if name in own[run]] for name in every}
        groups = [
            [run.representation(name, step=step) for run in found] for name, found in having.items()
        ]
        if all(len(group) < 2 for group in groups):
            raise InputError.of(
                "layers",
                f"'same' compares a layer in different runs, and no two of {len(runs)} have one",
                "'all' compares every layer with every other",
            )
        return [group for group in groups if len(group) > 1]
    if isinstance(layers, str) and layers != "all":
        advice = suggest(layers, ("same", "all")) or f"the layers are {some(every)}"
        raise InputError.of("layers", f"expected same, all or a list, found '{layers}'", advice)
    named = None if layers == "all" else list(dict.fromkeys(layers))
    group = [
        run.representation(name, step=step)
        for run in runs
        for name in (own[run] if named is None else named)
    ]
    if len(group) < 2:
        raise InputError.of(
            "layers", f"expected two to compare, found {len(group)}", "name more layers or runs"
        )
    return [group]
