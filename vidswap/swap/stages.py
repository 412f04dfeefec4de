"""The stages of a swap, each a generator over frames (AP-GAN, Fig. 4 and III.D).

`vidswap.swap.path` has them in order.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vidswap.blending.colour import matched_colour
from vidswap.blending.composing import composed, overlay_weight
from vidswap.blending.detail import fine_crop, with_detail
from vidswap.blending.exposure import exposure_of
from vidswap.blending.focus import focused_like
from vidswap.blending.grain import with_grain
from vidswap.blending.paste import Box, MaskName, paste_face
from vidswap.blending.reference import FusedReference
from vidswap.blending.reshaping import Reshaper
from vidswap.blending.temporal_smoothing import SmoothedFace
from vidswap.blending.toning import toned_like
from vidswap.blending.warping import FaceCrop
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.faces.boundary_map import draw_boundary_map
from vidswap.faces.occlusion import target_visibility
from vidswap.faces.tracking import FaceTracker, TrackedFace
from vidswap.media.frame import Frame
from vidswap.nets import Nets, half_the_cores, one_core
from vidswap.people.embedding import FaceSampler
from vidswap.runtime.memory import ShrinkingBatches
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap.faces import AlignedFace, FaceAssigner, FaceSource, FrameFaces
from vidswap.swap.generation import swap_faces
from vidswap.swap.state import SwapState, fingerprint

Remembering = TypeVar("Remembering", FusedReference, Reshaper, SmoothedFace)

SHORTEST_SEGMENT = 24  # frames, below which a shot's end ends no segment


def find_faces(
    frames: Iterable[Frame],
    nets: Nets,
    assigner: FaceAssigner,
    clock: StageClock,
    segment_frames: int | None = None,
    begin: SwapState | None = None,
) -> Iterator[FrameFaces]:
    """Detect, track, choose and align. The tracker answers a few frames late; frames wait here.

    With `segment_frames` a segment ends as soon as it has that many, or with its shot. With `begin`
    the frames are those from the state's first held one on.
    """
    identity = FaceSampler(nets.encoder)
    tracker = FaceTracker(nets.detector, nets.landmark_finder, identity=identity)
    frames, waiting, first, given = iter(frames), deque[Frame](), 0, 0
    if begin is not None:
        waiting.extend(islice(frames, len(begin.held)))
        tracker.restore(begin.following, [frame.rgb for frame in waiting])
        assigner.restore(begin.chosen)
        first, given = begin.next_index, begin.counts.frames
    ends = SegmentEnds(segment_frames, given)
    for index, frame in enumerate(frames, first):
        waiting.append(frame)
        with clock("detect"):
            tracked = tracker.update(index, frame.rgb, frame.seconds)
        for found in tracked:
            item = _aligned(waiting.popleft(), given, found.faces, assigner, clock)
            given += 1
            # Only between two calls of the tracker does its state belong to a frame given back.
            if found is tracked[-1] and ends.is_end(given, tracker.began_shot):
                item = replace(item, ending=_ending(index + 1, waiting, tracker, assigner))
            yield item
    with clock("detect"):
        tracked = tracker.flush()
    for found in tracked:
        yield _aligned(waiting.popleft(), given, found.faces, assigner, clock)
        given += 1


class SegmentEnds:
    """Where segments end: after `segment_frames`, None for never, or with a shot that is not tiny.

    Since it counts from the last end alone, a run that begins at an end has the same ends from
    there on, whatever was before.
    """

    def __init__(self, segment_frames: int | None, given: int = 0) -> None:
        self._frames, self._last = segment_frames, given

    def is_end(self, given: int, shot_ended: bool) -> bool:
        """Whether one ends after the frame that is the `given`-th to come back."""
        if self._frames is None:
            return False
        least = min(self._frames, SHORTEST_SEGMENT) if shot_ended else self._frames
        if given - self._last < least:
            return False
        self._last = given
        return True


def _ending(
    next_index: int, held: Iterable[Frame], tracker: FaceTracker, assigner: FaceAssigner
) -> dict[str, object]:
    """What detection and tracking add to a `SwapState`."""
    return {
        "next_index": next_index,
        "held": tuple((frame.pts, fingerprint(frame)) for frame in held),
        "following": copy.deepcopy(tracker.state()),
        "chosen": copy.deepcopy(assigner.state()),
    }


def _aligned(
    frame: Frame,
    index: int,
    tracked: Sequence[TrackedFace],
    assigner: FaceAssigner,
    clock: StageClock,
) -> FrameFaces:
    with clock("align"):
        aligned = []
        for face, source, *aims in assigner.assign(frame.rgb, tracked):
            found = align(frame.rgb, face.landmarks, source, face.track_id)
            # Where nothing of a face can be seen, nothing is to be swapped.
            if found.exposure.is_seen:
                aligned.append(replace(found, aims=aims[0]) if aims else found)
        return FrameFaces(frame, index, aligned, left_alone=len(tracked) - len(aligned))


def align(
    rgb: NDArray[np.uint8], landmarks: NDArray[np.floating], source: FaceSource, track: int = 0
) -> AlignedFace:
    """F_t, B_t and AM of a mesh (478, 2) in frame pixels, for the face that gets `source`'s.

    A dark or fogged face is brought to normal exposure; how, its `exposure` says.
    """
    affine = face_affine(landmarks)
    aligned = warp_points(affine, landmarks)
    crop = align_face(rgb, affine)
    exposure = exposure_of(crop)
    boundary_map = draw_boundary_map(aligned)
    shown = exposure.shown(crop)
    return AlignedFace(affine, aligned, shown, boundary_map, source, track, exposure)


def find_occlusions(items: Iterable[FrameFaces], clock: StageClock) -> Iterator[FrameFaces]:
    """Detect what lies before every face."""
    for item in items:
        with clock("occlusion"), one_core():
            maps = target_visibility(
                [face.crop for face in item.faces], [face.landmarks for face in item.faces]
            )
            faces = [
                replace(face, visibility=part, fine_visibility=fine)
                for face, part, fine in zip(item.faces, *maps, strict=True)
            ]
        yield replace(item, faces=faces)


def reshape(
    items: Iterable[FrameFaces], share: float, clock: StageClock, begin: SwapState | None = None
) -> Iterator[FrameFaces]:
    """Move the features of every face to where its source has them, `share` of the way.

    What lies before a face stays where it is.
    """
    before = dict(begin.shapes) if begin is not None else {}
    tracks: dict[int, Reshaper] = {}
    for item in items:
        shares = [share if face.aims.look is None else face.aims.look.shape for face in item.faces]
        if any(own > 0 for own in shares):
            with clock("reshape"):
                faces = []
                for face, own in zip(item.faces, shares, strict=True):
                    shots = face.source.references
                    if shots and own > 0:
                        track = tracks.get(face.track)
                        if track is None or track.shots is not shots or track.share != own:
                            same = track is not None and track.shots is shots
                            last = track.last if same and track else before.pop(face.track, None)
                            track = Reshaper(shots, own, last)
                            tracks[face.track] = track
                        shown = FaceCrop(face.crop, face.landmarks, face.visibility)
                        moved = track(item.index, shown)
                        face = replace(
                            face,
                            crop=moved.crop,
                            landmarks=moved.landmarks,
                            boundary_map=draw_boundary_map(moved.landmarks),
                            moved_visibility=moved.visibility,
                        )
                    faces.append(face)
            item = replace(item, faces=faces)
            tracks = _present(tracks, item)
        yield _with_last(item, "shapes", tracks)


def warp_references(
    items: Iterable[FrameFaces],
    clock: StageClock,
    begin: SwapState | None = None,
    detail: float = 0.0,
) -> Iterator[FrameFaces]:
    """Warp each source's best shots onto the face that gets it, in the face's light.

    detail: how much of what they show finer than the crop is told, 0 to 1, where a face's look
    does not say.
    """
    before = dict(begin.references) if begin is not None else {}
    tracks: dict[int, FusedReference] = {}
    for item in items:
        with clock("warp"):
            faces = []
            for face in item.faces:
                shots = face.source.references
                if shots:
                    track = tracks.get(face.track)
                    if track is None or track.shots is not shots:
                        track = FusedReference(shots, before.pop(face.track, None))
                        tracks[face.track] = track
                    look = face.aims.look
                    share = detail if look is None else look.detail
                    finer = share > 0.0 and any(shot.shot.fine is not None for shot in shots)
                    fine = fine_crop(item.frame.rgb, face.affine) if finer else None
                    onto = FaceCrop(face.crop, face.landmarks, face.visibility_on_crop, fine)
                    view = track(item.index, onto)
                    told = None if track.detail is None else np.float32(share) * track.detail
                    face = replace(
                        face, reference=view, clarity=track.clarity, detail=told,
                        averted=track.averted,
                    )  # fmt: skip
                faces.append(face)
        tracks = _present(tracks, item)
        yield _with_last(replace(item, faces=faces), "references", tracks)


def generate(
    items: Iterable[FrameFaces], nets: Nets, batches: ShrinkingBatches, clock: StageClock
) -> Iterator[FrameFaces]:
    """Run the generator in batches over frames and faces; order is kept.

    A batch ends where a segment does, so that a run that resumes there has the same batches.
    """
    waiting: list[FrameFaces] = []
    for item in items:
        waiting.append(item)
        n_faces = sum(len(i.faces) for i in waiting)
        full = n_faces >= batches.size or len(waiting) >= 2 * batches.size
        if full or item.ending is not None:
            yield from _generate_batch(waiting, nets, batches, clock)
            waiting = []
    yield from _generate_batch(waiting, nets, batches, clock)


def _generate_batch(
    items: list[FrameFaces], nets: Nets, batches: ShrinkingBatches, clock: StageClock
) -> list[FrameFaces]:
    faces = [face for item in items for face in item.faces]
    with clock("generate"), half_the_cores():
        swapped = batches(faces, lambda part: swap_faces(part, nets))
    results, used = [], 0
    for item in items:
        own = swapped[used : used + len(item.faces)]
        results.append(replace(item, swapped=own, generated=own))
        used += len(item.faces)
    return results


def compose(
    items: Iterable[FrameFaces], weight: float, clock: StageClock, composes: bool = False
) -> Iterator[FrameFaces]:
    """Lay the reference over the generator's answer, as far as its mask counts; `weight` in [0, 1].

    The photographs show the skin, the lips and the eyes of the source better than a net repaints
    them; what they do not show is the net's, but for hair that it paints where the target has
    none, and for lids of shut eyes. composes: the run's generator has laid it over itself too.
    """

    def weight_of(face: AlignedFace) -> float:
        look = face.aims.look
        generator = None if look is None else look.generator
        if face.reference is None:
            return 0.0
        wanted = weight if look is None else look.reference_weight
        itself = composes if generator is None else generator.net.composes
        return overlay_weight(wanted, itself) * face.clarity

    for item in items:
        with clock("compose"):
            swapped = []
            for face, y in zip(item.faces, item.swapped, strict=True):
                each = weight_of(face)
                swapped.append(
                    composed(y, face.crop, face.landmarks, face.reference, each, face.averted)
                )
        yield replace(item, swapped=swapped)


def match_colour(
    items: Iterable[FrameFaces], share: float, mask: MaskName, clock: StageClock
) -> Iterator[FrameFaces]:
    """Give every swapped face the colour of the target's skin, `share` of the way.

    In a toned picture, as a black-and-white one, it also gets no colour that the target has not.
    """
    for item in items:
        with clock("match colour"):
            swapped = []
            for face, y in zip(item.faces, item.swapped, strict=True):
                look = face.aims.look
                part = face.swapped_part(mask if look is None else look.mask)
                own = share if look is None else look.colour_match
                swapped.append(toned_like(face.crop, matched_colour(face.crop, y, part, own)))
        yield replace(item, swapped=swapped)


def smooth(
    items: Iterable[FrameFaces],
    share: float,
    clock: StageClock,
    begin: SwapState | None = None,
) -> Iterator[FrameFaces]:
    """Smooth the swapped faces of every track over time; `share` 0 leaves them as they are."""
    before = begin.smoothing if begin is not None else {}
    tracks = {number: SmoothedFace(share, last) for number, last in before.items()}
    owners: dict[int, FaceSource] = {}
    for item in items:
        shares = [
            share if face.aims.look is None else face.aims.look.temporal_smoothing
            for face in item.faces
        ]
        if any(each > 0 for each in shares):
            with clock("smooth"):
                swapped = []
                for face, y, each in zip(item.faces, item.swapped, shares, strict=True):
                    track = tracks.get(face.track)
                    # Nothing of the face before is carried over to another person's.
                    same = owners.setdefault(face.track, face.source) is face.source
                    if track is None or track.share != each or not same:
                        last = track.last if track is not None and same else None
                        track = tracks[face.track] = SmoothedFace(each, last)
                        owners[face.track] = face.source
                    swapped.append(track(item.index, face.crop, y) if each > 0 else y)
            item = replace(item, swapped=swapped)
            tracks = _present(tracks, item)
            owners = {number: own for number, own in owners.items() if number in tracks}
        yield _with_last(item, "smoothing", tracks)


def _present(tracks: dict[int, Remembering], item: FrameFaces) -> dict[int, Remembering]:
    """What is remembered of the tracks that this frame shows."""
    shown = {face.track for face in item.faces}
    return {number: track for number, track in tracks.items() if number in shown}


def _with_last(
    item: FrameFaces, name: str, tracks: Mapping[int, FusedReference | Reshaper | SmoothedFace]
) -> FrameFaces:
    """The frame, with what each track remembers under `name` where a segment ends with it."""
    if item.ending is None:
        return item
    known = {number: track.last for number, track in tracks.items() if track.last}
    return replace(item, ending=item.ending | {name: known})


def blend(
    items: Iterable[FrameFaces], mask: MaskName, clock: StageClock
) -> Iterator[tuple[Frame, FrameFaces]]:
    """The finished frames, each with what it was made of."""
    for item in items:
        with clock("blend"):
            frame = blend_faces(item, mask)
        yield frame, item


def as_recorded(face: AlignedFace, swapped: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Y as the target's camera would have recorded it: no sharper, and as dark."""
    focused = focused_like(face.crop, swapped)
    return face.exposure.given_back(focused)


def blend_faces(item: FrameFaces, mask: MaskName = "face") -> Frame:
    """Eq. 12 and 13 for every swapped face of a frame; a frame without faces is given back.

    All faces are pasted, then the frame is written once.
    """
    pixels, boxes = item.frame.rgb, list[Box]()
    for face, swapped in zip(item.faces, item.swapped, strict=True):
        answer = as_recorded(face, swapped)
        if face.detail is not None:
            answer = with_detail(answer, face.detail)
        own = mask if face.aims.look is None else face.aims.look.mask
        patch = paste_face(pixels, answer, face.affine, face.swapped_part(own))
        if patch is None:
            continue
        if not boxes:
            pixels = pixels.copy()  # the decoded picture stays as it is
        left, top, right, bottom = patch.box
        pixels[top:bottom, left:right] = with_grain(patch, item.frame.rgb, item.frame.pts)
        boxes.append(patch.box)
    return item.frame.with_boxes(boxes, pixels) if boxes else item.frame
