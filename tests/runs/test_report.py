"""The numbers of the report are those of the run."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from purenn.runs.config import Config
from purenn.runs.report import append_metrics, conclude, write_metrics
from purenn.runs.setup import setup
from purenn.runs.train import begin, run, scores


def test_the_scores_are_those_of_the_parts(tmp_path: Path) -> None:
    made = setup(Config(data="wine", model="dense(3)", epochs=3))
    (*_, news) = run(made, begin(made))
    found = conclude(tmp_path, made, news.place.state, news.place)
    assert [*found] == ["train", "validation", "test"]
    assert made.inputs.test is not None
    assert found["test"] == scores(made, news.place.state, made.inputs.test)
    page = (tmp_path / "report.md").read_text()
    for name, part in (("train", made.inputs.train), ("test", made.inputs.test)):
        numbers = " | ".join(f"{value:.6g}" for value in found[name].values())
        assert f"| {name} | {len(part.inputs)} | {numbers} |" in page
    assert "## 42 parameters" in page
    assert "| model | `dense(3)` |" in page
    for name in ("curves", "confusion", "weights", "layers"):
        assert f"({name}.png)" in page
        assert (tmp_path / f"{name}.png").exists()


def test_the_metrics_are_read_back_to_the_last_bit(tmp_path: Path) -> None:
    rows = [{"epoch": i, "loss": 1 / (i + 3), "other": np.nan} for i in range(3)]
    write_metrics(tmp_path, rows)
    with open(tmp_path / "metrics.csv", newline="") as file:
        for row, got in zip(rows, csv.DictReader(file), strict=True):
            assert float(got["loss"]) == row["loss"]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail) for line in lines] == [
        {**row, "other": None} for row in rows
    ]


def test_a_row_after_the_other_gives_the_same_files(tmp_path: Path) -> None:
    rows = [{"epoch": i, "loss": 1 / (i + 3)} for i in range(4)]
    names = ("metrics.csv", "metrics.jsonl")
    for i in range(4):
        append_metrics(tmp_path, rows[: i + 1])
    found = [(tmp_path / name).read_bytes() for name in names]
    write_metrics(tmp_path, rows)
    assert found == [(tmp_path / name).read_bytes() for name in names]
    write_metrics(tmp_path, [])
    assert not [*tmp_path.iterdir()]
