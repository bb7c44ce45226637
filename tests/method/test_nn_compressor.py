"""The compressor: exact terms at every level, masks, order, linear cost, codes, failures."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.nn._compressor import HierarchicalCompressor


def tree(seed: int = 0) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """600 tokens about 6 centres, in 60 segments of uneven length, in 10 documents."""
    generator = torch.Generator().manual_seed(seed)
    segment = torch.randint(60, (600,), generator=generator).sort().values
    document = torch.arange(60) % 10
    centres = 3 * torch.randn(6, 5, generator=generator)
    topic = (document[segment] + torch.randint(2, (600,), generator=generator)) % 6
    return centres[topic] + 0.1 * torch.randn(600, 5, generator=generator), [segment, document]


@pytest.fixture(scope="module")
def learned() -> HierarchicalCompressor:
    torch.manual_seed(0)
    return HierarchicalCompressor(5, [6, 4]).learn(*tree(), steps=150, batch_size=256)


def test_every_level_is_sound_and_exact(learned):
    for certificate in learned.certify(*tree()):
        assert certificate.terms.residual < 1e-12
        assert certificate.sound
        assert 0 < certificate.temperature < certificate.critical_temperature


def test_untrained_prototypes_are_not_sound():
    torch.manual_seed(0)
    hot = HierarchicalCompressor(5, [6, 4])
    tokens, parents = tree()
    assert not all(level.sound for level in hot.certify(1e-3 * tokens, parents))


def test_shares_and_tokens_are_the_mean_over_children(learned):
    tokens, parents = tree()
    segments, documents = learned(tokens, parents)
    torch.testing.assert_close(segments.shares.sum(1), segments.keep.float())
    q = torch.softmax(
        -torch.cdist(tokens, learned.codebooks[0].codebook).square() / learned.codebooks[0].absolute_temperature, -1
    )
    mine = parents[0] == parents[0][0]
    torch.testing.assert_close(segments.shares[parents[0][0]], q[mine].mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(segments.tokens, segments.shares @ learned.codebooks[0].codebook)
    assert documents.tokens.shape == (10, 5)


def test_residuals_are_what_the_mixture_lacks_of_the_mean(learned, monkeypatch):
    tokens, parents = tree()
    segments, documents = learned(tokens, parents)
    mask = torch.arange(600) % 7 > 0
    for left, level, z, parent in zip(
        learned.residuals(tokens, parents), (segments, documents), (tokens, segments.tokens), parents, strict=True
    ):
        n = len(level.tokens)
        assert left.shape == (n, level.shares.shape[1], 5)
        count = torch.bincount(parent, minlength=n).clamp_min(1).unsqueeze(1)
        mean = torch.zeros(n, 5).index_add(0, parent, z) / count
        torch.testing.assert_close(level.tokens + left.sum(1), mean, atol=1e-5, rtol=1e-5)
    broken = tokens.masked_fill(~mask.unsqueeze(1), torch.nan)
    masked = learned.residuals(broken, parents, mask)
    torch.testing.assert_close(masked, learned.residuals(tokens, parents, mask))
    monkeypatch.setattr("ddcl_tab.nn._compressor.CHUNK", 7)
    torch.testing.assert_close(learned.residuals(tokens, parents, mask), masked, atol=1e-5, rtol=1e-5)


def test_order_of_tokens_does_not_matter(learned):
    tokens, parents = tree()
    order = torch.randperm(600, generator=torch.Generator().manual_seed(1))
    for one, two in zip(learned(tokens, parents), learned(tokens[order], [parents[0][order], parents[1]]), strict=True):
        torch.testing.assert_close(one.tokens, two.tokens, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(one.loss, two.loss)


def test_chunks_change_nothing(learned, monkeypatch):
    whole = learned(*tree())
    monkeypatch.setattr("ddcl_tab.nn._compressor.CHUNK", 7)
    for one, two in zip(whole, learned(*tree()), strict=True):
        torch.testing.assert_close(one.tokens, two.tokens)
        torch.testing.assert_close(one.loss, two.loss)


def test_masked_tokens_change_nothing(learned):
    tokens, parents = tree()
    mask = torch.rand(600, generator=torch.Generator().manual_seed(2)) < 0.7
    mask[parents[0] == 3] = False  # a whole segment
    noise = torch.where(mask.unsqueeze(1), tokens, torch.nan)
    bare = learned(tokens[mask], [parents[0][mask], parents[1]])
    for one, two in zip(bare, learned(noise, parents, mask), strict=True):
        torch.testing.assert_close(one.tokens, two.tokens)
        torch.testing.assert_close(one.loss, two.loss)
        assert one.keep.equal(two.keep)
    codes = learned.compress(noise, parents, mask).codes
    assert (codes[0][~mask] == -1).all()
    assert codes[1][3] == -1
    assert (codes[0][mask] >= 0).all()


def test_an_empty_document_is_no_node(learned):
    tokens, parents = tree()
    mask = parents[1][parents[0]] != 9
    _, documents = learned(tokens, parents, mask)
    assert documents.keep.tolist() == [True] * 9 + [False]
    assert (documents.tokens[9] == 0).all()


def test_codes_and_ratio(learned):
    tokens, parents = tree()
    compressed = learned.compress(tokens, parents)
    nearest = torch.cdist(tokens, learned.codebooks[0].codebook).argmin(1)
    assert compressed.codes[0].equal(nearest)
    assert compressed.ratios[0] == pytest.approx(32 * 5 / 2.5849625)
    assert compressed.ratios[1] == pytest.approx(600 * 32 * 5 / (60 * 2))


def test_measuring_changes_nothing(learned):
    tokens, parents = tree()
    learned.train()
    before = {name: value.clone() for name, value in learned.state_dict().items()}
    random = torch.get_rng_state()
    learned.compress(tokens, parents)
    learned.certify(tokens, parents)
    learned.residuals(tokens, parents)
    assert torch.get_rng_state().equal(random)
    assert all(module.training for module in learned.modules())
    assert all(value.equal(before[name]) for name, value in learned.state_dict().items())
    learned.eval()


def test_gradient_reaches_the_tokens(learned):
    tokens, parents = tree()
    tokens.requires_grad_()
    sum(level.loss for level in learned(tokens, parents)).backward()
    assert torch.isfinite(tokens.grad).all()
    assert (tokens.grad != 0).any()


def test_same_seed_same_bits():
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(HierarchicalCompressor(5, [6, 4]).learn(*tree(), steps=20))
    assert all(a.equal(b) for a, b in zip(*(m.state_dict().values() for m in models), strict=True))


def test_one_flat_level():
    torch.manual_seed(0)
    tokens, parents = tree()
    (summary,) = HierarchicalCompressor(5, [3])(tokens, parents[:1])
    assert summary.shares.shape == (int(parents[0].max()) + 1, 3)


FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("tokens_in", FLOATS)
@pytest.mark.parametrize("cast_to", FLOATS)
def test_every_precision_reads_as_float32_does(learned, cast_to, tokens_in):
    tokens, parents = tree()
    x = tokens.to(tokens_in)
    model = copy.deepcopy(learned).to(cast_to)
    tracked = x.clone().requires_grad_()
    summaries = model(tracked, parents)
    exact = cast_to == torch.float64
    for one, two in zip(summaries, learned(x.float(), parents), strict=True):
        assert one.tokens.dtype == one.shares.dtype == tokens_in
        assert one.loss.dtype == (torch.float64 if exact else torch.float32)
        step = torch.finfo(tokens_in).eps if tokens_in in FLOATS[:2] else 1e-5
        for mine, other in ((one.tokens, two.tokens), (one.shares, two.shares), (one.loss, two.loss)):
            torch.testing.assert_close(mine.float(), other, rtol=step, atol=max(1e-5, step * 1e-2))
    sum(level.loss for level in summaries).backward()
    assert tracked.grad.dtype == tokens_in
    assert tracked.grad.isfinite().all()
    assert tracked.grad.any()
    for mine, other in zip(model.compress(x, parents).codes, learned.compress(x.float(), parents).codes, strict=True):
        assert mine.equal(other)
    for mine, other in zip(model.residuals(x, parents), learned.residuals(x.float(), parents), strict=True):
        assert mine.dtype == tokens_in
        torch.testing.assert_close(mine.float(), other, rtol=1e-2, atol=1e-3)
    for mine, other in zip(model.certify(x, parents), learned.certify(x.float(), parents), strict=True):
        assert mine.sound
        assert mine.terms.residual < 1e-9
        assert mine.critical_temperature == pytest.approx(other.critical_temperature, rel=1e-5)


@pytest.mark.parametrize("dtype", FLOATS)
def test_learning_in_every_precision(dtype):
    tokens, parents = tree()
    models = []
    for cast_to, x in ((dtype, tokens.to(dtype)), (torch.float32, tokens.to(dtype).float())):
        torch.manual_seed(0)
        models.append(HierarchicalCompressor(5, [6, 4]).to(cast_to).learn(x, parents, steps=60, batch_size=256))
    for one, two in zip(*(model.codebooks for model in models), strict=True):
        assert one.codebook.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(one.codebook.float(), two.codebook, rtol=1e-3, atol=1e-3)
    again = HierarchicalCompressor(5, [6, 4]).to(dtype)
    again.load_state_dict(models[0].state_dict())
    x = tokens.to(dtype)
    assert all(
        a.equal(b) for a, b in zip(again.compress(x, parents).codes, models[0].compress(x, parents).codes, strict=True)
    )


@pytest.mark.parametrize("dtype", FLOATS[:2])
def test_autocast_changes_no_bit(learned, dtype):
    tokens, parents = tree()
    model = copy.deepcopy(learned)
    with torch.autocast("cpu", dtype=dtype):
        summaries, left = model(tokens, parents), model.residuals(tokens, parents)
        codes, certificates = model.compress(tokens, parents).codes, model.certify(tokens, parents)
        torch.manual_seed(0)
        taught = HierarchicalCompressor(5, [6, 4]).learn(tokens, parents, steps=20)
    for one, two in zip(summaries, model(tokens, parents), strict=True):
        assert all(a.equal(b) for a, b in zip(one, two, strict=True))
    assert all(a.equal(b) for a, b in zip(left, model.residuals(tokens, parents), strict=True))
    assert all(a.equal(b) for a, b in zip(codes, model.compress(tokens, parents).codes, strict=True))
    assert certificates == model.certify(tokens, parents)
    torch.manual_seed(0)
    outside = HierarchicalCompressor(5, [6, 4]).learn(tokens, parents, steps=20)
    assert all(a.equal(b) for a, b in zip(taught.state_dict().values(), outside.state_dict().values(), strict=True))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32"])
def test_parents_of_any_integer_type(learned, dtype):
    tokens, parents = tree()
    narrow = [parent.to(getattr(torch, dtype)) for parent in parents]
    for one, two in zip(learned(tokens, narrow), learned(tokens, parents), strict=True):
        assert one.tokens.equal(two.tokens)
    assert learned.certify(tokens, narrow) == learned.certify(tokens, parents)
    assert learned.residuals(tokens, narrow)[1].equal(learned.residuals(tokens, parents)[1])
    assert learned.compress(tokens, narrow).codes[0].equal(learned.compress(tokens, parents).codes[0])
    copy.deepcopy(learned).learn(tokens, narrow, steps=1)
    too_few = [narrow[0], narrow[1][:59]]
    with pytest.raises(InputError, match=r"parents\[0\] must lie from 0 to 58.* got 0 to 59"):
        learned.certify(tokens, too_few)


def test_nothing_that_counts_is_nothing_to_certify_or_learn(learned):
    tokens, parents = tree()
    nothing = torch.zeros(600, dtype=torch.bool)
    before = {name: value.clone() for name, value in learned.state_dict().items()}
    with pytest.raises(InputError, match="none of 600 tokens counts: there is nothing to certify"):
        learned.certify(tokens, parents, nothing)
    with pytest.raises(InputError, match="none of 600 tokens counts: there is nothing to learn from"):
        learned.learn(tokens, parents, nothing)
    with pytest.raises(InputError, match="none of 0 tokens counts"):
        learned.certify(tokens[:0], [parents[0][:0], parents[1]])
    assert all(value.equal(before[name]) for name, value in learned.state_dict().items())
    assert not learned(tokens, parents, nothing)[0].keep.any()  # reading nothing out is no error


@pytest.mark.parametrize(
    ("dtype", "size", "said"), [(torch.float32, -1e20, r"1e\+20"), (torch.bfloat16, 3e38, r"3e\+38")]
)
def test_huge_tokens_are_refused_and_change_nothing(learned, dtype, size, said):
    tokens, parents = tree()
    tokens = tokens.to(dtype)
    bad = tokens.clone()
    bad[5, 1] = size
    before = {name: value.clone() for name, value in learned.state_dict().items()}
    for call in (learned, learned.learn, learned.compress, learned.certify, learned.residuals):
        with pytest.raises(InputError, match=rf"1 tokens are larger than 1.8e\+11.*first at \[5\].*reaches {said}"):
            call(bad, parents)
    torch.manual_seed(0)
    fresh = HierarchicalCompressor(5, [6, 4])
    untouched = copy.deepcopy(fresh.state_dict())
    with pytest.raises(InputError, match="larger than"):
        fresh.learn(bad, parents)
    assert fresh.training
    assert all(value.equal(untouched[name]) for name, value in fresh.state_dict().items())
    assert all(value.equal(before[name]) for name, value in learned.state_dict().items())
    mask = torch.arange(600) != 5
    assert learned(bad, parents, mask)[0].tokens.equal(learned(tokens, parents, mask)[0].tokens)


def test_summaries_of_the_largest_halves_stay_finite():
    """Prototypes beside 65,504, and what is left over between both ends of float16, are beyond what it can say."""
    largest = torch.finfo(torch.float16).max
    tokens = torch.full((60, 8), largest).half()
    tokens[::2] = -largest
    parents = [torch.arange(60) % 10, torch.arange(10) % 5]
    torch.manual_seed(5)
    compressor = HierarchicalCompressor(8, [6, 3]).learn(tokens, parents, steps=1)
    summary = compressor(tokens, parents)[0].tokens
    assert torch.isfinite(summary).all()
    assert summary.abs().max() == largest
    assert all(torch.isfinite(left).all() for left in compressor.residuals(tokens, parents))


def above_int64(numbers: torch.Tensor) -> torch.Tensor:
    return torch.tensor([2**63 + 5] * len(numbers), dtype=torch.uint64)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t, p: (t[:, :3], p, None), r"shape \(N, 5\), got \(600, 3\)"),
        (lambda t, p: (t, p[:1], None), "each of 2 levels, got 1"),
        (lambda t, p: (t, [p[0][:5], p[1]], None), r"parents\[0\] must have shape \(600,\), got \(5,\)"),
        (lambda t, p: (t, [p[0] + 1, p[1]], None), r"parents\[0\] must lie from 0 to 59.*got 1 to 60"),
        (lambda t, p: (t, [p[0].float(), p[1]], None), "must be integers"),
        (lambda t, p: (t, [p[0], p[1].to(torch.complex64)], None), r"parents\[1\] must be integers .* torch.complex64"),
        (lambda t, p: (t, [p[0] > 3, p[1]], None), r"parents\[0\] must be integers .* torch.bool"),
        (lambda t, p: (t, [p[0].tolist(), p[1]], None), r"parents\[0\] must be integers in a tensor, got list"),
        (lambda t, p: (t, [p[0].view(60, 10), p[1]], None), r"parents\[0\] must have shape \(n,\), got \(60, 10\)"),
        (lambda t, p: (t, [p[0], p[1] - 1], None), r"parents\[1\] must lie from 0 to 8.*got -1 to 8"),
        (lambda t, p: (t, [p[0].to(torch.int8) - 1, p[1]], None), "got -1 to 58"),
        (lambda t, p: (t, [p[0], p[1] + 10**12], None), r"parents\[1\] must number its parents from 0.*torch.unique"),
        (lambda t, p: (t, [p[0], above_int64(p[1])], None), rf"parents\[1\] must be below .* got {2**63 + 5}"),
        (lambda t, p: (t, [p[0], p[1] * 0 - 3], None), r"parents\[1\] must count from 0, got -3 to -3"),
        (lambda t, p: (t, None, None), "parents must be a list of one tensor for each of 2 levels, got a NoneType"),
        (lambda t, p: (t, torch.stack([p[0], p[0]]), None), "parents must be a list of one tensor .* got a Tensor"),
        (lambda t, p: (t.long(), p, None), "tokens must be .* got torch.int64"),
        (lambda t, p: (t.to(torch.complex64), p, None), "tokens must be .* got torch.complex64"),
        (lambda t, p: (t, p, torch.ones(600)), "mask must be a bool tensor"),
        (lambda t, p: (t, p, torch.ones(5, dtype=torch.bool)), r"shape \(600,\), got torch.bool of \(5,\)"),
        (lambda t, p: (t, p, [True] * 600), "mask must be a bool tensor .* got list"),
        (lambda t, p: (t / 0.0, p, None), "600 tokens are NaN or infinite"),
    ],
)
def test_wrong_input(learned, change, said):
    tokens, parents, mask = change(*tree())
    with pytest.raises(InputError, match=said):
        learned(tokens, parents, mask)


def test_wrong_settings():
    with pytest.raises(ConfigurationError, match="at least one number"):
        HierarchicalCompressor(5, [])
    with pytest.raises(ConfigurationError, match="codebook_size must be at least 1, got 0"):
        HierarchicalCompressor(5, [4, 0])
    with pytest.raises(ConfigurationError, match="levels must be a list of numbers of prototypes, got 5"):
        HierarchicalCompressor(5, 5)
    assert len(HierarchicalCompressor(5, np.array([6, 4])).codebooks) == 2
    for settings in ({"steps": -1}, {"batch_size": 0}, {"steps": "5"}, {"batch_size": 2.5}):
        with pytest.raises(ConfigurationError, match="steps must not be negative and batch_size at least 1, got"):
            HierarchicalCompressor(5, [6, 4]).learn(*tree(), **settings)
