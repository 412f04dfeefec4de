"""Several faces in one frame: each its own source, and the frame written once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.media.clips import make_clip
from tests.photographs import astronaut, grace_hopper
from vidswap.faces.tracking import TrackedFace
from vidswap.media import planes
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.nets import Nets, load_nets
from vidswap.people.source import SourceReader
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap.faces import AlignedFace, FaceSource, FrameFaces, SourceFace
from vidswap.swap.options import SwapOptions
from vidswap.swap.path import swap_frames
from vidswap.swap.stages import align, blend_faces, smooth

PLAIN = SwapOptions(face="all", colour_match=0.0, temporal_smoothing=0.0)


@pytest.fixture(scope="module")
def nets(untrained: Path) -> Iterator[Nets]:
    loaded = load_nets(untrained)
    yield loaded
    loaded.close()


def both() -> np.ndarray:
    """Two people side by side, (512, 944, 3)."""
    return np.concatenate([astronaut(), cv2.resize(grace_hopper(), (432, 512))], axis=1)


class LeftAndRight:
    """Gives a face the first source on the left of the picture, the second on the right."""

    def __init__(self, left: FaceSource | None, right: FaceSource | None) -> None:
        self._sources = left, right

    def assign(
        self, rgb: np.ndarray, faces: Sequence[TrackedFace]
    ) -> list[tuple[TrackedFace, FaceSource]]:
        chosen = []
        for face in faces:
            source = self._sources[int(face.landmarks[:, 0].mean() > 512)]
            if source is not None:
                chosen.append((face, source))
        return chosen

    def state(self) -> Any:
        return None

    def restore(self, state: Any) -> None:
        pass


def test_faces_of_one_batch_get_sources_of_their_own(nets: Nets, source_picture: Path) -> None:
    reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
    one = reader.read([source_picture])
    identity = one.identity.map(lambda x: -x)
    two = SourceFace(identity)  # somebody else, and no photograph to show
    frame = Frame.from_rgb(both())

    def swapped(left: FaceSource | None, right: FaceSource | None) -> np.ndarray:
        (after,) = swap_frames([frame], LeftAndRight(left, right), nets, PLAIN)
        return after.rgb

    together = swapped(one, two)
    np.testing.assert_allclose(together[:, :512], swapped(one, None)[:, :512], atol=1)
    np.testing.assert_allclose(together[:, 512:], swapped(None, two)[:, 512:], atol=1)
    np.testing.assert_array_equal(swapped(one, None)[:, 512:], frame.rgb[:, 512:])
    assert (together[:, 512:] != swapped(None, one)[:, 512:]).any()


def test_a_frame_with_several_faces_is_copied_and_written_once(
    nets: Nets, source_picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "two.mp4", picture=lambda *_: both(), size=(944, 512), frames=1)
    with VideoReader(clip) as clip_frames:
        (frame,) = clip_frames
    reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
    source = reader.read([source_picture])
    faces = [align(frame.rgb, face.landmarks, source) for face in reader.faces(frame.rgb)]
    assert len(faces) == 2
    answers = [255 - face.crop for face in faces]
    item = FrameFaces(frame, 0, faces, answers)
    one_by_one = frame
    for face, answer in zip(faces, answers, strict=True):
        one_by_one = blend_faces(FrameFaces(one_by_one, 0, [face], [answer]), "outline")
    copies = []
    copy = planes.writable_copy
    monkeypatch.setattr(planes, "writable_copy", lambda f: copies.append(f) or copy(f))
    at_once = blend_faces(item, "outline")
    assert len(copies) == 1
    np.testing.assert_array_equal(at_once.rgb, one_by_one.rgb)
    for here, there in zip(at_once.coded().planes, one_by_one.coded().planes, strict=True):
        np.testing.assert_array_equal(np.frombuffer(here, np.uint8), np.frombuffer(there, np.uint8))
    assert (at_once.rgb != frame.rgb).any()


def test_a_frame_without_a_face_to_swap_is_given_back_itself() -> None:
    frame = Frame.from_rgb(both())
    assert blend_faces(FrameFaces(frame, 0, [])) is frame


def test_a_face_outside_the_frame_changes_nothing(nets: Nets, source_picture: Path) -> None:
    frame = Frame.from_rgb(both())
    reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
    face = align(frame.rgb, reader.faces(frame.rgb)[0].landmarks, reader.read([source_picture]))
    away = face.affine.copy()
    away[:, 2] += 10_000
    item = FrameFaces(frame, 0, [replace(face, affine=away)], [face.crop])
    assert blend_faces(item) is frame


def test_nothing_of_one_persons_face_is_carried_over_to_the_next(nets: Nets) -> None:
    crop = cv2.resize(astronaut(), (256, 256))
    identity = nets.encoder(torch.zeros(1, 3, 256, 256))
    one, two = SourceFace(identity), SourceFace(identity)
    landmarks = np.zeros((478, 2), np.float32)
    first = AlignedFace(np.eye(2, 3), landmarks, crop, crop, one, track=1)
    frame, bright, dark = Frame.from_rgb(both()), crop // 2 + 100, crop // 2

    def second(source: SourceFace) -> np.ndarray:
        items = [
            FrameFaces(frame, 0, [first], [bright]),
            FrameFaces(frame, 1, [replace(first, source=source)], [dark]),
        ]
        return list(smooth(items, 0.85, StageClock()))[1].swapped[0]

    np.testing.assert_array_equal(second(two), dark)
    assert second(one).mean() > dark.mean() + 20
