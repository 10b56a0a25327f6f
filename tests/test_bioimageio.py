"""The package for BioImage.IO: what can be checked of it without the libraries of that family."""
import hashlib
import io
import re
import zipfile

import numpy as np
import pytest
import torch

from sparseattnnet.deploy.bioimageio import LICENCES, About, export_bioimageio
from sparseattnnet.deploy.export import export_onnx, onnx_session
from sparseattnnet.learn import records as R
from sparseattnnet.method.model import SparseAttnNet, config_to_dict, preset

yaml = pytest.importorskip('yaml')
RECORD = dict(run_id='r', preset='corrected', dataset='Zellen & Co', split_counts=dict(train=40, val=10, test=9),
    protocol='strict', profile='quick', finished='2026-01-02T03:04:05Z', data_fingerprint='f'*64, split_hash='e'*64,
    test=dict(n=9, accuracy=.75, accuracy_interval=[.5, .9], macro_f1=.7))


def checkpoint(at, simulated=True, seed=1):
    torch.manual_seed(seed)
    model = SparseAttnNet(preset('corrected', channels=3)).eval()
    R.save_checkpoint(model, at, dict(config=config_to_dict(model.config), class_names=['a', 'γδ-T', 'c'],
        value_range=[0., 255.], k=40, channels=3, size=[20, 24], simulated=simulated))
    R.write_json(at/'record.json', RECORD)
    return at


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    run, to = checkpoint(tmp_path_factory.mktemp('run')), tmp_path_factory.mktemp('to')
    export_onnx(run, to, trials=5)
    return run, to, zipfile.ZipFile(export_bioimageio(run, to))


@pytest.fixture
def rdf(made): return yaml.safe_load(made[2].read('rdf.yaml'))


def test_the_description_has_the_fields_that_the_format_requires(rdf):
    assert {'format_version', 'type', 'name', 'description', 'authors', 'cite', 'license', 'covers', 'documentation', 'inputs',
            'outputs', 'weights', 'timestamp', 'tags', 'version'} <= set(rdf)
    assert rdf['type'] == 'model' and rdf['format_version'].startswith('0.5.') and rdf['license'] in LICENCES
    assert re.fullmatch(r'[A-Za-z0-9_+() -]{5,64}', rdf['name']) and rdf['cite'][0]['doi'].startswith('10.')
    axes = {a.get('id', a['type']): a for a in rdf['inputs'][0]['axes']}
    assert (axes['y']['size'], axes['x']['size'], axes['channel']['channel_names']) == (20, 24, ['red', 'green', 'blue'])
    assert rdf['inputs'][0]['data']['type'] == 'uint8' and set(rdf['weights']) == {'onnx', 'pytorch_state_dict'}
    assert rdf['outputs'][0]['axes'][1]['channel_names'] == ['a', 'γδ-T', 'c']


def test_every_file_has_the_hash_that_is_written_down(made, rdf):
    named = {}

    def collect(v):
        if isinstance(v, dict):
            if {'source', 'sha256'} <= set(v): named[v['source']] = v['sha256']
            for w in v.values(): collect(w)
        if isinstance(v, list):
            for w in v: collect(w)
    collect(rdf)
    assert set(named) == set(made[2].namelist()) - {'rdf.yaml'}
    assert {n: hashlib.sha256(made[2].read(n)).hexdigest() for n in named} == named


def test_both_weights_give_the_test_output_of_the_raw_test_image(made, rdf):
    z = made[2]
    raw, want = (np.load(io.BytesIO(z.read(f'test_{n}.npy'))) for n in ('input', 'output'))
    assert raw.dtype == np.uint8 and raw.shape == (1, 3, 20, 24) and want.sum() == pytest.approx(1, abs=1e-6)
    s = rdf['inputs'][0]['preprocessing'][1]['kwargs']
    x = (raw*np.float32(s['gain']) + np.float32(s['offset'])).clip(0, 1).astype(np.float32)
    logits, = onnx_session(z.read('model.onnx')).run(None, {'images': x})
    exec(z.read('network.py').decode(), alone := {})
    w = rdf['weights']['pytorch_state_dict']
    net = alone[w['architecture']['callable']](**w['architecture']['kwargs']).eval()
    net.load_state_dict(torch.load(io.BytesIO(z.read('weights.pt')), weights_only=True))
    with torch.no_grad(): theirs = net(torch.tensor(x)).numpy()
    for l in (logits, theirs): assert np.exp(l)/np.exp(l).sum() == pytest.approx(want, abs=1e-5)


def test_the_text_comes_from_the_record_and_says_simulated(made):
    text = made[2].read('README.md').decode()
    assert '## Validation' in text and 'SIMULATED' in text
    assert '75.0 % (95 % interval 50.0 % to 90.0 %)' in text and 'f'*64 in text


def test_the_cover_is_a_small_drawing_of_two_to_one(made):
    from PIL import Image
    cover = made[2].read('cover.png')
    assert len(cover) < 500_000 and Image.open(io.BytesIO(cover)).size == (1024, 512)


def test_the_same_run_gives_the_same_bytes(made):
    run, to, z = made
    before = (to/'model.bioimageio.zip').read_bytes()
    assert export_bioimageio(run, to).read_bytes() == before


def test_weights_from_real_images_need_a_licence_and_an_author(made, tmp_path):
    run = checkpoint(tmp_path/'run', simulated=False, seed=2)
    export_onnx(run, tmp_path/'to', trials=2)
    for about in (About(), About('MIT'), About(author='A. Person')):
        with pytest.raises(ValueError, match='its weights are yours'): export_bioimageio(run, tmp_path/'to', about)
    z = zipfile.ZipFile(export_bioimageio(run, tmp_path/'to', About('CC-BY-4.0', 'A. Person')))
    rdf = yaml.safe_load(z.read('rdf.yaml'))
    assert (rdf['license'], rdf['authors']) == ('CC-BY-4.0', [{'name': 'A. Person'}]) and 'simulated' not in rdf['tags']
    with pytest.raises(ValueError, match='not those of'): export_bioimageio(run, made[1], About('MIT', 'A. Person'))
