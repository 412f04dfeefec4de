"""Clips of animated portraits, with a tune as sound: material for demo, benchmarks and tests.

Five portraits of people who do not exist come with the package (`portraits/README.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from numpy.typing import NDArray

from vidswap.animation.motion import Motion
from vidswap.animation.portrait import animate
from vidswap.errors import BadOptionError, NoFaceInSourceError
from vidswap.faces.detection import Face
from vidswap.media.output import temporary_path, writing_errors
from vidswap.media.picture import read_picture
from vidswap.nets import load_detector

Image = NDArray[np.uint8]

FPS = 25
CLIP_SIZE = (640, 480)  # width, height
CLIP_CRF = 16
SAMPLE_RATE = 48_000

PENTATONIC = (261.63, 293.66, 329.63, 392.00, 440.00)  # hertz, C major without F and B
TUNE = (0, 2, 3, 4, 3, 2, 1, 2, 0, 3)  # notes of the scale
NOTE_SECONDS = 0.5
LOUDNESS = 0.2  # of full scale

PORTRAITS = Path(__file__).with_name("portraits")


def portrait_names() -> tuple[str, ...]:
    """Names of the packaged portraits."""
    return tuple(sorted(path.stem for path in PORTRAITS.glob("*.jpg")))


def portrait_path(name: str) -> Path:
    """The file of a packaged portrait. Raises BadOptionError for a name that is none."""
    path = PORTRAITS / f"{name}.jpg"
    if name not in portrait_names():
        raise BadOptionError(f"portrait {name!r}; allowed: {', '.join(portrait_names())}")
    return path


def load_portrait(name: str) -> Image:
    """A packaged portrait (768, 768, 3) uint8 RGB. Raises BadOptionError as `portrait_path`."""
    return read_picture(portrait_path(name)).rgb


def find_face(photo: Image) -> Face:
    """The mesh, with depth, of the best-scored face of a photograph. Raises NoFaceInSourceError."""
    detector, finder = load_detector("blazeface")
    with ExitStack() as stack:
        stack.callback(detector.close)
        stack.callback(finder.close)
        for detection in detector.detect(photo):
            face = finder.landmarks(photo, detection)
            if face is not None:
                return face
    raise NoFaceInSourceError("no face found in the photograph; give one with a clear face")


def make_clip(
    path: Path,
    photo: Image,
    motion: Motion,
    seconds: float = 5.0,
    size: tuple[int, int] = CLIP_SIZE,
    fps: int = FPS,
) -> None:
    """Write a photograph moved by `motion`, with a tune, as H.264 and AAC.

    `size` is (width, height), both even. Frames are made one at a time.
    """
    times = (index / fps for index in range(max(1, round(seconds * fps))))
    write_clip(path, animate(photo, find_face(photo), times, motion, size), seconds, size, fps)


def write_clip(
    path: Path, frames: Iterable[Image], seconds: float, size: tuple[int, int], fps: int = FPS
) -> None:
    """Write frames of a `size` (width, height), both even, with a tune of so many seconds."""
    part = temporary_path(path)
    try:
        with writing_errors(path):
            with av.open(f"file:{part}", "w", format="mp4") as container:
                _write_streams(container, frames, size, fps, melody(seconds))
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write_streams(
    container: OutputContainer,
    frames: Iterable[Image],
    size: tuple[int, int],
    fps: int,
    sound: NDArray[np.float32],
) -> None:
    video = container.add_stream("libx264", rate=fps, options={"crf": str(CLIP_CRF)})
    video.width, video.height = size
    video.pix_fmt = "yuv420p"
    track = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
    # The muxer holds the sound back until the pictures have come as far.
    for portion in _sound_frames(sound, track):
        container.mux(track.encode(portion))
    container.mux(track.encode(None))
    for index, rgb in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = index, Fraction(1, fps)
        container.mux(video.encode(frame))
    container.mux(video.encode(None))


def melody(seconds: float) -> NDArray[np.float32]:
    """A soft tune, (seconds * SAMPLE_RATE,) float32 in [-1, 1]."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    note = (times / NOTE_SECONDS).astype(int)
    hertz = np.array(PENTATONIC)[np.array(TUNE)[note % len(TUNE)]]
    in_note = times - note * NOTE_SECONDS
    angle = 2 * np.pi * hertz * in_note
    tone = np.sin(angle) + 0.3 * np.sin(2 * angle) + 0.1 * np.sin(3 * angle)
    attack = np.minimum(in_note / 0.02, 1.0)
    release = np.minimum((NOTE_SECONDS - in_note) / 0.05, 1.0)
    swell = attack * release * np.exp(-3.0 * in_note)
    samples: NDArray[np.float32] = (LOUDNESS * tone * swell).astype(np.float32)
    return samples


def _sound_frames(samples: NDArray[np.float32], stream: AudioStream) -> Iterator[AudioFrame]:
    """The samples in the portions that the codec takes."""
    stream.codec_context.open(strict=False)
    portion = stream.codec_context.frame_size or 1024
    for first in range(0, len(samples), portion):
        frame = AudioFrame.from_ndarray(
            samples[None, first : first + portion], format="fltp", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE
        frame.pts, frame.time_base = first, Fraction(1, SAMPLE_RATE)
        yield frame
