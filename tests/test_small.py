"""Few images: folds that hold, figures that follow from the answers, and a stop that loses nothing."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparseattnnet.data.images import ImageSet
from sparseattnnet.use import small as F
from sparseattnnet.use.command import main

ROOT = Path(__file__).resolve().parents[1]
HOME = os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
HOW = ['--epochs', '1', '--preset', 'edge', '--device', 'cpu']


@pytest.fixture(scope='module')
def cells(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp('lab')/'cells', np.random.default_rng(0)
    rows, cols = np.mgrid[:16, :16]
    lines = ['path,label,donor']
    root.mkdir()
    for i in range(48):
        x = rng.random((16, 16))*120 + 120*(np.hypot(rows - 8, cols - 8) < (2, 5)[i % 2])
        Image.fromarray(x.astype(np.uint8)).save(root/f'{i:02d}.png')
        lines.append(f"{i:02d}.png,{('small', 'large')[i % 2]},d{i//4}")
    (root/'labels.csv').write_text('\n'.join(lines))
    return root


def random_set(rng, n, classes, groups):
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    x = rng.integers(0, 255, (n, 1, 8, 8)).astype(np.uint8)
    return ImageSet(x, y, [f'{i}' for i in range(n)], [f'g{v}' for v in rng.integers(0, groups, n)], [f'c{k}' for k in range(classes)])


@pytest.mark.parametrize('seed', range(12))
def test_folds_part_every_set_by_group_and_judge_each_image_once(seed):
    rng = np.random.default_rng(seed)
    images = random_set(rng, int(rng.integers(30, 120)), int(rng.integers(2, 5)), int(rng.integers(8, 60)))
    n = int(rng.integers(2, 7))
    try: kept, folds = F.make_folds(images, n, seed, 'drop')
    except ValueError as e:
        assert 'group' in str(e)
        return
    group = dict(zip(kept.ids, kept.groups))
    assert sorted(i for s in folds for i in s.test) == sorted(kept.ids)
    for s in folds:
        a, b, c = ({group[i] for i in p} for p in (s.train, s.val, s.test))
        assert not (a & b or a & c or b & c) and set(s.train) | set(s.val) | set(s.test) == set(kept.ids)
        half = F.halve(kept, s)
        assert set(half.train) < set(s.train) and (half.val, half.test) == (s.val, s.test)
        assert not {group[i] for i in half.train} & ({group[i] for i in set(s.train) - set(half.train)})
        of = lambda ids: {k for i, k in zip(kept.ids, kept.labels) if i in set(ids)}
        assert of(half.train) == of(s.train)
    again = F.make_folds(images, n, seed, 'drop')[1]
    assert [s.hash for s in again] == [s.hash for s in folds]


def test_copies_stay_in_one_fold():
    images = random_set(np.random.default_rng(1), 40, 2, 40)
    x = images.images.copy()
    x[7] = x[3][:, ::-1]  # a mirrored copy in another group
    images = ImageSet(x, images.labels, images.ids, [f'g{i}' for i in range(40)], images.class_names)
    for s in F.make_folds(images)[1]: assert len({'3', '7'} & set(s.test)) in (0, 2)


def test_the_command_judges_with_all_images(cells, tmp_path, capsys):
    call = ['train', str(cells), *HOW, '--out', str(tmp_path), '--folds', '3', '--repeats', '2', '--curve']
    assert main([*call, '--json']) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)['cross_validation']
    assert (found['images'], found['groups'], len(found['runs'])) == (48, 12, 6) and found['curve']['advice']
    assert 'Ctrl-C stops it and keeps the run' in said.err
    run, = (tmp_path/'runs').iterdir()  # the folds lie elsewhere, and hide no run
    assert json.loads((run/'folds.json').read_text()) == found
    times = {p: p.stat().st_mtime_ns for p in (tmp_path/'folds/runs').glob('*/record.json')}
    assert main(call) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and lines[5].startswith('Cross-validation, 3 folds 2 times') and 'over 12 groups' in lines[5] and lines[7].startswith('Learning curve')
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path/'folds/runs').glob('*/record.json')}


def test_a_small_set_is_judged_with_all_images_unless_one_says_no(cells, tmp_path, capsys):
    call = ['train', str(cells), *HOW, '--out', str(tmp_path)]
    assert main([*call, '--folds', '0']) == 0
    alone = capsys.readouterr()
    assert len(alone.out.splitlines()) == 5 and 'folds' not in alone.err
    assert main(call) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[:5] == alone.out.splitlines() and lines[5].startswith('Cross-validation, 5 folds 2 times') and len(lines) == 7
    assert 'in 5 folds, 2 times: about' in said.err and 'Ctrl-C stops it and keeps the run' in said.err and '--folds 0 leaves it out' in said.err
    assert main([*call, '--profile', 'smoke']) == 0 and len(capsys.readouterr().out.splitlines()) == 5  # a rehearsal


def test_a_small_set_with_too_few_groups_is_trained_and_said(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for i in range(12):
        place = tmp_path/'cells'/'ab'[i % 2]/f'slide{i % 4}'
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8)).save(place/f'{i}.png')
    assert main(['train', str(tmp_path/'cells'), *HOW, '--protocol', 'random', '--group-pattern', r'(slide\d)', '--out', str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 5 and 'too few groups for folds' in said.err


@pytest.mark.parametrize('slip', [['--folds', '1'], ['--folds', '-2'], ['--folds', '0', '--curve'], ['--repeats', '0'], ['--folds', '3', '--repeats', '0']])
def test_slips_end_before_any_training(cells, tmp_path, slip, capsys):
    assert main(['train', str(cells), '--out', str(tmp_path), *slip]) == 2
    assert 'expected 2 folds or more' in capsys.readouterr().err and not (tmp_path/'runs').exists()


def test_stopped_between_folds_it_goes_on(cells, tmp_path):
    call = [sys.executable, '-m', 'sparseattnnet.use.command', 'train', str(cells), *HOW, '--out', str(tmp_path), '--folds', '4', '--json']
    call[call.index('--epochs') + 1] = '6'
    p = subprocess.Popen(call, env=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    done = lambda: len([*(tmp_path/'folds/runs').glob('*/record.json')])
    end = time.monotonic() + 120
    while done() < 2 and time.monotonic() < end and p.poll() is None: time.sleep(.02)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 130 and 'the same command goes on' in json.loads(out)['error'], err
    before = {f: f.stat().st_mtime_ns for f in (tmp_path/'folds/runs').glob('*/record.json')}
    again = subprocess.run(call, env=HOME, capture_output=True, text=True)
    found = json.loads(again.stdout)
    assert found['status'] == 0 and len(found['cross_validation']['runs']) == 4
    assert all(f.stat().st_mtime_ns == t for f, t in before.items())


def test_advice_follows_the_last_step():
    for verdict, word in (('better', 'probably help'), ('worse', 'wrong labels'), ('undecided', 'cannot be told')): assert word in F.ADVICE[verdict]
    from sparseattnnet.judge.statistics import JUDGEMENTS
    assert set(F.ADVICE) <= set(JUDGEMENTS)


def test_progress_in_a_log_file_is_lines(cells, tmp_path):
    p = subprocess.run([sys.executable, '-m', 'sparseattnnet.learn.run', '--dataset', 'folder', '--folder', str(cells), *HOW, '--out', str(tmp_path)], env=HOME, capture_output=True, text=True)
    assert p.returncode == 0 and 'epoch 1/1' in p.stdout and 'img/s' not in p.stderr and '\r' not in p.stderr


def test_the_checkpoint_to_start_from_comes_with_the_package(tmp_path, capsys):
    from sparseattnnet.learn.records import read_json, sha256_file
    from sparseattnnet.use.trained import STARTS, load
    card = read_json(STARTS/'pbc'/'model.json')
    about = (STARTS/'pbc'/'README.md').read_text(encoding='utf-8')
    assert card['sha256'] == sha256_file(STARTS/'pbc'/'model.safetensors') and not card['simulated'] and card['run_id'] in about
    assert 'CC BY 4.0' in about and 'Acevedo' in about and (STARTS/'pbc'/'model.safetensors').stat().st_size < 200_000
    assert load('pbc').class_names == tuple(card['class_names'])
    rng = np.random.default_rng(0)
    for i in range(12):
        (tmp_path/'cells'/'ab'[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(tmp_path/'cells'/'ab'[i % 2]/f'{i}.png')
    call = ['train', str(tmp_path/'cells'), '--epochs', '1', '--device', 'cpu', '--out', str(tmp_path), '--folds', '0', '--json']
    assert main([*call, '--start-from', 'pbc']) == 0
    run = tmp_path/'runs'/json.loads(capsys.readouterr().out)['run_id']
    assert read_json(run/'record.json')['config']['start'] == card['sha256'] and read_json(run/'record.json')['preset'] == 'guided'
    assert main([*call, '--start-from', 'pbx']) == 2 and '--start-from pbx' in json.loads(capsys.readouterr().out)['error']


def test_train_gives_the_interval_over_groups(tmp_path):
    from types import SimpleNamespace
    from sparseattnnet.learn.records import save_predictions
    from sparseattnnet.use.command import _over_groups
    ids, labels = tuple(f'{i}.png' for i in range(40)), np.arange(40) % 2
    wrong = np.arange(40) < 10  # one of four slides
    probs = np.eye(2)[np.where(wrong, 1 - labels, labels)]*.8 + .1
    save_predictions(tmp_path/'predictions.csv', ids, labels, probs, ('a', 'b'))
    images = SimpleNamespace(ids=ids, groups=tuple(f'slide{i//10}' for i in range(40)), class_names=('a', 'b'))
    low, high, groups = _over_groups(images, tmp_path)
    assert groups == 4 and low < .5 and high == 1
    assert _over_groups(SimpleNamespace(ids=ids, groups=ids, class_names=('a', 'b')), tmp_path) is None
