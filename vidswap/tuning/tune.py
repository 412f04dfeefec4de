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

from vidswap.blending.warping import SIZE, FaceCrop
from vidswap.errors import (
    BadOptionError,
    CheckpointError,
    NoFaceInSourceError,
    NoFaceInTargetError,
)
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.faces.occlusion import visibility_maps
from vidswap.faces.quality import is_sharp
from vidswap.identity.dlib_resnet import SAME_PERSON_DISTANCE
from vidswap.identity.encoder import IdEmbedding, IdentityEncoder
from vidswap.media.frame import Frame
from vidswap.media.output import check_output
from vidswap.media.picture import is_picture, read_picture
from vidswap.media.sampling import middles, spaced_frames
from vidswap.models.apgan.checkpoint import AdapterOrigin, is_adapter, save_adapter
from vidswap.models.apgan.generator import Generator
from vidswap.models.checkpoint import LoadedGenerator, load_generator
from vidswap.nets import (
    choose_device,
    load_detector,
)
from vidswap.people.embedding import as_array, face_size
from vidswap.people.face_selection import person_of
from vidswap.people.identity_file import is_identity_file, read_identity_file
from vidswap.people.source import MIN_FACE_SIZE, SourceReader, pictures_in
from vidswap.runtime.inputs import check_readable
from vidswap.runtime.processor import cpu_computes_bf16
from vidswap.tuning.options import TuneOptions as TuneOptions
from vidswap.tuning.pair_training import PairTuner, TuneConfig

MAX_SHOTS = 400  # aligned faces of source and of target, 0.2 MiB each
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
    was learnt so far. Raises a VidswapError for everything a caller can fix; then no output is
    left, and an older file of that name stays.
    """
    options = options or TuneOptions()
    source_paths, target, output = [Path(s) for s in sources], Path(target), Path(output)
    _check_paths(source_paths, target, output, options)
    device = choose_device(options.device)
    base, net = _load_base(options.checkpoint, device)
    with closing(SourceReader(*load_detector(options.detector), IdentityEncoder())) as reader:
        source = reader.read(source_paths, options.k_shot, options.source_face)
        source_shots = read_source_shots(reader, source_paths, source.identity)
        target_shots = read_target_shots(reader, target, options.face)
        encoder = reader.encoder.to(device).requires_grad_(False)
    in_bf16 = cpu_computes_bf16() if device.type == "cpu" else device.type != "mps"
    compute = torch.bfloat16 if in_bf16 else torch.float32
    identity = source.identity.map(lambda x: x.clone().to(device))  # out of inference mode
    tuner = PairTuner(
        net, encoder, source_shots, target_shots, identity, options.training or TuneConfig(),
        compute, source.photograph,
    )  # fmt: skip
    minutes, interrupted, losses = _train(tuner, options.minutes, progress)
    origin = AdapterOrigin(
        base=base.path.name,
        base_sha256=base.sha256,
        config=net.config,
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
) -> list[FaceCrop]:
    """Up to MAX_SHOTS faces of the person `identity` shows, sampled evenly over the sources.

    Small and blurred faces are left out unless there is nothing else. Raises NoFaceInSourceError.
    """
    person = as_array(identity)
    files = [source for source in sources if is_identity_file(source)]
    good = [
        shot.known.measured.shot
        for file in files for shot in read_identity_file(file).shots if shot.known is not None
    ]  # fmt: skip
    poor: list[FaceCrop] = []
    for frame in _frames([source for source in sources if source not in files]):
        shot, size = _shot_of(reader, frame, person)
        if shot is not None:
            usable = size >= MIN_FACE_SIZE and is_sharp(shot.crop)
            (good if usable else poor).append(shot)
    if not good + poor:
        raise NoFaceInSourceError(
            f"{', '.join(map(str, sources))}: no frame shows one person clearly enough to tune on"
        )
    return good or poor


def read_target_shots(reader: SourceReader, target: Path, face: str | Path) -> list[FaceCrop]:
    """Up to MAX_SHOTS faces of a clip, sampled evenly: of each frame the largest, or the person in
    the picture `face`. Raises NoFaceInTargetError.
    """
    person = person_of(face, reader)
    found = (_shot_of(reader, frame, person)[0] for frame in spaced_frames(target, MAX_SHOTS))
    shots = [shot for shot in found if shot is not None]
    if not shots:
        wanted = "no face" if person is None else "not the person of --face"
        raise NoFaceInTargetError(f"{target}: {wanted} found; there is nothing to tune for")
    return shots


def _shot_of(
    reader: SourceReader, frame: Frame, person: NDArray[np.float32] | None
) -> tuple[FaceCrop | None, float]:
    """The largest face, or the one that is `person` (128,); and its size."""
    faces = reader.faces(frame.rgb)
    if person is None:
        face = faces[0] if faces else None
    else:
        face = reader.nearest(frame.rgb, faces, person, below=SAME_PERSON_DISTANCE)
    if face is None:
        return None, 0.0
    affine = face_affine(face.landmarks)
    landmarks = warp_points(affine, face.landmarks).astype(np.float32)
    crop = align_face(frame.rgb, affine)
    return FaceCrop(crop, landmarks, visibility_maps([crop])[0]), face_size(face)


def _frames(sources: Sequence[Path]) -> Iterator[Frame]:
    """Pictures, and frames of the clips, up to MAX_SHOTS in all."""
    pictures: list[Path] = []
    clips: list[Path] = []
    for source in sources:
        if source.is_dir():
            pictures += pictures_in(source)
        else:
            (pictures if is_picture(source) else clips).append(source)
    share = MAX_SHOTS // max(1, len(clips) + bool(pictures))
    for index in middles(len(pictures), MAX_SHOTS - share * len(clips)):
        yield read_picture(pictures[index])
    for clip in clips:
        yield from spaced_frames(clip, max(1, share))


def _check_paths(sources: Sequence[Path], target: Path, output: Path, options: TuneOptions) -> None:
    """Refuse before any work what would fail at its end."""
    for path in (*sources, target):
        check_readable(path)
    if target.is_dir() or is_picture(target):
        kind = "folder" if target.is_dir() else "picture"
        raise BadOptionError(f"{target} is a {kind}; tuning needs a clip as the target")
    if output.suffix != SUFFIX:
        raise BadOptionError(f"{output}: the result is a checkpoint; end its name in {SUFFIX}")
    check_output(output, options.overwrite)


def _load_base(checkpoint: Path | None, device: torch.device) -> tuple[LoadedGenerator, Generator]:
    if checkpoint is not None and is_adapter(checkpoint):
        raise CheckpointError(f"{checkpoint}: was tuned itself; give the generator it came from")
    base = load_generator(checkpoint, device)
    if not isinstance(base.net, Generator):
        raise CheckpointError(f"{base.path}: holds {base.net.name!r}; only AP-GAN can be tuned")
    if base.size != SIZE:
        raise CheckpointError(
            f"{base.path}: makes pictures of {base.size} pixels; tuning needs {SIZE}"
        )
    return base, base.net


def _digest(shots: Iterable[FaceCrop]) -> str:
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
