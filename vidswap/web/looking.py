"""One frame of a swap, quickly and again and again: what does not change is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.picture_encoder import PictureEncoder
from vidswap.nets import Nets
from vidswap.people.face_selection import FaceChooser
from vidswap.people.main_person import MainPerson, main_person_of
from vidswap.people.plan import PLAN
from vidswap.people.source import SourceIdentity, SourceReader
from vidswap.people.tracks import TRACKS
from vidswap.swap.cast import Cast, load_cast
from vidswap.swap.faces import FaceAssigner, FrameFaces, OneSource
from vidswap.swap.inspection import faces_of, swapped
from vidswap.swap.job import read_source
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest
from vidswap.swap.worker import Worker
from vidswap.web.frames import Target, as_png, file_version
from vidswap.web.kept import Kept
from vidswap.web.layers import LAYERS, draw_layer

Tell = Callable[[str], None]
"""Is told in words what takes a while."""

LEAD = 3  # frames before the one looked at, which temporal smoothing takes into account
_KEPT_LOOKS = 6


class Look:
    """A frame after the swap, and what it was made of."""

    def __init__(
        self, number: int, after: NDArray[np.uint8], item: FrameFaces, found: FrameFaces, mask: Any
    ) -> None:
        self.number, self.after = number, after
        self._item, self._found, self._mask = item, found, mask

    @property
    def n_faces(self) -> int:
        return len(self._item.faces)

    def layer(self, name: str) -> bytes:
        """ "after", or one of `LAYERS`, as PNG."""
        if name == "after":
            return as_png(self.after)
        return as_png(draw_layer(name, self._item, self._mask, self._found))

    def boxes(self) -> list[list[int]]:
        """Left, top, right and bottom of every swapped face in pixels."""
        height, width = self.after.shape[:2]
        found = []
        for face in self._item.faces:
            corners = np.array([[0, 0], [255, 0], [255, 255], [0, 255]], np.float64)
            inverse = np.linalg.inv(np.vstack([face.affine, [0, 0, 1]]))
            points = np.c_[corners, np.ones(4)] @ inverse.T
            left, top = np.clip(points[:, :2].min(axis=0), 0, (width, height))
            right, bottom = np.clip(points[:, :2].max(axis=0), 0, (width, height))
            found.append([round(left), round(top), round(right), round(bottom)])
        return found


class Looker:
    """Swaps single frames with the nets of a worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._targets, self._sources, self._people = Kept(1), Kept(4), Kept(4)
        self._found, self._looks = Kept(), Kept(_KEPT_LOOKS)
        self._last = 0

    def look(
        self, request: SwapRequest, number: int, *, lead: bool, encoded: bool, tell: Tell
    ) -> dict[str, Any]:
        """Swap frame `number` of the target; the pictures are then `layer`s of the answer's id.

        lead: swap the frames before it as well, so that temporal smoothing shows. encoded: as it
        looks in the output. Raises a VidswapError as a run does.
        """
        options = request.options
        tell("loading the nets")
        nets = self._worker.nets(options)
        target = self._target(request.target)
        first = max(0, number - LEAD) if lead and options.temporal_smoothing > 0 else number
        key, assigner, source = self._assigner(request, target, nets, tell)
        tell("swapping the frame")

        def find() -> list[FrameFaces]:
            return faces_of((target.frame(n) for n in range(first, number + 1)), assigner, nets)

        found = self._found.get((key, first, number), find)
        frame, item = swapped(found, assigner, nets, options)[-1]
        size = None
        after = frame.rgb
        if encoded and not target.is_picture and item.faces:
            after, size = as_encoded(frame, request)
        look = Look(number, after, item, found[-1], options.mask)
        self._last += 1
        identity = str(self._last)
        self._looks.get(identity, lambda: look)
        return {
            "id": identity,
            "number": number,
            "faces": look.n_faces,
            "boxes": look.boxes(),
            "encoded_bytes": size,
            "source": _told(source),
            "layers": list(LAYERS),
        }

    def _assigner(
        self, request: SwapRequest, target: Target, nets: Nets, tell: Tell
    ) -> tuple[Hashable, FaceAssigner, SourceIdentity | Cast]:
        """Whose face everybody gets, and what the faces found depend on."""
        options = request.options
        fills = options.fill_source and options.reference
        if isinstance(options.cast, Path):
            tell("reading the cast")
            files = [options.cast / name for name in (PLAN, TRACKS)]
            made_of = (
                *map(file_version, files), target.version, options.k_shot, fills, id(nets),
            )  # fmt: skip
            cast = self._sources.get(
                made_of, lambda: load_cast(nets, target.path, request.output, (), options)
            )
            # What is found holds the settings of each person, and so those of the run.
            return (made_of, repr(options)), cast.assigner(options, target.zero), cast
        files = [*request.sources]
        by_source = (*map(file_version, files), options.k_shot, str(options.source_face), fills)
        tell("reading the source")
        source = self._sources.get(
            (by_source, options.detector), lambda: read_source(nets, request.sources, options)
        )
        by_face = (target.version, str(options.face), options.detector)
        tell("looking for the person")
        main = self._people.get(by_face, lambda: _main_person(target, options, nets))
        chooser = FaceChooser.of(options.face, nets, main)
        return (by_source, by_face), OneSource(chooser, source), source

    def layer(self, identity: str, name: str) -> bytes | None:
        """A picture of an earlier answer; None once it is no longer kept."""
        look: Look | None = self._looks.peek(identity)
        known = name == "after" or name in LAYERS
        return look.layer(name) if look is not None and known else None

    def _target(self, path: Path) -> Target:
        return self._targets.get(file_version(path), lambda: Target(path))


def _main_person(target: Target, options: SwapOptions, nets: Nets) -> MainPerson | None:
    """As a run of the whole clip chooses it."""
    if options.face != "largest" or target.is_picture:
        return None
    return main_person_of(target.path, SourceReader.of(nets))


def _told(source: SourceIdentity | Cast) -> dict[str, Any]:
    notes = source.notes if isinstance(source, Cast) else ()
    return {
        "used": len(source.used),
        "left_out": [f"{name}: {reason}" for name, reason in source.left_out[:20]],
        "notes": list(notes),
    }


def as_encoded(frame: Frame, request: SwapRequest) -> tuple[NDArray[np.uint8], int]:
    """A frame (H, W, 3) after the output's codec has had it, and its bytes as a key frame.

    Raises CodecError, BadOptionError.
    """
    quality = request.options.quality(request.target)
    with tempfile.TemporaryDirectory(prefix="vidswap-") as folder:
        path = Path(folder) / f"frame{request.output.suffix}"
        with VideoReader(request.target) as template, av.open(f"file:{path}", "w") as container:
            encoder = PictureEncoder(path, template, quality, container)
            try:
                packets = [*encoder.encode(frame), *encoder.flush()]
                size = sum(packet.size for packet in packets)
                for packet in packets:
                    container.mux(packet)
            finally:
                encoder.close()
        with VideoReader(path) as coded:
            return next(iter(coded)).rgb, size
