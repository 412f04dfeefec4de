"""Hardware decoders: the software decoder's frames bit for bit, or a refusal in one line."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.hwaccel import HWDeviceType
from av.container import InputContainer
from av.video.stream import VideoStream

from vidswap.errors import CodecError, InputNotFoundError, NotAVideoError
from vidswap.media import ColourTags, VideoReader, hardware
from vidswap.media.container import open_clip
from vidswap.media.hardware import (
    EXACT_CODECS,
    Device,
    HardwareDecoder,
    decoding_kinds,
    device_complaint,
    working_devices,
)
from vidswap.media.mastering import HdrMetadata
from vidswap.media.orientation import Orientation
from vidswap.media.surfaces import laid_out_as

from .clips import ffmpeg, make_clip, planes_of

# Surface, planar format, bits of a sample, and the bits that lie below it in memory.
LAYOUTS = [
    ("nv12", "yuv420p", 8, 0),
    ("nv12", "yuvj420p", 8, 0),
    ("nv16", "yuv422p", 8, 0),
    ("nv24", "yuv444p", 8, 0),
    ("nv24", "yuvj444p", 8, 0),
    ("yuv444p", "yuvj444p", 8, 0),
    ("p010le", "yuv420p10le", 10, 6),
    ("p210le", "yuv422p10le", 10, 6),
    ("p410le", "yuv444p10le", 10, 6),
    ("p016le", "yuv420p10le", 10, 6),
    ("p012le", "yuv420p12le", 12, 4),
    ("p016le", "yuv420p12le", 12, 4),
    ("p216le", "yuv422p12le", 12, 4),
    ("p412le", "yuv444p12le", 12, 4),
    ("yuv444p16le", "yuv444p10le", 10, 6),
    ("yuv444p16le", "yuv444p12le", 12, 4),
    ("yuv444p10msble", "yuv444p10le", 10, 6),
]
SPANS = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}
SIZES = [(64, 48), (161, 99), (7, 5), (1, 1), (258, 131)]
MASTER = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"


def surface_of(
    layout: tuple[str, str, int, int], size: tuple[int, int]
) -> tuple[av.VideoFrame, list[np.ndarray]]:
    """A frame as a device hands it out, and its samples of Y', Cb and Cr; padding is noise."""
    name, planar, bits, below = layout
    rng = np.random.default_rng(size[0])
    kind = np.dtype(np.uint8 if bits == 8 else "<u2")
    sampling = re.search(r"4\d\d", planar)
    assert sampling is not None
    across, down = SPANS[sampling[0]]
    chroma = (-(-size[1] // down), -(-size[0] // across))
    shapes = [size[::-1], chroma, chroma]
    samples = [rng.integers(0, 1 << bits, shape).astype(kind) for shape in shapes]
    stored = [values << below for values in samples]
    frame = av.VideoFrame(*size, name)
    if len(frame.planes) == 2:
        stored[1:] = [np.stack(stored[1:], axis=-1).reshape(chroma[0], -1)]
    for plane, values in zip(frame.planes, stored, strict=True):
        rows = rng.integers(0, 256, plane.buffer_size).astype(np.uint8)
        rows = rows.reshape(-1, plane.line_size)
        content = values.view(np.uint8)
        rows[: content.shape[0], : content.shape[1]] = content
        plane.update(rows.tobytes())
    frame.pts, frame.time_base = 7, Fraction(1, 90)
    return frame, samples


def assert_samples(frame: av.VideoFrame, samples: list[np.ndarray]) -> None:
    for found, wanted in zip(planes_of(frame), samples, strict=True):
        assert np.array_equal(found.view(wanted.dtype), wanted)


def filtered(frame: av.VideoFrame, *filters: tuple[str, str]) -> av.VideoFrame:
    graph = av.filter.Graph()
    last = source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    for name, options in filters:
        following = graph.add(name, options)
        last.link_to(following)
        last = following
    sink = graph.add("buffersink")
    last.link_to(sink)
    graph.configure()
    source.push(frame)
    result = sink.pull()
    assert isinstance(result, av.VideoFrame)
    return result


def shown_by_ffmpeg(frame: av.VideoFrame) -> str:
    """All that ffmpeg's `showinfo` says of a frame, but for its format and samples.

    Left out too is the encoder's message: beside which frame it lies depends on the threads.
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture() as words:
            filtered(frame, ("showinfo", ""))
    finally:
        av.logging.set_level(level)
    told = "".join(line for _, _, line in words)
    told = told[told.index("n:   0 ") :]
    assert " cl:" in told and " i:" in told
    message = r"  side data - H.26.45. User Data Unregistered.*?\n\n"
    told = re.sub(message, "", told, flags=re.DOTALL)
    return re.sub(r"fmt:\S+|checksum:.*?stdev:\[[^\]]*\]", "", told)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout[0]}-{layout[1]}")
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_sample_keeps_its_value(
    layout: tuple[str, str, int, int], size: tuple[int, int]
) -> None:
    for colour_range in (0, 1, 2):
        frame, samples = surface_of(layout, size)
        frame.color_range = colour_range
        result = laid_out_as(frame, layout[1])
        assert (result.format.name, result.width, result.height) == (layout[1], *size)
        assert result.color_range == colour_range
        assert_samples(result, samples)
        assert frame.color_range == colour_range


@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[1], LAYOUTS[6]], ids=str)
def test_no_tag_changes_a_sample_and_no_tag_is_changed(layout: tuple[str, str, int, int]) -> None:
    frame, samples = surface_of(layout, (34, 18))
    codes = [*product((0, 1, 2), (1, 2, 9), (1, 2, 16, 18), (0, 1, 2, 5, 6, 8, 9, 10, 14))]
    codes += [(1, code, code, code) for code in (3, 4, 7, 11, 12, 13, 15, 17)]
    for tags in (ColourTags(*code) for code in codes):
        tags.tag(frame)
        result = laid_out_as(frame, layout[1])
        assert ColourTags.of(result) == tags
        assert (result.pts, result.time_base) == (7, Fraction(1, 90))
        assert_samples(result, samples)


def test_a_frame_in_the_wanted_layout_is_handed_on() -> None:
    frame = av.VideoFrame(16, 16, "yuv420p")
    assert laid_out_as(frame, "yuv420p") is frame


@pytest.mark.parametrize(
    ("surface", "wanted"),
    [
        ("p010le", "yuv420p"),
        ("nv12", "yuv420p10le"),
        ("p010le", "yuv420p12le"),
        ("p012le", "yuv420p10le"),
        ("nv12", "yuv422p"),
        ("nv16", "yuv420p"),
        ("yuv420p16le", "yuv420p10le"),
        ("y210le", "yuv422p10le"),
        ("vuyx", "yuv444p"),
        ("bgra", "yuv420p"),
        ("nv12", "gray"),
        ("nv12", "gbrp"),
    ],
)
def test_what_would_lose_or_guess_samples_is_refused(surface: str, wanted: str) -> None:
    with pytest.raises(CodecError, match=f"{surface}.*{wanted}"):
        laid_out_as(av.VideoFrame(32, 32, surface), wanted)


@pytest.mark.parametrize("first", ["tff", "bff"])
def test_fields_and_chroma_location_stay(first: str, clips: Path) -> None:
    with av.open(str(make_clip(clips / f"plain {first}.mp4", frames=2))) as container:
        decoded = next(container.decode(video=0))
    decoded.duration = 3
    frame = filtered(
        decoded, ("format", "nv12"),
        ("setparams", f"field_mode={first}:chroma_location=topleft:colorspace=bt709"),
    )  # fmt: skip
    result = laid_out_as(frame, "yuv420p")
    told = shown_by_ffmpeg(frame)
    assert f" i:{first[0].upper()} " in told and " cl:topleft " in told
    assert shown_by_ffmpeg(result) == told
    assert result.interlaced_frame and result.duration == frame.duration == 3


def test_turn_light_and_their_side_data_stay(clips: Path) -> None:
    light = {"x265-params": f"log-level=none:master-display={MASTER}:max-cll=1000,400"}
    clip = make_clip(
        clips / "turned light.mp4", codec="libx265", pixel_format="yuv420p10le", options=light,
        frames=3, rotation=90, tags=(1, 9, 16, 9),
    )  # fmt: skip
    with av.open(str(clip)) as container:
        frame = filtered(next(container.decode(video=0)), ("format", "p010le"))
    result = laid_out_as(frame, "yuv420p10le")
    assert HdrMetadata.of(result).light_level == (1000, 400)
    assert HdrMetadata.of(result) == HdrMetadata.of(frame)
    assert not Orientation.of(result).is_identity
    assert Orientation.of(result) == Orientation.of(frame)
    assert shown_by_ffmpeg(result) == shown_by_ffmpeg(frame)


def test_without_a_name_nothing_but_the_software_decoder_is_opened(
    talking: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise AssertionError("a device was asked for")

    monkeypatch.setattr("vidswap.media.decoder.HardwareDecoder", refuses)
    with VideoReader(talking) as reader:
        assert reader.hwaccel is None
        assert not reader._stream.codec_context.is_hwaccel
        assert len(list(reader)) == 48


@pytest.mark.parametrize("name", ["nonsense", "nonsense:0", "", "none", "CUDA"])
def test_an_unknown_name_is_refused(talking: Path, name: str) -> None:
    """PyAV itself takes any device it finds for a name that it does not know."""
    with pytest.raises(CodecError, match=f"unknown hardware decoder '{name}'") as caught:
        VideoReader(talking, hwaccel=name)
    told = str(caught.value)
    assert "leave --hwaccel out" in told and all(kind in told for kind in decoding_kinds())


@pytest.mark.parametrize("name", ["qsv", "opencl", "drm"])
def test_a_kind_that_decoders_are_not_given_is_refused(talking: Path, name: str) -> None:
    assert name in HWDeviceType.__members__ and name not in decoding_kinds()
    with pytest.raises(CodecError, match=f"{name} decodes nothing here"):
        VideoReader(talking, hwaccel=name)


def absent_devices() -> list[str]:
    """Names of devices that no computer has, of the kinds that are built in."""
    places = {"cuda": "cuda:99", "vaapi": "vaapi:/dev/dri/none", "vulkan": "vulkan:99"}
    return [places[kind] for kind in decoding_kinds() if kind in places]


@pytest.mark.parametrize("name", absent_devices())
def test_a_device_that_is_not_here_is_refused_in_ffmpegs_words(talking: Path, name: str) -> None:
    complaint = device_complaint(name)
    assert complaint and "\n" not in complaint
    with pytest.raises(CodecError) as caught:
        VideoReader(talking, hwaccel=name)
    working = ", ".join(working_devices()) or "none"
    assert str(caught.value) == (
        f"{name} cannot be used here ({complaint}); devices that can: {working}; "
        "leave --hwaccel out to decode on the processor"
    )
    assert caught.value.exit_code == 10


def test_kinds_without_a_device_say_why_and_the_others_are_offered() -> None:
    complaints = {kind: device_complaint(kind) for kind in decoding_kinds()}
    assert working_devices() == [kind for kind, told in complaints.items() if told is None]
    assert all(told != "" for told in complaints.values())


def test_a_gpu_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "decoding_kinds", lambda: ("cuda", "vaapi"))
    assert Device.named("cuda:1") == Device("cuda", "1")
    assert Device.named("vaapi:/dev/dri/renderD128") == Device("vaapi", "/dev/dri/renderD128")
    assert Device.named("cuda") == Device.named("cuda:") == Device("cuda", None)
    with pytest.raises(CodecError, match="cuda:first: the GPU is given by its number"):
        Device.named("cuda:first")


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> str:
    """A name for which nothing is found out before the clip is opened."""
    monkeypatch.setattr(hardware, "decoding_kinds", lambda: ("cuda",))
    monkeypatch.setattr(hardware, "device_complaint", lambda name: None)
    return "cuda"


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "mpeg2video"), ("mkv", "mjpeg")])
def test_codecs_that_leave_rounding_to_the_decoder_are_refused(
    tmp_path: Path, pretended: str, suffix: str, codec: str
) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    clip = make_clip(
        tmp_path / f"in.{suffix}", codec=codec, pixel_format=pixel_format, frames=3,
        tags=(2, 2, 2, 5) if codec == "mjpeg" else None,
    )  # fmt: skip
    with pytest.raises(CodecError, match=f"decoders differ in the samples of {codec}"):
        VideoReader(clip, hwaccel=pretended)


def test_a_bad_file_is_told_as_without_a_device(tmp_path: Path, pretended: str) -> None:
    with pytest.raises(InputNotFoundError, match="no such file"):
        VideoReader(tmp_path / "absent.mp4", hwaccel=pretended)
    (tmp_path / "text.mp4").write_text("no video\n" * 50)
    with pytest.raises(NotAVideoError):
        VideoReader(tmp_path / "text.mp4", hwaccel=pretended)


def test_av1_is_refused_where_its_decoder_takes_no_device(
    tmp_path: Path, pretended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyAV opens dav1d for it; a silent way into software if anything else were open to it."""
    monkeypatch.setenv("SVT_LOG", "1")
    clip = make_clip(tmp_path / "in.mp4", codec="libsvtav1", frames=3)
    with av.open(str(clip)) as container:
        if container.streams.video[0].codec_context.codec.hardware_configs:
            pytest.skip("the AV1 decoder of this PyAV takes devices")
    with pytest.raises(CodecError, match=r"\(av1 Main yuv420p\): .*takes no such device"):
        VideoReader(clip, hwaccel=pretended)


def test_a_file_that_pyav_opens_in_software_is_refused(
    talking: Path, pretended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As PyAV does for AV1 beside another stream that the device takes."""
    monkeypatch.setattr(hardware, "open_container", lambda path, _: av.open(str(path)))
    with pytest.raises(CodecError, match="takes no such device; leave --hwaccel out"):
        VideoReader(talking, hwaccel=pretended)


@pytest.fixture
def in_software(pretended: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A name with which the software decoder stands where the device's should be."""

    def opened(self: HardwareDecoder, _: Device, index: int) -> tuple[InputContainer, VideoStream]:
        return open_clip(self._path)

    monkeypatch.setattr(HardwareDecoder, "_open", opened)
    monkeypatch.setattr(HardwareDecoder, "_surface_format", lambda self, _: "cuda")
    return pretended


def test_a_decoder_that_goes_over_to_software_is_refused(talking: Path, in_software: str) -> None:
    with pytest.raises(CodecError, match=r"\(h264 High yuv420p\): .*went over to yuv420p"):
        VideoReader(talking, hwaccel=in_software)


def spoilt(source: Path, target: Path, number: int) -> Path:
    """A copy of a clip in which one packet holds nothing that could be decoded."""
    with av.open(str(source)) as clip, av.open(str(target), "w") as copy:
        stream = copy.add_stream_from_template(clip.streams.video[0])
        for index, packet in enumerate(clip.demux(video=0)):
            if packet.size:
                written = av.Packet(b"\xff" * packet.size if index == number else bytes(packet))
                written.pts, written.dts = packet.pts, packet.dts
                written.time_base, written.is_keyframe = packet.time_base, packet.is_keyframe
                written.stream = stream
                copy.mux(written)
    return target


def test_damage_is_not_left_to_a_device(
    tmp_path: Path, in_software: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The software decoder goes on after it, with frames that no device would give."""
    monkeypatch.setattr(HardwareDecoder, "_surface_format", lambda self, _: "yuv420p")
    whole = make_clip(tmp_path / "whole.mp4", codec="libvpx-vp9", frames=40, key_every=5)
    with VideoReader(whole, hwaccel=in_software) as reader:
        assert len(list(reader)) == 40
    damaged = spoilt(whole, tmp_path / "damaged.mp4", 20)
    with VideoReader(damaged) as reader:
        assert len(list(reader)) > 30 and reader.truncated
    with pytest.raises(CodecError, match=r"near 0\.80 s: .*; leave --hwaccel out"):
        list(VideoReader(damaged, hwaccel=in_software))


def test_a_packet_that_is_cut_short_is_not_left_to_a_device(
    tmp_path: Path, in_software: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HardwareDecoder, "_surface_format", lambda self, _: "yuv420p")
    clip = make_clip(
        tmp_path / "in.mp4", frames=60, options={"qp": "10"},
        container_options={"movflags": "faststart"},
    )  # fmt: skip
    clip.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * 0.6)])
    with VideoReader(clip) as reader:
        assert list(reader) and reader.truncated
    with pytest.raises(CodecError, match=r"near \d\.\d\d s: the file is damaged"):
        list(VideoReader(clip, hwaccel=in_software))


# What a device may be asked to decode, sizes as large as the least that any takes.
CLIPS = {
    "h264": {"b_frames": 2},
    "h264 full range": {"tags": (2, 1, 1, 1)},
    "h264 cropped": {"size": (322, 182)},
    "h264 turned": {"rotation": 90, "mirrored": True},
    "h264 10 bits": {"pixel_format": "yuv420p10le"},
    "h264 4:4:4": {"pixel_format": "yuv444p"},
    "hevc": {"codec": "libx265", "b_frames": 2},
    "hevc HDR": {
        "codec": "libx265",
        "pixel_format": "yuv420p10le",
        "tags": (1, 9, 16, 9),
        "options": {"x265-params": f"log-level=none:master-display={MASTER}:max-cll=1000,400"},
    },
    "hevc 12 bits": {"codec": "libx265", "pixel_format": "yuv420p12le"},
    "hevc 4:2:2": {"codec": "libx265", "pixel_format": "yuv422p10le"},
    "hevc 4:4:4": {"codec": "libx265", "pixel_format": "yuv444p10le"},
    "vp8": {"codec": "libvpx"},
    "vp9": {"codec": "libvpx-vp9"},
}


@pytest.fixture
def device() -> str:
    """A device of this computer that decodes."""
    found = working_devices()
    if not found:
        pytest.skip("no device here decodes")
    return found[0]


def device_clip(folder: Path, kind: str) -> Path:
    settings: dict[str, object] = {"size": (320, 240), "frames": 30, **CLIPS[kind]}
    suffix = "mkv" if settings.get("codec") == "libvpx" else "mp4"
    path = folder / f"device {kind.replace(':', '')}.{suffix}"
    return path if path.exists() else make_clip(path, **settings)  # type: ignore[arg-type]


def assert_same(clip: Path, device: str, start: float | None = None) -> int:
    """Compare all frames that a device gives with the software decoder's; returns their number.

    Skips where the device says that it does not decode such a clip.
    """
    try:
        on_device = VideoReader(clip, start, hwaccel=device)
    except CodecError as refusal:
        pytest.skip(str(refusal))
    count = 0
    with on_device, VideoReader(clip, start) as software:
        for name in ("pixel_format", "colour", "hdr", "orientation", "interlaced", "field_order",
                     "coded_width", "coded_height", "chroma_location"):  # fmt: skip
            assert getattr(on_device, name) == getattr(software, name), name
        for found, wanted in zip(on_device, software, strict=True):
            assert (found.pts, found.duration) == (wanted.pts, wanted.duration)
            assert found.colour == wanted.colour
            assert_samples(found.coded(), planes_of(wanted.coded()))
            assert shown_by_ffmpeg(found.coded()) == shown_by_ffmpeg(wanted.coded())
            count += 1
    return count


@pytest.mark.parametrize("kind", list(CLIPS))
def test_a_device_gives_the_software_decoders_frames(device: str, kind: str, clips: Path) -> None:
    assert assert_same(device_clip(clips, kind), device) == 30


def test_a_device_gives_them_from_the_middle_on(device: str, clips: Path) -> None:
    assert assert_same(device_clip(clips, "h264"), device, start=0.5) == 30 - 13


def test_a_device_gives_both_fields(device: str, clips: Path) -> None:
    clip = clips / "device fields.mp4"
    ffmpeg("-i", device_clip(clips, "h264"), "-vf", "setfield=tff,interlace=scan=tff",
           "-flags", "+ildct", "-x264-params", "tff=1", clip)  # fmt: skip
    assert assert_same(clip, device) > 0


def test_a_clip_that_is_cropped_at_its_left_is_the_same_or_refused(
    device: str, clips: Path
) -> None:
    clip = clips / "device cropped.mp4"
    ffmpeg("-i", device_clip(clips, "h264"), "-c", "copy", "-bsf:v",
           "h264_metadata=crop_left=4:crop_top=6", clip)  # fmt: skip
    assert assert_same(clip, device) == 30


def test_exact_codecs_are_decoders_of_this_pyav() -> None:
    assert {av.codec.Codec(name, "r").canonical_name for name in EXACT_CODECS} == set(EXACT_CODECS)
