"""Hardware encoders by name, and a mean bit rate in place of a quality."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vidswap.errors import BadOptionError, CodecError
from vidswap.media import VideoReader, VideoWriter, codecs
from vidswap.media.codecs import (
    CODECS,
    CONTAINERS,
    DEFAULT_CRF,
    HARDWARE_CODECS,
    codec_for,
    encoder_format,
    encoder_options,
    hardware_complaint,
    hardware_device,
    lost_by_format,
    video_bit_rate,
    working_hardware_codecs,
)
from vidswap.media.planes import converted

from .clips import ffmpeg, make_clip, planes_of

FRAMES, RATE = 150, 25
SIZE = (192, 144)
TAKES_RATE = ("h264", "hevc", "av1", "vp9")


def options_of(encoder: str) -> dict[str, av.codec.context.CodecOption]:
    """All options that the library itself lists for an encoder; skips where it is not built in."""
    try:
        context = av.CodecContext.create(encoder, "w")
    except ValueError:
        pytest.skip(f"this PyAV has no {encoder}")
    listed = context.supported_options
    return {option.name: option for option in (*listed.generic, *listed.private)}


@cache
def texture(width: int, height: int) -> np.ndarray:
    grain = np.random.default_rng(0).normal(0, 1, (2 * height, 3 * width, 3))
    return cv2.GaussianBlur(grain, (0, 0), 2) * 400 + 128


def noisy(index: int, width: int, height: int) -> np.ndarray:
    """A textured picture that moves under fresh noise, so that bits are always wanted."""
    moved = texture(width, height)[index % height :, 2 * index % width :][:height, :width]
    noise = np.random.default_rng(index + 1).normal(0, 6, moved.shape)
    return np.clip(moved + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def noisy_clip(clips: Path) -> Path:
    return make_clip(
        clips / "noisy.mp4", picture=noisy, size=SIZE, frames=FRAMES, options={"b": "350k"}
    )


def encoded_bytes(clip: Path, encoder: str, options: dict[str, str]) -> int:
    """Bytes of all packets of a clip encoded again."""
    with av.open(str(clip)) as source, av.open(io.BytesIO(), "w", format="matroska") as output:
        stream = output.add_stream(
            encoder, rate=RATE, options=options, width=SIZE[0], height=SIZE[1]
        )
        stream.pix_fmt = "yuv420p"
        packets = []
        for frame in source.decode(video=0):
            frame.pict_type = 0
            packets += stream.encode(frame)
        packets += stream.encode(None)
    return sum(packet.size for packet in packets)


@pytest.mark.parametrize("name", TAKES_RATE)
def test_the_targets_bit_rate_is_met_within_a_fifth(
    noisy_clip: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVT_LOG", "1")
    wanted = video_bit_rate(noisy_clip)
    assert 300_000 < wanted < 400_000
    codec = CODECS[name]
    size = encoded_bytes(noisy_clip, codec.encoder, encoder_options(codec, None, None, wanted))
    rate = 8 * size * RATE / FRAMES
    assert abs(rate / wanted - 1) < 0.2, f"{rate:.0f} of {wanted} bits a second"


def test_bit_rate_is_that_of_the_packets_by_header_or_without(
    noisy_clip: Path, tmp_path: Path
) -> None:
    with av.open(str(noisy_clip)) as container:
        size = sum(packet.size for packet in container.demux(video=0))
    wanted = 8 * size * RATE / FRAMES
    assert video_bit_rate(noisy_clip) == pytest.approx(wanted, rel=0.001)
    copy = tmp_path / "copy.mkv"  # Matroska states no bit rate
    with av.open(str(noisy_clip)) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    assert video_bit_rate(copy) == pytest.approx(wanted, rel=0.005)


def test_bit_rate_counts_the_picture_alone_and_of_one_frame_too(tmp_path: Path) -> None:
    silent = make_clip(tmp_path / "silent.mkv", frames=20)
    loud = make_clip(tmp_path / "loud.mkv", frames=20, sound=["pcm_s16le"])
    assert video_bit_rate(loud) == pytest.approx(video_bit_rate(silent), rel=0.01)
    single = make_clip(tmp_path / "one.mkv", frames=1)
    with av.open(str(single)) as container:
        size = sum(packet.size for packet in container.demux(video=0))
    assert video_bit_rate(single) == 8 * size * RATE


@pytest.mark.parametrize("name", ["ffv1", "prores"])
def test_codecs_without_bit_rate_refuse_one(name: str) -> None:
    with pytest.raises(BadOptionError, match=r"takes no bit rate.*h264, hevc, av1, vp9"):
        encoder_options(CODECS[name], None, None, 1_000_000)


def test_quality_and_bit_rate_exclude_each_other() -> None:
    with pytest.raises(BadOptionError, match=r"--crf.*--match-bitrate"):
        encoder_options(CODECS["h264"], 20, None, 1_000_000)


def test_more_than_the_encoder_takes_is_refused_not_cut() -> None:
    assert encoder_options(CODECS["av1"], None, None, 100_000_000)["b"] == "100000000"
    with pytest.raises(BadOptionError, match="at most 100 Mbit/s, the target has 180"):
        encoder_options(CODECS["av1"], None, None, 180_000_000)
    huge = encoder_options(CODECS["h264"], None, None, 3_000_000_000)
    assert max(int(huge[key]) for key in ("b", "maxrate", "bufsize")) < 2**31


@pytest.mark.parametrize("name", ["h264", "hevc", "av1", "vp9"])
def test_without_either_the_quality_is_the_default(name: str) -> None:
    options = encoder_options(CODECS[name], None, None)
    assert options["crf"] == str(DEFAULT_CRF) == "18"
    assert "b" not in options
    assert "crf" not in encoder_options(CODECS[name], None, None, 500_000)


@pytest.mark.parametrize("name", [*TAKES_RATE, *HARDWARE_CODECS])
@pytest.mark.parametrize("bitrate", [None, 2_000_000])
def test_the_encoder_itself_lists_every_option_and_value(name: str, bitrate: int | None) -> None:
    """ffmpeg passes over an option that an encoder does not have, without a word."""
    codec = CODECS.get(name) or HARDWARE_CODECS[name]
    listed = options_of(codec.encoder)
    preset = "1" if codec.preset_option else None
    for key, value in encoder_options(codec, None, preset, bitrate).items():
        assert key in listed, f"{name} has no {key}"
        option = listed[key]
        if value.lstrip("-").isdigit():
            assert option.min == option.max or option.min <= int(value) <= option.max
        elif option.choices:
            assert value.lstrip("+") in [choice.name for choice in option.choices]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hevc_nvenc", {"rc": "vbr", "cq": "18"}),
        ("h264_qsv", {"global_quality": "18"}),
        ("hevc_vaapi", {"rc_mode": "CQP", "qp": "18"}),
        # 65 of 100, times FF_QP2LAMBDA
        ("h264_videotoolbox", {"flags": "+qscale", "global_quality": str(65 * 118)}),
        ("h264_amf", {"rc": "cqp", "qp_i": "18", "qp_p": "18", "qp_b": "18"}),
        ("hevc_amf", {"rc": "cqp", "qp_i": "18", "qp_p": "18"}),
    ],
)
def test_crf_becomes_each_makers_own_quality(name: str, expected: dict[str, str]) -> None:
    assert encoder_options(HARDWARE_CODECS[name], 18, None) == expected


def test_zero_is_refused_where_it_would_mean_automatic() -> None:
    with pytest.raises(BadOptionError, match="crf 0 is outside 1 to 51 of h264_nvenc"):
        encoder_options(HARDWARE_CODECS["h264_nvenc"], 0, None)
    with pytest.raises(BadOptionError, match="crf 64 is outside 1 to 63 of av1_nvenc"):
        encoder_options(HARDWARE_CODECS["av1_nvenc"], 64, None)


@pytest.mark.parametrize("suffix", list(CONTAINERS))
def test_hardware_is_never_chosen_unless_named(suffix: str) -> None:
    assert codec_for(Path(f"out{suffix}"), None) in CODECS.values()
    assert not set(CODECS) & set(HARDWARE_CODECS)


@pytest.mark.parametrize("name", list(HARDWARE_CODECS))
def test_a_hardware_encoder_opens_or_is_refused_in_its_own_words(name: str) -> None:
    complaint = hardware_complaint(name)
    if complaint is None:
        assert codec_for(Path("out.mkv"), name).encoder == name
        return
    assert complaint and "\n" not in complaint
    with pytest.raises(CodecError) as caught:
        codec_for(Path("out.mkv"), name)
    message = str(caught.value)
    assert message.startswith(f"{name} cannot be used here ({complaint}); use one of h264, hevc")
    offered = message.rsplit("use one of ", 1)[1].split(", ")
    assert offered == [*CODECS, *working_hardware_codecs()]


def test_the_words_are_the_librarys_not_an_error_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that is there but cannot be opened: libx264 refuses an unknown preset aloud."""
    broken = codecs.VideoCodec("libx264", 51, "warp", "preset", formats=("yuv420p",))
    monkeypatch.setitem(HARDWARE_CODECS, "h264_broken", broken)
    monkeypatch.setattr(codecs, "hardware_complaint", hardware_complaint.__wrapped__)
    complaint = codecs.hardware_complaint("h264_broken")
    assert complaint is not None and "error setting preset/tune warp" in complaint
    with pytest.raises(CodecError, match=r"h264_broken cannot be used here \(error setting preset"):
        codec_for(Path("out.mp4"), "h264_broken")


def test_encoders_that_do_work_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_nvidia(name: str) -> str | None:
        return None if name.endswith("nvenc") else "no device"

    monkeypatch.setattr(codecs, "hardware_complaint", only_nvidia)
    assert codec_for(Path("out.mp4"), "hevc_nvenc") is HARDWARE_CODECS["hevc_nvenc"]
    with pytest.raises(CodecError) as caught:
        codec_for(Path("out.mov"), "h264_qsv")
    assert str(caught.value).endswith("use one of h264, hevc, prores, h264_nvenc, hevc_nvenc")


@pytest.mark.parametrize(("output", "name"), [("out.webm", "h264_nvenc"), ("out.mov", "av1_nvenc")])
def test_the_container_decides_about_hardware_codecs_too(output: str, name: str) -> None:
    with pytest.raises(CodecError, match=f"cannot hold {name}"):
        codec_for(Path(output), name)


@pytest.mark.parametrize(
    ("name", "clip", "size", "expected"),
    [
        ("h264_nvenc", "yuv420p", SIZE, "yuv420p"),
        ("h264_qsv", "yuv420p", SIZE, "nv12"),
        ("hevc_qsv", "yuv420p10le", SIZE, "p010le"),
        ("hevc_vaapi", "yuv420p", SIZE, "nv12"),
        ("hevc_nvenc", "yuv420p10le", SIZE, "p010le"),
        ("h264_nvenc", "yuv420p", (161, 99), "yuv444p"),
    ],
)
def test_hardware_encoders_get_the_nearest_format_of_main_memory(
    name: str, clip: str, size: tuple[int, int], expected: str
) -> None:
    assert encoder_format(HARDWARE_CODECS[name], clip, *size) == expected


def test_what_hardware_cannot_hold_is_named_or_refused() -> None:
    codec = HARDWARE_CODECS["h264_nvenc"]
    assert lost_by_format("yuv420p10le", encoder_format(codec, "yuv420p10le", *SIZE)) == [
        "10 bits a sample (the encoder takes 8)"
    ]
    with pytest.raises(CodecError, match="no frames of 161x99"):
        encoder_format(HARDWARE_CODECS["hevc_qsv"], "yuv420p", 161, 99)


@pytest.mark.parametrize(("planar", "packed"), [("yuv420p", "nv12"), ("yuv420p10le", "p010le")])
def test_samples_keep_their_values_on_the_way_to_a_device(planar: str, packed: str) -> None:
    rng = np.random.default_rng(3)
    frame = av.VideoFrame(*SIZE, planar)
    for plane in frame.planes:
        top = 1024 if planar.endswith("10le") else 256
        values = rng.integers(0, top, plane.buffer_size // (2 if top > 256 else 1))
        plane.update(values.astype(np.uint16 if top > 256 else np.uint8).tobytes())
    frame.pts, frame.time_base = 0, Fraction(1, RATE)
    there = converted(frame, packed, SIZE[1])
    assert there.format.name == packed
    back = there.reformat(format=planar)
    for old, new in zip(planes_of(frame), planes_of(back), strict=True):
        assert np.array_equal(old, new)


def test_only_vaapi_wants_its_frames_on_the_device() -> None:
    wanting = [name for name, codec in HARDWARE_CODECS.items() if codec.device]
    assert wanting == ["h264_vaapi", "hevc_vaapi"]
    assert all(hardware_device(codec) is None for codec in CODECS.values())
    assert hardware_device(HARDWARE_CODECS["h264_vaapi"]) is not None


def test_transparency_of_prores_4444_is_kept(tmp_path: Path, copied: Callable[..., Path]) -> None:
    source = tmp_path / "in.mov"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=96x64:d=0.2:r=25", "-vf",
           "format=yuva444p10le,geq=lum='lum(X,Y)':cb='cb(X,Y)':cr='cr(X,Y)':a='X*10'",
           "-c:v", "prores_ks", "-profile:v", "4444", source)  # fmt: skip
    out = copied(source, "out.mov", codec="prores")
    with VideoReader(source) as reader, VideoReader(out) as result:
        assert "yuva444" in reader.pixel_format and "yuva444" in result.pixel_format
        for before, after in zip(reader, result, strict=True):
            bits = [frame.coded().format.components[3].bits for frame in (before, after)]
            alphas = [
                planes_of(frame.coded())[3].view("<u2") / 2.0**depth
                for frame, depth in zip((before, after), bits, strict=True)
            ]
            assert np.abs(alphas[0] - alphas[1]).max() < 0.01
            assert np.ptp(alphas[1]) > 0.5


def test_a_preset_is_the_encoders_own_and_refused_where_it_has_none() -> None:
    assert encoder_options(CODECS["h264"], None, "slow")["preset"] == "slow"
    assert encoder_options(CODECS["h264"], None, None)["preset"] == "veryfast"
    with pytest.raises(BadOptionError, match="--preset slow: ffv1 has no presets"):
        encoder_options(CODECS["ffv1"], None, "slow")


@pytest.mark.skipif(
    not hasattr(os, "sched_getscheduler") or os.geteuid() != 0, reason="only root gets real time"
)
def test_an_encoder_gives_no_thread_real_time_priority(noisy_clip: Path, tmp_path: Path) -> None:
    def policies() -> set[int]:
        return {os.sched_getscheduler(int(task.name)) for task in Path("/proc/self/task").iterdir()}

    assert policies() == {os.SCHED_OTHER}
    with VideoReader(noisy_clip) as reader, VideoWriter(
        tmp_path / "out.mkv", reader, codec="av1"
    ) as writer:  # fmt: skip
        assert policies() == {os.SCHED_OTHER}
        for frame in reader:
            writer.write(frame)
        assert policies() == {os.SCHED_OTHER}
