"""PQ and HLG: a sensible view for the nets, the source's own signal in the output."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from vidswap.media import ColourTags, Frame, VideoReader, VideoWriter
from vidswap.media.hdr import hdr_signal, sdr_view
from vidswap.media.mastering import HdrMetadata
from vidswap.media.orientation import Orientation
from vidswap.media.probing import probe

from .clips import decoded_planes, make_clip, planes_of

Copy = Callable[..., Path]
PQ, HLG = (1, 9, 16, 9), (1, 9, 18, 9)
MASTER = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
STATED = HdrMetadata(
    tuple(Fraction(n, 50_000) for n in (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450)),
    (Fraction(1, 200), Fraction(1000)),
    (1000, 400),
)


def pq(nits: float) -> float:
    """Signal in [0, 1] of a luminance, SMPTE ST 2084 equation 5.2."""
    y = (nits / 10000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375)


def coded_of(
    pixel_format: str, tags: tuple[int, int, int, int], planes: list[np.ndarray]
) -> av.VideoFrame:
    """A frame of 16-bit samples, whose tags are range, primaries, transfer and matrix."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, samples in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(plane, np.uint16).reshape(plane.height, plane.line_size // 2)
        rows[:, : plane.width] = samples
    ColourTags(*tags).tag(frame)
    return frame


def as_frame(coded: av.VideoFrame) -> Frame:
    return Frame.from_decoded(coded, pts=0, time_base=Fraction(1, 25), orientation=Orientation())


def grey_frame(tags: tuple[int, int, int, int], signal: float) -> av.VideoFrame:
    """10-bit 4:2:0, 96x64, all of one grey."""
    luma = np.full((64, 96), round(64 + 876 * signal), np.uint16)
    chroma = np.full((32, 48), 512, np.uint16)
    return coded_of("yuv420p10le", tags, [luma, chroma, chroma])


def lively_frame(tags: tuple[int, int, int, int]) -> av.VideoFrame:
    """10-bit 4:2:0 with ramps over most of the signal, also beyond BT.709 and 1000 cd/m2."""
    rng = np.random.default_rng(5)
    luma = np.linspace(100, 900, 96)[None, :] + rng.integers(-9, 9, (64, 96))
    cb = np.linspace(400, 620, 32)[:, None] + rng.integers(-9, 9, (32, 48))
    cr = np.linspace(440, 640, 48)[None, :] + rng.integers(-9, 9, (32, 48))
    return coded_of("yuv420p10le", tags, [a.astype(np.uint16) for a in (luma, cb, cr)])


@pytest.mark.parametrize("nits", [5.0, 26.0, 60.0, 100.0])
def test_pq_light_below_the_knee_is_shown_with_its_brightness(nits: float) -> None:
    rgb = as_frame(grey_frame(PQ, pq(nits))).rgb
    expected = 255 * (nits / 203) ** (1 / 2.4)
    assert np.abs(rgb.astype(float) - expected).max() <= 2.0


def test_hlg_reference_white_is_as_bright_as_that_of_pq() -> None:
    """BT.2408: HLG at 75 % is 203 cd/m2."""
    hlg, by_pq = (as_frame(grey_frame(t, s)).rgb for t, s in ((HLG, 0.75), (PQ, pq(203))))
    assert np.abs(hlg.astype(int) - by_pq).max() <= 1
    assert 200 < hlg.max() < 240


@pytest.mark.parametrize("tags", [PQ, HLG])
def test_brighter_stays_brighter_up_to_the_peak(tags: tuple[int, int, int, int]) -> None:
    peak = pq(1000) if tags == PQ else 1.0
    values = [int(as_frame(grey_frame(tags, s)).rgb[0, 0, 1]) for s in np.linspace(0, peak, 40)]
    assert values == sorted(values)
    assert values[0] == 0
    assert values[-1] >= 254


def test_bt2020_red_of_bt709_is_shown_as_pure_red() -> None:
    """BT.709's red in BT.2020 light is (0.6274, 0.0691, 0.0164), ITU-R BT.2087."""
    light = 80.0 * np.array([0.6274, 0.0691, 0.0164])
    signal = np.array([[[round(65535 * pq(v)) for v in light]]], np.uint16)
    view = sdr_view(signal, ColourTags(*PQ))[0, 0]
    assert abs(int(view[0]) - 255 * (80 / 203) ** (1 / 2.4)) <= 1.5
    assert view[1:].max() <= 12


@pytest.mark.parametrize("transfer", [16, 18])
def test_signal_of_a_view_is_shown_as_that_view(transfer: int) -> None:
    tags = ColourTags(1, 9, transfer, 9)
    rng = np.random.default_rng(2)
    view = rng.integers(40, 210, (40, 50, 1)) + rng.integers(-35, 36, (40, 50, 3))
    view = view.astype(np.uint8)
    signal = np.rint(hdr_signal(view, tags) * 65535).astype(np.uint16)
    again = sdr_view(signal, tags)
    assert np.abs(again.astype(int) - view).max() <= 1


@pytest.mark.parametrize("tags", [PQ, HLG])
def test_identity_swap_is_exact_even_where_every_pixel_counts_as_changed(
    tags: tuple[int, int, int, int],
) -> None:
    """One view code of change moves the signal by about that much, from the decoded value."""
    coded = lively_frame(tags)
    frame = as_frame(coded)
    box = (16, 8, 80, 56)
    pixels = frame.rgb[8:56, 16:80].copy()
    pixels[pixels < 250] += 1
    before, after = planes_of(coded), planes_of(frame.with_pixels(box, pixels).coded())
    luma = [p.copy().view(np.uint16).astype(int) for p in (before[0], after[0])]
    error = np.abs(luma[1] - luma[0])[8:56, 16:80]
    assert np.median(error) <= 4
    assert np.percentile(error, 99) <= 16
    same = frame.with_pixels(box, frame.rgb[8:56, 16:80].copy())
    pairs = zip(before, planes_of(same.coded()), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("tags", [PQ, HLG])
def test_samples_outside_the_box_stay_bit_for_bit(tags: tuple[int, int, int, int]) -> None:
    coded = lively_frame(tags)
    patch = np.full((32, 40, 3), (180, 130, 110), np.uint8)
    replaced = as_frame(coded).with_pixels((20, 12, 60, 44), patch)
    pairs = zip(planes_of(coded), planes_of(replaced.coded()), strict=True)
    for index, (old, new) in enumerate(pairs):
        rows, columns = np.nonzero((old != new).reshape(old.shape[0], -1, 2).any(axis=2))
        step = 2 if index else 1
        assert (rows.min() * step, columns.min() * step) == (12, 20)
        assert (rows.max(), columns.max()) == (44 // step - 1, 60 // step - 1)
    again = as_frame(replaced.coded()).rgb[14:42, 22:58]
    assert np.abs(again.astype(int) - patch[0, 0]).max() <= 2


def test_a_skin_patch_is_written_with_the_luminance_it_was_shown_with() -> None:
    """View 154 is (154 / 255) ^ 2.4 of 203 cd/m2; PQ's code for that, limited to 64 to 940."""
    frame = as_frame(grey_frame(PQ, pq(300)))
    patch = np.full((20, 20, 3), 154, np.uint8)
    planes = planes_of(frame.with_pixels((10, 10, 30, 30), patch).coded())
    luma = planes[0].copy().view(np.uint16)[12:28, 12:28]
    expected = 64 + 876 * pq(203 * (154 / 255) ** 2.4)
    assert np.abs(luma - expected).max() <= 1.0


@pytest.fixture(scope="module", params=["libx265", "libx264"])
def hdr_clip(request: pytest.FixtureRequest, clips: Path) -> Path:
    option = {
        "libx265": ("x265-params", f"log-level=none:master-display={MASTER}:max-cll=1000,400"),
        "libx264": ("x264-params", f"mastering-display={MASTER}:cll=1000,400"),
    }[request.param]
    return make_clip(
        clips / f"hdr {request.param}.mp4",
        frames=4,
        codec=request.param,
        pixel_format="yuv420p10le",
        tags=PQ,
        options={option[0]: option[1], "preset": "ultrafast", "chroma_sample_location": "topleft"},
    )


@pytest.mark.parametrize(
    ("name", "codec"),
    [("out.mp4", "hevc"), ("out.mov", "hevc"), ("out.mkv", "h264"), ("out.webm", "av1")],
)
def test_light_levels_tags_and_depth_are_written_again(
    hdr_clip: Path, copied: Copy, name: str, codec: str
) -> None:
    with VideoReader(hdr_clip) as reader:
        assert reader.hdr == STATED
    out = copied(hdr_clip, name, codec=codec, preset="10" if codec == "av1" else "ultrafast")
    info = probe(out)
    assert info.colour == ColourTags(*PQ)
    assert info.pixel_format == "yuv420p10le"
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        kinds = {data.type for data in frame.side_data}
    assert {Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL} <= kinds
    found = HdrMetadata.of(frame)
    assert found.light_level == STATED.light_level
    pairs = zip(
        found.chromaticities + found.luminance,
        STATED.chromaticities + STATED.luminance,
        strict=True,
    )
    assert max(abs(a - b) for a, b in pairs) < Fraction(1, 4000)  # AV1 counts in 1/65536


def test_light_levels_that_cannot_be_written_are_named(hdr_clip: Path, tmp_path: Path) -> None:
    with (
        VideoReader(hdr_clip) as reader,
        VideoWriter(tmp_path / "out.mkv", reader, codec="ffv1") as writer,
    ):
        for frame in reader:
            writer.write(frame)
        assert writer.dropped == ["mastering display and light level (ffv1 has none)"]
    pairs = zip(decoded_planes(hdr_clip), decoded_planes(tmp_path / "out.mkv"), strict=True)
    assert all(np.array_equal(a, b) for old, new in pairs for a, b in zip(old, new, strict=True))


def test_hlg_is_tagged_as_hlg(tmp_path: Path, copied: Copy) -> None:
    source = make_clip(
        tmp_path / "in.mkv", frames=3, codec="ffv1", pixel_format="yuv420p10le", tags=HLG
    )
    out = copied(source, "out.mp4", codec="hevc", preset="ultrafast")
    assert probe(out).colour == ColourTags(*HLG)
    with VideoReader(source) as before, VideoReader(out) as after:
        old, new = next(iter(before)), next(iter(after))
    assert np.abs(old.rgb.astype(int) - new.rgb).mean() < 2.5
