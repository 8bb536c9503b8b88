"""Modules of PyTorch, each held to hooks that are written here."""

from __future__ import annotations

import copy
import inspect
import random as python_random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from packages import offered

import runner
from runner.capture.batches import Shown
from runner.capture.capture import Capture
from runner.config.torch_losses import TORCH_LOSSES
from runner.errors import InputError, RunError

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
nn = torch.nn

from runner.torch_modules.module_inputs import Placing  # noqa: E402 (imports PyTorch)

Hooked = dict[str, list[Any]]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def hooked(model: Any, *args: Any, **kwargs: Any) -> Hooked:
    """What every submodule returned, by its name in ``named_modules``, once for each call."""
    found: Hooked = {}
    model = copy.deepcopy(model).eval()

    def note(name: str) -> Callable[..., None]:
        def hook(_module: Any, _args: Any, output: Any) -> None:
            found.setdefault(name, []).append(cloned(output))

        return hook

    for name, module in model.named_modules():
        if name:
            module.register_forward_hook(note(name.replace(".", "/")))
    with torch.no_grad():
        model(*args, **kwargs)
    return found


def cloned(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return output.clone()
    if isinstance(output, Mapping):
        return {str(key): cloned(value) for key, value in output.items()}
    if isinstance(output, (list, tuple)):
        return {str(place): cloned(value) for place, value in enumerate(output)}
    return output


def flat(output: Any, name: str) -> dict[str, Any]:
    """The tensors of an output, under the names that Runner gives to them."""
    if isinstance(output, torch.Tensor):
        return {name: output}
    found = {}
    for place, value in (output or {}).items() if isinstance(output, dict) else ():
        below = flat(value, "")
        found |= {f"{name}:{place}{'.' if rest else ''}{rest}": one for rest, one in below.items()}
    return {key.replace(":.", ":"): value for key, value in found.items()}


def by_layer(found: Mapping[str, Any]) -> dict[str, list[np.ndarray]]:
    """Captured values by layer path and output, in the order of the calls."""
    values: dict[str, list[np.ndarray]] = {}
    for one in found.values():
        key = one.layer_path if one.output is None else f"{one.layer_path}:{one.output}"
        values.setdefault(key, []).append(one.value)
    return values


def bits(value: Any) -> bytes:
    if isinstance(value, torch.Tensor):
        value = value.contiguous()
        value = value.view(torch.int16).numpy() if value.dtype == torch.bfloat16 else value.numpy()
    return np.ascontiguousarray(value).tobytes()


def check(model: Any, *args: Any, x: Any = None, **kwargs: Any) -> Any:
    """Hold a capture to the hooks, bit for bit; return the captured activations."""
    shown = x if x is not None else (args[0].numpy() if len(args) == 1 else [*args])
    activations = runner.capture_activations(model, shown)
    expected: dict[str, list[Any]] = {}
    for name, outputs in hooked(model, *args, **kwargs).items():
        for output in outputs:
            for key, value in flat(output, name).items():
                expected.setdefault(key, []).append(value)
    found = by_layer(activations)
    rows = len(next(iter(found.values()))[0])
    for name, values in expected.items():
        for place, value in enumerate(values):
            if value.ndim and len(value) == rows:
                assert bits(found[name][place]) == bits(value), name
            else:
                assert name not in found
    missing = {*found} - {*expected} - {type(model).__name__}
    assert not {name for name in missing if not name.startswith(type(model).__name__)}
    return activations


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x
        return self.relu(y)


class ResNet(nn.Module):
    """As ResNet-18 is written: blocks that add their input, and write over their own tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(Block(8), Block(8))
        self.layer2 = nn.Sequential(nn.Conv2d(8, 16, 1, stride=2), Block(16))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer2(self.layer1(x))), 1))


class Rnn(nn.Module):
    """A cell that is called once for each step, and returns its state beside its output."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.ModuleDict({"w": nn.Linear(4, 6), "u": nn.Linear(6, 6)})
        self.read = nn.Linear(6, 2)

    def forward(self, x: Any) -> Any:
        state = torch.zeros(len(x), 6)
        for step in range(x.shape[1]):
            state = torch.tanh(self.cell["w"](x[:, step]) + self.cell["u"](state))
        return torch.log_softmax(self.read(state), dim=1), {"state": state}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_a_resnet_is_what_hooks_see() -> None:
    x = torch.from_numpy(random(6, 3, 32, 32))
    activations = check(ResNet(), x)
    names = [*activations]
    assert names[:4] == ["conv1", "bn1", "relu", "maxpool"]
    assert "layer1/0/conv1" in names
    assert "layer1/0/relu@1" in names
    assert names[-1] == "fc"
    assert activations["layer1/0/conv1"].axes == ("channel", "height", "width")
    assert activations["fc"].axes == ("unit",)


def test_what_a_later_module_overwrites_is_kept_as_it_was() -> None:
    activations = runner.capture_activations(ResNet(), random(4, 3, 32, 32))
    assert activations["bn1"].value.min() < 0
    assert activations["relu"].value.min() == 0
    assert activations["layer1/0/bn2"].value.min() < 0


def test_an_rnn_by_hand_calls_its_modules_once_a_step() -> None:
    x = torch.from_numpy(random(5, 3, 4))
    activations = check(Rnn(), x)
    assert [*activations] == [
        *("cell/w@0", "cell/u@0", "cell/w@1", "cell/u@1", "cell/w@2", "cell/u@2"),
        *("read", "Rnn:0", "Rnn:1.state"),
    ]
    assert activations.left_out == {"cell": "it only holds other modules"}


def test_recurrent_modules_return_their_states_apart() -> None:
    model = nn.Sequential(nn.LSTM(4, 6, batch_first=True))
    activations = check(model, torch.from_numpy(random(5, 3, 4)))
    assert activations["0:0"].axes == ("time", "unit")
    assert activations.left_out["0:1.0"].startswith("no sample axis: ")


def test_a_transformer_calls_the_modules_inside_it() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    activations = check(model, torch.from_numpy(random(3, 5, 8)))
    assert "0/layers/1/linear2" in activations
    assert (
        "opaque: not called as a module while"
        in activations.left_out["0/layers/0/self_attn/out_proj"]
    )


def test_nothing_of_the_model_changes() -> None:
    model = ResNet()
    model.layer1.eval()
    model.fc.weight.requires_grad_(False)
    model.conv1.weight.grad = torch.ones_like(model.conv1.weight)
    before = state_of(model)
    streams = torch.get_rng_state(), np.random.get_state()[1].tolist(), python_random.getstate()
    for training in (False, True):
        for kind in ("activation", "gradient", "weight", "input"):
            runner.capture_activations(
                model,
                random(4, 3, 32, 32),
                kind=kind,
                training=training,
                targets=np.arange(4),
                loss=nn.CrossEntropyLoss(),
            )
    assert state_of(model) == before
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), python_random.getstate()
    assert torch.equal(streams[0], after[0])
    assert streams[1:] == after[1:]


def state_of(model: Any) -> Any:
    return (
        {name: bits(value) for name, value in model.state_dict().items()},
        {name: module.training for name, module in model.named_modules()},
        {name: one.requires_grad for name, one in model.named_parameters()},
        {name: one.grad is None for name, one in model.named_parameters()},
        {name: sorted(vars(module)) for name, module in model.named_modules()},
    )


class Counting(nn.Module):
    """Changes itself in every way that a module can."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.register_buffer("seen", torch.zeros(1))
        self.calls = 0
        self.history: list[Any] = []

    def forward(self, x: Any) -> Any:
        self.seen += len(x)
        self.calls += 1
        self.history.append(x)
        self.last = self.inner(x)
        self.inner.weight.data = self.inner.weight.data * 1.0
        with torch.no_grad():
            self.inner.bias.add_(1.0)
        return self.last + self.seen + torch.rand(1)


def test_a_module_that_changes_itself_is_put_back() -> None:
    model = Counting()
    before, memory = state_of(model), model.inner.weight.data_ptr()
    runner.capture_activations(model, random(4, 3), batch_size=2)
    assert state_of(model) == before
    assert model.inner.weight.data_ptr() == memory
    assert (model.calls, model.history) == (0, [])
    assert not hasattr(model, "last")


def test_a_buffer_that_a_module_returns_keeps_the_value_of_the_pass() -> None:
    class Remembers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("memory", torch.zeros(4, 3))

        def forward(self, x: Any) -> Any:
            self.memory.copy_(x)
            return self.memory

    model, x = nn.Sequential(Remembers()), random(4, 3)
    found = runner.capture_activations(model, x, batch_size=4)
    assert bits(found["0"].value) == bits(x)
    assert not model[0].memory.any()


class Late(nn.Module):
    """Is like any module until a sample is large: then it does something of its own."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.first = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        self.second = nn.Linear(3, 3)
        self.register_buffer("scale", torch.ones(3))
        self.known: list[int] = []

    def forward(self, x: Any) -> Any:
        now = self.what if x.max() > 50 else ""
        y = self.first(x)
        if now == "writes":
            self.scale *= 2
        elif now == "overwrites":
            y *= 0
        elif now == "notes":
            self.known.append(len(x))
        elif now == "draws":
            y = y + torch.from_numpy(np.random.normal(size=3) * python_random.random())
        elif now == "hooks":
            self.second.register_forward_hook(lambda _module, _args, output: output * self.scale)
        return self.second(y.float()) * self.scale


@pytest.mark.parametrize("what", ["writes", "overwrites", "notes", "draws", "hooks"])
def test_what_a_module_does_in_a_later_batch_is_seen_and_put_back(what: str) -> None:
    model, x = Late(what).eval(), random(10, 3)
    x[4] = 100
    twin, before = copy.deepcopy(model), state_of(model)
    np.random.seed(3)
    python_random.seed(3)
    streams = np.random.get_state()[1].tolist(), python_random.getstate()
    found = runner.capture_activations(model, x, batch_size=2)
    assert state_of(model) == before
    assert not model.known
    assert not model.second._forward_hooks
    assert (np.random.get_state()[1].tolist(), python_random.getstate()) == streams
    with torch.no_grad():
        first, last = zip(
            *[
                (twin.first(torch.from_numpy(x[rows])), twin(torch.from_numpy(x[rows])))
                for rows in (slice(start, start + 2) for start in range(0, 10, 2))
            ],
            strict=True,
        )
    assert bits(found["first"].value) == bits(torch.cat(first))
    assert bits(found["Late"].value) == bits(torch.cat(last))


def test_a_later_batch_may_not_call_other_modules() -> None:
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.usual, self.rare = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return (self.rare if x.max() > 50 else self.usual)(x)

    x = random(10, 3)
    x[8] = 100
    with pytest.raises(RunError, match="other layers than for the first batch: rare, usual"):
        runner.capture_activations(Choosing(), x, batch_size=2)


def test_a_drawn_normal_number_that_waits_for_its_turn_is_put_back() -> None:
    class Drawing(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + float(np.random.normal())

    np.random.seed(1)
    np.random.normal()  # draws a pair
    expected = np.random.RandomState(1).normal(size=2)[1]
    runner.capture_activations(nn.Sequential(nn.Identity(), Drawing()), random(6, 3), batch_size=2)
    assert np.random.normal() == expected


def test_in_training_batches_follow_on_each_other() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3, momentum=0.5), nn.Dropout(0.5))
    x = random(8, 3)
    found = runner.capture_activations(model, x, training=True, batch_size=4)
    twin = copy.deepcopy(model).train()
    with torch.no_grad():
        expected = [
            [layer.clone() for layer in through(twin, x[rows])]
            for rows in (slice(0, 4), slice(4, 8))
        ]
    for place, name in enumerate(("0", "1")):
        both = np.concatenate([bits_of[place].numpy() for bits_of in expected])
        np.testing.assert_array_equal(found[name].value, both)


def through(model: Any, x: np.ndarray) -> list[Any]:
    values = [torch.from_numpy(x)]
    for layer in model:
        values.append(layer(values[-1]))
    return values[1:]


def test_hooks_of_the_user_run_and_stay() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    seen: Counter[str] = Counter()
    model[0].register_forward_hook(lambda *_: seen.update(["after"]))
    model[0].register_forward_hook(lambda _m, _i, output: output * 2)
    model[0].register_forward_pre_hook(lambda *_: seen.update(["before"]))
    x = random(5, 3)
    found = runner.capture_activations(model, x)["0"].value
    with torch.no_grad():
        expected = nn.functional.linear(torch.from_numpy(x), model[0].weight, model[0].bias) * 2
    assert bits(found) == bits(expected)
    assert seen["after"] == seen["before"] > 0
    assert len(model[0]._forward_hooks) == 2


def test_inputs_share_the_memory_of_arrays_only_where_they_may() -> None:
    x = random(4, 3)
    placing = Placing.of(nn.Linear(3, 3))
    fixed = x.copy()
    fixed.flags.writeable = False
    assert np.shares_memory(placing.tensors(x, shared=True).numpy(), x)
    for given in (placing.tensors(x), placing.tensors(x[:, ::-1], shared=True)):
        assert not np.shares_memory(given.numpy(), x)
    assert not np.shares_memory(placing.tensors(fixed, shared=True).numpy(), fixed)


def test_what_shares_memory_with_an_input_is_a_copy() -> None:
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval(), random(6, 3)
    capture = Capture(model, x[:2])
    for start in (2, 4):  # the calls are known from the first batch
        flat = capture(x[start : start + 2])[0]
        assert bits(flat) == bits(x[start : start + 2])
        assert not np.shares_memory(flat, x)


def test_a_hook_of_all_modules_that_overwrites_an_input_leaves_the_probe_alone() -> None:
    model, x = nn.Sequential(nn.Linear(3, 2)).eval(), random(6, 3)
    capture, before = Capture(model, x[:2]), bits(x)
    capture(x[2:4])
    hook = nn.modules.module.register_module_forward_pre_hook(lambda _, given: given[0].zero_())
    try:
        found = capture(x[4:])[0]
    finally:
        hook.remove()
    assert bits(found) == bits(model[0].bias.detach().expand(2, 2))
    assert bits(x) == before


def test_a_batch_is_given_in_the_dtype_that_the_weights_have_by_then() -> None:
    model, x = nn.Sequential(nn.Linear(3, 2)), random(6, 3)
    capture = Capture(model, x[:2])
    assert capture(x[2:4])[0].dtype == np.float32
    model.double()
    assert capture.once_more(Shown.of(x[4:]))[0].dtype == np.float64


def test_shared_modules_are_numbered_by_their_calls() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
            self.left = nn.ModuleList([self.shared])

        def forward(self, x: Any) -> Any:
            return self.left[0](self.shared(x))

    activations = check(Shared(), torch.from_numpy(random(4, 3)))
    assert [*activations] == [
        *("shared@0/0", "shared@0/1", "shared@0", "shared@1/0", "shared@1/1", "shared@1")
    ]


def test_inputs_and_weights_are_the_modules_own() -> None:
    model = ResNet()
    x = random(4, 3, 32, 32)
    inputs = runner.capture_activations(model, x, kind="input")
    outputs = runner.capture_activations(model, x)
    assert bits(inputs["conv1"].value) == bits(x)
    assert bits(inputs["relu"].value) == bits(outputs["bn1"].value)
    weights = runner.capture_activations(model, x, kind="weight")
    assert {name.replace("/", "."): bits(one.value) for name, one in weights.items()} == {
        name: bits(value) for name, value in model.state_dict().items()
    }


def test_gradients_are_those_of_each_sample() -> None:
    model, x, targets = ResNet().eval(), random(4, 3, 32, 32), np.array([0, 3, 1, 4])
    found = runner.capture_activations(
        model, x, kind="gradient", targets=targets, loss=nn.CrossEntropyLoss()
    )
    for row in range(4):
        tensors: dict[str, Any] = {}

        def hook(name: str, tensors: dict[str, Any] = tensors) -> Callable[..., Any]:
            def note(_module: Any, _args: Any, own: Any) -> Any:
                own.retain_grad()
                tensors[name] = own
                return own.clone()  # which the next module may write over

            return note

        twin = copy.deepcopy(model)
        twin.bn1.register_forward_hook(hook("bn1"))
        twin.layer2.register_forward_hook(hook("layer2"))
        output = twin(torch.from_numpy(x[row : row + 1]))
        nn.functional.cross_entropy(output, torch.from_numpy(targets[row : row + 1])).backward()
        for name, tensor in tensors.items():
            np.testing.assert_allclose(
                found[name].value[row : row + 1], tensor.grad.numpy(), rtol=1e-4, atol=1e-6
            )
    assert all(one.grad is None for one in model.parameters())


def test_gradients_reach_a_frozen_model_and_need_a_loss() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Identity(), nn.Linear(4, 2)).requires_grad_(False)
    x, y = random(5, 3), random(5, 2, seed=1)
    found = runner.capture_activations(
        model, x, kind="gradient", targets=y, loss=nn.functional.mse_loss, batch_size=5
    )
    with torch.no_grad():
        output = model(torch.from_numpy(x))
    expected = 2 * (output - torch.from_numpy(y)) / 2
    np.testing.assert_allclose(found["2"].value, expected.numpy(), rtol=1e-6)
    np.testing.assert_allclose(found["0"].value, (expected @ model[2].weight).numpy(), rtol=1e-5)
    with pytest.raises(InputError, match=r"^loss: gradients of a torch.nn.Module need a loss"):
        runner.capture_activations(model, x, kind="gradient", targets=y)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_dtypes_are_kept(dtype: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh()).to(getattr(torch, dtype))
    x = random(5, 3)
    activations = runner.capture_activations(model, x)
    expected = hooked(model, torch.from_numpy(x).to(getattr(torch, dtype)))
    assert activations["0"].dtype == dtype
    assert activations["0"].value.dtype == np.dtype(getattr(ml_dtypes, dtype, dtype))
    for name in ("0", "1"):
        assert bits(activations[name].value.view("int8")) == bits(
            expected[name][0].view(torch.int8)
        )


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_compiled_and_parallel_modules_have_the_names_of_the_plain_one() -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh()), random(5, 3)
    plain = runner.capture_activations(model, x)
    inside = nn.Sequential(torch.compile(nn.Sequential(nn.Linear(3, 4))), nn.DataParallel(model[1]))
    for other in (torch.compile(model), nn.DataParallel(model)):
        found = runner.capture_activations(other, x)
        assert {name: bits(one.value) for name, one in found.items()} == {
            name: bits(one.value) for name, one in plain.items()
        }
    assert [*runner.capture_activations(inside, x)] == ["0/0", "0", "1"]
    model.compile()
    assert [*runner.capture_activations(model, x)] == ["0", "1"]


def test_modules_that_cannot_be_seen_are_refused_in_a_line() -> None:
    model, x = nn.Sequential(nn.Linear(3, 4)), random(5, 3)
    with pytest.raises(InputError, match=r"^model: RecursiveScriptModule is scripted: "):
        runner.capture_activations(scripted(model), x)
    with pytest.raises(InputError, match=r"^model: it has lazy modules, whose weights do not"):
        runner.capture_activations(nn.Sequential(nn.LazyLinear(4)), x)
    with pytest.raises(InputError, match=r"^model: its weights are on the device meta"):
        runner.capture_activations(nn.Sequential(nn.Linear(3, 4, device="meta")), x)
    with pytest.raises(InputError, match=r"^capture.kinds: pre_activation is for Keras layers"):
        runner.capture_activations(model, x, kind="pre_activation")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def scripted(model: Any) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(model)


def test_a_failure_names_the_module() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2)))
    with pytest.raises(RunError, match=r"^the model cannot be called .* \(in 0/1\): mat1"):
        runner.capture_activations(model, random(5, 3))


def test_an_index_outside_an_embedding_is_the_users() -> None:
    model = nn.Sequential(nn.Embedding(5, 3))
    with pytest.raises(InputError, match=r"^probe: index 7 is outside an embedding of 0 to 4$"):
        runner.capture_activations(model, np.array([[1, 7], [0, 0]]))


def test_arguments_are_positional_or_named() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(9, 3)
            self.mix = nn.Linear(3, 3)

        def forward(self, ids: Any, scale: Any, mask: Any = None) -> Any:
            found = self.mix(self.embed(ids)) * scale[:, None, None]
            return found if mask is None else found * mask[..., None]

    model = Two()
    ids, scale = np.array([[1, 2], [3, 4], [0, 8]], "int32"), random(3)
    by_place = runner.capture_activations(model, [ids, scale])
    by_name = runner.capture_activations(model, {"scale": scale, "ids": ids, "mask": ids > 0})
    assert [*by_place] == [*by_name] == ["embed", "mix", "Two"]
    assert bits(by_place["mix"].value) == bits(by_name["mix"].value)
    assert not (by_name["Two"].value[ids == 0]).any()


def test_a_run_is_saved_and_says_what_stands_between_modules(tmp_path: Path) -> None:
    model, x = ResNet(), random(6, 3, 32, 32)
    run = runner.save_run(model, x, tmp_path / "run", labels=[0, 1, 2, 3, 4, 0])
    assert bits(run.array("layer1/0/bn1")) == bits(
        runner.capture_activations(model, x)["layer1/0/bn1"].value
    )
    assert run.record.model.model_class == "ResNet"
    assert run.record.backend.name == "torch"
    assert run.record.model.weights == sum(one.numel() for one in model.state_dict().values())
    layers = {layer.path: layer for layer in run.record.layers}
    [fc] = layers["fc"].calls
    assert fc.wires[0].derivation == {
        **{"operation": "reshape", "of": [{"tensor": "avgpool"}]},
        **{"before": [6, 16, 1, 1], "shape": [6, 16]},
    }
    branches = [{"tensor": "layer1/0/bn2"}, {"tensor": "maxpool"}]
    added = {"operation": "add", "of": branches}
    assert layers["layer1/0/relu"].calls[1].wires[0].derivation == added
    assert layers["conv1"].calls[0].wires[0].model_input == "input"
    assert layers["bn1"].calls[0].wires[0].tensor == "conv1"
    assert {tensor.invariance for layer in run.record.layers for tensor in layer.tensors} <= {
        *("bitwise", "rounding", None)
    }
    again = runner.save_run(copy.deepcopy(model), x, tmp_path / "again", labels=[0, 1, 2, 3, 4, 0])
    runner.assert_same(run, again)


def test_reductions_keep_the_channels() -> None:
    model, x = ResNet(), random(4, 3, 32, 32)
    whole = runner.capture_activations(model, x)["conv1"].value
    for name, reduce in (("mean", np.mean), ("max", np.max), ("std", np.std)):
        found = runner.capture_activations(model, x, reduce={"conv1": name})["conv1"]
        assert found.axes == ("channel",)
        np.testing.assert_allclose(found.value, reduce(whole, axis=(2, 3)), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["min", "sum", "median"])
def test_a_further_reduction_works_on_a_module_or_is_refused_in_a_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "from runner.capture.reduction import OverPositions\n"
        "class Further(OverPositions):\n"
        "    def compute(self, ops, tensor, positions):\n"
        f"        return ops.{name}(tensor, positions)\n"
    )
    offered("reductions", {name: "Further"}, code, tmp_path, monkeypatch)
    model, x = nn.Conv2d(1, 2, 3), torch.ones(3, 1, 4, 4)
    if name == "median":
        with pytest.raises(runner.InputError, match=r"^capture\.reduce: .*`keras\.ops\.median`"):
            runner.capture_activations(model, x, reduce={"**": name})
        return
    whole = model(x).detach().numpy()
    [found] = runner.capture_activations(model, x, reduce={"**": name}).values()
    np.testing.assert_allclose(found.value, getattr(np, name)(whole, (2, 3)), rtol=1e-5)


def test_neither_tensorflow_nor_keras_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys, numpy, torch, runner\n"
        "model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())\n"
        f"runner.save_run(model, numpy.ones((4, 3)), {str(tmp_path / 'run')!r})\n"
        "print({'tensorflow', 'keras', 'jax'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


class Numbered(torch.utils.data.Dataset):
    """Ten samples with labels, and a draw of a random number for each."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Any:
        return torch.full((3,), float(index)) + 0 * torch.rand(1), index % 3


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_data_loader_gives_ids_and_labels(tmp_path: Path, *, shuffle: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    loader = torch.utils.data.DataLoader(Numbered(), batch_size=4, shuffle=shuffle)
    before = torch.get_rng_state()
    run = runner.save_run(model, loader, tmp_path / "run")
    assert torch.equal(before, torch.get_rng_state())
    table = run["0"]
    assert sorted(table.index) == [*range(10)]
    assert ([*table.index] == [*range(10)]) is not shuffle
    assert [*run.labels] == [index % 3 for index in table.index]
    with torch.no_grad():
        expected = model(torch.arange(10.0)[:, None].expand(10, 3))
    np.testing.assert_allclose(table.sort_index(), expected.numpy(), rtol=1e-6)


def test_data_sets_streams_and_tensors_are_probes(tmp_path: Path) -> None:
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self) -> Any:
            return ({"input": torch.ones(3) * row, "labels": row} for row in range(5))

    data = torch.utils.data
    model, x = nn.Sequential(nn.Linear(3, 2)), torch.ones(5, 3, requires_grad=True)
    plain = bits(runner.capture_activations(model, x)["0"].value)
    assert bits(runner.capture_activations(model, data.TensorDataset(x))["0"].value) == plain
    run = runner.save_run(model, data.DataLoader(Stream(), batch_size=2), tmp_path / "run")
    assert [*run.labels] == [0, 1, 2, 3, 4]
    assert run["0"].shape == (5, 2)
    three = data.TensorDataset(x, x, x)
    with pytest.raises(InputError, match=r"^probe: a batch of the data loader has 3 parts, "):
        runner.capture_activations(model, three)


_NETS = """
def plain(units=4):
    import torch

    return torch.nn.Sequential(torch.nn.Linear(3, units), torch.nn.Tanh())


def samples():
    import torch

    return torch.utils.data.TensorDataset(torch.eye(3), torch.tensor([2, 0, 1]))


def nothing():
    return 1
"""


def test_a_configuration_names_a_function_that_returns_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorflow", reason="a configuration is run with Keras's engine")
    Path("nets.py").write_text(_NETS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    given = [
        *("model=function", "model.function=nets:plain", "probe=function"),
        *("probe.function=nets:samples", "+model.arguments.units=5"),
    ]
    run = runner.run(*given, "seed=3")
    torch.manual_seed(3)
    expected = nn.Sequential(nn.Linear(3, 5), nn.Tanh())
    assert bits(run.array("0/weight", "weight")) == bits(expected[0].weight.detach())
    assert (run.seed, run.record.backend.name, [*run.labels]) == (3, "torch", [2, 0, 1])
    assert bits(runner.run(*given, "seed=3").array("1")) == bits(run.array("1"))
    with pytest.raises(
        InputError, match=r"^train: the model is a Sequential, and only Keras models"
    ):
        runner.run(*given, "train=fit")
    with pytest.raises(InputError, match=r"must return a keras.Model or a torch.nn.Module, but"):
        runner.run("model=function", "model.function=nets:nothing", *given[2:4])


def test_a_configuration_names_the_loss_of_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("losing.py").write_text(
        "import numpy as np, torch\nfrom torch import nn\n\n"
        "def net():\n    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))\n\n"
        "def samples():\n    return np.eye(3, dtype='float32'), [1, 0, 1]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    given = [
        *("model=function", "model.function=losing:net", "probe=function"),
        *("probe.function=losing:samples", "capture.kinds=[activation,gradient]", "seed=2"),
    ]
    named = ("loss.class_name=CrossEntropyLoss", "+loss.label_smoothing=0.1")
    found = runner.run(*given, *named).array("1", "gradient")
    torch.manual_seed(2)
    first, tanh, last = nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)
    hidden = tanh(first(torch.eye(3)))
    hidden.retain_grad()
    loss = nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum")
    loss(last(hidden), torch.tensor([1, 0, 1])).backward()
    assert hidden.grad is not None
    np.testing.assert_allclose(found, hidden.grad.numpy(), rtol=1e-6)
    with pytest.raises(InputError) as caught:
        runner.run(*given)
    assert str(caught.value).startswith(
        "loss.class_name: MeanSquaredError is no loss of PyTorch, and gradients of a "
        "torch.nn.Module need one; set loss.class_name to one of BCELoss, BCEWithLogitsLoss, "
    )
    with pytest.raises(InputError, match=r"^loss: MSELoss cannot be created: .*'delta'$"):
        runner.run(*given, "loss.class_name=MSELoss", "+loss.delta=1")
    with pytest.raises(InputError) as caught:
        runner.run("loss.class_name=MSELoss")
    assert str(caught.value) == (
        "loss.class_name: MSELoss is a loss of PyTorch, and this model is none of its modules; "
        "name a loss of Keras, such as loss=mse"
    )


def test_the_losses_known_are_those_of_pytorch() -> None:
    takes_targets = {
        name
        for name in nn.modules.loss.__all__
        if len(inspect.signature(getattr(nn, name).forward).parameters) == 3
    }
    others = {"LinearCrossEntropyLoss", "NLLLoss2d"}  # has weights of its own; is deprecated
    assert {*TORCH_LOSSES} == takes_targets - others


def test_pictures_come_with_their_channels_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    Path("photos/cat").mkdir(parents=True)
    pixels = np.arange(4 * 6 * 3, dtype="uint8").reshape(4, 6, 3)
    image.fromarray(pixels).save("photos/cat/a.png")
    Path("pictured.py").write_text(
        "import torch\n\n"
        "def net(channels=3):\n    return torch.nn.Sequential(torch.nn.Conv2d(channels, 2, 1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    given = [
        *("model=function", "model.function=pictured:net", "probe=images"),
        *("probe.path=photos", "capture.kinds=[input]", "probe.scale=0-255"),
    ]
    shown = runner.run(*given).array("0", "input")
    np.testing.assert_array_equal(shown[0], pixels.transpose(2, 0, 1))
    last = [*given, "probe.layout=channels_last", "+model.arguments.channels=4"]
    np.testing.assert_array_equal(runner.run(*last).array("0", "input")[0], pixels)
    smaller = runner.run(*given, "probe.size=[2,3,3]").array("0", "input")
    assert smaller.shape == (1, 3, 2, 3)
    image.fromarray(pixels[:2]).save("photos/cat/b.png")
    with pytest.raises(InputError) as caught:
        runner.run(*given)
    assert str(caught.value) == (
        "probe: the model declares no input, and the pictures differ in size: cat/a.png 4 x 6, "
        "cat/b.png 2 x 6; set probe.size=[HEIGHT,WIDTH,CHANNELS]"
    )


_MAPS = [
    nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
    nn.Conv2d(4, 4, (3, 2), dilation=2, padding="same", bias=False),
    nn.MaxPool2d(3, stride=2, padding=1),
    nn.AvgPool2d(3, stride=2, padding=1),
    nn.AvgPool2d(2, padding=1, count_include_pad=False),
    *(nn.AdaptiveAvgPool2d((3, 2)), nn.AdaptiveMaxPool2d(1)),
    *(nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True)),
    *(nn.LayerNorm([7, 5]), nn.Flatten(), nn.Dropout(0.5), nn.Softmax(dim=1), nn.LogSoftmax(-1)),
    *(nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(0.1), nn.ELU(0.7), nn.CELU(0.7), nn.SELU()),
    *(nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Sigmoid(), nn.Tanh(), nn.Softsign()),
    *(nn.Hardtanh(-0.5, 0.25), nn.Hardswish(), nn.Hardsigmoid(), nn.Softplus(), nn.LogSigmoid()),
    *(nn.Hardshrink(0.3), nn.Softshrink(0.3), nn.Threshold(0.1, -1), nn.PReLU(), nn.PReLU(4)),
    *(nn.RReLU(), nn.Softplus(2, 1), nn.GLU(1), nn.Softmin(2), nn.Softmax2d(), nn.Tanhshrink()),
    nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True),
    nn.AvgPool2d(2, stride=2, ceil_mode=True, count_include_pad=False),
    *(nn.AvgPool2d(2, divisor_override=3), nn.MaxPool2d(2, ceil_mode=True)),
    nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
    nn.ConvTranspose2d(4, 2, (3, 2), dilation=2, bias=False),
    *(
        nn.RMSNorm([7, 5]),
        nn.RMSNorm(5, eps=1e-3),
        nn.LocalResponseNorm(3),
        nn.Unflatten(1, (2, 2)),
    ),
    nn.InstanceNorm2d(4, track_running_stats=True),
    *(nn.ZeroPad2d((1, 0, 2, -1)), nn.ConstantPad2d(1, 0.5), nn.ReflectionPad2d((1, 2, 0, 1))),
    *(nn.ReplicationPad2d(1), nn.CircularPad2d((1, 1, 0, 2)), nn.PixelShuffle(2)),
    *(nn.ChannelShuffle(2), nn.Upsample(scale_factor=2), nn.UpsamplingNearest2d(size=(14, 10))),
    *(nn.FeatureAlphaDropout(0.5), nn.Identity()),
]


def explained(model: Any, x: Any, tmp_path: Path) -> int:
    """Check that every value of every module is what its arithmetic gives; return the number."""
    from runner.arithmetic.layer_call import LayerCall
    from runner.arithmetic.spelling import spell_out

    run = runner.save_run(model, x, tmp_path / "run")
    count = 0
    for tensor in run.record.tensors:
        if tensor.kind != "activation" or tensor.alias_of is not None:
            continue
        call = LayerCall.read(run, tensor.name, 1)
        for place in list(np.ndindex(tensor.shape))[:: max(1, call.output.size // 25)]:
            account = spell_out(call, place)
            assert account.agrees(call.output[place], call.epsilon), (tensor.layer_class, place)
            count += 1
    return count


@pytest.mark.parametrize("module", _MAPS, ids=lambda module: type(module).__name__)
def test_values_of_maps_are_explained(tmp_path: Path, module: Any) -> None:
    model = nn.Sequential(copy.deepcopy(module))
    if getattr(module, "track_running_stats", False):
        model(torch.from_numpy(random(9, 4, 7, 5, seed=2)))  # which sets its running statistics
    assert explained(model, random(3, 4, 7, 5), tmp_path) >= 4


class _Attends(nn.Module):
    """Calls attention with what a function of it returns."""

    def __init__(self, given: Callable[..., Any], **options: Any) -> None:
        super().__init__()
        self.given = given
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)
        self.register_buffer("mask", torch.triu(torch.ones(5, 5), 1).bool())
        nn.init.normal_(self.attention.in_proj_bias) if options.get("bias", True) else None

    def forward(self, x: Any) -> Any:
        arguments, options = self.given(self, x)
        return self.attention(*arguments, **options)


_CAUSAL = nn.Transformer.generate_square_subsequent_mask
_ATTENTION: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "plain": (lambda _, x: ((x, x, x), {}), {}),
    "without weights": (lambda _, x: ((x, x, x), {"need_weights": False}), {"bias": False}),
    "each head": (lambda _, x: ((x, x, x), {"average_attn_weights": False}), {}),
    "another key": (lambda _, x: ((x, x[:, :3, :4], x[:, 1:4, :6]), {}), {"kdim": 4, "vdim": 6}),
    "a mask of truths": (lambda own, x: ((x, x, x), {"attn_mask": own.mask}), {}),
    "a mask of numbers": (lambda _, x: ((x, x, x), {"attn_mask": _CAUSAL(5)}), {}),
    "causal": (
        lambda _, x: ((x, x, x), {"attn_mask": _CAUSAL(5), "is_causal": True}), {}
    ),
    "padding": (lambda _, x: ((x, x, x, x[..., 0] > 0.5), {}), {}),
    "both masks": (
        lambda own, x: ((x, x, x, x[..., 0] > 0.5), {"attn_mask": own.mask.T}), {}
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("name", _ATTENTION)
def test_values_of_attention_are_explained(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    given, options = _ATTENTION[name]
    assert explained(_Attends(given, **options), random(3, 5, 8), tmp_path) >= 20


def test_attention_that_is_not_explained_is_told_in_a_line(tmp_path: Path) -> None:
    from runner.screen.explain import show

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2)

        def forward(self, x: Any) -> Any:
            return self.attention(x, x, x)[0]

    run = runner.save_run(Turned(), random(3, 5, 8), tmp_path / "turned")
    with pytest.raises(InputError, match=r"attention modules without batch_first, whose firs"):
        show(run, "attention:0", "u0_0")
    model = _Attends(lambda _, x: ((x, x, x), {}), add_zero_attn=True)
    run = runner.save_run(model, random(3, 5, 8), tmp_path / "zero")
    with pytest.raises(InputError, match=r"attention modules with add_zero_attn or add_bias_kv"):
        show(run, "attention:0", "u0_0")
    run = runner.save_run(nn.Sequential(nn.LSTM(8, 4)), random(3, 5, 8), tmp_path / "lstm")
    with pytest.raises(InputError, match=r"^0:0: LSTM modules are not covered yet; docs/expl"):
        show(run, "0:0", "u0_0")


def test_the_page_names_every_module_that_is_explained_or_not() -> None:
    from runner.arithmetic.torch_layers import COVERED_MODULES

    page = (Path(__file__).parent.parent / "docs/explain.md").read_text(encoding="utf-8")
    covered, _, missing = page.partition("Of [modules of PyTorch]")[2].partition("## What is not")
    named = {
        name.replace("Nd", dimension)
        for name in re.findall(r"`(\w+)`", covered.partition("So is what your own")[0])
        for dimension in (("1d", "2d", "3d") if name.endswith("Nd") else ("",))
        if name not in ("1d", "2d", "3d", "Nd")
    }
    assert named == {*COVERED_MODULES}
    refused = {*re.findall(r"`(\w+)`", missing.partition("- **modules of PyTorch**")[2])}
    holding = {*vars(nn.modules.container), *vars(nn.modules.transformer), "DataParallel"}
    others = {"Module", "RNNBase", "RNNCellBase"}
    for name, module in vars(nn).items():
        if isinstance(module, type) and issubclass(module, nn.Module) and "Loss" not in name:
            known = named | refused | holding | others
            assert name.startswith("Lazy") or name in known, name


def test_values_of_bilinear_modules_are_explained(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both = nn.Bilinear(3, 4, 5)

        def forward(self, one: Any, other: Any) -> Any:
            return self.both(one, other)

    assert explained(Two(), [random(3, 3), random(3, 4)], tmp_path) == 5


def test_values_of_embeddings_and_sums_are_explained(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Embedding(9, 5), nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    assert explained(model, np.array([[1, 2, 8], [0, 4, 4]]), tmp_path) > 40


class _Own(nn.Module):
    """Computes what stands in a function, between two modules that hand it on."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.first = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.linspace(0.5, 2, 4))
        self.kept = nn.Identity()

    def forward(self, x: Any) -> Any:
        return self.kept(self.function(self.first(x), self))

    @staticmethod
    def heads(x: Any) -> Any:
        return x.unflatten(-1, (2, 2)).transpose(1, 2)


_BETWEEN: dict[str, Callable[..., Any]] = {
    "arithmetic": lambda x, _: (2 - x.abs().sqrt()) / 3 + x.pow(2) - 0.5 * x * x.exp(),
    "activations": lambda x, _: (
        nn.functional.gelu(x) + nn.functional.silu(x) - nn.functional.elu(x, 0.5)
        + nn.functional.leaky_relu(x, 0.1) * nn.functional.softplus(x) + x.clamp(-1, 0.5)
        + nn.functional.hardtanh(x) + nn.functional.relu6(x) + x.sigmoid() + x.relu()
    ),
    "a weight": lambda x, own: x * own.scale,
    "reductions": lambda x, _: torch.stack(
        [x.mean((1, 2)), x.amax((1, 2)), (x > 0).sum((1, 2))], 1
    ),
    "a mask": lambda x, _: x.masked_fill(x < 0, float("-inf")).softmax(-1),
    "a choice": lambda x, _: torch.where((x > 0) & (x < 1), x, 7),
    "parts": lambda x, _: torch.cat([x[:, 1], x[:, -2:, ::2].flatten(1), x.unbind(1)[0]], 1),
    "picks": lambda x, _: x[:, [0, 2]] + x.split(2, 1)[1] + x[:, 1:].chunk(2, 1)[0],
    "moves": lambda x, _: x.roll(1, 1).flip(-1).transpose(1, 2).reshape(-1, 2, 10)[:, None],
    "zeros of a batch": lambda x, _: torch.cat([x, torch.zeros(len(x), 1, 4)], 1),
    "positions": lambda x, _: x + torch.arange(4) * torch.ones(5, 1) + torch.tensor([1.0, 2, 3, 4]),
    "normalized": lambda x, own: nn.functional.layer_norm(
        nn.functional.normalize(x, dim=-1), (4,), own.scale, own.scale
    ),
    "einsum": lambda x, own: torch.einsum("bij,kj->bik", x, own.first.weight),
    "heads": lambda x, own: nn.functional.scaled_dot_product_attention(
        own.heads(x), own.heads(x * 2), own.heads(x), is_causal=True
    ),
    "masked heads": lambda x, own: nn.functional.scaled_dot_product_attention(
        *[own.heads(x)] * 3, attn_mask=torch.ones(5, 5).tril(1).bool()
    ),
    "samples in the second axis": lambda x, _: x.permute(1, 0, 2)[2:].mean(0).sub(1),
    "other types": lambda x, _: x.half().float() + x.double().sum(-1, keepdim=True).int(),
    "in place": lambda x, _: x.clone().add_(1).mul_(2).relu_(),
    "a lookup": lambda x, own: nn.functional.embedding((x[..., 0] > 0).long(), own.first.weight),
    "softmax of positions": lambda x, _: x.softmax(1),
}  # fmt: skip


@pytest.mark.parametrize("name", _BETWEEN)
def test_what_stands_between_modules_is_explained(tmp_path: Path, name: str) -> None:
    from runner.arithmetic.layer_call import LayerCall
    from runner.arithmetic.spelling import spell_out

    torch.manual_seed(0)
    run = runner.save_run(_Own(_BETWEEN[name]), random(3, 5, 4), tmp_path / "run")
    for row in (0, 2):
        call = LayerCall.read(run, "kept", row)
        assert call.wiring.wires[0].tensor is None
        for place in np.ndindex(call.output.shape):
            assert spell_out(call, place).agrees(call.output[place], call.epsilon), place


def test_what_mixes_samples_or_is_overwritten_in_part_is_not_explained(tmp_path: Path) -> None:
    from runner.screen.explain import show

    def overwritten(x: Any, _: Any) -> Any:
        x = x + 1
        x[:, 0] = 0
        return x

    mixed = [lambda x, _: x - x.mean(0), lambda x, _: x.flip(0), lambda x, _: x.softmax(0)]
    for place, function in enumerate(mixed):
        run = runner.save_run(_Own(function), random(3, 5, 4), tmp_path / f"mixed{place}")
        with pytest.raises(InputError, match=r"^kept: was called on a tensor computed across the"):
            show(run, "kept", "u0_0")
    run = runner.save_run(_Own(overwritten), random(3, 5, 4), tmp_path / "run")
    with pytest.raises(InputError, match=r"the result of PyTorch's write into a part of it, which"):
        show(run, "kept", "u0_0")


def test_what_is_not_explained_is_told_in_a_line(tmp_path: Path) -> None:
    from runner.screen.explain import show

    class Sums(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.cumsum(1)

    model = nn.Sequential(nn.Unfold(2), nn.Flatten(), Sums())
    run = runner.save_run(model, random(3, 4, 2, 2), tmp_path / "run")
    with pytest.raises(InputError, match=r"^0: Unfold modules are not covered yet"):
        show(run, "0", "u0_0")
    with pytest.raises(
        InputError, match=r"^2: returns the result of PyTorch's cumsum, which is not"
    ):
        show(run, "2", "u0")


def test_what_a_module_says_of_its_parameters_is_not_asked() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            return self.linear(x)

        def named_parameters(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("not here")

    found = runner.capture_activations(nn.Sequential(Own()), random(2, 3))
    assert list(found) == ["0/linear", "0"]
