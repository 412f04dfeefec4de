"""Parts of a clip coded apart are one clip again, and each is there whole or not at all."""

import gc
import hashlib
import json
import mmap
import os
import shutil
import stat
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from vidswap.commands.main import main
from vidswap.errors import DiskFullError, OutputInUseError, OutputNotWritableError
from vidswap.media import VideoReader, VideoWriter, packet_file
from vidswap.media.decoder import VideoReader as Reader
from vidswap.media.packet_file import PacketFile, PacketWriter, reordering, shown_times
from vidswap.media.picture_encoder import PictureEncoder, Quality
from vidswap.media.segments import (
    MANIFEST,
    SegmentFolder,
    differences,
    remove_finished_work,
    remove_work,
    work_folders,
)

from .clips import decoded_planes, frame_times, make_clip, sound_packets

FACTS = {"target": "a" * 64, "crf": "18"}


def add_segment(
    folder: SegmentFolder, output: Path, reader: Reader, frames: list, quality: Quality
) -> None:
    encoder, packets = PictureEncoder(output, reader, quality), folder.begin_segment()
    for frame in frames:
        for packet in encoder.encode(frame):
            packets.write(packet)
    for packet in encoder.flush():
        packets.write(packet)
    folder.add(packets.close(encoder.stream.codec_context.extradata), b"state")
    encoder.close()


def joined(source: Path, output: Path, quality: Quality, cuts: tuple[int, ...]) -> Path:
    """The clip, coded in parts that end before the frames `cuts`, and joined."""
    with VideoReader(source) as reader, SegmentFolder(output, FACTS) as folder:
        frames = list(reader)
        for first, last in zip((0, *cuts), (*cuts, len(frames)), strict=True):
            add_segment(folder, output, reader, frames[first:last], quality)
        writer = VideoWriter(
            output, reader, codec=quality.codec, crf=quality.crf, preset=quality.preset
        )
        with writer:
            writer.join(folder.path, folder.packet_files)
    return output


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames at uneven times, long gaps among them, with sound."""
    gaps = [1 + (i * 7) % 5 + (40 if i % 13 == 12 else 0) for i in range(40)]
    times = [int(t) for t in np.cumsum(gaps)]
    return make_clip(
        tmp_path_factory.mktemp("segments") / "uneven.mp4",
        pts=times, time_base=Fraction(1, 90), rate=Fraction(30), b_frames=2, sound=["aac"],
        container_options={"video_track_timescale": "90"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "codec", "preset"),
    [
        ("out.mp4", "h264", "medium"), ("out.mkv", "h264", "medium"),
        ("out.mov", "hevc", "ultrafast"), ("out.mp4", "av1", "12"), ("out.webm", "vp9", "8"),
        ("out.mov", "prores", None), ("out.mkv", "ffv1", None),
    ],
)  # fmt: skip
def test_joined_segments_have_every_frame_at_its_time(
    tmp_path: Path, uneven: Path, copied: object, name: str, codec: str, preset: str | None
) -> None:
    if name.endswith("webm"):
        uneven = make_clip(tmp_path / "silent.mp4", frames=40)
    quality = Quality(codec, 12, preset)
    out = joined(uneven, tmp_path / name, quality, (7, 8, 29))
    expected = frame_times(uneven)
    milliseconds = Path(name).suffix in (".mkv", ".webm")
    assert frame_times(out) == [
        Fraction(round(t * 1000), 1000) if milliseconds else t for t in expected
    ]
    with av.open(str(out)) as container:
        coded = [p for p in container.demux(video=0) if p.size]
    assert coded[0].is_keyframe and len(coded) == 40
    if not milliseconds:  # Matroska stores no coded times
        assert all(one.dts < other.dts for one, other in pairwise(coded))
        assert all(packet.dts <= packet.pts for packet in coded)
    for got, wanted in zip(decoded_planes(out), decoded_planes(uneven), strict=True):
        if got[0].shape == wanted[0].shape:  # 8 bits, as the source
            assert np.abs(got[0].astype(int) - wanted[0]).mean() < 4


def test_the_sound_is_as_without_segments(tmp_path: Path, uneven: Path) -> None:
    out = joined(uneven, tmp_path / "out.mp4", Quality(), (10, 20))
    assert sound_packets(out) == sound_packets(uneven)


def test_lossless_segments_decode_to_the_source(tmp_path: Path, uneven: Path) -> None:
    out = joined(uneven, tmp_path / "out.mp4", Quality("h264", 0), (13, 14))
    for got, wanted in zip(decoded_planes(out), decoded_planes(uneven), strict=True):
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_reordering_counts_places_between_coded_and_shown() -> None:
    assert reordering([0, 1, 2]) == 0
    assert reordering([0, 4, 2, 1, 3]) == 2  # frame 1 is coded fourth and shown second


def test_a_packet_file_gives_back_what_it_was_given(tmp_path: Path) -> None:
    writer = PacketWriter(tmp_path / "a.packets")
    for pts, content in ((0, b"key"), (3, b""), (1, b"b" * 1000)):
        packet = av.Packet(content)
        packet.pts, packet.dts, packet.duration = pts, pts - 2, 1
        packet.is_keyframe = pts == 0
        writer.write(packet)
    assert not (tmp_path / "a.packets").exists()
    file = writer.close(b"headers")
    assert shown_times(tmp_path / "a.packets") == [0, 1, 3]
    got = list(packet_file.read_packets(tmp_path / "a.packets", Fraction(1, 25)))
    assert [(p.pts, p.dts, p.duration, p.is_keyframe, bytes(p)) for p in got] == [
        (0, -2, 1, True, b"key"), (3, 1, 1, False, b""), (1, -1, 1, False, b"b" * 1000)
    ]  # fmt: skip
    assert file.packets == 3 and file.size == (tmp_path / "a.packets").stat().st_size


def closed(folder: Path, name: str = "x.packets") -> PacketFile:
    writer = PacketWriter(folder / name)
    packet = av.Packet(b"content")
    packet.pts = 0
    writer.write(packet)
    return writer.close(None)


def filled(output: Path, n: int = 3) -> Path:
    """A work folder with some segments, let go of."""
    with SegmentFolder(output, FACTS) as folder:
        for number in range(n):
            writer = folder.begin_segment()
            packet = av.Packet(bytes([number]) * 100)
            packet.pts = number
            packet.is_keyframe = True
            writer.write(packet)
            folder.add(writer.close(None), f"state {number}".encode())
    return folder.path


def alter(path: Path, change: dict[str, object], *, resealed: bool) -> None:
    """Change a manifest; `resealed`: its checksum is made to fit."""
    content = {**json.loads(path.read_bytes()), **change}
    if resealed:
        content.pop("sha256")
        whole = json.dumps(content, sort_keys=True).encode()
        content["sha256"] = hashlib.sha256(whole).hexdigest()
    path.write_text(json.dumps(content))


def test_work_is_found_again_with_its_last_state(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    filled(output)
    with SegmentFolder(output, FACTS) as folder:
        assert len(folder.segments) == 3 and folder.lost == 0
        assert folder.state() == b"state 2"


@pytest.mark.parametrize(("damaged", "whole"), [("segment-00002.packets", 2), ("state-00002", 2)])
def test_a_damaged_segment_is_left_out(tmp_path: Path, damaged: str, whole: int) -> None:
    output = tmp_path / "out.mp4"
    path = filled(output) / damaged
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with SegmentFolder(output, FACTS) as folder:
        assert (len(folder.segments), folder.lost) == (whole, 3 - whole)
        assert folder.state() == b"state 1"


def test_a_damaged_first_segment_leaves_nothing_to_go_on_with(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    (filled(output) / "segment-00000.packets").write_bytes(b"")
    with SegmentFolder(output, FACTS) as folder:
        assert folder.segments == [] and folder.lost == 3 and folder.state() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"segments": [{"packets": 3}]}'])
def test_a_manifest_that_is_none_is_as_no_work(tmp_path: Path, content: bytes) -> None:
    output = tmp_path / "out.mp4"
    (filled(output) / MANIFEST).write_bytes(content)
    with SegmentFolder(output, FACTS) as folder:
        assert folder.segments == []


def test_other_facts_have_a_folder_of_their_own_and_are_told(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    before = filled(output)
    with SegmentFolder(output, FACTS | {"crf": "20", "target": "b" * 64}) as folder:
        assert folder.segments == []
        assert folder.others() == [(before, "another target, crf 18, now 20")]
    assert work_folders(output) == [before]  # the one without a segment is gone
    assert len(json.loads((before / MANIFEST).read_bytes())["segments"]) == 3


def test_differences_name_what_came_and_went() -> None:
    assert differences({"a": "1"}, {"b": "2"}) == "a 1, now none, b none, now 2"


def test_fresh_work_removes_the_old(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    filled(output)
    with SegmentFolder(output, FACTS, fresh=True) as folder:
        assert folder.segments == []
    assert list(tmp_path.iterdir()) == []


def test_two_runs_are_not_let_at_one_output(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    with (
        SegmentFolder(output, FACTS),
        pytest.raises(OutputInUseError, match="another run is at work on"),
    ):
        SegmentFolder(output, FACTS)


def test_nor_with_other_facts_nor_to_remove_what_the_other_does(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    with SegmentFolder(output, FACTS) as folder:
        for fresh in (False, True):
            with pytest.raises(OutputInUseError, match="another run is at work on"):
                SegmentFolder(output, {**FACTS, "crf": "30"}, fresh=fresh)
        remove_work(output)
        assert work_folders(output) == [folder.path]
    SegmentFolder(output, {**FACTS, "crf": "30"}).close()
    assert work_folders(output) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_and_leaves_no_half_segment(tmp_path: Path) -> None:
    (tmp_path / "a.part").symlink_to("/dev/full")
    writer = PacketWriter(tmp_path / "a.packets")
    packet = av.Packet(bytes(1_000_000))
    packet.pts = 0
    with pytest.raises(DiskFullError, match="no space left"):
        writer.write(packet)
    writer.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="the system does not tell")
def test_encoders_of_finished_segments_hold_no_memory(tmp_path: Path) -> None:
    def resident_mib() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE / 2**20

    clip = make_clip(tmp_path / "large.mp4", frames=12, size=(1280, 720))
    gc.disable()  # it may not run for minutes, as few objects are made for a frame
    try:
        with VideoReader(clip) as reader, SegmentFolder(tmp_path / "out.mp4", FACTS) as folder:
            frames, taken = list(reader), []
            for _ in range(8):
                add_segment(folder, folder.output, reader, frames, Quality())
                taken.append(resident_mib())
    finally:
        gc.enable()
    assert max(taken[2:]) - taken[1] < 20  # one encoder: 60


@pytest.mark.parametrize(
    "change",
    [
        {"segments": None}, {"segments": {}}, {"segments": [None]}, {"segments": [[]]},
        {"segments": "x"}, {"facts": None}, {"facts": {"target": 3}}, {"format": None},
        {"format": 1e308}, {"facts": []},
    ],
)  # fmt: skip
@pytest.mark.parametrize("resealed", [True, False])
def test_an_altered_manifest_is_as_none_and_is_told(
    tmp_path: Path, change: dict[str, object], resealed: bool
) -> None:
    output = tmp_path / "out.mp4"
    path = filled(output) / MANIFEST
    alter(path, change, resealed=resealed)
    with SegmentFolder(output, FACTS) as folder:
        assert folder.segments == [] and folder.state() is None and folder.damaged


@pytest.mark.parametrize(
    "change",
    [
        {"packets": 10**30}, {"packets": -1}, {"packets": 0}, {"packets": 1.0}, {"packets": True},
        {"packets": 2}, {"name": 3}, {"name": "../../out.mp4"}, {"name": "segment-00001.packets"},
        {"reordering": -5}, {"reordering": 10**40}, {"reordering": 3}, {"size": "9"},
        {"sha256": None}, {"sha256": "a"}, {"setup": ["a"]}, {"more": 1}, {"size": None},
    ],
)  # fmt: skip
def test_an_altered_segment_is_not_taken(tmp_path: Path, change: dict[str, object]) -> None:
    output = tmp_path / "out.mp4"
    path = filled(output) / MANIFEST
    segments = json.loads(path.read_bytes())["segments"]
    segments[0]["packets"] |= change
    alter(path, {"segments": segments}, resealed=True)
    with SegmentFolder(output, FACTS) as folder:
        assert folder.segments == [] and (folder.damaged or folder.lost == 3)


@pytest.mark.parametrize("state", [None, 3, "../x", "state-00001", ""])
def test_an_altered_name_of_a_state_is_not_taken(tmp_path: Path, state: object) -> None:
    output = tmp_path / "out.mp4"
    path = filled(output) / MANIFEST
    segments = json.loads(path.read_bytes())["segments"]
    segments[0]["state"] = state
    alter(path, {"segments": segments}, resealed=True)
    with SegmentFolder(output, FACTS) as folder:
        assert folder.segments == [] and folder.damaged


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000, b"\xff\xfe"])
def test_a_manifest_that_nests_is_as_none(tmp_path: Path, content: bytes) -> None:
    output = tmp_path / "out.mp4"
    (filled(output) / MANIFEST).write_bytes(content)
    with SegmentFolder(output, FACTS) as folder:
        assert folder.segments == [] and folder.damaged


HEAD = "<qqqBI"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"vidswap packets 1\n",
        b"vidswap packets 1\n" + struct.pack(HEAD, 0, 0, 1, 1, 2**31) + b"short",
        b"vidswap packets 1\n" + struct.pack(HEAD, 2**63 - 1, 0, 1, 1, 3) + b"abc",
        b"vidswap packets 1\n" + struct.pack(HEAD, 0, 0, -7, 1, 3) + b"abc",
        b"vidswap packets 1\n" + struct.pack(HEAD, 0, 0, 1, 0, 3) + b"abc",
        b"vidswap packets 1\n" + 2 * (struct.pack(HEAD, 0, 0, 1, 1, 3) + b"abc"),
        b"vidswap packets 1\n" + struct.pack(HEAD, 0, 0, 1, 1, 3) + b"abc" + b"\0" * 5,
        b"another file    1\n" + struct.pack(HEAD, 0, 0, 1, 1, 3) + b"abc",
    ],
)
def test_a_packet_file_with_fitting_checksums_but_no_packets_is_not_taken(
    tmp_path: Path, content: bytes
) -> None:
    output = tmp_path / "out.mp4"
    path = filled(output)
    (path / "segment-00000.packets").write_bytes(content)
    segments = json.loads((path / MANIFEST).read_bytes())["segments"]
    digest = hashlib.sha256(content).hexdigest()
    segments[0]["packets"] |= {"size": len(content), "sha256": digest}
    alter(path / MANIFEST, {"segments": segments}, resealed=True)
    with SegmentFolder(output, FACTS) as folder:
        assert folder.segments == [] and folder.lost == 3


def test_segments_out_of_order_are_not_taken(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    with SegmentFolder(output, FACTS) as folder:
        for time in (5, 3):
            writer = folder.begin_segment()
            packet = av.Packet(b"x")
            packet.pts, packet.is_keyframe = time, True
            writer.write(packet)
            folder.add(writer.close(None), b"state")
    with SegmentFolder(output, FACTS) as folder:
        assert (len(folder.segments), folder.lost) == (1, 1)


def test_work_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        output = tmp_path / "out.mp4"
        path = filled(output)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        modes = {inside.name: stat.S_IMODE(inside.stat().st_mode) for inside in path.iterdir()}
        assert len(modes) >= 6 and set(modes.values()) == {0o600}, modes
        path.chmod(0o755)  # as an earlier version left it
        with SegmentFolder(output, FACTS):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_a_link_in_place_of_the_work_folder_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    path = filled(output)
    shutil.rmtree(path)
    (tmp_path / "elsewhere").mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputNotWritableError, match="cannot be written"):
        SegmentFolder(output, FACTS)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def finished(output: Path) -> Path:
    """The work folder of a run that was killed once its output had its name."""
    path = filled(output)
    (path / "complete").write_bytes(b"")
    output.write_bytes(b"a clip")
    return path


def test_work_of_finished_outputs_is_removed_by_the_next_run_in_the_folder(tmp_path: Path) -> None:
    done, unfinished = finished(tmp_path / "done.mp4"), filled(tmp_path / "not.mp4")
    replaced = finished(tmp_path / "replaced.mp4")
    os.utime(tmp_path / "replaced.mp4", (1, 1))  # the output that --overwrite is to replace
    foreign = tmp_path / ".holiday.mp4.0123456789.work"
    foreign.mkdir()
    (foreign / "complete").touch()
    (foreign / "my notes.txt").touch()
    (tmp_path / "holiday.mp4").touch()
    remove_finished_work(tmp_path)
    assert not done.exists()
    assert unfinished.exists() and replaced.exists() and foreign.exists()


def test_clean_names_what_it_removes_and_keeps_what_a_run_is_at(tmp_path: Path) -> None:
    done, unfinished = finished(tmp_path / "done.mp4"), filled(tmp_path / "not.mp4")

    def clean(*options: str) -> str:
        result = CliRunner().invoke(main, ["clean", str(tmp_path), *options])
        assert result.exit_code == 0
        return result.output

    told = clean("--dry-run")
    assert f"would remove {done}" in told and f"kept {unfinished}" in told and done.exists()
    told = clean()
    assert f"removed {done}" in told and not done.exists() and unfinished.exists()
    with SegmentFolder(tmp_path / "not.mp4", FACTS):
        assert "nothing to remove" in clean("--all") and unfinished.exists()
    assert json.loads(clean("--all", "--json")) == {"removed": [str(unfinished)], "kept": []}
    assert not unfinished.exists()
    absent = CliRunner().invoke(main, ["clean", str(tmp_path / "absent")])
    assert absent.exit_code == 3 and len(absent.stderr.splitlines()) == 1
