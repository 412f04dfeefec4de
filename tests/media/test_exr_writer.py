"""OpenEXR files of our own: the library reads what was written, sample by sample."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidswap.media.colour_space import BT709
from vidswap.media.exr_writer import ExrPart, half_bits, write_exr

openexr = pytest.importorskip("OpenEXR")

SIZE = 70, 50


def rgba(noisy: bool) -> np.ndarray:
    ramp = np.linspace(-1, 9, SIZE[0] * SIZE[1] * 4).reshape(SIZE[1], SIZE[0], 4)
    noise = np.random.default_rng(0).integers(0, 2**16, ramp.shape).astype(np.uint16)
    return noise.view(np.float16) if noisy else ramp.astype(np.float16)


def parts(noisy: bool) -> list[ExrPart]:
    picture = rgba(noisy)
    random = np.random.default_rng(1)
    places = random.normal(size=(33, 17)).astype(np.float32)
    colours = random.normal(0, 1e5, (33, 17, 2)).astype(np.float32)
    return [
        ExrPart("rgba", {name: picture[..., place] for place, name in enumerate("RGBA")}),
        ExrPart("layers", {"face.R": colours[..., 1]}, {"uv.R": places}, (5, 9)),
    ]


def read(path: Path) -> list[dict[str, np.ndarray]]:
    file = openexr.File(str(path), separate_channels=True)
    return [{n: c.pixels for n, c in part.channels.items()} for part in file.parts]


@pytest.mark.parametrize("noisy", [False, True])  # noise is stored as it is
@pytest.mark.parametrize("without_isal", [False, True])
def test_the_library_reads_the_samples_that_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noisy: bool, without_isal: bool
) -> None:
    def refuse(name: str) -> Any:
        if name.startswith("isal"):
            raise ImportError(name)
        return import_module(name)

    if without_isal:
        monkeypatch.setattr("vidswap.media.exr_writer.import_module", refuse)
    path = tmp_path / "a.exr"
    given = parts(noisy)
    write_exr(path, given, SIZE, BT709, {"comment": "a swap", "n" * 40: "of a long name"})
    first, second = read(path)
    for name, samples in given[0].halves.items():
        np.testing.assert_array_equal(first[name].view(np.uint16), samples.view(np.uint16))
    wanted = np.clip(given[1].halves["face.R"], -65504, 65504).astype(np.float16)
    np.testing.assert_array_equal(second["face.R"], wanted)
    np.testing.assert_array_equal(second["uv.R"], given[1].floats["uv.R"])
    file = openexr.File(str(path), header_only=True)
    told, cropped = file.header(0), file.header(1)
    assert told["comment"] == "a swap" and told["n" * 40] == "of a long name"
    assert [tuple(corner) for corner in cropped["dataWindow"]] == [(5, 9), (21, 41)]
    assert [tuple(corner) for corner in cropped["displayWindow"]] == [(0, 0), (69, 49)]
    assert told["compression"] == cropped["compression"] == openexr.ZIP_COMPRESSION


def test_a_file_of_one_part_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    write_exr(path, parts(noisy=False)[:1], SIZE, BT709, {})
    assert [set(part) for part in read(path)] == [set("RGBA")]


def test_channels_of_a_smaller_box_are_zero_beyond_it(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    whole, small = parts(noisy=False)
    write_exr(path, [ExrPart("rgba", whole.halves, inset=small)], SIZE, BT709, {})
    (found,) = read(path)
    assert set(found) == {*"RGBA", "face.R", "uv.R"}
    wanted = np.zeros(SIZE[::-1], np.float32)
    wanted[9 : 9 + 33, 5 : 5 + 17] = small.floats["uv.R"]
    np.testing.assert_array_equal(found["uv.R"], wanted)
    np.testing.assert_array_equal(found["G"], whole.halves["G"])


def test_halves_are_the_nearest_ones() -> None:
    halves = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float64)
    between = ((halves[:-1] + halves[1:]) / 2).astype(np.float32)
    beside = [np.nextafter(between, np.float32(side)) for side in (-np.inf, np.inf)]
    odd = np.array([np.nan, np.inf, -np.inf, 1e9, -1e9, 65519, 65520, 0.0, -0.0, 1e-40], np.float32)
    values = np.concatenate([halves.astype(np.float32), between, -between, *beside, odd])
    wanted = np.clip(values, -65504, 65504).astype(np.float16)
    found = half_bits(values).view(np.float16)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(np.signbit(found[-3:]), np.signbit(wanted[-3:]))
