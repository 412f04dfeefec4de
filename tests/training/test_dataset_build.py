from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from tests.media.clips import make_clip
from tests.photographs import astronaut, grace_hopper
from tests.swap_fixtures import moved
from vidswap.commands.main import main
from vidswap.errors import BadOptionError, DatasetError, InputNotFoundError
from vidswap.faces.align import five_points, similarity_transform, warp_points
from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector
from vidswap.faces.pose import head_pose
from vidswap.training.data.build import DatasetOptions, build_dataset
from vidswap.training.data.face_shards import (
    cached_faces,
    is_held_out,
    iterate_faces,
    read_index,
    read_landmarks,
)
from vidswap.training.data.material import clip_frames, find_material
from vidswap.training.pair_draws import mirrored_mesh

# ArcFace's points in its 112-pixel template, and where the dataset's crop has them.
ARCFACE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]]
)  # fmt: skip
IN_CROP = (ARCFACE - [56.0, 51.6]) * 1.76 + [128.0, 106.0]


def write(path: Path, rgb: np.ndarray, quality: int = 95) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
    cv2.imwrite(str(path), rgb[:, :, ::-1], options)
    return path


def make_speaker(path: Path) -> Path:
    """Grace Hopper mirrored, 320x240, four seconds; in the last two her face is longer."""
    photo = np.ascontiguousarray(grace_hopper()[:, ::-1])
    longer = cv2.resize(photo, None, fx=1.0, fy=1.3)[: photo.shape[0]]
    path.parent.mkdir(exist_ok=True)
    return make_clip(
        path,
        picture=lambda i, width, height: moved(photo if i < 2 else longer, i, width, height),
        size=(320, 240),
        frames=4,
        pts=[0, 25, 50, 75],
        options={"crf": "12"},
    )


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people's folders with one good photograph each, and every kind of bad one."""
    folder = tmp_path_factory.mktemp("people")
    eileen, grace = astronaut(), grace_hopper()
    write(folder / "eileen" / "a.png", eileen)
    write(folder / "eileen" / "b recompressed.jpg", eileen, quality=70)
    write(folder / "eileen" / "c blurred.png", cv2.GaussianBlur(eileen, (0, 0), 5))
    write(folder / "eileen" / "d small.png", cv2.resize(eileen, (256, 256), interpolation=3))
    write(folder / "grace" / "album" / "a.jpg", grace)
    (folder / "grace" / "b.jpg").write_bytes((folder / "grace" / "album" / "a.jpg").read_bytes())
    both = np.concatenate([eileen[:, 50:400], cv2.resize(grace, (432, 512))], axis=1)
    write(folder / "grace" / "c both.png", both)
    write(folder / "grace" / "d nobody.png", np.full((300, 300, 3), 128, np.uint8))
    (folder / "grace" / "e broken.jpg").write_bytes(b"\xff\xd8\xff and no more")
    (folder / "grace" / "notes.txt").write_text("not a picture")
    (folder / "grace" / ".hidden.png").write_bytes((folder / "eileen" / "a.png").read_bytes())
    make_speaker(folder / "speaker" / "talk.mp4")
    return folder


@pytest.fixture(scope="module")
def built(people: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    output = tmp_path_factory.mktemp("built") / "faces"
    return output, build_dataset([people], output, DatasetOptions(every=2.0))


def test_good_faces_are_kept_under_their_folders_name(
    built: tuple[Path, dict[str, object]],
) -> None:
    folder, _ = built
    records = read_index(folder)
    assert [r.identity for r in records] == ["eileen", "grace", "speaker", "speaker"]
    rows = (folder / "index.csv").read_text().splitlines()
    assert rows[0] == "file,shard,kind,identity,pixels,upsampling,yaw,pitch,source"
    sources = [row.split(",")[-1] for row in rows[1:]]
    assert sources == [
        "eileen/a.png", "grace/b.jpg", "speaker/talk.mp4 at 1.00 s",
        "speaker/talk.mp4 at 3.00 s",
    ]  # fmt: skip


def test_every_rejected_picture_is_counted_with_its_reason(
    built: tuple[Path, dict[str, object]],
) -> None:
    folder, report = built
    assert report["rejected"] == {
        "nearly the same crop as another": 1,
        "too blurred": 1,
        "too small": 1,
        "same file as another": 1,
        "several faces": 1,
        "no face": 1,
        "unreadable": 1,
    }
    assert report["rejected_examples"]["too blurred"] == ["eileen/c blurred.png"]
    assert report["rejected_examples"]["unreadable"][0].startswith("grace/e broken.jpg: ")
    assert (report["files"], report["pictures_read"], report["faces_kept"]) == (10, 9, 4)
    assert (report["people"], report["clips"], report["files_of_other_kinds"]) == (3, 1, 1)
    assert sum(report["face_size_pixels"].values()) == 4
    assert sum(report["yaw_degrees"].values()) == sum(report["pitch_degrees"].values()) == 4
    assert json.loads((folder / "report.json").read_text()) == report


def test_the_crops_lie_in_the_arcface_template(built: tuple[Path, dict[str, object]]) -> None:
    folder, _ = built
    detector, finder = BlazeFaceDetector(), AttentionMeshFinder()
    crops = list(iterate_faces(folder, read_index(folder), 256))
    points, mesh_index = read_landmarks(folder)
    for crop, stored in zip(crops, points, strict=True):
        found = [finder.landmarks(crop, d) for d in detector.detect(crop)]
        landmarks = max((f for f in found if f is not None), key=lambda f: f.score).landmarks
        # A face is not the template, but no shift, turn or scaling brings it nearer.
        fit = similarity_transform(five_points(landmarks), IN_CROP)
        assert np.abs(fit[:, :2] - np.eye(2)).max() < 0.02
        assert np.abs(warp_points(fit, np.array([[128.0, 128.0]])) - 128.0).max() < 1.5
        # The stored landmarks are where a detector sees them in the stored crop.
        assert np.abs(stored - landmarks[mesh_index]).mean() < 1.5
    detector.close()
    finder.close()


def test_a_small_face_is_stored_small_and_the_index_says_so(people: Path, tmp_path: Path) -> None:
    picture = write(tmp_path / "a.png", cv2.resize(astronaut(), (400, 400), interpolation=3))
    build_dataset([picture], tmp_path / "faces")
    row = (tmp_path / "faces" / "index.csv").read_text().splitlines()[1].split(",")
    pixels, upsampling = int(row[4]), float(row[5])
    assert 96 <= pixels <= 160 and abs(pixels * upsampling - 256) < 10
    with zipfile.ZipFile(tmp_path / "faces" / row[1]) as shard:
        stored = cv2.imdecode(np.frombuffer(shard.read(row[0]), np.uint8), cv2.IMREAD_COLOR)
    assert stored.shape == (pixels, pixels, 3)
    # The same place of the face at any size: the small crop is the large one, shrunk.
    large = astronaut_crop(people, tmp_path)
    shrunk = cv2.resize(large, (pixels, pixels), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - stored[:, :, ::-1])[20:-20, 20:-20].mean() < 8


def astronaut_crop(people: Path, folder: Path) -> np.ndarray:
    build_dataset([people / "eileen" / "a.png"], folder / "large")
    return next(iterate_faces(folder / "large", read_index(folder / "large"), 256))


def test_the_trainer_finds_pictures_and_mesh_in_it(
    built: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    folder, _ = built
    assert cached_faces(folder, tmp_path, 128).shape == (4, 128, 128, 3)
    mirror = mirrored_mesh(*read_landmarks(folder))
    assert mirror[33] == 263 and mirror[61] == 291 and mirror[152] == 152


def test_all_faces_of_a_picture_are_kept_without_identity_on_one_side(
    people: Path, tmp_path: Path
) -> None:
    picture = people / "grace" / "c both.png"
    report = build_dataset([picture], tmp_path / "faces", DatasetOptions(all_faces=True))
    records = read_index(tmp_path / "faces")
    assert report["faces_kept"] == 2
    assert [r.identity for r in records] == ["", ""]
    assert {r.held_out for r in records} == {is_held_out("c both.png")}


def test_the_limits_of_size_and_turn_are_those_given(people: Path, tmp_path: Path) -> None:
    detector, finder = BlazeFaceDetector(), AttentionMeshFinder()
    rgb = grace_hopper()
    face = finder.landmarks(rgb, detector.detect(rgb)[0])
    detector.close()
    finder.close()
    yaw = abs(head_pose(face.landmarks).yaw)
    size = float((face.box[2:] - face.box[:2]).max())
    photo = write(tmp_path / "grace.png", rgb)
    for options, reason in (
        (DatasetOptions(max_yaw=yaw - 1), "too far turned"),
        (DatasetOptions(min_face=size + 1), "too small"),
    ):
        with pytest.raises(DatasetError, match=f"1 {reason}"):
            build_dataset([photo], tmp_path / "faces", options)
    assert not (tmp_path / "faces").exists()
    within = DatasetOptions(max_yaw=yaw + 1, min_face=size - 1)
    assert build_dataset([photo], tmp_path / "faces", within)["faces_kept"] == 1


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_photographs_in_sub_folders_are_the_folders_people(tmp_path: Path) -> None:
    touch(tmp_path / "anna" / "2020" / "a.jpg", tmp_path / "bob" / "b.jpg", tmp_path / "talk.mp4")
    found = find_material([tmp_path], tmp_path / "out", None)
    assert {m.name: m.identity for m in found.material} == {
        "anna/2020/a.jpg": "anna", "bob/b.jpg": "bob", "talk.mp4": tmp_path.name,
    }  # fmt: skip
    assert found.rules == {str(tmp_path): "folder"}


def test_one_loose_photograph_makes_them_nobody_known_but_a_clip_is_one_person(
    tmp_path: Path,
) -> None:
    touch(tmp_path / "anna" / "a.jpg", tmp_path / "loose.jpg", tmp_path / "talk.mp4")
    found = find_material([tmp_path], tmp_path / "out", None)
    assert {m.name: m.identity for m in found.material} == {
        "anna/a.jpg": "", "loose.jpg": "", "talk.mp4": "talk.mp4",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("folder", ["anna", "FOLDER", "FOLDER"]),
        ("file", ["anna/a.jpg", "loose.jpg", "talk.mp4"]),
        ("none", ["", "", ""]),
    ],
)
def test_the_identity_rule_given_holds_for_all(
    tmp_path: Path, rule: str, expected: list[str]
) -> None:
    touch(tmp_path / "anna" / "a.jpg", tmp_path / "loose.jpg", tmp_path / "talk.mp4")
    found = find_material([tmp_path], tmp_path / "out", rule)
    people = [m.identity for m in sorted(found.material, key=lambda m: m.name)]
    assert people == [name.replace("FOLDER", tmp_path.name) for name in expected]


def test_clips_of_one_name_in_two_inputs_are_two_people(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "talk.mp4", tmp_path / "b" / "talk.mp4")
    found = find_material([tmp_path / "a", tmp_path / "b"], tmp_path / "out", None)
    assert [m.identity for m in found.material] == ["a/talk.mp4", "b/talk.mp4"]
    touch(tmp_path / "b" / "a" / "talk.mp4")
    found = find_material([tmp_path / "a", tmp_path / "b" / "a"], tmp_path / "out", None)
    assert len({m.identity for m in found.material}) == 2


def test_the_dataset_is_not_read_into_itself(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "faces" / "b.jpg", tmp_path / ".faces.part" / "c.jpg")
    found = find_material([tmp_path], tmp_path / "faces", None)
    assert [m.name for m in found.material] == ["a.jpg"]


def test_frames_of_a_clip_are_the_stated_time_apart(tmp_path: Path) -> None:
    # Ten seconds; every frame's brightness says its number.
    def numbered(index: int, width: int, height: int) -> np.ndarray:
        return np.full((height, width, 3), 4 * index, np.uint8)

    clip = make_clip(
        tmp_path / "a.mp4", picture=numbered, frames=50, pts=[5 * i for i in range(50)]
    )

    def sampled(every: float, per_clip: int) -> list[float]:
        times = []
        for seconds, rgb in clip_frames(clip, every, per_clip):
            assert seconds == pytest.approx(float(rgb.mean()) / 4 * 0.2, abs=0.15)
            times.append(seconds)
        return times

    assert sampled(1.0, 20) == pytest.approx([0.5 + i for i in range(10)], abs=0.2)
    assert sampled(0.5, 4) == pytest.approx([1.25, 3.75, 6.25, 8.75], abs=0.2)
    assert sampled(100.0, 20) == pytest.approx([5.0], abs=0.2)
    assert len(sampled(0.001, 1000)) == 50


def test_the_command_prints_the_report_and_refuses_an_existing_folder(
    people: Path, tmp_path: Path
) -> None:
    photo = str(people / "eileen" / "a.png")
    arguments = ["dataset", "build", photo, "-o", str(tmp_path / "faces")]
    first = CliRunner().invoke(main, [*arguments, "--kind", "album", "--json"])
    assert first.exit_code == 0
    assert json.loads(first.stdout)["faces_kept"] == 1
    assert read_index(tmp_path / "faces")[0].kind == "album"
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 7
    assert again.stderr.startswith("vidswap: ") and again.stderr.count("\n") == 1
    replaced = CliRunner().invoke(main, [*arguments, "--overwrite"])
    assert replaced.exit_code == 0
    assert "faces kept 1, people 1, pictures read 1, files 1" in replaced.stdout


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="no such file"):
        build_dataset([tmp_path / "missing"], tmp_path / "faces")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputNotFoundError, match="no photograph or clip"):
        build_dataset([tmp_path / "empty"], tmp_path / "faces")
    blank = write(tmp_path / "blank.png", np.full((200, 200, 3), 90, np.uint8))
    with pytest.raises(DatasetError, match=r"1 no face\); give other pictures"):
        build_dataset([blank], tmp_path / "faces")
    assert not (tmp_path / "faces").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"identity": "face"}, {"kind": "a/b"}, {"every": 0}, {"per_clip": 0}, {"max_yaw": 120}],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadOptionError):
        DatasetOptions(**wrong)
