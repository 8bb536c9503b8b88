"""Files of PyTorch whose pickles hold other things than tensors, or far too many."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from runner.command_line.commands import main
from runner.converted_models.torch_file import read_torch

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")

IN_ZIP, BEFORE, RENAMED = "data.pkl", "", "DATA.PKL"
ONE, EMPTY = b"K\x01", b"ccollections\nOrderedDict\n)R"
TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n"
    b"X\1\0\0\x000X\3\0\0\0cpuK\x0atQK\0K\5K\2\x86K\2K\1\x86\x89" + EMPTY + b"%btR"
)
NOT_NEEDED = "holds %s, which tensors do not need, and which is not loaded; save the tensors alone"
OTHERS = "is a pickle of other things than tensors, which is not loaded, since it can run code"
KEYS = "has keys that are neither texts nor small integers"
PARTS = "holds more than 500,000 parts"


def call(name: str, *arguments: bytes) -> bytes:
    return b"c" + name.replace(".", "\n").encode() + b"\n(" + b"".join(arguments) + b"tR"


def hold(value: bytes, form: str) -> None:
    """Write a file whose pickle is a mapping that holds a value."""
    pickled = b"\x80\x02}X\1\0\0\0a" + value + b"s."
    if form == BEFORE:  # version 1.6 of PyTorch, with an archive behind it
        Path("t.pt").write_bytes(pickled + Path("whole.pt").read_bytes())
        return
    with zipfile.ZipFile("whole.pt") as whole, zipfile.ZipFile("t.pt", "w") as made:
        for each in whole.namelist():
            data = pickled if each.endswith("data.pkl") else whole.read(each)
            made.writestr(each.replace("data.pkl", form), data)


@pytest.fixture(autouse=True)
def _whole() -> None:
    torch.save({"a": torch.arange(10.0).reshape(5, 2)}, "whole.pt")


LONG = b"(" + 101 * ONE + b"tq\1"
MANY = b"}(" + b"".join(b"J" + number.to_bytes(4, "little") + ONE for number in range(101)) + b"u"


@pytest.mark.parametrize("form", [IN_ZIP, BEFORE, RENAMED])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (call("builtins.bytearray", b"J\0\x94\x35\x77"), NOT_NEEDED % "builtins.bytearray"),
        (call("__builtin__.bytearray", b"J\0\x94\x35\x77"), NOT_NEEDED % "__builtin__.bytearray"),
        (call("_codecs.encode", b"X\1\0\0\0a"), NOT_NEEDED % "_codecs.encode"),
        (call("__builtin__.set", b"]"), NOT_NEEDED % "__builtin__.set"),
        (call("collections.Counter", b"]"), NOT_NEEDED % "collections.Counter"),
        (call("torch.Tensor", ONE), NOT_NEEDED % "torch.Tensor"),
        (b"ctorch.storage\nUntypedStorage\n(J\0\x94\x35\x77tR", OTHERS),
        (call("torch.Size", b"]"), OTHERS),
        (call("torch.Size", LONG), OTHERS),
        (call("torch.Size", b"X\x65\0\0\0" + 101 * b"1"), OTHERS),
        (call("collections.OrderedDict", b"]"), OTHERS),
        (TENSOR % MANY, OTHERS),
        (b"((X\7\0\0\0storage)ttQ", OTHERS),
        (b"\x8f", OTHERS),
        (b"}" + ONE + b"b", OTHERS),
        (b"}\x8a\x09" + 8 * b"\xff" + b"\1" + ONE + b"s", KEYS),
        (b"}" + ONE + b"\x85" + ONE + b"s", KEYS),
        (b"](" + 500_000 * b"]" + b"e", PARTS),
        (b"]q\1(" + b"h\1\x85" * 500_000 + b"e", PARTS),
        (b"](" + EMPTY + MANY + b"q\1" + (EMPTY + b"h\1b") * 5_000 + b"e", PARTS),
        (b"](" + b"ctorch\nSize\nq\1)\x85q\2" + b"h\1h\2R" * 500_000 + b"e", PARTS),
    ],
    ids=range(21),
)
def test_a_pickle_of_other_things_than_tensors_is_refused(
    value: bytes, said: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hold(value, form)
    assert main(["adopt", "t.pt"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"FILES: t.pt {said}" in line


@pytest.mark.parametrize("form", [IN_ZIP, RENAMED])
def test_a_pickle_of_tensors_is_adopted(form: str) -> None:
    hold(TENSOR % b"", form)
    found = read_torch(Path("t.pt"), "", 10**9)
    assert np.array_equal(found["a"], np.arange(10.0).reshape(5, 2))


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_checkpoint_beside_tensors_is_adopted(is_zip: bool) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    small = torch.uint16 if is_zip else torch.uint8
    whole = {
        "hidden": torch.arange(10, dtype=torch.bfloat16).reshape(5, 2),
        "turned": torch.nn.Parameter(torch.ones(5, 2, dtype=torch.complex64)).conj(),
        "layers": {"weight": model[0].weight, "small": torch.ones(5, 2, dtype=small)},
        "rest": [optimizer.state_dict(), model.state_dict(), torch.Size([2, 3]), torch.float32],
        "more": [None, True, 1.5, 2**70, torch.device("cpu")],
    }
    torch.save(whole, "t.pt", _use_new_zipfile_serialization=is_zip)
    found = read_torch(Path("t.pt"), "", 10**9)
    assert list(found) == ["hidden", "turned", "layers/weight", "layers/small"]
    assert np.array_equal(found["hidden"], np.arange(10.0).reshape(5, 2))


def test_every_pickle_of_a_file_before_version_1_6_is_checked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.save({"a": torch.ones(5, 2)}, "t.pt", _use_new_zipfile_serialization=False)
    content = Path("t.pt").read_bytes()
    kept = content[: content.index(b"\x80\2}q\0X\1\0\0\0a")]
    hold(call("__builtin__.set", b"]"), BEFORE)
    Path("t.pt").write_bytes(kept + Path("t.pt").read_bytes())
    assert main(["adopt", "t.pt"]) == 2
    assert "t.pt holds __builtin__.set, which tensors do not need" in capsys.readouterr().err
    Path("t.pt").write_bytes(kept + b"\x80\2}\xff")
    assert main(["adopt", "t.pt"]) == 2
    assert "t.pt is no file of PyTorch, or is damaged" in capsys.readouterr().err
