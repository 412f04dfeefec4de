"""What a swap would do, found out without doing it: `vidswap run --dry-run`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from vidswap.errors import BadOptionError, VidswapError
from vidswap.media.animated_picture import is_animated
from vidswap.media.animated_writer import ANIMATED_SUFFIXES
from vidswap.media.codecs import codec_for, encoder_format
from vidswap.media.container import open_clip
from vidswap.media.decoder import VideoReader
from vidswap.media.encoder import VideoWriter
from vidswap.media.picture import is_picture, open_picture
from vidswap.media.picture_encoder import Quality
from vidswap.media.picture_open import picture_size
from vidswap.media.probing import MediaInfo, StreamInfo, probe
from vidswap.media.sound import Recoded
from vidswap.media.timeline import timeline_of
from vidswap.nets import Nets
from vidswap.people.face_selection import FaceChooser
from vidswap.people.source import SourceIdentity
from vidswap.provenance.manifest import load_c2pa, media_type
from vidswap.provenance.record import Provenance, signing_key
from vidswap.provenance.signing_key import local_key_path
from vidswap.runtime.devices import device_name
from vidswap.runtime.memory import MemoryPlan, check_picture_memory, peak_memory_bytes
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap.cast import AUTO, load_cast
from vidswap.swap.faces import FaceAssigner, OneSource
from vidswap.swap.job import check_paths, main_person_for, memory_plan_of, read_source
from vidswap.swap.options import SwapOptions
from vidswap.swap.plan_records import (
    EnginePlan,
    Estimate,
    OutputPlan,
    SourcePlan,
    StreamPlan,
    SwapPlan,
    TargetPlan,
)
from vidswap.swap.plan_text import colour_words, describe, size_words
from vidswap.swap.plan_trial import (
    FacesFound,
    Sampled,
    Survey,
    Trial,
    look_for_faces,
    sampled_frames,
    survey_of,
    timed_picture,
    trial_run,
)
from vidswap.swap.sequence_plan import frames_of_range, streams_as_frames, timed_frames
from vidswap.swap.target import open_target, output_frames
from vidswap.swap.worker import Worker

__all__ = ["SwapPlan", "describe", "plan_swap"]

# What lies beside the output while it is completed: the segments and the file they are joined in,
# and where it is signed three more, of which the last becomes the output.
_COPIES, _COPIES_SIGNED = 2, 5
_SIGNING_SPEED = 100e6  # bytes a second, docs/provenance.md
_BROKEN_OFF = 0.5  # seconds that a clip must be shorter than its header says
_DROPPED_STREAM = re.compile(r"stream (\d+) \((.*)\)$")
_LOSSLESS = {"ffv1": None, "libx264": 0}  # and the crf at which it is


def plan_swap(
    sources: Sequence[str | Path],
    target: str | Path,
    output: str | Path,
    options: SwapOptions | None = None,
    worker: Worker | None = None,
) -> SwapPlan:
    """Find out what `swap_video` would do; a short stretch is swapped, and nothing is left.

    `worker` keeps the nets from plan to plan. Raises the VidswapError that `swap_video` would raise
    before its work.
    """
    options = options or SwapOptions()
    target, output = Path(target), Path(output)
    source_paths = [Path(source) for source in sources]
    picture = check_paths(source_paths, target, output, options)
    frames = output_frames(target, output)
    is_moving = frames is None and not picture
    if is_moving and (is_animated(target) or output.suffix.lower() in ANIMATED_SUFFIXES):
        raise BadOptionError(
            "--dry-run plans no conversions between clips and animated pictures; leave it out, or "
            "look at one frame with vidswap preview"
        )
    signer, key_warnings = (None, []) if frames else _signer(output, options)
    clock = StageClock()
    with ExitStack() as stack:
        worker = worker or stack.enter_context(Worker())
        with clock("load"):
            nets = worker.nets(options)
        with clock("source"):
            source = _sources(nets, target, output, source_paths, options)
        job = _Planned(target, output, options, nets, source, signer)
        prepared = sum(clock.seconds().values())
        if frames is not None:
            return job.frames(prepared, frames.suffix.lower())
        return (job.picture if picture else job.clip)(prepared, key_warnings)


@dataclass(frozen=True, eq=False)
class _Sources:
    """Whose faces a swap gets: the frames used and left out, and what assigns them."""

    used: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    faces: SourceIdentity | FaceAssigner


def _sources(
    nets: Nets, target: Path, output: Path, sources: Sequence[Path], options: SwapOptions
) -> _Sources:
    """The sources read; for `--cast auto`, which looks through the clip first, any face does."""
    if options.cast is None:
        source = read_source(nets, sources, options)
        return _Sources(source.used, source.left_out, source)
    if options.cast == AUTO:
        found = [read_source(nets, [source], options) for source in sources]
        used = tuple(name for each in found for name in each.used)
        left_out = tuple(pair for each in found for pair in each.left_out)
        return _Sources(used, left_out, OneSource(FaceChooser(), found[0]))
    cast = load_cast(nets, target, output, sources, options)
    zero = 0.0
    if not is_picture(target):
        with open_target(target, options) as reader:
            zero = float(reader.zero)
    return _Sources(cast.used, cast.left_out, cast.assigner(options, zero))


class _Planned:
    """A swap that is planned: what it needs, and the parts of its plan."""

    def __init__(
        self,
        target: Path,
        output: Path,
        options: SwapOptions,
        nets: Nets,
        source: _Sources,
        signer: str | None,
    ) -> None:
        self.target, self.output, self.options = target, output, options
        self.nets, self.source, self.signer = nets, source, signer

    @cached_property
    def info(self) -> MediaInfo:
        """What a clip or a picture states."""
        return probe(self.target)

    @property
    def _face(self) -> str | Path:
        """Which faces count as to be swapped; a cast's plan may say of any."""
        return self.options.face if self.options.cast is None else "all"

    def clip(self, prepared: float, key_warnings: list[str]) -> SwapPlan:
        """The plan for a clip; `prepared` are the seconds until its first frame."""
        options, quality = self.options, self.options.quality(self.target)
        with VideoReader(self.target, options.start, options.end, options.hwaccel) as reader:
            memory = memory_plan_of(options, reader, self.nets.device)
            dropped, recoded = self._dropped(reader, quality)
            survey = survey_of(self.target, reader)
            samples = sampled_frames(self.target, survey, hwaccel=options.hwaccel)
            main = None
            if options.cast is None:
                main = main_person_for(options, self.nets, self.target, reader)
            sampled = look_for_faces(samples, self.nets, self._face, main)
            trial = trial_run(
                reader, self.output, survey, sampled, self.source.faces, self.nets, options,
                quality,
            )  # fmt: skip
            output = self._output_of_clip(reader, quality)
        estimate = self._estimate(survey, trial, prepared, recoded)
        warnings = reader.warnings + self._cut_short(survey)
        warnings += [f"not in the output: {line}" for line in dropped]
        warnings += self._last_warnings(sampled, key_warnings, estimate)
        return self._plan(
            _target_plan(self.info, survey, reader.hwaccel), output,
            _streams(self.info, dropped, recoded, output), sampled.found(), estimate, warnings,
            memory,
        )  # fmt: skip

    def frames(self, prepared: float, suffix: str) -> SwapPlan:
        """The plan for an image sequence as the output."""
        options = self.options
        with open_target(self.target, options) as reader:
            memory = memory_plan_of(options, reader, self.nets.device)
            main = None
            if options.cast is None:
                main = main_person_for(options, self.nets, self.target, reader)
            target, samples = frames_of_range(self.target, reader)
            sampled = look_for_faces(samples, self.nets, self._face, main)
            trial = timed_frames(reader, suffix, sampled, self.source.faces, self.nets, options)
            warnings = list(reader.warnings)
            streams, lost = streams_as_frames(self.target, reader, suffix)
        warnings += [f"not in the output: {line}" for line in (*trial.lost, *lost)]
        size = round(target.frames * trial.bytes)
        seconds = prepared + target.frames * trial.seconds
        measured = f"{trial.frames} frame{'s' * (trial.frames != 1)} swapped and written"
        folder = next(p for p in (self.output, *self.output.absolute().parents) if p.is_dir())
        free = shutil.disk_usage(folder).free
        estimate = Estimate(seconds, measured, size, measured, size, free)
        output = OutputPlan(
            str(self.output), f"{suffix} frames", trial.samples, trial.colour,
            "the target's own, as the format has them", "marks in the metadata of every frame; no "
            "C2PA manifest, which frames do not get", None,
        )  # fmt: skip
        warnings += self._last_warnings(sampled, [], estimate)
        return self._plan(target, output, streams, sampled.found(), estimate, warnings, memory)

    def picture(self, prepared: float, key_warnings: list[str]) -> SwapPlan:
        """The plan for a picture."""
        check_picture_memory(
            self.options.max_memory, picture_size(self.target), peak_memory_bytes()
        )
        picture = open_picture(self.target)
        frame = picture.frame
        sampled = look_for_faces(iter([frame]), self.nets, self._face)
        seconds = (
            timed_picture(frame, self.source.faces, self.nets, self.options) * self.info.frames
        )
        size = self.target.stat().st_size
        estimate = self._estimated(prepared + seconds, "measured", size, "the target's size")
        kind = self.output.suffix.lstrip(".").lower()
        output = OutputPlan(
            str(self.output), kind, "rgb24", "8-bit RGB", "those of the target, written again",
            self._provenance(), self.signer,
        )  # fmt: skip
        streams = (StreamPlan(0, "picture", self.info.container, None, "encoded", kind),)
        warnings = [f"not in the output: {line}" for line in picture.lost(self.output)]
        warnings += self._last_warnings(sampled, key_warnings, estimate)
        return self._plan(
            _target_plan(self.info, None), output, streams, sampled.found(), estimate, warnings
        )

    def _plan(
        self,
        target: TargetPlan,
        output: OutputPlan,
        streams: tuple[StreamPlan, ...],
        faces: FacesFound,
        estimate: Estimate,
        warnings: list[str],
        memory: MemoryPlan | None = None,
    ) -> SwapPlan:
        sources = SourcePlan(_by_file(self.source.used), self.source.left_out)
        engine = _engine(self.nets, self.options, memory)
        return SwapPlan(target, output, streams, sources, faces, engine, estimate, tuple(warnings))

    def _dropped(
        self, reader: VideoReader, quality: Quality
    ) -> tuple[list[str], dict[int, Recoded]]:
        """What the output does not take and what is coded anew, said by a writer set up for it."""
        with TemporaryDirectory(prefix="vidswap-plan-") as folder:
            scratch = Path(folder) / self.output.name
            with _named(scratch, self.output):
                writer = VideoWriter(
                    scratch, reader, codec=quality.codec, crf=quality.crf, preset=quality.preset,
                    bitrate=quality.bitrate, sound=self.options.sound,
                )  # fmt: skip
                writer.abort()
            return list(writer.dropped), writer.recoded

    def _output_of_clip(self, reader: VideoReader, quality: Quality) -> OutputPlan:
        codec = codec_for(self.output, quality.codec)
        size = (reader.coded_width, reader.coded_height)
        encoded = encoder_format(codec, reader.pixel_format, *size)
        at = "" if codec.crf_limit is None else f", crf {quality.crf}"
        if quality.bitrate is not None:
            at = f", {quality.bitrate / 1000:.0f} kbit/s"
        same = encoded == reader.pixel_format.replace("yuvj", "yuv")
        at_crf = _LOSSLESS.get(codec.encoder, -1)
        samples = f"the decoded ones, then coded by {codec.encoder}{at}"
        if same and quality.bitrate is None and at_crf in (None, quality.crf):
            samples = f"bit for bit the decoded ones ({codec.encoder}{at} is lossless)"
        colour = colour_words(self.info, reader.colour, encoded)
        return OutputPlan(
            str(self.output), codec.encoder + at, encoded, colour, samples, self._provenance(),
            self.signer,
        )  # fmt: skip

    def _provenance(self) -> str:
        reason = self.options.no_provenance
        if self.signer is not None:
            return f"marks in the metadata and a C2PA manifest, signed by {self.signer}"
        if reason is not None:
            return f"marks in the metadata; no C2PA manifest: {reason}"
        marks = "" if self.output.suffix.lower() == ".bmp" else "marks in the metadata; "
        return f"{marks}no C2PA manifest, which {self.output.suffix} files cannot hold"

    def _estimate(
        self, survey: Survey, trial: Trial, prepared: float, recoded: Mapping[int, Recoded]
    ) -> Estimate:
        count = len(survey.frames)
        picture = next(n for n, s in enumerate(self.info.streams) if s.role == "picture")
        anew = {picture, *recoded}
        copied = sum(size for index, size in survey.sizes.items() if index not in anew)
        size = trial.bytes_of(count, self.options.segment_frames)
        size += round(copied * min(1.0, survey.seconds / survey.whole))
        size += round(sum(each.bit_rate for each in recoded.values()) / 8 * survey.seconds)
        seconds = prepared + count * trial.seconds
        measured = f"{trial.frames} frame{'s' * (trial.frames != 1)} swapped and encoded"
        return self._estimated(seconds, measured, size, f"{measured}, and what is copied")

    def _estimated(self, seconds: float, seconds_from: str, size: int, size_from: str) -> Estimate:
        signed = self.signer is not None
        held = size * (_COPIES_SIGNED if signed else _COPIES)
        free = shutil.disk_usage(self.output.parent).free
        seconds += size / _SIGNING_SPEED if signed else 0.0
        return Estimate(seconds, seconds_from, size, size_from, held, free)

    def _cut_short(self, survey: Survey) -> list[str]:
        """In the words of `VideoReader`, whose range must reach the end to see it."""
        container, stream = open_clip(self.target)
        with container:
            stated = timeline_of(self.target).stated_end(container, stream)
        if stated is None or self.options.end is not None or stated - survey.end <= _BROKEN_OFF:
            return []
        at, of = float(survey.end), float(stated)
        return [f"{self.target} is cut short: it ends at {at:.2f} s of {of:.2f} s"]

    def _last_warnings(
        self, sampled: Sampled, key_warnings: list[str], estimate: Estimate
    ) -> list[str]:
        warnings = list(key_warnings)
        if not sampled.pixels:
            whose = "face" if self.options.face in ("largest", "all") else "face of that person"
            warnings = [
                f"no {whose} in {len(sampled.people)} sampled frame(s) of {self.target}; where "
                "there is none at all, the output is the target unchanged"
            ]
        if estimate.bytes_held > estimate.bytes_free:
            warnings.append(
                f"the disk of {self.output} has {size_words(estimate.bytes_free)} free and the "
                f"run may hold {size_words(estimate.bytes_held)}; free some or name another disk"
            )
        return warnings


def _signer(output: Path, options: SwapOptions) -> tuple[str | None, list[str]]:
    """Who will sign, None for nobody, and what a run will warn of; no key is made.

    Raises SigningKeyError, MissingLibraryError.
    """
    given = options.sign_key is not None
    wanted = options.no_provenance is None and media_type(output) is not None
    if wanted and not given and not local_key_path().exists():
        load_c2pa()
        return "a key of this computer's own, which the run makes", []
    key = signing_key(output, options.sign_key, options.sign_cert, options.no_provenance)
    if key is None:
        return None, Provenance(output, reason=options.no_provenance).warnings
    return key.signer, [key.warning] if key.warning else []


def _target_plan(info: MediaInfo, survey: Survey | None, decoder: str | None = None) -> TargetPlan:
    codec = next(stream.codec for stream in info.streams if stream.role == "picture")
    return TargetPlan(
        str(info.path), info.kind, codec, info.pixel_format, info.width, info.height,
        info.rotation, info.mirrored, info.scan, info.fps,
        variable_rate=survey is not None and survey.is_variable,
        frames=len(survey.frames) if survey else info.frames,
        seconds=survey.seconds if survey else 0.0,
        decoder=decoder,
    )  # fmt: skip


def _streams(
    info: MediaInfo, dropped: Sequence[str], recoded: Mapping[int, Recoded], output: OutputPlan
) -> tuple[StreamPlan, ...]:
    found = (_DROPPED_STREAM.search(line) for line in dropped)
    lost = {int(match[1]): match[2] for match in found if match}
    suffix = Path(output.path).suffix

    def fate(index: int, stream: StreamInfo) -> tuple[str, str]:
        if stream.role == "picture":
            return "encoded", f"{output.encoder}, {output.pixel_format}"
        if index in recoded:
            return "encoded", recoded[index].words
        if index not in lost:
            return "written again" if stream.role in ("chapters", "timecode") else "copied", ""
        if stream.role == "timecode":
            return "dropped", lost[index]
        if stream.role == "second picture":
            return "dropped", "it would show the face unchanged"
        return "dropped", f"{suffix} files do not hold it"

    return tuple(
        StreamPlan(n, s.role if s.role == "cover art" else s.kind, s.codec, s.language, *fate(n, s))
        for n, s in enumerate(info.streams)
    )


def _by_file(used: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Files and how many of their frames ("clip.mp4 at 1.20 s") are used, in order."""
    files = [re.sub(r" at \d+\.\d+ s$", "", name) for name in used]
    return tuple((name, files.count(name)) for name in dict.fromkeys(files))


def _engine(nets: Nets, options: SwapOptions, memory: MemoryPlan | None) -> EnginePlan:
    return EnginePlan(
        device=str(nets.device),
        device_name=device_name(nets.device),
        precision=str(nets.dtype).removeprefix("torch."),
        batch_size=memory.batch_size if memory else 1,
        memory=memory.expected if memory else None,
        checkpoint=nets.generator.path.name,
        checkpoint_sha256=nets.generator.sha256,
    )


@contextmanager
def _named(scratch: Path, output: Path) -> Iterator[None]:
    """Let errors of writing the scratch file speak of the output."""
    try:
        yield
    except VidswapError as error:
        raise type(error)(str(error).replace(str(scratch), str(output))) from error
