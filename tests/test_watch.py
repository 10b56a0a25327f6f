"""A folder that is watched: no half file, no lost row, no doubled row, and an end that is clean."""
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparseattnnet.learn.records import save_checkpoint
from sparseattnnet.method.model import SparseAttnNet, config_to_dict, preset
from sparseattnnet.use import trained as T
from sparseattnnet.use import watch as W
from sparseattnnet.use.command import main

ROOT = Path(__file__).resolve().parents[1]
HOME = os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
QUICK = W.Watching(settle=.03, patience=.3, poll=.01, idle=.2)


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp('lab'), np.random.default_rng(0)
    net = SparseAttnNet(preset('edge', channels=1, classes=2)).eval()
    save_checkpoint(net, root/'run', dict(config=config_to_dict(net.config), class_names=['A', 'B'], value_range=[0., 255.], k=16, channels=1, size=[16, 16]))
    (root/'pictures').mkdir()
    for i in range(6): Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8)).save(root/f'pictures/{i}.png')
    return root


@pytest.fixture(scope='module')
def model(lab): return T.load(lab/'run', 'cpu')


def read(path): return list(csv.DictReader(open(path, newline='', encoding='utf-8')))


@pytest.mark.parametrize('ending', ['png', 'jpg', 'bmp', 'tif', 'npy'])
def test_half_a_file_is_not_classified(lab, model, tmp_path, ending):
    x = np.random.default_rng(1).integers(0, 255, (16, 16), np.uint8)
    whole = tmp_path/f'whole.{ending}'
    np.save(whole, x) if ending == 'npy' else Image.fromarray(x).save(whole)
    body, new = whole.read_bytes(), tmp_path/'new'
    new.mkdir()
    (new/whole.name).write_bytes(body[:len(body)*2//3])
    arrivals = W.Arrivals(new, settle=.02, patience=60)
    table = W.GrowingTable(tmp_path/'t.csv', W.V.table_head(('A', 'B')), 'sha')
    rounds = lambda: [W._round(model, arrivals, table, W.V.Asked(), 0, None) for _ in range(3) if not time.sleep(.03)]
    assert not any(rounds())
    (new/whole.name).write_bytes(body)
    assert sum(map(len, rounds())) == 1
    table.close()
    (row,) = read(tmp_path/'t.csv')
    assert row['ml_class'] and not row['problem']


def test_a_broken_file_gets_its_row_after_a_while(lab, model, tmp_path):
    (tmp_path/'in').mkdir()
    (tmp_path/'in/torn.png').write_bytes((lab/'pictures/0.png').read_bytes()[:60])
    found = W.watch_folder(model, tmp_path/'in', tmp_path/'t.csv', how=QUICK)
    assert (found['rows'], found['without_verdict'], found['latencies']) == (1, 1, [])
    assert read(tmp_path/'t.csv')[0]['problem'].startswith('truncated')


def test_other_tables_stay_as_they_are(lab, model, tmp_path):
    (tmp_path/'mine.csv').write_text('path,label\na.png,A\n')
    with pytest.raises(ValueError, match='another table'): W.watch_folder(model, lab/'pictures', tmp_path/'mine.csv', how=QUICK)
    assert (tmp_path/'mine.csv').read_text() == 'path,label\na.png,A\n'
    assert not [p.name for p in tmp_path.iterdir() if p.name != 'mine.csv']


def test_a_table_of_predict_is_continued_and_a_torn_row_is_written_again(lab, model, tmp_path):
    assert main(['predict', str(lab/'run'), str(lab/'pictures'), '-o', str(tmp_path/'t.csv')]) == 0
    shutil.copytree(lab/'pictures', tmp_path/'in')
    shutil.copy(lab/'pictures/0.png', tmp_path/'in/new.png')
    found = W.watch_folder(model, tmp_path/'in', tmp_path/'t.csv', how=QUICK)
    assert (found['earlier'], found['rows']) == (6, 1)
    rows = read(tmp_path/'t.csv')
    with open(tmp_path/'t.csv', 'a', encoding='utf-8') as f: f.write('torn,A,0.')  # what a kill may leave
    shutil.copy(lab/'pictures/1.png', tmp_path/'in/later.png')
    W.watch_folder(model, tmp_path/'in', tmp_path/'t.csv', how=QUICK)
    assert [r['id'] for r in read(tmp_path/'t.csv')] == [*(r['id'] for r in rows), 'later.png']


def test_what_is_no_image_is_not_waited_for(lab, model, tmp_path):
    (tmp_path/'in/masks').mkdir(parents=True)
    for name in ('.0.png', '0.png.tmp', 'notes.txt', 'masks/0.png', '0_mask.png', '0.png'): shutil.copy(lab/'pictures/0.png', tmp_path/'in'/name)
    W.watch_folder(model, tmp_path/'in', tmp_path/'t.csv', how=QUICK)
    assert [r['id'] for r in read(tmp_path/'t.csv')] == ['0.png']


def test_a_folder_that_goes_away_is_waited_for(lab, model, tmp_path):
    shutil.copytree(lab/'pictures', tmp_path/'in')
    arrivals = W.Arrivals(tmp_path/'in', settle=0)
    (tmp_path/'in').rename(tmp_path/'away')
    assert arrivals.poll() == [] and arrivals.away
    (tmp_path/'away').rename(tmp_path/'in')
    assert len(arrivals.poll()) == 6 and not arrivals.away


def test_channels_in_folders_are_whole_when_the_last_one_is(tmp_path):
    for c in ('a', 'b'): (tmp_path/c).mkdir()
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path/'a/1.png')
    arrivals = W.Arrivals(tmp_path, settle=0, channels=('a', 'b'))
    assert arrivals.poll() == []
    shutil.copy(tmp_path/'a/1.png', tmp_path/'b/1.png')
    assert [a.id for a in arrivals.poll()] == ['1.png']


@pytest.mark.parametrize('sign', [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_cleanly_and_goes_on(lab, tmp_path, sign):
    (tmp_path/'in').mkdir()
    call = [sys.executable, '-m', 'sparseattnnet.use.command', 'predict', str(lab/'run'), '--watch', 'in', '-o', 'out.csv', '--json']
    shutil.copy(lab/'pictures/0.png', tmp_path/'in/there.png')
    p = subprocess.Popen(call, cwd=tmp_path, env=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    rows = lambda: len(read(tmp_path/'out.csv')) if (tmp_path/'out.csv').exists() else 0
    def until(n):
        end = time.monotonic() + 90
        while rows() < n and time.monotonic() < end and p.poll() is None: time.sleep(.05)
    until(1)
    shutil.copy(lab/'pictures/1.png', tmp_path/'in/new.png')
    until(2)
    p.send_signal(sign)
    out, err = p.communicate(timeout=60)
    found = json.loads(out)
    assert (p.returncode, found['rows'], len(found['latencies'])) == (0, 2, 1), err
    assert 0 < found['latencies'][0] < 30 and 'median' in err and not (tmp_path/'.out.csv.lock').exists()
    shutil.copy(lab/'pictures/2.png', tmp_path/'in/last.png')
    again = subprocess.run([*call, '--idle', '.5'], cwd=tmp_path, env=HOME, capture_output=True, text=True)
    assert again.returncode == 0 and json.loads(again.stdout)['rows'] == 1
    assert sorted(r['id'] for r in read(tmp_path/'out.csv')) == ['last.png', 'new.png', 'there.png']


def test_slips_are_sentences(lab, tmp_path, capsys):
    for slip, said in ((['--idle', '3'], '--watch'), (['--watch', '--idle', '-1'], 'expected seconds'), (['--watch', '--only', 'a*'], 'as a whole')):
        assert main(['predict', str(lab/'run'), str(lab/'pictures'), *slip]) == 2
        assert said in capsys.readouterr().err
    assert main(['predict', str(lab/'run'), '--watch', str(tmp_path/'none')]) == 2
    assert 'no such folder to watch' in capsys.readouterr().err
    assert main(['predict', str(lab/'run'), '--watch', str(tmp_path), '-o', str(tmp_path/'t.parquet')]) == 2
