from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from making import STORED, make_run

from runner.errors import InputError
from runner.record.layer_record import LayerRecord
from runner.record.uptime import Uptime
from runner.runs.locate import find_runs, open_run, open_runs
from runner.runs.published_run import Run
from runner.runs.run_tensors import UnknownTensorError
from runner.runs.runs import Runs

HIDDEN = np.array([[0.1, np.nan], [-0.0, np.inf], [3, 4]], np.float32)
MAP = np.arange(3 * 2 * 2 * 3, dtype=np.float32).reshape(3, 2, 2, 3)
KERNEL = np.arange(6, dtype=np.float32).reshape(3, 2)
TENSORS = {"hidden": HIDDEN, "conv": MAP, "hidden/kernel": KERNEL}


def sweep(folder: Path, *, units: tuple[int, ...] = (2,), seeds: tuple[int, ...] = (0, 1)) -> Path:
    """A run for each number of units and seed; the values of one are all its seed."""
    jobs = [(seed, width) for seed in seeds for width in units]
    for number, (seed, width) in enumerate(jobs):
        make_run(
            folder / "day/sweep" / f"{number}_seed={seed},units={width}",
            {"hidden": np.full((3, width), seed, np.float32)},
            run_id=f"5eed5eed-{number}",
            sweep="5eed5eed",
            config={"seed": seed, "model": {"hidden_units": width, "sizes": ["hidden"]}},
        )
    return folder


@pytest.mark.parametrize("format", STORED)
def test_a_run_gives_back_what_was_saved(tmp_path: Path, format: str) -> None:
    run = Run.read(make_run(tmp_path / "run", TENSORS, format=format))
    hidden = run["hidden"]
    assert list(hidden.columns) == ["u0", "u1"]
    assert hidden.index.name == "sample"
    assert hidden.index.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(hidden.to_numpy().view("u4"), HIDDEN.view("u4"))
    np.testing.assert_array_equal(run.array("conv"), MAP, strict=True)
    np.testing.assert_array_equal(run.array("hidden/kernel"), KERNEL, strict=True)
    np.testing.assert_array_equal(run.weights("hidden/kernel").to_numpy(), KERNEL)
    assert run["conv"].columns.nlevels == 3
    np.testing.assert_array_equal(run["conv"].to_numpy(), MAP.reshape(3, -1))


def test_a_run_is_a_mapping_of_what_it_has_per_sample(tmp_path: Path) -> None:
    run = Run.read(make_run(tmp_path / "run", TENSORS))
    assert list(run) == ["hidden", "conv"]
    assert len(run) == 2
    assert "conv" in run
    assert "hidden/kernel" not in run
    assert "hiden" not in run


def test_a_run_tells_how_it_was_made(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", TENSORS, config={"seed": 7, "format": "parquet"})
    run = Run.read(path)
    assert (run.id, run.seed, run.config) == ("0a1b2c3d", 7, {"seed": 7, "format": "parquet"})
    assert repr(run) == f"<Run 0a1b2c3d COMPLETED '{path}'>"
    assert run.summary.set_index("name").loc["hidden", ["nan", "inf"]].tolist() == [1, 1]


@pytest.mark.parametrize("format", STORED)
def test_the_probe_is_kept_with_its_ids_labels_and_targets(tmp_path: Path, format: str) -> None:
    inputs = np.array([[0.1, 1], [0.2, 2], [0.3, 3]], np.float32)
    targets = np.array([[0], [1], [1]])
    path = make_run(
        tmp_path / "run",
        samples=["01", "b", "None"],
        labels=["x", "y", "x"],
        targets=targets,
        inputs=inputs,
        format=format,
    )
    run = Run.read(path)
    assert run.labels is not None
    assert run.labels.to_dict() == {"01": "x", "b": "y", "None": "x"}
    assert run.targets is not None
    np.testing.assert_array_equal(run.targets.to_numpy(), targets)
    assert list(run.probe.columns) == ["label", "target0", "input0", "input1"]
    kept = run.probe[["input0", "input1"]].to_numpy()
    np.testing.assert_array_equal(kept, inputs, strict=True)
    assert run["hidden"].index.tolist() == ["01", "b", "None"]


def test_labels_and_targets_may_be_absent(tmp_path: Path) -> None:
    run = Run.read(make_run(tmp_path / "run"))
    assert run.labels is None
    assert run.targets is None


def test_an_alias_is_read_from_the_tensor_that_it_is(tmp_path: Path) -> None:
    aliases = {"dropout": "hidden", "again": "conv", "twin/kernel": "hidden/kernel"}
    run = Run.read(make_run(tmp_path / "run", TENSORS, aliases=aliases))
    pd.testing.assert_frame_equal(run["dropout"], run["hidden"])
    np.testing.assert_array_equal(run.array("again"), MAP)
    pd.testing.assert_frame_equal(run.weights("twin/kernel"), run.weights("hidden/kernel"))
    assert run.layers.set_index("tensor").loc["dropout", "alias_of"] == "hidden"


def test_layers_are_listed_with_their_tensors_or_the_reason(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", TENSORS)
    record = Run.read(path).record
    noise = LayerRecord("noise", "Dropout", 0, (), "left out by the selection")
    changed = dataclasses.replace(record, layers=(noise, *record.layers))
    (path / "run.json").write_bytes(changed.to_json())
    run = Run.read(path)
    layers = run.layers
    assert layers["layer"].tolist() == ["noise", "hidden", "hidden", "conv"]
    assert layers["tensor"].tolist() == [None, "hidden", "hidden/kernel", "conv"]
    assert layers["shape"].tolist()[1:] == [(2,), (3, 2), (2, 2, 3)]
    assert layers["reason"][0] == "left out by the selection"
    with pytest.raises(KeyError, match="no tensor 'noise': left out by the selection"):
        run["noise"]


def test_an_unknown_name_is_answered_with_what_there_is(tmp_path: Path) -> None:
    run = Run.read(make_run(tmp_path / "run", TENSORS))
    with pytest.raises(UnknownTensorError, match="run 0a1b2c3d: no tensor 'hiden'; did you mean "):
        run["hiden"]
    with pytest.raises(InputError, match="no tensor 'zzz'; there are hidden, hidden/kernel, conv"):
        run.array("zzz")
    with pytest.raises(KeyError, match=r"no weight 'hidden'; this layer has hidden/kernel$"):
        run.weights("hidden")
    assert run.tensor("hidden").kind == "activation"


def test_a_damaged_or_missing_file_is_named(tmp_path: Path) -> None:
    run = Run.read(make_run(tmp_path / "run", TENSORS))
    (run.path / "activations/00_hidden.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"00_hidden\.parquet"):
        run["hidden"]
    (run.path / "summary.parquet").unlink()
    with pytest.raises(InputError, match=r"summary\.parquet: is missing"):
        _ = run.summary


def test_a_failed_run_says_why_it_has_no_tables(tmp_path: Path) -> None:
    run = Run.read(make_run(tmp_path / "run", error="the disk is full"))
    with pytest.raises(InputError, match="has no 'hidden', since it failed: the disk is full"):
        run["hidden"]
    with pytest.raises(InputError, match="holds no summary, since it failed: the disk is full"):
        _ = run.summary
    for read in ("probe", "labels", "targets"):
        with pytest.raises(InputError, match="holds no probe, since it failed"):
            getattr(run, read)


def test_a_sweep_is_one_frame_even_where_units_differ(tmp_path: Path) -> None:
    runs = open_runs(sweep(tmp_path, units=(2, 3)))
    frame = runs.frame
    assert list(frame.columns) == [
        *("run", "status", "seed", "model.hidden_units"),
        *("tensors", "dead_units", "nan", "inf"),
    ]
    assert frame["run"].tolist() == [f"5eed5eed-{job}" for job in range(4)]
    assert frame["seed"].tolist() == [0, 0, 1, 1]
    assert frame["model.hidden_units"].tolist() == [2, 3, 2, 3]
    assert frame["dead_units"].tolist() == [2, 3, 0, 0]


def test_a_table_of_several_runs_is_indexed_by_what_differs(tmp_path: Path) -> None:
    table = open_runs(sweep(tmp_path)).table("hidden")
    assert table.index.names == ["seed", "sample"]
    assert table.index.tolist() == [(seed, sample) for seed in (0, 1) for sample in range(3)]
    assert table.dtypes.tolist() == [np.float32, np.float32]
    assert table.loc[1].to_numpy().tolist() == [[1, 1]] * 3


def test_weights_of_several_runs_stand_in_one_table(tmp_path: Path) -> None:
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for seed in (0, 1):
        make_run(tmp_path / str(seed), {"conv/kernel": kernel + seed}, config={"seed": seed})
    table = open_runs(tmp_path).table("conv/kernel")
    assert table.index.names == ["seed", "i0", "i1"]
    assert table.loc[(1, 1, 2), "u3"] == kernel[1, 2, 3] + 1


def test_runs_that_nothing_tells_apart_are_indexed_by_their_ids(tmp_path: Path) -> None:
    for run_id in ("aaaa0000", "bbbb0000"):
        make_run(tmp_path / run_id, run_id=run_id)
    table = open_runs(tmp_path).table("hidden")
    assert table.index.names == ["run", "sample"]
    assert table.loc["bbbb0000"].shape == (3, 4)


def test_a_key_that_only_some_runs_have_differs(tmp_path: Path) -> None:
    make_run(tmp_path / "a", config={"seed": 0, "model": {"sizes": [1, 2]}})
    make_run(tmp_path / "b", config={"seed": 0, "model": {"sizes": [1], "extra": {}}})
    runs = open_runs(tmp_path)
    assert runs.differing == ["model.sizes", "model.extra"]
    assert runs.table("hidden").index.get_level_values("model.sizes")[0] == "[1, 2]"


def test_different_units_are_refused_or_aligned(tmp_path: Path) -> None:
    runs = open_runs(sweep(tmp_path, units=(3, 2)))
    with pytest.raises(InputError) as caught:
        runs.table("hidden")
    assert str(caught.value) == (
        "hidden: the runs differ in its units (3 in 5eed5eed-0, 5eed5eed-2; "
        "2 in 5eed5eed-1, 5eed5eed-3); "
        'narrow them with where(...), or pass align="union" to fill with NaN'
    )
    table = runs.table("hidden", align="union")
    assert list(table.columns) == ["u0", "u1", "u2"]
    assert set(table.dtypes) == {np.dtype(np.float32)}
    assert table.xs(2, level="model.hidden_units")["u2"].isna().all()
    assert not table.xs(3, level="model.hidden_units").isna().any(axis=None)


def test_maps_are_aligned_by_their_coordinates(tmp_path: Path) -> None:
    make_run(tmp_path / "a", {"conv": MAP[:, :1]}, config={"seed": 0})
    make_run(tmp_path / "b", {"conv": MAP[:, :, :1]}, config={"seed": 1})
    table = open_runs(tmp_path).table("conv", align="union")
    assert list(table.columns) == sorted({*np.ndindex(1, 2, 3), *np.ndindex(2, 1, 3)})
    assert table.loc[1][1, 0, 2].tolist() == MAP[:, 1, 0, 2].tolist()


def test_units_and_maps_have_no_union(tmp_path: Path) -> None:
    make_run(tmp_path / "a", {"layer": MAP})
    make_run(tmp_path / "b", {"layer": HIDDEN})
    with pytest.raises(InputError, match="units and maps have no union"):
        open_runs(tmp_path).table("layer", align="union")


def test_where_narrows_by_value_list_and_status(tmp_path: Path) -> None:
    runs = open_runs(sweep(tmp_path, units=(2, 3), seeds=(0, 1, 2)))
    assert len(runs.where(seed=[0, 2])) == 4
    assert [run.id for run in runs.where(seed=1, **{"model.hidden_units": 3})] == ["5eed5eed-3"]
    assert [run.id for run in runs.where(run="5eed5eed-5")] == ["5eed5eed-5"]
    assert len(runs.where(status="COMPLETED")) == 6
    assert runs.where(seed=0).table("hidden", align="union").index.names == [
        "model.hidden_units",
        "sample",
    ]


def test_where_says_what_there_is(tmp_path: Path) -> None:
    runs = open_runs(sweep(tmp_path))
    with pytest.raises(InputError, match="sede: no run has this config key; did you mean 'seed'"):
        runs.where(sede=0)
    with pytest.raises(InputError, match=r"seed: no run has 9; there are 0, 1$"):
        runs.where(seed=9)


def test_failed_runs_are_in_the_frame_and_never_leave_a_table_in_silence(tmp_path: Path) -> None:
    make_run(tmp_path / "a", config={"seed": 0})
    make_run(tmp_path / "b", config={"seed": 1}, run_id="bad00000", error="no memory")
    runs = open_runs(tmp_path)
    assert runs.frame["status"].tolist() == ["COMPLETED", "FAILED"]
    assert runs.frame["error"].isna().tolist() == [True, False]
    assert runs.frame["error"][1] == "no memory"
    with pytest.warns(UserWarning, match="1 of 2 runs failed and have no tables: bad00000"):
        table = runs.table("hidden")
    assert len(table) == 3
    assert len(runs.where(status="COMPLETED").table("hidden")) == 3
    with pytest.raises(InputError, match="all 1 runs failed"):
        runs.where(status="FAILED").table("hidden")


@pytest.mark.parametrize(
    "read",
    [
        lambda runs: runs.table("hidden"),
        lambda runs: runs.sql("from hidden"),
        lambda runs: runs.statistics(),
        lambda runs: open_runs(str(runs[0].path.parent)),
    ],
)
def test_a_warning_names_the_line_that_asked(
    read: Callable[[Runs], object], tmp_path: Path
) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", run_id="bad00000", error="no memory")
    runs = open_runs(tmp_path)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/run.json").touch()
    with pytest.warns(UserWarning, match="failed and have no tables|left out: ") as caught:
        read(runs)
    assert {warning.filename for warning in caught} == {__file__}


def test_a_run_is_opened_by_path_id_beginning_name_and_last(tmp_path: Path) -> None:
    first = make_run(tmp_path / "outputs/day/first", run_id="aaaa1111", name="baseline")
    second = make_run(tmp_path / "outputs/day/second", run_id="aabb2222")
    for known in (first, str(first), "aaaa1111", "aaa", "baseline", "last~1"):
        assert open_run(known).path.resolve() == first
    assert open_run().path.resolve() == second
    assert open_run("aab", outputs=tmp_path / "outputs").id == "aabb2222"


def test_a_whole_id_is_not_the_beginning_of_another(tmp_path: Path) -> None:
    for job in (1, 10):
        make_run(tmp_path / f"outputs/{job}", run_id=f"5eed5eed-{job}")
    assert open_run("5eed5eed-1").id == "5eed5eed-1"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            "aa",
            r"aa: expected one run, 2 fit: aaaa1111 \(baseline\), aabb2222; type the id of one, "
            "such as aaaa1111",
        ),
        ("twice", r"twice: expected one run, 2 fit: cccc0000 \(twice\), dddd0000 \(twice\)"),
        (
            "basline",
            "basline: no folder of a run, and no id or name in .*; did you mean 'baseline'",
        ),
        ("zz", r"zz: no folder .*; there are dddd0000 \(twice\), cccc0000 \(twice\), aabb2222, "),
        ("last~9", "last~9: there are only 4 in .*; last is the newest"),
        ("", "^no folder of a run"),
    ],
)
def test_what_fits_no_run_or_several_is_answered_with_what_there_is(
    tmp_path: Path, asked: str, message: str
) -> None:
    make_run(tmp_path / "outputs/1", run_id="aaaa1111", name="baseline")
    make_run(tmp_path / "outputs/2", run_id="aabb2222")
    make_run(tmp_path / "outputs/3", run_id="cccc0000", name="twice")
    make_run(tmp_path / "outputs/4", run_id="dddd0000", name="twice")
    with pytest.raises(InputError, match=message):
        open_run(asked, outputs="outputs")


def test_last_where_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="last: there is no run in outputs; python -m runner mak"):
        open_run()
    with pytest.raises(InputError, match="last: there is no run in"):
        open_runs(outputs=tmp_path / "none")


def test_last_is_the_one_that_ended_last_whatever_its_folder_is_called(tmp_path: Path) -> None:
    make_run(tmp_path / "outputs/z", run_id="aaaa1111")
    make_run(tmp_path / "outputs/a", run_id="bbbb2222", error="failed")
    assert open_run().id == "bbbb2222"


def test_last_is_the_newest_even_if_the_clock_was_set_back(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    # In the order in which they were made: hours after noon, start of the machine, its uptime.
    made = [(-3, None, 0), (0, "b", 9), (-1, "b", 10), (-2, "b", 11), (-0.5, "b", 12), (1, "a", 3)]
    for number, (hours, boot, seconds) in reversed(list(enumerate(made))):
        ended = noon + timedelta(hours=hours)
        uptime = None if boot is None else Uptime(boot * 16, seconds)
        make_run(outputs / f"{number}", run_id=f"{number}a", ended=ended, started=ended,
                 uptime=uptime)  # fmt: skip
    assert [run.id for run in find_runs(outputs)] == ["0a", "1a", "2a", "3a", "4a", "5a"]
    assert open_run("last", outputs).id == "5a"
    assert open_run("last~1", outputs).id == "4a"
    [newest] = open_runs("last", outputs)
    assert newest.id == "5a"


def test_several_runs_are_opened_in_every_way(tmp_path: Path) -> None:
    single = make_run(tmp_path / "outputs/day/single", run_id="aaaa1111", name="single")
    jobs = sweep(tmp_path / "outputs", seeds=tuple(range(11)))
    ids = [f"5eed5eed-{number}" for number in range(11)]

    def found(*asked: str | Path) -> list[str]:
        return [run.id for run in open_runs(asked[0] if len(asked) == 1 else asked)]

    assert found("last") == ids
    assert found("last~1") == ["aaaa1111"]
    assert found("5eed5eed") == found("5e") == found(jobs / "day/sweep") == ids
    assert found("single") == found(single) == ["aaaa1111"]
    assert found("outputs/day/*/1_*") == found(str(tmp_path / "out*/day/s*/1_*")) == [ids[1]]
    assert found("single", "5eed5eed-3", single) == ["aaaa1111", "5eed5eed-3"]
    with pytest.raises(InputError, match="no folder of a run, and no id or name"):
        found("outputs/x*")


def test_a_sweep_is_known_by_the_name_of_its_jobs(tmp_path: Path) -> None:
    for job in range(2):
        make_run(tmp_path / f"outputs/{job}", run_id=f"5eed5eed-{job}", sweep="5eed5eed", name="my")
    assert len(open_runs("my")) == 2


def test_staged_and_superseded_runs_are_not_found(tmp_path: Path) -> None:
    make_run(tmp_path / ".superseded/run")
    assert not find_runs(tmp_path)


def test_a_record_that_cannot_be_read_is_left_out_with_a_warning(tmp_path: Path) -> None:
    make_run(tmp_path / "good", run_id="aaaa1111")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/run.json").write_text("{}")
    with pytest.warns(UserWarning, match=re.escape("left out: ") + ".*bad/run.json: not a run rec"):
        runs = find_runs(tmp_path)
    assert [run.id for run in runs] == ["aaaa1111"]
    with pytest.raises(InputError, match=r"bad/run\.json: not a run record"):
        open_run(tmp_path / "bad")


def test_a_folder_without_a_record_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json: no run is there"):
        Run.read(tmp_path)


def test_runs_are_made_of_any_runs(tmp_path: Path) -> None:
    runs = Runs([Run.read(make_run(tmp_path / "a")), Run.read(make_run(tmp_path / "b"))])
    assert [runs[0].path.name, runs[-1].path.name] == ["a", "b"]
    assert repr(runs) == "<Runs 0a1b2c3d, 0a1b2c3e>"
