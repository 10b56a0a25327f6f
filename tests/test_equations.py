"""The equation map is read from the notebooks: what counts as a citation, as a test, and what is refused."""
import ast
import json
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1]/'tools'
sys.path.insert(0, str(TOOLS))
import equations  # noqa: E402
from equations import BEGIN, END, asserts, cited, equation_map, main, pages, reached, read_page  # noqa: E402


def cell(kind, source, n):
    c = dict(cell_type=kind, id=f'c{n}', metadata={}, source=source.splitlines(True))
    return c | dict(outputs=[], execution_count=None) if kind == 'code' else c


def notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(cells=[cell(*c, i) for i, c in enumerate(cells)], metadata={}, nbformat=4, nbformat_minor=5), indent=1))
    return path


def md(s): return 'markdown', s


def code(s): return 'code', s


ONE = (md('# One\n\n> Eq. 1'), code('#| default_exp method.one'), md('## Twice'), md('$$y = 2x \\tag{1}$$'),
    code('#| export\ndef twice(x):\n    "Eq. 1."\n    return 2*x'), code('assert twice(1) == 2'), md('## By loops'), md('Eq. 1 again.'),
    code('def twice_naive(x): return x + x'), code('assert twice(3) == twice_naive(3)'))
TWO = (md('# Two'), md('## A class'), code('#| export\nclass Net:\n    "A net."\n    def __call__(self, x):\n        "Eqs. 2–3 in one."\n        return x'),
    code('net = Net()'), code('def compare(n): assert net(n) == n'), code('compare(4)'))


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(equations, 'MEANING', {1: 'doubling', 2: 'a net', 3: 'its output'})
    notebook(tmp_path/'nbs'/'method'/'one.ipynb', *ONE)
    notebook(tmp_path/'nbs'/'method'/'two.ipynb', *TWO)
    notebook(tmp_path/'nbs'/'contents.ipynb', md('# Index'), md(f'Before.\n\n{BEGIN}\n{END}\n\nAfter.'))
    return tmp_path


@pytest.mark.parametrize('text,want', [
    ('Focal loss, Eq. 16, averaged', {16}), ('Eqs. 6–13 of the paper', set(range(6, 14))), ('Eqs. 21-23: `step`', {21, 22, 23}), ('Eqs. 11 and 12', {11, 12}),
    ('Eqs. 2, 4–6, and 9', {2, 4, 5, 6, 9}), ('Eq. 4, 48 wide', {4}), ('Eq. 2 and 3 channels', {2}), ('Eq. 14; then Eq. 15.', {14, 15}), ('§2.4, seq. 3, EQ 4', set()), (None, set())])
def test_cited(text, want): assert cited(text) == want


@pytest.mark.parametrize('source,want', [
    ('assert f(1) == 2', True), ('test_eq(f(1), 2)', True), ('torch.testing.assert_close(f(1), g(1))', True), ('for i in x: test_close(i, 1)', True),
    ('f(1)', False), ('with expect_fail(ValueError): f(1)', False), ('def g(): assert f(1)', False), ('test_images(3)', False)])
def test_what_asserts(source, want): assert asserts(reached(ast.parse(source), {})[0]) == want


def test_names_through_helpers_and_not_through_what_the_cell_binds():
    own = {'g': ast.parse('def g(n):\n    return f(n)').body, 'n': ast.parse('net(1)').body}
    assert {'g', 'f'} <= reached(ast.parse('assert g(1)'), own)[1] and 'net' not in reached(ast.parse('assert g(1)'), own)[1]
    assert 'net' in reached(ast.parse('assert n'), own)[1] and 'net' not in reached(ast.parse('n = 3\nassert n'), own)[1]


def test_map(root):
    rows, wrong = equation_map(pages(root))
    assert wrong == []
    assert [(n, p.path, names, t.section, t.oracles) for n, p, names, t in rows] == [
        (1, 'method/one.ipynb', ['twice'], 'By loops', ['twice_naive']), (2, 'method/two.ipynb', ['Net'], 'A class', []), (3, 'method/two.ipynb', ['Net'], 'A class', [])]


def test_objects_are_followed_until_the_name_is_taken(tmp_path):
    page = read_page(notebook(tmp_path/'nbs'/'a.ipynb', md('# A'), code('net = Net().eval()'), code('assert net'), code('net = 3'), code('assert net')), tmp_path)
    assert ['Net' in t.names for t in page.tests] == [True, False]


def test_patched_methods_belong_to_their_class(tmp_path):
    page = read_page(notebook(tmp_path/'nbs'/'a.ipynb', md('# A'), code('#| export\n@patch\ndef go(self:Net):\n    "Eq. 2."'), code('#| export\ndef _x():\n    "Eq. 1."')), tmp_path)
    assert page.symbols == {'Net': {2}}


def test_write_check_and_stale(root, capsys):
    args = ['--root', str(root)]
    assert main(args + ['--check']) == 1
    assert main(args + ['--write']) == 0
    assert main(args + ['--check']) == 0
    source = ''.join(json.loads((root/'nbs'/'contents.ipynb').read_text())['cells'][1]['source'])
    assert source.startswith('Before.\n') and source.endswith('\nAfter.') and '| 1 | doubling | [one](method/one.ipynb) | `twice` | By loops (`twice_naive`) |' in source
    notebook(root/'nbs'/'method'/'one.ipynb', *(tuple(x.replace('By loops', 'Slowly') for x in c) for c in ONE))
    assert main(args + ['--check']) == 1
    assert 'run `python tools/equations.py --write`' in capsys.readouterr().out
    assert [p.name for p in (root/'nbs').iterdir() if p.name.startswith('.')] == []


@pytest.mark.parametrize('cells,why', [
    (ONE[:4], 'Eq. 1 (doubling): no exported function cites it'),
    ((*ONE[:5], code('twice(1)'), code('with expect_fail(TypeError): twice()')), 'Eq. 1 (doubling): no cell of nbs/method/one.ipynb asserts a value of twice'),
    ((*ONE, code('#| export\ndef f():\n    "Eq. 24."')), 'the docstring of f cites Eq. 24, the paper has 3')])
def test_refused(root, capsys, cells, why):
    notebook(root/'nbs'/'method'/'one.ipynb', *cells)
    before = (root/'nbs'/'contents.ipynb').read_text()
    assert main(['--root', str(root), '--write']) == 1
    assert why in capsys.readouterr().out and (root/'nbs'/'contents.ipynb').read_text() == before
    assert main(['--root', str(root)]) == main(['--root', str(root), '--check']) == 1


def test_an_index_without_its_place(root, capsys):
    notebook(root/'nbs'/'contents.ipynb', md('# Index'))
    assert main(['--root', str(root), '--check']) == 1 and 'expected exactly one' in capsys.readouterr().out


def test_the_paper_has_23_equations(): assert list(equations.MEANING) == list(range(1, 24))
