"""The widgets without a browser: their callbacks, their HTML, and a table of marks that never touches another file."""
import csv
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparseattnnet.data.images import ImageSet
from sparseattnnet.learn.baselines import build_baseline
from sparseattnnet.method.model import SparseAttnNet, config_to_dict, preset
from sparseattnnet.use import explore as X
from sparseattnnet.use.evaluate import Case
from sparseattnnet.use.trained import TrainedModel

ROOT = Path(__file__).resolve().parents[1]
NAMES = ('a<b', 'c&d', 'e')


def model(name='edge', side=16, k=16):
    net = SparseAttnNet(preset(name, channels=1, classes=3)).eval() if name else build_baseline('tiny_cnn', 3, channels=1)
    config = config_to_dict(net.config) if name else dict(name='tiny_cnn', classes=3)
    return TrainedModel(net, dict(config=config, class_names=NAMES, value_range=[0., 255.], k=k if name else None, channels=1, size=[side, side], sha256='0'*64))


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return ImageSet(rng.integers(0, 255, (6, 1, 16, 16)).astype(np.uint8), np.arange(6) % 3, [f'<i>{i}.png' for i in range(6)], range(6), NAMES)


def case(images, m):
    return Case(Path('run'), {}, m, images.ids, images.labels, np.eye(3, dtype=np.float32)[(images.labels + (np.arange(6) < 4)) % 3], images=images)


def test_every_k_and_every_image_can_be_shown(images):
    ex = X.Explorer(model(), images)
    assert ex.steps[0] == 1 and ex.steps[-1] == 256 and 16 in ex.steps and ex.steps == sorted(set(ex.steps))
    for k in ex.steps: assert f'selected: {k} of 256' in ex.show(k=k)
    for i in range(6): assert f'&lt;i&gt;{i}.png' in ex.show(i=i) and '<i>' not in ex.html
    assert 'a&lt;b' in ex.html and 'c&amp;d' in ex.html
    for i, k in ((6, None), (-1, None)):
        with pytest.raises(IndexError): ex.show(i, k)
    with pytest.raises(ValueError, match='expected 1 to 256'): ex.show(k=257)


def test_models_of_other_sizes_and_dense_ones_stand_side_by_side(images):
    ex = X.Explorer({'one': model(), 'larger': model('corrected', 24, 36), 'dense': model('')}, images)
    assert [ex.html.count(t) for t in ('one: ', 'larger: ', 'dense: ', '<figure')] == [1, 1, 1, 9]
    assert 'selected: 256 of 256' in ex.show(k=256) and 'selected: 256 of 576' in ex.html
    assert X.Explorer(model(''), images).steps == [0]
    stacked = ImageSet(images.images.repeat(2, 1), images.labels, images.ids, images.groups, NAMES, modality='multichannel')
    with pytest.raises(ValueError, match='channels'): X.Explorer(model(), stacked)


def test_the_sliders_move_the_view(images):
    box = X.explore(model(), images)
    seen = {box.view.value}
    for k in box.explorer.steps[:5]:
        box.k.value = k
        seen.add(box.view.value)
    box.image.value = 5
    assert '5.png' in box.view.value and len(seen) >= 5
    box.explorer.show = lambda *a: (_ for _ in ()).throw(ValueError('<no>'))
    box.image.value = 0
    assert box.view.value == '<b>&lt;no&gt;</b>'  # an error is shown, and the page lives on


def test_marks_are_kept_changed_and_taken_back(images, tmp_path):
    box = X.review_mistakes(case(images, model()), tmp_path/'m.csv')
    rows = lambda: list(csv.DictReader(open(tmp_path/'m.csv', newline='', encoding='utf-8')))
    assert len(box.review.where) == 4 and '1 of 4' in box.view.value and not (tmp_path/'m.csv').exists()
    box.should_be.value = 'e'
    box.marks['wrong label'].click()
    box.marks['unsure'].click()
    box.next.click()
    assert box.should_be.value == ''
    box.marks['right label'].click()
    assert [(r['mark'], r['should_be']) for r in rows()] == [('unsure', 'e'), ('right label', '')]
    for _ in range(9): box.next.click()
    assert '4 of 4' in box.view.value
    for _ in range(9): box.back.click()
    assert box.review.at == 0 and box.should_be.value == 'e'
    box.review.mark('')
    assert len(rows()) == 1 and {p.name for p in tmp_path.iterdir()} == {'m.csv'}
    for what, cls in (('odd', ''), ('unsure', 'x')):
        with pytest.raises(ValueError, match='expected one of'): box.review.mark(what, cls)


def test_a_full_disk_is_said_and_the_old_table_stays(images, tmp_path, monkeypatch):
    box = X.review_mistakes(case(images, model()), tmp_path/'m.csv')
    box.marks['unsure'].click()
    before = (tmp_path/'m.csv').read_text()
    monkeypatch.setattr(X, 'atomic_path', lambda p: (_ for _ in ()).throw(OSError('disk full')))
    box.marks['wrong label'].click()
    assert 'NOT WRITTEN: disk full' in box.said.value and (tmp_path/'m.csv').read_text() == before


def test_other_tables_are_refused_and_no_mistakes_are_said(images, tmp_path):
    (tmp_path/'labels.csv').write_text('path,label\n')
    with pytest.raises(ValueError, match='no table of marks'): X.Review(case(images, model()), tmp_path/'labels.csv')
    with pytest.raises(ValueError, match='need their images'): X.Review(case(images, model())._replace(images=None), tmp_path/'m.csv')
    right = case(images, model())._replace(probs=np.eye(3, dtype=np.float32)[images.labels])
    box = X.review_mistakes(right, tmp_path/'m.csv')
    assert 'No mistakes on 6 images' in box.view.value and box.next.disabled and box.marks['unsure'].disabled
    dense = X.review_mistakes(case(images, model('')), tmp_path/'m.csv')
    assert dense.view.value.count('<figure') == 1


def test_without_a_browser_the_trial_says_that_it_skips():
    p = subprocess.run([sys.executable, str(ROOT/'tools/try_widgets.py')], env={'PATH': ''}, capture_output=True, text=True)
    assert p.returncode == 0 and p.stdout.startswith('skipped: no Chromium')
    if not importlib.util.find_spec('playwright'):
        p = subprocess.run([sys.executable, str(ROOT/'tools/try_widgets.py'), '--chromium', 'x'], capture_output=True, text=True)
        assert p.returncode == 0 and 'pip install playwright' in p.stdout
