"""Check the installation and suggest fixes.

Each check does its own imports, so that one broken part hides no other.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from vidswap.runtime.text import shown

State = Literal["ok", "note", "broken"]

PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
MIN_MEMORY_GIB, MIN_DISK_GIB = 2.0, 1.0
_GIB = 2**30
# The dependencies of pyproject.toml, and what an extra adds: its purpose and how to get it.
NEEDED = (
    "av", "c2pa-python", "click", "cryptography", "ffmpeg-python", "imageio-ffmpeg", "jinja2",
    "numba", "numpy", "opencv-python", "pillow", "psutil", "safetensors", "scipy", "torch",
    "tifffile", "tomlkit", "tqdm",
)  # fmt: skip
# Other builds of OpenCV that will do.
_OPENCV = ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
OPTIONAL = {
    "face-alignment": ("--detector face-alignment", "pip install 'vidswap[face-alignment]'"),
    "pillow-heif": ("reading HEIC pictures", "pip install 'vidswap[heic]'"),
    "tflite": ("train --second-encoder", "pip install 'vidswap[training]'"),
}
_REINSTALL = "install vidswap and its packages again: pip install --force-reinstall ."


@dataclass(frozen=True)
class Finding:
    """One check. state: "ok", "note" (works without it) or "broken". fix: what to do, or ""."""

    name: str
    state: State
    found: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


Check = Callable[[], Iterator[Finding]]


def examine(checks: Sequence[tuple[str, Check]] | None = None) -> list[Finding]:
    """Run all checks, in order; a check that raises is a broken finding."""
    findings: list[Finding] = []
    for name, check in checks if checks is not None else CHECKS:
        try:
            findings += check()
        except Exception as error:  # whatever a broken installation raises is a finding
            words = " ".join(f"{type(error).__name__}: {error}".split())
            library = isinstance(error, ImportError) and ".so" in words
            fix = "see the system libraries above" if library else _REINSTALL
            findings.append(Finding(name, "broken", words, fix))
    return findings


def is_broken(findings: Sequence[Finding]) -> bool:
    """Whether anything that a swap needs is broken."""
    return any(finding.state == "broken" for finding in findings)


def findings_as_text(findings: Sequence[Finding]) -> str:
    """One line per finding, with its fix at the end."""
    width = max((len(finding.name) for finding in findings), default=0)
    lines = []
    for finding in findings:
        fix = f"; {finding.fix}" if finding.fix else ""
        lines.append(f"{finding.state:<6}  {finding.name:<{width}}  {finding.found}{fix}")
    broken = sum(finding.state == "broken" for finding in findings)
    lines.append(f"{broken} broken" if broken else "everything a swap needs is installed")
    return "\n".join(lines)


def check_python() -> Iterator[Finding]:
    """The interpreter's version."""
    fits = sys.version_info[:2] in PYTHONS
    fix = "" if fits else "make an environment with Python 3.11 to 3.14"
    yield Finding("python", "ok" if fits else "broken", platform.python_version(), fix)


def check_system() -> Iterator[Finding]:
    """The shared libraries that OpenCV loads."""
    from vidswap.errors import MissingLibraryError
    from vidswap.faces.system_libraries import check_system_libraries

    try:
        check_system_libraries()
    except MissingLibraryError as error:
        found, _, fix = str(error).partition("; ")
        yield Finding("system libraries", "broken", found, fix)
    else:
        yield Finding("system libraries", "ok", "OpenCV loads")


def check_packages(
    needed: Sequence[str] = NEEDED, optional: dict[str, tuple[str, str]] | None = None
) -> Iterator[Finding]:
    """Python packages, by their installed distributions; none is imported."""
    missing = [name for name in needed if not _is_installed(name)]
    if missing:
        found = f"not installed: {', '.join(missing)}"
        yield Finding("packages", "broken", found, f"pip install {' '.join(missing)}")
    else:
        yield Finding("packages", "ok", f"all {len(needed)} needed are installed")
    for name, (purpose, fix) in (OPTIONAL if optional is None else optional).items():
        version = _version(name)
        if version is None:
            yield Finding(name, "note", f"not installed; only {purpose} needs it", fix)
        else:
            yield Finding(name, "ok", f"{version}, for {purpose}")


def check_ffmpeg() -> Iterator[Finding]:
    """The ffmpeg program, started once for its version."""
    from vidswap.media.ffmpeg import ffmpeg_executable

    fix = "apt-get install ffmpeg, or pip install --force-reinstall imageio-ffmpeg"
    try:
        program = ffmpeg_executable()
        run = [program, "-hide_banner", "-version"]
        answer = subprocess.run(run, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        yield Finding("ffmpeg", "broken", f"does not start ({' '.join(str(error).split())})", fix)
    else:
        version = answer.stdout.split(" Copyright")[0].removeprefix("ffmpeg version ").strip()
        yield Finding("ffmpeg", "ok", f"{version}, {program}")


def check_codecs() -> Iterator[Finding]:
    """The ffmpeg libraries inside PyAV, and the encoders of every codec on offer."""
    import av

    from vidswap.media.codecs import CODECS, working_hardware_codecs

    versions = ".".join(map(str, av.library_versions["libavcodec"]))
    yield Finding("PyAV", "ok", f"{av.__version__}, libavcodec {versions}")
    missing = [name for name, codec in CODECS.items() if not has_encoder(codec.encoder)]
    present = [name for name in CODECS if name not in missing]
    fix = "pip install --force-reinstall av==18.1.0"
    if missing:
        # Without the default of most containers a plain run fails.
        state: State = "broken" if "h264" in missing else "note"
        yield Finding("encoders", state, f"missing: {', '.join(missing)}", fix)
    if present:
        yield Finding("encoders", "ok", ", ".join(present))
    yield Finding("hardware encoders", "ok", ", ".join(working_hardware_codecs()) or "none here")


def check_decoders() -> Iterator[Finding]:
    """The devices that can decode a clip, by opening each once."""
    from vidswap.media.hardware import decoding_kinds, device_complaint

    complaints = {kind: device_complaint(kind) for kind in decoding_kinds()}
    working = [kind for kind, complaint in complaints.items() if complaint is None]
    if working:
        yield Finding("hardware decoders", "ok", ", ".join(working))
        return
    why = ", ".join(f"{kind}: {complaint}" for kind, complaint in complaints.items())
    fix = "only needed for --hwaccel: install the driver of such a device"
    yield Finding("hardware decoders", "ok", f"none here ({why or 'PyAV has none'})", fix)


def check_gpus() -> Iterator[Finding]:
    """The GPUs that torch sees, of every kind; `--device` takes one."""
    import torch

    from vidswap.runtime.devices import GPUS, device_memory, device_name, offered

    for kind in GPUS[1:]:
        if kind in offered():
            gpu = torch.device(kind)
            found = f"{device_name(gpu)}, {device_memory(gpu) / _GIB:.0f} GiB"
            yield Finding(kind.upper(), "ok", f"{found}; used with --device {kind}")
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda is None else f" (torch is built for {torch.version.cuda})"
        others = "" if offered() else ", no MPS, no XPU"
        found = f"no CUDA{built}{others}: runs on the CPU, torch {torch.__version__}"
        yield Finding("CUDA", "ok", found)
        return
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        memory = f"{card.total_memory / _GIB:.0f} GiB"
        yield Finding("CUDA", "ok", f"{card.name}, {memory}, torch {torch.__version__}")


def check_memory() -> Iterator[Finding]:
    """Free main memory."""
    import psutil

    memory = psutil.virtual_memory()
    low = memory.available < MIN_MEMORY_GIB * _GIB
    found = f"{memory.available / _GIB:.1f} GiB free of {memory.total / _GIB:.1f}"
    cores = f"{os.cpu_count()} processor cores"
    fix = f"a 1080p swap takes about 1.3 GiB, signing 0.5; free {MIN_MEMORY_GIB:.0f}"
    yield Finding("memory", "note" if low else "ok", f"{found}, {cores}", fix if low else "")


def check_disk(folder: Path | None = None) -> Iterator[Finding]:
    """Space and write permission in a folder, by default the current one."""
    folder = folder or Path.cwd()
    free = shutil.disk_usage(folder).free
    found = f"{free / _GIB:.1f} GiB free in {folder}"
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("disk", "note", f"{folder} cannot be written", "put outputs elsewhere")
    elif free < MIN_DISK_GIB * _GIB:
        fix = "free some: an output takes four times its size while it is signed"
        yield Finding("disk", "note", found, fix)
    else:
        yield Finding("disk", "ok", found)


def check_locks() -> Iterator[Finding]:
    """Locks of files, which keep two runs from one output's work; `fcntl`, not on Windows."""
    from vidswap.runtime.private import HAS_LOCKS

    if HAS_LOCKS:
        yield Finding("locks", "ok", "two runs cannot write the same output")
    else:
        fix = "start no two runs that write the same output"
        yield Finding("locks", "note", "none on this system", fix)


def check_checkpoint(path: Path | None = None) -> Iterator[Finding]:
    """The generator's file: present, whole, of the right kind; the net is not built."""
    from vidswap.digest import file_sha256
    from vidswap.models.checkpoint import default_checkpoint
    from vidswap.models.registry import architectures

    path = path or default_checkpoint()
    fix = f"install vidswap again, or give --checkpoint FILE; expected {path}"
    if not path.is_file():
        yield Finding("generator", "broken", "no checkpoint", fix)
        return
    try:
        header, complete = read_safetensors_header(path)
    except (OSError, ValueError) as error:
        yield Finding("generator", "broken", f"{path.name} cannot be read ({error})", fix)
        return
    kind = header.get("__metadata__", {}).get("architecture")
    known = kind in architectures()
    if not known or not complete:
        fault = "is cut short" if known else f"holds {shown(kind)}"
        yield Finding("generator", "broken", f"{path.name} {fault}", fix)
        return
    found = f"{path.name}, {len(header) - 1} tensors, SHA-256 {file_sha256(path)[:12]}"
    yield Finding("generator", "ok", found)


def check_face_nets() -> Iterator[Finding]:
    """The files of the nets for faces, identity and occlusion; none is loaded."""
    from vidswap.faces import occlusion
    from vidswap.faces.nets import loading
    from vidswap.identity import dlib_resnet

    for name, files in (
        ("face nets", [loading.FOLDER / f"{net}.safetensors" for net in loading.NAMES]),
        ("identity net", [dlib_resnet.WEIGHTS]),
        ("occlusion net", [occlusion.WEIGHTS]),
    ):
        faults = [fault for file in files if (fault := _fault(file))]
        if faults:
            yield Finding(name, "broken", ", ".join(faults), "install vidswap again")
        else:
            size = sum(file.stat().st_size for file in files)
            yield Finding(name, "ok", f"{', '.join(f.stem for f in files)}, {size} bytes")


def _fault(weights: Path) -> str:
    """What is wrong with a file of weights, empty if nothing is."""
    if not weights.is_file():
        return f"no {weights}"
    try:
        _, complete = read_safetensors_header(weights)
    except (OSError, ValueError) as error:
        return f"{weights.name} cannot be read ({error})"
    return "" if complete else f"{weights.name} is cut short"


def check_kernels() -> Iterator[Finding]:
    """The kernels that a swap on the CPU compiles: one is tried, and where they are kept."""
    import numpy as np

    from vidswap.models import norm_kernels

    norm_kernels.channel_sums(np.ones((1, 16, 4), np.float32))
    kept = norm_kernels.cache_folder()
    if kept is None:
        fix = "set NUMBA_CACHE_DIR to a folder that can be written"
        yield Finding("kernels", "note", "compiled anew in every run", fix)
    else:
        yield Finding("kernels", "ok", f"kept in {kept}")


def check_signing_key(path: Path | None = None) -> Iterator[Finding]:
    """The C2PA library, and this computer's key if there is one; none is made."""
    from vidswap.provenance.manifest import check_signing, load_c2pa
    from vidswap.provenance.signing_key import load_signing_key, local_key_path

    yield Finding("C2PA library", "ok", f"c2pa-rs {load_c2pa().sdk_version()}")
    path = path or local_key_path()
    if not path.exists():
        yield Finding("signing key", "ok", f"none yet; the first swap makes {path}")
        return
    fix = f"remove {path}: the next swap makes another"
    try:
        key = load_signing_key(path, path)
        check_signing(key)
    except Exception as error:
        yield Finding("signing key", "broken", " ".join(str(error).split()), fix)
        return
    # Windows has no such bits, and shows them all as set.
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("signing key", "note", f"others may read {path}", f"chmod 600 {path}")
    else:
        yield Finding("signing key", "ok", f"{key.signer}, {path}")


def has_encoder(name: str) -> bool:
    """Whether PyAV's ffmpeg has an encoder of that name."""
    import av

    try:
        av.codec.Codec(name, "w")
    except ValueError:  # UnknownCodecError is one
        return False
    return True


def read_safetensors_header(path: Path) -> tuple[dict[str, Any], bool]:
    """The JSON header of a safetensors file, and whether the file has the length it states.

    Raises ValueError if there is no header.
    """
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
        if not 2 <= length <= 100_000_000:  # the format's own limit
            raise ValueError("no safetensors header")
        try:
            header = json.loads(file.read(length))
            entries = [entry for name, entry in header.items() if name != "__metadata__"]
            end = max((int(entry["data_offsets"][1]) for entry in entries), default=0)
            dict(header.get("__metadata__", {}))
        except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("its header is damaged") from error
    return header, path.stat().st_size == 8 + length + end


def _is_installed(distribution: str) -> bool:
    names = (distribution, *(_OPENCV if distribution.startswith("opencv") else ()))
    return any(_version(name) is not None for name in names)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


CHECKS: tuple[tuple[str, Check], ...] = (
    ("python", check_python), ("system libraries", check_system), ("packages", check_packages),
    ("ffmpeg", check_ffmpeg), ("encoders", check_codecs), ("decoders", check_decoders),
    ("GPUs", check_gpus), ("memory", check_memory), ("disk", check_disk),
    ("locks", check_locks),
    ("generator", check_checkpoint), ("face nets", check_face_nets), ("kernels", check_kernels),
    ("signing", check_signing_key),
)  # fmt: skip
