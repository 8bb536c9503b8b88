"""The seeds of many jobs as a short text, since Hydra is slow to parse long lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def written(seeds: Mapping[int, int | None]) -> str:
    """Return seeds by job number as a short text.

    ``0:7:3:2:1`` is the seed 7 of job 0, and two more, each two jobs and one seed further.
    """
    parts: list[list[int]] = []
    texts = []
    for number, seed in seeds.items():
        if seed is None:
            texts.append(f"{number}:null")
            continue
        if parts and parts[-1][2] == 1:
            parts[-1][3:] = number - parts[-1][0], seed - parts[-1][1]
        if parts and _next(parts[-1]) == (number, seed):
            parts[-1][2] += 1
        else:
            parts.append([number, seed, 1, 0, 0])
    return ",".join([*texts, *(":".join(map(str, part)) for part in parts)])


def _next(part: Sequence[int]) -> tuple[int, int]:
    number, seed, count, jobs, seeds = part
    return number + count * jobs, seed + count * seeds


def read(text: str) -> dict[int, int | None]:
    """Return the seeds by job number in a text from `written`."""
    found: dict[int, int | None] = {}
    for part in text.split(","):
        number, _, rest = part.partition(":")
        if rest == "null":
            found[int(number)] = None
            continue
        seed, count, jobs, seeds = map(int, rest.split(":"))
        found |= {int(number) + n * jobs: seed + n * seeds for n in range(count)}
    return dict(sorted(found.items()))
