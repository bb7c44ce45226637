"""Cards: what they say is counted anew from the members, in both frame libraries; names and how true they are."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.estimators._columns import CategoricalColumn, NumericColumn
from ddcl_tab.estimators._prototypes import N_NAMED, NAMED_SHARE, SAID_OF, named_statements, statements
from ddcl_tab.interpret._cards import name_truth, prototype_cards
from ddcl_tab.space._domain import SPACE

CLASSES = ("DEBRIS", "PAYLOAD", "ROCKET BODY")


@pytest.fixture(scope="module")
def cards(small_model):
    return prototype_cards(*small_model)


@pytest.fixture(scope="module")
def known(small_model) -> pl.DataFrame:
    return small_model[1].filter(pl.col("OBJECT_TYPE").is_in(CLASSES))


# --- what a card says -----------------------------------------------------------------------------------------------


def test_over_the_rows_of_fit_cards_say_what_prototypes_say(small_model, cards):
    table = small_model[0].prototypes_
    assert [card.prototype for card in cards] == table["prototype"].to_list()
    assert [card.name for card in cards] == table["name"].to_list()
    assert [card.share for card in cards] == pytest.approx(table["share"].to_list())
    assert [card.medoid for card in cards] == table["medoid"].to_list()
    for name in CLASSES:
        assert [card.votes[name] for card in cards] == table[f"votes {name}"].to_list()
        assert [card.members[name] for card in cards] == pytest.approx(table[f"share {name}"].to_list())
    for place in range(N_NAMED):
        for card, row in zip(cards, table.iter_rows(named=True), strict=True):
            said = card.statements[place]
            assert (said.column, said.values) == (row[f"column_{place + 1}"], row[f"column_{place + 1}_values"])
            assert said.share == pytest.approx(row[f"column_{place + 1}_share"])


def test_shares_sum_to_one_and_a_card_says_the_class_that_it_votes_for(cards):
    assert sum(card.share for card in cards) == pytest.approx(1.0)
    for card in cards:
        assert sum(card.members.values()) == pytest.approx(1.0)
        assert sum(one.share for one in card.statements) == pytest.approx(1.0)
        assert sum(card.votes.values()) == pytest.approx(0.0, abs=1e-9)
        assert card.votes[card.says] == max(card.votes.values())
        assert card.name.endswith(card.says) or f"{card.says} (prototype" in card.name
    assert len({card.name for card in cards}) == len(cards)


def test_statements_are_true_of_the_members_that_they_count(small_model, cards, known):
    said = small_model[0].decide(known, catalog=small_model[1])
    columns = list(said.columns)
    n_members = [(said.decision.prototype == card.prototype).sum() for card in cards]
    for card, n in zip(cards, n_members, strict=True):
        for one in card.statements:
            member = said.decision.prototype[:, columns.index(one.column)] == card.prototype
            holds = one.holds(said.columns[one.column])
            assert one.share == pytest.approx(member.sum() / n)
            assert one.held == pytest.approx(holds[member].mean())
            assert one.held_elsewhere == pytest.approx(holds[~member].mean() if (~member).any() else 0.0)


def test_typical_rows_are_of_the_class_and_of_different_launches(cards, known):
    names = [f"{i} {n}" for i, n in known.select("NORAD_CAT_ID", "OBJECT_NAME").rows()]
    kind = dict(zip(names, known["OBJECT_TYPE"], strict=True))
    launch = dict(zip(names, SPACE.group_of(known), strict=True))
    for card in cards:
        assert len(card.typical) == 5
        assert {kind[name] for name in card.typical} == {card.says}
        assert len({launch[name] for name in card.typical}) == 5


def test_typical_rows_are_those_most_made_of_the_prototype(small_model, cards, known):
    clf, rows = small_model
    q = clf.transform(known, catalog=rows)
    names = [f"{i} {n}" for i, n in known.select("NORAD_CAT_ID", "OBJECT_NAME").rows()]
    for card in cards:
        own = q[(known["OBJECT_TYPE"] == card.says).to_numpy(), card.prototype]
        at = [q[names.index(name), card.prototype] for name in card.typical]
        assert at[0] == own.max()
        assert at == sorted(at, reverse=True)


def test_a_prototype_that_no_row_is_made_of_has_no_typical_row(small_model, cards):
    # One row: no prototype that its tokens are far from has members among them.
    clf, rows = small_model
    one = prototype_cards(clf, rows.filter(pl.col("OBJECT_TYPE") == "DEBRIS").head(1))
    assert [len(card.typical) for card in one] == [int(card.says == "DEBRIS" and card.share > 0) for card in one]
    assert [card.name for card in one] == [card.name for card in cards]
    assert all(card.medoid == "" for card in one if card.says != "DEBRIS")
    assert {one.column for card in one for one in card.statements} == set(clf.encoder_.feature_names_)


# --- tables of every kind -------------------------------------------------------------------------------------------


def test_pandas_and_lazy_frames_give_the_same_cards(small_model, cards):
    clf, rows = small_model
    for other in (prototype_cards(clf, rows.to_pandas()), prototype_cards(clf, rows.lazy())):
        assert [repr(card) for card in other] == [repr(card) for card in cards]


@pytest.mark.parametrize("empty", [np.nan, None, ""])
def test_objects_without_designators_are_no_siblings(small_model, empty):
    _, rows = small_model
    launches = SPACE.group_of(rows.to_pandas().assign(OBJECT_ID=empty))
    assert len(set(launches)) == len(rows)


def test_without_recorded_classes_members_stay_open_and_typical_rows_are_of_the_predicted_class(small_model):
    clf, rows = small_model
    some = rows.head(100)
    predicted = dict(
        zip([f"{i} {n}" for i, n in some.select("NORAD_CAT_ID", "OBJECT_NAME").rows()], clf.predict(some), strict=True)
    )
    for hidden in (some.drop("OBJECT_TYPE"), some.with_columns(OBJECT_TYPE=pl.lit("UNKNOWN"))):
        for card in prototype_cards(clf, hidden):
            assert card.members == {}
            assert {predicted[name] for name in card.typical} <= {card.says}


def test_rows_of_unknown_class_do_not_count(small_model, cards, known):
    clf, rows = small_model
    frame = rows.to_pandas()
    hidden = np.arange(len(frame)) % 4 == 0
    unknown = prototype_cards(clf, frame.assign(OBJECT_TYPE=frame["OBJECT_TYPE"].mask(hidden, "UNKNOWN")))
    assert [card.members for card in unknown] != [card.members for card in cards]
    y = frame["OBJECT_TYPE"].astype("string").mask(hidden)
    nullable = frame.convert_dtypes().assign(OBJECT_TYPE=y)
    nullable["OBJECT_NAME"] = nullable["OBJECT_NAME"].mask(frame["RCS_SIZE"] == "LARGE")
    nullable["OBJECT_ID"] = nullable["OBJECT_ID"].mask(hidden)
    read = prototype_cards(clf, nullable)
    assert [card.members for card in read] == [card.members for card in unknown]
    assert [card.members for card in prototype_cards(clf, rows, y)] == [card.members for card in unknown]
    assert not any("NA" in name.split() for card in read for name in card.typical)
    with pytest.raises(InputError, match="y has 599 values for 600 rows"):
        prototype_cards(clf, rows, y[1:])


def test_what_is_no_classifier_is_refused(small_model):
    with pytest.raises(ConfigurationError, match="need a fitted DDCLClassifier, not str"):
        prototype_cards("model", small_model[1])
    with pytest.raises(ConfigurationError, match="n_typical must be at least 1, not 0"):
        prototype_cards(*small_model, n_typical=0)


# --- names ----------------------------------------------------------------------------------------------------------


def test_how_true_names_are_is_counted_token_by_token(small_model, cards, known):
    clf, _ = small_model
    some = known.head(60)
    said = clf.decide(some)
    found = name_truth(clf, some, cards)
    for card, (members, others) in zip(cards, found, strict=True):
        named = {one.column: one for one in named_statements(card.statements)}
        counts = {True: [], False: []}
        for t, (name, column) in enumerate(said.columns.items()):
            true = named[name].holds(column) if name in named else np.zeros(len(some), dtype=bool)
            for i in range(len(some)):
                is_member = bool(said.decision.prototype[i, t] == card.prototype)
                if is_member or name in named:
                    counts[is_member].append(true[i])
        assert members == pytest.approx(np.mean(counts[True]) if counts[True] else np.nan, nan_ok=True)
        assert others == pytest.approx(np.mean(counts[False]) if counts[False] else np.nan, nan_ok=True)


def test_over_the_rows_of_fit_a_name_is_as_true_as_its_statements(small_model, cards, known):
    clf, rows = small_model
    clf_rows = known if clf.families_ is None else rows  # families are those counted in fit
    found = name_truth(clf, clf_rows.filter(pl.col("OBJECT_TYPE").is_in(CLASSES)), cards)
    for card, (members, _) in zip(cards, found, strict=True):
        named = named_statements(card.statements)
        assert members == pytest.approx(sum(one.share * one.held for one in named))


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.46, 0.04], [0.3, 0.3, 0.3, 0.05, 0.05], [0.2] * 5, []])
def test_columns_are_named_until_they_hold_most_members(shares):
    columns = {f"c{i}": NumericColumn(f"c{i}", "", np.zeros(100)) for i in range(max(len(shares), 1))}
    prototype = np.ones((100, len(columns)), dtype=np.int64)
    for t, share in enumerate(shares):
        prototype[: round(20 * share), t] = 0
    said = statements(columns, prototype, np.ones(100), 2)[0]
    named = named_statements(said)
    assert named == said[: len(named)]
    reached = sum(one.share for one in named)
    assert reached >= NAMED_SHARE - 1e-9 or len(named) in (N_NAMED, len(said))
    assert not named or reached - named[-1].share < NAMED_SHARE


# --- statements -----------------------------------------------------------------------------------------------------

values = arrays(float, st.integers(2, 60), elements=st.floats(-100, 100) | st.just(float("nan")))


@settings(max_examples=80)
@given(values=values, seed=st.integers(0, 99))
def test_what_is_said_of_numbers_holds_for_most_members_and_hardly_anything_narrower_does(values, seed):
    rng = np.random.default_rng(seed)
    member, weight = rng.random(len(values)) < 0.6, rng.uniform(0.5, 2.0, len(values))
    column = NumericColumn("x", "km", values)
    (said,) = statements({"x": column}, np.where(member, 0, 1)[:, None], weight, 2)[0] or [None]
    assert (said is None) == (not member.any())
    if said is None:
        return
    holds = said.holds(column)
    assert said.held == pytest.approx(weight[member & holds].sum() / weight[member].sum())
    assert said.held >= SAID_OF - 1e-6
    rest = weight[~member].sum()
    assert said.held_elsewhere == pytest.approx(weight[~member & holds].sum() / rest if rest else 0.0)
    there = member & ~np.isnan(values)
    if not np.isnan(said.low):
        own, mass = values[there], weight[there]
        needed = SAID_OF * (mass.sum() if said.with_missing else weight[member].sum())
        narrower = [
            (low, high)
            for low in own
            for high in own[own >= low]
            if 1.5 * (high - low) < said.high - said.low  # its ends are rounded outwards
            and mass[(own >= low) & (own <= high)].sum() >= needed + 1e-6
        ]
        assert not narrower


def test_what_is_said_of_categories_holds_for_most_members():
    column = CategoricalColumn("SITE", np.array(["A"] * 60 + ["B"] * 36 + ["C"] * 4 + ["C"] * 50, dtype=object))
    prototype = np.repeat([0, 1], [100, 50])[:, None]
    first, second = (said[0] for said in statements({"SITE": column}, prototype, np.ones(150), 2))
    assert (first.categories, first.held, first.held_elsewhere) == (("A", "B"), 0.96, 0.0)
    assert (second.categories, second.held, second.held_elsewhere) == (("C",), 1.0, 0.04)
    assert (first.values, second.values) == ("A or B", "C")


def test_permuting_prototypes_permutes_statements():
    rng = np.random.default_rng(0)
    columns = {name: NumericColumn(name, "", rng.normal(size=40)) for name in "xyz"}
    prototype = rng.integers(3, size=(40, 3))
    one = statements(columns, prototype, np.ones(40), 3)
    other = statements(columns, np.array([2, 0, 1])[prototype], np.ones(40), 3)
    assert [one[1], one[2], one[0]] == other
