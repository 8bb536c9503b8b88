"""Patterns keep what they name, and one that names nothing is refused."""

from __future__ import annotations

import pytest

from runner.capture.selection import Selection, fits
from runner.errors import InputError
from runner.tensors import TensorSpec


def spec(name: str, layer_class: str = "Dense") -> TensorSpec:
    path = name.partition(":")[0].replace("@0", "").replace("@1", "")
    return TensorSpec(name, "activation", path, layer_class, 0, None, (4,), "float32", 0)


@pytest.mark.parametrize(
    ("pattern", "name", "kept"),
    [
        ("**", "a/b/c", True),
        ("*", "a", True),
        ("*", "a/b", False),
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("a/**", "a/b/c", True),
        ("**/c", "a/b/c", True),
        ("**/c", "c", True),
        ("**/c", "abc", False),
        ("b?", "b1", True),
        ("a.b", "axb", False),
        ("tower", "tower@1", True),
        ("tower@0", "tower@1", False),
        ("block/dense", "block@1/dense@0", True),
        ("block/dense@0", "block@1/dense@0", True),
        ("block@1/*", "block@1/dense@0", True),
        ("block@1/dense", "block@0/dense@0", False),
        ("*@1/d?nse", "block@1/dense@0", True),
        ("**/dense@0", "block@1/deep@0/dense@0", True),
        ("block@1/**/x@2", "block@1/deep@0/x@2", True),
        ("lstm:1", "lstm@0:1", True),
        ("lstm@1:1", "lstm@0:1", False),
        ("lstm", "lstm:1", True),
        ("lstm:0", "lstm:1", False),
        ("class:Dense", "x", True),
        ("class:Conv*", "x", False),
        ("이름 *", "이름 하나", True),
    ],
)
def test_patterns(pattern: str, name: str, kept: bool) -> None:
    assert Selection(include=(pattern,)).keeps(spec(name)) is kept
    assert Selection(exclude=(pattern,)).keeps(spec(name)) is not kept


def test_the_last_reduction_that_fits_counts() -> None:
    selection = Selection(reduce={"**": "mean", "a/*": "max", "a/b": "none"})
    assert selection.reduction(spec("x")) == "mean"
    assert selection.reduction(spec("a/c")) == "max"
    assert selection.reduction(spec("a/b")) is None


def test_patterns_that_match_nothing_are_refused_together() -> None:
    selection = Selection(include=("hiden", "class:Conv2D"), reduce={"zzz": "mean"})
    with pytest.raises(InputError) as caught:
        selection.check([spec("hidden"), spec("output")])
    assert str(caught.value).splitlines() == [
        "capture.include: 'hiden' matches no layer; did you mean 'hidden'?",
        "capture.include: 'class:Conv2D' matches no layer; layers are: hidden, output",
        "capture.reduce: 'zzz' matches no layer; layers are: hidden, output",
    ]


def test_names_are_suggested_for_the_patterns_that_are_told() -> None:
    """For all, it would take minutes."""
    selection = Selection(include=tuple(f"hiden{n}" for n in range(500)))
    with pytest.raises(InputError) as caught:
        selection.check([spec(f"hidden{n}") for n in range(20)])
    assert str(caught.value).count("; did you mean 'hidden") == 20
    assert sum("did you mean" in problem.advice for problem in caught.value.problems) == 20


@pytest.mark.parametrize("wild", ["*", "**"])
def test_a_pattern_of_many_wildcards_is_matched_at_once(wild: str) -> None:
    name = "a" * 500
    spec = TensorSpec(name, "activation", name, "Dense", 0, None, (4,), "float32", 0)
    pattern = f"{wild}a" * 50
    assert fits(pattern, spec)
    assert not fits(pattern + "!", spec)
