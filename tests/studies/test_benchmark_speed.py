from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"


@pytest.fixture(scope="module")
def bench():
    """The script and its modules; pipelines/ is a folder of scripts, no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PIPELINES))
        names = {"script": "benchmark_speed"} | {
            name: f"speed.{name}" for name in ("contenders", "probes", "readouts", "report")
        }
        yield SimpleNamespace(**{short: importlib.import_module(name) for short, name in names.items()})


@pytest.mark.slow
def test_the_command_measures_everything(tmp_path, bench, monkeypatch):
    # Over 10 s: it starts Python a dozen times, for start-up, memory, the stream and the compiler.
    axes = {"n_rows": [64, 128], "n_columns": [2, 4]}
    sizes = {"batches": {64: 2}, "readout_batches": 1, "sweep_rows": 64, "pilot_rows": 1500, "stream_rows": [1500]}
    plan = bench.script.SHORT._replace(turns=1, axes=axes, **sizes)
    monkeypatch.setattr(bench.script, "SHORT", plan)
    monkeypatch.setattr(bench.probes, "COMPILE_LIMIT", 0.0)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    bench.script.main([str(tmp_path), "--short"])
    assert torch.equal(state, torch.random.get_rng_state())
    assert threads == torch.get_num_threads()

    figures = json.loads((tmp_path / "benchmark_speed_short" / "data.json").read_text())
    text = (tmp_path / "benchmark_speed_short" / "report.md").read_text()
    assert figures["header"]["versions"]["torch"] == torch.__version__
    assert "**Short form**" in text
    for name in ("training", "prediction"):
        for contender in figures["widths"]["64"][name]["contenders"].values():
            # Whatever the machine: matrix products inside a network cannot beat a large one by much.
            assert 0 < contender["ceiling_share"]["median"] < 1.5
            assert contender["rows_per_second"]["median"] > 0
    assert figures["sweeps"]["n_rows"]["sizes"] == [64, 128]
    assert figures["stream"]["run"]["rows"] == 1500
    assert figures["stream"]["run"]["peak_mib"] > 100
    assert figures["start_up"]["import torch"]["processor"]["median"] > 0
    assert figures["compile"] == {"failed": "not done after 0 s"}
    assert text.count("| exponent of ") == 4
    assert "| prediction from Parquet in a stream" in text
    assert ("is not installed" in text) != bench.contenders.HAS_FT


def test_contenders_take_turns_and_ratios_are_taken_inside_a_turn(bench):
    said = []
    work = {name: lambda name=name: said.append(name) or len(said) for name in "ABC"}
    taken = bench.script.take_turns(work, 2)
    assert said == list("ABC" * 3)
    assert taken == {"A": [4, 7], "B": [5, 8], "C": [6, 9]}  # the first turn warms up
    assert bench.script.ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == {"median": 3.0, "min": 2.0, "max": 4.0}


def test_exponent_of_a_power_and_of_one_with_a_constant_cost(bench):
    sizes = [10, 20, 40, 80]
    exact = bench.script.exponent(sizes, [0.3 * n**1.5 for n in sizes])
    assert exact["slope"] == pytest.approx(1.5)
    assert exact["last"] == pytest.approx(1.5)
    assert exact["standard_error"] < 1e-6
    masked = bench.script.exponent(sizes, [100 + n for n in sizes])
    assert masked["slope"] < masked["last"] < 1
    assert masked["standard_error"] > 0.01


def test_flops_count_both_directions_and_attention(bench):
    count, layer, x = bench.contenders.count_flops, torch.nn.Linear(8, 16), torch.randn(32, 8)
    forward = 2 * 32 * 8 * 16
    assert count(lambda: layer(x).sum(), backward=False) == forward
    assert count(lambda: layer(x).sum(), backward=True) == 2 * forward  # x asks for no gradient
    q = torch.randn(2, 4, 11, 8)
    products = 2 * (2 * 2 * 4 * 11 * 11 * 8)
    assert count(lambda: functional.scaled_dot_product_attention(q, q, q), backward=False) == products


def test_products_alone_are_those_of_the_flops(bench):
    shape = bench.contenders.Shape(n_rows=bench.contenders.BATCH, width=16)
    for training in (False, True):
        batch = bench.contenders._ours_batch(shape, training=training)
        with bench.contenders._Products() as products, sdpa_kernel(SDPBackend.MATH):
            result = batch()
            if training:
                result.backward()

        def replay(calls=products.calls) -> Any:
            return [call() for call in calls][-1]

        with torch.no_grad():
            counted = bench.contenders.count_flops(replay, backward=False)
        assert counted == bench.contenders.ours_flops(shape, training=training)
        assert bench.contenders.products_alone(shape, training=training)() > 0


def test_rows_and_networks_have_the_shape_asked_for(bench):
    shape = bench.contenders.Shape(n_rows=40, n_columns=20, width=16, n_prototypes=5)
    rows, network = bench.contenders.make_rows(shape), bench.contenders.make_network(shape)
    inputs, target, _ = rows.batch(slice(None))
    assert inputs["numeric"].shape == (40, 14)
    assert inputs["categorical"].shape == (40, 6)
    assert torch.equal(target.sum(dim=1), torch.ones(40))
    assert network(**inputs).reading.assignment.q.shape == (40, 20, 5)
    assert network.head.in_features == 16


def test_prototypes_on_the_mean_differ_from_mean_pooling_in_the_readout_alone(bench):
    readout, tokens = bench.readouts.PooledPrototypes(4, 8), torch.randn(6, 11, 8)
    reading, mean = readout(tokens), bench.readouts.MeanReadout()(tokens)
    assert torch.allclose(reading.z, mean.z)
    assert torch.allclose(reading.summary, reading.assignment.q[:, 0] @ readout.prototypes)


def test_a_stream_answers_every_row_as_predict_proba_does(tmp_path, bench, monkeypatch):
    monkeypatch.setattr(bench.probes, "STREAM_ROWS", 400)
    clf = bench.probes.fit_classifier()
    columns = list(clf.feature_names_in_)
    bench.probes.write_parquet(tmp_path / "rows.parquet", columns, 1000)
    clf.save(tmp_path / "model.ddcl")
    names = (str(tmp_path / name) for name in ("model.ddcl", "rows.parquet", "answers.parquet"))
    assert bench.probes.predict_stream(*names)["seconds"] > 0
    rows, answers = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("rows", "answers"))
    assert rows.columns == columns
    assert rows["PERIGEE"].n_unique() > 900  # drawn again and again, but moved
    np.testing.assert_array_equal(answers["class"].to_numpy(), clf.predict(rows))
    np.testing.assert_allclose(answers["probability"].to_numpy(), clf.predict_proba(rows).max(axis=1))


def test_memory_rises_with_the_tokens_that_the_work_holds(bench):
    shapes = [bench.contenders.Shape(n_rows=n, n_columns=10, width=64, n_prototypes=32) for n in (1000, 20_000)]
    few, many = bench.probes.memory([("readout", shape) for shape in shapes])
    tokens_mib = 200_000 * 64 * 4 / 2**20
    assert many > 2 * tokens_mib  # the tokens and their gradient
    assert few < many / 5


def test_a_process_that_fails_or_hangs_is_an_error(bench):
    used = bench.probes.run([sys.executable, "-c", "print(sum(range(10**6)))"])
    assert int(used.printed) == sum(range(10**6))
    assert used.processor > 0
    with pytest.raises(RuntimeError, match="no such thing"):
        bench.probes.run([sys.executable, "-c", "raise SystemExit('no such thing')"])
    start = time.perf_counter()
    with pytest.raises(RuntimeError, match="not done after 1 s"):
        bench.probes.run([sys.executable, "-c", "import time; time.sleep(600)"], limit=1)
    assert time.perf_counter() - start < 60


def figures(share: float, faster: float, over_mean: float, slope: float, peak_mib: float) -> dict[str, Any]:
    def range_of(value: float) -> dict[str, float]:
        return {"median": value, "min": value - 0.01, "max": value + 0.01}

    rows = {name: {"ceiling_share": range_of(share), "times_of_first": range_of(1.0)} for name in ("ours", OURS)}
    rivals = {name: {"times_of_first": range_of(faster)} for name in RIVALS}
    fitted = {what: {"exponent": {"slope": slope, "standard_error": None, "last": slope}} for what in WHATS}
    return {
        "widths": {"64": {name: {"contenders": rows | rivals} for name in ("training", "prediction")}},
        "readouts": {"mean pooling, prototypes, linear head": {"over_mean_pooling": range_of(over_mean)}},
        "sweeps": {"n_rows": fitted, "n_columns": fitted},
        "stream": {"asked": 10**7, "run": {"rows": 10**6, "seconds": 60.0, "peak_mib": peak_mib}},
    }


OURS = "ours, predict_rows"
RIVALS = "FT-Transformer, plain loop", "FT-Transformer, skorch's default loader"
WHATS = "training", "readout", "prediction"


def test_goals_say_what_was_missed_and_what_could_not_be_measured(bench):
    reached = bench.report.goals(figures(0.7, 3.5, 1.02, 1.0, 900.0))
    assert [goal.met for goal in reached] == [True] * 9 + [None]  # a tenth of the rows cannot meet the last one
    whole = figures(0.7, 3.5, 1.02, 1.0, 900.0)
    whole["stream"]["run"]["rows"] = whole["stream"]["asked"]
    assert bench.report.goals(whole)[-1].met
    missed = bench.report.goals(figures(0.31, 0.9, 1.04, 1.06, 2000.0))
    assert [goal.met for goal in missed] == [False] * 10
    assert missed[0].wanted == ">= 55.0 %"
    assert missed[0].measured == "31.0 % (30.0 % to 32.0 %)"
    assert "1,000,000 rows with 2097 MB" in missed[-1].measured
    assert "10,000,000 would take 10 min" in missed[-1].measured
    alone = whole
    for rival in RIVALS:
        del alone["widths"]["64"]["training"]["contenders"][rival]
    assert [goal.met for goal in bench.report.goals(alone)] == [True, True, None, None] + [True] * 6
