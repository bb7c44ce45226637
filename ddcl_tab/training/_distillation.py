"""Distillation from trees: they label augmented rows, so that a network sees more rows than the table has.

An augmented row is mixed from two real ones.

Trees cut the columns one by one and generalise to launches that nobody has seen; a network learns the launches that it
sees by heart. Given as many rows as it wants, all labelled by the trees, it learns the trees' rules instead (model
compression: Bucila, Caruana and Niculescu-Mizil, KDD 2006; distillation: Hinton et al., arXiv:1503.02531).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier

from ddcl_tab.training._rows import UNSEEN, Late, Rows, RowsDataset, both

#: Rounds of gradient boosting, and the weight of the squares of its leaves; number of randomised trees, and the share
#: of the columns that each of their cuts may choose from.
N_ROUNDS, L2 = 150, 10.0
N_TREES, TRIED = 100, 0.5
#: Probabilities are at least this before their geometric mean: one model that is sure must not silence the other.
FLOOR = 1e-4
#: Of larger tables each randomised tree sees as many rows, drawn anew: fully grown trees of all would fill the memory.
MAX_TREE_ROWS = 50_000
#: Fewer rows are too few to learn from twice.
MIN_ROWS = 1000
#: Gradient boosting takes categories below this code.
MAX_CODE = 254
#: An augmented row has one column from its second parent, and this share of the others.
SWAPPED = 0.08


def hard_targets(rows: Rows, n_classes: int) -> NDArray[np.float32]:
    """Labels as probabilities 0 and 1, shape (n, n_classes)."""
    return np.eye(n_classes, dtype=np.float32)[rows.label]


class Teacher:
    """The model that is distilled: gradient boosting and extremely randomised trees, fitted on the training rows.

    On held-out launches boosting has the better probabilities and randomised trees the better borders. Their geometric
    mean keeps most of both, and says what it knows as surely as it knows it; the arithmetic mean, and trees that may
    not choose among many columns, are too unsure (docs/notes/recipe.md).

    Parameters
    ----------
    rows : Rows
        At least one row of every class.
    seed : int
    """

    def __init__(self, rows: Rows, seed: int) -> None:
        columns = _columns(rows.numeric, rows.categorical)
        drawn = len(columns) > MAX_TREE_ROWS
        is_category = np.arange(columns.shape[1]) >= rows.numeric.shape[1]
        self.models = (
            HistGradientBoostingClassifier(
                max_iter=N_ROUNDS,
                l2_regularization=L2,
                categorical_features=is_category,
                early_stopping=False,
                random_state=seed,
            ),
            ExtraTreesClassifier(
                N_TREES,
                max_features=TRIED,
                bootstrap=drawn,
                max_samples=MAX_TREE_ROWS if drawn else None,
                random_state=seed,
            ),
        )
        for model in self.models:
            model.fit(columns, rows.label, sample_weight=rows.weight)

    def predict_proba(self, numeric: NDArray[np.float32], categorical: NDArray[np.int64]) -> NDArray[np.float32]:
        """Class probabilities of encoded rows, shape (n, n_classes)."""
        columns = _columns(numeric, categorical)
        probability = np.stack([model.predict_proba(columns) for model in self.models])
        geometric = np.exp(np.log(probability.clip(FLOOR)).mean(axis=0))
        return (geometric / geometric.sum(axis=1, keepdims=True)).astype(np.float32)


def can_distil(rows: Rows, n_classes: int) -> bool:
    """Whether there are ``MIN_ROWS`` rows and two classes, none without a row."""
    return len(rows.label) >= MIN_ROWS and n_classes > 1 and bool(np.bincount(rows.label, minlength=n_classes).all())


def _columns(numeric: NDArray[np.float32], categorical: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.concatenate([numeric, np.where(categorical < MAX_CODE, categorical, UNSEEN)], axis=1)


def training_rows(
    rows: Rows, n_classes: int, share: float, seed: int, device: torch.device, late: Late | None = None
) -> RowsDataset:
    """Rows to train on: augmented where that is asked for (``share > 0``) and possible, and with late columns hidden.

    The trees then learn from every row twice: as it is, and without a set of the late columns.
    """
    teacher = None
    if share > 0.0 and can_distil(rows, n_classes):
        known = rows
        if late is not None:
            draw = np.random.default_rng(seed).random(len(rows.label))
            known = both(rows, late._replace(share=1.0).hide(rows, draw))
        teacher = Teacher(known, seed)
    if teacher is None and late is None:
        return RowsDataset(rows, hard_targets(rows, n_classes), device)
    return AugmentedRows(rows, n_classes, teacher, share, device, late)


class AugmentedRows(RowsDataset):
    """Training rows of which every epoch replaces some by augmented ones, and hides late columns of some.

    An augmented row is a real one (its first parent, whose weight it keeps) with few of its columns from another, drawn
    anew every epoch; its label are the teacher's probabilities. Few, because rows unlike any real one are most of what
    the network would learn otherwise (docs/notes/recipe.md).

    Parameters
    ----------
    rows : Rows
    n_classes : int
    teacher : Teacher, optional
        Without one no row is augmented.
    share : float
        Share of the rows of an epoch that are augmented, in [0, 1].
    device : torch.device
    late : Late, optional
        Columns that new rows lack.
    """

    def __init__(
        self,
        rows: Rows,
        n_classes: int,
        teacher: Teacher | None,
        share: float,
        device: torch.device,
        late: Late | None = None,
    ) -> None:
        super().__init__(rows, hard_targets(rows, n_classes), device)
        self.rows, self.n_classes, self.teacher, self.share = rows, n_classes, teacher, share
        self.device, self.late = device, late

    def epoch(self, generator: torch.Generator) -> RowsDataset:
        """Rows of another epoch."""
        n = len(self.rows.label)
        augmented = np.zeros(n, dtype=bool)
        rows = self.rows
        if self.teacher is not None:
            augmented = (torch.rand(n, generator=generator) < self.share).numpy()
            rows = self._mixed(augmented, generator)
        if self.late is not None:
            rows = self.late.hide(rows, torch.rand(n, generator=generator).numpy())
        target = hard_targets(rows, self.n_classes)
        if self.teacher is not None and augmented.any():
            target[augmented] = self.teacher.predict_proba(rows.numeric[augmented], rows.categorical[augmented])
        return RowsDataset(rows, target, self.device)

    def _mixed(self, augmented: NDArray[np.bool_], generator: torch.Generator) -> Rows:
        """Rows of which those to be augmented have some columns from another."""
        n, n_numeric = self.rows.numeric.shape
        n_columns = n_numeric + self.rows.categorical.shape[1]
        second = self.rows.take(torch.randint(n, (n,), generator=generator).numpy())
        one = torch.randint(n_columns, (n, 1), generator=generator).numpy() == np.arange(n_columns)
        others = (torch.rand(n, n_columns, generator=generator) < SWAPPED).numpy()
        swap = (one | others) & augmented[:, None]
        return self.rows._replace(
            numeric=np.where(swap[:, :n_numeric], second.numeric, self.rows.numeric),
            categorical=np.where(swap[:, n_numeric:], second.categorical, self.rows.categorical),
        )
