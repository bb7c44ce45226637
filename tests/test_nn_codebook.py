"""The codebook: call form, masks, learning, invariances, measures, failures."""

from __future__ import annotations

import copy

import pytest
import torch

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.nn import DDCLCodebook
from ddcl_tab.nn.quantization import critical_temperature, squared_distances


def blobs(n: int = 400, k: int = 8, dim: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """``n`` tokens about ``k`` far centres, spread 0.1."""
    generator = torch.Generator().manual_seed(seed)
    centres = 6.0 * torch.randn(k, dim, generator=generator)
    return centres[torch.arange(n) % k] + 0.1 * torch.randn(n, dim, generator=generator), centres


def learned(tokens: torch.Tensor, size: int, steps: int = 200, seed: int = 0) -> DDCLCodebook:
    torch.manual_seed(seed)
    codebook = DDCLCodebook(tokens.shape[-1], size)
    for _ in range(steps):
        codebook(tokens)
    return codebook


@pytest.mark.parametrize("shape", [(7,), (2, 7), (2, 3, 4, 7)])
def test_any_leading_shape(shape):
    codebook = DDCLCodebook(7, 4)
    for module in (codebook.train(), codebook.eval()):
        quantized, indices, loss = module(torch.randn(*shape))
        assert quantized.shape == shape
        assert indices.shape == shape[:-1]
        assert loss.ndim == 0


def test_one_line_swaps_it_for_a_hard_quantiser():
    peer = pytest.importorskip("vector_quantize_pytorch").VectorQuantize(dim=6, codebook_size=8)
    x = torch.randn(3, 5, 6, requires_grad=True)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] * 5])
    for quantise in (peer, DDCLCodebook(dim=6, codebook_size=8)):
        quantized, indices, loss = quantise(x, mask=mask)
        assert quantized.shape == x.shape
        assert indices.dtype == torch.int64
        assert (indices[~mask] == -1).all()
        assert (indices[mask] >= 0).all()
        (quantized[mask].sum() + loss.sum()).backward()
        assert torch.isfinite(x.grad).all()
        x.grad = None
        quantise.eval()
        _, indices, _ = quantise(x[:2])
        assert quantise.get_codes_from_indices(indices).shape == x[:2].shape


def test_finds_the_centres_and_uses_every_code():
    tokens, centres = blobs()
    codebook = learned(tokens, size=8)
    nearest = squared_distances(centres, codebook.codebook).min(-1).values
    assert nearest.max() < 0.05
    assert codebook.perplexity == pytest.approx(8, abs=0.01)
    assert codebook.usage.sum().item() == pytest.approx(1)
    assert codebook.separation > 5
    assert codebook.soft_hard_gap < 0.01


@pytest.mark.parametrize("seed", range(4))
def test_codes_that_all_start_in_one_place_find_every_centre(seed):
    tokens, _ = blobs(seed=seed)
    codebook = learned(tokens[:1], size=8, steps=1, seed=seed)  # all codes at one token
    start = codebook.eval()(tokens)[1]
    assert len(start.unique()) == 1
    codebook.train()
    for _ in range(300):
        codebook(tokens)
    indices = codebook.eval()(tokens)[1]
    assert torch.bincount(indices, minlength=8).tolist() == [50] * 8
    assert codebook.error < 0.1  # 5 dimensions of spread 0.1


def test_one_of_two_codes_that_have_met_moves():
    tokens, _ = blobs()
    codebook = learned(tokens, 8)
    codebook._put(torch.tensor([1]), codebook.codebook[:1].clone())  # its own blob is now nobody's
    codebook._usage[:] = 1.0  # neither is dead: they take their tokens in turn
    while codebook._steps % 20:
        codebook(tokens)
    for _ in range(60):
        codebook(tokens)
    assert torch.bincount(codebook.eval()(tokens)[1], minlength=8).tolist() == [50] * 8


def test_hard_at_inference_and_changes_nothing():
    tokens, _ = blobs()
    codebook = learned(tokens, 8).eval()
    before = copy.deepcopy(codebook.state_dict())
    quantized, indices, loss = codebook(tokens)
    assert (quantized == codebook.codebook[indices]).all()
    assert indices.equal(torch.cdist(tokens, codebook.codebook).argmin(-1))
    assert loss == 0
    assert all(value.equal(before[name]) for name, value in codebook.state_dict().items())


def test_straight_through_gradient_and_commitment():
    tokens, _ = blobs(40)
    codebook = learned(tokens, 8, steps=5)
    x = tokens.clone().requires_grad_()
    quantized, indices, loss = codebook(x)
    (grad,) = torch.autograd.grad((3.0 * quantized).sum(), x, retain_graph=True)
    assert (grad == 3.0).all()
    (grad,) = torch.autograd.grad(loss, x)
    assert torch.allclose(grad, 2 * (tokens - codebook.codebook[indices]) / tokens.numel(), atol=1e-7)


def test_on_the_sphere_commitment_is_a_quarter():
    tokens, _ = blobs(40)
    usual, full = DDCLCodebook(5, 8, codebook_dim=5), DDCLCodebook(5, 8, codebook_dim=5, commitment_weight=1.0)
    full.load_state_dict(usual.state_dict())
    assert usual(tokens)[2].item() == pytest.approx(0.25 * full(tokens)[2].item())


def test_narrow_codes_lie_on_a_sphere_between_linear_maps():
    tokens, _ = blobs(200, dim=6)
    torch.manual_seed(0)
    narrow = DDCLCodebook(6, 8, codebook_dim=2)
    plain = DDCLCodebook(2, 8)
    plain.commitment_weight = 0.25
    plain.load_state_dict({k: v for k, v in narrow.state_dict().items() if not k.startswith("project")})
    z = narrow.project_in(tokens)
    assert torch.allclose(z.norm(dim=-1), torch.tensor(2.0**0.5))
    assert torch.allclose(narrow.project_in[0](tokens) / z, (narrow.project_in[0](tokens) / z)[:, :1], rtol=1e-3)
    for _ in range(30):
        quantized, indices, loss = narrow(tokens)
        inner, inner_indices, inner_loss = plain(z)
    assert quantized.shape == tokens.shape
    assert indices.equal(inner_indices)
    assert loss.equal(inner_loss)
    assert quantized.equal(narrow.project_out(inner))
    assert narrow.codebook.shape == (8, 2)
    quantized.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in narrow.parameters())
    assert narrow.terms(tokens.double().float()).residual < 1e-4

    narrow.eval()
    mask = torch.arange(200) % 3 > 0
    hard, kept, _ = narrow(tokens, mask=mask)
    assert (hard[~mask] == 0).all()
    assert hard.equal(narrow.get_output_from_indices(kept))
    assert narrow.get_codes_from_indices(kept).shape == (200, 2)
    assert narrow(tokens.bfloat16())[0].dtype == torch.bfloat16


def test_masked_tokens_change_nothing():
    tokens, _ = blobs(60)
    torch.manual_seed(0)
    clean = DDCLCodebook(5, 8)
    padded = copy.deepcopy(clean)
    noise = torch.full((60, 5), torch.nan)
    x, mask = torch.cat([tokens, noise]), torch.arange(120) < 60
    for _ in range(30):
        out, with_padding = clean(tokens), padded(x, mask=mask)
    assert all(value.equal(padded.state_dict()[name]) for name, value in clean.state_dict().items())
    assert with_padding[0][:60].equal(out[0])
    assert (with_padding[0][60:] == 0).all()
    assert with_padding[2].equal(out[2])
    assert (padded.get_codes_from_indices(with_padding[1])[60:] == 0).all()


def test_everything_masked_is_no_batch():
    codebook = DDCLCodebook(5, 8)
    before = copy.deepcopy(codebook.state_dict())
    quantized, indices, loss = codebook(torch.randn(4, 5), mask=torch.zeros(4, dtype=torch.bool))
    assert (quantized == 0).all()
    assert (indices == -1).all()
    assert loss == 0
    assert all(value.equal(before[name]) for name, value in codebook.state_dict().items())


def test_order_of_tokens_does_not_matter_after_placing():
    tokens, _ = blobs()
    one = learned(tokens, 8, steps=3)
    two = copy.deepcopy(one)
    one(tokens)
    two(tokens.flip(0))
    assert torch.allclose(one.codebook, two.codebook, atol=1e-5)


def test_same_seed_same_bits_and_global_state_untouched():
    tokens, _ = blobs()
    one, two = learned(tokens, 16), learned(tokens, 16)
    assert one.codebook.equal(two.codebook)
    before = torch.get_rng_state()
    for _ in range(25):
        one(tokens)
    assert torch.get_rng_state().equal(before)


def test_resumes_to_the_same_bits():
    tokens, _ = blobs()
    one = learned(tokens, 16, steps=15)
    two = DDCLCodebook(5, 16)
    two.load_state_dict(one.state_dict())
    for _ in range(30):
        one(tokens)
        two(tokens)
    assert one.codebook.equal(two.codebook)


def test_identity_and_critical_temperature_hold():
    tokens, _ = blobs()
    codebook = learned(tokens, 4, steps=50)
    assert codebook.terms(tokens).residual < 1e-5
    assert codebook.absolute_temperature < 0.5 * critical_temperature(torch.cov(tokens.T, correction=0))


def test_bfloat16_tokens():
    tokens, _ = blobs()
    codebook = DDCLCodebook(5, 8)
    quantized, _, loss = codebook(tokens.bfloat16())
    assert quantized.dtype == torch.bfloat16
    assert torch.isfinite(loss)


def test_says_all_that_is_wrong_with_its_settings():
    with pytest.raises(ConfigurationError) as caught:
        DDCLCodebook(0, -1, temperature=0.0, commitment_weight=-1.0, codebook_dim=-4)
    for said in (
        "codebook_dim must be at least 2, got -4",
        "dim must be at least 1, got 0",
        "got -1",
        "temperature must be above 0",
        "commitment_weight",
    ):
        assert said in str(caught.value)


def test_codes_of_one_dimension_have_no_sphere():
    with pytest.raises(ConfigurationError, match="codebook_dim must be at least 2, got 1"):
        DDCLCodebook(1, 4, codebook_dim=1)
    assert DDCLCodebook(1, 4)(torch.randn(20, 1))[0].shape == (20, 1)


def test_narrow_codes_measure_in_double_precision_too():
    codebook = DDCLCodebook(6, 8, codebook_dim=3).double()
    assert codebook.terms(torch.randn(50, 6, dtype=torch.float64)).residual < 1e-12


@pytest.mark.parametrize(
    ("x", "mask", "said"),
    [
        (torch.zeros(2, 4), None, r"shape \(..., 5\), got \(2, 4\)"),
        (torch.zeros(2, 5), torch.ones(3, dtype=torch.bool), r"shape \(2,\), got torch.bool of \(3,\)"),
        (torch.zeros(2, 5), torch.ones(2), "got torch.float32"),
        (torch.tensor([[0.0, 1.0, torch.inf, 0.0, 0.0]]), None, "1 tokens of x are NaN or infinite"),
    ],
)
def test_wrong_input(x, mask, said):
    codebook = DDCLCodebook(5, 8)
    before = codebook.codebook.clone()
    with pytest.raises(InputError, match=said):
        codebook(x, mask=mask)
    assert codebook.codebook.equal(before)
