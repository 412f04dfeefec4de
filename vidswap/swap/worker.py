"""A worker holds its nets and takes one swap after another; `swap_video` is one swap."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from vidswap.digest import file_sha256
from vidswap.errors import BadOptionError
from vidswap.media.segments import remove_finished_work
from vidswap.nets import Nets, load_nets
from vidswap.people.plan import CastPlan
from vidswap.people.source import SourceIdentity
from vidswap.provenance.manifest import SwapFacts
from vidswap.provenance.record import Provenance, files_used, recorded_settings, signing_key
from vidswap.runtime.forked import nets_run_here
from vidswap.runtime.memory import limit_vram, peak_memory_mib
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap.cast import AUTO, Cast, auto_folder, load_cast
from vidswap.swap.job import Progress, SwapJob, Watch, check_paths, read_source
from vidswap.swap.options import OTHERS, PersonSwapped, SwapCounts, SwapOptions, SwapResult
from vidswap.swap.ranges import Ranges, RangeSwapper
from vidswap.swap.request import SwapRequest
from vidswap.swap.resume import facts_of
from vidswap.swap.target import output_frames, target_digest
from vidswap.version import __version__


class Worker:
    """Runs swaps one after another; nets stay loaded while requests ask for the same ones.

    Use as a context manager, or call `close`. For several at a time give each process a worker of
    its own, started with "spawn": a forked child of a process that has swapped is refused.

    `ranges_by` has the shots of each clip swapped by other workers (`vidswap.swap.ranges`).
    """

    def __init__(self, ranges_by: RangeSwapper | None = None) -> None:
        self._ranges_by = ranges_by
        self._nets: Nets | None = None
        self._wanted: object = None
        self.plan: CastPlan | None = None  # that the last request's cast followed

    def run(
        self,
        request: SwapRequest,
        progress: Progress | None = None,
        watch: Watch | None = None,
    ) -> SwapResult:
        """Do one swap. `progress` is called after every frame, `watch` with every frame of a clip.

        When no face was found in the target the output is the target unchanged, and a warning says
        so. Raises a VidswapError for everything a caller can mend; then no output is left, and the
        worker takes further requests.
        """
        options, target, output = request.options, request.target, request.output
        sources = list(request.sources)
        started = time.monotonic()
        clock = StageClock()
        picture = check_paths(sources, target, output, options)
        remove_finished_work(output.parent)
        key = None
        if output_frames(target, output) is None:
            key = signing_key(output, options.sign_key, options.sign_cert, options.no_provenance)
        with clock("load"):
            nets = self.nets(options)
        limit_vram(options.max_vram, nets.device)
        with clock("source" if options.cast is None else "people"):
            source = (
                read_source(nets, sources, options) if options.cast is None
                else load_cast(nets, target, output, sources, options)
            )  # fmt: skip
        self.plan = source.plan if isinstance(source, Cast) else None
        files = source.files if isinstance(source, Cast) else files_used(sources, source.used)
        with clock("hash"):
            shown, digest = target_digest(target)
            of_files = {path: file_sha256(path) for path in files}
        sha256 = {target: digest, **of_files}
        checkpoint, settings = nets.generator.sha256, recorded_settings(asdict(options))
        people = source.provenance(files) if isinstance(source, Cast) else _consent(source, files)
        facts = SwapFacts(
            shown, files, {**sha256, shown: digest}, __version__, checkpoint, settings, people
        )
        with ExitStack() as stack:
            with clock("sign"):
                provenance = Provenance(output, facts, key, options.no_provenance)
            stack.enter_context(provenance)
            work = {} if picture else facts_of(target, sha256, source.used, asdict(options), nets)
            if isinstance(source, Cast) and not picture:
                work |= source.facts(sha256)
            ranges = None if self._ranges_by is None else Ranges(request, self._ranges_by)
            job = SwapJob(nets, source, options, clock, progress, provenance, work, ranges, watch)
            warnings = (job.swap_picture if picture else job.swap_clip)(target, output)
        counts = job.counts
        notes = list(source.notes) if isinstance(source, Cast) else []
        if options.cast == AUTO:
            shutil.rmtree(auto_folder(output), ignore_errors=True)
        return SwapResult(
            output=str(output),
            frames=counts.frames,
            faces_swapped=counts.faces_swapped,
            frames_without_face=counts.frames_without_face,
            frames_kept=job.frames_kept,
            seconds=time.monotonic() - started,
            seconds_by_stage=clock.seconds(),
            peak_memory_mib=peak_memory_mib(),
            device=str(nets.device),
            precision=str(nets.dtype).removeprefix("torch."),
            checkpoint=nets.generator.path.name,
            checkpoint_sha256=nets.generator.sha256,
            source_frames_used=source.used,
            source_frames_left_out=source.left_out,
            warnings=tuple(notes + warnings),
            people=source.people(counts) if isinstance(source, Cast) else _people(counts, files),
            manifest=provenance.label,
            signed_by=provenance.signer if provenance.label else None,
            no_provenance=options.no_provenance,
        )

    def nets(self, options: SwapOptions) -> Nets:
        """The nets for these options: those of the request before where they are the same.

        Raises BadOptionError, CheckpointError, MissingWeightsError, ForkedProcessError.
        """
        nets_run_here()
        file = options.checkpoint
        known = file is not None and file.is_file()
        version = (file.stat().st_mtime_ns, file.stat().st_size) if file and known else None
        wanted = (file, version, options.detector, options.device, options.precision)
        if self._nets is None or wanted != self._wanted:
            self.close()
            nets = load_models(options)
            if nets.generator.net.takes.mask:
                nets.close()
                raise BadOptionError(
                    f"{nets.generator.path} holds {nets.generator.net.name}, which fills faces and "
                    "swaps none; leave --checkpoint out, or use `vidswap inpaint` or `context`"
                )
            self._nets, self._wanted = nets, wanted
        return self._nets

    def close(self) -> None:
        """Free the nets. The worker can be used again; it then loads them anew."""
        if self._nets is not None:
            self._nets.close()
        self._nets = self._wanted = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _consent(source: SourceIdentity, files: Sequence[Path]) -> list[dict[str, Any]]:
    """What a manifest says of the one person, where an identity file records their consent."""
    if not source.consent:
        return []
    return [{"sources": [f"source {n}" for n in range(1, len(files) + 1)],
             "consent_recorded": True}]  # fmt: skip


def _people(counts: SwapCounts, files: Sequence[Path]) -> tuple[PersonSwapped, ...]:
    """Whom `--face` chose, and who was left alone, from when to when."""
    names = tuple(path.name for path in files)
    return tuple(
        PersonSwapped(person, "", () if person == OTHERS else names,
                      tuple((span[0], span[1]) for span in spans))
        for person, spans in sorted(counts.spans.items())
    )  # fmt: skip


def load_models(options: SwapOptions | None = None) -> Nets:
    """Load every net that a swap with these options needs; `close` them after use.

    Raises BadOptionError, CheckpointError, MissingWeightsError, ForkedProcessError.
    """
    nets_run_here()
    options = options or SwapOptions()
    return load_nets(options.checkpoint, options.detector, options.device, options.precision)


def swap_video(
    sources: Sequence[str | Path],
    target: str | Path,
    output: str | Path,
    options: SwapOptions | None = None,
    progress: Progress | None = None,
    ranges_by: RangeSwapper | None = None,
) -> SwapResult:
    """Put the sources' identity on the target's face and write the result.

    `sources` are photographs, folders of them or clips of one person; `target` is a clip or a
    picture, and `output` then is one too. One request of a `Worker`, which says what is raised and
    what `ranges_by` is.
    """
    with Worker(ranges_by) as worker:
        return worker.run(SwapRequest.of(sources, target, output, options), progress)
