"""The main job on clips made on the spot: two public-domain photographs, moved, one onto the other.

    python -m pipelines.demo -o demo

The photographs come inside packages: Grace Hopper (US Navy) in matplotlib, Eileen Collins (NASA) in
scikit-image. `requirements-demo.txt` installs both.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

# As in cli.py, before the first import of torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GLOG_minloglevel", "3")

import av
import click
import cv2
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from numpy.typing import NDArray
from tqdm import tqdm

from pipelines.nets import load_detector
from pipelines.photo_motion import Motion, animate, looking_around, talking
from pipelines.preview import read_frame
from pipelines.source import SourceReader
from pipelines.swap import swap_video
from pipelines.swap_options import SwapCounts, SwapOptions, SwapResult
from vidswap.errors import MissingLibraryError, NoFaceInSourceError, VidswapError
from vidswap.faces.detection import Face
from vidswap.faces.system_libraries import check_system_libraries
from vidswap.identity.dlib_resnet import SAME_PERSON_DISTANCE
from vidswap.identity.encoder import IdentityEncoder
from vidswap.media.output import temporary_path, writing_errors
from vidswap.media.picture import read_picture, write_picture
from vidswap.media.provenance import read_marks

Image = NDArray[np.uint8]

FPS = 25
CLIP_SIZE = (640, 480)  # width, height
CLIP_CRF = 16
SAMPLE_RATE = 48_000

PENTATONIC = (261.63, 293.66, 329.63, 392.00, 440.00)  # hertz, C major without F and B
TUNE = (0, 2, 3, 4, 3, 2, 1, 2, 0, 3)  # notes of the scale
NOTE_SECONDS = 0.5
LOUDNESS = 0.2  # of full scale

MOMENTS = (0.05, 0.22, 0.50, 0.85)  # of the clip, shown in the side-by-side picture
PANEL_SIZE = (480, 360)
HEADING_HEIGHT = 36

GRACE_HOPPER, ASTRONAUT = "grace-hopper", "astronaut"


@dataclass(frozen=True)
class DemoResult:
    """Files of a demo, what the swap did, and mean dlib distances to the source's identity."""

    swap: SwapResult
    side_by_side: Path
    target_distance: float
    result_distance: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-o",
    "--output",
    default=Path("demo"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for clips and picture; what an earlier demo left there is replaced.",
)
@click.option(
    "--target",
    type=click.Choice([GRACE_HOPPER, ASTRONAUT]),
    default=ASTRONAUT,
    show_default=True,
    help="The person whose face is replaced; the other one is the source.",
)
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(min=0.2))
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Default: the packaged one.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def main(output: Path, target: str, seconds: float, checkpoint: Path | None, debug: bool) -> None:
    """Make a source and a target clip of two photographs, swap the face, and show it."""
    try:
        check_system_libraries()
        result = run_demo(output, target, seconds, checkpoint)
    except VidswapError as error:
        if debug:
            raise
        click.echo(f"demo: {' '.join(str(error).split())}", err=True)
        raise SystemExit(error.exit_code) from error
    for warning in result.swap.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"result:       {result.swap.output}")
    click.echo(f"side by side: {result.side_by_side}")
    click.echo(
        f"identity distance to the source (dlib, same person below {SAME_PERSON_DISTANCE}): "
        f"target {result.target_distance:.2f}, result {result.result_distance:.2f}"
    )


def run_demo(
    folder: Path, target: str = ASTRONAUT, seconds: float = 5.0, checkpoint: Path | None = None
) -> DemoResult:
    """Make both clips in `folder`, swap, and draw the side-by-side picture.

    `target` names the photograph whose face is replaced. Raises a VidswapError as `swap_video`
    does, and MissingLibraryError without the packages that hold the photographs.
    """
    source = GRACE_HOPPER if target == ASTRONAUT else ASTRONAUT
    with writing_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    source_clip, target_clip = folder / "source.mp4", folder / "target.mp4"
    make_clip(source_clip, load_photograph(source), looking_around, seconds)
    make_clip(target_clip, load_photograph(target), talking, seconds)
    result_clip, picture = folder / "result.mp4", folder / "side-by-side.png"
    options = SwapOptions(checkpoint=checkpoint, overwrite=True)
    with tqdm(total=round(seconds * FPS), unit="frame", desc="swap") as bar:

        def show(counts: SwapCounts) -> None:
            bar.update(counts.frames - bar.n)

        swapped = swap_video([source_clip], target_clip, result_clip, options, show)
    clips = [source_clip, target_clip, result_clip]
    write_picture(picture, side_by_side(clips, seconds), read_marks(result_clip), overwrite=True)
    before, after = identity_distances(source_clip, [target_clip, result_clip])
    return DemoResult(swapped, picture, before, after)


def load_photograph(name: str) -> Image:
    """One of the two photographs, (H, W, 3) uint8 RGB. Raises MissingLibraryError."""
    try:
        if name == ASTRONAUT:
            from skimage import data

            astronaut: Any = data.astronaut
            return np.asarray(astronaut(), np.uint8)
        import matplotlib

        samples = Path(matplotlib.get_data_path()) / "sample_data"
        return read_picture(samples / "grace_hopper.jpg").rgb
    except ImportError as error:
        raise MissingLibraryError(
            f"the demo's photographs are in a package that is not installed ({error}); "
            "install them with: pip install -r requirements-demo.txt"
        ) from error


def find_face(photo: Image) -> Face:
    """The mesh, with depth, of the best-scored face of a photograph. Raises NoFaceInSourceError."""
    detector, finder = load_detector("mediapipe")
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
    frames = animate(photo, find_face(photo), times, motion, size)
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


def side_by_side(clips: Iterable[Path], seconds: float) -> Image:
    """Source, target and result in columns, moments of the clips in rows."""
    headings = [_heading(text) for text in ("source", "target", "result")]
    columns = [
        np.concatenate([heading, *(_panel(clip, share * seconds) for share in MOMENTS)], axis=0)
        for heading, clip in zip(headings, clips, strict=True)
    ]
    return np.concatenate(columns, axis=1)


def _panel(clip: Path, seconds: float) -> Image:
    frame = read_frame(clip, seconds).rgb
    return np.asarray(cv2.resize(frame, PANEL_SIZE, interpolation=cv2.INTER_AREA), np.uint8)


def _heading(text: str) -> Image:
    bar = np.full((HEADING_HEIGHT, PANEL_SIZE[0], 3), 255, np.uint8)
    place, grey = (12, HEADING_HEIGHT - 11), (40, 40, 40)
    cv2.putText(bar, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, grey, 1, cv2.LINE_AA)
    return bar


def identity_distances(source: Path, others: Iterable[Path]) -> list[float]:
    """Distance of each clip's mean dlib embedding to the source's."""
    detector, finder = load_detector("mediapipe")
    with ExitStack() as stack:
        stack.callback(detector.close)
        stack.callback(finder.close)
        reader = SourceReader(detector, finder, IdentityEncoder())

        def embedding(clip: Path) -> torch.Tensor:
            return reader.read([clip]).identity.embedding[0]

        wanted = embedding(source)
        return [float(torch.dist(wanted, embedding(clip))) for clip in others]


if __name__ == "__main__":
    main()
