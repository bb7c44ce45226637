"""The report of a model and a catalog: everything that the page shows, with what held-out objects say of it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab import __version__
from ddcl_tab._files import write_whole
from ddcl_tab.app._catalog import has_known_class, is_synthetic, load_catalog_for, siblings_of
from ddcl_tab.app._evaluation import Scores, bootstrap_scores
from ddcl_tab.app._figures import OrbitFigures, certificate_curves, orbit_figures, strip
from ddcl_tab.app._page import (
    SURE,
    Card,
    ConditionRow,
    DecidedObject,
    Listing,
    Peer,
    Provenance,
    Report,
    render_report,
)
from ddcl_tab.app._svg import Ink, class_inks, prototype_inks
from ddcl_tab.app._tables import SYNTHETIC_NOTE
from ddcl_tab.app._train import HELD_OUT_FILE, METRICS_FILE, HeldOut, held_out_arrays, read_held_out, read_metrics
from ddcl_tab.errors import InputError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._explain import reasons
from ddcl_tab.estimators._validation import target_of
from ddcl_tab.interpret._cards import PrototypeCard, cards_of
from ddcl_tab.interpret._model import FittedModel, ModelRows, contributions_of
from ddcl_tab.interpret._trust import N_NEIGHBOURS, ConformalSets, NoveltyScore, novelty_coordinates
from ddcl_tab.training._certificate import in_use
from ddcl_tab.training._stability import CONDITIONS, Stability

NO_HELD_OUT = (
    f"no {HELD_OUT_FILE} beside the model: no held-out objects are known, so the report has no scores "
    "(training rows are never scored)"
)
#: Coverage of the sets of classes, launch by launch.
LEVEL = 0.9
#: Share of the held-out objects that pass as ordinary.
ORDINARY = 0.99
#: Objects in a table; the page stays small, and ``classify`` writes all of them.
MAX_LISTED = 1000
#: Columns named for an object, and the contribution to the probability from which one is worth a word.
N_COLUMNS, WORTH_NAMING = 3, 0.01
#: How an object without a recorded class stands in tables.
NO_RECORD = "no record"


def write_report(model: Path, catalog: Path, elsets: Path | None, out: Path) -> list[str]:
    """Write the report of a model and a catalog.

    Parameters
    ----------
    model : path
        As ``ddcl-tab train`` wrote it. ``held_out.csv`` and ``metrics.json`` are looked for beside it.
    catalog : path
    elsets : path or None
        Element sets, if the model was trained with them.
    out : path
        HTML file.

    Returns
    -------
    list of str
        Lines for the user.

    Raises
    ------
    DDCLTabError
        A file cannot be used, or those beside the model belong to another training.
    """
    clf = DDCLClassifier.load(model)
    held_out = read_held_out(model.parent / HELD_OUT_FILE, clf)
    metrics = read_metrics(model.parent / METRICS_FILE, clf, held_out)
    frame = load_catalog_for(clf, catalog, elsets)
    provenance = Provenance(
        catalog=catalog.name,
        model=model.name,
        date=datetime.date.today().isoformat(),
        version=__version__,
        synthetic=is_synthetic(frame),
        trained_on_synthetic=bool((metrics or {}).get("synthetic", False)),
    )
    page = render_report(collect_report(clf, frame, provenance, held_out=held_out, metrics=metrics))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, page)
    lines = [SYNTHETIC_NOTE] if provenance.synthetic else []
    lines += [NO_HELD_OUT] if held_out is None else []
    return [*lines, f"{out}: {len(frame)} objects, {out.stat().st_size / 1e6:.1f} MB"]


class Inputs(NamedTuple):
    """What all parts of a report are made of, read and computed once.

    Attributes
    ----------
    model : FittedModel
    frame : polars.DataFrame
        The catalog.
    target : str
        Its column of the classes.
    recorded : ndarray of str, shape (n,)
        Recorded classes, :data:`NO_RECORD` where there is none.
    rows : ModelRows
        The catalog encoded, with the model's predictions.
    prototype : ndarray of int, shape (n,)
        The strongest prototype of each object.
    reasons : list of str
        One sentence an object.
    held_out : HeldOut or None
        None where no held-out rows are known.
    """

    model: FittedModel
    frame: pl.DataFrame
    target: str
    recorded: NDArray[np.object_]
    rows: ModelRows
    prototype: NDArray[np.intp]
    reasons: list[str]
    held_out: HeldOut | None

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return [str(name) for name in self.model.classifier.classes_]

    @property
    def probability(self) -> NDArray[np.float64]:
        """Class probabilities of the catalog, shape (n, C)."""
        return self.rows.prediction.probability


def read_inputs(clf: DDCLClassifier, frame: pl.DataFrame, held_out: pl.DataFrame | None) -> Inputs:
    """Encode and predict a catalog, once for all parts of a report; parameters as of :func:`collect_report`."""
    model = FittedModel(clf)
    rows = model.read(frame)
    target = str(target_of(clf.target, frame))
    return Inputs(
        model,
        frame,
        target,
        _recorded(frame, target),
        rows,
        rows.prediction.q.argmax(axis=1),
        reasons(rows.prediction.q, rows.prediction.probability, clf.classes_, clf._prototype_table),
        None if held_out is None else held_out_arrays(held_out, clf.classes_),
    )


def _recorded(frame: pl.DataFrame, target: str) -> NDArray[np.object_]:
    if target not in frame.columns:
        return np.full(len(frame), NO_RECORD, dtype=object)
    known = has_known_class(frame, target)
    labels = frame.select(pl.when(known).then(pl.col(target).cast(pl.String)).otherwise(pl.lit(NO_RECORD)))
    return np.array(labels.to_series().to_list(), dtype=object)


def collect_report(
    clf: DDCLClassifier,
    frame: pl.DataFrame,
    provenance: Provenance,
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
    provenance : Provenance
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
    inputs = read_inputs(clf, frame, held_out)
    classes, recorded = inputs.classes, inputs.recorded
    prototypes = cards_of(inputs.model, frame, inputs.rows)
    inks = prototype_inks([classes.index(card.predicted_class) for card in prototypes])
    orbits = orbit_figures(frame, inputs.prototype, inks)
    stability = clf.stability_
    return Report(
        provenance=provenance,
        target=inputs.target,
        classes=classes,
        class_inks=class_inks(len(classes)),
        features=list(clf.encoder_.feature_names_),
        n_objects=len(frame),
        n_sure_unknown=int((inputs.probability[recorded == NO_RECORD].max(axis=1, initial=0.0) >= SURE).sum()),
        recorded={name: int((recorded == name).sum()) for name in [*classes, NO_RECORD]},
        n_in_use=int(in_use(np.array([card.share for card in prototypes])).sum()),
        scores=None if inputs.held_out is None else _scores(inputs.held_out, clf),
        split=str((metrics or {}).get("split", "")),
        peers=[] if inputs.held_out is None else _peers(metrics or {}),
        cards=_cards(inputs, prototypes, inks, orbits),
        orbits=orbits,
        unknown=_unknown(inputs),
        disagreements=None if inputs.held_out is None else _disagreements(inputs, inputs.held_out),
        verdict=stability.verdict,
        conditions=_conditions(stability),
        curves=certificate_curves(stability),
        n_epochs=clf.n_iter_,
        best_epoch=clf.best_epoch_,
    )


def _scores(held_out: HeldOut, clf: DDCLClassifier) -> Scores:
    return bootstrap_scores(held_out.recorded, held_out.probability, clf.classes_, held_out.launch)


def _peers(metrics: dict[str, Any]) -> list[Peer]:
    return [
        Peer(name, {score: float(value) for score, value in scores.items() if isinstance(value, (int, float))})
        for name, scores in metrics.get("peers", {}).items()
    ]


def _cards(inputs: Inputs, prototypes: list[PrototypeCard], inks: list[Ink], orbits: OrbitFigures | None) -> list[Card]:
    member, right = inputs.prototype, _held_out_right(inputs)
    cards = []
    for k, card in enumerate(prototypes):
        own = right[member == k]
        panel = None if orbits is None else orbits.home(k)
        cards.append(
            Card(
                card=card,
                ink=inks[k],
                predicted=inputs.classes.index(card.predicted_class),
                n_objects=int((member == k).sum()),
                n_held_out=int((own >= 0).sum()),
                n_right=int((own == 1).sum()),
                strips=[strip(card.columns[name]) for name in card.distinguishing],
                home=None if panel is None else panel.id,
            )
        )
    return cards


def _held_out_right(inputs: Inputs) -> NDArray[np.int8]:
    """Of each object of the catalog: -1 not held out, 0 held out and wrong, 1 held out and right."""
    held_out = inputs.held_out
    if held_out is None:
        return np.full(len(inputs.frame), -1, dtype=np.int8)
    right = np.array(inputs.classes)[held_out.predicted] == held_out.recorded
    by_number = dict(zip(held_out.number, right.tolist(), strict=True))
    return np.array([int(by_number.get(number, -1)) for number in inputs.frame["NORAD_CAT_ID"].to_list()], np.int8)


def _unknown(inputs: Inputs) -> Listing:
    """Objects without a recorded class, most confident first, with the columns that contribute most, and doubts."""
    rows = np.flatnonzero(inputs.recorded == NO_RECORD)
    if not len(rows):
        return Listing([], 0)
    chosen = rows[np.argsort(-inputs.probability[rows].max(axis=1), kind="stable")[:MAX_LISTED]]
    contributions = pl.DataFrame(contributions_of(inputs.model, inputs.rows.take(chosen), inputs.rows.encoded))
    strongest = contributions.filter(pl.col("contribution").abs() >= WORTH_NAMING).group_by("row", maintain_order=True)
    columns: dict[int, list[tuple[str, str, float]]] = {
        int(key[0]): list(part.head(N_COLUMNS).select("column", "value", "contribution").iter_rows())
        for key, part in strongest
    }
    doubts = Caveats(None, None) if inputs.held_out is None else caveats(inputs, inputs.held_out, chosen)
    siblings = siblings_of(inputs.frame)
    listed = []
    for position, i in enumerate(chosen.tolist()):
        predicted = int(inputs.probability[i].argmax())
        listed.append(
            DecidedObject(
                number=_text(inputs.frame, "NORAD_CAT_ID", i),
                name=_text(inputs.frame, "OBJECT_NAME", i),
                recorded="",
                siblings=None if siblings is None else siblings[i],
                predicted=predicted,
                confidence=float(inputs.probability[i].max()),
                prototype=int(inputs.prototype[i]),
                reason=inputs.reasons[i],
                columns=columns.get(position, []),
                notes=doubts.notes(position, predicted, inputs.classes),
            )
        )
    return Listing(listed, len(rows))


def _text(frame: pl.DataFrame, column: str, i: int) -> str:
    value = frame[column][i] if column in frame.columns else None
    return "" if value is None else str(value)


@dataclass(frozen=True)
class Caveats:
    """Of each row asked about, what stands against taking its class for granted.

    Attributes
    ----------
    sets : ndarray of bool, shape (n, C), or None
        Classes that cannot be excluded at :data:`LEVEL`; None where the held-out launches are too few.
    foreign : ndarray of bool, shape (n,), or None
        Farther from the objects of known class than :data:`ORDINARY` of the held-out ones; None without those.
    """

    sets: NDArray[np.bool_] | None
    foreign: NDArray[np.bool_] | None

    def notes(self, row: int, predicted: int, classes: list[str]) -> list[str]:
        """Remarks on a row whose predicted class is number ``predicted``."""
        notes = []
        if self.sets is not None:
            others = [name for k, name in enumerate(classes) if self.sets[row, k] and k != predicted]
            if others:
                notes.append("could also be " + " or ".join(others))
            elif not self.sets[row, predicted]:
                notes.append("fits no class well")
        if self.foreign is not None and self.foreign[row]:
            notes.append("unlike objects of known class")
        return notes


def caveats(inputs: Inputs, held_out: HeldOut, rows: NDArray[np.intp]) -> Caveats:
    """Class sets and novelty of some rows of the catalog.

    Parameters
    ----------
    inputs : Inputs
    held_out : HeldOut
    rows : ndarray of int, shape (n,)
        Rows asked about.
    """
    return Caveats(_sets(inputs, held_out, rows), _foreign(inputs, held_out, rows))


def _sets(inputs: Inputs, held_out: HeldOut, rows: NDArray[np.intp]) -> NDArray[np.bool_] | None:
    known = np.isin(held_out.recorded.astype(str), inputs.classes)
    probability = held_out.probability[known]
    sets = ConformalSets(inputs.model.classifier, level=LEVEL)
    try:
        sets.fit(probability, held_out.recorded[known], groups=held_out.launch[known], probability=probability)
    except InputError:  # too few launches of a class
        return None
    return sets._sets_of(inputs.probability[rows])


def _foreign(inputs: Inputs, held_out: HeldOut, rows: NDArray[np.intp]) -> NDArray[np.bool_] | None:
    known = inputs.recorded != NO_RECORD
    spared = inputs.frame["NORAD_CAT_ID"].is_in(held_out.number).to_numpy() & known
    if not spared.any() or (known & ~spared).sum() < N_NEIGHBOURS:
        return None
    clf = inputs.model.classifier
    points = novelty_coordinates(clf.encoder_, inputs.rows.columns, inputs.rows.encoded)
    score = NoveltyScore(clf)._fit_points(points[known & ~spared])
    return score._novelty_at(points[rows]) > np.quantile(score._novelty_at(points[spared]), ORDINARY)


def _disagreements(inputs: Inputs, held_out: HeldOut) -> Listing:
    """Held-out objects that the model confidently gave another class than the record has."""
    predicted, confidence = held_out.predicted, held_out.probability.max(axis=1)
    chosen = np.flatnonzero((np.array(inputs.classes)[predicted] != held_out.recorded) & (confidence >= SURE))
    place = {number: i for i, number in enumerate(inputs.frame["NORAD_CAT_ID"].to_list())}
    rows = []
    for j in chosen[np.argsort(-confidence[chosen], kind="stable")][:MAX_LISTED].tolist():
        i = place.get(held_out.number[j])
        rows.append(
            DecidedObject(
                number=str(held_out.number[j]),
                name="" if i is None else _text(inputs.frame, "OBJECT_NAME", i),
                recorded=held_out.recorded[j],
                siblings=None,
                predicted=int(predicted[j]),
                confidence=float(confidence[j]),
                prototype=None if i is None else int(inputs.prototype[i]),
                reason=_reason_today(inputs, i, held_out.recorded[j], int(predicted[j])),
                columns=[],
                notes=[],
            )
        )
    return Listing(rows, len(chosen))


def _reason_today(inputs: Inputs, i: int | None, recorded: str, predicted: int) -> str:
    """The reason, unless the object has left the catalog or changed in it since the training."""
    if i is None:
        return "not in this catalog any more"
    now = inputs.recorded[i]
    notes = [] if now in (recorded, NO_RECORD) else [f"now recorded as {now}"]
    today = int(inputs.probability[i].argmax())
    if today == predicted:
        return "; ".join([*notes, inputs.reasons[i]])
    return "; ".join([*notes, f"its row has changed since the training, the model now says {inputs.classes[today]}"])


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
