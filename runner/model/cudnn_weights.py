"""Weights of cuDNN's layers in files of Keras 2, changed to the layout of LSTM and GRU."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

_GRU, _LSTM = 3, 4

CUDNN = {"CuDNNGRU": ("GRU", {"reset_after": True}), "CuDNNLSTM": ("LSTM", {})}
"""Layers of cuDNN, each with the layer of Keras 3 that computes the same, and its arguments."""


def renew_weights(path: Path) -> None:
    """Change the weights of all CuDNNLSTM and CuDNNGRU layers in a file.

    cuDNN has for each gate a matrix of shape (unit, input), one of shape (unit, unit) and two
    biases. Keras 2 stored the numbers of these matrices one after the other, in arrays of the
    transposed shapes.

    Parameters
    ----------
    path
        An HDF5 file with ``model_weights``, which is changed.
    """
    with h5py.File(path, "r+") as file:
        for group in file["model_weights"].values():
            names = group.attrs.get("weight_names", ())
            for kernel, recurrent, bias in zip(names, names[1:], names[2:], strict=False):
                gates = _gates(*(group[name].shape for name in (kernel, recurrent, bias)))
                if not gates:
                    continue
                for name in (kernel, recurrent):
                    group[name][...] = _transposed(group[name][...], gates)
                biases = group[bias][...].reshape(2, -1)
                del group[bias]
                group[bias] = biases if gates == _GRU else biases.sum(axis=0)


def _gates(kernel: tuple[int, ...], recurrent: tuple[int, ...], bias: tuple[int, ...]) -> int:
    """Return the number of gates of a cuDNN layer with weights of these shapes; 0 if it is none."""
    for gates in (_GRU, _LSTM):
        width = recurrent[-1] if recurrent else 0
        if recurrent == (width // gates, width) and kernel[1:] == (width,) and bias == (2 * width,):
            return gates
    return 0


def _transposed(weights: np.ndarray, gates: int) -> np.ndarray:
    """Return the matrices of all gates side by side, each as its transpose was stored."""
    each = np.split(weights, gates, axis=1)
    return np.hstack([gate.reshape(gate.shape[::-1]).T for gate in each])
