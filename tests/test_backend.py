"""The backend of Keras: which one a run takes, and what is said if that cannot be."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runner
from runner.model.backend import ENGINES

OTHERS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(name) is None, reason=f"{name} is not installed"
        ),
    )
    for name in ("jax", "torch")
]
KINDS = "activation,weight,input,pre_activation,gradient"
# Hides a package as if it were not installed.
_HIDDEN = """
import importlib.util, sys
find, hidden = importlib.util.find_spec, sys.argv.pop(1).split(",")
importlib.util.find_spec = lambda name, *rest: None if name in hidden else find(name, *rest)
"""
_COMMAND = _HIDDEN + "from runner.command_line.entry import script; script()"
_IN_PYTHON = (
    _HIDDEN
    + """
import runner
said = []
for name in ("capture_activations", "ActivationRecorder", "save_run", "run"):
    try:
        getattr(runner, name)(None, None, "mine") if name != "run" else runner.run()
    except runner.InputError as error:
        said.append(str(error))
    assert not {"keras", "tensorflow", "jax", "torch"} & sys.modules.keys()
assert len(said) == 4, said
assert len(set(said)) == 1, said
sys.exit(said[0])
"""
)


def done(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key[:6] != "KERAS_"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def told(*arguments: str, **variables: str) -> tuple[int, str]:
    found = done(*arguments, **variables)
    return found.returncode, found.stderr


@pytest.mark.parametrize("arguments", [[], ["-m", "seed=0,1"]])
def test_a_backend_without_an_engine_is_refused_in_one_line(arguments: list[str]) -> None:
    line = "expected one of tensorflow, jax, torch, found theano; set backend=tensorflow"
    refused = told("-m", "runner", *arguments, KERAS_BACKEND="theano")
    assert refused == (2, f"error: KERAS_BACKEND: {line}\n")
    line = "expected one of tensorflow, jax, torch, found jaxx; did you mean 'jax'?"
    assert told("-m", "runner", *arguments, "backend=jaxx") == (2, f"error: backend: {line}\n")
    assert [*Path().iterdir()] == []


@pytest.mark.parametrize("words", [["backend=torch"], ["-m", "backend=torch"]])
def test_a_framework_that_is_not_installed_is_told_with_what_to_type(words: list[str]) -> None:
    line = (
        'torch is not installed; pip install "activation-runner[torch]", or set backend=tensorflow'
    )
    found = told("-c", _COMMAND, "torch,jax", *words)
    assert found == (2, f"error: backend: {line}\n")
    line = 'tensorflow is not installed; pip install "tensorflow>=2.18,<3"'
    code, said = told("-c", _COMMAND, "torch,jax,tensorflow", KERAS_HOME="home")
    assert (code, said) == (2, f"error: {Path('home/keras.json')}: {line}\n")
    assert [*Path().iterdir()] == []


@pytest.mark.slow
def test_settings_of_keras_are_read_too() -> None:
    Path("home").mkdir()
    file = Path("home/keras.json")
    file.write_text(json.dumps({"backend": "theano"}))
    line = "expected one of tensorflow, jax, torch, found theano; set backend=tensorflow"
    assert told("-m", "runner", KERAS_HOME="home") == (2, f"error: {file}: {line}\n")
    code, said = told("-m", "runner", "dry_run=true", KERAS_HOME="home", KERAS_BACKEND="tensorflow")
    assert (code, said) == (0, "")


def test_python_says_it_without_importing_keras() -> None:
    line = (
        'torch is not installed; pip install "activation-runner[torch]", or set backend=tensorflow'
    )
    found = told("-c", _IN_PYTHON, "torch,jax", KERAS_BACKEND="torch")
    assert found == (1, f"KERAS_BACKEND: {line}\n")


@pytest.mark.parametrize("backend", OTHERS)
def test_a_process_whose_keras_runs_on_another_says_so(backend: str) -> None:
    code = "import keras, runner\nrunner.run('backend=tensorflow')"
    found = told("-c", code, KERAS_BACKEND=backend)[1].splitlines()[-1]
    assert found == (
        f"runner.errors.InputError: backend: Keras runs on {backend} in this process, and cannot "
        "change to tensorflow; start Python anew with KERAS_BACKEND=tensorflow"
    )
    assert [*Path().iterdir()] == []


# Lets no one find TensorFlow, as if it were not installed.
_RUN = """
import importlib.util, sys
class Absent:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "tensorflow" else find(name, *rest)
from runner.command_line.entry import main
code = main(sys.argv[1:])
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
sys.exit(code)
"""


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize(
    "words",
    [
        ["experiment=iris_mlp", f"capture.kinds=[{KINDS}]"],
        ["experiment=lstm"],
        ["experiment=iris_mlp", "train=fit", "train.epochs=1", "train.save_model=true"],
    ],
)
def test_a_run_on_another_backend_does_not_import_tensorflow(
    backend: str, words: list[str]
) -> None:
    found = done("-c", _RUN, f"backend={backend}", "hydra.run.dir=mine", *words)
    assert (found.returncode, found.stderr) == (0, "")
    record = runner.open_run("mine").record
    assert record.backend is not None
    assert record.backend.name == backend
    assert record.backend.version == record.environment.packages[backend]
    assert record.backend.devices


@pytest.mark.parametrize("backend", OTHERS[1:])
@pytest.mark.parametrize("is_named", [True, False])
def test_a_module_of_pytorch_runs_without_tensorflow(backend: str, is_named: bool) -> None:
    Path("nets.py").write_text(
        "import torch\n\ndef net():\n    return torch.nn.Sequential(torch.nn.Linear(3, 2))\n"
    )
    Path("x.csv").write_text("a,b,c\n1,2,3\n4,5,6\n")
    words = ["model=function", "model.function=nets:net", "probe=csv", "probe.path=x.csv"]
    words += [f"backend={backend}"] if is_named else []
    found = done("-c", _RUN, "hydra.run.dir=mine", *words)
    assert (found.returncode, found.stderr) == (0, "")
    assert runner.open_run("mine").array("0").shape == (2, 2)


_GIVEN_MODEL = """
import sys
import keras, numpy as np, runner
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
x = np.ones((4, 3), "float32")
assert list(runner.capture_activations(model, x)) == ["dense"]
runner.save_run(model, x, "mine")
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
"""


@pytest.mark.parametrize("backend", OTHERS)
def test_a_model_that_is_given_needs_no_tensorflow_either(backend: str) -> None:
    found = done("-c", _GIVEN_MODEL, KERAS_BACKEND=backend)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("words", [["experiment=digits_cnn", "probe.rows=5"], []])
def test_one_model_for_many_seeds_is_the_same_bit_for_bit(backend: str, words: list[str]) -> None:
    found = done(
        "-c", _RUN, "-m", f"backend={backend}", "seed=0,1,2", "hydra.sweep.dir=all", *words
    )
    assert (found.returncode, found.stderr) == (0, "")
    shared = runner.open_runs("all").where(seed=2)[0]
    assert shared.record.own_build_because is None
    found = done("-c", _RUN, f"backend={backend}", "seed=2", "hydra.run.dir=alone", *words)
    assert (found.returncode, found.stderr) == (0, "")
    alone = runner.open_run("alone")
    assert alone.record.model.sha256 == shared.record.model.sha256
    for name in alone.layer_outputs:
        assert (alone.array(name) == shared.array(name)).all(), name


@pytest.mark.parametrize("backend", OTHERS)
def test_the_tutorial_is_the_same_bit_for_bit(backend: str) -> None:
    for name in ("tensorflow", backend):
        found = done("-m", "runner", f"backend={name}", f"hydra.run.dir={name}", "seed=3")
        assert (found.returncode, found.stderr) == (0, "")
    one, other = (runner.open_run(name) for name in ("tensorflow", backend))
    assert one.record.model == other.record.model  # with the hash of the weights
    assert one.record.fingerprint != other.record.fingerprint
    assert (one.array("hidden") == other.array("hidden")).all()
    found = done("-m", "runner", "rerun", backend, "--output", "again")
    assert (found.returncode, "PASS" in found.stdout) == (0, True), found.stdout + found.stderr


_DIFFERENT = """
import keras


@keras.saving.register_keras_serializable("different")
class Mirrored(keras.layers.Layer):
    def call(self, x):
        return keras.ops.pad(x, [[0, 0], [1, 2], [2, 1], [0, 0]], mode="symmetric")


def build():
    given = keras.Input((9, 9, 1))
    x = keras.layers.Conv2D(3, 3, name="conv")(given)
    x = Mirrored(name="mirrored")(x)
    x = keras.layers.Conv2D(2, 3, name="other")(x)
    x = keras.layers.AveragePooling2D(3, 2, "same", name="average")(x)
    return keras.Model(given, keras.layers.Flatten(name="flat")(x))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_what_keras_computes_otherwise_on_torch_is_found() -> None:
    Path("different_nets.py").write_text(_DIFFERENT)
    words = (
        "model=function",
        "model.function=different_nets:build",
        "probe=random",
        "probe.rows=5",
    )
    found = done("-m", "runner", *words, "name=base", PYTHONPATH=_beside())
    assert found.returncode == 0, found.stderr
    again = ("rerun", "base", "backend=torch", "--trust-code", "--output", "again")
    found = done("-m", "runner", *again, PYTHONPATH=_beside())
    assert found.returncode == 1, found.stdout + found.stderr
    [line] = [line for line in found.stdout.splitlines() if " adds " in line]
    assert line.split(" ")[0] in {"mirrored", "average"}
    compared = runner.diff(runner.open_run("base"), runner.open_run("again"), weights=False)
    assert [each.tensor for each in compared.tensors if each.adds] == ["mirrored", "average"]


def _beside() -> str:
    """Return a path for Python that begins with the present folder."""
    return os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])


@pytest.mark.parametrize("backend", OTHERS)
def test_pictures_are_the_same_without_tensorflow(backend: str) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    Path("pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype="uint8")
    for name in ("one.png", "two.jpg", "three.gif", "four.webp"):
        image.fromarray(noise).save(f"pictures/{name}")
    words = ("experiment=digits_cnn", "probe=images", "probe.path=pictures", "probe.fit=crop")
    for name in ("tensorflow", backend):
        code = ["-c", _RUN] if name == backend else ["-m", "runner"]
        found = done(*code, *words, f"backend={name}", f"hydra.run.dir={name}")
        assert (found.returncode, found.stderr) == (0, "")
    one, other = (runner.open_run(name) for name in ("tensorflow", backend))
    assert one.record.probe.sha256 == other.record.probe.sha256
    assert "pillow" in other.record.environment.packages


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ENGINES), reason="not all are installed"
)
@pytest.mark.timeout(1200)  # each worker imports a framework, and so does the one that draws
@pytest.mark.parametrize(
    ("plugin", "launcher"),
    [
        (None, []),
        (
            "hydra_ray_launcher",
            ["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2",
             "+hydra.launcher.ray.init.include_dashboard=false"],
        ),
    ],
)  # fmt: skip
def test_a_sweep_over_backends_compares_the_same_network(
    plugin: str | None, launcher: list[str]
) -> None:
    if plugin is not None:
        pytest.importorskip(f"hydra_plugins.{plugin}", reason="needs the extra 'ray'")
    words = ["backend=tensorflow,jax,torch", "seed=0,1", "model.seeding=keras", *launcher]
    found = done("-m", "runner", "-m", "hydra.sweep.dir=all", *words)
    assert found.stdout.startswith("6 of 6 runs completed"), found.stdout + found.stderr
    records: list[Any] = [run.record for run in runner.open_runs("all")]
    assert {record.backend.name for record in records} == {*ENGINES}
    assert {record.config["drawn_by"] for record in records} == {"tensorflow"}
    alone = {record.backend.name: record.own_build_because for record in records}
    assert alone.pop("tensorflow") is None
    assert {*alone.values()} == {"its weights are drawn by another backend"}
    hashes = {(record.seed, record.model.sha256) for record in records}
    assert len(hashes) == 2, hashes
    if plugin is not None:
        return
    again = done("-m", "runner", "-m", "hydra.sweep.dir=all", *words)
    assert again.stdout.startswith("6 of 6 runs completed")
    assert {run.id for run in runner.open_runs("all")} == {record.run_id for record in records}
