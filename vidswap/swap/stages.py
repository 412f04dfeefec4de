"""The stages of a swap, each a generator over frames: detect, align, generate, smooth, blend.

AP-GAN, Fig. 4 and III.D.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.blending.colour import matched_colour
from vidswap.blending.paste import MaskName, paste_face, swapped_part
from vidswap.blending.temporal_smoothing import SmoothedFace
from vidswap.blending.warping import Shot, reference_view
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.faces.boundary_map import draw_boundary_map
from vidswap.faces.occlusion import visibility_maps
from vidswap.faces.tracking import FaceTracker
from vidswap.identity.encoder import IdEmbedding
from vidswap.media.frame import Frame
from vidswap.models.apgan.generator import reference_tensor
from vidswap.nets import Nets, one_core
from vidswap.people.face_selection import FaceChooser
from vidswap.runtime.interrupts import interrupts_put_off
from vidswap.runtime.memory import MemoryPlan, ShrinkingBatches, plan_memory
from vidswap.runtime.overlap import Overlapped
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap.options import SwapCounts, SwapOptions
from vidswap.swap.state import SwapState

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face ready for the generator: the affine AM, F_t and B_t, (256, 256, 3) uint8 each.

    `landmarks` (478, 2) are in pixels of the crop; `track` is the person's number in the clip;
    `reference` (256, 256, 4) uint8 the source's face warped onto it, where the generator takes one;
    `visibility` (128, 128) where nothing lies before the face, as `visibility_maps` has it.
    """

    affine: NDArray[np.float64]
    landmarks: NDArray[np.floating]
    crop: NDArray[np.uint8]
    boundary_map: NDArray[np.uint8]
    track: int = 0
    reference: NDArray[np.uint8] | None = None
    visibility: NDArray[np.float32] | None = None

    def swapped_part(self, mask: MaskName) -> NDArray[np.float32]:
        """How much of the crop is replaced (256, 256), in [0, 1]."""
        return swapped_part(self.landmarks, mask, self.visibility)


@dataclass(frozen=True, eq=False)
class FrameFaces:
    """A frame and its faces, with the generator's answers Y once they are there.

    Where a segment ends with the frame, `state` is that of the stages it has passed.
    """

    frame: Frame
    faces: list[AlignedFace]
    swapped: list[NDArray[np.uint8]] = field(default_factory=list)
    state: SwapState | None = None


@dataclass(frozen=True, eq=False)
class SwappedFrame:
    """A finished frame; where a segment ends after it, the state that the next begins with."""

    frame: Frame
    n_faces: int
    state: SwapState | None = None


def swap_frames(
    frames: Iterable[Frame],
    identity: IdEmbedding,
    nets: Nets,
    options: SwapOptions | None = None,
    counts: SwapCounts | None = None,
    clock: StageClock | None = None,
    *,
    photograph: Shot | None = None,
) -> Iterator[Frame]:
    """Swap a stream of frames of one clip, in order; one frame out for each frame in.

    `identity` is a batch of one; `photograph` of the source, for a generator that takes one. Stages
    run in threads of their own; close the iterator to stop them early. At most a few batches of
    frames are held at any time.
    """
    swapped = swap_segments(
        frames, identity, nets, options, counts, clock, photograph=photograph, segment_frames=None
    )
    with closing(swapped):
        for item in swapped:
            yield item.frame


def swap_segments(
    frames: Iterable[Frame],
    identity: IdEmbedding,
    nets: Nets,
    options: SwapOptions | None = None,
    counts: SwapCounts | None = None,
    clock: StageClock | None = None,
    *,
    photograph: Shot | None = None,
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
    plan = plan or plan_memory(None, options.batch_size, nets.device, 0, 0)
    batches = ShrinkingBatches(plan.batch_size)
    chooser = FaceChooser.of(options.face, nets)
    if begin is not None:
        counts.frames, counts.faces_swapped, counts.frames_without_face = begin.counts
        if begin.is_at_the_end:
            return
    with ExitStack() as stack:

        def overlapped(items: Iterable[T], name: str) -> Overlapped[T]:
            return stack.enter_context(Overlapped(items, plan.queue_depth, name))

        with interrupts_put_off():
            decoded = overlapped(clock.timed("decode", frames), "decode")
            analysed = overlapped(
                find_faces(decoded, nets, chooser, clock, segment_frames, begin), "faces"
            )
            takes_one = options.reference and nets.generator.net.config.reference
            shown = photograph if takes_one else None
            if shown is not None or options.mask == "face":
                seen = find_occlusions(analysed, clock)
                if shown is not None:
                    seen = warp_reference(seen, shown, clock)
                analysed = overlapped(seen, "warp")
            generated = overlapped(generate(analysed, identity, nets, batches, clock), "generate")
            matched = match_colour(generated, options.colour_match, options.mask, clock)
            smoothed = smooth(matched, options.temporal_smoothing, clock, begin)
            finished = overlapped(blend(smoothed, options.mask, clock), "blend")
        for item in finished:
            counts.frames += 1
            counts.faces_swapped += item.n_faces
            counts.frames_without_face += item.n_faces == 0
            if item.state is not None:
                so_far = (counts.frames, counts.faces_swapped, counts.frames_without_face)
                item = replace(item, state=replace(item.state, counts=so_far))
            yield item


def find_faces(
    frames: Iterable[Frame],
    nets: Nets,
    chooser: FaceChooser,
    clock: StageClock,
    segment_frames: int | None = None,
    begin: SwapState | None = None,
) -> Iterator[FrameFaces]:
    """Detect, track and align. The tracker answers a few frames late, so frames wait here.

    With `segment_frames` a segment ends as soon as it has so many. With `begin` the frames are
    those from the state's first held one on.
    """
    tracker = FaceTracker(nets.detector, nets.landmark_finder)
    frames, waiting, first = iter(frames), deque[Frame](), 0
    if begin is not None:
        waiting.extend(islice(frames, len(begin.held)))
        tracker.restore(begin.following, [frame.rgb for frame in waiting])
        chooser.restore(begin.chosen)
        first = begin.next_index
    given = 0
    for index, frame in enumerate(frames, first):
        waiting.append(frame)
        with clock("detect"):
            tracked = tracker.update(index, frame.rgb, frame.seconds)
        for found in tracked:
            item = _aligned(waiting.popleft(), found.faces, chooser, clock)
            given += 1
            # Only between two calls of the tracker does its state belong to a frame given back.
            if segment_frames and given >= segment_frames and found is tracked[-1]:
                given = 0
                state = SwapState.of(index + 1, waiting, tracker, chooser)
                item = replace(item, state=state)
            yield item
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


def find_occlusions(items: Iterable[FrameFaces], clock: StageClock) -> Iterator[FrameFaces]:
    """Tell of every face what lies before it."""
    for item in items:
        with clock("occlusion"), one_core():
            visibility = visibility_maps([face.crop for face in item.faces])
            pairs = zip(item.faces, visibility, strict=True)
            faces = [replace(face, visibility=part) for face, part in pairs]
        yield replace(item, faces=faces)


def warp_reference(
    items: Iterable[FrameFaces], photograph: Shot, clock: StageClock
) -> Iterator[FrameFaces]:
    """Warp the source's photograph onto every face."""
    for item in items:
        with clock("warp"):
            shots = [Shot(face.crop, face.landmarks, face.visibility) for face in item.faces]
            faces = [
                replace(face, reference=reference_view(photograph, shot))
                for face, shot in zip(item.faces, shots, strict=True)
            ]
        yield replace(item, faces=faces)


def generate(
    items: Iterable[FrameFaces],
    identity: IdEmbedding,
    nets: Nets,
    batches: ShrinkingBatches,
    clock: StageClock,
) -> Iterator[FrameFaces]:
    """Run the generator in batches over frames and faces; order is kept.

    A batch ends where a segment does, so that a run that goes on there has the same batches.
    """
    waiting: list[FrameFaces] = []
    for item in items:
        waiting.append(item)
        n_faces = sum(len(i.faces) for i in waiting)
        full = n_faces >= batches.size or len(waiting) >= 2 * batches.size
        if full or item.state is not None:
            yield from _generate_batch(waiting, identity, nets, batches, clock)
            waiting = []
    yield from _generate_batch(waiting, identity, nets, batches, clock)


def _generate_batch(
    items: list[FrameFaces],
    identity: IdEmbedding,
    nets: Nets,
    batches: ShrinkingBatches,
    clock: StageClock,
) -> list[FrameFaces]:
    faces = [face for item in items for face in item.faces]
    with clock("generate"):
        swapped = batches(faces, lambda part: swap_faces(part, identity, nets))
    results, used = [], 0
    for item in items:
        results.append(replace(item, swapped=swapped[used : used + len(item.faces)]))
        used += len(item.faces)
    return results


def swap_faces(
    faces: Sequence[AlignedFace], identity: IdEmbedding, nets: Nets
) -> list[NDArray[np.uint8]]:
    """One generator call: Y (256, 256, 3) uint8 of each aligned face."""
    targets = _to_tensor([f.crop for f in faces], nets).mul_(2.0).sub_(1.0)
    maps = _to_tensor([f.boundary_map for f in faces], nets)
    views = [f.reference for f in faces if f.reference is not None]
    references = reference_tensor(torch.from_numpy(np.stack(views))) if views else None
    with torch.inference_mode():
        outputs = run_generator(nets, targets, maps, identity.expand(len(faces)), references)
        pixels = outputs.add_(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 1).cpu().numpy())


def run_generator(
    nets: Nets,
    targets: torch.Tensor,
    maps: torch.Tensor,
    identity: IdEmbedding,
    references: torch.Tensor | None,
) -> torch.Tensor:
    """Y of pictures (B, C, 256, 256), also of a generator of 128 pixels."""
    size, wanted = nets.generator.size, targets.shape[-2:]
    given = [targets, maps]
    if references is not None:
        given.append(references.to(nets.device, nets.dtype))
    if size != targets.shape[-1]:
        given = [torch.nn.functional.interpolate(g, size=(size, size), mode="area") for g in given]
    outputs: torch.Tensor = nets.generator.net(given[0], given[1], identity, *given[2:])
    if outputs.shape[-2:] != wanted:
        outputs = torch.nn.functional.interpolate(outputs, wanted, mode="bicubic").clamp(-1.0, 1.0)
    return outputs


def _to_tensor(pictures: list[NDArray[np.uint8]], nets: Nets) -> torch.Tensor:
    """uint8 (H, W, 3) pictures to (B, 3, H, W) in [0, 1] on the device, channels last."""
    stacked = torch.from_numpy(np.stack(pictures)).to(nets.device, non_blocking=True)
    return stacked.permute(0, 3, 1, 2).to(nets.dtype).div_(255.0)


def match_colour(
    items: Iterable[FrameFaces], share: float, mask: MaskName, clock: StageClock
) -> Iterator[FrameFaces]:
    """Give every swapped face the colour of the skin around it; `share` 0 leaves it as it is."""
    for item in items:
        if share > 0:
            with clock("match colour"):
                swapped = [
                    matched_colour(face.crop, y, face.swapped_part(mask), share)
                    for face, y in zip(item.faces, item.swapped, strict=True)
                ]
            item = replace(item, swapped=swapped)
        yield item


def smooth(
    items: Iterable[FrameFaces],
    share: float,
    clock: StageClock,
    begin: SwapState | None = None,
) -> Iterator[FrameFaces]:
    """Smooth the swapped faces of every track over time; `share` 0 leaves them as they are."""
    before = begin.smoothing if begin is not None else {}
    tracks = {number: SmoothedFace(share, last) for number, last in before.items()}
    for index, item in enumerate(items, begin.counts[0] if begin is not None else 0):
        if share > 0:
            with clock("smooth"):
                swapped = [
                    tracks.setdefault(face.track, SmoothedFace(share))(index, face.crop, y)
                    for face, y in zip(item.faces, item.swapped, strict=True)
                ]
            item = replace(item, swapped=swapped)
            present = {face.track for face in item.faces}
            tracks = {number: track for number, track in tracks.items() if number in present}
        if item.state is not None:
            known = {number: track.last for number, track in tracks.items() if track.last}
            item = replace(item, state=replace(item.state, smoothing=known))
        yield item


def blend(items: Iterable[FrameFaces], mask: MaskName, clock: StageClock) -> Iterator[SwappedFrame]:
    """The finished frames."""
    for item in items:
        with clock("blend"):
            frame = blend_faces(item, mask)
        yield SwappedFrame(frame, len(item.faces), item.state)


def blend_faces(item: FrameFaces, mask: MaskName = "face") -> Frame:
    """Eq. 12 and 13 for every swapped face of a frame; a frame without faces is given back."""
    frame = item.frame
    for face, swapped in zip(item.faces, item.swapped, strict=True):
        patch = paste_face(frame.rgb, swapped, face.affine, face.swapped_part(mask))
        if patch is not None:
            frame = frame.with_pixels(patch.box, patch.rgb)
    return frame
