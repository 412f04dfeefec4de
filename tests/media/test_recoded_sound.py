"""Sound that is coded anew: in time to the sample, whatever it came as."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest

from vidswap.choices import COPY_SOUND, SoundCodecName
from vidswap.errors import BadOptionError, CodecError
from vidswap.media import VideoReader, VideoWriter
from vidswap.media.codecs import CONTAINERS
from vidswap.media.sound import SOUND_CODECS, Sound, sound_codecs_for

from .clips import ffmpeg, make_clip, sound_packets

RATE = 48_000
CLICKS = "aevalsrc='0.7*sin(2*PI*997*t)*lt(mod(t,0.1),0.02)':s=48000:d=2"  # a beep every 0.1 s


def beeping(path: Path, *sound: str, layout: str = "mono") -> Path:
    """A clip of 2 s, 10 frames a second, whose sound beeps at every frame."""
    graph = f"{CLICKS},aformat=channel_layouts={layout}"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=2", "-f", "lavfi", "-i", graph,
        "-c:v", "libx264", "-pix_fmt", "yuv420p", *sound, "-y", path,
    )  # fmt: skip
    return path


def recoded(source: Path, output: Path, sound: Sound, *span: float | None) -> VideoWriter:
    with VideoReader(source, *span) as reader, VideoWriter(output, reader, sound=sound) as writer:
        for frame in reader:
            writer.write(frame)
    return writer


def samples_of(path: Path, track: int = 0) -> tuple[float, np.ndarray]:
    """When the sound of a track begins in seconds, and its samples (channels, N)."""
    parts, begin = [], None
    with av.open(str(path)) as container:
        for frame in container.decode(audio=track):
            begin = float(frame.time) if begin is None else begin
            taken = av.AudioResampler("fltp", frame.layout, frame.sample_rate).resample(frame)
            parts += [part.to_ndarray() for part in taken]
    return begin or 0.0, np.concatenate(parts, axis=1)


def first_beep(path: Path) -> float:
    """Seconds at which the first beep begins."""
    begin, samples = samples_of(path)
    return begin + int(np.argmax(np.abs(samples[0]) > 0.2)) / RATE


def test_the_option_names_the_codecs() -> None:
    assert get_args(SoundCodecName) == (COPY_SOUND, *SOUND_CODECS)


@pytest.mark.parametrize(
    ("codec", "name"),
    [("aac", "out.mp4"), ("alac", "out.mov"), ("flac", "out.mkv"), ("opus", "out.webm"),
     ("mp3", "out.mp4"), ("ac3", "out.mkv"), ("pcm_s16le", "out.mov")],
)  # fmt: skip
def test_sound_stays_in_time_with_the_picture(tmp_path: Path, codec: str, name: str) -> None:
    source = beeping(tmp_path / "in.mkv", "-c:a", "pcm_s16le")
    writer = recoded(source, tmp_path / name, Sound(codec))  # type: ignore[arg-type]
    assert writer.dropped == []
    begin, samples = samples_of(tmp_path / name)
    assert abs(begin + samples.shape[1] / RATE - 2.0) < 0.05
    # Lossy codecs smear a beep's beginning; MP3 says no delay in mp4, which is 25 ms.
    assert abs(first_beep(tmp_path / name) - first_beep(source)) < (
        0.03 if codec == "mp3" else 0.004
    )
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == codec


@pytest.mark.parametrize("codec", ["flac", "pcm_s16le", "alac"])
def test_a_range_is_cut_to_the_sample(tmp_path: Path, codec: str) -> None:
    source = beeping(tmp_path / "in.mkv", "-c:a", "pcm_f32le")
    recoded(source, tmp_path / "out.mkv", Sound(codec), 0.5, 1.3)  # type: ignore[arg-type]
    (_, whole), (begin, part) = samples_of(source), samples_of(tmp_path / "out.mkv")
    assert begin == 0
    wanted = whole[:, round(0.5 * RATE) : round(1.3 * RATE)]
    assert part.shape == wanted.shape
    np.testing.assert_allclose(part, wanted, atol=2**-14)


def test_a_range_of_lossy_sound_begins_as_it_sounds_in_the_whole(tmp_path: Path) -> None:
    source = beeping(tmp_path / "in.mp4", "-c:a", "aac")
    recoded(source, tmp_path / "out.mov", Sound("pcm_s24le"), 0.75, 1.5)
    (_, whole), (_, part) = samples_of(source), samples_of(tmp_path / "out.mov")
    assert part.shape[1] == round(0.75 * RATE)
    wanted = whole[:, round(0.75 * RATE) :][:, : part.shape[1]]
    np.testing.assert_allclose(part, wanted, atol=1e-4)


def test_a_stream_that_has_the_codec_is_copied(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", sound=["aac", "libopus"])
    writer = recoded(source, tmp_path / "out.mkv", Sound("opus"))
    assert list(writer.recoded) == [1]
    assert [d for _, d in sound_packets(tmp_path / "out.mkv", 1)] == [
        d for _, d in sound_packets(source, 1)
    ]
    again = recoded(source, tmp_path / "again.mkv", Sound("opus", 32_000))
    assert list(again.recoded) == [1, 2]  # a bit rate is asked for
    assert again.recoded[1].words == "opus, 48000 Hz mono, 32 kbit/s"


def test_a_gap_in_the_sound_becomes_silence(tmp_path: Path) -> None:
    whole, holed = beeping(tmp_path / "in.mkv", "-c:a", "pcm_s16le"), tmp_path / "holed.mkv"
    with av.open(str(whole)) as old, av.open(str(holed), "w") as new:
        streams = [new.add_stream_from_template(stream) for stream in old.streams]
        for packet in old.demux():
            is_hole = packet.stream_index == 1 and packet.size and 0.5 < packet.pts / 1000 < 1.0
            if packet.size and not is_hole:
                packet.stream = streams[packet.stream_index]
                new.mux(packet)
    recoded(holed, tmp_path / "out.mkv", Sound("flac"))
    (_, before), (_, after) = samples_of(whole), samples_of(tmp_path / "out.mkv")
    quiet = slice(round(0.56 * RATE), round(0.94 * RATE))
    assert np.abs(before[:, quiet]).max() > 0.5 and np.abs(after[:, quiet]).max() == 0
    late = slice(round(1.2 * RATE), round(1.9 * RATE))
    shift = np.argmax(np.correlate(after[0, late], before[0, late][:4800], "valid"))
    assert min(shift, 4800 - shift) < 0.002 * RATE  # within the millisecond that Matroska counts


@pytest.mark.parametrize("codec", sorted(SOUND_CODECS))
@pytest.mark.parametrize("layout", ["5.1", "5.1(side)", "7.1", "quad", "3.0"])
def test_every_layout_is_kept_or_what_is_lost_is_said(
    tmp_path: Path, codec: str, layout: str
) -> None:
    source = beeping(tmp_path / "in.mkv", "-c:a", "pcm_s16le", layout=layout)
    writer = recoded(source, tmp_path / "out.mkv", Sound(codec))  # type: ignore[arg-type]
    count = av.AudioLayout(layout).nb_channels
    with av.open(str(tmp_path / "out.mkv")) as container:
        channels = container.streams.audio[0].channels
    assert channels == count or any(f": {count} channels (" in line for line in writer.dropped)
    assert channels >= min(count, 2)


@pytest.mark.parametrize("rate", [8000, 22_050, 96_000, 192_000])
@pytest.mark.parametrize("codec", ["aac", "opus", "mp3", "flac", "alac"])
def test_every_rate_is_kept_or_the_nearest_above(tmp_path: Path, codec: str, rate: int) -> None:
    source = beeping(tmp_path / "in.mkv", "-ar", str(rate), "-c:a", "pcm_s16le")
    writer = recoded(source, tmp_path / "out.mkv", Sound(codec))  # type: ignore[arg-type]
    with av.open(str(tmp_path / "out.mkv")) as container:
        stream = container.streams.audio[0]
        now = sum(frame.samples for frame in container.decode(stream)) / stream.sample_rate
    assert abs(now - 2.0) < 0.1
    is_named = any(f"{rate} samples/s" in line for line in writer.dropped)
    assert is_named == (f" {rate} Hz" not in writer.recoded[1].words and rate > RATE)


def test_sound_that_changes_its_layout_goes_on(tmp_path: Path) -> None:
    first = beeping(tmp_path / "one.ts", "-c:a", "ac3", layout="5.1")
    second = beeping(tmp_path / "two.ts", "-c:a", "ac3", layout="stereo")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    recoded(joined, tmp_path / "out.mkv", Sound("flac"))
    _, samples = samples_of(tmp_path / "out.mkv")
    assert abs(samples.shape[1] / RATE - 4.0) < 0.2
    loud = [np.abs(samples[:, at : at + RATE // 5]).max() for at in range(0, 3 * RATE, RATE // 5)]
    assert min(loud) > 0.1


def test_sound_of_avi_without_a_layout_is_encoded(tmp_path: Path) -> None:
    source = beeping(tmp_path / "in.avi", "-c:a", "pcm_u8")
    writer = recoded(source, tmp_path / "out.mp4", Sound("aac"))
    assert writer.dropped == [] and len(sound_packets(tmp_path / "out.mp4")) > 50


def test_damaged_sound_is_named_and_the_rest_kept(tmp_path: Path) -> None:
    source, broken = beeping(tmp_path / "in.mkv", "-c:a", "flac"), tmp_path / "broken.mkv"
    with av.open(str(source)) as old, av.open(str(broken), "w") as new:
        streams = [new.add_stream_from_template(stream) for stream in old.streams]
        for number, packet in enumerate(old.demux()):
            if packet.size:
                if packet.stream_index == 1 and 20 < number < 24:
                    times = packet.pts, packet.dts, packet.time_base
                    packet = av.Packet(bytes(32))
                    packet.pts, packet.dts, packet.time_base = times
                    packet.stream = streams[1]
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    writer = recoded(broken, tmp_path / "out.mkv", Sound("aac"))
    assert any("damaged packet" in line for line in writer.dropped)
    begin, samples = samples_of(tmp_path / "out.mkv")
    assert abs(begin + samples.shape[1] / RATE - 2.0) < 0.1


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_what_a_container_takes_is_found_by_writing_it(tmp_path: Path, suffix: str) -> None:
    takes = sound_codecs_for(CONTAINERS[suffix].muxer)
    source = beeping(tmp_path / "in.avi", "-c:a", "pcm_s16le")
    for codec in SOUND_CODECS:
        sound, output = Sound(codec), tmp_path / f"{codec}{suffix}"  # type: ignore[arg-type]
        if codec in takes:
            recoded(source, output, sound)
            assert len(sound_packets(output)) > 10
        else:
            with pytest.raises(
                CodecError, match=f"{suffix} files cannot hold {codec}; use --audio"
            ):
                sound.check(output)


def test_a_bit_rate_where_there_is_none_is_refused(tmp_path: Path) -> None:
    for codec in (COPY_SOUND, "flac"):
        with pytest.raises(BadOptionError, match="--audio-bitrate"):
            Sound(codec, 64_000).check(tmp_path / "out.mkv")  # type: ignore[arg-type]


def test_the_refusal_of_sound_names_the_option(tmp_path: Path) -> None:
    source = beeping(tmp_path / "in.mkv", "-c:a", "flac")
    with VideoReader(source) as reader, pytest.raises(CodecError) as refused:
        VideoWriter(tmp_path / "out.mov", reader)
    assert str(refused.value).endswith("or encode it with --audio-codec aac")


def test_packets_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=50, sound=["aac"], sound_start=0.5)
    recoded(source, tmp_path / "out.mp4", Sound("mp3"))
    times = [time for time, _ in sound_packets(tmp_path / "out.mp4")]
    assert all(one < other for one, other in pairwise(times))
    assert Fraction(2, 5) < times[0] < Fraction(3, 5)
