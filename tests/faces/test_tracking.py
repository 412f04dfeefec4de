from __future__ import annotations

import numpy as np
import pytest

from tests.faces.scenes import backdrop, noisy, place
from vidswap.faces.detection import Face
from vidswap.faces.smoothing import mesh_diagonal
from vidswap.faces.track import is_same_face
from vidswap.faces.tracking import MAX_DELAY, FaceTracker, TrackedFrame

FPS = 30.0


def scene(*heads, seed=0, number=0):
    """A noisy frame with heads given as (name, x)."""
    frame = backdrop(seed)
    for name, x in heads:
        frame = place(frame, name, x, 270)
    return noisy(frame, number)


def track(frames, detector, finder, fps=FPS, **options) -> list[TrackedFrame]:
    tracker = FaceTracker(detector, finder, **options)
    answers = []
    for number, frame in enumerate(frames):
        answers += tracker.update(number, frame, number / fps)
    return answers + tracker.flush()


def ids(answers) -> list[list[int]]:
    return [sorted(face.track_id for face in answer.faces) for answer in answers]


def xs(answers, track_id) -> dict[int, float]:
    """Where a track's face is in each frame it is in."""
    return {
        answer.index: float(face.landmarks[:, 0].mean())
        for answer in answers
        for face in answer.faces
        if face.track_id == track_id
    }


class CountingDetector:
    """The detector, counting its runs and blind where told so."""

    def __init__(self, detector, blind=()):
        self.detector, self.blind, self.calls = detector, blind, 0

    def detect(self, rgb):
        self.calls += 1
        return [] if self.calls - 1 in self.blind else self.detector.detect(rgb)


def test_every_frame_comes_back_once_in_order_under_the_callers_index(detector, finder):
    tracker = FaceTracker(detector, finder)
    answers = []
    for number in range(25):
        ready = tracker.update(100 + 3 * number, scene(("collins", 400)), number / FPS)
        answers += ready
        assert number + 1 - len(answers) <= MAX_DELAY
    answers += tracker.flush()
    assert [answer.index for answer in answers] == [100 + 3 * n for n in range(25)]
    assert tracker.flush() == []


def test_a_single_picture_is_answered_by_flush(detector, finder):
    answers = track([scene(("collins", 400), ("hopper", 700))], detector, finder)
    assert len(answers) == 1
    assert ids(answers) == [[0, 1]]


def test_one_moving_face_keeps_its_track(detector, finder):
    frames = [scene(("collins", 300 + 9 * i), number=i) for i in range(40)]
    answers = track(frames, detector, finder)
    assert ids(answers) == [[0]] * 40
    assert all(face.detected for answer in answers for face in answer.faces)
    steps = np.diff(list(xs(answers, 0).values()))
    assert np.abs(steps - 9).max() < 1.5


def test_smoothed_landmarks_shimmer_less_than_those_found(detector, finder):
    answers = track([scene(("collins", 400), number=i) for i in range(30)], detector, finder)
    found = np.stack([a.faces[0].face.landmarks for a in answers])
    smoothed = np.stack([a.faces[0].landmarks for a in answers])
    assert smoothed.std(axis=0).mean() < 0.6 * found.std(axis=0).mean()
    assert np.abs(smoothed.mean(axis=0) - found.mean(axis=0)).max() < 0.01 * mesh_diagonal(found[0])


def test_a_gap_of_three_frames_is_bridged_between_its_ends(detector, finder):
    frames = [scene(("collins", 300 + 6 * i), number=i) for i in range(24)]
    whole = track(frames, detector, finder)
    for i in (10, 11, 12):
        frames[i] = scene(number=i)
    answers = track(frames, detector, finder)
    assert ids(answers) == [[0]] * 24
    assert [a.index for a in answers if not a.faces[0].detected] == [10, 11, 12]
    for i in (10, 11, 12):
        error = answers[i].faces[0].landmarks - whole[i].faces[0].landmarks
        assert np.abs(error).mean() < 1.0


def test_a_black_gap_is_bridged_too(detector, finder):
    frames = [scene(("collins", 400), number=i) for i in range(20)]
    frames[8:11] = [np.zeros_like(frames[0])] * 3
    assert ids(track(frames, detector, finder)) == [[0]] * 20


def test_nothing_is_reported_for_a_gap_too_long_to_bridge(detector, finder):
    frames = [scene(("collins", 400), number=i) for i in range(45)]
    frames[10:30] = [scene(number=i) for i in range(10, 30)]
    answers = track(frames, detector, finder)
    assert [bool(answer.faces) for answer in answers] == [True] * 10 + [False] * 20 + [True] * 15


def test_who_comes_back_into_the_shot_gets_the_old_number(detector, finder):
    frames = [scene(("collins", 400), number=i) for i in range(50)]
    frames[10:30] = [scene(number=i) for i in range(10, 30)]
    frames[38:] = [scene(("collins", 400), ("hopper", 700), number=i) for i in range(38, 50)]
    answers = track(frames, detector, finder)
    assert set(map(tuple, ids(answers))) == {(0,), (), (0, 1)}
    assert set(xs(answers, 1)) == set(range(38, 50))
    assert np.mean(list(xs(answers, 1).values())) > 600


def test_another_person_after_a_gap_is_another_track(detector, finder):
    frames = [scene(("collins", 400), number=i) for i in range(30)]
    frames[10:15] = [scene(number=i) for i in range(10, 15)]
    frames[15:] = [scene(("hopper", 400), number=i) for i in range(15, 30)]
    assert ids(track(frames, detector, finder)) == [[0]] * 10 + [[]] * 5 + [[1]] * 15


def test_a_cut_ends_all_tracks_at_once(detector, finder):
    frames = [scene(("collins", 400), number=i) for i in range(12)]
    frames += [scene(("collins", 420), seed=7, number=i) for i in range(12)]
    tracker = FaceTracker(detector, finder)
    answers, waiting = [], []
    for number, frame in enumerate(frames):
        answers += tracker.update(number, frame, number / FPS)
        waiting.append(number + 1 - len(answers))
    assert waiting[12] == 1, "frames before a cut need not wait for what comes after it"
    assert ids(answers + tracker.flush()) == [[0]] * 12 + [[1]] * 12


def test_no_gap_is_bridged_across_a_cut(detector, finder):
    frames = [scene(("collins", 400), number=i) for i in range(10)] + [scene(number=1)] * 2
    frames += [scene(seed=5, number=1)] * 2
    frames += [scene(("collins", 400), seed=5, number=i) for i in range(10)]
    answers = track(frames, detector, finder)
    assert ids(answers) == [[0]] * 10 + [[]] * 4 + [[1]] * 10


@pytest.mark.parametrize("step", [12, 25])
def test_crossing_faces_keep_their_numbers(step, detector, finder):
    """Collins walks to the right in front of Hopper, who walks to the left."""
    n_frames = 700 // step
    frames = [
        scene(("hopper", 830 - step * i), ("collins", 130 + step * i), number=i)
        for i in range(n_frames)
    ]
    answers = track(frames, detector, finder)
    assert {i for answer in ids(answers) for i in answer} == {0, 1}
    first = 0 if xs(answers, 0)[0] < 480 else 1
    collins, hopper = xs(answers, first), xs(answers, 1 - first)
    assert len(collins) == n_frames
    for index, x in collins.items():
        assert x == pytest.approx(130 + step * index, abs=25)
    apart = [i for i in range(n_frames) if abs(700 - 2 * step * i) > 220]
    for index in apart:
        assert hopper[index] == pytest.approx(830 - step * index, abs=25)


def test_a_face_found_late_is_followed_back_to_its_first_frame(detector, finder):
    frames = [scene(number=i) for i in range(7)]
    frames += [scene(("collins", 400), number=i) for i in range(7, 30)]
    answers = track(frames, detector, finder)
    assert ids(answers) == [[]] * 7 + [[0]] * 23


def test_the_detector_rests_while_all_faces_are_followed(detector, finder):
    counting = CountingDetector(detector)
    track([scene(("collins", 400), number=i) for i in range(30)], counting, finder)
    assert counting.calls == 5


def test_a_blind_detector_does_not_end_a_track(detector, finder):
    frames = [scene(("collins", 400), number=i) for i in range(30)]
    blind = CountingDetector(detector, blind=range(1, 100))
    assert ids(track(frames, blind, finder)) == [[0]] * 30


def test_a_face_seen_in_one_frame_only_is_not_reported(detector, finder):
    frames = [scene(number=i) for i in range(25)]
    frames[12] = scene(("collins", 400), number=12)
    assert ids(track(frames, detector, finder)) == [[]] * 25


def test_frame_times_decide_how_long_a_gap_may_be(detector, finder):
    frames = [scene(("collins", 400), number=i) for i in range(20)]
    frames[8:11] = [scene(number=i) for i in range(8, 11)]
    assert ids(track(frames, detector, finder, fps=30)) == [[0]] * 20
    slow = ids(track(frames, detector, finder, fps=4))
    assert slow == [[0]] * 8 + [[]] * 3 + [[0]] * 9


def test_frames_are_not_written_into(detector, finder):
    frames = [scene(("collins", 400), number=i) for i in range(5)]
    kept = [frame.copy() for frame in frames]
    track(frames, detector, finder)
    np.testing.assert_array_equal(frames, kept)


def test_meshes_of_two_people_are_not_the_same_face():
    points = np.random.default_rng(0).uniform(0, 100, (478, 2)).astype(np.float32)
    one = Face(points, None, 1.0)
    assert is_same_face(one, Face(points + np.float32(5), None, 1.0))
    assert not is_same_face(one, Face(points + np.float32(60), None, 1.0))


def test_frames_with_the_same_time_do_no_harm(detector, finder):
    frames = [scene(("collins", 400), number=i) for i in range(14)]
    frames[6:8] = [scene(number=i) for i in (6, 7)]
    tracker = FaceTracker(detector, finder)
    answers = [a for number, frame in enumerate(frames) for a in tracker.update(number, frame, 1.0)]
    answers += tracker.flush()
    assert ids(answers) == [[0]] * 14
    assert all(np.isfinite(answer.faces[0].landmarks).all() for answer in answers)
