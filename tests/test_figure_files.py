"""Figures as files, drawn without a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import make_run

import runner
from runner.command_line.commands import main
from runner.errors import InputError
from runner.plots.activation_figures import histogram, tensor_heat_map
from runner.plots.similarity_figures import similarity_matrix
from runner.plots.sweep_figures import boxes, statistic_by_layer
from runner.plots.training_figures import drift_figure

pytest.importorskip("matplotlib")
VALUES = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)

FIGURES: dict[str, Any] = {
    "heat map": lambda: tensor_heat_map(VALUES, range(4), "a <b> & c"),
    "histogram": lambda: histogram(VALUES),
    "boxes": lambda: boxes(np.sort(np.random.default_rng(0).normal(size=(3, 5))), "abc", "seed"),
    "matrix": lambda: similarity_matrix(np.eye(3), "abc", "seed"),
    "statistic": lambda: statistic_by_layer(VALUES, "wxyz", "abc"),
    "lines": lambda: drift_figure([0, 5, 9], VALUES.T[:, :3], "abc"),
}


def texts(path: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(
    ("ending", "magic"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")]
)
def test_every_figure_becomes_a_file(tmp_path: Path, name: str, ending: str, magic: bytes) -> None:
    path = runner.save_figure(FIGURES[name](), tmp_path / f"figure.{ending}")
    assert path.read_bytes().startswith(magic)


def test_a_file_holds_the_figure_s_names_as_text(tmp_path: Path) -> None:
    found = texts(runner.save_figure(FIGURES["heat map"](), tmp_path / "map.svg"))
    assert {"u0", "u1", "u2", "unit", "sample", "value", "-1", "a &lt;b&gt; &amp; c"} <= {*found}
    assert {"a", "b", "c", "seed"} <= {
        *texts(runner.save_figure(FIGURES["matrix"](), tmp_path / "m.svg"))
    }


def test_a_name_with_dollars_is_no_formula(tmp_path: Path) -> None:
    name = "$" + "\\sqrt{" * 500 + "$ of $x"
    figure = tensor_heat_map(np.eye(3), ["$a$", "b", "c"], name)
    found = texts(runner.save_figure(figure, tmp_path / "map.svg"))
    assert {"$a$", name} <= {*found}
    assert runner.save_figure(figure, tmp_path / "map.pdf").exists()


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for ending in ("svg", "pdf"):
        one, other = (
            runner.save_figure(FIGURES["boxes"](), tmp_path / f"{number}.{ending}").read_bytes()
            for number in range(2)
        )
        assert one == other


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"a\.svgg: expected a name that ends in \.svg, \.pdf, \.png; did"
    ):
        runner.save_figure(FIGURES["boxes"](), tmp_path / "a.svgg")
    with pytest.raises(InputError, match=r"b\.svg: cannot be written: No such file or directory"):
        runner.save_figure(FIGURES["boxes"](), tmp_path / "none" / "b.svg")


def test_the_command_draws_the_layers_of_each_two_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for number, name in enumerate(("small", "large")):
        tensors = {f"{name}_{i}": random.normal(size=(40, 3)).astype(np.float32) for i in range(3)}
        make_run(tmp_path / name, tensors, run_id=f"run{number}", name=name, samples=range(40),
                 inputs=np.zeros((40, 1), np.float32))  # fmt: skip
    words = ["similarity", str(tmp_path / "small"), str(tmp_path / "large"), "--layers", "all"]
    assert main([*words, "--figure", str(tmp_path / "out.svg")]) == 0
    assert "rows: layers of small; columns: layers of large" in capsys.readouterr().out
    found = {*texts(tmp_path / "out.svg")}
    assert {
        "layers of small",
        "layers of large",
        "small_0",
        "large_2",
        "debiased linear CKA",
    } <= found
    assert main([*words, "--figure", "out.gif"]) == 2
    assert "error: out.gif: expected a name that ends in .svg" in capsys.readouterr().err
