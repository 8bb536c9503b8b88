"""What a package adds as docs/extending.md says is used as what Runner has itself."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from forging import put_file
from keras import layers
from making import make_run
from packages import installed
from test_readme import BLOCK, ROOT

import runner
from runner.command_line.entry import main
from runner.config.compose import compose_one
from runner.config.references import references_in
from runner.errors import DamagedError, InputError, RunError
from runner.file_names import WORKBOOK
from runner.record.publication import Publication
from runner.report.writing import write_report
from runner.runs.runs import Runs
from runner.sameness.verification import damage
from runner.tables.summary import RunningStatistics
from runner.tensors import TensorSpec

SAMPLES = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the page's package, and one that is broken."""
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    for folder in ("own", "broken"):
        Path(folder).mkdir()
        monkeypatch.syspath_prepend(tmp_path / folder)
    for _, body in BLOCK.findall(page):
        if body.startswith("# own/"):
            Path(body.splitlines()[0].removeprefix("# ")).write_text(body, encoding="utf-8")
    installed(Path("own/pyproject.toml").absolute())
    Path("broken/pyproject.toml").write_text(
        "[project]\nname = 'broken'\nversion = '1.0'\n"
        "[project.entry-points.'runner.sources']\nzarr = 'broken_module:Zarr'\n"
        "[project.entry-points.'runner.measures']\ngap = 'broken_module:GAP'\n"
        "[project.entry-points.'runner.commands']\nfind = 'broken_module:FIND'\n"
        "[project.entry-points.'runner.formats']\nfeather = 'broken_module:FEATHER'\n"
    )
    Path("broken/broken_module.py").write_text("import zarr_that_is_missing\n")
    installed(Path("broken/pyproject.toml").absolute())
    with h5py.File("samples.h5", "w") as file:
        file["x"] = SAMPLES


def test_the_table_of_what_varies_is_true() -> None:
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| \[.*\]\(#([\w-]+)\) \| (.*) \| `(runner/.*)` \| (.*) \|\n", page)
    assert len(rows) == 12
    headings = {line.lower().replace(" ", "-") for line in re.findall(r"\n## (.*)", page)}
    assert {heading for heading, *_ in rows} <= headings
    for _, kind, place, offered in rows:
        assert (ROOT / place).exists(), place
        group = f'[project.entry-points."{place.replace("/", ".")}"]'
        assert (offered == "yes") == (group in page), place
        assert kind == "entry" or re.search(rf"\b{kind.strip('`')}\b", page.partition("\n## ")[2])


def test_a_source_and_a_measure_of_a_package_are_used_on_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["-m", "probe=hdf5", "probe.path=samples.h5", "seed=0,1", "name=two"]) == 0
    runs = runner.open_runs("two")
    record = runs[0].record
    assert record.probe is not None
    assert (record.probe.source, record.probe.rows) == ("hdf5 samples.h5", len(SAMPLES))
    np.testing.assert_array_equal(runs[0].probe.to_numpy(), SAMPLES)
    capsys.readouterr()
    assert main(["similarity", "two", "--metric", "distance_correlation"]) == 0
    assert capsys.readouterr().out.startswith("distance_correlation, 40 samples\n")
    option = "distance_correlation:exponent=0.5"
    assert main(["similarity", "two", "--metric", option]) == 0
    assert capsys.readouterr().out.startswith(f"{option}, 40 samples\n")
    frame = runs.similarity("distance_correlation", layers="all")
    assert frame["value"].between(0, 1).all()
    assert runs[0].record.config["probe"] == {
        "path": "samples.h5", "source": "hdf5", "allow_nan": False, "dataset": "x",
    }  # fmt: skip


def test_the_packages_that_a_run_uses_are_part_of_its_record_and_its_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["probe=hdf5", "probe.path=samples.h5"]
    assert main(words) == 0
    first = runner.open_run("last").record
    assert first.environment.packages["own"] == "1.0"
    assert first.environment.packages["h5py"] == h5py.__version__
    shutil.copytree("own", "newer", ignore=shutil.ignore_patterns("*.dist-info"))
    project = Path("newer/pyproject.toml").absolute()
    project.write_text(project.read_text().replace('"1.0"', '"1.1"'))
    installed(project)
    monkeypatch.syspath_prepend(tmp_path / "newer")
    assert main(words) == 0
    second = runner.open_run("last").record
    assert second.environment.packages["own"] == "1.1"
    assert second.config == first.config
    assert second.fingerprint != first.fingerprint


def test_a_statistic_of_a_package_is_a_column_of_the_summary(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wide = np.array([[1, -1] * 10, [-2, 0] * 10, [1, 1] * 10], np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path / "own")])
        make_run(Path("outputs/1"), {"out": wide})
    run = runner.open_run(make_run(Path("outputs/2"), {"out": wide}))
    assert run.summary.columns[-1] == "negative"
    assert run.summary["negative"].tolist() == [1 / 3]
    assert run.statistics()["negative"].tolist() == [1 / 3]
    assert main(["show"]) == 0
    said = capsys.readouterr().out
    assert "  mean  zeros  dead units  negative\n" in said
    assert "     0 of 20     33.3%\n" in said
    assert "negative" not in runner.open_run("outputs/1").summary
    assert main(["show", "outputs/1"]) == 0
    assert "     0 of 20\n" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path / "own")])
        assert run.summary["negative"].tolist() == [1 / 3]  # as it stands in the file


def test_an_action_of_a_package_is_done_told_and_named_in_the_record() -> None:
    words = ["probe=hdf5", "probe.path=samples.h5", "capture.batch_size=16"]
    plain = runner.run(*words).array("hidden")
    run = runner.run(*words, "intervene.hidden.drop=0.5")
    found = run.array("hidden")
    kept = np.stack([np.random.default_rng(at).random(found.shape[1:]) for at in range(40)]) >= 0.5
    np.testing.assert_array_equal(found, plain * kept)
    [tensor] = [one for one in run.record.tensors if one.name == "hidden"]
    assert [change.did for change in tensor.changed_by] == ["dropped with probability 0.5"]
    assert run.record.environment.packages["own"] == "1.0"
    with pytest.raises(InputError, match=r"^intervene\.hidden\.drop: .*less than 1, found 2"):
        runner.run(*words, "intervene.hidden.drop=2")


def test_a_reduction_of_a_package_has_options_and_is_named_in_the_record(
    capsys: pytest.CaptureFixture[str],
) -> None:
    maps = layers.Conv2D(4, 3, name="edges")
    model = keras.Sequential([keras.Input((8, 8, 1)), maps])
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 1))
    whole = runner.capture_activations(model, x)["edges"].value
    for text, p in (("norm", 2), ("norm:3", 3), ("norm:p=1.5", 1.5)):
        run = runner.save_run(model, x, text, reduce={"edges": text})
        expected = (np.abs(whole) ** p).sum(axis=(1, 2)) ** (1 / p)
        np.testing.assert_allclose(run.array("edges"), expected, rtol=1e-5)
        assert run.record.environment.packages["own"] == "1.0"
    words = ["experiment=digits_cnn", "dry_run=true"]
    assert main([*words, "capture.reduce={conv_1:norm}"]) == 0
    assert main([*words, "capture.reduce={conv_1:'norm:0.5'}"]) == 2
    said = "error: capture.reduce.conv_1.norm.p: must be >= 1.0, found 0.5\n"
    assert capsys.readouterr().err == said


def test_a_runtime_of_a_package_computes_models_in_its_files(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, last = np.array([[1, 0], [2, 1], [0, 1]], "f4"), np.array([[1], [-1]], "f4")
    text = json.dumps({"first": first.tolist(), "last": last.tolist()})
    Path("net.matrices").write_text(text)
    words = [
        "model=json_matrices",
        "model.path=net.matrices",
        "probe=hdf5",
        "probe.path=samples.h5",
    ]
    run = runner.run(*words)
    np.testing.assert_array_equal(run.array("first"), SAMPLES @ first)
    np.testing.assert_array_equal(run.array("last"), SAMPLES @ first @ last)
    np.testing.assert_array_equal(run.weights("last/matrix"), last)
    assert run.record.backend is not None
    assert run.record.backend.name == "numpy"
    assert run.record.environment.packages["own"] == "1.0"
    assert runner.diff(run, run.rerun(path="again"), exact=True).same
    other = np.array([[1], [1]], "f4")
    Path("other.matrices").write_text(text.replace("-1", "1"))
    changed = run.rerun("model=json_matrices", "model.path=other.matrices", path="changed")
    np.testing.assert_array_equal(changed.array("last"), SAMPLES @ first @ other)
    capsys.readouterr()
    Path("net.matrices").write_text("no JSON")
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(
        "error: model.path: net.matrices holds no matrices: Expecting value"
    )
    assert main(["rerun", "again", "--convert", "json_matrices"]) == 2
    assert "(choose from 'litert', 'onnx')" in capsys.readouterr().err


def test_a_statistic_of_a_package_is_merged_like_others() -> None:
    spec = TensorSpec("a", "activation", "a", "Dense", 0, None, (2,), "float32", 0)
    parts = np.split(np.random.default_rng(0).normal(size=(40_000, 2)).astype("f4"), [7, 30_000])
    whole = RunningStatistics(spec)
    for part in parts:
        own = RunningStatistics(spec)
        own.update(part)
        whole.merge(own)
    assert whole.row()["negative"] == (np.concatenate(parts) < 0).mean()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gap", ": cannot be loaded: ModuleNotFoundError: "),
        ("units", " has the name of another column; update or remove that package"),
    ],
)
def test_a_statistic_that_cannot_be_used_is_one_line_before_anything_is_built(
    name: str,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("bad").mkdir()
    project = tmp_path / "bad/pyproject.toml"
    project.write_text(
        "[project]\nname = 'bad'\nversion = '1.0'\n"
        f"[project.entry-points.'runner.statistics']\n{name} = 'broken_module:GAP'\n"
    )
    installed(project)
    monkeypatch.syspath_prepend(tmp_path / "bad")
    assert main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: statistic: '{name}' of the package bad{why}")
    assert said.count("\n") == 1
    assert not Path("outputs").exists()


def test_a_view_of_a_package_is_a_part_of_the_report() -> None:
    kernel = np.full((3, 4), 2, np.float32)
    tensors = {"<hidden>": np.ones((3, 4), np.float32), "<hidden>/kernel": kernel}
    run = runner.open_run(make_run(Path("outputs/1"), tensors))
    page = write_report(Runs([run])).read_text(encoding="utf-8")
    assert "<ul><li>&lt;hidden&gt;/kernel: 6.928</li></ul>" in page
    assert page.index('id="configuration-title"') < page.index('id="norms-title"')
    make_run(Path("outputs/2"))
    assert "norms-title" not in write_report(runner.open_runs("outputs")).read_text("utf-8")


def test_a_command_of_a_package_is_used_as_others(capsys: pytest.CaptureFixture[str]) -> None:
    make_run(Path("outputs/1"), samples=("a", "b", "c"))
    assert main(["top", "hidden", "u1"]) == 0
    assert capsys.readouterr().out == "c  9.000\nb  5.000\na  1.000\n"
    assert main(["top", "hidden", "u4"]) == 2
    said = "error: hidden: no unit 'u4'; there are u0, u1, u2, u3\n"
    assert capsys.readouterr().err == said
    assert main(["top", "hidden", "u1", "--ouputs", "o"]) == 2
    said = "error: runner top: unknown argument '--ouputs'; did you mean '--outputs'?\n"
    assert capsys.readouterr().err == said
    assert main(["top", "--help"]) == 0
    assert "List the three samples for which" in capsys.readouterr().out
    assert main(["tp"]) == 2
    assert capsys.readouterr().err == "error: tp: unknown command; did you mean 'top'?\n"


TENSORS = {"out": np.array([[1, np.nan], [1e-45, 0.1], [-0.0, np.inf]], np.float32)}


def test_a_run_in_the_format_of_a_package_is_read_like_others(tmp_path: Path) -> None:
    run = runner.open_run(
        make_run(tmp_path / "run", TENSORS, format="jsonl", labels=["가", "", "c"])
    )
    np.testing.assert_array_equal(run["out"].to_numpy(), TENSORS["out"])
    np.testing.assert_array_equal(np.concatenate(list(run.blocks("out"))), TENSORS["out"])
    assert run.probe["label"].tolist() == ["가", "", "c"]
    assert run.statistics()["nan"].tolist() == [1]
    assert runner.open_runs(tmp_path).sql("from out").shape == (3, 4)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"sample": 0, "u0": 1, "u1": 2}\n', "expected 3 rows, found 1"),
        ('{"sample": 0, "u0": 1}\n' * 3, r"expected a column 'u1', found 2 columns \(sample, u0\)"),
        ('{"sample": 0, "u0": 1, "u1": 2}\n{}\n{}\n', "expected no missing value, found one"),
        ("{\n" * 3, r"expected a table as jsonl, found a damaged file \(Expecting"),
        ("1\n" * 3, r"expected a table as jsonl, found a damaged file \('int' object"),
        ("[" * 99_999 + "\n\n\n", r"expected a table as jsonl, found a damaged file \(maximum rec"),
    ],
)
def test_a_damaged_table_of_such_a_format_is_one_line(text: str, why: str, tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", TENSORS, format="jsonl")
    put_file(path, "activations/00_out.jsonl", text.encode())
    with pytest.raises(DamagedError, match=rf"^\S+00_out\.jsonl: {why}") as error:
        runner.open_run(path).array("out")
    assert str(error.value).count("\n") == 0


def test_a_run_says_which_package_reads_its_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["format=jsonl", "name=far"]) == 0
    far = runner.open_run("far")
    assert far.record.environment.packages["own"] == "1.0"
    capsys.readouterr()
    sys.path.remove(str(tmp_path / "own"))
    assert main(["show", str(far.path)]) == 2
    said = capsys.readouterr().err
    assert said.endswith(
        "run.json: not a run record: 'format': no installed package offers 'jsonl'; "
        "install own 1.0, with which the run was made\n"
    )
    assert said.count("\n") == 1


def test_a_file_of_such_a_source_is_one_that_the_run_depends_on() -> None:
    experiment = compose_one(["probe=hdf5", "probe.path=samples.h5"], "0a1b2c3d")[0].experiment
    assert [place for place, found in references_in(experiment) if found == "samples.h5"] == [
        "probe.path"
    ]


def test_a_store_of_the_page_holds_what_a_store_promises() -> None:
    store = import_module("sqlite_store").SqliteStore("runs.db")
    x = np.eye(3, dtype="float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="out")])
    first, second, failing = (store.draft("run") for _ in range(3))
    with Publication(second) as publication:
        publication.write("a", b"second")
        with pytest.raises(RunError, match="a: there is a file a already; the run was not pub"):
            publication.open("a")
        run = runner.save_run(model, x, first)
        with pytest.raises(RunError, match=r"runs\.db:run: another run was published here first"):
            publication.publish(b"{}")
    with pytest.raises(InputError, match=r"runs\.db:run: there is a run already"):
        runner.save_run(model, x, failing)
    [stored] = store.runs()
    assert stored == run.stored
    assert not list(damage(run))
    np.testing.assert_array_equal(run.array("out"), x @ model.get_weights()[0])
    book = runner.save_run(model, x, store.draft("book"), format="xlsx")
    assert WORKBOOK in book.record.digests
    assert not list(damage(book))
    store.add([("run", "b", b"")])
    with closing(sqlite3.connect("runs.db")) as database, database:
        database.execute("update files set content = x'00' where name = 'summary.parquet'")
    assert [line.partition(":")[0] for line in damage(run)] == ["summary.parquet", "b"]
    Path("runs.db").write_bytes(b"no database" * 100)
    with pytest.raises(RunError, match=r"runs\.db:new: file is not a database; the run was not"):
        runner.save_run(model, x, store.draft("new"))
    with pytest.raises(DamagedError, match=r"^runs\.db: cannot be read: file is not a database$"):
        runner.open_runs(store)


ZARR = "error: probe.source: 'zarr' of the package broken: cannot be loaded: ModuleNotFoundError: "


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("probe=hdf5", "error: probe.path: required, and not given; set probe.path=..."),
        ("probe=hdf5 probe.path=none.h5", "error: probe.path: no file 'none.h5' (looked in "),
        (
            "probe=hdf5 probe.path=samples.h5 +probe.datset=y",
            "error: probe.datset: unknown key; did you mean 'dataset'?",
        ),
        ("probe.source=zarr", ZARR),
        ("probe=zarr", ZARR.replace("probe.source", "source")),
        ("find", ZARR.replace("probe.source: 'zarr'", "command: 'find'")),
        ("schema", ZARR.replace("probe.source", "source")),
        ("format=feather", "error: format: 'feather' of the package broken: cannot be loaded: "),
        ("format=fether", "error: format: there is no config 'fether'; did you mean 'feather'?"),
        ("probe.source=hdf6", "error: probe.source: expected one of tutorial, inline, csv, npy, "),
    ],
)
def test_what_is_wrong_is_one_line(
    words: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1
    assert not Path("outputs").exists()


def test_a_broken_package_is_left_alone_until_it_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["probe=tutorial", "dry_run=true"]) == 0
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert "\n  show [RUN]                         show the outputs of a run\n" in said
    assert "\n  find\n  top\n" in said
