"""How a viewer turns the coded picture: one of the eight right-angled turns and mirrorings."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.sidedata.sidedata import Type

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom excluded

_ONE = 1 << 16  # the display matrix is in 16.16 fixed point
_UNIT_W = 1 << 30  # its last element in 2.30


@dataclass(frozen=True)
class Orientation:
    """Coded picture to upright picture: transpose first, then flip.

    `flip_x` mirrors left and right, `flip_y` top and bottom.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, coded: av.VideoFrame) -> "Orientation":
        """Orientation from a decoded frame's display matrix; upright where it has none."""
        side_data = cast(Mapping[Type, Buffer], coded.side_data)
        matrix = side_data.get(Type.DISPLAYMATRIX)
        if matrix is None:
            return cls()
        return cls.from_display_matrix(struct.unpack("=9i", bytes(matrix)))

    @classmethod
    def from_display_matrix(cls, matrix: tuple[int, ...]) -> "Orientation":
        """Nearest right-angled orientation of a display matrix (9 integers, row by row).

        The matrix sends coded (x, y) to upright (a x + c y, b x + d y), ISO/IEC 14496-12 6.2.2.
        """
        a, b, _, c, d = matrix[:5]
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @property
    def is_identity(self) -> bool:
        return not (self.transpose or self.flip_x or self.flip_y)

    @property
    def degrees(self) -> int:
        """Clockwise turn in degrees that (with a mirroring, if any) makes the picture upright."""
        if self.transpose:
            return 270 if self.flip_y and not self.flip_x else 90
        return 180 if self.flip_x and self.flip_y else 0

    def display_matrix(self) -> tuple[int, ...]:
        """The nine integers of the display matrix, without translation."""
        x = -_ONE if self.flip_x else _ONE
        y = -_ONE if self.flip_y else _ONE
        turn = (0, y, x, 0) if self.transpose else (x, 0, 0, y)
        return (turn[0], turn[1], 0, turn[2], turn[3], 0, 0, 0, _UNIT_W)

    def upright(self, coded: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """View of a coded picture (H, W, ...) as a viewer sees it; no copy."""
        turned = coded.swapaxes(0, 1) if self.transpose else coded
        return self._flipped(turned)

    def coded(self, upright: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Inverse of `upright`: view of an upright picture in coded orientation; no copy."""
        flipped = self._flipped(upright)
        return flipped.swapaxes(0, 1) if self.transpose else flipped

    def coded_box(self, box: Box, upright_size: tuple[int, int]) -> Box:
        """An upright box in coded pixels; `upright_size` is (width, height)."""
        left, top, right, bottom = box
        width, height = upright_size
        if self.flip_x:
            left, right = width - right, width - left
        if self.flip_y:
            top, bottom = height - bottom, height - top
        return (top, left, bottom, right) if self.transpose else (left, top, right, bottom)

    def _flipped(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return picture[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
