"""What held-out objects say of how far decisions on unknown objects can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab.errors import InputError
from ddcl_tab.estimators import DDCLClassifier
from ddcl_tab.interpret.conformal import ConformalSets
from ddcl_tab.interpret.novelty import N_NEIGHBOURS, NoveltyScore

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
