"""How well invisible watermarks outlast x264, in the whole frame and in the face alone.

    python -m pipelines.benchmarks.watermark CLIP... [--crf 18 23 28] [--methods rivaGan dwtDctSvd]

32 bits are written into every frame of a clip, the frames are encoded by x264 at each crf, decoded
and read again. `drawn` and `photograph` as names of clips are made here. In region `face` the mark
is kept only on the face's pixels (inside the mesh's oval), as a swap may change no others; it is
read in the box it was written in, and (`face-again`) in the box that the detector finds in the
decoded frame. An unmarked copy of each clip is encoded and read in the same way.

dwtDct, dwtDctSvd: `pip install invisible-watermark==0.2.0`; both mark one chroma plane. rivaGan:
the same and `pip install onnxruntime`. blind: `pip install blind-watermark==0.4.4`. What cannot be
imported is named and left out. Results are lines of JSON on standard output, then a table.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces.mesh import FACE_OVAL
from vidswap.media import VideoReader
from vidswap.people.source import SourceReader

BITS = 32
PATTERN = np.unpackbits(np.frombuffer(bytes.fromhex("5a93c61e"), np.uint8)).astype(bool)
MAX_WRONG_BITS = 1  # random bits are then taken for the mark once in 130 million times
DRAWN, PHOTOGRAPH = "drawn", "photograph"
REGIONS = ("frame", "face")

Image = NDArray[np.uint8]
Box = tuple[slice, slice]


class Method(Protocol):
    """A watermark of 32 bits. Pictures are (H, W, 3) uint8 RGB."""

    def write(self, rgb: Image) -> Image:
        """The picture with PATTERN in it."""
        ...

    def votes(self, rgb: Image) -> NDArray[np.float64]:
        """(32,), above 0 for a set bit."""
        ...


class BlockTransform:
    """A wavelet method of invisible-watermark, without its refusal of pictures under 256x256."""

    def __init__(self, name: str) -> None:
        from imwatermark.dwtDctSvd import EmbedDwtDctSvd
        from imwatermark.maxDct import EmbedMaxDct

        self._kind = EmbedMaxDct if name == "dwtDct" else EmbedDwtDctSvd

    def write(self, rgb: Image) -> Image:
        codec = self._kind(PATTERN.astype(int).tolist(), wmLen=BITS)
        return _bgr(codec.encode(_bgr(rgb)))

    def votes(self, rgb: Image) -> NDArray[np.float64]:
        bits = self._kind([], wmLen=BITS).decode(_bgr(rgb))
        return np.where(bits, 1.0, -1.0)


class BlindWatermark:
    """blind-watermark's mark, which is in all three planes."""

    def __init__(self) -> None:
        from blind_watermark import WaterMark, bw_notes

        bw_notes.close()
        self._kind = WaterMark

    def write(self, rgb: Image) -> Image:
        codec = self._kind(1, 1)
        codec.read_img(img=_bgr(rgb))
        codec.read_wm(PATTERN.tolist(), mode="bit")
        return _bgr(np.rint(codec.embed()).astype(np.uint8))

    def votes(self, rgb: Image) -> NDArray[np.float64]:
        bits = self._kind(1, 1).extract(embed_img=_bgr(rgb), wm_shape=BITS, mode="bit")
        return np.where(bits, 1.0, -1.0)


class RivaGanMark:
    """The neural method of invisible-watermark, without its refusal of small pictures."""

    def __init__(self) -> None:
        from imwatermark.rivaGan import RivaWatermark

        RivaWatermark.loadModel()
        self._kind = RivaWatermark

    def write(self, rgb: Image) -> Image:
        return _bgr(self._kind(PATTERN.astype(int).tolist(), BITS).encode(_bgr(rgb)))

    def votes(self, rgb: Image) -> NDArray[np.float64]:
        return np.where(self._kind([], BITS).decode(_bgr(rgb)), 1.0, -1.0)


METHODS: dict[str, Callable[[], Method]] = {
    "rivaGan": RivaGanMark,
    "dwtDct": lambda: BlockTransform("dwtDct"),
    "dwtDctSvd": lambda: BlockTransform("dwtDctSvd"),
    "blind": BlindWatermark,
}


@dataclass(frozen=True, eq=False)
class Place:
    """Where in a frame the mark goes: a box, and in it the pixels that may change."""

    box: Box
    mask: NDArray[np.bool_]  # (height, width) of the box


@dataclass(frozen=True)
class Result:
    """One method in one region of one clip at one crf; shares of bits are in percent.

    size: pixels of a frame or of the median box. found: the mark was read. psnr: in dB, of the
    frame or box. growth: of the coded clip in percent. unmarked_*: the same of the clip without a
    mark, where 50 % of the bits are right by chance.
    """

    clip: str
    method: str
    region: str
    size: str
    crf: int
    scale: float
    frames_read: int
    frame_bits: float
    voted_bits: float
    found: bool
    psnr: float
    growth: float
    write_ms: float
    read_ms: float
    unmarked_voted_bits: float
    unmarked_found: bool


def main() -> None:
    options = _options()
    methods = _available(options.methods)
    results: list[Result] = []
    with closing(SourceReader.load()) as faces:
        for clip in options.clips:
            frames = _frames(clip, options.frames)
            for region in options.regions:
                places = _places(frames, region, faces)
                if places is None:
                    print(f"{clip}: a frame without a face, region left out", file=sys.stderr)
                    continue
                for name, method in methods.items():
                    case = Case(Path(clip).stem, name, method, region, frames, places, faces)
                    for result in case.measure(options.crf, options.scale, options.read_every):
                        results.append(result)
                        print(json.dumps(asdict(result)), flush=True)
    print(as_table(results))


@dataclass(frozen=True, eq=False)
class Case:
    """A method in a region of a clip."""

    clip: str
    name: str
    method: Method
    region: str
    frames: list[Image]
    places: list[Place]
    faces: SourceReader

    def measure(self, crfs: Sequence[int], scale: float, every: int) -> list[Result]:
        """A result for each crf, and for a face a second one, of boxes that are found again."""
        marked, psnr, milliseconds = self._marked()
        regions = [self.region, f"{self.region}-again"] if self.region == "face" else [self.region]
        found = []
        for crf in crfs:
            after, size = coded(marked, crf, scale)
            before, plain_size = coded(self.frames, crf, scale)
            common: dict[str, Any] = {
                "clip": self.clip,
                "method": self.name,
                "size": self._size(),
                "crf": crf,
                "scale": scale,
                "psnr": round(psnr, 2),
                "growth": round(100 * (size / plain_size - 1), 1),
                "write_ms": round(milliseconds, 1),
            }
            for region in regions:
                read = self._read(after, before, region, every)
                found.append(Result(**common, region=region, **read))
        return found

    def _size(self) -> str:
        heights, widths = zip(*(place.mask.shape for place in self.places), strict=True)
        return f"{int(np.median(widths))}x{int(np.median(heights))}"

    def _marked(self) -> tuple[list[Image], float, float]:
        """The frames with their marks, the PSNR of what is marked in dB, milliseconds a frame."""
        frames, noise = [], []
        start = time.perf_counter()
        for rgb, place in zip(self.frames, self.places, strict=True):
            crop = np.ascontiguousarray(rgb[place.box])
            written = np.where(place.mask[..., None], self.method.write(crop), crop)
            frame = rgb.copy()
            frame[place.box] = written
            frames.append(frame)
            noise.append(np.mean((written.astype(float) - crop) ** 2))
        milliseconds = 1000 * (time.perf_counter() - start) / len(frames)
        return frames, float(10 * np.log10(255**2 / np.mean(noise))), milliseconds

    def _read(
        self, after: list[Image], before: list[Image], region: str, every: int
    ) -> dict[str, Any]:
        """The part of a Result that is read from the coded frames, with the mark and without."""
        start = time.perf_counter()
        votes = self._votes(after, region, every)
        read_ms = 1000 * (time.perf_counter() - start) / len(votes)
        plain = self._votes(before, region, every)
        return {
            "frames_read": len(votes),
            "frame_bits": _right(votes > 0),
            "voted_bits": _right(votes.sum(axis=0) > 0),
            "found": _found(votes),
            "read_ms": round(read_ms, 1),
            "unmarked_voted_bits": _right(plain.sum(axis=0) > 0),
            "unmarked_found": _found(plain),
        }

    def _votes(self, frames: list[Image], region: str, every: int) -> NDArray[np.float64]:
        """(frames read, 32)."""
        found = []
        for index in range(0, len(frames), every):
            place: Place | None = self.places[index]
            if region == "face-again":
                place = _face_place(frames[index], self.faces)
            if place is not None:
                found.append(self.method.votes(np.ascontiguousarray(frames[index][place.box])))
        return np.stack(found) if found else np.zeros((1, BITS))


def coded(frames: Sequence[Image], crf: int, scale: float) -> tuple[list[Image], int]:
    """The frames after x264 in 4:2:0 at a crf, and the bytes it took.

    scale: of the coded pictures; they are brought back to the size they had, as a reader could
    that knows it.
    """
    height, width = frames[0].shape[:2]
    size = (2 * round(width * scale / 2), 2 * round(height * scale / 2))
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for rgb in frames:
            small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale != 1 else rgb
            output.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
        output.mux(stream.encode(None))
    n_bytes = file.getbuffer().nbytes
    file.seek(0)
    with av.open(file) as clip:
        found = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    if scale != 1:
        found = [cv2.resize(rgb, (width, height), interpolation=cv2.INTER_CUBIC) for rgb in found]
    return found, n_bytes


def drawn_clip(count: int, width: int = 384, height: int = 384) -> list[Image]:
    """Smooth colours that drift, fine texture that stays and a bright square that moves."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    texture = cv2.GaussianBlur(rng.normal(0, 30, (height, width)), (0, 0), 1.5)
    frames = []
    for index in range(count):
        waves = [np.sin(6 * x + 4 * y + phase + 0.05 * index) for phase in (0.0, 2.0, 4.0)]
        rgb = 128 + 60 * np.stack(waves, axis=-1) + texture[..., None]
        left = 3 * index % (width - 60)
        rgb[40:100, left : left + 60] = (230, 220, 60)
        frames.append(np.clip(rgb, 0, 255).astype(np.uint8))
    return frames


def photograph_clip(count: int, side: int = 320) -> list[Image]:
    """scikit-image's astronaut, public domain, drifting: colours more vivid than most clips'."""
    from skimage.data import astronaut

    photo = astronaut()
    scale = side / photo.shape[0]
    shifts = [np.array([[scale, 0, 0.6 * i], [0, scale, -0.4 * i]]) for i in range(count)]
    size, border = (side, side), cv2.BORDER_REFLECT
    return [cv2.warpAffine(photo, shift, size, borderMode=border) for shift in shifts]


MADE: dict[str, Callable[[int], list[Image]]] = {DRAWN: drawn_clip, PHOTOGRAPH: photograph_clip}


def as_table(results: Sequence[Result]) -> str:
    """The results as a Markdown table, one row each."""
    rows = ["| clip | method | region | pixels | crf | bits a frame | bits voted | read | PSNR dB "
            "| growth | write ms | read ms | unmarked: bits, read |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for r in results:
        crf = f"{r.crf}" if r.scale == 1 else f"{r.crf}, scaled {r.scale:g}"
        rows.append(
            f"| {r.clip} | {r.method} | {r.region} | {r.size} | {crf} | {r.frame_bits:.1f} % "
            f"| {r.voted_bits:.1f} % | {'yes' if r.found else 'no'} | {r.psnr:.1f} "
            f"| {r.growth:+.0f} % | {r.write_ms:.0f} | {r.read_ms:.0f} "
            f"| {r.unmarked_voted_bits:.0f} %, {'YES' if r.unmarked_found else 'no'} |"
        )
    return "\n".join(rows)


def _frames(clip: str, count: int) -> list[Image]:
    if clip in MADE:
        return MADE[clip](count)
    with VideoReader(Path(clip)) as reader:
        frames = [frame.rgb for frame in islice(reader, count)]
    height, width = frames[0].shape[0] // 2 * 2, frames[0].shape[1] // 2 * 2
    return [rgb[:height, :width] for rgb in frames]  # 4:2:0 takes even sizes


def _places(frames: list[Image], region: str, faces: SourceReader) -> list[Place] | None:
    """Where each frame is marked; None where a frame has no face."""
    height, width = frames[0].shape[:2]
    if region == "frame":
        whole = Place((slice(0, height), slice(0, width)), np.ones((height, width), bool))
        return [whole] * len(frames)
    found = [place for rgb in frames if (place := _face_place(rgb, faces)) is not None]
    return found if len(found) == len(frames) else None


def _face_place(rgb: Image, faces: SourceReader) -> Place | None:
    """The largest face: the box around the mesh's oval, and what is inside the oval."""
    found = faces.faces(rgb)
    if not found:
        return None
    oval = cv2.convexHull(found[0].landmarks[list(FACE_OVAL)].astype(np.float32))
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.rint(oval).astype(np.int32), 1)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Place(box, mask[box].astype(bool))


def _right(bits: NDArray[np.bool_]) -> float:
    return round(100 * float((bits == PATTERN).mean()), 2)


def _found(votes: NDArray[np.float64]) -> bool:
    return int(((votes.sum(axis=0) > 0) != PATTERN).sum()) <= MAX_WRONG_BITS


def _available(names: Sequence[str]) -> dict[str, Method]:
    methods = {}
    for name in names:
        try:
            methods[name] = METHODS[name]()
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return methods


def _bgr(picture: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(picture[..., ::-1])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", help=f"clips, {DRAWN!r} or {PHOTOGRAPH!r}")
    parser.add_argument("--crf", type=int, nargs="+", default=[18, 23, 28])
    parser.add_argument("--frames", type=int, default=50, help="of each clip (default 50)")
    parser.add_argument("--read-every", type=int, default=1, help="read only each n-th frame")
    parser.add_argument("--scale", type=float, default=1.0, help="of the coded pictures")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--regions", nargs="+", choices=REGIONS, default=REGIONS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
