"""The codebook: call form, masks, learning, invariances, measures, precision, failures."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.nn._codebook import DDCLCodebook
from ddcl_tab.nn._quantization import critical_temperature, squared_distances


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
    for training in (True, False):
        quantized, indices, loss = codebook.train(training)(torch.randn(*shape))
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


HALVES = (torch.float16, torch.bfloat16)
FLOATS = (*HALVES, torch.float32, torch.float64)


def same_state(one: nn.Module, two: nn.Module) -> bool:
    """Same bits in every entry."""
    mine, other = one.state_dict(), two.state_dict()
    return mine.keys() == other.keys() and all(value.equal(other[name]) for name, value in mine.items())


@pytest.mark.parametrize("tokens_in", FLOATS)
@pytest.mark.parametrize("cast_to", FLOATS)
def test_a_cast_codebook_learns_as_in_float32(cast_to, tokens_in):
    tokens = blobs(120)[0].to(tokens_in)
    torch.manual_seed(0)
    plain = DDCLCodebook(5, 8)
    cast = copy.deepcopy(plain).to(cast_to)
    x = tokens.clone().requires_grad_()
    for _ in range(25):
        expected, expected_indices, expected_loss = plain(tokens.float())
        quantized, indices, loss = cast(x)
    assert quantized.dtype == tokens_in
    assert indices.equal(expected_indices)
    torch.testing.assert_close(quantized.float(), expected.to(tokens_in).float(), rtol=1e-5, atol=1e-5)
    assert loss.dtype == cast.codebook.dtype == (torch.float64 if cast_to == torch.float64 else torch.float32)
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-4)
    if cast_to != torch.float64:
        assert same_state(cast, plain)  # codes, running means and temperature: not rounded by the cast
    torch.testing.assert_close(cast.codebook.float(), plain.codebook, rtol=1e-4, atol=1e-4)
    (quantized.float().sum() + loss).backward()
    assert x.grad.dtype == tokens_in
    torch.testing.assert_close(x.grad.float(), torch.ones(120, 5), rtol=0.0, atol=0.05)  # and the small commitment
    hard, indices, loss = cast.eval()(tokens)
    assert hard.dtype == tokens_in
    assert loss.dtype == cast.codebook.dtype
    assert hard.equal(cast.codebook[indices].to(tokens_in))


@pytest.mark.parametrize("tokens_in", FLOATS)
@pytest.mark.parametrize("cast_to", FLOATS)
def test_narrow_codes_in_every_precision(cast_to, tokens_in):
    tokens, _ = blobs(200, dim=6)
    errors = []
    for dtype, x in ((torch.float32, tokens), (cast_to, tokens.to(tokens_in))):
        torch.manual_seed(0)
        codebook = DDCLCodebook(6, 8, codebook_dim=3).to(dtype)
        for _ in range(30):
            quantized, _, loss = codebook(x)
        (quantized.float().square().mean() + loss).backward()
        assert quantized.dtype == x.dtype
        assert all(p.dtype == dtype and p.grad.isfinite().all() and p.grad.any() for p in codebook.parameters())
        assert all(not b.is_floating_point() or b.element_size() >= 4 for b in codebook.buffers())
        assert codebook.eval()(x)[0].dtype == x.dtype
        assert codebook.terms(x).residual < 1e-4
        errors.append(float(codebook.error))
    assert errors[1] == pytest.approx(errors[0], rel=0.1)  # bfloat16 keeps 8 bits of a weight


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("width", [None, 3])
def test_an_encoder_under_autocast(dtype, width):
    x, _ = blobs(150)
    torch.manual_seed(0)
    encoder, codebook = nn.Linear(5, 5), DDCLCodebook(5, 8, codebook_dim=width)
    outside = copy.deepcopy(codebook)
    for _ in range(25):
        with torch.autocast("cpu", dtype=dtype):
            tokens = encoder(x)
            quantized, _, loss = codebook(tokens)
        outside(tokens)
    assert tokens.dtype == quantized.dtype == dtype
    if width is None:  # no map to run in half precision
        assert same_state(codebook, outside)
    assert codebook.codebook.dtype == loss.dtype == torch.float32
    assert float(codebook.error) == pytest.approx(float(outside.error), rel=0.05)
    (quantized.float().square().mean() + loss).backward()
    assert encoder.weight.grad.isfinite().all()
    assert encoder.weight.grad.any()
    with torch.autocast("cpu", dtype=dtype), torch.no_grad():
        hard, indices, _ = codebook.eval()(tokens)
        assert hard.dtype == dtype
        measured = codebook.terms(tokens)
    assert measured.residual < 1e-3
    if width is None:
        assert indices.equal(outside.nearest(tokens))


@pytest.mark.parametrize("width", [None, 3])
@pytest.mark.parametrize("dtype", FLOATS)
def test_state_round_trip_in_every_precision(dtype, width):
    tokens = blobs(80)[0].to(dtype)
    torch.manual_seed(0)
    one, two = (DDCLCodebook(5, 8, codebook_dim=width).to(dtype) for _ in range(2))
    for _ in range(15):
        one(tokens)
    two.load_state_dict(one.state_dict())
    assert same_state(one, two)
    for _ in range(10):
        assert one(tokens)[0].equal(two(tokens)[0])
    assert same_state(one, two)


def test_a_cast_and_back_rounds_no_running_mean():
    codebook = learned(blobs()[0], 8, steps=10)
    before = copy.deepcopy(codebook)
    assert same_state(codebook.half().bfloat16().double().half().float(), before)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_checkpoint_kept_in_half_precision_goes_on_in_float32(dtype):
    tokens, _ = blobs()
    narrow = {k: v.to(dtype) if v.is_floating_point() else v for k, v in learned(tokens, 8).state_dict().items()}
    codebook = DDCLCodebook(5, 8)
    codebook.load_state_dict(narrow, assign=True)  # replaces the buffers themselves
    for _ in range(5):
        codebook(tokens.to(dtype))
    assert all(b.dtype == torch.float32 for b in codebook.buffers() if b.is_floating_point())
    assert codebook.error < 0.1


def test_built_while_the_default_type_is_half_precision():
    tokens = blobs()[0].bfloat16()
    try:
        torch.set_default_dtype(torch.bfloat16)
        codebook = DDCLCodebook(5, 8, codebook_dim=3)
    finally:
        torch.set_default_dtype(torch.float32)
    assert codebook.project_in[0].weight.dtype == torch.bfloat16
    assert codebook.codebook.dtype == torch.float32
    assert codebook(tokens)[0].isfinite().all()
    assert codebook.get_codes_from_indices(torch.tensor([0])).dtype == torch.bfloat16


@pytest.mark.parametrize("width", [None, 3])
@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_looked_up_has_the_module_s_type(dtype, width):
    tokens = blobs()[0].to(dtype)
    torch.manual_seed(0)
    codebook = DDCLCodebook(5, 8, codebook_dim=width).to(dtype)
    codebook(tokens)
    hard, indices, _ = codebook.eval()(tokens)
    assert codebook.get_output_from_indices(indices).equal(hard)
    assert codebook.get_codes_from_indices(indices).dtype == dtype
    for packed in (torch.uint8, torch.int16, torch.int32):
        assert codebook.get_output_from_indices(indices.to(packed)).equal(hard)


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        (torch.tensor([0, 8]), "indices must lie from -1 to 7, got 0 to 8"),
        (torch.tensor([-2, 3]), "got -2 to 3"),
        (torch.tensor([0.0]), "indices must be integers in a tensor, got torch.float32"),
        (torch.tensor([True]), "got torch.bool"),
        ([0, 1], "got list"),
    ],
)
def test_indices_of_no_code(indices, said):
    codebook = DDCLCodebook(5, 8)
    for look_up in (codebook.get_codes_from_indices, codebook.get_output_from_indices):
        with pytest.raises(InputError, match=said):
            look_up(indices)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn])
@pytest.mark.parametrize("width", [None, 3])
def test_tokens_that_are_no_floating_point_numbers(dtype, width):
    codebook = DDCLCodebook(5, 8, codebook_dim=width)
    before = copy.deepcopy(codebook)
    x = torch.ones(6, 5).to(dtype)
    inner = torch.ones(6, codebook.codebook_dim).to(dtype)
    for call in (codebook, codebook.terms, lambda _: codebook.nearest(inner), lambda _: codebook.eval()(x)):
        with pytest.raises(InputError, match=rf"(x|tokens) must be .*float16.*float64, got {dtype}.*\.float\(\)"):
            call(x)
    assert same_state(codebook, before)


def test_an_array_is_no_tensor():
    with pytest.raises(InputError, match=r"x must be a tensor .* got ndarray"):
        DDCLCodebook(5, 8)(torch.ones(6, 5).numpy())
    with pytest.raises(InputError, match=r"mask must be a bool tensor of shape \(2,\), got list"):
        DDCLCodebook(5, 8)(torch.ones(2, 5), mask=[True, False])


HUGE = [
    (torch.float32, torch.float32, 1e20, r"1e\+20"),
    (torch.float32, torch.float32, -1e12, r"1e\+12"),
    (torch.float32, torch.bfloat16, 3e38, r"3e\+38"),
    (torch.bfloat16, torch.bfloat16, 3e18, r"3.01e\+18"),
    (torch.float16, torch.float64, 1e300, r"1e\+300"),
    (torch.float64, torch.float64, 1e200, r"1e\+200"),
]


@pytest.mark.parametrize("width", [None, 3])
@pytest.mark.parametrize("steps", [0, 3, 20])  # 0: nothing placed yet; 20: the next step revives
@pytest.mark.parametrize(("cast_to", "tokens_in", "size", "said"), HUGE)
def test_huge_tokens_are_refused_and_change_nothing(cast_to, tokens_in, size, said, steps, width):
    tokens = blobs(60)[0].to(tokens_in)
    torch.manual_seed(0)
    codebook = DDCLCodebook(5, 8, codebook_dim=width).to(cast_to)
    for _ in range(steps):
        codebook(tokens)
    before, random = copy.deepcopy(codebook), torch.get_rng_state()
    bad = tokens.clone()
    bad[7, 2] = size
    limit = r"1\.3e\+146" if cast_to == torch.float64 else r"1\.8e\+11"
    inner = torch.full((2, codebook.codebook_dim), size, dtype=tokens_in)
    for training in (True, False):
        codebook.train(training)
        for call in (codebook, codebook.terms, lambda _: codebook.nearest(inner)):
            with pytest.raises(InputError, match=rf"larger than {limit}.*reaches ({said})"):
                call(bad)
    with pytest.raises(InputError, match=r"1 tokens of x .* first at \[3, 1\]"):
        codebook(bad.reshape(30, 2, 5).roll(0, 0))
    assert same_state(codebook, before)
    assert torch.get_rng_state().equal(random)
    mask = torch.arange(60) != 7
    assert codebook.train()(bad, mask=mask)[0].equal(before.train()(tokens, mask=mask)[0])


@pytest.mark.parametrize("size", [1e6, 1e11])
def test_tokens_below_the_limit_leave_no_nan_even_where_the_error_was_zero(size):
    torch.manual_seed(0)
    codebook = DDCLCodebook(64, 8)
    tokens = torch.randn(500, 64).clamp(-1, 1)
    for _ in range(3):
        codebook(torch.ones(20, 64))  # one place: no error, the smallest temperature
    for x in (size * tokens, tokens, -size * tokens):
        for _ in range(30):
            codebook(x)
            assert all(value.isfinite().all() for value in codebook.state_dict().values())
    codebook.error.zero_()
    assert codebook(size * tokens)[2].isfinite()
    assert all(value.isfinite().all() for value in codebook.state_dict().values())


def test_a_map_in_half_precision_that_overflows_is_refused():
    torch.manual_seed(0)
    codebook = DDCLCodebook(5, 8, codebook_dim=3).half()
    before = copy.deepcopy(codebook)
    with pytest.raises(InputError, match=r"1 tokens of x overflow in project_in .torch.float16.*unchanged"):
        codebook(torch.tensor([[1.0] * 5, [1e6] * 5]))
    assert same_state(codebook, before)
    with torch.autocast("cpu", dtype=torch.float16), pytest.raises(InputError, match="overflow in project_in"):
        copy.deepcopy(codebook).float()(torch.full((2, 5), 1e6))
    nn.init.zeros_(codebook.project_in[0].bias)
    quantized, _, _ = codebook(torch.zeros(2, 5, dtype=torch.float16))  # no direction: not 0 / 0
    assert quantized.isfinite().all()
    assert codebook.codebook.isfinite().all()


def test_nothing_to_measure():
    with pytest.raises(InputError, match=r"x of shape \(0, 5\) holds no token"):
        DDCLCodebook(5, 8).terms(torch.zeros(0, 5))


def test_everything_masked_still_has_gradients():
    """DistributedDataParallel waits for every parameter's gradient, also on a rank whose batch is all padding."""
    codebook = DDCLCodebook(5, 8, codebook_dim=3)
    quantized, _, loss = codebook(torch.randn(4, 5), mask=torch.zeros(4, dtype=torch.bool))
    (quantized.sum() + loss).backward()
    assert all((p.grad == 0).all() for p in codebook.parameters())


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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dim": 2.5}, "dim must be an integer, got 2.5"),
        ({"codebook_size": "8"}, "codebook_size must be an integer, got '8'"),
        ({"codebook_size": True}, "codebook_size must be an integer, got True"),
        ({"codebook_dim": 2.0}, "codebook_dim must be an integer, got 2.0"),
        ({"temperature": None}, "temperature must be above 0 and finite, got None"),
        ({"temperature": float("inf")}, "temperature must be above 0 and finite, got inf"),
        ({"commitment_weight": float("inf")}, "commitment_weight must not be negative and be finite, got inf"),
    ],
)
def test_settings_of_other_types_are_said(settings, said):
    with pytest.raises(ConfigurationError, match=said):
        DDCLCodebook(**({"dim": 5, "codebook_size": 8} | settings))


def test_codes_beside_the_largest_halves_stay_finite():
    """Codes are placed a little beside tokens: beside 65,504 that is beyond what float16 can say."""
    largest = torch.finfo(torch.float16).max
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).half()
    x[3], x[4] = largest, -largest
    torch.manual_seed(5)
    codebook = DDCLCodebook(5, 8)
    for training in (True, False):
        quantized, _, loss = codebook.train(training)(x)
        assert (codebook.codebook > largest).any()
        assert torch.isfinite(quantized).all()
        assert torch.isfinite(loss)
        assert (quantized[3] > 0.9 * largest).all()
        assert (quantized[4] < -0.9 * largest).all()


def test_indices_that_no_signed_integer_holds_are_no_padding():
    """2**64 - 1 has the bits of -1."""
    with pytest.raises(InputError, match=f"indices must be below .* got {2**64 - 1}"):
        DDCLCodebook(5, 8).get_codes_from_indices(torch.tensor([0, 2**64 - 1], dtype=torch.uint64))
    few = torch.tensor([0, 7], dtype=torch.uint64)
    codebook = DDCLCodebook(5, 8)
    assert codebook.get_codes_from_indices(few).equal(codebook.codebook[few.long()])


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
