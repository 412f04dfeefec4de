"""One decoded frame: its pixels as a viewer sees them, its time and its colour tags."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

from vidswap.media.colour import ColourTags
from vidswap.media.orientation import Box, Orientation
from vidswap.media.planes import to_rgb, write_boxes


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a clip, or a picture.

    rgb: (H, W, 3) uint8 R'G'B', upright. Treat as read-only: change pixels with `with_pixels`.
    pts: presentation time in units of `time_base` seconds.
    duration: in the same units, 0 where unknown.
    """

    rgb: npt.NDArray[np.uint8]
    pts: int
    time_base: Fraction
    duration: int
    colour: ColourTags
    _coded: av.VideoFrame = field(repr=False)
    _orientation: Orientation = field(repr=False)

    @classmethod
    def from_decoded(
        cls, coded: av.VideoFrame, *, pts: int, time_base: Fraction, orientation: Orientation
    ) -> "Frame":
        """Convert a decoded frame; its planes stay with the Frame, for encoding."""
        viewer_height = coded.width if orientation.transpose else coded.height
        rgb = orientation.upright(to_rgb(coded, viewer_height)).copy()
        tags = ColourTags.of(coded)
        return cls(rgb, pts, time_base, coded.duration, tags, coded, orientation)

    @classmethod
    def from_rgb(
        cls,
        rgb: npt.NDArray[np.uint8],
        *,
        pts: int = 0,
        time_base: Fraction = Fraction(1, 25),
        duration: int = 0,
        colour: ColourTags | None = None,
    ) -> "Frame":
        """A frame of pixels (H, W, 3) uint8 that come from no clip, upright as they are."""
        rgb = np.ascontiguousarray(rgb)
        coded = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        coded.pts, coded.time_base, coded.duration = pts, time_base, duration
        (colour or ColourTags()).tag(coded)
        return cls(rgb, pts, time_base, duration, ColourTags.of(coded), coded, Orientation())

    @property
    def seconds(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    def with_pixels(self, box: Box, rgb: npt.NDArray[np.uint8]) -> "Frame":
        """This frame with the pixels of `box` replaced.

        box: (left, top, right, bottom) in upright pixels, right and bottom excluded.
        rgb: (bottom - top, right - left, 3) uint8.

        Only pixels that really differ are converted back, with the clip's matrix and range; every
        other sample keeps its decoded value. Chroma shared with an unchanged neighbour changes.
        Raises ValueError where the box leaves the frame or the shapes do not fit.
        """
        left, top, right, bottom = self._checked(box)
        if rgb.shape != (bottom - top, right - left, 3) or rgb.dtype != np.uint8:
            raise ValueError(f"box {box} needs uint8 pixels of its size, got {rgb.shape}")
        pixels = self.rgb.copy()
        pixels[top:bottom, left:right] = rgb
        return self.with_boxes([box], pixels)

    def with_boxes(self, boxes: Sequence[Box], pixels: npt.NDArray[np.uint8]) -> "Frame":
        """This frame with the pixels of all `boxes` taken from `pixels`, as `with_pixels` does.

        boxes: as there; they may overlap. pixels: the whole frame (H, W, 3) uint8, upright, equal
        to `rgb` outside the boxes; the new frame keeps it. However many boxes, the frame is copied
        once. Raises ValueError as `with_pixels` does.
        """
        if pixels.shape != self.rgb.shape or pixels.dtype != np.uint8:
            raise ValueError(f"pixels need shape {self.rgb.shape} uint8, got {pixels.shape}")
        turn = self._orientation
        coded = write_boxes(
            self._coded,
            [turn.coded_box(self._checked(box), (self.width, self.height)) for box in boxes],
            turn.coded(self.rgb),
            turn.coded(pixels),
            self.height,
        )
        return replace(self, rgb=pixels, _coded=coded)

    def _checked(self, box: Box) -> Box:
        left, top, right, bottom = box
        if not (0 <= left < right <= self.width and 0 <= top < bottom <= self.height):
            raise ValueError(f"box {box} is not inside the frame of {self.width}x{self.height}")
        return box

    def coded(self) -> av.VideoFrame:
        """Planes as the clip's codec has them: turned, in its pixel format. Do not write to it."""
        return self._coded

    @property
    def orientation(self) -> Orientation:
        """How the coded planes are turned for viewing."""
        return self._orientation
