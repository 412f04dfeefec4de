"""The path of a frame through a swap, stage by stage (AP-GAN, Fig. 4)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import TypeVar

from vidswap.identity.encoder import IdEmbedding
from vidswap.media.frame import Frame
from vidswap.nets import Nets
from vidswap.people.face_selection import FaceChooser
from vidswap.runtime.interrupts import interrupts_put_off
from vidswap.runtime.memory import MemoryPlan, ShrinkingBatches, plan_memory
from vidswap.runtime.overlap import Overlapped
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap import stages
from vidswap.swap.faces import (
    FaceAssigner,
    FaceSource,
    FrameFaces,
    OneSource,
    SourceFace,
    SwappedFrame,
)
from vidswap.swap.look import FaceLook
from vidswap.swap.options import SwapCounts, SwapOptions
from vidswap.swap.state import SwapState

T = TypeVar("T")


def swap_frames(
    frames: Iterable[Frame],
    source: FaceSource | FaceAssigner | IdEmbedding,
    nets: Nets,
    options: SwapOptions | None = None,
    counts: SwapCounts | None = None,
    clock: StageClock | None = None,
) -> Iterator[Frame]:
    """Swap a stream of frames of one clip, in order; one frame out for each frame in.

    `source` is what `read_source` returns, or an id embedding (a batch of one), which shows the
    generator no photograph; `options.face` says which faces get it. A `FaceAssigner` gives every
    face a source of its own. Stages run in threads of their own; close the iterator to stop them
    early. At most a few batches of frames are held at any time.
    """
    swapped = swap_segments(frames, source, nets, options, counts, clock, segment_frames=None)
    with closing(swapped):
        for item in swapped:
            yield item.frame


def swap_segments(
    frames: Iterable[Frame],
    source: FaceSource | FaceAssigner | IdEmbedding,
    nets: Nets,
    options: SwapOptions | None = None,
    counts: SwapCounts | None = None,
    clock: StageClock | None = None,
    *,
    segment_frames: int | None,
    begin: SwapState | None = None,
    plan: MemoryPlan | None = None,
) -> Generator[SwappedFrame]:
    """As `swap_frames`, with the state of the swap after every `segment_frames` frames or so.

    With `begin`, one of these states, frames go in from the first that it holds, and come out from
    the first after it, as they would have had the swap never been interrupted. `plan` is by
    default that of no limit.
    """
    options, counts, clock = options or SwapOptions(), counts or SwapCounts(), clock or StageClock()
    assigner = _assigner(source, nets, options)
    plan = plan or plan_memory(None, options.batch_size, nets.device, 0, 0)
    batches = ShrinkingBatches(plan.batch_size)
    if begin is not None:
        counts.continue_from(begin.counts)
        if begin.is_at_the_end:
            return
    masks = {options.mask, *(look.mask for look in looks_of(assigner))}
    with ExitStack() as stack:

        def overlapped(items: Iterable[T], name: str) -> Overlapped[T]:
            """Run the stages so far in a thread of their own."""
            return stack.enter_context(Overlapped(items, plan.queue_depth, name))

        with interrupts_put_off():
            decoded = overlapped(clock.timed("decode", frames), "decode")
            found = overlapped(
                stages.find_faces(decoded, nets, assigner, clock, segment_frames, begin), "faces"
            )
            references = shows_references(assigner, nets, options)
            if references or "face" in masks:
                seen: Iterable[FrameFaces] = stages.find_occlusions(found, clock)
                if references:
                    seen = with_references(seen, options, clock, begin)
                found = overlapped(seen, "warp")
            generated = overlapped(stages.generate(found, nets, batches, clock), "generate")
            blended = overlapped(finished(generated, nets, options, clock, begin), "blend")
        for frame, item in blended:  # which the caller encodes
            counts.add(
                len(item.faces), item.frame.seconds, [face.aims.person for face in item.faces],
                item.left_alone,
            )  # fmt: skip
            state = None
            if item.ending is not None:
                state = SwapState(**item.ending, counts=counts.copy())
            yield SwappedFrame(frame, len(item.faces), state, item)


def looks_of(assigner: FaceAssigner) -> Sequence[FaceLook]:
    """The looks of an assigner that has more than the run's."""
    looks: Sequence[FaceLook] = getattr(assigner, "looks", ())
    return looks


def shows_references(assigner: FaceAssigner, nets: Nets, options: SwapOptions) -> bool:
    """Whether any generator of the run is shown the source's photographs."""
    own = [look.generator for look in looks_of(assigner) if look.generator]
    return options.reference and any(g.net.takes.reference for g in (nets.generator, *own))


def with_references(
    items: Iterable[FrameFaces],
    options: SwapOptions,
    clock: StageClock,
    begin: SwapState | None = None,
) -> Iterator[FrameFaces]:
    """Faces with their features moved, and what the generator is shown of the sources on them."""
    moved = stages.reshape(items, options.shape, clock, begin)
    return stages.warp_references(moved, clock, begin, options.detail)


def finished(
    generated: Iterable[FrameFaces],
    nets: Nets,
    options: SwapOptions,
    clock: StageClock,
    begin: SwapState | None = None,
) -> Iterator[tuple[Frame, FrameFaces]]:
    """The finished frames from the generator's answers, each with what it was made of."""
    weight, composes = options.reference_weight, nets.generator.net.composes
    composed = stages.compose(generated, weight, clock, composes)
    matched = stages.match_colour(composed, options.colour_match, options.mask, clock)
    smoothed = stages.smooth(matched, options.temporal_smoothing, clock, begin)
    return stages.blend(smoothed, options.mask, clock)


def _assigner(
    source: FaceSource | FaceAssigner | IdEmbedding, nets: Nets, options: SwapOptions
) -> FaceAssigner:
    if isinstance(source, IdEmbedding):
        source = SourceFace(source)
    if isinstance(source, FaceAssigner):
        return source
    return OneSource(FaceChooser.of(options.face, nets), source)
