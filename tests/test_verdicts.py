"""The table of verdicts: whole after kills at any point, the same for any number of workers, and your columns in it."""
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparseattnnet.learn.records import save_checkpoint, save_predictions, write_json
from sparseattnnet.method.model import SparseAttnNet, config_to_dict, preset
from sparseattnnet.use import trained as T
from sparseattnnet.use import verdicts as V
from sparseattnnet.use.command import main

ROOT = Path(__file__).resolve().parents[1]
HOME = os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp('lab'), np.random.default_rng(0)
    net = SparseAttnNet(preset('edge', channels=1, classes=3)).eval()
    save_checkpoint(net, root/'run', dict(config=config_to_dict(net.config), class_names=['abstained', 'problem', 'B cell'], value_range=[0., 255.],
        k=16, channels=1, size=[16, 16]))
    for i in range(20): Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8)).save(root/f'{i:02d}.png')
    (root/'07.png').write_bytes(b'\x89PNG')
    return root


@pytest.fixture(scope='module')
def model(lab): return T.load(lab/'run', 'cpu')


def listed(lab, name, n, head='path,donor,note'):
    rows = [f'{i % 21:02d}.png,d{i % 3},"a, ""b"" {i}"' for i in range(n)]  # 20.png is missing
    (lab/name).write_text('\n'.join([head, *rows]), encoding='utf-8')
    return lab/name


def read(path): return list(csv.DictReader(open(path, newline='', encoding='utf-8')))


KILLS = """
import os, random, signal, sys, time
import torch
from sparseattnnet.use import trained as T, verdicts as V
run, source, out, rounds = *sys.argv[1:4], int(sys.argv[4])
model, rng, killed = T.load(run, 'cpu'), random.Random(1), 0
def child():
    if pid := os.fork(): return pid
    torch.set_num_threads(1)
    V.COMMIT_S = rng.choice([0., .02])
    try: V.write_table(model, source, out, V.Asked(engine='torch', workers=rng.randint(1, 4)))
    finally: os._exit(0)
for i in range(rounds):
    pid = child()
    time.sleep(rng.uniform(.005, .15))
    os.kill(pid, signal.SIGKILL)
    killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
os.waitpid(child(), 0)
print(killed)
"""


def test_killed_at_twenty_random_points_nothing_is_lost_or_doubled(lab, model, tmp_path):
    source = listed(lab, 'long.csv', 2000)
    V.write_table(model, source, tmp_path/'quiet.csv', V.Asked(engine='torch'))
    done = subprocess.run([sys.executable, '-c', KILLS, lab/'run', source, tmp_path/'killed.csv', '20'], capture_output=True, text=True, env=HOME, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10
    assert (tmp_path/'killed.csv').read_bytes() == (tmp_path/'quiet.csv').read_bytes()
    assert [r['note'] for r in read(tmp_path/'killed.csv')] == [f'a, "b" {i}' for i in range(2000)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ['killed.csv', 'quiet.csv']


def stopped_after(batches, monkeypatch, engine=T.verdict_batches):
    def some(*a):
        for i, b in enumerate(engine(*a)):
            if i == batches: raise KeyboardInterrupt
            yield b
    monkeypatch.setattr(V.T, 'verdict_batches', some)
    monkeypatch.setattr(V, 'COMMIT_S', 0.)


@pytest.mark.parametrize('damage', ['none', 'half a row behind', 'rows behind', 'short', 'no part', 'odd journal', 'other options', 'other file'])
def test_a_stopped_table_goes_on_or_starts_anew(damage, lab, model, tmp_path, monkeypatch):
    source, out = listed(lab, f'{damage}.csv', 250), tmp_path/'p.csv'
    V.write_table(model, source, tmp_path/'quiet.csv')
    with monkeypatch.context() as m:
        stopped_after(3, m)
        with pytest.raises(KeyboardInterrupt): V.write_table(model, source, out)
    part, journal = tmp_path/'.p.csv.part', tmp_path/'.p.csv.journal'
    state = json.loads(journal.read_text())
    assert state['rows'] == 192 and not out.exists() and part.stat().st_size == state['bytes']
    if damage == 'half a row behind': part.write_bytes(part.read_bytes() + b'13.png,"half')
    if damage == 'rows behind': part.write_bytes(part.read_bytes()*2)
    if damage == 'short': part.write_bytes(part.read_bytes()[:-9])
    if damage == 'no part': part.unlink()
    if damage == 'odd journal': journal.write_text('[1')
    if damage == 'other file': Image.fromarray(np.eye(16, dtype=np.uint8)*200).save(lab/'19.png')
    told = V.write_table(model, source, out, V.Asked(threshold=.9) if damage == 'other options' else V.Asked())
    assert told['resumed_at'] == (192 if damage in ('none', 'half a row behind', 'rows behind') else 0)
    if damage not in ('other options', 'other file'): assert out.read_bytes() == (tmp_path/'quiet.csv').read_bytes()
    assert told['images'] == len(read(out)) == 250
    assert told['without_verdict'] + sum(told['classes'].values()) == 250
    assert sorted(p.name for p in tmp_path.iterdir()) == ['p.csv', 'quiet.csv']


def test_any_number_of_workers_gives_the_same_bytes(lab, model, tmp_path):
    source, said = listed(lab, 'workers.csv', 200), set()
    for n in (0, 1, 2, 7):
        V.write_table(model, source, tmp_path/f'{n}.csv', V.Asked(workers=n))
        said.add((tmp_path/f'{n}.csv').read_bytes())
    assert len(said) == 1


def test_columns_of_ours_and_of_the_list_stay_apart(lab, model, tmp_path):
    V.write_table(model, listed(lab, 'odd.csv', 25, 'path,ml_class,problem'), tmp_path/'p.csv', V.Asked(threshold=1.))
    rows = read(tmp_path/'p.csv')
    assert list(rows[0]) == ['id', 'ml_class', 'ml_score_abstained', 'ml_score_problem', 'ml_score_B cell', 'abstained', 'model_sha256', 'problem',
                             'list_ml_class', 'list_problem']
    assert [r['list_ml_class'] for r in rows[:4]] == ['d0', 'd1', 'd2', 'd0'] and rows[3]['list_problem'] == 'a, "b" 3'
    assert rows[7]['problem'].startswith('unreadable') and rows[20]['problem'].startswith('missing') and rows[7]['abstained'] == rows[7]['ml_class'] == ''
    assert {r['abstained'] for i, r in enumerate(rows) if i not in (7, 20)} == {'1'}
    assert {r['model_sha256'] for r in rows} == {model.card['sha256']}


def test_lists_need_no_labels_and_say_what_they_lack(lab, model, tmp_path):
    (lab/'bare.csv').write_text('file\n00.png\n\n01.png\n')
    assert [r.id for r in V.work_list(model, lab/'bare.csv')[1]] == ['00.png', '01.png']
    assert [r.id for r in V.work_list(model, lab/'bare.csv', '*1.png')[1]] == ['01.png']
    (lab/'none.csv').write_text('name,donor\nx,1\n')
    for source, error, said in ((lab/'none.csv', ValueError, 'expected one called path'), (lab/'nowhere.csv', FileNotFoundError, 'no such folder'),
                                (lab/'bare.csv', ValueError, 'matches none')):
        with pytest.raises(error, match=said): V.work_list(model, source, 'z*' if source.name == 'bare.csv' else '')
    with pytest.raises(ValueError, match='expected .csv, .parquet or'): V.write_table(model, lab/'bare.csv', tmp_path/'p.xlsx')


def test_two_programs_do_not_write_one_table(lab, model, tmp_path):
    from filelock import FileLock
    with FileLock(tmp_path/'.p.csv.lock'), pytest.raises(RuntimeError, match='another program'):
        V.write_table(model, listed(lab, 'two.csv', 30), tmp_path/'p.csv')


def test_memory_stays_small_and_decoding_is_ahead(lab, model, monkeypatch):
    seen, real = [], T._open_one
    monkeypatch.setattr(T, '_open_one', lambda m, r, f: (seen.append(f), real(m, r, f))[1])
    batches = T.verdict_batches(model, [(str(i), lab/'00.png') for i in range(640)], workers=2)
    next(batches)
    assert len(seen) <= 128
    batches.close()


def test_the_command_abstains_by_what_validation_images_said(lab, model, tmp_path, capsys):
    call = ['predict', str(lab/'run'), str(listed(lab, 'ask.csv', 40)), '-o', str(tmp_path/'p.csv'), '--json']
    assert main([*call, '--max-error', '.1']) == 2
    assert 'sparseattnnet evaluate' in json.loads(capsys.readouterr().out)['error']
    probs = np.array([[.8, .1, .1]]*50 + [[.4, .3, .3]]*50)
    save_predictions(lab/'run'/'validation.csv', [str(i) for i in range(100)], [0]*50 + [0, 1]*25, probs, model.class_names)
    assert main([*call, '--max-error', '.1']) == 2  # of which weights?
    write_json(lab/'run'/'validation.json', dict(model_sha256='of other weights'))
    assert main([*call, '--max-error', '.1']) == 2
    write_json(lab/'run'/'validation.json', dict(model_sha256=model.card['sha256']))
    capsys.readouterr()
    assert main([*call, '--max-error', '.1']) == 0
    doc = json.loads(capsys.readouterr().out)
    assert doc['threshold'] == .8 and doc['abstained'] == sum(r['abstained'] == '1' for r in read(tmp_path/'p.csv'))
    for wrong in (['--max-error', '2'], ['--abstain-below', '-1'], ['--max-error', '.1', '--abstain-below', '.5'], ['--workers', '-1']):
        assert main([*call, *wrong]) == 2
    for n in ('validation.csv', 'validation.json'): (lab/'run'/n).unlink()


def test_parquet_is_the_same_table(lab, model, tmp_path):
    pq = pytest.importorskip('pyarrow.parquet')
    source = listed(lab, 'pq.csv', 90)
    V.write_table(model, source, tmp_path/'p.csv')
    V.write_table(model, source, tmp_path/'p.parquet')
    want, got = read(tmp_path/'p.csv'), pq.read_table(tmp_path/'p.parquet').to_pylist()
    assert list(got[0]) == list(want[0]) and [r['note'] for r in got] == [r['note'] for r in want]
    assert got[7]['ml_score_B cell'] is None and got[0]['abstained'] == 0
    np.testing.assert_allclose(got[0]['ml_score_B cell'], float(want[0]['ml_score_B cell']))
    assert sorted(p.name for p in tmp_path.iterdir()) == ['p.csv', 'p.parquet']


def test_cells_that_a_spreadsheet_would_run_are_inert_whatever_begins_them():
    from sparseattnnet.learn.records import inert_cell
    cells = [a + b for a in ['', *map(chr, range(128)), "''", "'+"] for b in ('', '=1', 'x', '1+2', '(a)', '|b')]
    assert [c for c in cells if inert_cell(c) != c and c[:1] not in V._MARKS] == []
    assert V._lines_of([cells]) == V._lines_of([[inert_cell(c) for c in cells]], str)
    assert V._lines_of([cells]) != V._lines_of([cells], str)
