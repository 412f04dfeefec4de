"""`vidswap info`: what it says of a file, in JSON and in words."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from tests.media.clips import ffmpeg, make_clip
from vidswap.info import describe, describe_as_text

# What scripts may have come to rely on.
OLD_KEYS = {
    "path", "kind", "container", "width", "height", "rotation", "fps", "frames", "frames_from",
    "duration", "time_base", "pixel_format", "colour", "has_audio", "streams", "marks",
    "sampled_frames", "people",
}  # fmt: skip
OLD_STREAM_KEYS = {"kind", "codec", "language", "duration", "channels", "sample_rate"}


@pytest.fixture(scope="module")
def special(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PQ in 10 bits with light levels, anamorphic, mirrored, a named sound that starts late."""
    folder = tmp_path_factory.mktemp("info")
    clip = make_clip(
        folder / "clip.mp4",
        frames=25,
        pixel_format="yuv420p10le",
        tags=(1, 9, 16, 9),
        options={"x264-params": "cll=1000,400"},
        aspect=Fraction(4, 3),
        mirrored=True,
        sound=["aac"],
        sound_start=0.5,
    )
    path = folder / "special.mp4"
    ffmpeg("-i", clip, "-c", "copy", "-metadata:s:a:0", "language=ger",
           "-metadata:s:a:0", "title=Deutsch", path)  # fmt: skip
    return path


def test_json_keeps_its_keys_and_can_be_written(special: Path) -> None:
    facts = json.loads(json.dumps(describe(special)))
    assert facts.keys() >= OLD_KEYS
    assert all(stream.keys() >= OLD_STREAM_KEYS for stream in facts["streams"])
    assert facts["bit_depth"] == 10
    assert facts["light"]["transfer"] == "PQ"
    assert facts["light"]["light_level"] == [1000, 400]
    assert facts["sample_aspect_ratio"] == "4:3"


def test_words_tell_what_makes_a_clip_special(special: Path) -> None:
    text = describe_as_text(describe(special))
    assert "10 bits, progressive, HDR (PQ) with light level 1000, mean 400 cd/m2" in text
    assert "pixels 4:3" in text and "and mirrored" in text and "no chapters" in text
    assert "stream 0: video h264 (picture)\n" in text  # its language is undetermined
    assert 'stream 1: audio aac, 1 channel, ger, "Deutsch", begins at 0.478 s' in text


def test_words_of_a_picture_leave_out_what_only_clips_have(source_picture: Path) -> None:
    text = describe_as_text(describe(source_picture))
    assert "frames/s" not in text and "chapters" not in text
    assert "stream 0: video png (picture)" in text
    assert "person 1" in text
