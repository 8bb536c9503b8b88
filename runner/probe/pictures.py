"""Sources of pictures: their keys, and how pictures become the pixels that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, BinaryIO, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt

from runner.config.strict import RECORDED
from runner.errors import InputError
from runner.probe.decoding import GRAYS, MODES, decoded
from runner.probe.picture_files import opened_picture
from runner.probe.resizing import Fit, Interpolation, resized
from runner.probe.source import Layout, ProbeSource
from runner.tensors import InputSpec, shape_text

SET_SIZE = "set probe.size=[HEIGHT,WIDTH,CHANNELS]"
"""What to do about pictures without a common size."""

LARGEST = 2**30
"""Largest size of a picture's file in bytes."""

_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # orientations whose rows and columns are swapped


class PictureSource(ProbeSource):
    """How pictures become inputs of a model."""

    packages = ("pillow",)
    examples: ClassVar[dict[str, str]] = {
        "scale": "probe.scale=0-255",
        "interpolation": "probe.interpolation=bicubic",
        "fit": "probe.fit=crop",
        "exif_rotation": "probe.exif_rotation=true",
        "size": "probe.size=[224,224,3]",
        "layout": "probe.layout=channels_first",
    }

    scale: Literal["0-1", "0-255"] = "0-1"
    """Range of the pixel values: as Keras reads them (`0-255`), or divided by 255."""
    interpolation: Interpolation = "bilinear"
    """Method of resizing, as in `keras.utils.image_dataset_from_directory`."""
    fit: Fit = "stretch"
    """How other proportions are fitted, as by `crop_to_aspect_ratio` or `pad_to_aspect_ratio`."""
    exif_rotation: bool = False
    """Whether to apply the rotation in a picture's EXIF data, which Keras ignores."""
    size: Annotated[
        Annotated[list[PositiveInt], Field(min_length=3, max_length=3)] | None, RECORDED
    ] = None
    """Height, width and channels (1, 3 or 4) of the pictures; `null`: those of the model's input,
    or if it declares none, as a module of PyTorch, those that all pictures have.
    """
    layout: Layout | None = None
    """Whether the channels are the last axis or the first; `null`: first for modules of PyTorch,
    else as in the model's input, last if it declares none.
    """

    def laid_out(self, layout: Layout | None) -> Self:
        """Return the source with the layout in which a model takes pictures, unless it has one."""
        return self if self.layout else self.model_copy(update={"layout": layout})

    @property
    def said(self) -> str:
        """How the pictures are read, in the description of a probe."""
        return f"{self.interpolation}, {self.scale}"


class PictureDecoder:
    """Decodes pictures into the pixels that a model takes.

    Parameters
    ----------
    pillow
        The module, from `runner.probe.picture_files.load_pillow`.
    config
        How they are read.
    size
        Height, width and number of channels.
    is_first
        Whether the channels are the first axis of what the model takes.
    only_this_size
        Whether pictures of another size are refused, not resized.
    """

    def __init__(
        self,
        pillow: Any,
        config: PictureSource,
        size: tuple[int, int, int],
        is_first: bool,
        *,
        only_this_size: bool = False,
    ) -> None:
        self._pillow = pillow
        self._config = config
        self._size = size
        self._is_first = is_first
        self._only_this_size = only_this_size

    def spec(self, expected: Sequence[InputSpec]) -> InputSpec:
        """Return the name and shape of the input."""
        height, width, channels = self._size
        shape = (channels, height, width) if self._is_first else (height, width, channels)
        return InputSpec(expected[0].name if expected else "input", shape)

    def batch(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Return the pixels of pictures as the input of a model."""
        shown = np.stack(pixels)
        return np.moveaxis(shown, -1, 1) if self._is_first else shown

    def pixels(self, file: BinaryIO, place: str, formats: Sequence[str]) -> np.ndarray:
        """Return the pixels of a picture.

        Parameters
        ----------
        file
            The open file.
        place
            Where it is, for messages.
        formats
            What it may be, by Pillow's names.

        Returns
        -------
        ndarray
            Shape (height, width, channels), float32.

        Raises
        ------
        InputError
            If it is damaged, or has more than 8 bits.
        """
        config, (height, width, channels) = self._config, self._size
        with opened_picture(self._pillow, file, formats, place) as opened:
            array = decoded(opened, channels)
            if array is not None and config.exif_rotation:
                array = _upright(array, opened.getexif().get(_ORIENTATION, 1))
            mode, given = opened.mode, shown_size(opened, config.exif_rotation)[:2]
        if array is None:
            message = f"has pixels of more than 8 bits ({mode})"
            raise InputError.of(place, message, "convert it to 8 bits")
        if self._only_this_size and given != (height, width):
            sizes = f"{shape_text((height, width))}, {shape_text(given)}"
            message = f"the model declares no input, and the pictures differ in size: {sizes}"
            raise InputError.of(place, message, SET_SIZE)
        shown = resized(array, height, width, config.interpolation, config.fit)
        return shown / np.float32(255) if config.scale == "0-1" else shown


def shown_size(opened: Any, rotate: bool) -> tuple[int, int, bool]:
    """Return the height and the width of an open picture, and whether it has no colours."""
    is_turned = rotate and opened.getexif().get(_ORIENTATION, 1) in _TURNED
    height, width = opened.size if is_turned else opened.size[::-1]
    return height, width, opened.mode in GRAYS


def declared_size(
    expected: Sequence[InputSpec], config: PictureSource
) -> tuple[tuple[int, int, int] | None, bool]:
    """Return the size that the model or the configuration gives, and whether channels come first.

    The size is height, width and channels; ``None`` if neither gives one.
    """
    shape = expected[0].shape if len(expected) == 1 else ()
    is_first = config.layout == "channels_first"
    if config.layout is None and len(shape) == 3:
        is_first = shape[-1] not in MODES and shape[0] in MODES
    if config.size is not None:
        height, width, channels = config.size
    elif not expected:
        return None, is_first
    elif len(shape) == 3 and None not in shape:
        axes = [int(axis) for axis in shape if axis is not None]
        height, width, channels = (*axes[1:], axes[0]) if is_first else axes
    else:
        channels = 0
    if channels not in MODES:
        raise InputError.of(
            "probe",
            "pictures need a model with one input of height x width x channels (1, 3 or 4)",
            f"give the model a fixed input size, or {SET_SIZE}",
        )
    return (height, width, channels), is_first


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels rotated and mirrored according to an EXIF orientation, 1 to 8."""
    if orientation in _TURNED:
        array = array.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(array[::rows, ::columns])
