"""The whole command on small inputs, and its measures on swaps whose answer is known."""

from __future__ import annotations

import csv
import json
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from tests.media.clips import make_clip
from tests.photographs import astronaut, grace_hopper
from tests.swap.test_bad_input import assert_refused
from tests.swap_fixtures import moved
from vidswap.blending.paste import swapped_part
from vidswap.commands.main import main
from vidswap.digest import file_sha256
from vidswap.errors import BadOptionError, InputNotFoundError, MissingWeightsError
from vidswap.evaluation.clips import evaluate_clips, find_clips, watch
from vidswap.evaluation.evaluate import EvaluationOptions, held_out_sheet, without_nan
from vidswap.evaluation.gate import check_comparable, compare
from vidswap.evaluation.held_out import (
    HeldOutFaces,
    blend_crop,
    measure_held_out,
    measure_identity,
    read_held_out,
    with_glasses,
)
from vidswap.evaluation.judge import Judge, load_judge
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.identity.recogniser import Recogniser, RecogniserConfig
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.media.picture import read_picture_metadata
from vidswap.nets import load_nets
from vidswap.people.source import SourceReader
from vidswap.training.data.face_shards import FaceRecord

JUDGE = Path(__file__).resolve().parents[3] / "shared" / "models" / "faceres.json"


@pytest.fixture(scope="module")
def reader() -> Iterator[SourceReader]:
    with closing(SourceReader.load()) as opened:
        yield opened


def held_out_names(n: int, wanted: bool = True) -> list[str]:
    """Names of pictures whose hash puts them among those (not) held out."""
    names = (f"{i:06d}.png" for i in range(1000))
    chosen = (x for x in names if FaceRecord(x, "", "", "").held_out == wanted)
    return [next(chosen) for _ in range(n)]


def make_dataset(folder: Path, reader: SourceReader, names: list[str]) -> Path:
    """A face dataset of the two photographs in turn, every second pair of them in other light."""
    folder.mkdir()
    points, lines = [], []
    with zipfile.ZipFile(folder / "faces.zip", "w") as shard:
        for i, name in enumerate(names):
            rgb = cv2.convertScaleAbs((astronaut, grace_hopper)[i % 2](), alpha=1 - 0.1 * (i // 2))
            face = reader.faces(rgb)[0]
            affine = face_affine(face.landmarks)
            shard.writestr(name, cv2.imencode(".png", align_face(rgb, affine)[:, :, ::-1])[1])
            points.append(warp_points(affine, face.landmarks))
            lines.append([name, "faces.zip", "photograph", ""])
    with (folder / "index.csv").open("w", newline="") as index:
        csv.writer(index).writerows([["file", "shard", "kind", "identity"], *lines])
    np.savez(
        folder / "landmarks.npz", points=np.array(points, np.float16), mesh_index=np.arange(478)
    )
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, reader: SourceReader) -> Path:
    folder = tmp_path_factory.mktemp("faces") / "dataset"
    return make_dataset(folder, reader, held_out_names(4))


@pytest.fixture(scope="module")
def faces(dataset: Path) -> HeldOutFaces:
    return read_held_out(dataset, 4)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge(None)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name, photo in (("collins", astronaut()), ("hopper", grace_hopper())):
        make_clip(
            folder / f"{name}.mp4",
            picture=lambda i, w, h, photo=photo: moved(photo, i, w, h),
            size=(320, 240),
            frames=7,
            options={"crf": "12"},
        )
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def test_untouched_targets_keep_everything_and_swap_nobody(
    faces: HeldOutFaces, judge: Judge, reader: SourceReader
) -> None:
    quality, each, _ = measure_held_out(faces, faces.targets, judge, reader, 0.1)
    assert quality.nearer_to_source == 0 and quality.cosine_to_target == pytest.approx(1)
    assert quality.cosine_to_source == pytest.approx(quality.target_to_source)
    assert quality.pose_degrees == quality.expression_percent == quality.face_lost == 0
    assert quality.gaze_distance == 0
    assert (quality.ssim, quality.ssim_outside) == pytest.approx((1, 1))
    assert quality.fid == pytest.approx(0, abs=1e-6) and quality.pairs == 4
    assert quality.retrieval_with_targets == 0
    assert len(each["ssim"]) == 4 and quality.seconds_per_image == 0.1


def test_the_sources_themselves_are_found_and_keep_nothing(
    faces: HeldOutFaces, judge: Judge, reader: SourceReader
) -> None:
    quality, *_ = measure_held_out(faces, faces.sources, judge, reader, 0.1)
    assert quality.nearer_to_source == quality.retrieval_top1 == 1
    assert quality.cosine_to_source == pytest.approx(1)
    assert quality.ssim < 0.7 and quality.pose_degrees > 0.5
    assert quality.fid == pytest.approx(quality.fid_of_sources)


def test_a_smear_without_a_face_is_counted_as_lost(
    faces: HeldOutFaces, judge: Judge, reader: SourceReader
) -> None:
    grey = [np.full_like(target, 128) for target in faces.targets]
    quality, each, _ = measure_held_out(faces, [*grey[:1], *faces.targets[1:]], judge, reader, 0.1)
    assert quality.face_lost == 0.25
    assert math.isnan(each["pose_degrees"][0]) and quality.pose_degrees == 0


def test_another_picture_of_the_person_stands_for_the_source_in_the_fairer_gallery(
    faces: HeldOutFaces, judge: Judge, reader: SourceReader
) -> None:
    darker = [cv2.convertScaleAbs(faces.sources[0], alpha=0.9)]
    album = HeldOutFaces(
        faces.sources, faces.targets, faces.landmarks, faces.source_landmarks, faces.mesh_index,
        darker, np.array([0], np.intp), False,
    )  # fmt: skip
    quality, each, _ = measure_held_out(album, faces.sources, judge, reader, 0.1)
    assert quality.with_other == 1 and quality.retrieval_other_top5 == 1
    known = [not math.isnan(v) for v in each["retrieval_other_top1"]]
    assert known == [True, False, False, False]
    without, *_ = measure_held_out(faces, faces.sources, judge, reader, 0.1)
    assert math.isnan(without.retrieval_other_top1) and math.isnan(without.judge_top1)


def test_pairs_with_glasses_on_either_face_are_left_out(
    faces: HeldOutFaces, judge: Judge, reader: SourceReader
) -> None:
    worn = with_glasses(faces.sources, faces.source_landmarks)
    assert set(worn) == {False, True}  # the one photograph shows glasses, the other does not
    either = worn | with_glasses(faces.targets, faces.landmarks)
    assert 0 < either.sum() < 4
    quality, each, _ = measure_held_out(faces, faces.sources, judge, reader, 0.1)
    assert quality.without_glasses == 4 - either.sum() and quality.nearer_without_glasses == 1.0
    assert np.isnan(each["nearer_without_glasses"]).tolist() == either.tolist()


def test_a_mask_of_the_whole_outline_takes_what_lies_before_the_face_too(
    faces: HeldOutFaces,
) -> None:
    target, points = faces.targets[0], faces.landmarks[0]
    visibility = np.ones((128, 128), np.float32)
    visibility[40:60, 40:90] = 0.0
    covered = np.s_[86:114, 86:174]
    kept, whole = (
        blend_crop(target, 255 - target, points, visibility, mask) for mask in ("face", "outline")
    )
    np.testing.assert_array_equal(kept[covered], target[covered])
    np.testing.assert_array_equal(whole, blend_crop(target, 255 - target, points))
    assert (whole[covered] != target[covered]).mean() > 0.9


def test_the_blend_leaves_what_lies_outside_the_face_and_takes_what_lies_inside(
    faces: HeldOutFaces,
) -> None:
    target, points = faces.targets[0], faces.landmarks[0]
    before = target.copy()
    red = np.zeros_like(target) + np.uint8([255, 0, 0])
    blended, weight = blend_crop(target, red, points), swapped_part(points)
    np.testing.assert_array_equal(blended[weight == 0], target[weight == 0])
    # Of one colour, though no longer of that red, since it takes on the skin's.
    inside = blended[weight > 0.99].astype(int)
    assert np.ptp(inside, axis=0).max() <= 3
    assert np.abs(inside.mean(axis=0) - target[weight > 0.99].mean(axis=0)).max() < 60
    np.testing.assert_array_equal(target, before)


def test_the_flow_sees_every_frame_and_the_judge_every_third(reader: SourceReader) -> None:
    frames = [moved(grace_hopper(), i, 320, 240) for i in range(7)]
    seen = watch(((f, f) for f in frames), reader, every=3)
    assert len(seen.pairs) == 3 and len(seen.areas) == 7 and seen.lost == 0


def test_the_flow_ends_where_the_face_has_gone(reader: SourceReader) -> None:
    face = moved(grace_hopper(), 0, 320, 240)
    frames = [face] * 4 + [np.full_like(face, 90)] * 4
    seen = watch(((f, f) for f in frames), reader, every=2)
    assert len(seen.areas) == 4 and len(seen.pairs) == 2


def test_a_clip_that_is_not_changed_has_the_targets_own_flow(
    clips: Path, untrained: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "vidswap.evaluation.clips.swap_frames", lambda frames, *_, **__: (f for f in frames)
    )
    with closing(load_nets(untrained)) as nets:
        results = list(evaluate_clips(find_clips(clips), nets, judge, every=2, max_frames=5))
    assert [name for name, _, _ in results] == ["collins on hopper", "hopper on collins"]
    for _, quality, row in results:
        assert quality.flow_warp_ratio == 1.0 and quality.endpoint_error == 0.0
        assert quality.nearer_to_source == quality.nearer_than_frame == 0.0
        assert quality.ssim == pytest.approx(1.0) and quality.frames == 3
        assert row.shape == (512, 6 * 256, 3)


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained recogniser."""
    path = tmp_path_factory.mktemp("recogniser") / "second.safetensors"
    torch.manual_seed(0)
    save_inpainter(Recogniser(RecogniserConfig((4, 4, 4, 4), embedding=8)), path, 0)
    return path


@pytest.fixture(scope="module")
def evaluated(
    dataset: Path, clips: Path, untrained: Path, recogniser: Path, tmp_path_factory: Any
) -> Path:
    """The folder of a whole evaluation by the command line."""
    out: Path = tmp_path_factory.mktemp("evaluated")
    result = run(
        "--faces", dataset, "--clips", clips, "--checkpoint", untrained, "-o", out,
        "--pairs", 3, "--max-frames", 3, "--every", 2, "--precision", "fp32",
        "--mask", "outline", "--second-judge", recogniser,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "second second (no part in training), which no gate looks at" in result.stdout
    assert re.search(r"retrieval among all sources, top-1 +\d+\.\d % +\d+\.\d %", result.stdout)
    assert "took part in training), mask outline" in result.stdout
    assert re.search(r"3 held-out pairs( \(\d without glasses\))?, drawn for this", result.stdout)
    assert "hopper on collins" in result.stdout and "mean" in result.stdout
    return out


def test_the_report_holds_both_parts_and_says_who_judged(evaluated: Path) -> None:
    report = json.loads((evaluated / "evaluation.json").read_text())
    assert report["mask"] == "outline"
    assert report["judge"] == "dlib ResNet (took part in training)"
    assert len(report["checkpoint_sha256"]) == 64 and "DIS" in report["flow_net"]
    assert report["held_out"]["measures"]["pairs"] == 3
    assert report["clips"]["names"] == ["collins on hopper", "hopper on collins"]
    assert report["clips"]["measures"]["flow_warp_ratio"] > 0
    assert len(report["clips"]["each"]["pose_degrees"]) == 2


def test_both_judges_measure_identity_on_the_same_pairs(evaluated: Path, recogniser: Path) -> None:
    part = json.loads((evaluated / "evaluation.json").read_text())["held_out"]
    second = part["second"]
    assert second["judge"] == "second (no part in training)"
    assert second["judge_sha256"] == file_sha256(recogniser)
    assert {"nearer_to_source", "retrieval_top1", "cosine_to_source"} <= second["measures"].keys()
    assert second["measures"].keys() < part["measures"].keys()
    assert len(second["each"]["cosine_to_source"]) == 3
    assert second["measures"]["cosine_to_source"] != part["measures"]["cosine_to_source"]


def test_a_recogniser_finds_a_picture_nearest_to_itself(
    faces: HeldOutFaces, recogniser: Path
) -> None:
    each = measure_identity(faces, faces.sources, load_judge(recogniser))
    assert each["cosine_to_source"] == pytest.approx(np.ones(4))
    assert each["nearer_to_source"].tolist() == [1.0] * 4


def test_no_gate_looks_at_the_second_judge(evaluated: Path) -> None:
    old = json.loads((evaluated / "evaluation.json").read_text())
    new = json.loads(json.dumps(old))
    second = new["held_out"]["second"]
    second["measures"] = dict.fromkeys(second["measures"], -1.0)
    second["judge_sha256"] = "of another"
    check_comparable(old, new, "old.json")
    assert [c for c in compare(old, new) if c.verdict in ("better", "worse")] == []


def test_the_sheets_are_marked_as_synthetic(evaluated: Path) -> None:
    for name, shape in (("held-out.png", (256, 4 * 768)), ("clips.png", (1024, 6 * 256))):
        picture = cv2.imread(str(evaluated / name))
        assert picture.shape[:2] == shape
        assert read_picture_metadata(evaluated / name)["vidswap_synthetic"] == "true"


def test_the_command_fails_when_the_new_checkpoint_is_worse_and_not_otherwise(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = json.loads((evaluated / "evaluation.json").read_text())
    # Short of the aim, whatever an untrained net may happen to reach on three pairs.
    report["held_out"]["measures"]["nearer_to_source"] = 0.5
    monkeypatch.setattr("vidswap.evaluation.evaluate.evaluate", lambda *_: report)
    old = tmp_path / "old.json"
    old.write_text(json.dumps(report))
    options = ("--faces", tmp_path, "--against", old, "-o", tmp_path / "out")
    same = run(*options)
    assert same.exit_code == 0, same.output
    assert "passes" in same.stderr and "GATE" not in same.stdout
    better = json.loads(old.read_text())
    better["held_out"]["measures"]["nearer_to_source"] = 2.0
    old.write_text(json.dumps(better))
    worse = run(*options, "--json")
    assert worse.exit_code == 1
    assert "nearer to source" in worse.stderr.splitlines()[-1]
    assert json.loads(worse.stdout) == report


def test_other_pairs_are_refused_before_the_work(
    evaluated: Path, dataset: Path, tmp_path: Path
) -> None:
    old = evaluated / "evaluation.json"
    result = run("--faces", dataset, "--pairs", 2, "--against", old, "-o", tmp_path)
    assert_refused(result, 2, "held-out pairs differ")
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_evaluate(tmp_path: Path) -> None:
    assert_refused(run("-o", tmp_path), 2, "--faces, --clips or both")


@pytest.mark.parametrize("option", [("--pairs", 1), ("--every", 0), ("--max-frames", 1)])
def test_numbers_out_of_range(clips: Path, tmp_path: Path, option: tuple[str, int]) -> None:
    assert_refused(run("--clips", clips, "-o", tmp_path, *option), 2, option[0], "or more")


def test_the_older_report_is_never_overwritten(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(BadOptionError, match="would be overwritten"):
        EvaluationOptions(tmp_path, clips=clips, against=tmp_path / "evaluation.json")


def test_no_such_folder_of_clips(tmp_path: Path) -> None:
    assert_refused(run("--clips", tmp_path / "absent", "-o", tmp_path), 3, "no such folder")


@pytest.mark.parametrize(("only", "found"), [("*.mov", "0 file(s)"), ("hopper*", "1 file(s)")])
def test_fewer_than_two_clips(clips: Path, tmp_path: Path, only: str, found: str) -> None:
    assert_refused(run("--clips", clips, "--only", only, "-o", tmp_path), 3, found)


def test_no_held_out_people(tmp_path: Path, reader: SourceReader) -> None:
    trained = make_dataset(tmp_path / "trained", reader, held_out_names(2, wanted=False))
    assert_refused(run("--faces", trained, "-o", tmp_path / "out"), 3, "0 held-out people")


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    assert_refused(run("--faces", tmp_path, "-o", tmp_path / "out"), 3, "index.csv")


def test_a_missing_judge(clips: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent.json"
    assert_refused(run("--clips", clips, "--judge", absent, "-o", tmp_path), 13, "absent.json")


@pytest.mark.parametrize(
    "content",
    ["not json", "[]", "{}", '{"weightsManifest": [], "modelTopology": {"node": []}}'],
)
def test_a_broken_judge(clips: Path, tmp_path: Path, content: str) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(content)
    assert_refused(run("--clips", clips, "--judge", broken, "-o", tmp_path), 13, "broken.json")


def test_a_checkpoint_that_recognises_nobody_is_no_judge(
    clips: Path, tmp_path: Path, untrained: Path
) -> None:
    result = run("--clips", clips, "--second-judge", untrained, "-o", tmp_path)
    assert_refused(result, 13, "expected recogniser")


def test_a_judge_whose_weights_are_cut_short(tmp_path: Path) -> None:
    weights = [{"name": "w", "shape": [4, 4], "dtype": "float32"}]
    graph = {"weightsManifest": [{"paths": ["w.bin"], "weights": weights}]}
    (tmp_path / "cut.json").write_text(json.dumps(graph | {"modelTopology": {"node": []}}))
    (tmp_path / "w.bin").write_bytes(b"\0" * 60)
    with pytest.raises(MissingWeightsError, match=r"cut\.json"):
        load_judge(tmp_path / "cut.json")


def test_a_checkpoint_of_another_architecture(clips: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(1)}, other, {"architecture": "other"})
    result = run("--clips", clips, "--checkpoint", other, "-o", tmp_path / "out")
    assert_refused(result, 11, "other.safetensors", '"other"')


def test_a_missing_checkpoint(clips: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent.safetensors"
    result = run("--clips", clips, "--checkpoint", absent, "-o", tmp_path / "out")
    assert_refused(result, 11, "absent.safetensors")


def test_an_output_that_cannot_be_made(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert_refused(run("--clips", clips, "-o", tmp_path / "file" / "out"), 8, "cannot be written")


@pytest.mark.skipif(not JUDGE.is_file(), reason="the judge net is not here")
def test_a_graph_judges_alike_one_by_one_and_in_batches(faces: HeldOutFaces) -> None:
    graph = load_judge(JUDGE)
    assert not graph.in_training and len(graph.sha256) == 64
    together = graph.embed(faces.sources)
    assert together.shape == (4, 1024)
    np.testing.assert_allclose(together[1], graph(faces.sources[1]), atol=1e-4)


def test_the_sheet_shows_forty_triples_and_always_the_same() -> None:
    triples = [tuple(np.full((4, 4, 3), i, np.uint8) for _ in range(3)) for i in range(50)]
    sheet = held_out_sheet(triples)
    assert sheet.shape == (10 * 4, 4 * 12, 3)
    np.testing.assert_array_equal(sheet, held_out_sheet(triples))
    assert len(np.unique(sheet)) == 40


def test_what_is_no_number_becomes_null() -> None:
    assert json.dumps(without_nan({"a": [1.0, float("nan")], "b": {"c": float("nan")}})) == (
        '{"a": [1.0, null], "b": {"c": null}}'
    )


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="0 file"):
        find_clips(tmp_path)
