"""Tracking: the same person keeps the same track from frame to frame, and short misses are bridged.

A track follows its face with the landmark net alone, looking where the face was in the frame
before. The detector runs a few times a second, at cuts, and whenever a face is lost. Frames are
answered a little late: a face that is lost and found again meanwhile is filled in between, a face
that the detector finds late is followed back to where it came in, and landmarks are smoothed with
the frames on both sides.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidswap.faces.cuts import CutDetector
from vidswap.faces.detection import (
    Detection,
    Face,
    FaceDetector,
    Image,
    LandmarkFinder,
    find_landmarks,
)
from vidswap.faces.identity_watch import (
    IdentitySampler,
    IdentityWatch,
    is_another_person,
)
from vidswap.faces.smoothing import Smoothing
from vidswap.faces.track import (
    MAX_ASSOCIATION_COST,
    UNNAMED,
    HeldFrame,
    Observation,
    Track,
    TrackedFace,
    appearance_difference,
    is_next,
    is_same_face,
    observed,
)

__all__ = ["FaceTracker", "TrackedFace", "TrackedFrame"]

DETECT_EVERY = 0.2  # seconds between two runs of the detector while all faces are followed
MAX_BRIDGE = 0.3  # seconds for which a lost face is waited for
MAX_DELAY = 9  # frames by which an answer is late at most; bounds the frames held in memory
MAX_APPEARANCE_RETURN = 0.5  # up to it a face that comes back later is taken for the same person's
REMEMBER = 5.0  # seconds for which a person who left the shot may come back


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """All faces of the frame that was given to the tracker with this `index`."""

    index: int
    faces: list[TrackedFace]


class FaceTracker:
    """Follows all faces of one clip; frames go in one by one and come back with their faces.

    Every frame comes back exactly once and in order, at most `max_delay` frames or `max_bridge`
    seconds late; `flush` gives back the rest. A face that is lost and found again within that time
    is interpolated over the gap; otherwise nothing is reported for the gap and the track ends. A
    cut ends all tracks.

    began_shot: whether the last frame taken begins a shot after a cut. What comes from there on
    depends on nothing before it but for the numbers of the tracks.
    """

    def __init__(
        self,
        detector: FaceDetector,
        landmark_finder: LandmarkFinder,
        *,
        cuts: CutDetector | None = None,
        smoothing: Smoothing | None = None,
        identity: IdentitySampler | None = None,
        detect_every: float = DETECT_EVERY,
        max_bridge: float = MAX_BRIDGE,
        max_delay: int = MAX_DELAY,
    ) -> None:
        self._detector, self._finder = detector, landmark_finder
        self._cuts = cuts or CutDetector()
        self._smoothing = smoothing or Smoothing()
        self._watch = IdentityWatch(identity) if identity is not None else None
        self._detect_every, self._max_bridge, self._max_delay = detect_every, max_bridge, max_delay
        self._held: deque[HeldFrame] = deque()
        self._tracks: list[Track] = []
        self._gone: list[Track] = []
        self._n_frames = 0
        self._n_tracks = 0
        self._last_detection: float | None = None
        self.began_shot = False

    def update(self, index: int, rgb: Image, seconds: float) -> list[TrackedFrame]:
        """Take the next frame, (H, W, 3) uint8 RGB shown at `seconds`; give the frames now ready.

        The frame is held, not copied, until it is given back: do not write into it meanwhile.
        """
        answers: list[TrackedFrame] = []
        self.began_shot = self._cuts.is_cut(rgb)
        if self.began_shot:
            answers = self.flush()
        frame = HeldFrame(self._n_frames, index, rgb, seconds)
        self._n_frames += 1
        self._held.append(frame)
        self._follow(frame)
        if self._detection_is_due(frame):
            self._detect(frame)
        if self._watch is not None:
            self._tracks += self._watch.look(self._tracks, list(self._held))
        while self._is_ready(self._held[0], frame):
            answers.append(self._answer(self._held.popleft()))
        return answers

    def flush(self) -> list[TrackedFrame]:
        """End all tracks and give back the frames still held."""
        if self._watch is not None:
            self._watch.look_at_rest(self._tracks, list(self._held))
        answers = [self._answer(frame) for frame in self._held]
        self._held.clear()
        self._tracks, self._gone = [], []
        self._last_detection = None
        return answers

    def state(self) -> dict[str, Any]:
        """What another tracker of the same settings needs to go on from here; do not write to it.

        The frames still held are named without their pixels, which `restore` wants given again.
        """
        return {
            "held": [(frame.number, frame.index, frame.seconds) for frame in self._held],
            "tracks": self._tracks,
            "gone": self._gone,
            "n_frames": self._n_frames,
            "n_tracks": self._n_tracks,
            "last_detection": self._last_detection,
            "cuts": self._cuts.state(),
        }

    def restore(self, state: Mapping[str, Any], held: Sequence[Image]) -> None:
        """Go on from another tracker's `state()`; `held` are the pixels of its held frames."""
        self._held = deque(
            HeldFrame(number, index, rgb, seconds)
            for (number, index, seconds), rgb in zip(state["held"], held, strict=True)
        )
        self._tracks, self._gone = state["tracks"], state["gone"]
        self._n_frames, self._n_tracks = state["n_frames"], state["n_tracks"]
        self._last_detection = state["last_detection"]
        self._cuts.restore(state["cuts"])

    def _follow(self, frame: HeldFrame) -> None:
        """Look for every track's face where it was last."""
        found: list[tuple[Track, Observation]] = []
        faces = find_landmarks(
            self._finder, [(frame.rgb, track.last().face) for track in self._tracks]
        )
        for track, face in zip(self._tracks, faces, strict=True):
            if face is None:
                continue
            observation = observed(frame, face)
            if track.continues(frame.number, observation):
                found.append((track, observation))
        for track, observation in _without_doubles(found):
            self._see(track, frame, observation)

    def _see(self, track: Track, frame: HeldFrame, observation: Observation) -> None:
        missed = [f for f in self._held if track.last_seen < f.number < frame.number]
        track.see(frame.number, observation, missed)

    def _detection_is_due(self, frame: HeldFrame) -> bool:
        if self._last_detection is None:
            return True
        if not all(track.seen_in(frame.number) for track in self._tracks):
            return True
        # A millisecond's grace, so that rounded timestamps do not put it off by a whole frame.
        return frame.seconds - self._last_detection >= self._detect_every - 1e-3

    def _detect(self, frame: HeldFrame) -> None:
        """Find faces anew: give them to the tracks that lost theirs, or begin tracks."""
        self._last_detection = frame.seconds
        known = [t.observations[frame.number].face for t in self._tracks if t.seen_in(frame.number)]
        fresh: list[Observation] = []
        for detection in self._detector.detect(frame.rgb):
            if any(_covers(face, detection) for face in known):
                continue
            face = self._finder.landmarks(frame.rgb, detection)
            if face is not None and not any(is_same_face(face, other) for other in known):
                known.append(face)
                fresh.append(observed(frame, face))
        lost = [track for track in self._tracks if not track.seen_in(frame.number)]
        for track, observation in _reunions(lost, fresh):
            self._see(track, frame, observation)
            fresh.remove(observation)
        for observation in fresh:
            self._begin_track(frame, observation)

    def _begin_track(self, frame: HeldFrame, observation: Observation) -> None:
        """A new track, followed back through the frames still held to where the face came in."""
        track = Track(frame.number, observation)
        later = observation
        for held in reversed([f for f in self._held if f.number < frame.number]):
            face = self._finder.landmarks(held.rgb, later.face)
            if face is None:
                break
            earlier = observed(held, face)
            others = [
                t.observations[held.number].face for t in self._tracks if t.seen_in(held.number)
            ]
            if not is_next(later, earlier) or any(is_same_face(face, other) for other in others):
                break
            track.precede(held.number, earlier)
            later = earlier
        self._tracks.append(track)

    def _identify(self, track: Track) -> int:
        """The number of a track about to be reported: that of a person who left, or a new one.

        By now the track has been followed for a while, and its appearance is better known.
        """
        alike = [
            gone
            for gone in self._gone
            if appearance_difference(gone.appearance, track.appearance) <= MAX_APPEARANCE_RETURN
            and not is_another_person(gone.who, track.who)
        ]
        if alike:
            returned = min(
                alike, key=lambda gone: appearance_difference(gone.appearance, track.appearance)
            )
            self._gone.remove(returned)
            return returned.track_id
        self._n_tracks += 1
        return self._n_tracks - 1

    def _is_ready(self, oldest: HeldFrame, newest: HeldFrame) -> bool:
        waited = newest.seconds - oldest.seconds
        return newest.number - oldest.number >= self._max_delay or waited >= self._max_bridge

    def _answer(self, frame: HeldFrame) -> TrackedFrame:
        newest = self._n_frames - 1
        for track in list(self._tracks):
            # Once the first frame of a gap is given back, the gap cannot be filled any more.
            if track.last_seen < frame.number:
                self._tracks.remove(track)
                if track.track_id != UNNAMED:
                    self._gone.append(track)
        faces = []
        for track in self._tracks:
            if track.seen_in(frame.number) and not track.was_passing(newest):
                if track.track_id == UNNAMED:
                    track.track_id = self._identify(track)
                faces.append(track.tracked_face(frame.number, self._smoothing))
        for track in (*self._tracks, *self._gone):
            track.forget_before(frame.seconds - self._smoothing.window)
        self._gone = [t for t in self._gone if frame.seconds - t.last().seconds <= REMEMBER]
        return TrackedFrame(frame.index, faces)


def _covers(face: Face, detection: Detection) -> bool:
    """Whether a detection's centre lies in the box around a mesh."""
    left, top, right, bottom = face.box
    x, y = detection.box.reshape(2, 2).mean(axis=0)
    return bool(left < x < right and top < y < bottom)


def _without_doubles(
    found: Sequence[tuple[Track, Observation]],
) -> list[tuple[Track, Observation]]:
    """Where two tracks ended up on one face, leave it to the one it is more like."""
    kept: list[tuple[Track, Observation]] = []
    for track, observation in sorted(found, key=lambda pair: pair[0].association_cost(pair[1])):
        if not any(is_same_face(observation.face, other.face) for _, other in kept):
            kept.append((track, observation))
    return kept


def _reunions(
    lost: Sequence[Track], fresh: Sequence[Observation]
) -> list[tuple[Track, Observation]]:
    """Lost tracks and newly found faces that belong together, at the least total cost."""
    if not lost or not fresh:
        return []
    association_cost = np.array(
        [[track.association_cost(observation) for observation in fresh] for track in lost]
    )
    # A forbidden pair costs more than any number of allowed ones.
    costs = np.where(association_cost < MAX_ASSOCIATION_COST, association_cost, 1e3)
    return [
        (lost[i], fresh[j])
        for i, j in _assigned(costs)
        if association_cost[i, j] < MAX_ASSOCIATION_COST
    ]


def _assigned(costs: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Rows and columns in pairs whose costs have the least sum, no row nor column twice."""
    if costs.size == 1:
        return [(0, 0)]
    # Only now: it takes a third of a second to load, and most clips show one face.
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(costs)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True)]
