"""Photographs moved into clips: what moves, what does not, and what the nets see of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.media.clips import frame_times
from tests.photographs import astronaut, grace_hopper
from vidswap.animation.clip import SAMPLE_RATE, find_face, make_clip
from vidswap.animation.motion import Pose, blink_at, looking_around, talking
from vidswap.animation.portrait import animate
from vidswap.errors import BadOptionError, NoFaceInSourceError
from vidswap.faces import mesh
from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector
from vidswap.faces.detection import Face
from vidswap.faces.pose import eye_opening, head_pose, mouth_opening
from vidswap.media.probing import probe

SIZE = (320, 240)


class Photograph:
    """A photograph, its face, and the nets that look at its frames."""

    def __init__(self, rgb: np.ndarray) -> None:
        self.rgb = rgb
        self.face = find_face(rgb)
        self.detector, self.finder = BlazeFaceDetector(), AttentionMeshFinder()

    def frames(self, poses: Sequence[Pose]) -> list[np.ndarray]:
        return list(animate(self.rgb, self.face, range(len(poses)), lambda i: poses[int(i)], SIZE))

    def mesh_in(self, frame: np.ndarray) -> np.ndarray:
        face = self.finder.landmarks(frame, self.detector.detect(frame)[0])
        assert face is not None
        return face.landmarks

    def meshes(self, *poses: Pose) -> list[np.ndarray]:
        return [self.mesh_in(frame) for frame in self.frames(poses)]


@pytest.fixture(scope="module")
def collins() -> Iterator[Photograph]:
    photograph = Photograph(astronaut())
    yield photograph
    photograph.detector.close()
    photograph.finder.close()


@pytest.fixture(scope="module")
def hopper() -> Iterator[Photograph]:
    photograph = Photograph(grace_hopper())
    yield photograph
    photograph.detector.close()
    photograph.finder.close()


def test_one_frame_a_time_and_no_sooner_than_asked_for(collins: Photograph) -> None:
    asked: list[int] = []

    def times() -> Iterator[float]:
        for index in itertools.count():
            asked.append(index)
            yield index / 25

    frames = animate(collins.rgb, collins.face, times(), talking, SIZE)
    taken = list(itertools.islice(frames, 5))
    assert asked == [0, 1, 2, 3, 4]
    assert {(frame.shape, frame.dtype) for frame in taken} == {((240, 320, 3), np.dtype(np.uint8))}


@pytest.mark.parametrize("name", ["collins", "hopper"])
def test_mouth_opens_as_far_as_the_motion_says(name: str, request: pytest.FixtureRequest) -> None:
    photograph: Photograph = request.getfixturevalue(name)
    meshes = photograph.meshes(*(Pose(mouth=share) for share in (0.0, 0.3, 0.6, 1.0)))
    openings = [mouth_opening(landmarks) for landmarks in meshes]
    assert np.all(np.diff(openings) > 0.015)
    assert openings[-1] - openings[0] > 0.08


def test_open_mouth_is_dark_inside_and_leaves_the_eyes(hopper: Photograph) -> None:
    shut, wide = hopper.frames([Pose(), Pose(mouth=1.0)])
    landmarks = hopper.mesh_in(wide)
    inside = np.round(landmarks[[13, 14]].mean(axis=0)).astype(int)
    assert wide[inside[1], inside[0]].max() < 90
    assert shut[inside[1], inside[0]].max() > 150
    nose = int(landmarks[mesh.NOSE_TIP, 1])
    assert np.array_equal(shut[:nose], wide[:nose])


def test_eyes_close_at_a_blink_under_skin(collins: Photograph) -> None:
    still, closed = collins.frames([Pose(), Pose(blink=1.0)])
    before, after = collins.mesh_in(still), collins.mesh_in(closed)
    assert eye_opening(before) > 0.3
    assert eye_opening(after) < 0.5 * eye_opening(before)
    for iris in (mesh.RIGHT_IRIS, mesh.LEFT_IRIS):
        x, y = np.round(before[iris[0]]).astype(int)
        # Above the line where the lids meet, at the lower lid, there was the eye.
        open_eye, lid = (f[y - 2 : y + 1, x - 1 : x + 2].mean(axis=2) for f in (still, closed))
        cheek = still[y + 24 : y + 28, x - 2 : x + 3].mean()
        assert open_eye.min() < 0.3 * cheek
        assert lid.min() > 0.5 * cheek


@pytest.mark.parametrize("axis", ["yaw", "pitch", "roll"])
def test_head_turns_the_way_the_pose_says(collins: Photograph, axis: str) -> None:
    low, high = collins.meshes(replace(Pose(), **{axis: -8.0}), replace(Pose(), **{axis: 8.0}))
    turns = {
        name: getattr(head_pose(high), name) - getattr(head_pose(low), name)
        for name in ("yaw", "pitch", "roll")
    }
    others = [abs(turn) for name, turn in turns.items() if name != axis]
    assert 6.0 < turns[axis] < 20.0
    assert max(others) < 0.4 * turns[axis]


def test_picture_far_from_the_head_stands_still(collins: Photograph) -> None:
    moved = Pose(yaw=10.0, pitch=-5.0, roll=3.0, blink=0.7, mouth=0.8)
    still, turned = (frame.astype(int) for frame in collins.frames([Pose(), moved]))
    change = np.abs(turned - still).max(axis=2)
    low, high = (side.astype(int) for side in _box(collins.mesh_in(still.astype(np.uint8))))
    assert change[:, :8].max() == change[:, -8:].max() == 0
    assert change[low[1] : high[1], low[0] : high[0]].mean() > 5.0


def test_zoom_and_pan_are_the_cameras(collins: Photograph) -> None:
    still, near, aside = collins.meshes(Pose(), Pose(zoom=1.25), Pose(zoom=1.25, pan=(0.05, -0.05)))
    (low, high), (near_low, near_high) = _box(still), _box(near)
    assert (near_high - near_low) / (high - low) == pytest.approx(1.25, abs=0.04)
    # A view that goes right and up by a twentieth of itself, 1.25 times as large.
    shift = np.median(aside - near, axis=0)
    assert shift == pytest.approx([-0.05 * 1.25 * SIZE[0], 0.05 * 1.25 * SIZE[1]], abs=1.0)


@pytest.mark.parametrize("motion", [talking, looking_around])
def test_faces_move_smoothly_from_frame_to_frame(collins: Photograph, motion: object) -> None:
    frames = animate(collins.rgb, collins.face, np.arange(0.0, 2.0, 0.04), motion, SIZE)  # type: ignore[arg-type]
    noses = np.stack([collins.mesh_in(frame)[mesh.NOSE_TIP] for frame in frames])
    steps = np.linalg.norm(np.diff(noses, axis=0), axis=1)
    assert np.ptp(noses[:, 0]) > 4.0
    assert steps.max() < 2.5


def test_both_motions_blink_twice_in_five_seconds_and_talking_opens_the_mouth() -> None:
    times = np.arange(0.0, 5.0, 0.04)
    for motion in (talking, looking_around):
        shut = np.array([motion(t).blink > 0.9 for t in times])
        assert np.count_nonzero(shut[1:] & ~shut[:-1]) == 2
        assert np.mean([motion(t).blink == 0.0 for t in times]) > 0.7
    mouths = [talking(t).mouth for t in times]
    assert min(mouths) < 0.05 < 0.5 < max(mouths)


def test_blink_falls_faster_than_it_rises() -> None:
    closing = sum(blink_at(t, (1.0,)) for t in np.arange(0.5, 1.0, 0.001))
    opening = sum(blink_at(t, (1.0,)) for t in np.arange(1.0, 1.5, 0.001))
    assert blink_at(1.0, (1.0,)) == 1.0
    assert blink_at(0.5, (1.0,)) == blink_at(1.5, (1.0,)) == 0.0
    assert opening > 1.5 * closing


def test_a_mesh_without_depth_is_refused(collins: Photograph) -> None:
    flat = Face(collins.face.landmarks, None, 1.0)
    with pytest.raises(BadOptionError, match="no depth"):
        next(animate(collins.rgb, flat, [0.0]))


def test_a_photograph_without_a_face_is_refused() -> None:
    with pytest.raises(NoFaceInSourceError, match="no face"):
        find_face(np.full((200, 200, 3), 128, np.uint8))


def test_clip_has_every_frame_and_a_tune_as_long(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, astronaut(), talking, seconds=0.48, size=SIZE)
    info = probe(path)
    assert (info.width, info.height, info.frames) == (*SIZE, 12)
    assert [float(t) for t in frame_times(path)] == pytest.approx(np.arange(12) / 25)
    assert [stream.codec for stream in info.streams] == ["h264", "aac"]
    sound = info.streams[1]
    assert (sound.sample_rate, sound.channels) == (SAMPLE_RATE, 1)
    assert sound.duration == pytest.approx(0.48, abs=0.05)
    assert list(tmp_path.iterdir()) == [path]


def _box(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return landmarks.min(axis=0), landmarks.max(axis=0)
