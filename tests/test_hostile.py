"""Files and words made to do harm: each is refused in a line, or does none."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import re
import struct
import subprocess
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from command import in_process
from making import make_run
from PIL import Image

import runner
from runner import parquet_layout
from runner.command_line.entry import main
from runner.errors import InputError
from runner.given_files import FileOnDisk
from runner.model import declared_sizes
from runner.model.hdf5_texts import HeldTexts
from runner.model.model_archive import weights_file
from runner.probe import compressed
from runner.probe.array_files import unpacked

MODEL = "input_shape: [3]\nlayers:\n  dense: {class_name: Dense, units: 2}\n"
SAVED = ("model=saved", "model.path=m.keras", "probe=random", "probe.rows=2")
OWN = ("--config-dir", "own", "model=mine")
Refused = Callable[..., list[str]]


class Harm:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harmed"),))


def left() -> set[Path]:
    return {path for path in Path().rglob("*") if ".hypothesis" not in path.parts}


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return a function that types a command line and returns the lines that refuse it."""

    def typed(*words: str) -> list[str]:
        before = left()
        assert main(words) == 2
        assert left() == before
        lines = capsys.readouterr().err.splitlines()
        assert all(line.startswith("error: ") and line.isprintable() for line in lines)
        return [line.removeprefix("error: ") for line in lines]

    return typed


def own(text: str, path: str = "model/mine.yaml") -> None:
    file = Path("own", path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


# Models and weights.


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a small model as its file holds it."""
    path = tmp_path_factory.mktemp("model") / "m.keras"
    keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)]).save(path)
    return path.read_bytes()


def changed(
    archive: bytes, change: Callable[[str], str] = str, add: dict[str, bytes] | None = None
) -> None:
    """Write an archive with another configuration of its model, or more members."""
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as before,
        zipfile.ZipFile("m.keras", "w", zipfile.ZIP_DEFLATED) as after,
    ):
        for name in before.namelist():
            data = before.read(name)
            if name == "config.json":
                data = change(data.decode()).encode()
            after.writestr(name, data)
        for name, data in (add or {}).items():
            after.writestr(name, data)


@pytest.mark.parametrize("name", ["../../evil", "/evil", "C:\\evil", "..\\evil", "a/../../evil"])
def test_a_member_outside_its_archive_is_refused(
    name: str, archive: bytes, refused: Refused
) -> None:
    changed(archive, add={name: b"x"})
    [line] = refused(*SAVED)
    assert line.startswith("model.path: m.keras holds ")
    assert line.endswith(", outside the archive")


@pytest.mark.parametrize("member", ["assets/big", "config.json"])
def test_an_archive_that_unpacks_to_far_more_is_refused(
    member: str, archive: bytes, refused: Refused
) -> None:
    bomb = b" " * 150_000_000
    if member == "config.json":
        changed(archive, lambda config: bomb.decode() + config)
    else:
        changed(archive, add={member: bomb})
    [line] = refused(*SAVED)
    assert line.startswith("model.path: m.keras has ")
    assert ", and unpacks to 150.0 MB" in line


def test_an_archive_is_compressed_as_keras_does() -> None:
    """Unpacking LZMA can take gigabytes for a few bytes, and a password is asked for nowhere."""
    with zipfile.ZipFile("m.keras", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("config.json", "{}")
    with pytest.raises(InputError, match=r"'config\.json' is not compressed as in models of Keras"):
        weights_file("m.keras", "model.path")


def spoiled(data: bytes, mark: bytes, at: int, value: bytes) -> bytes:
    """Return an archive with other bytes behind the first place of a mark."""
    place = data.index(mark) + at
    return data[:place] + value + data[place + len(value) :]


DAMAGE = {
    "a stream that is none": (b"config.json", 11, b"\xff\xff"),
    "a version of Python's future": (b"PK\1\2", 6, b"\x63"),
    "a name that is no text": (b"PK\1\2", 8, b"\0\x08" + b"\xff" * 40),
    "a place before the file": (b"PK\5\6", 16, b"\xff\xff\0\0"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_archive_is_refused_whatever_reading_it_raises(
    damage: str, refused: Refused
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", b'{"a": 1}' * 50)
    data = spoiled(packed.getvalue(), *DAMAGE[damage])
    Path("m.keras").write_bytes(data)
    [line] = refused(*SAVED)
    assert line.startswith("model.path: m.keras is damaged: it begins as a zip file, and its end")
    Path("a.npz").write_bytes(data)
    [line] = refused("probe=npz", "probe.path=a.npz")
    assert line.startswith("probe.path: a.npz is damaged: ")


@pytest.mark.parametrize("name", ["config.json", "metadata.json"])
def test_a_model_of_a_million_empty_parts_is_refused(name: str) -> None:
    """A file of 30 kB may hold ten million, which take minutes, and hundreds of megabytes."""
    with zipfile.ZipFile("m.keras", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, '{"a": [' + "{}," * 1_000_000 + "{}]}")
    with pytest.raises(
        InputError, match="cannot be loaded: its model has more than 1,000,000 part"
    ):
        weights_file("m.keras", "model.path")


def named(module: str, name: str) -> dict[str, Any]:
    """Return what stands in a model's file for a function."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("module", "os"),
        ("class_name", "Lambda"),
        ("activation", named("builtins", "eval")),
        ("activation", named("os", "system")),
        ("activation", named("keras.config", "enable_unsafe_deserialization")),
        ("activation", {"class_name": "__lambda__", "config": {"value": "x"}}),
        ("units", -1),
    ],
)
def test_a_model_file_names_no_code(key: str, value: Any, archive: bytes, refused: Refused) -> None:
    def change(text: str) -> str:
        config = json.loads(text)
        layer = config["config"]["layers"][1]
        holder = layer if key in layer else layer["config"]
        holder[key] = value
        return json.dumps(config)

    changed(archive, change)
    [line] = refused(*SAVED)
    assert line.startswith("model.path: m.keras cannot be loaded: ")
    assert keras.src.saving.serialization_lib.in_safe_mode() is not False


def test_a_configuration_without_a_bottom_is_refused(archive: bytes, refused: Refused) -> None:
    changed(archive, lambda _: '{"a":' * 100_000)
    [line] = refused(*SAVED)
    assert line.startswith("model.path: m.keras cannot be loaded: ")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("module", "harm", "harm.Dense, which is not registered"),
        ("activation", named("harm", "run"), "harm.run, which is not registered"),
        (
            "activation",
            {**named("pydoc", "pipepager"), "registered_name": "own>Known"},
            "pydoc.pip",
        ),
        (
            "activation",
            named("keras.src.utils.file_utils", "get_file"),
            "keras.src.utils.file_utils.",
        ),
        (
            "activation",
            named("keras.src.saving.saving_lib", "os"),
            "keras.src.saving.saving_lib.os",
        ),
    ],
)
def test_a_model_file_imports_no_module(
    key: str,
    value: Any,
    said: str,
    archive: bytes,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("harm.py").write_text("open('harmed', 'w')")
    monkeypatch.syspath_prepend(".")
    monkeypatch.setitem(keras.saving.get_custom_objects(), "own>Known", keras.layers.Dense)

    def change(text: str) -> str:
        config = json.loads(text)
        layer = config["config"]["layers"][1]
        holder = layer if key in layer else layer["config"]
        holder[key] = value
        config["compile_config"] = {"loss": named("mine", "loss")}
        return json.dumps(config)

    changed(archive, change)
    [line] = refused(*SAVED)
    assert line.startswith(f"model.path: m.keras cannot be loaded: it names {said}")
    assert not Path("harmed").exists()


def test_a_folder_named_like_a_package_of_keras_is_not_imported(
    archive: bytes, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("keras_cv").mkdir()
    Path("keras_cv/__init__.py").write_text("open('harmed', 'w')")
    monkeypatch.syspath_prepend(".")

    def change(text: str) -> str:
        config = json.loads(text)
        config["config"]["layers"][1]["config"]["activation"] = named("keras_cv", "f")
        return json.dumps(config)

    changed(archive, change)
    [line] = refused(*SAVED)
    assert line.startswith(
        "model.path: m.keras cannot be loaded: it names keras_cv.f, which is not"
    )
    assert not Path("harmed").exists()


@pytest.mark.parametrize("modules", ["'${oc.decode:\"[ha${extra.rm}]\"}'", "['ha${extra.rm}']"])
def test_modules_that_an_interpolation_names_are_not_imported(
    modules: str, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("harm.py").write_text("open('harmed', 'w')")
    monkeypatch.syspath_prepend(".")
    own = f"# @package _global_\ncustom_modules: {modules}\nextra: {{rm: rm, x: '${{none:1}}'}}\n"
    Path("own/experiment").mkdir(parents=True)
    Path("own/experiment/mine.yaml").write_text(own)
    lines = refused("--config-dir=own", "experiment=mine")
    assert any(line.startswith("extra.x: ${none:1} cannot be resolved") for line in lines)
    assert not Path("harmed").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('extra: {a: "\\ud800b"}', "extra.a: holds half a character, or no UTF-8"),
        ('name: "\\ud800"', "name: holds half a character, or no UTF-8"),
        ('extra: {"\\ud800": 1}', "extra.\\ud800: holds half a character, or no UTF-8"),
        ("defaults: [../../other@_global_]", "defaults: 'experiment/../../other' is outside the"),
    ],
)
def test_what_is_no_text_and_files_elsewhere_are_refused(
    text: str, said: str, refused: Refused
) -> None:
    Path("own/experiment").mkdir(parents=True)
    Path("other.yaml").write_text("seed: 1")
    Path("own/experiment/mine.yaml").write_text(f"# @package _global_\n{text}\n")
    [line] = refused("--config-dir=own", "experiment=mine")
    assert line.startswith(said)


def test_names_of_files_that_are_no_text_are_refused(refused: Refused) -> None:
    Path("pictures").mkdir()
    Path("pictures/\udcff.png").write_bytes(b"")
    [line] = refused("model=digits_cnn", "probe=images", "probe.path=pictures")
    assert line.endswith("is not UTF-8; rename it")
    [line] = refused("probe=csv", "probe.path=\udcff.csv")
    assert line.endswith("is not UTF-8; rename the file")


def test_files_of_the_system_and_of_holes_are_not_read(refused: Refused) -> None:
    Path("environment.csv").symlink_to("/proc/self/environ")
    [line] = refused("probe=csv", "probe.path=environment.csv", "probe.header=false")
    assert line.startswith("probe.path: 'environment.csv' is a file of the system")
    with Path("holes.csv").open("w") as file:
        file.write("a,b\n1,2\n")
        file.truncate(2**33)
    [line] = refused("probe=csv", "probe.path=holes.csv")
    assert line.startswith("probe.path: 'holes.csv' is a sparse file")
    for name, *words in (
        ("m.keras", "model=saved", "model.path=m.keras"),
        ("m.weights.h5", "experiment=iris_mlp", "+model.weights=m.weights.h5"),
    ):
        Path("holes.csv").rename(name)
        [line] = refused(*words)
        assert f"'{name}' is a sparse file: almost nothing is written in it" in line
        Path(name).rename("holes.csv")


@pytest.mark.parametrize("target", ["/proc/self/environ", "/proc/kmsg", "holes"])
def test_files_of_a_folder_are_neither_of_the_system_nor_of_holes(
    target: str, refused: Refused
) -> None:
    Path("pictures").mkdir()
    with Path("pictures/.holes").open("wb") as file:
        file.truncate(2**33)
    if target == "holes":
        Path("pictures/.holes").rename("pictures/a.png")
    else:
        Path("pictures/a.png").symlink_to(target)
    [line] = refused("model=digits_cnn", "probe=images", "probe.path=pictures")
    what = "a sparse file" if target == "holes" else "a file of the system"
    assert line.startswith(f"probe.path: 'pictures/a.png' is {what}")


def test_a_folder_in_the_place_of_a_file_is_not_read(refused: Refused) -> None:
    [line] = refused("probe=npy", "probe.path=/")
    assert line == "probe.path: expected a regular file, '/' is a folder"
    [line] = refused("intervene.hidden.add=/")
    assert line == "intervene.hidden.add: expected a regular file, '/' is a folder"


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.pkl"])
def test_what_is_pickled_is_no_model(name: str, refused: Refused) -> None:
    Path(name).write_bytes(pickle.dumps(Harm()))
    [line] = refused(*SAVED[:1], f"model.path={name}", *SAVED[2:])
    assert line.startswith(f"model.path: {name} is not a Keras model: it is a Python pickle; save ")


@pytest.mark.parametrize("name", ["w.weights.h5", "w.pkl", "w.npz", "w.keras"])
def test_what_is_pickled_is_no_weights(name: str, refused: Refused) -> None:
    Path(name).write_bytes(pickle.dumps(Harm()))
    own(MODEL)
    [line] = refused(*OWN, f"+model.weights={name}")
    assert line.startswith(f"model.weights: {name} cannot be loaded: ")


def test_pickled_members_of_an_archive_are_left_alone(archive: bytes) -> None:
    changed(archive, add={"evil.pkl": pickle.dumps(Harm()), "assets/x": pickle.dumps(Harm())})
    assert main(SAVED) == 0
    assert not Path("harmed").exists()


# Probes.


def npy_header(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header


def pickled_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Harm()], dtype=object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["npy", "npz"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (npy_header((500 * 10**9, 1)), "declares 4.0 TB, the limit leaves 10.7 GB"),
        (npy_header((2**62, 2**62)), "the limit leaves 10.7 GB"),
        (npy_header((1, 3), "O"), "holds pickled Python objects, which can run code when read"),
        (pickled_array(), "holds pickled Python objects, which can run code when read"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff", "has a header of 4.3 GB"),
    ],
)
def test_an_array_that_lies_or_runs_code_is_refused(
    kind: str, data: bytes, said: str, refused: Refused
) -> None:
    if kind == "npz":
        with zipfile.ZipFile("a.npz", "w") as file:
            file.writestr("x.npy", data)
    else:
        Path("a.npy").write_bytes(data)
    [line] = refused(f"probe={kind}", f"probe.path=a.{kind}")
    assert said in line
    assert not Path("harmed").exists()


def test_an_npz_bomb_is_refused_by_its_size(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed("a.npz", x=np.zeros((10**6, 3)))
    with monkeypatch.context() as patch:
        patch.setattr(compressed, "_NUMBER_BYTES", 2**20)
        [line] = refused("probe=npz", "probe.path=a.npz")
    assert re.match(
        r"probe\.path: a\.npz has [\d.]+ kB, and unpacks to 24\.0 MB; if this is intended, save",
        line,
    )
    [line] = refused("probe=npz", "probe.path=a.npz", "probe.max_bytes=1000000")
    assert line.startswith("probe.max_bytes: a.npz: x declares 24.0 MB, the limit leaves 1.0 MB")


def test_an_array_of_an_archive_takes_its_memory_once() -> None:
    np.savez_compressed("a.npz", x=np.zeros(2**23))
    tracemalloc.start()
    found = unpacked(FileOnDisk(Path("a.npz")), 2**30)["x"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.nbytes == 2**26
    assert peak < 1.4 * found.nbytes


# Configurations.


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb(), "values, the limit is 10,000"),
        (
            "a: {" + ", ".join(f"k{key}: 1" for key in range(15_000)) + "}",
            "unfolds to 30,003 values",
        ),
        ("a: " + "x" * 1_000_001, "bytes, the limit is 1,000,000"),
        ("a: " + "[" * 300 + "]" * 300, "own/model/mine.yaml: is nested too deeply to be read"),
        ("a: " + "[" * 30_000, "own/model/mine.yaml: is nested too deeply to be read"),
        ("a: !!python/object/apply:os.mkdir [harmed]", "could not determine a constructor"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("a: !!binary x", "failed to decode base64 data"),
    ],
)
def test_a_yaml_file_neither_runs_code_nor_unfolds(text: str, said: str, refused: Refused) -> None:
    own(text)
    assert said in refused(*OWN)[0]


TARGET = "{_target_: os.mkdir, path: harmed}"


@pytest.mark.parametrize(
    "text",
    [
        f"_target_: os.mkdir\n{MODEL}",
        f"{MODEL}  next: {{class_name: Dense, units: 2, kernel_initializer: {TARGET}}}\n",
        f"{MODEL}  next: {{class_name: Dense, units: 2, inputs: {TARGET}}}\n",
        f"{MODEL}outputs: [{TARGET}]\n",
    ],
)
def test_no_target_is_made_anywhere_in_a_model(text: str, refused: Refused) -> None:
    own(text)
    assert any("_target_: " in line for line in refused(*OWN))


@pytest.mark.parametrize(
    "text",
    [
        f"hydra: {{callbacks: {{mine: {TARGET}}}}}",
        f"hydra: {{launcher: {TARGET}}}",
        f"hydra: {{sweeper: {TARGET}}}",
        "hydra: {launcher: {_target_: hydra_pluginsX.mine}}",
        "hydra: {job_logging: {handlers: {mine: {(): os.mkdir, path: harmed}}}}",
        "hydra: {hydra_logging: {version: 1, formatters: {mine: {(): os.mkdir}}}}",
        "hydra: {job: {env_set: {PYTHONSTARTUP: evil.py}}}",
        "hydra: {job: {chdir: true}}",
        "hydra: {output_subdir: ../../.git}",
        "hydra: {sweeper: {run_id: ../../x}}",
        "hydra: {launcher: {setup: [evil]}}",
        "hydra: {overrides: {task: ['seed=1']}}",
        f"loss: {TARGET}",
        f"probe: {{source: function, function: 'os:mkdir', arguments: {TARGET}}}",
    ],
)
def test_no_config_of_ones_own_reaches_code_through_hydra(text: str, refused: Refused) -> None:
    own(f"# @package _global_\n{text}\n", "experiment/mine.yaml")
    lines = refused("--config-dir", "own", "experiment=mine")
    assert any("names code" in line or "can run code" in line for line in lines)


@pytest.mark.parametrize(
    ("key", "made"),
    [
        ("model", "${oc.decode:'{function: nets.build}'}"),
        ("probe", "${oc.create:{source: function, function: nets.build}}"),
        ("train.data", "${oc.decode:${oc.env:ABSENT,'{source: function, function: nets.build}'}}"),
        ("train", "${oc.create:{epochs: 1, data: {source: function, function: nets.build}}}"),
        ("extra", "${oc.create:[{custom_modules: [nets]}]}"),
    ],
)
def test_no_interpolation_makes_a_key_that_names_code(
    key: str, made: str, refused: Refused
) -> None:
    top, _, below = key.partition(".")
    value: Any = {"epochs": 1, below: made} if below else made
    own(f"# @package _global_\n{json.dumps({top: value})}\n", "experiment/mine.yaml")
    lines = refused("--config-dir", "own", "experiment=mine")
    assert any(
        line.startswith(key) and "names Python code, but is made by an interpolation" in line
        for line in lines
    ), lines


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("custom_modules.0", "custom_modules: ['${oc.env:ABSENT,nets}']"),
        ("custom_modules.0", "custom_modules: ['${extra.a}']\nextra: {a: '${oc.env:ABSENT,nets}'}"),
        ("custom_modules.0", "custom_modules: ['ne${extra.a}']\nextra: {a: ts}"),
        ("custom_modules", "custom_modules: ${oc.create:[nets]}"),
        ("probe.function", "probe: {source: function, function: '${oc.env:ABSENT,nets.f}'}"),
    ],
)
def test_no_interpolation_makes_the_name_of_code(key: str, text: str, refused: Refused) -> None:
    own(f"# @package _global_\n{text}\n", "experiment/mine.yaml")
    lines = refused("--config-dir", "own", "experiment=mine")
    assert f"{key}: names Python code, but is made by an interpolation; write the key out" in lines


def test_a_module_that_is_written_out_may_be_referred_to(refused: Refused) -> None:
    text = "custom_modules: ['${extra.mine}']\nextra: {mine: a/b.py}"
    own(f"# @package _global_\n{text}\n", "experiment/mine.yaml")
    [line] = refused("--config-dir", "own", "experiment=mine")
    assert line.startswith("extra.mine: expected a module such as my_package.layers")


def test_a_key_that_names_code_openly_may_be_referred_to(refused: Refused) -> None:
    data = "{source: function, function: 'nowhere_at_all:build'}"
    own(f"# @package _global_\nextra: {{mine: {data}}}\n"
        "train: {epochs: 1, data: '${extra.mine}'}\n", "experiment/mine.yaml")  # fmt: skip
    [line] = refused("--config-dir", "own", "experiment=mine")
    assert line.startswith("train.data.function: no module 'nowhere_at_all'")


LOGGING = "{job_logging: {handlers: {mine: {(): os.mkdir, path: harmed}}}}"


def test_a_choice_that_a_sweep_replaces_runs_no_code(refused: Refused) -> None:
    own("defaults: [config, override experiment: mine, _self_]", "mine.yaml")
    own(f"# @package _global_\nhydra: {{callbacks: {{mine: {TARGET}}}}}", "experiment/mine.yaml")
    own("# @package _global_\nseed: 5", "experiment/good.yaml")
    lines = refused("--config-dir", "own", "--config-name", "mine", "-m", "experiment=good,null")
    assert "hydra.callbacks.mine._target_: names code ('os.mkdir'); remove it" in lines


def test_choices_that_run_code_only_together_run_none(capsys: pytest.CaptureFixture[str]) -> None:
    own("defaults: [config, both: '${model}_${probe}', _self_]", "mine.yaml")
    for pair in ("tutorial_tutorial", "tutorial_random", "iris_mlp_tutorial", "iris_mlp_random"):
        text = f"hydra: {LOGGING}" if pair == "iris_mlp_random" else "seed: 5"
        own(f"# @package _global_\n{text}", f"both/{pair}.yaml")
    sweep = ["-m", "model=tutorial,iris_mlp", "probe=tutorial,random"]
    assert main(["--config-dir", "own", "--config-name", "mine", *sweep]) == 1
    assert "hydra.job_logging: can run code" in " ".join(capsys.readouterr().out.split())
    assert not Path("harmed").exists()


def test_a_sweep_in_a_file_has_the_values_that_were_checked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    own("# @package _global_\nseed: 5", "experiment/good.yaml")
    own(f"# @package _global_\nhydra: {LOGGING}", "experiment/evil.yaml")
    params = "{experiment: 'good,${extra.other}', name: '${extra.names}'}"
    own("defaults: [config, _self_]\nextra: {other: evil, names: 'a,b'}\n"
        f"hydra: {{mode: MULTIRUN, sweeper: {{params: {params}}}}}", "mine.yaml")  # fmt: skip
    assert main(["--config-dir", "own", "--config-name", "mine"]) == 1
    assert "1 of 2 runs completed" in capsys.readouterr().out
    assert not Path("harmed").exists()


@pytest.mark.parametrize("name", ["/{}/outside", "C:\\outside", "../outside"])
def test_no_file_outside_the_folder_of_configs_is_included(
    name: str, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "outside.yaml").write_text("seed: 5\n")
    choice = f"/{name.format(tmp_path)}@_global_"
    own(f"# @package _global_\ndefaults: ['{choice}']\n", "experiment/mine.yaml")
    for words in (("experiment=mine",), ("experiment=mine", "--cfg", "job")):
        [line] = refused("--config-dir", "own", *words)
        assert "is outside the folder of configs" in line, line


@pytest.mark.parametrize("template", ["$FOOTER", "$", "{a: 1}"])
def test_a_page_of_help_that_cannot_be_made_is_one_line(template: str, refused: Refused) -> None:
    own(f"# @package _global_\nhydra: {{help: {{template: {template}}}}}\n", "experiment/mine.yaml")
    [line] = refused("--config-dir", "own", "experiment=mine", "--help")
    assert line.startswith(("config: ", "hydra.help"))
    [line] = refused("+a@b=x", "--info", "all")
    assert "config group 'a' does not exist" in line


@pytest.mark.parametrize("page", ["--help", "--info=config"])
def test_no_page_acts_on_the_terminal(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'name: "\\e]0;evil\\a"\nhydra: {help: {template: "${name} $APP_CONFIG_GROUPS"}}\n'
    own(f"# @package _global_\n{text}", "experiment/mine.yaml")
    assert main(["--config-dir", "own", "experiment=mine", page]) == 0
    shown = capsys.readouterr().out
    assert "evil" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("path", ["pkg://antigravity", "file:///tmp"])
def test_no_search_path_leads_elsewhere(path: str, refused: Refused) -> None:
    own(f"defaults: [config]\nhydra: {{searchpath: ['{path}']}}\n", "mine.yaml")
    lines = refused("--config-dir", "own", "--config-name", "mine")
    assert lines == ["hydra.searchpath: can run code; use --config-dir"]


@pytest.mark.parametrize(
    "word",
    [
        "+hydra.callbacks.mine={_target_: os.mkdir, path: harmed}",
        "hydra.searchpath=[pkg://antigravity]",
        "hydra.job_logging.handlers={}",
        "hydra.hydra_logging.version=2",
        "hydra.launcher._target_=os.mkdir",
        "+hydra.launcher={_target_: os.mkdir}",
        "+hydra.job.env_set={PATH: x}",
        "hydra.output_subdir=..",
        "hydra.job.config.override_dirname.kv_sep=/",
        "+model.layers.hidden.kernel_initializer={a: [{_target_: os.mkdir}]}",
        "~hydra.sweeper._target_",
    ],
)
def test_no_word_reaches_code_through_hydra(word: str, refused: Refused) -> None:
    [line] = refused(word)
    assert "names code" in line or "cannot be set" in line


def test_a_word_without_a_bottom_is_refused(refused: Refused) -> None:
    assert refused("+a=" + "[" * 1000 + "]" * 1000) == ["config: is nested too deeply to be read"]


# Names.


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "a\0b", "a\nb", "a\x1b[2Jb", "x" * 201])
def test_a_layer_cannot_be_named_so(name: str, refused: Refused) -> None:
    own(MODEL.replace("dense", json.dumps(name)))
    [line] = refused(*OWN)
    assert line.startswith("model.layers.")


@pytest.mark.parametrize("name", ["../x", "..", ".", "a/b", "a\\b", "a\0b", "a\nb", "last~1"])
def test_a_run_cannot_be_named_so(name: str, refused: Refused) -> None:
    [line] = refused(f'name="{name}"' if "\\" not in name else f"name='{name}'")
    assert line.startswith("name: ")


@pytest.mark.parametrize("name", ["../../x", "/x", "C:\\x", "a\0b", "a\nb", ".", "a/../../b"])
def test_a_job_cannot_leave_its_sweep(name: str, refused: Refused) -> None:
    [line] = refused("-m", f"hydra.sweep.subdir={name}", "seed=0,1")
    assert line.startswith("hydra.sweep.subdir: ")


def test_a_job_cannot_leave_its_sweep_by_what_it_changes_either(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["-m", "hydra.sweep.subdir=${hydra.job.override_dirname}", "hydra.sweep.dir=out/sweep"]
    assert main([*words, "capture.include=['a/../../../../x']"]) == 1
    assert "is not a folder inside the sweep's folder" in " ".join(capsys.readouterr().out.split())
    assert sorted(Path().rglob("run.json")) == [Path("out/sweep/0/run.json")]


def test_a_job_cannot_leave_its_sweep_through_a_link(capsys: pytest.CaptureFixture[str]) -> None:
    Path("elsewhere").mkdir()
    Path("sweep").mkdir()
    Path("sweep/jobs").symlink_to(Path("elsewhere").absolute())
    folders = ["hydra.sweep.dir=sweep", "hydra.sweep.subdir='jobs/${hydra.job.num}'"]
    assert main(["-m", *folders, "seed=0"]) == 1
    assert "'jobs' is a link in the sweep's folder; remove it" in " ".join(
        capsys.readouterr().out.split()
    )
    assert not list(Path("elsewhere").iterdir())


def test_jobs_may_lie_in_folders_of_a_sweep() -> None:
    folders = ["hydra.sweep.dir=sweep", "hydra.sweep.subdir='jobs/${hydra.job.num}'"]
    for _ in range(2):
        done = in_process("-m", *folders, "seed=0,1")
        assert done.stdout.startswith("2 of 2 runs completed: sweep\n")
    assert not Path("sweep/jobs/.superseded").exists()


def test_a_folder_cannot_be_named_with_a_nul(refused: Refused) -> None:
    [line] = refused('hydra.run.dir="a\0b"')
    assert "the output folder cannot be made: a name cannot contain a NUL character" in line


def test_a_folder_with_a_name_that_is_too_long_leaves_none_behind(refused: Refused) -> None:
    [line] = refused(f"hydra.run.dir=a/b/{'c' * 300}")
    assert line.endswith("the output folder cannot be made: File name too long; name another one")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{run: {dir: "a\\0b"}}', r"run.dir: 'a\x00b' holds characters that cannot be printed"),
        ("{run: {dir: 'loop/x/../../..'}}", "run.dir: a file can only choose a folder below"),
        ("{run: {dir: 'out/${oc.env:RUNNER_TEST_SECRET}'}}", "run.dir: comes from the environment"),
        ("{run: {dir: 'out/${extra.a}'}}", "run.dir: comes from the environment, and would be"),
        ("{mode: MULTIRUN, sweep: {dir: '${extra.a}'}}", "sweep.dir: comes from the environment"),
        ("{mode: MULTIRUN, sweep: {subdir: '${extra.a}${hydra.job.num}'}}",
         "sweep.subdir: comes from the environment, and would be the name of a folder"),
        ("{mode: MULTIRUN, sweep: {subdir: ../../x}}",
         "sweep.subdir: '../../x' is not a folder inside the sweep's folder; use a plain name"),
        ("{mode: MULTIRUN, sweep: {subdir: '${extra.b}/${hydra.job.num}'}}",
         "sweep.subdir: '../0' is not a folder inside the sweep's folder; use a plain name"),
        ("{mode: MULTIRUN, sweeper: {params: 5}}", "sweeper.params: expected a mapping of keys"),
        ("{mode: MULTIRUN, sweeper: {params: '0'}}", "sweeper.params: expected a mapping of keys"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("secret")
def test_a_file_chooses_no_folder_of_its_own_kind(text: str, said: str, refused: Refused) -> None:
    Path("loop").symlink_to("loop")
    extra = "extra: {a: '${oc.env:RUNNER_TEST_SECRET}', b: ..}"
    own(f"# @package _global_\n{extra}\nhydra: {text}\n", "experiment/mine.yaml")
    [line] = refused("--config-dir", "own", "experiment=mine")
    assert line.startswith(f"hydra.{said}")
    assert SECRET not in line


@pytest.mark.parametrize("pair", [("dense", "DENSE"), ("é", "e\N{COMBINING ACUTE ACCENT}")])
def test_layers_whose_files_would_clash_are_refused(
    pair: tuple[str, str], refused: Refused
) -> None:
    own(MODEL.replace("dense", pair[0]) + f"  {pair[1]}: {{class_name: Dense, units: 2}}\n")
    [line] = refused(*OWN)
    assert "differ only in letter case or in how an accent is encoded" in line


def test_names_that_windows_reserves_are_none_of_a_file(tmp_path: Path) -> None:
    layers = "".join(
        f"  '{name}': {{class_name: Dense, units: 2}}\n" for name in ("con", "NUL", "aux.")
    )
    own("input_shape: [3]\nlayers:\n" + layers)
    assert main([*OWN, "hydra.run.dir=run"]) == 0
    reserved = {"con", "nul", "aux"}
    for path in (tmp_path / "run").rglob("*"):
        assert path.name.partition(".")[0].lower() not in reserved
        assert not path.name.endswith((".", " "))
    assert set(runner.open_run("run")) == {"con", "NUL", "aux."}


HOSTILE_IDS = [
    "../../x",
    "a\0b",
    "a\nb",
    "CON",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "=1+1",
    "A",
    "a",
]


@pytest.mark.parametrize("table_format", ["parquet", "csv", "arrow"])
def test_sample_ids_are_kept_as_they_are_and_name_no_file(table_format: str) -> None:
    ids = (
        HOSTILE_IDS if table_format != "csv" else [name for name in HOSTILE_IDS if "\0" not in name]
    )
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, name="dense")])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* begin like formulas")  # as one test below wants
        run = runner.save_run(
            model, np.ones((len(ids), 3)), "run", sample_ids=ids, format=table_format
        )
    assert run["dense"].index.tolist() == ids
    assert left() == {Path("run"), *Path("run").rglob("*")}


FORMULAS = ["=1+1", "+1+1", "-1e1+1", "@SUM(A1)", "=HYPERLINK(\"http://x\")", "\t=1"]  # fmt: skip


def test_a_cell_that_a_spreadsheet_would_run_is_warned_of_and_text_in_quotes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not changed: SECURITY.md says how to open it."""
    hostile, plain = (
        keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, name=name)])
        for name in ("@dense", "dense")
    )
    inputs = pd.DataFrame(np.ones((6, 3)), columns=["a", "b", "=2"])
    with pytest.warns(UserWarning, match="which a spreadsheet would run") as warned:
        run = runner.save_run(hostile, inputs, "run", sample_ids=FORMULAS, format="csv")
    assert [str(one.message).partition(", which")[0] for one in warned] == [
        "1 texts in the names of the columns begin like formulas ('=2')",
        "6 texts in column 'sample' begin like formulas ('=1+1')",
        "3 texts in column 'name' begin like formulas ('@dense')",
        "3 texts in column 'layer' begin like formulas ('@dense')",
    ]
    numbers = ["-1", "+2.5", "-1e-3", "a=1", "1-2", "one"]
    runner.save_run(plain, np.ones((6, 3)), "plain", sample_ids=numbers, format="csv")
    rows = (run.path / "activations/00_@dense.csv").read_text("utf-8").splitlines()[1:]
    quoted = ['"' + formula.replace('"', '""') + '"' for formula in FORMULAS]
    assert [row.rsplit(",", 2)[0] for row in rows] == quoted
    assert runner.open_run("run")["@dense"].index.tolist() == FORMULAS
    for name in "ab":
        make_run(Path(name), {"=1": np.eye(9, dtype=np.float32)}, samples=range(9))
    assert main(["similarity", "a", "b", "--csv", "pairs.csv"]) == 0
    assert "begin like formulas ('=1'), which a spreadsheet would run" in capsys.readouterr().err


ESCAPE = "\x1b]0;harmed\x07"


@pytest.mark.parametrize("words", [["list"], ["show"], ["diff", "last", "last"], ["verify"]])
def test_names_in_a_run_of_others_do_not_act_on_the_terminal(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(Path("outputs/a"), {ESCAPE: np.ones((3, 2), np.float32)}, name=ESCAPE)
    assert main(words) == 0
    captured = capsys.readouterr()
    assert (captured.out + captured.err).replace("\n", "").isprintable()


# Secrets.

SECRET = "hush-4711"


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_TEST_SECRET", SECRET)
    monkeypatch.setenv("RUNNER_TEST_POINTER", "RUNNER_TEST_SECRET")


def telling() -> list[Path]:
    """Return the paths that hold the secret in their name or in their bytes."""
    return [
        path
        for path in left()
        if SECRET in str(path) or (path.is_file() and SECRET.encode() in path.read_bytes())
    ]


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("${oc.env:RUNNER_TEST_SECRET}", ()),
        ("${oc.env:RUNNER_TEST_SECRET}", ("-m", "model.hidden_units=2,3")),
        ("${oc.env:RUNNER_TEST_SECRET,default}", ()),
        ("${ oc.env : RUNNER_TEST_SECRET }", ()),
        ("${oc.env:${oc.env:RUNNER_TEST_POINTER}}", ()),
        ("${oc.decode:${oc.env:RUNNER_TEST_SECRET}}", ("-m", "seed=0,1")),
        ("${${oc.decode:oc.env}:RUNNER_TEST_SECRET}", ()),
        ("run-${oc.env:RUNNER_TEST_SECRET}-${seed}", ("-m", "seed=0,1")),
    ],
)
def test_a_secret_of_the_environment_reaches_no_file_or_folder(
    value: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, f"name='{value}'"]) == 0
    assert list(Path().rglob("run.json"))
    assert telling() == []
    assert SECRET not in capsys.readouterr().out


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    "text",
    [
        "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1', name: '%s'}}}",
        "hydra: {sweep: {subdir: '%s${hydra.job.num}'}}",
    ],
)
def test_a_secret_in_a_file_of_a_sweep_reaches_no_file_or_folder(text: str) -> None:
    own("# @package _global_\nseed: 1", "experiment/first.yaml")
    own("# @package _global_\n" + text % "${oc.env:RUNNER_TEST_SECRET}", "experiment/mine.yaml")
    sweep = "experiment=mine" if "params" in text else "experiment=mine,first"
    assert main(["--config-dir", "own", "-m", sweep]) == ("subdir" in text)
    assert len(list(Path().rglob("run.json"))) == 2
    assert telling() == []


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("defaults: [/model: '%s']", "defaults: name a config by ${oc.env:RUNNER_TEST_SECRET}, "),
        ("defaults: ['%s']", "defaults: name a config by ${oc.env:RUNNER_TEST_SECRET}, and names"),
        ("hydra: {mode: '%s'}", "hydra.mode: ${oc.env:RUNNER_TEST_SECRET} cannot be resolved: "),
        ("hydra: {mode: '${nowhere}'}", "hydra.mode: refers to 'nowhere', which is not in the "),
        ("hydra: {run: {dir: '${nowhere}'}}", "hydra.run.dir: refers to 'nowhere', which is not "),
        ("hydra: {run: {dir: '${python_version:%s}'}}", "hydra.run.dir: ${python_version:${oc.e"),
        ("hydra: {run: {dir: '${extra}'}}", "hydra.run.dir: ${extra} cannot be resolved: "),
        ("hydra: {mode: MULTIRUN, sweep: {dir: '${a}'}}", "hydra.sweep.dir: refers to 'a', which "),
    ],
)
def test_what_hydra_cannot_resolve_is_told_without_a_secret(
    text: str, said: str, refused: Refused
) -> None:
    text = text.replace("%s", "${oc.env:RUNNER_TEST_SECRET}")
    own(f"# @package _global_\n{text}", "experiment/mine.yaml")
    [line] = refused("--config-dir", "own", "experiment=mine")
    assert line.startswith(said)
    assert SECRET not in line


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize("mode", [(), ("-m",)])
def test_a_secret_is_kept_out_of_what_is_said_of_a_failure(mode: tuple[str, ...]) -> None:
    Path(f"{SECRET}.csv").write_text("a,b,c\n1,2,3\n")
    words = ["probe=csv", "probe.path='${oc.env:RUNNER_TEST_SECRET}.csv'", "seed=0"]
    assert main([*mode, *words]) == 0
    assert main([*mode, *words, "model.layers.hidden.class_name=LSTM"]) in (1, 2)
    Path(f"{SECRET}.csv").unlink()
    assert main([*mode, *words]) in (1, 2)
    assert telling() == []


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@example.org/a/b.git",
        f"https://{SECRET}@example.org/a/b.git",
        f"https://example.org/a/b.git?token={SECRET}",
        f"https://example.org/a/b.git#{SECRET}",
        f"ssh://user:{SECRET}@example.org/a",
    ],
)
def test_credentials_of_a_git_remote_reach_no_file(url: str) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    Path("repository").mkdir()
    os.chdir("repository")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "remote", "add", "origin", url], check=True)
    assert main(["hydra.run.dir=run"]) == 0
    record = runner.open_run("run").record
    assert record.environment.git is not None
    assert "example.org" in str(record.environment.git.remote)
    assert [path for path in telling() if ".git" not in path.parts] == []


# Files that are no regular files, wherever a configuration may name one.


@pytest.mark.parametrize("name", ["model/mine.yaml", "other/unused.yaml", "behind/x.yaml"])
@pytest.mark.parametrize(("what", "said"), [("zero", "a device"), ("fifo", "a pipe")])
def test_a_yaml_file_that_has_no_end_is_refused(
    name: str, what: str, said: str, refused: Refused
) -> None:
    own(MODEL)
    folder = Path("elsewhere") if name.startswith("behind") else Path("own", name).parent
    folder.mkdir(exist_ok=True)
    if name.startswith("behind"):
        Path("own/behind").symlink_to("../elsewhere")
    path = folder / Path(name).name
    path.unlink(missing_ok=True)
    if what == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    [line] = refused(*OWN)
    place = str(Path("own", name))
    assert line.startswith(f"{place}: expected a regular file, '{place}' is {said}")


def test_a_link_to_the_folder_above_is_followed_once() -> None:
    own(MODEL)
    Path("own/again").symlink_to(".")
    assert main((*OWN, "dry_run=true")) == 0


def test_a_yaml_file_is_no_file_of_the_system(refused: Refused) -> None:
    own(MODEL)
    Path("own/model/maps.yaml").symlink_to("/proc/kallsyms")
    [line] = refused(*OWN)
    assert line.startswith("own/model/maps.yaml: 'own/model/maps.yaml' is a file of the system")


@pytest.mark.parametrize(
    ("words", "place"),
    [
        *((("probe=" + kind, "probe.path={}"), "probe.path") for kind in
          ("csv", "parquet", "npy", "npz")),
        (("probe=npy", "probe.path=x.npy", "probe.labels_path={}"), "probe.labels_path"),
        (("model=saved", "model.path={}", "probe=random", "probe.rows=2"), "model.path"),
        (("+model.weights={}",), "model.weights"),
        (("train=fit", "train/data=csv", "train.data.path={}"), "train.data.path"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("what", "said"), [("fifo", "a pipe"), ("link", "a device")])
def test_a_pipe_or_a_device_is_no_file(
    words: tuple[str, ...], place: str, what: str, said: str, refused: Refused
) -> None:
    np.save("x.npy", np.ones((2, 3)))
    os.mkfifo("fifo")
    Path("link").symlink_to("/dev/zero")
    lines = refused(*(word.format(what) for word in words))
    assert lines[0].startswith(f"{place}: expected a regular file, '{what}' is {said}")


# Tables that cost more than they say.

PARQUET = ("probe=parquet", "probe.path=b.parquet")


def bomb_table(codec: str = "zstd", **columns: Any) -> None:
    """Write a table of two numbers and other columns, which shrinks to little."""
    rows = len(next(iter(columns.values())))
    table = pa.table({"a": np.zeros(rows), "b": np.zeros(rows), **columns})
    pa.parquet.write_table(table, "b.parquet", compression=codec)
    assert Path("b.parquet").stat().st_size < 5_000_000


@pytest.mark.parametrize("codec", ["zstd", "snappy"])
@pytest.mark.parametrize("column", ["label", "id"])
def test_a_label_of_megabytes_is_refused_before_it_is_unpacked(
    codec: str, column: str, refused: Refused
) -> None:
    bomb_table(codec, **{column: ["x" * 40_000_000, "y"]})
    before = pa.default_memory_pool().max_memory()
    [line] = refused(*PARQUET)
    said = f"column '{column}': 2 texts of 40.0 MB are too long for ids or labels"
    assert line == f"probe.path: b.parquet: {said}"
    assert pa.default_memory_pool().max_memory() - before < 20_000_000


def test_a_long_label_that_many_samples_share_is_not_written_out(refused: Refused) -> None:
    shared = pa.DictionaryArray.from_arrays(np.zeros(2000, "int32"), ["x" * 2_000_000])
    bomb_table(label=shared)
    before = pa.default_memory_pool().max_memory()
    [line] = refused(*PARQUET)
    said = "column 'label': a text of 2.0 MB is not an id or label, the limit is 10.0 kB"
    assert line.endswith(said)
    assert pa.default_memory_pool().max_memory() - before < 50_000_000


@pytest.mark.parametrize("cells", [[[1], [2]], [{"a": 1}, {"a": 2}]])
@pytest.mark.parametrize("column", ["label", "id"])
def test_ids_and_labels_that_hold_several_values_are_refused(
    column: str, cells: list[Any], refused: Refused
) -> None:
    bomb_table(**{column: pa.array(cells)})
    [line] = refused(*PARQUET)
    assert line.startswith(f"probe.path: b.parquet: column '{column}' holds ")
    assert line.endswith(
        "not one id or label a sample; name other columns in probe.id_column and probe.label_column"
    )


def test_many_declared_rows_take_no_memory_before_they_are_refused(refused: Refused) -> None:
    zeros = pa.array(np.zeros(1_000_000, "float32"))
    schema = pa.schema([(name, pa.float32()) for name in "abc"])
    with pa.parquet.ParquetWriter("b.parquet", schema, compression="zstd") as file:
        for _ in range(8):
            file.write_table(pa.table([zeros] * 3, schema=schema), row_group_size=1_000_000)
    tracemalloc.start()
    lines = refused(*PARQUET, "capture.max_bytes=100000000")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lines[0].startswith("capture.max_bytes: the tables of 8,000,000 samples take about ")
    assert most < 20_000_000  # one column of all rows takes 32 MB


@pytest.mark.parametrize("source", ["parquet", "npz", "csv"])
def test_a_small_file_of_very_many_samples_is_refused(source: str, refused: Refused) -> None:
    rows, path = 9_000_000, f"b.{source}"
    if source == "parquet":
        one = pa.array(np.zeros(rows, "float32"))
        pa.parquet.write_table(pa.table([one] * 3, list("abc")), path, compression="zstd")
    elif source == "npz":
        np.savez_compressed(path, x=np.zeros((rows, 3), "uint8"), id=np.arange(rows) // rows)
    else:
        path += ".gz"
        Path(path).write_bytes(gzip.compress(b"a,b,c\n" + b"0,0,0\n" * rows, 6))
    [line] = refused(f"probe={source}", f"probe.path={path}")
    assert "and unpacks to 9,000,000 samples, the limit for this size is 8,388,608" in line


def test_lists_that_unpack_to_far_more_are_refused(refused: Refused) -> None:
    values = pa.array(np.zeros(20_000_000, "float32"))
    pa.parquet.write_table(
        pa.table({"x": pa.ListArray.from_arrays([0, 1, 20_000_000], values)}),
        "b.parquet",
        compression="zstd",
    )
    [line] = refused(*PARQUET, "probe.max_bytes=100000000")
    assert line.startswith("probe.max_bytes: b.parquet: the lists of column 'x' unpack to 160.0 MB")


def test_a_page_that_claims_gigabytes_is_refused(refused: Refused) -> None:
    bomb_table("zstd", c=np.zeros(1000))
    data = Path("b.parquet").read_bytes()
    # The header of the first page: its kind, 0, and then the size that it unpacks to.
    place = data.index(b"\x15\x04\x15")
    honest = data[place + 3 : place + 4]
    assert honest < b"\x80"
    claimed = b"\xfe\xff\xff\xff\x0f"  # 2 GiB
    Path("b.parquet").write_bytes(data[: place + 3] + claimed + data[place + 4 :])
    [line] = refused(*PARQUET)
    assert line.startswith(("probe.max_bytes: b.parquet: the pages of row group 0 unpack to 2.1 G",
                            "probe.path: b.parquet is damaged"))  # fmt: skip


def test_a_table_of_a_million_columns_is_refused(refused: Refused) -> None:
    names = ",".join(f"c{column}" for column in range(150_000))
    Path("wide.csv").write_text(f"{names}\n{'1,' * 149_999}1\n", encoding="ascii")
    [line] = refused("probe=csv", "probe.path=wide.csv")
    assert line.startswith("wide.csv:1: 150,000 columns, the limit is 100,000; save the numbers as")
    Path("wide.csv").write_text("a" * 4_000_000, encoding="ascii")
    [line] = refused("probe=csv", "probe.path=wide.csv")
    assert line.startswith("wide.csv: has a row of more than 3.2 MB; if it is one array, save it")


def test_a_table_that_unpacks_to_far_more_is_refused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb_table(c=np.zeros(1_000_000))
    with monkeypatch.context() as patch:
        patch.setattr(compressed, "_NUMBER_BYTES", 2**20)
        [line] = refused(*PARQUET)
    assert "kB, and unpacks to 24.0 MB; if this is intended, save it as .npy" in line
    assert main((*PARQUET, "dry_run=true")) == 0


def test_metadata_that_takes_far_more_than_the_file_is_refused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table(dict.fromkeys("abc", np.zeros(100)))
    pa.parquet.write_table(table, "b.parquet", row_group_size=1)
    save_picture()
    labels = ("experiment=digits_cnn", *PICTURES, "probe.labels=b.parquet")
    for words, advice in ((PARQUET, "; save it with larger"), (labels, "")):
        with monkeypatch.context() as patch:
            patch.setattr(parquet_layout, "_FOOTER_BYTES", 2**12)
            [line] = refused(*words)
        assert re.search(r"kB of \d+\.\d kB describe its columns and groups of rows, the li", line)
        assert advice in line
    assert main((*PARQUET, "dry_run=true")) == 0


PICTURES = ("probe=images", "probe.path=pictures")


def save_picture() -> None:
    Path("pictures").mkdir()
    Image.new("L", (8, 8)).save("pictures/0.png")


@pytest.mark.parametrize("column", [np.zeros(2_000_000, "int64"), ["x" * 900] * 100_000])
def test_labels_that_unpack_to_far_more_are_refused(
    column: list[str] | np.ndarray, refused: Refused
) -> None:
    save_picture()
    table = pa.table({"file": column, "label": column})
    pa.parquet.write_table(table, "labels.parquet", compression="zstd")
    before = pa.default_memory_pool().max_memory()
    [line] = refused("experiment=digits_cnn", *PICTURES, "probe.labels=labels.parquet")
    assert re.fullmatch(
        r"probe.labels: labels.parquet has \d+\.\d kB, and unpacks to (128.0|96.4) MB; if this is "
        "intended, save it as CSV",
        line,
    )
    assert pa.default_memory_pool().max_memory() - before < 50_000_000


def test_a_text_of_empty_lines_is_refused(refused: Refused) -> None:
    Path("t.csv").write_text("\n" * 10_000_000 + "a,b,c\n1,2,3\n", encoding="ascii")
    [line] = refused("probe=csv", "probe.path=t.csv")
    assert "has a row of more than 100,000 lines, or as many empty lines above it" in line


def test_a_wide_table_of_text_is_refused_at_once(refused: Refused) -> None:
    names = ",".join(f"c{column}" for column in range(99_999))
    Path("wide.csv").write_text(f"{names}\n{'1,' * 99_998}x\n", encoding="ascii")
    [line] = refused("probe=csv", "probe.path=wide.csv")
    assert line.startswith("wide.csv:2: column 'c99998': expected a number, found 'x'")


@pytest.mark.parametrize("encoding", ["undefined", "a\0b", "zip"])
def test_an_encoding_of_no_text_is_refused(encoding: str, refused: Refused) -> None:
    Path("t.csv").write_text("a,b,c\n1,2,3\n", encoding="ascii")
    [line] = refused("probe=csv", "probe.path=t.csv", f"probe.encoding='{encoding}'")
    assert line.startswith("probe.encoding: unknown encoding '")


@pytest.mark.parametrize("text", [b"a" * 10**6, b"1,2,3\n" * 160_000])
def test_a_compressed_text_that_unpacks_to_far_more_is_refused(
    text: bytes, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "_TEXT_BYTES", 2**24)
    with gzip.open("t.csv.gz", "wb", 6) as file:
        file.write(b"a,b,c\n")
        for _ in range(40):
            file.write(text)
    [line] = refused("probe=csv", "probe.path=t.csv.gz")
    assert re.search(r"unpacks to more than 16\.8 MB|a row of more than 3\.2 MB", line)


# Models that claim to be more than they are.


def wider(units: int) -> Callable[[str], str]:
    def change(text: str) -> str:
        config = json.loads(text)
        config["config"]["layers"][1]["config"]["units"] = units
        config["config"]["layers"][1].pop("build_config", None)
        return json.dumps(config)

    return change


@pytest.mark.parametrize(
    ("units", "said"),
    [
        (10**8, r" has \d+\.\d kB, its layers declare weights of [\d.]+ GB"),
        (
            2 * 10**10,
            r" cannot be loaded: units: an integer here is at most 2,147,483,647, found .*",
        ),
    ],
)
def test_a_model_whose_layers_declare_gigabytes_is_refused(
    units: int, said: str, archive: bytes, refused: Refused
) -> None:
    changed(archive, wider(units))
    [line] = refused(*SAVED)
    assert re.fullmatch(rf"model\.path: m\.keras{said}", line)


@pytest.mark.slow
def test_the_weights_of_all_layers_are_counted_before_the_first_large_one_is_drawn(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    draw = keras.initializers.GlorotUniform.__call__

    def counted(self: Any, shape: Any, dtype: Any = None) -> Any:
        drawn.append(shape)
        return draw(self, shape, dtype)

    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", counted)
    monkeypatch.setattr(declared_sizes, "_UNCOUNTED_BYTES", 2**17)
    layers = "".join(f"  d{at}: {{class_name: Dense, units: 200}}\n" for at in range(40))
    own(f"input_shape: [200]\nlayers:\n{layers}")
    command = (*OWN, "probe=random", "probe.rows=2")
    with monkeypatch.context() as patch:
        patch.setattr(declared_sizes, "machine_memory", lambda: 2**22)
        [line] = refused(*command)
    assert re.search(r"layers\.d26: .* has 4\.2 MB of memory, its layers declare weights of", line)
    assert not drawn
    assert main((*command, "dry_run=true")) == 0
    assert len(drawn) == 40


def test_a_layer_of_many_cells_is_refused(refused: Refused) -> None:
    cells = ", ".join(["{class_name: LSTMCell, units: 1}"] * 300)
    own(f"input_shape: [1, 1]\nlayers:\n  r: {{class_name: RNN, cell: [{cells}]}}\n")
    [line] = refused(*OWN)
    assert line == "model.layers.r: holds 300 objects, the limit is 256; use several layers"


@pytest.mark.parametrize("words", [(), ("dry_run=true",)])
def test_a_model_file_that_the_probe_does_not_fit_is_refused(
    words: tuple[str, ...], refused: Refused
) -> None:
    with pytest.warns(UserWarning, match="not yet been built"):
        keras.Sequential([keras.layers.Reshape((7, 2))]).save("m.keras")
    [line] = refused("model=saved", "model.path=m.keras", "probe=iris", *words)
    assert line.startswith("model: cannot be called on the probe: The total size of the tensor")


@pytest.mark.parametrize("name", ["fifo", "/dev/zero", "gs://bucket/words", "missing"])
@pytest.mark.parametrize("layer", ["%s", "{class_name: TimeDistributed, layer: %s}"])
def test_a_vocabulary_is_a_file_of_this_machine(name: str, layer: str, refused: Refused) -> None:
    os.mkfifo("fifo")
    lookup = f"{{class_name: IntegerLookup, vocabulary: '{name}'}}"
    own("inputs: {input: {shape: [3], dtype: int32}}\nlayers: {a: " + layer % lookup + "}\n")
    [line] = refused(*OWN)
    assert re.match(
        r"model\.layers\.a\.(layer\.)?vocabulary: (no file|expected a regular file|cannot read gs://)",
        line,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: {input_shape: [1000000000000], layers: {a: {class_name: ReLU}}}\n"
         "probe: {source: random}", "model: 'input' makes a tensor of 8.0 TB for one batch (2 "),
        ("defaults: [override /train: fit, override /train/data: random]\n"
         "train: {data: {rows: 100000000000}}", "train.data: training reads 1.2 TB into memory"),
    ],
)  # fmt: skip
def test_numbers_that_fill_the_memory_are_refused_before_they_are_drawn(
    text: str, said: str, refused: Refused
) -> None:
    own(f"# @package _global_\n{text}\n", "experiment/mine.yaml")
    [line] = refused("--config-dir", "own", "experiment=mine", "capture.max_bytes=1000000000000000")
    assert line.startswith(said)


@pytest.mark.parametrize("name", ["", "a\x1b[31m", "a\nb"])
def test_a_layer_of_a_model_file_has_a_name_that_can_be_printed(
    name: str, archive: bytes, refused: Refused
) -> None:
    def rename(text: str) -> str:
        config = json.loads(text)
        config["config"]["layers"][1]["config"]["name"] = name
        return json.dumps(config)

    changed(archive, rename)
    [line] = refused(*SAVED)
    assert line.endswith(f"the layer name {name!r} is empty or cannot be printed")


def test_a_fixed_batch_that_fills_the_memory_is_refused(archive: bytes, refused: Refused) -> None:
    def widen(text: str) -> str:
        config = json.loads(text)
        config["config"]["layers"][0]["config"]["batch_shape"] = [10**9, 3]
        return json.dumps(config)

    changed(archive, widen)
    [line] = refused(*SAVED)
    assert "makes a tensor of 12.0 GB for one batch (4 are held" in line


def weights_with(change: Callable[[h5py.File], Any]) -> None:
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    model.save_weights("w.weights.h5")
    with h5py.File("w.weights.h5", "a") as file:
        change(file)


def claim(file: h5py.File) -> None:
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_dataset("0", (10**6, 10**4), "f4", chunks=(1000, 1000))


def chunk(file: h5py.File) -> None:
    """Store a small array in a chunk of gigabytes, which HDF5 would unpack whole."""
    place = file["layers/dense/vars"]
    del place["0"]
    data = place.create_dataset(
        "0", (3, 2), "f4", chunks=(20_000, 20_000), maxshape=(None, None), compression="gzip"
    )
    data.id.write_direct_chunk((0, 0), zlib.compress(b""))


def packed(file: h5py.File, filters: int = 1) -> None:
    """Store 40 MB in a chunk of 24 bytes, of a file of 60 kB."""
    del file["layers/dense/vars/0"]
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((3, 2))
    data = bytes(40_000_000)
    for _ in range(filters):
        made.set_deflate(9)
        data = zlib.compress(data)
    shape = h5py.h5s.create_simple((3, 2))
    place = b"layers/dense/vars/0"
    array = h5py.h5d.create(file.id, place, h5py.h5t.IEEE_F32LE, shape, made)
    array.write_direct_chunk((0, 0), data)


def many_chunks(file: h5py.File) -> None:
    """Add arrays that are not written, of chunks that take kilobytes each to look for."""
    for name in "ab":
        file.create_dataset(name, (100, 109), "f4", chunks=(1, 2))


def outside(file: h5py.File) -> None:
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_dataset("0", (3, 2), "f4", external=[("/etc/passwd", 0, 24)])


def linked(file: h5py.File) -> None:
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.ExternalLink("other.h5", "/x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (claim, "w.weights.h5 has "),
        (chunk, "w.weights.h5 has "),
        (packed, "w.weights.h5: 'layers/dense/vars/0' unpacks to far more than it declares"),
        (many_chunks, "w.weights.h5 declares 11,000 chunks, and has "),
        (outside, "w.weights.h5: 'layers/dense/vars/0' is stored in another file"),
        (linked, "w.weights.h5: 'layers/dense/vars/0' is a link, which is not allowed"),
    ],
)
def test_weights_that_claim_more_or_stand_elsewhere_are_refused(
    change: Callable[[h5py.File], Any], said: str, archive: bytes, refused: Refused
) -> None:
    weights_with(change)
    own(MODEL)
    [line] = refused(*OWN, "+model.weights=w.weights.h5")
    assert line.startswith(f"model.weights: {said}")
    changed(archive, add={"other.weights.h5": Path("w.weights.h5").read_bytes()})
    [line] = refused(*SAVED)
    assert line.startswith("model.path: m.keras")


def one_text(file: h5py.File) -> None:
    """Point 3000 names to one text, which takes 12 GB when the list is read."""
    long = "x" * 4_000_000
    file.attrs["layer_names"] = ["seven_7"] * 3000
    file.attrs["long"] = long
    file.flush()
    data = Path("w.h5").read_bytes()
    at = data.index(struct.pack("<I", len(long)))
    names = re.search(rb"(?:\x07\0\0\0.{12}){3000}", data, re.DOTALL)
    assert names
    file.close()
    Path("w.h5").write_bytes(
        data[: names.start()] + data[at : at + 16] * 3000 + data[names.end() :]
    )


def texts(file: h5py.File) -> None:
    file.create_dataset("a", (3, 2), h5py.string_dtype())


def lists(file: h5py.File) -> None:
    """Store a list of lists, whose sizes only HDF5 can count."""
    values = np.empty(1, object)
    values[0] = np.arange(3)
    file.attrs.create("x", values, dtype=h5py.vlen_dtype(np.int64))


def same_layer(file: h5py.File) -> None:
    """List one layer 4000 times, and its weight: 16 million names in a file of kilobytes."""
    file.create_group("a").attrs["weight_names"] = ["k"] * 4000
    file["a"]["k"] = [1.0]
    file.attrs["layer_names"] = ["a"] * 4000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (one_text, "w.h5 declares more texts than it holds"),
        (texts, "w.h5 cannot be loaded: 'a' holds texts or lists, not numbers"),
        (lists, "w.h5: its attributes are not stored as Keras stores them; save it again in Keras"),
        (same_layer, "w.h5 is damaged: its layer_names do not list what it holds; save it again"),
    ],
)
def test_texts_that_take_far_more_than_their_file_are_not_read(
    change: Callable[[h5py.File], Any], said: str
) -> None:
    with h5py.File("w.h5", "w") as file:
        change(file)
    with pytest.raises(InputError, match=rf"^model\.weights: {said}"):
        weights_file("w.h5", "model.weights")


@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_texts_are_counted_in_each_version_of_an_attribute(version: str) -> None:
    with h5py.File("w.h5", "w", libver=version) as file:
        file.attrs.update({"number": 3, "fixed": np.bytes_(b"abc"), "one": "four"})
        file.attrs.update({f"list {n}": ["a", "bcd"] for n in range(4)})
    with Path("w.h5").open("rb") as source, h5py.File(source) as file:
        address = h5py.h5o.get_info(file.id).addr
        assert HeldTexts(source).count(address) == 4 + 4 * 4


def test_shards_of_weights_stand_beside_their_list(refused: Refused) -> None:
    own(MODEL)
    many = f"[{'{},' * 1_000_000}{{}}]"
    for text, said in (
        (
            '{"weight_map": {"/a": "../x.weights.h5"}}',
            "names '../x.weights.h5', outside its folder",
        ),
        (
            f'{{"weight_map": {{}}, "metadata": {many}}}',
            "cannot be loaded: its model has more than",
        ),
    ):
        Path("w.weights.json").write_text(text)
        [line] = refused(*OWN, "+model.weights=w.weights.json")
        assert line.startswith(f"model.weights: w.weights.json {said}")


@pytest.mark.parametrize(
    ("argument", "limit"),
    [
        ("layers: {a: {class_name: TextVectorization, ngrams: 2000000000}}", "1,000"),
        ("layers: {a: {class_name: TextVectorization, ngrams: [1, 2000000000]}}", "1,000"),
        ("layers: {a: {class_name: AdaptiveMaxPooling1D, output_size: 30000000}}", "1,000,000"),
        ("layers: {a: {class_name: Equalization, bins: 2000000000}}", "1,000,000"),
    ],
)
def test_a_layer_of_a_list_of_billions_is_refused(
    argument: str, limit: str, refused: Refused
) -> None:
    own(f"input_shape: [3]\n{argument}\n")
    [line] = refused(*OWN)
    assert f": an integer here is at most {limit}, found" in line


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("{class_name: AUC, num_thresholds: 2000000000}", "an integer here is at most 1,000,000"),
        ("{class_name: MeanIoU, num_classes: 2000000}", " of memory, "),
        ("{class_name: AUC, multi_label: true, num_labels: 2000000000}", " of memory, "),
    ],
)
def test_a_metric_that_fills_the_memory_is_refused(
    metric: str, said: str, refused: Refused
) -> None:
    training = ("loss=sparse_categorical_crossentropy", "train=fit", "train.epochs=1")
    [line] = refused("model=iris_mlp", "probe=iris", *training, f"train.metrics=[{metric}]")
    assert line.startswith("train.metrics")
    assert said in line
