"""The scripts in examples/, on less than what their pages tell of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_layers_are_identified_by_every_measure(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    sweep = "-m experiment=layer_identification seed=0,1,2 train.epochs=3 name=identification"
    for words in (
        ["-m", "runner", *sweep.split()],
        [str(ROOT / "examples/layer_identification.py")],
    ):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("3 networks, 8 layers; chance finds 12.5%\n")
    found = dict(re.findall(r"^(\w+) +([\d.]+)% +[\d.]+%$", done.stdout, re.M))
    assert list(found) == ["cka", "cka_biased", "cca", "svcca", "procrustes", "rsa", "knn"]
    assert float(found["cka"]) > 12.5
