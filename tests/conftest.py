"""Fixtures shared by all tests."""

from __future__ import annotations

import gzip
import os

# scikit-learn's array API check runs only if this is set before SciPy is imported.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

from pathlib import Path

import polars as pl
import pytest
from hypothesis import settings

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

ROOT = Path(__file__).resolve().parents[1]
SYNTHETIC = ROOT / "data" / "synthetic_satcat.csv.gz"


def other_bytes(text: str) -> dict[str, bytes]:
    """The bytes in which editors, spreadsheets and shells save a text of lines that end with a line feed."""
    lines = text.split("\n")
    mixed = "".join(line + ("\n", "\r\n", "\r")[i % 3] for i, line in enumerate(lines[:-1])) + lines[-1]
    return {
        "UTF-8 with a mark": text.encode("utf-8-sig"),
        "UTF-16": b"\xff\xfe" + text.encode("utf-16-le"),
        "UTF-16 big-endian, CR LF": b"\xfe\xff" + text.replace("\n", "\r\n").encode("utf-16-be"),
        "UTF-16 without a mark": text.encode("utf-16-le"),
        "UTF-16 big-endian without a mark, CR": text.replace("\n", "\r").encode("utf-16-be"),
        "UTF-32": text.encode("utf-32"),
        "gzip of UTF-16": gzip.compress(text.encode("utf-16")),
        "CR": text.replace("\n", "\r").encode(),
        "CR LF": text.replace("\n", "\r\n").encode(),
        "all line ends": mixed.encode(),
        "blank lines first": b"\r\n \n\r" + text.encode(),
    }


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real catalogs; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DDCL_TAB_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real catalogs: neither DDCL_TAB_DATA nor {folder} is a folder")
    return folder


@pytest.fixture(scope="session")
def synthetic() -> pl.DataFrame:
    """The synthetic catalog of data/, 5000 rows."""
    from ddcl_tab.space._satcat import read_satcat

    return read_satcat(SYNTHETIC)


@pytest.fixture(scope="session")
def small_model(synthetic):
    """A small classifier of the synthetic catalog, and the 600 rows that it was fitted on."""
    import warnings

    from ddcl_tab import DDCLClassifier

    rows = synthetic.sample(600, seed=2)
    clf = DDCLClassifier(
        n_prototypes=6, d_token=16, n_heads=2, n_blocks=1, max_epochs=12, lr=5e-3, certify="end", random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # leaks are left out, and twelve epochs need not be sound
        return clf.fit(rows), rows
