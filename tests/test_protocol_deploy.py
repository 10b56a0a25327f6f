"""What is deployed answers as the model does: the folded network, the fast engine and the exported file.

The models here have statistics and biases that are not those of a fresh model."""
import numpy as np
import pytest
import torch

from sparseattnnet.deploy.export import (ExportFailed, FoldedNet, asked_pixels, check_files, export_onnx, onnx_session,
    parity, trial_images)
from sparseattnnet.deploy.fast import FastEngine, fold_norm, load_fast
from sparseattnnet.learn import records as R
from sparseattnnet.method.model import SparseAttnNet, config_to_dict, preset
from sparseattnnet.method.sampler import dither_noise

SMALL = dict(coarse_width=8, dim=8, heads=2, head_dim=3, hidden=5, classes=3)
KINDS = {'corrected': {}, 'with both features, in colour': dict(channels=3, use_coarse=True, pos_dim=4),
    'small variances': {}, 'small keys': {}}


def settled(kind, **changes):
    "A model in evaluation whose statistics and biases are not those of a fresh one."
    torch.manual_seed(2)
    model = SparseAttnNet(preset('corrected', **SMALL | KINDS[kind] | changes))
    g = torch.Generator().manual_seed(0)
    for n, v in model.state_dict().items():
        if not v.is_floating_point(): continue
        small = kind == 'small variances' and n in ('coarse.conv.7.running_var',
            'classify.norm.running_var') # so small that ε of the batch normalisation counts
        v.copy_((1e-5 if small else 1)*(.5 + torch.rand(v.shape, generator=g)) if 'running_var' in n
            else v + .2*torch.randn(v.shape, generator=g))
    if kind == 'small keys':
        with torch.no_grad(): model.fine.to_k.weight *= 1e-6 # as small as ε of Eq. 9
    return model.eval()


def images(model): return trial_images(10, model.config.channels, 12, 15)


@pytest.mark.parametrize('kind', KINDS)
def test_folded_network_and_fast_engine_answer_as_the_model(kind):
    model = settled(kind)
    x = images(model)
    with torch.no_grad(): want, folded = model(torch.tensor(x), 20), FoldedNet(model, 12, 15, 20)(torch.tensor(x))
    got = FastEngine(model, 12, 15, 20).look(x)
    size = want.logits.abs().max().item()
    noisy = [i for i in range(10) if i % 5 == 0] # scores without ties
    for i in noisy: assert len(want.coarse_logits[i].unique()) == 180
    for i in noisy: assert want.idx[i].tolist() == got.idx[i].tolist() == sorted(folded[1][i].tolist())
    for logits in (got.logits, folded[0].numpy()):
        assert logits[noisy] == pytest.approx(want.logits[noisy].numpy(), abs=2e-4*size)
    assert got.attention[noisy] == pytest.approx(want.fine[noisy].numpy(), rel=1e-2, abs=1e-6)
    assert parity(lambda b: [t.detach().numpy() for t in FoldedNet(model, 12, 15, 20)(torch.tensor(b))], model, 20,
        x)['largest'] <= 2e-4*size


def test_one_neighbour_in_rank_is_no_failed_export():
    "A model that adds noise to the scores ranks by the noisy scores: the slack of another pixel is measured in them."
    model = settled('corrected', dither=preset('guided').dither)
    assert model.config.dither
    x, k = images(model)[:4], 20
    with torch.no_grad(): want = model(torch.tensor(x), k)
    ranked = want.coarse_logits.flatten(1)/model.config.dither + dither_noise(12, 15, model.config.margin)
    order = ranked.argsort(1, descending=True)
    near = torch.cat([order[:, :k - 1], order[:, k:k + 1]], 1) # the first that was not taken in place of the last
    found = parity(lambda b: (want.logits.numpy(), near.numpy()), model, k, x)
    gap = float((ranked.gather(1, order[:, k - 1:k]) - ranked.gather(1, order[:, k:k + 1])).max())
    assert found['same_pixels'] == 0 and found['slack'] == pytest.approx(gap, abs=1e-5)


def test_the_fast_engine_keeps_of_equals_the_first():
    model = settled('corrected')
    with torch.no_grad():
        for p in (model.coarse.head[0].weight, model.coarse.head[0].bias): p.zero_()
    assert (FastEngine(model, 12, 15, 20).look(images(model)).idx == np.arange(20)).all()


def test_folding_a_normalisation_by_hand():
    layer, norm = torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([1., -2])), norm.running_var.copy_(torch.tensor([1e-5,
            4.])), norm.weight.copy_(torch.tensor([2., 3.])), norm.bias.copy_(torch.tensor([.5, -.5]))
    w, b = fold_norm(layer, norm)
    a = np.array([2/np.sqrt(2e-5), 3/np.sqrt(4 + 1e-5)])
    assert w == pytest.approx(layer.weight.detach().numpy()*a[:, None], rel=1e-5)
    assert b == pytest.approx((layer.bias.detach().numpy() - [1, -2])*a + [.5, -.5], rel=1e-5)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    "A checkpoint whose k is neither the model's own nor a round one."
    model, at = settled('corrected'), tmp_path_factory.mktemp('run')
    R.save_checkpoint(model, at, dict(config=config_to_dict(model.config), class_names=['a', 'b', 'c'],
        value_range=[0, 1], k=37, channels=1, size=[12, 15]))
    return model, at


def test_the_exported_file_selects_the_checkpoints_k_and_answers_as_the_model(saved, tmp_path):
    model, at = saved
    assert model.default_k(12, 15) != 37
    card = export_onnx(at, tmp_path/'out', trials=10)
    x = trial_images(5, 1, 12, 15, seed=3)
    logits, idx = onnx_session(tmp_path/'out'/'model.onnx', 1).run(None, {'images': x})
    with torch.no_grad(): want = model(torch.tensor(x), 37)
    assert card['k'] == 37 and idx.shape == (5, 37) and logits == pytest.approx(want.logits.numpy(), abs=1e-3)
    assert sorted(idx[0].tolist()) == want.idx[0].tolist() and card['checked']['onnxruntime']['images'] == 10
    other = settled('corrected')
    with torch.no_grad(): other.classify.out.bias[0] += .01
    with pytest.raises(ExportFailed, match='differs from the model'): check_files(tmp_path/'out', other, 37, x)


def test_the_fast_engine_takes_the_checkpoints_k(saved):
    model, at = saved
    assert (load_fast(at, threads=1).k, load_fast(at, (24, 15), threads=1).k, load_fast(at, k=5, threads=1).k) == (37,
        model.default_k(24, 15), 5)


def test_asked_pixels():
    assert [asked_pixels(k, 18225) for k in (100, 700, 1500)] == [100, 1228, 1500]


def test_a_checkpoint_that_was_exchanged_is_not_read(saved, tmp_path):
    model, at = saved
    for f in ('model.safetensors', 'model.json'): (tmp_path/f).write_bytes((at/f).read_bytes())
    weights = bytearray((tmp_path/'model.safetensors').read_bytes())
    weights[-1] ^= 1
    (tmp_path/'model.safetensors').write_bytes(weights)
    with pytest.raises(ValueError, match='SHA-256'): R.load_checkpoint(tmp_path)
