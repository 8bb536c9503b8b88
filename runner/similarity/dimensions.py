"""Statistics of a layer: norms, saturation and effective dimensions."""

from __future__ import annotations

import numpy as np

from runner.similarity.centring import centred_gram
from runner.similarity.conditions import UndefinedError
from runner.similarity.moments import JointMoments
from runner.similarity.representation import Representation, side_by_side

_MOST_UNITS = 4096
"""Largest number of units whose covariance is decomposed, which takes about half a minute."""

_NEAR = 0.01


def effective_rank(variances: np.ndarray) -> float:
    """Return the exponential of the entropy of normalised singular values.

    Equal to the number of directions if all are equally strong, 1 if one direction holds all
    variance, and 0 for a constant layer.

    Parameters
    ----------
    variances
        Variances along a layer's principal directions, in any scale: squared singular values.

    Notes
    -----
    Source: Roy, Vetterli, "The effective rank: a measure of effective dimensionality"
    (2007).
    """
    singular = np.sqrt(np.clip(variances, 0, None))
    if not singular.any():
        return 0.0
    shares = singular[singular > 0] / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def participation_ratio(variances: np.ndarray) -> float:
    """Return the squared sum of variances over the sum of squared variances.

    Between 0 and the number of directions, like `effective_rank`, but less sensitive to weak
    directions.

    Parameters
    ----------
    variances
        As for `effective_rank`.

    Notes
    -----
    Source: Gao, Trautmann, Yu, Santhanam, Ryu, Shenoy, Ganguli, "A theory of
    multineuronal dimensionality, dynamics and measurement" (2017).
    """
    largest = variances.max(initial=0.0)
    if largest <= 0:
        return 0.0
    shares = np.clip(variances, 0, None) / largest
    return float(shares.sum() ** 2 / np.square(shares).sum())


def principal_variances(layer: Representation, units: int) -> np.ndarray | None:
    """Return the variances along a layer's principal directions, up to a common factor.

    Parameters
    ----------
    layer
        Values of the layer.
    units
        Number of units; each position of a map is an observation of all units.

    Returns
    -------
    numpy.ndarray or None
        Ascending; ``None`` if the layer holds NaN or infinity, or if both units and
        observations are more than 4,096. All 0 if it is constant.
    """
    observations = layer.samples * (layer.width // units if units else 0)
    try:
        if units <= _MOST_UNITS:
            joint = JointMoments([units])
            for [block] in side_by_side([layer]):
                joint.update([_by_position(block, units, layer.unit_run)])
            joint.check(0)
            return np.linalg.eigvalsh(joint.between(0, 0))
        if observations <= _MOST_UNITS:
            observed = _by_position(layer.values(), units, layer.unit_run)
            return np.linalg.eigvalsh(centred_gram(observed))
    except UndefinedError:
        finite = all(np.isfinite(block).all() for [block] in side_by_side([layer]))
        return np.zeros(1) if finite else None
    return None


def _by_position(values: np.ndarray, units: int, unit_run: int) -> np.ndarray:
    """Return values of shape (sample, width) as (sample and position, unit)."""
    if unit_run == 1:
        return values.reshape(-1, units)
    return np.moveaxis(values.reshape(-1, units, unit_run), 1, -1).reshape(-1, units)


def layer_statistics(
    layer: Representation, units: int, least: float, most: float
) -> dict[str, float]:
    """Return a layer's norms, saturation and dimensions.

    Parameters
    ----------
    layer, units
        As for `principal_variances`.
    least, most
        Smallest and largest finite value.

    Returns
    -------
    dict
        ``norm``, ``norm_std``: mean and standard deviation of the finite Euclidean norms of
        the samples. ``saturation``: the share of values within 1 % of the range of
        `least` or of `most`, where those of a saturated tanh, sigmoid or softmax lie, and
        the zeros of a ReLU. ``effective_rank``, ``participation_ratio``: NaN where there
        are no `principal_variances`.
    """
    norms = [np.empty(0)]
    near = _NEAR * (most - least)
    at_ends = 0
    for [block] in side_by_side([layer]):
        values = block.astype(np.float64)
        norms.append(np.linalg.norm(values, axis=1))
        at_ends += int(((values <= least + near) | (values >= most - near)).sum())
    found = np.concatenate(norms)
    found = found[np.isfinite(found)]
    variances = principal_variances(layer, units)
    return {
        "norm": float(found.mean()) if found.size else np.nan,
        "norm_std": float(found.std()) if found.size else np.nan,
        "saturation": at_ends / (layer.samples * layer.width) if near > 0 else np.nan,
        "effective_rank": np.nan if variances is None else effective_rank(variances),
        "participation_ratio": np.nan if variances is None else participation_ratio(variances),
    }
