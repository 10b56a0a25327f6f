"""The checks count what they should: on small projects with a good notebook, a failing one, none, and one that is stopped."""
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHECK = ROOT/'tools'/'check.py'


def notebook(path, *sources, tags=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [dict(cell_type='markdown', id='title', metadata={}, source=['# A page'])]
    cells += [dict(cell_type='code', execution_count=None, id=f'c{i}', metadata={'tags': list(tags)} if tags else {}, outputs=[], source=s.splitlines(True)) for i, s in enumerate(sources)]
    meta = {'kernelspec': {'display_name': 'python3', 'language': 'python', 'name': 'python3'}}
    path.write_text(json.dumps(dict(cells=cells, metadata=meta, nbformat=4, nbformat_minor=5), indent=1, sort_keys=True, ensure_ascii=False) + '\n')


@pytest.fixture
def project(tmp_path):
    root = tmp_path/'a project'
    (root/'sparseattnnet').mkdir(parents=True)
    (root/'sparseattnnet'/'__init__.py').write_text('__version__ = "0.1.0"\n')
    for f in ('settings.ini', 'pyproject.toml'): shutil.copy(ROOT/f, root/f)
    notebook(root/'nbs'/'good.ipynb', 'import sparseattnnet', 'assert sparseattnnet.__version__')
    return root


def command(root, *args): return [sys.executable, str(CHECK), '--root', str(root), *args]


def check(root, *args):
    run = subprocess.run(command(root, *args), capture_output=True, text=True, timeout=120)
    return run.returncode, run.stdout, run.stdout.rstrip().split('\n')[-1]


def state(root): return sorted((p.relative_to(root).as_posix(), p.stat().st_mtime_ns) for p in root.rglob('*'))


def test_good_notebook_and_nothing_written(project):
    before = state(project)
    rc, text, last = check(project, '--steps', 'clean,notebooks')
    assert (rc, last) == (0, '2 passed, 0 failed'), text
    assert state(project) == before


def test_failing_notebook_is_counted_and_shown(project):
    notebook(project/'nbs'/'bad.ipynb', 'x = 6*7', 'assert x == 41, "planted"')
    rc, text, last = check(project, '--steps', 'notebooks')
    assert (rc, last) == (1, '1 passed, 1 failed')
    assert 'AssertionError' in text and '--- cell 3 (c1) of nbs/bad.ipynb\n    assert x == 41, "planted"' in text


def test_unclean_notebook_fails(project):
    p = project/'nbs'/'good.ipynb'
    p.write_text(p.read_text().replace('"execution_count": null', '"execution_count": 3'))
    assert check(project, '--steps', 'clean')[::2] == (1, '0 passed, 1 failed')


def test_tags_are_clean(project):
    notebook(project/'nbs'/'good.ipynb', 'n:int = 1', tags=['parameters'])
    assert check(project, '--steps', 'clean')[::2] == (0, '1 passed, 0 failed')


def test_package_out_of_step_fails(project):
    notebook(project/'nbs'/'mod.ipynb', '#| default_exp mod', '#| export\nN = 3')
    rc, text, last = check(project, '--steps', 'export')
    assert rc == 1 and 'FAILED sparseattnnet/mod.py' in text and 'make export' in text, text


def test_lint_is_counted(project):
    notebook(project/'nbs'/'good.ipynb', '1 == 1')
    rc, text, last = check(project, '--steps', 'lint')
    assert (rc, last) == (1, '0 passed, 1 failed') and 'bare-comparison' in text


def test_a_step_without_tests_fails(project):
    (project/'nbs'/'good.ipynb').unlink()
    rc, text, last = check(project, '--steps', 'notebooks,pytest')
    assert rc == 1 and last.startswith('0 passed, ') and not last.endswith(' 0 failed')


def test_papermill_runs_in_a_kernel_and_sees_the_profile(project):
    train = project/'nbs'/'paper'/'train.ipynb'
    notebook(train, "profile:str = 'quick'", tags=['parameters'])
    nb = json.loads(train.read_text())
    nb['cells'].append(dict(cell_type='code', execution_count=None, id='use', metadata={}, outputs=[], source=["assert profile == 'smoke' and get_ipython().kernel"]))
    train.write_text(json.dumps(nb))
    rc, text, last = check(project, '--steps', 'papermill')
    assert (rc, last) == (0, '1 passed, 0 failed'), text
    train.write_text(json.dumps(nb).replace("profile:str = 'quick'", "profil:str = 'smoke'"))
    rc, text, last = check(project, '--steps', 'papermill')
    assert (rc, last) == (1, '0 passed, 1 failed') and 'knows no parameter' in text


@pytest.mark.parametrize('sig', [signal.SIGINT, signal.SIGTERM])
def test_stopping_ends_the_children(project, sig):
    import psutil
    notebook(project/'nbs'/'long.ipynb', 'import time', 'time.sleep(100)')
    p = subprocess.Popen(command(project, '--steps', 'notebooks', '--only', 'long'), stdout=subprocess.PIPE, text=True)
    def tests_notebooks(c):
        try: return 'run_pages' in ' '.join(c.cmdline())
        except psutil.Error: return False # it ended as it was looked at
    children, end = [], time.time() + 30
    while time.time() < end and not (children := [c for c in psutil.Process(p.pid).children(recursive=True) if tests_notebooks(c)]): time.sleep(.1)
    assert children
    p.send_signal(sig)
    text = p.communicate(timeout=30)[0]
    assert p.returncode == 130 and re.search(r'\n0 passed, 1 failed\n$', text), text
    assert not psutil.wait_procs(children, timeout=5)[1]


def test_a_page_that_takes_too_long_is_ended(project):
    notebook(project/'nbs'/'long.ipynb', 'import time', 'time.sleep(100)')
    run = subprocess.run([sys.executable, ROOT/'tools/run_pages.py', '--limit', '10', 'nbs/long.ipynb', 'nbs/good.ipynb'], cwd=project, capture_output=True, text=True, timeout=120)
    found = {r['page']: r for r in map(json.loads, run.stdout.splitlines())}
    assert {p: r['status'] for p, r in found.items()} == {'nbs/long.ipynb': 124, 'nbs/good.ipynb': 0}, run.stderr
    assert 'stopped after 10 s' in found['nbs/long.ipynb']['text']
