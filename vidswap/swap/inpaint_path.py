"""The path of a frame through `vidswap inpaint`: find faces, fill their holes, blend (Poisson)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces.align import CROP_SIZE, invert_affine
from vidswap.inpainting.blending import poisson_blend
from vidswap.inpainting.masks import Mask
from vidswap.media.frame import Frame
from vidswap.media.orientation import Box
from vidswap.nets import Nets
from vidswap.runtime.interrupts import interrupts_put_off
from vidswap.runtime.memory import MemoryPlan, ShrinkingBatches, plan_memory
from vidswap.runtime.overlap import Overlapped
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap import stages
from vidswap.swap.faces import AlignedFace, FaceAssigner, FrameFaces, SwappedFrame
from vidswap.swap.holes import FaceHoles, FrameHoles, hole_in_crop, hole_in_frame
from vidswap.swap.inpaint_options import InpaintOptions
from vidswap.swap.options import SwapCounts
from vidswap.swap.state import SwapState

T = TypeVar("T")

TELEA_RADIUS = 4.0  # pixels, of what is filled first, and of what no crop of a face reaches
EDGE = 2  # pixels at a crop's edge of which nothing is taken
_BORDER = 12  # pixels around a hole that a filling is warped for


def inpaint_frames(
    frames: Iterable[Frame],
    assigner: FaceAssigner,
    nets: Nets,
    options: InpaintOptions,
    holes: FaceHoles | FrameHoles,
    counts: SwapCounts,
    clock: StageClock,
) -> Iterator[Frame]:
    """Fill a stream of frames of one clip, in order; one frame out for each frame in."""
    filled = inpaint_segments(
        frames, assigner, nets, options, holes, counts, clock, segment_frames=None
    )
    with closing(filled):
        for item in filled:
            yield item.frame


def inpaint_segments(
    frames: Iterable[Frame],
    assigner: FaceAssigner,
    nets: Nets,
    options: InpaintOptions,
    holes: FaceHoles | FrameHoles,
    counts: SwapCounts,
    clock: StageClock,
    *,
    segment_frames: int | None,
    begin: SwapState | None = None,
    plan: MemoryPlan | None = None,
) -> Generator[SwappedFrame]:
    """As `vidswap.swap.path.swap_segments`, with holes filled instead of faces swapped."""
    plan = plan or plan_memory(None, options.batch_size, nets.device, 0, 0)
    batches = ShrinkingBatches(plan.batch_size)
    first = 0
    if begin is not None:
        counts.continue_from(begin.counts)
        first = begin.counts.frames
        if begin.is_at_the_end:
            return
    with ExitStack() as stack:

        def overlapped(items: Iterable[T], name: str) -> Overlapped[T]:
            """Run the stages so far in a thread of their own."""
            return stack.enter_context(Overlapped(items, plan.queue_depth, name))

        with interrupts_put_off():
            decoded: Iterable[Frame] = clock.timed("decode", frames)
            if isinstance(holes, FrameHoles):
                decoded = prefill(decoded, holes, clock, first)
            found = stages.find_faces(
                overlapped(decoded, "decode"), nets, assigner, clock, segment_frames, begin
            )
            marked: Iterable[FrameFaces] = mark_holes(found, holes, clock)
            if nets.generator.net.takes.reference:
                marked = stages.warp_references(marked, clock, begin)
            marked = overlapped(marked, "faces")
            generated = overlapped(stages.generate(marked, nets, batches, clock), "generate")
            smoothed = stages.smooth(generated, options.temporal_smoothing, clock, begin)
            blended = overlapped(blend(smoothed, holes, clock), "blend")
        for frame, item in blended:  # which the caller encodes
            counts.add(len(item.faces))
            state = None
            if item.ending is not None:
                state = SwapState(**item.ending, counts=counts.copy())
            yield SwappedFrame(frame, len(item.faces), state)


def prefill(
    frames: Iterable[Frame], holes: FrameHoles, clock: StageClock, first: int
) -> Iterator[Frame]:
    """Fill the holes of frames from their edges (Telea, 2004), so that faces are found in them.

    What no aligned face reaches stays so.
    """
    for index, frame in enumerate(frames, first):
        with clock("prefill"):
            mask = holes.take(index, frame.rgb)
            holes.remember(frame)
            if not mask.any():
                yield frame
                continue
            box = _box_around(mask, _BORDER)
            pixels = frame.rgb.copy()
            left, top, right, bottom = box
            part = np.ascontiguousarray(pixels[top:bottom, left:right])
            hole = mask[top:bottom, left:right].astype(np.uint8)
            if holes.known is not None:
                pixels[mask] = holes.known[mask]
            else:
                pixels[top:bottom, left:right] = cv2.inpaint(
                    part, hole, TELEA_RADIUS, cv2.INPAINT_TELEA
                )
            filled = frame.with_boxes([box], pixels)
        yield filled


def mark_holes(
    items: Iterable[FrameFaces], holes: FaceHoles | FrameHoles, clock: StageClock
) -> Iterator[FrameFaces]:
    """Give every face its hole; a face without one is left alone."""
    for item in items:
        with clock("mask"):
            if isinstance(holes, FrameHoles):
                holes.forget(item.frame)
                if item.ending is not None:
                    # Another run decodes these frames anew, with their holes.
                    held = holes.as_decoded(item.ending["held"])
                    item = replace(item, ending=item.ending | {"held": held})
                mask = holes.of_frame(item.index)
                found = [hole_in_crop(mask, face.affine) for face in item.faces]
            else:
                found = holes.of_faces(item.faces) if item.faces else []
            faces = [
                replace(face, hole=hole)
                for face, hole in zip(item.faces, found, strict=True)
                if hole is not None and not hole.all()
            ]
        yield replace(item, faces=faces)


def blend(
    items: Iterable[FrameFaces], holes: FaceHoles | FrameHoles, clock: StageClock
) -> Iterator[tuple[Frame, FrameFaces]]:
    """The finished frames, each with what it was made of."""
    for item in items:
        with clock("blend"):
            mask = holes.give_back(item.index) if isinstance(holes, FrameHoles) else None
            frame = blend_fillings(item, mask)
        yield frame, item


def blend_fillings(item: FrameFaces, mask: Mask | None) -> Frame:
    """Every face's filling blended into its hole; a frame without faces is given back.

    `mask` (H, W) is the frame's own hole, None where each face has one by its own shape.
    """
    pixels, boxes = item.frame.rgb, list[Box]()
    for face, filling in zip(item.faces, item.swapped, strict=True):
        hole = _within_crop(face, mask, pixels.shape[:2])
        if not hole.any():
            continue
        left, top, right, bottom = box = _box_around(hole, _BORDER)
        patch = _in_frame(face.exposure.given_back(filling), face.affine, box)
        if not boxes:
            pixels = pixels.copy()  # the decoded picture stays as it is
        part = np.ascontiguousarray(pixels[top:bottom, left:right])
        pixels[top:bottom, left:right] = poisson_blend(part, patch, hole[top:bottom, left:right])
        boxes.append(box)
    return item.frame.with_boxes(boxes, pixels) if boxes else item.frame


def _within_crop(face: AlignedFace, mask: Mask | None, shape: tuple[int, ...]) -> Mask:
    """The face's hole in the frame (H, W), as far as its crop shows something."""
    height, width = shape[:2]
    inside = np.zeros((CROP_SIZE, CROP_SIZE), bool)
    inside[EDGE:-EDGE, EDGE:-EDGE] = True
    if mask is None:
        assert face.hole is not None
        return hole_in_frame(face.hole & inside, face.affine, (height, width))
    return mask & hole_in_frame(inside, face.affine, (height, width))


def _in_frame(
    filling: NDArray[np.uint8], affine: NDArray[np.float64], box: Box
) -> NDArray[np.uint8]:
    """A crop (256, 256, 3) in the pixels of a box of the frame; its edge is repeated beyond it."""
    left, top, right, bottom = box
    matrix = invert_affine(affine)
    matrix[:, 2] -= (left, top)
    enlarged = abs(np.linalg.det(matrix[:, :2])) > 1.0
    warped = cv2.warpAffine(
        filling, matrix, (right - left, bottom - top),
        flags=cv2.INTER_CUBIC if enlarged else cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(warped, np.uint8)


def _box_around(mask: Mask, border: int) -> Box:
    """The box of a mask (H, W) and a border around it, within the picture."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        max(0, int(columns[0]) - border), max(0, int(rows[0]) - border),
        min(mask.shape[1], int(columns[-1]) + 1 + border),
        min(mask.shape[0], int(rows[-1]) + 1 + border),
    )  # fmt: skip
