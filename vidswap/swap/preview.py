"""A swap before an hour of work: one frame, or each person of a cast in each shot."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.errors import BadOptionError
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.output import check_output
from vidswap.media.picture import is_picture, read_picture, write_picture
from vidswap.media.probing import probe
from vidswap.media.sampling import frames_at, packet_times
from vidswap.media.sequence import is_sequence
from vidswap.media.sequence_reader import SequenceReader
from vidswap.nets import load_nets
from vidswap.people.tracks import TrackRecord
from vidswap.swap.cast import AUTO, Cast, auto_folder, check_cast, load_cast
from vidswap.swap.job import marks_of, read_source
from vidswap.swap.options import SwapCounts, SwapOptions
from vidswap.swap.path import swap_frames

TILE = 176  # pixels, side of a face before or after
MOST_TILES = 60
_COLUMNS = 3  # pairs in a row
_LABEL = 20  # pixels below a pair
_AROUND = 0.6  # of a face's size, shown around it


def preview_frame(
    sources: Sequence[Path], target: Path, output: Path, at: float | None, options: SwapOptions
) -> float:
    """Write the frame at `at` seconds (default: the middle) before and after a swap as PNG.

    Returns the time of the frame in seconds. Raises a VidswapError as `swap_video` does.
    """
    _check_preview(output, options)
    frame = read_frame(target, at, options.fps, options.colour_space)
    with closing(
        load_nets(options.checkpoint, options.detector, options.device, options.precision)
    ) as nets:
        source = read_source(nets, sources, options)
        counts = SwapCounts()
        (after,) = swap_frames([frame], source, nets, options, counts)
        marks = marks_of(replace(options, start=at), nets) if counts.faces_swapped else None
    side_by_side = np.concatenate([frame.rgb, after.rgb], axis=1)
    write_picture(output, side_by_side, marks, overwrite=options.overwrite)
    return frame.seconds


def read_frame(
    target: Path, at: float | None, fps: float | None = None, colour_space: str | None = None
) -> Frame:
    """The frame of a clip at `at` seconds, by default in its middle, or the picture itself."""
    if is_picture(target):
        return read_picture(target)
    if is_sequence(target):
        with SequenceReader(target, fps=fps, colour_space=colour_space) as frames:
            middle = frames.numbers[len(frames.numbers) // 2] - frames.first_number
            wanted = middle if at is None else round(at / frames.time_base)
            found = frames.frame_at(wanted, seek=True)
            if found is None:
                raise BadOptionError(f"{target} has no frame at {at} s")
            return found
    info = probe(target)
    with VideoReader(target, start=info.duration / 2.0 if at is None else at) as reader:
        return next(iter(reader))


def preview_cast(
    sources: Sequence[Path], target: Path, output: Path, options: SwapOptions
) -> tuple[int, int]:
    """Write everybody who is swapped, once in every shot, before and after, as one PNG.

    Returns how many appearances are shown, and how many more there are. Raises a VidswapError as
    `swap_video` does.
    """
    _check_preview(output, options)
    check_cast(options, sources)
    with closing(
        load_nets(options.checkpoint, options.detector, options.device, options.precision)
    ) as nets:
        cast = load_cast(nets, target, output, sources, options)
        appearances = _appearances(cast)
        wanted = sorted(appearances[:MOST_TILES], key=lambda found: found[1])
        tiles, swapped = [], False
        for (track, seconds), frame, zero in _frames_of(target, wanted, options):
            assigner = cast.assigner(options, zero)
            (after,) = swap_frames([frame], assigner, nets, options)
            swapped = swapped or after is not frame
            decision = cast.plan.decide(track.id, seconds)
            name = cast.plan.people[decision.person].name
            label = f"{decision.person} {name} shot {track.shot + 1}, {seconds:.1f} s"
            tiles.append((decision.person, _tile(frame, after, track, seconds, label)))
        marks = marks_of(options, nets) if swapped else None
    if options.cast == AUTO:
        shutil.rmtree(auto_folder(output), ignore_errors=True)
    if not tiles:
        raise BadOptionError(f"{target}: nobody of the cast gets another face; there is no preview")
    order = list(cast.plan.tracks.people)
    tiles.sort(key=lambda tile: order.index(tile[0]))
    sheet = _in_rows([tile for _, tile in tiles])
    write_picture(output, sheet, marks, overwrite=options.overwrite)
    return len(tiles), len(appearances) - len(wanted)


def _check_preview(output: Path, options: SwapOptions) -> None:
    if output.suffix.lower() != ".png":
        raise BadOptionError(f"{output}: a preview is a PNG; name the output with .png")
    check_output(output, options.overwrite)


def _appearances(cast: Cast) -> list[tuple[TrackRecord, float]]:
    """A moment for every person and shot, from the longest track there; the longest first."""
    best: dict[tuple[str, int], TrackRecord] = {}
    for track in cast.plan.tracks.tracks:
        decision = cast.plan.decide(track.id, _middle(track))
        key = decision.person, track.shot
        if decision.sources and (key not in best or track.frames > best[key].frames):
            best[key] = track
    found = sorted(best.values(), key=lambda track: -track.frames)
    return [(track, _middle(track)) for track in found]


def _middle(track: TrackRecord) -> float:
    return (track.start + track.end) / 2.0


def _frames_of(
    target: Path, wanted: Sequence[tuple[TrackRecord, float]], options: SwapOptions
) -> Iterator[tuple[tuple[TrackRecord, float], Frame, float]]:
    """The frames at moments in order of time, each with the clip's beginning on its clock.

    The moment is put right to that of the frame.
    """
    if is_picture(target):
        frame = read_picture(target)
        for track, _ in wanted:
            yield (track, 0.0), frame, 0.0
        return
    if is_sequence(target):
        with SequenceReader(target, fps=options.fps, colour_space=options.colour_space) as frames:
            left = list(wanted)
            for still in frames:
                while left and still.seconds >= left[0][1] - 1e-3:
                    yield (left.pop(0)[0], still.seconds), still, 0.0
        return
    times = packet_times(target)
    with VideoReader(target) as reader:
        zero = float(reader.zero)
        seconds = np.array([float(pts * times.time_base) - zero for pts in times.frames])
        places = [max(0, int(np.searchsorted(seconds, at + 1e-6)) - 1) for _, at in wanted]
        ordered = sorted(set(places))
        found = zip(
            ordered,
            frames_at(reader, [times.frames[n] for n in ordered], times.keys),
            strict=False,
        )
        for place, frame in found:
            for (track, _), own in zip(wanted, places, strict=True):
                if own == place:
                    yield (track, frame.seconds - zero), frame, zero


def _tile(
    before: Frame, after: Frame, track: TrackRecord, seconds: float, label: str
) -> NDArray[np.uint8]:
    """The face before and after, side by side, with a line below."""
    left, top, right, bottom = track.box_at(seconds)
    half = (0.5 + _AROUND) * max(right - left, bottom - top)
    scale = TILE / (2.0 * half)
    x, y = (left + right) / 2.0, (top + bottom) / 2.0
    matrix = np.array([[scale, 0, TILE / 2 - scale * x], [0, scale, TILE / 2 - scale * y]])
    faces = [
        cv2.warpAffine(frame.rgb, matrix, (TILE, TILE), flags=cv2.INTER_AREA)
        for frame in (before, after)
    ]
    line = np.full((_LABEL, 2 * TILE, 3), 24, np.uint8)
    words = label.encode("ascii", "replace").decode()
    cv2.putText(
        line, words, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (230, 230, 230), 1, cv2.LINE_AA
    )
    return np.concatenate([np.concatenate(faces, axis=1), line], axis=0)


def _in_rows(tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Tiles of one size in rows of `_COLUMNS`."""
    columns = min(_COLUMNS, len(tiles))
    height, width = tiles[0].shape[:2]
    sheet = np.full((-(-len(tiles) // columns) * height, columns * width, 3), 24, np.uint8)
    for n, tile in enumerate(tiles):
        top, left = n // columns * height, n % columns * width
        sheet[top : top + height, left : left + width] = tile
    return sheet
