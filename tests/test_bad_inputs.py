"""What people get wrong, typed at the command line, and the line they see.

Beside those of `test_compose`, which are found before Hydra runs, and `test_command_line`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from making import make_run

from runner.command_line.entry import main

CSV = ("probe=csv", "probe.path=p.csv")
NPY = ("probe=npy", "probe.path=p.npy")
SPARSE = (*CSV, "loss=sparse_categorical_crossentropy", "train=fit", "train.epochs=1")
Said = Callable[..., list[str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Return a function that types a command line and returns the lines it is refused with."""

    def typed(*words: str, code: int = 2) -> list[str]:
        before = sorted(Path().rglob("*"))
        capsys.readouterr()
        assert main(words) == code
        assert sorted(Path().rglob("*")) == before
        captured = capsys.readouterr()
        assert code != 2 or not captured.out
        assert all(line.startswith("error: ") for line in captured.err.splitlines())
        return [line.removeprefix("error: ") for line in captured.err.splitlines()]

    return typed


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "model.layers.hidden.class_name=Dens",
            "model.layers.hidden.class_name: unknown layer class 'Dens'; did you mean 'Dense'? "
            "all are at https://keras.io/api/layers/",
        ),
        (
            "model.layers.hidden.activation=rleu",
            "model.layers.hidden.activation: unknown activation 'rleu'; did you mean 'relu'? "
            "all are at https://keras.io/api/layers/activations/",
        ),
        (
            "+model.layers.hidden.activtion=relu",
            "model.layers.hidden.activtion: Dense has no 'activtion'; did you mean 'activation'?",
        ),
        (
            "model.layers.hidden.units=true",
            "model.layers.hidden.units: expected an integer, found true",
        ),
        ("optimizer.learning_rate=-1", "optimizer.learning_rate: must be > 0, found -1"),
        (
            "+model.layers.drop={class_name:Dropout,rate:1.5}",
            "model.layers.drop.rate: must be in [0, 1), found 1.5",
        ),
        (
            "+model.layers.Hidden={class_name:Dense,units:2}",
            "model.layers.Hidden: 'Hidden' and 'hidden' (model.layers.hidden) differ only in "
            "letter case or in how an accent is encoded; "
            "rename one: files would clash on macOS and Windows",
        ),
        (
            f"+model.layers.{'x' * 201}={{class_name:Dense,units:2}}",
            f"model.layers.{'x' * 57}...: the name has 201 bytes, the limit is 200",
        ),
        (
            "+model.layers.hidden.inputs=output",
            "model.layers.hidden.inputs: the layers form a cycle: hidden -> output -> hidden",
        ),
        (
            "+model.layers.output.inputs=zebra",
            "model.layers.output.inputs: 'output': input 'zebra' is undefined; "
            "layers are input, hidden, output",
        ),
        (
            "probe=inline probe.inputs=[]",
            "probe: inline has 0 rows; give at least one sample",
        ),
        (
            "probe=inline probe.inputs=[[1,2,3],[1,2,3],[1,2]]",
            "probe.inputs: row 2: 2 values, expected 3",
        ),
        (
            "probe=inline probe.inputs=[[1,2,3],[4,5,6]] probe.labels=[1]",
            "probe.labels: expected one for each of 2 samples, found 1",
        ),
        (
            "probe=xls",
            "probe: there is no config 'xls'; there are csv, digits, function, huggingface, "
            "images, inline, iris, npy, npz, parquet, random, tutorial, webdataset",
        ),
        (
            "capture.include=[conv*]",
            "capture.include: 'conv*' matches no layer; layers are: hidden, output",
        ),
        (
            "model.hidden_units=50000 format=csv",
            "format: 'hidden' would take 50,000 columns, CSV takes at most 16,384; use "
            "format=parquet or format=arrow, or leave this layer out with capture.exclude",
        ),
        ("name=../x", "name: '../x' cannot name a run; use a plain name, without a path"),
        (
            "capture.max_bytes=10",
            "capture.max_bytes: the tables of 3 samples take about 224 B, the limit is 10 B "
            "(largest: hidden 72 B, output 48 B, hidden/kernel 48 B); narrow "
            "capture.include, set capture.reduce, or raise capture.max_bytes",
        ),
        ("--oops", "runner: unrecognized arguments: --oops; runner --help lists the arguments"),
    ],
)
def test_a_wrong_value_is_one_line(words: str, line: str, said: Said) -> None:
    [found] = said(*words.split(" "))
    assert found.partition(" (names are those of")[0] == line


@pytest.mark.parametrize(
    ("layers", "line"),
    [
        ("  a: {class_name: Dense, units: 2}\n" * 2, ":4: found duplicate key a"),
        (
            '  "..": {class_name: Dense, units: 2}\n',
            "model.layers...: '..' means a folder in a path",
        ),
        ('  "": {class_name: Dense, units: 2}\n', "model.layers.'': a name is empty"),
        (
            '  "a\\0b": {class_name: Dense, units: 2}\n',
            r"model.layers.a\x00b: forbidden character '\x00' in a name; use another name",
        ),
        (
            "  a: {class_name: Conv1D, filters: 2, kernel_size: 5}\n",
            "model.layers.a: Conv1D expects an input of 3 or more axes with the sample axis",
        ),
        (
            "  r: {class_name: Reshape, target_shape: [3, 1]}\n"
            "  a: {class_name: Conv1D, filters: 2, kernel_size: 5}\n",
            "model.layers.a: Conv1D has a window of 5, larger than its input of 3; "
            "make it smaller, or set padding: same",
        ),
    ],
)
def test_a_wrong_model_is_one_line(layers: str, line: str, said: Said) -> None:
    Path("own/model").mkdir(parents=True)
    Path("own/model/mine.yaml").write_text(f"input_shape: [3]\nlayers:\n{layers}")
    [found] = said("--config-dir", "own", "model=mine")
    assert line in found


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        (
            "a,b,c,d,e\n1,2,3,4,5\n",
            CSV,
            "probe: csv p.csv has 5 values a sample, the model expects 3",
        ),
        ("a,b,c\n", CSV, "probe: csv p.csv has 0 rows below its header; give at least one sample"),
        ("a,b,c\n1,2,3\n1\n", CSV, "p.csv:3: 1 field, expected 3"),
        ("a,b,c\n1,2,3\n1,2,3,4\n", CSV, "p.csv:3: 4 fields, expected 3"),
        (
            "a,b,c\nx,1,2,3\n",
            CSV,
            "p.csv:2: 4 fields, expected 3; if the rows begin with row names, as in R's "
            "write.table, give that column a name",
        ),
        (
            "a,b,c\n1,2,x\n",
            CSV,
            "p.csv:2: column 'c': expected a number, found 'x'; give it a number, or name the "
            "inputs in probe.input_columns",
        ),
        (
            "1,2,3\n4,5,6\n",
            CSV,
            "p.csv:1: expected the columns' names, found numbers; set probe.header=false, or "
            "probe.header=true if they are the names",
        ),
        (
            "a;b;c\n1,5;2;3\n",
            CSV,
            "p.csv:2: column 'a': expected a number, found '1,5'; set 'probe.decimal=\",\"'",
        ),
        (
            "가,b,c\n1,2,3\n".encode("cp949"),
            CSV,
            "p.csv: not utf-8 at byte 0; set probe.encoding, such as cp949 or latin-1",
        ),
        (
            "a,b,c\n1,2,nan\n",
            CSV,
            "p.csv:2: column 'c': found nan; set probe.allow_nan=true to keep it",
        ),
        (
            "a,b,c\n1,2,-inf\n",
            CSV,
            "p.csv:2: column 'c': found -inf; set probe.allow_nan=true to keep it",
        ),
        (
            "a,b,c,label\n1,2,3,0\n1,2,3,7\n",
            SPARSE,
            "p.csv:3: label 7 is not one of the output's 2 classes, 0 to 1",
        ),
        *(
            (
                "a,b,c,y,z\n1,2,3,0,1\n1,2,3,1,1e300\n",
                (*CSV, "probe.target_columns=[y,z]", word),
                "p.csv:3: target, column 1: found 1e+300; it is too large for float32",
            )
            for word in ("capture.kinds=[gradient]", "train=fit")
        ),
        (
            "a,b,c,y\n1,2,3,0.5\n",
            (*CSV, "probe.target_columns=[y]", "loss=categorical_crossentropy", "train=fit"),
            "loss: CategoricalCrossentropy cannot compare targets of 1 with an output of 2 values "
            "a sample",
        ),
    ],
)
def test_a_wrong_table_is_one_line(
    text: str | bytes, words: tuple[str, ...], line: str, said: Said
) -> None:
    Path("p.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert said(*words) == [line]


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        (b"hello", NPY, "probe.path: p.npy is not an .npy array: it is a text file"),
        (
            np.array([{}, 1], dtype=object),
            NPY,
            "probe.path: p.npy holds pickled Python objects, which can run code when read; "
            "save it as an array of numbers",
        ),
        (
            np.ones((3, 3)),
            (*NPY, "probe.labels_path=p.npy"),
            "probe: row 0: expected one id or label, found 3 values",
        ),
        (np.ones((2, 5)), NPY, "probe: npy p.npy has 5 values a sample, the model expects 3"),
    ],
)
def test_a_wrong_array_is_one_line(
    content: bytes | np.ndarray, words: tuple[str, ...], line: str, said: Said
) -> None:
    if isinstance(content, bytes):
        Path("p.npy").write_bytes(content)
    else:
        np.save("p.npy", content)
    assert said(*words) == [line]


def test_labels_are_counted(said: Said) -> None:
    np.save("p.npy", np.ones((3, 3)))
    np.save("labels.npy", np.zeros(2, int))
    assert said(*NPY, "probe.labels_path=labels.npy") == ["probe: has 2 labels for 3 rows"]


@pytest.mark.parametrize(
    ("dtype", "value", "line"),
    [
        ("int32", "7", "p.csv:3: column 'b': found 7; embedding 'e' takes 0 to 4"),
        ("int32", "-1", "p.csv:3: column 'b': found -1; embedding 'e' takes 0 to 4"),
        ("int32", "0.7", "p.csv:3: column 'b': found 0.7; the model expects int32"),
        (
            "float32",
            "0.7",
            "model.layers.e: Embedding takes integers, its input 't' is float32; "
            "declare it: inputs: {t: {shape: [2], dtype: int32}}",
        ),
    ],
)
def test_an_index_that_is_none_is_one_line(dtype: str, value: str, line: str, said: Said) -> None:
    Path("own/model").mkdir(parents=True)
    Path("own/model/mine.yaml").write_text(
        f"inputs: {{t: {{shape: [2], dtype: {dtype}}}}}\n"
        "layers: {e: {class_name: Embedding, input_dim: 5, output_dim: 2}}\n"
    )
    Path("p.csv").write_text(f"a,b\n1,2\n3,{value}\n")
    assert said("--config-dir", "own", "model=mine", *CSV) == [line]


def test_layers_of_ones_own_must_be_registered(said: Said) -> None:
    Path("unregistered.py").write_text("import keras\nclass Mine(keras.layers.Layer): pass\n")
    words = ["+model.layers.mine={class_name:Mine}", "custom_modules=[unregistered]"]
    assert main([*words, "dry_run=true"]) == 2  # leaves Python's own cache
    assert said(*words) == [
        "model.layers.mine: no class 'Mine' in Keras or in custom_modules; "
        "register it with @keras.saving.register_keras_serializable()"
    ]


def test_a_file_of_a_model_with_code_or_with_unknown_classes_is_refused(said: Said) -> None:
    class Unknown(keras.layers.Layer):
        pass

    saved = ("model=saved", "model.path=m.keras", "probe=random", "probe.rows=2")
    keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(lambda x: x)]).save("m.keras")
    assert said(*saved) == [
        "model.path: m.keras cannot be loaded: it holds Python code (a Lambda), which is not run "
        "from a file; build a model that you trust in Python and use model=function"
    ]
    keras.Sequential([keras.layers.Input((3,)), Unknown()]).save("m.keras")
    [line] = said(*saved)
    names = "it names test_bad_inputs.Unknown, which is not registered"
    assert line.startswith(f"model.path: m.keras cannot be loaded: {names}; ")
    assert line.endswith(
        "register its classes with @keras.saving.register_keras_serializable() "
        "and name their module in custom_modules"
    )


def test_runs_that_cannot_be_compared_or_read_are_said(said: Said) -> None:
    make_run(Path("outputs/a"), run_id="aaaa1111")
    make_run(Path("outputs/b"), run_id="aaaa2222", inputs=np.zeros((3, 3), np.float32))
    assert said("show", "gone") == [
        "gone: no folder of a run, and no id or name in outputs; there are aaaa2222, aaaa1111"
    ]
    [line] = said("show", "aaaa")
    assert line.startswith("aaaa: ")
    assert "aaaa1111" in line
    assert "aaaa2222" in line
    table = Path("outputs/a/activations/00_hidden.parquet")
    size = table.stat().st_size
    table.write_bytes(table.read_bytes()[:-9] + b"x" * 9)
    [line] = said("verify", "aaaa1111", code=1)
    assert line.startswith(f"activations/00_hidden.parquet: damaged: expected {size:,} bytes of ")
    shutil.rmtree("outputs")
    assert said("show", "last") == ["last: there is no run in outputs; python -m runner makes one"]


def test_runs_that_were_shown_different_inputs_are_not_compared(said: Said) -> None:
    assert main(["hydra.run.dir=a"]) == 0
    rows = "[[1,0,0],[0,1,0],[0,0,5]]"
    assert main(["probe=inline", f"probe.inputs={rows}", "hydra.run.dir=b"]) == 0
    [line] = said("diff", "a", "b")
    assert line.startswith("probe: the runs were shown different inputs: ")
    assert "first at sample 2" in line


@pytest.fixture
def deep() -> Iterator[Path]:
    """A folder of folders in folders, more than Python calls functions in functions."""
    folder = Path("deep").absolute()
    folders = [folder.joinpath(*"a" * depth) for depth in range(1200)]
    for each in folders:
        each.mkdir()
    yield Path("deep")
    for each in reversed(folders):
        each.rmdir()


def test_a_folder_as_deep_as_can_be_is_read(deep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean", str(deep)]) == 0
    assert capsys.readouterr().out == "deep: nothing is left of interrupted runs\n"
    assert main(["adopt", str(deep)]) == 2
    assert capsys.readouterr().err == "error: FILES: the folder 'deep' has no file of tensors\n"
    probe = ("probe=images", "probe.path=deep", "probe.size=[8,8,3]", "model.input_shape=[8,8,3]")
    assert main(probe) == 2
    assert "error: probe.path: no pictures in 'deep'\n" in capsys.readouterr().err
