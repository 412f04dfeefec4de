"""Which pixels of a frame or of its faces are to be filled, for the stages of `inpaint_path`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.choices import RegionName
from vidswap.errors import BadOptionError
from vidswap.faces.align import CROP_SIZE, invert_affine
from vidswap.faces.occlusion import GLASSES, OTHER, occlusions
from vidswap.inpainting.masks import Mask, check_mask, colour_key, occluder_mask, region_mask
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.picture import is_picture, open_picture
from vidswap.nets import one_core
from vidswap.swap.faces import AlignedFace
from vidswap.swap.state import fingerprint

WHITE = 127  # grey level above which a mask's pixel is to be filled


class RegionHoles:
    """A part of every face by its landmarks, which the tracker has smoothed."""

    def __init__(self, region: RegionName) -> None:
        self.region = region

    def of_faces(self, faces: Sequence[AlignedFace]) -> list[Mask | None]:
        """The hole of each face, (256, 256)."""
        return [region_mask(face.landmarks, self.region) for face in faces]


class OccluderHoles:
    """What lies before every face, as the occlusion net finds it."""

    def __init__(self, glasses_only: bool) -> None:
        self.channels = (GLASSES,) if glasses_only else (GLASSES, OTHER)

    def of_faces(self, faces: Sequence[AlignedFace]) -> list[Mask | None]:
        """The hole of each face, (256, 256); None where nothing lies before it."""
        with one_core():
            found = occlusions([face.crop for face in faces])
        masks = [occluder_mask(part[list(self.channels)].max(axis=0), CROP_SIZE) for part in found]
        return [mask if mask.any() else None for mask in masks]


class FrameHoles:
    """Holes in pixels of the frames, which stay where they are whatever the face does.

    Masks are asked for once per frame, in order, and kept until the frame is finished.
    """

    def __init__(self, masks: Callable[[int, NDArray[np.uint8]], Mask]) -> None:
        self._masks = masks
        self._of_frame: dict[int, Mask] = {}
        self._known: NDArray[np.uint8] | None = None
        self._decoded: dict[int, int] = {}  # by time: what was decoded, before it was filled

    @classmethod
    def of_colour(cls, colour: tuple[int, int, int]) -> FrameHoles:
        """Whatever has a colour, RGB."""
        return cls(lambda _, rgb: colour_key(rgb, colour))

    @classmethod
    def of_file(
        cls, path: Path, start: float | None = None, end: float | None = None
    ) -> FrameHoles:
        """The white of a picture, or of a clip's frames in step with the target's.

        Raises InputNotFoundError, NotAVideoError; BadOptionError, also later, for masks that do
        not fit.
        """
        if is_picture(path):
            mask = open_picture(path).frame.rgb.max(axis=2) > WHITE

            def same(_: int, rgb: NDArray[np.uint8]) -> Mask:
                return check_mask(mask, rgb.shape[:2], str(path))

            return cls(same)
        return cls(_ClipMasks(path, start, end))

    def take(self, index: int, rgb: NDArray[np.uint8]) -> Mask:
        """The hole (H, W) of frame `index`, remembered until `give_back`."""
        mask = self._masks(index, rgb)
        self._of_frame[index] = mask
        return mask

    def know(self, filled: NDArray[np.uint8]) -> None:
        """What a still picture looks like by a first filling: faces are found in that."""
        self._known = filled

    @property
    def known(self) -> NDArray[np.uint8] | None:
        """What `know` was told, (H, W, 3) uint8 RGB."""
        return self._known

    def remember(self, frame: Frame) -> None:
        """Note what was decoded, whose hole is filled before faces are looked for."""
        self._decoded[frame.pts] = fingerprint(frame)

    def as_decoded(self, held: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        """Times and CRC-32 of frames that were filled, as they are decoded again."""
        return tuple((pts, self._decoded.get(pts, crc)) for pts, crc in held)

    def forget(self, frame: Frame) -> None:
        """A frame is no longer waited for."""
        self._decoded.pop(frame.pts, None)

    def of_frame(self, index: int) -> Mask:
        """The hole of a frame that is on its way."""
        return self._of_frame[index]

    def give_back(self, index: int) -> Mask:
        """The hole of a frame, which is finished with it."""
        return self._of_frame.pop(index)


class _ClipMasks:
    """The white of a clip's frames, by number; numbers come in order."""

    def __init__(self, path: Path, start: float | None, end: float | None) -> None:
        self.path, self.start, self.end = path, start, end
        self._frames: Iterator[NDArray[np.uint8]] | None = None
        self._next = 0

    def __call__(self, index: int, rgb: NDArray[np.uint8]) -> Mask:
        frames = self._frames = self._frames or self._read()
        mask: Mask | None = None
        while self._next <= index:
            grey = next(frames, None)
            if grey is None:
                raise BadOptionError(
                    f"{self.path} ends after {self._next} frames and the target goes on; give a "
                    "clip with a mask for every frame, or one picture for all"
                )
            mask, self._next = grey > WHITE, self._next + 1
        assert mask is not None
        if mask.shape != rgb.shape[:2]:
            check_mask(mask, rgb.shape[:2], str(self.path))
        if mask.all():
            check_mask(mask, rgb.shape[:2], f"{self.path}, frame {index}")
        return mask

    def _read(self) -> Iterator[NDArray[np.uint8]]:
        with VideoReader(self.path, self.start, self.end) as reader:
            for frame in reader:
                yield frame.rgb.max(axis=2)


FaceHoles = RegionHoles | OccluderHoles


def hole_in_crop(mask: Mask, affine: NDArray[np.float64]) -> Mask | None:
    """A frame's hole (H, W) in the pixels of an aligned crop, (256, 256); None where it has none.

    A pixel of the crop that shows anything of the hole belongs to it.
    """
    shrink = 1.0 / float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    wide = mask.astype(np.uint8) * 255
    if shrink > 1.0:
        side = 2 * int(np.ceil(shrink / 2)) + 1
        wide = np.asarray(cv2.dilate(wide, np.ones((side, side), np.uint8)), np.uint8)
    crop = cv2.warpAffine(wide, affine, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR)
    hole: Mask = np.asarray(crop) > 0
    return hole if hole.any() else None


def hole_in_frame(hole: Mask, affine: NDArray[np.float64], shape: tuple[int, int]) -> Mask:
    """A crop's hole (256, 256) in the pixels of a frame of `shape` (H, W)."""
    grey = hole.astype(np.uint8) * 255
    height, width = shape
    warped = cv2.warpAffine(grey, invert_affine(affine), (width, height), flags=cv2.INTER_LINEAR)
    mask: Mask = np.asarray(warped) > WHITE
    return mask
