"""Builds a face dataset from photographs and clips: find, judge, align, write."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vidswap.errors import BadOptionError, DatasetError, VidswapError
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.faces.detection import Face, FaceDetector, LandmarkFinder
from vidswap.faces.pose import head_pose
from vidswap.faces.quality import is_sharp
from vidswap.media.picture import read_picture
from vidswap.nets import load_detector
from vidswap.people.embedding import face_size, find_faces, without_bystanders
from vidswap.training.data.face_shards import HELD_OUT_FILE
from vidswap.training.data.material import (
    IDENTITY_RULES,
    IdentityRule,
    Material,
    clip_frames,
    content_digest,
    find_material,
    is_clip,
)
from vidswap.training.data.writer import (
    AlignedFace,
    DatasetWriter,
    SeenCrops,
    check_dataset_output,
    fingerprint,
    stored_side,
)

MAX_PITCH = 40.0  # degrees
SIZE_STEPS = (0, 40, 80, 128, 192, 256, 384, 512, 768)  # pixels, of the report's histogram
ANGLE_STEPS = (-90, -60, -45, -30, -15, 0, 15, 30, 45, 60, 90)  # degrees
EXAMPLES = 5  # names of rejected pictures in the report, for each reason

UNREADABLE, NO_FACE, SEVERAL = "unreadable", "no face", "several faces"
TOO_SMALL, BLURRED, TURNED = "too small", "too blurred", "too far turned"
SAME_FILE, SAME_CROP = "same file as another", "nearly the same crop as another"


@dataclass(frozen=True)
class DatasetOptions:
    """What is taken from the inputs.

    - identity: how people are named; None chooses per input, see `find_material`
    - kind: of the dataset, as its index names it
    - every: seconds between frames of a clip
    - per_clip: frames per clip at most
    - min_face: pixels between a face's farthest landmarks at least
    - max_yaw: degrees at most
    - all_faces: also of pictures of several people, without a name
    - overwrite: replace an existing dataset
    """

    identity: IdentityRule | None = None
    kind: str = "own"
    every: float = 1.0
    per_clip: int = 20
    min_face: float = 80.0
    max_yaw: float = 45.0
    all_faces: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.identity not in (None, *IDENTITY_RULES):
            raise BadOptionError(
                f"identity {self.identity!r} is not known; use {', '.join(IDENTITY_RULES)}"
            )
        if not self.kind or not all(c.isalnum() or c in "-_" for c in self.kind):
            raise BadOptionError(f"kind {self.kind!r}: use letters, digits, - and _ only")
        if not self.every > 0 or self.per_clip < 1:
            raise BadOptionError(
                f"every {self.every} s, at most {self.per_clip} frames per clip: the first must be "
                "above 0, the second at least 1"
            )
        if not self.min_face >= 0 or not 0 < self.max_yaw <= 90:
            raise BadOptionError(
                f"min face {self.min_face}, max yaw {self.max_yaw}: the first must be at least 0 "
                "pixels, the second above 0 and at most 90 degrees"
            )


@dataclass
class _Tally:
    """What happened so far; the report is made of it."""

    files: int = 0
    other_files: int = 0
    clips: int = 0
    pictures: int = 0  # photographs and sampled frames that decoded
    faces_found: int = 0
    sizes: list[float] = field(default_factory=list)
    yaws: list[float] = field(default_factory=list)
    pitches: list[float] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def reject(self, reason: str, name: str) -> None:
        self.rejected[reason] += 1
        names = self.examples.setdefault(reason, [])
        if len(names) < EXAMPLES:
            names.append(name)


def build_dataset(
    inputs: Sequence[Path],
    output: Path,
    options: DatasetOptions = DatasetOptions(),
    quiet: bool = True,
) -> dict[str, Any]:
    """Make the dataset folder `output` from all faces in `inputs`; returns its report.

    Inputs are photographs, clips, and folders of them at any depth. The folder appears when it is
    complete. Raises InputNotFoundError, OutputExistsError, OutputNotWritableError, DiskFullError,
    and DatasetError where no face is left.
    """
    began = time.monotonic()
    output = output.resolve()
    check_dataset_output(output, options.overwrite)
    found = find_material(inputs, output, options.identity)
    tally = _Tally(other_files=found.n_other_files)
    builder = _Builder(*load_detector("blazeface"), options, tally)
    try:
        with DatasetWriter(output, options.kind, options.overwrite) as writer:
            # None: no bar unless a terminal shows it.
            bar = tqdm(
                found.material, unit="file", disable=True if quiet else None, dynamic_ncols=True
            )
            for item in bar:
                for face in builder.faces(item):
                    writer.add(face)
                bar.set_postfix_str(f"{writer.n_faces} faces", refresh=False)
            if not writer.n_faces:
                raise DatasetError(f"no face for {output}: {_nothing_left(tally)}")
            report = _report(tally, writer, found.rules, options, time.monotonic() - began)
            writer.publish(report)
    finally:
        builder.close()
    return report


class _Builder:
    """Turns photographs and clips into aligned faces, one file at a time."""

    def __init__(
        self,
        detector: FaceDetector,
        landmark_finder: LandmarkFinder,
        options: DatasetOptions,
        tally: _Tally,
    ) -> None:
        self.detector, self.landmark_finder = detector, landmark_finder
        self.options, self.tally = options, tally
        self._files: set[bytes] = set()
        self._crops = SeenCrops()

    def close(self) -> None:
        """Free the detector's native graphs."""
        self.detector.close()
        self.landmark_finder.close()

    def faces(self, item: Material) -> Iterator[AlignedFace]:
        """The faces of one file that pass; what does not is counted."""
        tally = self.tally
        tally.files += 1
        try:
            digest = content_digest(item.path)
            if digest in self._files:
                tally.reject(SAME_FILE, item.name)
                return
            self._files.add(digest)
            for name, rgb in self._pictures(item):
                tally.pictures += 1
                yield from self._of_picture(item, name, rgb)
        except (VidswapError, OSError, cv2.error, av.FFmpegError) as error:
            tally.reject(UNREADABLE, f"{item.name}: {' '.join(str(error).split())}")

    def _pictures(self, item: Material) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        if not is_clip(item.path):
            yield item.name, read_picture(item.path).rgb
            return
        frames = clip_frames(item.path, self.options.every, self.options.per_clip)
        for i, (seconds, rgb) in enumerate(frames):
            self.tally.clips += i == 0
            yield f"{item.name} at {seconds:.2f} s", rgb

    def _of_picture(
        self, item: Material, name: str, rgb: NDArray[np.uint8]
    ) -> Iterator[AlignedFace]:
        faces = find_faces(rgb, self.detector, self.landmark_finder)
        self.tally.faces_found += len(faces)
        if not faces:
            self.tally.reject(NO_FACE, name)
            return
        identity = item.identity
        if self.options.all_faces:
            # Which of several people the name belongs to is not known.
            identity = identity if len(faces) == 1 else ""
        elif len(without_bystanders(faces)) > 1:
            self.tally.reject(SEVERAL, name)
            return
        else:
            faces = faces[:1]
        for face in faces:
            aligned = self._judged(face, rgb, name, identity, item.name)
            if aligned is not None:
                yield aligned

    def _judged(
        self, face: Face, rgb: NDArray[np.uint8], name: str, identity: str, group: str
    ) -> AlignedFace | None:
        """The aligned face, or None where it was rejected."""
        pose, size = head_pose(face.landmarks), face_size(face)
        affine = face_affine(face.landmarks)
        crop = align_face(rgb, affine)
        bits = fingerprint(crop)
        flaw = None
        if size < self.options.min_face:
            flaw = TOO_SMALL
        elif abs(pose.yaw) > self.options.max_yaw or abs(pose.pitch) > MAX_PITCH:
            flaw = TURNED
        elif not is_sharp(crop):
            flaw = BLURRED
        elif self._crops.has_copy_of(bits):
            flaw = SAME_CROP
        if flaw is not None:
            self.tally.reject(flaw, name)
            return None
        self._crops.keep(bits)
        self.tally.sizes.append(size)
        self.tally.yaws.append(pose.yaw)
        self.tally.pitches.append(pose.pitch)
        scale = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
        if stored_side(scale) != crop.shape[0]:
            crop = align_face(rgb, affine, stored_side(scale))
        landmarks = warp_points(affine, face.landmarks)
        return AlignedFace(crop, landmarks, identity, name, group, scale, pose.yaw, pose.pitch)


def _report(
    tally: _Tally,
    writer: DatasetWriter,
    rules: dict[str, str],
    options: DatasetOptions,
    seconds: float,
) -> dict[str, Any]:
    faces_of_held_out = sum(writer.people[name] for name in writer.held_out)
    return {
        "identity_rule_of_inputs": rules,
        "options": asdict(options),
        "files": tally.files,
        "files_of_other_kinds": tally.other_files,
        "clips": tally.clips,
        "pictures_read": tally.pictures,
        "faces_found": tally.faces_found,
        "faces_kept": writer.n_faces,
        "people": len(writer.people),
        "people_with_several_faces": sum(1 for n in writer.people.values() if n > 1),
        "held_out": {"people": len(writer.held_out), "faces": faces_of_held_out},
        "rejected": dict(tally.rejected.most_common()),
        "rejected_examples": tally.examples,
        "face_size_pixels": _histogram(tally.sizes, SIZE_STEPS),
        "yaw_degrees": _histogram(tally.yaws, ANGLE_STEPS),
        "pitch_degrees": _histogram(tally.pitches, ANGLE_STEPS),
        "seconds": round(seconds, 1),
    }


def _histogram(values: list[float], steps: tuple[int, ...]) -> dict[str, int]:
    """How many values lie from each step up to the next, the last without end."""
    ends = (*steps[1:], None)
    counts = np.bincount(np.searchsorted(steps, values, side="right") - 1, minlength=len(steps))
    return {
        (f"{low} to {high}" if high is not None else f"{low} and above"): int(n)
        for low, high, n in zip(steps, ends, counts, strict=True)
        if n
    }


def _nothing_left(tally: _Tally) -> str:
    reasons = ", ".join(f"{n} {reason}" for reason, n in tally.rejected.most_common())
    return (
        f"{tally.files} file(s) read, all rejected ({reasons}); give other pictures, or see "
        "--min-face, --max-yaw and --all-faces"
    )


def describe_report(report: dict[str, Any], output: Path) -> str:
    """The report in words, for the terminal."""
    held_out = report["held_out"]
    lines = [
        f"{output}: faces kept {report['faces_kept']}, people {report['people']}, pictures read "
        f"{report['pictures_read']}, files {report['files']}, {report['seconds']:.1f} s",
        f"held out: people {held_out['people']}, faces {held_out['faces']} ({HELD_OUT_FILE})",
    ]
    if report["rejected"]:
        lines.append(
            "rejected: " + ", ".join(f"{n} {why}" for why, n in report["rejected"].items())
        )
    for key, title in (
        ("face_size_pixels", "face size, pixels"),
        ("yaw_degrees", "yaw, degrees"),
        ("pitch_degrees", "pitch, degrees"),
    ):
        counts = ", ".join(f"{step}: {n}" for step, n in report[key].items())
        lines.append(f"{title}: {counts}")
    if not held_out["people"]:
        lines.append("nobody is held out: with so few people none falls into that share")
    return "\n".join(lines)
