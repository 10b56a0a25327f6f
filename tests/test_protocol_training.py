"""What a run may look at, and when; and what it computes, against a second trainer from the paper's symbols.

Everything goes through public functions (`fit`, `predict`, `train_run`, …), on images of 12 × 12 pixels and models of
some hundred weights. Where the code has a choice that a reader would not notice in a table (which part chooses the
epoch, which k judges the test part, whether classes are weighted), a test here compares numbers."""
import json
import math
import warnings
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparseattnnet.data.images import ImageSet
from sparseattnnet.data.splits import Split, make_split
from sparseattnnet.learn import records as R
from sparseattnnet.learn.baselines import build_baseline
from sparseattnnet.learn.loop import NonFiniteLoss, epoch_batches, fit, one_cycle, predict, training_batch, update_ema
from sparseattnnet.learn.recipe import Recipe, make_recipe, with_augment
from sparseattnnet.learn.run import RunSpec, build_model, train_run

SMALL = dict(coarse_width=4, dim=8, heads=2, head_dim=4, hidden=16, k_share=.25)
CLASSES = ('round', 'oval', 'flat')


def class_weighted(losses, y, counts):
    "The loss of a batch from the losses of its images: weights of mean 1 over the training images, divided by B."
    counts = torch.as_tensor(counts, dtype=torch.float64)
    return (counts.sum()/len(counts)/counts)[y].mul(losses).mean()


class Spy(ImageSet):
    "Images that note which of them are read, in which order."
    def batch(self, idx):
        self.meta['log'].append([int(i) for i in np.arange(len(self))[idx].ravel()])
        return super().batch(idx)


def cells(counts=(26, 16, 12), noise=.5, seed=0, kind=ImageSet):
    "Images with a bar whose place tells the class, in unequal numbers, in a random order."
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    x = noise*rng.random((len(y), 1, 12, 12))
    for i, c in enumerate(y): x[i, 0, 1 + 4*c:3 + 4*c, 2:10] += .5*rng.random()
    names = [f'cell {i:03d}' for i in range(len(y))]
    return kind(x.astype(np.float32), y, names, names, CLASSES[:len(counts)], 'opd', value_range=(0, 1),
        meta=dict(log=[]) if kind is Spy else {})


def three(images):
    "Positions that train, choose and judge."
    n = np.arange(len(images))
    return dict(train=n[:-20], val=n[-20:-10], test=n[-10:])


def ours(images, **changes): return build_model('sparseattnnet', 'corrected', images, 0, changes=SMALL | changes)


def turned(images, at):
    "The same images, the labels at some positions made wrong: whoever learns the others well does badly here."
    y = images.labels.copy()
    y[at] = (y[at] + 1) % len(images.class_names)
    return replace(images, labels=y)


def probabilities(model, images, at, k=None):
    "By hand: evaluation mode, no augmentation."
    model = deepcopy(model).eval()
    with torch.no_grad():
        out = model(torch.tensor(images.images[at]), k) if k else model(torch.tensor(images.images[at]))
    return (out.logits if k else out).softmax(1).numpy()


def val_loss(model, images, at, k):
    "By hand: mean of −log p of the true class."
    return float(-np.log(probabilities(model, images, at, k)[range(len(at)), images.labels[at]]).mean())


def macro_f1(probs, y):
    "By hand: the mean of F1 over the classes that occur in y."
    p, scores = probs.argmax(1), []
    for c in sorted(set(y.tolist())):
        tp, fp, fn = ((p == c) & (y == c)).sum(), ((p == c) & (y != c)).sum(), ((p != c) & (y == c)).sum()
        scores.append(2*tp/(2*tp + fp + fn))
    return float(np.mean(scores))


def same(a, b): return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


# ---- Who is read when ------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def record(tmp_path_factory):
    "A whole run whose best epoch is not its last, with a k that moves, and the log of what was read."
    images = cells(kind=Spy)
    split = make_split(images)
    index = split.indices(images)
    images = turned(images, index['val'])
    recipe = dict(epochs=5, batch_size=8, lr=.03, schedule='plateau', ema=0.)
    out = tmp_path_factory.mktemp('run')
    for seed in range(8):  # rounding differs between processors: take the first seed whose run is as wanted
        spec = RunSpec(dataset='opd', profile='smoke', preset='corrected', seed=seed, recipe=json.dumps(recipe),
            changes=json.dumps(SMALL | dict(k_reading='symmetric', delta_k=40, k_share=.5)), device='cpu')
        images.meta['log'].clear()
        r = train_run(spec, out, show=False, data=(images, split))
        ks, best = [e['k'] for e in r['history']], r['best_epoch']
        if best < len(ks) and ks[best - 1] != ks[-1]: break
    folder = out/'runs'/r['run_id']
    weights, card = R.load_checkpoint(folder)
    model = ours(images)
    model.load_state_dict(weights)
    return r, images, index, [list(b) for b in images.meta['log']], model, card, R.load_predictions(
        folder/'predictions.csv')


def test_each_part_is_read_in_its_time(record):
    r, _, index, log, *_ = record
    part = {int(i): p for p, at in index.items() for i in at}
    read = [(part[i], i) for b in log for i in b]
    first_test = next(n for n, (p, _) in enumerate(read) if p == 'test')
    assert {p for p, _ in read[:first_test]} == {'train', 'val'} and {p for p, _ in read[first_test:]} == {'test'}
    assert all(len({part[i] for i in b}) == 1 for b in log)
    for name in ('train', 'val'):
        times = np.unique([i for p, i in read if p == name], return_counts=True)
        assert times[0].tolist() == sorted(index[name]) and (times[1] == len(r['history'])).all()
    assert sorted({i for p, i in read if p == 'test'}) == sorted(index['test'])


def test_the_epoch_is_chosen_on_validation_and_its_weights_are_kept(record):
    r, images, index, _, model, card, _ = record
    scores = [e['val']['macro_f1'] for e in r['history']]
    assert r['best_epoch'] == 1 + int(np.argmax(scores)) < len(scores)
    best = r['history'][r['best_epoch'] - 1]
    assert macro_f1(probabilities(model, images, index['val'], best['k']),
        images.labels[index['val']]) == pytest.approx(best['val']['macro_f1'], abs=1e-5)
    for other in ('train', 'test'): # these labels are right, those of validation are wrong
        assert macro_f1(probabilities(model, images, index[other], best['k']),
            images.labels[index[other]]) != pytest.approx(best['val']['macro_f1'], abs=1e-4)


def test_the_best_epochs_k_judges_the_test_part(record):
    r, images, index, _, model, card, predictions = record
    ks = [e['k'] for e in r['history']]
    assert ks == r['k_per_epoch'] and ks[r['best_epoch'] - 1] != ks[-1]
    assert r['k'] == card['k'] == ks[r['best_epoch'] - 1] and r['share_of_pixels'] == r['k']/144
    test = index['test']
    right, wrong = (probabilities(model, images, test, k) for k in (r['k'], ks[-1]))
    assert abs(right - wrong).max() > 2e-4
    assert predictions.probs == pytest.approx(right, abs=1e-5) and predictions.ids == tuple(images.ids[i] for i in test)
    assert (predictions.labels == images.labels[test]).all()
    assert r['test']['accuracy'] == pytest.approx((right.argmax(1) == images.labels[test]).mean(), abs=1e-6)
    assert r['test']['macro_f1'] == pytest.approx(macro_f1(right, images.labels[test]), abs=1e-6)


def test_other_test_images_change_nothing_but_the_test():
    images = cells()
    at = three(images)
    x, y = images.images.copy(), images.labels.copy()
    x[at['test']], y[at['test']] = 1 - x[at['test']], (y[at['test']] + 1) % 3
    models = [ours(images), ours(images)]
    found = [fit(m, s, at, Recipe(epochs=3, batch_size=8, lr=.01, ema=.5), show=False)
        for m, s in zip(models, (images, replace(images, images=x, labels=y)))]
    assert same(*(m.state_dict() for m in models))
    assert [e['val'] for e in found[0]['history']] == [e['val'] for e in found[1]['history']]
    assert found[0]['best_epoch'] == found[1]['best_epoch']


def test_other_validation_images_change_the_choice_but_not_the_training():
    images = cells()
    at = three(images)
    found = [fit(ours(images), s, at, Recipe(epochs=4, batch_size=8, lr=.02), show=False)
        for s in (images, turned(images, at['val']))]
    assert [e['train'] for e in found[0]['history']] == [e['train'] for e in found[1]['history']]
    assert found[0]['best_epoch'] > found[1]['best_epoch']


class Scripted(torch.nn.Module):
    "A model that learns nothing: after each pass over the training images it gives the answers written for that epoch."
    def __init__(self, answers):
        super().__init__()
        self.answers, self.w = torch.tensor(answers), torch.nn.Parameter(torch.zeros(3))
        self.register_buffer('epoch', torch.tensor(0))

    def forward(self, images):
        if self.training:
            self.epoch += 1
            return self.w.expand(len(images), 3)
        return 5.*torch.eye(3)[self.answers[self.epoch - 1, (images[:, 0, 0, 0]*255).round().long()]]


def scripted(*answers):
    "Run the answers of some epochs for six validation images, of classes 0 0 0 0 1 2, which are the first of the set."
    x = np.zeros((9, 1, 8, 8), np.uint8)
    x[:, 0, 0, 0] = np.arange(9)
    images = ImageSet(x, [0, 0, 0, 0, 1, 2, 0, 1, 2], [str(i) for i in range(9)], [str(i) for i in range(9)], CLASSES)
    model = Scripted([[*a, 0, 1, 2] for a in answers])
    found = fit(model, images, dict(train=np.arange(6, 9), val=np.arange(6)), Recipe(epochs=len(answers), batch_size=8),
        show=False)
    return found, model, [(e['val']['accuracy'], e['val']['macro_f1']) for e in found['history']]


def test_the_epoch_is_chosen_by_macro_f1_and_not_by_accuracy():
    found, model, scores = scripted([1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 1, 2, 1, 2], [0, 1, 1, 2, 2, 1])
    assert [a for a, _ in scores] == pytest.approx([1/3, 2/3, 2/3, 1/6], abs=1e-5)
    assert [f for _, f in scores] == pytest.approx([(4/8)/3, .8/3, (2*2/6 + 2*2/3)/3, (2/5)/3], abs=1e-5)
    assert found['best_epoch'] == 3 and model.epoch == 3
    found, model, scores = scripted([0, 0, 1, 2, 1, 2], [0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0])
    assert scores[1][0] > scores[0][0]
    assert scores[1][1] < scores[0][1]
    assert (found['best_epoch'], int(model.epoch)) == (1, 1)


def test_of_equally_good_epochs_the_first_is_kept():
    found, model, scores = scripted([0, 0, 0, 0, 0, 0], [0, 0, 1, 2, 1, 2], [0, 0, 2, 1, 1, 2], [1, 2, 0, 0, 1, 2])
    assert scores[1] == scores[2] == scores[3] > scores[0] and (found['best_epoch'], int(model.epoch)) == (2, 2)


def test_of_epochs_without_a_step_the_first_is_kept():
    images = cells()
    at, model = three(images), build_model('tiny_cnn', '', images, 0)
    found = fit(model, images, at, Recipe(epochs=3, batch_size=8, lr=1e-12, ema=.999), show=False)
    scores = [e['val']['macro_f1'] for e in found['history']]
    assert len(set(scores)) == 1 and found['best_epoch'] == 1


# ---- Class weights ---------------------------------------------------------------------------------------------------

def of_images(model, images, b, gamma):
    "Loss of each image of a training batch, before weighting."
    with torch.no_grad(): out = deepcopy(model).train()(torch.tensor(images.images[b]))
    p = (out.logits if hasattr(out, 'logits') else out).softmax(1).double().gather(1,
        torch.as_tensor(images.labels[b])[:, None])[:, 0]
    return -(1 - p)**gamma*p.log()


@pytest.mark.parametrize('make, part, gamma', [(ours, 'focal', 2.),
    (lambda s: build_model('tiny_cnn', '', s, 0), 'cross_entropy', 0.)], ids=['ours', 'baseline'])
def test_classes_are_weighted_by_the_training_counts(make, part, gamma):
    images = cells((40, 14, 6))
    at, model = three(images), make(images)
    recipe = Recipe(epochs=1, batch_size=10, lr=1e-12, weight_decay=0.) # the weights stand still
    counts, start = np.bincount(images.labels[at['train']]), deepcopy(model)
    everything = np.bincount(images.labels)
    assert len(set(counts)) == 3 and abs(counts/counts.sum() - everything/everything.sum()).max() > .02
    seen = fit(model, images, at, recipe, show=False)['history'][0]['train'][part]
    batches = epoch_batches(at['train'], 10, recipe.seed, 0)
    def mean(f):
        return sum(float(f(of_images(start, images, b, gamma), torch.as_tensor(images.labels[b])))*len(b)
            for b in batches)/len(at['train'])
    def of_torch(l, y): # divided by the sum of the weights, as `cross_entropy(weight=)` does
        w = (1/torch.as_tensor(counts, dtype=torch.float64))[y]
        return (w*l).sum()/w.sum()
    assert seen == pytest.approx(mean(lambda l, y: class_weighted(l, y, counts)), abs=1e-4)
    for other in (lambda l, y: l.mean(), of_torch, lambda l, y: class_weighted(l, y, everything)):
        assert abs(seen - mean(other)) > 1e-3


# ---- A second trainer ------------------------------------------------------------------------------------------------

def loss_by_hand(model, images, b, counts):
    "Eq. 20 of the preset `corrected`, image by image."
    y = torch.as_tensor(images.labels[b])
    out, c = model(torch.tensor(images.images[b])), model.config
    log_p = out.logits.log_softmax(1)[range(len(b)), y]
    parts = dict(focal=class_weighted(-(1 - log_p.exp())**c.gamma*log_p, y, counts))
    z, anchors = out.fused/out.fused.norm(dim=1, keepdim=True), []
    for i in range(len(b)):
        others = [j for j in range(len(b)) if j != i]
        log_sum = torch.stack([z[i] @ z[j]/c.tau for j in others]).logsumexp(0)
        pull = [log_sum - z[i] @ z[j]/c.tau for j in others if y[j] == y[i]]
        if pull: anchors.append(torch.stack(pull).mean())
    parts['contrast'] = torch.stack(anchors).mean()
    p = out.fine.detach()/out.fine.detach().sum(1, keepdim=True)
    log_q = out.coarse_logits.flatten(1).gather(1, out.idx).log_softmax(1)
    parts['distill'] = (p*(p.log() - log_q)).sum(1).mean()
    return parts['focal'] + c.lambda_contrast*parts['contrast'] + c.lambda_distill*parts['distill'], parts


def train_by_hand(model, images, train, recipe):
    "The loop in a few lines: the weights, their running mean, and the mean loss of each epoch."
    opt = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    mean, counts, t, history = deepcopy(model), np.bincount(images.labels[train]), 0, []
    for epoch in range(recipe.epochs):
        batches, sums = epoch_batches(train, recipe.batch_size, recipe.seed, epoch), {}
        for b in batches:
            for p in model.parameters(): p.grad = None
            loss, parts = loss_by_hand(model.train(), images, b, counts)
            loss.backward()
            if recipe.schedule == 'onecycle':
                share = t/(recipe.epochs*len(batches))
                up, down = .1 + .9*share/.15, .5 + .5*math.cos(math.pi*(share - .15)/.85)
                opt.param_groups[0]['lr'] = recipe.lr*(up if share < .15 else down)
            opt.step()
            d = min(recipe.ema, (1 + t)/(10 + t))
            for m, v in zip(mean.state_dict().values(), model.state_dict().values()):
                m.copy_(d*m + (1 - d)*v if m.is_floating_point() else v)
            t += 1
            for n, v in (parts | dict(loss=loss)).items():
                sums[n] = sums.get(n, 0) + float(v.detach())*len(b)/len(train)
        history.append(sums)
    return model, mean, history


@pytest.mark.parametrize('schedule', ['plateau', 'onecycle'])
def test_fit_trains_as_the_loop_by_hand_does(schedule):
    images = cells()
    at = three(images)
    recipe = Recipe(epochs=2, batch_size=9, lr=5e-3, weight_decay=.5, schedule=schedule, seed=3)
    model = ours(images, lambda_contrast=.3, lambda_distill=.7)
    plain, _, history = train_by_hand(deepcopy(model), images, at['train'], recipe)
    found = fit(model, images, at, recipe, show=False)
    for e, h in zip(found['history'], history): assert {n: e['train'][n] for n in h} == pytest.approx(h, rel=2e-3)
    assert found['history'][-1]['val']['loss'] == pytest.approx(val_loss(plain, images, at['val'], found['k']),
        rel=2e-3)


def test_the_running_mean_is_what_is_kept():
    images = cells()
    at = three(images)
    recipe = Recipe(epochs=1, batch_size=9, lr=.02, ema=.9)
    model = ours(images)
    start = deepcopy(model)
    plain, mean, _ = train_by_hand(deepcopy(model), images, at['train'], recipe)
    found = fit(model, images, at, recipe, show=False)
    got = model.classify.out.weight
    assert torch.allclose(got, mean.classify.out.weight, atol=2e-4)
    for wrong in (plain, start): assert not torch.allclose(got, wrong.classify.out.weight, atol=2e-3)
    assert found['history'][0]['val']['loss'] == pytest.approx(val_loss(model, images, at['val'], found['k']), abs=1e-5)
    assert found['history'][0]['val']['loss'] != pytest.approx(val_loss(plain, images, at['val'], found['k']), abs=5e-5)


def test_update_ema_by_hand():
    a, b = (torch.nn.BatchNorm1d(1) for _ in 'ab')
    with torch.no_grad():
        a.weight.fill_(1.), b.weight.fill_(3.), b.running_var.fill_(5.), b.num_batches_tracked.fill_(7)
    update_ema(a, b, .98, 5) # the decay is still warming up: 6/15
    assert a.weight.item() == pytest.approx(.4*1 + .6*3)
    assert a.running_var.item() == pytest.approx(.4*1 + .6*5)
    assert a.num_batches_tracked == 7
    update_ema(a, b, .25, 10**6)
    assert a.weight.item() == pytest.approx(.25*2.2 + .75*3)


def test_one_cycle_by_hand():
    assert one_cycle(0, 100, 2.) == pytest.approx(.2) and one_cycle(5, 100, 2.) == pytest.approx(.2 + 1.8/3)
    assert one_cycle(15, 100, 2.) == pytest.approx(2.) and one_cycle(100, 100, 2.) == pytest.approx(0., abs=1e-12)
    assert one_cycle(57.5, 100, 2.) == pytest.approx(1.)


def test_the_plateau_follows_the_validation_loss():
    images = cells()
    at = three(images)
    found = fit(build_model('tiny_cnn', '', images, 0), turned(images, at['val']), at,
        Recipe(epochs=8, batch_size=8, lr=.01, factor=.5, patience=1), show=False)
    lr, best, bad, expected = .01, math.inf, 0, []
    for e in found['history']:
        expected.append(lr)
        best, bad = (e['val']['loss'], 0) if e['val']['loss'] < best*(1 - 1e-4) else (best, bad + 1)
        if bad > 1: lr, bad = lr/2, 0
    assert [e['lr'] for e in found['history']] == pytest.approx(expected) and expected[-1] < .006


def test_k_follows_the_training_loss_once_an_epoch():
    images = cells()
    at = three(images)
    found = fit(ours(images, k_reading='symmetric', delta_k=10, k_share=.5), turned(images, at['val']), at,
        Recipe(epochs=5, batch_size=8, lr=.02), show=False)
    losses = [e['val']['loss'] for e in found['history']]
    assert losses[-1] > losses[0] # what k would follow if it followed validation
    k, ema, expected = 72., None, []
    for e in found['history']:
        expected.append(math.floor(k))
        old, ema = ema, e['train']['loss'] if ema is None else .2*ema + .8*e['train']['loss']
        if old is not None: k += .8*(10 if ema >= old else -10)
    assert [e['k'] for e in found['history']] == expected and expected[-1] < 72


# ---- Seeds, order, augmentation --------------------------------------------------------------------------------------

def test_batches_hold_each_training_image_once_in_an_order_of_seed_and_epoch():
    at = np.arange(5, 30)
    b = epoch_batches(at, 8, 0, 0)
    assert [len(x) for x in b] == [8, 8, 9] and sorted(np.concatenate(b)) == list(at)
    flat = lambda *a: np.concatenate(epoch_batches(at, 8, *a)).tolist()
    assert flat(0, 0) == flat(0, 0) and len({tuple(flat(*a)) for a in ((0, 0), (0, 1), (1, 0))}) == 3


def test_a_run_depends_on_its_seed_and_on_nothing_else():
    images = cells()
    at, weights = three(images), {}
    for name, (seed, noise) in {'a': (0, 1), 'again': (0, 2), 'other': (1, 1)}.items():
        torch.manual_seed(noise), np.random.seed(noise)
        model = build_model('sparseattnnet', 'corrected', images, 7,
            changes=SMALL | dict(select='random', contrastive='printed'))
        torch.manual_seed(noise), np.random.seed(noise)
        fit(model, images, at, Recipe(epochs=2, batch_size=len(at['train']), lr=.01, ema=.5, seed=seed), show=False)
        weights[name] = model.state_dict()
    assert same(weights['a'], weights['again']) and not same(weights['a'], weights['other'])


def test_first_weights_depend_on_the_seed_alone():
    images = cells()
    for name in ('sparseattnnet', 'tiny_cnn'):
        made = []
        for seed, noise in ((0, 1), (0, 2), (1, 1)):
            torch.manual_seed(noise)
            made.append((build_model(name, 'corrected', images, seed) if name == 'sparseattnnet'
                else build_baseline(name, 3, seed=seed, channels=1)).state_dict())
        assert same(made[0], made[1]) and not same(made[0], made[2])


def test_a_runs_seed_reaches_weights_and_recipe(tmp_path):
    images, found = cells(), {}
    split = make_split(images)
    for seed in (0, 1): # one batch: its order changes nothing, only the first weights do
        r = train_run(RunSpec(dataset='opd', profile='smoke', model='tiny_cnn',
            recipe='{"epochs": 1, "lr": 1e-12, "batch_size": 1000}', seed=seed, device='cpu'), tmp_path, show=False,
            data=(images, split))
        assert r['seed'] == r['config']['recipe']['seed'] == seed
        found[seed] = r['history'][0]['train']['loss']
    assert abs(found[0] - found[1]) > 1e-3


def test_augmentation_changes_training_images_alone():
    images = cells()
    at, model, recipe = three(images), ours(images), Recipe(epochs=2, batch_size=8, lr=.01, augment=True)
    b = at['train'][:16]
    plain, first = images.batch(b), training_batch(images, b, recipe, 0, 0)
    assert torch.equal(training_batch(images, b, replace(recipe, augment=False), 0, 0), plain)
    assert torch.equal(training_batch(images, b, recipe, 0, 0), first)
    for other in (plain, training_batch(images, b, recipe, 0, 1), training_batch(images, b, recipe, 1, 0),
        training_batch(images, b, replace(recipe, seed=1), 0, 0)):
        assert not torch.equal(other, first)
    found = fit(model, images, at, replace(recipe, epochs=1), show=False)
    assert found['history'][0]['val']['loss'] == pytest.approx(val_loss(model, images, at['val'], found['k']), abs=1e-5)
    bare = fit(ours(images), images, at, replace(recipe, epochs=1, augment=False), show=False)
    assert bare['history'][0]['train']['loss'] != found['history'][0]['train']['loss']


def test_who_is_augmented():
    asked = lambda *a, **k: with_augment(*a, say=lambda line: None, **k)
    assert [asked('auto', 'opd', profile=p) for p in ('converged', 'quick', 'smoke')] == [True, False, False]
    assert not asked('auto', 'xray', profile='converged')
    assert asked('on', 'opd', profile='quick') and not asked('off', 'opd', profile='converged')
    with pytest.raises(ValueError, match='xray'): asked('on', 'xray', profile='converged')


def test_predict_puts_the_model_back_and_ignores_the_size_of_batches():
    images = cells()
    model, at = ours(images).train(), three(images)['val']
    before = deepcopy(model.state_dict())
    probs = [predict(model, images, at, 30, b) for b in (3, 64)]
    assert model.training and same(before, model.state_dict())
    assert probs[0] == pytest.approx(probs[1], abs=1e-6)
    assert probs[0] == pytest.approx(probabilities(model, images, at, 30), abs=1e-6)


# ---- Interruption ----------------------------------------------------------------------------------------------------

class Stop(Exception): pass


class Stopping(ImageSet):
    "Images that stop the run when they have been read a number of times."
    def batch(self, idx):
        self.meta['left'] -= 1
        if self.meta['left'] < 0: raise Stop
        return super().batch(idx)


@pytest.mark.parametrize('how', [dict(ema=.6, schedule='onecycle'), dict(schedule='plateau', patience=0, factor=.3)],
    ids=['onecycle', 'plateau'])
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, how):
    images = turned(cells(), three(cells())['val'])
    at, changes = three(images), dict(k_reading='symmetric', delta_k=7, select='random', contrastive='printed')
    recipe = Recipe(epochs=6, batch_size=8, lr=.02, **how)
    models = [ours(images, **changes) for _ in 'ab']
    whole = fit(models[0], images, at, recipe, show=False)
    if recipe.schedule == 'plateau': assert whole['history'][3]['lr'] < .02 # it has fallen before the interruption
    reads = len(epoch_batches(at['train'], 8, 0, 0)) + 2 # of an epoch, with validation
    stopping = Stopping(**{f: getattr(images, f)
        for f in ('images', 'labels', 'ids', 'groups', 'class_names', 'modality', 'value_range')},
            meta=dict(left=4*reads + 2))
    with pytest.raises(Stop): fit(models[1], stopping, at, recipe, tmp_path/'state', show=False)
    models[1] = ours(images, **changes)
    rest = fit(models[1], images, at, recipe, tmp_path/'state', show=False)
    assert rest['resumed_from'] == 4 and same(*(m.state_dict() for m in models))
    bare = lambda f: [{n: v for n, v in e.items() if n != 'seconds'} for e in f['history']]
    assert bare(whole) == bare(rest) and (whole['best_epoch'], whole['k']) == (rest['best_epoch'], rest['k'])


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_images():
    images = cells()
    at, model = three(images), build_model('tiny_cnn', '', images, 0)
    with torch.no_grad(): model.net[-1].weight.fill_(float('nan'))
    with pytest.raises(NonFiniteLoss, match='cell 0'): fit(model, images, at, Recipe(epochs=1), show=False)


def test_a_damaged_state_is_not_taken_up(tmp_path):
    images = cells()
    at, state = three(images), tmp_path/'state'
    fit(build_model('tiny_cnn', '', images, 0), images, at, Recipe(epochs=1), state, show=False)
    content = bytearray(state.read_bytes())
    content[-3] ^= 16
    state.write_bytes(content)
    with pytest.raises(ValueError, match='damaged'):
        fit(build_model('tiny_cnn', '', images, 0), images, at, Recipe(epochs=1), state, show=False)
    fit(build_model('tiny_cnn', '', images, 0), images, at, Recipe(epochs=1), other := tmp_path/'other', show=False)
    with pytest.raises(ValueError, match='another recipe'):
        fit(build_model('tiny_cnn', '', images, 0), images, at, Recipe(epochs=1, lr=.5), other, show=False)


# ---- Mixed precision -------------------------------------------------------------------------------------------------

def test_a_run_in_bfloat16_computes_in_it_and_scores_in_float32():
    images = cells()
    at, found, types = three(images), {}, {}
    for amp in ('off', 'bf16'):
        model, seen = ours(images), set()
        model.embed.net[-1].register_forward_hook(lambda m, i, o: seen.add((m.training, o.dtype)))
        found[amp] = fit(model, images, at, Recipe(epochs=2, batch_size=8, lr=.01, amp=amp), show=False)
        types[amp] = seen
        assert all(v.dtype in (torch.float32, torch.int64) for v in model.state_dict().values())
    assert types['off'] == {(True, torch.float32), (False, torch.float32)}
    assert types['bf16'] == {(True, torch.bfloat16), (False, torch.float32)}
    first = [found[a]['history'][0]['train']['loss'] for a in ('off', 'bf16')]
    assert first[0] == pytest.approx(first[1], rel=.05) and first[0] != first[1]
    assert found['bf16']['history'][1]['train']['loss'] < first[1]


def test_a_processor_without_bfloat16_is_named_before_training(monkeypatch):
    images, said = cells(), {}
    for slow in (True, False):
        monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: dict(architecture='x86_64', cpu_name='Old CPU',
            avx512_bf16=not slow, amx_bf16=False))
        with warnings.catch_warnings(record=True) as said[slow]:
            warnings.simplefilter('always')
            fit(build_model('tiny_cnn', '', images, 0), images, three(images), Recipe(epochs=1, amp='bf16'), show=False)
    told = {slow: [str(w.message) for w in each if 'bfloat16' in str(w.message)] for slow, each in said.items()}
    assert [len(v) for v in told.values()] == [1, 0]
    assert 'Old CPU' in told[True][0] and "amp='off'" in told[True][0]


# ---- Recipes ---------------------------------------------------------------------------------------------------------

def test_the_papers_recipe_and_the_short_ones():
    printed, long = Recipe(seed=4), make_recipe('sparseattnnet', 'corrected', 'converged', 'opd', 1000, 135**2, 4)
    assert (printed.epochs, printed.batch_size, printed.lr, printed.weight_decay, printed.schedule, printed.factor,
        printed.patience, printed.ema) == (150, 64, 1e-3, 1e-4, 'plateau', .9, 5, 0.)
    assert (long.epochs, long.batch_size, long.lr, long.schedule, long.ema, long.seed) == (30, 64, 2e-3, 'onecycle', .99, 4)
    assert [make_recipe('resnet50', '', 'converged', d, 1000, 1).batch_size for d in ('opd', 'holo', 'event', 'wbc')] == [64,
        64, 32, 32]
    quick = make_recipe('sparseattnnet', 'corrected', 'quick', 'opd', 480, 135**2)
    assert (quick.epochs, quick.batch_size, quick.lr, quick.schedule, quick.ema) == (30, 32, 2e-3, 'onecycle', .98)
    assert make_recipe('sparseattnnet', 'corrected', 'quick', 'opd', 480, 135**2, epochs=7, lr=None).epochs == 7


def test_a_split_of_the_paper_chooses_on_the_test_part_and_says_so():
    images = cells((20, 20, 20))
    paper = make_split(images, 'paper')
    assert paper.val == paper.test and 'test seen as validation' in repr(paper)
    with pytest.raises(ValueError, match='must not overlap'): Split(paper.train, paper.train[:1], paper.test)
