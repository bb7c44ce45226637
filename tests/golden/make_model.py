"""Train a small model and save it with its answers: ``python tests/golden/make_model.py NAME`` in a checkout.

Run at the commit that first wrote a layout, with the package of that commit in PYTHONPATH. The rows are made up.
"""

from __future__ import annotations

import inspect
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from ddcl_tab import DDCLClassifier


def made_up_rows(n: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    """Numbers with and without a heavy tail, a text column, missing values; three classes."""
    random = np.random.default_rng(31)
    size, speed = random.normal(size=n).round(3), np.exp(2 * random.normal(size=n)).round(3)
    colour = random.choice(["red", "green", "blue"], size=n).astype(object)
    label = np.where(size > 0.5, "hot", np.where(speed > 1.0, "fast", "cold"))
    size[::17], colour[::13] = np.nan, None
    return pd.DataFrame({"size": size, "speed": speed, "colour": colour}), label


def asked_rows() -> pd.DataFrame:
    """Twelve rows of the same kind, one far outside of it one whose colour was never seen."""
    rows, _ = made_up_rows(12)
    rows.loc[12] = [40.0, 1e6, "red"]
    rows.loc[13] = [0.0, 1.0, "violet"]
    return rows


def main(name: str) -> None:
    """Write NAME.ddcl and NAME.json beside this file."""
    settings = {"n_prototypes": 4, "max_epochs": 8, "d_token": 8, "n_blocks": 1, "n_heads": 2, "random_state": 0}
    known = inspect.signature(DDCLClassifier).parameters
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf = DDCLClassifier(**{key: value for key, value in settings.items() if key in known}).fit(*made_up_rows())
    if name.endswith("-interrupted"):
        clf._interrupted = 2  # as Ctrl-C in the second epoch of `ddcl-tab train` leaves it
    folder = Path(__file__).parent
    clf.save(folder / f"{name}.ddcl")
    answers = {
        "predict": clf.predict(asked_rows()).tolist(),
        "predict_proba": clf.predict_proba(asked_rows()).tolist(),
        "transform": clf.transform(asked_rows()).tolist(),
    }
    (folder / f"{name}.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1])
