"""Whom a clip is about: the person most seen in frames spread over it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidswap.identity.dlib_resnet import SAME_PERSON_DISTANCE
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.picture import is_picture
from vidswap.media.sampling import frames_at, middles, packet_times
from vidswap.media.sequence_reader import SequenceReader
from vidswap.people.embedding import FaceEmbedder, FaceSampler, face_size

FEWEST, MOST = 8, 40  # frames looked at
SECONDS_EACH = 10.0  # of the clip for one of them
LEAST_WEIGHT = 0.3  # of an embedding that may stand for a person of its own


@dataclass(frozen=True, eq=False)
class SeenFace:
    """A face of one frame: its size in pixels, id embedding (128,) and how far to trust that."""

    size: float
    identity: NDArray[np.float32]
    weight: float


@dataclass(frozen=True, eq=False)
class MainPerson:
    """The person: mean id embedding (128,). alone: whether nobody else was seen."""

    identity: NDArray[np.float32]
    alone: bool


def main_person_of(
    target: Path,
    embedder: FaceEmbedder,
    beginning: Fraction | None = None,
    stop: Fraction | None = None,
    hwaccel: str | None = None,
) -> MainPerson | None:
    """The main person of a clip from `beginning` to before `stop`, in seconds of its own clock.

    None for a picture, and where the frames looked at show no face.
    """
    if is_picture(target):
        return None
    frames = _spread(target, beginning, stop, hwaccel)
    return main_person(seen_faces(frame, embedder) for frame in frames)


def seen_faces(frame: Frame, embedder: FaceEmbedder) -> list[SeenFace]:
    """All faces of a frame, the largest first."""
    sampler = FaceSampler(embedder.encoder)
    found = embedder.faces(frame.rgb)
    return [SeenFace(face_size(face), *sampler.sample(frame.rgb, face)) for face in found]


def _spread(
    target: Path, beginning: Fraction | None, stop: Fraction | None, hwaccel: str | None
) -> Iterator[Frame]:
    times = packet_times(target)
    tick = times.time_base
    inside = [
        pts for pts in times.frames
        if (beginning is None or pts * tick >= beginning) and (stop is None or pts * tick < stop)
    ]  # fmt: skip
    if not inside:
        return
    seconds = float((inside[-1] - inside[0]) * tick)
    count = int(np.clip(seconds / SECONDS_EACH, FEWEST, MOST))
    with VideoReader(target, hwaccel=hwaccel) as reader:
        yield from frames_at(reader, [inside[n] for n in middles(len(inside), count)], times.keys)


@dataclass(eq=False)
class _Person:
    total: NDArray[np.float32]
    weight: float
    size: float

    @property
    def mean(self) -> NDArray[np.float32]:
        return np.asarray(self.total / self.weight, np.float32)


def main_person(frames: Iterable[Sequence[SeenFace]]) -> MainPerson | None:
    """Whose face takes up most, in pixels of its side summed over frames; None without a face."""
    people: list[_Person] = []
    for faces in frames:
        taken: list[_Person] = []
        for face in sorted(faces, key=lambda face: -face.weight):
            free = [person for person in people if all(person is not other for other in taken)]
            distances = [float(np.linalg.norm(person.mean - face.identity)) for person in free]
            part = face.weight * face.identity
            if distances and min(distances) < SAME_PERSON_DISTANCE:
                person = free[int(np.argmin(distances))]
                person.total = person.total + part
                person.weight += face.weight
                person.size += face.size
            elif face.weight < LEAST_WEIGHT and people:
                continue
            else:
                person = _Person(part, face.weight, face.size)
                people.append(person)
            taken.append(person)
    if not people:
        return None
    first = max(people, key=lambda person: person.size)
    return MainPerson(first.mean, len(people) == 1)


def main_person_of_sequence(reader: SequenceReader, embedder: FaceEmbedder) -> MainPerson | None:
    """The person of the range of an image sequence; None where nobody was seen well."""
    seconds = float(len(reader.numbers) * reader.time_base)
    count = int(min(max(FEWEST, seconds / SECONDS_EACH), MOST))
    wanted = (reader.numbers[place] for place in middles(len(reader.numbers), count))
    return main_person(seen_faces(reader.frame(number), embedder) for number in wanted)
