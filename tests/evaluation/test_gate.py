"""When a new checkpoint counts as worse, and which reports may be compared at all."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from vidswap.errors import BadOptionError, InputNotFoundError
from vidswap.evaluation.gate import (
    Comparison,
    check_comparable,
    compare,
    read_report,
)
from vidswap.evaluation.held_out import HeldOutQuality
from vidswap.evaluation.table import comparison_as_text, gate_as_text, report_as_text
from vidswap.metrics.registry import EVALUATION
from vidswap.metrics.swap_quality import SwapQuality

GOOD = {"nearer_to_source": 0.9, "retrieval_top1": 0.5, "pose_degrees": 2.0, "fid": 4.0}


def report(each: dict[str, list[float | None]] | None = None, **measures: float | None) -> Any:
    values = dict.fromkeys((m.name for m in EVALUATION["held_out"]), 0.5) | GOOD | measures
    return {
        "judge": "faceres (no part in training)", "judge_sha256": "a" * 64,
        "checkpoint": "new.safetensors", "checkpoint_sha256": "c" * 64, "images_trained": 1000,
        "precision": "float32", "device": "cpu",
        "held_out": {
            "faces_sha256": "f" * 64, "fixed_pairs": True,
            "measures": values | {"pairs": 200, "with_other": 60}, "each": each or {},
        },
    }  # fmt: skip


def outcome(old: Any, new: Any, name: str) -> Comparison:
    return next(c for c in compare(old, new) if c.measure.name == name)


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("nearer_to_source", 0.93, "better"),
        ("nearer_to_source", 0.87, "worse"),
        ("nearer_to_source", 0.905, "same"),
        ("pose_degrees", 1.5, "better"),
        ("pose_degrees", 2.4, "worse"),
        ("pose_degrees", 2.05, "same"),
        ("fid", 5.0, "worse"),
        ("fid", 3.0, "better"),
    ],
)
def test_better_and_worse_follow_each_measures_direction(
    name: str, value: float, verdict: str
) -> None:
    assert outcome(report(), report(**{name: value}), name).verdict == verdict


def test_a_report_against_itself_changes_nothing_and_passes() -> None:
    comparisons = compare(report(), report())
    assert {c.verdict for c in comparisons} == {"same", ""}
    assert not any(c.fails for c in comparisons)


@pytest.mark.parametrize(
    ("name", "value", "fails"),
    [
        ("nearer_to_source", 0.80, True),  # worse, and below 95 %
        ("pose_degrees", 2.4, False),  # worse, but within 2.5 degrees
        ("pose_degrees", 2.7, True),
        ("fid", 40.0, False),  # worse, but no part of the gate
        ("nearer_to_source", 0.91, False),  # better, though short of its aim
    ],
)
def test_the_gate_closes_for_what_is_worse_and_short_of_its_aim(
    name: str, value: float, fails: bool
) -> None:
    assert outcome(report(), report(**{name: value}), name).fails == fails


def test_a_change_within_the_scatter_of_the_pairs_is_none() -> None:
    old = [1.0] * 10 + [0.0] * 10
    few, most = [*old], [*old]
    few[0], few[10] = 0.0, 1.0
    few[1] = 0.0  # two lost, one won: 5 % less, standard error 8.8 %
    most[:8] = [0.0] * 8  # eight lost: 40 % less, standard error 11 %
    name = "nearer_to_source"
    before = report({name: old}, nearer_to_source=0.5)
    assert outcome(before, report({name: few}, nearer_to_source=0.45), name).verdict == "same"
    assert outcome(before, report({name: most}, nearer_to_source=0.1), name).verdict == "worse"


def test_pairs_without_a_value_are_left_out_of_the_scatter() -> None:
    name = "pose_degrees"
    before = report({name: [1.0, 2.0, None, 3.0]}, pose_degrees=2.0)
    after = report({name: [1.5, 2.5, 9.0, None]}, pose_degrees=2.5)
    assert outcome(before, after, name).verdict == "worse"


def test_a_measure_that_got_lost_is_worse() -> None:
    assert outcome(report(), report(pose_degrees=None), "pose_degrees").fails


def test_a_measure_that_the_older_report_does_not_know_is_neither() -> None:
    name = "nearer_without_glasses"
    old = report()
    del old["held_out"]["measures"][name]
    assert outcome(old, report(), name).verdict == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"judge": "other"}, "the judge differ"),
        ({"judge_sha256": "b" * 64}, "judge's weights"),
        ({"held_out": {"faces_sha256": "e" * 64}}, "held-out pairs"),
        ({"clips": {"clips_sha256": "d", "every": 5, "max_frames": 60}}, "clips or their frames"),
    ],
)
def test_only_the_same_judge_pairs_and_frames_are_compared(
    change: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadOptionError, match=words):
        check_comparable(report(), report() | change, "old.json")
    check_comparable(report(), report(), "old.json")


def test_frames_are_part_of_what_must_agree() -> None:
    clips = {"clips_sha256": "d", "every": 5, "max_frames": 60}
    old, new = report() | {"clips": clips}, report() | {"clips": clips | {"every": 6}}
    with pytest.raises(BadOptionError, match="d 5 60"):
        check_comparable(old, new, "old.json")


@pytest.mark.parametrize("content", ["no json", "[]", '{"judge": "x"}', '{"held_out": 3}'])
def test_what_is_no_report_is_one_clear_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(content)
    with pytest.raises(BadOptionError, match=r"old\.json: not a report"):
        read_report(path)
    with pytest.raises(InputNotFoundError, match=r"absent\.json"):
        read_report(tmp_path / "absent.json")


def test_a_report_comes_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(report()))
    assert read_report(path) == report()


def test_the_table_shows_every_measure_with_its_aim() -> None:
    text = report_as_text(report())
    for measure in EVALUATION["held_out"]:
        assert measure.title in text
    row = next(line for line in text.splitlines() if line.startswith("nearer to source"))
    assert "90.0 %" in row and ">= 95.0 % missed" in row
    assert "no part in training" in text and "200 held-out pairs" in text


def test_the_comparison_names_what_closes_the_gate() -> None:
    old, new = report(), report(nearer_to_source=0.7, pose_degrees=1.0)
    comparisons = compare(old, new)
    text = comparison_as_text(old, new, comparisons)
    row = next(line for line in text.splitlines() if line.startswith("nearer to source"))
    assert "90.0 %" in row and "70.0 %" in row and "worse" in row and "GATE" in row
    pose = next(line for line in text.splitlines() if line.startswith("pose"))
    assert "better" in pose and "GATE" not in pose
    assert "nearer to source" in gate_as_text(comparisons)
    assert "passes" in gate_as_text(compare(old, old))


def test_every_measure_of_the_registry_is_in_the_report() -> None:
    for section, quality in (("held_out", HeldOutQuality), ("clips", SwapQuality)):
        names = [measure.name for measure in EVALUATION[section]]
        assert names and len(names) == len(set(names))
        assert set(names) <= {field.name for field in fields(quality)}
