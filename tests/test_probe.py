"""Probes in memory: what they show, in which batches, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from runner.config.probe_config import ProbeConfig
from runner.errors import InputError
from runner.probe.batch import Batch, named_inputs
from runner.probe.fitting import fit_to_model
from runner.probe.memory_sources import as_probe
from runner.probe.probe import Probe
from runner.probe.probe_hash import BLOCK, Block, ProbeHasher
from runner.probe.source import open_probe
from runner.tensors import InputSpec


def vector(width: int | None, dtype: str = "float32", name: str = "input") -> InputSpec:
    return InputSpec(name, (width,), dtype)


def opened(expected: Sequence[InputSpec] = (), **config: Any) -> Probe:
    return open_probe(TypeAdapter(ProbeConfig).validate_python(config), expected)


def fitted(x: Any, *expected: InputSpec, allow_nan: bool = False) -> Probe:
    return fit_to_model(as_probe(x), expected, allow_nan=allow_nan)


def whole(probe: Probe) -> Batch:
    [batch] = probe.batches(10_000)
    return batch


def hashes(probe: Probe, size: int) -> tuple[str, str]:
    hasher = ProbeHasher()
    for batch in probe.batches(size):
        hasher.update(batch)
    return hasher.content(), hasher.sample_ids()


def test_the_tutorial_shows_the_identity_matrix() -> None:
    probe = opened([vector(3)], source="tutorial")
    batch = whole(probe)
    assert (probe.rows, probe.sample_type, probe.has_labels, probe.has_targets) == (
        3,
        "int64",
        False,
        True,
    )
    assert probe.inputs == (vector(3),)
    assert batch.inputs.dtype == np.float32
    np.testing.assert_array_equal(batch.inputs, np.eye(3))
    assert batch.samples.tolist() == [0, 1, 2]
    assert batch.samples.dtype == np.int64
    assert batch.targets is not None
    assert batch.targets.dtype == np.int64
    assert batch.targets.tolist() == [[0], [1], [1]]


def test_a_model_that_cannot_tell_its_inputs_takes_the_data_as_it_is() -> None:
    probe = fitted(np.arange(6, dtype="int16").reshape(2, 3))
    assert probe.inputs == (vector(3, "int16"),)
    assert whole(probe).inputs.dtype == np.int16


def test_inline_carries_ids_labels_and_targets() -> None:
    probe = opened(
        [vector(2)],
        source="inline",
        inputs=[[1, 2], [3, 4.5]],
        ids=["a", "b"],
        labels=[7, 8],
        targets=[[0], [1]],
    )
    batch = whole(probe)
    assert (probe.sample_type, probe.has_labels, probe.has_targets) == ("string", True, True)
    assert batch.samples.tolist() == ["a", "b"]
    assert batch.samples.dtype == object
    assert batch.labels is not None
    assert batch.labels.dtype == np.int64
    np.testing.assert_array_equal(batch.inputs, np.float32([[1, 2], [3, 4.5]]))


def test_inline_feeds_several_inputs_by_name() -> None:
    expected = [vector(2, name="a"), vector(1, "int32", name="b")]
    inputs = whole(opened(expected, source="inline", inputs={"a": [[1, 2]], "b": [[3]]})).inputs
    assert {name: array.dtype.name for name, array in inputs.items()} == {
        "a": "float32",
        "b": "int32",
    }


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([[1, 2, 3], [1, 2, 3], [1, 2]], r"^probe.inputs: row 2: 2 values, expected 3$"),
        ([[1], 2], r"^probe.inputs: row 1: a single number, expected 1$"),
        ([1, [2]], r"^probe.inputs: row 1: 1 value, expected a single number$"),
        ([[[1, 2], [3]], [[1, 2], [3]]], r"^probe.inputs: rows differ in their shape$"),
        ([[1, 2], [3, "x"]], r"^probe.inputs: row 1, column 1: expected a number, found 'x'$"),
        ([[1, None]], r"^probe.inputs: row 0, column 1: expected a number, found None$"),
        ([[2**70]], r"^probe.inputs: row 0, column 0: expected a number, found 11805"),
        ([], r"^probe: inline has 0 rows; give at least one sample$"),
        ([[1, 2, 3, 4, 5]], r"^probe: inline has 5 values a sample, the model expects 3$"),
    ],
)
def test_a_wrong_inline_probe_is_said(inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        opened([vector(3)], source="inline", inputs=inputs)


@pytest.mark.parametrize(
    ("shape", "found"),
    [((64,), (64,)), ((8, 8), (8, 8)), ((8, 8, 1), (8, 8, 1)), ((None, None, 1), (8, 8, 1))],
)
def test_digits_take_the_shape_that_the_model_expects(
    shape: tuple[int | None, ...], found: tuple[int, ...]
) -> None:
    probe = opened([InputSpec("image", shape)], source="digits", rows=5)
    batch = whole(probe)
    assert batch.inputs.shape == (5, *found)
    assert (batch.inputs.min(), batch.inputs.max()) == (0, 1)
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(batch.labels, batch.targets)
    assert probe.inputs == (InputSpec("image", found),)


def test_digits_of_another_size_and_too_many_are_refused() -> None:
    match = "has 8 x 8 x 1 values a sample, the model expects 28 x 28 x 1"
    with pytest.raises(InputError, match=match):
        opened([InputSpec("image", (28, 28, 1))], source="digits")
    with pytest.raises(InputError, match=r"^probe.rows: digits has 1,797 samples, found 2,000$"):
        opened([vector(64)], source="digits", rows=2000)


def test_iris_is_labelled_by_the_names_of_its_flowers() -> None:
    batch = whole(opened([vector(4)], source="iris"))
    assert batch.inputs.shape == (150, 4)
    assert batch.labels is not None
    assert set(batch.labels) == {"setosa", "versicolor", "virginica"}
    assert batch.targets is not None
    assert batch.targets[[0, 149]].tolist() == [0, 2]


def test_without_scikit_learn_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    match = r'^probe: needs scikit-learn; type: pip install "activation-runner\[data\]"$'
    with pytest.raises(InputError, match=match):
        opened([vector(64)], source="digits")


def test_random_rows_do_not_depend_on_the_size_of_batches() -> None:
    expected = [vector(2, name="x"), vector(3, "int32", name="y")]
    probe = opened(expected, source="random", rows=2500, seed=3, high=4)
    assert hashes(probe, 7) == hashes(probe, 1024) == hashes(probe, 9999)
    longer = opened(expected, source="random", rows=3000, seed=3, high=4)
    np.testing.assert_array_equal(
        whole(longer).inputs["x"][:2500], whole(probe).inputs["x"], strict=True
    )
    assert set(np.unique(whole(probe).inputs["y"])) == {0, 1, 2, 3}
    assert hashes(probe, 50) != hashes(opened(expected, source="random", rows=2500, high=4), 50)


def test_random_whole_numbers_are_below_ten_and_uniform_ones_below_one() -> None:
    integers = opened([vector(9, "int64")], source="random", rows=200)
    assert set(np.unique(whole(integers).inputs)) == set(range(10))
    assert integers.source == "random, integers below 10, seed 0"
    floats = whole(opened([vector(9)], source="random", rows=200, distribution="uniform")).inputs
    assert 0 <= floats.min() < floats.max() < 1
    assert floats.dtype == np.float32


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ([], "^probe: random needs a model that declares its inputs; use another probe$"),
        ([vector(None)], "^probe.shapes.input: expected a length for every axis"),
        ([vector(1, "string")], "^probe: random cannot make text, which input 'input' takes"),
    ],
)
def test_random_says_what_it_cannot_make(expected: list[InputSpec], message: str) -> None:
    with pytest.raises(InputError, match=message):
        opened(expected, source="random", rows=2)


@given(blocks=st.lists(st.integers(1, 9), min_size=1, max_size=8), size=st.integers(1, 12))
def test_any_blocks_come_out_in_batches_of_one_size(blocks: list[int], size: int) -> None:
    rows = sum(blocks)
    values = np.arange(rows * 2, dtype="float32").reshape(rows, 2)
    ends = np.cumsum(blocks)

    def made() -> Iterator[Any]:
        for count, end in zip(blocks, ends, strict=True):
            yield values[end - count : end], np.arange(end - count, end)

    probe = fitted(made, vector(2))
    for _ in range(2):  # it may be read again
        batches = list(probe.batches(size))
        assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
        assert 1 <= len(batches[-1]) <= size
        np.testing.assert_array_equal(np.concatenate([batch.inputs for batch in batches]), values)
        for part in ("samples", "targets"):
            joined = np.concatenate([getattr(batch, part) for batch in batches])
            np.testing.assert_array_equal(joined, np.arange(rows))


@pytest.mark.parametrize(
    ("value", "dtype", "to"),
    [
        (0.7, "float64", "int32"),
        (-1, "int64", "uint64"),
        (-1, "int64", "uint8"),
        (256, "int64", "uint8"),
        (2**63, "uint64", "int64"),
        (1e30, "float64", "int64"),
        (0.7, "float64", "bool"),
        (2, "int64", "bool"),
    ],
)
def test_a_value_that_the_type_cannot_hold_is_refused(value: Any, dtype: str, to: str) -> None:
    array = np.zeros((4, 3), dtype)
    array[2, 1] = value
    with pytest.raises(InputError, match=rf"row 2, column 1: found .*; the model expects {to}$"):
        fitted(array, vector(3, to))


@pytest.mark.parametrize("to", ["float16", "float32", "float64", "int8", "uint8", "int64", "bool"])
def test_a_value_that_the_type_can_hold_is_cast(to: str) -> None:
    array = np.array([[0.0, 1.0]])
    cast = whole(fitted(array, vector(2, to))).inputs
    np.testing.assert_array_equal(cast, array.astype(to), strict=True)


def test_bfloat16_is_shown_as_float32() -> None:
    assert whole(fitted(np.eye(2), vector(2, "bfloat16"))).inputs.dtype == np.float32


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_unless_allowed(value: float) -> None:
    array = np.zeros((3, 2))
    array[1, 0] = value
    match = rf"row 1, column 0: found {value}; set probe.allow_nan=true to keep it$"
    with pytest.raises(InputError, match=match):
        fitted(array, vector(2))
    np.testing.assert_array_equal(whole(fitted(array, vector(2), allow_nan=True)).inputs, array)
    with pytest.raises(InputError, match=r"int32 cannot hold it: give it a number$"):
        fitted(array, vector(2, "int32"), allow_nan=True)


def test_a_number_too_large_for_the_type_is_not_made_infinite() -> None:
    match = "row 0, column 1: found 1e[+]300; it is too large for float32$"
    for allow_nan in (False, True):
        with pytest.raises(InputError, match=match):
            fitted(np.array([[1.0, 1e300]]), vector(2), allow_nan=allow_nan)


def test_what_is_found_later_in_a_stream_is_said_by_its_row() -> None:
    def made() -> Iterator[np.ndarray]:
        yield np.zeros((4, 2))
        yield np.array([[0, 0], [0, np.nan]])

    batches = fitted(made, vector(2)).batches(3)
    assert len(next(batches)) == 3
    with pytest.raises(InputError, match="row 5, column 1: found nan"):
        list(batches)


def test_one_among_several_inputs_is_named() -> None:
    expected = vector(1, name="a"), vector(1, "int32", name="b")
    with pytest.raises(InputError, match=r"input 'b', row 0, column 0: found 0\.5"):
        fitted({"a": np.ones((1, 1)), "b": np.full((1, 1), 0.5)}, *expected)


def test_inputs_of_a_mapping_are_taken_by_name() -> None:
    arrays = {"other": np.zeros((2, 1)), "a": np.ones((2, 1))}
    said = "the model has no input 'other'; left out"
    with pytest.warns(UserWarning, match=said):
        probe = fitted(arrays, vector(1, name="a"))
    np.testing.assert_array_equal(whole(probe).inputs, arrays["a"])
    x = {"other": np.zeros((2, 1)), "x": np.ones((2, 1))}
    with pytest.warns(UserWarning, match=said):
        probe = fitted(x, vector(1, name="a"))
    np.testing.assert_array_equal(whole(probe).inputs, x["x"])
    match = "^probe: has no input 'othre', it has 'other', 'a'; did you mean 'other'[?]"
    with pytest.raises(InputError, match=match):
        fitted(arrays, vector(1, name="othre"))


def test_inputs_of_a_list_are_taken_in_their_order() -> None:
    expected = vector(1, name="left"), vector(2, name="right")
    probe = fitted([np.zeros((2, 1)), np.ones((2, 2))], *expected)
    assert [array.shape for array in whole(probe).inputs] == [(2, 1), (2, 2)]
    assert probe.inputs == expected


def test_text_goes_to_a_model_that_takes_text() -> None:
    probe = fitted(np.array(["a cat", "a dog, twice"]), InputSpec("input", (), "string"))
    assert whole(probe).inputs.tolist() == ["a cat", "a dog, twice"]
    with pytest.raises(InputError, match="has text, the model expects numbers"):
        fitted(np.array([["1"]]), vector(1))
    with pytest.raises(InputError, match="has numbers, the model expects text"):
        fitted(np.array([[1]]), vector(1, "string"))


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="has complex128, the model expects float32"):
        fitted(np.array([[1j]]), vector(1))


@pytest.mark.parametrize(
    ("x", "others", "message"),
    [
        (np.eye(3), {"labels": [1, 2]}, "^probe: has 2 labels for 3 rows$"),
        (np.eye(3), {"targets": [[1]]}, "^probe: has 1 targets for 3 rows$"),
        (np.eye(3), {"sample_ids": "ab"}, "^probe: has 2 sample ids for 3 rows$"),
        (np.eye(3), {"sample_ids": "aba"}, "^probe: rows 0 and 2 have the same sample id 'a'$"),
        (np.eye(3), {"sample_ids": [1, "1", 2]}, "rows 0 and 1 have the same sample id '1'$"),
        (np.eye(3), {"sample_ids": ["a", "", "b"]}, "^probe: row 1: the sample id is empty$"),
        (np.eye(3), {"labels": np.eye(3)}, "^probe: row 0: expected one id or label, found 3"),
        (np.eye(3), {"targets": 1}, "^probe: expected one target for each sample, found a single"),
        ({"a": np.eye(3), "b": np.eye(2)}, {}, "^probe: has 2 rows of input 'b' for 3 rows$"),
        ({}, {}, "^probe: given in Python has no input$"),
        (np.array(1), {}, "^probe: expected arrays with a sample axis, found a single number$"),
        ([[1, 2], [3]], {}, "^probe: rows differ in their shape$"),
        (3, {}, "^probe: expected arrays or batches, found int$"),
        (lambda: [], {}, "^probe: given in Python has 0 rows; give at least one sample$"),
        (3, {"labels": [1]}, "^probe: expected arrays or batches, found int$"),
    ],
)
def test_what_does_not_go_together_is_said(x: Any, others: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_probe(x, **others)


def test_ids_and_labels_are_whole_numbers_where_all_of_them_are() -> None:
    probe = as_probe(np.eye(2), np.array([5, 9], "uint8"), labels=[np.int32(1), 2])
    batch = whole(probe)
    assert probe.sample_type == "int64"
    assert batch.labels is not None
    assert (batch.samples.dtype, batch.labels.dtype) == (np.int64, np.int64)
    assert as_probe(np.eye(2), [1, "b"]).sample_type == "string"
    assert whole(as_probe(np.eye(2), [2**70, 1])).samples.tolist() == [str(2**70), "1"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (np.zeros((2, 4)), r"from row 2 on it has input \(4,\), before that input \(3,\)"),
        ({"a": np.zeros((2, 3))}, r"from row 2 on it has a \(3,\), before that input \(3,\)"),
        (
            (np.zeros((2, 3)), np.zeros(2)),
            r"input \(3,\), target \(\), before that input \(3,\)",
        ),
        ((np.zeros((2, 3)), np.zeros(1)), "the batch from row 2 on has 2 and 1 samples"),
        (np.array(0), "the batch from row 2 on has no samples"),
    ],
)
def test_batches_of_a_stream_must_be_alike(second: Any, message: str) -> None:
    probe = as_probe(lambda: [np.zeros((2, 3)), second])
    with pytest.raises(InputError, match=message):
        list(probe.batches(4))


def test_a_stream_of_samples_rather_than_batches_is_said() -> None:
    with pytest.raises(InputError, match="the model expects 3; give it in batches, with a sample"):
        fitted(lambda: iter(np.eye(3)), vector(3))


def test_a_generator_is_read_once_and_loses_no_batch() -> None:
    probe = fitted((np.full((2, 3), step) for step in range(3)), vector(3))
    assert whole(probe).inputs[:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    match = "given in Python can be read only once; give a function that returns it"
    with pytest.raises(InputError, match=match):
        list(probe.batches(2))


def batches_of_two_and_one() -> Iterator[np.ndarray]:
    yield np.zeros((2, 3))
    yield np.ones((1, 3))


def told(**beside: Any) -> Batch:
    return whole(as_probe(batches_of_two_and_one, **beside))


@pytest.mark.parametrize(
    "ids",
    [
        ["a", "b", "c"],
        [["a", "b"], ["c"]],
        np.array(["a", "b", "c"]),
        lambda: iter("abc"),
        lambda: iter([np.array(["a", "b"]), ["c"]]),
        iter("abc"),
    ],
)
def test_the_ids_of_a_stream_are_given_for_each_sample_or_for_each_batch(ids: Any) -> None:
    batch = told(sample_ids=ids)
    assert batch.samples.tolist() == ["a", "b", "c"]
    assert batch.inputs[:, 0].tolist() == [0, 0, 1]


def test_labels_and_targets_go_with_streams_too() -> None:
    batch = told(labels=lambda: iter([[1, 2], [1]]), targets=np.eye(3, 2))
    assert batch.labels is not None
    assert (batch.labels.tolist(), batch.labels.dtype) == ([1, 2, 1], np.int64)
    np.testing.assert_array_equal(batch.targets, np.eye(3, 2))


def test_a_batch_may_bring_its_ids_itself() -> None:
    def made() -> Iterator[dict[str, Any]]:
        yield {"inputs": np.zeros((2, 3)), "sample_ids": ["나", "가"], "labels": [0, 1]}
        yield {"inputs": np.ones((1, 3)), "sample_ids": ["다"], "labels": [5]}

    probe = as_probe(made)
    assert (probe.sample_type, probe.has_labels, probe.has_targets) == ("string", True, False)
    batch = whole(probe)
    assert batch.labels is not None
    assert (batch.samples.tolist(), batch.labels.tolist()) == (["나", "가", "다"], [0, 1, 5])
    assert [len(each) for each in probe.batches(2)] == [2, 1]


def test_arrays_may_bring_their_ids_themselves() -> None:
    batch = whole(as_probe({"inputs": np.eye(2), "sample_ids": [7, 3], "targets": [1, 0]}))
    assert batch.samples.tolist() == [7, 3]
    assert batch.targets is not None
    with pytest.raises(InputError, match=r"^probe: given in Python has labels, and labels are "):
        as_probe({"inputs": np.eye(2), "sample_ids": [7, 3], "labels": [1, 0]}, labels=[1, 2])


def test_inputs_of_a_model_may_be_called_inputs_and_labels() -> None:
    probe = as_probe({"inputs": np.eye(2), "labels": np.eye(2)})
    assert [spec.name for spec in probe.inputs] == ["inputs", "labels"]


def test_a_dataset_brings_the_ids_of_its_batches() -> None:
    import tensorflow as tf

    rows = {"inputs": np.eye(5), "sample_ids": list("vwxyz"), "targets": np.arange(5)}
    dataset = tf.data.Dataset.from_tensor_slices(rows).shuffle(5, seed=1).batch(2)
    probe = as_probe(dataset.cache())
    batch = whole(probe)
    assert sorted(batch.samples.tolist()) == list("vwxyz")
    shown = batch.inputs.argmax(axis=1)
    assert ["vwxyz"[row] for row in shown] == batch.samples.tolist()
    np.testing.assert_array_equal(batch.targets, shown)


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"sample_ids": ["a", "b"]}, "the batch from row 2 on has 1 samples, and 0 sample ids"),
        ({"sample_ids": list("abcd")}, "given in Python has 4 sample ids for 3 rows"),
        ({"sample_ids": [["a"], ["b"]]}, "the batch from row 0 on has 2 samples, and 1 sample ids"),
        ({"sample_ids": ["a", "b", "a"]}, "rows 0 and 2 have the same sample id 'a'"),
        ({"sample_ids": ["a", "", "b"]}, "row 1: the sample id is empty"),
        ({"sample_ids": [1, 2, "c"]}, "from row 2 on the sample ids are text such as 'c', before"),
        ({"labels": [0, 1]}, "the batch from row 2 on has 1 samples, and 0 labels"),
        ({"targets": np.eye(4)}, "given in Python has 4 targets for 3 rows"),
    ],
)
def test_ids_labels_and_targets_must_fit_a_stream(beside: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        told(**beside)


def write_module(text: str) -> None:
    Path("shown.py").write_text(f"import numpy as np\n{text}", encoding="utf-8")


@pytest.mark.parametrize(
    ("body", "has_targets"),
    [
        ("return np.full((rows, 3), 2.0)", False),
        ("return {'input': np.full((rows, 3), 2.0)}", False),
        ("return np.full((rows, 3), 2.0), np.zeros(rows)", True),
        ("return (np.full((1, 3), 2.0) for _ in range(rows))", False),
        ("for _ in range(rows): yield np.full((1, 3), 2.0), np.zeros(1)", True),
        ("return [[2.0] * 3] * rows", False),
    ],
)
def test_a_function_may_return_arrays_or_batches(body: str, has_targets: bool) -> None:
    write_module(f"def data(rows):\n    {body}\n")
    probe = opened([vector(3)], source="function", function="shown:data", arguments={"rows": 5})
    assert (probe.source, probe.has_targets) == ("shown:data", has_targets)
    for _ in range(2):
        assert [len(batch) for batch in probe.batches(2)] == [2, 2, 1]
    batch = whole(probe)
    np.testing.assert_array_equal(named_inputs(batch.inputs)["input"], np.full((5, 3), 2.0))


def test_a_function_may_return_what_reads_like_a_dataset() -> None:
    write_module(
        "class Data:\n"
        "    def as_numpy_iterator(self):\n"
        "        yield {'a': np.ones((2, 1)), 'b': np.ones((2, 2))}, np.zeros((2, 1))\n"
    )
    expected = [vector(1, name="a"), vector(2, name="b")]
    probe = opened(expected, source="function", function="shown:Data")
    assert probe.rows is None
    assert probe.has_targets
    assert whole(probe).inputs["b"].shape == (2, 2)


def test_a_function_that_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match=r"^probe.function: no module 'shown' \(looked in /"):
        opened(source="function", function="shown:data")
    write_module("")
    match = r"^probe.function: module 'shown' has no function 'data'$"
    with pytest.raises(InputError, match=match):
        opened(source="function", function="shown:data")


def test_the_hash_is_of_values_not_of_batches_or_memory() -> None:
    values = np.arange(12, dtype="float32").reshape(4, 3)
    known = hashes(as_probe(values), 4)
    assert hashes(as_probe(values), 3) == hashes(as_probe(np.asfortranarray(values)), 1) == known
    assert hashes(as_probe(values, "abcd"), 4)[0] == known[0]
    assert hashes(as_probe(values, "abcd"), 4)[1] != known[1]
    for other in (values + 1, values.astype("float64"), values.reshape(4, 3, 1)):
        assert hashes(as_probe(other), 4)[0] != known[0]
    by_name = {"a": values, "b": values + 1}
    assert hashes(as_probe(by_name), 2) == hashes(as_probe(dict([*by_name.items()][::-1])), 3)
    assert hashes(as_probe(np.zeros((3, 0))), 2) == hashes(as_probe(np.zeros((3, 0))), 3)


def hashed(probe: Probe, start: int, end: int, block: Block = BLOCK) -> ProbeHasher:
    """Hash the blocks that begin between two rows."""
    hasher = ProbeHasher(block, start)
    hasher.update(whole(probe)[start:end])
    for batch in probe.blocks_from(end):
        hasher.update(batch[: hasher.missing])
    return hasher


@pytest.mark.parametrize("rows", [1, BLOCK, BLOCK + 1, 2 * BLOCK, 9000])
def test_the_hash_of_parts_is_that_of_the_whole(rows: int) -> None:
    values = np.arange(3 * rows, dtype="float32").reshape(rows, 3)
    texts = np.array([f"t{place}" for place in range(rows)], object)
    probe = as_probe({"a": values, "b": texts}, [f"s{place}" for place in range(rows)])
    known = hashes(probe, 9000)
    for size in (700, BLOCK):
        assert hashes(probe, size) == known
    for step in (144, 700, BLOCK, 5000):
        ends = [*range(0, rows, step), rows]
        parts = [hashed(probe, *ends).block_hashes for ends in pairwise(ends)]
        together = ProbeHasher.of(parts)
        assert (together.content(), together.sample_ids()) == known


def test_samples_of_one_block_have_the_hash_of_earlier_versions() -> None:
    probe = as_probe(np.random.default_rng(0).normal(size=(BLOCK + 1, 2)))
    one, other = hashed(probe, 0, BLOCK), hashed(probe, 0, BLOCK, None)
    assert (one.content(), one.sample_ids()) == (other.content(), other.sample_ids())
    one, other = hashed(probe, 0, BLOCK + 1), hashed(probe, 0, BLOCK + 1, None)
    assert one.content() != other.content()
    assert one.sample_ids() != other.sample_ids()


def test_parts_of_a_probe_that_do_not_fit_together_are_refused() -> None:
    parts = [hashed(as_probe(np.zeros((5, size))), 0, 5).block_hashes for size in (2, 3)]
    with pytest.raises(ValueError, match="the inputs of two parts of a probe differ"):
        ProbeHasher.of(parts)


def test_the_hash_of_text_is_the_same_in_every_process() -> None:
    code = (
        "import numpy as np; from runner.probe.memory_sources import as_probe;"
        "from runner.probe.probe_hash import ProbeHasher; hasher = ProbeHasher();"
        "[hasher.update(b) for b in as_probe(np.array(['a', 'bc' * 9], object)).batches(1)];"
        "print(hasher.content())"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashes(as_probe(np.array(["a", "bc" * 9])), 2)[0]


def test_random_takes_the_shape_of_an_input_whose_axes_are_open() -> None:
    open_axes = InputSpec("words", (None, 3), "float32")
    probe = opened([open_axes], source="random", rows=2, shapes={"words": [5, 3]})
    assert whole(probe).inputs.shape == (2, 5, 3)
    for shapes, line in (
        ({}, r"probe\.shapes\.words: expected a length for every axis of \[null, 3\]; type "),
        ({"words": [5]}, r"probe\.shapes\.words: expected a length for every axis"),
        ({"words": [5, 4]}, r"probe\.shapes\.words: expected a length for every axis"),
        (
            {"words": [5, 3], "word": [1]},
            r"probe\.shapes\.word: the model has no such input; it has",
        ),
    ):
        with pytest.raises(InputError, match=line):
            opened([open_axes], source="random", rows=2, shapes=shapes)


def test_a_list_of_numpys_texts_is_one_input_and_a_sparse_matrix_is_none() -> None:
    probe = as_probe([np.str_("a"), np.str_("b")])
    assert [spec.name for spec in probe.inputs] == ["input"]
    assert whole(probe).inputs.tolist() == ["a", "b"]
    assert [spec.name for spec in as_probe([np.float64(1), np.float64(2)]).inputs] == ["input"]

    class Sparse:
        def toarray(self) -> np.ndarray:
            return np.zeros((2, 2))

    with pytest.raises(
        InputError, match=r"sparse arrays such as Sparse are not supported; pass x.toarray\(\)"
    ):
        as_probe(Sparse())
