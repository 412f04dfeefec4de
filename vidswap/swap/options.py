"""What a swap is asked to do, and what it tells of itself afterwards."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidswap.blending.colour import DEFAULT_COLOUR_MATCH
from vidswap.blending.paste import MaskName
from vidswap.blending.temporal_smoothing import DEFAULT_TEMPORAL_SMOOTHING
from vidswap.errors import BadOptionError
from vidswap.media.codecs import DEFAULT_CRF, video_bit_rate
from vidswap.media.picture_encoder import Quality
from vidswap.nets import DetectorName, DeviceName, PrecisionName
from vidswap.provenance.record import check_provenance_options


@dataclass(frozen=True, kw_only=True)
class SwapOptions:
    """How to swap.

    k_shot: frames sampled from each source clip. reference: show the generator the source's face
    warped onto the target, where it was made for that. face: "largest", "all", or a picture of the
    person to replace. source_face: None, "largest" or a picture, when the source shows several
    people. start, end: seconds of the target to swap. batch_size: faces a generator call, None for
    the device's default. codec: None for the container's usual one. crf: quality, None for the
    default. match_bitrate: the target's own mean bit rate instead. mask: "square" is eq. 12
    alone, "outline" what of it lies within the face's outline, "face" that without glasses, hands
    and hair before the face. colour_match: how far, from 0 to 1, the face's mean colour is moved to
    that of the target's. temporal_smoothing: the weight, from 0 to below 1, of the previous frame
    in what is changed. checkpoint: None for the packaged one. sign_key, sign_cert: PEM files that
    sign the C2PA manifest, None for this computer's own. no_provenance: why there is none; it
    is recorded. resume: go on with what an earlier run of the same settings has finished.
    segment_frames: how many frames are put in safety at a time. max_memory, max_vram: bytes that
    the process, and torch on the GPU, may take; None for no limit. hwaccel: device that decodes a
    target clip, such as "cuda" or "vaapi:/dev/dri/renderD128", to the same frames; None for the
    software decoder.
    """

    k_shot: int = 10
    reference: bool = True
    face: str | Path = "largest"
    source_face: str | Path | None = None
    start: float | None = None
    end: float | None = None
    detector: DetectorName = "mediapipe"
    device: DeviceName = "auto"
    precision: PrecisionName = "auto"
    batch_size: int | None = None
    hwaccel: str | None = None
    codec: str | None = None
    crf: int | None = None
    match_bitrate: bool = False
    mask: MaskName = "face"
    colour_match: float = DEFAULT_COLOUR_MATCH
    temporal_smoothing: float = DEFAULT_TEMPORAL_SMOOTHING
    checkpoint: Path | None = None
    overwrite: bool = False
    resume: bool = True
    segment_frames: int = 250
    max_memory: int | None = None
    max_vram: int | None = None
    sign_key: Path | None = None
    sign_cert: Path | None = None
    no_provenance: str | None = None

    def __post_init__(self) -> None:
        if self.match_bitrate and self.crf is not None:
            raise BadOptionError("--crf and --match-bitrate: a quality or a bit rate; give one")
        if not self.match_bitrate and self.crf is None:
            object.__setattr__(self, "crf", DEFAULT_CRF)
        if self.k_shot < 1:
            raise BadOptionError(f"k-shot {self.k_shot}; it must be 1 or more")
        if self.batch_size is not None and self.batch_size < 1:
            raise BadOptionError(f"batch size {self.batch_size}; it must be 1 or more")
        if self.segment_frames < 1:
            raise BadOptionError(f"segments of {self.segment_frames} frames; allowed: 1 or more")
        if not 0.0 <= self.colour_match <= 1.0:
            raise BadOptionError(f"colour match {self.colour_match}; allowed: from 0 to 1")
        if not 0.0 <= self.temporal_smoothing < 1.0:
            raise BadOptionError(
                f"temporal_smoothing {self.temporal_smoothing}; allowed: from 0 to below 1"
            )
        check_provenance_options(self.sign_key, self.sign_cert, self.no_provenance)

    def quality(self, target: Path) -> Quality:
        """How to encode the result for a clip `target`."""
        if self.match_bitrate:
            return Quality(self.codec, bitrate=video_bit_rate(target))
        return Quality(self.codec, self.crf)


@dataclass(frozen=True)
class SwapResult:
    """What a swap did. Times in seconds, memory in MiB; stages overlap, so their sum is longer.

    frames_kept: how many of the frames an earlier run had finished.
    manifest: label of the output's C2PA manifest, None where it has none; signed_by: name in the
    certificate that signed it; no_provenance: the reason given for leaving it out.
    """

    output: str
    frames: int
    faces_swapped: int
    frames_without_face: int
    seconds: float
    seconds_by_stage: dict[str, float]
    peak_memory_mib: float
    device: str
    precision: str
    checkpoint: str
    checkpoint_sha256: str
    source_frames_used: tuple[str, ...]
    source_frames_left_out: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    frames_kept: int = 0
    manifest: str | None = None
    signed_by: str | None = None
    no_provenance: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class SwapCounts:
    """Running totals of `swap_frames`."""

    frames: int = 0
    faces_swapped: int = 0
    frames_without_face: int = 0

    def add(self, n_faces: int) -> None:
        """Count a finished frame."""
        self.frames += 1
        self.faces_swapped += n_faces
        self.frames_without_face += n_faces == 0

    def continue_from(self, earlier: SwapCounts) -> None:
        """Take over what an earlier run has counted."""
        self.frames = earlier.frames
        self.faces_swapped = earlier.faces_swapped
        self.frames_without_face = earlier.frames_without_face
