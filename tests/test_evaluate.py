"""The report on a run: its numbers are those of the record, foreign images are said, names stay text, nothing is half-written."""
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from sparseattnnet.judge import confidence as C
from sparseattnnet.learn.records import read_json
from sparseattnnet.use import evaluate as E
from sparseattnnet.use.command import main
from sparseattnnet.use.report import render_page

NAMES = ('small', '<i>large & pale')


def discs(root, n, seed=0, side=16):
    rng, (rows, cols) = np.random.default_rng(seed), np.mgrid[:side, :side]
    root.mkdir(parents=True)
    lines = ['path,label,donor']
    for i in range(n):
        at = rng.integers(6, side - 6, 2) if side > 16 else rng.integers(6, 10, 2)
        x = rng.random((side, side))*150 + 100*(np.hypot(rows - at[0], cols - at[1]) < (2, 5)[i % 2])
        Image.fromarray(x.astype(np.uint8)).save(root/f'{i:03d}.png')
        lines.append(f'{i:03d}.png,{NAMES[i % 2]},donor {i//2 % 6}')
    (root/'labels.csv').write_text('\n'.join(lines))
    return root


@pytest.fixture(scope='module')
def cells(tmp_path_factory): return discs(tmp_path_factory.mktemp('lab')/'<b>cells', 96)


@pytest.fixture(scope='module')
def run(cells, tmp_path_factory):
    out = tmp_path_factory.mktemp('out')
    assert main(['train', str(cells), '--epochs', '4', '--preset', 'edge', '--device', 'cpu', '--folds', '0', '--out', str(out)]) == 0
    return next((out/'runs').iterdir())


def test_the_report_has_the_numbers_of_the_record(cells, run, capsys):
    record = read_json(run/'record.json')
    capsys.readouterr()
    assert main(['evaluate', str(run), str(cells), '--json']) == 0
    doc = json.loads(capsys.readouterr().out)
    assert doc['status'] == 0 and doc['scores']['confusion'] == record['test']['confusion'] and doc['accuracy'][0] == pytest.approx(record['test']['accuracy'])
    assert doc['groups'] and doc['foreign'] == '' and len(doc['abstention']) == 4 and doc['calibration']['temperature'] > 0
    html = (run/'evaluation.html').read_text()
    assert '<i>large' not in html and '&lt;i&gt;large &amp; pale' in html and '<b>cells' not in html
    assert not {a for a in re.findall(r'(?:src|href)="(?!data:|#)([^"]*)', html)}
    assert read_json(run/'evaluation.json')['images'] == record['test']['n']
    assert (run/'validation.csv').is_file()


def test_the_background_has_one_number_in_both_commands(tmp_path, capsys):
    "The range of the training images clips others than the range of all images, which changed the features."
    cells = discs(tmp_path/'cells', 96)
    rng = np.random.default_rng(1)
    for f in sorted(cells.glob('*.png')):
        Image.fromarray(rng.lognormal(6, 1.5, (16, 16)).clip(0, 65535).astype(np.uint16)).save(f)  # a long tail, so that the ranges differ
    assert main(['train', str(cells), '--epochs', '1', '--preset', 'edge', '--device', 'cpu', '--folds', '0', '--out', str(tmp_path/'out')]) == 0
    found, run = {}, next((tmp_path/'out'/'runs').iterdir())
    for name, words in (('inspect', [str(cells)]), ('evaluate', [str(run), str(cells)])):
        capsys.readouterr()
        assert main([name, *words, '--json']) == 0
        found[name] = json.loads(capsys.readouterr().out)['background']
    assert found['inspect'] == found['evaluate'] and 'scores' in found['inspect']
    case = E.open_case(run, cells, device='cpu')
    fitted = E.control_facts(case.everything.with_range(*case.model.value_range))
    assert fitted['scores'] != found['inspect']['scores']


def test_channels_stand_side_by_side_and_are_named():
    x = np.random.default_rng(0).random((5, 8, 8))
    assert [(len(a), t) for a, t in E._views(x[:2], ('bright', 'dark'))] == [(1, ' (bright)'), (1, ' (dark)')]
    assert [(len(a), t) for a, t in E._views(x[:3], ('r', 'g', 'b'))] == [(3, '')]
    assert [t for _, t in E._views(x, tuple('abcde'))] == [E.MEAN]


@pytest.mark.parametrize('ends', [None, .2])
def test_a_missing_interval_of_f1_is_explained(ends):
    score = dict(precision=[.5, .1, .9], recall=[.5, .1, .9], f1=[.5, ends, ends])
    found = dict(scores=dict(confusion=[[1, 1], [1, 1]]), each=dict(a=score, b=score), auc={})
    assert bool(E._tables(found, ('a', 'b'))[2].note) == (ends is None)


def test_without_images_it_says_less_and_how_to_get_more(run, tmp_path, capsys):
    assert main(['evaluate', str(run), '-o', str(tmp_path/'r.html')]) == 0
    said = capsys.readouterr().out
    assert 'no groups are known' in said and 'With the images it says more' in said
    found = read_json(tmp_path/'r.json')
    assert 'abstention' not in found and 'sweep' not in found and 'temperature' not in found['calibration']


def test_the_table_of_the_training_is_found_again_or_given(tmp_path, capsys):
    root = discs(tmp_path/'cells', 60)
    (root/'meta').mkdir()
    rows = (root/'labels.csv').read_text().replace('path,label,donor', 'path,label,patient')
    (root/'meta'/'reading 2.csv').write_text(rows)
    (root/'labels.csv').write_text('path,label,donor\n')  # a table that would be found by itself, and says something else
    flags = ['--labels-csv', 'meta/reading 2.csv', '--group-column', 'patient', '--only', '*[0-8].png']
    how = ['--epochs', '1', '--preset', 'edge', '--device', 'cpu', '--folds', '0']
    assert main(['train', str(root), *flags, *how, '--out', str(tmp_path/'out')]) == 0
    run, = (tmp_path/'out'/'runs').iterdir()
    assert read_json(run/'record.json')['spec']['labels_csv'] == 'meta/reading 2.csv'
    judged = lambda *more: (main(['evaluate', str(run), str(root), '-o', str(tmp_path/'r.html'), *more]), read_json(tmp_path/'r.json'), capsys.readouterr())
    code, found, _ = judged()
    assert code == 0 and found['foreign'] == '' and found['groups']
    shutil.copy(root/'meta'/'reading 2.csv', tmp_path/'elsewhere.csv')
    code, found, _ = judged('--labels-csv', str(tmp_path/'elsewhere.csv'))
    assert code == 0 and found['foreign'] == '' and found['images'] == read_json(run/'record.json')['test']['n']
    code, found, _ = judged('--only', '*[89].png')  # other images of the folder
    assert code == 0 and found['foreign'] == 'cells' and found['images'] == 12
    code, _, said = judged('--group-column', 'cell')
    assert code == 2 and '--group-column cell' in said.err
    assert main(['evaluate', str(run), '--only', 'x*']) == 2 and 'no FOLDER' in capsys.readouterr().err


EVIL = ("=cmd|' /C calc'!A0", '<img src=x onerror=alert(1)>', '@SUM(1+1)*cmd', '"quoted", \'both\'', '🧫 \u202egnp.exe', 'x'*180)


def test_evil_names_stay_readable_text_in_reports_and_tables(tmp_path, capsys):
    import csv
    rng, root = np.random.default_rng(0), tmp_path/"=<b>'lab' 🔬"
    root.mkdir()
    lines = [('path', 'label', '=HYPERLINK("x")', 'note')]
    for i in range(72):
        x = rng.random((16, 16))*60
        x[2 + i % 6:5 + i % 6, 3:9] += 150
        file = f"{EVIL[i % 6][:20].replace('/', '')}\u202e{i}.png"
        Image.fromarray(x.astype(np.uint8)).save(root/file)
        lines.append((file, EVIL[i % 6], '=1+1', '-3.5'))
    with open(root/'labels.csv', 'w', newline='', encoding='utf-8') as f: csv.writer(f).writerows(lines)
    assert main(['inspect', str(root), '-o', str(tmp_path/'look.html')]) == 0
    assert main(['train', str(root), '--epochs', '1', '--preset', 'edge', '--device', 'cpu', '--folds', '0', '--out', str(tmp_path/'out')]) == 0
    run, = (tmp_path/'out'/'runs').iterdir()
    assert main(['evaluate', str(run), str(root), '-o', str(tmp_path/'r.html')]) == 0
    for page in ('look.html', 'r.html'):
        html = (tmp_path/page).read_text(encoding='utf-8')
        assert '<img src=x' not in html and '&lt;img src=x onerror=alert(1)&gt;' in html and '<b>' not in html.replace('<b>', '', html.count('class="fact'))
        assert '\u202e' not in html and '🧫' in html
    assert main(['predict', str(run), str(root), '-o', str(tmp_path/'p.csv'), '--abstain-below', '.01']) == 0
    rows = list(csv.reader(open(tmp_path/'p.csv', newline='', encoding='utf-8')))
    assert len(rows) == 73 and not [c for r in rows for c in r if re.match(r"[=@]|[+-].*[(|!=]", c)]
    at = rows[0].index("'=HYPERLINK(\"x\")")
    assert {r[at] for r in rows[1:]} == {"'=1+1"} and {r[at + 1] for r in rows[1:]} == {'-3.5'}
    for name in ('predictions.csv', 'validation.csv'):
        assert not re.search(r'(?m)^"?[=@]|,"?[=@]', (run/name).read_text(encoding='utf-8'))
    from sparseattnnet.learn.records import load_predictions
    p = load_predictions(run/'predictions.csv')
    assert set(p.class_names) == set(read_json(run/'record.json')['class_names']) and set(p.ids) <= {r[0] for r in lines}


def test_another_folder_is_a_new_test_and_is_said(run, tmp_path, capsys):
    other = discs(tmp_path/'other lab', 30, seed=5, side=20)
    assert main(['evaluate', str(run), str(other), '-o', str(tmp_path/'r.html'), '--json']) == 0
    doc = json.loads(capsys.readouterr().out)
    assert doc['foreign'] == 'other lab' and doc['images'] == 30 and doc['groups'] == 6
    assert "'other lab', which the training did not use" in ' '.join(E.evaluation_lines(doc))
    (other/'labels.csv').write_text((other/'labels.csv').read_text().replace('small', 'huge'))
    assert main(['evaluate', str(run), str(other), '-o', str(tmp_path/'r.html'), '--json']) == 2
    assert "class 'huge'" in json.loads(capsys.readouterr().out)['error']


def test_a_wrong_label_stands_first_among_the_mistakes(cells, run):
    case = E.open_case(run, cells, device='cpu')
    sure = int(np.where(case.probs.argmax(1) == case.y, case.probs.max(1), 0).argmax())
    wrong = case._replace(y=np.where(np.arange(len(case.y)) == sure, 1 - case.y, case.y))
    assert E.confident_mistakes(wrong)[0] == sure
    html = render_page(E.evaluation_page(wrong, E.judge_case(wrong)))
    assert f'{case.ids[sure]}: label' in html and 'what it read' in html


def test_a_simulated_run_is_marked(cells, run):
    case = E.open_case(run, cells, device='cpu')
    simulated = case._replace(record=case.record | dict(simulated=True))
    assert 'SIMULATED' in render_page(E.evaluation_page(simulated, E.judge_case(simulated)))
    assert 'SIMULATED' not in render_page(E.evaluation_page(case, E.judge_case(case)))


@pytest.mark.parametrize('argv, status, said', [(['no-such-run'], 2, 'no such folder, and no run'), ([], 2, 'RUN'), (['RUN', 'nowhere'], 2, 'no such folder'),
    (['RUN', '--compare', 'big_net'], 2, 'choose one of'), (['RUN', '--compare'], 2, 'needs the images')])
def test_wrong_use_is_said(argv, status, said, run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(['evaluate', *(str(run) if a == 'RUN' else a for a in argv), '--json']) == status
    assert said in json.loads(capsys.readouterr().out)['error']


def test_a_checkpoint_without_a_record_is_no_run(run, tmp_path, capsys):
    for n in ('model.json', 'model.safetensors'): shutil.copy(run/n, tmp_path/n)
    assert main(['evaluate', str(tmp_path)]) == 2
    assert 'has no record.json' in capsys.readouterr().err


def test_export_writes_what_runs_without_us(run, tmp_path, capsys):
    pytest.importorskip('onnxruntime')
    assert main(['export', str(run), str(tmp_path/'model'), '--trials', '5', '--json']) == 0
    doc = json.loads(capsys.readouterr().out)
    assert doc['class_names'] == sorted(NAMES) and doc['checked']['onnxruntime']['same_pixels'] == 5
    assert {'model.onnx', 'card.json', 'test.npz', 'run.py'} <= {p.name for p in (tmp_path/'model').iterdir()}
    assert main(['export', str(run), str(tmp_path/'model'), '--trials', '0']) == 2


# confidence

def test_scores_equal_those_of_scikit_learn():
    from sklearn.metrics import precision_recall_fscore_support
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 4, 300), rng.integers(0, 4, 300)
    found = C.class_intervals(y, p, 4, draws=200)
    for name, want in zip(('precision', 'recall', 'f1'), precision_recall_fscore_support(y, p)):
        np.testing.assert_allclose(found[name][0], want)
        assert (found[name][1] <= want).all() and (want <= found[name][2]).all()
    assert found['groups'] == 300


def test_the_bootstrap_draws_whole_groups():
    y, g = np.zeros(60, int), np.repeat(np.arange(3), 20)
    p = (g == 0).astype(int)  # one of three donors is wrong throughout
    low, high = C.class_intervals(y, p, 2, g, draws=4000)['accuracy'][1:]
    assert (low, high) == (0, 1)
    low, high = C.class_intervals(y, p, 2, draws=4000)['accuracy'][1:]
    assert .5 < low < high < .8


def test_a_class_of_three_images_has_a_wide_interval():
    y, p = np.array([0]*3 + [1]*97), np.array([1]*100)
    recall, f1 = (C.class_intervals(y, p, 2)[s] for s in ('recall', 'f1'))
    assert (recall[0][0], recall[1][0]) == (0, 0) and .5 < recall[2][0] < .6  # Wilson: 0 of 3
    assert recall[2][1] == 1 and .95 < recall[1][1] < .97  # 97 of 97
    assert f1[0][0] == 0 and np.isnan(f1[1][0])
    whole, low, high = C.class_intervals([0, 1, 0, 1], [0, 1, 0, 1], 2, ['a', 'a', 'b', 'b'])['accuracy']
    assert (whole, high) == (1, 1) and .3 < low < .4  # two groups, not four images


def test_the_threshold_keeps_its_word_where_it_was_chosen():
    rng = np.random.default_rng(1)
    conf = rng.random(500).round(2)
    right = rng.random(500) < conf
    for e in (0, .05, .2, .5):
        t = C.threshold_for(conf, right, e)
        if t is None: continue
        assert 1 - right[conf >= t].mean() <= e
        lower = np.unique(conf[conf < t])
        assert all(1 - right[conf >= u].mean() > e for u in lower)


def test_images_of_equal_confidence_stay_together():
    rc = C.risk_coverage([.9, .9, .5, .5], [True, False, True, True])
    assert rc.coverage.tolist() == [.5, 1] and rc.risk.tolist() == [.5, .25] and rc.threshold.tolist() == [.9, .5]


def test_a_temperature_changes_no_verdict():
    p = np.random.default_rng(0).dirichlet(np.ones(5), 100)
    for T in (.2, 1, 7): assert (C.tempered(p, T).argmax(1) == p.argmax(1)).all()
    np.testing.assert_allclose(C.tempered(p, 1), p)
    with pytest.raises(ValueError): C.fit_temperature(p, np.zeros(9, int))


# rivals

def test_rivals_are_trained_or_said_to_be_missing(cells, run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path/'empty'))
    report = tmp_path/'r.html'
    assert main(['evaluate', str(run), str(cells), '--compare', 'tiny_cnn,pretrained', '-o', str(report), '--json']) == 0
    said = capsys.readouterr()
    own, missing = json.loads(said.out)['comparisons']
    assert own['low'] <= own['difference'] <= own['high'] and own['parameters'] < own['own_parameters'] and 'not on this machine' in missing['missing']
    assert 'Training tiny_cnn for comparison, about' in said.err and 'No comparison with pretrained' in said.err
    html = report.read_text()
    assert 'Networks that look at every pixel' in html and 'tiny_cnn with' in html and 'not on this machine' in html


def test_pretrained_weights_are_used_where_they_are(cells, run, tmp_path, capsys, monkeypatch):
    tv = pytest.importorskip('torch') and E.needs('sparseattnnet.learn.baselines', 'paper').import_torchvision()
    import torch
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    file = tmp_path/'hub/checkpoints'/tv.models.get_model_weights(E.PRETRAINED).DEFAULT.url.rsplit('/', 1)[-1]
    file.parent.mkdir(parents=True)
    torch.save(tv.models.get_model(E.PRETRAINED, weights=None).state_dict(), file)  # random numbers under that name
    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', lambda url, **kw: torch.load(file))
    (v,) = E.compare_all(E.open_case(run, cells, device='cpu'), ('pretrained',), show=False)
    assert v['rival'] == f'{E.PRETRAINED} (pretrained)' and v['parameters'] > 10**6
