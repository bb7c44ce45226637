"""The report of a model and a catalog: everything that the page shows, with what held-out objects say of it."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab import __version__
from ddcl_tab._files import write_whole
from ddcl_tab.app._catalog import NO_RECORD, Inputs, doubts_of, is_synthetic, load_catalog_for, read_inputs, siblings_of
from ddcl_tab.app._evaluation import Scores, bootstrap_scores
from ddcl_tab.app._figures import certificate_curves, orbit_figures
from ddcl_tab.app._page import (
    SURE,
    Card,
    ConditionRow,
    DecidedObject,
    Listing,
    Orbit,
    Part,
    Peer,
    Provenance,
    Report,
    render_report,
)
from ddcl_tab.app._svg import class_inks, unknown_inks
from ddcl_tab.app._tables import SYNTHETIC_NOTE, HeldOut
from ddcl_tab.app._train import HELD_OUT_FILE, read_run
from ddcl_tab.errors import InputError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._explain import N_WRITTEN, WORTH_NAMING, written_cells
from ddcl_tab.estimators._prototypes import without_number
from ddcl_tab.interpret._cards import cards_of
from ddcl_tab.interpret._model import FittedModel
from ddcl_tab.training._certificate import in_use
from ddcl_tab.training._stability import CONDITIONS, Stability

NO_HELD_OUT = (
    f"no {HELD_OUT_FILE} beside the model: no held-out objects are known, so the report has no scores "
    "(training rows are never scored)"
)
#: Objects in a table; the page stays small, and ``classify`` writes all of them.
MAX_LISTED = 1000


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
    held_out, metrics = read_run(model, clf)
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
    classes, recorded, winner = inputs.classes, inputs.recorded, inputs.said.reasons.winner
    inks = class_inks(len(classes)) + unknown_inks(len(classes))
    group = winner + len(classes) * (recorded == NO_RECORD)
    stability = clf.stability_
    return Report(
        provenance=provenance,
        target=inputs.target,
        classes=classes,
        inks=inks,
        features=list(clf.encoder_.feature_names_),
        n_objects=len(frame),
        n_sure_unknown=int((inputs.probability[recorded == NO_RECORD].max(axis=1, initial=0.0) >= SURE).sum()),
        recorded={name: int((recorded == name).sum()) for name in [*classes, NO_RECORD]},
        scores=None if inputs.held_out is None else _scores(inputs.held_out, clf),
        split=str((metrics or {}).get("split", "")),
        peers=[] if inputs.held_out is None else _peers(metrics or {}),
        cards=_cards(inputs),
        orbits=orbit_figures(frame, group, inks),
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


def _cards(inputs: Inputs) -> list[Card]:
    """All prototypes as ``prototypes_`` describes them, with typical objects of the catalog."""
    table, classes = inputs.classifier._prototype_table, inputs.classes
    typical = [card.typical for card in cards_of(FittedModel(inputs.classifier), inputs.frame, inputs.said)]
    used = in_use(np.array(table["share"]))
    places = [name.removesuffix("_values") for name in table if name.startswith("column_") and name.endswith("_values")]
    return [
        Card(
            prototype=k,
            name=without_number(name, k),
            share=table["share"][k],
            in_use=bool(used[k]),
            votes={c: table[f"votes {c}"][k] for c in classes},
            members={c: table[f"share {c}"][k] for c in classes},
            columns=[(table[c][k], table[f"{c}_share"][k], table[f"{c}_values"][k]) for c in places if table[c][k]],
            medoid=table["medoid"][k],
            typical=typical[k],
        )
        for k, name in enumerate(table["name"])
    ]


def _objects(inputs: Inputs, rows: NDArray[np.intp]) -> list[DecidedObject]:
    """Some objects of the catalog with what decided them."""
    said = inputs.said.take(rows)
    reasons, strongest, like = said.reasons, said.strongest(N_WRITTEN), said.like()
    worth = np.abs(np.take_along_axis(reasons.contribution, strongest, axis=1)) >= WORTH_NAMING
    place, column = np.nonzero(worth)[0], strongest[worth]
    parts: list[list[Part]] = [[] for _ in rows]
    for i, t, text in zip(place, column, written_cells(said.columns, said.domain, place, column).said, strict=True):
        parts[i].append(Part(text, float(reasons.contribution[i, t])))
    return [
        DecidedObject(
            number=_text(inputs.frame, "NORAD_CAT_ID", i),
            name=_text(inputs.frame, "OBJECT_NAME", i),
            recorded="",
            siblings=None,
            orbit=_orbit(inputs.frame, i),
            predicted=int(reasons.winner[j]),
            confidence=float(reasons.probability[j]),
            runner_up=inputs.classes[reasons.runner_up[j]],
            parts=parts[j],
            n_other=len(said.columns) - len(parts[j]),
            other=float(reasons.contribution[j].sum()) - sum(part.contribution for part in parts[j]),
            baseline=float(reasons.baseline[j]),
            like=like[j],
            notes=[],
        )
        for j, i in enumerate(rows.tolist())
    ]


def _orbit(frame: pl.DataFrame, i: int) -> Orbit | None:
    if not set(Orbit._fields) <= {name.lower() for name in frame.columns}:
        return None
    values = [frame[name.upper()][i] for name in Orbit._fields]
    return None if None in values else Orbit(*values)


def _unknown(inputs: Inputs) -> Listing:
    """Objects without a recorded class, most confident first, with what decided them and what speaks against it."""
    rows = np.flatnonzero(inputs.recorded == NO_RECORD)
    if not len(rows):
        return Listing([], 0)
    chosen = rows[np.argsort(-inputs.said.reasons.probability[rows], kind="stable")[:MAX_LISTED]]
    doubts, siblings = doubts_of(inputs, chosen), siblings_of(inputs.frame)
    listed = [
        replace(
            one,
            siblings=None if siblings is None else siblings[i],
            notes=doubts.notes(j, one.predicted, inputs.classes),
        )
        for j, (i, one) in enumerate(zip(chosen.tolist(), _objects(inputs, chosen), strict=True))
    ]
    return Listing(listed, len(rows))


def _text(frame: pl.DataFrame, column: str, i: int) -> str:
    value = frame[column][i] if column in frame.columns else None
    return "" if value is None else str(value)


def _disagreements(inputs: Inputs, held_out: HeldOut) -> Listing:
    """Held-out objects that the model confidently gave another class than the record has."""
    confidence = held_out.probability.max(axis=1)
    differs = np.array(inputs.classes)[held_out.predicted] != held_out.recorded
    chosen = np.flatnonzero(differs & (confidence >= SURE))
    listed = chosen[np.argsort(-confidence[chosen], kind="stable")][:MAX_LISTED]
    place = {number: i for i, number in enumerate(inputs.frame["NORAD_CAT_ID"].to_list())}
    rows = np.array([place.get(held_out.number[j], -1) for j in listed], dtype=np.intp)
    there = iter(_objects(inputs, rows[rows >= 0]))
    objects = [
        _as_held_out(inputs, i, None if i < 0 else next(there), held_out, j)
        for i, j in zip(rows.tolist(), listed.tolist(), strict=True)
    ]
    return Listing(objects, len(chosen))


def _as_held_out(inputs: Inputs, i: int, today: DecidedObject | None, held_out: HeldOut, j: int) -> DecidedObject:
    """An object as it was decided when it was held out; why, unless it has left the catalog or changed in it since."""
    recorded, predicted = held_out.recorded[j], int(held_out.predicted[j])
    confidence = float(held_out.probability[j].max())
    if today is None:
        number, notes = str(held_out.number[j]), ["not in this catalog any more"]
        return DecidedObject(number, "", recorded, None, None, predicted, confidence, "", [], 0, 0.0, 0.0, "", notes)
    now = inputs.recorded[i]
    notes = [] if now in (recorded, NO_RECORD) else [f"now recorded as {now}"]
    one = replace(today, recorded=recorded, predicted=predicted, confidence=confidence, notes=notes)
    if today.predicted == predicted:
        return one
    notes.append(f"its row has changed since the training, the model now says {inputs.classes[today.predicted]}")
    return replace(one, runner_up="", parts=[], like="")


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
