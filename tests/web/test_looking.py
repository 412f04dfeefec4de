"""A frame that the page shows is the frame of the run, and every pixel of it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.media.clips import make_clip
from tests.photographs import astronaut, grace_hopper
from tests.swap_fixtures import CLIP_FRAMES
from vidswap.errors import BadOptionError, NoFaceInSourceError
from vidswap.media.decoder import VideoReader
from vidswap.people.face_selection import FaceChooser
from vidswap.swap.faces import OneSource
from vidswap.swap.inspection import faces_of, swapped
from vidswap.swap.job import read_source
from vidswap.swap.options import SwapOptions
from vidswap.swap.path import swap_frames
from vidswap.swap.request import SwapRequest
from vidswap.swap.worker import Worker
from vidswap.web.frames import Target, as_png, thumbnail
from vidswap.web.layers import LAYERS
from vidswap.web.looking import LEAD, Looker
from vidswap.web.settings import SEEN

AT = 5
HOPPER = 140, 80, 250  # left, top and width of her face
# Of each setting of the page another value. A test of their own have checkpoint and cast.
CHANGES: dict[str, dict[str, object]] = {
    "mask": {"mask": "square"}, "reference": {"reference": False},
    "fill_source": {"fill_source": True},
    "reference_weight": {"reference_weight": 0.3}, "shape": {"shape": 0.0},
    "detail": {"detail": 0.0}, "colour_match": {"colour_match": 0.1},
    "temporal_smoothing": {"temporal_smoothing": 0.0}, "face": {"face": "all"},
    "source_face": {"source_face": "largest"}, "k_shot": {"k_shot": 2},
}  # fmt: skip
SAME_HERE = ("face", "source_face", "k_shot", "fill_source")  # of one person in one photograph


def quiet(words: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as made:
        yield made


@pytest.fixture
def request_(source_picture: Path, target_clip: Path, untrained: Path) -> SwapRequest:
    options = SwapOptions(checkpoint=untrained, precision="fp32")
    return SwapRequest.of([source_picture], target_clip, Path("out.mp4"), options)


def pixels(png: bytes | None) -> NDArray[np.uint8]:
    assert png is not None
    read = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    turned = cv2.COLOR_BGRA2RGBA if read.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(read, turned), np.uint8)


@pytest.mark.parametrize(
    "changes", [{}, {"mask": "square", "reference": False}, {"shape": 0.0, "colour_match": 0.2}]
)
def test_looking_closely_at_frames_gives_the_pixels_of_the_run(
    worker: Worker, request_: SwapRequest, changes: dict[str, object]
) -> None:
    options = replace(request_.options, **changes)  # type: ignore[arg-type]
    nets = worker.nets(options)
    source = read_source(nets, request_.sources, options)
    with VideoReader(request_.target) as reader:
        frames = [frame for _, frame in zip(range(4), reader, strict=False)]
    of_a_run = [frame.rgb for frame in swap_frames(frames, source, nets, options)]
    assigner = OneSource(FaceChooser.of(options.face, nets), source)
    found = faces_of(frames, assigner, nets)
    looked = [frame.rgb for frame, _ in swapped(found, assigner, nets, options)]
    assert len(looked) == len(of_a_run) == 4
    for one, other in zip(looked, of_a_run, strict=True):
        assert np.array_equal(one, other)
    assert any(
        not np.array_equal(one, frame.rgb) for one, frame in zip(looked, frames, strict=True)
    )


@pytest.fixture(scope="module")
def close_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source and a clip whose faces are larger than the generator's crop, and finer."""
    folder = tmp_path_factory.mktemp("close-up")
    grain = np.random.default_rng(0).normal(0, 9, (560, 480, 1))

    def enlarged(photo: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
        part = photo[top : top + side * 7 // 6, left : left + side]
        large = cv2.resize(part, (480, 560), interpolation=cv2.INTER_CUBIC)
        return np.clip(large + grain, 0, 255).astype(np.uint8)

    source, clip = folder / "source.png", folder / "clip.mkv"
    cv2.imwrite(str(source), enlarged(astronaut(), 140, 10, 170)[:, :, ::-1])
    make_clip(
        clip, picture=lambda n, *_: np.roll(enlarged(grace_hopper(), *HOPPER), 2 * n, axis=1),
        size=(480, 560), frames=3, codec="ffv1",
    )  # fmt: skip
    return source, clip


@pytest.mark.parametrize("name", ["default", *CHANGES])
def test_the_frame_of_the_page_is_the_frame_of_the_run(
    worker: Worker, untrained: Path, close_up: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    source, clip = close_up
    options = SwapOptions(
        checkpoint=untrained, precision="fp32", temporal_smoothing=0.5, no_provenance="a test"
    )
    changed = replace(options, **CHANGES.get(name, {}))  # type: ignore[arg-type]
    request = SwapRequest.of([source], clip, tmp_path / "f.%04d.png", changed)
    looker = Looker(worker)
    told = looker.look(request, 2, lead=True, encoded=False, tell=quiet)
    worker.run(request)
    lead = 0 if changed.temporal_smoothing == 0 else 2
    if lead == 0:  # then the page shows the frame as a run that begins with it
        at = replace(changed, start=2 / 25)
        worker.run(SwapRequest.of([source], clip, tmp_path / "g.%04d.png", at))
    of_the_run = tmp_path / (f"f.{3:04d}.png" if lead else f"g.{1:04d}.png")
    seen = pixels(looker.layer(told["id"], "after"))
    assert np.array_equal(seen, pixels(of_the_run.read_bytes())[..., :3])
    if name != "default":
        plain = looker.look(
            replace(request, options=options), 2, lead=True, encoded=False, tell=quiet
        )
        differs = not np.array_equal(seen, pixels(looker.layer(plain["id"], "after")))
        assert differs == (name not in SAME_HERE)


def test_every_setting_that_the_page_shows_is_tried() -> None:
    assert set(CHANGES) | {"checkpoint", "cast"} == SEEN


def test_a_look_has_layers_that_lie_where_the_face_is(
    worker: Worker, request_: SwapRequest
) -> None:
    looker = Looker(worker)
    told = looker.look(request_, AT, lead=False, encoded=False, tell=quiet)
    assert told["faces"] == 1 and told["layers"] == list(LAYERS)
    target = Target(request_.target)
    before = target.frame(AT).rgb
    after = pixels(looker.layer(told["id"], "after"))
    changed = np.any(after != before, axis=2)
    ((left, top, right, bottom),) = told["boxes"]
    rows, columns = np.nonzero(changed)
    assert left <= columns.min() and columns.max() <= right
    assert top <= rows.min() and rows.max() <= bottom
    for name in LAYERS:
        layer = pixels(looker.layer(told["id"], name))
        assert layer.shape == (*before.shape[:2], 4)
        rows, columns = np.nonzero(layer[..., 3])
        assert len(rows) > 0 or name == "occlusion"
        if len(rows):
            assert left - 1 <= columns.min() and columns.max() <= right + 1
    mask = pixels(looker.layer(told["id"], "mask"))[..., 3]
    assert mask[changed].astype(bool).mean() > 0.95  # what changed lies within the mask
    assert looker.layer(told["id"], "secrets") is None and looker.layer("99", "mask") is None


def test_a_setting_is_shown_without_finding_the_face_again(
    worker: Worker, request_: SwapRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    looker = Looker(worker)
    first = looker.look(request_, AT, lead=False, encoded=False, tell=quiet)
    monkeypatch.setattr("vidswap.web.looking.faces_of", None)
    monkeypatch.setattr("vidswap.web.looking.read_source", None)
    less = replace(request_, options=replace(request_.options, colour_match=0.0))
    second = looker.look(less, AT, lead=False, encoded=False, tell=quiet)
    one, other = (pixels(looker.layer(told["id"], "after")) for told in (first, second))
    assert not np.array_equal(one, other)


def test_temporal_smoothing_shows_with_the_frames_before(
    worker: Worker, request_: SwapRequest
) -> None:
    looker = Looker(worker)
    looks = []
    for smoothing in (0.0, 0.9):
        options = replace(request_.options, temporal_smoothing=smoothing)
        told = looker.look(
            replace(request_, options=options), AT, lead=True, encoded=False, tell=quiet
        )
        looks.append(pixels(looker.layer(told["id"], "after")))
    assert not np.array_equal(*looks)
    assert AT >= LEAD


def test_a_frame_as_encoded_is_what_the_codec_makes_of_it(
    worker: Worker, request_: SwapRequest
) -> None:
    looker = Looker(worker)
    plain = looker.look(request_, AT, lead=False, encoded=False, tell=quiet)
    exact = pixels(looker.layer(plain["id"], "after")).astype(int)
    wrong, sizes = {}, {}
    for name, changes in {
        "ffv1": {"codec": "ffv1"},
        "good": {"crf": 10},
        "bad": {"crf": 45},
    }.items():
        options = replace(request_.options, **changes)  # type: ignore[arg-type]
        output = Path("out.mkv")
        told = looker.look(
            replace(request_, options=options, output=output), AT, lead=False, encoded=True,
            tell=quiet,
        )  # fmt: skip
        wrong[name] = np.abs(pixels(looker.layer(told["id"], "after")) - exact)
        sizes[name] = told["encoded_bytes"]
    errors = {name: each.mean() for name, each in wrong.items()}
    assert errors["ffv1"] < errors["good"] < errors["bad"]
    ((left, top, right, bottom),) = plain["boxes"]
    wrong["ffv1"][top:bottom, left:right] = 0  # there the colours of four pixels are one
    assert not wrong["ffv1"].any()
    assert sizes["bad"] < sizes["good"] < sizes["ffv1"]


def test_what_a_run_would_refuse_a_look_refuses(
    worker: Worker, request_: SwapRequest, faceless_clip: Path
) -> None:
    looker = Looker(worker)
    with pytest.raises(NoFaceInSourceError, match="no face found"):
        bare = replace(request_, sources=(faceless_clip,))
        looker.look(bare, AT, lead=False, encoded=False, tell=quiet)
    with pytest.raises(BadOptionError, match=f"frame {CLIP_FRAMES}; .* has 0 to {CLIP_FRAMES - 1}"):
        looker.look(request_, CLIP_FRAMES, lead=False, encoded=False, tell=quiet)


def test_any_frame_in_any_order_is_the_one_of_the_clip(target_clip: Path) -> None:
    with VideoReader(target_clip) as reader:
        frames = [frame.rgb for frame in reader]
    target = Target(target_clip)
    assert target.count == CLIP_FRAMES == len(target.facts()["seconds"])
    for number in (7, 0, 11, 10, 3, 4, 5, 0, 11):
        shown = pixels(as_png(target.frame(number).rgb))
        assert np.array_equal(shown, frames[number]), number
    for number in (-1, CLIP_FRAMES):
        with pytest.raises(BadOptionError, match="has 0 to 11"):
            target.frame(number)


def test_a_picture_is_a_target_of_one_frame(source_picture: Path) -> None:
    target = Target(source_picture)
    facts = target.facts()
    assert (facts["kind"], facts["frames"], facts["width"]) == ("picture", 1, 512)
    assert target.frame(0).rgb.shape == (512, 512, 3)


def test_a_thumbnail_is_small_and_square(source_picture: Path, target_clip: Path) -> None:
    for path in (source_picture, target_clip, source_picture.parent):
        read = cv2.imdecode(np.frombuffer(thumbnail(path), np.uint8), cv2.IMREAD_COLOR)
        assert read.shape == (160, 160, 3)
