"""`vidswap inpaint` fills the hole and nothing else, in pictures and clips, whatever names it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests.faces.test_occlusion import with_glasses
from tests.media.clips import decoded_planes, frame_times, make_clip, sound_packets
from tests.photographs import astronaut, grace_hopper
from tests.swap_fixtures import CLIP_FRAMES, moved
from vidswap.commands.main import main
from vidswap.errors import BadOptionError, CheckpointError
from vidswap.inpainting.id_gan import IdGanConfig, InpaintingNet
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.media.decoder import VideoReader
from vidswap.media.marks import read_marks
from vidswap.nets import load_detector
from vidswap.swap.holes import hole_in_crop, hole_in_frame
from vidswap.swap.inpaint_job import inpaint_file
from vidswap.swap.inpaint_options import InpaintOptions
from vidswap.swap.options import SwapCounts


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small net that answers with one colour, whatever it sees: blending is what is tested."""
    torch.manual_seed(0)
    net = InpaintingNet(IdGanConfig((4, 4, 4, 4)))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.last[1].bias.fill_(0.3)
    path = tmp_path_factory.mktemp("weights") / "idgan.safetensors"
    save_inpainter(net, path, 5)
    return path


def filled(
    folder: Path, picture: np.ndarray, weights: Path, region: str | Path
) -> tuple[np.ndarray, dict]:
    """A picture filled by the command, and what the command says of it."""
    given, out = folder / "given.png", folder / "out.png"
    cv2.imwrite(str(given), picture[:, :, ::-1])
    command = ["inpaint", str(given), "-o", str(out), "--checkpoint", str(weights), "--json"]
    result = CliRunner().invoke(main, [*command, "--region", str(region), "--overwrite"])
    assert result.exit_code == 0, result.output
    return cv2.imread(str(out))[:, :, ::-1], json.loads(result.output)


def white_square(folder: Path, shape: tuple[int, ...]) -> tuple[Path, np.ndarray]:
    """A mask file over the astronaut's mouth, and the mask."""
    mask = np.zeros(shape[:2], np.uint8)
    mask[140:170, 190:250] = 255
    cv2.imwrite(str(folder / "mask.png"), mask)
    return folder / "mask.png", mask > 0


def test_pixels_outside_a_mask_are_the_inputs_and_what_was_under_it_is_gone(
    weights: Path, tmp_path: Path
) -> None:
    photo = astronaut()
    path, mask = white_square(tmp_path, photo.shape)
    scratched = photo.copy()
    scratched[mask] = (255, 0, 255)
    out, told = filled(tmp_path, scratched, weights, path)
    assert np.array_equal(out[~mask], photo[~mask])
    assert told["faces_filled"] == 1 and told["model"] == "idgan" and told["images_trained"] == 5
    # One colour filled in by its gradients takes on the tone of what is around it.
    around = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9))) > mask
    assert np.abs(out[mask].mean(axis=0) - photo[around].mean(axis=0)).max() < 30
    assert read_marks(tmp_path / "out.png")


def test_a_colour_names_the_hole(weights: Path, tmp_path: Path) -> None:
    photo = astronaut()
    _, mask = white_square(tmp_path, photo.shape)
    scratched = photo.copy()
    scratched[mask] = (255, 0, 255)
    out, _ = filled(tmp_path, scratched, weights, "#ff00ff")
    assert np.array_equal(out[~mask], photo[~mask])
    assert (np.abs(out[mask].astype(int) - (255, 0, 255)).sum(axis=1) > 60).all()


def test_a_region_is_filled_on_the_face_alone(weights: Path, tmp_path: Path) -> None:
    photo = astronaut()
    out, told = filled(tmp_path, photo, weights, "mouth")
    changed = (out != photo).any(axis=2)
    ys, xs = np.nonzero(changed)
    assert told["faces_filled"] == 1 and 200 < changed.sum() < 8000
    assert 120 < ys.mean() < 200 and 180 < xs.mean() < 270


def test_glasses_are_found_and_a_bare_face_is_left_alone(weights: Path, tmp_path: Path) -> None:
    bare, told = filled(tmp_path, astronaut(), weights, "glasses")
    assert np.array_equal(bare, astronaut()) and told["faces_filled"] == 0
    assert "no face with anything to fill" in " ".join(told["warnings"])
    detector, finder = load_detector("blazeface")
    face = finder.landmarks(astronaut(), detector.detect(astronaut())[0])
    detector.close()
    finder.close()
    assert face is not None
    worn = with_glasses(astronaut(), face.landmarks)
    out, told = filled(tmp_path, worn, weights, "glasses")
    assert told["faces_filled"] == 1
    assert (out != worn).any()


def test_a_clip_keeps_its_times_and_sound(weights: Path, target_clip: Path, tmp_path: Path) -> None:
    options = InpaintOptions(checkpoint=weights, region="eyes", crf=10)
    out = tmp_path / "out.mp4"
    result = inpaint_file(target_clip, out, options)
    assert result.frames == result.faces_filled == CLIP_FRAMES
    assert frame_times(out) == frame_times(target_clip)
    assert sound_packets(out) == sound_packets(target_clip)


def test_a_clip_of_masks_is_read_in_step_and_must_be_long_enough(
    weights: Path, target_clip: Path, tmp_path: Path
) -> None:
    def masks(name: str, frames: int) -> Path:
        def drawn(index: int, width: int, height: int) -> np.ndarray:
            picture = np.zeros((height, width, 3), np.uint8)
            picture[180:200, 20 + 10 * index : 30 + 10 * index] = 255  # beside the face
            return picture

        return make_clip(
            tmp_path / name, picture=drawn, size=(320, 240), frames=frames, options={"crf": "1"}
        )

    options = InpaintOptions(checkpoint=weights, region=masks("masks.mp4", CLIP_FRAMES), crf=4)
    out = tmp_path / "out.mp4"
    inpaint_file(target_clip, out, options)
    with VideoReader(target_clip) as before, VideoReader(out) as after:
        for index, (a, b) in enumerate(zip(before, after, strict=True)):
            difference = np.abs(a.rgb.astype(int) - b.rgb).mean(axis=2)
            hole = np.zeros(difference.shape, bool)
            hole[178:202, 16 + 10 * index : 34 + 10 * index] = True
            assert difference[~hole].mean() < 1.5
    short = InpaintOptions(checkpoint=weights, region=masks("short.mp4", 4))
    with pytest.raises(BadOptionError, match="ends after 4 frames"):
        inpaint_file(target_clip, tmp_path / "none.mp4", short)
    assert not (tmp_path / "none.mp4").exists()


def test_what_cannot_be_filled_is_refused_before_any_work(
    weights: Path, untrained: Path, tmp_path: Path
) -> None:
    given, out = tmp_path / "given.png", tmp_path / "out.png"
    cv2.imwrite(str(given), astronaut())
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.full((10, 10), 255, np.uint8))

    def refused(match: str, **settings: object) -> None:
        with pytest.raises(BadOptionError, match=match):
            inpaint_file(given, out, InpaintOptions(**{"checkpoint": weights, **settings}))  # type: ignore[arg-type]
        assert not out.exists()

    refused("10x10 pixels and the target 512x512", region=small)
    refused("no such file; give a picture", region=tmp_path / "none.png")
    refused("six hexadecimal digits", region=Path("#ff00"))
    refused("holds idgan, and --model is latent", model="latent")
    refused("holds apgan", checkpoint=untrained)
    with pytest.raises(BadOptionError, match="takes no --source"):
        inpaint_file(given, out, InpaintOptions(checkpoint=weights), [given])


def test_a_model_whose_weights_do_not_come_along_is_named(tmp_path: Path) -> None:
    from vidswap.swap import inpaint_job

    with pytest.raises(CheckpointError, match="no weights of nobody"):
        inpaint_job.CHECKPOINTS["nobody"] = "nobody.safetensors"
        try:
            inpaint_job.packaged("nobody")
        finally:
            del inpaint_job.CHECKPOINTS["nobody"]


def test_holes_go_into_the_crop_and_back() -> None:
    affine = np.array([[0.8, 0.3, -20.0], [-0.3, 0.8, 60.0]])
    mask = np.zeros((240, 320), bool)
    mask[100:140, 120:180] = True
    hole = hole_in_crop(mask, affine)
    assert hole is not None
    back = hole_in_frame(hole, affine, (240, 320))
    assert back[mask].all() and back.sum() < 1.3 * mask.sum()
    assert hole_in_crop(np.zeros((240, 320), bool), affine) is None


def test_a_still_is_filled_again_where_the_first_filling_shows_a_face(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidswap.swap import inpaint_path

    seen = []
    before = inpaint_path.stages.find_faces

    def watched(frames, *rest):  # type: ignore[no-untyped-def]
        frames = list(frames)
        seen.append(frames[0].rgb)
        return before(frames, *rest)

    monkeypatch.setattr(inpaint_path.stages, "find_faces", watched)
    path, mask = white_square(tmp_path, astronaut().shape)
    _, told = filled(tmp_path, astronaut(), weights, path)
    assert told["frames"] == told["faces_filled"] == 1 and len(seen) == 2
    assert not np.array_equal(seen[0], seen[1])  # Telea's filling, then the model's own
    assert np.array_equal(seen[0][~mask], seen[1][~mask])


class StoppedError(Exception):
    """Ends a run from within, as a crash would."""


@pytest.mark.parametrize("region", ["eyes", "moving mask"])
def test_a_job_that_was_broken_off_goes_on_to_the_same_result(
    weights: Path, tmp_path: Path, region: str
) -> None:
    n_frames = 22
    photo = grace_hopper()
    clip = make_clip(
        tmp_path / "clip.mp4", size=(192, 144), frames=n_frames, options={"crf": "12"},
        picture=lambda index, width, height: moved(photo, index, width, height),
    )  # fmt: skip
    given: str | Path = region
    if region == "moving mask":

        def drawn(index: int, width: int, height: int) -> np.ndarray:
            picture = np.zeros((height, width, 3), np.uint8)
            picture[60:80, 60 + 2 * index : 75 + 2 * index] = 255
            return picture

        given = make_clip(tmp_path / "mask.mp4", picture=drawn, size=(192, 144), frames=n_frames)
    options = InpaintOptions(
        checkpoint=weights, region=given, segment_frames=8, codec="ffv1", overwrite=True,
        no_provenance="a test",
    )  # fmt: skip
    whole, out = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    inpaint_file(clip, whole, options)

    def stop(counts: SwapCounts) -> None:
        if counts.frames >= 16:
            raise StoppedError

    with pytest.raises(StoppedError):
        inpaint_file(clip, out, options, progress=stop)
    assert not out.exists()
    result = inpaint_file(clip, out, options)
    assert result.frames_kept >= 8 and result.frames == n_frames
    for one, other in zip(decoded_planes(out), decoded_planes(whole), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
