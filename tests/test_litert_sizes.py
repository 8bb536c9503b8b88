"""Files of LiteRT whose parts are shared so often that they stand for far more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from runner.converted_models.litert_sizes import check_unfolded
from runner.errors import InputError

flatbuffers = pytest.importorskip("flatbuffers")


def shared(graphs: int, tensors: int, axes: int, lists: int = 3) -> None:
    """Write a file that lists one graph many times, with one tensor that it lists many times."""
    builder = flatbuffers.Builder(1024)

    def vector(count: int, prepend: Callable[[], None]) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            prepend()
        return int(builder.EndVector())

    def table(fields: Sequence[tuple[int, int]]) -> int:
        builder.StartObject(9)
        for field, place in fields:
            builder.PrependUOffsetTRelativeSlot(field, place, 0)
        return int(builder.EndObject())

    def listed(count: int, place: int) -> int:
        return vector(count, lambda: builder.PrependUOffsetTRelative(place))

    tensor = table([(0, vector(axes, lambda: builder.PrependInt32(1)))])
    none = listed(0, tensor)
    graph = table([(0, listed(tensors, tensor)), (3, none)])
    model = [(1, none), (2, listed(graphs, graph)), (4, none)]
    builder.Finish(table(model[:lists]), file_identifier=b"TFL3")
    Path("m.tflite").write_bytes(bytes(builder.Output()))


@pytest.mark.parametrize("counts", [(1, 10_000, 1_000), (1_000, 1_000, 4), (3, 300_000, 4)])
def test_parts_that_are_shared_very_often_are_refused(counts: tuple[int, int, int]) -> None:
    shared(*counts)
    said = (
        r"^model\.path: m\.tflite has .*B, and its parts are shared so often that it unfolds to m"
    )
    with pytest.raises(InputError, match=said):
        check_unfolded(Path("m.tflite"))


def test_a_file_without_its_lists_is_refused() -> None:
    shared(1, 3, 4, lists=2)
    with pytest.raises(
        InputError, match=r"^model\.path: m\.tflite is no file of LiteRT, or is dam"
    ):
        check_unfolded(Path("m.tflite"))


def test_parts_may_be_shared() -> None:
    shared(2, 1_000, 4)
    check_unfolded(Path("m.tflite"))


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\xff" * 100, bytes(100)])
def test_what_is_no_file_of_litert_is_told(content: bytes) -> None:
    shared(1, 3, 4)
    whole = Path("m.tflite").read_bytes()
    for each in (content, content + whole, whole[:40] + content):
        Path("m.tflite").write_bytes(each)
        try:
            check_unfolded(Path("m.tflite"))  # of some damage, LiteRT tells
        except InputError as error:
            assert str(error) == "model.path: m.tflite is no file of LiteRT, or is damaged"  # noqa: PT017
