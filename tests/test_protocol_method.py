"""The network and its losses against the paper's symbols, written out here in NumPy, token by token."""
import math

import numpy as np
import pytest
import torch

from sparseattnnet.method import losses as L
from sparseattnnet.method.coarse import CoarseAttention, cell_index, take_features
from sparseattnnet.method.fine import FineAttention, cls_attention, fine_attention
from sparseattnnet.method.kscheduler import KScheduler, k_change
from sparseattnnet.method.model import SparseAttnNet, config_from_dict, config_to_dict, preset
from sparseattnnet.method.pixels import gather_pixels, pixel_grid, pixel_set, scatter_map, to_gray
from sparseattnnet.method.sampler import centre_k, intensity_k, random_k, top_k

SMALL = dict(coarse_width=4, dim=6, heads=2, head_dim=3, hidden=5, classes=3)


def relu(a): return np.maximum(a, 0)


def numpy_of(model): return {n: v.double().numpy() for n, v in model.state_dict().items()}


# ---- Pixels and selection --------------------------------------------------------------------------------------------

def test_pixels_of_an_image_that_is_no_square():
    x = torch.arange(12.).view(1, 1, 3, 4)/12
    grid = pixel_grid(3, 4)
    for row in range(3):
        for col in range(4):
            i = 4*row + col
            want = [(2*col + 1)/4 - 1, (2*row + 1)/3 - 1]
            assert grid[i].tolist() == pytest.approx(want)
            assert gather_pixels(x, torch.tensor([[i]]))[0,
                0].tolist() == pytest.approx([*want, x[0, 0, row, col].item()])
            assert pixel_set(x)[0, i].tolist() == pytest.approx([*want, x[0, 0, row, col].item()])
            assert scatter_map(torch.ones(1, 1), torch.tensor([[i]]), 3, 4).nonzero().tolist() == [[0, row, col]]
            assert cell_index(torch.tensor([[i]]), 4, 2).item() == 2*(row//2) + col//2
    assert cell_index(torch.tensor([[4 + 5*4]]), 5, 2).item() == 2*3 + 2 # three cells in a line of five pixels
    f = torch.randn(2, 3, 2, 2)
    assert torch.equal(take_features(f, torch.tensor([[11], [5]]), 3, 4, 2)[:, 0],
        torch.stack([f[0, :, 1, 1], f[1, :, 0, 0]]))


def test_grey_is_the_luma():
    x = torch.rand(2, 3, 2, 2)
    assert torch.allclose(to_gray(x)[:, 0], .299*x[:, 0] + .587*x[:, 1] + .114*x[:, 2])
    assert torch.equal(to_gray(x[:, :1]), x[:, :1])


def test_top_k_keeps_the_largest_and_of_equals_the_first():
    assert top_k(torch.tensor([[3., 1, 2, 5, 4]]), 2).tolist() == [[3, 4]]
    assert top_k(torch.tensor([[1., 7, 1, 1, 9], [2, 2, 2, 2, 2]]), 3).tolist() == [[0, 1, 4], [0, 1, 2]]
    s = torch.randint(0, 5, (20, 30), generator=torch.Generator().manual_seed(0)).float()
    for k in (1, 7, 29, 30):
        assert top_k(s, k).tolist() == [sorted(sorted(range(30), key=lambda i: (-r[i], i))[:k]) for r in s.tolist()]
    with pytest.raises(ValueError, match='NaN'): top_k(torch.tensor([[1., float('nan')]]), 1)


def test_the_controls_select_what_they_say():
    x = torch.full((1, 1, 5, 5), .5)
    x[0, 0, 1, 3], x[0, 0, 4, 0] = .9, .2
    assert intensity_k(x, 2).tolist() == [[8, 20]]
    assert centre_k(5, 5, 1).tolist() == [[12]]
    assert centre_k(5, 5, 5).tolist() == [[7, 11, 12, 13, 17]]
    g = lambda s: torch.Generator().manual_seed(s)
    r = random_k(200, 10, 3, g(0))
    assert torch.equal(r, random_k(200, 10, 3, g(0))) and not torch.equal(r, random_k(200, 10, 3, g(1)))
    assert (r[:, 1:] > r[:, :-1]).all() and (np.bincount(r.flatten()) > 30).all()


# ---- Fine attention --------------------------------------------------------------------------------------------------

def attention_by_hand(E, W_q, W_k, W_v, eps):
    "Eqs. 6–13, the CLS token last: z and A."
    H, z, A = len(W_q), 0., []
    for h in range(H):
        Q, K = E @ W_q[h], E @ W_k[h]
        K = relu(K) + eps
        A.append(K/K.sum(0))
        C = np.stack([sum(A[h][j, d]*(E[j] @ W_v) for j in range(len(E))) for d in range(K.shape[1])])
        z = z + Q[-1] @ C/H
    return z, np.stack(A)


@pytest.mark.parametrize('eps', [1e-6, .1])
def test_fine_attention_token_by_token(eps):
    rng = np.random.default_rng(0)
    E, W_q, W_k, W_v = rng.normal(size=(2, 6, 4)), rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4,
        3)), rng.normal(size=(4, 5))
    t = [torch.tensor(a) for a in (E, W_q, W_k, W_v)]
    for f in (fine_attention, cls_attention):
        z, A = f(*t, eps)
        for b in range(2):
            z_b, A_b = attention_by_hand(E[b], W_q, W_k, W_v, eps)
            assert z[b].numpy() == pytest.approx(z_b)
            assert A[b].numpy() == pytest.approx(A_b if f is fine_attention else A_b.mean((0, 2)))


@pytest.mark.parametrize('literal', [False, True])
@pytest.mark.parametrize('scale', [1., 1e-5])
def test_the_layer_gates_tokens_and_adds_the_papers_eps(literal, scale):
    torch.manual_seed(0)
    layer = FineAttention(6, heads=2, head_dim=3, literal=literal)
    with torch.no_grad(): layer.to_k.weight *= scale # keys as small as ε show it
    e, g = torch.randn(1, 5, 6), torch.rand(1, 5)
    w = numpy_of(layer)
    E = np.r_[e[0].double().numpy()*g[0].double().numpy()[:, None], w['cls'][None]]
    split = lambda m: np.stack([m[:3].T, m[3:].T])
    z, A = attention_by_hand(E, split(w['to_q.weight']), split(w['to_k.weight']), w['to_v.weight'].T, 1e-6)
    got_z, got_a = layer(e, g)
    assert got_z[0].detach().numpy() == pytest.approx(z, rel=2e-3, abs=1e-5)
    assert got_a[0].detach().numpy() == pytest.approx(A.mean((0, 2))[:-1], rel=1e-3)


# ---- The whole network -----------------------------------------------------------------------------------------------

def conv(x, w, b=None, stride=1):
    "A convolution of (C, H, W) with reflected border."
    r = w.shape[2]//2
    x = np.pad(x, ((0, 0), (r, r), (r, r)), 'reflect') if r else x
    h, wd = ((n - w.shape[2])//stride + 1 for n in x.shape[1:])
    out = np.array([[[(w[o]*x[:, i*stride:i*stride + w.shape[2], j*stride:j*stride + w.shape[2]]).sum()
        for j in range(wd)] for i in range(h)] for o in range(len(w))])
    return out if b is None else out + b[:, None, None]


def norm(x, w, name):
    s = lambda n: w[f'{name}.{n}'].reshape(-1, *[1]*(x.ndim - 1))
    return (x - s('running_mean'))/np.sqrt(s('running_var') + 1e-5)*s('weight') + s('bias')


def network_by_hand(w, c, x, k):
    "The forward pass for one image of a network whose coarse net is strided: logits, selected pixels."
    h = x
    for i, stride in ((0, 2), (3, 1), (6, 1)):
        h = relu(norm(conv(h, w[f'coarse.conv.{i}.weight'], None, stride), w, f'coarse.conv.{i + 1}'))
    m = conv(h, w['coarse.head.0.weight'], w['coarse.head.0.bias'])
    H, W = x.shape[1:]
    logits = np.array([[m[2*(i % 2) + j % 2, i//2, j//2] for j in range(W)] for i in range(H)])
    order = sorted(range(H*W), key=lambda i: (-logits.flat[i], i))
    idx, parts = sorted(order[:k]), []
    if c.use_fine:
        tokens = []
        for i in idx:
            row, col = divmod(i, W)
            xy = [(2*col + 1)/W - 1, (2*row + 1)/H - 1]
            v = list(x[:, row, col]) if c.tokens == 'channels' else [x[0, row, col] if len(x) == 1
                else np.dot([.299, .587, .114], x[:, row, col])]
            t = xy + v + ([math.sin(math.pi*a) for a in xy] + [math.cos(math.pi*a) for a in xy] if c.pos_dim
                else []) + (list(h[:, row//2, col//2]) if c.enrich else [])
            e = w['embed.net.2.weight'] @ relu(w['embed.net.0.weight'] @ t
                + w['embed.net.0.bias']) + w['embed.net.2.bias']
            tokens.append(e/(1 + np.exp(-logits[row, col])) if c.gate else e)
        split = lambda m: np.stack([m[:3].T, m[3:].T])
        z, _ = attention_by_hand(np.array([*tokens, w['fine.cls']]), split(w['fine.to_q.weight']),
            split(w['fine.to_k.weight']), w['fine.to_v.weight'].T, 1e-6)
        parts.append(z)
    if c.use_coarse: parts.append(h.mean((1, 2)))
    f = np.concatenate(parts)
    hidden = relu(norm(w['classify.hidden.weight'] @ f + w['classify.hidden.bias'], w, 'classify.norm'))
    return w['classify.out.weight'] @ hidden + w['classify.out.bias'] + w['classify.skip.weight'] @ f, idx


def settled(model, seed=0):
    "A model in evaluation, with statistics and biases that are not those of a fresh one."
    g = torch.Generator().manual_seed(seed)
    for n, v in model.state_dict().items():
        if v.is_floating_point():
            v.copy_(.5 + torch.rand(v.shape, generator=g) if 'running_var' in n
                else v + .3*torch.randn(v.shape, generator=g))
    return model.eval()


@pytest.mark.parametrize('name, changes', [('corrected', {}), ('corrected', dict(channels=3, use_coarse=True)),
    ('faithful', dict(channels=3, pos_dim=4)), ('corrected', dict(use_fine=False, use_coarse=True))])
def test_the_network_image_by_image(name, changes):
    torch.manual_seed(1)
    c = preset(name, **SMALL | changes)
    model = settled(SparseAttnNet(c))
    x = torch.rand(2, c.channels, 9, 12)
    with torch.no_grad(): out = model(x, 20)
    for b in range(2):
        logits, idx = network_by_hand(numpy_of(model), c, x[b].double().numpy(), 20)
        assert out.idx[b].tolist() == idx
        assert out.logits[b].numpy() == pytest.approx(logits, rel=1e-3, abs=1e-4)


def test_logits_are_ranked_where_their_sigmoid_is_1():
    torch.manual_seed(1)
    model = SparseAttnNet(preset('corrected', **SMALL)).eval()
    with torch.no_grad():
        model.coarse.head[0].weight *= 100
        model.coarse.head[0].bias += 200
        x = torch.rand(1, 1, 10, 10)
        m = model.coarse(x)
        assert (m.attention == 1).sum() > 50 and len(m.logits.unique()) > 50
        assert model(x, 10).idx[0].tolist() == top_k(m.logits, 10)[0].tolist()
        literal = SparseAttnNet(preset('corrected', **SMALL | dict(select_on='attention'))).eval()
        literal.load_state_dict(model.state_dict())
        assert literal(x, 10).idx[0].tolist() == top_k(m.attention, 10)[0].tolist() != model(x, 10).idx[0].tolist()


def test_random_pixels_are_the_same_each_time_a_model_is_judged():
    model, x = SparseAttnNet(preset('corrected', **SMALL | dict(select='random'))), torch.rand(2, 1, 10, 10)
    once, again = (model.eval()(x, 10).idx for _ in 'ab')
    drawn, anew = (model.train()(x, 10).idx for _ in 'ab')
    assert torch.equal(once, again) and not torch.equal(drawn, anew)


def test_the_models_own_k():
    assert SparseAttnNet(preset('corrected', **SMALL)).default_k(12, 12) == 9
    assert SparseAttnNet(preset('faithful', **SMALL)).default_k(12, 12) == 144
    assert SparseAttnNet(preset('faithful', **SMALL)).default_k(135, 135) == 8000


def test_presets_are_the_audits():
    f, c, e = (preset(n) for n in ('faithful', 'corrected', 'edge'))
    assert (f.select_on, f.enrich, f.gate, f.use_coarse, f.k0, f.k_min, f.delta_k, f.lr_k, f.k_beta,
        f.k_alpha) == ('attention', False, False, True, 8000, 1500, 50, 80, .2, .2)
    assert (f.gamma, f.lambda_contrast, f.tau, f.lambda_distill, f.emphasis, f.contrastive, f.distill) == (2., .1, .07,
        .02, 2., 'printed', 'printed')
    assert (c.select_on, c.tokens, c.enrich, c.gate, c.use_coarse, c.k_share, c.k_reading, c.contrastive,
        c.distill) == ('logits', 'channels', True, True, False, 1/16, 'fixed', 'supcon', 'selected')
    assert (e.coarse_shape, e.coarse_width, e.dim, e.head_dim) == ('quarter', 12, 32, 16)
    assert config_from_dict(config_to_dict(e)) == e


@pytest.mark.parametrize('shape, stride', [('plain', 1), ('strided', 2), ('separable', 1), ('quarter', 4),
    ('fringe', 4)])
def test_coarse_maps_have_the_size_of_the_image(shape, stride):
    m = CoarseAttention(1, shape, 8)(torch.rand(2, 1, 10, 13))
    assert m.logits.shape == (2, 10, 13) and m.features.shape == (2, 8, -(-10//stride), -(-13//stride))
    assert torch.equal(m.attention, m.logits.sigmoid()) and torch.allclose(m.z, m.features.mean((2, 3)))


# ---- Losses ----------------------------------------------------------------------------------------------------------

def test_focal_loss_by_hand():
    s, y, a = torch.tensor([[2., 0], [1, 1], [0, 3]]), torch.tensor([0, 1, 0]), torch.tensor([.5, 3.])
    p = [1/(1 + math.exp(-2)), .5, 1/(1 + math.exp(3))]
    plain = [-(1 - q)**2*math.log(q) for q in p]
    assert L.focal_loss(s, y, None, 2.).item() == pytest.approx(sum(plain)/3, rel=1e-5)
    assert L.focal_loss(s, y, torch.tensor([1., 1.]), 0.).item() == pytest.approx(-sum(map(math.log, p))/3, rel=1e-5)
    weighted = L.focal_loss(s, y, a, 2.).item()
    assert weighted == pytest.approx((.5*plain[0] + 3*plain[1] + .5*plain[2])/3, rel=1e-5)


def test_class_weights_are_inverse_to_the_counts():
    w = L.class_weights([5, 20, 80])
    assert (w*torch.tensor([5, 20, 80])).tolist() == pytest.approx([35]*3) # mean 1 over the 105 images
    assert L.class_weights([3, 0, 1]).tolist() == pytest.approx([2/3, 0, 2])
    with pytest.raises(ValueError, match='expected how many training images'): L.class_weights([0, 0])


def similarities(z, tau):
    z = z/np.linalg.norm(z, axis=1, keepdims=True)
    return z @ z.T/tau


def test_contrastive_losses_by_hand():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(6, 4)), np.array([0, 0, 1, 1, 1, 2])
    s, found = np.exp(similarities(z, .5)), []
    for i in range(5):
        pull = [-math.log(s[i, j]/sum(s[i, k] for k in range(6) if k != i)) for j in range(6) if j != i
            and y[j] == y[i]]
        found.append(sum(pull)/len(pull))
    loss, skipped = L.supcon_loss(torch.tensor(z), torch.tensor(y), .5)
    assert loss.item() == pytest.approx(np.mean(found)) and skipped == 1
    twins = np.array([0, 0, 1, 1, 2, 3]) # one positive each: nothing is drawn
    want = [-math.log(s[i, j]/s[i].sum()) for i, j in ((0, 1), (1, 0), (2, 3), (3, 2))]
    loss, skipped = L.contrastive_loss(torch.tensor(z), torch.tensor(twins), .5)
    assert loss.item() == pytest.approx(np.mean(want)) and skipped == 2


def test_distillation_by_hand():
    rng = np.random.default_rng(0)
    soft = lambda a: np.exp(a)/np.exp(a).sum()
    kl = lambda p, q: (p*np.log(p/q)).sum()
    c, f = rng.random((2, 3, 3)), rng.random((2, 3, 3))
    got = L.distillation_loss(torch.tensor(c), torch.tensor(f), 2.).item()
    assert got == pytest.approx(np.mean([kl(soft(a.ravel()), soft(2*b.ravel())) for a, b in zip(c, f)]))
    logits, fine = rng.normal(size=(2, 5)), rng.random((2, 5))
    got = L.distillation_selected(torch.tensor(logits), torch.tensor(fine)).item()
    assert got == pytest.approx(np.mean([kl(b/b.sum(), soft(a)) for a, b in zip(logits, fine)]))
    for f in (lambda a, b: L.distillation_loss(a[:, :, None], b[:, :, None]),
        L.distillation_selected): # the fine map teaches, and learns nothing
        a, b = torch.tensor(logits, requires_grad=True), torch.tensor(fine, requires_grad=True)
        f(a, b).backward()
        assert b.grad is None and a.grad.abs().max() > 0


def test_the_sum_of_the_losses():
    p = {n: torch.tensor(v) for n, v in (('focal', 2.), ('contrast', 3.), ('distill', 5.))}
    assert L.total_loss(p).item() == pytest.approx(2 + .1*3 + .02*5)
    assert L.total_loss(p, dict(contrast=7., distill=.5)).item() == pytest.approx(2 + 21 + 2.5)
    with pytest.raises(FloatingPointError, match='distill'): L.total_loss(p | dict(distill=torch.tensor(float('nan'))))


# ---- k ---------------------------------------------------------------------------------------------------------------

def test_k_by_hand():
    s = KScheduler(k0=100, k_min=20, k_max=140, delta_k=10, beta=.2, alpha=.2)
    ema, k, low = None, 100., 1e9
    for loss in (5., 4., 6., 6., 6.5, 1., *[9. - .01*i for i in range(20)], *[20. + i for i in range(20)]):
        low = min(k, 1e9 if ema is None else low)
        got, old = s.step(loss), ema
        ema = loss if old is None else .2*old + .8*loss
        if old is not None: k = min(max(k + .8*(10 if ema >= old else -10), 20), 140)
        assert got == math.floor(k)
    assert k == 140 and low == 20
    assert [k_change(d, r) for r in ('symmetric', 'up80_down50', 'up50_down80') for d in (.5, -.5)] == [50, -50, 80,
        -50, 50, -80]
    assert k_change(-.5, 'gain') == -40 and k_change(.5, 'fixed') == 0
