"Copies in any position are one group; constant images are named; many images take seconds."
import time
import warnings
import numpy as np
import pytest
from PIL import Image
from sparseattnnet.data.images import ImageSet, read_images
from sparseattnnet.data.splits import find_duplicates, joined_groups, make_split, symmetries


def image_set(x, labels=None, groups=None):
    n = len(x)
    ids = [f'{i:05d}' for i in range(n)]
    return ImageSet(x, np.arange(n) % 2 if labels is None else labels, ids, groups or ids, ('a', 'b'), simulated=True)


def said(f):
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter('always')
        out = f()
    return out, ' | '.join(str(m.message) for m in w)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('shape', [(1, 16, 16), (3, 17, 17), (1, 12, 20)])
def test_all_eight_positions_and_nothing_else(dtype, shape):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 250, (40, *shape)).astype(dtype)
    forms = [f for f in symmetries(x[0]) if f.shape == shape]
    assert len(forms) == (8 if shape[1] == shape[2] else 4)
    found = find_duplicates(image_set(np.concatenate([x, np.stack(forms[1:])])))
    assert found == [['00000', *(f'{40 + i:05d}' for i in range(len(forms) - 1))]]
    rolled = np.concatenate([x, np.roll(x, 1, -1), np.roll(x, 3, -2)])
    assert find_duplicates(image_set(rolled)) == []


def test_a_folder_with_mirrored_copies(tmp_path):
    rng = np.random.default_rng(0)
    for name in 'ab':
        (tmp_path/name).mkdir()
        for i in range(10):
            a = rng.integers(0, 200, (64, 64), np.uint8)
            for end, b in (('', a), ('_flip', a[:, ::-1]), ('_turned', a.T)): Image.fromarray(b).save(tmp_path/name/f'{i}{end}.png')
    for size in (None, 48):
        images = read_images(tmp_path, size=size)
        for protocol in ('strict', 'random', 'paper'):
            split, text = said(lambda: make_split(images, protocol))
            base = lambda ids: {i.split('.')[0].split('_')[0] for i in ids}
            assert not base(split.train) & base(split.test) and not base(split.train) & base(split.val)
            assert '60 images are mirrored, turned or resized copies of each other (a/0.png = a/0_flip.png = a/0_turned.png' in text
            assert len(split.meta['duplicates']) == len(split.meta['mirrored']) == 20


def test_groups_that_share_a_copy_become_one():
    x = np.random.default_rng(1).integers(0, 250, (60, 1, 16, 16), np.uint8)
    x[7] = x[30, :, ::-1]
    groups = [f'donor {i//3}' for i in range(60)]
    names = joined_groups(image_set(x, groups=groups))
    assert {n for i, n in enumerate(names) if i in (6, 7, 8, 30, 31, 32)} == {'donor 2'}
    assert [n for i, n in enumerate(names) if i//3 not in (2, 10)] == [g for i, g in enumerate(groups) if i//3 not in (2, 10)]


def test_labels_of_mirrored_copies_that_differ_are_said():
    x = np.random.default_rng(1).integers(0, 250, (60, 1, 16, 16), np.uint8)
    x[31] = x[4, :, ::-1]
    split, text = said(lambda: make_split(image_set(x)))
    assert 'copies with different labels (00004 = 00031)' in text and split.meta['label_conflicts'] == [['00004', '00031']]


def test_every_constant_image_is_named():
    x = np.random.default_rng(1).integers(0, 250, (60, 1, 16, 16), np.uint8)
    x[[3, 17, 44]] = np.array([0, 7, 255], np.uint8)[:, None, None, None]
    split, text = said(lambda: make_split(image_set(x)))
    assert '3 images have one value in all pixels (00003, 00017, 00044)' in text
    assert split.meta['constant'] == ['00003', '00017', '00044']


def test_sparse_and_almost_equal_pictures_are_not_confused():
    rng = np.random.default_rng(2)
    sparse = (rng.random((300, 1, 64, 64)) < .004).astype(np.uint8)
    assert find_duplicates(image_set(sparse)) == []
    y, x = np.mgrid[-32:32, -32:32]
    balls = np.stack([200*np.exp(-(x**2 + y**2)/(2*s**2)) for s in rng.uniform(9, 12, 100)])[:, None].astype(np.uint8)
    noisy = balls + rng.integers(0, 6, balls.shape, np.uint8)
    assert find_duplicates(image_set(noisy)) == []


def test_ten_thousand_images_take_seconds():
    x = np.random.default_rng(3).integers(0, 250, (5000, 1, 135, 135), np.uint8)
    both = image_set(np.concatenate([x, x[..., ::-1]]))
    start = time.process_time()
    assert len(find_duplicates(both)) == 5000
    assert time.process_time() - start < 20


