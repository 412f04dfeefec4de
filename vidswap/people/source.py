"""The source's identity from photographs, folders and clips: k-shot inference (AP-GAN, III.D)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from vidswap.blending.detail import fine_crop
from vidswap.blending.reference import MOST_SHOTS, ReferenceShot, with_mirrored
from vidswap.blending.warping import FaceCrop, covered_part
from vidswap.choices import DEFAULT_K_SHOT
from vidswap.errors import (
    BadOptionError,
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

if TYPE_CHECKING:
    from vidswap.people.filled_source import Fill

__all__ = ["SourceIdentity", "SourceReader", "SourceShot", "embed_crop", "face_size"]

T = TypeVar("T")

MAX_YAW, MAX_PITCH = 40.0, 30.0  # degrees; beyond them half the face is hidden
MIN_FACE_SIZE = 40  # pixels between the farthest landmarks
OPEN_EYE = 0.25  # of its width: an eye below this is half shut
AS_VISIBLE = 0.03  # of the inner face: shots that differ by less are occluded alike
LEAST_UNCOVERED = 3  # shots without glasses and the like that make an identity file without others
INNER_FACE = 0.7  # of the contour: beyond it, hair beside the face says nothing about the shot


@dataclass(frozen=True, eq=False)
class KnownShot:
    """What an identity file knows of a shot, so that it need not be measured again.

    covered: share of the inner face that something lies before, 0 to 1.
    """

    measured: ReferenceShot
    covered: float


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
    known: KnownShot | None = None  # of one out of an identity file
    fine: NDArray[np.uint8] | None = None  # as `fine_crop` has it


@dataclass(frozen=True)
class SourceIdentity:
    """The mean id embedding (batch of one), the shots it was made from, and the frames left out.

    An identity file without pictures has neither crops, nor a photograph, nor references.
    """

    identity: IdEmbedding
    used: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]  # (frame, reason)
    crops: tuple[NDArray[np.uint8], ...]  # of the shots used, (256, 256, 3) RGB each
    photograph: FaceCrop | None  # the most neutral one
    references: tuple[ReferenceShot, ...]  # what a generator may be shown
    consent: tuple[str, ...] = ()  # as the identity files among the sources record it


@dataclass(frozen=True)
class ChosenShots:
    """The shots of one person that were not left out.

    used: those whose embeddings are averaged. shown: at most `MOST_SHOTS`, evenly spread, with
    their `views` and as `measured`. neutral: the most neutral of all, as a view; covered: of the
    shown ones, as in `KnownShot`.
    """

    used: tuple[SourceShot, ...]
    shown: tuple[SourceShot, ...]
    measured: tuple[ReferenceShot, ...]
    covered: tuple[float, ...]
    neutral: FaceCrop
    left_out: tuple[tuple[str, str], ...]

    @property
    def identity(self) -> IdEmbedding:
        """The mean of the used shots, a batch of one."""
        return IdEmbedding.concatenate([shot.identity for shot in self.used]).mean()


class SourceReader(FaceEmbedder):
    """Reads sources with one detector, landmark finder and identity encoder."""

    def read(
        self,
        sources: Sequence[Path],
        k_shot: int = DEFAULT_K_SHOT,
        choose: str | Path | None = None,
        n_references: int = 0,
        fill: Fill | None = None,
    ) -> SourceIdentity:
        """The identity of the person in `sources`.

        Each source is a photograph, a folder of photographs, a clip of which `k_shot` frames are
        sampled evenly, or an identity file. Frames that are blurred, in extreme pose, or of another
        person than most are left out. `choose` picks among several faces of a frame: None refuses,
        "largest" takes the largest, a path takes the one nearest to the face in that picture. Of a
        clip `n_references` frames are looked at where that is more, to be shown to a generator.
        `fill` is given these shots, those of identity files too, before they are kept for that.

        Raises NoFaceInSourceError, SeveralFacesError and IdentityFileError.
        """
        from vidswap.people.identity_file import is_identity_file, read_identity_file

        files = {s: read_identity_file(s, self.encoder) for s in sources if is_identity_file(s)}
        consent = tuple(file.consent for file in files.values() if file.consent)
        if len(sources) == 1 and files:
            return files[sources[0]].source(fill)
        if bare := next((path for path, file in files.items() if not file.shots), None):
            raise BadOptionError(
                f"{bare} holds no pictures, so it cannot be combined with other sources; "
                "give it alone, or the photographs it was made from"
            )
        rest = [source for source in sources if source not in files]
        shots = [shot for file in files.values() for shot in file.shots]
        chosen = self.choose_shots(rest, k_shot, choose, n_references, shots)
        measured = chosen.measured if fill is None else fill(chosen.measured, chosen.identity)
        return SourceIdentity(
            chosen.identity,
            tuple(shot.name for shot in chosen.used),
            chosen.left_out,
            tuple(shot.crop for shot in chosen.used),
            chosen.neutral,
            with_mirrored(measured),
            consent,
        )

    def choose_shots(
        self,
        sources: Sequence[Path],
        k_shot: int = DEFAULT_K_SHOT,
        choose: str | Path | None = None,
        n_references: int = 0,
        known: Sequence[SourceShot] = (),
        *,
        leave_out_covered: bool = False,
    ) -> ChosenShots:
        """The shots of `read`, and `known` ones beside them.

        leave_out_covered: also those with glasses or the like, where `LEAST_UNCOVERED` others are.
        """
        reference = self.person_in(choose) if isinstance(choose, Path) else None
        shots = list(known)
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
        return _chosen(shots, skipped + left_out, _names(sources), k_shot, leave_out_covered)

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
        fine = fine_crop(rgb, face_affine(face.landmarks))
        return SourceShot(name, face, crop, as_array(identity), identity, flaw, fine=fine)


def _chosen(
    shots: list[SourceShot],
    left_out: list[tuple[str, str]],
    names: str,
    k_shot: int,
    leave_out_covered: bool,
) -> ChosenShots:
    """One person's good shots, of which at most `k_shot` of each clip are used."""
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
    covered = [_covered(shot, view) for shot, view in zip(used, views, strict=True)]
    if leave_out_covered:
        clear = [share <= min(covered) + AS_VISIBLE for share in covered]
        if LEAST_UNCOVERED <= sum(clear) < len(clear):
            left_out += [
                (s.name, "glasses, hair or a hand before the face")
                for s, ok in zip(used, clear, strict=True) if not ok
            ]  # fmt: skip
            kept = [i for i, ok in enumerate(clear) if ok]
            used, views = [used[i] for i in kept], [views[i] for i in kept]
            covered = [covered[i] for i in kept]
    shown = spread(range(len(views)), MOST_SHOTS)
    return ChosenShots(
        tuple(_evenly(used, k_shot)),
        tuple(used[i] for i in shown),
        tuple(_measured(used[i], views[i]) for i in shown),
        tuple(covered[i] for i in shown),
        views[_most_neutral(used, covered)],
        tuple(left_out),
    )


def _measured(shot: SourceShot, view: FaceCrop) -> ReferenceShot:
    return ReferenceShot.of(view) if shot.known is None else shot.known.measured


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
    unknown = [shot for shot in shots if shot.known is None]
    seen = iter(visibility_maps([shot.crop for shot in unknown]))
    views = []
    for shot in shots:
        if shot.known is not None:
            views.append(shot.known.measured.shot)
            continue
        mesh = warp_points(face_affine(shot.face.landmarks), shot.face.landmarks)
        views.append(FaceCrop(shot.crop, mesh.astype(np.float32), next(seen), shot.fine))
    return views


def _covered(shot: SourceShot, view: FaceCrop) -> float:
    """Share of the inner face that glasses and the like lie before, 0 to 1."""
    if shot.known is not None:
        return shot.known.covered
    if view.visibility is None:
        return 0.0
    inner = covered_part(view.landmarks, INNER_FACE, len(view.visibility))
    return 1.0 - float(np.average(view.visibility, weights=inner))


def _most_neutral(shots: Sequence[SourceShot], covered: Sequence[float]) -> int:
    """The most neutral shot, without glasses and the like where there is one.

    Warping only moves pixels: it cannot close lips over teeth, open eyes, or take off glasses.
    """

    def strained(i: int) -> float:
        landmarks = shots[i].face.landmarks
        pose = head_pose(landmarks)
        shut = max(0.0, OPEN_EYE - min(eye_openings(landmarks)))
        return (
            (abs(pose.yaw) + abs(pose.pitch)) / 30.0
            + 4.0 * mouth_opening(landmarks)
            + 10 * shut
            + 60 * max(0.0, covered[i] - min(covered) - AS_VISIBLE)
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
