"""Runs of others that would take far more time or memory than they have bytes."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from forging import arrow, forge, parquet, put_file, tensor_of
from making import make_run

import runner
from runner.command_line.entry import main
from runner.command_line.progress import closing
from runner.errors import DamagedError, InputError
from runner.flat_buffers import FlatTable
from runner.report.network import feeders, layer_tree
from runner.report.run_page import page_of_run
from runner.runs.configs import MOST_KEYS, differing_values
from runner.runs.database import views_in
from runner.runs.short_labels import run_labels
from runner.sameness.repetition import code_of
from runner.stores.staging import Staging
from runner.thrift import varint

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "outputs/run")


@pytest.fixture(autouse=True)
def is_quick() -> Iterator[None]:
    """Each takes a second or two; without its bound, minutes."""
    began = time.process_time()
    yield
    assert time.process_time() - began < 20


@pytest.mark.parametrize("shape", [[10**9, 0], [0, 2**31], [2**61, 0], [2**40, 2**40, 0]])
def test_a_long_axis_beside_an_empty_one_is_refused(shape: list[int], run: Path) -> None:
    forge(run, lambda record: tensor_of(record).update(shape=shape, axes=None))
    if shape[0] == 10**9:  # which an array can have
        with pytest.raises(DamagedError, match="expected 1 columns"):
            runner.open_run(run).array("hidden")
        return
    with pytest.raises(DamagedError, match="values are not in a file of"):
        runner.open_run(run)


def test_many_packages_of_an_unknown_format_are_looked_up_at_once(run: Path) -> None:
    def edit(record: dict[str, Any]) -> None:
        named = {f"missing{number}": "1" for number in range(30_000)}
        record.update(format="nosuch")
        record["environment"]["packages"] = {"Activation_Runner": "0", **named}

    with pytest.raises(DamagedError, match=r"install missing0 1, .* and 29994 more"):
        runner.open_run(forge(run, edit))


def test_runs_differ_in_a_bounded_number_of_keys_those_of_most_runs_first() -> None:
    others = [{"seed": seed, "model": {"units": 4}} for seed in range(300)]
    forged = {**{f"k{number}": number for number in range(200_000)}, "seed": 300, "model": {}}
    columns = differing_values([forged, *others])
    assert len(columns) <= MOST_KEYS
    assert columns["seed"] == [300, *range(300)]
    assert {"model.units", "k0"} & columns.keys() == {"k0"}
    inside: dict[str, Any] = {"seed": 0, "model": {**forged, "units": 2}}
    assert {"seed", "model.units"} < differing_values([inside, *others]).keys()


def test_each_configuration_is_read_once_however_many_keys_the_others_have() -> None:
    reads: list[str] = []

    class Watched(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            reads.append(key)
            return super().get(key, default)

        def items(self) -> Any:
            reads.append("")
            return super().items()

    configs = [Watched({f"k{run}_{key}": key for key in range(5)}) for run in range(200)]
    assert len(differing_values(configs)) == 1000
    assert len(reads) <= 3 * len(configs)


def test_long_paths_are_not_shortened_part_by_part(tmp_path: Path) -> None:
    paths = [start + "/a" * 200_000 for start in "xy"]
    runs = runner.open_runs([make_run(tmp_path / path[0], config={"path": path}) for path in paths])
    labels, about = run_labels(list(runs), {"path": paths})
    assert (list(labels.values()), about) == (paths, "path")


def test_names_that_differ_in_case_are_told_apart_in_sql() -> None:
    names = ["".join(letters) for letters in itertools.product("aA", repeat=12)]
    views = dict(views_in(" ".join("a" * 12 + "_" * count for count in (0, 4095)), names))
    assert views["a" * 12] == "a" * 12
    assert views["A" * 12] == "A" * 12 + "_" * 4095
    assert dict(views_in("from a a_ a__ runs_", ["a", "A_", "A", "RUNS"])) == {
        "a": "a", "A_": "A_", "A": "A__", "RUNS": "RUNS_",
    }  # fmt: skip


def test_a_report_of_many_aliases_and_inputs_takes_one_pass(run: Path) -> None:
    def edit(record: dict[str, Any]) -> None:
        [layer] = record["layers"]
        wire = {"argument": "inputs", "tensor": "hidden"}
        for number in range(3000):
            path = f"drop{number}"
            own = dict(layer["tensors"][0], name=path, layer_path=path, alias_of="hidden")
            own["order"] = order = number + 1
            calls = [{"name": path, "wires": [wire] * 20}]
            record["layers"] += [
                dict(layer, path=path, order=order, tensors=[own], calls=calls),
                {
                    **layer,
                    "path": f"in{number}",
                    "layer_class": "InputLayer",
                    "tensors": [],
                    "calls": [],
                },
            ]

    record = runner.open_run(forge(run, edit)).record
    feeds = feeders(record)
    assert feeds["drop0"] == ["hidden"]
    assert feeds["drop2999"] == ["drop2998"]
    assert len(layer_tree(record.layers)) == len(record.layers)


def test_a_footer_of_empty_structs_is_refused_at_the_first(run: Path) -> None:
    schema = b"\x15\x02\x19\xfc" + varint(10_000_000) + bytes(10_000_001)
    data = b"PAR1" + schema + struct.pack("<I", len(schema)) + b"PAR1"
    put_file(run, "summary.parquet", data)
    with pytest.raises(DamagedError, match="its metadata is damaged"):
        _ = runner.open_run(run).summary


def test_a_batch_that_is_listed_again_and_again_is_read_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", format="arrow")
    rows = pa.table({"sample": pa.array(["x" * 1000] * 1000)})
    data = bytearray(arrow(pa.concat_tables([*[rows.slice(0, 1)] * 2, rows])))
    [length] = struct.unpack("<i", data[-10:-6])
    start = len(data) - 10 - length
    blocks, count = FlatTable.root(bytes(data[start:])).vector(3)
    place = start + blocks
    data[place : place + 24 * count] = data[place + 24 * (count - 1) : place + 24 * count] * count
    put_file(run, "probe.arrow", bytes(data))
    with pytest.raises(DamagedError, match=r"found 2,\d{3},\d{3} bytes of values in fewer"):
        _ = runner.open_run(run).samples


@pytest.mark.parametrize("name", ["probe.parquet", "summary.parquet"])
def test_a_tensor_of_more_axes_than_an_array_has_is_refused(name: str, run: Path) -> None:
    rows = 3 if name == "probe.parquet" else 1
    kind = pa.fixed_shape_tensor(pa.float32(), [1] * 65)
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows), pa.float32()), 1)
    tensors = pa.ExtensionArray.from_storage(kind, values)
    table = pa.table({"sample": pa.array(range(rows), pa.int64()), "x": tensors})
    put_file(run, name, parquet(table, write_statistics=False))
    shown = runner.open_run(run)
    with pytest.raises(DamagedError, match="expected numbers, text or tensors in 'x'"):
        _ = shown.probe if rows == 3 else shown.summary


def test_folders_in_folders_are_walked_to_any_depth(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = "import os\nfor _ in range(1500): os.mkdir('a'); os.chdir('a')\nopen('z', 'w').close()"
    subprocess.run([sys.executable, "-c", deep], cwd=run, check=True)
    try:
        assert main(["verify", str(run)]) == 1
        assert re.search("^error: (a/)+.*(is not a file of the run|name too long)",
                         capsys.readouterr().err)  # fmt: skip
    finally:
        subprocess.run(["rm", "-rf", str(run / "a")], check=True)


def test_a_pipe_that_is_named_like_a_draft_is_not_waited_for(tmp_path: Path) -> None:
    host = re.sub(r"[^A-Za-z0-9-]", "_", socket.gethostname())[:63]
    pipe = tmp_path / f".run.{host}.1.00000000.staging"
    os.mkfifo(pipe)
    Staging(tmp_path / "run").remove()
    assert pipe.exists()


def test_a_draft_left_over_that_is_nested_very_deeply_stops_no_run(tmp_path: Path) -> None:
    host = re.sub(r"[^A-Za-z0-9-]", "_", socket.gethostname())[:63]
    left = tmp_path / f".run.{host}.1.00000000.staging"
    left.mkdir()
    deep = "import os\nfor _ in range(1500): os.mkdir('a'); os.chdir('a')"
    subprocess.run([sys.executable, "-c", deep], cwd=left, check=True)
    try:
        staging = Staging(tmp_path / "run")
        assert staging.path.is_dir()
        staging.remove()
        assert not staging.path.exists()
    finally:
        subprocess.run(["rm", "-rf", str(left)], check=True)


def test_a_long_error_is_cut_in_the_summary_of_a_sweep() -> None:
    said = closing(Path("sweep"), {"0": "x" * 10_000_000, "1": None}, 2)
    assert said.startswith("1 of 2 runs completed: sweep")
    assert len(said) < 2000


def test_a_deep_configuration_is_not_repeated(run: Path) -> None:
    deep = json.loads("[" * 150 + "]" * 150)
    with pytest.raises(InputError, match="config: is nested too deeply to be read"):
        code_of(runner.open_run(forge(run, lambda record: record["config"].update(extra=deep))))


def trained(folder: Path, metrics: int) -> Path:
    history = {f"m{number}": [1.0] for number in range(metrics)}

    def edit(record: dict[str, Any]) -> None:
        record["training"] = {"epochs": 1, "unit": "epoch", "history": history}
        record["files"]["history.parquet"] = record["files"]["summary.parquet"]

    return forge(make_run(folder), edit)


def test_the_figures_of_a_training_are_of_a_bounded_number(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match=r"training\.history.*at most 10000 items"):
        runner.open_run(trained(tmp_path / "run", 10_001))


def test_a_page_draws_some_of_many_metrics(tmp_path: Path) -> None:
    part = page_of_run(runner.open_run(trained(tmp_path / "run", 1000))).parts["training"]
    assert len(part.data["curves"]) == 100
    assert part.data["metrics"] == "100 of 1,000 metrics, evenly spaced"
    few = page_of_run(runner.open_run(trained(tmp_path / "few", 3))).parts["training"]
    assert [name for name, _ in few.data["curves"]] == ["m0", "m1", "m2"]
    assert few.data["metrics"] == ""
