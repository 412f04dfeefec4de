"""What lies before the face in a source's photograph is filled before the generator sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidswap.blending.reference import ReferenceShot
from vidswap.blending.warping import FaceCrop, covered_part
from vidswap.identity.encoder import IdEmbedding
from vidswap.people import filled_source
from vidswap.people.filled_source import SourceFiller, hole_in
from vidswap.people.identity_file import write_identity_file
from vidswap.people.source import SourceReader, embed_crop
from vidswap.swap.job import read_source
from vidswap.swap.options import SwapOptions


@pytest.fixture(scope="module")
def reader() -> Iterator[SourceReader]:
    made = SourceReader.load()
    yield made
    made.close()


@pytest.fixture(scope="module")
def shot(reader: SourceReader, source_picture: Path) -> FaceCrop:
    return reader.choose_shots([source_picture]).neutral


def rims(shot: FaceCrop) -> np.ndarray:
    """Where a pair of glasses would have its rims (256, 256), around the eyes of the mesh."""
    drawn = np.zeros((256, 256), np.uint8)
    for iris in (468, 473):
        x, y = np.rint(shot.landmarks[iris]).astype(int)
        cv2.ellipse(drawn, (int(x), int(y)), (24, 18), 0, 0, 360, 255, 4)
    return drawn > 0


def test_a_face_that_nothing_lies_before_is_what_it_was(
    reader: SourceReader, source_picture: Path
) -> None:
    plain = reader.read([source_picture])
    filler = SourceFiller(Path("none.safetensors"))  # it need not even be loaded
    offered: list[ReferenceShot] = []

    def fill(shots, identity):  # type: ignore[no-untyped-def]
        offered.extend(shots)
        answer = filler(shots, identity)
        assert all(a is b for a, b in zip(answer, shots, strict=True))
        return answer

    filled = reader.read([source_picture], fill=fill)
    assert len(offered) == 1 and len(filled.references) == len(plain.references)
    for one, other in zip(filled.references, plain.references, strict=True):
        np.testing.assert_array_equal(one.shot.crop, other.shot.crop)
        np.testing.assert_array_equal(one.shot.visibility, other.shot.visibility)


def test_rims_of_glasses_are_filled_and_nothing_else(
    shot: FaceCrop, reader: SourceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = rims(shot)
    crop = np.where(drawn[..., None], np.uint8(12), shot.crop)
    visibility = 1.0 - cv2.resize(drawn.astype(np.float32), (128, 128))
    fine = cv2.cvtColor(cv2.resize(crop, (512, 512)), cv2.COLOR_RGB2GRAY)
    covered = FaceCrop(crop, shot.landmarks, visibility, fine)
    monkeypatch.setattr(filled_source, "visibility_maps", lambda crops: [visibility for _ in crops])
    identity = embed_crop(reader.encoder, crop)
    (answer,) = SourceFiller()([ReferenceShot.of(covered)], identity)
    hole = hole_in(covered)
    assert hole is not None
    after, reach = answer.shot, cv2.dilate(hole.mask, np.ones((19, 19), np.uint8)) > 0
    np.testing.assert_array_equal(after.crop[~reach], crop[~reach])
    # The frames were black; skin, brows and lids are lighter.
    assert crop[drawn].mean() < 13 and after.crop[drawn & (hole.mask > 0)].mean() > 60
    # Beyond the inner face, what has not the skin's colour is taken for background.
    inner = covered_part(shot.landmarks, 0.7, 128) > 0.99
    inside = inner & (cv2.resize(hole.mask, (128, 128)) == 1)
    raised = after.visibility
    assert raised is not None and (raised[inside] > visibility[inside] - 0.02).all()
    hidden = inside & (visibility < 0.4)
    assert hidden.any() and (raised[hidden] > 0.48).all()
    assert after.fine is not None
    np.testing.assert_array_equal(after.fine[np.repeat(np.repeat(~reach, 2, 0), 2, 1)],
                                  fine[np.repeat(np.repeat(~reach, 2, 0), 2, 1)])  # fmt: skip


def test_little_before_a_face_leaves_it_as_it_is(shot: FaceCrop) -> None:
    visibility = np.ones((128, 128), np.float32)
    assert hole_in(replace(shot, visibility=visibility)) is None
    visibility[60:62, 60:70] = 0.0
    assert hole_in(replace(shot, visibility=visibility)) is None


def test_sunglasses_are_left_alone(shot: FaceCrop) -> None:
    visibility = np.ones((128, 128), np.float32)
    visibility[42:66, 36:92] = 0.0
    assert hole_in(replace(shot, visibility=visibility)) is None


def test_photographs_are_filled_on_request_and_where_they_are_shown() -> None:
    assert SwapOptions().source_filler() is None
    assert SwapOptions(fill_source=True, reference=False).source_filler() is None
    assert isinstance(SwapOptions(fill_source=True).source_filler(), SourceFiller)


def test_a_job_has_the_shots_of_photographs_and_identity_files_filled(
    reader: SourceReader, source_picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept.vsid"
    write_identity_file(kept, reader.choose_shots([source_picture]), {})
    marked = SourceShotsMarked()
    monkeypatch.setattr(filled_source, "SourceFiller", lambda: marked)
    for source in (source_picture, kept):
        for wanted in (False, True):
            options = SwapOptions(fill_source=wanted)
            read = read_source(reader, [source], options)  # type: ignore[arg-type]
            assert (read.references[0].flaws == marked.flaws) == wanted


class SourceShotsMarked:
    """A `Fill` that leaves a mark on the shots."""

    flaws = 77.0

    def __call__(
        self, shots: Sequence[ReferenceShot], identity: IdEmbedding
    ) -> list[ReferenceShot]:
        assert len(identity.embedding) == 1
        return [replace(one, flaws=self.flaws) for one in shots]
