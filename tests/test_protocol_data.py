"""What training may know of the images: the value range, the parts and the classes, and what an augmentation may do.

Everything is compared with numbers computed here."""
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparseattnnet.data.augment import augment, turn
from sparseattnnet.data.images import BadImages, ImageSet, read_images, read_npz
from sparseattnnet.data.splits import Split, find_duplicates, make_split
from sparseattnnet.learn.run import RunSpec, spec_images


def images(n=30, classes=3, groups=None, seed=0, size=9, **about):
    "Noise, the classes in turn."
    x = np.random.default_rng(seed).random((n, 1, size, size)).astype(np.float32)
    ids = [f'{i:03d}' for i in range(n)]
    return ImageSet(x, np.arange(n) % classes, ids, ids if groups is None else groups,
        [f'c{k}' for k in range(classes)], **about)


def quiet(f, *a, **k):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return f(*a, **k)


# ---- The value range -------------------------------------------------------------------------------------------------

def test_fit_range_takes_the_percentiles_of_the_images_it_is_given():
    s = images(40)
    x = (s.images*np.arange(1, 41)[:, None, None, None]).astype(np.float32) # the later an image, the brighter
    s, train = replace(s, images=x), np.arange(0, 20)
    for percentiles in ((.1, 99.9), (5, 80)):
        low, high = s.fit_range(train, percentiles).value_range
        assert (low, high) == pytest.approx(tuple(np.percentile(x[train], percentiles)), rel=1e-6)
        assert (low, high) != pytest.approx((x[train].min(), x[train].max()), rel=1e-3)
    assert s.fit_range(train).value_range == s.fit_range(train, (.1, 99.9)).value_range
    fitted = s.fit_range(train)
    assert fitted.fit_range(np.arange(40)).value_range == fitted.value_range # what is known is kept
    assert fitted.fit_range(np.arange(40), refit=True).value_range[1] > 1.5*fitted.value_range[1]


def test_a_batch_maps_the_range_to_0_and_1_and_clips():
    s = replace(images(4), images=np.linspace(-10, 30, 4*81, dtype=np.float32).reshape(4, 1, 9, 9),
        value_range=(-5, 20))
    assert s.batch(slice(None)).numpy() == pytest.approx(np.clip((s.images + 5)/25, 0, 1), abs=1e-6)
    assert s.batch([2]).shape == (1, 1, 9, 9) and images(3).with_range(0, 1).batch([1, 2]).shape[0] == 2


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "A folder of float images of very different brightness: any two parts of it have different ranges."
    rng, at = np.random.default_rng(1), tmp_path_factory.mktemp('cells')
    for c in ('class 2', 'class 10', 'Class 1'):
        (at/c).mkdir()
        for i in range(10):
            np.save(at/c/f'{i}.npy', (rng.random((12, 12))*np.exp(3*rng.random()) + 5*rng.random()).astype(np.float32))
    return at


@pytest.mark.parametrize('protocol', ['strict', 'paper'])
def test_a_runs_range_comes_from_its_training_part(folder, protocol):
    s, split = spec_images(RunSpec(dataset='folder', folder=str(folder), source='real', protocol=protocol), show=False)
    pixels = {n: s.images[[s.ids.index(i) for i in getattr(split, n)]] for n in ('train', 'val', 'test')}
    by_hand = lambda x: pytest.approx(tuple(np.percentile(x, (.1, 99.9))), rel=1e-6)
    assert s.value_range == by_hand(pixels['train'])
    for wrong in (s.images, pixels['val'], pixels['test']): assert s.value_range != by_hand(wrong)


def test_a_runs_seed_draws_its_split(folder):
    seen = [spec_images(RunSpec(dataset='folder', folder=str(folder), source='real', seed=s), show=False)[1].test
        for s in (0, 1)]
    assert seen[0] != seen[1]


# ---- Reading ---------------------------------------------------------------------------------------------------------

def test_classes_stand_in_natural_order_and_each_image_has_its_own(folder):
    s = read_images(folder, progress=False)
    assert s.class_names == ('Class 1', 'class 2', 'class 10')
    assert all(s.class_names[y] == i.split('/')[0] for y, i in zip(s.labels, s.ids))
    for i, x in zip(s.ids, s.images): assert (np.load(folder/i) == x[0]).all()
    for name in s.class_names:
        few = s.without(name)
        assert few.class_names == tuple(n for n in s.class_names if n != name)
        assert all(few.class_names[y] == i.split('/')[0] for y, i in zip(few.labels, few.ids))


def test_bad_images_stop_the_reading_or_are_left_out_by_name(folder, tmp_path, capsys):
    for c in 'ab':
        (tmp_path/c).mkdir()
        for i in range(3): np.save(tmp_path/c/f'{i}.npy', np.random.default_rng(i).random((12, 12)).astype(np.float32))
    np.save(tmp_path/'a/1.npy', np.full((12, 12), np.nan, np.float32))
    (tmp_path/'b/2.npy').write_bytes((tmp_path/'b/2.npy').read_bytes()[:200])
    with pytest.raises(BadImages) as e: read_images(tmp_path, progress=False)
    assert [(p.path, p.kind) for p in e.value.problems] == [('a/1.npy', 'NaN'), ('b/2.npy', 'truncated')]
    assert e.value.total == 6
    capsys.readouterr()
    s = read_images(tmp_path, on_bad='skip', progress=False)
    said = capsys.readouterr().out
    assert s.ids == ('a/0.npy', 'a/2.npy', 'b/0.npy', 'b/1.npy')
    assert 'a/1.npy' in said
    assert 'b/2.npy' in said
    assert 'kept: 4' in said
    assert sorted(p for p, _ in s.meta['left_out']) == ['a/1.npy', 'b/2.npy']


def test_groups_are_read_from_a_table(tmp_path):
    for i in range(6): np.save(tmp_path/f'{i}.npy', np.random.default_rng(i).random((12, 12)).astype(np.float32))
    (tmp_path/'labels.csv').write_text('path,label,donor\n'
        + ''.join(f'{i}.npy,{"ab"[i % 2]},d{i//2}\n' for i in range(6)))
    s = read_images(tmp_path, progress=False)
    assert s.groups == ('d0', 'd0', 'd1', 'd1', 'd2', 'd2') and s.labels.tolist() == [0, 1]*3


def test_grey_of_rgb_is_the_luma(tmp_path):
    rng = np.random.default_rng(0)
    for c in 'ab':
        (tmp_path/c).mkdir()
        for i in range(2): np.save(tmp_path/c/f'{i}.npy', rng.random((12, 12, 3)).astype(np.float32))
    s = read_images(tmp_path, channels=1, progress=False)
    for i, x in zip(s.ids, s.images):
        assert x[0] == pytest.approx(np.load(tmp_path/i) @ np.float32([.299, .587, .114]), abs=1e-6)


# ---- Splits ----------------------------------------------------------------------------------------------------------

def parts(split, s): return {i: p for p in ('train', 'val', 'test') for i in getattr(split, p)}


def test_a_strict_split_keeps_shares_classes_and_groups():
    s = images(150, groups=[f'g{i//3}' for i in range(150)])
    split = make_split(s)
    where = parts(split, s)
    assert [len(getattr(split, p)) for p in ('train', 'val', 'test')] == [96, 24, 30] and len(where) == 150
    assert all(len({where[i] for i, g in zip(s.ids, s.groups) if g == name}) == 1 for name in set(s.groups))
    for p in ('train', 'val', 'test'): assert len({s.labels[s.ids.index(i)] for i in getattr(split, p)}) == 3
    loose = quiet(make_split, s, 'random')
    assert loose.meta['groups_crossing'] > 0 == split.meta['groups_crossing']
    with pytest.warns(UserWarning, match='groups lie in training and in test'): make_split(s, 'random')


def test_the_parts_of_a_split_are_told_by_name_and_not_by_position():
    s = images(60)
    split = make_split(s)
    other = s.subset(np.random.default_rng(0).permutation(60))
    at = split.indices(other)
    for p in ('train', 'val', 'test'): assert tuple(other.ids[i] for i in at[p]) == getattr(split, p)


@pytest.mark.parametrize('protocol', ['strict', 'random', 'paper'])
def test_copies_share_a_part(protocol):
    s = images(60)
    x = s.images.copy()
    pairs = [(i, i + 30) for i in range(15)]
    for a, b in pairs: x[b] = x[a]
    x[20] = x[21]
    x[20, 0, -1, -1] += .1 # one pixel makes another picture
    s = replace(s, images=x)
    assert find_duplicates(s) == sorted([f'{a:03d}', f'{b:03d}'] for a, b in pairs)
    with pytest.warns(UserWarning, match='30 images are copies'): split = make_split(s, protocol)
    where = parts(split, s)
    assert all(where[f'{a:03d}'] == where[f'{b:03d}'] for a, b in pairs)
    assert split.meta['duplicates'] == find_duplicates(s)


def test_copies_with_two_labels_are_named():
    s = images(60)
    x = s.images.copy()
    x[31] = x[0]
    with pytest.warns(UserWarning, match='copies with different labels'): split = make_split(replace(s, images=x))
    assert split.meta['label_conflicts'] == [['000', '031']]


def test_parts_that_overlap_are_no_split():
    ids = tuple('abcdef')
    for bad in ((ids[:4], ids[3:5], ids[5:]), (ids[:4], ids[4:5], ids[:1]), (ids[:3], ids[3:5], ids[4:])):
        with pytest.raises(ValueError, match='overlap|validation and test'): Split(*bad)


def test_validation_of_an_official_split_is_drawn_from_its_training_part():
    s = images(60, groups=[f'g{i//2}' for i in range(60)])
    test = [i for i in s.ids if int(i) >= 48]
    s = replace(s, meta=dict(official_split=dict(train=[i for i in s.ids if i not in test], test=test)))
    split = make_split(s, 'official')
    where = parts(split, s)
    assert split.test == tuple(test) and set(split.val) < set(s.ids) - set(test) and 8 <= len(split.val) <= 12
    assert all(where[a] == where[b] for a, b in zip(s.ids[::2], s.ids[1::2]))


def test_too_few_images_of_a_class():
    s = images(62, classes=2)
    s = replace(s, labels=np.r_[s.labels[:60], 2, 2], class_names=('c0', 'c1', 'rare'))
    with pytest.raises(ValueError, match='rare: 2 images'): make_split(s)
    assert make_split(s, too_few='drop').meta['left_out'] == ['060', '061']
    kept = make_split(s, too_few='train')
    assert {'060', '061'} <= set(kept.train) and kept.meta['train_only_classes'] == ['rare']


def test_another_seed_draws_another_split_and_the_same_seed_the_same(tmp_path):
    s = images(60)
    assert make_split(s, seed=1) == make_split(s, seed=1) and make_split(s, seed=1).hash != make_split(s, seed=2).hash
    saved = make_split(s).save(tmp_path/'split.json')
    assert Split.load(saved) == make_split(s)
    d = json.loads(saved.read_text())
    d['train'], d['test'] = d['test'], d['train']
    saved.write_text(json.dumps(d))
    with pytest.raises(ValueError, match='was changed'): Split.load(saved)


# ---- Augmentation ----------------------------------------------------------------------------------------------------

def batch(C=1, H=6, W=6, B=64): return torch.tensor(np.random.default_rng(0).random((B, C, H, W)), dtype=torch.float32)


def eight(x):
    return [f(t) for t in (x, x.mT) for f in (lambda a: a, lambda a: a.flip(-1), lambda a: a.flip(-2),
        lambda a: a.flip(-1, -2))]


def test_turn_by_hand():
    x = torch.arange(4.).view(1, 1, 2, 2)
    got = [turn(x, [b]).flatten().tolist() for b in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0))]
    assert got == [[0, 1, 2, 3], [0, 2, 1, 3], [2, 3, 0, 1], [1, 0, 3, 2], [1, 3, 0, 2]]


def test_an_opd_image_is_turned_and_mirrored_and_nothing_else():
    x = batch()
    y = augment(x, 'opd', np.random.default_rng(0))
    found = [[torch.equal(a, b) for b in eight(x[i])].index(True) for i, a in enumerate(y)]
    assert set(found) == set(range(8)) # every symmetry occurs


def test_an_event_image_changes_its_polarity_with_its_direction():
    x = batch()
    for a, b in zip(x, augment(x, 'event', np.random.default_rng(0))):
        assert sum(torch.allclose(b, w) for w in (a, a.flip(-2), 1 - a.flip(-1), 1 - a.flip(-1, -2))) == 1
    assert any(torch.allclose(b, 1 - a.flip(-1)) for a, b in zip(x, augment(x, 'event', np.random.default_rng(0))))


def test_a_hologram_is_mirrored_along_its_carrier_alone():
    row, col, rng = *np.mgrid[:32, :32], np.random.default_rng(0)
    def holograms(fy, fx):
        return torch.tensor(.5 + .3*np.cos(2*np.pi*(fy*row + fx*col)/32 + 6*rng.random((64, 1, 1, 1)))
            + .02*rng.random((64, 1, 32, 32)), dtype=torch.float32)
    x = holograms(0, 8)
    assert torch.equal(augment(x, 'hologram', np.random.default_rng(0)), x)
    for fy, mirror in ((6, lambda a: a.mT), (-6, lambda a: a.mT.flip(-1, -2))): # the carrier stays where it is
        x = holograms(fy, 6)
        y = augment(x, 'hologram', np.random.default_rng(0))
        kept, mirrored = ([torch.equal(b, f(a)) for a, b in zip(x, y)] for f in (lambda a: a, mirror))
        assert all(a != b for a, b in zip(kept, mirrored)) and 10 < sum(kept) < 54


def test_a_stain_changes_the_optical_density_a_little():
    x = (.2 + .6*batch(3)).contiguous()
    y, ods = augment(x, 'brightfield', np.random.default_rng(0)), []
    for a, b in zip(x, y):
        best = min(eight(a), key=lambda c: (c - b).abs().sum())
        for c in range(3):
            slope, shift = np.polyfit(-best[c].flatten().log10().numpy(), -b[c].flatten().log10().numpy(), 1)
            ods.append((slope, shift))
    slope, shift = np.array(ods).T
    assert .9 - 1e-3 <= slope.min() < .92 and 1.08 < slope.max() <= 1.1 + 1e-3 and abs(shift).max() <= .021
    grey = augment(x[:, :1], 'brightfield', np.random.default_rng(0))
    assert sorted(grey[0].flatten().tolist()) == sorted(x[0, 0].flatten().tolist()) # no stain of grey images


def test_augmentation_leaves_its_input_alone():
    x = batch()
    before = x.clone()
    for modality in ('opd', 'event', 'hologram', 'brightfield'): augment(x, modality, np.random.default_rng(1))
    assert torch.equal(x, before)


# ---- MedMNIST --------------------------------------------------------------------------------------------------------

def test_official_parts_of_an_npz_are_kept(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f'{p}_{w}': v for p, n in (('train', 20), ('val', 6), ('test', 8)) for w, v in
              (('images', rng.integers(0, 255, (n, 12, 12), np.uint8)), ('labels', np.arange(n)[:, None] % 2))}
    np.savez(tmp_path/'x.npz', **arrays)
    s = read_npz(tmp_path/'x.npz')
    split = make_split(s, 'official')
    assert [len(getattr(split, p)) for p in ('train', 'val', 'test')] == [20, 6, 8]
    assert all(i.startswith(p) for p in ('train', 'val', 'test') for i in getattr(split, p))
    assert s.value_range == (0, 255) and (s.images[-8:, 0] == arrays['test_images']).all()


def test_the_last_pixel_belongs_to_the_content():
    "Fingerprint and content hash read an image to its end."
    pixels = np.zeros((2, 1, 16, 16), np.uint8)
    other = pixels.copy()
    other[1, 0, -1, -1] = 1
    sets = [ImageSet(images=x, labels=[0, 1], ids='ab', groups='ab', class_names='xy', modality='toy', simulated=True) for x in (pixels, other)]
    assert sets[0].fingerprint != sets[1].fingerprint
    assert [a == b for a, b in zip(*(s.content_hashes() for s in sets))] == [True, False]
