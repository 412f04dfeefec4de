"""The whole swap: decode, detect, track, align, generate, blend, encode (AP-GAN, Fig. 4)."""

from __future__ import annotations

import logging
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

import torch

from vidswap.blending.reference import MOST_SHOTS
from vidswap.errors import BadOptionError, CodecError, VidswapError
from vidswap.media.animated_picture import (
    Animation,
    check_animated_suffix,
    is_animated,
    write_as_clip,
)
from vidswap.media.animated_writer import (
    ANIMATED_SUFFIXES,
    AnimatedClip,
    AnimationWriter,
    check_animated_options,
)
from vidswap.media.codecs import CONTAINERS, codec_for, container_for
from vidswap.media.container import check_input, is_there, open_clip
from vidswap.media.decoder import VideoReader
from vidswap.media.encoder import VideoWriter
from vidswap.media.frame import Frame
from vidswap.media.marks import synthetic_metadata
from vidswap.media.output import TEMPORARY, check_output, temporary_path, writing_errors
from vidswap.media.picture import (
    PICTURE_SUFFIXES,
    Picture,
    check_picture_suffix,
    is_picture,
    open_picture,
    write_picture,
)
from vidswap.media.picture_encoder import Quality
from vidswap.media.picture_open import picture_size
from vidswap.media.sequence import SequenceName, is_pattern, is_sequence
from vidswap.media.sequence_reader import SequenceReader
from vidswap.nets import Nets
from vidswap.people.face_selection import FaceChooser
from vidswap.people.main_person import MainPerson, main_person_of, main_person_of_sequence
from vidswap.people.source import SourceIdentity, SourceReader
from vidswap.provenance.record import (
    MANIFEST_MARK,
    Provenance,
    recorded_settings,
)
from vidswap.runtime.inputs import check_readable
from vidswap.runtime.interrupts import interrupts_put_off
from vidswap.runtime.memory import (
    MIB,
    MemoryPlan,
    check_picture_memory,
    frame_bytes,
    peak_memory_bytes,
    plan_memory,
)
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap.beside import Beside
from vidswap.swap.cast import Cast, check_cast
from vidswap.swap.face_clip import face_codec
from vidswap.swap.faces import FaceAssigner, FaceSource, OneSource, SwappedFrame
from vidswap.swap.options import SwapCounts, SwapOptions
from vidswap.swap.path import swap_frames, swap_segments
from vidswap.swap.resume import (
    ClipInTheMaking,
    ClipWriter,
    SegmentedClip,
    StraightClip,
    telling_what_is_kept,
)
from vidswap.swap.sequence_clip import SequenceClip
from vidswap.swap.target import check_clip_options, check_sequence, open_target, output_frames
from vidswap.version import __version__

logger = logging.getLogger(__name__)

Progress = Callable[[SwapCounts], None]
Watch = Callable[[SwappedFrame], None]
"""Is shown every frame of a clip once it is encoded."""
Clip = TypeVar("Clip", SegmentedClip | StraightClip, SequenceClip)


class JoinedRanges(ClipInTheMaking, Protocol):
    """A clip whose ranges are swapped by others; `vidswap.swap.ranges` has it."""

    damage: str | None

    @property
    def frames_of_earlier_runs(self) -> int:
        """Frames that need not be swapped again."""


class RangedSwap(Protocol):
    """What has the ranges of a clip swapped by others."""

    def clip(self, output: Path, facts: Mapping[str, str], fresh: bool) -> JoinedRanges:
        """What the ranges are joined to. Raises OutputNotWritableError."""

    def swap(self, main: MainPerson | None) -> Generator[SwapCounts]:
        """Have them swapped, `main` being whom `--face largest` means; what is done so far."""


def read_source(
    nets: Nets, sources: Sequence[str | Path], options: SwapOptions | None = None
) -> SourceIdentity:
    """The k-shot identity of the sources: photographs, folders of them or clips of one person.

    Raises InputNotFoundError, NoFaceInSourceError, SeveralFacesError.
    """
    options = options or SwapOptions()
    reader = SourceReader.of(nets)
    paths = [Path(source) for source in sources]
    source = reader.read(
        paths, options.k_shot, options.source_face, MOST_SHOTS, options.source_filler()
    )
    logger.info("source frames used: %s", ", ".join(source.used))
    for name, reason in source.left_out:
        logger.info("source frame left out: %s: %s", name, reason)
    return source


class SwapJob:
    """One target with its output, by nets that are loaded; keeps the counts while it runs.

    `facts` decide over the frames (`resume.facts_of`); without them no earlier work is gone on
    with. `ranges` has the ranges of a clip swapped elsewhere.
    """

    def __init__(
        self,
        nets: Nets,
        source: FaceSource | Cast,
        options: SwapOptions,
        clock: StageClock,
        progress: Progress | None,
        provenance: Provenance | None = None,
        facts: Mapping[str, str] | None = None,
        ranges: RangedSwap | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.ranges = ranges
        self.nets, self.source, self.options, self.clock = nets, source, options, clock
        self.progress, self.provenance = progress, provenance
        self.facts, self.watch = facts, watch
        self.counts = SwapCounts()
        self.frames_kept = 0
        self._main: MainPerson | None = None

    def swap_clip(self, target: Path, output: Path) -> list[str]:
        """Swap a clip or an image sequence; returns warnings."""
        options = self.options
        if (frames := output_frames(target, output)) is not None:
            return self._swap_to_frames(target, output, frames)
        if is_animated(target):
            return self._swap_animation_to_clip(target, output)
        quality = options.quality(target)
        provenance = self._provenance(output)
        with ExitStack() as stack:
            reader = open_target(target, options)
            stack.callback(reader.close)
            plan = memory_plan_of(options, reader, self.nets.device)
            with self.clock("people"):
                assigner = self._assigner(target, reader)
            new_writer = partial(self._writer, output, reader, quality, provenance)
            beside = stack.enter_context(self._beside(reader))
            with interrupts_put_off():
                begin = partial(self._clip, output, reader, new_writer, quality)
                clip = self._ranges_of(output, reader, new_writer) or self._beginning_together(
                    begin(self._fresh), beside, partial(begin, fresh=True)
                )
                stack.push(clip.__exit__)
            with telling_what_is_kept(clip):
                if isinstance(clip, SegmentedClip | StraightClip):
                    self._swap_segments(clip, plan, assigner, beside)
                else:
                    reader.truncated = self._swap_ranges(clip)
                unchanged = self.counts.faces_swapped == 0
                whole = options.start is None and options.end is None
                warnings = clip.warnings + reader.warnings + beside.warnings
                warnings += [reader.truncated] if reader.truncated else []
                warnings += _above(options.max_memory)
                if unchanged and whole and target.suffix.lower() == output.suffix.lower():
                    clip.leave_output()
                    _copy_unchanged(target, output)
                else:
                    with self.clock("encode"):
                        writer = clip.complete(new_writer, self.counts)
                        stack.callback(writer.abort)
                        provenance.close_clip(writer, not unchanged)
                    warnings += [f"not in the output: {stream}" for stream in writer.dropped]
            clip.discard()
        return warnings + self._last_warnings(target, provenance)

    def _assigner(
        self, target: Path, reader: VideoReader | SequenceReader | None = None
    ) -> FaceAssigner:
        """Who gets which face in the clip that `reader` reads, or in a picture."""
        if isinstance(self.source, Cast):
            return self.source.assigner(self.options, float(reader.zero) if reader else 0.0)
        self._main = main_person_for(self.options, self.nets, target, reader) if reader else None
        return OneSource(FaceChooser.of(self.options.face, self.nets, self._main), self.source)

    def _swap_to_frames(self, target: Path, output: Path, frames: SequenceName) -> list[str]:
        """Swap into an image sequence; returns warnings."""
        options, provenance = self.options, self._provenance(output)
        marks = marks_of(options, self.nets) | provenance.marks
        with ExitStack() as stack:
            reader = open_target(target, options)
            stack.callback(reader.close)
            plan = memory_plan_of(options, reader, self.nets.device)
            with self.clock("people"):
                assigner = self._assigner(target, reader)
            beside = stack.enter_context(self._beside(reader))
            with interrupts_put_off(), self.clock("encode"):
                begin = partial(
                    SequenceClip, frames, reader, marks, self.facts or {},
                    first=options.first_frame, overwrite=options.overwrite,
                )  # fmt: skip
                clip = self._beginning_together(
                    begin(fresh=self._fresh), beside, partial(begin, fresh=True)
                )
                stack.push(clip.__exit__)
            with telling_what_is_kept(clip):
                self._swap_segments(clip, plan, assigner, beside)
                with self.clock("encode"):
                    clip.finish(self.counts)
            warnings = clip.warnings + reader.warnings + beside.warnings
            warnings += [reader.truncated] if reader.truncated else []
            warnings += _above(options.max_memory)
            warnings += [f"not in the output: {line}" for line in clip.dropped or []]
            if isinstance(reader, VideoReader) and has_sound(target):
                warnings.append("not in the output: sound (frames have none)")
        return warnings + self._last_warnings(target, provenance)

    def _beside(self, reader: VideoReader | SequenceReader) -> Beside:
        options = self.options
        marks = marks_of(options, self.nets) | {MANIFEST_MARK: "none: a layer of a swap"}
        return Beside(options, reader, marks, self.facts or {}, fresh=self._fresh)

    @property
    def _fresh(self) -> bool:
        return not self.options.resume or self.facts is None

    def _beginning_together(self, clip: Clip, beside: Beside, begin: Callable[[], Clip]) -> Clip:
        """The clip, or one that begins anew where what is made beside it has to."""
        if beside.begins_at(clip.frames_kept):
            return clip
        clip.__exit__(None, None, None)
        again = begin()
        beside.begins_at(0)
        again.warnings.append("the face clip of an earlier run cannot be resumed; starting over")
        return again

    def _clip(
        self,
        output: Path,
        reader: VideoReader | SequenceReader,
        new_writer: Callable[[], ClipWriter],
        quality: Quality,
        fresh: bool,
    ) -> SegmentedClip | StraightClip:
        with self.clock("encode"):
            writer = new_writer()  # refuses now what would fail in the end
        if not writer.joinable:
            return StraightClip(reader, writer)
        writer.abort()
        return SegmentedClip(output, reader, quality, self.facts or {}, fresh=fresh)

    def _swap_segments(
        self,
        clip: SegmentedClip | StraightClip | SequenceClip,
        plan: MemoryPlan,
        assigner: FaceAssigner,
        beside: Beside,
    ) -> None:
        self.frames_kept = clip.frames_kept
        with closing(self.swapped_segments(clip, plan, assigner)) as swapped:
            for item in swapped:
                if not beside.is_nothing:
                    with self.clock("layers"):
                        beside.write(item, self.counts.frames - 1)
                with self.clock("encode"):
                    clip.write(item)
                if self.watch is not None:
                    self.watch(item)
                self._report()
        beside.complete()

    def swapped_frames(self, frames: Iterable[Frame], assigner: FaceAssigner) -> Iterator[Frame]:
        """A picture's frames, swapped; other jobs that change faces do something else here."""
        return swap_frames(
            frames, assigner, self.nets, self.options, self.counts, self.clock
        )  # fmt: skip

    def swapped_segments(
        self,
        clip: SegmentedClip | StraightClip | SequenceClip,
        plan: MemoryPlan,
        assigner: FaceAssigner,
    ) -> Generator[SwappedFrame]:
        """A clip's frames, swapped, as `swap_segments` gives them."""
        return swap_segments(
            clip.frames, assigner, self.nets, self.options, self.counts, self.clock,
            segment_frames=self.options.segment_frames, begin=clip.begin, plan=plan,
        )  # fmt: skip

    def _ranges_of(
        self,
        output: Path,
        reader: VideoReader | SequenceReader,
        new_writer: Callable[[], ClipWriter],
    ) -> JoinedRanges | None:
        """What the ranges of the clip are joined to; None where it is swapped in one piece."""
        if self.ranges is None or self.facts is None or not self._has_ranges(reader):
            return None
        writer = new_writer()  # refuses now what would fail in the end
        writer.abort()
        return self.ranges.clip(output, self.facts, self._fresh) if writer.joinable else None

    def _has_ranges(self, reader: VideoReader | SequenceReader) -> bool:
        """Whether nothing is carried over a cut: who is swapped must be known beforehand."""
        is_known = self.options.face != "largest" or self._main is not None
        options = self.options
        is_plain = options.layers is None and options.face_clip is None
        is_plain = is_plain and not isinstance(self.source, Cast)
        return is_known and is_plain and isinstance(reader, VideoReader)

    def _swap_ranges(self, clip: JoinedRanges) -> str | None:
        """Have all ranges swapped; what is known of the clip's damage."""
        assert self.ranges is not None
        with closing(self.ranges.swap(self._main)) as counted:
            for counts in counted:
                self.counts.continue_from(counts)
                self._report()
        self.frames_kept = clip.frames_of_earlier_runs
        return clip.damage

    def _writer(
        self,
        output: Path,
        reader: VideoReader | SequenceReader,
        quality: Quality,
        provenance: Provenance,
    ) -> ClipWriter:
        marks = marks_of(self.options, self.nets) | provenance.marks
        if output.suffix.lower() in ANIMATED_SUFFIXES:
            return AnimatedClip(output, reader, metadata=marks, overwrite=self.options.overwrite)
        return VideoWriter(
            output, reader, codec=quality.codec, crf=quality.crf, bitrate=quality.bitrate,
            preset=quality.preset, metadata=marks, overwrite=self.options.overwrite,
            sound=self.options.sound,
        )  # fmt: skip

    def swap_picture(self, target: Path, output: Path) -> list[str]:
        """Swap a picture, animated or not; returns warnings."""
        check_picture_memory(self.options.max_memory, picture_size(target), peak_memory_bytes())
        if is_animated(target):
            return self._swap_animation(target, output)
        provenance = self._provenance(output)
        picture = open_picture(target)
        (frame,) = self.swapped_frames([picture.frame], self._assigner(target))
        self._report()
        with self.clock("encode"):
            if self.counts.faces_swapped:
                marks = marks_of(self.options, self.nets) | provenance.marks
                provenance.write_picture(frame.rgb, marks, self.options.overwrite, picture)
            else:
                write_picture(output, frame.rgb, overwrite=self.options.overwrite, like=picture)
        lost = [f"not in the output: {line}" for line in picture.lost(output)]
        return lost + self._last_warnings(target, provenance)

    def _swap_animation(self, target: Path, output: Path) -> list[str]:
        """Swap all frames of an animated picture."""
        provenance, suffix = self._provenance(output), output.suffix.lower()
        animation, pictures = Animation.of(target), deque[Picture]()
        lost: list[str] = []

        def frames() -> Iterator[Frame]:
            for picture in animation.pictures():
                pictures.append(picture)
                yield picture.frame

        marks = marks_of(self.options, self.nets) | provenance.marks
        with closing_or_aborting(animation.writer(output, marks, self.options.overwrite)) as writer:
            for frame in self.swapped_frames(frames(), self._assigner(target)):
                picture = pictures.popleft()
                with self.clock("encode"):
                    writer.write(picture.pixels(suffix, frame.rgb), *_span(frame))
                lost = lost or picture.lost(output)
                self._report()
            with self.clock("encode"):
                if self.counts.faces_swapped:
                    provenance.close_clip(writer, True)
                else:
                    writer.abort()
                    self._write_unswapped(animation, output)
        lines = [f"not in the output: {line}" for line in lost + writer.lost]
        return lines + self._last_warnings(target, provenance)

    def _write_unswapped(self, animation: Animation, output: Path) -> None:
        """The animation as it is, in the format of the output."""
        if animation.path.suffix.lower() == output.suffix.lower():
            _copy_unchanged(animation.path, output)
            return
        with closing_or_aborting(animation.writer(output, {}, self.options.overwrite)) as writer:
            for picture in animation.pictures():
                pixels = picture.pixels(output.suffix.lower(), picture.frame.rgb)
                writer.write(pixels, *_span(picture.frame))
            writer.close()

    def _swap_animation_to_clip(self, target: Path, output: Path) -> list[str]:
        """Swap all frames of an animated picture into a clip."""
        with ExitStack() as stack:
            with writing_errors(output):  # beside it: the system's folder is often in memory
                made = TemporaryDirectory(prefix=TEMPORARY, dir=output.parent)
                folder = stack.enter_context(made)
            clip = Path(folder) / target.stem
            with renamed(clip, target):
                with self.clock("decode"):
                    write_as_clip(Animation.of(target), clip)
                self.ranges = None  # others cannot read it
                warnings = self.swap_clip(clip, output)
            return [line.replace(str(clip), str(target)) for line in warnings]

    def _provenance(self, output: Path) -> Provenance:
        return self.provenance or Provenance(output, reason="not asked for")

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.counts)

    def _last_warnings(self, target: Path, provenance: Provenance) -> list[str]:
        if self.counts.faces_swapped:
            return provenance.warnings
        wanted = "no face" if self.options.face in ("largest", "all") else "not the chosen person"
        wanted = "nobody of the cast" if isinstance(self.source, Cast) else wanted
        return [f"{target}: {wanted} found; the output is the target unchanged"]


def main_person_for(
    options: SwapOptions, nets: Nets, target: Path, reader: VideoReader | SequenceReader
) -> MainPerson | None:
    """Whom `--face largest` means in the clip `reader` reads, None with another `--face`."""
    if options.face != "largest":
        return None
    embedder = SourceReader.of(nets)
    if isinstance(reader, SequenceReader):
        return main_person_of_sequence(reader, embedder)
    return main_person_of(target, embedder, reader.beginning, reader.stop, options.hwaccel)


def memory_plan_of(
    options: SwapOptions, reader: VideoReader | SequenceReader, device: torch.device
) -> MemoryPlan:
    """How a clip is held within the options' memory, once the nets are loaded and have run.

    Raises BadOptionError where it cannot be.
    """
    return plan_memory(
        options.max_memory, options.batch_size, device, frame_bytes(reader), peak_memory_bytes()
    )


def has_sound(target: Path) -> bool:
    """Whether a clip has a sound stream."""
    container, _ = open_clip(target)
    with container:
        return bool(container.streams.audio)


def _above(limit: int | None) -> list[str]:
    peak = peak_memory_bytes()
    if limit is None or peak <= limit:
        return []
    return [f"memory reached {peak // MIB} MiB, above --max-memory of {limit // MIB} MiB"]


def marks_of(options: SwapOptions, nets: Nets) -> dict[str, str]:
    """The container metadata that says how a result was made."""
    settings = recorded_settings(asdict(options), type(options))
    return synthetic_metadata(__version__, nets.generator.sha256, settings)


def check_paths(sources: Sequence[Path], target: Path, output: Path, options: SwapOptions) -> bool:
    """Refuse before any work what must fail at its end; returns whether the target is a picture."""
    picture = check_inputs(sources, target, output, options)
    if is_sequence(target) or is_pattern(output):
        return False
    check_output(output, options.overwrite)
    if options.hwaccel is not None:
        _check_decoder(target, options.hwaccel, picture)
    return picture


def check_inputs(sources: Sequence[Path], target: Path, output: Path, options: SwapOptions) -> bool:
    """`check_paths` but for the place of the output, which may still have to be made."""
    for path in (*sources, *([] if is_pattern(target) else [target])):
        check_readable(path)
    if options.cast is not None:
        check_cast(options, sources)
    if options.face_clip is not None:
        face_codec(options.face_clip)
        if output.absolute() == options.face_clip.absolute():
            raise BadOptionError(f"--face-clip {output} is the output itself; name another")
    if is_sequence(target) or is_pattern(output):
        check_sequence(target, output, options)
        return False
    check_clip_options(target, options)
    picture = target.is_file() and is_picture(target)
    _check_order(sources, target, output, picture)
    if picture:
        animated = is_animated(target)
        if animated:
            check_animated_suffix(target, output)
        if not animated or output.suffix.lower() not in (*CONTAINERS, *ANIMATED_SUFFIXES):
            check_picture_suffix(output)
        picture = not animated or output.suffix.lower() not in CONTAINERS
    if picture:
        _check_picture_options(target, options)
    else:
        check_input(target)
        _check_clip_output(output, options)
    if is_there(output) and output.samefile(target):
        raise BadOptionError(f"{output} is the target itself; name another output")
    return picture


def _check_clip_output(output: Path, options: SwapOptions) -> None:
    if output.suffix.lower() in ANIMATED_SUFFIXES:
        check_animated_options(output, options)
        return
    container_for(output)
    codec_for(output, options.codec)
    options.sound.check(output)


def _check_picture_options(target: Path, options: SwapOptions) -> None:
    """Refuse what pictures have not."""
    for flag, given in (("--layers", options.layers), ("--face-clip", options.face_clip)):
        if given is not None:
            raise BadOptionError(
                f"{flag} is for clips and image sequences and {target} is a picture; leave it out"
            )
    if not options.sound.is_copied:
        raise BadOptionError(f"--audio-codec is for clips and {target} is a picture; leave it out")


def _check_order(sources: Sequence[Path], target: Path, output: Path, picture: bool) -> None:
    """Name the mistake where the output is called what its target is not."""
    suffix = output.suffix.lower()
    if picture and suffix in CONTAINERS and not is_animated(target):
        clip = next((s for s in sources if s.is_file() and not is_picture(s)), None)
        hint = f"end the output in one of {', '.join(PICTURE_SUFFIXES)}"
        if clip is not None:
            hint = f"if {clip} is the clip to swap in, give it last: SOURCES... TARGET"
        raise CodecError(f"the target {target} is a picture, which {suffix} cannot hold; {hint}")
    is_still = suffix in PICTURE_SUFFIXES and suffix not in ANIMATED_SUFFIXES
    if not picture and target.is_file() and is_still:
        raise CodecError(
            f"the target {target} is no picture, and {output.name} names one; end the output in "
            f"one of {', '.join((*CONTAINERS, *ANIMATED_SUFFIXES))}, or swap one frame with "
            "vidswap preview"
        )


def _check_decoder(target: Path, hwaccel: str, picture: bool) -> None:
    if picture:
        raise BadOptionError(
            f"--hwaccel {hwaccel} decodes clips and {target} is a picture; leave it out"
        )
    with VideoReader(target, hwaccel=hwaccel):
        pass  # opening it decodes a frame there


def _span(frame: Frame) -> tuple[float, float]:
    """When a picture of an animation is shown, from and to, in milliseconds."""
    tick = frame.time_base * 1000
    return float(frame.pts * tick), float((frame.pts + frame.duration) * tick)


@contextmanager
def closing_or_aborting(writer: AnimationWriter) -> Iterator[AnimationWriter]:
    """The writer, whose file is removed unless it was closed."""
    try:
        yield writer
    finally:
        writer.abort()


@contextmanager
def renamed(path: Path, shown: Path) -> Iterator[None]:
    """Let errors that name a file of our own speak of the user's."""
    try:
        yield
    except VidswapError as error:
        raise type(error)(str(error).replace(str(path), str(shown))) from error


def _copy_unchanged(target: Path, output: Path) -> None:
    part = temporary_path(output)
    try:
        with writing_errors(output):
            shutil.copyfile(target, part)
            part.replace(output)
    finally:
        part.unlink(missing_ok=True)
