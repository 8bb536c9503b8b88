"""Golden activations: a test of a user, run by pytest itself."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from runner.errors import InputError
from runner.golden import golden_file, pytest_plugin

_TEST = """
import keras, numpy as np
from keras import layers

def test_of_a_user(runner_golden):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((3,)), layers.Dense(4, "relu", name="hidden"), layers.Dense(2, name="out")])
    CHANGE
    runner_golden(model, np.arange(12, dtype="float32").reshape(4, 3) / 10, "small" OPTIONS)
"""


_numbers = itertools.count()


def passed(
    capsys: pytest.CaptureFixture[str],
    *words: str,
    test: str = _TEST,
    change: str = "",
    options: str = "",
) -> tuple[bool, str]:
    """Run a user's test; return whether it passed, and what pytest printed."""
    text = test.replace("CHANGE", change).replace(" OPTIONS", options)
    name = f"test_user_{next(_numbers)}.py"  # Python caches modules
    Path(name).write_text(text)
    plugins = [] if _is_installed() else [pytest_plugin]
    settings = ["-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider", "-c", "none.ini"]
    Path("none.ini").write_text("[pytest]\n")
    code = pytest.main([name, "-q", "--rootdir=.", *settings, *words], plugins)
    return code == 0, capsys.readouterr().out


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(each.name == "runner_golden" for each in entry_points(group="pytest11"))


SCALED = "model.layers[-1].set_weights([1.5 * w for w in model.layers[-1].get_weights()])"


def test_a_change_of_a_layer_fails_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    done, said = passed(capsys)
    assert not done
    assert "small.json: write it with pytest --golden-update" in said
    assert passed(capsys, "--golden-update")[0]
    file = Path("golden/small.json")
    assert [tensor["name"] for tensor in json.loads(file.read_text())["tensors"]] == [
        "hidden",
        "out",
    ]
    assert passed(capsys)[0]
    done, said = passed(capsys, "--golden-summary", "summary.md", change=SCALED)
    assert not done
    assert "small: 1 of 2 layers are not equal bit for bit" in said
    assert "first  out (Dense)" in said
    assert "Traceback" not in said
    summary = Path("summary.md").read_text()
    assert "### small: 1 layers differ, first `out`" in summary
    assert "\n| out | Dense | " in summary
    assert passed(capsys, change=SCALED, options=", rtol=1, atol=1")[0]
    assert passed(capsys, "--golden-update", change=SCALED)[0]
    assert passed(capsys, change=SCALED)[0]


def test_elsewhere_rounding_passes_and_a_change_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert passed(capsys, "--golden-update")[0]
    file = Path("golden/small.json")
    kept = json.loads(file.read_text())
    kept["fingerprint"]["machine"] = "another"
    for tensor in kept["tensors"]:
        tensor["sha256"] = "0" * 64
        tensor["figures"] = {name: value * (1 + 1e-7) for name, value in tensor["figures"].items()}
    file.write_text(json.dumps(kept))
    assert passed(capsys)[0]
    done, said = passed(capsys, change=SCALED)
    assert not done
    assert "within the tolerance" in said


_TWICE = """
import keras, numpy as np
import pytest
from keras import layers

@pytest.mark.parametrize("count", [1, 2])
def test_of_a_user(runner_golden, count):
    model = keras.Sequential([keras.Input((3,)), layers.ReLU(name="relu")])
    for _ in range(count):
        runner_golden(model, np.ones((2, 3), "float32"), "CASE" if count == 2 else "case")

def test_twice(runner_golden):
    model = keras.Sequential([keras.Input((3,)), layers.ReLU(name="relu")])
    runner_golden(model, np.ones((2, 3), "float32"), "own")
    runner_golden(model, np.ones((2, 3), "float32"), "own")
"""


def test_a_name_is_used_once(capsys: pytest.CaptureFixture[str]) -> None:
    done, said = passed(capsys, "--golden-update", test=_TWICE)
    assert not done
    assert "1 passed, 2 failed" in said or "2 failed, 1 passed" in said
    assert "runner_golden: 'CASE' is used twice, in test_user_" in said
    assert "::test_of_a_user[1]" in said
    assert "runner_golden: 'own' is used twice, in test_user_" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("text", ["{}", "[", '{"schema": 2}', '{"schema": 1, "tensors": 3}'])
def test_a_damaged_file_is_one_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    Path("golden").mkdir()
    Path("golden/small.json").write_text(text)
    done, said = passed(capsys)
    assert not done
    assert "is damaged" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "forged",
    [
        {"figures": {"mean": 10**400, "std": 0, "min": 0, "max": 0}},
        {"figures": {"mean": 0, "std": 0, "min": -math.inf, "max": 0}},
        {"figures": ["mean", "std", "min", "max"]},
        {"name": ["a"]},
        {"projections": [1.0]},
        {"values": [0.0] * 17},
        {"shape": [-1]},
        {"nan": "0"},
    ],
)
def test_a_forged_tensor_is_damaged(forged: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    content = json.loads(deep(1).written())
    content["tensors"][0].update(forged)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="is damaged"):
        golden_file.GoldenFile.read(path)


@pytest.mark.parametrize("name", ["\x1b[2J", "[/bold]", ":smile:", "a\nb"])
def test_names_of_a_file_act_neither_on_the_terminal_nor_on_the_page(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    passed(capsys, "--golden-update")
    path = Path("golden/small.json")
    content = json.loads(path.read_text())
    content["tensors"][0].update(name=name, layer_class=name)
    path.write_text(json.dumps(content))
    done, said = passed(capsys, "--golden-summary", "summary.md")
    assert not done
    shown = name.replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert f"{shown}: gone" in said
    assert "\x1b" not in said + Path("summary.md").read_text()
    assert "first `hidden`\n\n| layer" in Path("summary.md").read_text()


def deep(count: int) -> Any:
    names = [f"a_layer_with_a_rather_long_name_{number}" for number in range(count)]
    model = keras.Sequential([keras.Input((3,)), *(layers.Dense(3, name=name) for name in names)])
    return golden_file.captured(model, np.ones((5, 3), np.float32))


def test_a_file_stays_small() -> None:
    kept = deep(150)
    data = kept.written()
    assert len(data) <= 100_000
    Path("deep.json").write_bytes(data)
    again = golden_file.GoldenFile.read(Path("deep.json"))
    assert 0 < len(again.tensors[0].values) < 15
    assert list(golden_file.changes(again, kept, None, None)) == []
    assert list(golden_file.changes(again, kept, 1e-6, 1e-6)) == []


@pytest.mark.slow
def test_too_many_layers_are_refused() -> None:
    with pytest.raises(golden_file.InputError, match=r"400 layers take .* bytes, the limit is"):
        deep(400).written()


def test_values_that_are_not_finite_are_counted() -> None:
    given = np.array([[1.0, np.inf, 2.0], [np.nan, 0.0, -1.0]], np.float32)
    model = keras.Sequential([keras.Input((3,)), layers.ReLU(name="relu")])
    [tensor] = golden_file.captured(model, given).tensors
    assert tensor.nan == 2
    assert tensor.figures["max"] == 2
    assert all(np.isfinite(tensor.projections))
