"""What is installed: the core and the extras hold what the modules import, the wheel holds the package, and what only the
repository has is asked for in one sentence."""
import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT/'sparseattnnet'
MODULES = {p.relative_to(ROOT).with_suffix('').as_posix(): ast.parse(p.read_text(encoding='utf-8'))
           for p in sorted(PACKAGE.rglob('*.py')) if p.name != '_modidx.py'}
PROJECT = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']
LISTED_AS = {'PIL': 'pillow', 'skimage': 'scikit-image', 'sklearn': 'scikit-learn', 'yaml': 'pyyaml'}  # where the import is called otherwise
# Functions whose import of an extra still fails with Python's own words. May only shrink.
UNTOLD = set()
# Functions that print: results and progress of commands, and what a caller asked to see. May only shrink.
PRINTING = {'sparseattnnet/deploy/bench': {'main'}, 'sparseattnnet/studies/benchmark': {'main', 'say_stopped'},
            'sparseattnnet/learn/run': {'main'}, 'sparseattnnet/learn/loop': {'say'},
            'sparseattnnet/reproduce/main': {'main', '_tell_where', '_close'}, 'sparseattnnet/package': {'emit'},
            'sparseattnnet/data/simulation': {'_stop', 'draw_many'}, 'sparseattnnet/data/events': {'read_events'}}
COMMANDS = {'sparseattnnet/use'}  # rooms of commands, which may print


def names(requirements): return {re.match(r'[\w.-]+', r)[0].lower() for r in requirements}


CORE = names(PROJECT['dependencies'])
EXTRAS = {n: names(r) for n, r in PROJECT['optional-dependencies'].items()}
BROUGHT = ('fast', 'export', 'paper', 'pretrained', 'rtdc', 'dev')  # by requirements.txt


def listed(package):
    top = package.split('.')[0]
    return LISTED_AS.get(top, top.replace('_', '-'))


def needed(node):
    "The package and the extra of a call of `needs`; None for another node."
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'needs':
        assert all(isinstance(a, ast.Constant) for a in node.args), f'{ast.unparse(node)}: name package and extra in words'
        return tuple(a.value for a in node.args)


def foreign(tree):
    "Each import of a package that is neither Python's nor ours: package, function around it, whether its absence is caught."
    def visit(node, function, caught):
        for child in ast.iter_child_nodes(node):
            inner = child.name if isinstance(child, ast.FunctionDef) else function
            guard = caught or isinstance(child, ast.Try) and any('ImportError' in ast.unparse(h.type) for h in child.handlers if h.type)
            found = [a.name for a in child.names] if isinstance(child, ast.Import) else (
                [child.module] if isinstance(child, ast.ImportFrom) and not child.level else [])
            for m in found:
                top = m.split('.')[0]
                if top not in sys.stdlib_module_names and top != 'sparseattnnet': yield top, inner, guard
            yield from visit(child, inner, guard)
    yield from visit(tree, '', False)


@pytest.mark.parametrize('module', MODULES)
def test_every_import_is_core_or_says_its_extra(module):
    tree = MODULES[module]
    told = {p.split('.')[0] for n in tree.body if isinstance(n, ast.Expr) and (p := (needed(n.value) or ('',))[0])}
    for package, function, caught in foreign(tree):
        if listed(package) in CORE or caught or package in told or (module, package) in UNTOLD: continue
        pytest.fail(f"{module} imports {package}{f' in {function}()' * bool(function)}, which is not in the core: take it from "
                    f"needs('{package}', extra), or put it into the dependencies of pyproject.toml")


def test_every_extra_that_is_named_brings_the_package():
    calls = [(m, *c) for m, t in MODULES.items() for n in ast.walk(t) if (c := needed(n)) and m != 'sparseattnnet/package']
    assert len(calls) > 10
    for module, package, extra in calls:
        assert listed(package) in EXTRAS.get(extra, ()), f"{module}: needs({package!r}, {extra!r}), but [{extra}] does not list it"


def test_no_exception_and_no_core_package_is_idle():
    found = {(m, p) for m, t in MODULES.items() for p, _, _ in foreign(t)}
    assert not UNTOLD - found, f"no longer true, take them out of UNTOLD: {UNTOLD - found}"
    unused = CORE - {listed(p) for _, p in found}
    assert not unused, f"in the core but never imported: {unused}"


def printing(tree, function=''):
    for child in ast.iter_child_nodes(tree):
        inner = child.name if isinstance(child, ast.FunctionDef) else function
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and child.func.id == 'print': yield inner
        yield from printing(child, inner)


@pytest.mark.parametrize('module', MODULES)
def test_library_code_says_it_through_the_logger(module):
    if any(module.startswith(room) for room in COMMANDS): return
    extra = set(printing(MODULES[module])) - PRINTING.get(module, set())
    assert not extra, f"{module}: {', '.join(sorted(extra))} prints; use `log` of sparseattnnet.package, which a program can silence"


def test_one_list_feeds_all_installations():
    lines = [s for s in (ROOT/'requirements.txt').read_text(encoding='utf-8').splitlines() if s and s[0] != '#']
    assert lines == [f"-e .[{','.join(BROUGHT)}]"]
    assert re.findall(r'- -r (\S+)', (ROOT/'environment.yml').read_text(encoding='utf-8')) == ['requirements.txt']
    everything = CORE.union(*(EXTRAS[n] for n in BROUGHT))
    assert {'torch', 'jupyterlab', 'papermill', 'nbdev', 'pandas', 'seaborn', 'torchinfo', 'thop'} <= everything
    assert not {'jupyterlab', 'pytest', 'pandas', 'matplotlib', 'numba', 'onnx', 'nbdev'} & CORE
    pinned = set(re.findall(r'^([\w.-]+)==', (ROOT/'constraints.txt').read_text(encoding='utf-8'), re.M))
    assert not everything - pinned, f'constraints.txt pins no version of {everything - pinned}'


WITHOUT_EXTRAS = """
import importlib, sys
absent, modules = sys.argv[1].split(','), sys.argv[2].split(',')
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in absent: raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Absent())
for m in modules:
    try: importlib.import_module(m)
    except ImportError as e: print(m, e, sep='|')
"""


def test_all_but_the_compiled_engine_import_with_the_core_alone():
    imported_as = {v: k for k, v in LISTED_AS.items()}
    absent = {imported_as.get(p, p) for p in set().union(*EXTRAS.values()) - CORE} - {'build', 'ipykernel'}
    modules = [m.removesuffix('/__init__').replace('/', '.') for m in MODULES]
    out = subprocess.run([sys.executable, '-c', WITHOUT_EXTRAS, ','.join(absent), ','.join(modules)], cwd=ROOT,
                         capture_output=True, text=True, check=True).stdout
    failed = dict(line.split('|') for line in out.splitlines())
    assert set(failed) == {f'sparseattnnet.deploy.{m}' for m in ('vectors', 'fast', 'engines', 'bench')}
    assert set(failed.values()) == {'numba is not installed; it comes with: pip install "sparseattnnet[fast]"'}


def test_the_wheel_holds_the_package_and_its_types(tmp_path):
    for n in ('pyproject.toml', 'README.md', 'LICENSE', 'settings.ini'): shutil.copy(ROOT/n, tmp_path/n)
    shutil.copytree(PACKAGE, tmp_path/'sparseattnnet', ignore=shutil.ignore_patterns('__pycache__'))
    make = "import sys; from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    made = subprocess.run([sys.executable, '-c', make], cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    with zipfile.ZipFile(next(tmp_path.glob('*.whl'))) as z:
        held, about = set(z.namelist()), z.read(next(n for n in z.namelist() if n.endswith('METADATA'))).decode()
    assert {*(f'{m}.py' for m in MODULES), 'sparseattnnet/py.typed',
            *(f'sparseattnnet/starts/pbc/{n}' for n in ('model.safetensors', 'model.json', 'README.md'))} <= held
    assert set(re.findall(r'^Provides-Extra: (\S+)', about, re.M)) == set(EXTRAS)
    core = [r for r in re.findall(r'^Requires-Dist: (.+)', about, re.M) if 'extra ==' not in r]
    assert names(core) == CORE


def test_what_the_repository_alone_has_is_asked_for_in_one_sentence(tmp_path, monkeypatch, capsys):
    from sparseattnnet.reproduce.main import main
    from sparseattnnet.reproduce.manifest import load_manifest
    (tmp_path/'settings.ini').write_text('[DEFAULT]\nlib_name = another_project\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match='manifest.toml, belongs to the repository of SparseAttnNet'): load_manifest()
    for words in (['smoke'], ['--remake', 'opd_s0'], ['smoke', '--plan']):
        assert main(words) == 2
        said = capsys.readouterr().out.strip()
        assert 'Clone the repository' in said and len(said.splitlines()) == 1 and 'site-packages' not in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ['settings.ini']
