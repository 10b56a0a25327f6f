"""The front door: what a wrong shape, a wrong range, a lost group or a second training loop would break."""
import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import sparseattnnet
from sparseattnnet.data.images import ImageSet
from sparseattnnet.data.splits import PARTS
from sparseattnnet.learn.baselines import build_baseline
from sparseattnnet.learn.records import read_json, save_checkpoint, write_json
from sparseattnnet.learn.run import RunSpec, split_set, train_run
from sparseattnnet.method.model import SparseAttnNet, config_to_dict, preset
from sparseattnnet.use import trained as T
from sparseattnnet.use.classifier import PARAMETERS, SKLEARN_EXCEPTIONS, SparseAttnClassifier, as_images

ROOT = Path(__file__).resolve().parents[1]


def discs(n=24, side=16, seed=0, top=255):
    "Small and large discs on noise, uint8, grey, and their names."
    rng, y = np.random.default_rng(seed), np.arange(n) % 2
    at = rng.integers(6, side - 6, (2, n, 1, 1))
    rows, cols = np.mgrid[:side, :side]
    x = rng.random((n, side, side))*.5 + .5*(np.hypot(rows - at[0], cols - at[1]) < np.array([2, 5])[y, None, None])
    return (x*top).astype(np.uint8 if top == 255 else np.uint16), np.array(['small', 'large'])[y]


def quick(**given): return SparseAttnClassifier(**dict(epochs=1, device='cpu', verbose=False) | given)


@pytest.fixture(scope='module')
def fitted(): return quick(epochs=2).fit(*discs())


def checkpoint(folder, channels=1, size=(16, 16), **card):
    "A checkpoint of untrained weights."
    net = SparseAttnNet(preset('edge', channels=channels, classes=2, rgb=channels == 3)).eval()
    save_checkpoint(net, folder, dict(config=config_to_dict(net.config), class_names=['a', 'b'], value_range=[0., 255.], k=9, channels=channels, size=list(size)) | card)
    return net


# the package

def test_the_package_is_light_and_says_what_it_has():
    code = "import sys, sparseattnnet; heavy = {'torch', 'pandas', 'numpy', 'matplotlib', 'sklearn'} & set(sys.modules); print(sorted(heavy), [n for n in dir(sparseattnnet) if n in sparseattnnet.__all__])"
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd='/', env=os.environ | {'PYTHONPATH': str(ROOT)}, check=True).stdout
    assert said.strip() == "[] ['SparseAttnClassifier', 'SparseAttnNet', 'load', 'preset']"
    assert sparseattnnet.SparseAttnClassifier is SparseAttnClassifier and sparseattnnet.load is T.load
    assert sparseattnnet.SparseAttnNet is SparseAttnNet and sparseattnnet.preset is preset
    with pytest.raises(AttributeError, match='no attribute .lod.; public names are SparseAttnClassifier'): sparseattnnet.lod


# shapes and values

def test_colour_comes_first_or_last_and_means_the_same():
    x, y = discs()
    rgb = np.stack([x, x//2, 255 - x], 1)
    clf = quick(preset='edge').fit(np.moveaxis(rgb, 1, 3), y)
    assert clf.model_.channels == 3 and clf.record_['config']['data']['size'] == [3, 16, 16]
    last, first = clf.predict_proba(np.moveaxis(rgb, 1, 3)), clf.predict_proba(rgb)
    np.testing.assert_array_equal(first, last)
    np.testing.assert_array_equal(clf.predict_proba(list(rgb)), first)
    np.testing.assert_array_equal(clf.predict_proba(torch.from_numpy(rgb)), first)
    np.testing.assert_allclose(clf.predict_proba(rgb/255), first, atol=1e-4)
    with pytest.raises(ValueError, match='1 channels, but the model was trained on 3'): clf.predict(x)


def test_16_bits_keep_the_range_of_the_training_images():
    x, y = discs(top=4000)
    clf = quick().fit(x, y)
    images, _ = as_images(x, y)
    low, high = np.percentile(images.subset(clf.split_.indices(images)['train']).images, (.1, 99.9))
    assert clf.model_.value_range == pytest.approx((low, high))
    dark = x//4
    assert not np.allclose(clf.model_.prepare(dark).numpy(), clf.model_.prepare(x).numpy())  # never stretched on its own range
    with pytest.raises(ValueError, match='not their 8-bit copies'): clf.predict((x//16).astype(np.uint8))
    with pytest.raises(ValueError, match='do not scale the images yourself'): clf.predict(x/65535)


@pytest.mark.parametrize('X, y, said', [
    (np.zeros((150, 4)), np.zeros(150), 'expected images'), (np.zeros((4, 9, 9, 9, 9)), np.zeros(4), 'Reshape your data'), (np.zeros((0, 9, 9)), [], 'no images'),
    (np.zeros((4, 12, 20, 16)), 'abab', 'axis 1 or axis 3'), (np.zeros((4, 20, 20, 20)), 'abab', '1 to 16 channels'), (np.zeros((4, 5, 5)), 'abab', 'at least 8'),
    (np.full((4, 9, 9), 2.), list('abab'), r'floats from 2 to 2: expected values in \[0, 1\]'), (np.full((4, 9, 9), np.nan), list('abab'), 'NaN'),
    (np.zeros((4, 9, 9), np.int64), list('abab'), "astype\\('uint8'\\)"), (np.zeros((4, 9, 9), bool), list('abab'), 'type bool'),
    (np.zeros((4, 9, 9)), list('aba'), '3 labels in y for 4 images'), (np.zeros((4, 9, 9)), None, 'a label per image'), (np.zeros((4, 9, 9)), ['a', 'b', None, 'a'], 'none missing'),
    (np.zeros((4, 9, 9)), [.5, 1, 2, 3], 'Unknown label type'), (np.zeros((4, 9, 9)), np.eye(4), 'argmax'), (np.zeros((4, 9, 9)), list('aaaa'), 'one class'),
    ([np.zeros((9, 9)), np.zeros((9, 8))], 'ab', 'list of images of 2 shapes'), ({'a': 1}, 'a', 'expected numbers')])
def test_what_is_no_image_or_label_is_said(X, y, said):
    with pytest.raises(ValueError, match=said): quick().fit(X, y)


def test_parameters_that_do_not_fit_are_said():
    x, y = discs()
    for given, said in ((dict(options={'sizes': 9}), "options name 'sizes': choose from"), (dict(options={'size': 9}), 'X is no folder'), (dict(options='full'), 'expected a dictionary'),
                        (dict(preset='best'), "preset='best'"), (dict(epochs=-1), 'epochs=-1'), (dict(device='gpu'), "device='gpu'"), (dict(seed=.5), 'seed=0.5')):
        with pytest.raises(ValueError, match=said): quick(**given).fit(x, y)
    with pytest.raises(ValueError, match='23 groups for 24'): quick().fit(x, y, groups=range(23))
    images, _ = as_images(x, y)
    with pytest.raises(ValueError, match='y came with an ImageSet'): quick().fit(images, y)
    with pytest.raises(ValueError, match='groups came with a folder'): quick().fit('somewhere', groups=[1])
    with pytest.raises(FileNotFoundError): quick().fit('no/such/folder')
    with pytest.raises(ValueError, match='not fitted yet'): quick().predict(x)
    with pytest.raises(ValueError, match="Invalid parameter 'epoch'"): quick().set_params(epoch=3)


# one way to train

def test_fit_is_train_run(tmp_path):
    x, y = discs()
    images, _ = as_images(x, y)
    spec = RunSpec(dataset='folder', folder='arrays', preset='edge', epochs=2, seed=4, device='cpu')
    record = train_run(spec, tmp_path, show=False, data=split_set(spec, images))
    clf = quick(preset='edge', epochs=2, seed=4).fit(x, y)
    assert clf.record_['run_id'] == record['run_id'] and clf.test_ == record['test']
    want = load_file(tmp_path/'runs'/record['run_id']/'model.safetensors')
    for n, v in clf.model_.net.state_dict().items(): assert torch.equal(v, want[n]), n
    kept = quick(preset='edge', epochs=2, seed=4, out=tmp_path).fit(images)
    assert kept.record_ == record  # complete: taken up, not trained again


def test_groups_stay_together_and_seeds_matter():
    x, y = discs(30)
    groups = np.arange(30)//5
    a, b = (quick(seed=s).fit(x, y, groups) for s in (0, 1))
    for clf in (a, b):
        of = {p: {groups[int(i)] for i in getattr(clf.split_, p)} for p in PARTS}
        assert not (of['train'] & of['test'] or of['train'] & of['val'] or of['val'] & of['test'])
    assert not np.array_equal(a.predict_proba(x), b.predict_proba(x))


# folders

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('cells')
    for i, (x, name) in enumerate(zip(*discs())):
        (root/name).mkdir(exist_ok=True)
        Image.fromarray(x).save(root/name/f'{i:02d}.png')
    return root


def test_a_folder_in_verdicts_out(folder, tmp_path):
    clf = quick(epochs=2).fit(folder)
    assert clf.classes_.tolist() == ['large', 'small'] and clf.record_['dataset'].startswith('folder-cells')
    files = sorted(folder.rglob('*.png'))
    p = clf.predict_proba(folder)
    np.testing.assert_array_equal(p, clf.predict_proba(np.stack([np.asarray(Image.open(f)) for f in files])))
    np.testing.assert_array_equal(p, clf.predict_proba([str(f) for f in files]))
    assert clf.score(folder) == np.mean(clf.predict(folder) == [f.parent.name for f in files])
    flat = tmp_path/'new'
    flat.mkdir()
    Image.open(files[0]).resize((32, 32)).save(flat/'a.png')
    (flat/'b.png').write_bytes(b'cut')
    with pytest.raises(ValueError, match='1 of 2 images in .new. cannot be used') as e: clf.predict(flat)
    assert 'b.png  unreadable' in str(e.value) and 'sparseattnnet predict' in str(e.value)
    verdicts = list(T.predict_files(clf.model_, flat))
    assert [(v.id, bool(v.predicted)) for v in verdicts] == [('a.png', True), ('b.png', False)]
    seen = clf.look(flat/'a.png')
    assert seen.names == ('a.png',) and seen.selected.sum() == clf.model_.k


def test_files_with_labels_train_like_arrays(folder):
    files = sorted(map(str, folder.rglob('*.png')))
    y = [Path(f).parent.name for f in files]
    assert quick().fit(files, y).predict(files[:3]).shape == (3,)
    with pytest.raises(ValueError, match='a label per image'): quick().fit(files)


def test_a_folder_per_channel_is_one_image(tmp_path):
    net = checkpoint(tmp_path/'run', 2, channel_names=['bright', 'dark'])
    x, _ = discs(4)
    for c, part in (('bright', x), ('dark', 255 - x)):
        (tmp_path/'new'/c).mkdir(parents=True)
        for i, a in enumerate(part): Image.fromarray(a).save(tmp_path/'new'/c/f'{i}.png')
    (tmp_path/'new'/'dark'/'3.png').unlink()
    model = T.load(tmp_path/'run')
    verdicts = list(T.predict_files(model, tmp_path/'new'))
    with torch.no_grad(): want = net(torch.from_numpy(np.stack([x, 255 - x], 1)[:3]/255).float(), 9).logits.softmax(1)
    np.testing.assert_allclose([v.probs for v in verdicts[:3]], want, atol=1e-5)
    assert verdicts[3].probs is None and verdicts[3].problem.startswith('missing')


def test_a_table_names_the_files_and_masks_are_left_out(tmp_path):
    checkpoint(tmp_path/'run')
    x, _ = discs(4)
    (tmp_path/'new').mkdir()
    for i, a in enumerate(x): Image.fromarray(a).save(tmp_path/'new'/f'{i}.png')
    Image.fromarray(x[0]).save(tmp_path/'new'/'0_mask.png')
    model = T.load(tmp_path/'run')
    assert [n for n, _ in T.image_files(model, tmp_path/'new')] == ['0.png', '1.png', '2.png', '3.png']
    (tmp_path/'new'/'labels.csv').write_text('path,label\n1.png,a\n9.png,b\n')
    assert [(v.id, v.problem.split(':')[0]) for v in T.predict_files(model, tmp_path/'new')] == [('1.png', ''), ('9.png', 'missing')]


# a trained model

def test_a_checkpoint_that_does_not_fit_is_said(tmp_path):
    checkpoint(tmp_path/'a')
    card = read_json(tmp_path/'a'/'model.json')
    write_json(tmp_path/'a'/'model.json', card | dict(config=card['config'] | dict(dim=8)))
    with pytest.raises(ValueError, match='weights of another network'): T.load(tmp_path/'a')
    write_json(tmp_path/'a'/'model.json', card | dict(class_names=['a', 'b', 'c']))
    with pytest.raises(ValueError, match='3 class names for 2 classes'): T.load(tmp_path/'a')
    write_json(tmp_path/'a'/'model.json', card | dict(config={'name': 'dense_cnn'}))
    with pytest.raises(ValueError, match='not whole'): T.load(tmp_path/'a')
    write_json(tmp_path/'a'/'model.json', card | dict(sha256='0'*64))
    with pytest.raises(ValueError, match='restore both files'): T.load(tmp_path/'a')
    (tmp_path/'out'/'runs'/'cells_s0').mkdir(parents=True)
    with pytest.raises(ValueError, match='goes on'): T.load('cells_s0', out=tmp_path/'out')
    for run in ('', None, 3):
        with pytest.raises(ValueError, match='run='): T.load(run)


def test_a_dense_network_predicts_but_does_not_look(tmp_path):
    net = build_baseline('dense_cnn', 2, channels=1).eval()
    save_checkpoint(net, tmp_path, dict(config=dict(name='dense_cnn', classes=2), class_names=['a', 'b'], value_range=[0., 255.], k=None, channels=1, size=[16, 16]))
    clf = SparseAttnClassifier.load(tmp_path, 'cpu')
    x, _ = discs()
    with torch.no_grad(): want = net(torch.from_numpy(x[:, None]/255).float()).softmax(1)
    np.testing.assert_allclose(clf.predict_proba(x), want, atol=1e-5)
    with pytest.raises(ValueError, match='dense_cnn looks at every pixel'): clf.look(x[:2])
    with pytest.raises(ValueError, match="engine='fast'"): T.predict_proba(clf.model_, x, 'fast')


def test_the_fast_engine_gets_size_and_k_and_its_logits_become_probabilities(fitted, monkeypatch):
    import sparseattnnet.deploy.fast as F
    asked = []

    class Recorded:  # that the engine equals the model is shown in its own tests; compiling it takes a minute
        def __init__(self, net, *about): self.net, _ = net, asked.append(about)
        def __call__(self, x): return self.net(x, asked[0][2]).logits.detach().numpy()
    monkeypatch.setattr(F, 'FastEngine', Recorded)
    x, _ = discs(70)
    np.testing.assert_allclose(T.predict_proba(fitted.model_, x, 'fast'), fitted.predict_proba(x), atol=1e-6)
    assert asked == [(16, 16, fitted.model_.k, torch.get_num_threads())]  # made once for two batches
    fitted.model_.engines.clear()


def test_saved_labels_come_back_in_their_type(tmp_path):
    x, y = discs()
    for labels in (np.where(y == 'small', 3, 12), y == 'small', np.where(y == 'small', 3., 12.)):
        clf = quick(preset='edge').fit(x, labels)
        again = SparseAttnClassifier.load(clf.save(tmp_path/labels.dtype.kind), 'cpu')
        assert again.classes_.dtype.kind == labels.dtype.kind and again.classes_.tolist() == np.unique(labels).tolist()
        np.testing.assert_array_equal(again.predict(x), clf.predict(x))
        assert again.split_.hash == clf.split_.hash and again.record_ == clf.record_
    model = sparseattnnet.load(tmp_path/'i')
    assert model.class_names == ('3', '12') and not list(tmp_path.rglob('*.part'))
    copy = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(copy.predict_proba(x), clf.predict_proba(x))


def test_a_value_outside_its_range_raises_and_a_gradient_flows(fitted):
    model, (x, _) = fitted.model_, discs(2)
    t = torch.rand(2, 1, 16, 16, requires_grad=True)
    model(t).sum().backward()
    assert t.grad.abs().sum() > 0
    with pytest.raises(ValueError, match='floats from 0 to 3'): model(t.detach()*0 + torch.linspace(0, 3, 16))
    with pytest.raises(ValueError, match='floats from 0 to 1.5'): model(np.linspace(0, 1.5, 512).reshape(2, 16, 16))
    two = ImageSet(np.stack([x, x], 1), [0, 1], 'ab', 'ab', ('a', 'b'), 'cytometry', channel_names=('p', 'q'))
    with pytest.raises(ValueError, match='with the channels p, q'): model(two)


def test_what_was_looked_at_is_what_the_network_did(fitted):
    x, y = discs(3)
    seen = fitted.look(x, y)
    with torch.no_grad(): out = fitted.model_.net(torch.from_numpy(x[:, None]/255).float(), fitted.model_.k)
    for i in range(3): assert np.flatnonzero(seen.selected[i]).tolist() == out.idx[i].tolist()
    np.testing.assert_allclose(seen.fine, out.fine_map(), atol=1e-5)
    np.testing.assert_allclose(seen.probs, out.logits.softmax(1), atol=1e-5)
    assert seen.names == tuple(y)
    with pytest.raises(ValueError, match='2 names for 3 images'): fitted.look(x, y[:2])
    fig = seen.plot(2)
    assert len(fig.axes) == 10 and fig.axes[4].get_yticklabels()[0].get_text() == 'large'


# scikit-learn

def pictures(X):
    "A row of a table as a small picture; what is no table stays what it is."
    if hasattr(X, 'tocoo') or (a := np.asarray(X)).ndim != 2 or a.dtype.kind not in 'iuf' or 0 in a.shape: return X
    a = a.astype(float)
    if not np.isfinite(a).all(): return a[:, :1, None] + np.zeros((8, 8))
    wave = np.random.default_rng(0).normal(size=(a.shape[1], 64))*5
    return (.5 + .5*np.sin(a @ wave)).reshape(-1, 8, 8)


class OnTables(SparseAttnClassifier):
    "The classifier behind a step that draws tables."
    def fit(self, X, y=None, groups=None): return super().fit(pictures(X), y, groups)
    def predict_proba(self, X): return super().predict_proba(pictures(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


def test_scikit_learns_examination_fails_where_we_say_and_nowhere_else():
    from sklearn.utils.estimator_checks import check_estimator
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        got = check_estimator(OnTables(preset='edge', epochs=1, verbose=False, device='cpu', options={'too_few': 'train'}), on_fail=None, on_skip=None)
    failed = {r['check_name'] for r in got if r['status'] == 'failed'}
    assert failed == set(SKLEARN_EXCEPTIONS) and len(got) > 45


def test_parameters_and_repr_are_scikit_learns():
    from sklearn.base import clone, is_classifier
    clf = SparseAttnClassifier(epochs=3, options={'size': 96})
    assert tuple(clf.get_params()) == PARAMETERS and is_classifier(clf)
    assert repr(clf) == "SparseAttnClassifier(epochs=3, options={'size': 96})" and repr(SparseAttnClassifier()) == 'SparseAttnClassifier()'
    assert clone(clf).get_params() == clf.get_params() and clone(clf).options is not clf.options
    assert json.loads(json.dumps(SKLEARN_EXCEPTIONS)) and all(SKLEARN_EXCEPTIONS.values())
