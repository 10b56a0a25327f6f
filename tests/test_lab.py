"""`make lab` serves the whole project, so that the pages it opens find their pictures, which lie outside of nbs/."""
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(not shutil.which('make'), reason='needs make')
@pytest.mark.parametrize('index', [True, False])
def test_lab_serves_the_project_and_opens_the_index(tmp_path, index):
    home = tmp_path/'a project'
    (home/'nbs').mkdir(parents=True)
    (home/'.venv').mkdir()
    shutil.copy(ROOT/'Makefile', home)
    for name in ('requirements.txt', 'constraints.txt', 'pyproject.toml', 'settings.ini'): (home/name).touch()
    if index: (home/'nbs/index.ipynb').touch()
    (home/'.venv/stamp').write_text(f'{home.resolve()}\n')
    os.utime(home/'.venv/stamp', (time.time() + 9,)*2)
    python = tmp_path/'python'
    python.write_text('#!/bin/sh\nfor a; do echo "$a"; done\n')
    python.chmod(0o755)
    run = subprocess.run(['make', 'lab', f'PY={python}'], cwd=home, capture_output=True, text=True)
    given = dict(a.split('=', 1) for a in run.stdout.splitlines() if '=' in a)
    assert run.stdout.startswith('-m\njupyterlab\n'), run.stdout + run.stderr
    assert Path(given['--ServerApp.root_dir']).resolve() == home.resolve()
    assert given['--LabApp.default_url'] == ('/lab/tree/nbs/index.ipynb' if index else '/lab')


def test_what_the_index_shows_lies_inside_the_project():
    shown = re.findall(r'!\[[^\]]*\]\(([^)\s]+)\)|src=\\"([^"\\]+)', (ROOT/'nbs/index.ipynb').read_text(encoding='utf-8'))
    there = [(ROOT/'nbs'/(a or b)).resolve() for a, b in shown if not (a or b).startswith('http')]
    assert there and all(p.is_relative_to(ROOT) for p in there)


@pytest.mark.parametrize('page', ['index', 'contents'])
def test_the_first_pages_show_no_code_that_readers_need_not_see(page):
    cells = json.loads((ROOT/f'nbs/{page}.ipynb').read_text(encoding='utf-8'))['cells']
    hidden = [c for c in cells if c['cell_type'] == 'code' and re.search(r'^#\| (hide|echo: *false)', ''.join(c['source']), re.M)]
    assert hidden and all(c['metadata'].get('jupyter', {}).get('source_hidden') for c in hidden)
