"Hand-computed values of the statistics, and odd input to the statistics and to the scores of masks."
import math
import numpy as np
import pytest
import torch
from PIL import Image
from sparseattnnet.judge.localisation import auroc, coverage, enrichment, pointing_game, read_masks, rim, score_batch, summary
from sparseattnnet.judge.localisation import paired as paired_scores
from sparseattnnet.judge.statistics import (Comparison, holm, judge, mean_interval, paired_over_images, paired_over_seeds,
                                            welch_from_summary)
from sparseattnnet.learn.metrics import wilson_interval

nan = float('nan')


def test_paired_t_with_nadeau_bengio_by_hand():
    # d = 1, 2, 3: mean 2, s = 1. t(2 df, 0.975) = 4.302653. 1/3 + 1/4 = 7/12. half = 4.302653·√(7/12) = 3.286206
    c = paired_over_seeds([2, 4, 6], [1, 2, 3], overlap=.25)
    assert (c.difference, c.effect, c.n) == (2., 2., 3)
    assert (c.low, c.high) == pytest.approx((2 - 3.286206, 2 + 3.286206), abs=1e-5)
    # t = 2/√(7/12) = 2.618615; with 2 df p = 1 − t/√(t² + 2)
    t = 2/math.sqrt(7/12)
    assert c.p == pytest.approx(1 - t/math.sqrt(t*t + 2), abs=1e-12)
    plain = paired_over_seeds([2, 4, 6], [1, 2, 3])
    assert plain.low == pytest.approx(2 - 4.302653/math.sqrt(3), abs=1e-5)
    assert plain.p == pytest.approx(1 - math.sqrt(12)/math.sqrt(14), abs=1e-12)


def test_mcnemar_and_odds_ratio_by_hand():
    # 6 images only a has right, 1 only b, 3 both: p = 2·(C(7,0) + C(7,1))/2⁷ = 16/128
    a, b = [1]*6 + [0] + [1]*3, [0]*6 + [1] + [1]*3
    c = paired_over_images(a, b)
    assert c.difference == pytest.approx(50.) and c.p == pytest.approx(.125) and c.effect == pytest.approx(6.5/1.5) and c.n == 10
    # all ties
    c = paired_over_images([1, 0, 1], [1, 0, 1])
    assert (c.difference, c.p, c.effect) == (0., 1., 1.)


def test_groups_by_hand():
    # net wins of the cells: +3, +1, −1. Sums of ±3 ±1 ±1: |sum| ≥ 3 in 6 of 8 sign patterns
    a, b, g = [1, 1, 1, 1, 0], [0, 0, 0, 0, 1], ['x', 'x', 'x', 'y', 'z']
    c = paired_over_images(a, b, groups=g)
    assert c.p == pytest.approx(6/8) and c.n == 3 and c.difference == pytest.approx(60.)


def test_holm_and_wilson_by_hand():
    # sorted .01, .02, .03, .2: ·4 = .04, ·3 = .06, ·2 = .06, ·1 = .2
    assert holm([.03, .2, .01, .02]) == pytest.approx([.06, .2, .04, .06])
    assert holm(p for p in (.6, .7)) == [1., 1.]
    # 8 of 10, z = 1.959964: centre (.8 + .192073)/1.384146 = .716740, half = 1.959964·√(.016 + .0096036)/1.384146
    low, high = wilson_interval(8, 10)
    assert (low, high) == pytest.approx((.490162, .943318), abs=1e-5)


@pytest.mark.parametrize('call, text', [
    (lambda: paired_over_seeds([1, nan, 2], [1, 2, 3]), r'a\[1\] is not finite'),
    (lambda: paired_over_seeds([1, 2, 3], [1, 2]), '3 values of a but 2 of b'),
    (lambda: paired_over_seeds({0: 1., 1: 2.}, [1, 2]), 'expected a list of numbers'),
    (lambda: paired_over_seeds(['94,1', '95,0'], [1, 2]), 'expected a list of numbers'),
    (lambda: paired_over_seeds([1, 2], [2, 4], 95), 'level=95'),
    (lambda: paired_over_seeds([1, 2], [2, 4], '.95'), "level='.95'"),
    (lambda: paired_over_seeds([1, 2], [2, 4], nan), 'level=nan'),
    *((lambda o=o: paired_over_seeds([1, 2], [2, 4], overlap=o), 'overlap=') for o in (-.1, 1, 4, 25, nan)),
    (lambda: mean_interval([]), 'at least 1 number'),
    (lambda: paired_over_images([1, 0], [1, 0], groups='ab'), '1 groups for 2 images'),
    (lambda: paired_over_images([1, 0], [1, 0], groups=['a', None]), r'groups\[1\]=None: 1 images have no group'),
    (lambda: paired_over_images([1, 0], [1, 0], groups=[nan, nan]), '2 images have no group'),
    (lambda: paired_over_images([1, nan], [1, 0]), 'expected True or False'),
    (lambda: paired_over_images([1, 0], [1, 0], draws=0), 'draws=0'),
    (lambda: welch_from_summary(94, nan, 5, 93, 1, 5), 'expected finite numbers'),
    (lambda: welch_from_summary(94, .5, 4.5, 93, 1, 5), 'whole numbers of runs'),
    (lambda: holm([.1, nan]), 'p=nan'), (lambda: holm([.1, '.2']), "p='.2'"),
    (lambda: judge(Comparison(1, .5, 2, .2, 1, 5, ''), alpha=5), 'alpha=5'),
    (lambda: judge(Comparison(1, .5, 2, .2, 1, 5, ''), margin=nan), 'margin=nan'),
    (lambda: summary([1., math.inf]), 'is infinite'), (lambda: summary([1., 2.], ['a', None]), 'without a group'),
    (lambda: summary([1., 2.], level=95), 'level=95'), (lambda: summary([1., 2.], draws=0), 'draws=0'),
    (lambda: paired_scores([1., 2.], [1., 3.], comparisons=500), 'expected at least 20000'),
])
def test_odd_input_is_refused(call, text):
    with pytest.raises(ValueError, match=text) as e: call()
    assert '\n' not in str(e.value)


def test_one_seed_and_values_from_a_generator():
    c = paired_over_seeds([94.], [93.])
    assert (c.difference, c.low, c.p) == (1., None, None)
    assert mean_interval(v for v in (1., 2., 3.)).mean == 2.


def test_masks_of_0_and_255_empty_full_and_of_another_size():
    mask, idx = torch.zeros(2, 6, 6, dtype=torch.bool), torch.tensor([[7, 8], [7, 30]])
    mask[:, 1:3, 1:4] = True
    assert enrichment(idx, mask).tolist() == pytest.approx([6., 3.])
    for bad in (mask.byte()*255, mask.float(), mask.numpy()):
        with pytest.raises(ValueError, match='> 0 for a mask of 0 and 1, or of 0 and 255'): enrichment(idx, bad)
    x = torch.rand(2, 6, 6)
    for blank in (mask & False, mask | True):
        assert all(f.isnan().all() for f in (enrichment(idx, blank), coverage(idx, blank), auroc(x, blank), pointing_game(x, blank)))
    with pytest.raises(ValueError, match='map of shape'): auroc(x, mask[:, :5])
    with pytest.raises(ValueError, match=r'different shapes \(cell \(2, 6, 6\), nucleus \(2, 5, 6\)\)'):
        score_batch({'s': idx}, {}, {'cell': mask, 'nucleus': mask[:, :5]})
    with pytest.raises(ValueError, match='no mask'): score_batch({'s': idx}, {}, {})


def test_several_cells_have_rims_of_their_own():
    y, x = np.mgrid[:120, :200]
    one, two = (y - 60)**2 + (x - 50)**2 <= 40**2, (y - 60)**2 + (x - 140)**2 <= 40**2
    both = rim(torch.from_numpy(np.stack([one | two, one, two])))
    assert (both[0] == both[1] | both[2]).all()
    small = (y - 60)**2 + (x - 140)**2 <= 20**2
    each = rim(torch.from_numpy(np.stack([one | small, small])))
    assert (each[0] & torch.from_numpy(small) == each[1]).all()
    dirt = one.copy()
    dirt[5:8, 190:193] = True
    assert rim(torch.from_numpy(dirt[None])).sum() - 9 == pytest.approx(int(both[1].sum()), abs=30)


def saved(folder, masks, mode=None):
    for i, m in enumerate(masks):
        image = Image.fromarray(m.astype(np.uint8))
        if mode == 'P': image.putpalette([0, 0, 0, 255, 255, 200, 0, 0, 90] + [0]*759)
        image.save(folder/f'{i}.png')
    return [f'{i}.jpg' for i in range(len(masks))]


def cell(level=1, nucleus=0, side=32):
    m = np.zeros((side, side))
    m[8:24, 8:24] = level
    if nucleus: m[12:18, 12:18] = nucleus
    return m


def test_masks_from_files(tmp_path):
    said = []
    for name in ('one', 'palette', 'numbered', 'mixed', 'blank', 'noisy', 'broken'): (tmp_path/name).mkdir()
    ids = saved(tmp_path/'one', [cell(1)]*3)
    assert read_masks(tmp_path/'one', ids, (32, 32), said.append)[1]['cell'].sum((1, 2)).tolist() == [256]*3
    ids = saved(tmp_path/'palette', [cell(1, 2)]*3, 'P')
    found = read_masks(tmp_path/'palette', ids, (32, 32), said.append)[1]
    assert found['nucleus'].sum((1, 2)).tolist() == [36]*3 and found['cell'].sum((1, 2)).tolist() == [256]*3
    two = np.hstack([cell(1), cell(2)])
    ids = saved(tmp_path/'numbered', [two]*3)
    with pytest.raises(ValueError, match='numbered cells'): read_masks(tmp_path/'numbered', ids, (32, 64), said.append)
    with pytest.raises(ValueError, match='1 in some masks and 255 in others'):
        read_masks(tmp_path/'mixed', saved(tmp_path/'mixed', [cell(1), cell(255)]*2), (32, 32), said.append)
    assert not said
    ids = saved(tmp_path/'blank', [cell(1), cell(1), cell(0), cell(1)*0 + 1])
    kept, found = read_masks(tmp_path/'blank', ids, (32, 32), said.append)
    assert len(kept) == 4 and said == ['2 of 4 masks are empty or full and have no score: 2.jpg, 3.jpg']
    noisy = [cell(200) + i*(np.indices((32, 32)).sum(0) == i) for i in (1, 2, 3)]
    ids = saved(tmp_path/'noisy', noisy)
    with pytest.raises(ValueError, match='all 3 masks have levels other than 0, 200, such as 0.jpg'):
        read_masks(tmp_path/'noisy', ids, (32, 32), said.append)
    (tmp_path/'broken'/'0.png').write_bytes(b'no picture')
    with pytest.raises(ValueError, match="mask '0.png' cannot be read"):
        read_masks(tmp_path/'broken', ['0.jpg'], (32, 32), said.append)
