"""Makes an identity file of photographs and clips, and tells what is in one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.blending.reference import MOST_SHOTS
from vidswap.choices import DEFAULT_K_SHOT, DetectorName
from vidswap.digest import file_sha256
from vidswap.errors import BadOptionError, InputNotFoundError
from vidswap.faces.quality import sharpness
from vidswap.identity.encoder import IdEmbedding
from vidswap.media.output import check_output
from vidswap.media.picture import write_picture
from vidswap.people.identity_file import (
    LONGEST_CONSENT,
    SUFFIX,
    IdentityFile,
    is_identity_file,
    read_identity_file,
    write_identity_file,
)
from vidswap.people.source import SourceReader
from vidswap.runtime.inputs import read_bounded
from vidswap.runtime.text import escaped, first_lines, shown, word

_TILE = 160  # pixels of a contact sheet
_COLUMNS = 6
_LABEL = 34  # pixels below a tile


def make_identity(
    sources: Sequence[Path],
    output: Path,
    *,
    k_shot: int = DEFAULT_K_SHOT,
    choose: str | Path | None = None,
    detector: DetectorName = "blazeface",
    pictures: bool = True,
    consent: str = "",
    overwrite: bool = False,
) -> IdentityFile:
    """Write the identity file of the person in `sources`, as `SourceReader.read` takes them.

    consent: a text, or the name of a file with one. Raises a VidswapError for all that a caller
    can mend; then nothing is written.
    """
    if output.suffix.lower() != SUFFIX:
        raise BadOptionError(f"{output}: an identity file's name ends in {SUFFIX}")
    check_output(output, overwrite)
    given = consent_text(consent)
    if known := next((s for s in sources if is_identity_file(s)), None):
        raise BadOptionError(f"{known} is an identity file already; give photographs and clips")
    with closing(SourceReader.load(detector)) as reader:
        chosen = reader.choose_shots(
            sources, k_shot, choose, MOST_SHOTS, leave_out_covered=True
        )  # fmt: skip
    names = {shot.name for shot in (*chosen.used, *chosen.shown)}
    write_identity_file(output, chosen, _hashes(sources, names), pictures=pictures, consent=given)
    return read_identity_file(output)


def consent_text(given: str) -> str:
    """The text of --consent, out of the file where it names one. Raises BadOptionError."""
    text, path = given.strip(), Path(given)
    try:
        is_file = bool(text) and len(text) < 1000 and path.is_file()
    except (OSError, ValueError):
        is_file = False
    if is_file:
        try:
            text = read_bounded(path, 4 * LONGEST_CONSENT).decode().strip()
        except (ValueError, OSError):  # a scan or a PDF is named, not copied
            text = f"{path.name}, SHA-256 {file_sha256(path)}"
    if len(text) > LONGEST_CONSENT:
        raise BadOptionError(
            f"--consent: {len(text)} characters; at most {LONGEST_CONSENT} are kept; give a "
            "shorter text, or a file that is no text, whose name and hash are then recorded"
        )
    return text


def describe_identity(path: Path) -> dict[str, Any]:
    """What an identity file holds, as plain values. Raises IdentityFileError."""
    file = read_identity_file(path)
    return {
        "path": str(path),
        "kind": "identity",
        "made_with": file.version,
        "identity_net": file.identity_net,
        "consent": file.consent or None,
        "used": [
            {"name": s.name, "sha256": s.sha256, "yaw": s.pose[0], "pitch": s.pose[1],
             "roll": s.pose[2]}
            for s in file.used
        ],
        "left_out": [list(pair) for pair in file.left_out],
        "pictures": len(file.shots),
        "spread": round(_spread(file), 3),
    }  # fmt: skip


def identity_as_text(facts: dict[str, Any]) -> str:
    """`describe_identity`'s facts for people to read."""
    kept = f"{facts['pictures']} with pictures" if facts["pictures"] else "no pictures"
    yaws = [shot["yaw"] for shot in facts["used"]]
    lines = [
        f"{escaped(facts['path'])}: identity of {len(facts['used'])} shot(s), {kept}, yaw "
        f"{round(min(yaws))} to {round(max(yaws))} degrees",
        f"  made with vidswap {word(facts['made_with'])}, net {word(facts['identity_net'])}",
        f"  mean distance of the shots from their mean: {facts['spread']:.2f}",
        f"  consent: {shown(facts['consent'], 500) if facts['consent'] else 'none recorded'}",
    ]
    lines += first_lines(
        f"  used {shown(s['name'])}: yaw {round(s['yaw'])}, pitch {round(s['pitch'])} degrees"
        for s in facts["used"]
    )
    lines += first_lines(f"  left out {shown(n)}: {shown(why)}" for n, why in facts["left_out"])
    return "\n".join(lines)


def write_contact_sheet(path: Path, output: Path, overwrite: bool = False) -> int:
    """Write the pictures of an identity file side by side as PNG; gives how many there are.

    Raises IdentityFileError, BadOptionError where it holds none, and what `check_output` raises.
    """
    file = read_identity_file(path)
    if not file.shots:
        raise BadOptionError(f"{path} holds no pictures; there is nothing to show")
    check_output(output, overwrite)
    columns = min(_COLUMNS, len(file.shots))
    rows = -(-len(file.shots) // columns)
    sheet = np.full((rows * (_TILE + _LABEL), columns * _TILE, 3), 24, np.uint8)
    for n, shot in enumerate(file.shots):
        assert shot.known is not None
        tile = cv2.resize(shot.crop, (_TILE, _TILE), interpolation=cv2.INTER_AREA)
        yaw, pitch = shot.known.measured.pose
        words = (
            f"{n + 1}: yaw {round(yaw)}, pitch {round(pitch)}",
            f"sharpness {sharpness(shot.crop):.2f}",
        )
        top, left = n // columns * (_TILE + _LABEL), n % columns * _TILE
        sheet[top : top + _TILE, left : left + _TILE] = tile
        _print(sheet, words, (left + 4, top + _TILE + 13))
    write_picture(output, sheet, overwrite=overwrite)
    return len(file.shots)


def _print(sheet: NDArray[np.uint8], lines: Sequence[str], at: tuple[int, int]) -> None:
    for n, line in enumerate(lines):
        place = (at[0], at[1] + 15 * n)
        cv2.putText(
            sheet, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (230, 230, 230), 1, cv2.LINE_AA
        )


def _spread(file: IdentityFile) -> float:
    """Mean distance of the shots' embeddings from their mean."""
    mean = file.mean.embedding.numpy()
    own = IdEmbedding.from_rows(torch.from_numpy(file.rows.copy())).embedding.numpy()
    return float(np.linalg.norm(own - mean, axis=1).mean())


def _hashes(sources: Sequence[Path], names: set[str]) -> dict[str, str]:
    """SHA-256 of the files that shots are of, by the shots' names."""
    files: dict[str, Path] = {}
    for source in sources:
        inside = sorted(p for p in source.iterdir() if p.is_file()) if source.is_dir() else [source]
        files |= {path.name: path for path in inside}
    known: dict[str, str] = {}
    found: dict[Path, str] = {}
    for name in names:
        path = files.get(name) or files.get(name.rsplit(" at ", 1)[0])
        if path is None:
            raise InputNotFoundError(f"{shown(name)}: its file is gone; do not change the sources")
        found.setdefault(path, "")
        found[path] = found[path] or file_sha256(path)
        known[name] = found[path]
    return known
