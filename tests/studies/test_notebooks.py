"""The notebooks run from beginning to end, on the synthetic catalog and on the real one where it is present.

Each takes up to a minute: they train.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def execute(name: str, data: str, out: Path) -> nbformat.NotebookNode:
    """Run a notebook as a person would, from its own folder; the copy with outputs comes back."""
    command = [str(Path(sys.executable).parent / "jupyter-execute"), "--timeout=300", f"--output={out}", name]
    environment = os.environ | {"DDCL_TAB_DATA": data, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return nbformat.read(out, as_version=4)


def test_there_are_five():
    assert len(NOTEBOOKS) == 5


#: Half a minute each: what they show beside the others, tests of `interpret`, `nn` and `tuning` check.
LONG = (
    "02_read_the_prototypes.ipynb",
    "03_collapse_and_the_critical_temperature.ipynb",
    "04_tune_under_the_certificate.ipynb",
)
KINDS = [
    pytest.param(name, kind, marks=pytest.mark.slow if kind != "SYNTHETIC" or name in LONG else ())
    for name in NOTEBOOKS
    for kind in ("SYNTHETIC", "Space-Track")
]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_runs_and_says_which_catalog(name, kind, tmp_path, request):
    data = tmp_path / "absent" if kind == "SYNTHETIC" else request.getfixturevalue("shared_data")
    notebook = execute(name, str(data), tmp_path / name)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    assert f"{kind} catalog" in printed
    shown = [output for output in outputs if output.output_type in ("display_data", "execute_result")]
    assert len(shown) >= 3
    assert not [output for output in outputs if output.get("name") == "stderr"], "a warning would face the reader"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_outputs_are_stored(name):
    notebook = nbformat.read(FOLDER / name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
