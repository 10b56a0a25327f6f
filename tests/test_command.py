"""The command: exit codes, one JSON document, files that are whole or absent, and no second description of a run."""
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparseattnnet.learn import run as R
from sparseattnnet.use import command
from sparseattnnet.use.command import COMMANDS, EXIT_CODES, main

ROOT = Path(__file__).resolve().parents[1]
RUN = "import sys; from sparseattnnet.use.command import main; sys.exit(main())"
HOME = os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}


@pytest.fixture(scope='module')
def cells(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp('lab')/'cells', np.random.default_rng(0)
    rows, cols = np.mgrid[:16, :16]
    for i in range(24):
        name, r = (('small', 2), ('large, pale', 5))[i % 2]
        (root/name).mkdir(parents=True, exist_ok=True)
        disc = rng.random((16, 16))*120 + 120*(np.hypot(rows - rng.integers(6, 10), cols - rng.integers(6, 10)) < r)
        Image.fromarray(disc.astype(np.uint8)).save(root/name/f'{i:02d}.png')
    return root


@pytest.fixture(scope='module')
def run(cells, tmp_path_factory):
    out = tmp_path_factory.mktemp('out')
    assert main(['train', str(cells), '--epochs', '2', '--preset', 'edge', '--device', 'cpu', '--folds', '0', '--out', str(out)]) == 0
    folder, = (out/'runs').iterdir()
    return folder


def test_the_package_installs_the_command():
    assert tomllib.loads((ROOT/'pyproject.toml').read_text())['project']['scripts'] == {'sparseattnnet': 'sparseattnnet.use.command:main'}


def test_help_is_quick_and_names_every_command_and_code():
    code = "import sys\nfrom sparseattnnet.use.command import main\ntry: main(['--help'])\nexcept SystemExit as e: print(e.code, sorted({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=HOME, check=True).stdout
    assert said.splitlines()[-1] == '0 []'
    for word in (*COMMANDS, *map(str, EXIT_CODES), 'examples:'): assert word in said


@pytest.mark.parametrize('name', ['inspect', 'train', 'predict', 'evaluate', 'export'])
def test_each_command_has_help_with_examples(name, capsys):
    assert main([name, '--help']) == 0
    said = capsys.readouterr().out
    assert f'sparseattnnet {name}' in said and 'examples:' in said and '143' in said


def test_a_new_field_of_a_run_would_be_a_flag():
    flags = {s for a in command.train_parser()._actions for s in a.option_strings}
    assert {f"--{n.replace('_', '-')}" for n in R.RunSpec.__dataclass_fields__ if n != 'folder'} <= flags
    a = vars(command.train_parser().parse_args(['x']))
    assert a['dataset'] == 'folder' and {n: a[n] for n in R.OF_FOLDER} == dict.fromkeys(R.OF_FOLDER[:-1], '') | {'pixel_um': 0.}


def test_train_says_five_lines_and_goes_nowhere_twice(cells, run, capsys):
    before = (run/'record.json').stat().st_mtime_ns
    assert main(['train', str(cells), '--epochs', '2', '--preset', 'edge', '--device', 'cpu', '--folds', '0', '--out', str(run.parents[1])]) == 0
    lines = capsys.readouterr().out.splitlines()
    r = json.loads((run/'record.json').read_text())
    assert len(lines) == 5 and (run/'record.json').stat().st_mtime_ns == before
    assert lines[0].startswith(f"Trained SparseAttnNet (edge) on {r['split_counts']['train']} real images of 2 classes, 1 × 16 × 16 pixels")
    low, high = r['test']['accuracy_interval']
    assert f"Accuracy {100*r['test']['accuracy']:.1f} % (95 % interval {100*low:.1f} to {100*high:.1f} %)" in lines[1]
    assert lines[4].startswith('Next: sparseattnnet predict ') and str(run.name) in lines[4]


def test_json_is_one_document_and_the_rest_is_elsewhere(cells, run, capsys, tmp_path):
    base = [str(cells), '--epochs', '2', '--preset', 'edge', '--device', 'cpu', '--folds', '0', '--out', str(run.parents[1])]
    for argv, status in ((['train', *base], 0), (['predict', run.name, str(cells), '-o', str(tmp_path/'p.csv'), '--out', str(run.parents[1])], 0), (['train', 'nowhere'], 2),
                         (['train', *base, '--epoch', '3'], 2), (['tarin'], 2), ([], 2), (['train'], 2), (['predict', run.name, str(cells)], 2), (['predict', str(run), str(cells), '-o', str(tmp_path)], 2)):
        assert main([*argv, '--json']) == status
        out, err = capsys.readouterr()
        doc = json.loads(out)
        assert doc['status'] == status and ('error' in doc) == (status > 0) and 'Traceback' not in err
        assert err.strip()
    assert doc['command'] == 'predict'


def test_the_table_has_a_row_per_image_and_the_reason_for_a_bad_one(cells, run, tmp_path, capsys):
    new = tmp_path/'new'
    (new/'slide 1').mkdir(parents=True)
    for i, f in enumerate(sorted(cells.rglob('*.png'))[:3]): (new/'slide 1'/f'{i}.png').write_bytes(f.read_bytes())
    whole = (new/'slide 1'/'0.png').read_bytes()
    (new/'cut.png').write_bytes(whole[:len(whole)//2])
    (new/'flat.png').touch()
    Image.new('RGB', (16, 16), 'red').save(new/'one colour.png')
    assert main(['predict', str(run), str(new), '-o', str(tmp_path/'deep'/'p.csv')]) == 0
    rows = list(csv.DictReader(open(tmp_path/'deep'/'p.csv', encoding='utf-8')))
    assert list(rows[0]) == ['id', 'ml_class', 'ml_score_large, pale', 'ml_score_small', 'abstained', 'model_sha256', 'problem']
    assert [r['id'] for r in rows] == ['cut.png', 'flat.png', 'one colour.png', 'slide 1/0.png', 'slide 1/1.png', 'slide 1/2.png']
    assert [r['problem'].split(':')[0] for r in rows] == ['truncated', 'empty', 'empty', '', '', '']
    from sparseattnnet import SparseAttnClassifier
    want = SparseAttnClassifier.load(run, 'cpu').predict_proba(new/'slide 1')
    np.testing.assert_allclose([[float(r['ml_score_large, pale']), float(r['ml_score_small'])] for r in rows[3:]], want, atol=1e-5)
    said = capsys.readouterr().out
    assert 'Classified 3 of 6 images' in said and "Without a verdict: 3; the column 'problem'" in said
    assert main(['predict', str(run), str(new), '--only', '*.png', '-o', str(tmp_path/'q.csv')]) == 0
    for f in (new/'slide 1').iterdir(): f.unlink()
    assert main(['predict', str(run), str(new), '-o', str(tmp_path/'q.csv'), '--json']) == 2
    doc = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert doc['error'].startswith('none of 3 images could be classified; the first: cut.png: truncated')


def test_a_stopped_prediction_leaves_the_old_table_and_goes_on(cells, run, tmp_path, monkeypatch, capsys):
    (tmp_path/'p.csv').write_text('old')
    call = ['predict', str(run), str(cells), '-o', str(tmp_path/'p.csv')]
    import sparseattnnet.use.verdicts as V
    monkeypatch.setattr(V, 'BATCH', 8)
    monkeypatch.setattr(V, 'COMMIT_S', 0.)
    with monkeypatch.context() as m:
        real = V.T.verdict_batches

        def stopped(*a):
            yield next(real(*a))
            raise KeyboardInterrupt('SIGTERM')
        m.setattr(V.T, 'verdict_batches', stopped)
        assert main(call) == 143
    assert (tmp_path/'p.csv').read_text() == 'old'
    assert main(call) == 0
    assert 'An earlier call had written 8 rows' in capsys.readouterr().out
    assert len(list(csv.DictReader(open(tmp_path/'p.csv')))) == 24 and [p.name for p in tmp_path.iterdir()] == ['p.csv']


@pytest.mark.parametrize('error, status, said', [(FloatingPointError('loss is nan'), 1, 'loss is nan'), (OSError(28, 'No space left'), 1, 'No space left'), (KeyboardInterrupt(), 130, 'goes on'),
    (ValueError('odd'), 2, 'odd'), (KeyError('lost'), 1, 'fault of the program')])
def test_each_failure_has_its_code(error, status, said, cells, tmp_path, monkeypatch, capsys):
    def fails(*a, **k): raise error
    monkeypatch.setattr(R, 'train_run', fails)
    assert main(['train', str(cells), '--out', str(tmp_path), '--json']) == status
    assert said in json.loads(capsys.readouterr().out)['error']


@pytest.mark.parametrize('number, status', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_ends_in_a_sentence_and_goes_on(number, status, cells, tmp_path):
    argv = [sys.executable, '-u', '-c', RUN, 'train', str(cells), '--preset', 'edge', '--epochs', '4000', '--device', 'cpu', '--out', str(tmp_path)]
    p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=HOME)
    end = time.time() + 500
    while not list(tmp_path.glob('runs/*/state.safetensors')) and p.poll() is None and time.time() < end: time.sleep(.1)
    p.send_signal(number)
    out, err = p.communicate(timeout=200)
    assert p.returncode == status, err
    assert 'Stopped. Nothing is half-written' in err and 'Traceback' not in err
    assert list(tmp_path.glob('runs/*/state.safetensors')) and not list(tmp_path.glob('runs/*/record.json'))


def test_paper_outside_a_checkout_says_where_the_pages_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['paper', 'smoke']) == 2
    assert 'go to the checkout that this package comes from' in capsys.readouterr().err
    import sparseattnnet
    monkeypatch.setattr(sparseattnnet, '__file__', str(tmp_path/'lib'/'sparseattnnet'/'__init__.py'))
    assert main(['paper', 'smoke']) == 2
    said = capsys.readouterr().err
    assert 'go into a copy of it (the folder with README.md' in said and len(said.splitlines()) == 1


@pytest.mark.parametrize('urls, came, wanted', [
    ((), None, ''), ((), '{"url": "file:///a/b.whl", "archive_info": {}}', ''),
    ((), '{"url": "https://x.org/a.git", "vcs_info": {"vcs": "git"}}', 'https://x.org/a.git'),
    (('Homepage, https://h.org', 'Repository, https://r.org/a'), None, 'https://r.org/a')])
def test_an_installation_knows_the_address_that_it_was_given(urls, came, wanted, monkeypatch, tmp_path, capsys):
    import importlib.metadata
    from types import SimpleNamespace
    about = SimpleNamespace(metadata=SimpleNamespace(get_all=lambda name: urls), read_text=lambda name: came)
    monkeypatch.setattr(importlib.metadata, 'distribution', lambda name: about)
    assert command._address() == wanted
    monkeypatch.chdir(tmp_path)
    import sparseattnnet
    monkeypatch.setattr(sparseattnnet, '__file__', str(tmp_path/'lib'/'sparseattnnet'/'__init__.py'))
    assert main(['paper', 'smoke']) == 2
    said = capsys.readouterr().err
    assert (f'git clone {wanted}`' in said) == bool(wanted) and 'make paper' in said and 'ADDRESS' not in said


def test_paper_is_the_main_job(monkeypatch, capfd):
    monkeypatch.chdir(ROOT/'nbs')
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    assert main(['paper', '--options']) == 0
    from sparseattnnet.reproduce.main import RUN_OPTIONS
    assert tuple(json.loads(capfd.readouterr().out)) == RUN_OPTIONS
    assert main(['paper', '--help']) == 0
    assert capfd.readouterr().out.startswith('usage: sparseattnnet paper [-h]')
    assert main(['paper', 'smoke', '--datasets', 'opdd']) == main(['paper', '--profile', 'smoke']) == 2
    assert "'opdd'" in ''.join(capfd.readouterr())


def test_the_library_s_errors_name_flags(cells, tmp_path, capsys):
    for extra, said in ((['--seed', '-1'], '--seed -1: expected'), (['--protocol', 'official'], '--protocol')):
        assert main(['train', str(cells), '--out', str(tmp_path), *extra]) == 2
        assert said in capsys.readouterr().err
    (tmp_path/'cells').mkdir()
    for f in cells.rglob('*.png'): (tmp_path/'cells'/f.parent.name).mkdir(exist_ok=True), (tmp_path/'cells'/f.parent.name/f.name).write_bytes(f.read_bytes())
    (tmp_path/'cells'/'small'/'cut.png').write_bytes(b'no picture')
    assert main(['train', str(tmp_path/'cells'), '--out', str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert 'pass --on-bad skip to leave them out' in err and 'on_bad' not in err


@pytest.mark.parametrize('extra, said', [(['--group-pattern', '('], "--group-pattern '(' is no regular expression"),
    (['--channels', '9'], '--channels 9: expected auto'), (['--drop', 'tiny'], '--drop tiny: '), (['--drop', 'small'], 'after --drop small: to classify'),
    (['--only', 'small/*', '--drop', 'huge'], '--drop huge: '), (['--size', '3'], '--size 3: expected a whole number'), (['--labels-csv', 'none.csv'], '--labels-csv none.csv does not exist'),
    (['--group-column', 'donor'], "--group-column donor: 'cells' has no table"), (['--pixel-um', '-1'], '--pixel-um -1.0: expected')])
@pytest.mark.parametrize('word', ['inspect', 'train'])
def test_slips_of_reading_name_the_flag(word, extra, said, cells, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([word, str(cells), *extra]) == 2
    err = ''.join(capsys.readouterr())
    assert said in err and 'Traceback' not in err and not re.search(r'(?<![\w-])[a-z_]+=', err), err


def test_what_is_said_beside_the_answer_names_flags_and_python_keeps_its_own(cells, tmp_path, capsys):
    import shutil
    from sparseattnnet.data.images import read_images
    shutil.copytree(cells, tmp_path/'cells')
    for i in range(3): Image.fromarray(np.random.default_rng(i).integers(0, 255, (90, 90), np.uint8)).save(tmp_path/f'cells/small/wide{i}.png')
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (16, 16, 4), np.uint8), 'RGBA').convert('LA').save(tmp_path/'cells/small/clear.png')
    assert main(['inspect', str(tmp_path/'cells'), '-o', str(tmp_path/'look.html'), '--json']) == 0
    text = ''.join(capsys.readouterr()) + (tmp_path/'look.html').read_text()
    assert '--size resizes all' in text and "in Python, ground='black'" in text and 'size=' not in text
    read_images(tmp_path/'cells', on_bad='skip', progress=False)
    assert 'size= resizes all' in ''.join(capsys.readouterr())


def test_results_in_the_folder_of_the_cells_are_no_class(cells, tmp_path, monkeypatch, capsys):
    for f in cells.rglob('*.png'): (tmp_path/f.parent.name).mkdir(exist_ok=True), (tmp_path/f.parent.name/f.name).write_bytes(f.read_bytes())
    monkeypatch.chdir(tmp_path)
    for seed in ('0', '1'): assert main(['train', '.', '--epochs', '1', '--preset', 'edge', '--device', 'cpu', '--folds', '0', '--seed', seed]) == 0
    assert len(list(tmp_path.glob('outputs/runs/*/record.json'))) == 2
    assert 'results of earlier runs: 1 (outputs)' in ''.join(capsys.readouterr())


def test_train_starts_from_another_run(cells, run, tmp_path, capsys):
    flags = ['--epochs', '1', '--device', 'cpu', '--folds', '0', '--out', str(run.parents[1]), '--json']
    assert main(['train', str(cells), '--start-from', run.name[:30], *flags]) == 0  # the preset comes with it
    first = json.loads(capsys.readouterr().out)
    assert first['run_id'] != run.name
    record = json.loads((run.parent/first['run_id']/'record.json').read_text())
    assert record['preset'] == 'edge' and record['config']['start'] == json.loads((run/'model.json').read_text())['sha256']
    assert 'start_from' not in record['spec']
    assert main(['train', str(cells), '--start-from', str(run), '--preset', 'guided', *flags]) == 2
    assert 'choose --preset edge' in json.loads(capsys.readouterr().out)['error']
    assert main(['train', str(cells), '--start-from', 'nothing', *flags]) == 2


def test_inspect_says_the_training_that_does_not_stop(cells, tmp_path, capsys, monkeypatch):
    import shlex
    import shutil
    monkeypatch.chdir(tmp_path)
    shutil.copytree(cells, 'my cells')
    Path('my cells/rare').mkdir()
    shutil.copy(next((cells/'small').iterdir()), 'my cells/rare/one.png')
    for i in range(3): Image.fromarray(np.random.default_rng(i).integers(0, 255, (90, 90), np.uint8)).save(f'my cells/small/wide{i}.png')
    assert main(['train', 'my cells', '--epochs', '1']) == 2
    assert main(['inspect', 'my cells', '--json']) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "Next: sparseattnnet train 'my cells' --on-bad skip --too-few train (with --size 16 in the place of --on-bad skip, 3 images more)"
    words = shlex.split(last.split(' (')[0])[2:]
    assert main([*words, '--epochs', '1', '--preset', 'edge', '--folds', '0', '--out', 'out']) == 0
