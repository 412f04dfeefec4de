"""The plan before the work: true of the run that follows, and leaving nothing behind."""

from __future__ import annotations

import json
import tempfile
from collections import namedtuple
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

import vidswap
from tests.media.clips import ffmpeg, make_clip
from tests.photographs import astronaut, grace_hopper
from tests.swap_fixtures import CLIP_FRAMES, moved
from vidswap.errors import VidswapError
from vidswap.media.decoder import VideoReader
from vidswap.media.probing import probe
from vidswap.people.source import SourceReader, face_size
from vidswap.swap import plan as planning
from vidswap.swap.options import SwapCounts, SwapOptions
from vidswap.swap.plan import StreamPlan, SwapPlan, describe, plan_swap
from vidswap.swap.plan_text import colour_words, duration_words, size_words
from vidswap.swap.plan_trial import Trial, _seconds_a_frame


def hopper(index: int, width: int, height: int) -> np.ndarray:
    return moved(grace_hopper(), index, width, height)


@pytest.fixture(scope="module")
def crowded(folder: Path, target_clip: Path) -> Path:
    """A face, two sounds, two subtitles, a font and chapters, in Matroska."""
    for name in ("one", "two"):
        (folder / f"{name}.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nhello\n\n")
    (folder / "font.ttf").write_bytes(bytes(range(256)))
    (folder / "chapters.txt").write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=only\n"
    )
    path = folder / "crowded.mkv"
    ffmpeg(
        *("-i", target_clip, "-i", folder / "one.srt", "-i", folder / "two.srt"),
        *("-i", folder / "chapters.txt", "-map", "0", "-map", "0:a", "-map", "1", "-map", "2"),
        *("-map_chapters", "3", "-c", "copy", "-attach", folder / "font.ttf"),
        *("-metadata:s:t:0", "mimetype=font/ttf", "-metadata:s:a:1", "language=ger", path),
    )
    return path


@pytest.fixture(scope="module")
def crowded_plan(crowded: Path, source_picture: Path, untrained: Path, folder: Path) -> SwapPlan:
    options = SwapOptions(checkpoint=untrained)
    return plan_swap([source_picture], crowded, folder / "crowded.mp4", options)


def test_every_stream_of_the_file_is_listed(crowded: Path, crowded_plan: SwapPlan) -> None:
    with av.open(str(crowded)) as container:
        kinds = [stream.type for stream in container.streams]
    assert len(kinds) == 6
    assert [stream.kind for stream in crowded_plan.streams] == kinds
    assert [stream.fate for stream in crowded_plan.streams] == [
        "encoded", "copied", "copied", "dropped", "dropped", "dropped",
    ]  # fmt: skip
    assert [stream.language for stream in crowded_plan.streams][2] == "ger"


def test_its_warnings_are_those_of_the_run(
    crowded: Path, crowded_plan: SwapPlan, source_picture: Path, untrained: Path, tmp_path: Path
) -> None:
    options = SwapOptions(checkpoint=untrained)
    result = vidswap.swap_video([source_picture], crowded, tmp_path / "out.mp4", options)
    assert len(result.warnings) == 3
    assert crowded_plan.warnings == result.warnings
    assert crowded_plan.target.frames == result.frames == CLIP_FRAMES
    engine = crowded_plan.engine
    assert (engine.device, engine.precision) == (result.device, result.precision)
    assert engine.checkpoint_sha256 == result.checkpoint_sha256
    assert sum(count for _, count in crowded_plan.sources.used) == len(result.source_frames_used)
    written = probe(tmp_path / "out.mp4")
    assert crowded_plan.output.pixel_format == written.pixel_format
    assert planning._signer(tmp_path / "another.mp4", options) == (result.signed_by, [])


def test_a_container_without_manifest_is_warned_of_as_by_the_run(
    crowded: Path, source_picture: Path, untrained: Path, tmp_path: Path
) -> None:
    options, out = SwapOptions(checkpoint=untrained), tmp_path / "out.mkv"
    plan = plan_swap([source_picture], crowded, out, options)
    result = vidswap.swap_video([source_picture], crowded, out, options)
    assert len(result.warnings) == 1 and "no C2PA manifest" in result.warnings[0]
    assert plan.warnings == result.warnings
    assert plan.output.signed_by is None
    assert {stream.fate for stream in plan.streams} == {"encoded", "copied"}
    assert len(plan.streams) == len(probe(out).streams)


def test_nothing_is_left_anywhere(
    target_clip: Path,
    source_picture: Path,
    untrained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch, home, out = (tmp_path / name for name in ("scratch", "home", "out"))
    for place in (scratch, home, out):
        place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    plan = plan_swap(
        [source_picture], target_clip, out / "o.mp4", SwapOptions(checkpoint=untrained)
    )
    assert [list(place.rglob("*")) for place in (scratch, home, out)] == [[], [], []]
    assert plan.output.signed_by is not None and "which the run makes" in plan.output.signed_by


@pytest.mark.parametrize(
    ("changes", "output", "exit_code"),
    [
        ({}, "there.mp4", 7),
        ({}, "no/folder/out.mp4", 8),
        ({}, "out.avi", 10),
        ({"codec": "divx"}, "out.mp4", 10),
        ({"codec": "ffv1"}, "out.mp4", 10),
        ({"crf": 99}, "out.mp4", 2),
        ({"start": 50.0}, "out.mp4", 2),
        ({"sign_key": Path("no.pem"), "sign_cert": Path("no.pem")}, "out.mp4", 18),
        ({"checkpoint": Path("no.safetensors")}, "out.mp4", 11),
    ],
)
def test_what_the_run_refuses_the_plan_refuses_in_the_same_words(
    target_clip: Path,
    source_picture: Path,
    untrained: Path,
    tmp_path: Path,
    changes: dict[str, object],
    output: str,
    exit_code: int,
) -> None:
    (tmp_path / "there.mp4").write_bytes(b"")
    options = replace(SwapOptions(checkpoint=untrained), **changes)  # type: ignore[arg-type]
    messages = []
    for job in (plan_swap, vidswap.swap_video):
        with pytest.raises(VidswapError) as caught:
            job([source_picture], target_clip, tmp_path / output, options)
        assert caught.value.exit_code == exit_code
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert [path.name for path in tmp_path.iterdir()] == ["there.mp4"]


def test_refusals_of_encoder_and_container_name_the_output(
    source_picture: Path, untrained: Path, tmp_path: Path
) -> None:
    """These come from a writer set up in another folder."""
    interlaced = make_clip(
        tmp_path / "fields.mkv", picture=hopper, size=(160, 120), frames=3,
        options={"x264-params": "tff=1", "flags": "+ildct"}, sound=["pcm_s16le"],
    )  # fmt: skip
    options = SwapOptions(checkpoint=untrained, codec="hevc")
    with pytest.raises(VidswapError, match="is interlaced, which libx265 cannot keep") as caught:
        plan_swap([source_picture], interlaced, tmp_path / "out.mp4", options)
    assert caught.value.exit_code == 10
    loud = make_clip(tmp_path / "loud.mkv", frames=3, sound=["pcm_s16le"])
    with pytest.raises(VidswapError, match="cannot hold") as caught:
        plan_swap([source_picture], loud, tmp_path / "o.webm", SwapOptions(checkpoint=untrained))
    assert caught.value.exit_code == 10 and "vidswap-plan" not in str(caught.value)


def test_a_source_without_a_face_a_face_and_a_target_that_are_none(
    faceless_clip: Path, target_clip: Path, source_picture: Path, untrained: Path, tmp_path: Path
) -> None:
    options, out = SwapOptions(checkpoint=untrained), tmp_path / "out.mp4"
    with pytest.raises(VidswapError) as caught:
        plan_swap([faceless_clip], target_clip, out, options)
    assert caught.value.exit_code == 5
    with pytest.raises(VidswapError) as caught:
        nobody = replace(options, face=tmp_path / "nobody.png")
        plan_swap([source_picture], target_clip, out, nobody)
    assert caught.value.exit_code == 3
    text = tmp_path / "text.mp4"
    text.write_text("no clip")
    with pytest.raises(VidswapError) as caught:
        plan_swap([source_picture], text, out, options)
    assert caught.value.exit_code == 4


def test_frames_are_those_of_the_range_and_varying_times_are_seen(
    source_picture: Path, untrained: Path, tmp_path: Path
) -> None:
    pts = [0, 1, 4, 5, 9, 12, 13, 20, 22, 23, 30, 34]
    uneven = make_clip(
        tmp_path / "uneven.mp4", picture=hopper, size=(160, 120), pts=pts,
        time_base=Fraction(1, 25), b_frames=2, options={"crf": "12"},
    )  # fmt: skip
    options = SwapOptions(checkpoint=untrained, start=0.15, end=0.9, codec="ffv1")
    plan = plan_swap([source_picture], uneven, tmp_path / "out.mkv", options)
    with VideoReader(uneven, 0.15, 0.9) as reader:
        real = len(list(reader))
    assert plan.target.frames == real == 7
    assert plan.target.variable_rate
    assert "7 frames" in describe(plan) and "variable frame rate" in describe(plan)


def test_faces_are_counted_and_measured(
    crowded_plan: SwapPlan, target_clip: Path, untrained: Path
) -> None:
    faces = crowded_plan.faces
    assert faces.people == (1,) * CLIP_FRAMES and faces.chosen == CLIP_FRAMES
    reader = SourceReader.load()
    with VideoReader(target_clip) as clip:
        sizes = [face_size(reader.faces(frame.rgb)[0]) for frame in clip]
    reader.close()
    assert faces.face_pixels == pytest.approx(np.median(sizes), abs=1)


def test_without_a_face_it_says_so_and_estimates_all_the_same(
    faceless_clip: Path, source_picture: Path, untrained: Path, tmp_path: Path
) -> None:
    options = SwapOptions(checkpoint=untrained)
    plan = plan_swap([source_picture], faceless_clip, tmp_path / "out.mp4", options)
    assert plan.faces.with_face == plan.faces.chosen == 0 and plan.faces.face_pixels is None
    (warning,) = plan.warnings
    assert "no face in 8 sampled frame(s)" in warning and "unchanged" in warning
    assert plan.estimate.seconds > 0
    assert "none in 8 sampled frames" in describe(plan)


def test_a_picture_has_a_short_plan(source_picture: Path, untrained: Path, tmp_path: Path) -> None:
    pair = np.concatenate([astronaut(), cv2.resize(grace_hopper(), (432, 512))], axis=1)
    target = tmp_path / "pair.png"
    cv2.imwrite(str(target), pair[:, :, ::-1])
    options = SwapOptions(checkpoint=untrained, face="all")
    plan = plan_swap([source_picture], target, tmp_path / "out.png", options)
    assert (plan.target.kind, plan.target.frames, plan.faces.people) == ("picture", 1, (2,))
    assert plan.warnings == () and plan.output.signed_by is not None
    assert len(describe(plan).splitlines()) <= 13
    assert [path.name for path in tmp_path.iterdir()] == ["pair.png"]


def test_size_is_estimated_near_that_of_the_run(
    source_picture: Path, untrained: Path, tmp_path: Path
) -> None:
    clip = make_clip(
        tmp_path / "in.mkv", picture=hopper, size=(160, 120), frames=16, sound=["pcm_s16le"]
    )
    options = SwapOptions(checkpoint=untrained, codec="ffv1")
    plan = plan_swap([source_picture], clip, tmp_path / "out.mkv", options)
    vidswap.swap_video([source_picture], clip, tmp_path / "out.mkv", options)
    size = (tmp_path / "out.mkv").stat().st_size
    assert plan.estimate.bytes == pytest.approx(size, rel=0.1)
    assert plan.estimate.bytes_held == 2 * plan.estimate.bytes
    assert "bit for bit" in plan.output.samples


def test_a_short_disk_is_warned_of(
    source_picture: Path, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(planning.shutil, "disk_usage", lambda _: usage(10**6, 10**6, 2000))
    options = SwapOptions(checkpoint=untrained)
    plan = plan_swap([source_picture], source_picture, tmp_path / "out.png", options)
    (warning,) = plan.warnings
    assert "has 2.0 kB free" in warning and "name another disk" in warning
    assert plan.estimate.bytes_held > plan.estimate.bytes > 2000


def test_a_clip_that_breaks_off_is_warned_of_as_by_the_run(
    source_picture: Path, untrained: Path, tmp_path: Path
) -> None:
    whole = make_clip(
        tmp_path / "whole.mp4", picture=hopper, size=(160, 120), frames=50, key_every=5,
        container_options={"movflags": "faststart"}, options={"crf": "12"},
    )  # fmt: skip
    content = whole.read_bytes()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content[: len(content) // 3])
    options = SwapOptions(checkpoint=untrained)
    plan = plan_swap([source_picture], broken, tmp_path / "out.mp4", options)
    (warning,) = plan.warnings
    assert "broken.mp4 is cut short: it ends at" in warning and "of 2.00 s" in warning
    assert 10 < plan.target.frames < 25


@pytest.mark.parametrize(
    ("pixel_format", "tags", "words"),
    [
        ("yuv420p", None, "8-bit BT.601 (assumed, not tagged), limited range, kept"),
        ("yuv420p", (1, 1, 1, 1), "8-bit BT.709, limited range, kept"),
        ("yuv444p", (2, 1, 1, 1), "8-bit BT.709, full range, kept"),
        (
            "yuv420p10le",
            (1, 9, 18, 9),
            "10-bit BT.2020 HLG, limited range, kept; the nets see an SDR version",
        ),
        (
            "yuv420p10le",
            (1, 9, 16, 9),
            "10-bit BT.2020 PQ, limited range, kept; the nets see an SDR version",
        ),
    ],
)
def test_the_colour_path_in_words(
    tmp_path: Path, pixel_format: str, tags: tuple[int, int, int, int] | None, words: str
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=2, pixel_format=pixel_format, tags=tags)
    info = probe(clip)
    assert colour_words(info, info.colour) == words


def test_bits_that_the_encoder_cannot_hold_are_not_called_kept(
    source_picture: Path, untrained: Path, tmp_path: Path
) -> None:
    clip = make_clip(
        tmp_path / "in.mkv", picture=hopper, size=(160, 120), frames=3, pixel_format="yuv420p10le",
        codec="ffv1",
    )  # fmt: skip
    options = SwapOptions(checkpoint=untrained, codec="vp9")
    plan = plan_swap([source_picture], clip, tmp_path / "out.webm", options)
    assert plan.output.pixel_format == "yuv420p"
    assert plan.output.colour == "10-bit BT.601 (assumed, not tagged), limited range, to 8-bit"
    assert plan.warnings[0] == "not in the output: 10 bits a sample (the encoder takes 8)"


def test_a_frame_without_a_face_costs_less() -> None:
    """Two stages of all frames took 4 s, two of faces 12 s; they overlapped to half the sum."""
    stages = {"decode": 1.0, "detect": 3.0, "generate": 9.0, "blend": 3.0}
    counts = SwapCounts(frames=10, faces_swapped=8, frames_without_face=4)  # two of them have two
    assert _seconds_a_frame(stages, counts, 8.0, share=0.6) == pytest.approx(0.8)
    assert _seconds_a_frame(stages, counts, 8.0, share=0.0) == pytest.approx(0.2)
    assert _seconds_a_frame(stages, counts, 8.0, share=1.0) == pytest.approx(1.2)


def test_key_frames_are_counted_by_segments() -> None:
    trial = Trial(seconds=0.1, frames=24, key_bytes=1000.0, frame_bytes=100.0)
    assert trial.bytes_of(1000, 250) == 4 * 1000 + 996 * 100
    assert trial.bytes_of(1000, 100) == 10 * 1000 + 990 * 100
    assert replace(trial, frame_bytes=None).bytes_of(1000, 250) == 1_000_000


def test_sizes_and_durations_as_people_say_them() -> None:
    assert [size_words(n) for n in (12, 2000, 34_567_890, 2e9, 3e12)] == [
        "12 bytes", "2.0 kB", "35 MB", "2.0 GB", "3.0 TB",
    ]  # fmt: skip
    assert [duration_words(s) for s in (0.2, 42, 240, 3700, 7800)] == [
        "1 s", "42 s", "4 min", "62 min", "2 h 10 min",
    ]  # fmt: skip


def test_it_is_json_and_stays_short_however_much_there_is(crowded_plan: SwapPlan) -> None:
    facts = json.loads(json.dumps(crowded_plan.to_dict()))
    assert facts["target"]["frames"] == CLIP_FRAMES and len(facts["streams"]) == 6
    many = replace(
        crowded_plan,
        streams=tuple(StreamPlan(n, "audio", "aac", "eng", "copied") for n in range(40)),
        warnings=tuple(f"warning {n}" for n in range(30)),
        sources=replace(crowded_plan.sources, left_out=(("a.png", "blurred"),) * 30),
    )
    for plan in (crowded_plan, many):
        lines = describe(plan).splitlines()
        assert len(lines) <= 30
        assert lines[-1] == "nothing was written"
        starts = [line[:9] for line in lines[:-1]]
        assert all(start == f"{start.strip():<9}" for start in starts)
    assert "and 32 more: 32 copied" in describe(many) and "(see --json)" in describe(many)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
def test_no_silent_fallback_from_a_device_that_is_not_here(
    target_clip: Path, source_picture: Path, untrained: Path, tmp_path: Path
) -> None:
    options = SwapOptions(checkpoint=untrained, device="cuda")
    with pytest.raises(VidswapError, match="--device cuda") as caught:
        plan_swap([source_picture], target_clip, tmp_path / "out.mp4", options)
    assert caught.value.exit_code == 2
