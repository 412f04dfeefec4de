"""What a first pass over a clip found: tracks of faces, shots, and whose they are (tracks.json).

The file is read as any input is: bounded, by a schema, with one line for what is wrong.
"""

from __future__ import annotations

import base64
import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import CastError
from vidswap.faces.detection import box_overlap
from vidswap.identity.dlib_resnet import EMBEDDING_SIZE
from vidswap.media.output import temporary_path, writing_errors
from vidswap.runtime.inputs import read_bounded
from vidswap.runtime.private import open_private
from vidswap.runtime.text import shown

TRACKS = "tracks.json"
FORMAT = 1
SAME_PLACE = 0.3  # overlap of boxes, of their union, from which on a face is a track's
GRACE = 0.02  # seconds by which a face may be seen before or after its track
_LARGEST = 512 * 2**20  # bytes
_MOST_TRACKS = 100_000
_MOST_MOMENTS = 1_000_000
_MOST_DOUBTS, _LONGEST = 20, 300

Box = tuple[float, float, float, float]  # left, top, right, bottom, pixels


@dataclass(frozen=True)
class ClipFacts:
    """The clip that tracks are of. size: (width, height), seconds: of its last frame's time."""

    name: str
    sha256: str
    size: tuple[int, int]
    frames: int
    seconds: float


@dataclass(frozen=True, eq=False)
class TrackRecord:
    """A face from its first frame to its last, in seconds of presentation time.

    shot: its number in `Tracks.shots`. times, boxes: (N,) and (N, 4), between which the box moves
    evenly. poses: (M, 4) seconds, yaw, pitch, roll in degrees. sharpness: median. pixels: median
    side of the face. embedding: (128,), certainty: of how much it is the mean. doubts: why the
    person is not sure. person: its id, such as "p1".
    """

    id: int
    shot: int
    start: float
    end: float
    frames: int
    times: NDArray[np.float64]
    boxes: NDArray[np.float32]
    poses: NDArray[np.float32]
    sharpness: float
    pixels: float
    certainty: float
    embedding: NDArray[np.float32]
    doubts: tuple[str, ...] = ()
    person: str = ""

    def box_at(self, seconds: float) -> Box:
        """Where the face is (left, top, right, bottom) at a time, as between the boxes known."""
        left, top, right, bottom = (
            float(np.interp(seconds, self.times, side)) for side in self.boxes.T
        )
        return left, top, right, bottom

    def is_at(self, seconds: float) -> bool:
        return self.start - GRACE <= seconds <= self.end + GRACE


@dataclass(frozen=True, eq=False)
class Tracks:
    """All tracks of a clip. shots: their beginnings and ends in seconds. nets: names of those used.

    together: pairs of ids that are seen in one frame, with the time of the first such frame.
    people: ids such as "p1", the most seen first.
    """

    clip: ClipFacts
    nets: Mapping[str, str]
    version: str
    shots: tuple[tuple[float, float], ...]
    tracks: tuple[TrackRecord, ...]
    together: Mapping[tuple[int, int], float] = field(default_factory=dict)
    people: tuple[str, ...] = ()

    @cached_property
    def by_id(self) -> dict[int, TrackRecord]:
        return {track.id: track for track in self.tracks}

    @cached_property
    def of_person(self) -> dict[str, tuple[TrackRecord, ...]]:
        """The tracks of each person, in order of time."""
        found: dict[str, list[TrackRecord]] = {person: [] for person in self.people}
        for track in sorted(self.tracks, key=lambda track: track.start):
            found.setdefault(track.person, []).append(track)
        return {person: tuple(tracks) for person, tracks in found.items()}

    def seconds_of(self, person: str) -> float:
        """Seconds for which a person is on screen, about."""
        return sum(self.seconds_of_track(track) for track in self.of_person.get(person, ()))

    def seconds_of_track(self, track: TrackRecord) -> float:
        """Seconds for which a track is on screen: its frames, each as long as the clip's mean."""
        each = self.clip.seconds / max(1, self.clip.frames - 1)
        return track.frames * each

    @cached_property
    def _starts(self) -> tuple[list[float], list[TrackRecord], list[float]]:
        ordered = sorted(self.tracks, key=lambda track: track.start)
        latest, ends = -math.inf, []
        for track in ordered:
            latest = max(latest, track.end)
            ends.append(latest)
        return [track.start for track in ordered], ordered, ends

    def present_at(self, seconds: float) -> list[TrackRecord]:
        """The tracks that are seen at a time."""
        starts, ordered, ends = self._starts
        found = []
        for n in range(bisect_right(starts, seconds + GRACE) - 1, -1, -1):
            if ends[n] < seconds - GRACE:
                break
            if ordered[n].is_at(seconds):
                found.append(ordered[n])
        return found[::-1]

    def match(self, seconds: float, boxes: Sequence[NDArray[np.floating]]) -> list[int | None]:
        """The track of each face (left, top, right, bottom) of the frame at a time, None for none.

        Each track has one face at most: the nearest pairs go first.
        """
        present = self.present_at(seconds)
        places = [np.array(track.box_at(seconds)) for track in present]
        pairs = sorted(
            (
                (box_overlap(box, place), n, m)
                for n, box in enumerate(boxes) for m, place in enumerate(places)
            ),
            reverse=True,
        )  # fmt: skip
        found: list[int | None] = [None] * len(boxes)
        taken: set[int] = set()
        for overlap, n, m in pairs:
            if overlap >= SAME_PLACE and found[n] is None and m not in taken:
                found[n] = present[m].id
                taken.add(m)
        return found


def write_tracks(tracks: Tracks, path: Path) -> None:
    """Write tracks.json for its owner alone; it appears only when complete.

    Raises DiskFullError, OutputNotWritableError.
    """
    plain = {
        "format": FORMAT,
        "vidswap": tracks.version,
        "target": {
            "name": tracks.clip.name, "sha256": tracks.clip.sha256,
            "size": list(tracks.clip.size), "frames": tracks.clip.frames,
            "seconds": round(tracks.clip.seconds, 6),
        },
        "nets": dict(tracks.nets),
        "shots": [[round(s, 6), round(e, 6)] for s, e in tracks.shots],
        "people": list(tracks.people),
        "together": [[a, b, round(at, 4)] for (a, b), at in tracks.together.items()],
        "tracks": [plain_track(track) for track in tracks.tracks],
    }  # fmt: skip
    part = temporary_path(path)
    try:
        with writing_errors(path):
            with open_private(part) as file:
                file.write(json.dumps(plain, separators=(",", ":")).encode())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def plain_track(track: TrackRecord) -> dict[str, Any]:
    """A track as JSON holds it; `track_from` reads it back."""
    moments = zip(track.times, track.boxes, strict=True)
    return {
        "id": track.id, "shot": track.shot, "person": track.person,
        "start": round(track.start, 6), "end": round(track.end, 6), "frames": track.frames,
        "boxes": [[round(float(t), 4), *(round(float(x), 1) for x in box)] for t, box in moments],
        "poses": [[round(float(t), 2), *(round(float(x)) for x in rest)]
                  for t, *rest in track.poses],
        "sharpness": round(track.sharpness, 3), "pixels": round(track.pixels, 1),
        "certainty": round(track.certainty, 3), "doubts": list(track.doubts),
        "embedding": base64.b64encode(track.embedding.astype("<f2").tobytes()).decode(),
    }  # fmt: skip


def read_tracks(folder: Path) -> Tracks:
    """The tracks.json of a cast folder. Raises CastError in one line for whatever is wrong."""
    path = folder / TRACKS
    if not path.is_file():
        raise CastError(f"{folder} holds no {TRACKS}; make it with vidswap people TARGET -o FOLDER")
    try:
        plain = json.loads(read_bounded(path, _LARGEST))
        return tracks_from(plain)
    except CastError as error:
        raise CastError(f"{path}: {error}; make it anew with vidswap people") from error
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise CastError(
            f"{path} is damaged ({shown(error)}); make it anew with vidswap people"
        ) from error


def tracks_from(plain: Any) -> Tracks:
    """Tracks out of JSON values. Raises CastError, ValueError, TypeError, KeyError."""
    if not isinstance(plain, dict) or type(plain.get("format")) is not int:
        raise CastError("not what a first pass writes")
    if plain["format"] != FORMAT:
        raise CastError(f"of format {shown(plain['format'])}, and this version reads {FORMAT}")
    target = plain["target"]
    width, height = (_whole(side, 1, 2**20) for side in target["size"])
    clip = ClipFacts(
        _text(target["name"]), _text(target["sha256"]), (width, height),
        _whole(target["frames"], 0, 2**40), _real(target["seconds"]),
    )  # fmt: skip
    nets = {_text(name): _text(net) for name, net in _items(plain["nets"])}
    shots = tuple((_real(start), _real(end)) for start, end in _list(plain["shots"]))
    if len(plain["tracks"]) > _MOST_TRACKS:
        raise CastError(f"more than {_MOST_TRACKS} tracks")
    tracks = tuple(track_from(each) for each in _list(plain["tracks"]))
    ids = {track.id for track in tracks}
    people = tuple(_person(each) for each in _list(plain["people"]))
    if len(ids) != len(tracks) or len(set(people)) != len(people):
        raise CastError("a track or person is there twice")
    if not {track.person for track in tracks} <= set(people):
        raise CastError("a track is of a person who is not there")
    if any(not 0 <= track.shot < len(shots) for track in tracks):
        raise CastError("a track is in a shot that is not there")
    together = {}
    for a, b, at in _list(plain["together"]):
        if a not in ids or b not in ids:
            raise CastError("two tracks seen together are not there")
        together[(_whole(a), _whole(b))] = _real(at)
    return Tracks(clip, nets, _text(plain["vidswap"]), shots, tracks, together, people)


def track_from(plain: Any) -> TrackRecord:
    """A track as `plain_track` writes it. Raises CastError, ValueError, TypeError, KeyError."""
    boxes = np.array([[_real(x) for x in row] for row in _list(plain["boxes"])], np.float64)
    poses = np.array([[_real(x) for x in row] for row in _list(plain["poses"])], np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 5 or not len(boxes):
        raise CastError("a track without boxes")
    if (np.diff(boxes[:, 0]) < 0).any():
        raise CastError("boxes of a track are not in order of time")
    embedding = np.frombuffer(
        base64.b64decode(_text(plain["embedding"], 400), validate=True), "<f2"
    )
    if embedding.shape != (EMBEDDING_SIZE,) or not np.isfinite(embedding).all():
        raise CastError("an embedding that is none")
    doubts = tuple(_text(doubt) for doubt in _list(plain["doubts"])[:_MOST_DOUBTS])
    return TrackRecord(
        _whole(plain["id"]), _whole(plain["shot"]), _real(plain["start"]), _real(plain["end"]),
        _whole(plain["frames"]), boxes[:, 0], boxes[:, 1:].astype(np.float32),
        poses.reshape(-1, 4), _real(plain["sharpness"]), _real(plain["pixels"]),
        _real(plain["certainty"]), embedding.astype(np.float32), doubts, _person(plain["person"]),
    )  # fmt: skip


def _list(given: Any) -> list[Any]:
    if not isinstance(given, list) or len(given) > _MOST_MOMENTS:
        raise CastError("a list that is none, or too long")
    return given


def _items(given: Any) -> list[tuple[Any, Any]]:
    if not isinstance(given, dict) or len(given) > _MOST_DOUBTS:
        raise CastError("names that are no object")
    return list(given.items())


def _text(given: Any, most: int = _LONGEST) -> str:
    if not isinstance(given, str) or len(given) > most:
        raise CastError("a text that is none, or too long")
    return given


def _person(given: Any) -> str:
    text = _text(given, 20)
    if text and not is_person_id(text):
        raise CastError(f"{shown(text)} is no person's id")
    return text


def is_person_id(text: str) -> bool:
    """Whether a text is an id such as "p12"."""
    digits = text[1:]
    return text[:1] == "p" and digits.isascii() and digits.isdecimal() and len(digits) < 8


def _whole(given: Any, least: int = 0, most: int = 2**40) -> int:
    if type(given) is not int or not least <= given <= most:
        raise CastError(f"{shown(given)} where a whole number from {least} is")
    return given


def _real(given: Any) -> float:
    if type(given) not in (int, float) or not math.isfinite(given) or abs(given) > 1e12:
        raise CastError(f"{shown(given)} where a number is")
    return float(given)
