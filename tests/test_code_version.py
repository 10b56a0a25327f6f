"""What the check of the code version says to a comment, to a refactoring and to a change of the loss; without training."""
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import check_code_version as C  # noqa: E402


def results(version=1, **changed):
    run = lambda n: dict(bits=f'bits of {n}', best=[1, 100], losses=[1., .9, .8, .7, .6], val=[.3]*5)
    return {'code_version': version} | {n: run(n) | changed.get(n.replace(' ', '_'), {}) for n in C.RUNS}


def test_the_same_weights_say_nothing(): assert C.compare(results(), results()) == ([], [])


def test_other_weights_without_a_new_number_fail():
    failures, _ = C.compare(results(), results(edge=dict(bits='other')))
    assert len(failures) == 1 and failures[0].startswith('edge: weights or predictions differ') and 'still 1' in failures[0]


def test_another_choice_of_the_epoch_fails():
    assert C.compare(results(), results(corrected=dict(best=[2, 90])))[0]


def test_other_weights_with_a_new_number_pass():
    assert C.compare(results(), results(2, edge=dict(bits='other'))) == ([], ['CODE_VERSION rose to 2; other results: edge'])


def test_a_changed_preset_gives_its_runs_another_name():
    before, now = results(guided=dict(run='a')), results(guided=dict(run='b', bits='other'))
    assert C.compare(before, now) == ([], ['another preset, recipe or data set, so runs of another name: guided'])
    assert C.compare(before, results(guided=dict(run='a', bits='other')))[0][0].startswith('guided: weights')
    assert C.compare(before, results(guided=dict(run='b', bits='other'), edge=dict(bits='other')))[0][0].startswith('edge')


def test_the_number_only_rises(): assert 'may only rise' in C.compare(results(3), results(2))[0][0]


def test_a_parent_without_a_number(): assert C.compare(None, results())[0] == []


def test_committed_losses_allow_rounding_and_no_more(tmp_path, monkeypatch):
    import json
    f = tmp_path/'first_losses.json'
    f.write_text(json.dumps(C.first_losses(results())))
    near, far = results(edge=dict(losses=[1.0005, .9, .8, .7, .6])), results(edge=dict(losses=[1.01, .9, .8, .7, .6]))
    assert C.against_committed(near, f) == []
    assert C.against_committed(far, f)[0].startswith('edge: the losses of the first steps differ')
    assert 'is of code version 1' in C.against_committed(results(2), f)[0]


def test_another_kind_of_processor_may_differ_as_far_as_those_that_are_known():
    known = [[1., .9, .8], [1., .9, .7]]
    assert C.beyond([1., .9, .75], known) == C.beyond([1., .9, .99], known) == 0
    assert abs(C.beyond([1., .9, 1.2], known) - .4) < 1e-9 and abs(C.beyond([1.1, .9, .8], known) - .1) < 1e-9
    assert C.first_losses(results(), {n: [[1.]] for n in C.RUNS})['edge'] == [[1.], results()['edge']['losses']]


def test_the_committed_losses_are_of_todays_version():
    import json
    from sparseattnnet.learn.run import CODE_VERSION
    kept = json.loads(C.LOSSES.read_text())
    assert kept['code_version'] == CODE_VERSION and set(kept) == {'code_version', *C.RUNS} and all(len(v) == 5 for n in C.RUNS for v in kept[n])


def test_which_commit_is_the_parent(tmp_path):
    git = lambda *a: subprocess.run(['git', '-C', str(tmp_path), '-c', 'user.name=x', '-c', 'user.email=x@x', *a], check=True, capture_output=True)
    assert C.parent_of(tmp_path) == ''
    git('init', '-q')
    for i in range(2):
        (tmp_path/'nbs').mkdir(exist_ok=True)
        (tmp_path/'nbs'/'a').write_text(str(i))
        git('add', '-A')
        git('commit', '-qm', str(i))
        assert C.parent_of(tmp_path) == ('HEAD^' if i else '')
    (tmp_path/'nbs'/'a').write_text('changed')
    assert C.parent_of(tmp_path) == 'HEAD'


@pytest.mark.parametrize('name', C.RUNS)
def test_each_tiny_run_is_a_run(name):
    from sparseattnnet.learn.run import RunSpec
    assert RunSpec(**C.SMALL | C.RUNS[name])
