"""Model files from strangers: mutated ones give our error or a whole model. Short form of pipelines/fuzz_models.py."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from ddcl_tab import DDCLClassifier
from ddcl_tab._files import read_model, write_model
from ddcl_tab.errors import ModelFileError
from tests.conftest import ROOT


def test_mutated_files_give_our_error_or_a_whole_model(tmp_path):
    command = [sys.executable, ROOT / "pipelines" / "fuzz_models.py", tmp_path, "--files", "1200"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "fuzz_models" / "data.json").read_text())
    assert found["failures"] == []
    assert sum(sum(outcomes.values()) for outcomes in found["outcomes"].values()) == 1200
    for kind, outcomes in found["outcomes"].items():
        assert outcomes["our error"] > 100, kind
    # Swapping a part with itself changes nothing; right checksums over other weights are a model.
    assert found["outcomes"]["zip"]["equal model"] > 10
    assert found["outcomes"]["weights"]["other model"] > 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["parameters"].update(d_token=10**9), r"d_token is 1000000000; the weights have room for"),
        (lambda s: s["parameters"].update(n_blocks=10**9), r"n_blocks is 1000000000; the weights have room for"),
        (lambda s: s["classes"].update(dtype="<U999999999"), None),
        (lambda s: s["classes"].update(dtype="V8"), r"classes.dtype must be a type of labels such as '<U6', not 'V8'"),
        (lambda s: s["classes"].update(values=["A", "A", "B"]), r"different labels of one type"),
        (lambda s: s["encoder"]["numeric"][0].update(std=0.0), r"numeric\[0\].std must be a finite number above 0"),
        (lambda s: s["encoder"]["numeric"][0].pop("low"), r"numeric\[0\] lacks 'low'"),
        (lambda s: s["encoder"]["columns"].append("MORE"), r"columns are not those of its scales and categories"),
        (lambda s: s["certificates"][0].update(lag="x"), r"certificates\[0\].lag must be a number, not 'x'"),
        (lambda s: s["attributes"].update(n_iter_=10**400), r"n_iter_ must be a count, not a number of many digits"),
        (lambda s: s["attributes"]["_prototype_table"].pop("name"), r"_prototype_table lacks 'name'"),
        (lambda s: s.update(code="x"), r"state has the unknown entry 'code'"),
        (lambda s: s["parameters"].pop("lr"), r"parameters lacks 'lr'"),
        (lambda s: s.update(domain=""), r"is in '.+', and in '' by the domain ''"),
    ],
)
def test_a_state_that_lies_is_named(small_model, tmp_path, change, message):
    clf, rows = small_model
    clf.save(tmp_path / "model.ddcl")
    state, weights, _ = read_model(tmp_path / "model.ddcl")
    change(state)
    write_model(tmp_path / "model.ddcl", state, weights)
    if message is None:
        assert (DDCLClassifier.load(tmp_path / "model.ddcl").predict(rows) == clf.predict(rows)).all()
        return
    with pytest.raises(ModelFileError, match=message):
        DDCLClassifier.load(tmp_path / "model.ddcl")


def test_sizes_are_compared_before_memory_is_taken(small_model, tmp_path):
    clf, _ = small_model
    clf.save(tmp_path / "model.ddcl")
    state, weights, _ = read_model(tmp_path / "model.ddcl")
    state["parameters"]["d_token"] = 100_000  # blocks of this width would take 40 GB
    weights["readout.prototypes"] = np.zeros((6, 100_000), dtype=np.float32)
    weights["head.weight"] = np.zeros((3, 100_000), dtype=np.float32)
    write_model(tmp_path / "model.ddcl", state, weights)
    with pytest.raises(
        ModelFileError, match=r"out.weight have the shape \(16, 16\); the state describes \(100000, 100000\)"
    ):
        DDCLClassifier.load(tmp_path / "model.ddcl")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("head.weight", float("nan"), "head.weight hold values that are not finite or beyond 1e"),
        ("head.weight", 1e30, "head.weight hold values that are not finite or beyond 1e"),
        ("readout.temperature", 0.0, "readout.temperature must be at least 1e-12, not 0.0"),
    ],
)
def test_weights_that_no_training_gives_are_refused(small_model, tmp_path, name, value, message):
    clf, _ = small_model
    clf.save(tmp_path / "model.ddcl")
    state, weights, _ = read_model(tmp_path / "model.ddcl")
    weights[name].flat[0] = value
    write_model(tmp_path / "model.ddcl", state, weights)
    with pytest.raises(ModelFileError, match=message):
        DDCLClassifier.load(tmp_path / "model.ddcl")
