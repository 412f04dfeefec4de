"""The target of a swap, a clip or an image sequence, and what its output is to be."""

from __future__ import annotations

from pathlib import Path

from vidswap.digest import file_sha256
from vidswap.errors import BadOptionError, OutputNotWritableError
from vidswap.media.codecs import codec_for, container_for
from vidswap.media.container import check_input
from vidswap.media.decoder import VideoReader
from vidswap.media.output import check_output
from vidswap.media.sequence import (
    SequenceName,
    found_sequence,
    is_pattern,
    is_sequence,
    output_sequence,
    sequence_sha256,
)
from vidswap.media.sequence_reader import SequenceReader
from vidswap.swap.options import SwapOptions
from vidswap.swap.sequence_clip import Numbers, check_frames, has_work


def open_target(target: Path, options: SwapOptions) -> VideoReader | SequenceReader:
    """A reader of the range that the options name. Raises as the readers do."""
    if is_sequence(target):
        return SequenceReader(
            target, options.start, options.end,
            fps=options.fps, colour_space=options.colour_space,
        )  # fmt: skip
    return VideoReader(target, options.start, options.end, options.hwaccel)


def output_frames(target: Path, output: Path) -> SequenceName | None:
    """The sequence that a swap of a target writes; None where its output is one file."""
    if is_pattern(output) or is_sequence(target):
        return output_sequence(output, found_sequence(target) if is_sequence(target) else None)
    return None


def target_digest(target: Path) -> tuple[Path, str]:
    """A file that stands for the target, and the SHA-256 of all of it. Raises OSError."""
    if not is_sequence(target):
        return target, file_sha256(target)
    name = found_sequence(target)
    return name.path(name.numbers()[0]), sequence_sha256(name)


def check_sequence(target: Path, output: Path, options: SwapOptions) -> None:
    """Refuse before any work what must fail, where target or output is an image sequence."""
    if is_sequence(target):
        found_sequence(target)
        _refuse(options.hwaccel, "--hwaccel", "decodes clips", target)
        _refuse(options.match_bitrate, "--match-bitrate", "is for clips", target)
    else:
        check_input(target)
    frames = output_frames(target, output)
    if frames is None:
        container_for(output)
        codec_for(output, options.codec)
        options.sound.check(output)
        check_output(output, options.overwrite)
        return
    _refuse(options.codec, "--codec", "is for clips", output)
    _refuse(not options.sound.is_copied, "--audio-codec", "is for clips", output)
    folder = frames.folder if is_pattern(output) else frames.folder.parent
    if not folder.is_dir():
        raise OutputNotWritableError(f"no such folder: {folder}; make it or name another")
    if is_sequence(target) and found_sequence(target) == frames:
        raise BadOptionError(f"{output} is the target itself; name other frames")
    if not has_work(frames):
        with open_target(target, options) as reader:
            check_frames(frames, Numbers(reader, options.first_frame), options.overwrite)


def check_clip_options(target: Path, options: SwapOptions) -> None:
    """Refuse what only an image sequence has."""
    for flag, value in (("--fps", options.fps), ("--colour-space", options.colour_space)):
        if value is not None:
            raise BadOptionError(
                f"{flag} is for image sequences and {target} is none; leave it out"
            )


def _refuse(given: object, flag: str, what: str, path: Path) -> None:
    if given:
        raise BadOptionError(f"{flag} {what} and {path} is an image sequence; leave it out")
