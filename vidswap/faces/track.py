"""One person's face through the frames of a shot, and what tells it from another's."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces.align import face_affine, scale_affine
from vidswap.faces.detection import Face, FloatArray, Image
from vidswap.faces.smoothing import Smoothing, mesh_diagonal, smooth_landmarks

MIN_FOUND = 3  # frames in which a face must be found unless its shot is shorter
UNNAMED = -1  # the number of a track that has not been reported yet

SAME_FACE_DISTANCE = 0.15  # mean landmark distance, in face sizes, below which two meshes are one
MAX_JUMP = 0.4  # face sizes a face can move from one frame to the next
MAX_GROWTH = 1.4  # factor by which a face's size can change from one frame to the next
MAX_ASSOCIATION_COST = 1.2  # above it a face found after a gap is taken for another person's
VELOCITY_FRAMES = 3  # frames over which a face's speed is measured

APPEARANCE_SIZE = 12  # pixels, side of the thumbnail that tells people in one shot apart
APPEARANCE_SAMPLES = 3  # samples per thumbnail pixel and axis
APPEARANCE_PART = (
    52.0,
    204.0,
)  # pixels of the 256-pixel crop, both axes: the face without background
APPEARANCE_MEMORY = (
    0.1  # share of the newest frame in what a track remembers of its face's appearance
)
# In 13 clips of talking people, one person's appearance changed from frame to frame by at most
# 0.33, over a sixth of a second by 0.39 in 95 of 100 cases; two people differ by at least 0.61.
MAX_APPEARANCE_CHANGE = 0.5

SHORTEST = 1e-6  # seconds; frames of a broken clip may carry the same time


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face in one frame of a track.

    `landmarks` (478, 2) float32 pixels are smoothed over time; `face` is as the net found it, or
    interpolated where `detected` is false. A person keeps `track_id` until lost or a cut.
    `seconds` is the frame's time. `identity` (128,) is the track's mean id embedding so far, a few
    frames ahead of this one included, and `certainty` the weight of what it was made from; None
    and 0 where nothing embeds faces.
    """

    track_id: int
    face: Face
    landmarks: FloatArray
    detected: bool
    seconds: float = 0.0
    identity: FloatArray | None = None
    certainty: float = 0.0


@dataclass(frozen=True, eq=False)
class HeldFrame:
    """A frame that the tracker has been given and not yet given back."""

    number: int  # counts the tracker's own frames; `index` is the caller's name for this one
    index: int
    rgb: Image
    seconds: float


@dataclass(frozen=True, eq=False)
class Observation:
    """A face of a track in one frame, found by the net or interpolated over a gap."""

    face: Face
    seconds: float
    appearance: FloatArray
    found: bool


@dataclass(frozen=True, eq=False)
class IdentitySample:
    """Who a face is in frame `number`: its id embedding (128,) and how far to trust it, 0 to 1."""

    number: int
    seconds: float
    embedding: FloatArray
    weight: float


@dataclass(eq=False)
class IdentityMemory:
    """What is known of who a track is.

    total: weighted sum of the embeddings of `count` samples, `weight` their weights' sum. last:
    the newest sample; agreed: number of the newest frame that was this person. appearance: as it
    was then. doubtful: the newest samples, in a row, that were somebody else.
    """

    total: FloatArray | None = None
    weight: float = 0.0
    count: int = 0
    last: IdentitySample | None = None
    agreed: int = -1
    appearance: FloatArray | None = None
    doubtful: list[IdentitySample] = field(default_factory=list)

    @property
    def mean(self) -> FloatArray | None:
        """The person's embedding (128,), None before the first sample."""
        if self.total is None or self.weight <= 0:
            return None
        return np.asarray(self.total / self.weight, np.float32)

    def add(self, sample: IdentitySample) -> None:
        """Take a sample for this person's."""
        part = sample.weight * sample.embedding
        self.total = part if self.total is None else self.total + part
        self.weight += sample.weight
        self.count += 1
        self.agreed = max(self.agreed, sample.number)


class Track:
    """One person's face through the frames of a shot."""

    def __init__(self, number: int, observation: Observation) -> None:
        self.track_id = UNNAMED
        self.who = IdentityMemory()
        self.observations = {number: observation}
        self.last_seen = number
        self._n_found = 1
        self.appearance = (
            observation.appearance
        )  # over the last frames: the very last may show it half hidden

    def seen_in(self, number: int) -> bool:
        return number in self.observations

    def last(self) -> Observation:
        return self.observations[self.last_seen]

    def was_passing(self, newest: int) -> bool:
        """Whether the face is gone again after a frame or two: a false alarm, most likely."""
        return self._n_found < MIN_FOUND and self.last_seen < newest

    def see(self, number: int, observation: Observation, missed: Iterable[HeldFrame]) -> None:
        """Add the face found in a frame; the `missed` frames before it are interpolated."""
        before = self.last()
        for frame in missed:
            gap = max(observation.seconds - before.seconds, SHORTEST)
            share = min((frame.seconds - before.seconds) / gap, 1.0)
            face = _between(before.face, observation.face, share)
            self.observations[frame.number] = Observation(
                face, frame.seconds, before.appearance, False
            )
        self.observations[number] = observation
        self.last_seen = number
        self._n_found += 1
        self.appearance = (
            1 - APPEARANCE_MEMORY
        ) * self.appearance + APPEARANCE_MEMORY * observation.appearance

    def precede(self, number: int, observation: Observation) -> None:
        """Add the face found in the frame before the track's first."""
        self.observations[number] = observation
        self._n_found += 1

    def continues(self, number: int, observation: Observation) -> bool:
        """Whether the face found where this track's was last is this track's."""
        if number == self.last_seen + 1:
            return is_next(self.last(), observation)
        return self.association_cost(observation) < MAX_ASSOCIATION_COST

    def split(self, number: int) -> "Track":
        """Another track with the observations from frame `number` on, which this one loses.

        Raises ValueError where it has none before or none from there on.
        """
        later = {n: o for n, o in self.observations.items() if n >= number}
        earlier = {n: o for n, o in self.observations.items() if n < number}
        if not later or not earlier:
            raise ValueError(f"nothing to split at frame {number}")
        other = Track(max(later), later[max(later)])
        other.observations = later
        other._n_found = max(MIN_FOUND, sum(o.found for o in later.values()))
        self.observations, self.last_seen = earlier, max(earlier)
        return other

    def association_cost(self, observation: Observation) -> float:
        """How far an observation is from this track in place, size and appearance; 0 if equal.

        A face that was moving is expected to have moved on, or to have stopped.
        """
        last = self.last()
        size = mesh_diagonal(last.face.landmarks)
        step = _centre(observation.face) - _centre(last.face)
        expected = self._velocity() * (observation.seconds - last.seconds)
        distance = min(np.hypot(*(step - expected)), np.hypot(*step)) / size
        growth = abs(np.log(mesh_diagonal(observation.face.landmarks) / size))
        return float(
            distance + growth + appearance_difference(self.appearance, observation.appearance)
        )

    def tracked_face(self, number: int, smoothing: Smoothing) -> TrackedFace:
        """The face in a frame, smoothed with the unbroken run of observations around that frame."""
        here = self.observations[number]
        run = [n for n in sorted(self.observations) if self._is_near(n, here, smoothing.window)]
        landmarks = smooth_landmarks(
            np.stack([self.observations[n].face.landmarks for n in run]),
            np.array([self.observations[n].seconds for n in run]),
            run.index(number),
            smoothing,
        )
        return TrackedFace(
            self.track_id, here.face, landmarks, here.found, here.seconds, self.who.mean,
            self.who.weight,
        )  # fmt: skip

    def forget_before(self, seconds: float) -> None:
        """Drop observations that no frame still to come needs."""
        self.observations = {
            number: observation
            for number, observation in self.observations.items()
            if observation.seconds >= seconds or number >= self.last_seen - VELOCITY_FRAMES
        }

    def _is_near(self, number: int, here: Observation, window: float) -> bool:
        return abs(self.observations[number].seconds - here.seconds) <= window

    def _velocity(self) -> NDArray[np.float64]:
        """Pixels a second (2,) over the last frames; zero when there is only one."""
        last = self.last()
        early = self.observations.get(self.last_seen - VELOCITY_FRAMES)
        if early is None:
            return np.zeros(2)
        passed = max(last.seconds - early.seconds, SHORTEST)
        return (_centre(last.face) - _centre(early.face)) / passed


def is_same_face(one: Face, other: Face) -> bool:
    """Whether two meshes of one frame lie on the same face."""
    distance = np.hypot(*(one.landmarks - other.landmarks).T).mean()
    size = max(mesh_diagonal(one.landmarks), mesh_diagonal(other.landmarks))
    return bool(distance < SAME_FACE_DISTANCE * size)


def appearance(rgb: Image, face: Face) -> FloatArray:
    """What a face looks like in small: unit vector of its aligned thumbnail, brightness removed.

    It tells people in one shot apart from frame to frame; light, pose and time change it too much
    for more.
    """
    fine = APPEARANCE_SIZE * APPEARANCE_SAMPLES
    affine = face_affine(face.landmarks)
    affine[:, 2] -= APPEARANCE_PART[0]
    affine = scale_affine(affine, fine / (APPEARANCE_PART[1] - APPEARANCE_PART[0]))
    thumbnail = cv2.warpAffine(rgb, affine, (fine, fine), borderMode=cv2.BORDER_REPLICATE)
    thumbnail = cv2.resize(
        thumbnail, (APPEARANCE_SIZE, APPEARANCE_SIZE), interpolation=cv2.INTER_AREA
    )
    vector = (thumbnail - thumbnail.mean(axis=(0, 1))).astype(np.float32).ravel()
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)


def appearance_difference(one: FloatArray, other: FloatArray) -> float:
    """Distance of two appearances, from 0 (alike) to 2."""
    return float(np.linalg.norm(one - other))


def is_next(one: Observation, other: Observation) -> bool:
    """Whether two observations of neighbouring frames can be the same face, moved a little."""
    size, other_size = mesh_diagonal(one.face.landmarks), mesh_diagonal(other.face.landmarks)
    return bool(
        np.hypot(*(_centre(one.face) - _centre(other.face))) < MAX_JUMP * size
        and 1 / MAX_GROWTH < other_size / size < MAX_GROWTH
        and appearance_difference(one.appearance, other.appearance) < MAX_APPEARANCE_CHANGE
    )


def observed(frame: HeldFrame, face: Face) -> Observation:
    """The observation of a face the net has just found in a frame."""
    return Observation(face, frame.seconds, appearance(frame.rgb, face), True)


def _centre(face: Face) -> NDArray[np.float64]:
    centre: NDArray[np.float64] = face.landmarks.mean(axis=0, dtype=np.float64)
    return centre


def _between(one: Face, other: Face, share: float) -> Face:
    """The face a `share` in [0, 1] of the way from one to the other."""
    z = None
    if one.landmarks_z is not None and other.landmarks_z is not None:
        z = ((1 - share) * one.landmarks_z + share * other.landmarks_z).astype(np.float32)
    landmarks = (1 - share) * one.landmarks + share * other.landmarks
    return Face(landmarks.astype(np.float32), z, min(one.score, other.score))
