"""Identity files (.vsid): a person's id embedding and reference shots, made once, used as a source.

A safetensors file with one JSON text as metadata. It is data from strangers: its size, its header,
every shape and every value are checked before anything is built from it, and it holds no code.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from vidswap.blending.detail import FINE
from vidswap.blending.reference import MOST_SHOTS, ReferenceShot, with_mirrored
from vidswap.blending.warping import SIZE, FaceCrop
from vidswap.errors import IdentityFileError
from vidswap.faces.detection import Face
from vidswap.faces.mesh import N_LANDMARKS
from vidswap.faces.pose import head_pose
from vidswap.identity.encoder import ID_WIDTH, IDENTITY_NET, IdEmbedding, IdentityEncoder
from vidswap.media.output import temporary_path, write_private
from vidswap.people.embedding import as_array, embed_crops
from vidswap.people.source import ChosenShots, KnownShot, SourceIdentity, SourceShot
from vidswap.runtime.inputs import check_readable
from vidswap.runtime.text import shown, word
from vidswap.version import __version__

if TYPE_CHECKING:
    from vidswap.people.filled_source import Fill

SUFFIX = ".vsid"
FORMAT = 1
_KEY = "vidswap-identity"  # of the only metadata
_LARGEST = 64 * 2**20  # bytes
_LARGEST_HEADER = 2**20  # bytes
_MOST_ROWS = 1024  # shots whose embeddings are kept
_MOST_LEFT_OUT = 1024
_LONGEST_NAME, LONGEST_CONSENT = 300, 8000  # characters
_MAP = 128  # side of a visibility map
_REACH = 4 * SIZE  # pixels by which a point of a mesh may lie beyond its crop
_DTYPES = {"float32": "F32", "float64": "F64", "uint8": "U8"}

_NOTHING_FINER = np.zeros((FINE, FINE), np.uint8)  # where a picture shows no more than the crop

Array = NDArray[Any]


@dataclass(frozen=True)
class UsedShot:
    """A shot in the mean: its name, the SHA-256 of its file, yaw, pitch and roll in degrees."""

    name: str
    sha256: str
    pose: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class IdentityFile:
    """A person as kept in a file.

    mean: a batch of one; rows: of the shots in it, (N, `ID_WIDTH`) float32. shots: at most
    `MOST_SHOTS` with their pictures, none where the file holds embeddings alone. consent: as given
    when it was made, empty where none was.
    """

    path: Path
    mean: IdEmbedding
    rows: NDArray[np.float32]
    used: tuple[UsedShot, ...]
    left_out: tuple[tuple[str, str], ...]
    shots: tuple[SourceShot, ...]
    photograph: FaceCrop | None
    consent: str = ""
    identity_net: str = IDENTITY_NET
    version: str = __version__
    notes: tuple[str, ...] = field(default=())

    def source(self, fill: Fill | None = None) -> SourceIdentity:
        """The person as a source of swaps: the same as the photographs give."""
        measured: Sequence[ReferenceShot]
        measured = [shot.known.measured for shot in self.shots if shot.known is not None]
        if fill is not None and measured:
            measured = fill(measured, self.mean)
        return SourceIdentity(
            self.mean,
            tuple(f"{self.path.name}: {shot.name}" for shot in self.used),
            self.left_out,
            tuple(shot.crop for shot in self.shots),
            self.photograph,
            with_mirrored(measured),
            (self.consent,) if self.consent else (),
        )


def is_identity_file(path: Path) -> bool:
    """Whether a path is to be read as an identity file: by its name."""
    return path.suffix.lower() == SUFFIX and not path.is_dir()


def write_identity_file(
    path: Path,
    chosen: ChosenShots,
    files: Mapping[str, str],
    *,
    pictures: bool = True,
    consent: str = "",
) -> None:
    """Write a person's shots; the file appears only when complete, for its owner alone.

    files: SHA-256 of the photographs and clips by the names of the shots. pictures: keep the
    reference shots; without them the file holds embeddings alone. consent: at most
    `LONGEST_CONSENT` characters. Raises DiskFullError and OutputNotWritableError.
    """
    used = chosen.used[:_MOST_ROWS]
    tensors: dict[str, Array] = {
        "mean": _rows([chosen.identity]),
        "rows": _rows([shot.identity for shot in used]),
    }
    about: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "identity_net": IDENTITY_NET,
        "used": [
            {"name": shot.name[:_LONGEST_NAME], "sha256": files.get(shot.name, ""),
             "pose": [round(angle, 2) for angle in _pose(shot)]}
            for shot in used
        ],
        "left_out": [
            [name[:_LONGEST_NAME], why[:_LONGEST_NAME]]
            for name, why in chosen.left_out[:_MOST_LEFT_OUT]
        ],
        "consent": consent[:LONGEST_CONSENT],
        "pictures": [],
    }  # fmt: skip
    if pictures:
        about["pictures"] = [shot.name[:_LONGEST_NAME] for shot in chosen.shown]
        tensors |= _picture_tensors(chosen)
    content = to_bytes(tensors, {_KEY: json.dumps(about)})
    write_private(path, content, temporary_path(path))


def read_identity_file(path: Path, encoder: IdentityEncoder | None = None) -> IdentityFile:
    """Read and check an identity file.

    encoder: embeds the shots again where another net than today's has made the embeddings.
    Raises InputNotFoundError, and IdentityFileError in one line for whatever is wrong with it.
    """
    check_readable(path, hint="; make it with vidswap identity")
    about, tensors = _read(path)
    used = _used(path, about)
    net, version = str(about["identity_net"]), str(about["version"])
    n_pictures = len(about["pictures"])
    _check_tensors(path, tensors, len(used), n_pictures)
    rows, mean = tensors["rows"], torch.from_numpy(tensors["mean"].copy())
    shot_rows = tensors.get("picture_rows")
    notes: tuple[str, ...] = ()
    if net != IDENTITY_NET:
        if not n_pictures or encoder is None:
            raise IdentityFileError(
                f"{path}: its embeddings are those of the net {shown(net)}, not of "
                f"{IDENTITY_NET}, and it holds no pictures to embed again; make it anew from "
                "the photographs"
            )
        rows = shot_rows = np.concatenate(
            [embed_crops(encoder, [crop]).rows().cpu().numpy() for crop in tensors["crops"]]
        )
        mean = torch.from_numpy(rows.mean(axis=0, keepdims=True))
        notes = (f"embedded again: it was made with {shown(net)}",)
    shots = _shots(path, about["pictures"], tensors, shot_rows) if n_pictures else ()
    photograph = None
    if n_pictures:
        photograph = FaceCrop(
            tensors["neutral"], tensors["neutral_landmarks"], tensors["neutral_visibility"]
        )
    return IdentityFile(
        path, IdEmbedding.from_rows(mean), rows, used, _left_out(path, about), shots, photograph,
        str(about["consent"]), IDENTITY_NET, version, notes,
    )  # fmt: skip


def _rows(identities: Sequence[IdEmbedding]) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = torch.cat([i.rows() for i in identities]).float().cpu().numpy()
    return rows


def _pose(shot: SourceShot) -> tuple[float, float, float]:
    pose = head_pose(shot.face.landmarks)
    return pose.yaw, pose.pitch, pose.roll


def _picture_tensors(chosen: ChosenShots) -> dict[str, Array]:
    """The shown shots as they are measured, and the most neutral one as it was seen."""
    measured, neutral = chosen.measured, chosen.neutral
    views = [one.shot for one in measured]
    numbers = [
        [*one.pose, one.mouth, one.flaws, one.clarity, covered]
        for one, covered in zip(measured, chosen.covered, strict=True)
    ]
    return {
        "crops": np.stack([view.crop for view in views]),
        "fine": np.stack([_NOTHING_FINER if view.fine is None else view.fine for view in views]),
        "landmarks": np.stack([view.landmarks for view in views]).astype(np.float32),
        "visibility": np.stack([_visibility(view) for view in views]),
        "measures": np.array(numbers, np.float64),
        "picture_rows": _rows([shot.identity for shot in chosen.shown]),
        "neutral": neutral.crop,
        "neutral_landmarks": neutral.landmarks.astype(np.float32),
        "neutral_visibility": _visibility(neutral),
    }


def _visibility(view: FaceCrop) -> NDArray[np.float32]:
    if view.visibility is None:
        return np.ones((_MAP, _MAP), np.float32)
    return np.asarray(view.visibility, np.float32)


def _expected(n_rows: int, n_pictures: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every tensor."""
    expected: dict[str, tuple[str, tuple[int, ...]]] = {
        "mean": ("float32", (1, ID_WIDTH)), "rows": ("float32", (n_rows, ID_WIDTH)),
    }  # fmt: skip
    if n_pictures:
        expected |= {
            "crops": ("uint8", (n_pictures, SIZE, SIZE, 3)),
            "fine": ("uint8", (n_pictures, FINE, FINE)),
            "landmarks": ("float32", (n_pictures, N_LANDMARKS, 2)),
            "visibility": ("float32", (n_pictures, _MAP, _MAP)),
            "measures": ("float64", (n_pictures, 6)),
            "picture_rows": ("float32", (n_pictures, ID_WIDTH)),
            "neutral": ("uint8", (SIZE, SIZE, 3)),
            "neutral_landmarks": ("float32", (N_LANDMARKS, 2)),
            "neutral_visibility": ("float32", (_MAP, _MAP)),
        }
    return expected


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """What the file says of itself, with all keys and of bounded length, and its tensors."""
    size = path.stat().st_size
    if size > _LARGEST:
        raise IdentityFileError(
            f"{path}: {size} bytes; an identity file has at most {_LARGEST}, so this is none"
        )
    try:
        with path.open("rb") as file:
            head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
            raise IdentityFileError(
                f"{path}: not an identity file (its header would have {length} bytes); "
                "make one with vidswap identity"
            )
        with safe_open(path, framework="np") as tensors:
            metadata = tensors.metadata() or {}
            expected = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
            about = _about(path, metadata)
            _check_shapes(path, about, {
                name: (str(part.get_dtype()), tuple(part.get_shape()))
                for name, part in expected.items()
            })  # fmt: skip
            return about, {name: tensors.get_tensor(name) for name in expected}
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise IdentityFileError(f"{path}: not an identity file ({shown(error)})") from error


def _about(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if _KEY not in metadata:
        raise IdentityFileError(
            f"{path}: a safetensors file, but no identity; make one with vidswap identity"
        )
    about = json.loads(metadata[_KEY])
    if not isinstance(about, dict):
        raise IdentityFileError(f"{path}: its description is not an object; it is damaged")
    version = about.get("format")
    if type(version) is not int or version != FORMAT:
        raise IdentityFileError(
            f"{path}: an identity file of format {shown(version)}; this version reads format "
            f"{FORMAT}; make it anew from the photographs"
        )
    kinds = {"version": str, "identity_net": str, "consent": str, "used": list, "left_out": list,
             "pictures": list}  # fmt: skip
    for name, kind in kinds.items():
        if not isinstance(about.get(name), kind):
            state = "is missing" if name not in about else "is of the wrong kind"
            raise IdentityFileError(f"{path}: {name} {state}; the file is damaged")
    texts = [about["version"], about["identity_net"], *about["pictures"]]
    counts = len(about["used"]), len(about["pictures"]), len(about["left_out"])
    if (
        not all(isinstance(text, str) and len(text) <= _LONGEST_NAME for text in texts)
        or len(about["consent"]) > LONGEST_CONSENT
        or not (1 <= counts[0] <= _MOST_ROWS and counts[1] <= MOST_SHOTS)
        or counts[2] > _MOST_LEFT_OUT
    ):
        raise IdentityFileError(f"{path}: names or counts out of bounds; the file is damaged")
    return about


def _check_shapes(
    path: Path, about: Mapping[str, Any], found: Mapping[str, tuple[str, tuple[int, ...]]]
) -> None:
    """Before any tensor is read."""
    expected = _expected(len(about["used"]), len(about["pictures"]))
    if set(found) != set(expected):
        odd = sorted(set(found) ^ set(expected))[0]
        state = "missing" if odd in expected else "not one of its parts"
        raise IdentityFileError(f"{path}: tensor {word(odd)} is {state}; the file is damaged")
    for name, (dtype, shape) in expected.items():
        if found[name] != (_DTYPES[dtype], shape):
            raise IdentityFileError(
                f"{path}: tensor {name} is {word(found[name][0])} of shape "
                f"{list(found[name][1])}, not {_DTYPES[dtype]} of {list(shape)}"
            )


def _check_tensors(path: Path, tensors: Mapping[str, Array], n_rows: int, n_pictures: int) -> None:
    """Values: finite, and within what they stand for."""
    for name, tensor in tensors.items():
        if tensor.dtype != np.uint8 and not np.isfinite(tensor).all():
            raise IdentityFileError(
                f"{path}: tensor {name} has values that are not finite; the file is damaged"
            )
    bounds = {"landmarks": (-_REACH, SIZE + _REACH), "neutral_landmarks": (-_REACH, SIZE + _REACH),
              "visibility": (0.0, 1.0), "neutral_visibility": (0.0, 1.0),
              "measures": (-180.0, 1e4), "mean": (-1e4, 1e4), "rows": (-1e4, 1e4),
              "picture_rows": (-1e4, 1e4)}  # fmt: skip
    for name, (least, most) in bounds.items():
        if name in tensors and (tensors[name].min() < least or tensors[name].max() > most):
            raise IdentityFileError(
                f"{path}: tensor {name} has values beyond {least:g} to {most:g}; "
                "the file is damaged"
            )
    for name in ("landmarks", "neutral_landmarks"):
        if name in tensors and np.ptp(tensors[name].reshape(-1, N_LANDMARKS, 2), axis=1).min() < 8:
            raise IdentityFileError(f"{path}: tensor {name} holds no face; the file is damaged")


def _used(path: Path, about: Mapping[str, Any]) -> tuple[UsedShot, ...]:
    used = []
    for shot in about["used"]:
        name, sha256, pose = (
            (shot.get(key) for key in ("name", "sha256", "pose"))
            if isinstance(shot, dict)
            else (None, None, None)
        )
        sound = (
            isinstance(name, str) and len(name) <= _LONGEST_NAME
            and isinstance(sha256, str) and len(sha256) <= 64
            and isinstance(pose, list) and len(pose) == 3
            and all(type(angle) in (int, float) and abs(angle) <= 360 for angle in pose)
        )  # fmt: skip
        if not sound:
            raise IdentityFileError(f"{path}: a used shot is not described; the file is damaged")
        assert isinstance(name, str) and isinstance(sha256, str) and isinstance(pose, list)
        yaw, pitch, roll = (float(angle) for angle in pose)
        used.append(UsedShot(name, sha256, (yaw, pitch, roll)))
    return tuple(used)


def _left_out(path: Path, about: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for pair in about["left_out"]:
        texts = isinstance(pair, list) and [text for text in pair if isinstance(text, str)]
        if not texts or len(texts) != 2 or max(map(len, texts)) > _LONGEST_NAME:
            raise IdentityFileError(f"{path}: a shot left out has no reason; the file is damaged")
        pairs.append((texts[0], texts[1]))
    return tuple(pairs)


def _shots(
    path: Path, names: Sequence[str], tensors: Mapping[str, Array], rows: Array | None
) -> tuple[SourceShot, ...]:
    assert rows is not None
    shots = []
    for i, name in enumerate(names):
        yaw, pitch, mouth, flaws, clarity, covered = (float(n) for n in tensors["measures"][i])
        crop, landmarks = tensors["crops"][i], tensors["landmarks"][i]
        fine = tensors["fine"][i]
        view = FaceCrop(crop, landmarks, tensors["visibility"][i], fine if fine.any() else None)
        measured = ReferenceShot(view, (yaw, pitch), mouth, flaws, min(max(clarity, 0.0), 1.0))
        identity = IdEmbedding.from_rows(torch.from_numpy(rows[i : i + 1].copy()))
        shots.append(
            SourceShot(
                f"{path.name}: {name}", Face(landmarks, None, 1.0), crop, as_array(identity),
                identity, None, known=KnownShot(measured, covered),
            )
        )  # fmt: skip
    return tuple(shots)
