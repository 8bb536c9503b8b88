"""Which layer feeds which: order, cycles and what is left over."""

from __future__ import annotations

import re
import unicodedata
from graphlib import CycleError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.graph import CallArguments, LayerGraph, name_problems, tensors_of


def said(graph: LayerGraph) -> list[str]:
    return [str(problem) for problem in graph.problems()]


@st.composite
def shuffled_graphs(draw: st.DrawFn) -> LayerGraph:
    """Graphs without a cycle, their layers declared in any order."""
    names = draw(st.lists(st.text("abcdefg", min_size=1), min_size=1, max_size=12, unique=True))
    names = [name.upper() for name in names]
    calls: dict[str, CallArguments] = {}
    for position, name in enumerate(names):
        calls[name] = draw(
            st.lists(st.sampled_from(["x", *names[:position]]), min_size=1, max_size=4)
        )
    order = draw(st.permutations(names))
    return LayerGraph(("x",), {name: calls[name] for name in order}, (names[-1],))


@given(shuffled_graphs())
def test_each_layer_is_called_after_those_that_feed_it(graph: LayerGraph) -> None:
    order = graph.call_order()
    assert sorted(order) == sorted(graph.calls)
    for name, arguments in graph.calls.items():
        for tensor in tensors_of(arguments):
            assert tensor == "x" or order.index(tensor) < order.index(name)


@given(shuffled_graphs())
def test_the_order_declared_is_kept_where_it_can_be(graph: LayerGraph) -> None:
    order = graph.call_order()
    again = LayerGraph(graph.inputs, {name: graph.calls[name] for name in order}, graph.outputs)
    assert again.call_order() == order


@given(shuffled_graphs())
def test_what_feeds_no_output_is_all_that_is_left_over(graph: LayerGraph) -> None:
    feeding = {*graph.outputs}
    for name in reversed(graph.call_order()):
        if name in feeding:
            feeding |= {*tensors_of(graph.calls[name])}
    unused = {match[1] for line in said(graph) if (match := re.search(r"'(\w+)'", line))}
    assert unused == {*graph.calls, "x"} - feeding


def test_a_layer_may_be_fed_by_one_declared_later() -> None:
    graph = LayerGraph(("x",), {"last": "first", "first": "x"}, ("last",))
    assert graph.call_order() == ("first", "last")
    assert said(graph) == []


def test_a_cycle_is_spelled_out() -> None:
    graph = LayerGraph(("x",), {"a": ["x", "b"], "b": "a:0"}, ("b",))
    with pytest.raises(CycleError):
        graph.call_order()
    [line] = said(graph)
    assert line == "layers.a.inputs: the layers form a cycle: a -> b -> a"


def test_a_long_chain_declared_backwards() -> None:
    names = [str(position) for position in range(5000)]
    calls: dict[str, CallArguments] = {
        name: str(position - 1) if position else "x" for position, name in enumerate(names)
    }
    graph = LayerGraph(("x",), dict(reversed(calls.items())), (names[-1],))
    assert list(graph.call_order()) == names
    assert said(graph) == []


@pytest.mark.parametrize(
    ("calls", "outputs", "message"),
    [
        (
            {"hidden": "x", "last": "hiden"},
            ("last",),
            "layers.last.inputs: 'last': input 'hiden' is undefined; did you mean 'hidden'?",
        ),
        (
            {"h1": "x", "h2": "zebra"},
            ("h2",),
            "layers.h2.inputs: 'h2': input 'zebra' is undefined; layers are x, h1, h2",
        ),
        (
            {"h1": "x", "h2": {"query": "zebra", "causal": True}},
            ("h2",),
            "layers.h2.inputs: 'h2': input 'zebra' is undefined; layers are x, h1, h2",
        ),
        ({"h1": []}, ("h1",), "layers.h1.inputs: 'h1' has no input; name its input: x"),
        ({"h1": "x"}, ("h",), "outputs: 'h' is not a layer; did you mean 'h1'?"),
        ({"h1": "x"}, ("x",), "outputs: 'x' is not a layer; layers are h1"),
        ({"h1": "x"}, (), "outputs: expected at least one layer, found none"),
        ({"h1": "x", "h2": "x"}, ("h2",), "layers.h1: 'h1' feeds no output of the model; name"),
    ],
)
def test_what_is_wrong_is_said(
    calls: dict[str, CallArguments], outputs: tuple[str, ...], message: str
) -> None:
    assert said(LayerGraph(("x",), calls, outputs))[0].startswith(message)


def test_an_input_that_nothing_depends_on_is_said() -> None:
    [line] = said(LayerGraph(("x", "y"), {"h": "x"}, ("h",)))
    assert line.startswith("inputs.y: no output depends on 'y'; name it in the inputs of a layer")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "layers.'': a name is empty"),
        ("..", "layers...: '..' means a folder in a path"),
        ("a/b", "layers.a/b: forbidden character '/' in a name"),
        ("a@0", "layers.a@0: forbidden character '@' in a name"),
        ("a:0", "layers.a:0: forbidden character ':' in a name"),
        ("a\nb", r"layers.a\nb: forbidden character '\n' in a name"),
        ("a\0b", r"layers.a\x00b: forbidden character '\x00' in a name"),
        ("\ud800", r"layers.\ud800: forbidden character '\ud800' in a name"),
        ("층" * 67, f"layers.{'층' * 57}...: the name has 201 bytes, the limit is 200"),
    ],
)
def test_a_name_that_cannot_be_is_said(name: str, message: str) -> None:
    [problem] = name_problems([], [name])
    assert str(problem).startswith(message)
    str(problem).encode()


@pytest.mark.parametrize("name", ["은닉층", "<script>", "con", "a b", "x" * 200])
def test_an_odd_name_is_a_name(name: str) -> None:
    assert list(name_problems([], [name])) == []


def test_names_hard_to_tell_apart_are_said_with_both_places() -> None:
    composed = unicodedata.normalize("NFC", "café")
    decomposed = unicodedata.normalize("NFD", "café")
    layers = ["dense", "Dense", composed, decomposed, "x"]
    lines = [str(problem) for problem in name_problems([("x", "inputs.x")], layers)]
    assert lines[0].startswith("layers.Dense: 'Dense' and 'dense' (model.layers.dense) differ only")
    assert lines[1].startswith(f"layers.{decomposed}: ")
    assert lines[2] == "layers.x: 'x' is also the name of model.inputs.x; rename one"
