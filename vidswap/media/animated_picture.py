"""Animated WebP and PNG: all frames with their times, in and out."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vidswap.errors import CodecError, NotAVideoError
from vidswap.media.frame import Frame
from vidswap.media.picture import Picture, is_picture
from vidswap.media.picture_colour import ColourProfile
from vidswap.media.picture_file import Extras, saved
from vidswap.media.picture_open import UNREADABLE, check_size, opened

ANIMATED_SUFFIXES = (".webp", ".png")
_TICK = Fraction(1, 1000)
_MOST_LOOPS = 65_535  # that WebP holds
_USUAL = 100  # milliseconds of a frame that states none


@dataclass
class Animation:
    """Frames of an animated picture that are still to come, and what the file says of them all.

    extras: of the first frame. loops: how often it is shown, 0 without end. durations: of the
    frames given so far, in milliseconds.
    """

    path: Path
    extras: Extras
    loops: int
    durations: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path) -> "Animation":
        """That of a file. Raises NotAVideoError."""
        check_size(path)
        with opened(path) as image:
            return cls(path, Extras.of(image), min(int(image.info.get("loop", 0)), _MOST_LOOPS))

    def pictures(self) -> Iterator[Picture]:
        """One picture a frame, with its time, one in memory at a time. Raises NotAVideoError."""
        profile = ColourProfile.of(self.extras.icc)
        with opened(self.path) as image:
            first = 1 if getattr(image, "default_image", False) else 0
            now = 0.0
            for number in range(first, frame_count(self.path)):
                try:
                    image.seek(number)
                    rgba = np.asarray(image.convert("RGBA"))
                except UNREADABLE as error:
                    raise NotAVideoError(
                        f"frame {number} of {self.path} cannot be read; it may be damaged"
                    ) from error
                lasts = float(image.info.get("duration") or _USUAL)
                own = np.ascontiguousarray(rgba[..., :3])
                seen = own if profile is None else profile.view(own)
                frame = Frame.from_rgb(
                    seen, pts=round(now), time_base=_TICK, duration=max(1, round(lasts))
                )
                alpha = rgba[..., 3] if image.has_transparency_data else None
                now += max(1.0, lasts)
                self.durations.append(lasts)
                yield Picture(frame, own, alpha, self.extras)

    def encoded(
        self, suffix: str, frames: Sequence[Image.Image], metadata: dict[str, str]
    ) -> bytes:
        """The bytes of a file of these frames, lossless, with times, loops and metadata."""
        modes = {frame.mode for frame in frames}
        alike = [frame.convert("RGBA") for frame in frames] if len(modes) > 1 else list(frames)
        along: dict[str, Any] = {
            "save_all": True, "append_images": alike[1:], "loop": self.loops,
            "duration": [round(lasts) if suffix == ".webp" else lasts for lasts in self.durations],
        }  # fmt: skip
        buffer = io.BytesIO()
        saved(buffer, suffix, alike[0], metadata, self.extras.fitting(suffix), along)
        return buffer.getvalue()


def frame_count(path: Path) -> int:
    """How many frames a picture has."""
    with opened(path) as image:
        return int(getattr(image, "n_frames", 1))


def is_animated(path: Path) -> bool:
    """Whether a file is a picture of several frames that are shown one after the other."""
    if not is_picture(path):
        return False
    try:
        with opened(path) as image:
            return image.format in ("WEBP", "PNG") and bool(getattr(image, "is_animated", False))
    except NotAVideoError:
        return False


def check_animated_suffix(target: Path, output: Path) -> None:
    """Raise CodecError unless an animated target's output can have all its frames."""
    if output.suffix.lower() not in ANIMATED_SUFFIXES:
        raise CodecError(
            f"{target} is animated ({frame_count(target)} frames), and {output.name} would not be; "
            f"end it in {' or '.join(ANIMATED_SUFFIXES)}"
        )
