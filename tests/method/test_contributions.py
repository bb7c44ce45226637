"""Reasons of the classifier: contributions add up, and what is said of a row is its own. Small tables are invented."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import InputError
from ddcl_tab.estimators._columns import CategoricalColumn, NumericColumn
from ddcl_tab.estimators._domain import GENERIC
from ddcl_tab.estimators._explain import (
    N_AGAINST,
    N_FOR,
    WORTH_NAMING,
    Examples,
    Explained,
    number_text,
    reasons_of,
    written_cells,
)
from ddcl_tab.estimators._prototypes import MISSING
from ddcl_tab.estimators._table import EncodedRows
from ddcl_tab.training._rows import Decision, Prediction

TINY = {
    "n_prototypes": 5,
    "d_token": 8,
    "n_heads": 2,
    "n_blocks": 1,
    "max_epochs": 2,
    "lr": 1e-2,
    "certify": False,
    "random_state": 0,
}


def table(n: int, n_classes: int, seed: int) -> tuple[dict[str, list], np.ndarray, np.ndarray]:
    """Numbers near and far, texts, gaps; classes; weights, a few of which are 0."""
    rng = np.random.default_rng(seed)
    numbers = np.stack([rng.normal(size=n), np.exp(3 * rng.normal(size=n)), 1e4 + rng.normal(size=n)])
    columns = {f"x{i}": [None if rng.random() < 0.1 else float(v) for v in values] for i, values in enumerate(numbers)}
    columns["kind"] = [None if rng.random() < 0.1 else str(v) for v in rng.choice(["a", "b", "c"], n)]
    return columns, np.arange(n) % n_classes, rng.choice([0.0, 0.3, 1.0, 4.0], n, p=[0.05, 0.35, 0.3, 0.3])


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Of the most probable class against the next; 0 where there is one class."""
    ranked = -np.sort(-probability, axis=1)
    return np.log(ranked[:, 0]) - np.log(ranked[:, min(1, ranked.shape[1] - 1)])


def sums(explained: pl.DataFrame) -> np.ndarray:
    """Baseline plus contributions of each row of what `explain` gives."""
    by_row = explained.group_by("row", maintain_order=True).agg(
        pl.col("baseline").first(), pl.col("contribution").sum()
    )
    return (by_row["baseline"] + by_row["contribution"]).to_numpy()


# --- additivity -----------------------------------------------------------------------------------------------------


@given(
    n=st.integers(20, 90),
    n_classes=st.integers(1, 4),
    seed=st.integers(0, 10_000),
    options=st.fixed_dictionaries(
        {}, optional={"class_weight": st.just("balanced"), "temperature": st.sampled_from([0.005, 0.5])}
    ),
)
@settings(deadline=None, max_examples=12)
def test_baseline_and_contributions_are_the_log_odds_of_the_probabilities(
    n, n_classes, seed, options, tmp_path_factory
):
    columns, y, weight = table(n, n_classes, seed)
    frame = pl.DataFrame(columns)
    clf = DDCLClassifier(**TINY, **options).fit(frame, y, sample_weight=weight + (np.arange(n) < n_classes))
    path = tmp_path_factory.mktemp("models") / "m.ddcl"
    clf.save(path)
    more = pl.DataFrame(table(40, n_classes, seed + 1)[0])
    for model in (clf, DDCLClassifier.load(path)):
        for rows in (frame, more):
            explained = model.explain(rows)
            np.testing.assert_allclose(sums(explained), log_odds(model.predict_proba(rows)), atol=1e-5)
            first = explained.filter(pl.col("rank") == 1)
            assert first["prediction"].to_list() == model.predict(rows).tolist()
            np.testing.assert_array_equal(first["probability"], model.predict_proba(rows).max(axis=1))
            assert (explained["runner_up"].null_count() == len(explained)) == (n_classes == 1)
    assert DDCLClassifier.load(path).explain(more).equals(clf.explain(more))


def test_contributions_are_the_heads_words_for_the_columns_mixtures(fitted, catalog):
    said = fitted.decide(catalog)
    network = fitted.network_
    with torch.no_grad():
        output = network(torch.from_numpy(said.encoded.numeric), torch.from_numpy(said.encoded.categorical))
        q = output.reading.assignment.q.double()
        votes = network.readout.prototypes.double() @ network.head.weight.double().mT
    expected = (q @ votes / q.shape[1]).numpy()
    np.testing.assert_allclose(said.decision.contribution, expected, atol=1e-5)
    logits = expected.sum(axis=1) + network.head.bias.detach().double().numpy()
    np.testing.assert_allclose(said.prediction.probability, torch.tensor(logits).softmax(1).numpy(), atol=1e-5)
    np.testing.assert_array_equal(said.decision.prototype, q.argmax(dim=2).numpy())


def test_memberships_are_the_mean_over_the_columns(fitted, catalog):
    said = fitted.decide(catalog)
    with torch.no_grad():
        output = fitted.network_(torch.from_numpy(said.encoded.numeric), torch.from_numpy(said.encoded.categorical))
    q = fitted.transform(catalog)
    assert q.shape == (len(catalog), 6)
    assert output.reading.assignment.q.shape == (len(catalog), len(fitted.encoder_.feature_names_), 6)
    np.testing.assert_allclose(q, output.reading.assignment.q.mean(dim=1).numpy(), atol=1e-5)
    np.testing.assert_array_equal(q, said.prediction.q)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_contributions_average_to_zero_over_the_training_rows(class_weight):
    columns, y, weight = table(120, 2, 3)
    clf = DDCLClassifier(**TINY, class_weight=class_weight).fit(pl.DataFrame(columns), y, sample_weight=weight)
    reasons = clf.decide(pl.DataFrame(columns)).reasons
    for_first = np.where(reasons.winner == 0, 1.0, -1.0)  # of two classes, both ways round are one contribution
    mean = np.average(for_first[:, None] * reasons.contribution, axis=0, weights=weight)
    np.testing.assert_allclose(mean, 0.0, atol=1e-9)
    baselines = for_first * reasons.baseline
    np.testing.assert_allclose(baselines, baselines[0], atol=1e-12)


def test_contributions_average_to_zero_for_every_pair_of_classes(fitted, catalog):
    known = catalog.filter(pl.col("OBJECT_TYPE") != "UNKNOWN")
    # Siblings of unknown class count in families, in fit as here.
    own = fitted.decide(known).decision.contribution - fitted._column_means
    np.testing.assert_allclose(own.mean(axis=0), 0.0, atol=1e-9)


_LOGITS = st.lists(st.lists(st.integers(-4, 4), min_size=3, max_size=3), min_size=1, max_size=8)


@given(logits=_LOGITS, seed=st.integers(0, 1000))
@settings(deadline=None)
def test_the_runner_up_is_another_class_and_the_second_most_probable(logits, seed):
    """Also where classes are equally probable."""
    rng, scores = np.random.default_rng(seed), np.array(logits, dtype=float)
    share = rng.dirichlet(np.ones(4), len(scores))
    bias, means = rng.normal(size=3), rng.normal(size=(4, 3))
    contribution = share[:, :, None] * (scores - bias)[:, None, :]
    probability = torch.tensor(scores).softmax(1).numpy()
    prediction = Prediction(probability, np.ones((len(scores), 1)))
    reasons = reasons_of(Decision(prediction, contribution, np.zeros((len(scores), 4), dtype=int)), means, bias)
    rows = np.arange(len(scores))
    assert (reasons.winner != reasons.runner_up).all()
    assert (scores[rows, reasons.winner] == scores.max(axis=1)).all()
    assert (scores[rows, reasons.runner_up] == np.sort(scores, axis=1)[:, 1]).all()
    np.testing.assert_allclose(reasons.baseline + reasons.contribution.sum(axis=1), log_odds(probability), atol=1e-9)


# --- company, order, libraries --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def catalog(small_model) -> pl.DataFrame:
    return small_model[1]


@pytest.fixture(scope="module")
def fitted(small_model) -> DDCLClassifier:
    return small_model[0]


def test_a_rows_reasons_do_not_depend_on_the_rows_beside_it(fitted, catalog):
    together = fitted.decide(catalog, examples=catalog)
    for rows in ([3], [7, 3, 400], list(range(250, 300))):
        alone = fitted.decide(catalog[rows], examples=catalog, catalog=catalog)
        some = together.take(np.array(rows))
        np.testing.assert_array_equal(alone.reasons.contribution, some.reasons.contribution)
        np.testing.assert_array_equal(alone.reasons.baseline, some.reasons.baseline)
        assert alone.sentences() == some.sentences()
        assert alone.like() == some.like()
        assert alone.table() | {"row": 0} == some.table() | {"row": 0}


def test_the_order_of_columns_in_the_frame_does_not_matter(fitted, catalog):
    assert fitted.explain(catalog[:, ::-1]).equals(fitted.explain(catalog))


def test_pandas_and_polars_give_the_same_reasons(fitted, catalog):
    ours, theirs = fitted.explain(catalog), fitted.explain(catalog.to_pandas())
    assert isinstance(theirs, pd.DataFrame)
    assert list(theirs.columns) == ours.columns
    for name in ours.columns:
        assert theirs[name].tolist() == ours[name].to_list(), name


def test_explain_has_a_row_for_every_row_and_column_strongest_first(fitted, catalog):
    explained = fitted.explain(catalog)
    names = fitted.encoder_.feature_names_
    assert explained["row"].to_list() == [i for i in range(len(catalog)) for _ in names]
    for _, part in explained.group_by("row"):
        assert part["rank"].to_list() == list(range(1, len(names) + 1))
        assert set(part["column"]) == set(names)
        size = part["contribution"].abs().to_numpy()
        assert (np.diff(size) <= 0).all()


# --- what is said of a row is its own -------------------------------------------------------------------------------


def test_values_are_the_rows_own_with_their_units(fitted, catalog):
    explained = fitted.explain(catalog)
    units = {"PERIGEE": "km", "APOGEE": "km", "INCLINATION": "deg", "PERIOD": "min", "LAUNCH_YEAR": ""}
    for name, unit in units.items():
        part = explained.filter(pl.col("column") == name)
        own = catalog[name].to_list()
        for row, value, shown in part.select("row", "value", "unit").iter_rows():
            if own[row] is None:
                assert (value, shown) == (MISSING, "")
            else:
                assert float(value) == pytest.approx(own[row], rel=1e-5)
                assert shown == unit
    for name in ("RCS_SIZE", "COUNTRY", "SITE"):
        part = explained.filter(pl.col("column") == name)
        expected = [MISSING if v is None else v for v in catalog[name]]
        assert [expected[i] for i in part["row"]] == part["value"].to_list()


#: Phrases of columns of the catalog and how they are read back.
_PHRASES = {
    "PERIGEE": r"perigee ([\d.]+) km",
    "APOGEE": r"apogee ([\d.]+) km",
    "INCLINATION": r"inclination ([\d.]+) deg",
    "PERIOD": r"period ([\d.]+) min",
    "RCS_SIZE": r"RCS_SIZE (\w+)",
    "COUNTRY": r"country (\w+)",
    "SITE": r"launched from (\w+)",
    "LAUNCH_YEAR": r"launched in (\d+)",
}
_REASON = re.compile(r"(?P<phrase>.+?) \((?P<nats>[+-]\d+\.\d)\)(?:, )?")


def read_sentence(text: str) -> tuple[str, float, list[tuple[str, float]], list[tuple[str, float]], str]:
    """Class, probability, what speaks for it, what against it, and the example."""
    head, _, rest = text.partition(": ")
    label, _, probability = head.rpartition(" ")
    rest, _, like = rest.partition("; like ")
    speaks_for, _, against = rest.partition("; against: ")
    parts = [[(m["phrase"], float(m["nats"])) for m in _REASON.finditer(part)] for part in (speaks_for, against)]
    return label, float(probability), *parts, like


def test_sentences_hold_only_the_rows_own_values(fitted, catalog):
    said = fitted.decide(catalog)
    names = fitted.encoder_.feature_names_
    seen = set()
    for i, text in enumerate(said.sentences()):
        label, probability, speaks_for, against, like = read_sentence(text)
        assert label == str(fitted.predict(catalog[i], catalog=catalog)[0]) if i < 20 else label in fitted.classes_
        assert probability == pytest.approx(min(said.prediction.probability[i].max(), 0.99), abs=0.005001)
        assert like == said.like()[i]
        own = said.reasons.contribution[i]
        assert len(speaks_for) == min(N_FOR, (own >= WORTH_NAMING).sum())
        assert len(against) == min(N_AGAINST, (own <= -WORTH_NAMING).sum())
        ranked = np.sort(own)
        np.testing.assert_allclose([c for _, c in speaks_for], ranked[::-1][: len(speaks_for)], atol=0.0501)
        np.testing.assert_allclose([c for _, c in against], ranked[: len(against)], atol=0.0501)
        for phrase, nats in speaks_for + against:
            for name, pattern in _PHRASES.items():
                found = re.fullmatch(pattern, phrase)
                if found is None:
                    continue
                seen.add(name)
                value = catalog[name][i]
                if value is None:
                    assert found[1] == MISSING
                elif isinstance(value, str):
                    assert found[1] == value
                else:
                    assert float(found[1]) == pytest.approx(value, rel=5.1e-4, abs=1e-9)
                assert own[names.index(name)] == pytest.approx(nats, abs=0.0501)
    assert len(seen) >= 5


def test_examples_are_of_the_predicted_class_and_never_the_row_itself(fitted, catalog):
    classes = {f"{n} {s}": c for n, s, c in catalog.select("NORAD_CAT_ID", "OBJECT_NAME", "OBJECT_TYPE").iter_rows()}
    names = list(classes)
    ways = ({}, {"examples": catalog}, {"examples": catalog[::-1]}, {"examples": catalog.to_pandas()})
    found = [fitted.decide(catalog, **way) for way in ways]
    for said in found:
        for i, like in enumerate(said.like()):
            assert classes[like] == said.classes[said.reasons.winner[i]]
            assert like != names[i]
    assert found[0].like() == found[1].like() == found[3].like()


def test_a_table_without_names_is_no_example_of_itself():
    columns, y, _ = table(60, 2, 0)
    frame = pl.DataFrame(columns | {"label": np.array(["A", "B"])[y].tolist()})
    clf = DDCLClassifier(**TINY, target="label").fit(frame)
    for said in (clf.decide(frame), clf.decide(frame, examples=frame)):
        for i, like in enumerate(said.like()):
            assert like != f"row {i}"
            assert frame["label"][int(like.removeprefix("row "))] == said.classes[said.reasons.winner[i]]
    assert clf.decide(frame.drop("label")).like() == [""] * 60
    with pytest.raises(InputError, match="examples must be a frame with the classes in its target column"):
        clf.decide(frame, examples=frame.drop("label"))


@given(seed=st.integers(0, 500), n=st.integers(1, 12), m=st.integers(1, 15))
@settings(deadline=None, max_examples=60)
def test_similar_rows_are_the_nearest_others_of_the_class_by_brute_force(seed, n, m):
    rng = np.random.default_rng(seed)
    among, label = rng.integers(0, 3, (m, 2)).astype(float), rng.integers(0, 3, m)
    itself = rng.integers(-1, m, n)
    points = np.where(itself[:, None] >= 0, among[itself], rng.integers(0, 3, (n, 2)))
    winner = rng.integers(0, 3, n)
    examples = Examples(points, itself, among, label, np.array([str(j) for j in range(m)], dtype=object))
    names = examples.nearest(winner)
    for i in range(n):
        others = [j for j in range(m) if label[j] == winner[i] and j != itself[i]]
        if not others:
            assert names[i] == ""
            continue
        found = {i: int(names[i])}
        distance = np.linalg.norm(among - points[i], axis=1)
        assert found[i] in others
        assert distance[found[i]] == pytest.approx(min(distance[j] for j in others), abs=1e-7)
        alone = np.array([i])
        assert examples.take(alone).nearest(winner[alone]) == [names[i]]  # whichever rows stand beside


@given(st.floats(-1e12, 1e12, allow_subnormal=False), st.sampled_from(["", "km"]))
def test_a_number_in_a_sentence_is_the_value_to_four_digits(value, unit):
    text = number_text(value, unit)
    assert text.endswith(unit)
    assert float(text.removesuffix(" km")) == pytest.approx(value, rel=5.1e-4)
    assert "e" not in text or not 1e-4 <= abs(value) < 9.9e8


def invented(contribution: np.ndarray) -> Explained:
    """Three columns of one class against another, a year, gaps and an empty example."""
    n = len(contribution)
    both = np.stack([contribution, np.zeros_like(contribution)], axis=2)
    logits = both.sum(axis=1)
    prediction = Prediction(torch.tensor(logits).softmax(1).numpy(), np.ones((n, 1)))
    decision = Decision(prediction, both, np.zeros((n, 3), dtype=int))
    columns = {
        "height": NumericColumn("height", "m", np.array([1.5, np.nan])),
        "born": NumericColumn("born", "year", np.array([1998.7, 2004.0])),
        "kind": CategoricalColumn("kind", np.array([None, "red, or (so)"], dtype=object)),
    }
    rows = EncodedRows(np.zeros((n, 2), np.float32), np.zeros((n, 1), np.int64))
    reasons = reasons_of(decision, np.zeros((3, 2)), np.zeros(2))
    # The first row stands among the examples itself: it is like the other one.
    points, names = np.arange(2.0)[:, None], np.array(["r6", "r7"], dtype=object)
    examples = Examples(points, np.array([0, -1]), points, np.array(["A", "A"]), names)
    return Explained(rows, decision, reasons, columns, examples, np.array(["A", "B"]), GENERIC)


def test_sentences_of_invented_rows():
    said = invented(np.array([[1.2, 0.3, 0.04], [-2.0, 0.1, 3.0]]))
    assert said.sentences() == [
        "A 0.82: height 1.5 m (+1.2), born 1998 (+0.3); like r7",
        "A 0.75: kind red, or (so) (+3.0), born 2004 (+0.1); against: height missing (-2.0); like r7",
    ]
    assert invented(np.full((2, 3), 0.01)).sentences()[0] == "A 0.51: no column says much for it; like r7"
    assert said._replace(examples=None).sentences()[0] == "A 0.82: height 1.5 m (+1.2), born 1998 (+0.3)"
    cells = written_cells(said.columns, GENERIC, np.array([0, 0, 1]), np.array([1, 2, 0]))
    assert cells.value == ["1998", MISSING, MISSING]
    assert cells.unit == ["", "", ""]
