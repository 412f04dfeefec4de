"""What passes from stage to stage: frames with their faces, and whose identity each face gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vidswap.blending.exposure import NORMAL_EXPOSURE, Exposure
from vidswap.blending.paste import MaskName, swapped_part
from vidswap.blending.reference import ReferenceShot
from vidswap.faces.tracking import TrackedFace
from vidswap.identity.encoder import IdEmbedding
from vidswap.media.frame import Frame
from vidswap.people.face_selection import FaceChooser
from vidswap.swap.look import FaceLook
from vidswap.swap.state import SwapState


class FaceSource(Protocol):
    """Whose face a face gets; `vidswap.people.source.SourceIdentity` is one."""

    @property
    def identity(self) -> IdEmbedding:
        """The k-shot id embedding, a batch of one."""

    @property
    def references(self) -> Sequence[ReferenceShot]:
        """The shots that a generator may be shown; none at all where it shall see no picture."""


@dataclass(frozen=True, eq=False)
class SourceFace:
    """A `FaceSource` of an id embedding (a batch of one) and perhaps shots of the face."""

    identity: IdEmbedding
    references: Sequence[ReferenceShot] = ()


@dataclass(frozen=True, eq=False)
class FaceAims:
    """Who a face to be swapped is, as results name them, and how it is swapped.

    look: None is that of the run.
    """

    person: str = ""
    look: FaceLook | None = None


Assignment = tuple[TrackedFace, FaceSource] | tuple[TrackedFace, FaceSource, FaceAims]


@runtime_checkable
class FaceAssigner(Protocol):
    """Says of every tracked face of a frame, in order of frames, whose face it gets."""

    def assign(self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]) -> Sequence[Assignment]:
        """The faces of this frame to swap, each with its source; the others are left alone."""

    def state(self) -> Any:
        """What another assigner of the same kind needs to continue from here."""

    def restore(self, state: Any) -> None:
        """Continue from another assigner's `state()`."""


class OneSource:
    """The assigner of a run with one source: every chosen face gets it."""

    def __init__(self, chooser: FaceChooser, source: FaceSource) -> None:
        self._chooser, self._source = chooser, source
        self.state, self.restore = chooser.state, chooser.restore

    def assign(
        self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]
    ) -> list[tuple[TrackedFace, FaceSource]]:
        """The chosen faces of this frame, all with the one source."""
        return [(face, self._source) for face in self._chooser.choose(rgb, faces)]


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face ready for the generator: the affine AM, F_t and B_t, (256, 256, 3) uint8 each.

    `landmarks` (478, 2) are in pixels of the crop; `source` is whose face it gets; `track` is the
    person's number in the clip; `aims` are who and how; `exposure` is how the crop was
    brightened by; `reference` (256, 256, 4) uint8 is the source's face warped onto it, where the
    generator takes one, and `clarity` how sharp that is, 0 to 1, and `averted` (128, 128)
    where its eyes look elsewhere; `visibility` (128, 128) and `fine_visibility` (256, 256) are as
    `target_visibility` has them. Where the features were moved, crop, mesh and boundary map show
    them so, and `moved_visibility` is what came along; the other two stay those of the frame.
    `detail` (512, 512) is what the source shows finer than the crop, in levels of brightness.
    `hole` (256, 256) bool is the part to fill, where a model fills faces.
    """

    affine: NDArray[np.float64]
    landmarks: NDArray[np.floating]
    crop: NDArray[np.uint8]
    boundary_map: NDArray[np.uint8]
    source: FaceSource
    track: int = 0
    exposure: Exposure = NORMAL_EXPOSURE
    aims: FaceAims = FaceAims()
    reference: NDArray[np.uint8] | None = None
    clarity: float = 0.0
    averted: NDArray[np.float32] | None = None
    visibility: NDArray[np.float32] | None = None
    fine_visibility: NDArray[np.float32] | None = None
    moved_visibility: NDArray[np.float32] | None = None
    detail: NDArray[np.float32] | None = None
    hole: NDArray[np.bool_] | None = None

    @property
    def visibility_on_crop(self) -> NDArray[np.float32] | None:
        """Where nothing lies before the face as `crop` shows it."""
        return self.visibility if self.moved_visibility is None else self.moved_visibility

    def swapped_part(self, mask: MaskName) -> NDArray[np.float32]:
        """How much of the crop is replaced (256, 256), in [0, 1]."""
        return swapped_part(self.landmarks, mask, self.fine_visibility)


@dataclass(frozen=True, eq=False)
class FrameFaces:
    """Frame `index` of a clip and its faces, with the generator's answers Y once they are there.

    `generated` are these as the generator gave them, `swapped` what the stages after it made of
    them, and `left_alone` counts the faces that are not swapped.

    Where a segment ends with the frame, `ending` collects what the next one begins with: each
    stage that remembers something adds its part, by the names of `SwapState`'s fields.
    """

    frame: Frame
    index: int
    faces: list[AlignedFace]
    swapped: list[NDArray[np.uint8]] = field(default_factory=list)
    left_alone: int = 0
    generated: list[NDArray[np.uint8]] = field(default_factory=list)
    ending: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class SwappedFrame:
    """A finished frame; where a segment ends after it, the state that the next begins with.

    `made_of`: the target's frame and its faces.
    """

    frame: Frame
    n_faces: int
    state: SwapState | None = None
    made_of: FrameFaces | None = None
