"""Batches of a sweep's jobs that differ only in the values of cheap keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import Override, OverrideType

from runner.config.combinations import combined, jobs_of
from runner.config.sharing import is_cheap
from runner.config.value_columns import written
from runner.model.backend import default_backend, is_installed

JOBS = "hydra.sweeper.jobs"
"""The key in which a worker receives the jobs of its batch."""


@dataclass(frozen=True)
class Batch:
    """Jobs that differ only in the values of cheap keys, run one after another by one process.

    Attributes
    ----------
    overrides
        Overrides of the first job.
    jobs
        Overrides of the cheap keys by job number.
    """

    overrides: tuple[str, ...]
    jobs: Mapping[int, tuple[str, ...]]

    def words(self) -> list[str]:
        """Return the overrides of the first job, plus one that lists all jobs for a worker."""
        return [*self.overrides, f"{JOBS}='{written(self.jobs)}'"]

    def parts(self, size: int) -> Iterator[Batch]:
        """Yield the jobs in batches of at most `size`."""
        numbers = list(self.jobs)
        for start in range(0, len(numbers), size):
            jobs = {number: self.jobs[number] for number in numbers[start : start + size]}
            yield Batch(with_words(self.overrides, next(iter(jobs.values()))), jobs)


def batches_of(overrides: Sequence[Override]) -> list[Batch]:
    """Return the batches of a sweep.

    Parameters
    ----------
    overrides
        Overrides of the whole sweep. Its jobs are numbered in the order of `jobs_of`.
    """
    kept = combined(overrides)
    cheap = {place for place, override in enumerate(kept) if _is_cheap(override)}
    found: dict[tuple[str, ...], dict[int, tuple[str, ...]]] = {}
    firsts: dict[tuple[str, ...], tuple[str, ...]] = {}
    for number, job in enumerate(jobs_of(kept)):
        # An interpolation is composed like any other value.
        own = tuple(word for place, word in enumerate(job) if place in cheap and "$" not in word)
        rest = tuple(word for word in job if word not in own)
        firsts.setdefault(rest, job)
        found.setdefault(rest, {})[number] = own
    return [Batch(firsts[rest], jobs) for rest, jobs in found.items()]


def drawing_backend(batches: Iterable[Batch]) -> str | None:
    """Return the backend that draws the weights of a sweep over several backends, else ``None``.

    It is TensorFlow if that is installed, otherwise the first of them.
    """
    chosen = [
        word.partition("=")[2]
        for batch in batches
        for word in batch.overrides
        if word.partition("=")[0] == "backend"
    ]
    backends = [default_backend()[0] if name == "null" else name for name in chosen]
    if len({*backends}) < 2:
        return None
    return "tensorflow" if is_installed("tensorflow") else backends[0]


def with_words(overrides: Iterable[str], words: Iterable[str]) -> tuple[str, ...]:
    """Return overrides in which words of the same keys are replaced."""
    given = {word.partition("=")[0]: word for word in words}
    return tuple(given.get(word.partition("=")[0], word) for word in overrides)


def _is_cheap(override: Override) -> bool:
    key = override.key_or_group
    # No file has the keys of an intervention: they are added.
    added = override.type is OverrideType.FORCE_ADD and key.startswith("intervene.")
    plain = (added or override.type is OverrideType.CHANGE) and override.package is None
    return plain and is_cheap(key)
