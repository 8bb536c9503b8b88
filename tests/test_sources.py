"""A source of probes is one class in one file, from which everything else follows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from omegaconf import OmegaConf

from runner.config.hydra_arguments import parse_arguments
from runner.config.loading import Loader
from runner.config.probe_config import SOURCES
from runner.errors import InputError
from runner.probe.source import ProbeSource
from runner.registry import Registry


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_has_the_name_of_its_module_and_an_example_for_each_key(name: str) -> None:
    source = SOURCES[name]
    assert get_args(source.model_fields["source"].annotation) == (name,)
    examples = {**ProbeSource.examples, **source.examples}
    assert examples.keys() == source.model_fields.keys() - {"source"}


@pytest.mark.parametrize("group", ["probe", "train/data"])
@pytest.mark.parametrize("name", SOURCES)
def test_a_choice_sets_every_key_to_its_default(name: str, group: str) -> None:
    source = SOURCES[name]
    loader = Loader(parse_arguments([]))
    chosen = loader.chosen(["train=fit", f"{group}={name}"])
    keys = OmegaConf.to_container(OmegaConf.select(chosen, group.replace("/", ".")))
    assert isinstance(keys, dict)
    assert keys.keys() == source.model_fields.keys()
    for key, field in source.model_fields.items():
        expected = field.get_default() if key != "source" else name
        assert keys[key] == ("???" if field.is_required() and key != "source" else expected)


def test_a_source_is_imported_only_if_it_is_chosen() -> None:
    code = """
import sys
from runner.config.parsing import parse
model = {"input_shape": [3], "layers": {"a": {"class_name": "Dense", "units": 1}}}
parse({"model": model, "probe": {"source": "tutorial"}})
print(sorted(name for name in sys.modules if name.startswith("runner.sources.")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['runner.sources.tutorial']\n", "")


@pytest.fixture
def numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[Any]:
    """A registry of two modules, beside packages that offer more."""
    for name, text in {
        "numbers_in_files/__init__.py": "",
        "numbers_in_files/one.py": "class One(int):\n    order = 2\nONE = One(1)\n",
        "numbers_in_files/two.py": "class Two(int):\n    order = 1\nTWO = Two(2)\n",
        "more.py": "THREE = 3\nFOUR = 'four'\n",
        "no_number.py": "import a_module_that_is_missing\n",
        "more-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: more\nVersion: 1.0\n",
        "more-1.0.dist-info/entry_points.txt": "[numbers_in_files]\n"
        "three = more:THREE\nfour = more:FOUR\nfive = no_number:FIVE\none = no_number:ONE\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return Registry("numbers_in_files", "number", lambda value: isinstance(value, int))


def test_names_are_those_of_the_modules_in_their_order_then_those_of_other_packages(
    numbers: Registry[Any],
) -> None:
    assert list(numbers) == ["two", "one", "five", "four", "three"]
    assert len(numbers) == 5
    assert (numbers["one"], numbers["three"]) == (1, 3)
    assert "three" in numbers
    assert "six" not in numbers
    assert ["a"] not in numbers
    with pytest.raises(KeyError):
        numbers["six"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("five", "cannot be loaded: ModuleNotFoundError: No module named 'a_module_that_is_missi"),
        ("four", "more:FOUR is none of numbers_in_files; update or remove that package"),
    ],
)
def test_a_package_whose_object_is_wrong_is_named(
    numbers: Registry[Any], name: str, why: str
) -> None:
    with pytest.raises(InputError, match=f"^number: '{name}' of the package more: {why}"):
        numbers[name]
