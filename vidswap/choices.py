"""Names that options may take and defaults that several modules share; imports nothing heavy."""

from typing import Literal

DetectorName = Literal["blazeface", "face-alignment"]
DeviceName = Literal["auto", "cpu", "cuda", "mps", "xpu"]
PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
MaskName = Literal["face", "outline", "square"]
LayerFormat = Literal["exr", "exr-flat", "png"]
RegionName = Literal["eyes", "mouth", "nose", "lower-face", "face", "glasses", "centre"]
ContextVariantName = Literal["cascaded", "progan"]
InpaintModelName = Literal["idgan", "latent", "swapinpaint"]
SoundCodecName = Literal[
    "copy", "aac", "opus", "mp3", "ac3", "eac3", "alac", "flac", "pcm_s16le", "pcm_s24le",
    "pcm_f32le",
]  # fmt: skip

COPY_SOUND: SoundCodecName = "copy"

# Earlier names of choices, still taken: name then, name now.
FORMER_DETECTORS = {"mediapipe": "blazeface"}

DEFAULT_K_SHOT = 10  # frames per source clip; 50 are no better (docs/training.md)
DEFAULT_COLOUR_MATCH = 0.7  # share of the way to the target's mean skin colour
DEFAULT_DETAIL = 1.0  # of what photographs show finer than the generator's crop
DEFAULT_SHAPE = 1.0  # of the way to the source's proportions
DEFAULT_REFERENCE_WEIGHT = 0.6  # of the warped photographs over the generator's answer
DEFAULT_TEMPORAL_SMOOTHING = 0.85  # weight of the previous frame
DEFAULT_CRF = 18  # hardly told from the original in h264
