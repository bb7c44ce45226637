"""The commands as a user types them."""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest
from click.testing import CliRunner

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._catalog import classify_catalog
from ddcl_tab.cli import main
from ddcl_tab.errors import InputError
from ddcl_tab.space import launch_of, synthetic_catalog, write_satcat
from ddcl_tab.space._gp import read_gp
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._write import write_gp
from tests.conftest import SYNTHETIC

QUICK = "n_prototypes = 6\nd_token = 16\nn_heads = 2\nn_blocks = 1\nmax_epochs = 4\nlr = 0.005\n"
BRIEF = QUICK.replace("= 4", "= 2") + "augmented_share = 0.0\n"
SATCAT = "satcat/spacetrack_satcat_current_2025-03-16.json.gz"
SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")


def run(*arguments: object):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def fails(result) -> str:
    """The one line a user sees; no traceback, exit code 2."""
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert len(lines) == 1
    assert "Traceback" not in result.output
    return lines[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    (folder / "quick.toml").write_text(QUICK)
    result = run("train", SYNTHETIC, "--config", folder / "quick.toml", "--seed", 3, "--out", folder / "run")
    assert result.exit_code == 0, result.output
    return folder / "run", result.stdout


def test_help_and_import_stay_fast_and_without_torch():
    code = "import ddcl_tab, ddcl_tab.cli, sys; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    # The fastest of several counts: other work on the machine only ever adds to it.
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ddcl_tab.cli", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


@pytest.mark.parametrize("command", sorted(main.commands))
def test_help_of_each_command_has_an_example_in_one_line(command):
    lines = run(command, "--help").output.splitlines()
    assert sum(line.strip().startswith(f"Example: ddcl-tab {command}") for line in lines) == 1
    options = {option for line in lines if "Example:" in line for option in re.findall(r" (--[a-z]+)", line)}
    assert all(any(line.strip().startswith(option) for line in lines) for option in options)


def test_families_are_used_unless_the_user_wants_none(trained, tmp_path):
    folder, _ = trained
    assert DDCLClassifier.load(folder / "model.ddcl").families_ is not None
    features = json.loads((folder / "metrics.json").read_text())["features"]
    assert "FAMILY_SMALL_SHARE" in features
    write_satcat(synthetic_catalog(n_rows=400, random_state=0), tmp_path / "catalog.csv")
    config = tmp_path / "c.toml"
    config.write_text(BRIEF)
    command = ("train", tmp_path / "catalog.csv", "--no-family", "--config", config, "--out", tmp_path / "run")
    assert run(*command).exit_code == 0
    assert DDCLClassifier.load(tmp_path / "run" / "model.ddcl").families_ is None
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [name for name in metrics["features"] if not name.startswith("FAMILY_")] == metrics["features"]
    assert metrics["settings"]["family"] is None
    classified = run("classify", tmp_path / "run" / "model.ddcl", command[1], "--out", tmp_path / "x.csv")
    assert classified.exit_code == 0
    # A fact of the catalog, whatever the model sees.
    assert "siblings" in pl.read_csv(tmp_path / "x.csv", infer_schema_length=None).columns
    config.write_text('family = "auto"\n')
    for name in ("train", "tune"):
        assert "says family = 'auto' and --no-family says none" in fails(run(name, *command[1:]))
    for said in ("false", '"none"'):
        config.write_text(f"family = {said}\n")
        for more in ((), ("--no-family",)):
            assert "take the line away and give --no-family" in fails(
                run("train", command[1], "--config", config, "--out", tmp_path, *more)
            )


@pytest.mark.filterwarnings("ignore::ddcl_tab.errors.LeakWarning", "ignore::ddcl_tab.errors.StabilityWarning")
def test_siblings_are_counted_before_rows_are_chosen_and_where_launches_are_known(synthetic):
    rows = synthetic.sample(400, seed=2)
    settings = {"n_prototypes": 6, "d_token": 16, "n_heads": 2, "n_blocks": 1, "augmented_share": 0.0}
    clf = DDCLClassifier(family=None, max_epochs=1, random_state=0, **settings).fit(rows)
    whole = classify_catalog(clf, rows, None)
    assert classify_catalog(clf, rows, "DEBRIS").equals(whole.filter(pl.col("recorded") == "DEBRIS"))
    no_launch = classify_catalog(clf, rows.with_columns(OBJECT_ID=pl.lit(None, pl.String)), None)
    assert no_launch["siblings"].null_count() == len(rows)
    assert "siblings" not in classify_catalog(clf, rows.drop("LAUNCH"), None).columns


def test_synth_makes_the_catalog_of_data(tmp_path):
    result = run("synth", "--rows", 5000, "--seed", 0, "--out", tmp_path / "synthetic_satcat.csv.gz")
    assert result.exit_code == 0
    # Unpacked, since another build of zlib may pack the same bytes differently.
    made, kept = (gzip.decompress(path.read_bytes()) for path in (tmp_path / "synthetic_satcat.csv.gz", SYNTHETIC))
    assert made == kept


def test_train_writes_model_metrics_and_prototypes(trained):
    folder, _ = trained
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (folder / "model.ddcl").is_file()
    for scores in (metrics, *metrics["peers"].values()):
        assert all(scores[name] >= 0 for name in SCORES)
        assert set(scores["per_class"]) == {"DEBRIS", "PAYLOAD", "ROCKET BODY"}
    assert set(metrics["peers"]) == {"majority class", "logistic regression", "HistGradientBoosting"}
    assert metrics["n_train"] + metrics["n_test"] + metrics["n_left_out"] == 5000
    assert "by launch" in metrics["split"]
    assert metrics["synthetic"] is True
    assert metrics["fit_seconds"] > 0
    assert metrics["identity_residual_max"] < 1e-5
    with (folder / "held_out.csv").open() as file:
        assert len(list(csv.DictReader(file))) == metrics["n_test"]
    with (folder / "prototypes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1.0)
    model = DDCLClassifier.load(folder / "model.ddcl")
    assert list(rows[0]) == list(model.prototypes_.columns)
    for row in rows:
        share, votes = ([float(row[f"{what} {name}"]) for name in model.classes_] for what in ("share", "votes"))
        assert sum(share) == pytest.approx(1.0)
        assert sum(votes) == pytest.approx(0.0, abs=1e-5)  # against the mean of the classes
        assert row["name"].split(" (prototype")[0].endswith(f": {model.classes_[votes.index(max(votes))]}")
        for place in range(1, 6):
            assert (row[f"column_{place}"] in metrics["features"]) == (float(row[f"column_{place}_share"]) > 0.0)


def test_probabilities_and_shares_have_at_most_six_digits_that_mean_something(trained, tmp_path):
    folder, _ = trained
    assert run("classify", folder / "model.ddcl", SYNTHETIC, "--out", tmp_path / "all.csv").exit_code == 0
    for file in (tmp_path / "all.csv", folder / "held_out.csv", folder / "prototypes.csv"):
        with file.open() as lines:
            rows = list(csv.DictReader(lines))
        names = [n for n in rows[0] if n.startswith(("p(", "share", "votes")) or n.endswith("share")]
        assert len(names) >= 3
        digits = [Decimal(row[name]).normalize().as_tuple().digits for row in rows for name in names]
        assert max(map(len, digits)) == 6
        assert sum(len(one) == 6 for one in digits) > len(digits) / 2


def test_prototypes_never_speak_of_columns_without_any_value(tmp_path):
    # Space-Track gives no radar cross section; nobody has filled in the site of these rows.
    catalog = tmp_path / "catalog.csv"
    write_satcat(synthetic_catalog(n_rows=400, random_state=0).with_columns(SITE=pl.lit(None, pl.String)), catalog)
    assert read_satcat(catalog)["RCS"].null_count() == 400
    (tmp_path / "quick.toml").write_text(BRIEF)
    result = run("train", catalog, "--config", tmp_path / "quick.toml", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    table = pl.read_csv(tmp_path / "run" / "prototypes.csv")
    spoken = {name for place in range(1, 6) for name in table[f"column_{place}"].drop_nulls()}
    assert spoken
    assert not spoken & {"RCS", "SITE"}
    done = run("classify", tmp_path / "run" / "model.ddcl", catalog, "--out", tmp_path / "x.csv")
    assert done.exit_code == 0, done.output
    written = pl.read_csv(tmp_path / "x.csv", infer_schema_length=None)
    named = written.select([f"column_{place}" for place in range(1, 6)])
    assert not {name for column in named for name in column} & {"RCS", "SITE"}


def test_train_prints_the_tables_and_says_synthetic(trained):
    _, printed = trained
    assert "SYNTHETIC" in printed.splitlines()[1]
    assert "model.ddcl, metrics.json, prototypes.csv, held_out.csv" in printed
    for text in ("HistGradientBoosting", "macro_f1", "most typical", "prototypes in use", "identity"):
        assert text in printed


def test_classify_gives_class_probabilities_the_columns_that_decided_and_a_reason(trained, tmp_path):
    folder, _ = trained
    result = run("classify", folder / "model.ddcl", SYNTHETIC, "--only", "UNKNOWN", "--out", tmp_path / "unknown.csv")
    assert result.exit_code == 0, result.output
    with (tmp_path / "unknown.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 100
    catalog = read_satcat(SYNTHETIC)
    launch = dict(zip(catalog["NORAD_CAT_ID"], launch_of(catalog), strict=True))
    members = Counter(launch.values())
    typed = dict(catalog.select(pl.concat_str("NORAD_CAT_ID", "OBJECT_NAME", separator=" "), "OBJECT_TYPE").iter_rows())
    own = {row["NORAD_CAT_ID"]: row for row in catalog.iter_rows(named=True)}
    surest = [max(float(value) for name, value in row.items() if name.startswith("p(")) for row in rows]
    assert surest == sorted(surest, reverse=True)
    n_numbers = 0
    for row in rows:
        one = launch[int(row["NORAD_CAT_ID"])]
        assert row["siblings"] == ("" if one.startswith("NORAD ") else str(members[one] - 1))
        probability = {name: float(row[f"p({name})"]) for name in ("DEBRIS", "PAYLOAD", "ROCKET BODY")}
        ranked = sorted(probability, key=probability.get)
        assert row["recorded"] == "UNKNOWN"
        assert [row["class"], row["runner_up"]] == ranked[:0:-1]
        assert sum(probability.values()) == pytest.approx(1.0)
        assert row["reason"].startswith(f"{row['class']} {min(probability[row['class']], 0.99):.2f}: ")
        assert row["reason"].endswith(f"; like {row['like']}")
        assert typed[row["like"]] == row["class"]
        strength = [abs(float(row[f"contribution_{place}"])) for place in range(1, 6)]
        assert strength == sorted(strength, reverse=True)
        for place in range(1, 6):
            value = own[int(row["NORAD_CAT_ID"])].get(row[f"column_{place}"], "not of the catalog")
            written = row[f"value_{place}"]
            if isinstance(value, float):
                n_numbers += 1
                assert float(written) == pytest.approx(value, rel=1e-5)
            elif value is None:
                assert written == "missing"
            elif value != "not of the catalog":
                assert written == str(value)
            if row[f"column_{place}"] in ("INCLINATION", "PERIGEE") and written != "missing":
                assert row[f"unit_{place}"] == {"INCLINATION": "deg", "PERIGEE": "km"}[row[f"column_{place}"]]
    assert n_numbers > 10
    assert "SYNTHETIC" in result.stdout
    assert rows[0]["reason"] in result.stdout  # in full


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_baseline_and_contributions_are_the_log_odds_and_rows_that_are_not_asked_about_count(small_model, tmp_path):
    clf, _ = small_model
    rows = pl.read_csv(SYNTHETIC, infer_schema=False).head(300)
    rows.write_csv(tmp_path / "c.csv")
    frame = read_satcat(tmp_path / "c.csv").select(
        "NORAD_CAT_ID", "OBJECT_ID", "OBJECT_NAME", "OBJECT_TYPE", "LAUNCH", "LAUNCH_YEAR", "PERIGEE", "INCLINATION"
    )
    settings = {"n_prototypes": 6, "d_token": 16, "n_heads": 2, "n_blocks": 1, "augmented_share": 0.0}
    few = DDCLClassifier(family=None, max_epochs=2, random_state=0, **settings).fit(frame)
    table = classify_catalog(few, frame, None)
    there = [name for name in table.columns if name.startswith("column_") and table[name].null_count() == 0]
    assert 2 <= len(there) == len(few.encoder_.feature_names_) < 5  # so all contributions are written
    assert table["contribution_5"].null_count() == table["unit_5"].null_count() == len(table)
    for row in table.iter_rows(named=True):
        total = row["baseline"] + sum(row[f"contribution_{place + 1}"] for place in range(len(there)))
        odds = row[f"p({row['class']})"] / row[f"p({row['runner_up']})"]
        assert total == pytest.approx(math.log(odds), abs=1e-4)  # of probabilities with six digits
    for model, catalog in ((few, frame), (clf, read_satcat(tmp_path / "c.csv"))):
        whole = classify_catalog(model, catalog, None)
        assert classify_catalog(model, catalog, "DEBRIS").equals(whole.filter(pl.col("recorded") == "DEBRIS"))
    bare = classify_catalog(few, frame.drop("OBJECT_TYPE"), None)
    assert set(bare["like"]) == {""}
    assert not any("like" in reason for reason in bare["reason"])


def test_classify_reads_the_held_out_rows_beside_the_model(trained, tmp_path):
    folder, _ = trained
    command = ("classify", folder / "model.ddcl", SYNTHETIC, "--only", "UNKNOWN", "--out", tmp_path / "x.csv")
    beside = run(*command)
    assert "stay" not in beside.stdout
    table = pl.read_csv(tmp_path / "x.csv", infer_schema_length=None)
    assert set(table["unlike the typed objects"]) <= {"yes", "no"}
    (tmp_path / "alone.ddcl").write_bytes((folder / "model.ddcl").read_bytes())
    alone = run(command[0], tmp_path / "alone.ddcl", *command[2:])
    assert alone.exit_code == 0, alone.output
    assert '"could also be" and "unlike the typed objects" stay empty: no held_out.csv beside the model' in alone.stdout
    again = pl.read_csv(tmp_path / "x.csv", infer_schema_length=None)
    doubts = ["could also be", "unlike the typed objects"]
    assert again.select(doubts).null_count().row(0) == (100, 100)
    assert again.drop(doubts).equals(table.drop(doubts))
    (tmp_path / "held_out.csv").write_text("NORAD_CAT_ID,launch\n1,2\n")
    assert "Put the file of this model's training there" in fails(
        run(command[0], tmp_path / "alone.ddcl", *command[2:])
    )


def test_classify_names_the_known_classes_when_none_matches(trained, tmp_path):
    folder, _ = trained
    result = run("classify", folder / "model.ddcl", SYNTHETIC, "--only", "ROCKET", "--out", tmp_path / "x.csv")
    assert "no object has OBJECT_TYPE 'ROCKET'; the catalog has DEBRIS, PAYLOAD" in fails(result)


@pytest.mark.parametrize("typed", ["rocket body", "Rocket Body", " ROCKET  BODY "])
def test_only_takes_a_class_in_any_case_of_letters(trained, tmp_path, typed):
    folder, _ = trained
    result = run("classify", folder / "model.ddcl", SYNTHETIC, "--only", typed, "--out", tmp_path / "x.csv")
    assert result.exit_code == 0, result.output
    assert set(pl.read_csv(tmp_path / "x.csv", infer_schema_length=None)["recorded"]) == {"ROCKET BODY"}


def test_classes_that_differ_in_case_alone_are_told_apart_and_labels_may_be_numbers(small_model):
    clf, rows = small_model
    kinds = pl.Series(["a", "A", "b", None] * 5)
    counts = {
        typed: len(classify_catalog(clf, rows[:20].with_columns(OBJECT_TYPE=kinds), typed)) for typed in ("a", "A", "B")
    }
    assert counts == {"a": 5, "A": 5, "B": 5}
    assert len(classify_catalog(clf, rows[:20].with_columns(OBJECT_TYPE=pl.Series([1, 2] * 10)), "2")) == 10
    with pytest.raises(InputError, match="leave --only out"):
        classify_catalog(clf, rows[:20].drop("OBJECT_TYPE"), "DEBRIS")


def test_a_name_that_was_mistyped_is_asked_about(trained, tmp_path):
    folder, _ = trained
    only = ("classify", folder / "model.ddcl", SYNTHETIC, "--out", tmp_path / "x.csv", "--only")
    assert "the catalog has DEBRIS, PAYLOAD, ROCKET BODY, UNKNOWN. Did you mean DEBRIS?" in fails(run(*only, "debirs"))
    assert "Did you mean" not in fails(run(*only, "satellite"))
    (tmp_path / "c.toml").write_text("n_prototype = 3\n")
    train = ("train", SYNTHETIC, "--out", tmp_path / "run")
    assert fails(run(*train, "--config", tmp_path / "c.toml")).endswith("Did you mean n_prototypes?")
    for command in ("train", "tune"):
        typed = (command, SYNTHETIC, "--out", tmp_path / "run", "--target", "object_typ")
        assert fails(run(*typed)).endswith("Did you mean OBJECT_TYPE?")


# --- which file is which --------------------------------------------------------------------------------------------


def _xml(rows: list[dict]) -> str:
    messages = ["<omm>" + "".join(f"<{k}>{v}</{k}>" for k, v in row.items()) + "</omm>" for row in rows]
    return f"<ndm>{''.join(messages)}</ndm>"


def _kvn(rows: list[dict]) -> str:
    return "".join("CCSDS_OMM_VERS = 3.0\n" + "".join(f"{k} = {v}\n" for k, v in row.items()) for row in rows)


@pytest.fixture(scope="module")
def with_elsets(tmp_path_factory):
    """A folder with satcat.csv, the same element sets in all forms, and a model that was trained with them."""
    folder = tmp_path_factory.mktemp("elsets")
    raw = synthetic_catalog(n_rows=400, random_state=0)
    numbers = pl.Series([str(90001 + i) for i in range(400)])
    write_satcat(raw.with_columns(NORAD_CAT_ID=numbers, OBJECT_NUMBER=numbers), folder / "satcat.csv")
    shape = pl.col("INCLINATION", "ECCENTRICITY")
    sets = read_satcat(folder / "satcat.csv").select("NORAD_CAT_ID", "OBJECT_NAME", "PERIOD", shape).drop_nulls()
    zero = dict.fromkeys(("RA_OF_ASC_NODE", "ARG_OF_PERICENTER", "MEAN_ANOMALY", "MEAN_MOTION_DDOT"), 0.0)
    sets = sets.with_columns(
        MEAN_MOTION=1440.0 / pl.col("PERIOD"), EPOCH=datetime(2031, 4, 10, tzinfo=UTC), MEAN_MOTION_DOT=1e-6, **zero
    ).with_columns(BSTAR=pl.col("INCLINATION") * 1e-6)
    for name in ("sets.csv", "sets.json", "sets.tle"):
        write_gp(sets, folder / name)
    lines = (folder / "sets.tle").read_text().splitlines()
    (folder / "sets.2le").write_text("\n".join(line for line in lines if line[:2] in ("1 ", "2 ")) + "\n")
    rows = json.loads((folder / "sets.json").read_text())[:3]
    rows = [{name: value for name, value in row.items() if value is not None} for row in rows]
    (folder / "sets.xml").write_text(_xml(rows))
    (folder / "sets.kvn").write_text(_kvn(rows))
    (folder / "quick.toml").write_text(BRIEF)
    files = (folder / "satcat.csv", "--elsets", folder / "sets.csv")
    result = run("train", *files, "--config", folder / "quick.toml", "--out", folder / "run")
    assert result.exit_code == 0, result.output
    assert "BSTAR" in result.stdout
    return folder


def test_a_model_trained_with_element_sets_asks_for_them(with_elsets, tmp_path):
    model, satcat = with_elsets / "run" / "model.ddcl", with_elsets / "satcat.csv"
    for command in ("classify", "report"):
        out = tmp_path / command
        said = fails(run(command, model, satcat, "--out", out))
        assert "this model was trained with element sets: add --elsets FILE" in said
        assert not out.exists()
        assert run(command, model, satcat, "--elsets", with_elsets / "sets.tle", "--out", out).exit_code == 0


@pytest.mark.parametrize("form", ["csv", "json", "tle", "2le", "xml", "kvn"])
def test_element_sets_given_as_catalog_are_sent_to_elsets(with_elsets, trained, tmp_path, form):
    sets = with_elsets / f"sets.{form}"
    assert len(read_gp(sets))
    commands = [("train", sets)]
    if form == "tle":
        commands += [("tune", sets), ("classify", trained[0] / "model.ddcl", sets)]
        commands += [("report", with_elsets / "run" / "model.ddcl", sets, "--elsets", with_elsets / "satcat.csv")]
    for command in commands:
        said = fails(run(*command, "--out", tmp_path / command[0]))
        assert f"sets.{form}: these are element sets, not a SATCAT: pass it as --elsets" in said
        assert "Did you mean" not in said


def test_a_satcat_given_as_element_sets_is_sent_to_the_catalog(with_elsets, trained, tmp_path):
    for satcat in (with_elsets / "satcat.csv", SYNTHETIC):
        files = (with_elsets / "satcat.csv", "--elsets", satcat)
        for command in ("classify", "report"):
            said = fails(run(command, trained[0] / "model.ddcl", *files, "--out", tmp_path / "x"))
            assert f"{satcat.name}: this is a SATCAT, not element sets: pass it as CATALOG" in said


def test_a_file_that_is_neither_keeps_its_own_error(with_elsets, tmp_path):
    bad = (with_elsets / "satcat.csv").read_text().replace("90007", "-90007")
    (tmp_path / "bad.csv").write_text(bad)
    train = ("train", tmp_path / "bad.csv", "--out", tmp_path / "run")
    assert "value '-90007' breaks the rule: NORAD_CAT_ID is a positive integer" in fails(run(*train))
    (tmp_path / "words.txt").write_text("no catalog at all\n")
    files = (with_elsets / "satcat.csv", "--elsets", tmp_path / "words.txt")
    assert "two- or three-line element sets" in fails(run("train", *files, "--out", tmp_path / "run"))


def test_a_catalog_given_as_model_is_refused(tmp_path, trained):
    folder, _ = trained
    result = run("classify", SYNTHETIC, folder / "model.ddcl", "--out", tmp_path / "x.csv")
    assert "not a whole model file" in fails(result)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("n_prototype = 3\n", "DDCLClassifier has no parameter 'n_prototype'. Did you mean n_prototypes?"),
        ("lr = \n", "not a TOML file"),
        ("lr = -1.0\ntemperature = 2.0\n", "2 parameters break their rules"),
    ],
)
def test_a_wrong_config_is_one_line(tmp_path, config, message):
    (tmp_path / "c.toml").write_text(config)
    assert message in fails(run("train", SYNTHETIC, "--config", tmp_path / "c.toml", "--out", tmp_path / "run"))


def test_wrong_catalogs_and_targets_are_one_line(tmp_path):
    (tmp_path / "page.html").write_text("<!DOCTYPE html><html></html>")
    assert "page.html" in fails(run("train", tmp_path / "page.html", "--out", tmp_path / "run"))
    assert "no column 'KIND'" in fails(run("train", SYNTHETIC, "--target", "KIND", "--out", tmp_path / "run"))
    assert "does not exist" in fails(run("train", tmp_path / "absent.csv", "--out", tmp_path / "run"))


@pytest.mark.filterwarnings("default::ddcl_tab.errors.CatalogWarning")
def test_a_catalog_without_designators_goes_all_the_way(tmp_path):
    catalog, config, out = tmp_path / "debris.csv", tmp_path / "quick.toml", tmp_path / "run"
    table = pl.read_csv(SYNTHETIC, infer_schema=False).drop("OBJECT_ID", "INTLDES").head(300)
    catalog.write_bytes(table.write_csv(line_terminator="\r\n").encode("utf-16"))
    config.write_bytes(QUICK.replace("= 4", "= 2").replace("\n", "\r").encode("utf-16"))
    result = run("train", catalog, "--config", config, "--out", out)
    assert result.exit_code == 0, result.output
    (note,) = (line for line in result.stderr.splitlines() if line.startswith("Note: "))
    assert "no split by launch" in note
    assert "CatalogWarning" not in result.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["epochs"] == 2
    assert "no object has an OBJECT_ID" in metrics["split"]
    result = run("classify", out / "model.ddcl", catalog, "--out", tmp_path / "classes.csv")
    assert result.exit_code == 0, result.output


def test_time_split_trains_on_the_past(tmp_path):
    (tmp_path / "quick.toml").write_text(QUICK)
    out = tmp_path / "run"
    result = run("train", SYNTHETIC, "--split", "time", "--config", tmp_path / "quick.toml", "--out", out)
    assert result.exit_code == 0, result.output
    assert "launches before 2015" in json.loads((out / "metrics.json").read_text())["split"]


def test_train_on_the_real_catalog_with_element_sets(shared_data, tmp_path):
    # A short training: that it runs and learns, not how well; pipelines/results/first_run has the figures.
    # Every fifth launch of a year, for the sake of its time.
    (tmp_path / "quick.toml").write_text(QUICK)
    whole = json.loads(gzip.decompress((shared_data / SATCAT).read_bytes()))
    satcat = tmp_path / "satcat.json.gz"
    satcat.write_bytes(gzip.compress(json.dumps([row for row in whole if int(row["LAUNCH_NUM"]) % 5 == 0]).encode()))
    elsets = shared_data / "elsets" / "spacetrack_3le_2025-03-15.txt.gz"
    out = tmp_path / "run"
    result = run("train", satcat, "--elsets", elsets, "--config", tmp_path / "quick.toml", "--out", out)
    assert result.exit_code == 0, result.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["synthetic"] is False
    assert "BSTAR" in metrics["features"]
    assert metrics["macro_f1"] > metrics["peers"]["majority class"]["macro_f1"] + 0.3
    again = run("classify", out / "model.ddcl", satcat, "--elsets", elsets, "--out", out / "c.csv")
    assert again.exit_code == 0, again.output
    assert "(BSTAR, MEAN_MOTION_DOT come from there)" in fails(
        run("classify", out / "model.ddcl", satcat, "--out", out / "c.csv")
    )


def test_a_small_catalog_is_trained_on_without_remarks_of_other_libraries(tmp_path):
    (tmp_path / "brief.toml").write_text(BRIEF)
    assert run("synth", "--rows", 200, "--out", tmp_path / "catalog.csv").exit_code == 0
    result = run("train", tmp_path / "catalog.csv", "--config", tmp_path / "brief.toml", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "n_quantiles" not in result.output
    assert "logistic regression" in result.stdout
