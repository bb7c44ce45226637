"""Which form of the readout: prototypes of column tokens, of rows, or of both one above the other.

    python pipelines/forms_study.py ../shared/data pipelines/results/

Object classes with family columns, three folds by launch with two seeds each; all forms on the same rows, trained by
the same loop with the defaults of ``DDCLClassifier`` but for the epochs (``peers/forms.py`` says what differs). Exact
contributions of columns exist in the token form alone; for them it is also measured how well they predict what hiding
a column does, and whether two seeds name the same columns. Appends one line a fit to ``forms/data.jsonl``, never
computes a line twice, then writes ``forms/report.md``. ``--short`` takes rows of the synthetic catalog and small
networks; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import platform
import time
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import faithfulness as checks
import numpy as np
import polars as pl
from benchmark_catalog import load
from numpy.typing import NDArray
from peers.forms import FORMS, TOKENS, FormPeer
from peers.networks import CPU
from peers.tasks import Fold, make_fold
from study_tools import REPORT, append_line, mean_std, parser, read_lines, run

from ddcl_tab.app._evaluation import score
from ddcl_tab.app._tables import SYNTHETIC_NOTE, as_markdown
from ddcl_tab.errors import StabilityWarning
from ddcl_tab.estimators._explain import reasons_of
from ddcl_tab.estimators._table import EncodedRows
from ddcl_tab.training._rows import Prediction, decide_rows, predict_rows

TASK, FOLDS, SEEDS = "object-family", (0, 1, 3), (0, 1)
SMALL = {"d_token": 16, "n_heads": 2, "n_blocks": 1, "augmented_share": 0.0}
#: Rows of which columns are hidden; strongest columns of a row that two seeds should share.
N_HIDING_ROWS, N_SHORT_ROWS, N_STRONGEST = 500, 30, 3
FIGURES = {"macro_f1": "macro-F1", "log_loss": "log-loss", "ece": "ECE", "accuracy": "accuracy"}
_KEY = ("form", "fold", "seed", "epochs")


class Trained(NamedTuple):
    """A trained form as the checks of explanations ask it."""

    peer: FormPeer

    def predict(self, encoded: EncodedRows) -> Prediction:
        """Class probabilities of encoded rows."""
        return predict_rows(self.peer.network_, *encoded, CPU)

    def contributions(self, encoded: EncodedRows, train: EncodedRows) -> NDArray[np.float64]:
        """Exact contributions of columns to the class against the runner-up, shape (n, T) [nats]; token form only."""
        network = self.peer.network_
        means = decide_rows(network, *train, CPU).contribution.mean(axis=0)
        bias = network.head.bias.detach().double().numpy()
        return reasons_of(decide_rows(network, *encoded, CPU), means, bias).contribution


def compute(args: argparse.Namespace, file: Path) -> None:
    """Train what has no line yet, fold by fold, so that a run that is cut off leaves forms to compare."""
    epochs = 2 if args.short else args.epochs
    folds, seeds = (FOLDS[:1], SEEDS) if args.short else (FOLDS, SEEDS)
    todo = [(form, fold, seed, epochs) for fold in folds for seed in seeds for form in FORMS]
    done = {tuple(line[name] for name in _KEY) for line in read_lines(file)}
    catalog = load(args.shared, args.short) if set(todo) - done else None
    for key in todo:
        if key not in done:
            line = measure(make_fold(catalog, TASK, key[1]), *key, short=args.short)
            append_line(file, dict(zip(_KEY, key, strict=True)) | {"short": args.short} | line)


def measure(fold: Fold, form: str, number: int, seed: int, epochs: int, *, short: bool) -> dict[str, Any]:
    """Figures of one form on one fold; classes and strongest columns of the test rows as letters, to compare seeds."""
    start = time.process_time()
    settings = SMALL if short else {}
    peer = FormPeer(form, seed, max_epochs=epochs, **settings).fit(fold.X_train, fold.y_train, fold.groups)
    seconds = time.process_time() - start
    probability = peer.predict_proba(fold.X_test)
    scores = score(fold.y_test, probability, peer.classes_)
    line = {name: scores[name] for name in FIGURES} | {"seconds": round(seconds, 1), "said": letters(probability)}
    line["n_prototypes"] = len(peer.network_.readout.prototypes)
    line["effective_prototypes"] = effective(peer, fold)
    return line | (explained(Trained(peer), fold, N_SHORT_ROWS if short else N_HIDING_ROWS) if form == TOKENS else {})


def letters(probability: NDArray[np.float64]) -> str:
    """The most probable class of each row, one letter each."""
    return "".join(chr(ord("a") + c) for c in probability.argmax(axis=1))


def effective(peer: FormPeer, fold: Fold) -> float:
    """Prototypes that a token is a mixture of: the exponential of the mean entropy of its memberships."""
    q = checks.memberships_of(peer.network_, peer.encoder_.transform(fold.X_test.head(1000)))
    return float(np.exp(-(q * np.log(np.maximum(q, 1e-300))).sum(axis=-1).mean()))


def explained(trained: Trained, fold: Fold, n_rows: int) -> dict[str, Any]:
    """How well exact contributions predict what hiding a column does, and the strongest columns of the same rows."""
    encoder = trained.peer.encoder_
    chosen = np.random.default_rng(0).choice(len(fold.y_test), min(n_rows, len(fold.y_test)), replace=False)
    table, train = encoder.transform(fold.X_test[np.sort(chosen)]), encoder.transform(fold.X_train)
    contribution = trained.contributions(table, train)
    hidden = checks.agreement(contribution, checks.hiding_effects(trained, table, train, 0))
    missing = checks.agreement(contribution, checks.missing_effects(trained, table))
    strongest = np.argsort(-contribution, axis=1, kind="stable")[:, :N_STRONGEST]
    return {
        "hiding": hidden._asdict(),
        "missing": missing._asdict(),
        "strongest": ["".join(chr(ord("A") + t) for t in sorted(row)) for row in strongest.tolist()],
    }


def report(file: Path, folder: Path, command: str) -> None:
    """Write the tables of the lines there are."""
    lines = read_lines(file)
    rows = []
    for epochs in sorted({line["epochs"] for line in lines}):
        for form in FORMS:
            mine = [line for line in lines if line["form"] == form and line["epochs"] == epochs]
            if mine:
                rows.append(_row(form, epochs, mine))
    said = ", ".join(f"{name} {version(name)}" for name in ("ddcl-tab", "torch", "numpy", "polars"))
    parts = [
        "# Forms of the readout",
        f"Made by `{command}` (python {platform.python_version()}, {said}).",
        *([f"{SYNTHETIC_NOTE}. Small networks: this shows that the command works, nothing else."] * _is_short(lines)),
        "Mean ± standard deviation over folds and seeds. Agreement: share of the test objects of a fold to which two "
        "seeds give the same class; of columns, the mean share of the three strongest contributions that two seeds "
        "have in common. Hiding: Spearman's correlation, over all rows and columns, of exact contributions with what "
        "hiding a column does to the log-odds of the class against the runner-up (values of 16 other rows).",
        as_markdown(pl.DataFrame(rows)),
        "## Fold by fold",
        as_markdown(pl.DataFrame(_fold_rows(lines))),
        "Token form: `DDCLClassifier`. Row form: a class token quantised by 32 prototypes. Two levels: column tokens "
        "as in the token form, then the mean of their mixtures by 32 prototypes of rows, at the same relative "
        "temperature and with a quantisation loss of the same weight in units of it. Contributions of columns are "
        "exact in the token form alone.",
    ]
    (folder / REPORT).write_text("\n\n".join(parts) + "\n")


def _is_short(lines: list[dict[str, Any]]) -> bool:
    return any(line["short"] for line in lines)


def _row(form: str, epochs: int, lines: list[dict[str, Any]]) -> dict[str, str]:
    pairs = [(a, b) for a, b in combinations(lines, 2) if a["fold"] == b["fold"] and len(a["said"]) == len(b["said"])]
    explained_lines = [line for line in lines if "hiding" in line]
    return {
        "form": form,
        "epochs": str(epochs),
        "fits": str(len(lines)),
        **{title: mean_std(line[name] for line in lines) for name, title in FIGURES.items()},
        "agreement": mean_std(_same(a["said"], b["said"]) for a, b in pairs),
        "of columns": mean_std(_shared(a["strongest"], b["strongest"]) for a, b in pairs if "strongest" in a),
        "hiding": mean_std(line["hiding"]["pooled"] for line in explained_lines),
        "in a row": mean_std(line["hiding"]["per_row"] for line in explained_lines),
        "set to missing": mean_std(line["missing"]["pooled"] for line in explained_lines),
        "effective prototypes": mean_std((line["effective_prototypes"] for line in lines), digits=2),
        "minutes": mean_std((line["seconds"] / 60 for line in lines), digits=1),
    }


def _fold_rows(lines: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {name: str(line[name]) for name in _KEY} | {title: f"{line[name]:.3f}" for name, title in FIGURES.items()}
        for line in sorted(lines, key=lambda line: (line["epochs"], line["fold"], line["seed"], line["form"]))
    ]


def _same(one: str, other: str) -> float:
    """Share of the places at which two texts have the same letter.

    Examples
    --------
    >>> _same("abca", "abcb")
    0.75
    """
    return float(np.mean([a == b for a, b in zip(one, other, strict=True)]))


def _shared(one: list[str], other: list[str]) -> float:
    """Mean share of letters that two lists of texts have in common, text by text.

    Examples
    --------
    >>> _shared(["ABC", "ADE"], ["ABD", "ADE"])
    0.8333333333333334
    """
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(one, other, strict=True)]))


def main(arguments: list[str] | None = None) -> None:
    """Train, then report."""
    arguments_of = parser(__doc__)
    arguments_of.add_argument("--epochs", type=int, default=15, help="of every fit; lines of other numbers stay")
    run(__file__, "forms", arguments_of.parse_args(arguments), compute, report, quiet=(StabilityWarning,))


if __name__ == "__main__":
    main()
