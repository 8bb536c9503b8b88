"""Another backend of Keras than TensorFlow is refused, before anything is built."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_IN_PYTHON = """
import sys, runner
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


def told(*arguments: str, **variables: str) -> tuple[int, str]:
    environment = {key: value for key, value in os.environ.items() if key[:6] != "KERAS_"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", [["-m", "runner"], ["-m", "runner", "-m", "seed=0,1"]])
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_command_line_says_it_in_one_line(backend: str, arguments: list[str]) -> None:
    line = f"expected the backend tensorflow, found {backend}; set KERAS_BACKEND=tensorflow"
    assert told(*arguments, KERAS_BACKEND=backend) == (2, f"error: KERAS_BACKEND: {line}\n")
    assert [*Path().iterdir()] == []


def test_settings_of_keras_are_read_too() -> None:
    Path("home").mkdir()
    file = Path("home/keras.json")
    file.write_text(json.dumps({"backend": "jax"}))
    line = "expected the backend tensorflow, found jax; set KERAS_BACKEND=tensorflow"
    assert told("-m", "runner", KERAS_HOME="home") == (2, f"error: {file}: {line}\n")
    code, said = told("-m", "runner", "dry_run=true", KERAS_HOME="home", KERAS_BACKEND="tensorflow")
    assert (code, said) == (0, "")


def test_python_says_it_without_importing_keras() -> None:
    line = "expected the backend tensorflow, found torch; set KERAS_BACKEND=tensorflow"
    assert told("-c", _IN_PYTHON, KERAS_BACKEND="torch") == (1, f"KERAS_BACKEND: {line}\n")
