"""A run that was broken off goes on, and gives what it would have given in one go."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.media.clips import decoded_planes, frame_times, make_clip, sound_packets
from tests.photographs import astronaut, grace_hopper
from tests.swap_fixtures import moved
from vidswap.errors import DiskFullError, OutputInUseError
from vidswap.media.encoder import VideoWriter
from vidswap.media.segments import SegmentFolder, work_folders
from vidswap.swap import job as swap
from vidswap.swap.options import SwapCounts, SwapOptions, SwapResult
from vidswap.swap.state import SwapState
from vidswap.swap.worker import swap_video

REPOSITORY = Path(__file__).resolve().parents[2]
FRAMES = 90
SEGMENT = 20


class StoppedError(Exception):
    """Ends a run from within, as a crash would."""


def picture(index: int, width: int, height: int) -> np.ndarray:
    """One person drifting, then after a cut another: tracks end and begin."""
    photo = grace_hopper() if index < 55 else astronaut()[:300, 100:340]
    return moved(photo, index % 40, width, height)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    times = [2 * i + (i % 3 == 0) for i in range(FRAMES)]
    return make_clip(
        tmp_path_factory.mktemp("resume") / "clip.mp4", picture=picture, size=(192, 144),
        pts=times, frames=FRAMES, b_frames=2, key_every=30, sound=["aac"], options={"crf": "12"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def options(untrained: Path) -> SwapOptions:
    return SwapOptions(
        checkpoint=untrained, segment_frames=SEGMENT, face="all", codec="ffv1", overwrite=True,
        no_provenance="a test",
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, clip: Path, source_picture: Path, options: SwapOptions
) -> Path:
    """The result of a run in one go."""
    out = tmp_path_factory.mktemp("whole") / "out.mkv"
    result = swap_video([source_picture], clip, out, options)
    assert result.frames == FRAMES and result.frames_kept == 0
    assert result.faces_swapped > FRAMES // 2
    assert list(out.parent.iterdir()) == [out]
    return out


def broken_off(
    source: Path, clip: Path, out: Path, options: SwapOptions, after: int, by: type[BaseException]
) -> None:
    def stop(counts: SwapCounts) -> None:
        if counts.frames >= after:
            raise by

    with pytest.raises(by):
        swap_video([source], clip, out, options, stop)


def assert_same(out: Path, whole: Path) -> None:
    assert frame_times(out) == frame_times(whole)
    assert sound_packets(out) == sound_packets(whole)
    for got, wanted in zip(decoded_planes(out), decoded_planes(whole), strict=True):
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("after", "kept"), [(25, 20), (47, 40), (70, 55), (FRAMES, 80)])
def test_a_run_goes_on_after_the_last_whole_segment_to_the_same_result(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions, whole: Path,
    after: int, kept: int,
) -> None:  # fmt: skip
    out = tmp_path / "out.mkv"
    broken_off(source_picture, clip, out, options, after, StoppedError)
    assert not out.exists()
    result = swap_video([source_picture], clip, out, options)
    # A segment ends where the tracker has nothing under way, a few frames later at most.
    assert kept <= result.frames_kept <= kept + 10
    assert result.frames == FRAMES
    assert_same(out, whole)
    assert list(tmp_path.iterdir()) == [out]


def test_several_breaks_one_after_the_other(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions, whole: Path
) -> None:
    out = tmp_path / "out.mkv"
    for after in (22, 45, 66):
        broken_off(source_picture, clip, out, options, after, KeyboardInterrupt)
    assert swap_video([source_picture], clip, out, options).frames_kept >= 60
    assert_same(out, whole)


def test_an_interrupt_tells_what_is_kept(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions
) -> None:
    def stop(counts: SwapCounts) -> None:
        if counts.frames == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"2\d frames are finished and kept"):
        swap_video([source_picture], clip, tmp_path / "out.mkv", options, stop)


def test_changed_settings_begin_anew_and_leave_the_other_work(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions
) -> None:
    out = tmp_path / "out.mkv"
    broken_off(source_picture, clip, out, options, 30, StoppedError)
    other = SwapOptions(**{**vars(options), "temporal_smoothing": 0.0})
    broken_off(source_picture, clip, out, other, 10, StoppedError)
    assert len(work_folders(out)) == 1  # the second had no whole segment
    result = swap_video([source_picture], clip, out, other)
    assert result.frames_kept == 0
    (line,) = [w for w in result.warnings if "unfinished work" in w]
    assert (
        f"temporal_smoothing {options.temporal_smoothing}, now 0.0" in line
        and "--no-resume" in line
    )
    assert list(tmp_path.iterdir()) == [out]


def test_another_target_under_the_same_name_is_noticed(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions
) -> None:
    target = tmp_path / "clip.mp4"
    shutil.copyfile(clip, target)
    out = tmp_path / "out.mkv"
    broken_off(source_picture, target, out, options, 30, StoppedError)
    with target.open("ab") as file:
        file.write(b"\0\0\0\x08free")
    result = swap_video([source_picture], target, out, options)
    assert result.frames_kept == 0
    assert any("another target" in warning for warning in result.warnings)


def test_no_resume_begins_anew(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions, whole: Path
) -> None:
    out = tmp_path / "out.mkv"
    broken_off(source_picture, clip, out, options, 30, StoppedError)
    fresh = SwapOptions(**{**vars(options), "resume": False})
    result = swap_video([source_picture], clip, out, fresh)
    assert result.frames_kept == 0 and not any("unfinished" in w for w in result.warnings)
    assert_same(out, whole)


def test_a_damaged_segment_is_made_again(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions, whole: Path
) -> None:
    out = tmp_path / "out.mkv"
    broken_off(source_picture, clip, out, options, 70, StoppedError)
    (folder,) = work_folders(out)
    segment = sorted(folder.glob("segment-*"))[-1]
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 0xFF
    segment.write_bytes(content)
    result = swap_video([source_picture], clip, out, options)
    assert 40 <= result.frames_kept <= 50
    assert any("damaged; swapping them again" in warning for warning in result.warnings)
    assert_same(out, whole)


@pytest.fixture(scope="module")
def work(
    tmp_path_factory: pytest.TempPathFactory, clip: Path, source_picture: Path, options: SwapOptions
) -> Path:
    """The folder of a broken-off run, to be copied."""
    out = tmp_path_factory.mktemp("work") / "out.mkv"
    broken_off(source_picture, clip, out, options, 47, StoppedError)
    return out.parent


def last_state(folder: Path) -> Path:
    (inside,) = work_folders(folder / "out.mkv")
    return sorted(inside.glob("state-*"))[-1]


@pytest.mark.parametrize(
    "change",
    [
        {"next_index": -1}, {"next_index": "a"}, {"next_index": 10**40},
        {"held": ((10**30, 0),)}, {"held": ((1, 2, 3),)}, {"held": None}, {"held": ()},
        {"following": None}, {"following": {}}, {"following": {"held": []}},
        {"smoothing": {"a": 1}}, {"references": 3}, {"counts": None}, {"damage": 3},
        {"counts": SwapCounts(-1)}, {"chosen": {0: "x" * 100_000}},
    ],
)  # fmt: skip
def test_an_altered_state_is_none(work: Path, change: dict[str, Any]) -> None:
    state = SwapState.from_bytes(last_state(work).read_bytes())
    assert state is not None and SwapState.from_bytes(state.to_bytes()) is not None
    assert SwapState.from_bytes(replace(state, **change).to_bytes()) is None


def test_damaged_states_are_none_whatever_the_damage(work: Path) -> None:
    pickled = zlib.decompress(last_state(work).read_bytes())
    chance = random.Random(3)
    for _ in range(120):
        content = bytearray(pickled)
        for _ in range(chance.randint(1, 5)):
            content[chance.randrange(min(len(content), 3000))] = chance.randrange(256)
        SwapState.from_bytes(zlib.compress(bytes(content), 1))  # a state or None, no error
    nested = pickle.dumps(0, 4)[:-2] + b"]" * 10 + b"(" * 100_000 + b"."
    assert SwapState.from_bytes(zlib.compress(nested)) is None


def test_a_state_of_other_packets_begins_anew_with_one_warning_to_the_same_result(
    work: Path, tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions, whole: Path
) -> None:
    shutil.copytree(work, tmp_path / "copy")
    path = last_state(tmp_path / "copy")
    state = SwapState.from_bytes(path.read_bytes())
    assert state is not None
    content = replace(state, counts=replace(state.counts, frames=10**6)).to_bytes()
    path.write_bytes(content)
    manifest = json.loads((path.parent / "manifest.json").read_bytes())
    manifest["segments"][-1]["state_sha256"] = hashlib.sha256(content).hexdigest()
    manifest.pop("sha256")
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (path.parent / "manifest.json").write_text(json.dumps(manifest))
    out = tmp_path / "copy" / "out.mkv"
    result = swap_video([source_picture], clip, out, options)
    assert result.frames_kept == 0 and result.frames == FRAMES
    (warning,) = result.warnings
    assert "starting over" in warning
    assert_same(out, whole)


def test_a_disk_that_fills_up_in_the_end_costs_no_frame(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions, whole: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "out.mkv"

    def full(*_: object) -> None:
        raise DiskFullError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, "join", full)
        with pytest.raises(DiskFullError, match="90 frames are finished and kept"):
            swap_video([source_picture], clip, out, options)
    assert not out.exists()

    def no_frame(*_: object) -> SwapResult:
        raise AssertionError("a frame was swapped again")

    monkeypatch.setattr(swap.SwapJob, "_report", no_frame)
    result = swap_video([source_picture], clip, out, options)
    assert result.frames == result.frames_kept == FRAMES
    assert_same(out, whole)


def test_a_second_run_on_the_same_output_is_refused(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions
) -> None:
    out = tmp_path / "out.mkv"
    broken_off(source_picture, clip, out, options, 30, StoppedError)
    (folder,) = work_folders(out)
    facts = json.loads((folder / "manifest.json").read_bytes())["facts"]
    with (
        SegmentFolder(out, facts),
        pytest.raises(OutputInUseError, match="another run is at work"),
    ):
        swap_video([source_picture], clip, out, options)


def test_a_state_runs_no_code_from_the_file(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "made"),)

    assert SwapState.from_bytes(zlib.compress(pickle.dumps(Malicious()))) is None
    assert list(tmp_path.iterdir()) == []
    assert SwapState.from_bytes(b"") is None
    assert SwapState.from_bytes(zlib.compress(pickle.dumps({"a": 1}))) is None


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_nothing(
    tmp_path: Path, clip: Path, source_picture: Path, options: SwapOptions, whole: Path
) -> None:
    out = tmp_path / "out.mkv"
    program = (
        "import sys; from pathlib import Path; import vidswap\n"
        "source, target, out, checkpoint = map(Path, sys.argv[1:])\n"
        "from vidswap.swap.worker import swap_video\n"
        "from vidswap.swap.options import SwapOptions\n"
        f"options = SwapOptions(checkpoint=checkpoint, segment_frames={SEGMENT}, face='all',\n"
        "    codec='ffv1', overwrite=True, no_provenance='a test')\n"
        "swap_video([source], target, out, options)\n"
    )
    command = [sys.executable, "-c", program, source_picture, clip, out, options.checkpoint]
    moments = random.Random(5)
    for _ in range(10):
        job = subprocess.Popen(list(map(str, command)), cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        while job.poll() is None and not work_folders(out):
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.6))
        job.send_signal(signal.SIGKILL)
        job.wait(timeout=60)
    job = subprocess.Popen(list(map(str, command)), cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    while job.poll() is None and not finished_segments(out):
        time.sleep(0.01)  # one at least is whole by now, whatever the ten kills have hit
    job.send_signal(signal.SIGKILL)
    job.wait(timeout=60)
    result = swap_video([source_picture], clip, out, options)
    assert result.frames == FRAMES
    assert result.frames_kept >= SEGMENT
    assert_same(out, whole)
    assert list(tmp_path.iterdir()) == [out]


def finished_segments(out: Path) -> int:
    """Segments that the work folder of an output names as whole."""
    manifests = (folder / "manifest.json" for folder in work_folders(out))
    texts = [json.loads(m.read_text()) for m in manifests if m.is_file()]
    return sum(len(manifest["segments"]) for manifest in texts)


def test_transparency_beside_the_packets_is_kept_though_such_a_run_cannot_go_on(
    tmp_path: Path, source_picture: Path, options: SwapOptions
) -> None:
    clip = make_clip(
        tmp_path / "clip.mkv", picture=picture, size=(192, 144), frames=24, codec="ffv1",
        pixel_format="yuva420p",
    )  # fmt: skip
    out = tmp_path / "out.webm"
    clear = SwapOptions(**{**vars(options), "codec": "vp9"})
    broken_off(source_picture, clip, out, clear, 10, StoppedError)
    assert list(tmp_path.iterdir()) == [clip]
    result = swap_video([source_picture], clip, out, clear)
    assert result.frames == 24 and result.frames_kept == 0 and result.faces_swapped > 0
    with av.open(str(out)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    assert len(packets) == 24
    assert all(packet.has_sidedata("matroska_block_additional") for packet in packets)
    assert set(tmp_path.iterdir()) == {clip, out}


def test_a_clip_with_transparency_and_no_face_is_copied_as_it_is(
    tmp_path: Path, source_picture: Path, options: SwapOptions
) -> None:
    clear = SwapOptions(**{**vars(options), "codec": "vp9"})
    clip = make_clip(tmp_path / "in.mkv", frames=8, codec="ffv1", pixel_format="yuva420p")
    out = tmp_path / "out.mkv"
    result = swap_video([source_picture], clip, out, clear)
    assert result.faces_swapped == 0
    assert out.read_bytes() == clip.read_bytes()
    assert set(tmp_path.iterdir()) == {clip, out}
