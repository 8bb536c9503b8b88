"""Each measure has the value, the invariances and the limits that it is said to have."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from runner.measures.cca import CCA as mean_cca
from runner.measures.cka import CKA as linear_cka
from runner.measures.cka_biased import CKA_BIASED as biased
from runner.measures.knn import KNN as knn_jaccard
from runner.measures.procrustes import PROCRUSTES as procrustes_angle
from runner.measures.rsa import RSA as rsa
from runner.measures.svcca import SVCCA as svcca
from runner.similarity.measures import MEASURES, measure_of, title_of

CENTRED = ("cka", "cka_biased", "cca", "svcca", "procrustes")
SELF = {name: 0.0 if name == "procrustes" else 1.0 for name in MEASURES}


def published_example() -> tuple[np.ndarray, np.ndarray]:
    """The pair that public implementations print their figures for."""
    random = np.random.RandomState(1337)
    x = random.randn(100, 10)
    return x, random.randn(100, 10) + x


@pytest.mark.parametrize(
    ("measure", "value", "tolerance"),
    [
        (linear_cka, 0.51345649, 1e-8),
        (biased, 0.55761326, 1e-8),
        (mean_cca, 0.73101396, 1e-8),
        (procrustes_angle, 0.74327648, 1e-8),
        (rsa, 0.47243967, 1e-8),
        (knn_jaccard, 0.17012, 1e-5),
    ],
)
def test_values_are_those_of_public_implementations(
    measure: Callable[[np.ndarray, np.ndarray], float], value: float, tolerance: float
) -> None:
    assert measure(*published_example()) == pytest.approx(value, abs=tolerance)


def test_svcca_is_cca_of_the_directions_that_hold_the_variance() -> None:
    random = np.random.default_rng(0)
    strong, other = random.normal(size=(2, 200, 3))
    weak = 1e-3 * random.normal(size=(200, 4))
    x, y = np.hstack([strong, weak]), np.hstack([other, -weak])
    principal = [np.linalg.svd(z - z.mean(0), full_matrices=False)[0][:, :3] for z in (x, y)]
    assert svcca(x, y) == pytest.approx(mean_cca(*principal), abs=1e-12)
    assert mean_cca(x, y) > svcca(x, y) + 0.3  # which the weak directions, all shared, carry
    x, y = published_example()
    assert svcca(x, y) == pytest.approx(mean_cca(x, y), abs=1e-12)  # none holds less than 1 %
    few = measure_of("svcca:variance=0.5")(x, y)
    assert few != pytest.approx(svcca(x, y), abs=1e-3)


def test_an_option_of_a_measure_stands_behind_its_name() -> None:
    x, y = published_example()
    assert measure_of("knn:neighbours=10")(x, y) == knn_jaccard(x, y)
    # All other samples are the neighbours of each.
    assert measure_of("knn:neighbours=99")(x, y) == 1
    assert title_of("cka") == "debiased linear CKA"
    assert title_of("knn:neighbours=99") == "knn (neighbours=99)"


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples = draw(st.integers(20, 60))
    widths = [draw(st.integers(3, 12)) for _ in range(2)]
    x, y = (random.normal(size=(samples, width)) + random.normal(size=width) for width in widths)
    y[:, :2] += draw(st.floats(0, 3)) * x[:, :2]
    return x, y, random


def orthogonal(random: np.random.Generator, width: int) -> np.ndarray:
    return np.asarray(np.linalg.qr(random.normal(size=(width, width)))[0])


@settings(max_examples=40)
@given(pairs(), st.sampled_from(sorted(MEASURES)))
def test_a_layer_is_the_same_as_itself_and_pairs_have_no_direction(
    pair: tuple[np.ndarray, np.ndarray, np.random.Generator], name: str
) -> None:
    x, y, _ = pair
    measure = MEASURES[name]
    assert measure(x, x) == pytest.approx(SELF[name], abs=1e-12)
    assert measure(x, y) == pytest.approx(measure(y, x), abs=1e-12)
    assert -1 <= measure(x, y) <= (np.pi / 2 if name == "procrustes" else 1) + 1e-12


@settings(max_examples=60)
@given(pairs(), st.sampled_from(CENTRED), st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_rotation_scale_shift_and_order_of_units_make_no_difference(
    pair: tuple[np.ndarray, np.ndarray, np.random.Generator], name: str, scale: float, shift: float
) -> None:
    x, y, random = pair
    measure = MEASURES[name]
    moved = scale * (x @ orthogonal(random, x.shape[1]))[:, random.permutation(x.shape[1])]
    moved += scale * shift * random.normal(size=x.shape[1])
    assert measure(moved, y) == pytest.approx(measure(x, y), abs=1e-9)
    assert measure(moved, x) == pytest.approx(SELF[name], abs=1e-9)


@settings(max_examples=40)
@given(pairs(), st.sampled_from(["rsa", "knn"]), st.floats(1e-3, 1e3))
def test_scale_and_order_of_units_make_no_difference_to_the_others(
    pair: tuple[np.ndarray, np.ndarray, np.random.Generator], name: str, scale: float
) -> None:
    x, y, random = pair
    measure = MEASURES[name]
    moved = scale * x[:, random.permutation(x.shape[1])]
    assert measure(moved, y) == pytest.approx(measure(x, y), abs=1e-12)


@settings(max_examples=40)
@given(pairs(), st.sampled_from(sorted(MEASURES)))
def test_the_order_of_samples_makes_no_difference(
    pair: tuple[np.ndarray, np.ndarray, np.random.Generator], name: str
) -> None:
    x, y, random = pair
    order = random.permutation(len(x))
    assert MEASURES[name](x[order], y[order]) == pytest.approx(MEASURES[name](x, y), abs=1e-12)


@settings(max_examples=40)
@given(pairs())
def test_cca_is_unchanged_by_any_invertible_map_and_cka_is_not(
    pair: tuple[np.ndarray, np.ndarray, np.random.Generator],
) -> None:
    x, y, random = pair
    stretch = np.diag(np.geomspace(1, 100, x.shape[1]))
    mapped = x @ orthogonal(random, x.shape[1]) @ stretch @ orthogonal(random, x.shape[1])
    assert mean_cca(mapped, y) == pytest.approx(mean_cca(x, y), abs=1e-9)
    assert mean_cca(mapped, x) == pytest.approx(1, abs=1e-9)
    assert linear_cka(mapped, x) < 1 - 1e-3


@settings(max_examples=30)
@given(pairs(), st.integers(0, 2**32 - 1))
def test_procrustes_angles_meet_the_triangle_inequality(
    pair: tuple[np.ndarray, np.ndarray, np.random.Generator], seed: int
) -> None:
    x, y, _ = pair
    z = np.random.default_rng(seed).normal(size=(len(x), 5))
    assert procrustes_angle(x, y) <= procrustes_angle(x, z) + procrustes_angle(z, y) + 1e-12


def test_rsa_and_neighbours_change_where_they_are_said_to() -> None:
    x, y = published_example()
    rotated = x @ orthogonal(np.random.default_rng(0), 10)
    assert abs(rsa(rotated, y) - rsa(x, y)) > 1e-3
    assert knn_jaccard(rotated, y) == pytest.approx(knn_jaccard(x, y), abs=1e-12)
    assert knn_jaccard(x + 1, y) != knn_jaccard(x, y)


@pytest.mark.parametrize("samples", [31, 32, 33, 64, 65])
def test_the_last_strip_of_samples_may_have_any_length(samples: int) -> None:
    x, y = (np.random.default_rng(seed).normal(size=(samples, 6)) for seed in range(2))
    pairs_of_samples = np.triu_indices(samples, 1)
    expected = spearmanr(*(1 - np.corrcoef(part)[pairs_of_samples] for part in (x, y))).statistic
    assert rsa(x, y) == pytest.approx(expected, abs=1e-12)
    centring = np.eye(samples) - 1 / samples
    one, other = (centring @ part @ part.T @ centring for part in (x, y))
    aligned = (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)
    assert biased(x, y) == pytest.approx(aligned, abs=1e-12)


def test_independent_noise_scores_0_debiased_and_high_biased() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 32, 512))
    assert biased(x, y) == pytest.approx(512 / (512 + 32), abs=0.01)
    assert abs(linear_cka(x, y)) < 0.05


def test_cka_is_the_unbiased_estimator_of_hsic() -> None:
    x, y = published_example()
    n = len(x)

    def hsic(k: np.ndarray, other: np.ndarray) -> float:
        k, other = (m - np.diag(np.diag(m)) for m in (k, other))
        ones = k.sum() * other.sum() / ((n - 1) * (n - 2))
        return float(np.trace(k @ other) + ones - 2 * k.sum(0) @ other.sum(0) / (n - 2))

    k, other = x @ x.T, y @ y.T
    expected = hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_more_units_than_samples_and_other_types_are_measured_too(name: str) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(12, 40)), random.normal(size=(12, 3))
    measure = MEASURES[name]
    assert measure(x, x) == pytest.approx(SELF[name], abs=1e-9)
    narrow = measure(x.astype(np.float16), y.astype(np.float32))
    assert narrow == pytest.approx(measure(x, y), abs=0.02)
    whole = random.integers(0, 9, size=(12, 4))
    assert measure(whole, whole) == pytest.approx(SELF[name], abs=1e-9)
    if name in CENTRED:  # a row of no units has no correlations and no direction
        assert measure(whole > 4, whole > 4) == pytest.approx(SELF[name], abs=1e-9)


@pytest.mark.parametrize("name", CENTRED)
def test_a_large_mean_and_extreme_scales_cost_no_digits(name: str) -> None:
    x, y = published_example()
    measure = MEASURES[name]
    assert measure(x + 1000, y) == pytest.approx(measure(x, y), abs=1e-9)
    assert measure(x * 1e200, y * 1e-200) == pytest.approx(measure(x, y), abs=1e-9)
    exact = measure(x.astype(np.float32) + np.float32(1000), y)
    assert exact == pytest.approx(measure(x, y), abs=1e-4)


def test_dimensions_left_by_rounding_do_not_count() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 300, 4))

    def softmax(z: np.ndarray) -> np.ndarray:
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    # Three free outputs of four; float32 leaves a fourth of noise.
    exact = mean_cca(softmax(x), softmax(y))
    assert mean_cca(softmax(x).astype("f4"), softmax(y).astype("f4")) == pytest.approx(
        exact, abs=1e-4
    )
    twice = np.hstack([x, x])
    assert mean_cca(twice, y) == pytest.approx(mean_cca(x, y), abs=1e-12)
    dead = np.hstack([x, np.zeros((300, 2))])
    assert mean_cca(dead, x) == pytest.approx(1, abs=1e-12)


def row(values: list[float]) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(20, len(values)))
    x[3] = values
    return x


@pytest.mark.parametrize(
    ("name", "x", "why"),
    [
        *((name, np.full((20, 3), 0.1), "the same values for every sample") for name in MEASURES),
        *((name, row([0, np.nan, 0]), "holds NaN or infinite values") for name in MEASURES),
        *((name, row([0, np.inf, 0]), "holds NaN or infinite values") for name in MEASURES),
        ("cka", np.random.default_rng(0).normal(size=(3, 2)), "has 3 samples, and this measure"),
        ("cka", np.eye(6), "has no similarity between different samples"),
        ("rsa", np.random.default_rng(0).normal(size=(2, 2)), "has 2 samples, and this measure"),
        ("rsa", row([1.5, 1.5, 1.5]), "row 3, that has the same value in every unit"),
        ("rsa", np.eye(6), "has all samples at the same distance"),
        ("knn", row([0, 0, 0]), "row 3, that is 0 in every unit"),
        ("knn", np.arange(20.0)[:, None], "has a single unit, and so no directions"),
    ],
)
def test_what_has_no_similarity_is_nan_with_the_reason(name: str, x: np.ndarray, why: str) -> None:
    with pytest.warns(UserWarning, match=f"no similarity: a layer .*{why}"):
        assert np.isnan(MEASURES[name](x, np.random.default_rng(1).normal(size=(len(x), 4))))


def test_layers_of_other_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the same samples, found 5 and 6"):
        linear_cka(np.ones((5, 2)), np.ones((6, 2)))


def test_two_units_have_only_two_correlations() -> None:
    """Rounding would order the samples at random; ties share a rank."""
    random = np.random.default_rng(0)
    x = random.uniform(size=(50, 2))
    shrunk = 0.5 + (x - x.mean(axis=1, keepdims=True)) * random.uniform(0.1, 1, (50, 1))
    assert rsa(x, shrunk) == pytest.approx(1, abs=1e-12)


@pytest.mark.slow
def test_rsa_is_that_of_rsatoolbox() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own dependencies', when it is first imported
        pytest.importorskip("rsatoolbox", reason="rsatoolbox is not installed")
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    x, y = published_example()
    rdms = [calc_rdm(Dataset(z), method="correlation") for z in (x, y)]
    expected = float(compare(*rdms, method="rho-a").item())
    assert rsa(x, y) == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_cca_and_neighbours_are_those_of_scikit_learn() -> None:
    cross_decomposition = pytest.importorskip("sklearn.cross_decomposition", exc_type=ImportError)
    from sklearn.neighbors import NearestNeighbors

    x, y = published_example()
    fitted = cross_decomposition.CCA(10, max_iter=10_000, tol=1e-12).fit(x, y)
    a, b = fitted.transform(x, y)
    correlations = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(10)]
    assert mean_cca(x, y) == pytest.approx(np.mean(correlations), abs=1e-4)
    sets = []
    for z in (x, y):
        nearest = NearestNeighbors(n_neighbors=10, metric="cosine").fit(z).kneighbors()[1]
        sets.append([set(own) for own in nearest.tolist()])
    shared = [len(one & other) / len(one | other) for one, other in zip(*sets, strict=True)]
    assert knn_jaccard(x, y) == pytest.approx(np.mean(shared), abs=1e-12)
