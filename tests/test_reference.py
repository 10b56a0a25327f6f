"""The committed results hang together; and the check that says so sees what is wrong, on a small run made here."""
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import check_reference  # noqa: E402
from sparseattnnet.learn import records as R  # noqa: E402
from sparseattnnet.judge.tables import write_table  # noqa: E402
from sparseattnnet.learn.loop import RunSpec, train_run  # noqa: E402


def test_committed_results_follow_from_their_records():
    "No fault, and nothing that today's code would train otherwise."
    faults, stale, count = check_reference.check(ROOT/'outputs/reference')
    assert (faults, stale) == ([], []) and count


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "A reference of one run and its table."
    at = tmp_path_factory.mktemp('made')
    record = train_run(RunSpec(dataset='opd', source='simulated', model='dense_cnn', profile='smoke', epochs=1), at, show=False)
    write_table([record], at/'table1_opd_smoke', dict(models='dense_cnn', seeds='0'), check_reference.TABLE)
    return at, record['run_id']


@pytest.fixture
def reference(made, tmp_path):
    shutil.copytree(made[0], tmp_path/'reference')
    return tmp_path/'reference', tmp_path/'reference/runs'/made[1]


def change(path, **fields): R.write_json(path, R.read_json(path) | fields)


def test_a_fresh_reference_is_whole_and_not_stale(reference):
    assert check_reference.check(reference[0]) == ([], [], 2)
    assert check_reference.main(['--strict', '--reference', str(reference[0])]) == 0


def test_a_table_that_was_edited(reference):
    md = reference[0]/'table1_opd_smoke.md'
    md.write_text(md.read_text().replace('dense CNN', 'our CNN'))
    assert [f.split(':')[0] for f in check_reference.check(reference[0])[0]] == ['table1_opd_smoke.md']*2


def test_a_table_that_was_edited_together_with_its_provenance(reference):
    md, about = reference[0]/'table1_opd_smoke.md', reference[0]/'table1_opd_smoke.provenance.json'
    md.write_text(md.read_text().replace('dense CNN', 'our CNN'))
    change(about, files=R.read_json(about)['files'] | {md.name: R.sha256_file(md)})
    assert check_reference.check(reference[0])[0] == ['table1_opd_smoke.md: its runs give another text today']


def test_a_record_that_was_edited(reference):
    record = reference[1]/'record.json'
    test = R.read_json(record)['test']
    change(record, test=test | {'accuracy': .99})
    assert any('test metrics' in f and 'accuracy' in f for f in check_reference.check(reference[0])[0])


def test_predictions_of_other_images(reference):
    p = reference[1]/'predictions.csv'
    lines = p.read_text().splitlines(True)
    p.write_text(''.join(lines[:-1]))
    assert any('not about the test images' in f for f in check_reference.check(reference[0])[0])


@pytest.mark.parametrize('name', ['split.json', 'predictions.csv', 'record.json'])
def test_a_run_that_lacks_a_file(reference, name):
    (reference[1]/name).unlink()
    assert check_reference.check(reference[0])[0]


def test_a_run_that_is_gone(reference):
    shutil.rmtree(reference[1])
    assert any('not in runs/' in f for f in check_reference.check(reference[0])[0])


def test_a_file_without_provenance(reference):
    (reference[0]/'new.csv').write_text('1')
    assert check_reference.check(reference[0])[0] == ['new.csv: no provenance says where it comes from']


def test_code_that_changed_makes_a_run_stale(reference, monkeypatch):
    import sparseattnnet.learn.loop as training
    monkeypatch.setattr(training, '_training_code', lambda: 'other code')
    faults, stale, _ = check_reference.check(reference[0])
    assert faults == [] and stale[0].startswith(reference[1].name)
    assert check_reference.main(['--reference', str(reference[0])]) == 0 and check_reference.main(['--strict', '--reference', str(reference[0])]) == 1


def test_runs_are_renamed_only_where_the_code_that_trains_is_the_same(reference, tmp_path):
    import rename_runs as N
    assert N.changed_code(ROOT) == [] and N.new_names(reference[0], ROOT) == {}
    before = tmp_path/'before'
    shutil.copytree(ROOT/'sparseattnnet', before/'sparseattnnet', ignore=shutil.ignore_patterns('__pycache__'))
    fine = before/'sparseattnnet/method/fine.py'
    fine.write_text(fine.read_text().replace('return', 'return -', 1))
    assert [c.split(':')[0] for c in N.changed_code(before)] == ['method/fine.py']
    with pytest.raises(SystemExit, match='would call it'): N.new_names(reference[0], before)


def test_a_new_name_goes_wherever_the_old_one_stood(reference):
    import rename_runs as N
    old = reference[1].name
    new = old[:-8] + '0'*8
    N.rename(reference[0], {old: new}, 'a test')
    about = list(reference[0].glob('*.provenance.json'))
    assert about and all(R.check_provenance(f) == [] and old not in f.read_text() for f in about)
    assert R.read_json(reference[0]/'runs'/new/'record.json')['renamed'] == {'from': old, 'because': 'a test'}
    left = [p.name for p in reference[0].rglob('*') if p.is_file() and old in p.read_text(errors='ignore')]
    assert left == ['record.json']
    N.rename(reference[0], {new: old[:-8] + '1'*8}, 'again')
    assert R.read_json(reference[0]/'runs'/(old[:-8] + '1'*8)/'record.json')['renamed'] == {'from': new, 'because': 'again', 'before': {'from': old, 'because': 'a test'}}
