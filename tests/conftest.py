"""What holds for every test: where it runs, and how long an example may take."""

from __future__ import annotations

import gc
import random
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

# A first example may import TensorFlow or trace a model; pytest's own timeout ends a hang.
hypothesis.settings.register_profile("runner", deadline=None)
hypothesis.settings.load_profile("runner")

# Started in the background, a shell has its programs ignore Ctrl-C, and theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start in an empty folder, so that no test reads or leaves runs in the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Draw the same first weights for models without a seed: Keras takes theirs from here."""
    random.seed(0)


def pytest_runtest_teardown() -> None:
    """Exempt what importing TensorFlow made from garbage collection, which each model starts."""
    if "tensorflow" in sys.modules and not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
