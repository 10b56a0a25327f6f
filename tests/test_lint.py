"""One offence of each kind is planted in a temporary notebook, and the lint must name it; a clean notebook must pass."""
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1]/'tools'
sys.path.insert(0, str(TOOLS))
from lint_notebooks import lint, lint_notebook, main  # noqa: E402


def md(source, tags=()): return dict(cell_type='markdown', metadata={'tags': list(tags)} if tags else {}, source=source)


def code(source, tags=(), outputs=()):
    return dict(cell_type='code', metadata={'tags': list(tags)} if tags else {}, source=source, outputs=list(outputs), execution_count=None)


EXPORTS = '''#| export
def halve(
    x:Tensor, # any tensor, (B, N)
    *rest, # ignored
    keep:bool=False, # return x as it is
)->Tensor: # the half of it
    "Half of `x`."
    return x if keep else x/2'''
RECORD = '''#| export
@dataclass(frozen=True)
class Pair:
    "Two numbers."
    a:int # the first
    b:int=0 # the second
    def total(self,
        times:int=1, # how often
    )->int:
        "Their sum."
        return times*(self.a + self.b)
    def __len__(self): return 2'''
FIGURE = '''#| label: fig-line
#| fig-cap: "A line."
fig, ax = plt.subplots()
ax.plot([0, 1])'''
CARD = '| | |\n|---|---|\n| What it is | x |\n| What the paper says | y |\n| What we chose where it is silent | z |\n| Cost | none |'


def clean():
    "A method notebook without offence, cells by name."
    return dict(
        title=md('# Halving\n\n> One line.'),
        minutes=md('*One minute to read.*'),
        exp=code('#| default_exp method.halving'),
        card=md(CARD),
        imports=code('#| export\nfrom dataclasses import dataclass\nfrom torch import Tensor\nimport torch'),
        own=code('%matplotlib inline\nimport matplotlib.pyplot as plt\nfrom sparseattnnet.judge.figures import house_style'),
        h=md('## Half'),
        prose=md('Half of it, $y = x/2 \\tag{1}$. See [figures](../judge/figures.ipynb) and <https://example.org/home/x>.'),
        f=code(EXPORTS),
        record=code(RECORD),
        tensor=code('torch.zeros(3).scatter(0, i, x)'),
        lesson=code('y = halve(torch.ones(2))\nassert y.sum() == 1\ny', outputs=[dict(output_type='execute_result', data={'text/plain': ['tensor']}, metadata={}, execution_count=None)]),
        figure=code(FIGURE),
        unclear=md('## Where the paper is ambiguous'),
        ex=md('## Exercises'),
        sol=code('halve(torch.zeros(1))', tags=['solution']),
        end=md('## Summary'),
    )


def write(root, cells, name='method/halving'):
    "Write a notebook into a project under `root`, with ids where the cells have none; its path."
    p = root/'nbs'/f'{name}.ipynb'
    p.parent.mkdir(parents=True, exist_ok=True)
    (root/'nbs'/'judge').mkdir(exist_ok=True)
    (root/'nbs'/'judge'/'figures.ipynb').touch()
    cells = [dict({'id': f'c{i}'} | c) for i, c in enumerate(cells)]
    p.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))
    return p


def rules(root, cells, name='method/halving', warnings=False):
    found = lint_notebook(write(root, cells, name), root)
    return {o.rule for o in found if warnings or not o.warning}


def test_clean_passes(tmp_path):
    assert lint_notebook(write(tmp_path, clean().values()), tmp_path) == []


PAPER = dict(title=md('# Table 1\n\n> One line.'), p=code("profile:str = 'smoke'\nseed:int = 0\nlr:float = -1e-3\nonly:str|None = None", tags=['parameters']), run=code('profile'))


def test_clean_papermill_passes(tmp_path):
    assert lint_notebook(write(tmp_path, PAPER.values(), 'paper/table1'), tmp_path) == []


def out(**kw): return [dict(metadata={}, **kw)]


LONG = '\n'.join(f'x{i} = {i}' for i in range(31))
PLANTED = {  # name: (cell to replace or add, the cell, the rules it breaks)
    'long cell': ('lesson', code(LONG), 'long-cell'),
    'imports beside code': ('own', code('import numpy as np\nnp.ones(2)'), 'mixed-imports'),
    'exported imports beside code': ('imports', code('#| export\nfrom torch import Tensor\nN = 3'), 'mixed-imports'),
    'heading with prose': ('h', md('## Half\n\nOf it.'), 'heading'),
    'title with prose': ('title', md('# Halving\n\nProse.'), 'heading'),
    'two headings': ('h', md('## Half\n### Of it'), 'heading'),
    'no title': ('title', md('Halving.'), 'title'),
    'bare comparison': ('lesson', code('x = 1\nx == 1\nx'), 'bare-comparison'),
    'bare comparison last': ('lesson', code('1 < 2'), 'bare-comparison'),
    'bare comparison in a loop': ('lesson', code('for i in range(3):\n    i >= 0'), 'bare-comparison'),
    'bare (a==b).all()': ('lesson', code('(x == y).all()'), 'bare-comparison'),
    'bare allclose': ('lesson', code('torch.allclose(x, y)'), 'bare-comparison'),
    'print last': ('lesson', code('x = 1\nprint(x)'), 'print-last'),
    'no docstring': ('f', code(EXPORTS.replace('    "Half of `x`."\n', '')), 'docstring'),
    'no comment on a parameter': ('f', code(EXPORTS.replace(' # any tensor, (B, N)', '')), 'docments'),
    'no comment on a keyword': ('f', code(EXPORTS.replace(' # return x as it is', '')), 'docments'),
    'two parameters share a comment': ('f', code('#| export\ndef f(\n    a:int, b:int, # both\n)->int:\n    "Sum."\n    return a + b'), 'docments'),
    'one-line function without docs': ('f', code('#| export\ndef f(a): return a'), 'docstring docments'),
    'class without docstring': ('record', code(RECORD.replace('    "Two numbers."\n', '')), 'docstring'),
    'field without comment': ('record', code(RECORD.replace(' # the second', '')), 'docments'),
    'method without docstring': ('record', code(RECORD.replace('        "Their sum."\n', '')), 'docstring'),
    'method parameter without comment': ('record', code(RECORD.replace(' # how often', '')), 'docments'),
    'forward without comments': ('record', code('#| export\nclass Net(nn.Module):\n    "Net."\n    def forward(self, x): return x'), 'docments'),
    'figure without label': ('figure', code(FIGURE.replace('#| label: fig-line\n', '')), 'figure-label'),
    'figure with another label': ('figure', code(FIGURE.replace('fig-line', 'line')), 'figure-label'),
    'same label twice': ('more', code(FIGURE), 'figure-label'),
    'figure without caption': ('figure', code(FIGURE.replace('#| fig-cap: "A line."\n', '')), 'figure-caption'),
    'figure with an empty caption': ('figure', code(FIGURE.replace('A line.', '')), 'figure-caption'),
    'seaborn figure': ('figure', code('sns.heatmap(x);'), 'figure-label figure-caption'),
    'pandas figure': ('figure', code('df.plot.bar(y="n");'), 'figure-label figure-caption'),
    'show_image': ('figure', code('show_image(ax, x);'), 'figure-label figure-caption'),
    'scatter plot': ('figure', code('axes[0].scatter(x, y);'), 'figure-label figure-caption'),
    'stored picture': ('figure', code('draw(x)', outputs=out(output_type='display_data', data={'image/png': 'iVBOR'})), 'figure-label figure-caption'),
    'machine path in code': ('lesson', code("open('/home/me/x.csv').read()"), 'machine-path'),
    'machine path in prose': ('prose', md('Look into /Users/me/cells.'), 'machine-path'),
    'machine path in an output': ('lesson', code('x', outputs=out(output_type='stream', name='stdout', text=['saved /tmp/x\n'])), 'machine-path'),
    'stored error': ('lesson', code('1/0', outputs=[dict(output_type='error', ename='ZeroDivisionError', evalue='', traceback=[])]), 'stored-error'),
    'stored stderr': ('lesson', code('x', outputs=out(output_type='stream', name='stderr', text=['warned'])), 'stored-stderr'),
    'no cell id': ('lesson', code('y') | {'id': ''}, 'cell-id'),
    'same cell id': ('lesson', code('y') | {'id': 'c0'}, 'cell-id'),
    'no card': ('card', md('A card.'), 'card'),
    'no ambiguity section': ('unclear', md('## Unclear'), 'closing'),
    'no exercises': ('ex', md('## More'), 'closing'),
    'no summary': ('end', md('## End'), 'closing'),
    'no solution': ('sol', code('halve(torch.zeros(1))'), 'solution'),
    'method imports data': ('imports', code('#| export\nfrom sparseattnnet.data.images import ImageSet'), 'arrow'),
    'method imports learn late': ('f', code('#| export\ndef _f():\n    from sparseattnnet import learn'), 'arrow'),
    'method imports learn relatively': ('imports', code('#| export\nfrom ..learn import metrics'), 'arrow'),
    'heavy import': ('imports', code('#| export\nimport pandas as pd'), 'light-import'),
    'heavy import, part': ('imports', code('#| export\nfrom matplotlib import pyplot as plt'), 'light-import'),
    'module of another name': ('exp', code('#| default_exp method.half'), 'module-name'),
    'no module': ('exp', md('No module.'), 'default-exp'),
    'syntax': ('lesson', code('y ='), 'syntax'),
    'link to nowhere': ('prose', md('See [this](nowhere.ipynb).'), 'link'),
}


@pytest.mark.parametrize('name', PLANTED)
def test_planted_offence(tmp_path, name):
    place, cell, rule = PLANTED[name]
    found = rules(tmp_path, (clean() | {place: cell}).values())
    assert found == set(rule.split())


IN_PAPER = {
    'no parameters': ('p', code("profile = 'smoke'"), 'parameters'),
    'two parameter cells': ('run', code('n:int = 1', tags=['parameters']), 'parameters'),
    'untyped parameter': ('p', code("profile = 'smoke'", tags=['parameters']), 'parameters'),
    'computed parameter': ('p', code('n:int = 2*21', tags=['parameters']), 'parameters'),
    'parameter of another type': ('p', code("n:int = '3'", tags=['parameters']), 'parameters'),
    'truth for a number': ('p', code('n:int = True', tags=['parameters']), 'parameters'),
    'unknown type': ('p', code("folder:Path = 'x'", tags=['parameters']), 'parameters'),
    'code among parameters': ('p', code('n:int = 1\nprint(n)\nm:int = 2', tags=['parameters']), 'parameters'),
}


@pytest.mark.parametrize('name', IN_PAPER)
def test_planted_offence_in_paper(tmp_path, name):
    place, cell, rule = IN_PAPER[name]
    assert rules(tmp_path, (PAPER | {place: cell}).values(), 'paper/table1') == {rule}


def test_paper_exports_nothing(tmp_path):
    cells = PAPER | dict(exp=code('#| default_exp paper.table1'), e=code('#| export\nN = 3'))
    assert rules(tmp_path, cells.values(), 'paper/table1') == {'paper-export'}


@pytest.mark.parametrize('room,module', [('data', 'learn.records'), ('data', 'deploy'), ('learn', 'judge.tables'), ('judge', 'studies'), ('studies', 'reproduce.jobs'), ('deploy', 'learn.loop'), ('deploy', 'use.trained'), ('use', 'reproduce.main')])
def test_arrows(tmp_path, room, module):
    cells = dict(title=md('# X\n\n> Y.'), exp=code(f'#| default_exp {room}.x'), imports=code(f'#| export\nfrom sparseattnnet.{module} import y'))
    assert rules(tmp_path, cells.values(), f'{room}/x') == {'arrow'}


def test_deploy_reads_records(tmp_path):
    cells = dict(title=md('# X\n\n> Y.'), exp=code('#| default_exp deploy.x'), imports=code('#| export\nfrom sparseattnnet.learn.records import y'))
    assert rules(tmp_path, cells.values(), 'deploy/x') == set()


def test_circle(tmp_path):
    def nb(me, other): return [md('# X\n\n> Y.'), code(f'#| default_exp data.{me}'), code(f'#| export\nfrom sparseattnnet.data.{other} import z')]
    paths = [write(tmp_path, nb(a, b), f'data/{a}') for a, b in (('one', 'two'), ('two', 'one'))]
    assert [o.rule for o in lint(paths, tmp_path)] == ['circle']


def test_many_comments_only_warn(tmp_path):
    lots = code('\n'.join(f'x{i} = {i} # {i}' for i in range(20)))
    cells = clean() | dict(a=lots, b=lots)
    assert rules(tmp_path, cells.values()) == set()
    assert rules(tmp_path, cells.values(), warnings=True) == {'comments'}


WIDE = f"x = '{'a'*115}'"  # 121 columns
MANY = 'def f(a, b, c, d, e, f, g, h): return a'
METHOD = 'class C:\n    def f(self, a, b, c, d, e, f, g): return a\n    def g(self, a, b, c, d, e, f, g, *, h): return a'


def allow(root, text):
    (root/'tools').mkdir(exist_ok=True)
    (root/'tools'/'lint_exceptions.toml').write_text(text)


def allowed(root): return tomllib.loads((root/'tools'/'lint_exceptions.toml').read_text())


@pytest.mark.parametrize('source,found', [
    (WIDE, {'width'}), (WIDE.replace('a', '', 1), set()), (f'#| fig-cap: "{"a"*200}"\n#| label: fig-x\nplt.plot(x);', set()),
    (MANY, {'many-parameters'}), (MANY.replace(', h', ''), set()), (MANY.replace(', h', ', *h, **i'), set()), (METHOD, {'many-parameters'}),
    ('@patch\ndef f(self:Net, a, b, c, d, e, f, g): return a', set()), ('def f(a):\n    def g(a, b, c, d, e, f, *, g, h): return a', {'many-parameters'})])
def test_width_and_parameters(tmp_path, source, found):
    assert rules(tmp_path, [md('# X\n\n> Y.'), code(source)], 'learn/x') == found


def test_width_is_for_code_alone(tmp_path):
    assert rules(tmp_path, [md('# X\n\n> Y.'), md('See ' + 'https://example.org/' + 'a'*200)], 'learn/x') == set()


def test_exceptions_are_counted_by_notebook(tmp_path):
    cells = [md('# X\n\n> Y.'), code(f'{WIDE}\n{WIDE}'), code(METHOD)]
    allow(tmp_path, '["nbs/learn/x.ipynb"]\nwidth = 2\nparameters = ["C.g"]')
    assert rules(tmp_path, cells, 'learn/x') == set()
    assert rules(tmp_path, cells + [code(WIDE)], 'learn/x') == {'width'}
    assert rules(tmp_path, cells + [code(MANY)], 'learn/x') == {'many-parameters'}
    assert rules(tmp_path, cells, 'learn/y') == {'width', 'many-parameters'}


def test_a_list_that_allows_too_much_fails_until_it_is_shrunk(tmp_path):
    p = write(tmp_path, [md('# X\n\n> Y.'), code(WIDE), code(MANY)], 'learn/x')
    allow(tmp_path, '["nbs/learn/x.ipynb"]\nwidth = 3\nparameters = ["f", "f", "g"]\n["nbs/learn/gone.ipynb"]\nwidth = 9')
    found = lint([p], tmp_path)
    assert [o.rule for o in found] == ['width', 'many-parameters', 'many-parameters', 'stale']
    assert all('lint_notebooks.py --shrink' in o.text for o in found)
    assert main(['--root', str(tmp_path), '--shrink', str(p)]) == 0
    assert allowed(tmp_path) == {'nbs/learn/x.ipynb': dict(width=1, parameters=['f'])}


def test_shrinking_never_allows_more(tmp_path):
    p = write(tmp_path, [md('# X\n\n> Y.'), code(f'{WIDE}\n{WIDE}'), code(MANY)], 'learn/x')
    allow(tmp_path, '["nbs/learn/x.ipynb"]\nwidth = 1')
    assert main(['--root', str(tmp_path), '--shrink', str(p)]) == 1
    assert allowed(tmp_path) == {'nbs/learn/x.ipynb': dict(width=1)}
    (tmp_path/'tools'/'lint_exceptions.toml').unlink()
    assert main(['--root', str(tmp_path), '--shrink', str(p)]) == 1
    assert not (tmp_path/'tools'/'lint_exceptions.toml').exists()


@pytest.mark.parametrize('source,found', [
    ('#| export\nclass C:\n    "Doc."\n' + '\n'.join(f'    x{i} = {i}' for i in range(60)), set()),
    ('#| export\n@no_grad\ndef f():\n    "Doc."\n' + '\n'.join(f'    x{i} = {i}' for i in range(60)), set()),
    ('class C:\n' + '\n'.join(f'    x{i} = {i}' for i in range(31)), {'long-cell'}),
    ('#| export\n' + LONG, {'long-cell'})])
def test_what_is_exported_may_be_long_in_one_piece(tmp_path, source, found):
    assert rules(tmp_path, [md('# X\n\n> Y.'), code('#| default_exp learn.x'), code(source)], 'learn/x') == found


def test_a_page_of_text_needs_no_parameters(tmp_path):
    assert rules(tmp_path, [md('# X\n\n> Y.'), md('Text.')], 'paper/x') == set()


def test_the_committed_list_names_notebooks_that_exist():
    root = TOOLS.parent
    assert [n for n in allowed(root) if not (root/n).exists()] == []


def test_message_and_exit_status(tmp_path):
    p = write(tmp_path, (clean() | dict(lesson=code('1 == 1'))).values())
    run = [sys.executable, '-B', str(TOOLS/'lint_notebooks.py'), '--root', str(tmp_path)]
    bad = subprocess.run(run + [str(p)], capture_output=True, text=True)
    assert bad.returncode == 1
    assert bad.stdout.startswith('nbs/method/halving.ipynb cell 12 (c11): bare-comparison: `1 == 1` can never fail, ')
    write(tmp_path, clean().values())
    good = subprocess.run(run + [str(p)], capture_output=True, text=True)
    assert (good.returncode, good.stdout) == (0, '1 notebooks, 0 offences, 0 warnings\n')
    p.unlink()
    (tmp_path/'nbs'/'judge'/'figures.ipynb').unlink()
    assert subprocess.run(run, capture_output=True).returncode == 1
