"""One frame of a swap, before and after, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidswap.errors import BadOptionError
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.output import check_output
from vidswap.media.picture import is_picture, read_picture, write_picture
from vidswap.media.probe import probe
from vidswap.media.sequence import is_sequence
from vidswap.media.sequence_reader import SequenceReader
from vidswap.nets import load_nets
from vidswap.swap.job import marks_of, read_source
from vidswap.swap.options import SwapCounts, SwapOptions
from vidswap.swap.path import swap_frames


def preview_frame(
    sources: Sequence[Path], target: Path, output: Path, at: float | None, options: SwapOptions
) -> float:
    """Write the frame at `at` seconds (default: the middle) before and after a swap as PNG.

    Returns the time of the frame in seconds. Raises a VidswapError as `swap_video` does.
    """
    if output.suffix.lower() != ".png":
        raise BadOptionError(f"{output}: a preview is a PNG; name the output with .png")
    check_output(output, options.overwrite)
    frame = read_frame(target, at, options.fps, options.colour_space)
    with closing(
        load_nets(options.checkpoint, options.detector, options.device, options.precision)
    ) as nets:
        source = read_source(nets, sources, options)
        counts = SwapCounts()
        (after,) = swap_frames([frame], source, nets, options, counts)
        marks = marks_of(replace(options, start=at), nets) if counts.faces_swapped else None
    side_by_side = np.concatenate([frame.rgb, after.rgb], axis=1)
    write_picture(output, side_by_side, marks, overwrite=options.overwrite)
    return frame.seconds


def read_frame(
    target: Path, at: float | None, fps: float | None = None, colour_space: str | None = None
) -> Frame:
    """The frame of a clip at `at` seconds, by default in its middle, or the picture itself."""
    if is_picture(target):
        return read_picture(target)
    if is_sequence(target):
        with SequenceReader(target, fps=fps, colour_space=colour_space) as frames:
            middle = frames.numbers[len(frames.numbers) // 2] - frames.first_number
            wanted = middle if at is None else round(at / frames.time_base)
            found = frames.frame_at(wanted, seek=True)
            if found is None:
                raise BadOptionError(f"{target} has no frame at {at} s")
            return found
    info = probe(target)
    with VideoReader(target, start=info.duration / 2.0 if at is None else at) as reader:
        return next(iter(reader))
