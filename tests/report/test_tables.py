from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from vidswap.errors import BadOptionError
from vidswap.metrics.record import Curve, Figure, Moment, Report
from vidswap.report.tables import check_limits, plain, to_csv, to_json

PICTURE = np.zeros((4, 4, 3), np.uint8)
FIGURES = (
    Figure("ssim", "Likeness", 0.91, "SSIM", "higher", "Wang", interval=(0.9, 0.92), limit=0.9),
    Figure("seam", "Edge", 7.5, "grey levels", "lower", "defined here", limit=6.0),
    Figure("lpips", "Perceptual error", None, "distance", "lower", "Zhang", absent="no weights"),
    Figure("flow_warp_target", "Target", 0.02, "share", "neither", "AP-GAN"),
)
TIMES = (0.0, 0.04, 0.08)
CURVES = (
    Curve("ssim", "Likeness", "SSIM", "higher", TIMES, (0.9, None, 0.92)),
    Curve("yaw", "Turned", "degrees", "neither", TIMES, (1.0, 2.0, 3.0), (1.5, None, 3.5)),
)


def report() -> Report:
    return Report(
        target="t.mp4",
        swapped="s.mp4",
        source=None,
        frames=3,
        frames_with_face=3,
        seconds=0.12,
        size=(64, 48),
        figures=FIGURES,
        curves=CURVES,
        moments=(Moment(1, 0.04, "worst", "Edge: 9", PICTURE, PICTURE),),
        warnings=("short",),
        settings={"seconds_by_metric": {"flow": 0.5}, "face": "largest", "odd": float("nan")},
        provenance={"verdict": "none", "marks": {}},
    )


def test_json_holds_everything_but_the_pictures() -> None:
    text = json.dumps(to_json(report()), allow_nan=False)
    read = json.loads(text)
    assert read["figures"]["ssim"]["value"] == 0.91 and read["figures"]["ssim"]["passes"] is True
    assert read["figures"]["ssim"]["interval"] == [0.9, 0.92]
    assert read["figures"]["seam"]["passes"] is False
    assert (
        read["figures"]["lpips"] | {"value": None, "absent": "no weights"}
        == read["figures"]["lpips"]
    )
    assert (
        read["curves"]["yaw"]["target"] == [1.5, None, 3.5]
        and "target" not in read["curves"]["ssim"]
    )
    assert read["moments"] == [{"frame": 1, "seconds": 0.04, "kind": "worst", "because": "Edge: 9"}]
    assert read["settings"]["odd"] is None and read["warnings"] == ["short"]
    assert (read["size"], read["frames"], read["schema"]) == ([64, 48], 3, 1)


def test_csv_has_a_row_a_frame_and_a_column_a_curve() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(report()))))
    assert list(rows[0]) == ["seconds", "ssim", "yaw", "yaw_target"]
    assert [row["ssim"] for row in rows] == ["0.9", "", "0.92"]
    assert [row["yaw_target"] for row in rows] == ["1.5", "", "3.5"]
    assert [float(row["seconds"]) for row in rows] == [0.0, 0.04, 0.08]


def test_a_report_without_curves_is_a_heading() -> None:
    assert to_csv(replace(report(), curves=())) == "seconds\n"


@pytest.mark.parametrize(
    "limit", ["ssim>=0.9", "ssim >= 0.91", "seam<=7.5", "seam>=1e-3", "flow_warp_target<=0.02"]
)
def test_limits_that_are_kept_break_nothing(limit: str) -> None:
    assert check_limits(report(), [limit]) == []


def test_limits_that_are_broken_say_what_was_measured() -> None:
    broken = check_limits(report(), ["ssim>=0.95", "seam<=6", "ssim<=0.99"])
    assert [str(b) for b in broken] == ["ssim >= 0.95 is broken: 0.91", "seam <= 6 is broken: 7.5"]


def test_a_figure_without_a_value_keeps_no_limit() -> None:
    (broken,) = check_limits(report(), ["lpips<=1"])
    assert broken.value is None and str(broken).endswith("no value: no weights")


NO_LIMITS = (
    *("ssim", "ssim>0.9", "ssim=0.9", ">=0.9", "ssim>=", "ssim>=much", "ssim>=nan", "beauty>=1"),
    *("SSIM>=0.9", "ssim>=0.9 or so"),
)


@pytest.mark.parametrize("limit", NO_LIMITS)
def test_what_is_no_limit_is_refused_with_the_names_that_are(limit: str) -> None:
    with pytest.raises(BadOptionError, match="ssim, seam, lpips, flow_warp_target"):
        check_limits(report(), [limit])


def test_plain_values_are_what_json_holds() -> None:
    given = {1: (1.5, float("inf")), "path": PICTURE.dtype, "yes": True, "none": None}
    assert plain(given) == {"1": [1.5, None], "path": "uint8", "yes": True, "none": None}
