"""`--audio-codec` and `--preset` in whole runs: planned, broken off, in ranges, refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.clips import ffmpeg, sound_packets
from vidswap.errors import BadOptionError, CodecError, VidswapError
from vidswap.media.decoder import VideoReader
from vidswap.media.picture import write_picture
from vidswap.swap import ranges as ranges_module
from vidswap.swap.options import SwapCounts, SwapOptions
from vidswap.swap.plan import plan_swap
from vidswap.swap.ranges import RangeProgress, RangeResult, RangeWork, swap_range
from vidswap.swap.worker import load_models, read_source, swap_video


@pytest.fixture(scope="module")
def options(untrained: Path) -> SwapOptions:
    return SwapOptions(checkpoint=untrained, no_provenance="a test", segment_frames=4)


@pytest.fixture(scope="module")
def two_sounds(folder: Path, target_clip: Path) -> Path:
    """The target with PCM and AAC, as .avi and cameras have it."""
    path = folder / "two-sounds.mov"
    ffmpeg(
        *("-i", target_clip, "-map", "0", "-map", "0:a", "-c", "copy"),
        *("-c:a:0", "pcm_s16be", "-metadata:s:a:1", "language=ger", "-y", path),
    )
    return path


def sounds(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [s.codec_context.codec.canonical_name for s in container.streams.audio]


def test_plan_and_run_decide_alike_and_the_output_records_it(
    tmp_path: Path, two_sounds: Path, source_picture: Path, options: SwapOptions
) -> None:
    asked, out = replace(options, audio_codec="opus"), tmp_path / "out.webm"
    with pytest.raises(CodecError, match=r"cannot hold the sound.*--audio-codec opus$"):
        swap_video([source_picture], two_sounds, out, options)
    with pytest.raises(CodecError, match=r"cannot hold the sound.*--audio-codec opus$"):
        plan_swap([source_picture], two_sounds, out, options)
    plan = plan_swap([source_picture], two_sounds, out, asked)
    fates = [(stream.fate, stream.why) for stream in plan.streams if stream.kind == "audio"]
    assert fates == [("encoded", "opus, 48000 Hz mono, 64 kbit/s")] * 2
    result = swap_video([source_picture], two_sounds, out, asked)
    assert sounds(out) == ["opus", "opus"] and result.faces_swapped > 6
    with av.open(str(out)) as container:
        assert container.streams.audio[1].language == "ger"
        assert '"audio_codec": "opus"' in str(container.metadata)


def test_other_sound_resumes_the_picture(
    tmp_path: Path, two_sounds: Path, source_picture: Path, options: SwapOptions
) -> None:
    out = tmp_path / "out.mkv"

    def stop(counts: SwapCounts) -> None:
        if counts.frames >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swap_video([source_picture], two_sounds, out, options, stop)
    asked = replace(options, audio_codec="flac")
    assert swap_video([source_picture], two_sounds, out, asked).frames_kept >= 4
    assert sounds(out) == ["flac", "flac"]
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv"]


def test_ranges_are_joined_with_it(
    tmp_path: Path, two_sounds: Path, source_picture: Path, options: SwapOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(ranges_module, "shortest_range", lambda frames: 1)
    asked = replace(options, audio_codec="aac", face="all", start=0.1, end=0.4)
    nets = load_models(asked)
    source = read_source(nets, [source_picture], asked)

    def here(works: Iterator[RangeWork]) -> Iterator[RangeProgress | RangeResult]:
        for work in works:
            yield swap_range(work, nets, source)

    swap_video([source_picture], two_sounds, tmp_path / "one.mp4", asked)
    swap_video([source_picture], two_sounds, tmp_path / "two.mp4", asked, None, here)
    nets.close()
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    assert sounds(one) == ["aac", "aac"]
    assert [sound_packets(one, n) for n in (0, 1)] == [sound_packets(two, n) for n in (0, 1)]
    with av.open(str(one)) as container:
        for stream in container.streams.audio:
            assert abs(float(stream.duration * stream.time_base) - 0.3) < 0.03


def test_a_preset_of_another_header_is_the_one_of_the_file(
    tmp_path: Path, target_clip: Path, source_picture: Path, options: SwapOptions
) -> None:
    out = tmp_path / "out.mp4"
    swap_video([source_picture], target_clip, out, replace(options, preset="ultrafast"))
    with VideoReader(out) as reader:
        assert len(list(reader)) == 12 and reader.truncated is None


@pytest.mark.parametrize(
    ("change", "name", "kind", "said"),
    [
        ({"audio_codec": "flac"}, "out.mov", CodecError, r"\.mov files cannot hold flac.*aac or"),
        ({"audio_codec": "aac"}, "out.webm", CodecError, "use --audio-codec opus, or another"),
        ({"audio_codec": "flac", "audio_bitrate": 64}, "out.mkv", BadOptionError, "for flac"),
        ({"audio_bitrate": 64}, "out.mkv", BadOptionError, "not for copy"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    tmp_path: Path, target_clip: Path, change: dict[str, object], name: str,
    kind: type[VidswapError], said: str, options: SwapOptions,
) -> None:  # fmt: skip
    asked = replace(options, checkpoint=tmp_path / "none.safetensors", **change)
    for job in (swap_video, plan_swap):
        with pytest.raises(kind, match=said):
            job([target_clip], target_clip, tmp_path / name, asked)
    assert list(tmp_path.iterdir()) == []


def test_pictures_and_sequences_have_no_sound_to_encode(
    tmp_path: Path, target_clip: Path, options: SwapOptions
) -> None:
    write_picture(tmp_path / "a.png", np.zeros((32, 32, 3), np.uint8))
    asked = replace(options, audio_codec="aac")
    for target, output in ((tmp_path / "a.png", "b.png"), (target_clip, "b.%04d.png")):
        with pytest.raises(BadOptionError, match="--audio-codec is for clips"):
            swap_video([target_clip], target, tmp_path / output, asked)
