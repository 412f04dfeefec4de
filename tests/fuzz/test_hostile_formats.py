"""Later formats, attacked as the first ones are: batches, sequences, layers, pages, animations."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.media.clips import ffmpeg, moving_picture
from vidswap.batch.manifest import read_manifest
from vidswap.batch.records import JobError, JobRecord, read_record
from vidswap.errors import VidswapError
from vidswap.media.animated_picture import Animation, is_animated
from vidswap.media.animated_writer import AnimatedClip
from vidswap.media.colour_space import BT709
from vidswap.media.decoder import VideoReader
from vidswap.media.encoder import VideoWriter
from vidswap.media.exr import written_exr
from vidswap.media.exr_writer import ExrPart, write_exr
from vidswap.media.picture import open_picture, write_picture
from vidswap.media.probing import probe
from vidswap.media.sequence_picture import (
    encoded_as,
    lost_as,
    read_sequence_picture,
    texts_of,
)
from vidswap.media.sound import Sound
from vidswap.swap.request import SwapRequest
from vidswap.web.roots import Roots
from vidswap.web.settings import request_of_page

from .mutations import CASES, altered, chance, damaged
from .test_hostile_files import BATCH, assert_one_line

pytestmark = pytest.mark.slow
SLOW_CASES = CASES // 5


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_batch_manifests(tmp_path: Path, first: int) -> None:
    row = json.loads(SwapRequest.of(["a.jpg"], "b.mp4", "c.mp4").to_json())
    sheet = (
        b"source,target,output,start,face\na.jpg,b.mp4,c.mp4,1.5,all\nd.jpg;e.jpg,f.mp4,g.mp4,,\n"
    )
    for case in range(first, first + BATCH):
        dice = chance("manifest", case)
        path = tmp_path / ("jobs.csv" if case % 3 == 0 else "jobs.jsonl")
        if path.suffix == ".csv":
            path.write_bytes(damaged(sheet, dice))
        elif case % 3 == 1:
            path.write_bytes(damaged(json.dumps(row).encode() + b"\n", dice))
        else:
            path.write_text(json.dumps(altered(row, dice)) + "\n")
        try:
            jobs = read_manifest(path)
        except VidswapError as error:
            assert_one_line(error)
        except csv.Error:
            pytest.fail(f"case {case}")
        else:
            assert all(job.request.output for job in jobs)


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_batch_records(tmp_path: Path, first: int, job_record: dict[str, Any]) -> None:
    for case in range(first, first + BATCH):
        dice = chance("record", case)
        path = tmp_path / f"{job_record['id']}.json"
        if case % 2:
            path.write_bytes(damaged(json.dumps(job_record).encode(), dice))
        else:
            path.write_text(json.dumps(altered(job_record, dice)))
        found = read_record(path)
        assert found is None or (found.to_bytes() and found.to_dict())


@pytest.fixture(scope="module")
def job_record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A good record, as a batch writes it."""
    folder = tmp_path_factory.mktemp("batch")
    manifest = folder / "jobs.jsonl"
    request = SwapRequest.of([folder / "a.jpg"], folder / "b.mp4", folder / "c.mp4")
    manifest.write_text(request.to_json() + "\n")
    (job,) = read_manifest(manifest)
    facts = {"target": "ab" * 32, "settings": {"k_shot": 3}}
    failed = JobError(4, "NotAVideoError", "b.mp4 is empty")
    record: dict[str, Any] = json.loads(
        JobRecord(job.id, 1, request.to_json(), "failed", error=failed, facts=facts).to_bytes()
    )
    return record


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A frame of every kind of sequence, and of layers."""
    folder = tmp_path_factory.mktemp("stills")
    pixels = moving_picture(0, 40, 30)
    light = (pixels / 255.0).astype(np.float16)
    pytest.importorskip("OpenEXR")
    written_exr(folder / "a.exr", {"RGB": light}, BT709, {"comment": "x"})
    whole = {name: np.ascontiguousarray(light[..., n % 3]) for n, name in enumerate("RGBA")}
    face = {f"face.{name}": np.ascontiguousarray(v[4:20, 5:30]) for name, v in whole.items()}
    parts = [ExrPart("rgba", whole), ExrPart("layers", face, corner=(5, 4))]
    write_exr(folder / "b.exr", parts, (40, 30), BT709, {"comment": "x"})
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc=s=40x30", "-frames:v", "1", "-pix_fmt", "gbrp10be",
        "-y", folder / "a.dpx",
    )  # fmt: skip
    for suffix in (".tif", ".png"):
        write_picture(folder / f"a{suffix}", pixels)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_frames_of_sequences_and_layers(
    tmp_path: Path, stills: dict[str, bytes], first: int
) -> None:
    for case in range(first, first + BATCH):
        dice = chance("still", case)
        name = dice.choice(sorted(stills))
        content = stills[name]
        if dice.random() < 0.7:  # the header is where damage is most
            content = damaged(content[:600], dice) + content[600:]
        else:
            content = damaged(content, dice)
        path = tmp_path / f"shot.0001{Path(name).suffix}"
        path.write_bytes(content)
        try:
            picture = read_sequence_picture(path)
            lost_as(picture, ".png"), texts_of(picture)
            view = picture.still.view.copy()
            view[:4, :4] = 255 - view[:4, :4]
            encoded_as(picture, path.suffix, view, {"comment": "x"})
        except VidswapError as error:
            assert_one_line(error)
        path.unlink()


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_requests_of_the_page(tmp_path: Path, first: int) -> None:
    for name in ("a.jpg", "b.mp4"):
        (tmp_path / name).write_bytes(b"x")
    roots = Roots((tmp_path,))
    good = {
        "sources": [str(tmp_path / "a.jpg")], "target": str(tmp_path / "b.mp4"),
        "output": str(tmp_path / "c.mp4"),
        "options": {"mask": "face", "start": 1.5, "crf": 18, "face": "all", "reference": True},
    }  # fmt: skip
    request_of_page(good, roots, 250)
    for case in range(first, first + BATCH):
        given = altered(good, chance("page", case))
        try:
            found = request_of_page(json.loads(json.dumps(given)), roots, 250)
        except VidswapError as error:
            assert_one_line(error)
        else:
            assert found.output.is_relative_to(tmp_path) and found.target.is_relative_to(tmp_path)


@pytest.fixture(scope="module")
def animations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("animations")
    frames = [Image.fromarray(moving_picture(n, 40, 30)) for n in range(4)]
    for suffix in (".png", ".webp", ".gif", ".avif"):
        frames[0].save(folder / f"a{suffix}", save_all=True, append_images=frames[1:], duration=50)
    try:
        import pillow_heif

        from tests.media.heic import grid_heic

        (folder / "a.heic").write_bytes(grid_heic(moving_picture(0, 100, 80), pillow_heif))
    except ImportError:
        pass
    return {path.suffix: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_animations_and_pictures_of_tiles(
    tmp_path: Path, animations: dict[str, bytes], first: int
) -> None:
    for case in range(first, first + BATCH):
        dice = chance("animation", case)
        suffix = dice.choice(sorted(animations))
        path = tmp_path / f"a{suffix}"
        path.write_bytes(damaged(animations[suffix], dice))
        try:
            probe(path)
            if is_animated(path):
                writer = Animation.of(path).writer(tmp_path / "out.gif", {}, True)
                try:
                    for picture in Animation.of(path).pictures():
                        end = picture.frame.pts + picture.frame.duration
                        writer.write(picture.pixels(".gif", picture.frame.rgb),
                                     picture.frame.pts, end)  # fmt: skip
                    writer.close()
                finally:
                    writer.abort()
            elif suffix == ".gif":
                with VideoReader(path) as reader:
                    clip = AnimatedClip(tmp_path / "out.gif", reader, overwrite=True)
                    try:
                        for frame in reader:
                            clip.write(frame)
                        clip.close()
                    finally:
                        clip.abort()
            elif suffix == ".heic":
                open_picture(path)
        except VidswapError as error:
            assert_one_line(error)
    assert not list(tmp_path.glob(".*"))


@pytest.fixture(scope="module")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sounding")
    for name, codec in (
        ("a.mkv", "flac"),
        ("a.ts", "aac"),
        ("a.mp4", "libmp3lame"),
        ("b.mkv", "libopus"),
    ):
        ffmpeg(
            "-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=1", "-f", "lavfi", "-i", "sine=d=1",
            "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", codec, "-y", folder / name,
        )  # fmt: skip
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("first", range(0, SLOW_CASES, BATCH))
def test_sound_that_is_encoded(tmp_path: Path, sounding: dict[str, bytes], first: int) -> None:
    for case in range(first, first + BATCH):
        dice = chance("sound", case)
        name = dice.choice(sorted(sounding))
        path = tmp_path / name
        path.write_bytes(damaged(sounding[name], dice))
        codec = dice.choice(("aac", "flac", "pcm_s16le"))
        out = tmp_path / "out.mkv"
        try:
            with (
                VideoReader(path) as reader,
                VideoWriter(out, reader, overwrite=True, sound=Sound(codec)) as writer,
            ):
                for frame in reader:
                    writer.write(frame)
        except VidswapError as error:
            assert_one_line(error)


def test_what_is_attacked_is_good(
    tmp_path: Path, stills: dict[str, bytes], animations: dict[str, bytes]
) -> None:
    for name, content in stills.items():
        (tmp_path / name).write_bytes(content)
        assert read_sequence_picture(tmp_path / name).still.view.shape[:2] == (30, 40)
    for suffix in (".png", ".webp"):
        (tmp_path / f"x{suffix}").write_bytes(animations[suffix])
        assert is_animated(tmp_path / f"x{suffix}")
    assert io.BytesIO(animations[".gif"]).read(3) == b"GIF"
