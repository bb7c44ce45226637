"""Trainings survive: killed, interrupted or out of disk they go on to the bits of one that was left alone."""

from __future__ import annotations

import importlib
import os
import pickle
import resource
import shutil
import signal
import threading
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ddcl_tab import DDCLClassifier
from ddcl_tab._files import CHECKPOINT, read_model, remove_leftovers, write_model, write_whole
from ddcl_tab.app._train import open_checkpoint
from ddcl_tab.cli import main
from ddcl_tab.errors import CheckpointError, DDCLTabError, WriteError
from ddcl_tab.training._checkpoint import CheckpointFile, Interrupts

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
SMALL = {"n_prototypes": 6, "d_token": 16, "n_heads": 2, "n_blocks": 1, "lr": 5e-3, "random_state": 0}
EPOCHS = 10


@pytest.fixture(scope="module")
def faults():
    """The module; pipelines/ is a folder of scripts, no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PIPELINES))
        yield importlib.import_module("faults")


# Real processes: five short trainings, about 20 seconds on an idle core, most of it imports and trees.


@pytest.fixture(scope="module")
def job(faults, tmp_path_factory):
    """A training with teacher and dropout, and the same one left alone in the folder ``whole``."""
    folder = tmp_path_factory.mktemp("survival")
    made = CliRunner().invoke(main, ["synth", "--rows", "1500", "--out", str(folder / "catalog.csv")])
    assert made.exit_code == 0, made.output
    config = {k: v for k, v in SMALL.items() if k != "random_state"} | {"max_epochs": EPOCHS, "dropout": 0.1}
    (folder / "c.toml").write_text("".join(f"{name} = {value}\n" for name, value in config.items()))
    job = faults.Job(folder / "catalog.csv", folder / "c.toml", folder / "whole")
    ended = faults.run(job, resume=False)
    assert ended.code == 0, ended.said
    assert not job.checkpoint.exists()
    return job


def test_interrupted_killed_and_out_of_disk_it_goes_on_to_the_same_bits(faults, job, tmp_path):
    # One story, since every process takes seconds to begin. The disk is a tmpfs where root may mount one, else there is
    # RLIMIT_FSIZE.
    whole, mount = job.out, faults.can_mount()
    disk = tmp_path / "disk"
    job = job._replace(out=disk / "run")
    with faults.small_disk(disk, 4 << 20) if mount else nullcontext():
        first = interrupt(faults, job, whole)
        killed = faults.run(job, resume=True, moment=faults.in_a_write(job, 3))
        assert killed.code == -signal.SIGKILL
        assert f"goes on after epoch {first}" in killed.said
        assert faults.epochs_saved(job) > first
        run_out_of_disk(faults, job, mount)
        ended = faults.run(job, resume=True)
        assert ended.code == 0, ended.said
        assert faults.differences(job.out, whole) == []
        assert sorted(p.name for p in job.out.iterdir()) == sorted(p.name for p in whole.iterdir())


def interrupt(faults, job, whole) -> int:
    """Begin and press Ctrl-C; result: epochs saved."""
    ended = faults.run(job, resume=False, sign=signal.SIGINT, moment=faults.after_checkpoints(job, 3))
    assert ended.code == 130, ended.said
    assert "the model of epoch" in ended.said.splitlines()[-1]
    assert "--resume" in ended.said.splitlines()[-1]
    model = DDCLClassifier.load(job.out / "model.ddcl")
    assert 3 <= model.n_iter_ < EPOCHS
    assert model.stability_.verdict.startswith("interrupted in epoch")
    assert faults.differences(job.out, whole) != []  # the comparison sees a model of another epoch
    return faults.epochs_saved(job)


def run_out_of_disk(faults, job, mount: bool) -> None:
    """Go on with half the room that a checkpoint takes."""
    remove_leftovers(job.checkpoint)  # of the kill before; they would be the filler
    before = job.checkpoint.read_bytes()
    with faults.full(job.out.parent, left=len(before) // 2) if mount else nullcontext():
        failed = faults.run(job, resume=True, max_file=None if mount else len(before) // 2)
    assert failed.code == 2, failed.said
    (line,) = [line for line in failed.said.splitlines() if line.startswith("Error: ")]
    assert "cannot be written" in line
    assert "go on from the last checkpoint with --resume" in line
    assert "Traceback" not in failed.said
    assert job.checkpoint.read_bytes() == before
    assert not faults.leftovers(job.out)


# In this process: what a checkpoint holds


@pytest.fixture(scope="module")
def rows(synthetic):
    return synthetic.sample(600, seed=2)


@pytest.fixture(autouse=True)
def _signals_as_in_a_terminal():
    """Shells have what they start in the background ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _no_warning_of_leaks():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "left out of the features")
        yield


class Copying(CheckpointFile):
    """Keeps the checkpoint of every epoch."""

    def write(self, snapshot):
        super().write(snapshot)
        shutil.copy(self.path, self.path.with_name(f"{snapshot.epoch}.ddcl"))


class Interrupting(CheckpointFile):
    """Has SIGINT come right after a checkpoint."""

    after = 0

    def write(self, snapshot):
        super().write(snapshot)
        if snapshot.epoch == self.after:
            signal.raise_signal(signal.SIGINT)


def same(left: DDCLClassifier, right: DDCLClassifier) -> bool:
    clock = ("dur", "certify_seconds")
    histories = [[{k: v for k, v in row.items() if k not in clock} for row in c.history_] for c in (left, right)]
    a, b = (c.network_.state_dict() for c in (left, right))
    np.testing.assert_equal(histories[0], histories[1])
    return all(a[name].equal(b[name]) for name in a) and left.stability_ == right.stability_


def fit_alone(rows, settings) -> DDCLClassifier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few epochs need not be sound
        return DDCLClassifier(**SMALL | settings).fit(rows)


def stopped_early(rows) -> dict[str, object]:
    """Settings of a training that stops early; which seed does differs from machine to machine, about half do."""
    for seed in range(12):
        settings = {"max_epochs": 12, "patience": 1, "lr": 0.1, "certify": False, "random_state": seed}
        if fit_alone(rows, settings).n_iter_ < 12:
            return settings
    raise AssertionError("none of twelve trainings at a far too large learning rate stopped early")


@pytest.mark.parametrize(
    "settings",
    [{"max_epochs": 5, "dropout": 0.1}, {"max_epochs": 6, "certify": "end", "validation_fraction": 0.0}, stopped_early],
    ids=["dropout", "certified at the end", "early stop"],
)
def test_from_every_checkpoint_the_same_bits_follow(rows, tmp_path, settings):
    settings = settings(rows) if callable(settings) else settings
    clf, whole = DDCLClassifier(**SMALL | settings), fit_alone(rows, settings)
    clf.fit_with_checkpoint(rows, checkpoint=Copying(tmp_path / "c.ddcl"))
    assert same(clf, whole)
    saved = sorted(int(p.stem) for p in tmp_path.glob("[0-9]*.ddcl"))
    assert len(saved) >= whole.n_iter_ - 1  # the epoch in which training stops early needs none
    for epoch in saved:
        resumed = DDCLClassifier(**SMALL | settings)
        resumed.fit_with_checkpoint(rows, checkpoint=CheckpointFile(tmp_path / f"{epoch}.ddcl", resume=True))
        assert same(resumed, whole)


def test_a_resumed_training_does_not_train_again(rows, tmp_path):
    clf = DDCLClassifier(**SMALL, max_epochs=4)
    clf.fit_with_checkpoint(rows, checkpoint=Copying(tmp_path / "c.ddcl"))
    again = DDCLClassifier(**SMALL, max_epochs=4)
    again.fit_with_checkpoint(rows, checkpoint=Copying(tmp_path / "3.ddcl", resume=True))
    assert [a["dur"] == b["dur"] for a, b in zip(clf.history_, again.history_, strict=True)] == [True] * 3 + [False]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"lr": 4e-3}, "lr was 0.005, is 0.004"),
        ({"random_state": 1}, "seed was"),
        ({"max_epochs": 3}, "max_epochs was 2"),
    ],
)
def test_other_settings_are_refused_by_name(rows, tmp_path, changed, words):
    DDCLClassifier(**SMALL, max_epochs=2).fit_with_checkpoint(rows, checkpoint=CheckpointFile(tmp_path / "c.ddcl"))
    other = DDCLClassifier(**SMALL | {"max_epochs": 2} | changed)
    with pytest.raises(CheckpointError, match=words) as error:
        other.fit_with_checkpoint(rows, checkpoint=CheckpointFile(tmp_path / "c.ddcl", resume=True))
    assert str(error.value).count(" was ") == 1


def test_other_rows_and_versions_are_refused_by_name(rows, tmp_path):
    DDCLClassifier(**SMALL, max_epochs=2).fit_with_checkpoint(rows, checkpoint=CheckpointFile(tmp_path / "c.ddcl"))
    with pytest.raises(CheckpointError, match="training rows was"):
        DDCLClassifier(**SMALL, max_epochs=2).fit_with_checkpoint(
            rows[1:], checkpoint=CheckpointFile(tmp_path / "c.ddcl", resume=True)
        )
    state, weights, _ = read_model(tmp_path / "c.ddcl", CHECKPOINT)
    state["fingerprint"]["version of torch"] = "1.0"
    write_model(tmp_path / "c.ddcl", state, weights, CHECKPOINT)
    with pytest.raises(CheckpointError, match=r"version of torch was 1\.0, is"):
        DDCLClassifier(**SMALL, max_epochs=2).fit_with_checkpoint(
            rows, checkpoint=CheckpointFile(tmp_path / "c.ddcl", resume=True)
        )


def test_damaged_and_foreign_files_are_no_checkpoints(rows, tmp_path):
    file = tmp_path / "c.ddcl"
    DDCLClassifier(**SMALL, max_epochs=1).fit_with_checkpoint(rows, checkpoint=CheckpointFile(file))
    content = file.read_bytes()
    half = len(content) // 2
    for damaged in (content[:half], content[:half] + b"x" + content[half + 1 :], pickle.dumps({"epoch": 1}), b""):
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"c\.ddcl"):
            CheckpointFile(file, resume=True)
    file.write_bytes(content)
    with pytest.raises(DDCLTabError, match="not say 'ddcl-tab model'"):
        DDCLClassifier.load(file)


# In this process: interruptions


def test_an_interrupt_ends_with_the_best_epoch_once_annealing_is_over(rows, tmp_path):
    file = Interrupting(tmp_path / "c.ddcl")
    file.after = 10
    clf = DDCLClassifier(**SMALL, max_epochs=12)
    clf.fit_with_checkpoint(rows, checkpoint=file)
    assert clf.n_iter_ == 10
    assert 8 < clf.best_epoch_ <= 10  # annealing takes 60 % of the epochs
    assert clf.stability_.verdict == "interrupted in epoch 11, before the training was done: not judged"
    assert not clf.stability_.is_stable
    clf.save(tmp_path / "model.ddcl")
    assert DDCLClassifier.load(tmp_path / "model.ddcl").stability_ == clf.stability_
    resumed, whole = DDCLClassifier(**SMALL, max_epochs=12), DDCLClassifier(**SMALL, max_epochs=12)
    resumed.fit_with_checkpoint(rows, checkpoint=CheckpointFile(tmp_path / "c.ddcl", resume=True))
    whole.fit_with_checkpoint(rows, checkpoint=None)
    assert same(resumed, whole)


def test_an_interrupt_during_annealing_keeps_the_last_whole_epoch(rows, tmp_path):
    file = Interrupting(tmp_path / "c.ddcl")
    file.after = 2
    clf = DDCLClassifier(**SMALL, max_epochs=12)
    clf.fit_with_checkpoint(rows, checkpoint=file)
    assert clf.best_epoch_ == clf.n_iter_ == 2
    _, saved, _ = read_model(tmp_path / "c.ddcl", CHECKPOINT)
    np.testing.assert_array_equal(clf.network_.head.weight.detach().numpy(), saved["network/head.weight"])


def test_an_interrupt_after_the_last_step_is_raised_on(rows, tmp_path):
    file = Interrupting(tmp_path / "c.ddcl")
    file.after = 3
    with pytest.raises(KeyboardInterrupt):
        DDCLClassifier(**SMALL, max_epochs=3).fit_with_checkpoint(rows, checkpoint=file)
    resumed, whole = DDCLClassifier(**SMALL, max_epochs=3), DDCLClassifier(**SMALL, max_epochs=3)
    resumed.fit_with_checkpoint(rows, checkpoint=CheckpointFile(tmp_path / "c.ddcl", resume=True))
    whole.fit_with_checkpoint(rows, checkpoint=None)
    assert same(resumed, whole)


def test_an_interrupt_in_a_destructor_is_not_lost_and_a_second_one_comes_at_once():
    class Struck:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    with Interrupts() as interrupts:
        Struck()
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        interrupts.check()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_python_an_interrupt_is_raised_on(rows):
    clf = DDCLClassifier(**SMALL, max_epochs=500, patience=500)
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        clf.fit(rows)
    timer.join()


def test_the_user_is_told_of_a_checkpoint_that_is_there(tmp_path):
    assert open_checkpoint(tmp_path, resume=False)[1] == ""
    assert "begins anew" in open_checkpoint(tmp_path, resume=True)[1]
    (tmp_path / "checkpoint.ddcl").write_bytes(b"")
    assert "is replaced; --resume would go on with it" in open_checkpoint(tmp_path, resume=False)[1]


# Files


def test_a_file_is_replaced_at_once_or_stays(tmp_path):
    file = tmp_path / "a.txt"
    write_whole(file, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(WriteError, match=r"a\.txt: cannot be written \(File too large\).*Free space"):
            write_whole(file, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
    write_whole(file, "new")
    assert file.read_text() == "new"


def test_a_missing_folder_is_an_error_of_ours(tmp_path):
    with pytest.raises(WriteError, match="No such file or directory"):
        write_whole(tmp_path / "absent" / "a.txt", "")


def test_links_stay_links_and_pipes_are_written_to(tmp_path):
    write_whole(tmp_path / "a.txt", "old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    write_whole(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "a.txt").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_whole(tmp_path / "pipe", "through")
    reader.join()
    assert read == ["through"]


def test_what_killed_writers_left_goes_and_nothing_else(tmp_path):
    for name in (".a.txt.0badf00d.tmp", ".b.txt.0badf00d.tmp", "a.txt"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path / "a.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".b.txt.0badf00d.tmp", "a.txt"]
