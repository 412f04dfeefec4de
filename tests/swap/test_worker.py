"""Requests as plain data, and a worker that keeps its nets."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
from pathlib import Path

import pytest

import vidswap
from vidswap.errors import BadOptionError, ForkedProcessError, VidswapError
from vidswap.swap import worker as worker_module
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest
from vidswap.swap.worker import Worker


def request(source: Path, target: Path, out: Path, checkpoint: Path) -> SwapRequest:
    return SwapRequest.of([source], target, out, SwapOptions(checkpoint=checkpoint, end=0.12))


def test_a_request_survives_json_and_pickle() -> None:
    options = SwapOptions(face=Path("who.png"), checkpoint=Path("c.safetensors"), crf=12, start=1.5)
    given = SwapRequest.of(["a.jpg", Path("b")], "t.mp4", "o.mkv", options)
    assert SwapRequest.from_json(given.to_json()) == given
    assert pickle.loads(pickle.dumps(given)) == given
    assert SwapRequest.from_json('{"sources": ["a"], "target": "t", "output": "o"}').options == (
        SwapOptions()
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[", "JSON"),
        ("[1]", "object"),
        ('{"sources": "a", "target": "t", "output": "o"}', "sources"),
        ('{"sources": ["a"], "target": 1, "output": "o"}', "target"),
        ('{"sources": ["a"], "target": "t", "output": "o", "colour": 1}', "colour"),
        ('{"sources": ["a"], "target": "t", "output": "o", "options": {"size": 1}}', "size"),
        (
            '{"sources": ["a"], "target": "t", "output": "o", "options": {"k_shot": "x"}}',
            "1 or more",
        ),
        ('{"sources": ["a"], "target": "t", "output": "o", "options": {"k_shot": 0}}', "1 or more"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_a_request_that_is_none_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(BadOptionError, match=named):
        SwapRequest.from_json(text)


def test_a_worker_keeps_its_nets_from_request_to_request(
    source_picture: Path,
    target_clip: Path,
    untrained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[object] = []
    load = worker_module.load_nets

    def counting(*arguments: object) -> object:
        loaded.append(arguments)
        return load(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(worker_module, "load_nets", counting)
    checkpoint = tmp_path / "net.safetensors"
    shutil.copyfile(untrained, checkpoint)
    outs = [tmp_path / f"{n}.mp4" for n in range(3)]
    with Worker() as worker:
        results = [
            worker.run(request(source_picture, target_clip, out, checkpoint)) for out in outs[:2]
        ]
        assert len(loaded) == 1
        with pytest.raises(VidswapError):
            worker.run(request(source_picture, tmp_path / "absent.mp4", outs[2], checkpoint))
        os.utime(checkpoint, ns=(1, 1))  # another file under the same name
        worker.run(request(source_picture, target_clip, outs[2], checkpoint))
        assert len(loaded) == 2
    assert [result.faces_swapped for result in results] == [3, 3]


def _swap(arguments: tuple[Path, Path, Path, Path]) -> str:
    try:
        with Worker() as worker:
            worker.run(request(*arguments))
    except ForkedProcessError as error:
        return str(error)
    return "swapped"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_swap_in_a_child_that_was_forked_after_one_is_refused_at_once(
    source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    given = (source_picture, target_clip, tmp_path / "parent.mp4", untrained)
    assert _swap(given) == "swapped"
    told, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs must not outlive the test
        answer = "failed"
        try:
            answer = _swap((*given[:2], tmp_path / "child.mp4", untrained))
        finally:
            os.write(write, answer.encode())
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    assert "spawn" in os.read(told, 4096).decode()
    assert not (tmp_path / "child.mp4").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="asks a POSIX system")
def test_a_spawned_child_swaps(
    source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    given = (source_picture, target_clip, tmp_path / "child.mp4", untrained)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_swap, [given]) == ["swapped"]
    assert (tmp_path / "child.mp4").exists()


def test_the_api_has_what_a_user_of_swap_frames_needs(
    source_picture: Path, target_clip: Path, untrained: Path
) -> None:
    options = vidswap.SwapOptions(checkpoint=untrained)
    models = vidswap.load_models(options)
    try:
        source = vidswap.read_source(models, [str(source_picture)], options)
        with vidswap.VideoReader(target_clip) as frames:
            swapped = list(vidswap.swap_frames(frames, source, models, options))
    finally:
        models.close()
    assert len(swapped) == 12
    assert all(isinstance(frame, vidswap.Frame) for frame in swapped)


def test_a_request_says_all_options_in_one_line_of_json() -> None:
    line = SwapRequest.of(["a"], "t", "o").to_json()
    assert "\n" not in line
    assert json.loads(line)["options"]["temporal_smoothing"] == SwapOptions().temporal_smoothing
