"""Whether a track is still the person it began with, and where it has become another's.

A net that follows a face follows whatever face is there: through a dissolve, or when two people
pass before each other, it may end on another person. One frame alone decides nothing: a turned or
half hidden face is far from everybody, its own person included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vidswap.faces.detection import Face, FloatArray, Image
from vidswap.faces.smoothing import mesh_diagonal
from vidswap.faces.track import (
    HeldFrame,
    IdentityMemory,
    IdentitySample,
    Track,
    appearance_difference,
)

ENOUGH = 3  # samples from which on a track's person is known
SOON, SOON_FRAMES = 0.1, 3  # seconds, or frames where these are fewer, between the first samples
NOW_AND_THEN = 0.5  # seconds between samples while nothing has changed
NEAR_EVERY = 0.12  # seconds between them while another face is near
NEAR = 1.5  # sizes of a face within which another one's centre is near
DRIFT = 0.45  # change of appearance since the last sample from which on one is due
# Of 13,183 pictures of LFW, 99 in 100 pairs of one person are less than 0.60 apart and 99 in 100
# pairs of two more than 0.61; a sample and the mean of its own track are nearer.
CHANGED = 0.55  # distance from the track's mean beyond which a sample is somebody else's
TOGETHER = 0.4  # distance from their mean within which doubtful samples are one person's
SURE = 0.6  # weight below which a sample's disagreement counts for nothing
ANOTHER = 0.6  # distance beyond which two tracks' means are two people's


class IdentitySampler(Protocol):
    """Embeds a face."""

    def sample(self, rgb: Image, face: Face) -> tuple[FloatArray, float]:
        """The id embedding (128,) of a face in `rgb` (H, W, 3), and how far to trust it, 0 to 1."""


def is_another_person(one: IdentityMemory, other: IdentityMemory) -> bool:
    """Whether two tracks are known well enough to say that they are two people's."""
    a, b = one.mean, other.mean
    if a is None or b is None or min(one.weight, other.weight) < 2 * SURE:
        return False
    return bool(np.linalg.norm(a - b) > ANOTHER)


class IdentityWatch:
    """Samples tracks as they go on; all that it remembers is in their `who`."""

    def __init__(self, sampler: IdentitySampler) -> None:
        self._sampler = sampler

    def look(self, tracks: Sequence[Track], held: Sequence[HeldFrame]) -> list[Track]:
        """Sample the tracks that are due in the newest frame; gives those split off."""
        newest, begun = held[-1], []
        present = [track for track in tracks if track.seen_in(newest.number)]
        near = [any(_is_near(track, t, newest.number) for t in present) for track in present]
        for track, is_near in zip(present, near, strict=True):
            if self._is_due(track, newest, is_near):
                self._sample(track, newest)
                if (number := self._place_of_change(track, held)) is not None:
                    begun.append(_split(track, number))
        return begun

    def look_at_rest(self, tracks: Sequence[Track], held: Sequence[HeldFrame]) -> None:
        """Before the frames held are given back at a shot's end: ask of tracks too short so far."""
        for track in tracks:
            unseen = [
                frame for frame in held
                if track.seen_in(frame.number) and track.observations[frame.number].found
                and (track.who.last is None or frame.number > track.who.last.number)
            ]  # fmt: skip
            for frame in unseen[:: max(1, len(unseen) // ENOUGH)][:ENOUGH]:
                if track.who.count < ENOUGH:
                    track.who.add(self._new_sample(track, frame))

    def _is_due(self, track: Track, frame: HeldFrame, near: bool) -> bool:
        who, observation = track.who, track.observations[frame.number]
        if not observation.found:
            return False
        if who.last is None or who.doubtful or who.appearance is None:
            return True
        frames, passed = frame.number - who.last.number, frame.seconds - who.last.seconds + 1e-3
        if who.count < ENOUGH:
            return frames >= SOON_FRAMES or passed >= SOON
        if appearance_difference(who.appearance, observation.appearance) > DRIFT:
            return True
        return passed >= (NEAR_EVERY if near else NOW_AND_THEN)

    def _sample(self, track: Track, frame: HeldFrame) -> None:
        sample, who = self._new_sample(track, frame), track.who
        mean = who.mean
        known = who.weight >= SURE
        apart = 0.0 if mean is None else float(np.linalg.norm(sample.embedding - mean))
        differs = known and apart > CHANGED
        if differs and sample.weight >= SURE:
            who.doubtful = [*who.doubtful, sample][-ENOUGH:]
            return
        if not differs:
            who.doubtful = []
            who.agreed = max(who.agreed, frame.number)
        # One that differs but cannot be trusted, as of a turned head, says nothing either way.
        if not differs or not known:
            who.add(sample)

    def _new_sample(self, track: Track, frame: HeldFrame) -> IdentitySample:
        observation = track.observations[frame.number]
        embedding, weight = self._sampler.sample(frame.rgb, observation.face)
        sample = IdentitySample(frame.number, frame.seconds, embedding, max(weight, 1e-3))
        track.who.last, track.who.appearance = sample, observation.appearance
        return sample

    def _place_of_change(self, track: Track, held: Sequence[HeldFrame]) -> int | None:
        """The frame from which on the track is somebody else's, None while that is not certain."""
        doubtful, old = track.who.doubtful, track.who.mean
        if len(doubtful) < ENOUGH or old is None:
            return None
        new = np.mean([sample.embedding for sample in doubtful], axis=0)
        if max(np.linalg.norm(sample.embedding - new) for sample in doubtful) > TOGETHER:
            return None
        frames = {frame.number: frame for frame in held}
        first, last = max(track.who.agreed, held[0].number - 1), doubtful[0].number
        while last - first > 1:
            middle = (first + last) // 2
            if middle not in frames or not track.seen_in(middle):
                first = middle
                continue
            face = track.observations[middle].face
            embedding, _ = self._sampler.sample(frames[middle].rgb, face)
            is_new = np.linalg.norm(embedding - new) < np.linalg.norm(embedding - old)
            first, last = (first, middle) if is_new else (middle, last)
        return last


def _split(track: Track, number: int) -> Track:
    """The new person's track, from frame `number` on; the old one ends there."""
    who = track.who
    if min(track.observations) >= number:  # all that is left of it is the new person's
        number = min(track.observations) + 1
    other = track.split(number)
    for sample in who.doubtful:
        other.who.add(sample)
    other.who.last, other.who.appearance = who.last, who.appearance
    who.doubtful = []
    return other


def _is_near(track: Track, other: Track, number: int) -> bool:
    if other is track:
        return False
    points = track.observations[number].face.landmarks
    others = other.observations[number].face.landmarks
    apart = float(np.hypot(*(points.mean(axis=0) - others.mean(axis=0))))
    return apart < NEAR * max(mesh_diagonal(points), mesh_diagonal(others))
