"""Fill faces in a picture or clip: `vidswap inpaint`, on the media path of a swap."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import torch

from vidswap.digest import file_sha256
from vidswap.errors import BadOptionError
from vidswap.identity.encoder import IdEmbedding
from vidswap.inpainting.inpainter import Inpainter
from vidswap.inpainting.search import LatentSearch
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.segments import remove_finished_work
from vidswap.media.sequence_reader import SequenceReader
from vidswap.models.checkpoint_file import packaged_checkpoint
from vidswap.nets import Nets
from vidswap.people.face_selection import FaceChooser
from vidswap.people.filled_source import PACKAGED
from vidswap.provenance.manifest import SwapFacts
from vidswap.provenance.record import Provenance, files_used, recorded_settings, signing_key
from vidswap.runtime.inputs import check_readable
from vidswap.runtime.memory import MemoryPlan, limit_vram, peak_memory_mib
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap.faces import FaceAssigner, FaceSource, OneSource, SourceFace, SwappedFrame
from vidswap.swap.holes import FaceHoles, FrameHoles, OccluderHoles, RegionHoles
from vidswap.swap.inpaint_options import FILLED_REGIONS, InpaintOptions, InpaintResult
from vidswap.swap.inpaint_path import inpaint_frames, inpaint_segments
from vidswap.swap.job import Progress, SwapJob, check_paths, read_source
from vidswap.swap.options import SwapCounts
from vidswap.swap.resume import SegmentedClip, StraightClip, facts_of
from vidswap.swap.sequence_clip import SequenceClip
from vidswap.swap.worker import load_models
from vidswap.training.id_targets import ID_WIDTHS, split_embedding
from vidswap.version import __version__

CHECKPOINTS = {
    "idgan": "idgan-128.safetensors",
    "latent": "latent-64.safetensors",
    "swapinpaint": PACKAGED,
}


class InpaintJob(SwapJob):
    """One target with its output: as `SwapJob`, with holes filled instead of faces swapped."""

    def __init__(
        self,
        nets: Nets,
        source: FaceSource,
        options: InpaintOptions,
        holes: FaceHoles | FrameHoles,
        clock: StageClock,
        progress: Progress | None,
        provenance: Provenance | None = None,
        facts: dict[str, str] | None = None,
    ) -> None:
        super().__init__(nets, source, options, clock, progress, provenance, facts)
        self.inpaint_options, self.holes, self.person = options, holes, source

    def _assigner(
        self, target: Path, reader: VideoReader | SequenceReader | None = None
    ) -> FaceAssigner:
        """Every chosen face is filled as the one source."""
        return OneSource(FaceChooser.of(self.options.face, self.nets), self.person)

    def swapped_frames(self, frames: Iterable[Frame], assigner: FaceAssigner) -> Iterator[Frame]:
        """A picture's frames, filled.

        A still is filled twice where its hole stays in place: landmarks that the hole hides are
        found again in the first filling.
        """

        def filled(given: Iterable[Frame], counts: SwapCounts) -> Iterator[Frame]:
            return inpaint_frames(
                given, assigner, self.nets, self.inpaint_options, self.holes, counts, self.clock
            )

        if isinstance(frames, list) and isinstance(self.holes, FrameHoles):
            trial = SwapCounts()
            (first,) = filled(frames, trial)
            if trial.faces_swapped:
                self.holes.know(first.rgb)
        return filled(frames, self.counts)

    def swapped_segments(
        self,
        clip: SegmentedClip | StraightClip | SequenceClip,
        plan: MemoryPlan,
        assigner: FaceAssigner,
    ) -> Generator[SwappedFrame]:
        """A clip's frames, filled, as `inpaint_segments` gives them."""
        return inpaint_segments(
            clip.frames, assigner, self.nets, self.inpaint_options, self.holes, self.counts,
            self.clock, segment_frames=self.options.segment_frames, begin=clip.begin, plan=plan,
        )  # fmt: skip


def inpaint_file(
    target: str | Path,
    output: str | Path,
    options: InpaintOptions | None = None,
    sources: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> InpaintResult:
    """Fill the faces of a picture or clip and write the result.

    `sources` show the person that a face is filled as, where the model takes one. When nothing was
    filled the output is the target unchanged, and a warning says so. Raises a VidswapError for
    everything a caller can mend; then no output is left.
    """
    options = options or InpaintOptions()
    target, output = Path(target), Path(output)
    paths = [Path(source) for source in sources]
    started, clock = time.monotonic(), StageClock()
    picture = check_paths(paths, target, output, options)
    holes = holes_of(options)
    remove_finished_work(output.parent)
    key = signing_key(output, options.sign_key, options.sign_cert, options.no_provenance)
    options = replace(options, checkpoint=options.checkpoint or packaged(options.model))
    with clock("load"):
        nets = load_models(options)
    try:
        model = _prepared(nets, options, has_source=bool(paths))
        limit_vram(options.max_vram, nets.device)
        source: FaceSource = SourceFace(_nobody(nets.device))
        used: tuple[str, ...] = ()
        files: list[Path] = []
        if paths:
            with clock("source"):
                shown = read_source(nets, paths, options)
            source, used, files = shown, shown.used, list(files_used(paths, shown.used))
        mask_files = [options.region] if isinstance(holes, FrameHoles) else []
        masks = [path for path in mask_files if isinstance(path, Path) and path.is_file()]
        with clock("hash"):
            sha256 = {path: file_sha256(path) for path in (target, *files, *masks)}
        settings = recorded_settings(asdict(options), InpaintOptions)
        facts = SwapFacts(target, files, sha256, __version__, nets.generator.sha256, settings)
        with ExitStack() as stack:
            with clock("sign"):
                provenance = Provenance(output, facts, key, options.no_provenance)
            stack.enter_context(provenance)
            work: dict[str, str] = {}
            if not picture:
                known = {p: digest for p, digest in sha256.items() if p not in masks}
                work = facts_of(target, known, used, asdict(options), nets, InpaintOptions)
            job = InpaintJob(nets, source, options, holes, clock, progress, provenance, work)
            warnings = (job.swap_picture if picture else job.swap_clip)(target, output)
    finally:
        nets.close()
    counts = job.counts
    if not counts.faces_swapped:
        warnings = [_nothing_filled(line, target) for line in warnings]
    return InpaintResult(
        output=str(output),
        frames=counts.frames,
        faces_filled=counts.faces_swapped,
        frames_without_face=counts.frames_without_face,
        frames_kept=job.frames_kept,
        seconds=time.monotonic() - started,
        seconds_by_stage=clock.seconds(),
        peak_memory_mib=peak_memory_mib(),
        device=str(nets.device),
        precision=str(nets.dtype).removeprefix("torch."),
        model=model.name,
        checkpoint=nets.generator.path.name,
        checkpoint_sha256=nets.generator.sha256,
        images_trained=nets.generator.images_trained,
        source_frames_used=used,
        warnings=tuple(warnings),
        manifest=provenance.label,
        signed_by=provenance.signer if provenance.label else None,
        no_provenance=options.no_provenance,
    )


def holes_of(options: InpaintOptions) -> FaceHoles | FrameHoles:
    """What `--region` asks for. Raises BadOptionError, InputNotFoundError, NotAVideoError."""
    region, colour = options.region, options.colour
    if colour is not None:
        return FrameHoles.of_colour(colour)
    if region in ("glasses", "occluders"):
        return OccluderHoles(glasses_only=region == "glasses")
    if region in FILLED_REGIONS:
        return RegionHoles(region)  # type: ignore[arg-type]
    path = Path(region)
    if not path.exists():
        raise BadOptionError(
            f"--region {path}: no such file; give a picture or clip whose white is filled, a "
            f"colour such as '#ff00ff', or one of {', '.join(FILLED_REGIONS)}"
        )
    check_readable(path)
    return FrameHoles.of_file(path, options.start, options.end)


def packaged(model: str) -> Path:
    """The checkpoint of a model that comes with the package. Raises CheckpointError."""
    return packaged_checkpoint(CHECKPOINTS[model], model)


def _prepared(nets: Nets, options: InpaintOptions, has_source: bool) -> Inpainter:
    """The loaded model. Raises BadOptionError where it is not what the options ask for."""
    model = nets.generator.net
    if not isinstance(model, Inpainter) or model.name != options.model:
        raise BadOptionError(
            f"{nets.generator.path} holds {model.name}, and --model is {options.model}; give the "
            "checkpoint of that model, or leave --checkpoint out"
        )
    if model.needs_identity and not has_source:
        raise BadOptionError(f"--model {model.name} fills a face as somebody's; give --source")
    if has_source and not model.needs_identity:
        raise BadOptionError(
            f"--model {model.name} fills from the face itself and takes no --source; leave it out"
        )
    if isinstance(model, LatentSearch):
        model.settings = replace(model.settings, seed=options.seed)
    return model


def _nobody(device: torch.device) -> IdEmbedding:
    """Stands where an identity would; no model that gets it looks at it."""
    return split_embedding(torch.zeros(1, sum(ID_WIDTHS), device=device))


def _nothing_filled(line: str, target: Path) -> str:
    """The swap's word that no face was found, as filling has it."""
    if not line.startswith(f"{target}: ") or "the output is the target unchanged" not in line:
        return line
    return f"{target}: no face with anything to fill found; the output is the target unchanged"
