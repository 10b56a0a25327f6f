"""Intervals, p-values and rows of tables against numbers computed by hand.

They come from SciPy's distributions, or are printed ones."""
import math
from statistics import mean, stdev

import numpy as np
import pytest
from scipy import stats

from sparseattnnet.judge import statistics as S
from sparseattnnet.judge import tables as T
from sparseattnnet.learn import records as R
from sparseattnnet.learn.metrics import evaluate, wilson_interval
from sparseattnnet.method.printed import PAPER_TABLE1
from sparseattnnet.studies.ablation import (ARMS, FACTORS, Planned, ablation_table, claim_of, compare_runs, grid_arms,
    main_effects)
from sparseattnnet.learn.run import RunSpec

A, B = [93.1, 94.0, 92.5, 94.8, 93.3], [91.0, 92.9, 92.3, 92.1, 92.2]
T4 = 2.7764451 # of Student's distribution with 4 degrees of freedom, 97.5 %


# ---- Statistics ------------------------------------------------------------------------------------------------------

def test_the_interval_of_a_mean():
    m, half = mean(A), T4*stdev(A)/math.sqrt(5)
    assert tuple(S.mean_interval(A)) == pytest.approx((m, m - half, m + half), rel=1e-6)
    low, high = S.mean_interval(A, .9)[1:]
    assert high - low == pytest.approx(2*2.1318468*stdev(A)/math.sqrt(5), rel=1e-6)
    assert tuple(S.mean_interval([3.])) == (3., None, None)


@pytest.mark.parametrize('overlap', [0., .25])
def test_the_paired_test_over_seeds(overlap):
    d = [a - b for a, b in zip(A, B)]
    se = stdev(d)*math.sqrt(1/5 + overlap) # Nadeau and Bengio (2003)
    c = S.paired_over_seeds(A, B, overlap=overlap)
    assert (c.difference, c.low, c.high) == pytest.approx((mean(d), mean(d) - T4*se, mean(d) + T4*se), rel=1e-6)
    assert c.p == pytest.approx(2*stats.t.sf(mean(d)/se, 4))
    assert c.effect == pytest.approx(mean(d)/stdev(d))
    assert c.n == 5
    turned = S.paired_over_seeds(B, A, overlap=overlap)
    assert turned.p == pytest.approx(c.p) and turned.difference == pytest.approx(-c.difference)


def test_the_paired_test_over_images():
    a = np.r_[np.ones(8), np.zeros(2), np.ones(30), np.zeros(5)] > 0 # 8 for the first alone, 2 for the second alone
    b = np.r_[np.zeros(8), np.ones(2), np.ones(30), np.zeros(5)] > 0
    c = S.paired_over_images(a, b)
    assert c.difference == pytest.approx(100*6/45)
    assert c.p == pytest.approx(.109375)
    assert c.effect == pytest.approx(8.5/2.5)
    assert c.n == 45
    draws = np.random.default_rng(7).choice(a.astype(int) - b, (20000, 45)).mean(1)*100
    assert (c.low, c.high) == pytest.approx(tuple(np.quantile(draws, (.025, .975))), abs=1.2)
    pairs = S.paired_over_images(np.repeat(a, 2), np.repeat(b, 2), groups=np.repeat(np.arange(45), 2))
    assert pairs.p == pytest.approx(.109375)
    assert pairs.n == 45
    assert (pairs.low, pairs.high) == pytest.approx((c.low, c.high), abs=1.2)
    assert S.paired_over_images(a, b, groups=[0]*45).p == 1. # one group, one coin


def test_welch_from_a_printed_mean_and_deviation():
    c = S.welch_from_summary(95.29, .38, 5, 94.05, .47, 5)
    x, y = (np.array([-1, -.5, 0, .5, 1])/np.std([-1, -.5, 0, .5, 1], ddof=1)*s + m
        for m, s in ((95.29, .38), (94.05, .47)))
    want = stats.ttest_ind(x, y, equal_var=False)
    ends = want.confidence_interval(.95)
    assert (c.difference, c.p, c.low, c.high) == pytest.approx((1.24, want.pvalue, *ends))
    assert c.effect == pytest.approx(1.24/math.sqrt((.38**2 + .47**2)/2))


def test_holms_correction():
    assert S.holm([.03, .01, None, .04]) == pytest.approx([.06, .03, None, .06])
    assert S.holm([.5, .6]) == pytest.approx([1., 1.])
    assert S.holm([.01, .02, .03, .001]) == pytest.approx([.03, .04, .04, .004])


def test_judgements():
    c = lambda low, high, p: S.Comparison((low + high)/2, low, high, p, None, 5, '')
    got = [S.judge(x, 1.) for x in (c(.2, 3, .01), c(-3, -.2, .01), c(-.9, .9, .9), c(-.5, 3, .2), c(.2, 3, .06),
        c(-.9, 1.1, .001))]
    assert got == ['better', 'worse', 'equal within ±margin', 'undecided', 'undecided', 'undecided']
    assert S.judge(S.Comparison(1., None, None, None, None, 1, '')) == 'one seed: no judgement'


def test_wilsons_interval():
    assert wilson_interval(8, 10) == pytest.approx((.4901625, .9433178), abs=1e-6)
    assert wilson_interval(0, 10) == pytest.approx((0., .2775328), abs=1e-6)
    assert wilson_interval(8, 10, .9) == pytest.approx(tuple(stats.binomtest(8, 10).proportion_ci(.9, 'wilson')))


def test_scores_by_hand():
    y = np.array([0, 0, 0, 0, 1, 1, 2])
    p = np.eye(4)[[0, 0, 1, 2, 1, 0, 2]]*.97 + .0075
    m = evaluate(p, y, 'abcd')
    f1 = [2*2/(2*2 + 1 + 2), 2*1/(2*1 + 1 + 1), 2*1/(2*1 + 1 + 0)]
    assert m['accuracy'] == pytest.approx(4/7, abs=1e-6)
    assert m['macro_f1'] == pytest.approx(mean(f1), abs=1e-6)
    assert m['absent'] == ['d']
    assert m['balanced_accuracy'] == pytest.approx((.5 + .5 + 1)/3, abs=1e-6)
    assert m['f1_weighted'] == pytest.approx((4*f1[0] + 2*f1[1] + f1[2])/7, abs=1e-6)
    assert m['confusion'] == [[2, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0]*4]
    assert m['per_class']['a']['precision'] == pytest.approx(2/3, abs=1e-6)
    assert m['accuracy_interval'] == pytest.approx(stats.binomtest(4, 7).proportion_ci(.95, 'wilson'))


# ---- Runs that were made up here -------------------------------------------------------------------------------------

def run(seed, model, accuracy, out=None, right=None, dataset='opd', simulated=False, **more):
    "A record; with `out` also its predictions, right or wrong as told."
    ours = model == 'sparseattnnet'
    r = dict(run_id=f'{dataset}_{model}_{accuracy}_s{seed}', dataset=dataset, dataset_title='made up',
        simulated=simulated, class_names=['a', 'b'], data_fingerprint='f'*64,
        split_hash=f'split {seed}', split_counts=dict(train=60, val=20, test=20), protocol='strict', model=model,
            preset='corrected' if ours else '',
        config=dict(model=dict(use_fine=True), recipe=dict(epochs=3)), seed=seed, profile='converged', history=[],
            k_per_epoch=[10, 20] if ours else [], k=15 if ours else None,
        share_of_pixels=.125 if ours else 1., parameters=1000, train_s=1.,
            test=dict(accuracy=accuracy/100, precision_weighted=accuracy/100, recall_weighted=accuracy/100,
        f1_weighted=accuracy/100, macro_f1=accuracy/100 - .01, balanced_accuracy=accuracy/100 - .02,
            per_class=dict(a=dict(support=10), b=dict(support=10)))) | more
    if out is not None:
        y = np.arange(20) % 2
        p = np.where(right, y, 1 - y)
        order = slice(None, None, 1 if ours else -1) # no model need keep the order of another
        R.save_predictions(out/'runs'/r['run_id']/'predictions.csv', [f'{5*seed + i:02d}' for i in range(20)][order],
            y[order], np.eye(2)[p][order], 'ab') # seeds share test images
    return r


@pytest.fixture
def pairs(tmp_path):
    "Two models, three seeds: what they get right of 20 images each time."
    rng = np.random.default_rng(0)
    made = {}
    for model, share in (('sparseattnnet', .9), ('dense_cnn', .6)):
        for seed in (0, 1, 2):
            right = rng.random(20) < share
            made[model, seed] = run(seed, model, 100*right.mean(), tmp_path, right), right
    a, b = ([made[m, s][0] for s in (0, 1, 2)] for m in ('sparseattnnet', 'dense_cnn'))
    return a, b, tmp_path, np.concatenate([made['sparseattnnet', s][1]
        for s in (0, 1, 2)]), np.concatenate([made['dense_cnn', s][1] for s in (0, 1, 2)])


def over_seeds_by_hand(a, b, overlap):
    d = [100*(x['test']['accuracy'] - y['test']['accuracy']) for x, y in zip(a, b)]
    half = stats.t.ppf(.975, len(d) - 1)*stdev(d)*math.sqrt(1/len(d) + overlap)
    return mean(d), mean(d) - half, mean(d) + half


def flips(right_a, right_b):
    "Exact p by hand: each of the 30 images, tested by one to three seeds, turns its net wins round or not."
    net = np.zeros(30, int)
    for s in range(3):
        net[5*s:5*s + 20] += right_a.reshape(3, 20)[s].astype(int) - right_b.reshape(3, 20)[s].astype(int)
    sums = {0: 1.}
    for n in net:
        new = {}
        for v, p in sums.items():
            for w in (v + n, v - n): new[w] = new.get(w, 0) + p/2
        sums = new
    return sum(p for v, p in sums.items() if abs(v) >= abs(net.sum()))


def test_an_ablations_interval_is_corrected_for_overlapping_splits(pairs):
    a, b, out, right_a, right_b = pairs
    seeds, images, by_seed = compare_runs({r['seed']: r for r in a}, {r['seed']: r for r in b}, out)
    want = over_seeds_by_hand(a, b, 20/80)
    assert (seeds.difference, seeds.low, seeds.high) == pytest.approx(want)
    assert by_seed == pytest.approx([100*(x['test']['accuracy'] - y['test']['accuracy']) for x, y in zip(a, b)])
    assert seeds.high - seeds.low > 1.2*(over_seeds_by_hand(a, b, 0.)[2] - over_seeds_by_hand(a, b, 0.)[1])
    assert images.difference == pytest.approx(100*(right_a.mean() - right_b.mean()))
    assert images.p == pytest.approx(flips(right_a, right_b))
    assert images.n == 30
    assert compare_runs({0: a[0]}, {1: b[1]}, out) is None
    with pytest.raises(ValueError, match='different splits'):
        compare_runs({0: a[0]}, {0: b[0] | dict(split_hash='other')}, out)


def test_a_row_of_an_ablation(pairs):
    a, b, out, *_ = pairs
    arms = {n: ARMS[n] for n in ('corrected', 'dense CNN')}
    planned = [Planned(n, RunSpec(seed=r['seed']), r['run_id'], 3, 100)
        for n, rs in (('corrected', a), ('dense CNN', b)) for r in rs]
    t = ablation_table(planned, {r['run_id']: r for r in a + b}, out, arms).set_index('arm')
    accuracy = [100*r['test']['accuracy'] for r in b]
    assert t.loc['dense CNN', 'accuracy'] == pytest.approx(mean(accuracy))
    assert t.loc['dense CNN', 'sd'] == pytest.approx(stdev(accuracy))
    assert t.loc['dense CNN', 'n'] == 3
    assert (t.loc['dense CNN', 'difference'], t.loc['dense CNN', 'low'],
        t.loc['dense CNN', 'high']) == pytest.approx(over_seeds_by_hand(b, a, .25))
    assert t.loc['corrected', 'mean_k'] == 15
    assert t.loc['dense CNN', 'verdict'] == 'worse'
    assert t.loc['dense CNN', 'claim'] == 'supported'


def test_main_effects_of_a_factorial_study():
    rng, planned, records = np.random.default_rng(0), [], {}
    acc = {(n, s): 80 + 10*(n[1] == '+') + float(rng.normal()) for n in grid_arms() for s in (0, 1, 2)}
    for (n, s), v in acc.items():
        r = run(s, 'sparseattnnet', v) | dict(run_id=f'{n} {s}')
        records[r['run_id']] = r
        planned.append(Planned(n, RunSpec(seed=s), r['run_id'], 3, 100))
    t = main_effects(planned, records)
    assert len(t) == len(FACTORS) == 4
    for i, row in t.iterrows():
        d = [mean(acc[n, s] for n in grid_arms() if n[i] == '+') - mean(acc[n, s] for n in grid_arms() if n[i] == '-')
            for s in (0, 1, 2)]
        half = stats.t.ppf(.975, 2)*stdev(d)*math.sqrt(1/3 + .25)
        assert (row['effect'], row['low'], row['high']) == pytest.approx((mean(d), mean(d) - half, mean(d) + half))
    assert t.loc[1, 'verdict'] == 'better'


def test_a_studys_verdicts_take_holms_correction(tmp_path):
    "Three arms against one reference: a difference that would do alone does not do among three."
    names = ('corrected', 'no contrast', 'no gate', 'bare tokens')
    reference, d = [90., 91., 92., 90.5, 91.5], [2.6, 1.3, 2.9, 1.0, 2.2]
    found = S.paired_over_seeds([a + b for a, b in zip(reference, d)], reference, overlap=.25)
    assert found.p < .05 < 3*found.p and found.low > 0
    planned, records = [], {}
    for i, n in enumerate(names):
        for s, v in enumerate(reference):
            r = run(s, 'sparseattnnet', v + (d[(s + i) % 5] if i else 0), tmp_path,
                np.arange(20) < 18) | dict(run_id=f'{n} {s}')
            R.save_predictions(tmp_path/'runs'/r['run_id']/'predictions.csv', [f'{j}' for j in range(20)],
                np.arange(20) % 2, np.eye(2)[np.arange(20) % 2], 'ab')
            records[r['run_id']] = r
            planned.append(Planned(n, RunSpec(seed=s), r['run_id'], 3, 100))
    t = ablation_table(planned, records, tmp_path, {n: ARMS[n] for n in names}).set_index('arm')
    assert S.holm([t.loc[n, 'p'] for n in names[1:]]) == pytest.approx([t.loc[n, 'p_holm'] for n in names[1:]])
    assert [t.loc[n, 'verdict'] for n in names[1:]] == ['undecided']*3


def test_claims():
    got = [claim_of(v, e) for v, e in (('worse', 'worse'), ('better', 'worse'), ('equal within ±margin', 'worse'),
        ('undecided', 'worse'), ('better', 'no better'), ('worse', 'no better'), ('equal within ±margin', 'no worse'))]
    assert got == ['supported', 'contradicted', 'no effect that matters', 'undecided', 'contradicted', 'supported',
        'supported']


def test_predictions_that_were_edited_are_not_read(pairs):
    file = pairs[2]/'runs'/pairs[0][0]['run_id']/'predictions.csv'
    first = file.read_text().split('\n')[1]
    assert first == '00,a,a,1,1,0', first
    for wrong in ('00,a,b,0,1,0', '00,a,a,0,1,0', '00,b,a,1,1,0'):
        file.write_text(file.read_text().replace(first, wrong))
        with pytest.raises(ValueError, match='edited'): R.load_predictions(file)
        file.write_text(file.read_text().replace(wrong, first))
    assert R.load_predictions(file).labels[0] == 0


def test_comparisons_of_a_table(pairs):
    a, b, out, right_a, right_b = pairs
    t = T.comparisons(a + b, out)
    over = t.set_index(['over', 'metric'])
    got = over.loc['seeds', 'accuracy, %']
    assert (got['difference, points'], got['low'], got['high']) == pytest.approx(over_seeds_by_hand(a, b, .25),
        abs=.006)
    assert got['p'] == pytest.approx(S.paired_over_seeds([100*r['test']['accuracy'] for r in a],
        [100*r['test']['accuracy'] for r in b], overlap=.25).p, rel=.06)
    assert over.loc[('test images', 'accuracy, %'),
        'difference, points'] == pytest.approx(100*(right_a.mean() - right_b.mean()), abs=.006)
    p = T.paired_runs(a, b)
    assert T.overlap(p) == .25
    assert T.overlap(p[:1]) == 0.
    assert T.overlap([(x | dict(split_hash='one'), y) for x, y in p]) == 0.
    assert T.overlap([(x | dict(protocol='paper', split_counts=dict(train=80, val=20, test=20)), y)
        for x, y in p]) == .25


def test_recall_is_worth_as_many_trials_as_there_are_cells(pairs):
    a, _, out, right, _ = pairs
    rows = T.recall_table(a, out)
    pooled = T.pooled_recall(rows).set_index('class')
    every = [(5*s + i, right.reshape(3, 20)[s, i]) for s in range(3) for i in range(0, 20, 2)] # class a
    times = np.unique([i for i, _ in every], return_counts=True)[1]
    worth, p = 30**2/(times**2).sum(), np.mean([r for _, r in every])
    z = 1.959964
    centre, half = p + z*z/(2*worth), z*math.sqrt(p*(1 - p)/worth + z*z/(4*worth**2))
    low, high, hits = (centre - half)/(1 + z*z/worth), (centre + half)/(1 + z*z/worth), right.reshape(3, 20)[:, 0::2]
    assert worth < 25
    assert (pooled.loc['a', 'recall, %'], pooled.loc['a', 'low'],
        pooled.loc['a', 'high']) == pytest.approx((100*hits.mean(), 100*low, 100*high), abs=.006)
    assert pooled.loc['a', 'sd over runs'] == pytest.approx(100*np.std(hits.mean(1), ddof=1), abs=.006)
    assert T.effective_number('aab') == pytest.approx(9/5)


# ---- Table 1 ---------------------------------------------------------------------------------------------------------

PRINTED = { # accuracy of the paper's Table 1
    'wbc': {'sparseattnnet': (96.75, .23), 'resnet50': (97.36, .29), 'mobilenet_v2': (97.27, .43)},
        'event': {'sparseattnnet': (94.94, .45), 'resnet50': (94.43, 1.03), 'mobilenet_v2': (93.67, 1.3)},
    'opd': {'sparseattnnet': (94.05, .47), 'resnet50': (95.29, .38), 'mobilenet_v2': (94.54, .5)},
        'holo': {'sparseattnnet': (99.07, .36), 'resnet50': (99.6, .15), 'mobilenet_v2': (98.96, .22)}}


@pytest.mark.parametrize('dataset', PRINTED)
def test_our_rows_stand_beside_the_papers(dataset):
    for model, (m, sd) in PRINTED[dataset].items():
        values = [m - .1, m + .3, m + .25]
        t = T.table1([run(s, model, v, dataset=dataset) for s, v in enumerate(values)]).set_index('metric')
        row = t.loc['accuracy, %']
        assert row['paper'] == f'{m:g} ± {sd:g}' and row['n'] == 3
        assert (row['ours'], row['sd'], row['difference']) == pytest.approx((mean(values), stdev(values),
            mean(values) - m), abs=.006)
        assert row["inside the paper's ±"] == ('yes' if abs(mean(values) - m) <= sd else 'no')
        assert row['verdict'] == ("inside the paper's ±" if abs(mean(values) - m) <= sd else "above the paper's ±")
        assert ('k' in t.index) == (model == 'sparseattnnet') and str(t.loc['macro-F1, %', 'paper']) in ('None', 'nan')
        assert T.mean_sd([run(s, model, v, dataset=dataset) for s, v in enumerate(values)],
            'accuracy') == f'{mean(values):.2f} ± {stdev(values):.2f}'
    paper = T.paper_layout((dataset,)).set_index('model')
    assert [paper.loc[n, 'accuracy, %'] for n in ('Ours', 'Resnet50', 'MobilenetV2')] == [f'{m:.2f} ± {sd:.2f}'
        for m, sd in PRINTED[dataset].values()]


def test_the_papers_k():
    t = T.table1([run(0, 'sparseattnnet', 94.)]).set_index('metric')
    assert t.loc['k', 'paper'] == '2145.8 ± 570.4'
    assert t.loc['k', 'ours'] == 15
    assert t.loc['% of image', 'paper'] == '11.76 ± 3.12'
    assert t.loc['% of image', 'ours'] == 12.5


def test_verdicts():
    v = T.verdict
    got = [v(*a) for a in ((95., (95.3, .4), 'opd', False, 'converged'), (94., (95.3, .4), 'opd', False, 'converged'),
        (96., (95.3, .4), 'opd', False, 'converged'), (95., (95.3, .4), 'opd', True, 'converged'),
        (95., (95.3, .4), 'opd', False, 'quick'), (95., (95.3, .4), 'folder-x', False, 'converged'),
            (95., None, 'opd', False, 'converged'))]
    assert got == ["inside the paper's ±", "below the paper's ±", "above the paper's ±",
        'not comparable: simulated data', 'not comparable: not the converged profile', 'not comparable: other data',
        'no value in the paper']


def test_the_papers_own_significance():
    t = T.paper_significance(('opd',)).set_index('against')
    c = S.welch_from_summary(94.05, .47, 5, 95.29, .38, 5)
    row = t.loc['paper: resnet50']
    assert (row['difference, points'], row['low'], row['high']) == pytest.approx((c.difference, c.low, c.high),
        abs=.006)
    assert row['p'] == pytest.approx(c.p, rel=.06)


def test_runs_that_do_not_belong_together():
    with pytest.raises(ValueError, match='different data'):
        T.table1([run(0, 'resnet50', 90.), run(1, 'resnet50', 90.) | dict(data_fingerprint='0'*64)])
    with pytest.raises(ValueError, match='profile or protocol'):
        T.table1([run(0, 'resnet50', 90.), run(1, 'resnet50', 90.) | dict(protocol='paper')])
    with pytest.raises(ValueError, match='2 runs of seed 0'):
        T.paired_runs([run(0, 'resnet50', 90.)]*2, [run(0, 'dense_cnn', 90.)])
    with pytest.raises(ValueError, match='same split'):
        T.paired_runs([run(0, 'resnet50', 90.)], [run(0, 'dense_cnn', 90.) | dict(split_hash='other')])


def test_the_newest_run_of_each_seed_is_shown():
    old, new = (run(0, 'resnet50', a, simulated=True, finished=f)
        for a, f in ((90., '2026-01-01'), (91., '2026-02-01')))
    variant = run(0, 'resnet50', 99., finished='2026-03-01', simulated=True) | dict(run_id='variant',
        spec=dict(epochs=3))
    chosen, notes = T.pick_runs([new, variant, old], ('opd',), ('resnet50',), 'converged')
    assert chosen == [new] and sorted(n['run'] for n in notes) == sorted([old['run_id'], 'variant'])
    with pytest.raises(ValueError, match='simulated and real'):
        T.table1_all([old, run(1, 'resnet50', 90.)], ('opd',), ('resnet50',))
