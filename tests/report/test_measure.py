"""Whole reports on clips whose faults are known."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.metrics.test_onnx_nets import mean_net
from tests.photographs import astronaut
from tests.report.clips import (
    CENTRE,
    FRAMES,
    SIZE,
    blurred_face,
    brighter_face,
    hopper,
    lossless,
    moved,
    only_in,
    write,
    write_two_people,
)
from vidswap.errors import BadOptionError, InputNotFoundError
from vidswap.faces.align import ARCFACE_112, five_points, similarity_transform
from vidswap.metrics.record import Curve, Report
from vidswap.metrics.registry import METRICS
from vidswap.report.measure import ReportOptions, load_report_nets, measure_clip
from vidswap.report.nets import ReportNets, load_id_model
from vidswap.report.tables import plain

NEVER = {m.name for m in METRICS if m.absent}
OF_SOURCE = {"identity_retrieval", "cosine_to_source", "identity_discrepancy", "match_score"}


@pytest.fixture(scope="module")
def nets() -> Iterator[ReportNets]:
    with closing(load_report_nets(ReportOptions())) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def target(folder: Path) -> Path:
    return write(folder / "report-target.mkv")


@pytest.fixture(scope="module")
def itself(target: Path, nets: ReportNets) -> Report:
    return measure_clip(target, target, nets=nets)


@pytest.fixture(scope="module")
def bright(folder: Path, target: Path, nets: ReportNets, source_picture: Path) -> Report:
    """The face brighter by 24 levels in all frames but two in the middle."""
    lit = [i for i in range(FRAMES) if i not in (6, 7)]
    path = write(folder / "bright.mkv", only_in(lit, brighter_face(24)))
    return measure_clip(target, path, [source_picture], nets=nets)


def value(report: Report, name: str) -> float:
    found = report.figure(name).value
    assert found is not None, report.figure(name).absent
    return found


def curve(report: Report, name: str) -> Curve:
    return next(c for c in report.curves if c.name == name)


def test_a_clip_against_itself_is_perfect_in_everything_that_can_be_measured(
    itself: Report,
) -> None:
    perfect = {m.name: m.perfect for m in METRICS if m.perfect is not None}
    measured = {f.name: f for f in itself.figures if f.value is not None and f.name in perfect}
    assert {"cosine_to_target", "dipd", "pose_distance", "ssim", "seam", "fid_dlib"} <= set(
        measured
    )
    for name, figure in measured.items():
        assert figure.value == pytest.approx(perfect[name], abs=1e-6), name
        assert figure.passes is not False, name
    assert value(itself, "flow_warp") == pytest.approx(value(itself, "flow_warp_target"))
    assert itself.frames == itself.frames_with_face == FRAMES and itself.size == SIZE
    assert any("nothing was swapped" in warning for warning in itself.warnings)


def test_what_has_no_value_says_why_and_nothing_else_is_missing(itself: Report) -> None:
    absent = {figure.name: figure.absent for figure in itself.figures if figure.value is None}
    hardly = {"eye_correlation", "mouth_correlation", "gaze_correlation"}
    assert set(absent) <= NEVER | OF_SOURCE | hardly | {"unswapped_frames"}
    assert all(absent.values()) and absent["match_score"] == "no source was given"
    assert "no face of the clip was changed" in absent["unswapped_frames"]
    assert "in no package" in absent["lpips"]


def test_every_metric_is_in_the_report_in_order_with_its_net_and_source(itself: Report) -> None:
    assert [f.name for f in itself.figures] == [m.name for m in METRICS]
    assert "took part in training" in itself.figure("cosine_to_target").net
    assert (
        "DIS" in itself.figure("endpoint_error").net
        and "eq. 15" in itself.figure("flow_warp").source
    )


def test_a_face_brighter_by_24_levels_is_measured_as_such(bright: Report) -> None:
    seam, strength = (curve(bright, name).values for name in ("seam", "swap_strength"))
    lit = [i for i in range(FRAMES) if i not in (6, 7)]
    assert np.mean([strength[i] for i in lit]) == pytest.approx(24, abs=3)
    assert 6 < np.mean([seam[i] for i in lit]) < 24
    assert [seam[i] for i in (6, 7)] == pytest.approx([0, 0], abs=0.5)
    assert value(bright, "colour_shift") > 4 and bright.figure("colour_shift").passes is False
    assert value(bright, "mse_face") == pytest.approx(24**2 * len(lit) / FRAMES, rel=0.2)


def test_two_frames_left_unswapped_are_found_and_flicker_twice(bright: Report) -> None:
    assert value(bright, "unswapped_frames") == pytest.approx(2 / FRAMES)
    assert value(bright, "flicker") == pytest.approx(2 / ((FRAMES - 1) / 25))
    assert value(bright, "flow_warp_ratio") > 1.5  # it goes off and on again
    assert bright.figure("flicker").passes is False


def test_likeness_to_a_source_that_was_not_used_is_low(bright: Report) -> None:
    assert value(bright, "identity_retrieval") == 0
    assert value(bright, "cosine_to_target") > 0.97 > value(bright, "cosine_to_source")
    discrepancy = value(bright, "identity_discrepancy")
    assert discrepancy == pytest.approx(1 - value(bright, "cosine_to_source"), abs=1e-6)
    assert curve(bright, "cosine_to_source").second  # the target's own


def test_the_worst_and_the_best_moments_are_pictures_of_those_frames(bright: Report) -> None:
    worst = [m for m in bright.moments if m.kind == "worst"]
    best = [m for m in bright.moments if m.kind == "best"]
    assert worst and len({m.frame for m in bright.moments}) == len(bright.moments)
    for moment in bright.moments:
        assert moment.target.shape == moment.swapped.shape == (256, 256, 3)
        if moment.frame > 0:  # the first frame has none before it
            assert moment.flow_error is not None and moment.flow_error.shape == (256, 256)
        assert moment.because and moment.seconds == pytest.approx(moment.frame / 25)
    assert not best or best[0].frame in (6, 7)
    # The eyes of the aligned crop stand still while the frame drifts.
    assert np.abs(worst[0].swapped.astype(int) - worst[0].target).mean() > 2


def test_intervals_hold_their_values_and_curves_have_a_value_a_frame(bright: Report) -> None:
    intervals = [(f.value, f.interval) for f in bright.figures if f.value and f.interval]
    assert len(intervals) > 10 and bright.figure("seam").interval is not None
    for middle, (low, high) in intervals:
        assert low - 1e-9 <= middle <= high + 1e-9
    for found in bright.curves:
        assert len(found.values) == len(found.seconds) == bright.frames
    assert curve(bright, "yaw").second and curve(bright, "ssim_face").seconds[-1] == pytest.approx(
        (FRAMES - 1) / 25
    )


def test_the_more_a_face_is_blurred_the_worse_are_its_numbers(
    folder: Path, target: Path, nets: ReportNets, itself: Report
) -> None:
    reports = [itself]
    for deviation in (1.5, 4.0):
        path = write(folder / f"blurred-{deviation}.mkv", blurred_face(deviation))
        reports.append(measure_clip(target, path, nets=nets))
    for name in ("ssim", "ssim_face", "psnr_face", "sharpness_ratio"):
        values = [value(report, name) for report in reports]
        assert values == sorted(values, reverse=True), name
    for name in ("dipd", "mse", "expression_distance", "landmark_jitter", "endpoint_error"):
        values = [value(report, name) for report in reports]
        assert values == sorted(values), name
    assert value(reports[2], "fid_dlib") > value(reports[0], "fid_dlib")
    assert value(reports[1], "ssim_outside") > 0.97


def test_the_seconds_of_every_metric_and_the_nets_are_told(bright: Report) -> None:
    seconds = bright.settings["seconds_by_metric"]
    assert {"decode target", "track", "flow", "SSIM, PSNR, MSE"} <= set(seconds)
    assert all(s > 0 for s in (seconds["decode target"], seconds["track"], seconds["flow"]))
    json.dumps(plain(bright.settings)), json.dumps(plain(bright.provenance))
    assert bright.provenance["verdict"] == "none"


def test_a_shorter_swap_is_measured_as_far_as_it_goes_and_progress_counts_its_frames(
    folder: Path, target: Path, nets: ReportNets
) -> None:
    told: list[tuple[int, int]] = []
    short = write(folder / "short.mkv", frames=8)
    report = measure_clip(
        target, short, nets=nets, progress=lambda done, of: told.append((done, of))
    )
    assert report.frames == 8 and value(report, "missing_frames") == 0
    assert told == [(i + 1, 8) for i in range(8)]
    assert any("0.32 s long" in w and "0.56 s" in w for w in report.warnings)


def test_one_who_breaks_off_leaves_no_thread_behind(target: Path, nets: ReportNets) -> None:
    def stop(done: int, of: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    threads, before = threading.active_count(), torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        measure_clip(target, target, nets=nets, progress=stop)
    assert threading.active_count() == threads and torch.get_num_threads() == before


def test_a_dropped_frame_is_missing_and_the_others_still_fit(
    folder: Path, target: Path, nets: ReportNets
) -> None:
    kept = [i for i in range(FRAMES) if i != 5]
    path = lossless(folder / "dropped.mkv", lambda i: moved(hopper(), kept[i]), pts=kept)
    report = measure_clip(target, path, nets=nets)
    assert value(report, "missing_frames") == pytest.approx(1 / FRAMES)
    assert report.frames == FRAMES - 1 and value(report, "ssim") > 0.999
    assert any("1 of 14 frames" in w for w in report.warnings)


def test_half_the_frame_rate_pairs_the_frames_shown_at_one_time(
    folder: Path, target: Path, nets: ReportNets
) -> None:
    path = lossless(
        folder / "half.mkv",
        lambda i: moved(hopper(), 2 * i),
        frames=7,
        pts=[2 * i for i in range(7)],
        rate=Fraction(25, 2),
    )
    report = measure_clip(target, path, nets=nets)
    assert report.frames == 7 and value(report, "ssim") > 0.999
    assert any("25 and 12.5 frames per second" in w for w in report.warnings)


def test_a_swap_of_half_the_size_is_scaled_with_a_warning(
    folder: Path, target: Path, nets: ReportNets, itself: Report
) -> None:
    path = write(folder / "small.mkv", size=(160, 120), frames=6)
    report = measure_clip(target, path, nets=nets)
    assert any("320x240 and 160x120" in w for w in report.warnings)
    assert 0.6 < value(report, "ssim") < 0.999 and value(report, "pose_distance") < 3


def test_clips_of_two_shapes_are_refused(folder: Path, target: Path, nets: ReportNets) -> None:
    path = write(folder / "square.mkv", size=(240, 240), frames=2)
    with pytest.raises(BadOptionError, match="different aspect ratios, 320x240 and 240x240"):
        measure_clip(target, path, nets=nets)


def test_a_swap_two_frames_late_is_told(folder: Path, nets: ReportNets) -> None:
    clips = [write(folder / f"late-{late}.mkv", frames=9, late=late) for late in (0, 2)]
    report = measure_clip(*clips, nets=nets)
    assert any("2 frame(s) late" in w for w in report.warnings)


def test_a_clip_without_a_face_says_so_and_has_no_numbers(
    faceless_clip: Path, nets: ReportNets
) -> None:
    report = measure_clip(faceless_clip, faceless_clip, nets=nets)
    assert report.frames == 8 and report.frames_with_face == 0 and not report.moments
    assert [f.name for f in report.figures if f.value is not None] == ["missing_frames"]
    assert "no face was found in the target" in report.figure("seam").absent
    assert any("no face was found" in w for w in report.warnings)


def test_one_frame_has_numbers_but_none_that_need_two(
    folder: Path, target: Path, nets: ReportNets
) -> None:
    one = write(folder / "one.mkv", frames=1)
    picture = folder / "one.png"
    cv2.imwrite(str(picture), moved(hopper(), 0)[:, :, ::-1])
    for path in (one, picture):
        report = measure_clip(path, path, nets=nets)
        assert report.frames == 1 and value(report, "ssim") == pytest.approx(1)
        assert (
            report.figure("endpoint_error").absent == "it needs 2 frames with a face, there are 1"
        )
        assert report.figure("landmark_jitter").value is None
        assert report.figure("ssim").interval is None and len(report.moments) == 1


def test_of_two_people_who_cross_the_chosen_one_is_measured(
    folder: Path, nets: ReportNets, source_picture: Path
) -> None:
    clip = write_two_people(folder / "two.mkv")
    report = measure_clip(
        clip, clip, [source_picture], ReportOptions(face=source_picture), nets=nets
    )
    assert any("several faces" in w for w in report.warnings)
    # The astronaut is the source here: every measured frame is hers.
    assert report.frames_with_face >= 12 and value(report, "cosine_to_source") > 0.95
    largest = measure_clip(clip, clip, [source_picture], nets=nets)
    assert any("several faces" in w for w in largest.warnings)


def test_the_start_that_the_swap_states_is_where_it_is_laid_on_the_target(
    folder: Path, target: Path, nets: ReportNets
) -> None:
    path = lossless(
        folder / "part.mkv",
        lambda i: moved(hopper(), i + 5),
        frames=6,
        metadata={"vidswap_synthetic": "true", "vidswap_settings": '{"start": 0.2}'},
    )
    report = measure_clip(target, path, nets=nets)
    assert report.settings["start"] == 0.2 and value(report, "ssim") > 0.999
    elsewhere = measure_clip(target, path, options=ReportOptions(start=0.0), nets=nets)
    assert value(elsewhere, "ssim") < 0.99


def test_limits_given_replace_those_of_the_registry(folder: Path, nets: ReportNets) -> None:
    limits = {"ssim": 0.5, "seam": None}
    one = write(folder / "limits.mkv", frames=1)
    report = measure_clip(one, one, options=ReportOptions(limits=limits), nets=nets)
    assert report.figure("ssim").passes is True and report.figure("seam").limit is None
    with pytest.raises(BadOptionError, match="no metric is called 'beauty'"):
        ReportOptions(limits={"beauty": 1.0})


def test_what_is_not_there_is_named(folder: Path, target: Path, nets: ReportNets) -> None:
    with pytest.raises(InputNotFoundError, match=r"none\.mkv"):
        measure_clip(target, folder / "none.mkv", nets=nets)
    with pytest.raises(InputNotFoundError, match="--face"):
        measure_clip(target, target, options=ReportOptions(face="nobody"), nets=nets)
    with pytest.raises(BadOptionError, match="moments"):
        ReportOptions(moments=-1)


def test_a_net_of_the_users_own_judges_identity_and_a_gallery_holds_rivals(
    folder: Path, nets: ReportNets, source_picture: Path
) -> None:
    clip = write(folder / "judged.mkv", frames=2)
    people = folder / "gallery"
    people.mkdir()
    cv2.imwrite(str(people / "hopper.png"), moved(hopper(), 0)[:, :, ::-1])
    judge = load_id_model(mean_net(folder / "colours.onnx", 112))
    options = ReportOptions(gallery=people)
    report = measure_clip(clip, clip, [source_picture], options, nets=replace(nets, judge=judge))
    figure = report.figure("cosine_to_source")
    assert figure.net == "colours (no part in training)"
    # The net gives the mean colour of the ArcFace crop, in [-1, 1]; here it is taken of the pixels.
    faces = [crop_of(nets, hopper()), crop_of(nets, astronaut())]
    a, b = (face.reshape(-1, 3).mean(axis=0) / 127.5 - 1 for face in faces)
    expected = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    assert figure.value == pytest.approx(expected, abs=0.02)
    # Hopper herself, in the gallery and in the frame, is nearer than the astronaut.
    assert value(report, "identity_retrieval") == 0
    assert "took part in training" in report.figure("dipd").net


def crop_of(nets: ReportNets, rgb: np.ndarray) -> np.ndarray:
    """ArcFace's crop (112, 112, 3) of a picture's face, straight from the picture."""
    points = five_points(nets.reader.faces(rgb)[0].landmarks)
    affine = similarity_transform(points, ARCFACE_112)
    return cv2.warpAffine(rgb, affine, (112, 112), borderMode=cv2.BORDER_REFLECT_101)


def test_the_drawn_face_is_where_the_tests_say(nets: ReportNets) -> None:
    (face,) = nets.reader.faces(hopper())
    left, top, right, bottom = face.box
    assert left < CENTRE[0] < right and top < CENTRE[1] < bottom
    assert len(nets.reader.faces(astronaut())) == 1
