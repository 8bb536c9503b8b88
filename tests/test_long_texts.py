"""Texts of other people with long repetitions, which are read in a time that grows with them."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest
from omegaconf import OmegaConf

from runner.config.overrides import parameter_problems
from runner.config.recorded_config import recorded
from runner.errors import suggest
from runner.formats.csv import _columns


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Allow ten seconds of this process, where a time that grows faster takes minutes or hours."""
    start = time.process_time()
    yield
    assert time.process_time() - start < 10


def test_many_references_in_each_other_are_looked_for_at_once() -> None:
    text = r"\${a" * 30_000 + "${model.k1,$k,model.k2}"
    model = {"k1": 1, "k2": 2, "k3": 3, "layers": {}}
    base = OmegaConf.create({"model": model, "x": {"y": text}})
    assert [problem.place for problem in parameter_problems(base, [])] == ["model.k3"]


@pytest.mark.parametrize("end", ["", "${a}", "${oc.env:A}"])
def test_a_run_of_backslashes_in_a_record_is_escaped(end: str) -> None:
    before = "\\" * 200_001
    text = OmegaConf.to_container(recorded({"a": f"b{before}{end}"}))["a"]
    assert (
        text
        == {
            "": f"b{before}",
            "${a}": rf"b{before * 2}\${{a}}",
            "${oc.env:A}": f"b{before * 2}${{oc.env:A}}",
        }[end]
    )


@pytest.mark.parametrize("cell", ['"' * 400_000 + "x", '"' * 400_001 + "x", '""a' * 100_000])
def test_a_cell_of_many_quotes_is_looked_at_once(cell: str) -> None:
    file = io.BytesIO(f"a,b\n{cell},1\n".encode())
    assert list(_columns(file)) == ["a", "b"]


def test_long_names_are_not_compared() -> None:
    long = [chr(97 + shift) * 60_000 + "z" * 60_000 for shift in range(10)]
    assert suggest(long[0][1:], [*long, "a"]) == ""
    assert suggest("aa", [*long, "aaa"]) == "did you mean 'aaa'?"
