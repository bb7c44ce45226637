"""Mutated model files: each gives our error, or a model that decides like the original. Nothing else.

    python pipelines/fuzz_models.py OUT --files 10000

Four kinds of mutation of a small trained model: bytes of the file (flipped, cut, moved, repeated), parts of the zip
(left out, twice, renamed, swapped), and what an attacker would do, who writes the checksums anew: values of the JSON
state (other types, huge, negative, not finite, longer, shorter, renamed), and the header and digits of the weights.
With right checksums a changed value can be a different but whole model; that counts as ``other model`` if it decides:
probabilities of all rows finite, summing to 1. Every file must be read within 2 s and with less than 512 MiB more.
Writes ``OUT/fuzz_models/data.json``.
"""

from __future__ import annotations

import argparse
import collections
import copy
import hashlib
import io
import json
import random
import resource
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from study_tools import commit, study_folder

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import ModelFileError

SYNTHETIC = Path(__file__).resolve().parents[1] / "data" / "synthetic_satcat.csv.gz"
SECONDS, BYTES = 2.0, 512 << 20
STRANGE = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**400), 1e308, float("nan"), float("inf"), "", "x",
    "\ud800", "<U999999999", [], {}, [[]], [None], "../../etc/passwd", 0.5, "polars", "cpu", "cuda:7",
)  # fmt: skip
PARTS = ("manifest.json", "state.json", "weights.safetensors")


def main() -> None:
    """Mutate, read, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of all results; files that broke the reader, too")
    parser.add_argument("--files", type=int, default=1000, help="mutated files")
    args = parser.parse_args()
    made_by, out = commit(), study_folder(args.out, "fuzz_models")
    with tempfile.TemporaryDirectory() as folder:
        model, rows = train(Path(folder))
        found = fuzz(model, rows, args.files, out)
    (out / "data.json").write_text(json.dumps({"commit": made_by} | found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    raise SystemExit(bool(found["failures"]))


def train(folder: Path) -> tuple[Path, pl.DataFrame]:
    """A small model file, and rows to decide."""
    from ddcl_tab.space._satcat import read_satcat

    rows = read_satcat(SYNTHETIC).sample(400, seed=0)
    clf = DDCLClassifier(
        n_prototypes=4, d_token=8, n_heads=2, n_blocks=1, max_epochs=3, certify="end", family="auto", random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names are left out, and three epochs are not sound
        clf.fit(rows)
    clf.save(folder / "model.ddcl")
    return folder / "model.ddcl", rows[:50]


def fuzz(model: Path, rows: pl.DataFrame, n_files: int, out: Path, seed: int = 0) -> dict[str, Any]:
    """Read mutated files; say how many ended how, and keep those that ended in neither of the right ways."""
    content, rng = model.read_bytes(), random.Random(seed)
    expected = DDCLClassifier.load(model).predict_proba(rows)
    counts: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in MUTATIONS}
    failures, slowest, start = [], 0.0, time.monotonic()
    with _limited_memory():
        for number in range(n_files):
            kind = list(MUTATIONS)[number % len(MUTATIONS)]
            file = model.with_name("mutated.ddcl")
            file.write_bytes(MUTATIONS[kind](content, rng))
            begun = time.perf_counter()
            outcome = read(file, rows, expected)
            slowest = max(slowest, time.perf_counter() - begun)
            if outcome.startswith("failure") or time.perf_counter() - begun > SECONDS:
                failures.append(f"{kind}, file {number}: {outcome}")
                (out / f"broke_{number}.ddcl").write_bytes(file.read_bytes())
            counts[kind][outcome.split(":")[0]] += 1
    return {
        "files": n_files,
        "outcomes": {kind: dict(count) for kind, count in counts.items()},
        "failures": failures,
        "slowest_seconds": round(slowest, 3),
        "seconds": round(time.monotonic() - start),
    }


def read(file: Path, rows: pl.DataFrame, expected: Any) -> str:
    """How reading a file and deciding with it ends."""
    try:
        clf = DDCLClassifier.load(file)
    except ModelFileError:
        return "our error"
    except Exception as error:  # what this script looks for
        return f"failure: load gave {type(error).__name__}: {str(error)[:200]}"
    try:
        found = clf.predict_proba(rows)
        clf.explain(rows[:2])
        _ = clf.prototypes_, clf.stability_.verdict, clf.history_, repr(clf)
    except Exception as error:
        return f"failure: the model gave {type(error).__name__}: {str(error)[:200]}"
    if not np.isfinite(found).all() or not np.allclose(found.sum(axis=1), 1.0):
        return "failure: the model's probabilities are none"
    return "equal model" if np.array_equal(found, expected) else "other model"


def of_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip, cut, move or repeat bytes of the file."""
    data, i = bytearray(content), rng.randrange(len(content))
    j = min(len(data), i + rng.randrange(1, 200))
    kind = rng.randrange(4)
    if kind == 0:
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[i : len(data) if rng.random() < 0.5 else j]
    elif kind == 2:
        data[i:i] = data[i:j] * rng.randrange(1, 4)
    else:
        data[i:j] = rng.randbytes(j - i)
    return bytes(data)


def of_zip(content: bytes, rng: random.Random) -> bytes:
    """Leave out, repeat, rename or swap parts of the archive, or add one from outside."""
    parts = list(_parts(content).items())
    kind, i = rng.randrange(5), rng.randrange(len(parts))
    if kind == 0:
        del parts[i]
    elif kind == 1:
        parts.append((parts[i][0], of_bytes(parts[i][1], rng)))
    elif kind == 2:
        parts[i] = (rng.choice(["../state.json", "/state.json", "STATE.json", "", "a" * 300]), parts[i][1])
    elif kind == 3:
        j = rng.randrange(len(parts))
        parts[i], parts[j] = (parts[i][0], parts[j][1]), (parts[j][0], parts[i][1])
    else:
        parts.append((rng.choice(["../../evil.py", "/etc/passwd", "x.pkl", "weights.safetensors/"]), rng.randbytes(50)))
    return _zip(parts)


def of_state(content: bytes, rng: random.Random) -> bytes:
    """Change entries of the JSON state, with right checksums."""
    parts = _parts(content)
    state = json.loads(parts["state.json"])
    for _ in range(rng.randrange(1, 4)):
        _change(state, rng)
    return _signed(parts | {"state.json": json.dumps(state).encode()})


def of_weights(content: bytes, rng: random.Random) -> bytes:
    """Change header or digits of the weights, with right checksums."""
    parts = _parts(content)
    weights = parts["weights.safetensors"]
    size = int.from_bytes(weights[:8], "little")
    kind = rng.randrange(4)
    if kind == 0:
        weights = of_bytes(weights, rng)
    elif kind == 1:
        weights = rng.choice([size + 1, 2**40, 2**63, 0, size - 1]).to_bytes(8, "little") + weights[8:]
    elif kind == 2:
        header = json.loads(weights[8 : 8 + size])
        for _ in range(rng.randrange(1, 3)):
            _change(header, rng)
        text = json.dumps(header).encode()
        weights = len(text).to_bytes(8, "little") + text + weights[8 + size :]
    else:
        digits = bytearray(weights)
        at = rng.randrange(8 + size, len(digits) - 4)
        digits[at : at + 4] = np.float32(rng.choice([np.nan, np.inf, 1e38, -1e38, 0.0])).tobytes()
        weights = bytes(digits)
    return _signed(parts | {"weights.safetensors": weights})


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes": of_bytes, "zip": of_zip, "state": of_state, "weights": of_weights
}  # fmt: skip


def _change(tree: Any, rng: random.Random) -> None:
    """Change one random entry of nested lists and objects."""
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(tree[key], (dict, list)) and tree[key] and rng.random() < 0.85:
            tree = tree[key]
            continue
        kind = rng.randrange(5)
        if kind == 0:
            del tree[key]
        elif kind == 1 and isinstance(tree, list):
            tree.insert(key, copy.deepcopy(tree[key]))
        elif kind == 1:
            tree[rng.choice(["x", "__class__", key * 2])] = tree.pop(key)
        elif kind == 2 and isinstance(tree[key], (int, float)):
            tree[key] *= rng.choice([-1, 0, 2, 1000, 10**12])
        else:
            tree[key] = copy.deepcopy(rng.choice(STRANGE))
        return


def _parts(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in PARTS}


def _signed(parts: dict[str, bytes]) -> bytes:
    manifest = json.loads(parts["manifest.json"])
    manifest["sha256"] = {name: hashlib.sha256(parts[name]).hexdigest() for name in PARTS[1:]}
    return _zip(list((parts | {"manifest.json": json.dumps(manifest).encode()}).items()))


def _zip(parts: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # names that are there twice are meant
        for name, part in parts:
            archive.writestr(zipfile.ZipInfo(name or "empty"), part)
    return file.getvalue()


class _limited_memory:  # noqa: N801 - a context manager
    """Whoever asks for more than BYTES beyond what the process has gets a MemoryError."""

    def __enter__(self) -> None:
        self.before = resource.getrlimit(resource.RLIMIT_AS)
        has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (has + BYTES, self.before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_AS, self.before)


if __name__ == "__main__":
    main()
