"""Tuning the generator to one pair: sources and a target clip in, a small adapter out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.blending.warping import SIZE, Shot
from vidswap.errors import (
    BadOptionError,
    CheckpointError,
    InputNotFoundError,
    NoFaceInSourceError,
    NoFaceInTargetError,
)
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.faces.occlusion import visibility_maps
from vidswap.faces.quality import is_sharp
from vidswap.identity.dlib_resnet import SAME_PERSON_DISTANCE
from vidswap.identity.encoder import IdEmbedding, IdentityEncoder
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.output import check_output
from vidswap.media.picture import is_picture, read_picture
from vidswap.media.sampling import packet_times
from vidswap.models.checkpoint import (
    AdapterOrigin,
    LoadedGenerator,
    is_adapter,
    load_generator,
    save_adapter,
)
from vidswap.nets import choose_device, load_detector
from vidswap.people.source import MIN_FACE_SIZE, SourceReader, face_size
from vidswap.runtime.processor import cpu_computes_bf16
from vidswap.tuning.options import TuneOptions as TuneOptions
from vidswap.tuning.pair_training import PairTuner, TuneConfig

MAX_SHOTS = 400  # aligned faces a side, 0.2 MiB each
FEW_SHOTS = 10  # of the source; below them there is little to learn from
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class TuneProgress:
    """Where training stands: seconds since its start, images seen, the last losses by name."""

    seconds: float
    images: int
    losses: dict[str, float]


@dataclass(frozen=True)
class TuneResult:
    """What was learnt from what."""

    output: str
    images: int
    minutes: float
    interrupted: bool
    source_shots: int
    target_shots: int
    base: str
    base_sha256: str
    losses: dict[str, float]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


Progress = Callable[[TuneProgress], None]


def tune_pair(
    sources: Sequence[str | Path],
    target: str | Path,
    output: str | Path,
    options: TuneOptions | None = None,
    progress: Progress | None = None,
) -> TuneResult:
    """Adapt the generator to `sources` on `target` and write the adapter to `output`.

    The adapter is a checkpoint for the same sources and target. Ctrl-C during training keeps what
    was learnt so far. Raises a VidswapError for everything a caller can mend; then no output is
    left, and an older file under its name stays.
    """
    options = options or TuneOptions()
    source_paths, target, output = [Path(s) for s in sources], Path(target), Path(output)
    _check_paths(source_paths, target, output, options)
    device = choose_device(options.device)
    base = _load_base(options.checkpoint, device)
    with closing(SourceReader(*load_detector(options.detector), IdentityEncoder())) as reader:
        source = reader.read(source_paths, options.k_shot, options.source_face)
        source_shots = read_source_shots(reader, source_paths, source.identity)
        target_shots = read_target_shots(reader, target, options.face)
        encoder = reader.encoder.to(device).requires_grad_(False)
    compute = torch.bfloat16 if device.type == "cuda" or cpu_computes_bf16() else torch.float32
    identity = source.identity.map(lambda x: x.clone().to(device))  # out of inference mode
    tuner = PairTuner(
        base.net, encoder, source_shots, target_shots, identity, options.training or TuneConfig(),
        compute, source.photograph,
    )  # fmt: skip
    minutes, interrupted, losses = _train(tuner, options.minutes, progress)
    origin = AdapterOrigin(
        base=base.path.name,
        base_sha256=base.sha256,
        config=base.net.config,
        images=tuner.images,
        minutes=minutes,
        shots_sha256=_digest(source_shots),
    )
    save_adapter(tuner.average, output, origin)
    return TuneResult(
        output=str(output),
        images=tuner.images,
        minutes=minutes,
        interrupted=interrupted,
        source_shots=len(source_shots),
        target_shots=len(target_shots),
        base=origin.base,
        base_sha256=origin.base_sha256,
        losses=losses,
        warnings=_warnings(len(source_shots)),
    )


def _train(
    tuner: PairTuner, minutes: float, progress: Progress | None
) -> tuple[float, bool, dict[str, float]]:
    """Train until the time is up or Ctrl-C: minutes, whether interrupted, losses at the end."""
    started = time.monotonic()
    elapsed, losses, interrupted = 0.0, dict[str, float](), False
    try:
        while elapsed < 60.0 * minutes:
            found = tuner.step(elapsed / (60.0 * minutes))
            losses = {k: 0.9 * losses.get(k, v) + 0.1 * v for k, v in found.items()}
            elapsed = time.monotonic() - started
            if progress is not None:
                progress(TuneProgress(elapsed, tuner.images, losses))
    except KeyboardInterrupt:
        if tuner.images == 0:
            raise
        interrupted = True
    return elapsed / 60.0, interrupted, losses


def read_source_shots(
    reader: SourceReader, sources: Sequence[Path], identity: IdEmbedding
) -> list[Shot]:
    """Up to MAX_SHOTS faces of the person `identity` shows, sampled evenly over the sources.

    Small and blurred faces are left out unless there is nothing else. Raises NoFaceInSourceError.
    """
    reference = identity.embedding[0].cpu().numpy()
    good: list[Shot] = []
    poor: list[Shot] = []
    for frame in _frames(sources):
        shot, size = _shot_of(reader, frame, reference)
        if shot is not None:
            usable = size >= MIN_FACE_SIZE and is_sharp(shot.crop)
            (good if usable else poor).append(shot)
    if not good + poor:
        raise NoFaceInSourceError(
            f"{', '.join(map(str, sources))}: no frame shows one person clearly enough to tune on"
        )
    return good or poor


def read_target_shots(reader: SourceReader, target: Path, face: str | Path) -> list[Shot]:
    """Up to MAX_SHOTS faces of a clip, sampled evenly: of each frame the largest, or the person in
    the picture `face`. Raises NoFaceInTargetError.
    """
    reference = None
    if face != "largest":
        picture = Path(face)
        if not picture.is_file():
            raise InputNotFoundError(f"--face {face}: neither 'largest' nor a picture that exists")
        reference = reader.read([picture], choose="largest").identity.embedding[0].cpu().numpy()
    found = (_shot_of(reader, frame, reference)[0] for frame in evenly(target, MAX_SHOTS))
    shots = [shot for shot in found if shot is not None]
    if not shots:
        wanted = "no face" if reference is None else "not the person of --face"
        raise NoFaceInTargetError(f"{target}: {wanted} found; there is nothing to tune for")
    return shots


def _shot_of(
    reader: SourceReader, frame: Frame, reference: NDArray[np.float32] | None
) -> tuple[Shot | None, float]:
    """The largest face, or the one nearest to `reference` (128,) if near enough; and its size."""
    best, nearest = None, SAME_PERSON_DISTANCE
    for face in reader.faces(frame.rgb):
        if reference is None:
            best = face
            break
        embedding = reader.embed(frame.rgb, face)[1].embedding[0].cpu().numpy()
        distance = float(np.linalg.norm(embedding - reference))
        if distance < nearest:
            best, nearest = face, distance
    if best is None:
        return None, 0.0
    affine = face_affine(best.landmarks)
    landmarks = warp_points(affine, best.landmarks).astype(np.float32)
    crop = align_face(frame.rgb, affine)
    return Shot(crop, landmarks, visibility_maps([crop])[0]), face_size(best)


def _frames(sources: Sequence[Path]) -> Iterator[Frame]:
    """Pictures, and frames of the clips, up to MAX_SHOTS in all."""
    pictures: list[Path] = []
    clips: list[Path] = []
    for source in sources:
        inside = sorted(p for p in source.iterdir() if is_picture(p)) if source.is_dir() else []
        pictures += inside or ([source] if is_picture(source) else [])
        if not source.is_dir() and not is_picture(source):
            clips.append(source)
    share = MAX_SHOTS // (len(clips) + bool(pictures))
    for index in _middles(len(pictures), MAX_SHOTS - share * len(clips)):
        yield read_picture(pictures[index])
    for clip in clips:
        yield from evenly(clip, max(1, share))


def evenly(clip: Path, count: int) -> Iterator[Frame]:
    """Up to `count` frames evenly spaced over a clip, one held at a time."""
    times = packet_times(clip)
    position: int | None = None
    with VideoReader(clip) as reader:
        for index in _middles(len(times.frames), count):
            pts = times.frames[index]
            seek = position is None or any(position < key <= pts for key in times.keys)
            frame = reader.frame_at(pts, seek=seek)
            if frame is None:
                return
            yield frame
            position = frame.pts


def _middles(length: int, parts: int) -> list[int]:
    """The middle of each of `parts` equal runs of `length` places, without repeats."""
    return sorted(
        {(2 * part + 1) * length // (2 * parts) for part in range(parts)} if length else []
    )


def _check_paths(sources: Sequence[Path], target: Path, output: Path, options: TuneOptions) -> None:
    """Refuse before any work what must fail at its end."""
    for path in (*sources, target):
        if not path.exists():
            raise InputNotFoundError(f"{path}: no such file")
    if target.is_dir() or is_picture(target):
        kind = "folder" if target.is_dir() else "picture"
        raise BadOptionError(f"{target} is a {kind}; tuning needs a clip as the target")
    if output.suffix != SUFFIX:
        raise BadOptionError(f"{output}: the result is a checkpoint; end its name in {SUFFIX}")
    check_output(output, options.overwrite)


def _load_base(checkpoint: Path | None, device: torch.device) -> LoadedGenerator:
    if checkpoint is not None and is_adapter(checkpoint):
        raise CheckpointError(f"{checkpoint}: was tuned itself; give the generator it came from")
    base = load_generator(checkpoint, device)
    if base.size != SIZE:
        raise CheckpointError(
            f"{base.path}: makes pictures of {base.size} pixels; tuning needs {SIZE}"
        )
    return base


def _digest(shots: Iterable[Shot]) -> str:
    digest = hashlib.sha256()
    for shot in shots:
        digest.update(shot.crop.tobytes())
    return digest.hexdigest()


def _warnings(n_source_shots: int) -> tuple[str, ...]:
    if n_source_shots >= FEW_SHOTS:
        return ()
    return (
        f"only {n_source_shots} frame(s) of the source could be used; a clip of the person talking "
        "and turning the head teaches more",
    )
