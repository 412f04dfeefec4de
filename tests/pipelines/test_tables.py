"""The ablations of Tables IV and V: what is trained, and what is evaluated with what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines import tables as ablation
from pipelines.tables import table_iv, table_v
from tests.training.small_dataset import small_dataset
from tests.training.test_train import TINY
from vidswap.errors import BadOptionError
from vidswap.evaluation.evaluate import EvaluationOptions
from vidswap.models.checkpoint import load_generator
from vidswap.training.run import TrainJob


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[EvaluationOptions]:
    """The options of every evaluation that was asked for."""
    asked: list[EvaluationOptions] = []

    def remember(options: EvaluationOptions) -> dict[str, Any]:
        asked.append(options)
        return {"clips": {"measures": {"cosine_to_source": 0.5}}}

    monkeypatch.setattr(ablation, "evaluate", remember)
    return asked


def test_each_row_of_table_iv_is_trained_as_long_and_evaluated_with_its_own_weights(
    tmp_path: Path, evaluated: list[EvaluationOptions]
) -> None:
    faces = small_dataset(tmp_path / "faces")
    job = TrainJob(TINY, faces, tmp_path / "runs", cache=tmp_path / "cache", images=4)
    rows = list(table_iv(job, EvaluationOptions(tmp_path, faces=faces), ["none", "+l-sp"]))
    assert [row.name for row in rows] == ["none", "+l-sp"]
    nets = [load_generator(options.checkpoint) for options in evaluated]
    assert [net.images_trained for net in nets] == [4, 4]
    assert [net.net.config.pe_blocks for net in nets] == [False, True]


def test_table_v_evaluates_the_same_clips_with_every_number_of_shots(
    tmp_path: Path, evaluated: list[EvaluationOptions]
) -> None:
    given = EvaluationOptions(tmp_path, clips=tmp_path)
    assert [row.name for row in table_v(given)] == ["k=1", "k=5", "k=10", "k=50"]
    assert [options.k_shot for options in evaluated] == [1, 5, 10, 50]


def test_a_table_without_what_it_needs_is_refused(tmp_path: Path) -> None:
    options = EvaluationOptions(tmp_path, faces=tmp_path)
    with pytest.raises(BadOptionError, match="--clips"):
        list(table_v(options))
    with pytest.raises(BadOptionError, match="--images"):
        list(table_iv(TrainJob(TINY, tmp_path, tmp_path), options))
