"""Files that vidswap reads, attacked: one clear error or a result, never another end."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import unicodedata
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load, save

from tests.media.clips import moving_picture
from tests.media.test_segments import FACTS, filled
from tests.models.test_apgan import small_generator
from tests.people.test_plan import tracks as made_up_tracks
from tests.photographs import astronaut
from vidswap.commands.main import main
from vidswap.commands.settings import read_settings
from vidswap.errors import VidswapError
from vidswap.media.marks import synthetic_metadata
from vidswap.media.picture import write_picture
from vidswap.media.probing import probe
from vidswap.media.segments import MANIFEST, SegmentFolder
from vidswap.models.apgan.checkpoint import save_generator
from vidswap.models.checkpoint import load_generator
from vidswap.people.identity import describe_identity, identity_as_text, make_identity
from vidswap.people.identity_file import _KEY, read_identity_file
from vidswap.people.plan import PLAN, begin_plan, edit_plan, read_plan
from vidswap.people.tracks import TRACKS, write_tracks
from vidswap.swap.first_pass import PICTURES, read_pictures
from vidswap.swap.look import look_options
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest
from vidswap.swap.sheet import sheet_html

from .mutations import CASES, altered, chance, damaged

pytestmark = pytest.mark.slow
SUFFIXES = (".png", ".jpg", ".webp", ".tif", ".bmp")
BATCH = 50  # cases per test, so that a failure names a few


def assert_one_line(error: VidswapError) -> None:
    assert str(error) and error.exit_code and len(str(error)) < 5000


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A marked picture of every format."""
    folder = tmp_path_factory.mktemp("pictures")
    marks = synthetic_metadata("1.2.3", "ab" * 32, {"k_shot": 3})
    for suffix in SUFFIXES:
        write_picture(folder / f"a{suffix}", moving_picture(0, 40, 30), marks)
    return {suffix: (folder / f"a{suffix}").read_bytes() for suffix in SUFFIXES}


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_pictures(tmp_path: Path, pictures: dict[str, bytes], first: int) -> None:
    for case in range(first, first + BATCH):
        dice = chance("picture", case)
        suffix = dice.choice(SUFFIXES)
        path = tmp_path / f"case-{case}{suffix}"
        path.write_bytes(damaged(pictures[suffix], dice))
        try:
            probe(path)
        except VidswapError as error:
            assert_one_line(error)
        result = CliRunner().invoke(main, ["verify", str(path)])
        assert isinstance(result.exception, SystemExit | None), (case, result.exception)
        unseen = {c for c in result.output if unicodedata.category(c) in ("Cc", "Cf", "Cs")}
        assert unseen <= {"\n"} and len(result.output) < 50_000, case


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_work_folders(tmp_path: Path, first: int) -> None:
    for case in range(first, first + BATCH):
        dice = chance("work", case)
        output = tmp_path / f"case-{case}.mp4"
        folder = filled(output)
        victim = dice.choice(sorted(p for p in folder.iterdir() if p.stat().st_size))
        if victim.name == MANIFEST and dice.random() < 0.8:
            content = json.loads(victim.read_bytes())
            content.pop("sha256")
            content = altered(content, dice)
            if isinstance(content, dict):
                whole = json.dumps(content, sort_keys=True).encode()
                content["sha256"] = hashlib.sha256(whole).hexdigest()
            victim.write_text(json.dumps(content))
        else:
            victim.write_bytes(damaged(victim.read_bytes(), dice))
        try:
            with SegmentFolder(output, FACTS) as work:
                assert 0 <= sum(f.packets for f in work.packet_files) <= 3, case
                assert work.state() in (None, b"state 0", b"state 1", b"state 2"), case
                work.others()
        except VidswapError as error:
            assert_one_line(error)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("checkpoint") / "net.safetensors"
    save_generator(small_generator(128), path, images_trained=3)
    return path.read_bytes()


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_checkpoints(tmp_path: Path, checkpoint: bytes, first: int) -> None:
    net = small_generator(128)
    config = {**net.config.to_dict(), "channels": [list(pair) for pair in net.config.channels]}
    tensors = {name: t.half().contiguous() for name, t in net.state_dict().items()}
    for case in range(first, first + BATCH):
        dice = chance("checkpoint", case)
        path = tmp_path / "net.safetensors"
        if case % 2:
            # The header is where damage is most.
            head, rest = checkpoint[:4096], checkpoint[4096:]
            path.write_bytes(damaged(head, dice) + rest)
        else:
            text = json.dumps(altered({**config, "refined": list(net.config.refined)}, dice))
            metadata = {"architecture": "apgan", "config": text, "images_trained": "1"}
            path.write_bytes(save(tensors, metadata))
        try:
            loaded = load_generator(path)
        except VidswapError as error:
            assert_one_line(error)
        else:
            assert all(bool(torch.isfinite(p).all()) for p in loaded.net.parameters()), case


@pytest.fixture(scope="module")
def identity_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("identity")
    write_picture(folder / "a.png", astronaut())
    make_identity([folder / "a.png"], folder / "a.vsid", consent="yes")
    return (folder / "a.vsid").read_bytes()


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_identity_files(tmp_path: Path, identity_file: bytes, first: int) -> None:
    (length,) = struct.unpack("<Q", identity_file[:8])
    about = json.loads(json.loads(identity_file[8 : 8 + length])["__metadata__"][_KEY])
    tensors = load(identity_file)
    for case in range(first, first + BATCH):
        dice = chance("identity", case)
        path = tmp_path / "a.vsid"
        if case % 2:
            end = 8 + length + 4096
            path.write_bytes(damaged(identity_file[:end], dice) + identity_file[end:])
        else:
            path.write_bytes(save(tensors, {_KEY: json.dumps(altered(about, dice))}))
        try:
            file = read_identity_file(path)
            identity_as_text(describe_identity(path))
        except VidswapError as error:
            assert_one_line(error)
        else:
            assert bool(torch.isfinite(file.source().identity.rows()).all()), case


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_cast_folders(tmp_path: Path, first: int) -> None:
    write_tracks(made_up_tracks(), tmp_path / TRACKS)
    tracks = json.loads((tmp_path / TRACKS).read_text())
    lines = begin_plan(made_up_tracks()) + '[[override]]\nstart = 1\nend = 2\nmask = "square"\n'
    jpeg = base64.b64encode(b"\xff\xd8\xff\xe0 picture").decode()
    pictures = {"faces": {"0": [jpeg], "1": [jpeg]}, "shots": {"0": jpeg}}
    for case in range(first, first + BATCH):
        dice = chance("cast", case)
        plan, kept, shown_there = lines.encode(), json.dumps(tracks), json.dumps(pictures)
        victim = case % 3
        if victim == 0:
            plan = damaged(plan, dice)
        elif victim == 1:
            whole = dice.random() < 0.5
            kept = (
                damaged(kept.encode(), dice).decode("utf-8", "replace")
                if whole else json.dumps(altered(tracks, dice))
            )  # fmt: skip
        else:
            shown_there = json.dumps(altered(pictures, dice))
        (tmp_path / PLAN).write_bytes(plan)
        (tmp_path / TRACKS).write_text(kept, encoding="utf-8", errors="replace")
        (tmp_path / PICTURES).write_text(shown_there)
        try:
            read = read_plan(tmp_path, look_options())
            for track in read.tracks.tracks:
                read.decide(track.id, track.start)
            page = sheet_html(read, read_pictures(tmp_path))
        except VidswapError as error:
            assert_one_line(error)
        else:
            assert "<script" not in page and page.count("<img") <= 20, case
        try:
            edit_plan(tmp_path, {"p1": {"source": "keep"}})
        except VidswapError as error:
            assert_one_line(error)


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_swap_requests_and_settings(tmp_path: Path, first: int) -> None:
    options = SwapOptions(start=1.5, max_memory=2 * 2**30, checkpoint=Path("a.st"))
    request = SwapRequest.of(["a.jpg"], "b.mp4", "c.mp4", options)
    for case in range(first, first + BATCH):
        dice = chance("request", case)
        text = request.to_json()
        if case % 2:
            text = damaged(text.encode(), dice).decode("utf-8", "replace")
        else:
            text = json.dumps(altered(json.loads(text), dice))
        try:
            SwapRequest.from_json(text)
        except VidswapError as error:
            assert_one_line(error)
        settings = tmp_path / "settings.toml"
        lines = b'k-shot = 5\nface = "largest"\nstart = 1.5\nmax-memory = "2G"\ncodec = "h264"\n'
        deep = b"a = " + b"[" * 2000 if case % 50 == 0 else b""
        settings.write_bytes(damaged(lines, dice) + deep)
        try:
            read_settings(settings, SwapOptions)
        except VidswapError as error:
            assert_one_line(error)


def test_the_pictures_that_are_attacked_are_good(
    tmp_path: Path, pictures: dict[str, bytes]
) -> None:
    for suffix, content in pictures.items():
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        with Image.open(path) as image:
            assert image.size == (40, 30)
