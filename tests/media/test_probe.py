"""What `probe` says of clips."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vidswap.media import ColourTags, write_picture
from vidswap.media.probing import probe

from .clips import ffmpeg, make_clip

BT2020_PQ, BT2020_HLG = (1, 9, 16, 9), (1, 9, 18, 9)  # range, primaries, transfer, matrix
DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"


def test_clip_with_sound(talking: Path) -> None:
    info = probe(talking)
    assert info.kind == "video"
    assert "mp4" in info.container
    assert (info.width, info.height, info.rotation) == (96, 64, 0)
    assert info.fps == 25.0
    assert (info.frames, info.frames_from) == (48, "header")
    assert info.duration == pytest.approx(48 / 25)
    assert info.pixel_format == "yuv420p"
    assert info.colour == ColourTags()
    assert info.has_audio
    assert [(s.kind, s.codec) for s in info.streams] == [("video", "h264"), ("audio", "aac")]
    assert (info.streams[1].channels, info.streams[1].sample_rate) == (1, 48_000)


def test_frames_are_counted_where_the_header_is_silent(tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "in.mkv", frames=33, b_frames=2))
    assert (info.frames, info.frames_from) == (33, "packets")
    assert info.duration == pytest.approx(33 / 25)
    assert not info.has_audio


@pytest.mark.parametrize(("turn", "clockwise"), [(0, 0), (90, 270), (180, 180), (270, 90)])
def test_rotation_and_upright_size(tmp_path: Path, turn: int, clockwise: int) -> None:
    info = probe(make_clip(tmp_path / "in.mp4", frames=2, rotation=turn))
    assert info.rotation == clockwise
    assert (info.width, info.height) == ((64, 96) if turn in (90, 270) else (96, 64))


def test_variable_rate_gives_the_average(uneven: Path) -> None:
    info = probe(uneven)
    assert info.frames == 30
    assert info.time_base == Fraction(1, 90)
    assert info.fps == pytest.approx(info.frames / info.duration, rel=0.05)


def test_a_plain_clip_has_nothing_special(talking: Path) -> None:
    info = probe(talking)
    assert (info.scan, info.bit_depth, info.mirrored) == ("progressive", 8, False)
    assert info.light.transfer is None and not info.light.mastering_display
    assert (info.sample_aspect_ratio, info.start, info.chapters) == (1, 0.0, 0)


@pytest.mark.parametrize("first", ["top", "bottom"])
def test_the_field_shown_first_is_told(tmp_path: Path, first: str) -> None:
    progressive = make_clip(tmp_path / "in.mkv", frames=4)
    path = tmp_path / "fields.mp4"
    ffmpeg("-i", progressive, "-vf", f"setfield={first[0]}ff,interlace=scan={first[0]}ff",
           "-flags", "+ildct", "-x264-params", f"{first[0]}ff=1", path)  # fmt: skip
    assert probe(path).scan == f"interlaced, {first} field first"


@pytest.mark.parametrize(("tags", "transfer"), [(BT2020_PQ, "PQ"), (BT2020_HLG, "HLG")])
def test_hdr_is_told_with_and_without_its_metadata(
    tmp_path: Path, tags: tuple[int, int, int, int], transfer: str
) -> None:
    known = {"x264-params": f"mastering-display={DISPLAY}:cll=1000,400"}
    for options, level in ((known, (1000, 400)), ({}, ())):
        path = make_clip(
            tmp_path / "in.mkv", frames=2, pixel_format="yuv420p10le", tags=tags, options=options
        )
        info = probe(path)
        assert info.bit_depth == 10
        assert info.light.transfer == transfer
        assert info.light.mastering_display == bool(options)
        assert info.light.light_level == level


def test_mirrored_anamorphic_and_late(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "in.mp4", pts=[10, 11, 12], mirrored=True, aspect=Fraction(4, 3), size=(96, 64)
    )
    info = probe(path)
    assert info.mirrored
    assert info.sample_aspect_ratio == Fraction(4, 3)
    assert info.start == pytest.approx(10 / 25)


def test_every_stream_is_named_for_what_it_is(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=25, sound=["aac", "libopus"])
    (tmp_path / "words.srt").write_text("1\n00:00:00,200 --> 00:00:00,900\nhello\n\n")
    (tmp_path / "font.ttf").write_bytes(bytes(300))
    (tmp_path / "chapters.txt").write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=first\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=400\nEND=1000\ntitle=second\n"
    )
    write_picture(tmp_path / "cover.jpg", np.full((16, 24, 3), 90, np.uint8))
    whole = tmp_path / "whole.mkv"
    ffmpeg(
        *("-i", clip, "-i", tmp_path / "words.srt", "-i", clip, "-i", tmp_path / "chapters.txt"),
        *("-map", "0", "-map", "1", "-map", "2:v", "-map_chapters", "3", "-c", "copy"),
        *("-attach", tmp_path / "font.ttf", "-metadata:s:t:0", "mimetype=font/ttf"),
        *("-attach", tmp_path / "cover.jpg", "-metadata:s:t:1", "mimetype=image/jpeg"),
        *("-metadata:s:a:0", "language=ger", "-metadata:s:a:0", "title=Deutsch", whole),
    )
    info = probe(whole)
    assert info.chapters == 2
    assert [(s.kind, s.codec, s.role) for s in info.streams] == [
        ("video", "h264", "picture"),
        ("audio", "aac", None),
        ("audio", "opus", None),
        ("subtitle", "subrip", None),
        ("video", "h264", "second picture"),
        ("attachment", "unknown", None),
        ("video", "mjpeg", "cover art"),
    ]
    assert (info.streams[1].language, info.streams[1].title) == ("ger", "Deutsch")
    assert info.streams[5].title == "font.ttf"


def test_quicktime_tracks_for_chapters_and_timecode_are_told(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mov", frames=25)
    (tmp_path / "chapters.txt").write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=900\ntitle=first\n"
    )
    path = tmp_path / "in.mov"
    ffmpeg("-i", clip, "-i", tmp_path / "chapters.txt", "-map", "0", "-map_chapters", "1",
           "-c", "copy", "-timecode", "01:02:03:04", path)  # fmt: skip
    info = probe(path)
    assert info.chapters == 1
    assert sorted(s.role or "" for s in info.streams) == ["chapters", "picture", "timecode"]


def test_sound_that_begins_later_says_when(tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "in.mkv", frames=25, sound=["aac"], sound_start=0.5))
    assert info.streams[0].start == 0
    assert info.streams[1].start == pytest.approx(0.5, abs=0.03)
