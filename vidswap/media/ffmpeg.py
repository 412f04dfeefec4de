"""The ffmpeg program, for jobs where a separate process is wanted; PyAV does everything else."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import ffmpeg
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from vidswap.errors import CodecError


def ffmpeg_executable() -> str:
    """The machine's ffmpeg, or the one inside imageio-ffmpeg's wheel where it has none."""
    return shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()


def write_h264(path: Path, frames: Iterable[NDArray[np.uint8]], fps: int, crf: int = 20) -> None:
    """Encode frames (H, W, 3) uint8 RGB, all of one size, as H.264 4:2:0 by an ffmpeg process.

    Raises CodecError with ffmpeg's own last words when it fails.
    """
    iterator = iter(frames)
    first = next(iterator)
    with _encoder(path, first.shape[1], first.shape[0], fps, crf) as process:
        assert process.stdin is not None
        process.stdin.write(first.tobytes())
        for frame in iterator:
            process.stdin.write(frame.tobytes())


def write_repeated(path: Path, clip: Path, times: int) -> None:
    """A clip's streams `times` over, one after another, without coding them again.

    Raises CodecError with ffmpeg's own last words when it fails.
    """
    output = ffmpeg.input(str(clip), stream_loop=times - 1).output(str(path), c="copy")
    try:
        output.global_args("-loglevel", "error").overwrite_output().run(
            cmd=ffmpeg_executable(), capture_stderr=True
        )
    except ffmpeg.Error as error:
        raise _not_written(path, error.stderr) from error


@contextmanager
def _encoder(path: Path, width: int, height: int, fps: int, crf: int) -> Iterator[Popen[bytes]]:
    pixels = ffmpeg.input(
        "pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=fps
    )
    output = pixels.output(
        str(path), vcodec="libx264", pix_fmt="yuv420p", preset="ultrafast", crf=crf
    ).global_args("-loglevel", "error")
    process: Popen[bytes] = output.overwrite_output().run_async(
        cmd=ffmpeg_executable(), pipe_stdin=True, pipe_stderr=True
    )
    broken: BrokenPipeError | None = None
    try:
        yield process
    except BrokenPipeError as error:  # ffmpeg has gone; its last words say why
        broken = error
    _, errors = process.communicate()
    if process.returncode != 0 or broken is not None:
        raise _not_written(path, errors)


def _not_written(path: Path, errors: bytes) -> CodecError:
    words = errors.decode(errors="replace").strip().splitlines() or ["no reason given"]
    return CodecError(f"ffmpeg could not write {path}: {words[-1]}")
