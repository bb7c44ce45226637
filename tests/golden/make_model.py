"""Train a small model and save it with its answers: ``python tests/golden/make_model.py NAME`` in a checkout.

Run at the commit that first wrote a layout, with the package of that commit in PYTHONPATH. The rows are made up. What a
name ends with says what is special: ``-families`` and ``-by-column`` have family columns, ``-interrupted`` was stopped.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ddcl_tab import DDCLClassifier

SETTINGS: dict[str, Any] = {
    "n_prototypes": 4,
    "max_epochs": 8,
    "d_token": 8,
    "n_blocks": 1,
    "n_heads": 2,
    "random_state": 0,
}
FAMILIES, BY_COLUMN, INTERRUPTED = "-families", "-by-column", "-interrupted"


def made_up_rows(n: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    """Numbers with and without a heavy tail, a text column, missing values; three classes."""
    random = np.random.default_rng(31)
    size, speed = random.normal(size=n).round(3), np.exp(2 * random.normal(size=n)).round(3)
    colour = random.choice(["red", "green", "blue"], size=n).astype(object)
    label = np.where(size > 0.5, "hot", np.where(speed > 1.0, "fast", "cold"))
    size[::17], colour[::13] = np.nan, None
    return pd.DataFrame({"size": size, "speed": speed, "colour": colour}), label


def made_up_objects(n: int = 400) -> pd.DataFrame:
    """A catalog of objects of forty launches, a few of unknown class."""
    random = np.random.default_rng(32)
    launch = np.sort(random.integers(0, 40, n))
    perigee = (300.0 + 20.0 * launch + random.normal(0.0, 5.0, n)).round()
    apogee = (perigee + np.exp(3.0 + random.normal(size=n))).round()
    label = np.where(apogee - perigee > 30.0, "DEBRIS", np.where(launch % 2, "PAYLOAD", "ROCKET BODY")).astype(object)
    label[::23] = "UNKNOWN"
    return pd.DataFrame(
        {
            "NORAD_CAT_ID": np.arange(n) + 90_001,
            "OBJECT_NAME": [f"OBJECT {i}" for i in range(n)],
            "OBJECT_ID": [f"20{k // 4 + 10}-{k % 4 + 1:03d}A" for k in launch],
            "OBJECT_TYPE": label,
            "PERIGEE": perigee,
            "APOGEE": apogee,
            "LAUNCH": pd.to_datetime([f"20{k // 4 + 10}-0{k % 4 + 1}-01" for k in launch]),
            "DECAY": pd.to_datetime(["2025-06-01" if i % 9 == 0 else None for i in range(n)]),
            "SEMIMAJOR_AXIS": 6378.0 + (perigee + apogee) / 2.0,
            "ECCENTRICITY": ((apogee - perigee) / (2 * 6378.0 + perigee + apogee)).round(5),
            "INCLINATION": (50.0 + launch % 5 + random.normal(0.0, 0.02, n)).round(2),
            "PERIOD": (90.0 + 0.01 * (perigee + apogee)).round(2),
            "RCS_SIZE": random.choice(["SMALL", "MEDIUM", "LARGE"], n),
        }
    )


def asked_rows(name: str) -> pd.DataFrame:
    """Rows to ask a model of a name about: of the same kind, some far outside of it or never seen."""
    if name.endswith(FAMILIES):
        rows = made_up_objects()[3::31].reset_index(drop=True)
        rows.loc[0, ["PERIGEE", "APOGEE"]] = [35_780.0, 35_790.0]
        return rows
    rows, _ = made_up_rows(12)
    rows.loc[12] = [40.0, 1e6, "red"]
    rows.loc[13] = [0.0, 1.0, "violet"]
    return rows


def fitted(name: str) -> DDCLClassifier:
    """The model of a name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name.endswith(FAMILIES):
            return DDCLClassifier(**SETTINGS).fit(made_up_objects())
        clf = DDCLClassifier(**SETTINGS | ({"family": "colour"} if name.endswith(BY_COLUMN) else {}))
        return clf.fit(*made_up_rows())


def answers_of(clf: DDCLClassifier, rows: pd.DataFrame) -> dict[str, Any]:
    """What a model says of rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = clf.decide(rows)
        return {
            "predict": clf.predict(rows).tolist(),
            "predict_proba": clf.predict_proba(rows).tolist(),
            "transform": clf.transform(rows).tolist(),
            "baseline": said.reasons.baseline.tolist(),
            "contribution": said.reasons.contribution.tolist(),
            "prototypes": {name: list(clf.prototypes_[name]) for name in ("name", "medoid", "share", "column_1")},
        }


def main(name: str) -> None:
    """Write NAME.ddcl and NAME.json beside this file."""
    clf = fitted(name)
    if name.endswith(INTERRUPTED):
        clf._interrupted = 2  # as Ctrl-C in the second epoch of `ddcl-tab train` leaves it
    folder = Path(__file__).parent
    clf.save(folder / f"{name}.ddcl")
    (folder / f"{name}.json").write_text(json.dumps(answers_of(clf, asked_rows(name))))


if __name__ == "__main__":
    main(sys.argv[1])
