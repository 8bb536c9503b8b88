"""Runs that somebody forged: each is answered in a line, and decides nothing outside its folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from forging import Edit, arrow, forge, parquet, put_file, tensor_of
from making import make_run

import runner
from runner import parquet_layout
from runner.command_line.entry import main
from runner.errors import DamagedError, InputError
from runner.experiment.earlier import is_done, make_room, outcomes_of, sweep_of
from runner.record.effect_record import EffectRecord
from runner.report.shown_sweep import ShownSweep
from runner.runs.locate import look_below
from runner.saving.effect_parts import table_of_parts
from runner.views.runs import RUNS

VERSION_1 = Path(__file__).parent / "data" / "version_1"


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A run that an earlier Runner made: a training with two steps."""
    return Path(shutil.copytree(VERSION_1, tmp_path / "real"))


def test_a_run_of_version_1_is_read(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = runner.open_run(real)
    assert run.record.name == "tutorial"
    assert run.steps == [0, 2]
    assert run.table("hidden", step="all").shape == (6, 4)
    assert len(run.history) == 2
    assert len(run.step_summary) == 2 * len(run.summary) == 12
    assert run["output"].loc[0].sum() == pytest.approx(1)
    assert main(["verify", str(real)]) == 0
    assert capsys.readouterr().out.endswith("files, none wrong\n")
    assert main(["show", str(real)]) == 0
    assert main(["explain", "output", "u1", str(real), "--sample", "0"]) == 0
    assert "equals the stored value" in capsys.readouterr().out


def commands(folder: Path, other: Path) -> list[list[str]]:
    run = str(folder)
    return [
        ["show", run],
        ["explain", "hidden", "u1", run, "--sample", "1"],
        ["diff", run, str(other)],
        ["similarity", run, str(other)],
        ["verify", run],
        ["report", run],
        ["rerun", run],
    ]


RECORDS: dict[str, tuple[Edit, str]] = {
    "id": (lambda r: r.update(run_id="../../x"), "run_id"),
    "id of a terminal": (lambda r: r.update(run_id="\x1b[31mred"), "run_id"),
    "id of a sweep": (lambda r: r.update(run_id="abc", sweep="abc"), "run_id"),
    "sweep": (lambda r: r.update(sweep="../x", run_id="a-0"), "sweep"),
    "status": (lambda r: r.update(status="FAILED"), "error"),
    "no probe": (lambda r: r.update(probe=None), "probe"),
    "no model": (lambda r: r.update(model=None), "model"),
    "time": (lambda r: r.update(ended="0001-01-01T00:00:00+00:00"), "ended"),
    "local time": (lambda r: r.update(ended="2026-01-01T00:00:00"), "ended"),
    "seconds": (lambda r: r.update(seconds=float("nan")), "seconds"),
    "negative seconds": (lambda r: r.update(seconds=-1), "seconds"),
    "infinite seconds": (lambda r: r.update(seconds=float("inf")), "seconds"),
    "uptime": (lambda r: r.update(uptime={"boot": "0" * 16, "seconds": -1}), "uptime.seconds"),
    "threads": (lambda r: r["backend"].update(intra_op_threads=-1), "backend.intra_op_threads"),
    "picture": (lambda r: r["probe"].update(picture=[-2, -2]), "probe.picture.0"),
    "figure": (
        lambda r: r["training"]["history"].update(loss=[1, float("nan")]),
        "training.history.loss.1",
    ),
    "format": (lambda r: r.update(format="pickle"), "format"),
    "other format": (lambda r: r.update(format="csv"), "layers"),
    "shape": (lambda r: tensor_of(r).update(shape=[-4]), "layers.0.tensors.0.shape.0"),
    "wide shape": (lambda r: tensor_of(r).update(shape=[10**9, 4]), "hidden"),
    "deep shape": (lambda r: tensor_of(r).update(shape=[1] * 100), "layers.0.tensors.0.shape"),
    "dtype": (lambda r: tensor_of(r).update(dtype="O"), "layers.0.tensors.0.dtype"),
    "kind": (lambda r: tensor_of(r).update(kind="x"), "layers.0.tensors.0.kind"),
    "layer": (lambda r: tensor_of(r).update(layer_path="other"), "hidden"),
    "call": (lambda r: tensor_of(r).update(call=-1), "layers.0.tensors.0.call"),
    "axes": (lambda r: tensor_of(r).update(axes=["channel", "unit"]), "hidden"),
    "axis": (lambda r: tensor_of(r).update(axes=["<b>"]), "layers.0.tensors.0.axes.0"),
    "alias": (lambda r: tensor_of(r).update(alias_of="nothing"), "hidden"),
    "twice": (lambda r: r["layers"][0]["tensors"].append(tensor_of(r)), "hidden"),
    "bytes": (lambda r: tensor_of(r).update(bytes=-1), "layers.0.tensors.0.bytes"),
    "hash": (lambda r: tensor_of(r).update(sha256="x"), "layers.0.tensors.0.sha256"),
    "absolute": (lambda r: tensor_of(r).update(file="/etc/passwd"), "layers.0.tensors.0.file"),
    "above": (lambda r: tensor_of(r).update(file="a/../../b.parquet"), "layers.0.tensors.0.file"),
    "file above": (lambda r: r["files"].update({"../x": r["files"]["run.log"]}), "files.../x"),
    "itself": (lambda r: r["files"].update({"run.json": r["files"]["run.log"]}), "files"),
    "no summary": (lambda r: r["files"].pop("summary.parquet"), "files"),
    "rows": (lambda r: r["probe"].update(rows=10**12), "probe.rows"),
    "no rows": (lambda r: r["probe"].update(rows=0), "probe.rows"),
    "probe's file": (lambda r: r["probe"].update(file="run.log"), "probe.file"),
    "no inputs": (lambda r: r["probe"].update(inputs=[]), "probe.inputs"),
    "input": (lambda r: r["probe"]["inputs"][0].update(shape=[-1]), "probe.inputs.0.shape.0"),
    "steps": (lambda r: r["steps"].reverse(), "steps"),
    "step's folder": (lambda r: r["steps"][0].update(folder="../x"), "steps.0.folder"),
    "step's files": (lambda r: r["steps"][0]["files"].popitem(), "steps"),
    "history": (lambda r: r["training"]["history"].update(loss=[]), "training.history"),
    "epochs": (lambda r: r["training"].update(epochs=-1), "training.epochs"),
    "count": (lambda r: r["headline"].update(nan=-1), "headline.nan"),
    "huge count": (lambda r: r["headline"].update(nan=10**30), "headline.nan"),
    "depth": (lambda r: r.update(config=json.loads('{"a":' * 900 + "1" + "}" * 900)), ""),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_forged_record_is_refused_in_a_line_by_every_command(
    name: str, real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit, key = RECORDS[name]
    other = shutil.copytree(real, tmp_path / "other")
    forge(real, edit)
    for words in commands(real, other):
        assert main(words) == 2, words
        said = capsys.readouterr()
        assert said.out == ""
        [line] = said.err.splitlines()
        assert line.startswith(f"error: {real}/run.json: not a run record: '{key}" if key else "")
        assert line.isprintable()
    # Among others it is one warning and one row.
    assert main(["list", "--outputs", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.err.count("\n") == said.err.count("warning: left out: ") == 1
    assert [line.split()[0] for line in said.out.splitlines()[1:]].count("UNREADABLE") == 1
    with pytest.warns(UserWarning, match=r"left out: .*run\.json"):
        frame = runner.open_runs(tmp_path).frame
    assert frame["status"].tolist() == ["COMPLETED", "UNREADABLE"]
    assert str(real) in frame["error"].iloc[1]


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the place of every value of a record that may not be anything at all."""
    if isinstance(value, dict | list) and value:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if key not in ("config", "arguments", "settings", "derivation", "derivations"):
                yield from leaves(item, (*path, key))
    elif path != ("record_sha256",):
        yield path


def test_a_record_with_any_value_forged_is_found_among_fifty(tmp_path: Path) -> None:
    made = make_run(tmp_path / "sweep" / "0", {"hidden": np.ones((3, 2), np.float32)})
    for number in range(1, 50):
        shutil.copytree(made, tmp_path / "sweep" / str(number))
    forged = tmp_path / "sweep" / "25"
    text = (forged / "run.json").read_bytes()
    places = list(leaves(json.loads(text)))
    assert len(places) > 60
    for number, place in enumerate(places):

        def edit(record: dict[str, Any], place: tuple[str | int, ...] = place) -> None:
            *above, last = place
            inside: Any = record
            for key in above:
                inside = inside[key]
            inside[last] = {"other": 1.5}

        forge(forged, edit)
        with pytest.raises(DamagedError, match="a run record"):
            runner.open_run(forged)
        if number % 8 == 0:
            found = look_below(tmp_path / "sweep")
            assert [one.place for one in found.unreadable] == [str(forged)]
            assert len(found) == 49
        (forged / "run.json").write_bytes(text)


def test_a_link_that_leaves_the_folder_is_not_followed(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("nobody's business")
    table = real / "steps/2/activations/00_hidden.parquet"
    for target, link in ((secret, real / "run.log"), (Path("/dev/zero"), table)):
        link.unlink()
        link.symlink_to(target)
    (real / "pipes").mkdir()
    os.mkfifo(real / "pipes/one")
    (real / "weights").symlink_to("/etc")
    assert main(["verify", str(real)]) == 1
    said = capsys.readouterr().err
    assert "run.log: names a file outside the run, through a link" in said
    assert "00_hidden.parquet: names a file outside the run, through a link" in said
    assert "pipes/one: is not a file of the run" in said
    assert "weights: is not a file of the run" in said
    assert hashlib.sha256(secret.read_bytes()).hexdigest()[:12] not in said
    for words in (["show", str(real)], ["report", str(real)], ["diff", str(real), str(VERSION_1)]):
        assert main(words) == 2
        assert "names a file outside the run, through a link" in capsys.readouterr().err


def test_a_link_inside_the_folder_is_a_file_of_the_run(real: Path) -> None:
    table = real / "summary.parquet"
    table.rename(real / "elsewhere")
    table.symlink_to("elsewhere")
    assert len(runner.open_run(real).summary) == 6


def test_a_pipe_in_the_place_of_a_table_is_not_waited_for(real: Path) -> None:
    table = real / "summary.parquet"
    table.unlink()
    os.mkfifo(table)
    with pytest.raises(DamagedError, match=r"summary\.parquet: is not a regular file"):
        _ = runner.open_run(real).summary
    (real / "run.json").unlink()
    os.mkfifo(real / "run.json")
    with pytest.raises(DamagedError, match=r"run\.json: is not a regular file"):
        runner.open_run(real)


def test_a_record_is_read_up_to_a_limit(
    real: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forge(real, lambda record: record.update(config={"padding": "x" * 100_000}))
    monkeypatch.setenv("RUNNER_MAX_RECORD", "100000")
    assert main(["show", str(real)]) == 2
    assert "a run record of more than 100,000 bytes" in capsys.readouterr().err
    monkeypatch.delenv("RUNNER_MAX_RECORD")
    assert runner.open_run(real).config == {"padding": "x" * 100_000}
    with (real / "run.json").open("wb") as file:
        file.truncate(10**12)  # takes no room, and would take a terabyte of memory
    with pytest.raises(DamagedError, match=r"a run record of more than 67,108,864 bytes"):
        runner.open_run(real)


ZEROS = pa.table(
    {
        "sample": pa.array(range(3), pa.int64()),
        **{f"u{unit}": pa.array(np.zeros(3), pa.float32()) for unit in range(4)},
    }
)


TEXT = pa.table({"sample": range(3), "x": [bytes(np.random.default_rng(0).bytes(4000)).hex()] * 3})
MANY = pa.table({"sample": range(5000), "x": np.zeros(5000)})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (parquet(TEXT, compression="zstd", row_group_size=1), "found compression in 'sample'"),
        (parquet(TEXT, use_dictionary=True), "found encoded values in 'sample'"),
        (parquet(MANY), "expected 3 rows, found 5,000"),
        (
            parquet(TEXT, column_encoding={"sample": "PLAIN", "x": "DELTA_BYTE_ARRAY"}),
            "found encoded values in 'x'",
        ),
        (b"PAR1" + b"\0" * 5000 + b"PAR1", "expected a table as parquet, found a damaged file"),
        (b"x" * 5000, "expected a table as parquet, found a damaged file"),
    ],
)
def test_a_parquet_file_that_unfolds_is_not_read(data: bytes, said: str, tmp_path: Path) -> None:
    run = put_file(make_run(tmp_path / "run"), "probe.parquet", data + b"" * 5000)
    with pytest.raises(DamagedError, match=said):
        _ = runner.open_run(run).samples


def empty_batches(count: int) -> bytes:
    """Return an Arrow file with groups of no rows before its own."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, ZEROS.schema) as writer:
        for _ in range(count):
            writer.write_batch(pa.RecordBatch.from_pylist([], schema=ZEROS.schema))
        writer.write_table(ZEROS)
    return sink.getvalue().to_pybytes()


def test_metadata_that_takes_far_more_than_the_table_is_not_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = put_file(make_run(tmp_path / "run"), "probe.parquet", parquet(TEXT, row_group_size=1))
    with monkeypatch.context() as patch:
        patch.setattr(parquet_layout, "_FOOTER_BYTES", 100)
        patch.setattr(parquet_layout, "_TIMES", 1000)
        with pytest.raises(DamagedError, match=r"kB describe its columns and groups of rows, the"):
            _ = runner.open_run(run).samples
    assert len(runner.open_run(run).samples) == 3


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (arrow(ZEROS, "zstd"), "found compressed buffers"),
        (arrow(ZEROS, "lz4"), "found compressed buffers"),
        (
            arrow(ZEROS.set_column(1, "u0", ZEROS["u0"].dictionary_encode())),
            "found dictionaries",
        ),
        (arrow(pa.concat_tables([ZEROS] * 2)), "expected 3 rows, found 6"),
        (empty_batches(1000), "found 1,001 groups of fewer rows"),
        (arrow(ZEROS)[:-1], "expected a"),
        (b"ARROW1\0\0" + b"\xff" * 100 + b"\xf8\0\0\0ARROW1", "expected a"),
        (b"", "expected a"),
    ],
)
def test_an_arrow_file_that_unfolds_is_not_read(data: bytes, said: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", format="arrow")
    name = "activations/00_hidden.arrow"
    put_file(run, name, data.ljust(len(data)))
    with pytest.raises(DamagedError, match=said):
        _ = runner.open_run(run)["hidden"]


def test_an_arrow_file_that_says_more_rows_than_it_holds_is_not_read(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", format="arrow")
    name = "activations/00_hidden.arrow"
    data = (run / name).read_bytes()
    # Three rows everywhere become a million, in the lengths of the batch and its columns.
    forged = data.replace((3).to_bytes(8, "little"), (10**6).to_bytes(8, "little"))
    assert forged != data
    put_file(run, name, forged)
    forge(run, lambda record: record["probe"].update(rows=record["probe"]["rows"]))
    with pytest.raises(DamagedError, match=r"00_hidden\.arrow: expected"):
        _ = runner.open_run(run)["hidden"]


@pytest.mark.parametrize("format", ["parquet", "arrow", "csv"])
def test_a_large_table_of_equal_values_is_read(format: str, tmp_path: Path) -> None:
    values = {"hidden": np.zeros((20_000, 8), np.float32), "flags": np.zeros((20_000, 8), bool)}
    run = runner.open_run(
        make_run(
            tmp_path / "run",
            values,
            samples=["all the same"] * 20_000,
            inputs=np.zeros((20_000, 2), np.float32),
            format=format,
        )
    )
    assert run["hidden"].shape == run.array("flags").shape == (20_000, 8)
    assert len(run.probe) == len(run.samples) == 20_000


def test_statistics_of_other_tensors_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = (
        make_run(tmp_path / "run"),
        make_run(tmp_path / "other", {"x": np.ones((3, 2), np.float32)}),
    )
    put_file(run, "summary.parquet", (other / "summary.parquet").read_bytes())
    for command in ("show", "report"):
        assert main([command, str(run)]) == 2
        said = capsys.readouterr().err
        assert said.endswith("summary.parquet: expected a row for each tensor of the run\n")
    put_file(run, "summary.parquet", parquet(pa.table({"name": ["hidden"]})))
    assert main(["show", str(run)]) == 2
    assert "expected a column 'kind', found none" in capsys.readouterr().err


# One among many.


def sweep(folder: Path, count: int = 4) -> Path:
    for job in range(count):
        make_run(
            folder / f"{job}_seed={job}",
            {"hidden": np.full((3, 2), job, np.float32)},
            run_id=f"5eed5eed-{job}",
            sweep="5eed5eed",
            config={"seed": job},
            overrides=(f"seed={job}",),
            fingerprint=f"{job:064}",
        )
    return folder


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unit", 0.5),
        ("unit", 1e300),
        ("samples", np.inf),
        ("samples", np.nan),
        ("flipped", 5.0),
        ("kl", np.inf),
    ],
)
def test_figures_that_no_effect_has_are_refused(
    name: str, value: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    effect = EffectRecord(layer="hidden", unit=1, output="hidden", samples=3, mean_abs=0.5)
    forge(run, lambda record: record["files"].update({"effects.parquet": {}}))
    forge(run, lambda record: record.update(effect_rows=1, effects=[dataclasses.asdict(effect)]))
    table = table_of_parts([(("class", "0"), effect)])
    words = ["effects", str(run), "--by", "class"]
    put_file(run, "effects.parquet", parquet(table))
    assert main(words) == 0
    place = table.column_names.index(name)
    table = table.set_column(place, name, pa.array([value]))
    put_file(run, "effects.parquet", parquet(table))
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said == f"error: {run}/effects.parquet: no effects have such figures in '{name}'\n"


def test_effects_of_all_changes_stand_beside_those_of_units(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    forge(run, lambda record: record["files"].update({"effects.parquet": {}}))
    put_file(run, "effects.parquet", parquet(table_of_parts([])))
    effect = EffectRecord(output="hidden", samples=3, mean_abs=0.5)
    of_unit = dataclasses.replace(effect, layer="hidden", unit=1)
    both = [dataclasses.asdict(each) for each in (effect, of_unit)]
    forge(run, lambda record: record.update(effect_rows=1, effects=both))
    assert main(["effects", str(run)]) == 0
    assert "hidden u1" in capsys.readouterr().out
    forge(run, lambda record: record["effects"][0].update(unit=1))
    assert main(["effects", str(run)]) == 2
    said = "'effects.0': a head, unit or position is of a layer, and none is named"
    assert said in capsys.readouterr().err


def test_one_damaged_table_leaves_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sweep(tmp_path / "sweep")
    flip(folder / "1_seed=1/activations/00_hidden.parquet")
    runs = runner.open_runs(folder)
    left_out = r"1 of 4 runs are left out: .*1_seed=1/activations/00_hidden\.parquet: damaged"
    with pytest.warns(UserWarning, match=left_out):
        assert runs.table("hidden").shape == (9, 2)
    with pytest.warns(UserWarning, match=left_out):
        assert runs.sql("select count(*) as n from hidden")["n"].item() == 9
    with pytest.warns(UserWarning, match=left_out):
        assert runs.statistics()["runs"].tolist() == [3]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(runs.similarity()) == 3
        assert runs.to_xarray().sizes["run"] == 3
    assert sum(bool(re.search(left_out, str(one.message))) for one in caught) == 2
    assert main(["report", str(folder)]) == 0
    assert "1 of 4 runs" in capsys.readouterr().err
    page = (folder / "report.html").read_text("utf-8")
    assert "00_hidden.parquet: damaged" in page


@pytest.mark.parametrize("format", ["parquet", "arrow", "csv"])
def test_one_table_of_other_columns_leaves_the_others(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(3):
        make_run(tmp_path / f"{seed}", config={"seed": seed}, format=format)
    name = f"activations/00_hidden.{format}"
    other = (tmp_path / "1" / name).read_bytes().replace(b"u3", b"u9")
    put_file(tmp_path / "1", name, other)
    runs = runner.open_runs(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(runs.similarity("knn")) == 1
        assert runs.to_xarray().sizes["run"] == 2
    assert sum("1 of 3 runs are left out" in str(one.message) for one in caught) == 2
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().err.count("1 of 3 runs are not drawn") == 1


def test_a_table_of_text_in_place_of_numbers_is_left_out(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path / f"{seed}", config={"seed": seed}, format="csv")
    table = tmp_path / "1/activations/00_hidden.csv"
    lines = table.read_text().splitlines()
    lines[-1] = f"{lines[-1].rpartition(',')[0]},x"
    put_file(tmp_path / "1", "activations/00_hidden.csv", "\n".join([*lines, ""]).encode())
    runs = runner.open_runs(tmp_path)
    with pytest.warns(UserWarning, match="1 of 3 runs are left out"):
        assert runs.to_xarray().sizes["run"] == 2


def test_one_run_without_its_samples_leaves_the_others(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "sweep")
    (folder / "1_seed=1/probe.parquet").unlink()
    with pytest.warns(UserWarning, match="1 of 4 runs are left out"):
        assert runner.open_runs(folder).to_xarray().sizes["run"] == 3


def test_a_layer_that_is_named_like_a_word_of_a_query_disturbs_no_other(tmp_path: Path) -> None:
    values = np.zeros((3, 2), np.float32)
    make_run(tmp_path / "a", {"hidden": values})
    make_run(tmp_path / "b", {"hidden": values, "s": values, "n": values})
    flip(tmp_path / "b/activations/01_s.parquet")
    runs = runner.open_runs(tmp_path)
    assert runs.sql("select count(*) as n from hidden")["n"].item() == 6
    with pytest.raises(InputError, match="run 0a1b2c3d: no tensor 'n'"):
        runs.sql("select * from n")
    with pytest.raises(InputError, match="01_s"):
        runs.sql("select * from s", align="union")


def test_where_all_tables_are_damaged_the_first_is_named(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "sweep", 2)
    for table in folder.glob("*/activations/*"):
        flip(table)
    with pytest.raises(DamagedError, match=r"0_seed=0/activations/00_hidden\.parquet: damaged"):
        runner.open_runs(folder).table("hidden")


def test_one_unreadable_record_is_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sweep(tmp_path / "outputs/sweep")
    forge(folder / "2_seed=2", lambda record: record.update(run_id="abc"))
    shutil.rmtree(folder / "3_seed=3")
    for meant in (folder, "last", "5eed5eed"):
        with pytest.warns(UserWarning, match="a job of a sweep ends in -<number>, found 'abc'"):
            runs = runner.open_runs(meant)
        assert len(runs) == 2
        assert runs.frame["status"].tolist() == ["COMPLETED", "COMPLETED", "UNREADABLE"]
    assert main(["report", str(folder)]) == 0
    assert "ends in -&lt;number&gt;" in (folder / "report.html").read_text("utf-8")
    capsys.readouterr()
    assert main(["verify", str(folder)]) == 1
    said = capsys.readouterr()
    assert said.out.count("none wrong") == 2
    assert said.err.count("error: ") == said.err.count("\n") == 1
    assert main(["verify", "5eed5eed", "--outputs", str(tmp_path / "outputs")]) == 1
    said = capsys.readouterr()
    assert said.out.count("none wrong") == 2
    assert said.err.count("warning: left out: ") == said.err.count("\n") == 1


def test_a_job_without_a_record_is_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sweep(tmp_path / "outputs/sweep")
    (folder / "3_seed=3/run.json").unlink()
    failed = folder / "4_seed=4"
    others = {"other/.hydra/config.yaml", "own/summary.csv", "own/probe.csv", "model/weights/0.npy"}
    for name in ("4_seed=4/.hydra/config.yaml", "4_seed=4/run.log", *others):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    # No run either: empty, or being written.
    (folder / "5_seed=5").mkdir()
    shutil.copytree(folder / "3_seed=3", folder / ".6_seed=6")
    lost = [str(folder / "3_seed=3"), str(failed)]
    for meant in (folder, "last", "5eed5eed"):
        with pytest.warns(UserWarning, match="has the files of a run, but no run.json") as warned:
            runs = runner.open_runs(meant)
        assert len(warned) == 2
        assert [one.name for one in runs.unreadable] == ["3_seed=3", "4_seed=4"]
        assert runs.frame["status"].tolist() == ["COMPLETED"] * 3 + ["UNREADABLE"] * 2
    capsys.readouterr()
    assert main(["list", "--outputs", str(folder)]) == 0
    said = capsys.readouterr()
    assert said.out.count("UNREADABLE") == said.err.count("warning: left out: ") == 2
    assert main(["verify", str(folder)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: {place}: has the files of a run, but no run.json" for place in lost
    ]
    assert main(["show", lost[0]]) == 2
    assert "but no run.json" in capsys.readouterr().err


def test_the_report_shows_a_row_of_an_unreadable_run_beside_whole_numbers(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "sweep")
    (folder / "3_seed=3/run.json").write_bytes(b"")
    runs = look_below(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert RUNS.of_sweep is not None
        part = RUNS.of_sweep(ShownSweep(runs))
    assert part is not None
    table = part.shown["table"]
    assert table["columns"][:3] == ["seed", "run", "status"]
    assert len(set(table["columns"])) == len(table["columns"])
    assert [row[0] for row in table["data"]] == ["0", "1", "2", None]
    assert table["data"][3][:3] == [None, "3_seed=3", "UNREADABLE"]
    counts = [row[table["columns"].index("tensors")] for row in table["data"]]
    assert [repr(count) for count in counts] == ["1", "1", "1", "None"]


def test_a_sweep_goes_on_past_what_it_cannot_read(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "sweep")
    forge(folder / "0_seed=0", lambda record: record.update(run_id="../../elsewhere-0"))
    (folder / "1_seed=1/run.json").unlink()
    assert sweep_of(folder) == "5eed5eed"
    assert list(outcomes_of(folder, [(f"seed={job}",) for job in range(4)], "aaaa")) == [
        "2_seed=2",
        "3_seed=3",
    ]
    assert is_done(folder / "3_seed=3", f"{3:064}", ("seed=3",))
    for job in range(2):
        assert not is_done(folder / f"{job}_seed={job}", f"{job:064}", (f"seed={job}",))
        make_room(folder / f"{job}_seed={job}", f"aaaa-{job}")
    assert sorted(path.name for path in (folder / ".superseded").iterdir()) == [
        "0_seed=0-damaged",
        "1_seed=1-damaged",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep"]


def test_the_statistics_of_a_run_that_is_told_step_by_step_are_checked_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["name=small"]) == 0
    [run] = runner.open_runs("outputs")
    flip(run.path / "summary.parquet")
    capsys.readouterr()
    assert main(["show", "small"]) == 2
    assert "summary.parquet: damaged: expected" in capsys.readouterr().err


def test_a_table_of_holes_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run")
    name = "activations/00_hidden.parquet"
    with (run / name).open("r+b") as file:
        file.truncate(10**12)  # takes no room, and would take an hour to read
    forge(run, lambda record: tensor_of(record).update(bytes=10**12))
    with pytest.raises(DamagedError, match="is a sparse file: almost nothing is written in it"):
        _ = runner.open_run(run)["hidden"]
    assert main(["verify", str(run)]) == 1
    assert f"{name}: is a sparse file" in capsys.readouterr().err


def test_one_record_does_not_decide_whose_sweep_a_folder_is(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "sweep")
    assert sweep_of(folder) == "5eed5eed"
    forge(folder / "0_seed=0", lambda record: record.update(run_id="aaaa-0", sweep="aaaa"))
    with pytest.warns(UserWarning, match="sweep: 1 runs are of other sweeps than 5eed5eed, of mos"):
        assert sweep_of(folder) == "5eed5eed"


@pytest.mark.filterwarnings("always::UserWarning")
def test_a_warning_of_a_sweep_that_goes_on_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sweep(tmp_path / "sweep", 2)
    forge(folder / "1_seed=1", lambda record: record.update(run_id="aaaa-0", sweep="aaaa"))
    assert main(["-m", "seed=5", f"hydra.sweep.dir={folder}"]) == 0
    said = capsys.readouterr().err
    assert f"warning: {folder}: 1 runs are of other sweeps than aaaa, of most runs\n" in said
    assert "UserWarning" not in said


def test_a_record_counts_only_for_the_job_in_whose_folder_it_is(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "sweep", 3)
    done, other, damaged = (folder / f"{job}_seed={job}" for job in range(3))
    assert is_done(done, f"{0:064}", ("seed=0",))
    forge(other, lambda record: record.update(overrides=["seed=0"]))
    with pytest.warns(UserWarning, match=r"1_seed=1: the run in the folder is not that of this"):
        assert not is_done(other, f"{1:064}", ("seed=1",))
    (damaged / "summary.parquet").write_bytes(b"other")
    with pytest.warns(UserWarning, match=r"2_seed=2: summary\.parquet: damaged: .* is run again$"):
        assert not is_done(damaged, f"{2:064}", ("seed=2",))


def test_a_link_to_a_run_is_no_job_of_a_sweep(tmp_path: Path) -> None:
    elsewhere = sweep(tmp_path / "elsewhere", 1) / "0_seed=0"
    folder = tmp_path / "sweep"
    folder.mkdir()
    job = folder / "0_seed=0"
    job.symlink_to(elsewhere)
    assert not is_done(job, f"{0:064}", ("seed=0",))
    assert outcomes_of(folder, [("seed=0",)], "aaaa") == {}
    make_room(job, "aaaa-0")
    assert not job.is_symlink()
    assert (elsewhere / "run.json").exists()


def test_a_forged_record_beside_the_jobs_of_a_sweep_is_none_of_its_outcomes(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "sweep", 2)
    jobs = [("seed=0",), ("seed=1",)]
    for number, error in ((0, "forged"), (1, None)):
        make_run(
            folder / f"z{number}", run_id=f"ffffffff-{number}", error=error, overrides=jobs[number]
        )
    forge(folder / "0_seed=0", lambda record: record.update(run_id="0a1b2c3d-0"))
    assert outcomes_of(folder, jobs, "5eed5eed") == {"0_seed=0": None, "1_seed=1": None}
    assert outcomes_of(folder, jobs, "0a1b2c3d") == {"0_seed=0": None, "z1": None}


def test_a_run_is_moved_out_of_its_sweep_through_no_link(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "sweep", 1)
    (tmp_path / "mine").mkdir()
    (folder / ".superseded").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="is a link, and runs are not moved through one"):
        make_room(folder / "0_seed=0", "aaaa-0")
    assert not list((tmp_path / "mine").iterdir())


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can become nobody")
def test_a_folder_that_may_not_be_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sweep(tmp_path / "sweep", 3)
    for path in (tmp_path, *tmp_path.parents):
        mode = path.stat().st_mode
        if mode & 0o005 != 0o005:
            path.chmod(mode | 0o055)
    (folder / "1_seed=1").chmod(0o000)
    os.seteuid(65534)
    try:
        codes = [main(["list", "--outputs", str(folder)]), main(["verify", str(folder)])]
        said = capsys.readouterr()
        assert not is_done(folder / "1_seed=1", "", ())
        with pytest.raises(InputError, match="its content cannot be moved"):
            make_room(folder / "1_seed=1", "aaaa-1")
        assert list(outcomes_of(folder, [(f"seed={job}",) for job in range(3)], "aaaa")) == [
            "0_seed=0",
            "2_seed=2",
        ]
    finally:
        os.seteuid(0)
    assert codes == [0, 1]
    why = f"{folder}/1_seed=1: cannot be read: Permission denied"
    assert said.err.splitlines() == [f"warning: left out: {why}", f"error: {why}"]


# Names.

NAMES = ["~", "a*", "ab", "x[1]", "x1", "y?", "b{1,2}", "q'q", 'q"q', "lr=0.1", "st**", "]["]


@pytest.mark.parametrize("in_memory", [0, 1 << 20], ids=["read by DuckDB", "read by Arrow"])
def test_a_path_is_no_pattern(
    in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.runs.database._IN_MEMORY", in_memory)
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path / "runs")
    names = [*NAMES, *(["back\\sl", "back\\*", "back\\x"] if os.name != "nt" else [])]
    for number, name in enumerate(names):
        table = {"hidden": np.full((3, 1), number, np.float32)}
        make_run(
            tmp_path / "runs" / name, table, run_id=f"aaaa{number:04}", config={"seed": number}
        )
    for number, name in enumerate(names):
        runs = runner.open_runs(name)
        assert runs.sql("select distinct u0 from hidden")["u0"].tolist() == [number]
        assert runs.table("hidden")["u0"].tolist() == [number] * 3
    runs = runner.open_runs(tmp_path / "runs")
    found = runs.sql("select seed, count(*) as n, max(u0) as u from hidden join runs using (run) "
                     "group by seed order by seed")  # fmt: skip
    assert found["n"].tolist() == [3] * len(names)
    assert found["u"].tolist() == found["seed"].tolist()


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_every_layer_has_a_table_in_sql(format: str, tmp_path: Path) -> None:
    names = ["runs", "Dense", "dense", "dense_", "a b", 'say "hi"', "층", "select", "given0", "t'x"]
    tensors = {name: np.full((3, 1), at, np.float32) for at, name in enumerate(names)}
    run = make_run(tmp_path / "run", tensors, format=format)
    runs = runner.open_runs(run)
    views = ["runs_", "Dense", "dense_", "dense__", "a b", 'say ""hi""', "층", "select", "given0",
             "t'x"]  # fmt: skip
    for number, view in enumerate(views):
        assert runs.sql(f'select max(u0) as u from "{view}"')["u"].item() == number, view
    assert runs.sql("select run from runs")["run"].tolist() == ["0a1b2c3d"]
    assert runs.sql("select max(u0) as u from DENSE")["u"].item() == 1


# Code.


def test_code_that_a_record_names_is_run_by_nobody_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from runner.sameness.repetition import code_of, prepared

    Path("nets.py").write_text("from pathlib import Path\nPath('harmed').touch()\n")
    config = {
        "model": {"function": "nets:build"},
        "probe": {"source": "function", "function": "nets:probe"},
        "custom_modules": ["nets"],
        "train": {"data": {"function": "nets:data"}},
    }
    run = runner.open_run(make_run(tmp_path / "run", config=config))
    assert code_of(run) == [
        "model.function: nets:build",
        "probe.function: nets:probe",
        "custom_modules: ['nets']",
        "train.data.function: nets:data",
    ]
    with pytest.raises(InputError, match=r"names Python code.*; read that code, then type"):
        prepared(run)
    assert main(["rerun", str(run.path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path("harmed").exists()


HIDDEN = "{source: function, function: 'nets:build'}"


@pytest.mark.parametrize(
    "text",
    [
        """${oc.decode:${oc.env:NOPE,"HIDDEN"}}""",
        """\\${oc.decode:"HIDDEN"}""",
        """${oc.decode:${oc.env:NOPE,'a'}${oc.decode:"HIDDEN"}}""",
        "${oc.create:HIDDEN}",
        "${oc.decode:${oc.env:HOSTED}}",
    ],
)
@pytest.mark.parametrize("place", ["probe", "train.data"])
def test_code_that_a_record_hides_in_an_interpolation_is_never_run(
    place: str,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("nets.py").write_text("from pathlib import Path\nPath('harmed').touch()\n")
    monkeypatch.setenv("HOSTED", HIDDEN)
    config: dict[str, Any] = {
        "model": {"input_shape": [3], "layers": {"a": {"class_name": "Dense", "units": 2}}},
        "probe": {"source": "random", "rows": 2},
        "train": {"epochs": 1, "data": {"source": "random", "rows": 2}},
        "loss": {"class_name": "MeanSquaredError"},
        "optimizer": {"class_name": "SGD"},
    }
    *above, key = place.split(".")
    node = config
    for name in above:
        node = node[name]
    node[key] = text.replace("HIDDEN", HIDDEN)
    run = make_run(tmp_path / "run", config=config)
    assert main(["rerun", str(run)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not Path("harmed").exists()


def test_a_repetition_reads_every_text_of_a_record_as_text() -> None:
    from omegaconf import OmegaConf

    from runner.config.recorded_config import _escaped

    parts = ["\\", "${", "}", "a", "'", '"', ":", "${oc.decode:", "${oc.env:A,{b: 1}}", "${x}"]
    for number in range(len(parts) ** 3):
        text = "".join(parts[number // 10**place % 10] for place in range(3))
        assert OmegaConf.create({"text": _escaped(text)}).text == text


def test_a_repetition_fills_in_plain_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    from omegaconf import OmegaConf

    from runner.config.recorded_config import _escaped

    monkeypatch.setenv("PIN", "0.5")
    written = {
        "text": "a/${oc.env:PIN}.csv",
        "after": "\\${oc.env:PIN}",
        "number": "${oc.decode:${oc.env:PIN}}",
        "default": "${oc.decode:${oc.env:NOT_SET_ANYWHERE,8080}}",
    }
    assert OmegaConf.to_container(OmegaConf.create(_escaped(written)), resolve=True) == {
        "text": "a/0.5.csv",
        "after": "\\0.5",
        "number": 0.5,
        "default": 8080,
    }


def test_terminal_escapes_of_a_run_are_printed_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    escape = "\x1b[2J\x1b]0;title\x07\u202e"
    run = make_run(
        tmp_path / "run", name=escape, overrides=(escape,), config={"seed": 0, escape: 1}
    )
    failed = make_run(tmp_path / "failed", error=f"boom {escape}", run_id="bad00000")
    forge(run, lambda record: record["probe"].update(source=escape))
    for words in (
        ["show", str(run)],
        ["show", str(failed)],
        ["list", "--outputs", str(tmp_path)],
        ["diff", str(run), str(run)],
        ["report", str(tmp_path)],
        ["diff", str(run), str(failed)],
    ):
        main(words)
        said = capsys.readouterr()
        for line in (said.out + said.err).splitlines():
            assert line.isprintable(), (words, line)


def test_what_a_record_describes_is_computed_up_to_a_size() -> None:
    from runner.arithmetic.derived import evaluate
    from runner.arithmetic.derived_operations import Derived

    def stored(_: Any) -> Derived:
        return Derived(np.ones((1, 4), np.float32), 0)

    one = {"tensor": "x"}
    for description in (
        {"range": [0, 10**12], "dtype": "int64"},
        {"constant": "a", "dtype": "U1000000000"},
        {"operation": "broadcast_to", "of": [one], "shape": [None, 10**6, 10**6, 4]},
        {"operation": "cast", "of": [one], "dtype": "U1000000000"},
    ):
        with pytest.raises(ValueError, match="numbers"):
            evaluate(description, stored)
    doubled = evaluate({"operation": "add", "of": [one, one]}, stored)
    assert doubled.values.tolist() == [[2, 2, 2, 2]]


def test_layers_as_deep_as_a_record_can_have_them_are_drawn(tmp_path: Path) -> None:
    from runner.report.network import Block, layer_tree

    path = "/".join("a" * 1500)
    run = runner.open_run(make_run(tmp_path / "run", {"a": np.ones((3, 1), np.float32)}))
    [layer] = run.record.layers
    deep = [dataclasses.replace(layer, path=path[: 2 * depth + 1]) for depth in range(1500)]
    [block] = layer_tree(deep)
    assert isinstance(block, Block)
    assert block.layers == 1500


@pytest.mark.parametrize("value", [5, "x", [1], {}, None, {"layers": 3}, float("inf")])
def test_a_configuration_may_be_anything(
    value: Any, real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ("model", "loss", "optimizer", "probe", "train", "capture", "custom_modules", "seed")
    forge(real, lambda record: record["config"].update(dict.fromkeys(keys, value)))
    for words in (["show", str(real)], ["diff", str(real), str(VERSION_1)]):
        assert main(words) == 0
    assert main(["rerun", str(real)]) == 2
    said = capsys.readouterr().err
    assert all(line.startswith("error: ") for line in said.splitlines())


@pytest.mark.parametrize(
    "edit",
    [
        lambda r: r["layers"][1]["arguments"].update(activation={"a": {}}),
        lambda r: r["layers"][1]["arguments"].update(activation=[[]]),
        lambda r: r.pop("steps"),
        lambda r: r["training"].update(history={}),
        lambda r: r["layers"][0]["tensors"][1].update(order=2**61),
    ],
)
def test_a_page_is_made_whatever_is_unknown_of_a_run(edit: Edit, real: Path) -> None:
    forge(real, edit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["report", str(real)]) == 0


def first_wire(record: dict[str, Any]) -> dict[str, Any]:
    wire: dict[str, Any] = record["layers"][0]["calls"][0]["wires"][0]
    return wire


@pytest.mark.parametrize(
    "edit",
    [
        lambda r: r["layers"][0].update(arguments={"activation": [1]}),
        lambda r: r["layers"][0].update(layer_class="MaxPooling1D", arguments={}),
        lambda r: r["layers"][0]["calls"][0].update(wires=[]),
        lambda r: first_wire(r).update(model_input=None, derivation={}),
        lambda r: first_wire(r).update(model_input=None, derivation={"operation": "add", "of": []}),
    ],
)
def test_a_layer_that_does_not_fit_its_tables_is_not_explained(
    edit: Edit, real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forge(real, edit)
    assert main(["show", str(real)]) == 0
    assert main(["explain", "hidden", "u1", str(real), "--sample", "1"]) == 2
    assert capsys.readouterr().err.startswith("error: hidden: ")
