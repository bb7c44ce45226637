"""Layers over the ranks of a process group: two processes with data of their own learn one codebook.

Two processes are started once for all tests here; each runs every scenario and hands back what it saw.
"""

from __future__ import annotations

import copy
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from ddcl_tab.errors import InputError
from ddcl_tab.nn import _ranks as ranks
from ddcl_tab.nn._codebook import DDCLCodebook
from ddcl_tab.nn._compressor import HierarchicalCompressor

#: Seconds after which a rank that waits for the other gives up, and the test with it.
PATIENCE = 60


def batches(rank: int, steps: int, spread: float = 1.0) -> list[Tensor]:
    """Tokens about the four of eight far centres that belong to a rank; the ranks' batches differ in size."""
    generator = torch.Generator().manual_seed(0)
    own = 6.0 * torch.randn(2, 4, 5, generator=generator)[rank]
    generator.manual_seed(1 + rank)
    n = 48 + 32 * rank
    return [own[torch.arange(n) % 4] + spread * torch.randn(n, 5, generator=generator) for _ in range(steps)]


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def message(call: Any) -> str:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def learn(rank: int) -> Any:
    torch.manual_seed(rank)  # other codes and another seed for draws at the start
    codebook = DDCLCodebook(5, 16)
    for x in batches(rank, 45):
        codebook(x)
    return state(codebook)


def revive(rank: int) -> Any:
    torch.manual_seed(0)
    codebook = DDCLCodebook(5, 8)
    for _ in range(2):
        codebook(torch.full((6, 5), 0.5))  # all codes in one place; then they must find all centres of both ranks
    for x in batches(rank, 90, spread=0.1):
        codebook(x)
    return state(codebook)


def revive_what_one_rank_uses(rank: int) -> Any:
    """Codes that are dead among one rank's tokens and in use among the other's are not dead."""
    torch.manual_seed(0)
    codebook = DDCLCodebook(5, 8)
    before = None
    for step, x in enumerate(batches(rank, 65)):
        codebook(x)
        if step == 59:
            before = codebook.codebook.clone()
    return before, codebook.codebook.clone()


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.codebook = nn.Linear(5, 5), DDCLCodebook(5, 8, codebook_dim=3)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.codebook(self.encoder(x), mask)


def wrapped(rank: int) -> Any:
    torch.manual_seed(rank)
    model = DistributedDataParallel(Model())
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for step, x in enumerate(batches(rank, 22)):
        mask = torch.full((len(x),), not (rank and step % 3 == 0))  # at times one rank's batch is all padding
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=step % 2 == 0):
            quantized, _, loss = model(x, mask)
        (quantized.float() - x).square().mean().add(loss).backward()
        optimizer.step()
    return state(model.module)


def nothing_on_any_rank(rank: int) -> Any:
    torch.manual_seed(0)
    codebook = DDCLCodebook(5, 8)
    before = state(codebook)
    codebook(torch.ones(3, 5), torch.zeros(3, dtype=torch.bool))
    return before, state(codebook)


def unusable(rank: int) -> Any:
    torch.manual_seed(0)
    codebook = DDCLCodebook(5, 8)
    seen = []
    for x in batches(rank, 3):
        before = state(codebook)
        for bad in (x * 1e20, x.long(), x[:, :3], x / 0.0, x.numpy()):
            seen.append(message(lambda bad=bad: codebook(bad if rank else x)))  # noqa: B023
        seen.append(all(value.equal(before[name]) for name, value in codebook.state_dict().items()))
        codebook(x)  # and then it goes on
    return seen, state(codebook)


def evaluate_on_one(rank: int) -> Any:
    torch.manual_seed(0)
    codebook = DDCLCodebook(5, 8)
    x = batches(rank, 1)[0]
    codebook(x)
    before = state(codebook)
    if not rank:
        codebook.eval()(x)
        codebook.terms(x)
        codebook.nearest(x)
        HierarchicalCompressor(5, [4]).certify(x, [torch.arange(len(x)) // 4])
    return before, state(codebook)


def other_states(rank: int) -> Any:
    """Rank 0 goes on from a file, and rank 1 does not."""
    torch.manual_seed(rank)
    codebook = DDCLCodebook(5, 8)
    if not rank:
        codebook.load_state_dict({k: v + 3 if k == "_steps" else v for k, v in codebook.state_dict().items()})
    codebook(batches(rank, 1)[0])
    return state(codebook)


def place_on_a_sample(rank: int) -> Any:
    usual, ranks.GATHERED = ranks.GATHERED, 40
    torch.manual_seed(0)
    codebook = DDCLCodebook(5, 8)
    for x in batches(rank, 60, spread=0.1):
        codebook(x)
    ranks.GATHERED = usual
    return state(codebook)


def tree(rank: int) -> tuple[Tensor, list[Tensor]]:
    tokens = batches(rank, 1)[0]
    segments = torch.arange(len(tokens)) // 4
    return tokens, [segments, torch.arange(int(segments.max()) + 1) // 5]


def compressor(rank: int) -> Any:
    tokens, parents = tree(rank)
    result = []
    for mask in (None, torch.full((len(tokens),), not rank)):
        torch.manual_seed(rank)
        model = HierarchicalCompressor(5, [8, 4]).learn(tokens, parents, mask, steps=15, batch_size=32)
        result.append(state(model))
    nothing, bad = torch.zeros(len(tokens), dtype=torch.bool), tokens * (1e20 if rank else 1.0)
    said = [message(lambda: model.learn(tokens, parents, nothing)), message(lambda: model.learn(bad, parents))]
    return result, said, state(model)


SCENARIOS = (
    learn,
    revive,
    revive_what_one_rank_uses,
    wrapped,
    nothing_on_any_rank,
    unusable,
    evaluate_on_one,
    other_states,
    place_on_a_sample,
    compressor,
)


def join(folder: Path, rank: int, world: int) -> None:
    dist.init_process_group(
        "gloo", f"file://{folder / 'meet'}", timedelta(seconds=PATIENCE), world_size=world, rank=rank
    )


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    join(folder, rank, 2)
    torch.save({scenario.__name__: scenario(rank) for scenario in SCENARIOS}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> list[dict[str, Any]]:
    """What each of the two ranks saw."""
    folder = tmp_path_factory.mktemp("ranks")
    started = multiprocessing.spawn(work, (folder,), nprocs=2, join=False)
    try:
        deadline = time.monotonic() + 2 * PATIENCE
        while not started.join(timeout=1.0):  # true once all have ended; an error of one is raised here
            assert time.monotonic() < deadline, "the ranks hang"
    finally:
        for process in started.processes:
            process.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def assert_same(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert value.equal(two[name]), name


def both(steps: int) -> list[Tensor]:
    return [torch.cat(pair) for pair in zip(batches(0, steps), batches(1, steps), strict=True)]


def error_of(saved: dict[str, Tensor], tokens: Tensor) -> float:
    codebook = DDCLCodebook(5, len(saved["codebook"]))
    codebook.load_state_dict(saved)
    quantized, _, _ = codebook.eval()(tokens)
    return float((quantized - tokens).square().sum(-1).mean())


def test_two_ranks_learn_what_one_process_learns_from_both_parts(seen):
    one, two = (part["learn"] for part in seen)
    assert_same(one, two)
    torch.manual_seed(0)
    alone = DDCLCodebook(5, 16)
    for x in both(45):
        alone(x)
    held_out = torch.cat(both(50)[45:])
    assert error_of(one, held_out) == pytest.approx(error_of(alone.state_dict(), held_out), rel=0.03)
    torch.testing.assert_close(one["_usage"], alone._usage, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(one["error"], alone.error, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(one["_gap"], alone._gap, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("scenario", ["revive", "place_on_a_sample"])
def test_codes_find_the_centres_of_both_ranks(seen, scenario):
    one, two = (part[scenario] for part in seen)
    assert_same(one, two)
    tokens = torch.cat([batches(rank, 1, spread=0.1)[0] for rank in range(2)])
    assert error_of(one, tokens) < 0.1  # 5 axes of spread 0.1: a centre without a code would show


def test_a_code_that_one_rank_uses_is_not_dead(seen):
    (before, after), (other_before, other_after) = (part["revive_what_one_rank_uses"] for part in seen)
    assert before.equal(other_before)
    assert after.equal(other_after)
    assert (after - before).norm(dim=1).max() < 1.0  # the centres are 6 apart: a code that was moved would stand out


def test_under_distributed_data_parallel(seen):
    one, two = (part["wrapped"] for part in seen)
    assert_same(one, two)
    assert all(value.isfinite().all() for value in one.values())
    assert one["codebook._steps"] == 22


def test_a_step_without_tokens_on_any_rank_changes_nothing(seen):
    for part in seen:
        assert_same(*part["nothing_on_any_rank"])


def test_a_batch_that_one_rank_cannot_use_is_an_error_on_both(seen):
    (first, one), (second, two) = (part["unusable"] for part in seen)
    assert_same(one, two)
    assert one["_steps"] == 3
    own = ["larger than 1.8e+11", "got torch.int64", "must have shape", "NaN or infinite", "got ndarray"]
    for start in (0, 6, 12):
        assert first[start + 5] is second[start + 5] is True  # unchanged
        for heard, raised, said in zip(first[start:], second[start:], own, strict=False):
            assert heard.startswith("InputError: ranks [1] of 2 cannot use their batch")
            assert raised.startswith("InputError")
            assert said in raised


def test_evaluation_waits_for_nobody(seen):
    for part in seen:
        assert_same(*part["evaluate_on_one"])


def test_ranks_that_start_apart_take_over_the_state_of_the_first(seen):
    one, two = (part["other_states"] for part in seen)
    assert_same(one, two)
    assert one["_steps"] == 4


def test_compressors_learn_from_all_trees(seen):
    (one, first, kept), (two, second, other) = (part["compressor"] for part in seen)
    for mine, others in zip(one, two, strict=True):
        assert_same(mine, others)
    assert_same(kept, other)
    assert_same(kept, one[1])  # the two errors changed nothing
    assert first[0] == "InputError: none of 48 tokens counts: there is nothing to learn from."
    assert second[0] == first[0].replace("48", "80")
    assert "ranks [1] of 2" in first[1]
    assert "larger than" in second[1]
    for saved, parts in ((one[0], (0, 1)), (one[1], (0,))):
        alone = HierarchicalCompressor(5, [8, 4])
        alone.load_state_dict(saved)
        for rank in parts:
            tokens, parents = tree(rank)
            codes = alone.compress(tokens, parents).codes[0]
            error = (alone.codebooks[0].codebook[codes] - tokens).square().sum(-1).mean()
            assert error < 8  # 5 axes of variance 1, and few tokens


def test_a_group_of_one_is_as_no_group(tmp_path):
    torch.manual_seed(0)
    alone = DDCLCodebook(5, 8)
    grouped = copy.deepcopy(alone)
    join(tmp_path, 0, 1)
    try:
        for x in batches(0, 25):
            grouped(x)
        with pytest.raises(InputError, match="NaN or infinite"):
            grouped(torch.full((1, 5), torch.nan))
    finally:
        dist.destroy_process_group()
    for x in batches(0, 25):
        alone(x)
    assert_same(grouped.state_dict(), alone.state_dict())
