"""Tensors of runs whose layers have other names: matched by what they have in common."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import runner
from runner.sameness.fused import where_it_begins
from runner.sameness.naming import Names, go_by_names
from runner.sameness.ordering import Ordering
from runner.sameness.rearrangement import Rearrangement, parsed, possible
from runner.sameness.tensor_map import _captured

_rng = np.random.default_rng(1)


class ChannelsFirst(layers.Layer):
    """A convolution that returns its channels first."""

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        self.kernel = self.add_weight(shape=(4, 3, 3, 3), name="weight")
        self.offset = self.add_weight(shape=(4,), name="offset")

    def call(self, inputs: Any) -> Any:
        kernel = keras.ops.transpose(self.kernel, (2, 3, 1, 0))
        maps = keras.ops.conv(inputs, kernel, padding="same") + self.offset
        return keras.ops.transpose(maps, (0, 3, 1, 2))


def original() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((6, 5, 3)),
            layers.Conv2D(4, 3, padding="same", name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(7, "relu", name="hidden"),
            layers.Dense(7, "relu", name="hidden2"),
            layers.Dense(2, name="scores"),
        ]
    )


def ported(model: keras.Model, *, fault: bool = False) -> keras.Model:
    """Return the same network with other names and axes; `fault` scales its second layer."""
    port = keras.Sequential(
        [
            keras.Input((6, 5, 3)),
            ChannelsFirst(name="features"),
            layers.Permute((2, 3, 1), name="back"),
            layers.Flatten(name="vector"),
            layers.Dense(7, "relu", name="fc1"),
            layers.Dense(7, "relu", name="fc2"),
            layers.Dense(2, name="head"),
        ]
    )
    kernel, offset, *others = model.get_weights()
    if fault:
        others[0] = 3 * others[0]
    port.set_weights([kernel.transpose(3, 2, 0, 1), offset, *others])
    return port


def saved(model: keras.Model, given: np.ndarray, folder: str) -> runner.Run:
    return runner.open_run(runner.save_run(model, given, folder).path)


def runs_of(*models: keras.Model) -> list[runner.Run]:
    given = _rng.normal(size=(9, 6, 5, 3)).astype(np.float32)
    return [saved(model, given, f"run{place}") for place, model in enumerate(models)]


def test_a_port_is_matched_by_its_values() -> None:
    model = original()
    found = runner.diff(*runs_of(model, ported(model)))
    assert found.same
    names = {each.tensor: (each.other, each.how) for each in found.compared}
    assert names["conv"] in [("features", "values"), ("back", "values")]
    assert names["hidden"] == ("fc1", "values")
    assert names["hidden2"] == ("fc2", "values")
    assert names["scores"] == ("head", "values and output")
    assert names["conv/kernel"] == ("features/weight", "values")
    assert names["hidden/kernel"] == ("fc1/kernel", "values")


def test_the_first_layer_that_differs_is_found_by_its_place() -> None:
    model = original()
    found = runner.diff(*runs_of(model, ported(model, fault=True)))
    wrong = next(each for each in found.compared if not each.within)
    assert (wrong.tensor, wrong.other, wrong.how) == ("hidden", "fc1", "order")


def test_a_map_is_proposed_and_read() -> None:
    model = original()
    runs = runs_of(model, ported(model))
    proposed = runner.diff(*runs, map="pairs.yaml")
    text = Path("pairs.yaml").read_text()
    assert "hidden: fc1  # values\n" in text
    assert "conv/kernel: {axes: abcd->cdba, to: features/weight}  # values\n" in text
    again = runner.diff(*runs, map="pairs.yaml")
    assert again.same
    names = [[(each.tensor, each.other) for each in found.compared] for found in (proposed, again)]
    assert names[0] == names[1]
    assert {each.how for each in again.compared} == {"map"}
    written = "hidden{}: fc{}\nconv: {to: features, axes: chw->hwc}\n"
    Path("own.yaml").write_text(written.replace("hidden{}: fc{}", "hidden2: fc2"))
    found = runner.diff(*runs, map="own.yaml")
    assert [each.tensor for each in found.compared] == ["conv", "hidden2"]
    assert found.same


def test_captures_stand_for_the_same_text() -> None:
    given = np.eye(3, dtype=np.float32)
    one, other = (
        keras.Sequential([keras.Input((3,)), *(layers.Dense(3, name=name.format(k)) for k in "ab")])
        for name in ("layer_{}", "block_{}_dense")
    )
    other.set_weights(one.get_weights())
    runs = saved(one, given, "one"), saved(other, given, "other")
    Path("own.yaml").write_text(
        "layer_{}: block_{}_dense\nlayer_{}/kernel: block_{}_dense/kernel\n"
    )
    found = runner.diff(*runs, map="own.yaml")
    assert [each.other for each in found.compared] == [
        *("block_a_dense", "block_a_dense/kernel", "block_b_dense", "block_b_dense/kernel")
    ]
    assert found.same


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hiden: fc1", "own.yaml: hiden: the first run has no such tensor; did you mean 'hidden'"),
        ("hidden: fc9", "own.yaml: hidden: the second run has no 'fc9'; did you mean 'fc"),
        ("conv: scores", "own.yaml: conv: the second run has no 'scores'"),
        ("conv: head", "own.yaml: conv: conv: \\[2\\] and \\[6, 5, 4\\] are of different size"),
        ("conv: {to: features, axes: hw->wh}", "own.yaml: conv: conv: 'hw->wh' has 2 axes"),
        ("h{}: fc", "own.yaml: h{}: 'h{}' and 'fc' have different numbers of {}"),
        ("hidden: fc1\nhidden: fc2", "own.yaml:2: found duplicate key hidden"),
        ("hidden: fc1\nhidden2: fc1", "own.yaml: both hidden and hidden2 are 'fc1'; name another"),
        ("hidden{}: fc1\nhidden2: fc1", "own.yaml: hidden{}: 'hidden{}' and 'fc1' have different"),
        ("[1, 2]", "own.yaml: expected a mapping from names"),
        ("conv: {from: a}", "own.yaml: expected a mapping from names"),
        ("a: [", "own.yaml"),
    ],
)
def test_a_wrong_map_is_one_line(text: str, line: str) -> None:
    model = original()
    runs = runs_of(model, ported(model))
    Path("own.yaml").write_text(text)
    with pytest.raises(runner.InputError) as raised:
        runner.diff(*runs, map="own.yaml")
    assert re.search(line, str(raised.value)), raised.value
    assert len(str(raised.value).splitlines()) == 1


def test_a_map_beside_a_way_to_pair_is_refused() -> None:
    one, other = runs_of(original(), original())
    with pytest.raises(runner.InputError, match=r"^align: 'order' is given beside a map, which"):
        runner.diff(one, other, align="order", map="new.yaml")
    assert not Path("new.yaml").exists()


def test_names_in_common_are_paired_by_name_by_default() -> None:
    model = original()
    one, other = runs_of(model, model)
    assert {each.how for each in runner.diff(one, other).tensors} == {None}
    assert runner.diff(one, other, align="match").same


def test_runs_that_share_nothing_are_refused() -> None:
    one = saved(original(), np.zeros((2, 6, 5, 3), np.float32), "one")
    small = keras.Sequential([keras.Input((6, 5, 3)), layers.GlobalMaxPooling2D(name="other")])
    two = saved(small, np.zeros((2, 6, 5, 3), np.float32), "two")
    with pytest.raises(runner.InputError, match=r"^align: no tensor of run \w+ belongs to"):
        runner.diff(one, two)


def test_axes_are_rearranged() -> None:
    values = _rng.normal(size=(2, 3, 4, 5))
    way = parsed("chw->hwc", (3, 4, 5), (4, 5, 3))
    assert np.array_equal(way.of_samples(values), values.transpose(0, 2, 3, 1))
    assert np.array_equal(way.of(values[0]), values[0].transpose(1, 2, 0))
    assert str(way) == "abc->bca"
    assert way.moves
    assert [*possible((8, 1, 1), (8,))] == [Rearrangement((0, 1, 2), (8,))]
    ways = [*possible((3, 3, 8, 2), (3, 3, 2, 8))]
    assert {way.order for way in ways} >= {(0, 1, 3, 2), (1, 0, 3, 2)}
    assert [*possible((2, 3), (7,))] == []
    with pytest.raises(ValueError, match="expected axes such as chw->hwc"):
        parsed("chw", (3, 4, 5), (4, 5, 3))
    with pytest.raises(ValueError, match="has 3 axes, the tensor has 2"):
        parsed("chw->hwc", (3, 4), (4, 3))


def test_a_pattern_of_many_parts_is_matched_without_trying_them_all() -> None:
    assert _captured("{}" * 20 + "!", "a" * 2000) is None
    assert _captured("{}" * 20, "a" * 2000) == ["a" * 1981, *["a"] * 19]
    assert _captured("block_{}_{}", "block_1_2_3") == ["1_2", "3"]
    assert _captured("{}/x{}", "a/b/xc") is None
    assert _captured("{}/x{}", "a/xxc") == ["a", "xc"]
    assert _captured("ab{}ba", "aba") is None


def test_names_that_two_runs_share_by_chance_pair_nothing() -> None:
    model, port = original(), ported(original())
    assert go_by_names([each.name for each in model.layers], ["conv", "flat", "hidden", "x"])
    assert not go_by_names([each.name for each in model.layers], [x.name for x in port.layers])
    assert not go_by_names(["avg", "a", "b", "c"], ["avg", "x", "y"])


def test_an_operation_is_the_last_layer_that_its_name_speaks_of() -> None:
    model = keras.Sequential(
        [keras.Input((4,)), *(layers.Dense(4, name=name) for name in ("conv", "norm", "act", "fc"))]
    )
    others = ("net_1/conv_1/Conv;net_1/norm_1/add", "net_1/act_1/Relu", "net_1/act_1/sub", "call")
    fused = ("net_1/conv_1/Conv", "net_1/norm_1/mul", "net_1/act_1/Relu;net_1/norm_1/add", "call")
    one = saved(model, np.eye(4, dtype=np.float32), "one")
    mine = [one.tensor(name) for name in ("conv", "norm", "fc", "act")]
    theirs = [dataclasses.replace(mine[0], name=name, layer_path=name) for name in fused]
    names = Names(mine, theirs, {"act": ["norm"], "norm": ["conv"]})
    agreed = [(a.name, b.name) for a in mine for b in theirs if names.agree(a, b)]
    assert agreed == [("conv", fused[0]), ("act", fused[2])]
    assert names.deny(mine[1], theirs[1])
    theirs = [dataclasses.replace(mine[0], name=name, layer_path=name) for name in others]
    names = Names(mine, theirs, {"act": ["norm"], "norm": ["conv"]})
    agreed = [(a.name, b.name) for a in mine for b in theirs if names.agree(a, b)]
    assert agreed == [("norm", others[0]), ("act", others[2])]
    assert names.deny(mine[3], theirs[1])
    assert not names.deny(mine[3], theirs[2])
    told = [names.tell(each) for each in (*mine, *theirs)]
    assert told == [True, True, False, True, True, True, True, False]


def test_layers_with_weights_are_paired_in_order() -> None:
    ordering = Ordering[str](look=len, begins=str.isupper)
    mine, theirs = ["ab", "CD", "EF", "xyz"], ["tu", "VW", "yz", "WX", "ab", "cd", "abc"]
    assert [*ordering.pairs(mine, theirs, {})] == [
        ("ab", "tu"),
        ("CD", "yz"),
        ("EF", "cd"),
        ("xyz", "abc"),
    ]
    sure = {id(mine[1]): theirs[1]}
    assert ("CD", "VW") not in ordering.pairs(mine, theirs, sure)
    assert [*ordering.pairs(["aa", "bb"], ["cc"], {})] == []
    assert [*ordering.pairs(["aa", "EFG"], ["UV", "WXYZ"], {})] == []


@pytest.mark.parametrize(
    ("fault", "layer"),
    [
        ("noise", "conv"),
        ("factor of the weights", "conv"),
        ("bias", "conv"),
        ("factor of the normalization", "norm"),
        ("statistics", "norm"),
        ("offset", "norm"),
        ("slope", "act"),
        ("limit", "act"),
        ("low limit", "act"),
    ],
)
def test_the_error_of_layers_in_one_operation_begins_in_one_of_them(fault: str, layer: str) -> None:
    rng = np.random.default_rng(16)
    keras.utils.set_random_seed(16)
    names = {"conv": layers.Conv2D(4, 3), "norm": layers.BatchNormalization(), "act": layers.ReLU()}
    given = rng.normal(size=(9, 6, 5, 3)).astype(np.float32)
    model = keras.Sequential([keras.Input((6, 5, 3)), *names.values()])
    for name, one in names.items():
        one.name = name
    for variable in model.variables:
        if variable.ndim == 1:
            variable.assign(variable + rng.uniform(0.3, 0.9, variable.shape))
    run = saved(model, given, "run")
    values = {name: run.array(name).astype(np.float64) for name in names}
    _, beta, mean, _ = names["norm"].get_weights()
    conv, norm, bias = values["conv"], values["norm"], names["conv"].get_weights()[1]
    scale = np.median((norm - beta) / (conv - mean), axis=(0, 1, 2))
    wrong = {
        "noise": norm + 0.1 * rng.normal(size=norm.shape),
        "factor of the weights": (1.1 * (conv - bias) + bias - mean) * scale + beta,
        "bias": norm + 0.1 * scale,
        "factor of the normalization": (norm - beta) * [1.0, 1.0, 1.3, 0.8] + beta,
        "statistics": norm + (mean - mean[::-1]) * scale,
        "offset": norm + 0.25,
        "slope": np.where(norm < 0, 0.2 * norm, norm),
        "limit": np.minimum(norm, 1.0),
        "low limit": np.minimum(norm, np.quantile(norm, 0.5)),
    }[fault]
    wrong = wrong if fault == "slope" else np.maximum(wrong, 0)
    chain = [run.tensor(name) for name in names]
    scale = float(np.abs(values["act"]).max())
    for step, noise in ((0.0, 0.0), (scale / 255, 0.01)):
        found = np.rint(wrong / step) * step if step else wrong
        begins = where_it_begins(
            chain,
            found - values["act"],
            values.__getitem__,
            lambda name: run.array(name, "weight"),
            noise,
        )
        assert begins == layer, step


def test_an_operation_within_a_layer_is_not_what_the_layer_returns() -> None:
    """The second step of a separable convolution is in one operation with the normalization."""
    sep = layers.SeparableConv2D(4, 3, use_bias=False, name="sep")
    norm = layers.BatchNormalization(name="norm")
    whole = keras.Sequential([keras.Input((6, 5, 4)), sep, norm])
    norm.set_weights([_rng.uniform(0.5, 1.5, 4) for _ in range(4)])
    first, last = (
        layers.DepthwiseConv2D(3, use_bias=False, name="sep"),
        layers.Conv2D(4, 1, name="norm"),
    )
    fused = keras.Sequential([keras.Input((6, 5, 4)), first, last])
    by_depth, by_point = sep.get_weights()
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    first.set_weights([by_depth])
    last.set_weights([by_point * scale, beta - mean * scale])
    given = _rng.normal(size=(4, 6, 5, 4)).astype(np.float32)
    found = runner.diff(saved(whole, given, "a"), saved(fused, given, "b"), align="match")
    assert [each.tensor for each in found.compared if each.kind == "activation"] == ["norm"]


class Exchanged(layers.Layer):
    """Returns nearly what a ReLU returns, with rows and columns exchanged."""

    def call(self, inputs: Any) -> Any:
        return 1.2 * keras.ops.swapaxes(keras.ops.relu(inputs), 1, 2)


def test_a_wrong_layer_is_compared_in_the_order_of_axes_that_others_have() -> None:
    given = _rng.normal(size=(4, 5, 5, 2)).astype(np.float32)
    one, other = (
        keras.Sequential([keras.Input((5, 5, 2)), layers.Conv2D(2, 3, name=name), last])
        for name, last in (
            ("conv", layers.ReLU(name="same")),
            ("maps", Exchanged(name="exchanged")),
        )
    )
    other.set_weights(one.get_weights())
    found = runner.diff(saved(one, given, "one"), saved(other, given, "other"), align="match")
    errors = {each.tensor: each.max_relative for each in found.compared}
    assert errors["conv"] == 0
    assert errors["same"] > 0.5


def test_what_has_the_values_of_a_paired_tensor_is_paired_with_none() -> None:
    given = _rng.normal(size=(4, 5, 4, 2)).astype(np.float32)
    first, second, whole = (
        layers.Conv2D(2, 1, use_bias=False, name=name) for name in ("first", "second", "whole")
    )
    one = keras.Sequential([keras.Input((5, 4, 2)), first, second])
    moved = layers.Permute((2, 1, 3), name="moved")
    other = keras.Sequential([keras.Input((5, 4, 2)), whole, moved])
    whole.set_weights([first.get_weights()[0] @ second.get_weights()[0]])
    runs = saved(one, given, "one"), saved(other, given, "other")
    found = runner.diff(*runs, align="match", weights=False)
    assert {each.tensor: each.other for each in found.compared} == {"second": "moved"}
