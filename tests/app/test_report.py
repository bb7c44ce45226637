"""The report: what it says is true, what it must not say it does not, and nothing in it runs or asks the network."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._catalog import (
    LEVEL,
    NO_RECORD,
    ORDINARY,
    Doubts,
    classify_catalog,
    doubts_of,
    read_inputs,
    unknown_doubts,
)
from ddcl_tab.app._evaluation import bootstrap_scores, score
from ddcl_tab.app._figures import LOW_PERIOD, certificate_curves, orbit_figures
from ddcl_tab.app._page import Provenance, render_report
from ddcl_tab.app._report import NO_HELD_OUT, _conditions, _objects, collect_report, write_report
from ddcl_tab.app._svg import DARK, LIGHT, MARKERS, Scale, class_inks, contrast, line_path, points_path, unknown_inks
from ddcl_tab.app._tables import as_written, prototype_table, read_held_out
from ddcl_tab.app._train import HELD_OUT_FILE, METRICS_FILE, MODEL_FILE, read_metrics, train_catalog, write_run
from ddcl_tab.cli import main
from ddcl_tab.errors import InputError
from ddcl_tab.estimators._table import TableEncoder
from ddcl_tab.nn._network import TableNetwork
from ddcl_tab.space import launch_of, synthetic_catalog, write_satcat
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.training._certificate import EpochCertificate
from ddcl_tab.training._rows import CHUNK
from ddcl_tab.training._stability import CONDITIONS, Stability

QUICK = {"n_prototypes": 6, "d_token": 16, "n_heads": 2, "n_blocks": 1, "max_epochs": 3, "lr": 0.01, "certify": "end"}
NASTY = ["<script>alert(1)</script>", "=cmd()", "\"'><img src=x onerror=alert(2)>", "{{ 7 * 7 }}"]
PROVENANCE = Provenance("catalog.csv", "model.ddcl", "2026-01-02", "0.0", synthetic=False)


class Page(HTMLParser):
    """Tags, ids and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def having(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag and all(a.get(n) == v for n, v in wanted.items())]

    def rows(self, table: str) -> int:
        """Body rows of the table with an id."""
        start = next(i for i, (t, a) in enumerate(self.tags) if t == "table" and a.get("id") == table)
        end = next((i for i in range(start + 1, len(self.tags)) if self.tags[i][0] == "section"), len(self.tags))
        return sum(t == "tr" and "data-v" in a for t, a in self.tags[start:end])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a synthetic catalog that has nasty names, and what a short training on it wrote."""
    folder = tmp_path_factory.mktemp("report")
    raw = synthetic_catalog(n_rows=600, random_state=1)
    unknown = np.flatnonzero(raw["OBJECT_TYPE"].fill_null("UNKNOWN") == "UNKNOWN")[: len(NASTY)]
    names = raw["OBJECT_NAME"].to_list()
    for i, name in zip(unknown, NASTY, strict=True):
        names[i] = name
    raw = raw.with_columns(OBJECT_NAME=pl.Series(names), SATNAME=pl.Series(names))
    write_satcat(raw, folder / "catalog.csv")
    frame = read_satcat(folder / "catalog.csv")
    run = train_catalog(frame, target="OBJECT_TYPE", split="launch", seed=0, settings=QUICK, verbose=0)
    write_run(run, folder / "run")
    return folder, frame, run


@pytest.fixture(scope="module")
def page(made):
    folder, _, _ = made
    lines = write_report(folder / "run" / MODEL_FILE, folder / "catalog.csv", None, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8"), lines


def test_train_writes_the_held_out_rows_that_it_scored(made):
    folder, frame, run = made
    held_out = pl.read_csv(folder / "run" / HELD_OUT_FILE)
    assert held_out.columns == ["NORAD_CAT_ID", "launch", "recorded", *(f"p({c})" for c in run.classifier.classes_)]
    assert len(held_out) == run.metrics["n_test"]
    probability = held_out.select(pl.selectors.starts_with("p(")).to_numpy()
    again = score(held_out["recorded"].to_numpy(), probability, run.classifier.classes_)
    assert again["macro_f1"] == pytest.approx(run.metrics["macro_f1"])
    recorded = dict(frame.select("NORAD_CAT_ID", "OBJECT_TYPE").iter_rows())
    assert all(recorded[n] == c for n, c in held_out.select("NORAD_CAT_ID", "recorded").iter_rows())


def test_the_page_asks_for_nothing_and_runs_its_own_script_only(page):
    html = Page(page[0])
    urls = [v for _, a in html.tags for n, v in a.items() if n in ("src", "href", "xlink:href", "action", "data")]
    assert all(url.startswith("#") or url == "data:," for url in urls)
    assert not re.search(r"@import|url\(|https?://", page[0])
    policy = html.having("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy
    assert len(html.having("script")) == 1
    assert not [a for _, a in html.tags if any(n.startswith("on") for n in a)]


def test_names_of_a_catalog_are_text_and_never_markup(page):
    for name in ("<script>alert(1)", "<img src=x"):
        assert name not in page[0]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page[0]
    assert "=cmd()" in page[0]
    assert "{{ 7 * 7 }}" in page[0]
    assert not Page(page[0]).having("img")


def test_synthetic_is_called_synthetic(page, made):
    assert "SYNTHETIC catalog." in page[0]
    assert "<title>SYNTHETIC" in page[0]
    assert page[1][0].startswith("SYNTHETIC")
    _, frame, run = made
    assert "SYNTHETIC catalog" not in render_report(collect_report(run.classifier, frame.drop("COMMENT"), PROVENANCE))


def test_every_prototype_has_a_card_and_every_unknown_object_a_row(page, made):
    _, frame, run = made
    html = Page(page[0])
    assert [a["id"] for a in html.having("article")] == [f"prototype-{k}" for k in range(6)]
    assert html.rows("unknown-table") == int((frame["OBJECT_TYPE"].fill_null("UNKNOWN") == "UNKNOWN").sum())
    report = collect_report(run.classifier, frame, PROVENANCE)
    confidence = [o.confidence for o in report.unknown.rows]
    assert confidence == sorted(confidence, reverse=True)
    siblings = {o.number: o.siblings for o in report.unknown.rows}
    launch = launch_of(frame)
    for number, one in zip(frame["NORAD_CAT_ID"], launch, strict=True):
        if str(number) in siblings:
            alone = one.startswith("NORAD ")
            assert siblings[str(number)] == (None if alone else int((launch == one).sum()) - 1)
    assert max(number for number in siblings.values() if number is not None) > 0
    assert sum(report.recorded.values()) == report.n_objects


def test_the_page_and_the_csv_say_the_same_of_the_same_object(made):
    _, frame, run = made
    report = collect_report(run.classifier, frame, PROVENANCE, held_out=run.held_out)
    table = classify_catalog(run.classifier, frame, "UNKNOWN", run.held_out)
    written = {str(row["NORAD_CAT_ID"]): row for row in table.iter_rows(named=True)}
    assert set(written) == {o.number for o in report.unknown.rows}
    orbits = {str(n): o for n, *o in frame.select("NORAD_CAT_ID", "PERIGEE", "APOGEE", "INCLINATION").iter_rows()}
    for one in report.unknown.rows:
        row = written[one.number]
        assert report.classes[one.predicted] == row["class"]
        assert (one.confidence, one.like) == (pytest.approx(row[f"p({row['class']})"], abs=1e-6), row["like"])
        assert one.runner_up == row["runner_up"]
        strong = [row[f"contribution_{i}"] for i in range(1, 6) if abs(row[f"contribution_{i}"]) >= 0.1]
        assert [part.contribution for part in one.parts] == pytest.approx(strong)
        odds = one.baseline + one.other + sum(strong)
        assert odds == pytest.approx(np.log(row[f"p({row['class']})"] / row[f"p({row['runner_up']})"]), abs=1e-4)
        assert one.n_other == len(report.features) - len(one.parts)
        for i, part in enumerate(one.parts, start=1):
            value = row[f"value_{i}"]  # six digits of what the phrase says with four, a share as percentage
            assert value == "missing" or value.isalpha() or any(c.isdigit() for c in part.text)
            assert value != "missing" or "missing" in part.text
        notes = "; ".join(one.notes)
        assert ("unlike the typed objects" in notes) == (row["unlike the typed objects"] == "yes")
        assert not row["could also be"] or row["could also be"] in notes
        known = None not in orbits[one.number]
        assert (list(one.orbit) if one.orbit else None) == (orbits[one.number] if known else None)


def test_the_page_and_prototypes_csv_say_the_same_of_a_prototype(made):
    folder, frame, run = made
    table = pl.read_csv(folder / "run" / "prototypes.csv").with_columns(as_written(pl.col(pl.String)))
    typed = dict(frame.select(pl.concat_str("NORAD_CAT_ID", "OBJECT_NAME", separator=" "), "OBJECT_TYPE").iter_rows())
    for card, row in zip(
        collect_report(run.classifier, frame, PROVENANCE).cards, table.iter_rows(named=True), strict=True
    ):
        assert row["name"].startswith(card.name)
        assert card.share == pytest.approx(row["share"], abs=1e-5)
        assert card.votes == pytest.approx({name: row[f"votes {name}"] for name in card.votes}, rel=1e-5)
        assert card.members == pytest.approx({name: row[f"share {name}"] for name in card.members}, abs=1e-5)
        said = [(row[f"column_{i}"], row[f"column_{i}_share"], row[f"column_{i}_values"]) for i in range(1, 6)]
        assert card.columns == [(name, pytest.approx(share, rel=1e-5), text) for name, share, text in said if name]
        assert card.medoid == row["medoid"]
        assert {typed[name] for name in card.typical} <= {card.votes_for}


def test_a_report_encodes_and_predicts_the_catalog_once(made, monkeypatch):
    _, frame, run = made
    encoded, read = [], []
    encode, forward = TableEncoder.transform, TableNetwork.forward

    def counted_encode(self, X):
        encoded.append(encode(self, X))
        return encoded[-1]

    def counted_forward(self, numeric, categorical):
        read.append(len(numeric))
        return forward(self, numeric, categorical)

    monkeypatch.setattr(TableEncoder, "transform", counted_encode)
    monkeypatch.setattr(TableNetwork, "forward", counted_forward)
    collect_report(run.classifier, frame, PROVENANCE, held_out=run.held_out, metrics=run.metrics)
    assert [len(table.numeric) for table in encoded] == [len(frame)]
    assert len(read) == -(-len(frame) // CHUNK)


def test_doubts_say_which_other_class_is_possible_and_what_is_unlike():
    classes = ["DEBRIS", "PAYLOAD", "ROCKET BODY"]
    sets = np.array([[True, False, False], [True, True, True], [False, False, False], [False, True, False]])
    found = Doubts(sets, np.array([False, True, False, True]))
    assert [found.notes(row, 0, classes) for row in range(4)] == [
        [],
        ["could also be PAYLOAD or ROCKET BODY", "unlike the typed objects"],
        ["no class fits well"],
        ["could also be PAYLOAD", "unlike the typed objects"],
    ]
    assert [found.could_be(row, 0, classes) for row in (0, 1)] == ["", "PAYLOAD or ROCKET BODY"]
    assert [found.is_unlike(row) for row in (0, 1)] == ["no", "yes"]
    nobody = Doubts(None, None)
    assert (nobody.notes(0, 0, classes), nobody.could_be(0, 0, classes), nobody.is_unlike(0)) == ([], None, None)


def test_classify_says_why_nobody_knows_a_doubt(made):
    _, frame, run = made

    def line(held_out):
        table = classify_catalog(run.classifier, frame, "UNKNOWN", held_out)
        return unknown_doubts(table, held_out, HELD_OUT_FILE), table

    said, table = line(None)
    assert said == '"could also be" and "unlike the typed objects" stay empty: no held_out.csv beside the model'
    assert table["could also be"].null_count() == len(table)
    said, table = line(run.held_out.unique("recorded", keep="first", maintain_order=True))
    assert said == '"could also be" stays empty: too few objects of held_out.csv in this catalog'
    assert set(table["unlike the typed objects"]) <= {"yes", "no"}
    many = pl.concat([run.held_out.with_columns(launch=pl.lit(f"L{i}") + pl.col("launch")) for i in range(10)])
    said, table = line(many)
    assert said is None
    assert table["could also be"].null_count() == 0


def test_doubts_come_from_the_held_out_rows(made):
    _, frame, run = made
    held_out = run.held_out  # not the file: six digits would decide about the object at the limit of a set
    typed = (frame["OBJECT_TYPE"].fill_null("UNKNOWN") != "UNKNOWN").to_numpy()
    far = frame.with_columns(INCLINATION=pl.lit(179.0), APOGEE=pl.lit(250_000.0), PERIOD=pl.lit(9_000.0))[:1]
    both = pl.concat([frame, far.with_columns(OBJECT_TYPE=pl.lit(None, dtype=pl.String))])
    typed = np.append(typed, False)
    spared = np.flatnonzero(both["NORAD_CAT_ID"].is_in(held_out["NORAD_CAT_ID"].to_list()).to_numpy() & typed)

    def of(rows, held_out):
        inputs = read_inputs(run.classifier, both, held_out)
        return doubts_of(inputs, rows)

    ordinary = of(spared, held_out)
    assert ordinary.unlike.mean() == pytest.approx(1 - ORDINARY, abs=1 / len(spared))
    assert of(np.array([len(frame)]), held_out).unlike.tolist() == [True]
    # One launch of each class calibrates nothing; many copies under other launches do, and then hold their own rows.
    one = held_out.unique("recorded", keep="first", maintain_order=True)
    assert of(spared, one).sets is None
    many = pl.concat([held_out.with_columns(launch=pl.lit(f"L{i}") + pl.col("launch")) for i in range(10)])
    label = np.searchsorted(run.classifier.classes_.astype(str), both["OBJECT_TYPE"].to_numpy()[spared].astype(str))
    covered = of(spared, many).sets[np.arange(len(spared)), label]
    launch = held_out["launch"].to_numpy()
    for k in range(len(run.classifier.classes_)):
        shares = [covered[(label == k) & (launch == name)].mean() for name in np.unique(launch[label == k])]
        assert np.mean(shares) >= LEVEL


def test_ids_are_unique_and_references_and_drawings_are_complete(page):
    html = Page(page[0])
    ids = [a["id"] for _, a in html.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for _, a in html.tags:
        for name in ("href", "aria-labelledby"):
            for target in (a.get(name) or "").split():
                assert not (name == "aria-labelledby" or target.startswith("#")) or target.lstrip("#") in ids
    for a in html.having("svg"):
        assert a.get("aria-hidden") == "true" or (a.get("role") == "img")
    assert len(html.having("th", **{"aria-sort": "none"})) >= 4
    assert html.having("a", **{"class": "skip"})[0]["href"] == "#main"
    assert html.having("html")[0]["lang"] == "en"


def test_without_held_out_rows_there_are_no_scores(made, tmp_path):
    folder, _, run = made
    run.classifier.save(tmp_path / MODEL_FILE)
    (tmp_path / METRICS_FILE).write_text((folder / "run" / METRICS_FILE).read_text())
    lines = write_report(tmp_path / MODEL_FILE, folder / "catalog.csv", None, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert NO_HELD_OUT in lines
    assert "No held-out objects are known" in text
    assert "macro-F1" not in text.replace("Macro-F1", "macro-F1")
    assert "Disagreements" not in text
    assert "held out" not in text.lower().replace("no held-out objects are known: held_out.csv", "")


def test_scores_are_those_of_the_training_and_lie_in_their_intervals(made):
    _, frame, run = made
    report = collect_report(run.classifier, frame, PROVENANCE, held_out=run.held_out, metrics=run.metrics)
    for name, estimate in report.scores.overall.items():
        assert estimate.value == pytest.approx(run.metrics[name], rel=1e-6)
        assert estimate.low <= estimate.high
    assert report.scores.confusion.sum() == report.scores.n_rows == run.metrics["n_test"]
    assert [peer.name for peer in report.peers] == list(run.metrics["peers"])


def test_disagreements_are_the_confident_held_out_errors(made):
    _, frame, run = made
    classes = run.classifier.classes_
    other = {"DEBRIS": "PAYLOAD", "PAYLOAD": "DEBRIS", "ROCKET BODY": "DEBRIS"}
    sure = np.full((len(run.held_out), len(classes)), 0.02)
    for i, name in enumerate(run.held_out["recorded"]):
        sure[i, list(classes).index(other[name] if i < 3 else name)] = 0.96
    held_out = run.held_out.with_columns(**{f"p({c})": sure[:, j] for j, c in enumerate(classes)})
    gone = frame.filter(pl.col("NORAD_CAT_ID") != held_out["NORAD_CAT_ID"][0])
    rows = collect_report(run.classifier, gone, PROVENANCE, held_out=held_out).disagreements.rows
    assert {o.number for o in rows} == {str(n) for n in held_out["NORAD_CAT_ID"][:3]}
    left = next(o for o in rows if o.number == str(held_out["NORAD_CAT_ID"][0]))
    assert left.notes == ["not in this catalog any more"]
    assert (left.parts, left.orbit, left.like) == ([], None, "")
    for one in rows:  # why the model says so today, where it still does
        now = next((o for o in _objects_of(run, gone, one.number)), None)
        if now is not None and now.predicted == one.predicted:
            assert one.parts == now.parts
        elif now is not None:
            assert one.parts == []
            assert f"the model now says {classes[now.predicted]}" in one.notes[-1]
    assert all(classes[o.predicted] == other[o.recorded] for o in rows)


def _objects_of(run, frame, number):
    inputs = read_inputs(run.classifier, frame, None)
    return _objects(inputs, np.flatnonzero((frame["NORAD_CAT_ID"].cast(pl.String) == number).to_numpy()))


def test_a_recorded_class_that_the_model_never_saw_counts_as_wrong():
    scores = bootstrap_scores(
        np.array(["a", "z"]), np.array([[0.9, 0.1], [0.2, 0.8]]), np.array(["a", "b"]), np.array(["l1", "l2"])
    )
    assert scores.overall["accuracy"].value == 0.5
    assert [c.name for c in scores.classes] == ["a", "b", "z"]


def test_intervals_are_wider_over_launches_than_over_rows():
    random = np.random.default_rng(0)
    launch = np.repeat(np.arange(30), 20)
    right = np.repeat(random.random(30) < 0.7, 20)
    p = np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
    y, classes = np.full(600, "a"), np.array(["a", "b"])
    wide, narrow = (bootstrap_scores(y, p, classes, c).overall["accuracy"] for c in (launch, np.arange(600)))
    assert wide.value == narrow.value == right.mean()
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (HELD_OUT_FILE, "NORAD_CAT_ID,launch\n1,2\n", "a table of held-out rows has the columns"),
        (HELD_OUT_FILE, "", "not a table"),
        (METRICS_FILE, "{", "not JSON"),
        (METRICS_FILE, '{"epochs": 40, "best_epoch": 7}', "Put the files of one training into one folder"),
    ],
)
def test_files_of_another_training_are_refused_in_one_line(made, tmp_path, name, text, message):
    folder, _, run = made
    write_run(run, tmp_path)
    (tmp_path / name).write_text(text)
    out = tmp_path / "r.html"
    result = CliRunner().invoke(
        main, ["report", str(tmp_path / MODEL_FILE), str(folder / "catalog.csv"), "--out", str(out)]
    )
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not out.exists()


def test_files_that_a_spreadsheet_saved_again_are_read(made, tmp_path):
    _, _, run = made
    write_run(run, tmp_path)
    paths = tmp_path / HELD_OUT_FILE, tmp_path / METRICS_FILE
    held_out = read_held_out(paths[0], run.classifier)
    for path in paths:
        path.write_bytes(path.read_text().replace("\n", "\r\n").encode("utf-16"))
    assert read_held_out(paths[0], run.classifier).equals(held_out)
    assert read_metrics(paths[1], run.classifier, held_out)["macro_f1"] == run.metrics["macro_f1"]
    paths[0].write_bytes(paths[0].read_bytes().decode("utf-16").replace(",", ";").encode())
    with pytest.raises(InputError, match=r"not a table as ddcl-tab train writes it .*the header has semicolons"):
        read_held_out(paths[0], run.classifier)


def test_a_number_that_tells_names_apart_is_never_said_beside_the_number(made):
    folder, frame, run = made
    clf = DDCLClassifier.load(folder / "run" / MODEL_FILE)
    n = len(clf._prototype_table["name"])
    clf._prototype_table["name"] = [f"perigee 700 km: DEBRIS (prototype {k})" for k in range(n)]
    text = render_report(collect_report(clf, frame, PROVENANCE, held_out=run.held_out))
    assert text.count("perigee 700 km: DEBRIS") == n
    assert "(prototype" not in text + clf._repr_html_() + prototype_table(clf.prototypes_, list(clf.classes_))
    assert set(clf.prototypes_["name"]) == set(clf._prototype_table["name"])  # where names stand alone all differ


def test_scores_of_a_nearly_perfect_model_stay_those_of_the_file_in_spite_of_its_six_digits(made, tmp_path):
    _, _, run = made
    sure = np.full((len(run.held_out), len(run.classifier.classes_)), 2e-8)
    for i, name in enumerate(run.held_out["recorded"]):
        sure[i, list(run.classifier.classes_).index(name)] = 1.0 - 4e-8
    table = run.held_out.with_columns(
        pl.DataFrame(sure, schema=[f"p({c})" for c in run.classifier.classes_], orient="row")
    )
    found = score(run.held_out["recorded"].to_numpy(), sure, run.classifier.classes_)
    write_run(run._replace(held_out=table, metrics=run.metrics | found), tmp_path)
    held_out = read_held_out(tmp_path / HELD_OUT_FILE, run.classifier)
    assert read_metrics(tmp_path / METRICS_FILE, run.classifier, held_out)["log_loss"] == found["log_loss"] > 0


def test_scores_that_are_not_of_these_rows_are_refused(made, tmp_path):
    folder, _, run = made
    write_run(run, tmp_path)
    metrics = json.loads((tmp_path / METRICS_FILE).read_text()) | {"log_loss": 0.001}
    (tmp_path / METRICS_FILE).write_text(json.dumps(metrics))
    with pytest.raises(InputError, match="log_loss"):
        write_report(tmp_path / MODEL_FILE, folder / "catalog.csv", None, tmp_path / "r.html")


def test_the_command_writes_the_page_and_says_where(made, tmp_path):
    folder, _, _ = made
    arguments = ["report", folder / "run" / MODEL_FILE, folder / "catalog.csv", "--out", tmp_path / "new" / "r.html"]
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert "600 objects" in result.stdout
    assert (tmp_path / "new" / "r.html").stat().st_size < 1_000_000


def test_an_object_is_in_one_panel_of_each_figure(made):
    _, frame, _ = made
    group = np.arange(len(frame)) % 4
    inks = class_inks(2) + unknown_inks(2)
    figures = orbit_figures(frame, group, inks)
    known = len(frame) - figures.n_without
    assert sum(p.n_objects for p in figures.gabbard) == sum(p.n_objects for p in figures.map) == known
    low = (frame["PERIOD"] < LOW_PERIOD).sum()
    assert figures.gabbard[0].n_objects == low
    assert figures.n_without == frame["PERIOD"].null_count()
    assert sum(figures.count(k) for k in range(4)) == known
    assert list(figures.map[0].paths)[2:] in ([2, 3], [3, 2])  # unknown objects lie on the typed ones
    assert orbit_figures(frame.drop("APOGEE"), group, inks) is None
    bare = frame.with_columns(PERIOD=pl.lit(None, dtype=pl.Float64))
    assert orbit_figures(bare, group, inks) is None


def test_a_catalog_without_orbits_or_unknown_objects_still_gives_a_page(made):
    _, frame, run = made
    known = frame.filter(pl.col("OBJECT_TYPE").is_in(["DEBRIS", "PAYLOAD"]))
    known = known.with_columns(PERIGEE=pl.lit(None, dtype=pl.Float64))
    text = render_report(collect_report(run.classifier, known, PROVENANCE))
    assert "nothing to draw" in text
    assert "Every object of the catalog has a recorded" in text
    with pytest.raises(InputError, match="no rows"):
        collect_report(run.classifier, frame.head(0), PROVENANCE)


def test_an_uncertified_training_is_called_so(made):
    _, frame, _ = made
    clf = DDCLClassifier(**(QUICK | {"certify": False, "max_epochs": 1}), random_state=0)
    known = frame.filter(pl.col("OBJECT_TYPE") != "UNKNOWN").drop("OBJECT_NAME", "OBJECT_ID", "NORAD_CAT_ID")
    clf.fit(known.select("PERIOD", "INCLINATION", "APOGEE", "PERIGEE", "COUNTRY", "OBJECT_TYPE"))
    text = render_report(collect_report(clf, frame, PROVENANCE))
    assert "not certified" in text
    assert certificate_curves(Stability(())) == []


def test_every_condition_has_a_row_and_its_limit_a_curve(made):
    _, frame, run = made
    report = collect_report(run.classifier, frame, PROVENANCE)
    assert [c.name for c in report.conditions] == list(CONDITIONS)
    for row in report.conditions:
        assert row.holds == (row.value < row.limit)
    assert sum(curve.limit is not None for curve in report.curves) == len(CONDITIONS)


def points_of(path: str) -> set[tuple[int, int]]:
    """Where the strokes of a path begin."""
    x = y = 0
    places = set()
    for kind, numbers in re.findall(r"([mhvl])([-\d ]*)", path):
        n = [int(v) for v in re.findall(r"-?\d+", numbers)]
        x += n[0] if kind != "v" else 0
        y += n[-1] if kind in "mlv" else 0
        if kind == "m":
            places.add((x, y))
    return places


@pytest.mark.parametrize("marker", MARKERS)
def test_points_stand_where_they_should(marker):
    random = np.random.default_rng(0)
    at = random.integers(0, 700, size=(200, 2))
    _, right, down = MARKERS[marker]
    path = points_path(at[:, 0] + 0.2, at[:, 1] - 0.2, marker)
    middle = {(x + right // 2, y + (down // 2 if down > 0 else -(-down // 2))) for x, y in points_of(path)}
    assert middle == {(int(x), int(y)) for x, y in at}
    assert len(path) / len(at) < 15
    assert points_path(np.zeros(0), np.zeros(0), marker) == ""


def test_scales_keep_values_inside_and_lines_break_at_gaps():
    scale = Scale(100.0, 10_000.0, 0.0, 2.0, log=True)
    assert scale(np.array([1.0, 1000.0, 1e9])).tolist() == pytest.approx([0.0, 1.0, 2.0])
    assert line_path(np.arange(3.0), np.array([np.nan, 1.0, 2.0])) == "M1 1L2 2"


def test_text_and_marks_have_contrast_in_both_schemes():
    style = (Path(__file__).parents[2] / "ddcl_tab/app/templates/style.css").read_text()
    schemes = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{([^}]*)\}", style)]
    assert [s["page"] for s in schemes] == [LIGHT, DARK]
    for scheme in schemes:
        for text in ("ink", "muted", "accent", "bad", "ok"):
            for ground in ("page", "soft"):
                assert contrast(scheme[text], scheme[ground]) >= 4.5, (text, ground)
        assert contrast(scheme["warn-ink"], scheme["warn"]) >= 4.5
        assert contrast(scheme["grey"], scheme["page"]) >= 3
    inks = class_inks(8) + unknown_inks(8)
    for ink in inks:
        assert contrast(ink.light, LIGHT) >= 3
        assert contrast(ink.dark, DARK) >= 3
    assert len(set(inks)) == len(inks)
    for typed, unknown in zip(inks[:8], inks[8:], strict=True):  # told apart by mark and shade, not by hue
        assert typed.marker != unknown.marker
        assert contrast(unknown.light, LIGHT) > contrast(typed.light, LIGHT) + 3


def test_an_object_without_a_record_is_never_a_class(made):
    _, frame, run = made
    blank = frame.with_columns(OBJECT_TYPE=pl.when(pl.col("OBJECT_TYPE") != "UNKNOWN").then("OBJECT_TYPE"))
    with_null, with_word = (collect_report(run.classifier, f, PROVENANCE) for f in (blank, frame))
    assert with_null.recorded == with_word.recorded
    assert with_null.recorded[NO_RECORD] == with_null.unknown.n_all > 0


def test_conditions_say_which_epoch_they_are_judged_in():
    figures = dict.fromkeys(EpochCertificate.__dataclass_fields__, 0.1) | {"identity_residual": 1e-7}
    epochs = tuple(EpochCertificate(**figures | {"epoch": n, "dead_share": n / 10}) for n in (1, 2, 3))
    alive = {row.name: row for row in _conditions(Stability(epochs, kept=2))}["alive"]
    assert (alive.epoch, alive.value, alive.every_epoch) == (2, pytest.approx(0.2), False)
