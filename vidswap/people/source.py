"""The source's identity from photographs, folders and clips: k-shot inference (AP-GAN, III.D)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vidswap.blending.reference import MOST_SHOTS, ReferenceShot, reference_shots
from vidswap.blending.warping import FaceCrop, covered_part
from vidswap.choices import DEFAULT_K_SHOT
from vidswap.errors import (
    InputNotFoundError,
    MissingLibraryError,
    NoFaceInSourceError,
    SeveralFacesError,
)
from vidswap.faces.align import face_affine, warp_points
from vidswap.faces.detection import Face
from vidswap.faces.occlusion import visibility_maps
from vidswap.faces.pose import eye_openings, head_pose, mouth_opening
from vidswap.faces.quality import is_sharp
from vidswap.identity.dlib_resnet import SAME_PERSON_DISTANCE
from vidswap.identity.encoder import IdEmbedding
from vidswap.media.frame import Frame
from vidswap.media.picture import is_picture, read_picture
from vidswap.media.sampling import spaced_frames
from vidswap.people.embedding import (
    FaceEmbedder,
    as_array,
    embed_crop,
    face_size,
    without_bystanders,
)
from vidswap.runtime.inputs import check_readable

__all__ = ["SourceIdentity", "SourceReader", "SourceShot", "embed_crop", "face_size"]

T = TypeVar("T")

MAX_YAW, MAX_PITCH = 40.0, 30.0  # degrees; beyond them half the face is hidden
MIN_FACE_SIZE = 40  # pixels between the farthest landmarks
OPEN_EYE = 0.25  # of its width: an eye below this is half shut
AS_VISIBLE = 0.03  # of the inner face: shots that differ by less are occluded alike
INNER_FACE = 0.7  # of the contour: beyond it, hair beside the face says nothing about the shot


@dataclass(frozen=True)
class SourceShot:
    """One source frame with a face: where it is from, the face, its crop and its embedding."""

    name: str
    face: Face
    crop: NDArray[np.uint8]  # (256, 256, 3) RGB
    embedding: NDArray[np.float32]  # (128,)
    identity: IdEmbedding  # batch of one
    flaw: str | None  # why it is better left out
    clip: str | None = None  # the clip that it is a frame of


@dataclass(frozen=True)
class SourceIdentity:
    """The mean id embedding (batch of one), the shots it was made from, and the frames left out."""

    identity: IdEmbedding
    used: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]  # (frame, reason)
    crops: tuple[NDArray[np.uint8], ...]  # of the shots used, (256, 256, 3) RGB each
    photograph: FaceCrop  # the most neutral one
    references: tuple[ReferenceShot, ...]  # what a generator may be shown


class SourceReader(FaceEmbedder):
    """Reads sources with one detector, landmark finder and identity encoder."""

    def read(
        self,
        sources: Sequence[Path],
        k_shot: int = DEFAULT_K_SHOT,
        choose: str | Path | None = None,
        n_references: int = 0,
    ) -> SourceIdentity:
        """The identity of the person in `sources`.

        Each source is a photograph, a folder of photographs, or a clip of which `k_shot` frames
        are sampled evenly. Frames that are blurred, in extreme pose, or of another person than most
        are left out. `choose` picks among several faces of a frame: None refuses, "largest" takes
        the largest, a path takes the one nearest to the face in that picture. Of a clip
        `n_references` frames are looked at where that is more, to be shown to a generator.

        Raises NoFaceInSourceError and SeveralFacesError.
        """
        reference = self.person_in(choose) if isinstance(choose, Path) else None
        shots: list[SourceShot] = []
        per_clip = max(k_shot, n_references)
        left_out: list[tuple[str, str]] = []
        skipped: list[tuple[str, str]] = []
        for name, clip, frame in _source_frames(sources, per_clip, skipped):
            faces = self.faces(frame.rgb)
            if not faces:
                left_out.append((name, "no face"))
                continue
            chosen = self._choose(name, faces, frame.rgb, choose, reference)
            shots.append(replace(self._shot(name, frame.rgb, chosen), clip=clip))
        if not shots:
            raise NoFaceInSourceError(
                f"{_names(sources)}: no face found in {len(left_out)} "
                f"frame(s); give a picture or clip with a clear face{_told(skipped)}"
            )
        return _mean_identity(shots, skipped + left_out, _names(sources), k_shot)

    def person_in(self, picture: Path) -> NDArray[np.float32]:
        """The embedding (128,) of the largest face in a picture.

        Raises InputNotFoundError and NoFaceInSourceError.
        """
        return as_array(self.read([picture], choose="largest").identity)

    def _choose(
        self,
        name: str,
        faces: list[Face],
        rgb: NDArray[np.uint8],
        choose: str | Path | None,
        reference: NDArray[np.float32] | None,
    ) -> Face:
        if reference is not None:
            return self.nearest(rgb, faces, reference) or faces[0]
        candidates = without_bystanders(faces)
        if len(candidates) > 1 and choose is None:
            raise SeveralFacesError(
                f"{name}: {len(candidates)} faces; choose one with --source-face largest "
                "or --source-face PICTURE of that person, or crop the picture"
            )
        return candidates[0]

    def _shot(self, name: str, rgb: NDArray[np.uint8], face: Face) -> SourceShot:
        crop, identity = self.embed(rgb, face)
        pose = head_pose(face.landmarks)
        flaw = None
        if face_size(face) < MIN_FACE_SIZE:
            flaw = f"face only {face_size(face):.0f} pixels"
        elif abs(pose.yaw) > MAX_YAW or abs(pose.pitch) > MAX_PITCH:
            flaw = f"extreme pose (yaw {pose.yaw:.0f}, pitch {pose.pitch:.0f} degrees)"
        elif not is_sharp(crop):
            flaw = "blurred"
        return SourceShot(name, face, crop, as_array(identity), identity, flaw)


def _mean_identity(
    shots: list[SourceShot], left_out: list[tuple[str, str]], names: str, k_shot: int
) -> SourceIdentity:
    """The identity of one person's shots, the mean of at most `k_shot` of each clip."""
    good = [s for s in shots if s.flaw is None]
    if good:
        left_out += [(s.name, s.flaw) for s in shots if s.flaw is not None]
    else:
        # Better a poor picture of the person than none; the report says which and why.
        good = [max(shots, key=lambda s: face_size(s.face))]
        left_out += [(s.name, str(s.flaw)) for s in shots if s is not good[0]]
    embeddings = np.stack([s.embedding for s in good])
    distances = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2)
    medoid = int(distances.sum(axis=1).argmin())
    same = distances[medoid] < SAME_PERSON_DISTANCE
    n_others = int((~same).sum())
    if n_others > len(good) // 3:
        raise SeveralFacesError(
            f"{names}: the frames show different people ({n_others} of {len(good)} differ from the "
            "rest); give one person's pictures, or choose with --source-face PICTURE"
        )
    left_out += [(s.name, "another person") for s, ok in zip(good, same, strict=True) if not ok]
    used = [s for s, ok in zip(good, same, strict=True) if ok]
    views = _views(used)
    references = reference_shots([views[i] for i in spread(range(len(views)), MOST_SHOTS)])
    photograph = views[_most_neutral(used, views)]
    used = _evenly(used, k_shot)
    identity = IdEmbedding.concatenate([s.identity for s in used]).mean()
    names_used, crops = tuple(s.name for s in used), tuple(s.crop for s in used)
    return SourceIdentity(identity, names_used, tuple(left_out), crops, photograph, references)


def _evenly(shots: list[SourceShot], k_shot: int) -> list[SourceShot]:
    """At most `k_shot` shots of each clip, spread evenly, and every photograph."""
    by_source: dict[str, list[SourceShot]] = {}
    for shot in shots:
        by_source.setdefault(shot.clip or shot.name, []).append(shot)
    return [shot for of_one in by_source.values() for shot in spread(of_one, k_shot)]


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many of some items, evenly spread over them."""
    if len(items) <= most:
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * most)] for i in range(most)]


def _views(shots: Sequence[SourceShot]) -> list[FaceCrop]:
    """The shots as they are warped: crop, mesh in its pixels, and what lies before the face."""
    meshes = (
        warp_points(face_affine(shot.face.landmarks), shot.face.landmarks).astype(np.float32)
        for shot in shots
    )
    crops = [shot.crop for shot in shots]
    return list(map(FaceCrop, crops, meshes, visibility_maps(crops)))


def _most_neutral(shots: Sequence[SourceShot], views: Sequence[FaceCrop]) -> int:
    """The most neutral shot, without glasses and the like where there is one.

    Warping only moves pixels: it cannot close lips over teeth, open eyes, or take off glasses.
    """
    meshes = [view.landmarks for view in views]
    visibilities = [view.visibility for view in views if view.visibility is not None]
    occluded = [
        1.0
        - float(np.average(visibility, weights=covered_part(points, INNER_FACE, len(visibility))))
        for points, visibility in zip(meshes, visibilities, strict=True)
    ]

    def strained(i: int) -> float:
        landmarks = shots[i].face.landmarks
        pose = head_pose(landmarks)
        shut = max(0.0, OPEN_EYE - min(eye_openings(landmarks)))
        return (
            (abs(pose.yaw) + abs(pose.pitch)) / 30.0
            + 4.0 * mouth_opening(landmarks)
            + 10 * shut
            + 60 * max(0.0, occluded[i] - min(occluded) - AS_VISIBLE)
        )

    return min(range(len(shots)), key=strained)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, by name. Raises InputNotFoundError where there is none."""
    pictures = sorted(path for path in folder.iterdir() if is_picture(path))
    if not pictures:
        raise InputNotFoundError(f"{folder}: the folder holds no picture")
    return pictures


def _source_frames(
    sources: Sequence[Path], k_shot: int, skipped: list[tuple[str, str]]
) -> Iterator[tuple[str, str | None, Frame]]:
    """Frames by name, with the clip that they are of.

    Files of a folder that are not read are added to `skipped`, each with the reason.
    """
    for source in sources:
        check_readable(source)
        if source.is_dir():
            skipped += _no_pictures_in(source)
            for picture in pictures_in(source):
                try:
                    frame = read_picture(picture)
                except MissingLibraryError as error:
                    skipped.append((picture.name, str(error)))
                    continue
                yield picture.name, None, frame
        elif is_picture(source):
            yield source.name, None, read_picture(source)
        else:
            for frame in spaced_frames(source, k_shot):
                yield f"{source.name} at {frame.seconds:.2f} s", str(source), frame


def _no_pictures_in(folder: Path) -> list[tuple[str, str]]:
    """Files of a folder that are no pictures, by name, without hidden ones."""
    return [
        (path.name, "not a picture of a kind that is read; name clips by themselves")
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".") and not is_picture(path)
    ]


def _told(skipped: Sequence[tuple[str, str]]) -> str:
    return "".join(f"; {name} was skipped: {reason}" for name, reason in skipped)


def _names(sources: Sequence[Path]) -> str:
    return ", ".join(str(s) for s in sources)
