"""Any frame of a target by its number, and pictures of it for the page."""

from __future__ import annotations

from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.errors import BadOptionError, NotAVideoError
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.picture import is_picture, read_picture
from vidswap.media.probing import probe
from vidswap.media.sampling import packet_times, spaced_frames
from vidswap.runtime.text import shown

Picture = NDArray[np.uint8]
_KEPT = 8  # frames
_JPEG_QUALITY = 88
_STRIP = 12  # pictures along a clip
_STRIP_HEIGHT = 72


def file_version(path: Path) -> tuple[str, int, int]:
    """Tells a file from the one that was there before."""
    found = path.stat()
    return str(path), found.st_mtime_ns, found.st_size


class Target:
    """A clip or picture whose frames are asked for in any order. Raises as `VideoReader`."""

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise NotAVideoError(
                f"{path} is a folder; the page shows clips and pictures, and vidswap run takes "
                "image sequences"
            )
        self.path, self.version = path, file_version(path)
        self.info = probe(path)
        self._kept: OrderedDict[int, Frame] = OrderedDict()
        self._reader: VideoReader | None = None
        self._position: int | None = None
        self.is_picture = is_picture(path)
        if self.is_picture:
            self._times: tuple[int, ...] = (0,)
            self._keys: tuple[int, ...] = ()
            self._tick, self._zero = Fraction(1), Fraction(0)
            return
        times = packet_times(path)
        if not times.frames:
            raise NotAVideoError(f"{path} has no frame that can be shown")
        self._times, self._keys, self._tick = times.frames, times.keys, times.time_base
        self._reader = VideoReader(path)
        self._zero = self._reader.zero

    @property
    def zero(self) -> float:
        """The clip's beginning on its own clock, in seconds."""
        return float(self._zero)

    @property
    def count(self) -> int:
        """How many frames it has."""
        return len(self._times)

    def seconds(self, number: int) -> float:
        """When a frame is shown, from the clip's beginning."""
        return float(self._times[number] * self._tick - self._zero)

    def frame(self, number: int) -> Frame:
        """Frame `number`, from 0. Raises BadOptionError, NotAVideoError."""
        if not 0 <= number < self.count:
            raise BadOptionError(f"frame {number}; {self.path.name} has 0 to {self.count - 1}")
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        frame = read_picture(self.path) if self._reader is None else self._decoded(number)
        self._kept[number] = frame
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return frame

    def facts(self) -> dict[str, Any]:
        """What the page says of it."""
        info = self.info
        return {
            "path": str(self.path),
            "name": shown(self.path.name)[1:-1],
            "kind": "picture" if self.is_picture else "clip",
            "width": info.width,
            "height": info.height,
            "fps": round(info.fps, 3),
            "frames": self.count,
            "seconds": [round(self.seconds(n), 4) for n in range(min(self.count, 200_000))],
            "duration": round(info.duration, 3),
            "suffix": self.path.suffix.lower(),
            "synthetic": info.is_synthetic,
        }

    def strip(self) -> Picture:
        """Small pictures along the clip, side by side (H, W, 3)."""
        tiles = [_as_high(frame.rgb, _STRIP_HEIGHT) for frame in spaced_frames(self.path, _STRIP)]
        return np.concatenate(tiles, axis=1)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _decoded(self, number: int) -> Frame:
        assert self._reader is not None
        pts, before = self._times[number], self._position
        onwards = before is not None and pts > before
        if not onwards or any(before < key <= pts for key in self._keys if before is not None):
            self._reader.go_to(pts)
        frame = self._reader.frame_at(pts, seek=False)
        if frame is None:
            self._position = None
            raise NotAVideoError(f"{self.path} breaks off before frame {number}; choose an earlier")
        self._position = frame.pts
        return frame


def as_png(picture: Picture) -> bytes:
    """Every pixel as it is; (H, W, 3) RGB or (H, W, 4) RGBA."""
    turned = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
    return _coded(cv2.cvtColor(picture, turned), ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1])


def as_jpeg(picture: Picture, widest: int | None = None) -> bytes:
    """Quickly, and no wider than so many pixels."""
    if widest is not None and picture.shape[1] > widest:
        height = max(1, round(picture.shape[0] * widest / picture.shape[1]))
        size = (widest, height)
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    turned = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return _coded(turned, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])


def thumbnail(path: Path, size: int = 160) -> bytes:
    """A source as a small square JPEG: a picture, the middle of a clip, the first of a folder."""
    if path.is_dir():
        found = next((p for p in sorted(path.iterdir()) if is_picture(p)), None)
        if found is None:
            raise NotAVideoError(f"{path} holds no picture")
        path = found
    frame = next(spaced_frames(path, 1), None)
    if frame is None:
        raise NotAVideoError(f"{path} has no frame that can be shown")
    height, width = frame.rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 3, (width - side) // 2  # faces are rather above the middle
    square = frame.rgb[top : top + side, left : left + side]
    small = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    return as_jpeg(np.asarray(small, np.uint8))


def _as_high(rgb: Picture, height: int) -> Picture:
    width = max(1, round(rgb.shape[1] * height / rgb.shape[0]))
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _coded(bgr: Any, suffix: Literal[".png", ".jpg"], settings: list[int]) -> bytes:
    done, content = cv2.imencode(suffix, bgr, settings)
    if not done:
        raise NotAVideoError("the picture cannot be shown")
    return bytes(content)
