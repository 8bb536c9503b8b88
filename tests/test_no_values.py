"""Runs that keep no values (`format=none`): what they tell, and what they say of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

import runner
from runner.command_line.entry import main
from runner.errors import InputError

WORDS = ["experiment=digits_mlp", "intervene.hidden_1.units=each", "intervene.hidden_1.set=0"]
WHY = "kept no values, only statistics; make it with another format than none"


def test_a_run_without_values_is_small_and_tells_what_it_has(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*WORDS, "probe.rows=100", "name=small", "format=none"]) == 0
    assert main([*WORDS, "probe.rows=100", "name=whole"]) == 0
    small, whole = (runner.open_run(name) for name in ("small", "whole"))
    assert small.path is not None
    files = [
        path for path in small.path.rglob("*") if path.is_file() and ".hydra" not in path.parts
    ]
    assert sorted(path.name for path in files) == [
        "probe.parquet", "run.json", "run.log", "summary.parquet"
    ]  # fmt: skip
    assert sum(path.stat().st_size for path in files) < 60_000
    assert small.record.effects == whole.record.effects
    assert small.summary.equals(whole.summary)
    assert small.samples.tolist() == whole.samples.tolist()
    assert not small.record.keeps_values
    assert whole.record.keeps_values
    capsys.readouterr()
    for command, expected in {
        "show": "the statistics alone: no values were kept",
        "list": "small",
        "effects": "hidden_1 u8",
        "verify": "none wrong",
    }.items():
        assert main([command] if command == "list" else [command, "small"]) == 0, command
        assert expected in capsys.readouterr().out, command
    assert main(["report", "small", "--output", "page.html"]) == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert "no values were kept" in page
    assert "hidden_1" in page
    capsys.readouterr()
    for words in (["explain", "output", "u0", "small"], ["diff", "small", "whole"],
                  ["similarity", "small", "whole"]):  # fmt: skip
        assert main(words) == 2, words
        said = capsys.readouterr().err
        assert WHY in said, words
        assert said.count("\n") == 1, words
    with pytest.raises(InputError, match=WHY):
        small.array("output")
    assert main(["train=fit", "format=none"]) == 2
    assert "format: none keeps no values, which the steps" in capsys.readouterr().err
