"""Carrying a training run between machines: its weights in parts, and all that a run needs.

A machine with a GPU may be far away, lent for minutes, and take only small files. `pack_training`
makes folders under a size limit from which `vidswap train apgan` runs without anything installed
but torch, numpy, OpenCV and safetensors; `export_state` and `import_state` bring the weights home.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from vidswap.errors import BadOptionError, CheckpointError, InputNotFoundError
from vidswap.training.data.face_shards import EXCLUDE_FILE, INDEX_FILE, LANDMARKS_FILE, read_index
from vidswap.training.records import STATE_FILE, read_state, write_state

MIB = 2**20
PART_MIB, PACK_MIB = 15.0, 60.0
MANIFEST_FILE = "parts.json"
_NETS = ("generator", "average", "discriminator")
# What the commands import beyond the four; all are pure Python.
_PACKAGES = ("click", "tqdm")
_SECOND_ENCODER_PACKAGES = ("tflite", "flatbuffers")


def export_state(run: Path, output: Path, part_mib: float = PART_MIB) -> list[Path]:
    """Write the nets of a run as fp16, in parts of at most `part_mib`, with a manifest.

    The optimisers' moments stay behind: they are twice as large, and grow again in minutes.
    """
    if not (run / STATE_FILE).is_file():
        raise InputNotFoundError(f"{run / STATE_FILE}: no such file; give a training run's folder")
    state = read_state(run / STATE_FILE)
    tensors = {
        f"{net}/{name}": tensor.half() if tensor.is_floating_point() else tensor
        for net in _NETS
        for name, tensor in state[net].items()
    }
    content = to_bytes({name: tensor.contiguous() for name, tensor in tensors.items()})
    output.mkdir(parents=True, exist_ok=True)
    size = int(part_mib * MIB)
    paths = []
    for start in range(0, len(content), size):
        paths.append(output / f"weights-{start // size:02d}.part")
        paths[-1].write_bytes(content[start : start + size])
    manifest = {
        "images": state["images"],
        "steps": state["steps"],
        "parts": [path.name for path in paths],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (output / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1))
    return paths


def import_state(parts: Path, run: Path) -> int:
    """Make exported parts the state of a run; returns the images it has seen.

    Raises CheckpointError when a part is missing or damaged; the run's own state is then kept.
    """
    try:
        manifest = json.loads((parts / MANIFEST_FILE).read_text())
        content = b"".join((parts / name).read_bytes() for name in manifest["parts"])
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{parts}: no complete export of a training run ({error}); fetch all its files again"
        ) from error
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise CheckpointError(f"{parts}: the parts are damaged; fetch them again")
    state: dict[str, Any] = {net: {} for net in _NETS}
    for name, tensor in from_bytes(content).items():
        net, key = name.split("/", 1)
        state[net][key] = _as_trained(tensor)
    state |= {"images": int(manifest["images"]), "steps": int(manifest["steps"])}
    run.mkdir(parents=True, exist_ok=True)
    write_state(state, run / STATE_FILE)
    return int(manifest["images"])


def _as_trained(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def pack_training(
    faces: Path, run: Path, second_encoder: Path | None, output: Path, pack_mib: float = PACK_MIB
) -> list[Path]:
    """Copy what a run needs into folders `pack-00`, ... of at most `pack_mib` each.

    Raises BadOptionError when one file alone is larger.
    """
    weights = output / "weights"
    export_state(run, weights)
    wanted = list(_files_to_pack(faces, run, second_encoder, weights))
    packs: list[Path] = []
    room = 0.0
    for source, name in wanted:
        size = source.stat().st_size / MIB
        if size > pack_mib:
            raise BadOptionError(
                f"{source}: {size:.0f} MiB do not fit a pack of {pack_mib:g}; raise --pack-mib"
            )
        if size > room:
            packs.append(output / f"pack-{len(packs):02d}")
            room = pack_mib
        room -= size
        copy = packs[-1] / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
    shutil.rmtree(weights)
    return packs


def _files_to_pack(
    faces: Path, run: Path, second_encoder: Path | None, weights: Path
) -> Iterator[tuple[Path, Path]]:
    """Files and where in a pack they go; what every later pack needs comes first."""
    yield from ((path, Path("weights") / path.name) for path in sorted(weights.iterdir()))
    yield run / "config.json", Path("config.json")
    if second_encoder is not None:
        yield second_encoder, Path("second-encoder.tflite")
    for package in _PACKAGES + (_SECOND_ENCODER_PACKAGES if second_encoder is not None else ()):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise InputNotFoundError(
                f"{package}: not installed, and a run elsewhere needs it; "
                "pip install 'vidswap[training]'"
            )
        root = Path(spec.submodule_search_locations[0])
        for path in sorted(root.rglob("*")):
            if path.is_file() and _is_needed(path):
                yield path, Path("site") / package / path.relative_to(root)
    for name in (INDEX_FILE, LANDMARKS_FILE):
        yield faces / name, Path("faces") / name
    if (faces / EXCLUDE_FILE).is_file():
        yield faces / EXCLUDE_FILE, Path("faces") / EXCLUDE_FILE
    for shard in sorted({record.shard for record in read_index(faces)}):
        yield faces / shard, Path("faces") / shard


def _is_needed(path: Path) -> bool:
    return "__pycache__" not in path.parts  # bytecode is made again
