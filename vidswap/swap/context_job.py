"""Hallucinate what is around faces: `vidswap context`, for pictures and for whole datasets."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from vidswap.choices import DetectorName
from vidswap.errors import BadOptionError, InputNotFoundError, NoFaceInSourceError
from vidswap.faces.align import CROP_SIZE, align_face, face_affine, warp_points
from vidswap.faces.person import PersonFinder
from vidswap.inpainting.context_gan import ContextNet
from vidswap.inpainting.hallucination import (
    Variation,
    blurred,
    drawn_variations,
    face_hull,
    filling_square,
    hallucinate,
    with_background,
)
from vidswap.media.marks import COMMENT, synthetic_metadata
from vidswap.media.output import check_output, writing_errors
from vidswap.media.picture import check_picture_suffix, is_picture, read_picture, write_picture
from vidswap.models.checkpoint import LoadedGenerator, load_generator
from vidswap.models.checkpoint_file import packaged_checkpoint
from vidswap.nets import choose_device, load_detector
from vidswap.people.embedding import find_faces
from vidswap.runtime.inputs import check_readable
from vidswap.swap.context_options import BLUR, ContextOptions, ContextResult
from vidswap.training.data.face_shards import (
    INDEX_FILE,
    iterate_faces,
    read_index,
    read_landmarks,
    whole_meshes,
)
from vidswap.training.data.writer import AlignedFace, DatasetWriter, check_dataset_output
from vidswap.version import __version__

CHECKPOINTS = {"cascaded": "context-128.safetensors", "progan": "context-128-progan.safetensors"}
BATCH = 16  # pictures per call of the net
PICTURE = ".png"
DATASET_KIND = "context"  # of the faces of a dataset, as its index names it

Progress = Callable[[int, int], None]  # pictures made, of how many


@dataclass(frozen=True, eq=False)
class FaceAlone:
    """An aligned face (256, 256, 3), its mesh (478, 2), and where it comes from."""

    name: str
    crop: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


def hallucinate_faces(
    faces: Sequence[str | Path],
    output: str | Path,
    options: ContextOptions | None = None,
    progress: Progress | None = None,
) -> ContextResult:
    """Hallucinate the surroundings of faces in pictures and write what comes of it.

    `faces` are pictures, folders of them, or one dataset of aligned faces. The output is a picture
    for one picture of one face; a dataset for a dataset, its people and those held out the same;
    else a folder of pictures. Raises a VidswapError for everything a caller can mend.
    """
    options, output = options or ContextOptions(), Path(output)
    began = time.monotonic()
    paths = [Path(path) for path in faces]
    for path in paths:
        check_readable(path)
    dataset = paths[0] if len(paths) == 1 and (paths[0] / INDEX_FILE).is_file() else None
    _check_output(output, options, dataset is not None)
    backgrounds = _Backgrounds(options)
    loaded = load_context(options)
    person = None if options.background is None else PersonFinder(choose_device(options.device))
    maker = _Maker(loaded, options, backgrounds, person)
    left_out: list[tuple[str, str]] = []
    if dataset is not None:
        n_faces, n_pictures = _write_dataset(dataset, output, maker, progress)
    else:
        n_faces, n_pictures = _write_pictures(paths, output, maker, left_out, progress)
    return ContextResult(
        output=str(output),
        faces=n_faces,
        pictures=n_pictures,
        left_out=tuple(left_out),
        variant=options.variant,
        checkpoint=loaded.path.name,
        checkpoint_sha256=loaded.sha256,
        images_trained=loaded.images_trained,
        seconds=time.monotonic() - began,
    )


def load_context(options: ContextOptions) -> LoadedGenerator:
    """The context GAN. Raises CheckpointError, BadOptionError for a checkpoint of another net."""
    path = options.checkpoint or packaged_context(options.variant)
    loaded = load_generator(path, choose_device(options.device))
    if not isinstance(loaded.net, ContextNet):
        raise BadOptionError(f"{path} holds {loaded.net.name}; give a checkpoint of context-128")
    if loaded.net.config.variant != options.variant:
        raise BadOptionError(
            f"{path} holds the {loaded.net.config.variant} variant, and --variant is "
            f"{options.variant}; give the other checkpoint, or leave --variant out"
        )
    return loaded


def packaged_context(variant: str) -> Path:
    """The checkpoint of a variant that comes with the package. Raises CheckpointError."""
    return packaged_checkpoint(CHECKPOINTS[variant], f"the {variant} context GAN")


class _Backgrounds:
    """What is put behind a person, drawn from what the options name."""

    def __init__(self, options: ContextOptions) -> None:
        self.kind, self.colour = options.background, options.colour
        self.pictures: list[Path] = []
        if self.kind in (None, BLUR) or self.colour is not None:
            return
        path = Path(str(self.kind))
        check_readable(path, hint="give a picture, a folder of them, a '#rrggbb' colour, or blur")
        found = sorted(path.iterdir()) if path.is_dir() else [path]
        self.pictures = [p for p in found if p.is_file() and is_picture(p)]
        if not self.pictures:
            raise InputNotFoundError(f"{path}: no picture to put behind a person")

    def behind(self, picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """What goes behind the person of a picture, of its size."""
        if self.colour is not None:
            return np.broadcast_to(np.array(self.colour, np.uint8), picture.shape).copy()
        if self.kind == BLUR:
            return blurred(picture)
        chosen = self.pictures[int(random.integers(len(self.pictures)))]
        return filling_square(read_picture(chosen).rgb, len(picture))


class _Maker:
    """Makes the pictures of faces, a batch of the net at a time."""

    def __init__(
        self,
        loaded: LoadedGenerator,
        options: ContextOptions,
        backgrounds: _Backgrounds,
        person: PersonFinder | None,
    ) -> None:
        assert isinstance(loaded.net, ContextNet)
        self.net, self.options = loaded.net, options
        self.backgrounds, self.person = backgrounds, person
        settings = {k: str(v) for k, v in asdict(options).items() if k in ("variant", "seed")}
        self.sha256 = loaded.sha256
        self.marks = synthetic_metadata(__version__, loaded.sha256, settings)
        self.marks[COMMENT] = (
            f"Synthetic: surroundings of a face hallucinated by vidswap {__version__}, checkpoint "
            f"{loaded.sha256[:12]}"
        )

    def made(
        self, faces: Iterator[FaceAlone]
    ) -> Iterator[tuple[FaceAlone, int, NDArray[np.uint8]]]:
        """Every face `per_face` times: the face, a count from zero, and the picture."""
        waiting: list[tuple[FaceAlone, int, Variation]] = []
        for number, face in enumerate(faces):
            random = np.random.default_rng((self.options.seed, number))
            for index, variation in enumerate(drawn_variations(self.options.per_face, random)):
                waiting.append((face, index, variation))
            while len(waiting) >= BATCH:
                yield from self._batch(waiting[:BATCH])
                waiting = waiting[BATCH:]
        if waiting:
            yield from self._batch(waiting)

    def _batch(
        self, batch: list[tuple[FaceAlone, int, Variation]]
    ) -> Iterator[tuple[FaceAlone, int, NDArray[np.uint8]]]:
        pictures = hallucinate(
            self.net,
            [face.crop for face, _, _ in batch],
            [face.landmarks for face, _, _ in batch],
            [variation for _, _, variation in batch],
        )
        for (face, index, variation), picture in zip(batch, pictures, strict=True):
            if self.person is not None:
                name = [ord(c) for c in face.name[-32:]]
                random = np.random.default_rng((self.options.seed, index, *name))
                behind = self.backgrounds.behind(picture, random)
                hull = face_hull(face.landmarks, CROP_SIZE, variation.share)
                picture = with_background(picture, hull, behind, self.person)
            yield face, index, picture


def _check_output(output: Path, options: ContextOptions, dataset: bool) -> None:
    if dataset:
        check_dataset_output(output, options.overwrite)
    elif output.suffix:
        check_picture_suffix(output)
        check_output(output, options.overwrite)
        if options.per_face > 1:
            raise BadOptionError(
                f"{output} is one picture and --per-face {options.per_face}; name a folder"
            )
    elif output.is_file():
        raise BadOptionError(f"{output} is a file; name a folder, or a picture with a suffix")


def _write_pictures(
    paths: Sequence[Path],
    output: Path,
    maker: _Maker,
    left_out: list[tuple[str, str]],
    progress: Progress | None,
) -> tuple[int, int]:
    """Write a picture, or a folder of them; how many faces, and pictures."""
    found = _pictures_in(paths)
    total = len(found) * maker.options.per_face
    faces, pictures = set[str](), 0
    one = bool(output.suffix)
    if one and len(found) > 1:
        raise BadOptionError(
            f"{output} is one picture and the faces are {len(found)}; name a folder"
        )
    if not one:
        with writing_errors(output):
            output.mkdir(parents=True, exist_ok=True)
    for face, index, picture in maker.made(_faces_of(found, left_out)):
        path = output
        if not one:
            path = output / f"{Path(face.name).stem}-{index + 1}{PICTURE}"
        write_picture(path, picture, maker.marks, overwrite=maker.options.overwrite)
        faces.add(face.name)
        pictures += 1
        if progress is not None:
            progress(pictures, total)
    if not pictures:
        name, reason = left_out[0]
        raise NoFaceInSourceError(f"{name}: {reason}; give a picture with a clear face")
    return len(faces), pictures


def _pictures_in(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        found += [p for p in inside if p.is_file() and (not path.is_dir() or is_picture(p))]
    if not found:
        raise InputNotFoundError(f"{paths[0]}: no picture in it; give pictures of faces")
    return found


def _faces_of(paths: Sequence[Path], left_out: list[tuple[str, str]]) -> Iterator[FaceAlone]:
    """The largest face of each picture, aligned; what has none is left out."""
    detector, finder = load_detector(get_args(DetectorName)[0])
    try:
        for path in paths:
            rgb = read_picture(path).rgb
            faces = find_faces(rgb, detector, finder)
            if not faces:
                left_out.append((str(path), "no face found"))
                continue
            affine = face_affine(faces[0].landmarks)
            points = np.asarray(warp_points(affine, faces[0].landmarks), np.float32)
            yield FaceAlone(path.name, align_face(rgb, affine), points)
    finally:
        detector.close()
        finder.close()


def _write_dataset(
    folder: Path, output: Path, maker: _Maker, progress: Progress | None
) -> tuple[int, int]:
    """Write a dataset of the same people; how many faces it was made of, and pictures."""
    records = read_index(folder)
    points, mesh_index = read_landmarks(folder)
    told = _told_of_faces(folder)
    by_file = {record.file: i for i, record in enumerate(records)}
    total = len(records) * maker.options.per_face

    def faces() -> Iterator[FaceAlone]:
        for i, crop in enumerate(iterate_faces(folder, records, CROP_SIZE)):
            yield FaceAlone(records[i].file, crop, whole_meshes(points[i : i + 1], mesh_index)[0])

    with DatasetWriter(output, DATASET_KIND, maker.options.overwrite) as writer:
        for face, index, picture in maker.made(faces()):
            i = by_file[face.name]
            record = records[i]
            yaw, pitch = told[i]
            writer.add(
                AlignedFace(
                    picture,
                    face.landmarks,
                    record.person,
                    f"{record.file}, {index + 1}",
                    record.person,
                    1.0,
                    yaw,
                    pitch,
                )
            )
            if progress is not None:
                progress(writer.n_faces, total)
        # Who is held out there must not be trained on here.
        writer.held_out = {record.person for record in records if record.held_out}
        writer.publish(
            {
                "made_of": {"faces": len(records), "per_face": maker.options.per_face},
                "options": {k: str(v) for k, v in asdict(maker.options).items()},
                "synthetic": True,
                "checkpoint_sha256": maker.sha256,
                "faces_kept": writer.n_faces,
                "people": len(writer.people),
            }
        )
        return len(records), writer.n_faces


def _told_of_faces(folder: Path) -> list[tuple[float, float]]:
    """Yaw and pitch of every face as the index has them, 0 where it has none."""
    with (folder / INDEX_FILE).open(newline="", encoding="utf-8") as lines:
        return [
            (_number(row.get("yaw")), _number(row.get("pitch"))) for row in csv.DictReader(lines)
        ]


def _number(text: str | None) -> float:
    try:
        value = float(text or 0.0)
    except ValueError:
        return 0.0
    return value if abs(value) <= 180.0 else 0.0
