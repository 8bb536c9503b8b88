"""The modules of PyTorch that are measured, each with its probe."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.case import Case


def mlp() -> nn.Module:
    """784-512-256-128-10."""
    widths = (784, 512, 256, 128)
    hidden = [
        part
        for given, units in itertools.pairwise(widths)
        for part in (nn.Linear(given, units), nn.ReLU())
    ]
    return nn.Sequential(*hidden, nn.Linear(128, 10), nn.Softmax(1))


class Block(nn.Module):
    """Two convolutions with a shortcut, as in ResNet-18."""

    def __init__(self, given: int, channels: int) -> None:
        super().__init__()
        stride = channels // given
        self.conv1 = nn.Conv2d(given, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.down: nn.Module = nn.Identity()
        if stride > 1:
            self.down = nn.Sequential(
                nn.Conv2d(given, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of shape (sample, channel, height, width)."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.down(x))


def resnet() -> nn.Module:
    """Eight blocks over 32 x 32 pictures, as in ResNet-18 but narrower."""
    widths = (16, 16, 16, 32, 32, 64, 64, 128, 128)
    blocks = [Block(given, own) for given, own in itertools.pairwise(widths)]
    stem = (nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
    return nn.Sequential(*stem, *blocks, *head)


def transformer() -> nn.Module:
    """Four layers of width 64 over 32 positions."""
    layer = nn.TransformerEncoderLayer(64, 4, 256, activation="gelu", batch_first=True)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)


def _ready(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def ready() -> nn.Module:
        torch.manual_seed(0)
        return build().eval()

    return ready


CASES = (
    Case("module mlp", _ready(mlp), (784,), 60_000, 15_000, memory=True),
    Case("module resnet", _ready(resnet), (3, 32, 32), 2_048, 512, 64),
    Case("module transformer", _ready(transformer), (32, 64), 8_192, 2_048),
)
