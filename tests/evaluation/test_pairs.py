"""Which held-out faces meet: fixed for the project's dataset, drawn alike for any other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vidswap.errors import InputNotFoundError
from vidswap.evaluation.pairs import (
    PAIRS_FILE,
    draw_pairs,
    held_out_pairs,
    picture_key,
    read_pairs,
    write_pairs,
)
from vidswap.training.data.face_shards import FaceRecord, read_index

DATASET = Path(__file__).resolve().parents[3] / "shared" / "data" / "faces"


def dataset(people: int = 1200, named: int = 400) -> list[FaceRecord]:
    """Pictures of so many people; the first `named` have a name and three pictures each."""
    records = []
    for i in range(people):
        name = f"Person_{i}" if i < named else ""
        for j in range(3 if name else 1):
            file = f"{name}_{j}.webp" if name else f"{i:06d}.webp"
            records.append(FaceRecord(file, "faces.zip", "real", name))
    return records


RECORDS = dataset()
HELD_OUT = {record.person for record in RECORDS if record.held_out}


def test_every_source_is_another_person_and_no_target_is_its_source() -> None:
    pairs = draw_pairs(RECORDS, 10)
    sources = [RECORDS[pair.source].person for pair in pairs]
    targets = [RECORDS[pair.target].person for pair in pairs]
    assert len(pairs) == len(set(sources)) == len(set(targets)) == 10
    assert not set(sources) & set(targets)


def test_only_people_that_are_never_trained_on_are_drawn() -> None:
    pairs = draw_pairs(RECORDS, 1000)
    assert {RECORDS[pair.source].person for pair in pairs} == HELD_OUT
    assert {RECORDS[pair.target].person for pair in pairs} == HELD_OUT
    assert all(RECORDS[pair.source].person != RECORDS[pair.target].person for pair in pairs)


def test_the_draw_is_always_the_same_and_does_not_hang_on_the_order_of_the_index() -> None:
    files = [
        [(records[p.source].file, records[p.target].file) for p in draw_pairs(records, 12)]
        for records in (RECORDS, RECORDS, RECORDS[::-1])
    ]
    assert files[0] == files[1] == files[2]


def test_people_with_several_pictures_are_sources_and_bring_another_picture() -> None:
    pairs = draw_pairs(RECORDS, 10)
    assert len(pairs) == 10
    for pair in pairs:
        source = RECORDS[pair.source]
        assert source.identity and pair.another is not None and pair.another != pair.source
        assert RECORDS[pair.another].person == source.person


def test_what_is_left_out_is_not_drawn() -> None:
    first = draw_pairs(RECORDS, 10)
    left_out = {first[0].source, first[1].target}
    drawn = draw_pairs(RECORDS, 1000, left_out)
    assert not left_out & {row for pair in drawn for row in (pair.source, pair.target)}


def test_a_file_brings_the_same_pairs_back_without_a_name_in_it(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    pairs = draw_pairs(RECORDS, 20)
    write_pairs(RECORDS, pairs, file)
    assert "Person" not in file.read_text()
    again, fixed = held_out_pairs(RECORDS, 12, file)
    assert fixed and again == pairs[:12]


def test_a_number_stands_as_it_is_and_a_name_as_its_hash() -> None:
    assert picture_key("013397.webp") == "013397"
    assert re.fullmatch("[0-9a-f]{16}", picture_key("Ada_Lovelace_0001.jpg"))
    assert picture_key("Ada_Lovelace_0001.jpg") != picture_key("Ada_Lovelace_0002.jpg")


def test_a_file_of_another_dataset_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    write_pairs(RECORDS, draw_pairs(RECORDS, 20), file)
    other = [FaceRecord(f"x{r.file}", r.shard, r.kind, r.identity) for r in RECORDS]
    assert held_out_pairs(other, 12, file) == (draw_pairs(other, 12), False)


def test_a_file_with_a_person_who_was_trained_on_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    write_pairs(RECORDS, draw_pairs(RECORDS, 20), file)
    trained = next(r for r in RECORDS if not r.held_out)
    held = draw_pairs(RECORDS, 20)[0].target
    file.write_text(
        file.read_text().replace(picture_key(RECORDS[held].file), picture_key(trained.file))
    )
    assert not held_out_pairs(RECORDS, 12, file)[1]


@pytest.mark.parametrize("records", [[], [r for r in RECORDS if not r.held_out]])
def test_no_held_out_people_is_one_clear_error(records: list[FaceRecord]) -> None:
    with pytest.raises(InputNotFoundError, match="0 held-out people"):
        draw_pairs(records, 10)


def test_the_projects_file_has_two_hundred_pairs_of_four_hundred_pictures() -> None:
    lines = PAIRS_FILE.read_text().splitlines()
    assert lines[0] == "source,target" and len(lines) == 201
    keys = [key for line in lines[1:] for key in line.split(",")]
    assert len(set(keys)) == 400
    assert all(re.fullmatch(r"\d+|[0-9a-f]{16}", key) for key in keys)


@pytest.mark.skipif(not DATASET.is_dir(), reason="the training faces are not here")
def test_the_projects_file_fits_its_dataset() -> None:
    records = read_index(DATASET)
    pairs, fixed = held_out_pairs(records)
    assert fixed and pairs == read_pairs(records) and len(pairs) == 200
    assert sum(pair.another is not None for pair in pairs) > 50
