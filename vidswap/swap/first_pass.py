"""The first pass over a clip: who is in it, before any face is swapped (`vidswap people`).

Faces are followed exactly as in a swap, so that a swap by the plan finds the same tracks. What is
found is written as it comes, and memory does not grow with the clip; a pass that is broken off goes
on where it last was safe.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vidswap.errors import CastError, OutputExistsError, OutputNotWritableError
from vidswap.faces.align import align_face, face_affine
from vidswap.faces.cuts import CutDetector
from vidswap.faces.dissolves import DissolveFinder, Grey
from vidswap.faces.identity_watch import NEAR
from vidswap.faces.pose import head_pose
from vidswap.faces.quality import MIN_SHARPNESS, sharpness
from vidswap.faces.smoothing import mesh_diagonal
from vidswap.faces.tracking import REMEMBER, FaceTracker, TrackedFace, TrackedFrame
from vidswap.identity.encoder import IDENTITY_NET
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.output import write_private, writing_errors
from vidswap.media.picture import is_picture, open_picture
from vidswap.media.sequence import is_pattern
from vidswap.media.sequence_reader import SequenceReader
from vidswap.people.clustering import ONE_PERSON, directions, people_of
from vidswap.people.embedding import FaceEmbedder, FaceSampler, face_size, sample_weight
from vidswap.people.plan import PLAN, begin_plan
from vidswap.people.tracks import (
    TRACKS,
    ClipFacts,
    TrackRecord,
    Tracks,
    plain_track,
    read_tracks,
    track_from,
    write_tracks,
)
from vidswap.runtime.inputs import check_readable
from vidswap.runtime.overlap import Overlapped
from vidswap.runtime.private import make_private_folder, open_private
from vidswap.swap.options import SwapCounts, SwapOptions
from vidswap.swap.resume import frames_from
from vidswap.swap.state import SwapState, fingerprint
from vidswap.swap.target import open_target, target_digest
from vidswap.version import __version__

Progress = Callable[[int, int], None]  # frames done, and about how many there are

WORK = ".work"
_LINES, _STATE, _FACTS = "found.jsonl", "state", "facts.json"
_MAY_GO_ON = 3600.0  # seconds since the last change, within which a pass may be at its work
_SAFE_EVERY = 10.0  # seconds of work that a break costs at most, about
QUEUE = 4  # decoded frames that wait

LOOK_EVERY = 0.5  # seconds between two looks at a face's pose and sharpness
THUMBNAIL = 112  # pixels
SHOT_THUMBNAIL = 192  # pixels, width
FACES_KEPT = 2  # pictures of a track
OFF = 0.06  # of a face's size by which a box between two others may be off
LONGEST_STRAIGHT = 25  # boxes between two that are kept

SETTLED = 0.2  # seconds after a dissolve at which the new shot is pictured
MIXED = 0.12  # seconds by which a dissolve may reach beyond what was found of it

MOST_PICTURED = 200  # people
BEST_TRACKS = 6  # of a person
MOST_DOUBTFUL = 24  # tracks

MOMENT = "seen for a moment only"
SMALL, TURNED = 48.0, 40.0  # pixels and degrees beyond which a track is doubtful
SHORT = 1.2  # certainty below which it is
CROWDED = 0.2  # share of a track's frames near another face from which on it is
UNCLEAR, ALIKE = 0.07, 0.42  # by how much another person must be further from a track than its
# own, and how far from a person of one track alone; of embeddings of length 1


@dataclass(frozen=True)
class Pictures:
    """Small JPEGs of faces and of a moment of each shot, in a file beside the tracks."""

    faces: Mapping[int, tuple[bytes, ...]]  # by track
    shots: Mapping[int, bytes]


class NotedCuts(CutDetector):
    """A cut detector that remembers what it said and saw last.

    grey: the small picture, None of a frame with nothing to see.
    """

    was_cut = False
    grey: Grey | None = None

    def is_cut(self, rgb: NDArray[np.uint8]) -> bool:
        before = self._last
        self.was_cut = super().is_cut(rgb)
        self.grey = None if self._last is before or self._last is None else self._last.grey
        return self.was_cut


class Collector:
    """Gathers what is found of each track, and gives a track as a line once it is over.

    `state()` is plain data, from which another collector goes on.
    """

    def __init__(self, zero: float = 0.0) -> None:
        self._zero = zero  # the clip's beginning on its own clock
        self._open: dict[int, dict[str, Any]] = {}
        self._present: tuple[int, ...] = ()
        self.together: dict[tuple[int, int], tuple[float, float]] = {}  # first and last time
        self.picture_due: float | None = None  # when a shot has settled after a dissolve
        self.shot_starts: list[float] = []
        self.shot_picture: NDArray[np.uint8] | None = None
        self._pictured = -1
        self.last = 0.0

    def state(self) -> dict[str, Any]:
        return {
            "open": self._open,
            "present": list(self._present),
            "together": [[a, b, *times] for (a, b), times in self.together.items()],
            "shots": list(self.shot_starts),
            "pictured": self._pictured,
            "due": self.picture_due,
            "last": self.last,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._open = dict(state["open"])
        self._present = tuple(state["present"])
        self.together = {(a, b): (first, last) for a, b, first, last in state["together"]}
        self.picture_due = state["due"]
        self.shot_starts = list(state["shots"])
        self._pictured, self.last = state["pictured"], state["last"]

    def see(self, frame: Frame, found: TrackedFrame, begins_shot: bool) -> Iterator[dict[str, Any]]:
        """Take the next frame with its faces; gives lines of tracks and of shots that are over."""
        now = frame.seconds - self._zero
        if begins_shot:
            yield from self.end(all_tracks=True)
            self.shot_starts.append(now)
        before, self.last = self.last, now
        yield from self._picture_of_shot(frame)
        crowded = _crowded(found.faces)
        for face, near in zip(found.faces, crowded, strict=True):
            self._add(frame, face, near)
        present = tuple(sorted(face.track_id for face in found.faces))
        if present != self._present:
            self._note_together(before)
            self._present = present
            self._note_together(now)
        yield from self.end(all_tracks=False)

    def _note_together(self, now: float) -> None:
        """Those present were seen together up to now."""
        for n, a in enumerate(self._present):
            for b in self._present[n + 1 :]:
                first, _ = self.together.get((a, b), (now, now))
                self.together[(a, b)] = first, now

    def end(self, all_tracks: bool) -> Iterator[dict[str, Any]]:
        """Lines of the tracks that are over: all, or those that cannot come back."""
        if all_tracks:
            self._note_together(self.last)
        late = self.last - REMEMBER - 1.0
        for track in [n for n, t in self._open.items() if all_tracks or t["end"] < late]:
            yield _line_of(track, self._open.pop(track))

    def _picture_of_shot(self, frame: Frame) -> Iterator[dict[str, Any]]:
        """A shot's first frame, and a later one where it lasts: dissolves and fades begin dark."""
        shot = len(self.shot_starts) - 1
        settled = self.last - self.shot_starts[-1] >= LOOK_EVERY
        wanted = 2 * shot + settled
        is_due = self.picture_due is not None and self.last >= self.picture_due
        if wanted > self._pictured or is_due:
            self._pictured = wanted
            self.picture_due = None
            height = max(1, round(SHOT_THUMBNAIL * frame.rgb.shape[0] / frame.rgb.shape[1]))
            small = cv2.resize(
                frame.rgb, (SHOT_THUMBNAIL, min(height, 4 * SHOT_THUMBNAIL)),
                interpolation=cv2.INTER_AREA,
            )  # fmt: skip
            yield {"at": self.last, "jpeg": _base64(_jpeg(np.asarray(small, np.uint8)))}

    def _add(self, frame: Frame, face: TrackedFace, near: bool) -> None:
        now = self.last
        box = [now, *(float(side) for side in face.face.box)]
        track = self._open.get(face.track_id)
        if track is None:
            track = self._open[face.track_id] = {
                "shot": len(self.shot_starts) - 1, "start": now, "end": now, "frames": 0,
                "near": 0, "boxes": [box], "straight": [], "looks": [], "faces": [],
                "identity": None, "certainty": 0.0,
            }  # fmt: skip
        else:
            _lengthen(track, box)
        track["end"], track["frames"] = now, track["frames"] + 1
        track["near"] += near
        if face.identity is not None and face.certainty >= track["certainty"]:
            track["identity"], track["certainty"] = face.identity, float(face.certainty)
        looks = track["looks"]
        if face.detected and (not looks or now - looks[-1][0] >= LOOK_EVERY - 1e-3):
            self._look(frame, face, track)

    def _look(self, frame: Frame, face: TrackedFace, track: dict[str, Any]) -> None:
        crop = align_face(frame.rgb, face_affine(face.landmarks))
        pose, sharp = head_pose(face.landmarks), sharpness(crop)
        size = face_size(face.face)
        looks = track["looks"]
        looks.append([self.last, pose.yaw, pose.pitch, pose.roll, sharp, size])
        if len(looks) > 4096:
            del looks[1::2]
        score = sample_weight(crop, face.face) * min(1.0, size / THUMBNAIL) * (0.5 + sharp)
        faces = track["faces"]
        if len(faces) < FACES_KEPT or score > faces[-1][0]:
            small = cv2.resize(crop, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
            jpeg = np.frombuffer(_jpeg(np.asarray(small, np.uint8)), np.uint8)
            faces.append([float(score), jpeg])
            faces.sort(key=lambda item: -item[0])
            del faces[FACES_KEPT:]


def find_people(
    target: Path,
    folder: Path,
    options: SwapOptions | None = None,
    *,
    overwrite: bool = False,
    resume: bool = True,
    threshold: float = ONE_PERSON,
    embedder: FaceEmbedder | None = None,
    progress: Progress | None = None,
) -> Tracks:
    """Look for everybody in a clip, picture or image sequence, and write a cast folder.

    options: how it is read, and the detector. A people.toml that is there stays; with `overwrite`
    it is begun anew. A pass over the same clip that was broken off is gone on with. Raises a
    VidswapError for all that can be mended.
    """
    options = options or SwapOptions()
    if not is_pattern(target):
        check_readable(target)
    check_cast_folder(folder, overwrite)
    with ExitStack() as stack:
        if embedder is None:
            embedder = FaceEmbedder.load(options.detector)
            stack.callback(embedder.close)
        with writing_errors(folder):
            make_private_folder(folder)
            make_private_folder(folder / WORK)
        facts = {
            "sha256": target_digest(target)[1], "detector": options.detector,
            "identity": IDENTITY_NET, "vidswap": __version__, "fps": str(options.fps),
        }  # fmt: skip
        work = _Work(folder / WORK, facts, fresh=not resume)
        if is_picture(target):
            picture = open_picture(target).frame
            clip = _pass_over(iter([picture]), work, embedder, None, None, progress, 1)
        else:
            reader = open_target(target, options)
            stack.callback(reader.close)
            begin, frames = _place_to_go_on(reader, work)
            expected = _expected_frames(target)
            clip = _pass_over(frames, work, embedder, reader, begin, progress, expected)
        facts_of_clip = ClipFacts(
            target.name, facts["sha256"], clip.size, clip.frames, clip.seconds
        )
        tracks = _tracks_of(facts_of_clip, facts, clip, work, threshold)
    write_tracks(tracks, folder / TRACKS)
    write_pictures(work.pictures(pictured(tracks), tracks.shots), folder)
    plan = folder / PLAN
    if overwrite or not plan.exists():
        with writing_errors(plan):
            plan.write_text(begin_plan(tracks), encoding="utf-8")
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return tracks


def left_pass(folder: Path) -> list[Path]:
    """The work of a pass that ended early, in a cast folder; one of the last hour may go on."""
    work = folder / WORK
    inside = [] if work.is_symlink() or not work.is_dir() else list(work.iterdir())
    own = {name + end for name in (_LINES, _STATE, _FACTS) for end in ("", ".part")}
    if not inside or any(path.name not in own for path in inside):
        return []
    last = max(path.lstat().st_mtime for path in (work, *inside))
    return [work] if time.time() - last > _MAY_GO_ON else []


def pictured(tracks: Tracks) -> set[int]:
    """The tracks whose pictures are kept: the best of each person, and the most doubtful."""
    wanted: set[int] = set()
    for person in tracks.people[:MOST_PICTURED]:
        own = tracks.of_person[person]
        best = sorted(own, key=lambda track: (bool(track.doubts), -track.frames))
        wanted |= {track.id for track in best[:BEST_TRACKS]}
    return wanted | {track.id for track in doubtful_tracks(tracks)[:MOST_DOUBTFUL]}


def doubtful_tracks(tracks: Tracks) -> list[TrackRecord]:
    """Those with the most doubts first, of these the longest."""
    return sorted(
        (track for track in tracks.tracks if track.doubts),
        key=lambda track: (-len(track.doubts), -track.frames),
    )


def check_cast_folder(folder: Path, overwrite: bool) -> None:
    """Raise unless a cast folder can be made there: new, empty, unfinished or to be overwritten."""
    if folder.exists() and not folder.is_dir():
        raise OutputNotWritableError(f"{folder} is a file; name a folder for the cast")
    if not folder.absolute().parent.is_dir():
        raise OutputNotWritableError(f"no such folder: {folder.absolute().parent}; make it")
    if (folder / TRACKS).exists() and not overwrite:
        raise OutputExistsError(
            f"{folder} holds a cast already; give --overwrite or name another folder"
        )
    strange = (
        [p.name for p in folder.iterdir() if p.name not in OWN_NAMES] if folder.is_dir() else []
    )
    if strange and not (folder / TRACKS).exists():
        raise OutputExistsError(
            f"{folder} holds other files ({strange[0]}, ...); name a new folder"
        )


OWN_NAMES = {TRACKS, PLAN, WORK, "pictures.json", "sheet.html", "people.csv"}  # of a cast folder


@dataclass(frozen=True)
class _Passed:
    size: tuple[int, int]
    frames: int
    seconds: float
    shots: tuple[tuple[float, float], ...]
    together: Mapping[tuple[int, int], tuple[float, float]]
    dissolves: tuple[tuple[float, float], ...]


def _pass_over(
    frames: Iterable[Frame],
    work: _Work,
    embedder: FaceEmbedder,
    reader: VideoReader | SequenceReader | None,
    begin: SwapState | None,
    progress: Progress | None,
    expected: int,
) -> _Passed:
    """Follow all faces; lines of what was found go to the work folder."""
    zero = float(reader.zero) if reader else 0.0
    cuts, dissolves, collector = NotedCuts(), DissolveFinder(), Collector(zero)
    tracker = FaceTracker(
        embedder.detector, embedder.landmark_finder, cuts=cuts,
        identity=FaceSampler(embedder.encoder),
    )  # fmt: skip
    waiting: list[tuple[Frame, bool]] = []
    given = index = 0
    size = (1, 1)
    safe = time.monotonic()
    with Overlapped(frames, QUEUE, "decode") as decoded:
        stream = iter(decoded)
        if begin is not None:
            waiting = [(next(stream), bool(cut)) for cut in begin.chosen["cuts"]]
            tracker.restore(begin.following, [frame.rgb for frame, _ in waiting])
            collector.restore(begin.chosen["collected"])
            dissolves.restore(begin.chosen["dissolves"])
            index, given = begin.next_index, begin.counts.frames
        for frame in stream:
            found = tracker.update(index, frame.rgb, frame.seconds)
            if dissolves.add(cuts.grey, frame.seconds - zero, cuts.was_cut):
                collector.picture_due = dissolves.found[-1][1] + SETTLED
            waiting.append((frame, cuts.was_cut or index == 0))
            index, size = index + 1, (frame.rgb.shape[1], frame.rgb.shape[0])
            given += _collect(found, waiting, collector, work)
            if progress is not None:
                progress(index, max(expected, index))
            if found and reader is not None and time.monotonic() - safe > _SAFE_EVERY:
                state = SwapState(
                    index,
                    tuple((held.pts, fingerprint(held)) for held, _ in waiting),
                    tracker.state(),
                    {"cuts": [cut for _, cut in waiting], "collected": collector.state(),
                     "dissolves": dissolves.state()},
                    counts=SwapCounts(frames=given),
                )  # fmt: skip
                work.secure(state)
                safe = time.monotonic()
        given += _collect(tracker.flush(), waiting, collector, work)
        work.add(collector.end(all_tracks=True))
    ends = [*collector.shot_starts[1:], collector.last]
    shots = tuple(zip(collector.shot_starts, ends, strict=True))
    found_dissolves = tuple(dissolves.found)
    return _Passed(size, given, collector.last, shots, collector.together, found_dissolves)


def _collect(
    found: list[TrackedFrame],
    waiting: list[tuple[Frame, bool]],
    collector: Collector,
    work: _Work,
) -> int:
    for answer in found:
        frame, begins_shot = waiting.pop(0)
        work.add(collector.see(frame, answer, begins_shot))
    return len(found)


def _place_to_go_on(
    reader: VideoReader | SequenceReader, work: _Work
) -> tuple[SwapState | None, Iterable[Frame]]:
    state = work.state()
    if state is not None and (frames := frames_from(reader, state)) is not None:
        return state, frames
    work.clear()
    reader.go_to(None)
    return None, reader


class _Work:
    """The work folder of a pass: lines as they are found, and the state that fits their length."""

    def __init__(self, folder: Path, facts: Mapping[str, str], *, fresh: bool) -> None:
        self._folder, self._facts = folder, dict(facts)
        self._lines = folder / _LINES
        self._length = 0
        if fresh or self._facts != self._facts_there():
            self.clear()

    def clear(self) -> None:
        """Begin anew."""
        for name in (_STATE, _LINES, _FACTS):
            (self._folder / name).unlink(missing_ok=True)
        with writing_errors(self._folder):
            with open_private(self._folder / _FACTS) as file:
                file.write(json.dumps(self._facts).encode())
            open_private(self._lines).close()
        self._length = 0

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append lines; they count once a state is secured after them, or in the end."""
        content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        if not content:
            return
        with writing_errors(self._lines), open_private(self._lines, "ab") as file:
            file.write(content)
        self._length += len(content)

    def secure(self, state: SwapState) -> None:
        """Put a state on the disk with the length of the lines that it fits."""
        with writing_errors(self._lines), self._lines.open("rb") as file:
            os.fsync(file.fileno())
        content = self._length.to_bytes(8, "little") + state.to_bytes()
        write_private(self._folder / _STATE, content)

    def state(self) -> SwapState | None:
        """The state to go on from, with lines cut off that came after it."""
        try:
            content = (self._folder / _STATE).read_bytes()
            length = int.from_bytes(content[:8], "little")
            if self._lines.stat().st_size < length:
                return None
            state = SwapState.from_bytes(content[8:])
            if state is None or not _is_collected(state.chosen, len(state.held)):
                return None
            os.truncate(self._lines, length)
        except OSError:
            return None
        self._length = length
        return state

    def found(self) -> Iterator[dict[str, Any]]:
        """All lines."""
        with self._lines.open("rb") as file:
            for line in file:
                yield json.loads(line)

    def pictures(
        self, wanted: Collection[int], of_shots: Sequence[tuple[float, float]]
    ) -> Pictures:
        """Those of all shots and of the wanted tracks: of a long film all would be too many."""
        faces: dict[int, tuple[bytes, ...]] = {}
        shots: dict[int, bytes] = {}
        starts = [start for start, _ in of_shots]
        for line in self.found():
            if "jpeg" in line:
                shots[max(0, bisect_right(starts, line["at"]) - 1)] = line["jpeg"].encode()
            elif line["id"] in wanted:
                faces[line["id"]] = tuple(jpeg.encode() for jpeg in line["faces"])
        return Pictures(faces, shots)

    def _facts_there(self) -> Any:
        try:
            return json.loads((self._folder / _FACTS).read_bytes()[:10_000])
        except (OSError, ValueError, RecursionError):
            return None


def _is_collected(chosen: Any, n_held: int) -> bool:
    """Whether a state's own part is a collector's; its kinds were checked with the state."""
    try:
        collected, cuts = chosen["collected"], chosen["cuts"]
        Collector().restore(collected)
        DissolveFinder().restore(chosen["dissolves"])
        keys = {"shot", "start", "end", "frames", "near", "boxes", "straight", "looks", "faces",
                "identity", "certainty"}  # fmt: skip
        return len(cuts) == n_held and all(
            set(track) == keys and isinstance(number, int)
            for number, track in collected["open"].items()
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        return False


def _tracks_of(
    clip: ClipFacts, facts: Mapping[str, str], passed: _Passed, work: _Work, threshold: float
) -> Tracks:
    records = []
    for line in work.found():
        if "boxes" in line:
            record = track_from({**line, "person": ""})
            if clip.frames == 1:  # of a picture no more can be seen
                doubts = tuple(doubt for doubt in record.doubts if doubt != MOMENT)
                record = replace(record, doubts=doubts)
            records.append(record)
    records.sort(key=lambda record: (record.start, record.id))
    nets = {"detector": facts["detector"], "identity": facts["identity"]}
    ids = {record.id for record in records}
    together = {
        pair: first for pair, (first, last) in passed.together.items()
        if set(pair) <= ids and not _only_mixed(first, last, passed.dissolves)
    }  # fmt: skip
    shots = parted(passed.shots, passed.dissolves)
    if len(shots) > len(passed.shots):
        records = [replace(record, shot=_shot_of(record, shots)) for record in records]
    tracks = Tracks(clip, nets, __version__, shots, tuple(records), together)
    return with_people(tracks, threshold)


def _only_mixed(first: float, last: float, dissolves: Sequence[tuple[float, float]]) -> bool:
    """Whether a dissolve alone shows two faces together: one is the old shot's, one the new's."""
    return any(begin - MIXED <= first and last <= end + MIXED for begin, end in dissolves)


def parted(
    shots: Sequence[tuple[float, float]], dissolves: Sequence[tuple[float, float]]
) -> tuple[tuple[float, float], ...]:
    """Shots, in seconds, parted also in the middle of every dissolve."""
    found = []
    for start, end in shots:
        middles = [(begin + over) / 2 for begin, over in dissolves]
        bounds = [start, *(at for at in middles if start + MIXED < at < end - MIXED), end]
        found += list(pairwise(bounds))
    return tuple(found)


def _shot_of(track: TrackRecord, shots: Sequence[tuple[float, float]]) -> int:
    """The shot in which a track is seen longest: one may go on through a dissolve."""
    inside = [min(track.end, end) - max(track.start, start) for start, end in shots]
    return int(np.argmax(inside))


def with_people(tracks: Tracks, threshold: float = ONE_PERSON) -> Tracks:
    """The tracks with a person each, and what is doubtful about it.

    "p1" is the most seen; of those seen as long, as in a picture, the largest.
    """
    records = tracks.tracks
    if not records:
        return replace(tracks, people=())
    row = {record.id: n for n, record in enumerate(records)}
    embeddings = np.stack([record.embedding for record in records])
    certainties = np.array([record.certainty for record in records])
    apart = {(row[a], row[b]) for a, b in tracks.together}
    labels = people_of(embeddings, certainties, apart, threshold)
    seconds = np.bincount(labels, [tracks.seconds_of_track(record) for record in records])
    first = np.full(len(seconds), np.inf)
    np.minimum.at(first, labels, [record.start for record in records])
    pixels = np.zeros(len(seconds))
    np.maximum.at(pixels, labels, [record.pixels for record in records])
    order = sorted(
        range(len(seconds)),
        key=lambda n: (-round(float(seconds[n]), 3), -round(float(pixels[n])), first[n]),
    )
    names = {label: f"p{place}" for place, label in enumerate(order, 1)}
    unclear = _unclear(embeddings, certainties, labels)
    beside = {frozenset((int(labels[a]), int(labels[b]))) for a, b in apart}

    def doubt(n: int) -> tuple[str, ...]:
        if n not in unclear:
            return ()
        other = names[unclear[n]]
        if frozenset((int(labels[n]), unclear[n])) in beside:
            return (f"looks like {other}, who is seen beside them, as in a mirror",)
        return (f"could be {other}",)

    named = tuple(
        replace(
            record, person=names[int(labels[n])],
            doubts=(*record.doubts, *doubt(n)),
        )
        for n, record in enumerate(records)
    )  # fmt: skip
    return replace(tracks, tracks=named, people=tuple(names[label] for label in order))


def _unclear(
    embeddings: NDArray[np.float32], certainties: NDArray[np.floating], labels: NDArray[np.int64]
) -> dict[int, int]:
    """Rows that are hardly nearer to their own person than to another, with the other's label."""
    n_people = int(labels.max()) + 1
    embeddings = directions(embeddings)
    totals = np.zeros((n_people, embeddings.shape[1]))
    np.add.at(totals, labels, embeddings * np.maximum(certainties, 1e-3)[:, None])
    means = directions(totals)
    found: dict[int, int] = {}
    for n, row in enumerate(embeddings):
        distances = np.linalg.norm(means - row, axis=1)
        own = distances[labels[n]]
        distances[labels[n]] = np.inf
        other = int(np.argmin(distances))
        alone = np.count_nonzero(labels == labels[n]) == 1
        limit = ALIKE if alone else own + UNCLEAR
        if distances[other] < limit:
            found[n] = other
    return found


def _line_of(track: int, seen: Mapping[str, Any]) -> dict[str, Any]:
    """A finished track as a line of the work file: that of tracks.json, with its pictures."""
    boxes = np.array([*seen["boxes"], *seen["straight"][-1:]])
    looks = np.array(seen["looks"], np.float64).reshape(-1, 6)
    identity = seen["identity"]
    sharp = float(np.median(looks[:, 4])) if len(looks) else 0.0
    pixels = float(np.median(np.maximum(boxes[:, 3] - boxes[:, 1], boxes[:, 4] - boxes[:, 2])))
    record = TrackRecord(
        track, seen["shot"], seen["start"], seen["end"], seen["frames"],
        boxes[:, 0], boxes[:, 1:].astype(np.float32), looks[:, :4].astype(np.float32),
        sharp, pixels, seen["certainty"],
        np.zeros(128, np.float32) if identity is None else np.asarray(identity, np.float32),
    )  # fmt: skip
    doubts = []
    if pixels < SMALL:
        doubts.append(f"small: {pixels:.0f} pixels")
    if len(looks) and np.median(np.abs(looks[:, 1])) > TURNED:
        doubts.append("turned away")
    if len(looks) and sharp < MIN_SHARPNESS:
        doubts.append("blurred")
    if seen["certainty"] < SHORT:
        doubts.append(MOMENT)
    if seen["near"] >= CROWDED * seen["frames"]:
        doubts.append("near another face")
    pictures = [_base64(jpeg.tobytes()) for _, jpeg in seen["faces"]]
    return {**plain_track(replace(record, doubts=tuple(doubts))), "faces": pictures}


def _lengthen(track: dict[str, Any], box: list[float]) -> None:
    """Add a box; one is kept only where the way from the last kept one to this bends before."""
    straight, kept = track["straight"], track["boxes"][-1]
    if straight:
        between = np.array(straight)
        share = (between[:, :1] - kept[0]) / max(box[0] - kept[0], 1e-9)
        on_the_way = np.array(kept[1:]) + share * (np.array(box[1:]) - np.array(kept[1:]))
        size = max(box[3] - box[1], box[4] - box[2], 1.0)
        off = np.abs(on_the_way - between[:, 1:]).max() / size
        if off > OFF or len(straight) >= LONGEST_STRAIGHT:
            track["boxes"].append(straight[-1])
            track["straight"] = [box]
            return
    straight.append(box)


def _crowded(faces: list[TrackedFace]) -> list[bool]:
    """Of each face, whether another one is near."""
    centres = [face.landmarks.mean(axis=0) for face in faces]
    sizes = [mesh_diagonal(face.landmarks) for face in faces]
    return [
        any(
            n != m and float(np.hypot(*(centres[n] - centres[m]))) < NEAR * max(sizes[n], sizes[m])
            for m in range(len(faces))
        )
        for n in range(len(faces))
    ]


def _expected_frames(target: Path) -> int:
    from vidswap.media.probing import probe

    return int(probe(target).frames)


def _jpeg(rgb: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


PICTURES = "pictures.json"
_LARGEST_PICTURES = 2**30  # bytes


def write_pictures(pictures: Pictures, folder: Path) -> None:
    """Keep the small pictures beside the tracks, for the sheet."""
    plain = {
        "faces": {str(n): [j.decode() for j in jpegs] for n, jpegs in pictures.faces.items()},
        "shots": {str(n): jpeg.decode() for n, jpeg in pictures.shots.items()},
    }
    path = folder / PICTURES
    with writing_errors(path), open_private(path) as file:
        file.write(json.dumps(plain).encode())


def read_pictures(folder: Path) -> Pictures:
    """The small pictures of a cast folder, none where they are not there or are damaged."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        path = folder / PICTURES
        if path.stat().st_size <= _LARGEST_PICTURES:
            plain = json.loads(path.read_bytes())
            faces = {
                int(n): tuple(_sound_jpeg(jpeg) for jpeg in jpegs)
                for n, jpegs in plain["faces"].items()
            }
            return Pictures(faces, {int(n): _sound_jpeg(j) for n, j in plain["shots"].items()})
    return Pictures({}, {})


def _sound_jpeg(text: str) -> bytes:
    """Base64 of a JPEG, as it goes into a page. Raises ValueError for anything else."""
    content = base64.b64decode(text, validate=True)
    if not content.startswith(b"\xff\xd8\xff"):
        raise ValueError("no JPEG")
    return base64.b64encode(content)


def check_target(tracks: Tracks, sha256: str, target: Path) -> None:
    """Raise CastError unless the tracks are those of a clip with this hash."""
    if tracks.clip.sha256 != sha256:
        raise CastError(
            f"the cast is that of {tracks.clip.name}, and {target} is another file (its content "
            f"differs); make one for it: vidswap people {target} -o FOLDER"
        )


__all__ = ["Pictures", "check_target", "find_people", "read_pictures", "read_tracks",
           "with_people"]  # fmt: skip
