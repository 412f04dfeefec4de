"""The check of a GPU: what fails, hangs or is missing stops nothing else, and is named."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.benchmarks.gpu_check import (
    Check,
    Outcome,
    Row,
    Setting,
    as_text,
    main,
    report_of,
    run_checks,
    verdict,
)

REPOSITORY = Path(__file__).resolve().parents[2]


def measures(setting: Setting) -> Iterator[Row]:
    yield Row(f"on {setting.device}", 3.0, "images/s", least=2.0)
    yield Row("apart", 0.5, "levels", most=1.0)


def raises(setting: Setting) -> Iterator[Row]:
    yield Row("before", 1.0, "")
    raise RuntimeError("the card has\nfallen off")


def hangs(setting: Setting) -> Iterator[Row]:
    yield Row("before", 1.0, "")
    time.sleep(60)


def dies(setting: Setting) -> Iterator[Row]:
    yield Row("before", 1.0, "")
    os._exit(7)


def lacks(setting: Setting) -> Iterator[Row]:
    import no_such_package  # type: ignore[import-not-found]  # noqa: F401

    yield Row("never", 1.0, "")


CHECKS = (
    Check("raises", raises, 20, 0),
    Check("dies", dies, 20, 0),
    Check("hangs", hangs, 0.2, 0),
    Check("lacks", lacks, 20, 0),
    Check("needs", measures, 20, 0, needs=("json", "no_such_package")),
    Check("for a gpu", measures, 20, 0, needs_gpu=True),
    Check("too long", measures, 2000, 1000),
    Check("measures", measures, 20, 0),
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    setting = Setting("cpu", True, tmp_path_factory.mktemp("gpu_check"))
    return run_checks(CHECKS, setting, total=120)


def test_whatever_befalls_a_check_those_after_it_go_on(outcomes: list[Outcome]) -> None:
    assert [(o.name, o.state) for o in outcomes] == [
        ("raises", "failed"), ("dies", "failed"), ("hangs", "cut short"), ("lacks", "skipped"),
        ("needs", "skipped"), ("for a gpu", "skipped"), ("too long", "skipped"),
        ("measures", "done"),
    ]  # fmt: skip
    assert [row.value for row in outcomes[-1].rows] == [3.0, 0.5]
    assert verdict(outcomes) == "failing: raises, dies, hangs"


def test_figures_of_before_the_fault_are_kept(outcomes: list[Outcome]) -> None:
    assert [[row.case for row in outcome.rows] for outcome in outcomes[:3]] == [["before"]] * 3
    assert outcomes[0].why == "RuntimeError: the card has fallen off"


def test_what_is_skipped_says_why(outcomes: list[Outcome]) -> None:
    whys = [outcome.why for outcome in outcomes[3:7]]
    assert whys[0] == whys[1] == "needs no_such_package, which is not installed"
    assert whys[2] == "needs a GPU" and whys[3].endswith("s were left and it needs 1000")


def test_the_report_is_plain_values_and_the_table_says_the_same(outcomes: list[Outcome]) -> None:
    report = json.loads(json.dumps(report_of(outcomes, Setting("cpu", True, Path()), 1.0)))
    assert not report["passes"] and len(report["checks"]) == len(CHECKS)
    first = report["checks"][-1]["rows"][0]
    assert (first["case"], first["value"], first["holds"]) == ("on cpu", 3.0, True)
    text = as_text(outcomes[-1]).splitlines()
    assert text[1].split() == ["on", "cpu", "3", "images/s", "(least", "2)"]


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        (Row("", 1.0, "", least=2.0), False), (Row("", 3.0, "", most=2.0), False),
        (Row("", math.nan, "", most=2.0), False), (Row("", math.nan, ""), True),
        (Row("", 0.0, "", most=0.0), True), (Row("", -9.0, ""), True),
    ],
)  # fmt: skip
def test_a_figure_out_of_its_bounds_fails(row: Row, holds: bool) -> None:
    assert row.holds is holds
    assert Outcome("", "done", rows=[row]).passes is holds


# A machine lent for minutes has torch, NumPy, OpenCV and safetensors, and nothing else.
BARE = """
import sys
for name in ("av", "numba", "scipy", "click", "PIL", "psutil", "tqdm", "jinja2", "cryptography"):
    sys.modules[name] = None
from pipelines.benchmarks.gpu_checks import nets
import vidswap.bench.rates
for name, (made, inputs, _) in nets().items():
    try: made(), inputs()
    except ModuleNotFoundError as error: print(name, error.name, sep=": ")
"""


def test_nets_are_compared_where_little_is_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BARE], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "content net of swapinpaint: numba\n"


@pytest.mark.slow
def test_all_checks_pass_dry_within_a_minute_or_so(tmp_path: Path) -> None:
    assert main(["--dry", "-o", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "gpu_check.json").read_text())
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert states.pop("memory") == "skipped"
    assert set(states.values()) == {"done"} and len(states) == 6
    assert "all that ran holds" in (tmp_path / "gpu_check.txt").read_text()
