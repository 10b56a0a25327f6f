"""The committed results hang together; and the check that says so sees what is wrong, on a small run made here."""
import gzip
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import check_reference  # noqa: E402
import check_table  # noqa: E402
from sparseattnnet.judge.tables import write_comparisons, write_table  # noqa: E402
from sparseattnnet.learn import records as R  # noqa: E402
from sparseattnnet.learn import store as ST  # noqa: E402
from sparseattnnet.learn.run import RunSpec, name_run, spec_images, train_run  # noqa: E402

REFERENCE = ROOT/'outputs/reference'


def test_committed_results_follow_from_their_runs():
    "No fault, and nothing that another version of the code trained."
    faults, stale, count = check_reference.check(REFERENCE)
    assert (faults, stale) == ([], []) and count


def test_the_tables_follow_from_the_predictions_by_other_code():
    "Accuracy, macro-F1 and every row of Table 1 and of the rivals, without our metrics and tables."
    faults, runs, rows = check_table.check(REFERENCE)
    assert faults == [] and runs and rows
    source = Path(check_table.__file__).read_text(encoding='utf-8')
    assert 'import sparseattnnet' not in source and 'from sparseattnnet' not in source


@pytest.mark.parametrize('file, change', [('runs.csv', ('test.macro_f1', .01)), ('rivals_*.csv', ('difference', .1)), ('rivals_*.csv', ('sd', .1)), ('table1_opd_quick.csv', ('ours', .02)),
    ('table1_opd_quick.csv', ('n', 1)), ('selection_wbc*_compared.csv', ('other', .1)), ('rivals_event*_fresh.csv', ('difference', .1)), ('rivals_event*_fresh.csv', ('macro-F1, %', .1))])
def test_a_number_that_the_predictions_do_not_give_is_named(tmp_path, file, change):
    files = [*REFERENCE.glob(file)][:1]
    for f in (*(REFERENCE/n for n in ('runs.csv', 'predictions.csv.gz', 'answers.json.gz')), *files): shutil.copyfile(f, tmp_path/f.name)
    (column, by), at = change, tmp_path/files[0].name
    t = pd.read_csv(at)
    t.loc[t[column].last_valid_index(), column] += by
    t.to_csv(at, index=False)
    assert len(check_table.check(tmp_path)[0]) == 1


def test_committed_results_are_few_and_small():
    files = [p for p in REFERENCE.rglob('*') if p.is_file()]
    assert len(files) <= 150 and sum(p.stat().st_size for p in files) <= 12*2**20
    assert len(list((REFERENCE/'checkpoints').iterdir())) <= 12


def test_the_name_of_a_run_is_worked_out_as_it_was():
    "A published run would be called the same if it were trained today: nothing that names it may move unnoticed."
    kept = {r['run_id']: r for r in ST.load_runs(REFERENCE, dataset='opd', model='sparseattnnet', preset='corrected', seed=0) if not any(r['spec'][n] for n in ('changes', 'epochs'))}
    spec = RunSpec(dataset='opd', source='simulated', preset='corrected', profile='quick')
    assert name_run(spec, spec_images(spec, False))[0] in kept


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "A store of two runs with their table and its comparisons."
    at, out = tmp_path_factory.mktemp('made'), tmp_path_factory.mktemp('outputs')
    for model in ('dense_cnn', 'sparseattnnet'): train_run(RunSpec(dataset='opd', source='simulated', model=model, preset='corrected', profile='smoke', epochs=1), out, show=False)
    runs = {r['model']: r for r in ST.load_runs(out)}
    rows, given = [runs['sparseattnnet'], runs['dense_cnn']], dict(models='sparseattnnet:corrected,dense_cnn', seeds='0', margin=1.)
    groups = {i: i[-1] for r in rows for i in ST.run_predictions(r).ids}
    write_table(rows, at/'table1_opd_smoke', given, check_reference.TABLE)
    write_comparisons(rows, out, at/'comparisons_opd_smoke', groups, 1., given, check_reference.TABLE)
    ST.add_runs(at, rows, (runs['dense_cnn']['run_id'],))
    ST.lock_artefacts(at, {n: R.read_json(at/f'{n}.provenance.json') for n in ('table1_opd_smoke', 'comparisons_opd_smoke')})
    for p in at.glob('*.provenance.json'): p.unlink()
    return at, runs['dense_cnn']['run_id']


@pytest.fixture
def reference(made, tmp_path):
    shutil.copytree(made[0], tmp_path/'reference')
    return tmp_path/'reference', made[1]


def faults(store): return check_reference.check(store)[0]


def edit(path, old, new, count=1):
    "Change the text of a file, compressed or not."
    packed = path.suffix == '.gz'
    text = (gzip.decompress(path.read_bytes()) if packed else path.read_bytes()).decode()
    assert old in text
    body = text.replace(old, new, count).encode()
    path.write_bytes(gzip.compress(body) if packed else body)


def test_a_fresh_store_is_whole_and_not_stale(reference):
    assert check_reference.check(reference[0]) == ([], [], 4)
    assert check_reference.main(['--strict', '--reference', str(reference[0])]) == 0


def test_comparisons_know_the_groups_that_they_were_made_with(reference):
    "Written anew without the groups they would differ: many images of one cell are not many cells."
    store = reference[0]
    lock = R.read_json(store/'provenance.json')
    assert len(set(lock['comparisons_opd_smoke']['groups'].values())) < len(lock['comparisons_opd_smoke']['groups'])
    lock['comparisons_opd_smoke'].pop('groups')
    R.write_json(store/'provenance.json', lock)
    assert faults(store) == [f'comparisons_opd_smoke.{e}: its runs give another text today' for e in ('csv', 'md')]


def test_a_table_that_was_edited(reference):
    edit(reference[0]/'table1_opd_smoke.md', 'dense CNN', 'our CNN')
    assert [f.split(':')[0] for f in faults(reference[0])] == ['table1_opd_smoke.md']*2


def test_a_table_that_was_edited_together_with_its_hash(reference):
    md, lock = reference[0]/'table1_opd_smoke.md', reference[0]/'provenance.json'
    edit(md, 'dense CNN', 'our CNN')
    about = R.read_json(lock)
    about['table1_opd_smoke']['files'][md.name] = R.sha256_file(md)
    R.write_json(lock, about)
    assert faults(reference[0]) == ['table1_opd_smoke.md: its runs give another text today']


def test_a_run_that_was_edited(reference):
    accuracy = ST.stored_runs(reference[0])[reference[1]]['test']['accuracy']
    edit(reference[0]/'runs.csv', f',{accuracy},', ',0.99,')
    assert any('another accuracy' in f for f in faults(reference[0]))


def test_predictions_that_were_edited(reference):
    edit(reference[0]/'predictions.csv.gz', f'{reference[1]},opd-NA', f'{reference[1]},opd-NB')
    assert any('not about the test images' in f for f in faults(reference[0]))


def test_a_label_that_was_edited(reference):
    line = next(l for l in gzip.decompress((reference[0]/'predictions.csv.gz').read_bytes()).decode().split('\n') if l.startswith(reference[1]))
    name, image, label, *rest = line.split(',')
    edit(reference[0]/'predictions.csv.gz', line, ','.join([name, image, 'ACT7d' if label != 'ACT7d' else 'NA', *rest]))
    assert any('another confusion matrix' in f for f in faults(reference[0]))


@pytest.mark.parametrize('name', ['splits.json.gz', 'predictions.csv.gz', 'epochs.csv.gz', 'runs.csv'])
def test_a_store_that_lacks_a_file(reference, name):
    (reference[0]/name).unlink()
    assert faults(reference[0])


def test_a_damaged_table_of_epochs(reference):
    f = reference[0]/'epochs.csv.gz'
    f.write_bytes(f.read_bytes()[:-20])
    assert 'epochs.csv.gz: not readable' in faults(reference[0])[0]


def test_a_run_that_is_gone(reference):
    ST.drop_runs(reference[0], (reference[1],))
    assert any('not in runs.csv' in f for f in faults(reference[0]))


def test_weights_of_another_run(reference):
    f = reference[0]/'checkpoints'/reference[1]/'model.safetensors'
    f.write_bytes(f.read_bytes() + b'x')
    assert any("is not the run's checkpoint" in f for f in faults(reference[0]))


def test_a_file_without_provenance(reference):
    (reference[0]/'new.csv').write_text('1')
    assert faults(reference[0]) == ['new.csv: no provenance says where it comes from']


def test_a_raised_code_version_makes_runs_stale(reference, monkeypatch):
    import sparseattnnet.learn.run as run
    monkeypatch.setattr(run, 'CODE_VERSION', run.CODE_VERSION + 1)
    found, stale, _ = check_reference.check(reference[0])
    assert found == [] and len(stale) == 2 and f"trained by code version {run.CODE_VERSION - 1}, today's is {run.CODE_VERSION}" in stale[0]
    assert check_reference.main(['--reference', str(reference[0])]) == 0 and check_reference.main(['--strict', '--reference', str(reference[0])]) == 1
