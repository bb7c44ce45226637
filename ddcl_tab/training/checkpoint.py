"""Checkpoint of a training: one file, replaced after every epoch, from which a killed training goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback

from ddcl_tab.atomic import remove_leftovers
from ddcl_tab.errors import CheckpointError, WriteError
from ddcl_tab.persistence import CHECKPOINT, plain, read_model, write_model
from ddcl_tab.training.interrupts import Interrupts
from ddcl_tab.training.snapshot import Parts, Snapshot, restore_snapshot, take_snapshot


class CheckpointFile:
    """Where a training keeps its checkpoint, and whether it goes on with the one that is there.

    Parameters
    ----------
    path : path
        Its folder exists; one training at a time uses it.
    resume : bool, default=False
        Go on with the checkpoint there; without one, begin.

    Raises
    ------
    CheckpointError
        ``resume`` and the file there is no whole checkpoint of this version.

    Examples
    --------
    >>> CheckpointFile("nowhere/checkpoint.ddcl", resume=True).epoch
    0
    """

    def __init__(self, path: str | os.PathLike[str], *, resume: bool = False) -> None:
        self.path = Path(path)
        self.fingerprint: dict[str, str] = {}
        self._earlier: Snapshot | None = None
        self._made_for: dict[str, str] = {}
        self._is_ours = False
        if resume and self.path.exists():
            self._earlier, self._made_for = self._read()
            self._is_ours = True

    @property
    def epoch(self) -> int:
        """Epochs done that training goes on after."""
        return 0 if self._earlier is None else self._earlier.epoch

    @property
    def is_ours(self) -> bool:
        """Whether the file there is a checkpoint of this training, not one that it has yet to replace."""
        return self._is_ours

    @property
    def earlier(self) -> Snapshot | None:
        """State to go on with."""
        return self._earlier

    def identify(self, fingerprint: dict[str, str]) -> None:
        """Say what is going to be trained.

        Parameters
        ----------
        fingerprint : dict of str
            All that decides what training gives, by the names that a user knows.

        Raises
        ------
        CheckpointError
            The checkpoint to go on with was made for something else; says what differs.
        """
        self.fingerprint = fingerprint
        if self._earlier is None or self._made_for == fingerprint:
            return
        names = [n for n in fingerprint | self._made_for if fingerprint.get(n) != self._made_for.get(n)]
        differs = "; ".join(f"{n} was {self._made_for.get(n)}, is {fingerprint.get(n)}" for n in names)
        raise CheckpointError(
            f"{self.path}: made for another training ({differs}). Give the same catalog and settings with the same "
            "versions, or train without --resume, which replaces it."
        )

    def write(self, snapshot: Snapshot) -> None:
        """Replace the file.

        Raises
        ------
        WriteError
            The disk is full, for example; the earlier checkpoint is whole.
        """
        state = {"fingerprint": self.fingerprint, "training": plain(snapshot.plain)}
        try:
            write_model(self.path, state, {n: t.numpy() for n, t in snapshot.tensors.items()}, CHECKPOINT)
        except WriteError as error:
            kept = "Then go on from the last checkpoint with --resume." if self._is_ours else "No epoch is saved."
            raise WriteError(f"training ends after epoch {snapshot.epoch}: {error} {kept}") from error
        self._is_ours = True

    def remove(self) -> None:
        """Remove it, with what killed writers left beside it: the training is finished."""
        self.path.unlink(missing_ok=True)
        remove_leftovers(self.path)

    def _read(self) -> tuple[Snapshot, dict[str, str]]:
        state, weights, _ = read_model(self.path, CHECKPOINT)
        tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
        return Snapshot(state["training"], tensors), state["fingerprint"]


class Checkpoint(Callback):
    """Write a checkpoint after every epoch; begin from the one that is there.

    Parameters
    ----------
    file : CheckpointFile
    parts : Parts
        Of the training.
    """

    def __init__(self, file: CheckpointFile, parts: Parts) -> None:
        self.file, self.parts, self.interrupts = file, parts, Interrupts()
        self.snapshot_: Snapshot | None = None

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Go on where the earlier training was; the parts have begun before."""
        remove_leftovers(self.file.path)
        self.snapshot_ = self.file.earlier
        if self.snapshot_ is not None:
            self.rewind(net)

    def on_epoch_end(self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Keep the state of this epoch, in memory and in the file."""
        self.snapshot_ = take_snapshot(net, self.parts)
        self.file.write(self.snapshot_)

    def on_batch_end(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Let a SIGINT through, now that the step is done."""
        self.interrupts.check()

    def rewind(self, net: NeuralNet) -> None:
        """Bring the net back to the end of the last whole epoch."""
        if self.snapshot_ is not None:
            restore_snapshot(net, self.parts, self.snapshot_)
