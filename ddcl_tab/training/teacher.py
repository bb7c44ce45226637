"""Soft targets: what gradient boosting says of each row without having seen its group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold

from ddcl_tab.features.table import UNSEEN
from ddcl_tab.training.rows import Rows

#: Each row is judged by a model fitted on the other folds; whole groups stay together.
N_FOLDS = 5
N_ITERATIONS = 150
#: With fewer rows the folds are too small to teach anything.
MIN_ROWS = 1000
#: Gradient boosting takes categories below this code.
MAX_CODE = 254


def hard_targets(rows: Rows, n_classes: int) -> NDArray[np.float32]:
    """Labels as probabilities 0 and 1, shape (n, n_classes)."""
    return np.eye(n_classes, dtype=np.float32)[rows.label]


def soft_targets(rows: Rows, n_classes: int, weight: float, seed: int) -> NDArray[np.float32]:
    """Mix each row's label with an out-of-fold opinion about it.

    A network remembers single launches: their exact inclination and height give the label away. The opinion of trees
    that have not seen a row's launch holds only what carries over from other launches, and a network that is asked for
    both learns less by heart (knowledge distillation, Hinton et al., arXiv:1503.02531, with an out-of-fold teacher).

    Parameters
    ----------
    rows : Rows
        Training rows, encoded; their ``group`` keeps siblings in one fold.
    n_classes : int
    weight : float
        Share of the opinion in the target, in [0, 1]. The label stands alone with 0, and where there are fewer than
        ``MIN_ROWS`` rows, two classes, or ``N_FOLDS`` groups or rows of a class.
    seed : int

    Returns
    -------
    ndarray, shape (n, n_classes)
        Rows sum to 1.
    """
    target = hard_targets(rows, n_classes)
    if weight == 0.0 or not _can_teach(rows, n_classes):
        return target
    codes = np.where(rows.categorical < MAX_CODE, rows.categorical, UNSEEN)
    columns = np.concatenate([rows.numeric, codes], axis=1)
    is_category = np.arange(columns.shape[1]) >= rows.numeric.shape[1]
    opinion = np.zeros_like(target)
    folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed)
    for others, fold in folds.split(columns, rows.label, rows.group):
        known = np.unique(rows.label[others])
        if len(known) == 1:  # nothing to learn: the one class is the whole opinion
            opinion[fold, known[0]] = 1.0
            continue
        trees = HistGradientBoostingClassifier(
            max_iter=N_ITERATIONS, categorical_features=is_category, early_stopping=False, random_state=seed
        )
        trees.fit(columns[others], rows.label[others], sample_weight=rows.weight[others])
        # A class whose rows all stand in one group may be unknown to the trees that judge it.
        opinion[np.ix_(fold, trees.classes_)] = trees.predict_proba(columns[fold])
    return ((1.0 - weight) * target + weight * opinion).astype(np.float32)


def _can_teach(rows: Rows, n_classes: int) -> bool:
    smallest_class = np.bincount(rows.label, minlength=n_classes).min()
    n_groups = len(np.unique(rows.group))
    return len(rows.label) >= MIN_ROWS and n_classes > 1 and min(smallest_class, n_groups) >= N_FOLDS
