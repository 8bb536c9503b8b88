"""Mutated configurations and probe files: done, or refused in lines; never anything else."""

from __future__ import annotations

import copy
import io
import math
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from runner.command_line.entry import main
from runner.config import catalogue
from runner.config.compose import compose_one
from runner.config.parsing import parse
from runner.config.probe_config import SOURCES
from runner.errors import InputError, Problem
from runner.probe.source import open_probe
from runner.tensors import InputSpec

resource = pytest.importorskip("resource", reason="measures memory as POSIX tells it")

EXPERIMENTS = ("digits_cnn", "iris_mlp", "lstm", "transformer", "two_inputs")
SECONDS = 20
"""What one case may take at most, a first import of TensorFlow included."""
BYTES = 2**30
"""What all cases together may add to the process's memory."""


@pytest.fixture(autouse=True)
def _memory_is_bounded() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < BYTES


def cases(fast: int, slow: int) -> Callable[[Any], Any]:
    """Return a parameter for how many cases are tried: few in every run, many in the slow one."""
    few = pytest.param(fast, id="fast")
    many = pytest.param(slow, id="slow", marks=[pytest.mark.slow, pytest.mark.timeout(480)])
    return pytest.mark.parametrize("count", [few, many])


def tried(count: int, strategy: st.SearchStrategy[Any], case: Callable[[Any], None]) -> None:
    """Try so many cases, each in bounded time."""

    @settings(max_examples=count, suppress_health_check=list(HealthCheck), database=None)
    @given(strategy)
    def timed(example: Any) -> None:
        start = time.monotonic()
        case(example)
        assert time.monotonic() - start < SECONDS

    timed()


# Configurations.

NUMBERS = [-1, 0, 1, 2, 2**40, 2**63, 10**30, -0.5, 0.5, 1.5, 1e300, math.nan, math.inf]
TEXTS = ["", " ", "..", "../x", "a/b", "a\0b", "a\nb", "con", "가나", "Dense", "relu", "input",
         "x:0", "x" * 300, "\N{BOM}", "é", "e\N{COMBINING ACUTE ACCENT}", "1e3", "12:30", "null",
         "<b>", "class_name", "layers"]  # fmt: skip
REFERENCES = ["???", "${seed}", "${model}", "${model.layers}", "${absent.x}", "${oc.env:ABSENT}",
              "${", "${}", "${a", "$", "${oc.decode:'[1'}", "${unknown:1}", "${..}"]  # fmt: skip


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


values = st.recursive(
    st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(TEXTS) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS), inner),
    max_leaves=6,
) | st.integers(1, 60).map(nested)


NAMES = [*catalogue.load().names("layers"), *catalogue.load().names("losses"), "relu", "hidden"]
plausible = st.sampled_from([*NAMES, 1, 2, 3, 8, 0.1, True, False, None, [3], [8, 8, 1]])


@cache
def valid(*, written: bool) -> list[dict[str, Any]]:
    """Return the packaged experiments as plain data, as written or as resolved."""
    words = [(), *((f"experiment={name}",) for name in EXPERIMENTS), ("train=fit",)]
    composed = [compose_one(chosen, "0a1b2c3d")[0] for chosen in words]
    if written:
        return [yaml.safe_load(one.files[".hydra/config.yaml"]) for one in composed]
    return [dict(one.resolved) for one in composed]


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place inside a value: what holds it, and its key there."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from nodes(value[key])


@st.composite
def configs(draw: st.DrawFn, *, written: bool) -> dict[str, Any]:
    """Draw a valid configuration with one thing, or a few, wrong in it."""
    strange = values | plausible | st.sampled_from(REFERENCES if written else TEXTS)
    config = copy.deepcopy(valid(written=written)[draw(st.integers(0, len(EXPERIMENTS) + 1))])
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        places = list(nodes(config))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        match draw(st.sampled_from(["replace", "replace", "drop", "rename", "add", "move"])):
            case "replace":
                holder[key] = draw(strange)
            case "drop":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[draw(st.sampled_from(TEXTS) | st.just(f"{key}s"))] = holder.pop(key)
            case "move":
                other, there = places[draw(st.integers(0, len(places) - 1))]
                holder[key] = copy.deepcopy(other[there])
            case _ if isinstance(holder, dict):
                holder[draw(st.sampled_from(TEXTS) | st.text(max_size=4))] = draw(strange)
        if not list(nodes(config)):
            break
    return config


def in_lines(error: InputError) -> None:
    """Hold an error to what a person is to see of it: lines that can be printed."""
    assert error.problems
    for problem in error.problems:
        line = str(problem)
        assert line.strip()
        assert "\n" not in line
        assert "\0" not in line
        line.encode("utf-8", "backslashreplace")


@cases(100, 1000)
def test_a_mutated_config_is_typed_or_refused(count: int) -> None:
    def case(config: dict[str, Any]) -> None:
        try:
            parse(config)
        except InputError as error:
            in_lines(error)

    tried(count, configs(written=False), case)


@cases(5, 20)
def test_a_mutated_config_file_builds_or_is_refused(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def case(config: dict[str, Any]) -> None:
        group = Path("own/experiment/mutated.yaml")
        group.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(config, allow_unicode=True, sort_keys=False)
        group.write_text("# @package _global_\n" + text, encoding="utf-8", errors="surrogatepass")
        code = main(["--config-dir", "own", "experiment=mutated", "++dry_run=true"])
        said = capsys.readouterr().err.splitlines()
        assert code == (2 if said else 0), said
        assert all(line.startswith("error: ") for line in said)
        assert [path.name for path in tmp_path.iterdir()] == ["own"]

    tried(count, configs(written=True), case)


# Probe files.


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def parquet_bytes() -> bytes:
    sink = pa.BufferOutputStream()
    columns = {
        "id": ["p", "q", "r"],
        "a": [1.0, 2.0, 3.0],
        "b": [4, 5, 6],
        "c": [True, False, True],
    }
    pa.parquet.write_table(pa.table(columns), sink, row_group_size=2)
    return bytes(sink.getvalue())


def picture_bytes(kind: str) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((5, 4)).save(file, kind)
    return file.getvalue()


VALID = {
    "csv": [
        b"a,b,c\n1,2,3\n4,5,6\n",
        "id,label,a,b,c\r\n\"가\",x,1,-2.5,3e4\r\n\"q,r\",y,4,5,nan\r\n".encode(),
    ],
    "npy": [npy_bytes(np.ones((4, 3))), npy_bytes(np.asfortranarray(np.eye(3, dtype="int16")))],
    "npz": [npz_bytes(x=np.ones((4, 3)), id=np.arange(4), label=np.array(list("abca")))],
    "parquet": [parquet_bytes()],
    "images": [picture_bytes(kind) for kind in ("png", "jpeg", "bmp", "gif", "tiff", "webp")],
}  # fmt: skip
PIECES = [b"", b"\0", b"\xff" * 4, b"\n", b'"', b",", b"nan", b"1e999", b"9" * 400, b"\xff\xfe",
          b"-", b"|O", b"|V8", b"M8[s]", b"(99999999999,)", b"PK\3\4", b"PAR1",
          b"\x93NUMPY"]  # fmt: skip


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a file of a kind: a valid one with some bytes changed, cut short, or anything."""
    source = draw(st.sampled_from(sorted(VALID)))
    if draw(st.integers(0, 9)) == 0:
        return source, draw(st.binary(max_size=200))
    data = bytearray(draw(st.sampled_from(VALID[source])))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["set", "set", "insert", "cut", "drop", "repeat"])):
            case "set" if start < len(data):
                data[start] = draw(st.integers(0, 255))
            case "insert":
                data[start:start] = draw(st.sampled_from(PIECES))
            case "cut":
                del data[start:]
            case "drop":
                del data[start : start + draw(st.integers(1, 9))]
            case _:
                data[start:start] = data[start : start + 40] * draw(st.integers(1, 30))
    return source, bytes(data)


@cases(150, 1500)
def test_a_mutated_probe_file_is_read_or_refused(count: int) -> None:
    def case(example: tuple[str, bytes]) -> None:
        read(*example)

    tried(count, files(), case)


def read(source: str, data: bytes) -> None:
    """Read a file as a probe to its end, or see it refused."""
    path = Path("data", "one.png" if source == "images" else "one")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    chosen = path.parent if source == "images" else path
    config = SOURCES[source].model_validate({"source": source, "path": str(chosen)})
    spec = InputSpec("input", (4, 4, 3) if source == "images" else (3,), "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a second frame, that it is not shown
        try:
            for batch in open_probe(config, [spec]).batches(2):  # type: ignore[arg-type]
                assert batch.inputs.shape[1:] == spec.shape
        except InputError as error:
            in_lines(error)


# What these tests found, each once.


def with_byte(data: bytes, place: int, value: int) -> bytes:
    return data[:place] + bytes([value]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("csv", b"\0,b,c\n1,2,3\n"),
        ("csv", b"\0d,label,a,b,c\n1,x,1,2,3\n"),
        ("npy", with_byte(VALID["npy"][0], 7, 214)),  # of a version that there is not
        ("npy", VALID["npy"][0].replace(b"(4, 3)", b"(4L,3)")),  # as Python 2 wrote it
        ("parquet", VALID["parquet"][0].replace(b"\x15\x04\x15", b"\x15\x00\x15", 2)),
        ("images", with_byte(picture_bytes("png"), 11, 0)),
        ("images", with_byte(picture_bytes("bmp"), 21, 2)),
        ("images", with_byte(picture_bytes("bmp"), 46, 1)),
        ("images", with_byte(picture_bytes("gif"), 30, 0)),
        ("images", with_byte(picture_bytes("tiff"), 4, 1)),
        ("images", with_byte(picture_bytes("tiff"), 72, 2)),
    ],
)
def test_a_file_that_once_ended_in_a_traceback(source: str, data: bytes) -> None:
    read(source, data)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["name='${'"], "name: no viable alternative at input '${'"),
        (["model.hidden_units=1" + "0" * 15], "model.hidden_units: an integer here is at "),
    ],
)
def test_words_that_once_ended_in_several_lines_or_a_traceback(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "dry_run=true"]) == 2
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: {line}")


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("${absent.x}", "refers to 'absent.x', which is not in the configuration"),
        ("${model}", "${model} cannot be resolved: Recursive interpolation detected"),
        ("${", "no viable alternative at input '${'"),
    ],
)
@pytest.mark.parametrize("words", [["--config-name", "own"], ["experiment=own"]])
def test_a_model_that_once_ended_in_a_traceback(
    words: list[str], model: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine/experiment").mkdir(parents=True)
    text = f"model: '{model}'\n"
    Path("mine/own.yaml").write_text(f"defaults: [config, _self_]\n{text}")
    Path("mine/experiment/own.yaml").write_text(f"# @package _global_\n{text}")
    assert main(["--config-dir", "mine", *words]) == 2
    assert capsys.readouterr().err == f"error: model: {line}\n"


def test_a_problem_is_one_line_whatever_is_in_it() -> None:
    assert str(Problem("a\nb", "c\0 가", "\x1b[2J")) == r"a\nb: c\x00 가; \x1b[2J"
