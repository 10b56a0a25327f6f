"""The list of faults fits the code, and tools/mutate.py tells a fault that a test sees from one that none sees."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import mutate  # noqa: E402

MUTATIONS = mutate.load()


def test_each_fault_is_found_once_in_its_module_and_its_page():
    if gone := [line for m in MUTATIONS for line in mutate.faults_of(m)]: pytest.fail('\n'.join(gone), pytrace=False)


def test_the_list_is_long_and_touches_every_part():
    assert len([m for m in MUTATIONS if not m.equivalent]) >= 50
    assert {m.part for m in MUTATIONS} == {'training', 'data', 'method', 'judge', 'deploy'}
    assert all(len(m.equivalent) > 15 for m in MUTATIONS if m.equivalent) # a reason, not a mark
    assert all(mutate.checks_of(m) for m in MUTATIONS)


@pytest.fixture
def project(tmp_path):
    "A package of one module, its page, a test that sees one fault of two, and one that fails anyway."
    root = tmp_path/'project'
    code = 'def area(a, b):\n    "Of a rectangle."\n    return a*b\n\ndef edge(a, b): return 2*(a + b)\n'
    for d in ('sparseattnnet/geo', 'nbs/geo', 'tests'): (root/d).mkdir(parents=True)
    for f in ('sparseattnnet/__init__.py', 'sparseattnnet/geo/__init__.py'): (root/f).write_text('')
    (root/'sparseattnnet/geo/box.py').write_text(code)
    cells = [dict(cell_type='code', id=f'c{i}', metadata={}, source=s.splitlines(True), outputs=[],
        execution_count=None) for i, s in enumerate(('#| export\n' + code, 'assert area(2, 3) == 6; 2*(2 + 3)'))]
    (root/'nbs/geo/box.ipynb').write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))
    (root/'tests/test_box.py').write_text(
        'from sparseattnnet.geo.box import area\ndef test_area(): assert area(2, 3) == 6\n')
    (root/'tests/test_broken.py').write_text('from sparseattnnet.geo.box import edge\ndef test_edge(): assert False\n')
    faults = (dict(name='seen', old='a*b', new='a+b'), dict(name='unseen', old='2*(a + b)', new='2*a + b'),
        dict(name='idle', old='Of a', new='of a', equivalent='words'))
    lines = ['\n'.join(f'{k} = "{v}"' for k, v in (dict(part='data', file='geo/box') | f).items()) for f in faults]
    (root/mutate.LIST).write_text('\n'.join(f'[[mutation]]\n{text}' for text in lines) + '\n')
    return root


def run(root, *args):
    p = subprocess.run([sys.executable, ROOT/'tools/mutate.py', '--root', root, '--tests', '--cold', *args],
        capture_output=True, text=True, timeout=200)
    return p.returncode, p.stdout + p.stderr


def test_a_fault_is_killed_or_survives_and_what_is_known_is_kept(project, tmp_path):
    before = {p: p.read_bytes() for p in project.rglob('*') if p.is_file()}
    rc, text = run(project, tmp_path/'results')
    assert rc == 1, text
    for said in ('killed   seen by tests/test_box.py', 'SURVIVED unseen (geo/box)', 'idle (geo/box): words'):
        assert said in text
    assert 'test_broken.py fails without any fault' in text
    assert {p: p.read_bytes() for p in project.rglob('*') if p.is_file()} == before
    assert 'mutations, 0 to try' in run(project, tmp_path/'results')[1]
    (project/'tests/test_box.py').write_text(
        'from sparseattnnet.geo.box import area, edge\ndef test_area(): assert (area(2, 3), edge(2, 3)) == (6, 10)\n')
    rc, text = run(project, tmp_path/'results')
    assert rc == 0 and '3 mutations, 2 to try' in text and 'data: 2 faults, 2 killed' in text, text
    results = json.loads((tmp_path/'results'/mutate.RESULTS).read_text())['mutations']
    assert {n: (r['status'], r['by']) for n, r in results.items()} == {n: ('killed', 'tests/test_box.py')
        for n in ('seen', 'unseen')}


def test_a_fault_goes_into_the_module_and_into_the_cell_that_it_comes_from(project):
    seen, unseen, _ = mutate.load(project/mutate.LIST)
    page = lambda: [''.join(c['source']) for c in json.loads((project/'nbs/geo/box.ipynb').read_text())['cells']]
    lesson = page()[1]
    mutate.apply(unseen, project)
    assert '2*a + b' in (project/'sparseattnnet/geo/box.py').read_text()
    assert '2*a + b' in page()[0]
    assert page()[1] == lesson
    (fault, ) = mutate.faults_of(unseen, project)[:1]
    assert fault.startswith(
        "mutation 'unseen': its text is gone from sparseattnnet/geo/box.py; adapt tests/mutations.toml")
    assert mutate.faults_of(seen, project) == []


def test_a_text_that_is_gone_or_stands_twice_stops_everything(project, tmp_path):
    module = project/'sparseattnnet/geo/box.py'
    module.write_text(module.read_text().replace('a*b', 'b*a') + '\ntwice = "2*(a + b)"\n')
    rc, text = run(project, tmp_path/'results')
    assert rc == 2, text
    for name, said in (('seen', 'gone from'), ('unseen', 'found 2 times in')):
        assert f"mutation '{name}': its text is {said} sparseattnnet/geo/box.py" in text
    assert not (tmp_path/'results').exists()


def test_names_are_unique_and_faults_are_faults(project):
    path = project/mutate.LIST
    path.write_text(path.read_text().replace('"unseen"', '"seen"'))
    with pytest.raises(ValueError, match='seen stands twice'): mutate.load(path)
    path.write_text(path.read_text().replace('"a+b"', '"a*b"').replace('name = "seen"', 'name = "one"', 1))
    with pytest.raises(ValueError, match='one replaces a text by itself'): mutate.load(path)


def test_checks_come_cheapest_first():
    m = next(m for m in MUTATIONS if m.file == 'method/fine')
    checks = mutate.checks_of(m)
    assert checks[0] == 'tests/test_protocol_method.py'
    assert checks[1] == 'nbs/method/05_fine.ipynb'
    assert 'nbs/method/07_model.ipynb' in checks
    assert not any('paper' in c for c in checks)


def test_a_stopped_run_goes_on(project, tmp_path):
    (project/'tests/test_broken.py').unlink()
    test = (project/'tests/test_box.py').read_text().replace('area\n', 'area, edge\n')
    (project/'tests/test_box.py').write_text(f'{test}\nimport time\nif edge(2, 3) != 10: time.sleep(60)\n')
    p = subprocess.Popen([sys.executable, ROOT/'tools/mutate.py', tmp_path/'results', '--root', project, '--tests',
        '--cold'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert 'to try' in p.stdout.readline()
    first = p.stdout.readline() # the first fault is killed; the second waits in its test
    while 'killed' not in first and first: first = p.stdout.readline()
    p.terminate()
    rest = p.communicate(timeout=60)[0]
    assert p.returncode == 130 and 'goes on from here' in rest, rest
    assert list(json.loads((tmp_path/'results'/mutate.RESULTS).read_text())['mutations']) == ['seen']
