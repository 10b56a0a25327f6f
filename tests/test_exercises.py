"""Each exercise of the course has a check: it fails on the empty answer and says why, and it passes on the solution.

A page is not run as a whole: only the cells on which its exercises depend are, as far as a look at their names tells."""
import ast
import json
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
from course import COURSE, file_of, join  # noqa: E402
from course import pages as all_pages  # noqa: E402
from student import CHECK, LINES, SESSION, TIMES, WORDS, cells_of, checks_of, counted, hide, main, minutes, practice, sessions, solution  # noqa: E402


def code_cells(path):
    """Code cells of a page as `(source, tree, whether it is a solution)`. What the page exports is imported from the
    package."""
    nb = json.loads(file_of(ROOT, path).read_text(encoding='utf-8'))
    for c in nb['cells']:
        if c['cell_type'] != 'code': continue
        source = re.sub(r'^%.*$', '', join(c['source']), flags=re.M)
        if re.search(r'^#\| (export|hide|default_exp)', source, re.M): continue
        yield source, ast.parse(source), solution(c)


def has_exercises(path): return '## Exercises' in (join(c['source']).strip() for c in cells_of(ROOT, path))


WITH_EXERCISES = [p for p in all_pages(ROOT) if has_exercises(p)]
PAGES = {p: list(code_cells(p)) for p in WITH_EXERCISES}
COPIED = [p.path for p in COURSE] + practice(ROOT)


def root_of(node):
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)): node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ''


def changed(tree):
    "Names that a cell binds, or whose objects it may change, outside of functions; a library is not changed."
    out, todo = set(), list(tree.body)
    while todo:
        n = todo.pop()
        if isinstance(n, (ast.FunctionDef, ast.ClassDef)):
            out.add(n.name)
            continue
        if isinstance(n, ast.Expr) and isinstance(getattr(n.value, 'func', None), ast.Attribute): out.add(root_of(n.value))
        if isinstance(n, (ast.Attribute, ast.Subscript)) and isinstance(n.ctx, ast.Store): out.add(root_of(n))
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store): out.add(n.id)
        todo += ast.iter_child_nodes(n)
    return out - {'torch', 'np', 'pd', 'plt', 'F', 'nn'}


def used(tree):
    "Names that a cell takes from elsewhere: those that it has bound before, and those of a function's own, are not."
    bound, out = set(), set()
    for statement in tree.body:
        out |= free(statement) - bound
        bound |= changed(ast.Module([statement], [])) & {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return out


def free(tree):
    "Names that a statement takes from elsewhere: those that a function binds for itself are its own."
    own = set()
    for n in ast.walk(tree):
        if not isinstance(n, (ast.FunctionDef, ast.Lambda, ast.GeneratorExp, ast.ListComp, ast.DictComp, ast.SetComp)): continue
        inside = {m.arg for m in ast.walk(n) if isinstance(m, ast.arg)}
        inside |= {m.id for m in ast.walk(n) if isinstance(m, ast.Name) and isinstance(m.ctx, ast.Store)}
        own |= {id(m) for m in ast.walk(n) if isinstance(m, ast.Name) and m.id in inside}
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and id(n) not in own}


def imports(tree): return all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in tree.body)


def prepared(cells, until, last):
    "The sources before a cell on which the cells `last` depend, in order; solutions are left out."
    given = [c for c in cells[:until] if not c[2]]
    need, take = set().union(*(used(t) for _, t, _ in last)), {i for i, (_, t, _) in enumerate(given) if imports(t)}
    while more := {i for i, (_, t, _) in enumerate(given) if i not in take and changed(t) & need}:
        take |= more
        need |= set().union(*(used(given[i][1]) for i in more))
    return [given[i][0] for i in sorted(take)]


@pytest.fixture
def in_folder(monkeypatch):
    monkeypatch.setenv('MPLBACKEND', 'Agg')
    yield lambda path: monkeypatch.chdir(file_of(ROOT, path).parent)
    if 'matplotlib' in sys.modules: sys.modules['matplotlib.pyplot'].close('all')


@pytest.mark.parametrize('path', WITH_EXERCISES)
def test_each_numbered_exercise_that_asks_for_a_name_has_one_check_and_one_solution(path):
    nb = json.loads(file_of(ROOT, path).read_text(encoding='utf-8'))
    at = next(i for i, c in enumerate(nb['cells']) if join(c['source']).strip() == '## Exercises')
    asked = {int(n): re.findall(r'Write `(\w+)', text) for n, text in re.findall(r'^(\d+)\. (.+)$', join(nb['cells'][at + 1]['source']), re.M)}
    checks = checks_of(nb['cells'])
    assert {n: name for n, (name, _) in checks.items()} == {n: names[0] for n, names in asked.items() if names}
    solved = [(int(n), name) for c in nb['cells'] if solution(c) and c['cell_type'] == 'code' for n, name in CHECK.findall(join(c['source']))]
    assert sorted(solved) == sorted((n, name) for n, (name, _) in checks.items())
    assert checks, 'a page with exercises has at least one that is checked'


@pytest.mark.parametrize('path', WITH_EXERCISES)
def test_checks_fail_on_the_empty_answer_and_pass_on_the_solution(path, in_folder):
    in_folder(path)
    cells = PAGES[path]
    first = next(i for i, (_, _, s) in enumerate(cells) if s)
    after = [c for c in cells[first:] if c[2]]
    module = re.sub(r'/\d\d_', '/', path)
    exported = (ROOT/'sparseattnnet'/f'{module}.py').exists()
    page = dict(vars(import_module(f"sparseattnnet.{module.replace('/', '.')}"))) if exported else {}
    for source in prepared(cells, first, after): exec(compile(source, path, 'exec'), page)
    numbers = sorted(int(n[6:]) for n in page if re.fullmatch(r'check_\d+', n))
    assert numbers
    for n in numbers:
        for empty in (..., None):
            with pytest.raises(AssertionError) as e: page[f'check_{n}'](empty)
            said = str(e.value).split('\n')[0]
            assert said.startswith(f'exercise {n}: ') and len(said) > len('exercise 1: ') + 15, f'{path}: {said!r} helps nobody'
    for source, _, _ in after: exec(compile(source, path, 'exec'), page)


def test_the_student_version_hides_every_solution_and_keeps_the_checks(tmp_path, capsys):
    main([str(tmp_path/'class')])
    count = sum(len(checks_of(cells_of(ROOT, p))) for p in COPIED)
    assert count > 60 and f'{count} open exercises' in capsys.readouterr().out
    solved = {p for p in all_pages(ROOT) if any(solution(c) for c in cells_of(ROOT, p))}
    assert solved == set(WITH_EXERCISES), 'a page has solutions and no heading "## Exercises", or the reverse'
    assert solved <= set(COPIED), 'a page has exercises and no check'
    for p in COPIED:
        cells = json.loads((tmp_path/'class'/f'{p}.ipynb').read_text(encoding='utf-8'))['cells']
        original = cells_of(ROOT, p)
        assert not any(solution(c) for c in cells)
        for link in re.findall(r'\]\(([^)\s#]+)', '\n'.join(join(c['source']) for c in cells if c['cell_type'] == 'markdown')):
            assert re.match('https?:', link) or (tmp_path/'class'/p).parent.joinpath(link).exists(), f'{p}: {link}'
        text = '\n'.join(join(c['source']) for c in cells)
        for n, (name, _) in checks_of(original).items(): assert f'{name} = ...' in text and f'\ncheck_{n}({name})' in text
        for c in original:
            if solution(c) and len(join(c['source'])) > 60: assert join(c['source']) not in text
    with pytest.raises(SystemExit, match='is not empty'): main([str(tmp_path/'class')])


def test_a_solution_without_a_check_leaves_nothing():
    tags = {'metadata': {'tags': ['solution']}, 'cell_type': 'code', 'outputs': [], 'execution_count': None}
    kept = hide([tags | {'source': 'secret = 1'}, tags | {'source': 'answer = 2\ncheck_1(answer)'}])
    assert [join(c['source']) for c in kept] == ['answer = ... # your answer, of as many lines as you need\ncheck_1(answer)']


def test_the_teacher_is_told_how_long_each_page_takes_and_no_solution(tmp_path):
    main([str(tmp_path/'class')])
    note = (tmp_path/'class/TEACHER.md').read_text(encoding='utf-8')
    rows = [l.split(' | ') for l in note.split('\n') if re.match(r'\| \d+ \| \[', l)]
    assert len(rows) == len(COURSE)
    measured = json.loads((ROOT/TIMES).read_text(encoding='utf-8'))
    assert measured['seconds'] and set(measured['seconds']) <= {p.path for p in COURSE}, 'a page moved: run `make read KEEP=1`'
    for p, row in zip(COURSE, rows):
        ran = f"{measured['seconds'][p.path]:.0f}" if p.path in measured['seconds'] else 'not measured'
        assert f'({p.path}.ipynb)' in row[1] and row[-1].strip(' |') == ran
        for c in json.loads(file_of(ROOT, p.path).read_text(encoding='utf-8'))['cells']:
            if solution(c) and len(join(c['source'])) > 60: assert join(c['source']) not in note
    for link in re.findall(r'\]\(([^)\s#]+)', note): assert (tmp_path/'class'/link).exists(), link


def test_what_is_counted_is_what_a_student_reads():
    cell = lambda kind, source, **kw: dict(cell_type=kind, source=source, metadata={}, outputs=[]) | kw
    page = [cell('markdown', '# Two words'), cell('markdown', '<!-- made by tools/course.py: way -->\nnot counted'), cell('markdown', 'See [the map](far/away.ipynb): $$a + b$$'),
            cell('code', '#| hide\nx = 1'), cell('code', '#| label: fig-a\nimport os\n\ny = 2\nz = 3', outputs=[dict(data={'image/png': ''})]), cell('code', 'w = 4', metadata=dict(tags=['solution'])),
            cell('code', 'def check_1(y): assert y == 2')]
    assert counted(page) == dict(words=5, lines=3, figures=1, exercises=1)
    assert minutes(dict(words=WORDS*3, lines=LINES*2)) == (3, 2)


def test_sessions_keep_the_order_and_the_limit():
    assert sessions([40, 40, 40, 120, 10, 20], 90) == [[0, 1], [2], [3], [4, 5]]
    assert [k for s in sessions([30]*7) for k in s] == list(range(7)) and all(30*len(s) <= SESSION for s in sessions([30]*7))
