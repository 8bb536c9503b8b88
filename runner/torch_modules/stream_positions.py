"""The positions of the random streams that PyTorch, NumPy and Python share in a process."""

from __future__ import annotations

import torch

from runner.capture import shared_streams

Positions = tuple[shared_streams.Positions, torch.Tensor, list[torch.Tensor]]


def positions() -> Positions:
    """Return the present positions of all streams."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return shared_streams.positions(), torch.get_rng_state(), cuda


def set_positions(wanted: Positions) -> None:
    """Move all streams to earlier positions."""
    shared, cpu, cuda = wanted
    shared_streams.set_positions(shared)
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)


def are_equal(one: Positions, other: Positions) -> bool:
    """Return whether no stream has moved between two positions."""
    return (
        shared_streams.are_equal(one[0], other[0])
        and torch.equal(one[1], other[1])
        and all(map(torch.equal, one[2], other[2]))
    )
