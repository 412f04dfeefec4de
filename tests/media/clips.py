"""Small synthetic clips, made with PyAV while a test runs."""

import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame

from vidswap.media.ffmpeg import ffmpeg_executable

SAMPLE_RATE = 48_000


def moving_picture(index: int, width: int, height: int) -> np.ndarray:
    """Smooth colours with a bright square that moves with `index`, (height, width, 3) uint8.

    The picture tells left from right and top from bottom, so a wrong turn shows.
    """
    x = np.linspace(40, 200, width)[None, :]
    y = np.linspace(60, 180, height)[:, None]
    rgb = np.empty((height, width, 3))
    rgb[..., 0] = x
    rgb[..., 1] = y
    rgb[..., 2] = 90 + (index * 7) % 80
    side = max(4, min(width, height) // 4)
    left = (index * 3) % max(1, width - side)
    rgb[height // 8 : height // 8 + side, left : left + side] = (230, 220, 60)
    return rgb.astype(np.uint8)


def make_clip(
    path: Path,
    *,
    picture: Callable[[int, int, int], np.ndarray] = moving_picture,
    size: tuple[int, int] = (96, 64),
    frames: int = 24,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    rate: Fraction = Fraction(25),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    b_frames: int = 0,
    key_every: int = 12,
    rotation: int = 0,
    mirrored: bool = False,
    tags: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    sound: Sequence[str] = (),
    sound_start: float = 0.0,
    metadata: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a clip and give its path back.

    picture: draws frame number, width, height. size: coded (width, height). pts: times of the
    frames in ticks of `time_base`, else 0, 1, 2... rotation: display matrix in degrees
    counter-clockwise, with a left-right mirror if `mirrored`. tags: range, primaries, transfer,
    matrix. sound: one codec a track.
    """
    times = list(pts) if pts is not None else list(range(frames))
    with av.open(str(path), "w", container_options=container_options or {}) as output:
        stream = output.add_stream(
            codec,
            rate=rate,
            options=options or {},
            width=size[0],
            height=size[1],
            time_base=time_base,
        )
        stream.pix_fmt = pixel_format
        stream.codec_context.gop_size = key_every
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.thread_count = 1
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if tags is not None:
            context = stream.codec_context
            (context.color_range, context.color_primaries, context.color_trc) = tags[:3]
            context.colorspace = tags[3]
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        tracks = [_add_track(output, name) for name in sound]
        output.metadata.update(metadata or {})
        seconds = float((times[-1] - times[0]) * time_base + 1 / rate)
        pending = [
            packet
            for number, track in enumerate(tracks)
            for packet in _tone(track, seconds, 330.0 * (number + 1), sound_start)
        ]
        pending.sort(key=lambda packet: packet.dts * packet.time_base)
        for index, time in enumerate(times):
            frame = _video_frame(picture(index, *size), pixel_format, tags)
            frame.pts, frame.time_base = time, time_base
            while pending and pending[0].dts * pending[0].time_base <= time * time_base:
                output.mux(pending.pop(0))
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        for packet in pending:
            output.mux(packet)
    return path


def make_sound(path: Path, codec: str = "aac", seconds: float = 0.5) -> Path:
    """A file with sound and no picture."""
    with av.open(str(path), "w") as output:
        for packet in _tone(_add_track(output, codec), seconds, 440.0, 0.0):
            output.mux(packet)
    return path


def ffmpeg(*arguments: str | Path) -> None:
    """Run the ffmpeg program on one thread; its complaints come with the failure."""
    command = [ffmpeg_executable(), "-v", "error", "-nostdin", "-y", "-threads", "1"]
    subprocess.run([*command, *map(str, arguments)], check=True, timeout=60)


def packets_of(path: Path, index: int) -> list[tuple[Fraction | None, bytes]]:
    """Time in seconds and bytes of every packet of a stream."""
    with av.open(str(path)) as container:
        return [
            (None if packet.pts is None else packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(container.streams[index])
            if packet.size
        ]


def frame_times(path: Path) -> list[Fraction]:
    """Times in seconds of all frames, in the order they are shown."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def sound_packets(path: Path, track: int = 0) -> list[tuple[Fraction, bytes]]:
    """Time in seconds and bytes of every packet of a sound track."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(stream)
            if packet.size
        ]


def decoded_planes(path: Path) -> list[list[np.ndarray]]:
    """All planes of all frames, without padding, as uint8 rows."""
    with av.open(str(path)) as container:
        return [planes_of(frame) for frame in container.decode(video=0)]


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """Copies of a frame's planes as rows of bytes without the padding at their ends."""
    found = []
    for index, plane in enumerate(frame.planes):
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        parts = [c for c in frame.format.components if c.plane == index]
        line = plane.width * frame.format.padded_bits_per_pixel // 8
        if frame.format.is_planar and frame.format.name not in ("nv12", "nv21"):
            line = plane.width * (2 if parts[0].bits > 8 else 1)
        elif frame.format.name in ("nv12", "nv21"):
            line = plane.width * len(parts)
        found.append(rows[:, :line].copy())
    return found


def _video_frame(
    rgb: np.ndarray, pixel_format: str, tags: tuple[int, int, int, int] | None
) -> av.VideoFrame:
    picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    matrix = 1 if tags is not None and tags[3] == 1 else 5
    full = tags is not None and tags[0] == 2
    return picture.reformat(
        format=pixel_format,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=2 if full else 1,
    )


def _add_track(output: av.container.OutputContainer, codec: str) -> av.AudioStream:
    track = output.add_stream(codec, rate=SAMPLE_RATE)
    track.codec_context.layout = "mono"
    return track


def _tone(track: av.AudioStream, seconds: float, hertz: float, start: float) -> list[av.Packet]:
    track.codec_context.open(strict=False)
    size = track.codec_context.frame_size or 1024
    packets = []
    for first in range(0, int(seconds * SAMPLE_RATE), size):
        angle = 2 * np.pi * hertz * (first + np.arange(size)) / SAMPLE_RATE
        samples = (0.3 * np.sin(angle)).astype(np.float32)
        frame = AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = first + int(start * SAMPLE_RATE)
        frame.time_base = Fraction(1, SAMPLE_RATE)
        resampler = av.AudioResampler(format=track.format, layout="mono", rate=SAMPLE_RATE)
        for ready in resampler.resample(frame):
            packets += track.encode(ready)
    return packets + track.encode(None)
