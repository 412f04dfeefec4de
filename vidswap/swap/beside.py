"""What a run makes beside its output: layers, and the face alone as a clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from vidswap.media.decoder import VideoReader
from vidswap.media.sequence_reader import SequenceReader
from vidswap.swap.face_clip import FaceClip
from vidswap.swap.faces import SwappedFrame
from vidswap.swap.layer_files import LayerFiles
from vidswap.swap.options import SwapOptions


class Beside:
    """The layers and the face clip that the options of a run ask for; perhaps neither.

    marks: what the files say of themselves. facts: those of the run. Leaving the `with` block
    keeps what a rerun goes on with. `warnings` are filled in by `begins_at`.
    """

    def __init__(
        self,
        options: SwapOptions,
        reader: VideoReader | SequenceReader,
        marks: Mapping[str, str],
        facts: Mapping[str, str],
        *,
        fresh: bool,
    ) -> None:
        self.warnings: list[str] = []
        self._layers = self._face = None
        if options.layers is not None:
            self._layers = LayerFiles(
                options.layers, options.layer_format, reader, marks, facts, options.mask,
                first=options.first_frame, only_faces=options.only_faces,
                overwrite=options.overwrite,
            )  # fmt: skip
        if options.face_clip is not None:
            self._face = FaceClip(
                options.face_clip, reader, marks, facts, options.mask, fresh=fresh,
                overwrite=options.overwrite,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._layers is not None:
            self._layers.close()
        if self._face is not None:
            self._face.__exit__()

    @property
    def is_nothing(self) -> bool:
        return self._layers is None and self._face is None

    def begins_at(self, kept: int) -> bool:
        """Go on after so many finished frames; False where the run has to begin anew for it."""
        self.warnings = self._layers.missing(kept) if self._layers is not None else []
        return self._face is None or self._face.begins_at(kept)

    def write(self, item: SwappedFrame, index: int) -> None:
        """Write what belongs to the `index`-th frame of the range."""
        if self._layers is not None:
            self._layers.write(item, index)
        if self._face is not None:
            self._face.write(item)

    def complete(self) -> None:
        """Give what was made its name."""
        if self._face is not None:
            self._face.complete()
        if self._layers is not None:
            self._layers.finish()
