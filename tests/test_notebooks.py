"""The example notebooks run from an empty folder, and say what is stored in them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    if path.stem == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    import nbformat

    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", here)  # for what is typed after a !
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # PyTorch's threads wait for each other
    stored = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(fresh, timeout=200, resources=folder).execute()
    for before, after in zip(stored.cells, fresh.cells, strict=True):
        kinds = [
            {kind for output in cell.get("outputs", ()) for kind in output.get("data", ["text"])}
            for cell in (before, after)
        ]
        assert kinds[0] <= kinds[1], before.source
    text = path.read_text(encoding="utf-8")
    assert str(Path.home()) not in text
    assert "/tmp" not in text
