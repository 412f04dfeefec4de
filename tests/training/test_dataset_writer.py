import csv
import errno
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.photographs import astronaut, grace_hopper
from vidswap.errors import (
    DatasetError,
    DiskFullError,
    InputNotFoundError,
    OutputExistsError,
    OutputNotWritableError,
    VidswapError,
)
from vidswap.faces import mesh
from vidswap.training.data import face_shards
from vidswap.training.data import writer as dataset_writer
from vidswap.training.data.face_shards import (
    FaceRecord,
    cached_array,
    cached_faces,
    is_held_out,
    iterate_faces,
    read_index,
    read_landmarks,
)
from vidswap.training.data.writer import (
    MAX_COPY_BITS,
    MESH_INDEX,
    AlignedFace,
    DatasetWriter,
    SeenCrops,
    fingerprint,
    stored_side,
)

EXAMPLE = Path(__file__).parents[3] / "shared" / "data" / "faces"


def smooth_crop(seed: int) -> np.ndarray:
    """Soft coloured blotches (256, 256, 3): WebP keeps them nearly as they are."""
    coarse = np.random.default_rng(seed).integers(30, 220, (5, 5, 3), np.uint8)
    return cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC)


def face(number: int, identity: str = "", group: str = "") -> AlignedFace:
    points = np.random.default_rng(number).uniform(0, 255, (478, 2))
    return AlignedFace(
        smooth_crop(number), points, identity, f"{number}.jpg", group or f"{number}.jpg", 0.5, 3, -4
    )


def write(folder: Path, faces: list[AlignedFace], **options: bool) -> Path:
    with DatasetWriter(folder, "own", **options) as writer:
        for one in faces:
            writer.add(one)
        writer.publish({"faces_kept": writer.n_faces})
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    people = ["anna", "anna", "bob", "", "carl"]
    return write(tmp_path / "faces", [face(i, name) for i, name in enumerate(people)])


def test_the_landmarks_kept_are_those_that_training_needs() -> None:
    needed = {*mesh.RIGHT_EYE, *mesh.LEFT_EYE, *mesh.OUTER_LIPS, *mesh.INNER_LIPS}
    needed |= {*mesh.NOSE_BRIDGE, *mesh.FACE_OVAL, *mesh.RIGHT_IRIS, *mesh.LEFT_IRIS}
    assert len(MESH_INDEX) == 148 == len(set(MESH_INDEX.tolist()))
    assert needed <= set(MESH_INDEX.tolist())


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="needs a dataset made elsewhere")
def test_the_landmarks_have_the_order_of_a_dataset_made_elsewhere() -> None:
    with np.load(EXAMPLE / "landmarks.npz") as arrays:
        np.testing.assert_array_equal(arrays["mesh_index"], MESH_INDEX)
        assert arrays["mesh_index"].dtype == MESH_INDEX.dtype


def test_small_faces_are_stored_near_their_own_resolution() -> None:
    sides = {0.3: 256, 1.0: 256, 1.3: 256, 1.4: 184, 1.6: 160, 2.0: 128, 5.0: 96}
    assert {upsampling: stored_side(upsampling) for upsampling in sides} == sides


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="needs a dataset made elsewhere")
def test_the_stored_side_is_that_of_a_dataset_made_elsewhere() -> None:
    with (EXAMPLE / "index.csv").open(newline="") as lines:
        # Frames of clips there are stored whole up to a larger upsampling.
        rows = [r for r in csv.DictReader(lines) if int(r["pixels"]) > 128 and r["kind"] != "clip"]
    assert len(rows) > 1000
    differences = [stored_side(float(r["upsampling"])) - int(r["pixels"]) for r in rows]
    # Borderline cases aside, as the upsampling is rounded there.
    assert np.mean(np.array(differences) == 0) > 0.99


def test_what_was_written_is_read_back(dataset: Path) -> None:
    records = read_index(dataset)
    assert [r.identity for r in records] == ["anna", "anna", "bob", "", "carl"]
    assert {r.kind for r in records} == {"own"}
    points, mesh_index = read_landmarks(dataset)
    assert points.shape == (5, 148, 2) and points.dtype == np.float16
    np.testing.assert_array_equal(mesh_index, MESH_INDEX)
    for i, crop in enumerate(iterate_faces(dataset, records, 256)):
        written = face(i)
        assert np.abs(crop.astype(int) - written.crop).mean() < 4
        # float16 has steps of 1/8 of a pixel from 128 on.
        assert np.abs(points[i] - written.landmarks[MESH_INDEX]).max() <= 0.0625
    assert json.loads((dataset / "report.json").read_text()) == {"faces_kept": 5}
    assert {p.name for p in dataset.iterdir()} == {
        "faces-00-own.zip", "index.csv", "landmarks.npz", "held-out.txt", "report.json",
    }  # fmt: skip


def test_the_cache_holds_every_face_in_order(dataset: Path, tmp_path: Path) -> None:
    faces = cached_faces(dataset, tmp_path / "cache", 64)
    assert faces.shape == (5, 64, 64, 3)
    for i in range(5):
        small = cv2.resize(smooth_crop(i), (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(faces[i].astype(int) - small).mean() < 4


def test_shards_stay_below_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 12_000
    monkeypatch.setattr(dataset_writer, "SHARD_BYTES", limit)
    folder = write(tmp_path / "faces", [face(i) for i in range(20)])
    shards = sorted(folder.glob("*.zip"))
    assert len(shards) > 3
    assert all(shard.stat().st_size <= limit for shard in shards)
    # No shard could have taken the first picture of the next one.
    assert all(shard.stat().st_size > limit / 2 for shard in shards[:-1])
    crops = list(iterate_faces(folder, read_index(folder), 256))
    assert all(np.abs(crops[i].astype(int) - smooth_crop(i)).mean() < 4 for i in range(20))


def test_the_same_faces_give_the_same_bytes(tmp_path: Path) -> None:
    faces = [face(i, "anna") for i in range(4)]
    one, two = write(tmp_path / "one", faces), write(tmp_path / "two", faces)
    for name in ("faces-00-own.zip", "index.csv", "held-out.txt"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_fixed_share_of_the_people_is_held_out(tmp_path: Path) -> None:
    names = [f"person {i}" for i in range(150)]
    folder = write(tmp_path / "faces", [face(i, name) for i, name in enumerate(names)])
    records = read_index(folder)
    held_out = [r.identity for r in records if r.held_out]
    assert held_out == [name for name in names if FaceRecord("", "", "", name).held_out]
    assert 2 <= len(held_out) <= 16  # 5 % of 150 are 7.5, standard deviation 2.7
    listed = (folder / "held-out.txt").read_text().splitlines()
    assert listed == sorted(held_out)


def test_faces_of_nobody_known_from_one_clip_are_held_out_together(tmp_path: Path) -> None:
    clips = [f"clip{i}.mp4" for i in range(80)]
    faces = [face(i, group=clips[i // 2]) for i in range(160)]
    sides: dict[str, set[bool]] = {clip: set() for clip in clips}
    for order in (faces, faces[::-1]):
        folder = write(tmp_path / "faces", order, overwrite=True)
        for record, one in zip(read_index(folder), order, strict=True):
            sides[one.group].add(record.held_out)
    # The side does not depend on the number that a face gets.
    assert all(len(side) == 1 for side in sides.values())
    assert {clip for clip in clips if sides[clip] == {True}} == {
        clip for clip in clips if is_held_out(clip)
    }
    assert any(is_held_out(clip) for clip in clips)


def test_the_list_of_held_out_people_overrules_the_hash(dataset: Path) -> None:
    (dataset / "held-out.txt").write_text("bob\n\n000003.webp\n")
    assert [r.held_out for r in read_index(dataset)] == [False, False, True, True, False]
    (dataset / "held-out.txt").unlink()
    assert [r.held_out for r in read_index(dataset)] == [
        is_held_out(name) for name in ("anna", "anna", "bob", "000003.webp", "carl")
    ]


def test_nothing_is_left_of_a_dataset_that_was_not_finished(tmp_path: Path) -> None:
    def interrupted() -> None:
        with DatasetWriter(tmp_path / "faces", "own") as writer:
            writer.add(face(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_dataset_is_refused_or_replaced_as_a_whole(dataset: Path) -> None:
    with pytest.raises(OutputExistsError, match="--overwrite"):
        DatasetWriter(dataset, "own")
    write(dataset, [face(7)], overwrite=True)
    assert len(read_index(dataset)) == 1
    assert [p.name for p in dataset.parent.iterdir()] == [dataset.name]


def test_a_folder_that_is_no_dataset_is_never_overwritten(tmp_path: Path) -> None:
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "dear.txt").write_text("anna")
    with pytest.raises(OutputExistsError, match="no dataset"):
        DatasetWriter(letters, "own", overwrite=True)
    assert (letters / "dear.txt").read_text() == "anna"
    with pytest.raises(OutputExistsError, match="is a file"):
        DatasetWriter(letters / "dear.txt", "own", overwrite=True)
    with pytest.raises(OutputNotWritableError, match="no such folder"):
        DatasetWriter(tmp_path / "missing" / "faces", "own")


@pytest.mark.parametrize("what", ["write_bytes", "write_text", "rename"])
def test_a_full_disk_leaves_nothing_new_and_what_was_there(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def attempt() -> None:
        with DatasetWriter(dataset, "own", overwrite=True) as writer:
            writer.add(face(1))
            monkeypatch.setattr(dataset_writer.Path, what, full)
            writer.publish({})

    before = (dataset / "index.csv").read_bytes()
    with pytest.raises(DiskFullError, match=f"no space left for {dataset}"):
        attempt()
    monkeypatch.undo()
    assert (dataset / "index.csv").read_bytes() == before
    assert [p.name for p in dataset.parent.iterdir()] == [dataset.name]


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def flip_a_byte_of_the_first_picture(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 255
    path.write_bytes(content)


def with_another_first_picture(content: bytes) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        with zipfile.ZipFile(path) as shard:
            pictures = {name: shard.read(name) for name in shard.namelist()}
        with zipfile.ZipFile(path, "w") as shard:
            for name, encoded in pictures.items():
                shard.writestr(name, content if name == "000000.webp" else encoded)

    return rewrite


def without_first_picture(path: Path) -> None:
    with zipfile.ZipFile(path) as shard:
        pictures = {name: shard.read(name) for name in shard.namelist()[1:]}
    with zipfile.ZipFile(path, "w") as shard:
        for name, encoded in pictures.items():
            shard.writestr(name, encoded)


def one_line(error: VidswapError) -> str:
    message = str(error)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Path.unlink, "is missing"),
        (cut_short, "not a zip file"),
        (flip_a_byte_of_the_first_picture, "000000.webp is damaged"),
        (with_another_first_picture(b"not a picture"), "000000.webp is not a picture"),
        (with_another_first_picture(b""), "000000.webp is not a picture"),
        (without_first_picture, "holds no 000000.webp"),
    ],
)
def test_a_damaged_shard_is_named_with_a_mend(
    dataset: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    shard = dataset / "faces-00-own.zip"
    damage(shard)
    with pytest.raises(DatasetError) as caught:
        cached_faces(dataset, tmp_path / "cache", 64)
    message = one_line(caught.value)
    assert message.startswith(f"{shard}: ") and words in message and "copy" in message
    assert list((tmp_path / "cache").iterdir()) == []


def test_landmarks_of_another_number_of_faces_are_refused(dataset: Path) -> None:
    index = dataset / "index.csv"
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(
        DatasetError, match=r"landmarks of 5 faces, but index\.csv lists 4"
    ) as error:
        read_landmarks(dataset)
    assert one_line(error.value).startswith(f"{dataset / 'landmarks.npz'}: ")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", None])
def test_landmarks_that_cannot_be_read_are_named(dataset: Path, content: bytes | None) -> None:
    path = dataset / "landmarks.npz"
    if content is None:
        np.savez(path, points=np.zeros((5, 148, 2)))
    else:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match="must hold points and mesh_index") as caught:
        read_landmarks(dataset)
    assert one_line(caught.value).startswith(f"{path}: ")
    path.unlink()
    with pytest.raises(InputNotFoundError, match="no such file"):
        read_landmarks(dataset)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("file,shard\na,b\n", "no column kind, identity"),
        ("", "no column file"),
        ("file,shard,kind,identity\n000000.webp,\n", "line 2: no file or shard"),
        (b"file,shard,kind,identity\n\xff\xfe,,,\n", "not a table in UTF-8"),
    ],
)
def test_an_index_that_is_none_is_named(dataset: Path, content: str | bytes, words: str) -> None:
    path = dataset / "index.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=words) as caught:
        read_index(dataset)
    assert one_line(caught.value).startswith(f"{path}")


def test_a_cache_of_another_dataset_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "faces-64.npy"

    def fill(array: np.ndarray) -> None:
        array[:] = 7

    assert (cached_array(path, (3, 2), np.float32, fill) == 7).all()
    with pytest.raises(DatasetError, match="made of another dataset") as caught:
        cached_array(path, (4, 2), np.float32, fill)
    assert "delete it" in one_line(caught.value)
    path.write_bytes(b"")
    with pytest.raises(DatasetError, match="cannot be read"):
        cached_array(path, (3, 2), np.float32, fill)


def test_a_cache_without_room_is_refused_before_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = face_shards.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(face_shards.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(DiskFullError, match="0 MB free"):
        cached_array(tmp_path / "a.npy", (1000, 1000), np.uint8, lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_recompressed_or_smaller_copy_is_recognised_and_another_face_is_not() -> None:
    portraits = [astronaut()[:256, 100:356], grace_hopper()[60:316, 110:366]]
    seen = SeenCrops()
    for portrait in portraits:
        portrait = np.ascontiguousarray(portrait)
        bits = fingerprint(portrait)
        assert not seen.has_copy_of(bits)
        seen.keep(bits)
        jpeg = cv2.imencode(".jpg", portrait, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
        half = cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA)
        for copy in (cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.resize(half, (256, 256))):
            assert seen.has_copy_of(fingerprint(copy))
        assert not seen.has_copy_of(fingerprint(np.ascontiguousarray(portrait[:, ::-1])))


def test_a_thousand_different_crops_are_all_kept() -> None:
    seen, random = SeenCrops(), np.random.default_rng(0)
    for _ in range(1000):
        bits = random.integers(0, 2**63, 8).astype(np.uint64)
        assert not seen.has_copy_of(bits)
        seen.keep(bits)
        changed = bits.copy()
        changed[0] ^= np.uint64(2**MAX_COPY_BITS - 1)  # that many bits differ
        assert seen.has_copy_of(changed)
        changed[1] ^= np.uint64(1)
        assert not seen.has_copy_of(changed)
