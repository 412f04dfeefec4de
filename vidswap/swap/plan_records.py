"""What a plan says, part by part: plain data for `--dry-run --json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from vidswap.swap.plan_trial import FacesFound


@dataclass(frozen=True)
class StreamPlan:
    """What becomes of a stream: "encoded", "copied", "written again" or "dropped", and why."""

    index: int
    kind: str
    codec: str
    language: str | None
    fate: str
    why: str = ""


@dataclass(frozen=True)
class TargetPlan:
    """The target. frames, seconds: of the range; size and turn as in `MediaInfo`.

    decoder: name of the device that decodes it, None for the software decoder.
    """

    path: str
    kind: str
    codec: str
    pixel_format: str
    width: int
    height: int
    rotation: int
    mirrored: bool
    scan: str
    fps: float
    variable_rate: bool
    frames: int
    seconds: float
    decoder: str | None = None


@dataclass(frozen=True)
class OutputPlan:
    """The output. samples: what becomes of those outside the face. signed_by: None: no manifest."""

    path: str
    encoder: str
    pixel_format: str
    colour: str
    samples: str
    provenance: str
    signed_by: str | None


@dataclass(frozen=True)
class SourcePlan:
    """Frames by file that make the identity, and those left out with the reason."""

    used: tuple[tuple[str, int], ...]
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class EnginePlan:
    """What computes: as `SwapResult` names it, with the faces of one generator call.

    memory: bytes that the process is expected to need at its peak; None for a picture.
    """

    device: str
    device_name: str
    precision: str
    batch_size: int
    memory: int | None
    checkpoint: str
    checkpoint_sha256: str


@dataclass(frozen=True)
class Estimate:
    """What the run takes: seconds in all, bytes of the output, of all that is held at its end."""

    seconds: float
    seconds_from: str
    bytes: int
    bytes_from: str
    bytes_held: int
    bytes_free: int


@dataclass(frozen=True)
class SwapPlan:
    """What `swap_video` would do with the same arguments; `warnings` as in its result."""

    target: TargetPlan
    output: OutputPlan
    streams: tuple[StreamPlan, ...]
    sources: SourcePlan
    faces: FacesFound
    engine: EnginePlan
    estimate: Estimate
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
