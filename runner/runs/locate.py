"""Finding runs in folders and by name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from runner.errors import DamagedError, InputError, Problem, some, suggest
from runner.local_paths import OUTPUTS
from runner.record.listing import list_records, warn_of
from runner.run_names import LATEST
from runner.runs.published_run import Run
from runner.runs.runs import Runs
from runner.store_urls import store_url
from runner.stores.local import LocalStore
from runner.stores.places import holds_run, store_at
from runner.stores.store import Store, StoredRun, Unreadable


def look_below(place: str | Path | Store) -> Runs:
    """Return all runs in or below a folder, or in a store, in the order in which they ended.

    Runs that cannot be read are in `Runs.unreadable`.
    """
    listing = list_records(place)
    return Runs([Run(*found) for found in listing.runs], listing.unreadable)


def find_runs(place: str | Path | Store) -> list[Run]:
    """Return all runs as in `look_below`; warn of runs that cannot be read."""
    found = look_below(place)
    warn_of(found.unreadable)
    return list(found)


def open_run(run: str | Path | StoredRun = "last", outputs: str | Path | Store = OUTPUTS) -> Run:
    """Open a published run.

    Parameters
    ----------
    run
        Folder of the run, its id or the beginning of its id, its name, or ``last``,
        ``last~1``...: the run that ended last, the one before. Or the files of a run in
        another store.
    outputs
        Folder, or another store, in which to look for runs.

    Raises
    ------
    InputError
        If there is no such run or several runs match; the message lists candidates.
    """
    if isinstance(run, StoredRun) or holds_run(run):
        return Run.read(run)
    store = store_at(outputs)
    runs = find_runs(store)
    [found] = _latest(str(run), [[run] for run in runs], store) or [_named(run, runs, store)]
    return found


def open_runs(
    runs: str | Path | Store | Iterable[str | Path | Store] = "last",
    outputs: str | Path | Store = OUTPUTS,
) -> Runs:
    """Open several published runs.

    Parameters
    ----------
    runs
        ``last``, ``last~1``...: all jobs of the last sweep, or the last single run.
        The id of a sweep, or the beginning of it; a folder with runs below it, or another
        store; a glob of folders; any text that `open_run` takes; or a list of these. Of several
        runs with the same id, such as a run and its copy, the first is opened, and a warning
        names the others.
    outputs
        Folder, or another store, in which to look for runs.

    Raises
    ------
    InputError
        If there is no such run or several runs match; the message lists candidates.
    """
    asked = [runs] if isinstance(runs, str | Path | Store) else list(runs)
    found = [_several(what, store_at(outputs)) for what in asked]
    unreadable = dict.fromkeys(one for several in found for one in several.unreadable)
    kept: dict[str, Run] = {}
    for run in (run for several in found for run in several):
        first = kept.setdefault(run.id, run)
        if first is run or first.stored == run.stored:
            continue
        place = run.stored.place()
        # A copy; tables and figures tell runs apart by their ids.
        copy = Unreadable(place, f"{place}: has the id {run.id}, as {first.stored.place()} has")
        if copy not in unreadable:
            warn_of([copy])
        unreadable[copy] = None
    return Runs(kept.values(), unreadable)


def open_one_or_more(run: str | Path = "last", outputs: str | Path | Store = OUTPUTS) -> Runs:
    """Open a run, or all runs of a sweep.

    Parameters
    ----------
    run, outputs
        As in `open_runs`; ``last``, ``last~1``... are single runs, as in `open_run`.

    Raises
    ------
    InputError
        As in `open_runs`.
    """
    if not str(run) or LATEST.fullmatch(str(run)):
        return Runs([open_run(run, outputs)])
    return open_runs(run, outputs)


def _several(what: str | Path | Store, store: Store) -> Runs:
    """Return the runs that match, and the unreadable runs in the same folders."""
    below = [look_below(own) for own in _stores(what)]
    unreadable = [one for several in below for one in several.unreadable]
    if any(map(len, below)):
        warn_of(unreadable)
        return Runs(_by_job([run for several in below for run in several]), unreadable)
    if unreadable:
        raise DamagedError(Problem("", one.why) for one in unreadable)
    known = look_below(store)
    warn_of(known.unreadable)
    text = what.place() if isinstance(what, Store) else what
    meant = _meant(text, list(known), store)
    beside = {_above(run.stored.place()) for run in meant if run.record.sweep is not None}
    return Runs(meant, [one for one in known.unreadable if _above(one.place) in beside])


def _meant(what: str | Path, runs: list[Run], store: Store) -> list[Run]:
    """Return the jobs of the sweep, or the single run, that match an id or a name."""
    sweeps: dict[str, list[Run]] = {}
    for run in runs:
        key = run.record.sweep or run.id
        sweeps[key] = [*sweeps.pop(key, []), run]  # moves to the end: ordered by its last run
    text = str(what)
    if last := _latest(text, list(sweeps.values()), store):
        return _by_job(last)
    fitting = [
        jobs
        for key, jobs in sweeps.items()
        if (text and key.startswith(text)) or jobs[0].record.name == text
    ]
    if len(fitting) == 1:
        return _by_job(fitting[0])
    return [_named(what, runs, store)]


def _above(place: str) -> PurePath:
    """Return what a place is in, such as the folder of a sweep."""
    return PurePath(place).parent


def _stores(what: str | Path | Store) -> list[Store]:
    """Return the folders, or the other store, in which runs are meant."""
    if isinstance(what, Store):
        return [what]
    if store_url(what, "run") is not None or os.path.isdir(what):  # noqa: PTH112  False if not readable
        return [store_at(what)]
    # Path.glob does not accept absolute patterns.
    return [LocalStore(path) for path in sorted(glob.glob(str(what)))]  # noqa: PTH207


def _latest(text: str, choices: Sequence[list[Run]], store: Store) -> list[Run] | None:
    """Return the choice that ``last`` or ``last~n`` selects; ``None`` if `text` is neither."""
    match = LATEST.fullmatch(text)
    if match is None:
        return None
    back = int(match[1] or 0)
    if back < len(choices):
        return choices[-1 - back]
    if not choices:
        why = f"there is no run in {store.place()}"
        raise InputError.of(text, why, "python -m runner makes one")
    why = f"there are only {len(choices)} in {store.place()}"
    raise InputError.of(text, why, "last is the newest")


def _named(what: str | Path, runs: Sequence[Run], store: Store) -> Run:
    """Return the one run with this id or name, or whose id begins with this text."""
    text = str(what)
    found = (
        [run for run in runs if run.id == text]
        or [run for run in runs if run.record.name == text]
        or [run for run in runs if text and run.id.startswith(text)]
    )
    if len(found) == 1:
        return found[0]
    if found:
        fitting = some([_described(run) for run in found])
        raise InputError.of(
            text,
            f"expected one run, {len(found)} fit: {fitting}",
            f"type the id of one, such as {found[0].id}",
        )
    below = []
    for one in store_at(what).runs() if text else ():
        if isinstance(one, Unreadable):
            raise DamagedError.of("", one.why)
        below.append(one.place())
    if below:
        raise InputError.of(
            text,
            f"expected one run, {len(below)} are below it: {some(below)}",
            f"type the path of one, such as {below[0]}",
        )
    names = {name for run in runs for name in (run.id, run.record.name) if name}
    newest = some([_described(run) for run in reversed(runs)]) or "none"
    raise InputError.of(
        text,
        f"no folder of a run, and no id or name in {store.place()}",
        suggest(text, names) or f"there are {newest}",
    )


def _described(run: Run) -> str:
    told = [run.record.name or "", *run.record.overrides]
    told = [word for word in told if word and not word.startswith("name=")]
    return f"{run.id} ({' '.join(told)})" if told else run.id


def _by_job(runs: list[Run]) -> list[Run]:
    """Return the jobs of one sweep ordered by number; other runs in the given order."""
    if len({run.record.sweep for run in runs}) > 1 or runs[0].record.sweep is None:
        return runs
    return sorted(runs, key=lambda run: run.record.job or 0)
