"""Class sets on later launches: what calibrates is what it is called, and the study runs from its command."""

from __future__ import annotations

import json

import coverage_in_time as study
import numpy as np
import pytest
from benchmark_catalog import load
from peers.tasks import make_fold


@pytest.fixture(scope="module")
def fold():
    return make_fold(load(None, True), study.TASK, 0)


def test_the_newest_launches_come_after_all_others_and_launches_stay_whole(fold):
    launch = np.asarray(fold.groups)
    for how in ("newest", "random"):
        kept = study.held_out(fold, how, 0)
        assert not set(launch[kept]) & set(launch[~kept])
        assert 0.1 < len(set(launch[kept])) / len(set(launch)) < 0.3
        assert (launch[kept].min() > launch[~kept].max()) == (how == "newest")
    assert not np.array_equal(study.held_out(fold, "random", 0), study.held_out(fold, "random", 1))


def test_short_form_covers_by_class_and_flags_errors(tmp_path):
    study.main(["nowhere", str(tmp_path), "--short"])
    folder = tmp_path / "coverage_in_time_short"
    (line,) = [json.loads(text) for text in (folder / "data.jsonl").read_text().splitlines()]
    assert {row["calibration"] for row in line["coverage"]} == {"random", "newest"}
    assert all(0 <= row["coverage"] <= 1 <= len(row["class"]) for row in line["coverage"])
    assert all(0 <= row["found"] <= row["errors"] for row in line["flags"])
    text = (folder / "report.md").read_text()
    assert "SYNTHETIC" in text
    assert "| newest launches | 0.9" in text
    before = (folder / "data.jsonl").read_bytes()
    study.main(["nowhere", str(tmp_path), "--short"])  # nothing left to do
    assert (folder / "data.jsonl").read_bytes() == before
