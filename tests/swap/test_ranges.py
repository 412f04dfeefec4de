"""A clip whose shots are swapped apart is the clip that one worker makes, packet by packet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.clips import frame_times, make_clip, sound_packets
from tests.photographs import astronaut, grace_hopper
from tests.swap_fixtures import moved
from vidswap.errors import NotAVideoError, OutputNotWritableError
from vidswap.media.decoder import VideoReader
from vidswap.media.segments import SegmentFolder, work_folders
from vidswap.nets import Nets
from vidswap.people.source import SourceIdentity
from vidswap.swap import ranges as ranges_module
from vidswap.swap.options import SwapCounts, SwapOptions, SwapResult
from vidswap.swap.ranges import (
    FrameRange,
    RangeProgress,
    RangeResult,
    RangeWork,
    ranges_of,
    swap_range,
)
from vidswap.swap.request import SwapRequest
from vidswap.swap.stages import SHORTEST_SEGMENT
from vidswap.swap.worker import Worker, load_models, read_source, swap_video

SHOTS = (26, 26, 6, 24, 20)  # frames; the third is too short to end a segment
CUTS = [26, 52, 58, 82]
RANGES = [26, 26, 50]
FRAMES = sum(SHOTS)
SEGMENT = 24


def picture(index: int, width: int, height: int) -> np.ndarray:
    """Two people in turn, and once nobody."""
    shot = sum(index >= cut for cut in CUTS)
    if shot == 4:
        rng = np.random.default_rng(3)
        noise = rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8)
        return np.repeat(np.repeat(noise, 8, 0), 8, 1)[:height, :width]
    photo = (grace_hopper(), astronaut()[:300, 100:340])[shot % 2]
    return moved(photo, index % 31, width, height)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    times = [2 * i + (i % 3 == 0) for i in range(FRAMES)]
    return make_clip(
        tmp_path_factory.mktemp("ranges") / "clip.mp4", picture=picture, size=(192, 144),
        pts=times, frames=FRAMES, b_frames=2, key_every=50, sound=["aac"], options={"crf": "12"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def options(untrained: Path) -> SwapOptions:
    return SwapOptions(
        checkpoint=untrained, segment_frames=SEGMENT, face="all", codec="ffv1",
        no_provenance="a test",
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(
    tmp_path_factory: pytest.TempPathFactory, clip: Path, source_picture: Path, options: SwapOptions
) -> SwapResult:
    """What one worker makes."""
    out = tmp_path_factory.mktemp("whole") / "out.mkv"
    return swap_video([source_picture], clip, out, options)


@pytest.fixture(scope="module")
def whole(alone: SwapResult) -> Path:
    return Path(alone.output)


@pytest.fixture(scope="module")
def nets(options: SwapOptions) -> Iterator[Nets]:
    found = load_models(options)
    yield found
    found.close()


@pytest.fixture(scope="module")
def source(nets: Nets, source_picture: Path, options: SwapOptions) -> SourceIdentity:
    return read_source(nets, [source_picture], options)


class Here:
    """Swaps ranges in this process, the last ones first, and notes them."""

    def __init__(self, nets: Nets, source: SourceIdentity) -> None:
        self.nets, self.source, self.seen = nets, source, list[FrameRange]()

    def __call__(self, works: Iterator[RangeWork]) -> Iterator[RangeProgress | RangeResult]:
        for work in reversed(list(works)):
            self.seen.append(work.range)
            yield RangeProgress(work.range.number, 1)
            yield swap_range(work, self.nets, self.source)


@pytest.fixture(autouse=True)
def short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges_module, "shortest_range", lambda frames: 1)


def packets(path: Path) -> list[tuple[int | None, int | None, str]]:
    with av.open(str(path)) as container:
        return [
            (p.pts, p.dts, hashlib.sha256(bytes(p)).hexdigest())
            for p in container.demux(container.streams.video[0]) if p.size
        ]  # fmt: skip


def assert_same(out: Path, whole: Path) -> None:
    assert frame_times(out) == frame_times(whole)
    assert packets(out) == packets(whole)
    assert sound_packets(out) == sound_packets(whole)


def test_ranges_begin_at_cuts_where_a_segment_ends(clip: Path) -> None:
    with VideoReader(clip) as reader:
        found = list(ranges_of(reader, SEGMENT, 1))
        times = frame_times(clip)
    # After 52 frames a shot of 6 ends no segment, being tiny; then one ends amid the next shot, and
    # the cut after that comes too soon.
    assert [part.frames for part in found] == RANGES
    firsts = np.cumsum([0, *RANGES[:-1]])
    assert [part.first * reader.time_base for part in found] == [times[n] for n in firsts]
    assert [part.end for part in found] == [*(part.first for part in found[1:]), None]
    with VideoReader(clip) as reader:
        assert [part.frames for part in ranges_of(reader, SEGMENT, 40)] == [52, 50]
    assert min(SHOTS) < SHORTEST_SEGMENT


def test_shots_swapped_apart_and_backwards_are_the_same_clip(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions, alone: SwapResult,
    nets: Nets, source: SourceIdentity,
) -> None:  # fmt: skip
    out, seen = tmp_path / "out.mkv", list[int]()
    here = Here(nets, source)
    result = swap_video(
        [source_picture], clip, out, options, lambda counts: seen.append(counts.frames), here
    )
    assert [part.number for part in here.seen] == [2, 1, 0]
    assert_same(out, Path(alone.output))
    assert result.frames == FRAMES and result.frames_kept == 0
    assert seen == sorted(seen) and seen[-1] == FRAMES
    assert list(tmp_path.iterdir()) == [out]
    names = ("faces_swapped", "frames_without_face", "warnings")
    assert [getattr(result, n) for n in names] == [getattr(alone, n) for n in names]


@pytest.mark.slow
def test_a_part_of_the_clip_too(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions, nets: Nets,
    source: SourceIdentity,
) -> None:  # fmt: skip
    part = replace(options, start=1.3, end=5.0, face="largest")
    swap_video([source_picture], clip, tmp_path / "one.mkv", part)
    swap_video([source_picture], clip, tmp_path / "two.mkv", part, ranges_by=Here(nets, source))
    assert_same(tmp_path / "two.mkv", tmp_path / "one.mkv")


class BrokenOffError(Exception):
    pass


@pytest.mark.slow
def test_broken_off_it_goes_on_range_by_range(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions, whole: Path,
    nets: Nets, source: SourceIdentity,
) -> None:  # fmt: skip
    out = tmp_path / "out.mkv"

    class Breaking(Here):
        def __call__(self, works: Iterator[RangeWork]) -> Iterator[RangeProgress | RangeResult]:
            def stop(frames: int) -> None:
                if frames == 36:
                    raise BrokenOffError

            for work in works:
                yield swap_range(work, self.nets, self.source, stop)

    with pytest.raises(BrokenOffError):
        swap_video([source_picture], clip, out, options, ranges_by=Breaking(nets, source))
    assert not out.exists() and len(work_folders(out)) == 3  # two whole, one half done
    result = swap_video([source_picture], clip, out, options, ranges_by=Here(nets, source))
    assert 26 + 26 + SEGMENT <= result.frames_kept < FRAMES and not result.warnings
    assert_same(out, whole)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
def test_a_plain_run_leaves_nothing_of_ranges_behind(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions, whole: Path,
    nets: Nets, source: SourceIdentity,
) -> None:  # fmt: skip
    out = tmp_path / "out.mkv"

    def stop(counts: SwapCounts) -> None:
        if counts.frames > FRAMES // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="frames are finished and kept"):
        swap_video([source_picture], clip, out, options, stop, Here(nets, source))
    result = swap_video([source_picture], clip, out, options)
    assert not result.warnings
    assert_same(out, whole)
    assert list(tmp_path.iterdir()) == [out]


def test_while_ranges_are_swapped_no_other_run_is_at_the_output(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions
) -> None:
    out = tmp_path / "out.mkv"
    with (
        SegmentFolder(out, {"a": "b"}, part=3),
        pytest.raises(OutputNotWritableError, match="another run"),
    ):
        swap_video([source_picture], clip, out, options)


def test_a_clip_that_reads_otherwise_is_refused(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions, nets: Nets,
    source: SourceIdentity,
) -> None:  # fmt: skip
    class Other(Here):
        def __init__(self, nets: Nets, source: SourceIdentity, **change: int) -> None:
            super().__init__(nets, source)
            self.change = change

        def __call__(self, works: Iterator[RangeWork]) -> Iterator[RangeProgress | RangeResult]:
            for work in works:
                changed = replace(work.range, **self.change)  # type: ignore[arg-type]
                yield swap_range(replace(work, range=changed), self.nets, self.source)

    for change, told in (({"crc": 1}, "other frames"), ({"frames": 31}, "from one cut")):
        with pytest.raises(NotAVideoError, match=told):
            swap_video(
                [source_picture], clip, tmp_path / "out.mkv", options,
                ranges_by=Other(nets, source, **change),
            )  # fmt: skip


def test_a_picture_has_no_ranges(
    tmp_path: Path, source_picture: Path, options: SwapOptions
) -> None:
    def never(works: Iterator[RangeWork]) -> Iterator[RangeResult]:
        raise AssertionError

    with Worker(never) as worker:
        request = SwapRequest.of(
            [source_picture], source_picture, tmp_path / "o.png", replace(options, codec=None)
        )
        assert worker.run(request).faces_swapped == 1
