"""Damaged files: a clear error or a finished output, never a crash and never a hang."""

import random
from pathlib import Path

import pytest

from vidswap.errors import VidswapError
from vidswap.media import VideoReader, VideoWriter

from .clips import frame_times, make_clip

FEW, MANY = 40, 500


@pytest.fixture(scope="module", params=["mp4", "mkv"])
def small(request: pytest.FixtureRequest, clips: Path) -> Path:
    return make_clip(
        clips / f"small.{request.param}",
        size=(48, 32),
        frames=10,
        key_every=5,
        b_frames=2,
        sound=["aac"],
    )


def corrupted(content: bytes, rng: random.Random) -> bytes:
    """One of: bytes changed here and there, a stretch zeroed, one cut out, the end missing."""
    damaged = bytearray(content)
    at = rng.randrange(len(damaged))
    length = rng.randint(1, 200)
    kind = rng.randrange(4)
    if kind == 0:
        for _ in range(rng.randint(1, 20)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    elif kind == 1:
        damaged[at : at + length] = bytes(len(damaged[at : at + length]))
    elif kind == 2:
        del damaged[at : at + length]
    else:
        del damaged[at:]
    return bytes(damaged)


def outcome(path: Path, out: Path) -> str:
    """Send a clip through reader and writer: "done" or the error's line."""
    try:
        with (
            VideoReader(path) as reader,
            VideoWriter(out, reader, preset="ultrafast", overwrite=True) as writer,
        ):
            for frame in reader:
                writer.write(frame)
    except VidswapError as error:
        assert not out.exists()
        return str(error)
    return "done"


def check(small: Path, folder: Path, seeds: range) -> None:
    content = small.read_bytes()
    path, out = folder / f"damaged{small.suffix}", folder / "out.mkv"
    done = 0
    for seed in seeds:
        path.write_bytes(corrupted(content, random.Random(seed)))
        said = outcome(path, out)
        assert "\n" not in said, seed
        if said == "done":
            done += 1
            assert len(frame_times(out)) >= 1, seed
            out.unlink()
        assert [p.name for p in folder.iterdir()] == [path.name], seed
    assert 0 < done < len(seeds)


def test_damaged_files_end_in_an_error_or_an_output(small: Path, tmp_path: Path) -> None:
    check(small, tmp_path, range(FEW))


@pytest.mark.slow
def test_many_damaged_files_end_in_an_error_or_an_output(small: Path, tmp_path: Path) -> None:
    check(small, tmp_path, range(1000, 1000 + MANY // 2))


def test_every_cut_of_the_header_is_told(small: Path, tmp_path: Path) -> None:
    content = small.read_bytes()
    path, out = tmp_path / f"cut{small.suffix}", tmp_path / "out.mkv"
    for length in (0, 1, 4, 8, 12, 40, 100, 300):
        path.write_bytes(content[:length])
        assert str(path) in outcome(path, out)
