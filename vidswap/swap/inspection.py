"""A few frames of a swap with all that they were made of, for whoever looks closely at one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vidswap.media.frame import Frame
from vidswap.nets import Nets
from vidswap.runtime.memory import ShrinkingBatches
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap import stages
from vidswap.swap.faces import FaceAssigner, FrameFaces
from vidswap.swap.options import SwapOptions
from vidswap.swap.path import finished, shows_references, with_references

_BATCH = 4  # faces


def faces_of(frames: Iterable[Frame], assigner: FaceAssigner, nets: Nets) -> list[FrameFaces]:
    """The chosen faces of consecutive frames, aligned, with what lies before them.

    Everything that is decided before the generator; the look's options play no part in it.
    """
    clock = StageClock()
    return list(stages.find_occlusions(stages.find_faces(frames, nets, assigner, clock), clock))


def swapped(
    found: Sequence[FrameFaces], assigner: FaceAssigner, nets: Nets, options: SwapOptions
) -> list[tuple[Frame, FrameFaces]]:
    """The rest of the swap for frames of `faces_of`: each finished, with what it was made of.

    The same pixels as `swap_frames` gives for the same frames.
    """
    clock = StageClock()
    items: Iterable[FrameFaces] = found
    if shows_references(assigner, nets, options):
        items = with_references(items, options, clock)
    generated = stages.generate(items, nets, ShrinkingBatches(_BATCH), clock)
    return list(finished(generated, nets, options, clock))
