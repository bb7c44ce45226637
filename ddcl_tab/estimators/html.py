"""What a notebook shows of a fitted classifier."""

from __future__ import annotations

from html import escape
from typing import Any

from ddcl_tab.estimators.naming import without_number

#: Prototypes named.
N_SHOWN = 5


def fitted_html(clf: Any) -> str:
    """Classes, columns, soundness and the largest prototypes of a fitted classifier as an HTML table.

    Every text that may come from a table of the user's is escaped.
    """
    table = clf._prototype_table
    share = table["share"]
    in_use = sum(value > 1 / (4 * len(share)) for value in share)
    rows = {
        "classes": ", ".join(str(name) for name in clf.classes_),
        "columns": ", ".join(clf.encoder_.feature_names_),
        "training": f"{clf.stability_.verdict}; epoch {clf.best_epoch_} of {clf.n_iter_} kept",
        "prototypes": f"{in_use} of {len(share)} in use",
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
