"""The study behind "when not to trust it" runs in its short form, on synthetic rows, and writes what it promises."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"


@pytest.fixture(scope="module")
def study():
    """The script; pipelines/ is a folder of scripts, no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PIPELINES))
        yield importlib.import_module("trust_study")


@pytest.fixture(scope="module")
def out(study, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trust")
    study.main(["nowhere", str(out), "--short", "--judged", str(out / "judged.npz")])
    return out


def test_short_form_writes_both_files(out):
    result = json.loads((out / "trust_short" / "data.json").read_text())
    text = (out / "trust_short" / "report.md").read_text()
    assert "SYNTHETIC" in text
    assert {row["foreign rows"].split(":")[0] for row in result["novelty"]} == {"held out", "planted"}
    assert all(0 <= row["NoveltyScore"] <= 1 for row in result["novelty"])
    assert {row["weigh"] for row in result["halves"]} == {"launch", "row"}
    assert len(result["halves"]) == 2 * 3 * 3
    assert len(result["folds"]) == 5 * 3 * 3
    assert result["labels"]["rows"] >= len(result["top"]) > 0
    assert result["flipped"]["found"] <= result["flipped"]["exchanged"]


def test_kept_judgement_is_the_same(study, out):
    frame = study.known_rows(study.read_satcat(study.SYNTHETIC), study.SHORT.synthetic_rows)
    judged, minutes = study.judge(frame, study.SHORT, out / "judged.npz")
    assert minutes > 0
    assert judged.probability.shape == (len(frame), 3)
    assert set(judged.fold) == set(range(5))
    assert all(judged.reasons)


@pytest.mark.parametrize(
    ("name", "said"),
    [("CALSPHERE 4(A)", "passive radar target"), ("SL-8 R/B", "as recorded"), ("SJ-23 AKM", "motor"), ("COSMOS 1", "")],
)
def test_remarks(study, name, said):
    assert said in study.remark(name)
    assert bool(said) == bool(study.remark(name))
