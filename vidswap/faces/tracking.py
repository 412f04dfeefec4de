"""Tracking: the same person keeps the same track from frame to frame, and short misses are bridged.

A track follows its face with the landmark net alone, looking where the face was in the frame
before. The detector runs a few times a second, at cuts, and whenever a face is lost. Frames are
answered a little late: a face that is lost and found again meanwhile is filled in between, a face
that the detector finds late is followed back to where it came in, and landmarks are smoothed with
the frames on both sides.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vidswap.faces.align import face_affine, scale_affine
from vidswap.faces.cuts import CutDetector
from vidswap.faces.detection import (
    Detection,
    Face,
    FaceDetector,
    FloatArray,
    Image,
    LandmarkFinder,
)
from vidswap.faces.smoothing import Smoothing, face_size, smooth_landmarks

DETECT_EVERY = 0.2  # seconds between two runs of the detector while all faces are followed
MAX_BRIDGE = 0.3  # seconds for which a lost face is waited for
MAX_DELAY = 9  # frames by which an answer is late at most; bounds the frames held in memory
MIN_FOUND = 3  # frames in which a face must be found unless its shot is shorter

SAME_FACE_DISTANCE = 0.15  # mean landmark distance, in face sizes, below which two meshes are one
MAX_JUMP = 0.4  # face sizes a face can move from one frame to the next
MAX_GROWTH = 1.4  # factor by which a face's size can change from one frame to the next

VELOCITY_FRAMES = 3  # frames over which a face's speed is measured

LOOK_SIZE = 12  # pixels, side of the thumbnail that tells people in one shot apart
LOOK_SAMPLES = 3  # samples per thumbnail pixel and axis
LOOK_PART = (52.0, 204.0)  # pixels of the 256-pixel crop, both axes: the face without background
# Of 13 clips of talking people, one person's looks differed from frame to frame by 0.33 at most, a
# sixth of a second apart by 0.39 in 95 of 100 cases; those of two persons by 0.61 at least.
MAX_LOOK_CHANGE = 0.5
MAX_STRANGENESS = 1.2  # above it a face found after a gap is taken for another person's
LOOK_MEMORY = 0.1  # share of the newest frame in what a track remembers of its face's look
MAX_LOOK_RETURN = 0.5  # up to it a face that comes back later is taken for the same person's
UNNAMED = -1  # the number of a track that has not been reported yet
REMEMBER = 5.0  # seconds for which a person who left the shot may come back


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face in one frame of a track.

    `landmarks` (478, 2) float32 pixels are smoothed over time; `face` is as the net found it, or
    interpolated where `detected` is false. A person keeps `track_id` until lost or a cut.
    """

    track_id: int
    face: Face
    landmarks: FloatArray
    detected: bool


@dataclass(frozen=True, eq=False)
class FrameFaces:
    """All faces of the frame that was given to the tracker with this `index`."""

    index: int
    faces: list[TrackedFace]


class FaceTracker:
    """Follows all faces of one clip; frames go in one by one and come back with their faces.

    Every frame comes back exactly once and in order, at most `max_delay` frames or `max_bridge`
    seconds late; `flush` gives back the rest. A face that is lost and found again within that time
    is interpolated over the gap; otherwise nothing is reported for the gap and the track ends. A
    cut ends all tracks.
    """

    def __init__(
        self,
        detector: FaceDetector,
        landmark_finder: LandmarkFinder,
        *,
        cuts: CutDetector | None = None,
        smoothing: Smoothing | None = None,
        detect_every: float = DETECT_EVERY,
        max_bridge: float = MAX_BRIDGE,
        max_delay: int = MAX_DELAY,
    ) -> None:
        self._detector, self._finder = detector, landmark_finder
        self._cuts = cuts or CutDetector()
        self._smoothing = smoothing or Smoothing()
        self._detect_every, self._max_bridge, self._max_delay = detect_every, max_bridge, max_delay
        self._held: deque[_HeldFrame] = deque()
        self._tracks: list[_Track] = []
        self._gone: list[_Track] = []
        self._n_frames = 0
        self._n_tracks = 0
        self._last_detection: float | None = None

    def update(self, index: int, rgb: Image, seconds: float) -> list[FrameFaces]:
        """Take the next frame, (H, W, 3) uint8 RGB shown at `seconds`; give the frames now ready.

        The frame is held, not copied, until it is given back: do not write into it meanwhile.
        """
        answers: list[FrameFaces] = []
        if self._cuts.is_cut(rgb):
            answers = self.flush()
        frame = _HeldFrame(self._n_frames, index, rgb, seconds)
        self._n_frames += 1
        self._held.append(frame)
        self._follow(frame)
        if self._detection_is_due(frame):
            self._detect(frame)
        while self._is_ready(self._held[0], frame):
            answers.append(self._answer(self._held.popleft()))
        return answers

    def flush(self) -> list[FrameFaces]:
        """End all tracks and give back the frames still held."""
        answers = [self._answer(frame) for frame in self._held]
        self._held.clear()
        self._tracks, self._gone = [], []
        self._last_detection = None
        return answers

    def _follow(self, frame: "_HeldFrame") -> None:
        """Look for every track's face where it was last."""
        found: list[tuple[_Track, _Sighting]] = []
        for track in self._tracks:
            face = self._finder.landmarks(frame.rgb, track.last().face)
            if face is None:
                continue
            sighting = _sighting(frame, face)
            if track.continues(frame.number, sighting):
                found.append((track, sighting))
        for track, sighting in _without_doubles(found):
            self._see(track, frame, sighting)

    def _see(self, track: "_Track", frame: "_HeldFrame", sighting: "_Sighting") -> None:
        missed = [f for f in self._held if track.last_seen < f.number < frame.number]
        track.see(frame.number, sighting, missed)

    def _detection_is_due(self, frame: "_HeldFrame") -> bool:
        if self._last_detection is None:
            return True
        if not all(track.seen_in(frame.number) for track in self._tracks):
            return True
        # A millisecond's grace, so that rounded timestamps do not put it off by a whole frame.
        return frame.seconds - self._last_detection >= self._detect_every - 1e-3

    def _detect(self, frame: "_HeldFrame") -> None:
        """Find faces anew: give them to the tracks that lost theirs, or begin tracks."""
        self._last_detection = frame.seconds
        known = [t.sightings[frame.number].face for t in self._tracks if t.seen_in(frame.number)]
        fresh: list[_Sighting] = []
        for detection in self._detector.detect(frame.rgb):
            if any(_covers(face, detection) for face in known):
                continue
            face = self._finder.landmarks(frame.rgb, detection)
            if face is not None and not any(is_same_face(face, other) for other in known):
                known.append(face)
                fresh.append(_sighting(frame, face))
        lost = [track for track in self._tracks if not track.seen_in(frame.number)]
        for track, sighting in _reunions(lost, fresh):
            self._see(track, frame, sighting)
            fresh.remove(sighting)
        for sighting in fresh:
            self._begin_track(frame, sighting)

    def _begin_track(self, frame: "_HeldFrame", sighting: "_Sighting") -> None:
        """A new track, followed back through the frames still held to where the face came in."""
        track = _Track(frame.number, sighting)
        later = sighting
        for held in reversed([f for f in self._held if f.number < frame.number]):
            face = self._finder.landmarks(held.rgb, later.face)
            if face is None:
                break
            earlier = _sighting(held, face)
            others = [t.sightings[held.number].face for t in self._tracks if t.seen_in(held.number)]
            if not is_next(later, earlier) or any(is_same_face(face, other) for other in others):
                break
            track.precede(held.number, earlier)
            later = earlier
        self._tracks.append(track)

    def _identify(self, track: "_Track") -> int:
        """The number of a track about to be reported: that of a person who left, or a new one.

        By now the track has been followed for a while, and its look is known better than at first.
        """
        alike = [
            gone for gone in self._gone if look_difference(gone.look, track.look) <= MAX_LOOK_RETURN
        ]
        if alike:
            returned = min(alike, key=lambda gone: look_difference(gone.look, track.look))
            self._gone.remove(returned)
            return returned.track_id
        self._n_tracks += 1
        return self._n_tracks - 1

    def _is_ready(self, oldest: "_HeldFrame", newest: "_HeldFrame") -> bool:
        waited = newest.seconds - oldest.seconds
        return newest.number - oldest.number >= self._max_delay or waited >= self._max_bridge

    def _answer(self, frame: "_HeldFrame") -> FrameFaces:
        newest = self._n_frames - 1
        faces = []
        for track in self._tracks:
            if track.seen_in(frame.number) and not track.was_passing(newest):
                if track.track_id == UNNAMED:
                    track.track_id = self._identify(track)
                faces.append(track.tracked_face(frame.number, self._smoothing))
        for track in list(self._tracks):
            # Once the first frame of a gap is given back, the gap cannot be filled any more.
            if track.last_seen < frame.number:
                self._tracks.remove(track)
                if track.track_id != UNNAMED:
                    self._gone.append(track)
            track.forget_before(frame.seconds - self._smoothing.window)
        self._gone = [t for t in self._gone if frame.seconds - t.last().seconds <= REMEMBER]
        return FrameFaces(frame.index, faces)


@dataclass(frozen=True, eq=False)
class _HeldFrame:
    number: int  # counts the tracker's own frames; `index` is the caller's name for this one
    index: int
    rgb: Image
    seconds: float


@dataclass(frozen=True, eq=False)
class _Sighting:
    """A face of a track in one frame, found by the net or interpolated over a gap."""

    face: Face
    seconds: float
    look: FloatArray
    found: bool


class _Track:
    """One person's face through the frames of a shot."""

    def __init__(self, number: int, sighting: _Sighting) -> None:
        self.track_id = UNNAMED
        self.sightings = {number: sighting}
        self.last_seen = number
        self._n_found = 1
        self.look = sighting.look  # over the last frames: the very last may show it half hidden

    def seen_in(self, number: int) -> bool:
        return number in self.sightings

    def last(self) -> _Sighting:
        return self.sightings[self.last_seen]

    def was_passing(self, newest: int) -> bool:
        """Whether the face is gone again after a frame or two: a false alarm, most likely."""
        return self._n_found < MIN_FOUND and self.last_seen < newest

    def see(self, number: int, sighting: _Sighting, missed: Iterable[_HeldFrame]) -> None:
        """Add the face found in a frame; the `missed` frames before it are interpolated."""
        before = self.last()
        for frame in missed:
            share = (frame.seconds - before.seconds) / (sighting.seconds - before.seconds)
            face = _between(before.face, sighting.face, share)
            self.sightings[frame.number] = _Sighting(face, frame.seconds, before.look, False)
        self.sightings[number] = sighting
        self.last_seen = number
        self._n_found += 1
        self.look = (1 - LOOK_MEMORY) * self.look + LOOK_MEMORY * sighting.look

    def precede(self, number: int, sighting: _Sighting) -> None:
        """Add the face found in the frame before the track's first."""
        self.sightings[number] = sighting
        self._n_found += 1

    def continues(self, number: int, sighting: _Sighting) -> bool:
        """Whether the face found where this track's was last is this track's."""
        if number == self.last_seen + 1:
            return is_next(self.last(), sighting)
        return self.strangeness(sighting) < MAX_STRANGENESS

    def strangeness(self, sighting: _Sighting) -> float:
        """How unlike this track's face a sighting is in place, size and look; 0 if the same.

        A face that was moving is expected to have moved on, or to have stopped.
        """
        last = self.last()
        size = face_size(last.face.landmarks)
        step = _centre(sighting.face) - _centre(last.face)
        expected = self._velocity() * (sighting.seconds - last.seconds)
        distance = min(np.hypot(*(step - expected)), np.hypot(*step)) / size
        growth = abs(np.log(face_size(sighting.face.landmarks) / size))
        return float(distance + growth + look_difference(self.look, sighting.look))

    def tracked_face(self, number: int, smoothing: Smoothing) -> TrackedFace:
        """The face in a frame, smoothed with the unbroken run of sightings around that frame."""
        here = self.sightings[number]
        run = [n for n in sorted(self.sightings) if self._is_near(n, here, smoothing.window)]
        landmarks = smooth_landmarks(
            np.stack([self.sightings[n].face.landmarks for n in run]),
            np.array([self.sightings[n].seconds for n in run]),
            run.index(number),
            smoothing,
        )
        return TrackedFace(self.track_id, here.face, landmarks, here.found)

    def forget_before(self, seconds: float) -> None:
        """Drop sightings that no frame still to come needs."""
        self.sightings = {
            number: sighting
            for number, sighting in self.sightings.items()
            if sighting.seconds >= seconds or number >= self.last_seen - VELOCITY_FRAMES
        }

    def _is_near(self, number: int, here: _Sighting, window: float) -> bool:
        return abs(self.sightings[number].seconds - here.seconds) <= window

    def _velocity(self) -> NDArray[np.float64]:
        """Pixels a second (2,) over the last frames; zero when there is only one."""
        last = self.last()
        early = self.sightings.get(self.last_seen - VELOCITY_FRAMES)
        if early is None:
            return np.zeros(2)
        return (_centre(last.face) - _centre(early.face)) / (last.seconds - early.seconds)


def is_same_face(one: Face, other: Face) -> bool:
    """Whether two meshes of one frame lie on the same face."""
    distance = np.hypot(*(one.landmarks - other.landmarks).T).mean()
    size = max(face_size(one.landmarks), face_size(other.landmarks))
    return bool(distance < SAME_FACE_DISTANCE * size)


def look(rgb: Image, face: Face) -> FloatArray:
    """What a face looks like in small: unit vector of its aligned thumbnail, brightness removed.

    It tells people in one shot apart from frame to frame; light, pose and time change it too much
    for more.
    """
    fine = LOOK_SIZE * LOOK_SAMPLES
    affine = face_affine(face.landmarks)
    affine[:, 2] -= LOOK_PART[0]
    affine = scale_affine(affine, fine / (LOOK_PART[1] - LOOK_PART[0]))
    thumbnail = cv2.warpAffine(rgb, affine, (fine, fine), borderMode=cv2.BORDER_REPLICATE)
    thumbnail = cv2.resize(thumbnail, (LOOK_SIZE, LOOK_SIZE), interpolation=cv2.INTER_AREA)
    vector = (thumbnail - thumbnail.mean(axis=(0, 1))).astype(np.float32).ravel()
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)


def look_difference(one: FloatArray, other: FloatArray) -> float:
    """Distance of two looks, from 0 (alike) to 2."""
    return float(np.linalg.norm(one - other))


def is_next(one: _Sighting, other: _Sighting) -> bool:
    """Whether two sightings of neighbouring frames can be the same face, moved a little."""
    size, other_size = face_size(one.face.landmarks), face_size(other.face.landmarks)
    return bool(
        np.hypot(*(_centre(one.face) - _centre(other.face))) < MAX_JUMP * size
        and 1 / MAX_GROWTH < other_size / size < MAX_GROWTH
        and look_difference(one.look, other.look) < MAX_LOOK_CHANGE
    )


def _sighting(frame: _HeldFrame, face: Face) -> _Sighting:
    return _Sighting(face, frame.seconds, look(frame.rgb, face), True)


def _centre(face: Face) -> NDArray[np.float64]:
    centre: NDArray[np.float64] = face.landmarks.mean(axis=0, dtype=np.float64)
    return centre


def _covers(face: Face, detection: Detection) -> bool:
    """Whether a detection's centre lies in the box around a mesh."""
    left, top, right, bottom = face.box
    x, y = detection.box.reshape(2, 2).mean(axis=0)
    return bool(left < x < right and top < y < bottom)


def _between(one: Face, other: Face, share: float) -> Face:
    """The face a `share` in [0, 1] of the way from one to the other."""
    z = None
    if one.landmarks_z is not None and other.landmarks_z is not None:
        z = ((1 - share) * one.landmarks_z + share * other.landmarks_z).astype(np.float32)
    landmarks = (1 - share) * one.landmarks + share * other.landmarks
    return Face(landmarks.astype(np.float32), z, min(one.score, other.score))


def _without_doubles(
    found: Sequence[tuple[_Track, _Sighting]],
) -> list[tuple[_Track, _Sighting]]:
    """Where two tracks ended up on one face, leave it to the one it is more like."""
    kept: list[tuple[_Track, _Sighting]] = []
    for track, sighting in sorted(found, key=lambda pair: pair[0].strangeness(pair[1])):
        if not any(is_same_face(sighting.face, other.face) for _, other in kept):
            kept.append((track, sighting))
    return kept


def _reunions(lost: Sequence[_Track], fresh: Sequence[_Sighting]) -> list[tuple[_Track, _Sighting]]:
    """Lost tracks and newly found faces that belong together, at the least total strangeness."""
    if not lost or not fresh:
        return []
    strangeness = np.array([[track.strangeness(sighting) for sighting in fresh] for track in lost])
    # A forbidden pair costs more than any number of allowed ones.
    costs = np.where(strangeness < MAX_STRANGENESS, strangeness, 1e3)
    rows, columns = linear_sum_assignment(costs)
    return [
        (lost[i], fresh[j])
        for i, j in zip(rows, columns, strict=True)
        if strangeness[i, j] < MAX_STRANGENESS
    ]
