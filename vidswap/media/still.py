"""The own numbers of a frame of a sequence, and how a changed view of it goes back into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol

import av
import cv2
import numpy as np
import numpy.typing as npt

from vidswap.media.colour import FULL_RANGE, ColourTags
from vidswap.media.colour_space import BT709, ColourSpace, Float, Pixels, rgb_to_rgb, srgb_codes
from vidswap.media.frame import Frame
from vidswap.media.hdr import carried
from vidswap.media.orientation import Box, Orientation
from vidswap.media.planes import rows_of

Samples = npt.NDArray[Any]

_SRGB_TAGS = ColourTags(range=FULL_RANGE, primaries=1, transfer=13)  # H.273: BT.709, IEC 61966-2-1


@dataclass(frozen=True, eq=False)
class Still:
    """Samples of a picture and the view of them that nets are given.

    samples: (H, W, 3) unsigned integers of `bits` bits, or floats where `bits` is 0. view: 8-bit
    sRGB. alpha: (H, W) of the samples' kind, None without.
    """

    samples: Samples
    bits: int
    space: ColourSpace
    view: Pixels
    alpha: Samples | None = None

    @classmethod
    def of(
        cls, samples: Samples, bits: int, space: ColourSpace, alpha: Samples | None = None
    ) -> Still:
        """That of samples as a file has them."""
        return cls(samples, bits, space, space.view(_codes(samples, bits)), alpha)

    def changed(self, view: Pixels) -> npt.NDArray[np.bool_]:
        """Where another view differs (H, W)."""
        return differing(view, self.view)

    def with_view(self, view: Pixels) -> Samples:
        """Samples of which `view` is the view; those whose view is the same are the very same."""
        changed = self.changed(view)
        box = box_of(changed)
        if box is None:
            return self.samples
        left, top, right, bottom = box
        window = np.s_[top:bottom, left:right]
        samples = self.samples.copy()
        codes = self.moved(self.samples[window], self.view[window], view[window])
        new = _samples(codes, self.bits, samples.dtype)
        np.copyto(samples[window], new, where=changed[window][..., None])
        return samples

    def moved(self, samples: Samples, before: Pixels, after: Pixels) -> Float:
        """Codes of samples whose view changes, with what the view had lost of them."""
        seen, wanted = self.space.codes(before), self.space.codes(after)
        lost = np.nan_to_num(_codes(samples, self.bits) - seen, nan=0.0, posinf=0.0, neginf=0.0)
        kept: Float = lost if self.space.carries_all else lost * carried(before, after)
        return wanted + kept

    def codes(self, samples: Samples) -> Float:
        """Codes of samples of this picture's kind."""
        return _codes(samples, self.bits)

    def alpha_codes(self) -> Float | None:
        """Opacity (H, W), [0, 1]."""
        return None if self.alpha is None else _codes(self.alpha, self.bits)


class SequencePicture(Protocol):
    """A frame of a sequence as its file has it."""

    @property
    def still(self) -> Still: ...

    @property
    def suffix(self) -> str: ...

    def encoded(self, view: Pixels, metadata: dict[str, str]) -> bytes:
        """The bytes of a file of the same kind in which the picture looks like `view`.

        Samples whose view is unchanged are the file's own, bit for bit.
        """


@dataclass(frozen=True, eq=False)
class StillFrame(Frame):
    """A frame of a sequence; `number` is the one in its name."""

    picture: SequencePicture
    number: int

    @classmethod
    def of(cls, picture: SequencePicture, number: int, pts: int, time_base: Fraction) -> StillFrame:
        """That of a picture at a time, one tick long."""
        view = np.ascontiguousarray(picture.still.view)
        empty = av.VideoFrame(16, 16, "rgb24")  # `coded` makes the planes when they are wanted
        return cls(view, pts, time_base, 1, _SRGB_TAGS, empty, Orientation(), picture, number)

    @classmethod
    def of_clip(cls, frame: Frame, picture: SequencePicture) -> StillFrame:
        """That of a clip's frame, whose view the picture has."""
        return cls(
            frame.rgb, frame.pts, frame.time_base, frame.duration, frame.colour, frame.coded(),
            frame.orientation, picture, 0,
        )  # fmt: skip

    @property
    def is_changed(self) -> bool:
        """Whether it has other pixels than its file."""
        view = self.picture.still.view
        return self.rgb is not view and not np.array_equal(self.rgb, view)

    def with_boxes(self, boxes: Sequence[Box], pixels: Pixels) -> StillFrame:
        """This frame with other pixels; its own numbers change when they are asked for."""
        return type(self)(
            pixels, self.pts, self.time_base, self.duration, self.colour, self._coded,
            self._orientation, self.picture, self.number,
        )  # fmt: skip

    def with_pixels(self, box: Box, rgb: Pixels) -> StillFrame:
        """As that of `Frame`."""
        left, top, right, bottom = self._checked(box)
        pixels = self.rgb.copy()
        pixels[top:bottom, left:right] = rgb
        return self.with_boxes([box], pixels)

    def coded(self) -> av.VideoFrame:
        """Planes for an encoder, R'G'B' in sRGB: 8 bits where the samples have no more, else 16."""
        coded = self._planes
        coded.pts, coded.time_base, coded.duration = self.pts, self.time_base, self.duration
        self.colour.tag(coded)
        return coded

    @cached_property
    def _planes(self) -> av.VideoFrame:
        return rgb_planes(display_codes(self.picture.still, self.rgb), self.picture.still.bits)


def differing(one: Pixels, other: Pixels) -> npt.NDArray[np.bool_]:
    """Where two pictures (H, W, 3) differ, (H, W); three ORs are faster than a reduction."""
    differs = one != other
    changed: npt.NDArray[np.bool_] = differs[..., 0] | differs[..., 1] | differs[..., 2]
    return changed


def display_codes(still: Still, view: Pixels) -> Float:
    """sRGB codes (H, W, 3) in [0, 1] of a picture that looks like `view`."""
    codes = still.codes(still.with_view(view))
    if still.space.carries_all:
        return codes
    return np.clip(srgb_codes(bt709_light(still, codes)), 0.0, 1.0)


def bt709_light(still: Still, codes: Float) -> Float:
    """Light of codes, (H, W, 3), in BT.709's primaries."""
    light = still.space.light(codes)
    if still.space.chromaticities == BT709:
        return light
    matrix = rgb_to_rgb(still.space.chromaticities, BT709).astype(np.float32)
    return np.asarray(cv2.transform(np.ascontiguousarray(light), matrix), np.float32)


def rgb_planes(codes: Float, bits: int) -> av.VideoFrame:
    """Codes (H, W, 3) in [0, 1] as rgb24, or as gbrp16le for samples of more than 8 bits."""
    if bits == 8:
        pixels = np.rint(codes * 255.0).astype(np.uint8)
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    height, width = codes.shape[:2]
    frame = av.VideoFrame(width, height, "gbrp16le")
    for plane, channel in enumerate((1, 2, 0)):
        rows = rows_of(frame, plane).view("<u2")
        rows[:height, :width] = np.rint(codes[..., channel] * 65535.0).astype(np.uint16)
    return frame


def box_of(changed: npt.NDArray[np.bool_]) -> Box | None:
    """The smallest box around what is true; None where nothing is."""
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if rows.size == 0:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _codes(samples: Samples, bits: int) -> Float:
    if bits == 0:
        return np.asarray(samples, np.float32)
    codes: Float = np.multiply(samples, 1.0 / (2**bits - 1), dtype=np.float32)
    return codes


def _samples(codes: Float, bits: int, kind: np.dtype[Any]) -> Samples:
    if bits == 0:
        return codes.astype(kind)
    most = float(2**bits - 1)
    rounded: Samples = np.rint(np.clip(codes, 0.0, 1.0) * most).astype(kind)
    return rounded
