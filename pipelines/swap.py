"""The whole swap: decode, detect, track, align, generate, blend, encode (AP-GAN, Fig. 4)."""

from __future__ import annotations

import resource
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.faces_of_interest import FaceChooser
from pipelines.nets import DetectorName, DeviceName, Nets, PrecisionName, load_nets
from pipelines.overlap import Overlapped
from pipelines.source import SourceIdentity, SourceReader
from pipelines.stage_clock import StageClock
from pipelines.swap_provenance import (
    Provenance,
    check_provenance_options,
    files_used,
    recorded_settings,
    signing_key,
)
from vidswap.blending.mask import face_mask
from vidswap.blending.paste import blending_mask, paste_face
from vidswap.blending.steadiness import DEFAULT_STEADINESS, SteadyFace
from vidswap.errors import BadOptionError, InputNotFoundError
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.faces.boundary_map import draw_boundary_map
from vidswap.faces.mesh import FACE_OVAL
from vidswap.faces.tracking import FaceTracker
from vidswap.identity.encoder import IdEmbedding
from vidswap.media.c2pa_manifest import SwapFacts
from vidswap.media.codecs import codec_for, container_for
from vidswap.media.decoder import VideoReader
from vidswap.media.encoder import DEFAULT_CRF, VideoWriter
from vidswap.media.frame import Frame
from vidswap.media.output import check_output, temporary_path, writing_errors
from vidswap.media.picture import (
    check_picture_suffix,
    is_picture,
    read_picture,
    write_picture,
)
from vidswap.media.provenance import synthetic_metadata
from vidswap.version import __version__

QUEUE_DEPTH = 4  # frames or batches between two stages
CPU_BATCH, CUDA_BATCH = 4, 16

MaskName = Literal["face", "square"]


@dataclass(frozen=True, kw_only=True)
class SwapOptions:
    """How to swap.

    k_shot: frames sampled from each source clip. face: "largest", "all", or a picture of the
    person to replace. source_face: None, "largest" or a picture, when the source shows several
    people. start, end: seconds of the target to swap. batch_size: faces a generator call, None for
    the device's default. codec: None for the container's usual one. mask: "square" is eq. 12
    alone, "face" keeps of it what lies within the face's outline. steadiness: the part, from 0 to
    below 1, that the frame before has in what is changed. checkpoint: None for the
    packaged one. sign_key, sign_cert: PEM files that sign the C2PA manifest, None for this
    computer's own. no_provenance: why there shall be no manifest; it is recorded.
    """

    k_shot: int = 10
    face: str | Path = "largest"
    source_face: str | Path | None = None
    start: float | None = None
    end: float | None = None
    detector: DetectorName = "mediapipe"
    device: DeviceName = "auto"
    precision: PrecisionName = "auto"
    batch_size: int | None = None
    codec: str | None = None
    crf: int = DEFAULT_CRF
    mask: MaskName = "face"
    steadiness: float = DEFAULT_STEADINESS
    checkpoint: Path | None = None
    overwrite: bool = False
    sign_key: Path | None = None
    sign_cert: Path | None = None
    no_provenance: str | None = None

    def __post_init__(self) -> None:
        if self.k_shot < 1:
            raise BadOptionError(f"k-shot {self.k_shot}; it must be 1 or more")
        if self.batch_size is not None and self.batch_size < 1:
            raise BadOptionError(f"batch size {self.batch_size}; it must be 1 or more")
        if not 0.0 <= self.steadiness < 1.0:
            raise BadOptionError(f"steadiness {self.steadiness}; allowed: from 0 to below 1")
        check_provenance_options(self.sign_key, self.sign_cert, self.no_provenance)


@dataclass(frozen=True)
class SwapResult:
    """What a swap did. Times in seconds, memory in MiB; stages overlap, so their sum is longer.

    manifest: label of the output's C2PA manifest, None where it has none; signed_by: name in the
    certificate that signed it; no_provenance: the reason given for leaving it out.
    """

    output: str
    frames: int
    faces_swapped: int
    frames_without_face: int
    seconds: float
    seconds_by_stage: dict[str, float]
    peak_memory_mib: float
    device: str
    precision: str
    checkpoint: str
    checkpoint_sha256: str
    source_frames_used: tuple[str, ...]
    source_frames_left_out: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    manifest: str | None = None
    signed_by: str | None = None
    no_provenance: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class SwapCounts:
    """Running totals of `swap_frames`."""

    frames: int = 0
    faces_swapped: int = 0
    frames_without_face: int = 0


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face ready for the generator: the affine AM, F_t and B_t, (256, 256, 3) uint8 each.

    `landmarks` (478, 2) are in pixels of the crop; `track` is the person's number in the clip.
    """

    affine: NDArray[np.float64]
    landmarks: NDArray[np.floating]
    crop: NDArray[np.uint8]
    boundary_map: NDArray[np.uint8]
    track: int = 0


@dataclass(frozen=True, eq=False)
class FrameFaces:
    """A frame and its faces, with the generator's answers Y once they are there."""

    frame: Frame
    faces: list[AlignedFace]
    swapped: list[NDArray[np.uint8]] = field(default_factory=list)


Progress = Callable[[SwapCounts], None]


def swap_video(
    sources: Sequence[str | Path],
    target: str | Path,
    output: str | Path,
    options: SwapOptions | None = None,
    progress: Progress | None = None,
) -> SwapResult:
    """Put the sources' identity on the target's face and write the result.

    `sources` are photographs, folders of them or clips of one person; `target` is a clip or a
    picture, and `output` then is one too. `progress` is called after every frame. When no face was
    found in the target the output is the target unchanged, and a warning says so.

    Raises a VidswapError for everything a caller can mend; then no output is left.
    """
    options = options or SwapOptions()
    target, output = Path(target), Path(output)
    started = time.monotonic()
    clock = StageClock()
    source_paths = [Path(s) for s in sources]
    picture = _check_paths(source_paths, target, output, options)
    key = signing_key(output, options.sign_key, options.sign_cert, options.no_provenance)
    with ExitStack() as stack:
        with clock("load"):
            nets = load_nets(
                options.checkpoint, options.detector, options.device, options.precision
            )
        stack.callback(nets.close)
        with clock("source"):
            source = read_source(nets, source_paths, options)
        facts = SwapFacts(
            target, files_used(source_paths, source.used), __version__, nets.generator.sha256,
            recorded_settings(asdict(options)),
        )  # fmt: skip
        with clock("sign"):
            provenance = Provenance(output, facts, key, options.no_provenance)
        stack.enter_context(provenance)
        job = SwapJob(nets, source, options, clock, progress, provenance)
        warnings = (job.swap_picture if picture else job.swap_clip)(target, output)
    counts = job.counts
    return SwapResult(
        output=str(output),
        frames=counts.frames,
        faces_swapped=counts.faces_swapped,
        frames_without_face=counts.frames_without_face,
        seconds=time.monotonic() - started,
        seconds_by_stage=clock.seconds(),
        peak_memory_mib=peak_memory_mib(),
        device=str(nets.device),
        precision=str(nets.dtype).removeprefix("torch."),
        checkpoint=nets.generator.path.name,
        checkpoint_sha256=nets.generator.sha256,
        source_frames_used=source.used,
        source_frames_left_out=source.left_out,
        warnings=tuple(warnings),
        manifest=provenance.label,
        signed_by=provenance.signer if provenance.label else None,
        no_provenance=options.no_provenance,
    )


def read_source(nets: Nets, sources: Sequence[Path], options: SwapOptions) -> SourceIdentity:
    """The k-shot identity of the sources, with the nets of a job."""
    reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
    return reader.read(sources, options.k_shot, options.source_face)


def swap_frames(
    frames: Iterable[Frame],
    identity: IdEmbedding,
    nets: Nets,
    options: SwapOptions | None = None,
    counts: SwapCounts | None = None,
    clock: StageClock | None = None,
) -> Iterator[Frame]:
    """Swap a stream of frames of one clip, in order; one frame out for each frame in.

    `identity` is a batch of one. Stages run in threads of their own; close the iterator to stop
    them early. At most a few batches of frames are held at any time.
    """
    options, counts, clock = options or SwapOptions(), counts or SwapCounts(), clock or StageClock()
    batch_size = options.batch_size or (CUDA_BATCH if nets.device.type == "cuda" else CPU_BATCH)
    chooser = FaceChooser.of(options.face, nets)
    with ExitStack() as stack:
        decoded = stack.enter_context(
            Overlapped(clock.timed("decode", frames), QUEUE_DEPTH, "decode")
        )
        analysed = stack.enter_context(
            Overlapped(find_faces(decoded, nets, chooser, clock), QUEUE_DEPTH, "faces")
        )
        generated = stack.enter_context(
            Overlapped(
                generate(analysed, identity, nets, batch_size, clock), QUEUE_DEPTH, "generate"
            )
        )
        blended = stack.enter_context(
            Overlapped(
                blend(steady(generated, options.steadiness, clock), options.mask, clock),
                QUEUE_DEPTH,
                "blend",
            )
        )
        for frame, n_faces in blended:
            counts.frames += 1
            counts.faces_swapped += n_faces
            counts.frames_without_face += n_faces == 0
            yield frame


def find_faces(
    frames: Iterable[Frame], nets: Nets, chooser: FaceChooser, clock: StageClock
) -> Iterator[FrameFaces]:
    """Detect, track and align. The tracker answers a few frames late, so frames wait here."""
    tracker = FaceTracker(nets.detector, nets.landmark_finder)
    waiting: deque[Frame] = deque()
    for index, frame in enumerate(frames):
        waiting.append(frame)
        with clock("detect"):
            tracked = tracker.update(index, frame.rgb, frame.seconds)
        for found in tracked:
            yield _aligned(waiting.popleft(), found.faces, chooser, clock)
    with clock("detect"):
        tracked = tracker.flush()
    for found in tracked:
        yield _aligned(waiting.popleft(), found.faces, chooser, clock)


def _aligned(
    frame: Frame, tracked: Sequence[Any], chooser: FaceChooser, clock: StageClock
) -> FrameFaces:
    with clock("align"):
        chosen = chooser.choose(frame.rgb, tracked)
        faces = [align(frame.rgb, face.landmarks, face.track_id) for face in chosen]
        return FrameFaces(frame, faces)


def align(rgb: NDArray[np.uint8], landmarks: NDArray[np.floating], track: int = 0) -> AlignedFace:
    """F_t, B_t and AM of a mesh (478, 2) in frame pixels."""
    affine = face_affine(landmarks)
    aligned = warp_points(affine, landmarks)
    crop = align_face(rgb, affine)
    return AlignedFace(affine, aligned, crop, draw_boundary_map(aligned), track)


def generate(
    items: Iterable[FrameFaces],
    identity: IdEmbedding,
    nets: Nets,
    batch_size: int,
    clock: StageClock,
) -> Iterator[FrameFaces]:
    """Run the generator in batches over frames and faces; order is kept."""
    waiting: list[FrameFaces] = []
    for item in items:
        waiting.append(item)
        if sum(len(i.faces) for i in waiting) >= batch_size or len(waiting) >= 2 * batch_size:
            yield from _generate_batch(waiting, identity, nets, batch_size, clock)
            waiting = []
    yield from _generate_batch(waiting, identity, nets, batch_size, clock)


def _generate_batch(
    items: list[FrameFaces],
    identity: IdEmbedding,
    nets: Nets,
    batch_size: int,
    clock: StageClock,
) -> list[FrameFaces]:
    faces = [face for item in items for face in item.faces]
    with clock("generate"):
        swapped: list[NDArray[np.uint8]] = []
        for start in range(0, len(faces), batch_size):
            swapped += swap_faces(faces[start : start + batch_size], identity, nets)
    results, used = [], 0
    for item in items:
        results.append(FrameFaces(item.frame, item.faces, swapped[used : used + len(item.faces)]))
        used += len(item.faces)
    return results


def swap_faces(
    faces: Sequence[AlignedFace], identity: IdEmbedding, nets: Nets
) -> list[NDArray[np.uint8]]:
    """One generator call: Y (256, 256, 3) uint8 of each aligned face."""
    targets = _to_tensor([f.crop for f in faces], nets).mul_(2.0).sub_(1.0)
    maps = _to_tensor([f.boundary_map for f in faces], nets)
    size = nets.generator.size
    if size != targets.shape[-1]:
        targets = torch.nn.functional.interpolate(targets, size=(size, size), mode="area")
        maps = torch.nn.functional.interpolate(maps, size=(size, size), mode="area")
    with torch.inference_mode():
        outputs = nets.generator.net(targets, maps, identity.expand(len(faces)))
        pixels = outputs.add_(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 1).cpu().numpy())


def _to_tensor(pictures: list[NDArray[np.uint8]], nets: Nets) -> torch.Tensor:
    """uint8 (H, W, 3) pictures to (B, 3, H, W) in [0, 1] on the device, channels last."""
    stacked = torch.from_numpy(np.stack(pictures)).to(nets.device, non_blocking=True)
    return stacked.permute(0, 3, 1, 2).to(nets.dtype).div_(255.0)


def steady(items: Iterable[FrameFaces], share: float, clock: StageClock) -> Iterator[FrameFaces]:
    """Steady every track's faces over time; `share` 0 leaves them as they are."""
    tracks: dict[int, SteadyFace] = {}
    for index, item in enumerate(items):
        if share > 0:
            with clock("steady"):
                swapped = [
                    tracks.setdefault(face.track, SteadyFace(share))(index, face.crop, y)
                    for face, y in zip(item.faces, item.swapped, strict=True)
                ]
            item = FrameFaces(item.frame, item.faces, swapped)
            present = {face.track for face in item.faces}
            tracks = {number: track for number, track in tracks.items() if number in present}
        yield item


def blend(
    items: Iterable[FrameFaces], mask: MaskName, clock: StageClock
) -> Iterator[tuple[Frame, int]]:
    """The finished frames, each with its number of swapped faces."""
    for item in items:
        with clock("blend"):
            frame = blend_faces(item, mask)
        yield frame, len(item.faces)


def blend_faces(item: FrameFaces, mask: MaskName = "face") -> Frame:
    """Eq. 12 and 13 for every swapped face of a frame; a frame without faces is given back."""
    frame = item.frame
    for face, swapped in zip(item.faces, item.swapped, strict=True):
        weight = blending_mask()
        if mask == "face":
            weight = weight * face_mask(face.landmarks[list(FACE_OVAL)])
        patch = paste_face(frame.rgb, swapped, face.affine, weight)
        if patch is not None:
            frame = frame.with_pixels(patch.box, patch.rgb)
    return frame


class SwapJob:
    """One target with its output, by nets that are loaded; keeps the counts while it runs."""

    def __init__(
        self,
        nets: Nets,
        source: SourceIdentity,
        options: SwapOptions,
        clock: StageClock,
        progress: Progress | None,
        provenance: Provenance | None = None,
    ) -> None:
        self.nets, self.source, self.options, self.clock = nets, source, options, clock
        self.progress, self.provenance = progress, provenance
        self.counts = SwapCounts()

    def swap_clip(self, target: Path, output: Path) -> list[str]:
        """Swap a clip; returns warnings."""
        options, warnings = self.options, []
        provenance = self._provenance(output)
        marks = marks_of(options, self.nets) | provenance.marks
        with ExitStack() as stack:
            reader = stack.enter_context(VideoReader(target, options.start, options.end))
            writer = stack.enter_context(
                VideoWriter(
                    output, reader, codec=options.codec, crf=options.crf,
                    metadata=marks, overwrite=options.overwrite,
                )
            )  # fmt: skip
            swapped = self._swapped(reader)
            stack.callback(swapped.close)
            for frame in swapped:
                with self.clock("encode"):
                    writer.write(frame)
                self._report()
            if reader.truncated:
                warnings.append(reader.truncated)
            unchanged = self.counts.faces_swapped == 0
            whole = options.start is None and options.end is None
            if unchanged and whole and target.suffix.lower() == output.suffix.lower():
                writer.abort()
                _copy_unchanged(target, output)
            else:
                with self.clock("encode"):
                    provenance.close_clip(writer, not unchanged)
                warnings += [f"not in the output: {stream}" for stream in writer.dropped]
        return warnings + self._last_warnings(target, provenance)

    def swap_picture(self, target: Path, output: Path) -> list[str]:
        """Swap a picture; returns warnings."""
        provenance = self._provenance(output)
        (frame,) = list(self._swapped([read_picture(target)]))
        self._report()
        with self.clock("encode"):
            if self.counts.faces_swapped:
                marks = marks_of(self.options, self.nets) | provenance.marks
                provenance.write_picture(frame.rgb, marks, self.options.overwrite)
            else:
                write_picture(output, frame.rgb, overwrite=self.options.overwrite)
        return self._last_warnings(target, provenance)

    def _provenance(self, output: Path) -> Provenance:
        return self.provenance or Provenance(output, reason="not asked for")

    def _swapped(self, frames: Iterable[Frame]) -> Any:
        identity = self.source.identity
        return swap_frames(frames, identity, self.nets, self.options, self.counts, self.clock)

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.counts)

    def _last_warnings(self, target: Path, provenance: Provenance) -> list[str]:
        if self.counts.faces_swapped:
            return provenance.warnings
        wanted = "no face" if self.options.face in ("largest", "all") else "not the chosen person"
        return [f"{target}: {wanted} found; the output is the target unchanged"]


def marks_of(options: SwapOptions, nets: Nets) -> dict[str, str]:
    """The container metadata that says how a result was made."""
    settings = recorded_settings(asdict(options))
    return synthetic_metadata(__version__, nets.generator.sha256, settings)


def _check_paths(sources: Sequence[Path], target: Path, output: Path, options: SwapOptions) -> bool:
    """Refuse before any work what must fail at its end; returns whether the target is a picture."""
    for path in (*sources, target):
        if not path.exists():
            raise InputNotFoundError(f"{path}: no such file")
    picture = target.is_file() and is_picture(target)
    if picture:
        check_picture_suffix(output)
    else:
        container_for(output)
        codec_for(output, options.codec)
    if output.exists() and target.exists() and output.samefile(target):
        raise BadOptionError(f"{output} is the target itself; name another output")
    check_output(output, options.overwrite)
    return picture


def _copy_unchanged(target: Path, output: Path) -> None:
    part = temporary_path(output)
    try:
        with writing_errors(output):
            shutil.copyfile(target, part)
            part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def peak_memory_mib() -> float:
    """The process's largest resident memory so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 * 1024.0 if sys.platform == "darwin" else 1024.0)
