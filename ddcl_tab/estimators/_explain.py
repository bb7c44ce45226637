"""Reasons per row: which prototypes decided, and what each says; what a notebook shows of a fitted classifier."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ddcl_tab.estimators._prototypes import without_number
from ddcl_tab.training._certificate import in_use

if TYPE_CHECKING:
    from ddcl_tab.estimators._classifier import DDCLClassifier


def top_prototypes(
    q: NDArray[np.float64],
    probability: NDArray[np.float64],
    classes: NDArray[Any],
    prototypes: dict[str, list[Any]],
    n_top: int,
) -> dict[str, list[Any]]:
    """Long table of the strongest prototypes of each row.

    Parameters
    ----------
    q : ndarray, shape (n, K)
    probability : ndarray, shape (n, C)
    classes : ndarray, shape (C,)
    prototypes : dict of list
        See :func:`ddcl_tab.estimators._prototypes.describe_prototypes`.
    n_top : int
        Prototypes named per row.

    Returns
    -------
    dict of list
        ``n * n_top`` rows: ``row``, ``prediction``, ``probability``, ``rank``, ``prototype``, ``weight``, ``says``
        (the prototype's own class), ``effect`` (see :func:`effects`), ``name``, ``medoid``.
    """
    top = np.argsort(-q, axis=1, kind="stable")[:, :n_top]
    chosen = probability.argmax(axis=1)
    says = classes[_says(prototypes, classes)].tolist()
    n, width = top.shape
    flat = top.ravel()
    return {
        "row": np.repeat(np.arange(n), width).tolist(),
        "prediction": np.repeat(classes[chosen], width).tolist(),
        "probability": np.repeat(probability[np.arange(n), chosen], width).tolist(),
        "rank": np.tile(np.arange(1, width + 1), n).tolist(),
        "prototype": flat.tolist(),
        "weight": np.take_along_axis(q, top, axis=1).ravel().tolist(),
        "says": [says[k] for k in flat],
        "effect": effects(q, top, chosen, _own_probability(prototypes, classes)).ravel().tolist(),
        "name": [prototypes["name"][k] for k in flat],
        "medoid": [prototypes["medoid"][k] for k in flat],
    }


def effects(
    q: NDArray[np.float64], top: NDArray[np.intp], chosen: NDArray[np.intp], own: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What the probability of the decided class owes to each of some prototypes, shape (n, m).

    The probability as it is minus what it would be without that one prototype: above 0 where it speaks for the
    decision more than the others do together. Exact, for the logits of a row are the ``q``-mean of the prototypes'.

    Parameters
    ----------
    q : ndarray, shape (n, K)
    top : ndarray of int, shape (n, m)
        Prototypes asked about.
    chosen : ndarray of int, shape (n,)
        Decided class.
    own : ndarray, shape (K, C)
        Probabilities that the prototypes hold.

    Examples
    --------
    >>> own = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> effects(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[1], [1]]), np.array([0, 0]), own).round(2)
    array([[ 0. ],
           [-0.3]])
    """
    logits = np.log(np.clip(own, 1e-300, None))
    rows = np.arange(len(q))
    with_all = softmax(q @ logits, axis=1)[rows, chosen]
    result = np.empty(top.shape)
    for j, k in enumerate(top.T):
        others = q.copy()
        others[rows, k] = 0.0
        total = others.sum(axis=1)  # not 1 - q: of a membership near 1 rounding would leave nothing
        without = softmax(others @ logits / np.where(total > 0.0, total, 1.0)[:, None], axis=1)[rows, chosen]
        result[:, j] = np.where(total > 0.0, with_all - without, np.nan)
    return result


def reasons(
    q: NDArray[np.float64], probability: NDArray[np.float64], classes: NDArray[Any], prototypes: dict[str, list[Any]]
) -> list[str]:
    """One sentence a row.

    Names the strongest prototype; where it speaks for another class than the decision, names the strongest one that
    agrees as well.
    """
    top = q.argmax(axis=1)
    chosen = probability.argmax(axis=1)
    says = _says(prototypes, classes)
    names = [without_number(name, k) for k, name in enumerate(prototypes["name"])]
    sentences = []
    for i, k in enumerate(top):
        sentence = f"{100 * q[i, k]:.0f} % prototype {k}: {names[k]}, such as {prototypes['medoid'][k]}"
        agreeing = np.where(says == chosen[i], q[i], 0.0)
        if says[k] != chosen[i] and agreeing.any():
            first = agreeing.argmax()
            sentence += (
                f"; outvoted by {100 * agreeing.sum():.0f} % on prototypes of {classes[chosen[i]]}, "
                f"first prototype {first}: {names[first]}"
            )
        sentences.append(sentence)
    return sentences


def _says(prototypes: dict[str, list[Any]], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Index of the class that each prototype itself holds most probable, shape (K,)."""
    return _own_probability(prototypes, classes).argmax(axis=1)


def _own_probability(prototypes: dict[str, list[Any]], classes: NDArray[Any]) -> NDArray[np.float64]:
    return np.stack([prototypes[f"says {name}"] for name in classes], axis=1)


#: Prototypes named.
N_SHOWN = 5


def fitted_html(clf: DDCLClassifier) -> str:
    """Classes, columns, soundness and the largest prototypes of a fitted classifier as an HTML table.

    Every text that may come from a table of the user's is escaped.
    """
    table = clf._prototype_table
    share = table["share"]
    rows = {
        "classes": ", ".join(str(name) for name in clf.classes_),
        "columns": ", ".join(clf.encoder_.feature_names_),
        "training": f"{clf.stability_.verdict}; epoch {clf.best_epoch_} of {clf.n_iter_} kept",
        "prototypes": f"{in_use(np.array(share)).sum()} of {len(share)} in use",
    } | {
        f"prototype {k}": f"{100 * share[k]:.1f} %: {without_number(table['name'][k], k)}, such as {table['medoid'][k]}"
        for k in range(min(N_SHOWN, len(share)))
    }
    cells = "".join(
        f'<tr><th style="text-align:left;vertical-align:top">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for name, text in rows.items()
    )
    return f"<table><caption>Fitted</caption>{cells}</table>"
