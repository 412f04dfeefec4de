"""The whole job on real clips: what must come through, and a swap by the shipped weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import vidswap
from tests.faces.test_occlusion import with_glasses
from tests.media.clips import decoded_planes, frame_times, make_clip, sound_packets
from tests.photographs import astronaut, grace_hopper
from tests.swap_fixtures import CLIP_FRAMES, moved
from vidswap.blending.paste import MaskName
from vidswap.commands.main import main
from vidswap.faces.align import CROP_SIZE, face_affine, warp_points
from vidswap.info import describe
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.marks import read_marks
from vidswap.media.picture import read_picture
from vidswap.models.apgan.generator import Generator
from vidswap.models.checkpoint import default_checkpoint, load_generator
from vidswap.nets import Nets, load_nets
from vidswap.people.source import SourceReader
from vidswap.runtime.memory import QUEUE_DEPTH
from vidswap.swap.options import SwapCounts, SwapOptions
from vidswap.swap.path import swap_frames


@pytest.fixture(scope="module")
def nets(untrained: Path) -> Iterator[Nets]:
    loaded = load_nets(untrained)
    yield loaded
    loaded.close()


def embedding(reader: SourceReader, rgb: np.ndarray) -> np.ndarray:
    faces = reader.faces(rgb)
    assert faces, "no face in the picture"
    return reader.embed(rgb, faces[0])[1].embedding[0].numpy()


def test_frame_times_and_sound_come_through(
    source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    options = SwapOptions(checkpoint=untrained)
    result = vidswap.swap_video([source_picture], target_clip, out, options)
    assert result.frames == result.faces_swapped == CLIP_FRAMES
    assert frame_times(out) == frame_times(target_clip)
    assert sound_packets(out) == sound_packets(target_clip)
    sizes = [[plane.shape for plane in planes] for planes in decoded_planes(out)]
    assert sizes == [[plane.shape for plane in planes] for planes in decoded_planes(target_clip)]


def test_only_the_faces_box_changes(source_picture: Path, untrained: Path, tmp_path: Path) -> None:
    """With a lossless codec the planes away from the face are the target's, bit for bit."""
    photo = grace_hopper()

    def picture(index: int, width: int, height: int) -> np.ndarray:
        frame = moved(photo, index, width, height)
        frame[:, :140] = frame[:, -140:] = 90  # her mirror images would be swapped too
        return frame

    target = make_clip(
        tmp_path / "wide.mkv",
        picture=picture,
        size=(640, 240),
        frames=5,
        codec="ffv1",
    )
    out = tmp_path / "out.mkv"
    vidswap.swap_video(
        [source_picture], target, out, SwapOptions(checkpoint=untrained, codec="ffv1")
    )
    for before, after in zip(decoded_planes(target), decoded_planes(out), strict=True):
        changed = np.flatnonzero((before[0] != after[0]).any(axis=0))
        assert len(changed) > 50, "the face was not changed at all"
        # The head is in the middle third; its crop is far from the sides.
        assert changed.min() > 100 and changed.max() < 540


def test_the_output_says_that_it_is_synthetic(
    source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    result = vidswap.swap_video(
        [source_picture], target_clip, out, SwapOptions(checkpoint=untrained, crf=20)
    )
    marks = read_marks(out)
    assert marks["vidswap_synthetic"] == "true"
    assert marks["vidswap_version"] == vidswap.__version__
    assert marks["vidswap_checkpoint"] == result.checkpoint_sha256
    assert json.loads(marks["vidswap_settings"])["crf"] == 20


def test_a_picture_gives_a_picture(untrained: Path, source_picture: Path, tmp_path: Path) -> None:
    target, out = tmp_path / "hopper.png", tmp_path / "out.png"
    cv2.imwrite(str(target), grace_hopper()[:, :, ::-1])
    result = vidswap.swap_video([source_picture], target, out, SwapOptions(checkpoint=untrained))
    assert (result.frames, result.faces_swapped) == (1, 1)
    before, after = grace_hopper(), read_picture(out).rgb
    assert after.shape == before.shape
    assert np.abs(after[150:250, 220:320].astype(int) - before[150:250, 220:320]).mean() > 1
    np.testing.assert_array_equal(after[-20:], before[-20:])
    assert read_marks(out)["vidswap_synthetic"] == "true"


def test_start_and_end_cut_the_target(
    source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    options = SwapOptions(checkpoint=untrained, start=0.12, end=0.32)
    result = vidswap.swap_video([source_picture], target_clip, out, options)
    assert result.frames == 5
    assert frame_times(out)[0] == 0


def test_all_faces_or_only_the_one_of_a_picture(
    nets: Nets, source_picture: Path, tmp_path: Path
) -> None:
    hopper = cv2.resize(grace_hopper(), (432, 512))
    both = Frame.from_rgb(np.concatenate([astronaut(), hopper], axis=1))
    reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
    identity = reader.read([source_picture]).identity
    portrait = tmp_path / "hopper.png"
    cv2.imwrite(str(portrait), grace_hopper()[:, :, ::-1])

    def changed_halves(face: str | Path) -> tuple[bool, bool]:
        (after,) = swap_frames([both], identity, nets, SwapOptions(face=face))
        difference = np.abs(after.rgb.astype(int) - both.rgb).max(axis=(0, 2))
        return bool(difference[:512].any()), bool(difference[512:].any())

    assert changed_halves("all") == (True, True)
    assert changed_halves(portrait) == (False, True)
    assert sum(changed_halves("largest")) == 1


def test_k_shot_uses_k_frames_and_names_those_left_out(
    nets: Nets, target_clip: Path, faceless_clip: Path
) -> None:
    reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
    source = reader.read([target_clip, faceless_clip], k_shot=4)
    assert len(source.used) == 4
    assert [reason for _, reason in source.left_out] == ["no face"] * 4
    one_frame = reader.read([target_clip], k_shot=1).identity
    assert 0 < float((source.identity.embedding - one_frame.embedding).norm()) < 0.3


def test_more_frames_are_shown_than_make_the_identity(nets: Nets, target_clip: Path) -> None:
    reader = SourceReader.of(nets)
    few, many = (reader.read([target_clip], 4, n_references=n) for n in (0, 12))
    assert len(few.used) == len(many.used) == 4
    assert len(few.references) < 12 <= len(many.references)


def test_the_generator_is_shown_the_source_unless_told_otherwise(
    nets: Nets, untrained: Path, source_picture: Path
) -> None:
    reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
    source = reader.read([source_picture])
    loaded = load_generator(untrained, nets.device, nets.dtype)
    nets = replace(nets, generator=loaded)  # in its plain form, as the one it is compared with
    without = Generator(replace(loaded.net.config, reference=False)).eval()
    without.load_state_dict(loaded.net.state_dict(), strict=False)
    plain = replace(nets, generator=replace(loaded, net=without.to(nets.dtype)))
    frame = Frame.from_rgb(grace_hopper())

    def swapped(with_nets: Nets, reference: bool) -> np.ndarray:
        options = SwapOptions(reference=reference, colour_match=0.0)
        (after,) = swap_frames([frame], source, with_nets, options)
        return after.rgb.astype(int)

    before = swapped(plain, True)
    np.testing.assert_array_equal(swapped(nets, False), before)
    changed = np.abs(swapped(nets, True) - before).max(axis=2) > 8
    assert changed.any()


def test_a_generator_of_128_pixels_swaps_as_well(
    nets: Nets, untrained: Path, source_picture: Path
) -> None:
    config = replace(load_generator(untrained).net.config, size=128, reference=False)
    small = Generator(config).eval().to(nets.dtype)
    small_nets = replace(nets, generator=replace(nets.generator, net=small))
    reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
    frame = Frame.from_rgb(grace_hopper())
    identity = reader.read([source_picture]).identity
    (after,) = swap_frames([frame], identity, small_nets)
    assert (after.rgb != frame.rgb).any(axis=2).mean() > 0.02


def test_what_lies_before_the_face_keeps_its_pixels(nets: Nets, source_picture: Path) -> None:
    reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
    source, picture = reader.read([source_picture]), astronaut()
    face = reader.faces(picture)[0]
    affine = face_affine(face.landmarks)
    eyes = warp_points(affine, face.landmarks)[[33, 263]].mean(axis=0)
    scarf = np.zeros((256, 256), np.uint8)
    scarf[int(eyes[1]) + 45 :] = 255  # over nose, mouth and chin
    back = cv2.invertAffineTransform(affine)
    size = picture.shape[1::-1]
    on_frame = cv2.warpAffine(scarf, back, size, flags=cv2.INTER_NEAREST) > 0
    picture[on_frame] = (40, 70, 120)
    inner = cv2.erode(on_frame.astype(np.uint8), np.ones((9, 9))) > 0

    def changed(mask: MaskName) -> np.ndarray:
        frame = Frame.from_rgb(picture)
        options = SwapOptions(mask=mask, colour_match=0.0)
        (after,) = swap_frames([frame], source, nets, options)
        return (after.rgb != picture).any(axis=2)

    kept, all_of_it = changed("face"), changed("outline")
    assert kept[~on_frame].sum() > 2000
    assert not kept[inner].any()
    assert all_of_it[inner].sum() > 2000


def test_the_photograph_shown_is_the_most_frontal_one_without_glasses(
    nets: Nets, source_picture: Path, tmp_path: Path
) -> None:
    reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
    picture = astronaut()
    picture = with_glasses(picture, reader.faces(picture)[0].landmarks)
    cv2.imwrite(str(tmp_path / "worn.png"), picture[:, :, ::-1])
    worn = reader.read([tmp_path / "worn.png"])
    both = reader.read([tmp_path / "worn.png", source_picture])
    assert worn.photograph is not None and both.photograph is not None
    np.testing.assert_array_equal(worn.photograph.crop, both.crops[0])
    np.testing.assert_array_equal(both.photograph.crop, both.crops[1])


def test_a_blurred_frame_is_left_out(nets: Nets, source_picture: Path, tmp_path: Path) -> None:
    blurred = tmp_path / "blurred.png"
    cv2.imwrite(str(blurred), cv2.GaussianBlur(astronaut(), (0, 0), 4)[:, :, ::-1])
    reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
    source = reader.read([source_picture, blurred])
    assert source.used == ("astronaut.png",)
    assert source.left_out == (("blurred.png", "blurred"),)


def test_frames_are_held_in_bounded_number(nets: Nets, source_picture: Path) -> None:
    """The stream is never read far ahead of what was given out."""
    photo = grace_hopper()
    read = 0

    def frames() -> Iterator[Frame]:
        nonlocal read
        for index in range(200):
            read += 1
            yield Frame.from_rgb(moved(photo, index % 30, 160, 120), pts=index)

    reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
    identity = reader.read([source_picture]).identity
    counts = SwapCounts()
    swapped = swap_frames(frames(), identity, nets, SwapOptions(batch_size=2), counts)
    for _ in range(20):
        next(swapped)
    ahead = read - counts.frames
    swapped.close()
    # Four queues, the tracker's delay and two batches.
    assert ahead <= 4 * (QUEUE_DEPTH + 2) + 10 + 4 * 2


def test_json_reports_counts_stages_and_memory(
    source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    arguments = ["run", source_picture, target_clip, "-o", tmp_path / "o.mp4", "--json"]
    result = CliRunner().invoke(main, [*map(str, arguments), "--checkpoint", str(untrained)])
    report = json.loads(result.stdout)
    assert report["frames"] == report["faces_swapped"] == CLIP_FRAMES
    assert report["frames_without_face"] == 0
    assert {"decode", "detect", "generate", "blend", "encode"} <= set(report["seconds_by_stage"])
    assert report["peak_memory_mib"] > 100


def test_preview_is_before_and_after(
    source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "preview.png"
    arguments = ["preview", source_picture, target_clip, "-o", out, "--checkpoint", untrained]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    rgb = read_picture(out).rgb
    assert rgb.shape == (240, 640, 3)
    with VideoReader(target_clip) as reader:
        originals = [frame.rgb for frame in reader]
    assert any(np.array_equal(rgb[:, :320], original) for original in originals)
    assert not np.array_equal(rgb[:, :320], rgb[:, 320:])


def test_info_tells_the_people_apart(target_clip: Path, tmp_path: Path) -> None:
    facts = describe(target_clip)
    assert (facts["width"], facts["height"], facts["frames"]) == (320, 240, CLIP_FRAMES)
    assert len(facts["people"]) == 1 and facts["people"][0]["share_of_frames"] == 1.0
    both = tmp_path / "both.png"
    hopper = cv2.resize(grace_hopper(), (432, 512))
    cv2.imwrite(str(both), np.concatenate([astronaut(), hopper], axis=1)[:, :, ::-1])
    assert len(describe(both)["people"]) == 2


@pytest.mark.skipif(not default_checkpoint().is_file(), reason="no shipped checkpoint")
def test_the_shipped_weights_move_the_face_towards_the_source(
    source_picture: Path, target_clip: Path, tmp_path: Path
) -> None:
    """By dlib's net: nearer to the source than before, and nearer to it than to the target."""
    out = tmp_path / "out.mp4"
    vidswap.swap_video([source_picture], target_clip, out)
    shipped = load_nets()
    reader = SourceReader(shipped.detector, shipped.landmark_finder, shipped.encoder)
    wanted = embedding(reader, astronaut())
    with VideoReader(target_clip) as clip:
        before = [embedding(reader, frame.rgb) for frame in clip]
    with VideoReader(out) as clip:
        after = [embedding(reader, frame.rgb) for frame in clip]
    shipped.close()
    assert shipped.generator.size == CROP_SIZE
    for old, new in zip(before, after, strict=True):
        assert np.linalg.norm(new - wanted) < np.linalg.norm(old - wanted)
        assert np.linalg.norm(new - wanted) < np.linalg.norm(new - old)


def test_a_black_and_white_clip_stays_black_and_white(
    nets: Nets, source_picture: Path, target_clip: Path
) -> None:
    source = SourceReader.of(nets).read([source_picture])
    luma = np.rint(grace_hopper() @ np.array([0.2126, 0.7152, 0.0722]))
    frame = Frame.from_rgb(np.repeat(luma[..., None], 3, axis=2).astype(np.uint8))
    for after in swap_frames([frame, frame], source, nets):
        assert (after.rgb != frame.rgb).any()
        assert np.ptp(after.rgb.astype(int), axis=2).max() == 0
