"Numbering the pages of the course changes every link with them, and nothing else."
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
from course import COURSE  # noqa: E402
from number_pages import main, new_name, renames, renumber  # noqa: E402

NAMES = {'method/fine': 'method/05_fine', 'learn/loop': 'learn/10_loop'}


def test_names():
    assert new_name(4, 'method/fine') == new_name(4, 'method/03_fine') == 'method/05_fine'


def test_what_is_a_link_to_a_page_and_what_is_not():
    at = lambda text, name='nbs/contents.ipynb': renumber(text, name, NAMES)[0]
    assert at('[a](method/fine.ipynb#the-layer)') == '[a](method/05_fine.ipynb#the-layer)'
    assert at('../method/fine.ipynb and nbs/method/fine.ipynb') == '../method/05_fine.ipynb and nbs/method/05_fine.ipynb'
    assert at('[a](fine.ipynb)', 'nbs/method/coarse.ipynb') == '[a](05_fine.ipynb)'
    for kept in ('[a](fine.ipynb)', 'sparseattnnet.method.fine', 'method/fine', 'method/refine.ipynb', 'my-method/fine.ipynb'):
        assert at(kept) == kept
    assert at('undefine.ipynb', 'nbs/method/coarse.ipynb') == 'undefine.ipynb'
    assert at("Page('learn/loop', 'training loop')", 'tools/course.py') == "Page('learn/10_loop', 'training loop')"


def test_this_course_has_its_numbers(): assert renames() == {}


def test_a_project_is_numbered_once(tmp_path, capsys, monkeypatch):
    plain = [p._replace(path=re.sub(r'\d\d_', '', p.path)) for p in COURSE]
    monkeypatch.setattr('number_pages.COURSE', plain)
    for p in plain:
        file = tmp_path/'nbs'/f'{p.path}.ipynb'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dict(cells=[dict(cell_type='markdown', id='abc', source=['[x](pixels.ipynb)'])])))
    (tmp_path/'README.md').write_text('[coarse](nbs/method/coarse.ipynb)')
    git = lambda *a: subprocess.run(['git', '-c', 'user.name=t', '-c', 'user.email=t@t', *a], cwd=tmp_path, check=True, capture_output=True)
    git('init')
    git('add', '-A')
    main(['--root', str(tmp_path)])
    assert (tmp_path/'nbs/method/coarse.ipynb').exists() and '--write does it' in capsys.readouterr().out
    main(['--write', '--root', str(tmp_path)])
    assert not (tmp_path/'nbs/method/coarse.ipynb').exists()
    cells = json.loads((tmp_path/'nbs/method/03_coarse.ipynb').read_text())['cells']
    assert cells[0]['id'] == 'abc' and cells[0]['source'] == ['[x](01_pixels.ipynb)']
    assert (tmp_path/'README.md').read_text() == '[coarse](nbs/method/03_coarse.ipynb)'
    capsys.readouterr()
    main(['--write', '--root', str(tmp_path)])
    assert 'every page has its number' in capsys.readouterr().out
