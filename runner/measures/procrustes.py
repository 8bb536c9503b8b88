"""Angular Procrustes distance of two layers, in radians.

``arccos(||xᵀy||_* / (||x|| ||y||))`` of centred ``x`` and ``y`` (nuclear norm over Frobenius
norms): the angle that remains after the best rotation of one layer onto the other. A layer with
fewer units is padded with zeros.

A distance: 0 for a layer and itself, at most pi/2; it satisfies the triangle inequality.

Source: Williams, Kunz, Kornblith, Linderman, "Generalized Shape Metrics on Neural
Representations" (2021, arXiv 2110.14739).
"""

from __future__ import annotations

import numpy as np

from runner.similarity.centring import centred
from runner.similarity.measure import Measure
from runner.similarity.moments import LayerMoments, MomentSteps


def _configuration(x: np.ndarray) -> np.ndarray:
    """Return a centred layer of norm 1, rotated into as few dimensions as possible."""
    x = centred(x)
    x /= np.linalg.norm(x)
    return np.asarray(np.linalg.qr(x.T, mode="r")).T if x.shape[1] > len(x) else x


def _angle(x: np.ndarray, y: np.ndarray) -> float:
    if x.shape[1] > y.shape[1]:
        x, y = y, x
    left, _, right = np.linalg.svd(x.T @ y, full_matrices=False)
    rotated = (x @ left) @ right
    # The arc cosine would lose half of the digits near 0.
    return float(2 * np.arctan2(np.linalg.norm(rotated - y), np.linalg.norm(rotated + y)))


def _norm(layer: LayerMoments) -> float:
    return float(np.sqrt(np.trace(layer.scatter)))


def _angle_of_moments(
    between: np.ndarray, _x: LayerMoments, _y: LayerMoments, norm_x: float, norm_y: float
) -> float:
    nuclear = float(np.linalg.svd(between, compute_uv=False).sum())
    return float(np.arccos(min(nuclear / norm_x / norm_y, 1.0)))


PROCRUSTES = Measure(
    _configuration,
    _angle,
    order=40,
    definition="angle in radians after the best rotation; 0 means identical (Williams 2021)",
    invariant_to="rotation, scale, shift",
    is_distance=True,
    is_swayed=True,
    moments=MomentSteps(_norm, _angle_of_moments),  # exact except for angles below 1e-7
)
