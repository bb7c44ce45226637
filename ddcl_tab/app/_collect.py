"""From a fitted classifier and a catalog to everything that a report shows, with what held-out objects say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab.app._evaluation import Scores, bootstrap_scores
from ddcl_tab.app._figures import certificate_curves, orbit_figures, strip
from ddcl_tab.app._report_data import SURE, Card, ConditionRow, Judged, Listing, Peer, Report, Source
from ddcl_tab.app._svg import Ink, class_inks, prototype_inks
from ddcl_tab.errors import InputError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._validation import target_of
from ddcl_tab.interpret._cards import prototype_cards
from ddcl_tab.interpret._contributions import column_contributions
from ddcl_tab.interpret._trust import N_NEIGHBOURS, ConformalSets, NoveltyScore
from ddcl_tab.space._schema import UNKNOWN
from ddcl_tab.training._certificate import in_use
from ddcl_tab.training._stability import CONDITIONS, Stability

#: Coverage of the sets of classes, launch by launch.
LEVEL = 0.9
#: Share of the held-out objects that pass as ordinary.
ORDINARY = 0.99


@dataclass(frozen=True)
class Caveats:
    """Of each row asked about, what stands against taking its class for granted.

    Attributes
    ----------
    sets : ndarray of bool, shape (n, C), or None
        Classes that cannot be excluded at :data:`LEVEL`; None where the held-out launches are too few.
    foreign : ndarray of bool, shape (n,), or None
        Farther from the typed objects of the catalog than :data:`ORDINARY` of the held-out ones; None without those.
    """

    sets: NDArray[np.bool_] | None
    foreign: NDArray[np.bool_] | None

    def notes(self, row: int, verdict: int, classes: list[str]) -> list[str]:
        """What to say of a row whose class is number ``verdict``."""
        notes = []
        if self.sets is not None:
            others = [name for k, name in enumerate(classes) if self.sets[row, k] and k != verdict]
            if others:
                notes.append("could also be " + " or ".join(others))
            elif not self.sets[row, verdict]:
                notes.append("fits no class well")
        if self.foreign is not None and self.foreign[row]:
            notes.append("unlike the typed objects")
        return notes


def caveats(
    clf: DDCLClassifier, frame: pl.DataFrame, rows: NDArray[np.intp], typed: NDArray[np.bool_], held_out: pl.DataFrame
) -> Caveats:
    """Class sets and novelty of some rows of a catalog.

    Parameters
    ----------
    clf : DDCLClassifier
        Fitted.
    frame : polars.DataFrame
        The catalog.
    rows : ndarray of int, shape (n,)
        Rows asked about.
    typed : ndarray of bool, shape (len(frame),)
        Objects with a recorded class.
    held_out : polars.DataFrame
        As ``ddcl-tab train`` writes it.
    """
    return Caveats(_sets(clf, frame[rows], held_out), _foreign(clf, frame, rows, typed, held_out))


def _sets(clf: DDCLClassifier, asked: pl.DataFrame, held_out: pl.DataFrame) -> NDArray[np.bool_] | None:
    probability = held_out.select([f"p({name})" for name in clf.classes_]).to_numpy()
    known = held_out["recorded"].is_in(clf.classes_.astype(str).tolist()).to_numpy()
    spared = held_out.filter(known)
    try:
        sets = ConformalSets(clf, level=LEVEL).fit(
            spared, spared["recorded"].to_numpy(), groups=spared["launch"].to_numpy(), probability=probability[known]
        )
    except InputError:  # too few launches of a class
        return None
    return sets.predict_set(asked)


def _foreign(
    clf: DDCLClassifier, frame: pl.DataFrame, rows: NDArray[np.intp], typed: NDArray[np.bool_], held_out: pl.DataFrame
) -> NDArray[np.bool_] | None:
    spared = frame["NORAD_CAT_ID"].is_in(held_out["NORAD_CAT_ID"].to_list()).to_numpy() & typed
    if not spared.any() or (typed & ~spared).sum() < N_NEIGHBOURS:
        return None
    score = NoveltyScore(clf).fit(frame.filter(typed & ~spared))
    return score.novelty(frame[rows]) > np.quantile(score.novelty(frame.filter(spared)), ORDINARY)


#: Objects in a table; the page stays small, and ``classify`` writes all of them.
MAX_LISTED = 1000
#: Columns named for an object, and the contribution to the probability from which one is worth a word.
N_COLUMNS, WORTH_NAMING = 3, 0.01
#: How an object without a recorded class stands in tables.
NO_RECORD = "no record"


class _Decided(NamedTuple):
    """The model's decisions over the catalog."""

    probability: NDArray[np.float64]
    q: NDArray[np.float64]
    reasons: list[str]


def collect_report(
    clf: DDCLClassifier,
    frame: pl.DataFrame,
    source: Source,
    *,
    held_out: pl.DataFrame | None = None,
    metrics: dict[str, Any] | None = None,
) -> Report:
    """Gather what a report shows.

    Parameters
    ----------
    clf : DDCLClassifier
        Fitted.
    frame : polars.DataFrame
        Catalog with the columns of the model.
    source : Source
    held_out : polars.DataFrame, optional
        Rows that the model was not trained on: ``NORAD_CAT_ID``, ``launch``, ``recorded``, ``p(CLASS)`` for each class.
        Without it there are no scores and no disagreements: training rows are never scored.
    metrics : dict, optional
        Of ``ddcl-tab train``: the split in words, and the peers' scores.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        The catalog has no rows or lacks a column, or ``held_out`` is not of this model.
    """
    if not len(frame):
        raise InputError("the catalog has no rows: there is nothing to report.")
    decided = _Decided(*clf.decide(frame))
    classes = [str(name) for name in clf.classes_]
    target = str(target_of(clf.target, frame))
    recorded = _recorded(frame, target)
    member = decided.q.argmax(axis=1)
    prototypes = prototype_cards(clf, frame)
    says = [classes.index(card.predicted_class) for card in prototypes]
    inks = prototype_inks(says)
    orbits = orbit_figures(frame, member, inks)
    right = None if held_out is None else _held_out_rows(clf, frame, held_out)
    stability = clf.stability_
    unknown = _unknown(clf, frame, recorded, decided, held_out)
    return Report(
        source=source,
        target=target,
        classes=classes,
        class_inks=class_inks(len(classes)),
        features=list(clf.encoder_.feature_names_),
        n_objects=len(frame),
        n_sure_unknown=int((decided.probability[recorded == NO_RECORD].max(axis=1, initial=0.0) >= SURE).sum()),
        recorded={name: int((recorded == name).sum()) for name in [*classes, NO_RECORD]},
        n_in_use=int(in_use(np.array([card.share for card in prototypes])).sum()),
        scores=None if held_out is None else _scores(clf, held_out),
        split=str((metrics or {}).get("split", "")),
        peers=[] if held_out is None else _peers(metrics or {}),
        cards=_cards(prototypes, says, inks, member, right, orbits),
        orbits=orbits,
        unknown=unknown,
        disagreements=None if held_out is None else _disagreements(clf, frame, held_out, recorded, decided),
        verdict=stability.verdict,
        conditions=_conditions(stability),
        curves=certificate_curves(stability),
        n_epochs=clf.n_iter_,
        best_epoch=clf.best_epoch_,
    )


def _recorded(frame: pl.DataFrame, target: str) -> NDArray[np.object_]:
    if target not in frame.columns:
        return np.full(len(frame), NO_RECORD, dtype=object)
    labels = frame[target].cast(pl.String).replace(UNKNOWN, None).fill_null(NO_RECORD)
    return np.array(labels.to_list(), dtype=object)


def _scores(clf: DDCLClassifier, held_out: pl.DataFrame) -> Scores:
    probability = held_out.select([f"p({name})" for name in clf.classes_]).to_numpy()
    return bootstrap_scores(
        held_out["recorded"].cast(pl.String).to_numpy(), probability, clf.classes_, held_out["launch"].to_numpy()
    )


def _peers(metrics: dict[str, Any]) -> list[Peer]:
    return [
        Peer(name, {figure: float(value) for figure, value in scores.items() if isinstance(value, (int, float))})
        for name, scores in metrics.get("peers", {}).items()
    ]


def _held_out_rows(clf: DDCLClassifier, frame: pl.DataFrame, held_out: pl.DataFrame) -> NDArray[np.int8]:
    """Of each object of the catalog: -1 not held out, 0 held out and wrong, 1 held out and right."""
    best = held_out.select([f"p({name})" for name in clf.classes_]).to_numpy().argmax(axis=1)
    right = clf.classes_[best].astype(str) == held_out["recorded"].cast(pl.String).to_numpy()
    by_number = dict(zip(held_out["NORAD_CAT_ID"].to_list(), right.tolist(), strict=True))
    return np.array([int(by_number.get(number, -1)) for number in frame["NORAD_CAT_ID"].to_list()], dtype=np.int8)


def _cards(
    prototypes: list[Any],
    says: list[int],
    inks: list[Ink],
    member: NDArray[np.intp],
    right: NDArray[np.int8] | None,
    orbits: Any,
) -> list[Card]:
    cards = []
    for k, card in enumerate(prototypes):
        own = np.full(0, -1) if right is None else right[member == k]
        panel = None if orbits is None else orbits.home(k)
        cards.append(
            Card(
                card=card,
                ink=inks[k],
                verdict=says[k],
                n_objects=int((member == k).sum()),
                n_held_out=int((own >= 0).sum()),
                n_right=int((own == 1).sum()),
                strips=[strip(card.columns[name]) for name in card.distinguishing],
                home=None if panel is None else panel.id,
            )
        )
    return cards


def _unknown(
    clf: DDCLClassifier,
    frame: pl.DataFrame,
    recorded: NDArray[np.object_],
    decided: _Decided,
    held_out: pl.DataFrame | None,
) -> Listing:
    """Objects without a recorded class, most confident first, with the columns that speak loudest and the caveats."""
    rows = np.flatnonzero(recorded == NO_RECORD)
    if not len(rows):
        return Listing([], 0)
    chosen = rows[np.argsort(-decided.probability[rows].max(axis=1), kind="stable")[:MAX_LISTED]]
    contributions = column_contributions(clf, frame[chosen], frame)
    strongest = contributions.filter(pl.col("contribution").abs() >= WORTH_NAMING).group_by("row", maintain_order=True)
    columns: dict[int, list[tuple[str, str, float]]] = {
        int(key[0]): list(part.head(N_COLUMNS).select("column", "value", "contribution").iter_rows())
        for key, part in strongest
    }
    doubts = Caveats(None, None)
    if held_out is not None:
        doubts = caveats(clf, frame, chosen, recorded != NO_RECORD, held_out)
    classes = clf.classes_.astype(str).tolist()
    verdicts = decided.probability[chosen].argmax(axis=1).tolist()
    notes = [doubts.notes(position, verdict, classes) for position, verdict in enumerate(verdicts)]
    listed = [
        _judged(frame, int(i), decided, columns.get(position, []), notes[position]) for position, i in enumerate(chosen)
    ]
    return Listing(listed, len(rows))


def _judged(
    frame: pl.DataFrame, i: int, decided: _Decided, columns: list[tuple[str, str, float]], notes: list[str]
) -> Judged:
    return Judged(
        number=_text(frame, "NORAD_CAT_ID", i),
        name=_text(frame, "OBJECT_NAME", i),
        recorded="",
        verdict=int(decided.probability[i].argmax()),
        confidence=float(decided.probability[i].max()),
        prototype=int(decided.q[i].argmax()),
        reason=decided.reasons[i],
        columns=columns,
        notes=notes,
    )


def _text(frame: pl.DataFrame, column: str, i: int) -> str:
    value = frame[column][i] if column in frame.columns else None
    return "" if value is None else str(value)


def _disagreements(
    clf: DDCLClassifier,
    frame: pl.DataFrame,
    held_out: pl.DataFrame,
    now: NDArray[np.object_],
    decided: _Decided,
) -> Listing:
    """Held-out objects that the model confidently gave another class than the record has."""
    probability = held_out.select([f"p({name})" for name in clf.classes_]).to_numpy()
    verdict, confidence = probability.argmax(axis=1), probability.max(axis=1)
    recorded = held_out["recorded"].cast(pl.String).to_list()
    differs = (clf.classes_[verdict].astype(str) != np.array(recorded)) & (confidence >= SURE)
    place = {number: i for i, number in enumerate(frame["NORAD_CAT_ID"].to_list())}
    rows = []
    chosen = np.flatnonzero(differs)
    for j in chosen[np.argsort(-confidence[chosen], kind="stable")][:MAX_LISTED]:
        number = held_out["NORAD_CAT_ID"][int(j)]
        i = place.get(number)
        rows.append(
            Judged(
                number=str(number),
                name="" if i is None else _text(frame, "OBJECT_NAME", i),
                recorded=recorded[j],
                verdict=int(verdict[j]),
                confidence=float(confidence[j]),
                prototype=None if i is None else int(decided.q[i].argmax()),
                reason=_reason_today(clf, i, recorded[j], int(verdict[j]), now, decided),
                columns=[],
                notes=[],
            )
        )
    return Listing(rows, len(chosen))


def _reason_today(
    clf: DDCLClassifier, i: int | None, recorded: str, verdict: int, now: NDArray[np.object_], decided: _Decided
) -> str:
    """The reason, unless the object has left the catalog or changed in it since the training."""
    if i is None:
        return "not in this catalog any more"
    notes = [] if now[i] in (recorded, NO_RECORD) else [f"now recorded as {now[i]}"]
    today = int(decided.probability[i].argmax())
    if today == verdict:
        return "; ".join([*notes, decided.reasons[i]])
    return "; ".join([*notes, f"its row has changed since the training, the model now says {clf.classes_[today]}"])


def _conditions(stability: Stability) -> list[ConditionRow]:
    return [
        ConditionRow(
            name=name,
            words=CONDITIONS[name].words.removesuffix(" is off by").removesuffix(" is"),
            value=(margin + 1.0) * CONDITIONS[name].limit,
            limit=CONDITIONS[name].limit,
            every_epoch=CONDITIONS[name].every_epoch,
            epoch=stability.worst(CONDITIONS[name]).epoch,
            holds=margin < 0.0,
        )
        for name, margin in stability.margins.items()
    ]
