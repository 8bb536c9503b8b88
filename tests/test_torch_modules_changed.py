"""Changing what modules of PyTorch return during a pass, held to hooks that are written here."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packages import LIMIT_NORM, offered

import runner
from runner.capture.batches import Shown
from runner.capture.capture import Capture
from runner.capture.changing import Changes, Output, Patched
from runner.capture.selection import Selection
from runner.command_line.entry import main
from runner.errors import InputError

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
nn = torch.nn

ROWS = 5
CONV, TWICE = Output("0", 0, None), Output("3/lstm", 0, "0")


class _Recurrent(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 3, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.lstm(x)[0][:, -1]


def network() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(2), _Recurrent(), nn.Linear(3, 2)
    ).eval()


def pictures() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, 1, 4, 5)).astype("float32")


def captured(model: Any, changes: Changes | None, patches: Any) -> dict[str, np.ndarray]:
    shown = Shown(pictures(), patches=patches)
    capture = Capture(model, shown, Selection(), changes=changes)
    again = capture(shown)
    for one, other in zip(again, capture.first, strict=True):
        np.testing.assert_array_equal(one, other)
    return {spec.name: array for spec, array in zip(capture.tensors, again, strict=True)}


def test_modules_of_torch_are_changed_as_by_a_hook() -> None:
    model = network()
    plain = captured(model, None, None)
    doubled = {"two": np.full((ROWS, 1, 1, 1), 2, "float32")}
    found = captured(model, Changes({CONV: lambda x, given, _: x * given["two"]}), doubled)
    with torch.no_grad():
        hook = model[0].register_forward_hook(lambda _, __, output: output * 2)
        expected = model(torch.from_numpy(pictures())).numpy()
        hook.remove()
    np.testing.assert_array_equal(found["0"], plain["0"] * 2)
    np.testing.assert_array_equal(found["1"], plain["1"] * 2)
    np.testing.assert_array_equal(found["4"], expected)
    for name, values in captured(model, None, None).items():
        np.testing.assert_array_equal(values, plain[name], name)


def test_one_of_several_outputs_is_patched_and_recorded_before_or_after() -> None:
    model = network()
    plain = captured(model, None, None)
    patches = {"lstm": plain["3/lstm:0"][::-1].copy()}
    after = captured(model, Changes({TWICE: Patched("lstm")}), patches)
    np.testing.assert_array_equal(after["3/lstm:0"], patches["lstm"])
    np.testing.assert_allclose(after["4"], plain["4"][::-1], rtol=1e-6, atol=1e-7)
    before = captured(model, Changes({TWICE: Patched("lstm")}, "before"), patches)
    np.testing.assert_array_equal(before["3/lstm:0"], plain["3/lstm:0"])
    np.testing.assert_array_equal(before["4"], after["4"])


class _Probable(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.below = network()

    def forward(self, x: Any) -> Any:
        return torch.softmax(self.below(x), dim=1)  # what no module returns


def test_effects_on_what_a_module_of_torch_returns(tmp_path: Path) -> None:
    model = _Probable()
    what = {"below/0": {"units": [1], "scale": 0}}
    run = runner.save_run(model, pictures(), tmp_path / "run", intervene=what)

    def silenced(_: Any, __: Any, output: Any) -> Any:
        output = output.clone()
        output[:, 1] = 0
        return output

    with torch.no_grad():
        before = model(torch.from_numpy(pictures())).numpy()
        hook = model.below[0].register_forward_hook(silenced)
        after = model(torch.from_numpy(pictures())).numpy()
        hook.remove()
    [found] = run.record.effects
    np.testing.assert_allclose(found.mean_abs, np.abs(after - before).mean(), rtol=1e-5)
    assert found.kl is not None
    assert not run.array("below/0")[:, 1].any()
    assert run.array("below/0")[:, 0].any()
    each = {"below/0": {"units": "each", "scale": 0}}
    effects = runner.save_run(model, pictures(), tmp_path / "each", intervene=each).record.effects
    assert len(effects) == 4
    np.testing.assert_allclose(effects[1].mean_abs, found.mean_abs, rtol=1e-5)


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x: Any) -> Any:
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return x + self.mlp(x)


class _Transformer(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.blocks = nn.ModuleList(_Block() for _ in range(2))
        self.unembed = nn.Linear(8, 11)

    def forward(self, tokens: Any) -> Any:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.unembed(x[:, -1])


def test_a_grid_of_patches_is_that_of_hooks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = _Transformer().eval()
    clean, corrupted = (
        np.array([[1, 2, 3, 4], [5, 6, 7, 8]]),
        np.array([[1, 9, 3, 4], [5, 0, 7, 8]]),
    )
    source = runner.save_run(model, clean, tmp_path / "clean")
    patch = {"patch": str(source.path), "positions": "each"}
    run = runner.save_run(
        model, corrupted, tmp_path / "grid", intervene={"embed": patch, "blocks/*": patch}
    )
    grid = run.effects.pivot_table("restored", "layer", "position", sort=False)
    assert sorted(grid.index) == ["blocks/0", "blocks/1", "embed"]
    with torch.no_grad():
        before, way = model(torch.from_numpy(corrupted)), model(torch.from_numpy(clean))
        way = way - before
        for name, module in (
            ("embed", model.embed),
            *((f"blocks/{n}", b) for n, b in enumerate(model.blocks)),
        ):
            for position in range(4):
                values = torch.from_numpy(np.array(source.array(name)))

                def patched(
                    _: Any, __: Any, output: Any, values: Any = values, at: int = position
                ) -> Any:
                    output = output.clone()
                    output[:, at] = values[:, at]
                    return output

                hook = module.register_forward_hook(patched)
                after = model(torch.from_numpy(corrupted))
                hook.remove()
                expected = float(((after - before) * way).sum() / (way**2).sum())
                np.testing.assert_allclose(grid.loc[name, position], expected, atol=1e-5)


def test_heads_that_are_in_no_tensor_are_refused() -> None:
    model, tokens = _Transformer().eval(), np.array([[1, 2, 3, 4]])
    for pattern in ("blocks/0/attention", "class:MultiheadAttention"):
        said = f"'{pattern}' is one function of PyTorch, which joins its heads inside; to switch "
        with pytest.raises(InputError, match=rf"^intervene\.{pattern}\.heads: {said}"):
            runner.capture_activations(model, tokens, intervene={pattern: {"heads": 0, "set": 0}})


@pytest.mark.slow
def test_a_sweep_over_what_is_done_shares_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets.py").write_text(
        "import torch\n"
        "def build():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Linear(6, 3))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["model=function", "model.function=nets:build", "probe=iris", "intervene.0.set=mean"]
    sweep = ["-m", *words, "intervene.0.units=0,2,5", f"hydra.sweep.dir={tmp_path}/sweep"]
    assert main(sweep) == 0
    runs = runner.open_runs(tmp_path / "sweep")
    assert {run.record.own_build_because for run in runs} == {None}
    alone = runner.run(*words, "intervene.0.units=5", f"hydra.run.dir={tmp_path}/alone")
    found = max(runs, key=lambda run: str(run.record.run_id))
    assert runner.diff(alone, found, exact=True).same
    assert found.record.effects == alone.record.effects


class _Remembering(nn.Module):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        self.seen = x
        return x.tanh_()


class _Reading(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.blocks = nn.ModuleList([_Remembering(), nn.Linear(8, 8)])
        self.unembed = nn.Linear(8, 11)

    def forward(self, tokens: Any) -> Any:
        x = self.blocks[1](self.blocks[0](self.embed(tokens)))
        return self.unembed((x + self.blocks[0].seen)[:, -1])


@pytest.mark.parametrize("made", [_Transformer, _Reading])
def test_calls_before_a_changed_one_are_not_made_for_each_unit(
    made: type[nn.Module], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model, counted = made().eval(), Counter[str]()
    x = np.random.default_rng(0).integers(0, 11, size=(ROWS, 4))
    hooks = [
        module.register_forward_hook(lambda *_, name=name: counted.update([name]))
        for name, module in (("early", model.embed), ("late", model.unembed))
    ]
    what = {"blocks/1": {"units": "each", "set": 0.5}}
    effects = runner.save_run(model, x, tmp_path / "run", intervene=what, batch_size=3).effects
    for hook in hooks:
        hook.remove()
    batches = -(-ROWS // 3)
    spared = 7 * batches if made is _Transformer else 0  # of 8 units: the first calls all
    assert counted["late"] - counted["early"] == spared

    def changed(unit: int, _: Any, __: Any, output: Any) -> Any:
        output = output.clone()
        output[..., unit] = 0.5
        return output

    with torch.no_grad():
        before = model(torch.from_numpy(x)).numpy()
        for unit, expected in effects.set_index("unit")["mean_abs"].items():
            with model.blocks[1].register_forward_hook(partial(changed, unit)):
                change = np.abs(model(torch.from_numpy(x)).numpy() - before).mean()
                np.testing.assert_allclose(expected, change, rtol=1e-5)


class _Attention(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 2
        self.qkv, self.proj = nn.Linear(6, 18), nn.Linear(6, 6)

    def forward(self, x: Any) -> Any:
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 3)).movedim(2, 0).transpose(2, 3)
        found = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(found.transpose(1, 2).flatten(2))


def test_heads_are_changed_before_the_projection_of_a_module(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), _Attention()).eval()
    x = np.random.default_rng(0).normal(size=(ROWS, 4, 3)).astype("float32")

    def out(**intervene: Any) -> np.ndarray:
        return runner.capture_activations(model, x, intervene=intervene)["1"].value

    weight = model[1].proj.weight
    found, kept = out(**{"class:_Attention": {"heads": 1, "set": 0}}), weight.detach().clone()
    with torch.no_grad():
        weight[:, 3:] = 0
        expected = out()
        weight.copy_(kept)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(found, out())
    each = {"class:_Attention": {"heads": "each", "set": 0}}
    effects = runner.save_run(model, x, tmp_path / "each", intervene=each).record.effects
    assert [(one.layer, one.head) for one in effects] == [("1", 0), ("1", 1)]
    np.testing.assert_allclose(effects[1].mean_abs, np.abs(found - out()).mean(), rtol=1e-5)


def test_an_action_computes_with_functions_named_as_in_keras_or_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"limit_norm": "LimitNorm", "sorted": "Sorted"}
    offered("actions", names, LIMIT_NORM, tmp_path, monkeypatch)
    model, x = network(), pictures()
    plain = runner.capture_activations(model, x)["2"].value
    what: dict[str, Any] = {"2": {"limit_norm": 0.5}}
    found = runner.capture_activations(model, x, intervene=what)["2"].value
    norms = np.linalg.norm(plain, axis=-1, keepdims=True)
    np.testing.assert_allclose(found, plain * 0.5 / np.maximum(norms, 0.5), rtol=1e-5)
    message = (
        r"^intervene\.2: 'sorted' needs `keras\.ops\.sort`, which modules of PyTorch do not have$"
    )
    with pytest.raises(InputError, match=message):
        runner.capture_activations(model, x, intervene={"2": {"sorted": 0}})
