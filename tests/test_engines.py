"What strangers do to engines: threads, forks, no home, other numbers of channels, mixed precision, images that nobody scaled."
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from sparseattnnet.deploy.export import FoldedNet
from sparseattnnet.deploy.fast import FastEngine
from sparseattnnet.method.sampler import random_by_image
from sparseattnnet.method.model import PRESETS, SparseAttnNet, preset

ROOT = Path(__file__).resolve().parents[1]


def some_model(name='corrected', **changes):
    torch.manual_seed(0)
    model = SparseAttnNet(preset(name, **changes)).eval()
    for m in model.modules():
        if hasattr(m, 'running_mean'):
            m.running_mean.normal_(0, .1)
            m.running_var.uniform_(.5, 2)
    return model


@pytest.mark.parametrize('threads', [1, 2])
def test_two_callers_get_what_one_gets(threads):
    engine = FastEngine(some_model('faithful'), 64, 64, 900, threads=threads)
    asked = [torch.rand(3, 1, 64, 64).numpy() for _ in range(2)]
    alone = [engine.look(x) for x in asked]

    def wrong(i):
        got = [engine.look(asked[i]) for _ in range(200)]
        return sum(any((a != b).any() for a, b in zip(g, alone[i])) for g in got)
    with ThreadPoolExecutor(2) as pool: assert list(pool.map(wrong, range(2))) == [0, 0]
    assert len(engine.rooms) <= 2*threads


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_forked_process_does_not_wait_for_its_parents_threads():
    code = """import os, signal, sys, torch
from sparseattnnet.deploy.fast import FastEngine
from sparseattnnet.method.model import SparseAttnNet, preset
engine, x = FastEngine(SparseAttnNet(preset('edge')).eval(), 24, 24, 30, threads=2), torch.rand(4, 1, 24, 24)
want, child = engine(x), os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if (engine(x) == want).all() else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"""
    assert subprocess.run([sys.executable, '-W', 'ignore', '-c', code], env=os.environ | {'PYTHONPATH': str(ROOT)}).returncode == 0


def test_no_folder_for_machine_code(tmp_path):
    shutil.copytree(ROOT/'sparseattnnet', tmp_path/'sparseattnnet', ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path/'sparseattnnet'/'deploy'/'__pycache__').touch()  # a file: nobody, root neither, can make that folder
    code = """import sparseattnnet.deploy.fast as F, torch
from sparseattnnet.method.model import SparseAttnNet, preset
print(F.__file__, F.FastEngine(SparseAttnNet(preset('edge')).eval(), 24, 24, 30)(torch.rand(1, 1, 24, 24)).shape)"""
    env = dict(HOME='/proc/nobody', PATH=os.environ['PATH'], PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE='1')
    p = subprocess.run([sys.executable, '-c', code], env=env, cwd='/', capture_output=True, text=True)
    assert p.returncode == 0, p.stderr[-800:]
    assert str(tmp_path) in p.stdout and '(1, 3)' in p.stdout


@pytest.mark.parametrize('channels, rgb', [(1, True), (2, True), (3, True), (3, False), (5, True), (12, True)])
@pytest.mark.parametrize('tokens', ['gray', 'channels'])
@pytest.mark.parametrize('name', list(PRESETS))
def test_any_number_of_channels(name, tokens, channels, rgb):
    model, x = some_model(name, channels=channels, tokens=tokens, rgb=rgb), torch.rand(3, channels, 29, 34)
    with torch.inference_mode(): want, (folded, pixels) = model(x, 150), FoldedNet(model, 29, 34, 150)(x)
    fast = FastEngine(model, 29, 34, 150).look(x)
    assert np.array_equal(fast.idx, want.idx.numpy()) and torch.equal(pixels.sort(1).values, want.idx)
    assert abs(fast.logits - want.logits.numpy()).max() < 1e-5 and (folded - want.logits).abs().max() < 1e-5
    weights = torch.tensor([.299, .587, .114] if channels == 3 and rgb else [1/channels]*channels)
    v = x if tokens == 'channels' else (x*weights[:, None, None]).sum(1, keepdim=True)
    t = model.tokens(x, want.idx, model.coarse(x).features)
    got, there = t[..., 2:2 + v.shape[1]], v.flatten(2).gather(2, want.idx[:, None].expand(-1, v.shape[1], -1)).transpose(1, 2)
    torch.testing.assert_close(got, there)


@pytest.mark.parametrize('name', list(PRESETS))
@pytest.mark.parametrize('train', [False, True])
def test_mixed_precision_selects_the_same_pixels(name, train):
    model, x = some_model(name).train(train), torch.rand(6, 1, 90, 90)
    torch.manual_seed(1)  # a dithered selection draws in training
    with torch.no_grad(): exact = model(x, 500)
    torch.manual_seed(1)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16): mixed = model(x, 500)
    assert torch.equal(mixed.idx, exact.idx) and torch.equal(mixed.coarse_logits, exact.coarse_logits)
    assert not torch.equal(mixed.logits, exact.logits)  # it was in use
    if not train: assert torch.equal(model(x.bfloat16().float(), 500).idx, model(x.bfloat16(), 500).idx)


@pytest.mark.parametrize('bad', [255*torch.rand(2, 1, 20, 20), torch.rand(2, 1, 20, 20) - .5, torch.full((2, 1, 20, 20), float('nan')),
    torch.rand(2, 1, 20, 20).index_fill(3, torch.tensor([3]), float('inf'))], ids=['0-255', 'negative', 'nan', 'infinite'])
def test_unscaled_images(bad):
    model = some_model()
    for run in (model, FoldedNet(model, 20, 20, 25), FastEngine(model, 20, 20, 25)):
        with pytest.raises(ValueError, match=r'reach from .* expected finite values in \[0, 1\]; divide 8-bit images by 255'): run(bad)
    near = torch.rand(2, 1, 20, 20)*(1 + 1e-5) - 5e-6  # rounding is no error
    for run in (model, FoldedNet(model, 20, 20, 25), FastEngine(model, 20, 20, 25)): run(near)
    assert FastEngine(model, 20, 20, 25)(torch.rand(1, 1, 20, 20).bfloat16()).shape == (1, 3)


def test_compiled_and_exported_networks_do_not_look_at_values():
    model, x = some_model('faithful', channels=2), torch.rand(2, 2, 20, 20)
    program = torch.export.export(FoldedNet(model, 20, 20, 25).eval(), (x,), dynamic_shapes=({0: torch.export.Dim('batch')},)).module()
    torch.testing.assert_close(program(torch.cat([x, x]))[0][:2], model(x, 25).logits)
    graphs = []

    def keep(graph, example):
        graphs.append(graph)
        return graph.forward
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(FoldedNet(model, 20, 20, 25), backend=keep)(x)[0], model(x, 25).logits)
    assert len(graphs) == 1
    torch.testing.assert_close(torch.compile(model, backend=keep)(x, 25).logits, model(x, 25).logits)
    with torch.autocast('cpu', torch.bfloat16): assert torch.equal(torch.compile(model, backend=keep)(x, 25).idx, model(x, 25).idx)


def test_random_pixels_belong_to_the_image():
    x, order = torch.rand(7, 1, 20, 20), torch.randperm(7)
    all_at_once = random_by_image(x, 40)
    for i in range(7): assert torch.equal(random_by_image(x[i:i + 1], 40)[0], all_at_once[i])
    assert torch.equal(random_by_image(x[order], 40), all_at_once[order])
    assert not torch.equal(random_by_image(x, 40, salt=1), all_at_once)


@pytest.mark.parametrize('k', [0, 401, 2.5, float('nan')])
def test_k_that_does_not_fit(k):
    for make in (FastEngine, FoldedNet):
        with pytest.raises(ValueError, match=f'k={k}'): make(some_model(), 20, 20, k)


def test_a_script_that_meets_a_poor_console(tmp_path):
    pytest.importorskip('onnxruntime')
    from sparseattnnet.deploy.export import export_onnx
    from sparseattnnet.learn.records import save_checkpoint
    from sparseattnnet.method.model import config_to_dict
    model = some_model('edge', channels=2)
    save_checkpoint(model, tmp_path/'run', dict(config=config_to_dict(model.config), class_names=['γδ-T', 'Ba$$o', 'x'], value_range=[0, 1], k=30, channels=2, size=[24, 24]))
    folder = tmp_path/'Modell für Zellen 1'
    card = export_onnx(tmp_path/'run', folder, trials=10)
    assert (card['shape'], card['class_names'][0], json.loads((folder/'card.json').read_text('utf-8'))['class_names'][0]) == ([2, 24, 24], 'γδ-T', 'γδ-T')
    for console in ('cp1252', 'latin-1', 'ascii'):
        p = subprocess.run([sys.executable, folder/'run.py'], env=os.environ | {'PYTHONIOENCODING': console, 'LC_ALL': 'C'}, capture_output=True)
        assert p.returncode == 0 and b'Ba$$o' in p.stdout, p.stderr
