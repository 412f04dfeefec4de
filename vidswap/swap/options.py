"""What a swap is asked to do, and what it tells of itself afterwards."""

# ruff: noqa: RUF009 -- `option` makes a field

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidswap.choices import (
    COPY_SOUND,
    DEFAULT_COLOUR_MATCH,
    DEFAULT_CRF,
    DEFAULT_DETAIL,
    DEFAULT_K_SHOT,
    DEFAULT_REFERENCE_WEIGHT,
    DEFAULT_SHAPE,
    DEFAULT_TEMPORAL_SMOOTHING,
    FORMER_DETECTORS,
    DetectorName,
    DeviceName,
    LayerFormat,
    MaskName,
    PrecisionName,
    SoundCodecName,
)
from vidswap.errors import BadOptionError
from vidswap.options import (
    ENCODING,
    HARDWARE,
    LOOK,
    OUTPUT,
    PROVENANCE,
    RANGE,
    SEQUENCES,
    SOURCE_AND_TARGET,
    check_ranges,
    described,
    option,
)

if TYPE_CHECKING:
    from vidswap.media.picture_encoder import Quality
    from vidswap.media.sound import Sound
    from vidswap.people.filled_source import SourceFiller


@described
@dataclass(frozen=True, kw_only=True)
class SwapOptions:
    """How to swap. Raises BadOptionError for values that are not allowed or exclude each other."""

    # fmt: off
    k_shot: int = option(
        DEFAULT_K_SHOT,
        help="Frames to sample per source clip.",
        group=SOURCE_AND_TARGET, least=1, pixels=True, recorded=True,
    )
    source_face: str | Path | None = option(
        None,
        help="Face to take when a source shows several people.",
        group=SOURCE_AND_TARGET, words=("largest",), metavar="largest|PICTURE",
        unset="refuse several", pixels=True, recorded=True,
    )
    face: str | Path = option(
        "largest",
        help="Face of the target to replace; PICTURE: the most similar person.",
        group=SOURCE_AND_TARGET, words=("largest", "all"), metavar="largest|all|PICTURE",
        pixels=True, recorded=True,
    )
    cast: str | Path | None = option(
        None,
        help="Swap by the plan in FOLDER (see `vidswap people`); auto: the first source for the "
        "most seen person, and so on.",
        group=SOURCE_AND_TARGET, words=("auto",), metavar="FOLDER|auto", unset="one source",
        pixels=True, recorded=True,
    )
    detector: DetectorName = option(
        "blazeface",
        help="Face and landmark detector; face-alignment downloads its weights.",
        group=SOURCE_AND_TARGET, former=FORMER_DETECTORS, pixels=True, recorded=True,
    )
    checkpoint: Path | None = option(
        None, help="Generator weights.", group=LOOK, unset="packaged", pixels=True
    )
    mask: MaskName = option(
        "face",
        help="Where to blend: inside the face contour, excluding occluders; inside the whole "
        "contour; or over the whole crop.",
        group=LOOK, pixels=True, recorded=True,
    )
    reference: bool = option(
        True,
        help="Show the generator a photograph of the source, or only the id embedding.",
        group=LOOK, pixels=True, recorded=True,
    )
    fill_source: bool = option(
        False,
        help="Fill rims of glasses and strands of hair in the source's photographs before the "
        "generator is shown them.",
        group=LOOK, pixels=True, recorded=True,
    )
    reference_weight: float = option(
        DEFAULT_REFERENCE_WEIGHT,
        help="Weight of the source's photographs over the generated face, 0 to 1.",
        group=LOOK, least=0, greatest=1, pixels=True, recorded=True,
    )
    shape: float = option(
        DEFAULT_SHAPE,
        help="Move eyes, nose and mouth to the source's proportions, 0 to 1.",
        group=LOOK, least=0, greatest=1, pixels=True, recorded=True,
    )
    detail: float = option(
        DEFAULT_DETAIL,
        help="Add what the source's photographs show finer than the generator draws, 0 to 1.",
        group=LOOK, least=0, greatest=1, pixels=True, recorded=True,
    )
    colour_match: float = option(
        DEFAULT_COLOUR_MATCH,
        help="Shift of the face to the target's mean skin colour, 0 to 1.",
        group=LOOK, least=0, greatest=1, pixels=True, recorded=True,
    )
    temporal_smoothing: float = option(
        DEFAULT_TEMPORAL_SMOOTHING,
        help="Weight of the previous frame, 0 to below 1; follows optical flow.",
        group=LOOK, least=0, below=1, aliases=("--steadiness",), pixels=True, recorded=True,
    )
    start: float | None = option(
        None,
        help="Start of the range, in seconds of the target.",
        group=RANGE, least=0, metavar="SECONDS", unset="first frame", pixels=True, recorded=True,
    )
    end: float | None = option(
        None,
        help="End of the range, in seconds of the target.",
        group=RANGE, metavar="SECONDS", unset="last frame", pixels=True, recorded=True,
    )
    fps: float | None = option(
        None,
        help="Frames per second of an image sequence.",
        group=SEQUENCES, least=1, greatest=1000, unset="by the files, else 24", pixels=True,
    )
    first_frame: int | None = option(
        None,
        help="Number of the first frame written.",
        group=SEQUENCES, least=0, unset="the target's own, else 1", pixels=True,
    )
    colour_space: str | None = option(
        None,
        help="Colour space of an image sequence: srgb, linear, or one of OpenColorIO's, such as "
        "ACEScg or LogC.",
        group=SEQUENCES, metavar="NAME", unset="by format: EXR linear, others srgb", pixels=True,
    )
    layers: Path | None = option(
        None,
        help="Folder to write the layers of every frame to, for compositing.",
        group=SEQUENCES, metavar="FOLDER", unset="none", pixels=True,
    )
    layer_format: LayerFormat = option(
        "exr",
        help="One multi-layer OpenEXR per frame, its layers as a part cropped to the face, or "
        "exr-flat: all in one part; or a 16-bit PNG per layer.",
        group=SEQUENCES, pixels=True,
    )
    only_faces: bool = option(
        False,
        help="Write layers only of frames with a face; otherwise theirs are empty.",
        group=SEQUENCES, pixels=True,
    )
    face_clip: Path | None = option(
        None,
        help="Write the new face alone, with transparency, to this .mov (ProRes 4444), .mkv (FFV1) "
        "or .webm (VP9).",
        group=SEQUENCES, unset="none", pixels=True,
    )
    codec: str | None = option(
        None,
        help="h264, hevc, av1, vp9, prores, ffv1, or a hardware encoder that `doctor` lists.",
        group=ENCODING, unset="by container", pixels=True, recorded=True,
    )
    crf: int | None = option(
        None,
        help="Constant quality, 0 is best.",
        group=ENCODING, least=0, unset=str(DEFAULT_CRF), pixels=True, recorded=True,
    )
    preset: str | None = option(
        None,
        help="Speed setting of the encoder by its own name, such as medium; slower ones write "
        "smaller files.",
        group=ENCODING, unset="a quick one", pixels=True, recorded=True,
    )
    match_bitrate: bool = option(
        False,
        help="Encode at the target's mean bit rate instead of a constant quality.",
        group=ENCODING, pixels=True, recorded=True,
    )
    # Sound is not in the segments of unfinished work, so another codec resumes them.
    audio_codec: SoundCodecName = option(
        COPY_SOUND,
        help="Sound: copy, or encode as aac, opus, mp3, ac3, eac3, alac, flac, pcm_s16le, "
        "pcm_s24le or pcm_f32le; what has that codec is copied.",
        group=ENCODING, metavar="CODEC", recorded=True,
    )
    audio_bitrate: int | None = option(
        None,
        help="Kilobits per second of each sound stream.",
        group=ENCODING, least=8, greatest=6144, metavar="KBIT", unset="by codec and channels",
        recorded=True,
    )
    device: DeviceName = option(
        "auto",
        help="Device to use for PyTorch inference; auto is CUDA where there is one, else the CPU.",
        group=HARDWARE, pixels=True, recorded=True,
    )
    precision: PrecisionName = option(
        "auto",
        help="Number format of the generator.",
        group=HARDWARE, pixels=True, recorded=True,
    )
    batch_size: int | None = option(
        None,
        help="Faces per generator batch.",
        group=HARDWARE, least=1, unset="by device", pixels=True, recorded=True,
    )
    # A device gives the software decoder's samples, or none. Should it ever give others, the frames
    # around a break show it (`resume.frames_from`).
    hwaccel: str | None = option(
        None,
        help="Decode the target on this device, such as cuda, cuda:1 or vaapi; `doctor` lists "
        "them.",
        group=HARDWARE, metavar="DEVICE", unset="the software decoder",
    )
    # Queues and batches are made to fit, and a batch of another size is rounded otherwise.
    max_memory: int | None = option(
        None,
        help="Memory limit of the process, such as 2G.",
        group=HARDWARE, least=1, is_size=True, metavar="SIZE", unset="none", pixels=True,
    )
    max_vram: int | None = option(
        None,
        help="Memory limit on the GPU, such as 2G.",
        group=HARDWARE, least=1, is_size=True, metavar="SIZE", unset="none",
    )
    sign_key: Path | None = option(
        None, help="PEM key that signs the C2PA manifest.", group=PROVENANCE, unset="local key"
    )
    sign_cert: Path | None = option(
        None,
        help="PEM certificate chain of --sign-key, its own certificate first.",
        group=PROVENANCE, unset="local certificate",
    )
    no_provenance: str | None = option(
        None,
        help="Write no C2PA manifest and record this reason.",
        group=PROVENANCE, metavar="REASON", unset="write a manifest", recorded=True,
    )
    overwrite: bool = option(False, help="Replace an existing output.", group=OUTPUT)
    resume: bool = option(
        True,
        help="Resume the unfinished work of an interrupted run, or discard it.",
        group=OUTPUT,
    )
    segment_frames: int = option(
        250,
        help="Frames per segment; an interruption loses at most one.",
        group=OUTPUT, least=1, on_command_line=False, pixels=True,
    )
    # fmt: on

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.match_bitrate and self.crf is not None:
            raise BadOptionError("--crf and --match-bitrate: a quality or a bit rate; give one")
        if not self.match_bitrate and self.crf is None:
            object.__setattr__(self, "crf", DEFAULT_CRF)
        _check_provenance(self.sign_key, self.sign_cert, self.no_provenance)

    @property
    def sound(self) -> "Sound":
        """What becomes of the target's sound."""
        from vidswap.media.sound import Sound

        rate = self.audio_bitrate
        return Sound(self.audio_codec, None if rate is None else rate * 1000)

    def source_filler(self) -> "SourceFiller | None":
        """What fills the source's photographs; None where they stay as they are."""
        if not (self.fill_source and self.reference):
            return None
        from vidswap.people.filled_source import SourceFiller

        return SourceFiller()

    def quality(self, target: Path) -> "Quality":
        """How to encode the result for a clip `target`."""
        from vidswap.media.codecs import video_bit_rate
        from vidswap.media.picture_encoder import Quality

        if self.match_bitrate:
            return Quality(self.codec, preset=self.preset, bitrate=video_bit_rate(target))
        return Quality(self.codec, self.crf, self.preset)


def _check_provenance(
    sign_key: Path | None, sign_cert: Path | None, no_provenance: str | None
) -> None:
    if (sign_key is None) != (sign_cert is None):
        raise BadOptionError("--sign-key and --sign-cert go together; give both or neither")
    if no_provenance is not None and not no_provenance.strip():
        raise BadOptionError("--no-provenance needs a reason, which is recorded; give it in words")
    if no_provenance is not None and sign_key is not None:
        raise BadOptionError("--no-provenance signs nothing; leave --sign-key and --sign-cert out")


@dataclass(frozen=True)
class SwapResult:
    """What a swap did. Times in seconds, memory in MiB; stages overlap, so their sum is longer.

    frames_kept: how many of the frames an earlier run had finished.
    people: who was swapped, from when to when, and who was left alone.
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
    people: tuple["PersonSwapped", ...] = ()
    manifest: str | None = None
    signed_by: str | None = None
    no_provenance: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class PersonSwapped:
    """A person of a result and when they were seen, as (first, last) in seconds of the target.

    person: an id of the cast, "" for whom --face chose, "others" for who was left alone. sources:
    names of the files whose face they got, none where they kept their own.
    """

    person: str
    name: str
    sources: tuple[str, ...]
    spans: tuple[tuple[float, float], ...]


OTHERS = "others"  # person of the faces that are left alone
_SAME_SPAN = 1.0  # seconds without a face that do not end a span
_MOST_SPANS = 1000  # of one person; the last is then lengthened


@dataclass
class SwapCounts:
    """Running totals of `swap_frames`. spans: [first, last] seconds, by person."""

    frames: int = 0
    faces_swapped: int = 0
    frames_without_face: int = 0
    spans: dict[str, list[list[float]]] = field(default_factory=dict)

    def add(
        self,
        n_faces: int,
        seconds: float | None = None,
        people: Sequence[str] = (),
        left_alone: int = 0,
    ) -> None:
        """Count a finished frame: at `seconds`, the `people` swapped and how many were not."""
        self.frames += 1
        self.faces_swapped += n_faces
        self.frames_without_face += n_faces == 0
        if seconds is not None:
            for person in {*people, *([OTHERS] if left_alone else [])}:
                spans = self.spans.setdefault(person, [])
                if spans and (seconds - spans[-1][1] <= _SAME_SPAN or len(spans) >= _MOST_SPANS):
                    spans[-1][1] = seconds
                else:
                    spans.append([seconds, seconds])

    def join(self, later: "SwapCounts") -> None:
        """Add the totals of frames that come after these."""
        self.frames += later.frames
        self.faces_swapped += later.faces_swapped
        self.frames_without_face += later.frames_without_face
        for person, found in later.spans.items():
            spans = self.spans.setdefault(person, [])
            for first, last in found:
                if spans and (first - spans[-1][1] <= _SAME_SPAN or len(spans) >= _MOST_SPANS):
                    spans[-1][1] = last
                else:
                    spans.append([first, last])

    def copy(self) -> "SwapCounts":
        """Totals that do not change with these."""
        spans = {person: [list(span) for span in spans] for person, spans in self.spans.items()}
        return replace(self, spans=spans)

    def continue_from(self, earlier: "SwapCounts") -> None:
        """Take over what an earlier run has counted."""
        self.frames = earlier.frames
        self.faces_swapped = earlier.faces_swapped
        self.frames_without_face = earlier.frames_without_face
        self.spans = earlier.copy().spans
