#!/usr/bin/env python3
"""The house style of the notebooks, as far as a machine can see it.

    python tools/lint_notebooks.py [--root FOLDER] [--shrink] [NOTEBOOK ...]

Without names, every notebook under nbs/ is read. Only the standard library is used, nothing is executed.
An offence is one line, `nbs/x.ipynb cell 12 (id): rule: what, what to do`; the exit status is 1 if there is any.
Cells are counted from 1. Warnings are printed, and do not fail.

Wide lines and functions with many parameters that are older than these two rules stand in tools/lint_exceptions.toml.
That list can only get shorter: a notebook that needs less than it is allowed fails too, until `--shrink` has rewritten
the list. `--shrink` never allows more than before."""
import argparse
import ast
import io
import json
import posixpath
import re
import sys
import tokenize
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

PACKAGE = 'sparseattnnet'
MAX_LINES = 30
MAX_COMMENTS = .05
MAX_WIDTH = 120
MAX_PARAMETERS = 7
EXCEPTIONS = 'tools/lint_exceptions.toml'
SHRINK = 'python tools/lint_notebooks.py --shrink'
HEAVY = {'pandas', 'matplotlib', 'torchvision', 'skimage', 'sklearn', 'seaborn'}
# Arrows between rooms: what the exported code of a room may not import.
ROOMS = ('method', 'data', 'learn', 'judge', 'studies', 'deploy', 'use', 'reproduce', 'paper')
CLOSED = {room: ROOMS[i + 1:] for i, room in enumerate(ROOMS)} | {'deploy': ('learn.loop', 'learn.run', 'use', 'reproduce', 'paper')}
ARROWS = 'arrows run ' + ' ← '.join(ROOMS)
MACHINE_PATH = re.compile(r'(?<![\w.~])/(?:home|tmp|root|Users|work)/[^\s\'"`]*|\b[A-Z]:\\+Users\\')
HEADING = re.compile(r'#{1,6} \S')
LINK = re.compile(r'\]\(\s*<?([^)<>\s]+)>?(?:\s+"[^"]*")?\s*\)|(?:src|href)="([^"]+)"')
NO_FIGURE = {'rcParams', 'rcParamsDefault', 'rc', 'rcdefaults', 'rc_context', 'close', 'style', 'cm', 'get_cmap', 'colormaps',
    'switch_backend', 'ioff', 'ion', 'set_theme', 'set_style', 'set_palette', 'set_context', 'color_palette', 'husl_palette',
    'get_fignums', 'get_backend', 'Figure', 'Axes', 'Normalize', 'colors', 'set_cmap', 'viridis', 'gray'}
DRAWING = {'plot', 'imshow', 'show_image', 'hist', 'boxplot', 'violinplot', 'pcolormesh', 'contour', 'contourf',
    'matshow', 'errorbar', 'fill_between', 'quiver', 'stackplot', 'bar_label', 'subplots', 'subplot_mosaic'}
NEVER_FAILS = {'allclose', 'isclose', 'array_equal', 'array_equiv'}
CLOSINGS = ('## Where the paper is ambiguous', '## Exercises', '## Summary')
LITERALS = {'str': str, 'int': int, 'float': (int, float), 'bool': bool, 'list': list, 'tuple': tuple, 'dict': dict, 'None': type(None)}


@dataclass(frozen=True)
class Offence:
    "One broken rule, or a warning, with where it is and what to do."
    path: str
    cell: int  # counted from 1; 0 is the notebook as a whole
    id: str
    rule: str
    text: str
    warning: bool = False

    def __str__(self):
        where = f'{self.path} cell {self.cell} ({self.id})' if self.cell else self.path
        return f"{where}: {'warning: ' if self.warning else ''}{self.rule}: {self.text}"


@dataclass
class Cell:
    "A cell with its source apart from the `#|` lines, and its syntax tree where it is Python."
    n: int
    id: str
    kind: str
    source: str
    tags: tuple
    outputs: list
    directives: dict = field(default_factory=dict)
    code: str = ''
    tree: object = None
    error: str = ''

    @property
    def exported(self): return bool({'export', 'exports'} & self.directives.keys())

    @property
    def to_module(self): return self.exported or 'exporti' in self.directives


def join(source): return source if isinstance(source, str) else ''.join(source or [])


def read_cell(n, raw):
    "Take one cell apart. Lines of IPython (`%magic`, `!shell`, `name?`) become `pass`, so that the rest can be parsed."
    c = Cell(n, raw.get('id') or '-', raw['cell_type'], join(raw.get('source')), tuple(raw.get('metadata', {}).get('tags', ())),
             raw.get('outputs', []))
    if c.kind != 'code': return c
    lines = []
    for line in c.source.split('\n'):
        if m := re.match(r'\s*#\|\s*([\w-]+)\s*:?\s*(.*)', line):
            c.directives[m[1]] = m[2].strip()
            line = ''
        elif re.match(r'\s*([%!]|\w[\w.]*\?+\s*$)', line): line = re.match(r'\s*', line)[0] + 'pass'
        lines.append(line)
    c.code = '\n'.join(lines)
    if c.source.lstrip().startswith('%%'): return c
    try: c.tree = ast.parse(c.code)
    except SyntaxError as e: c.error = f'{e.msg} (line {e.lineno} of the cell)'
    return c


def comments_of(code):
    "Comments by line of a piece of Python: `(all, alone)`, alone being those that fill their line."
    every, alone = {}, set()
    try:
        for t in tokenize.generate_tokens(io.StringIO(code).readline):
            if t.type == tokenize.COMMENT:
                every[t.start[0]] = t.string.lstrip('#').strip()
                if not t.line[:t.start[1]].strip(): alone.add(t.start[0])
    except (tokenize.TokenError, IndentationError, SyntaxError): pass
    return every, alone


def is_dataclass(node):
    names = [ast.unparse(d.func if isinstance(d, ast.Call) else d).split('.')[-1] for d in node.decorator_list]
    bases = [ast.unparse(b).split('.')[-1] for b in node.bases]
    return 'dataclass' in names or 'NamedTuple' in bases or 'TypedDict' in bases


def functions(tree, inside=''):
    "Every named function of a tree: `(qualified name, node, number of parameters without self or cls)`."
    for n in ast.iter_child_nodes(tree):
        name = inside
        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)):
            args = n.args.posonlyargs + n.args.args + n.args.kwonlyargs
            method = bool(args) and args[0].arg in ('self', 'cls')
            patched = ast.unparse(args[0].annotation).strip('"\'') if method and args[0].annotation else ''
            name = '.'.join(filter(None, (inside or patched, n.name)))
            yield name, n, len(args) - method
        elif isinstance(n, ast.ClassDef): name = '.'.join(filter(None, (inside, n.name)))
        yield from functions(n, name)


def excess(cells):
    "What the list of exceptions counts: places of wide lines, `(cell, line, columns)`, and `(cell, function, parameters)`."
    code = [c for c in cells if c.kind == 'code']
    wide = [(c, i, len(l)) for c in code for i, l in enumerate(c.code.split('\n'), 1) if len(l) > MAX_WIDTH]
    many = [(c, name, n) for c in code if c.tree is not None for name, _, n in functions(c.tree) if n > MAX_PARAMETERS]
    return wide, many


def read_exceptions(root):
    "The committed list: `{notebook: {'width': lines, 'parameters': [functions]}}`; empty where there is none."
    path = root/EXCEPTIONS
    return tomllib.loads(path.read_text(encoding='utf-8')) if path.exists() else {}


def write_exceptions(root, allowed):
    "Write the list, notebooks and functions in order, notebooks that need nothing left out."
    out = [f'# What the rules width ({MAX_WIDTH} columns) and many-parameters ({MAX_PARAMETERS}) still allow: a notebook\'s number of wide lines, and its',
           f'# functions. This list can only get shorter: after mending a notebook run  {SHRINK}']
    for name, a in sorted(allowed.items()):
        lines = [f"width = {a['width']}"] if a.get('width') else []
        if a.get('parameters'): lines.append(f"parameters = {json.dumps(sorted(a['parameters']))}")
        if lines: out += ['', f'[{json.dumps(name)}]', *lines]
    (root/EXCEPTIONS).write_text('\n'.join(out) + '\n', encoding='utf-8')


def shrink(root):
    "Lower the list to what the notebooks still need; nothing in it grows."
    allowed, less = read_exceptions(root), {}
    for name, a in allowed.items():
        if not (root/name).exists(): continue
        wide, many = excess([read_cell(i, c) for i, c in enumerate(json.loads((root/name).read_text(encoding='utf-8'))['cells'], 1)])
        names = Counter(n for _, n, _ in many) & Counter(a.get('parameters', ()))
        less[name] = dict(width=min(a.get('width', 0), len(wide)), parameters=list(names.elements()))
    if allowed: write_exceptions(root, less)


def excess_rules(cells, allowed, say):
    "Width and number of parameters, apart from what the list allows; a list that allows too much is an offence too."
    wide, many = excess(cells)
    n = allowed.get('width', 0)
    if len(wide) > n:
        widest = sorted(wide, key=lambda w: -w[2])[:5]
        where = '; '.join(f'cell {c.n} ({c.id}) line {i}: {w} columns' for c, i, w in widest)
        say(None, 'width', f"{len(wide)} lines of code are wider than {MAX_WIDTH} columns, {n or 'none'} allowed, break them: {where}{'; …' if len(wide) > 5 else ''}")
    if len(wide) < n: say(None, 'width', f'{len(wide)} lines of code are wider than {MAX_WIDTH} columns, and {EXCEPTIONS} allows {n}: run `{SHRINK}`')
    free = Counter(allowed.get('parameters', ()))
    for c, name, k in many:
        if free[name]: free[name] -= 1
        else: say(c, 'many-parameters', f'`{name}` has {k} parameters, at most {MAX_PARAMETERS}: put those that belong together into a dataclass')
    for name in (+free).elements(): say(None, 'many-parameters', f'no `{name}` has more than {MAX_PARAMETERS} parameters any more, and {EXCEPTIONS} names it: run `{SHRINK}`')


def parameters_of(f):
    "Each parameter that must be documented, with the lines on which its comment may stand."
    a = f.args
    positional = a.posonlyargs + a.args
    defaults = dict(zip([p.arg for p in positional[len(positional) - len(a.defaults):]], a.defaults))
    defaults |= {p.arg: d for p, d in zip(a.kwonlyargs, a.kw_defaults) if d is not None}
    for i, p in enumerate(positional + a.kwonlyargs):
        if i == 0 and p.arg in ('self', 'cls'): continue
        end = defaults[p.arg].end_lineno if p.arg in defaults else p.end_lineno
        yield p.arg, p.lineno, end


def docment_problems(c):
    "Missing docstrings and parameter comments in an exported cell: `(rule, text)`."
    every, alone = comments_of(c.code)
    problems = []

    def function(f, name, needs_doc=True):
        if needs_doc and not ast.get_docstring(f):
            problems.append(('docstring', f'`{name}` is exported without a docstring, say in one line what it does'))
        params = list(parameters_of(f))
        for i, (arg, first, end) in enumerate(params):
            shared = any(o_first <= end <= o_end for j, (_, o_first, o_end) in enumerate(params) if j > i)
            here = {first, end} & every.keys() - alone
            if not here or shared:
                problems.append(('docments', f'parameter `{arg}` of `{name}` has no comment, give it a line of its own and a comment (what, shape, unit)'))

    for node in c.tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if not node.name.startswith('_'): function(node, node.name)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
            if not ast.get_docstring(node):
                problems.append(('docstring', f'class `{node.name}` is exported without a docstring, say in one line what it is'))
            for item in node.body:
                if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    special = item.name in ('__init__', 'forward', '__call__')
                    if special or not item.name.startswith('_'): function(item, f'{node.name}.{item.name}', not special)
                elif isinstance(item, ast.AnnAssign) and is_dataclass(node) and isinstance(item.target, ast.Name):
                    if item.target.id.startswith('_') or 'ClassVar' in ast.unparse(item.annotation): continue
                    here = {item.lineno, item.end_lineno} & every.keys() - alone
                    if not here:
                        problems.append(('docments', f'field `{item.target.id}` of `{node.name}` has no comment, say on its line what it holds (shape, unit)'))
    return problems


def docment_lines(tree):
    "Lines whose comments document parameters, returned values and fields, of whatever function or class."
    lines = set()
    for n in ast.walk(tree):
        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines |= set(range(n.lineno, n.body[0].lineno if n.body[0].lineno > n.lineno else n.lineno + 1))
        elif isinstance(n, ast.AnnAssign): lines |= {n.lineno, n.end_lineno}
    return lines


def running(node):
    "Walk what a cell executes: not the bodies of functions and classes it merely defines."
    todo = [node]
    while todo:
        n = todo.pop()
        yield n
        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)): continue
        todo.extend(ast.iter_child_nodes(n))


def draws(c):
    "Whether a cell makes a figure: by its calls, or by a picture among its stored outputs."
    if any(k in ('image/png', 'image/svg+xml', 'image/jpeg') for o in c.outputs for k in o.get('data', {})): return True
    if c.tree is None or c.to_module: return False
    for n in running(c.tree):
        if not isinstance(n, ast.Call): continue
        f = n.func
        if isinstance(f, ast.Name) and f.id == 'show_image': return True
        if isinstance(f, ast.Attribute):
            root = f
            while isinstance(root, (ast.Attribute, ast.Subscript)): root = root.value
            inner = ast.unparse(f).split('.')
            if isinstance(root, ast.Name) and root.id in ('plt', 'sns'):
                if not NO_FIGURE & set(inner[1:]): return True
            elif f.attr == 'scatter':  # tensors scatter too
                if isinstance(root, ast.Name) and root.id.startswith(('ax', 'fig')): return True
            elif f.attr in DRAWING or 'plot' in inner[1:-1]: return True
    return False


def bare_comparison(tree):
    "Statements that compare and do nothing with the answer."
    def compares(v):
        if isinstance(v, ast.Compare): return True
        if isinstance(v, ast.UnaryOp): return isinstance(v.op, ast.Not) and compares(v.operand)
        if isinstance(v, ast.BoolOp): return any(map(compares, v.values))
        if isinstance(v, ast.Call):
            name = v.func.attr if isinstance(v.func, ast.Attribute) else getattr(v.func, 'id', '')
            if name in NEVER_FAILS: return True
            if name in ('all', 'any') and isinstance(v.func, ast.Attribute): return compares(v.func.value)
            if name in ('all', 'any', 'bool') and v.args: return compares(v.args[0])
        return False
    for n in ast.walk(tree):
        if isinstance(n, ast.Expr) and compares(n.value): yield ast.unparse(n.value)


def imported(tree, module=''):
    "Names of modules a tree imports, absolute, with the node: `(name, node)`; `from a import b` gives `a` and `a.b`."
    for n in ast.walk(tree):
        if isinstance(n, ast.Import):
            for a in n.names: yield a.name, n
        elif isinstance(n, ast.ImportFrom):
            base = n.module or ''
            if n.level:
                up = f'{PACKAGE}.{module}'.split('.')[:-n.level]
                base = '.'.join(up + ([base] if base else []))
            yield base, n
            for a in n.names: yield f'{base}.{a.name}', n


def parameter_problems(c):
    "What is wrong with a cell tagged `parameters`."
    if c.tree is None: return
    for n in c.tree.body:
        if not (isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name) and n.value is not None):
            yield f'`{ast.unparse(n)}` is no typed literal, write `name:type = literal`'
            continue
        name, kind = n.target.id, ast.unparse(n.annotation)
        try: value = ast.literal_eval(n.value)
        except (ValueError, TypeError, SyntaxError):
            yield f'`{name}` is not a literal but `{ast.unparse(n.value)}`, compute it in the next cell'
            continue
        kinds = [re.sub(r'\[.*', '', k.strip()) for k in kind.split('|')]
        if unknown := [k for k in kinds if k not in LITERALS]:
            yield f'`{name}` has the type `{", ".join(unknown)}`, expected one of {", ".join(LITERALS)}'
        elif not any(isinstance(value, LITERALS[k]) and (k == 'bool' or not isinstance(value, bool)) for k in kinds):
            yield f'`{name}:{kind}` is set to {value!r} of type {type(value).__name__}, make type and value agree'


def output_texts(o):
    "The readable texts of one stored output."
    if o['output_type'] == 'stream': yield join(o.get('text'))
    for k, v in o.get('data', {}).items():
        if not k.startswith('image') or 'svg' in k: yield v if isinstance(v, str) else join(v) if isinstance(v, list) else json.dumps(v)


def exists(root, target):
    "Whether a relative link leads somewhere, or to what a run makes (outputs/, data/)."
    return (root/target).exists() or re.match(r'(outputs|data)/', target) is not None


def lint_notebook(path, root, exceptions=None):
    "All offences in one notebook; `exceptions` is the list that is read from the project where none is given."
    rel = path.relative_to(root).as_posix()
    allowed = (read_exceptions(root) if exceptions is None else exceptions).get(rel, {})
    out = []
    try: nb = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, UnicodeDecodeError) as e: return [Offence(rel, 0, '', 'format', f'not readable as a notebook ({e}), restore it')]
    raw = nb.get('cells', [])
    if not raw: return [Offence(rel, 0, '', 'empty', 'the notebook has no cells, write it or remove it')]
    cells = [read_cell(i, c) for i, c in enumerate(raw, 1)]

    def say(c, rule, text, warning=False): out.append(Offence(rel, c.n if c else 0, c.id if c else '', rule, text, warning))

    inside = rel.split('/')[1:]
    room = inside[0] if len(inside) > 1 else ''
    name = re.sub(r'(^|\.)\d\d_', r'\1', '.'.join(inside)[:-len('.ipynb')])  # the number of a page is not its module's
    seen = {}
    if nb.get('nbformat', 0) != 4 or nb.get('nbformat_minor', 0) < 5: say(None, 'format', 'older than nbformat 4.5, save it with a current JupyterLab')
    for c, r in zip(cells, raw):
        if not r.get('id'): say(c, 'cell-id', 'the cell has no id, save the notebook with a current JupyterLab')
        elif c.id in seen: say(c, 'cell-id', f'the id is also that of cell {seen[c.id]}, give one of them another')
        seen.setdefault(c.id, c.n)
    if cells[0].kind != 'markdown' or not re.match(r'# \S', cells[0].source): say(cells[0], 'title', 'the first cell is no title, begin with `# Title` and `> one line`')

    default_exp, exporting, labels, lines, notes = '', [], {}, 0, 0
    for c in cells:
        for text, place in [(c.source, 'source')] + [(t, 'output') for o in c.outputs for t in output_texts(o)]:
            if m := MACHINE_PATH.search(text): say(c, 'machine-path', f'{m[0]!r} in the {place} is a path of one machine, use a relative path or a temporary folder and store no path')
        if c.kind == 'markdown': markdown_rules(c, say, path, root)
        if c.kind != 'code': continue
        for o in c.outputs:
            if o['output_type'] == 'error': say(c, 'stored-error', f"a stored {o.get('ename', 'error')}, mend the cell and run it again")
            if o['output_type'] == 'stream' and o.get('name') == 'stderr': say(c, 'stored-stderr', 'a stored stderr stream, silence its cause and run the cell again')
        n = sum(bool(l.strip()) for l in c.code.split('\n'))
        lines += n
        whole = c.to_module and c.tree is not None and sum(isinstance(x, (ast.FunctionDef, ast.ClassDef)) for x in c.tree.body) == 1
        if n > MAX_LINES and not whole: say(c, 'long-cell', f'{n} lines, split it: at most {MAX_LINES}; one exported class or function may be longer')
        if 'default_exp' in c.directives: default_exp = c.directives['default_exp']
        if c.to_module: exporting.append(c)
        if c.error: say(c, 'syntax', f'{c.error}, mend it')
        if draws(c):
            label, cap = c.directives.get('label', ''), c.directives.get('fig-cap', '').strip('"\'')
            if not label.startswith('fig-'): say(c, 'figure-label', 'draws a figure without a label, begin the cell with `#| label: fig-…`')
            elif label in labels: say(c, 'figure-label', f'the label {label} is also that of cell {labels[label]}, name them apart')
            labels.setdefault(label, c.n)
            if not cap.strip(): say(c, 'figure-caption', 'draws a figure without a caption, add `#| fig-cap: "what is seen"`')
        if c.tree is None: continue
        code_rules(c, say)
        if c.exported:
            for rule, text in docment_problems(c): say(c, rule, text)
        notes += len(comments_of(c.code)[0].keys() - docment_lines(c.tree))
    excess_rules(cells, allowed, say)
    room_rules(cells, exporting, default_exp, name, room, say)
    if lines >= 40 and notes > MAX_COMMENTS*lines:
        say(None, 'comments', f'{notes} comments on {lines} lines of code ({notes/lines:.0%}), let the prose explain: under {MAX_COMMENTS:.0%}', True)
    return out


def markdown_rules(c, say, path, root):
    "Headings stand alone, relative links lead somewhere."
    fence, headings, text = False, [], []
    for line in c.source.split('\n'):
        if line.lstrip().startswith('```'): fence = not fence
        if line.strip(): text.append(line)
        if not fence and HEADING.match(line): headings.append(line)
    rest = [l for l in text if l not in headings]
    title = c.n == 1 and len(headings) == 1 and len(rest) <= 1 and all(l.startswith('> ') for l in rest)
    if headings and not title and (rest or len(headings) > 1):
        say(c, 'heading', f'{headings[0]!r} shares its cell, give it a cell of its own (the title may keep its `> one line`)')
    prose = re.sub(r'```.*?```|`[^`\n]*`', '', c.source, flags=re.S)
    for m in LINK.finditer(prose):
        link = unquote((m[1] or m[2]).split('#')[0].split('?')[0])
        if not link or re.match(r'[a-z][a-z0-9+.-]*:|/', link, re.I) or link.startswith('attachment'): continue
        target = posixpath.normpath(posixpath.join(path.parent.relative_to(root).as_posix(), link))
        if target.startswith('..') or not exists(root, target): say(c, 'link', f'{link!r} leads to no file, correct it')


def code_rules(c, say):
    "Rules for one parsed code cell."
    imports = [n for n in c.tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    other = [n for n in c.tree.body if not isinstance(n, (ast.Import, ast.ImportFrom, ast.Pass))]
    if imports and other: say(c, 'mixed-imports', f'`{ast.unparse(imports[0])}` shares its cell with other code, give the imports a cell of their own')
    for text in bare_comparison(c.tree): say(c, 'bare-comparison', f'`{text}` can never fail, put `assert` before it or test_eq/test_close around it')
    last = c.tree.body[-1] if c.tree.body else None
    if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call) and getattr(last.value.func, 'id', '') == 'print':
        say(c, 'print-last', 'ends with print(…), end with the value itself as the result')


def room_rules(cells, exporting, default_exp, name, room, say):
    "Rules that come from where the notebook lives."
    tagged = [c for c in cells if 'parameters' in c.tags]
    if room == 'paper' and any(c.kind == 'code' for c in cells):  # a page of text alone is no papermill notebook
        if len(tagged) != 1: say(None, 'parameters', f'{len(tagged)} cells tagged `parameters`, a papermill notebook has exactly one')
        for c in exporting: say(c, 'paper-export', 'a papermill notebook exports nothing, move the code to a component notebook')
    for c in tagged:
        for text in parameter_problems(c): say(c, 'parameters', text)
    if exporting and not default_exp: say(exporting[0], 'default-exp', f'exports without a module, add a cell `#| default_exp {name}`')
    if default_exp and default_exp != name: say(None, 'module-name', f'exports {default_exp}, but is called {name}: name both alike')
    for c in exporting:
        if c.tree is None: continue
        for n in running(c.tree):
            if not isinstance(n, (ast.Import, ast.ImportFrom)): continue
            for heavy in sorted({m.split('.')[0] for m, _ in imported(n, default_exp)} & HEAVY):
                say(c, 'light-import', f'imports {heavy} with the module, import it inside the function that needs it')
        here = default_exp.split('.')[0]
        hits = {f for m, _ in imported(c.tree, default_exp) for f in CLOSED.get(here, ()) if f'{m}.'.startswith(f'{PACKAGE}.{f}.')}
        for f in sorted(hits): say(c, 'arrow', f'{here} imports {PACKAGE}.{f}: {ARROWS}, turn it round')
    if room == 'method':
        headings = {c.source.strip() for c in cells if c.kind == 'markdown'}
        if not any(c.kind == 'markdown' and '|' in c.source and all(w in c.source.lower() for w in ('what it is', 'what the paper says')) for c in cells):
            say(None, 'card', 'a method notebook has a card, add the table What it is · What the paper says · What we chose · Cost')
        for h in CLOSINGS:
            if h not in headings: say(None, 'closing', f'no `{h}`, a method notebook closes with it')
        if not any('solution' in c.tags for c in cells): say(None, 'solution', 'no cell tagged `solution`, add the solutions of the exercises')


def circles(paths, root):
    "Modules that import one another when they are imported: one offence a circle."
    graph, where = {}, {}
    for p in paths:
        try: cells = [read_cell(i, c) for i, c in enumerate(json.loads(p.read_text(encoding='utf-8'))['cells'], 1)]
        except (ValueError, KeyError): continue
        module = next((c.directives['default_exp'] for c in cells if 'default_exp' in c.directives), None)
        if not module: continue
        where[module] = p
        graph[module] = {m[len(PACKAGE) + 1:] for c in cells if c.to_module and c.tree for n in running(c.tree)
                         if isinstance(n, (ast.Import, ast.ImportFrom)) for m, _ in imported(n, module) if m.startswith(PACKAGE + '.')}
    state, found = {}, []

    def visit(m, trail):
        if state.get(m) == 'done': return
        if m in trail:
            found.append(trail[trail.index(m):] + [m])
            return
        for other in sorted(graph[m] & graph.keys() - {m}): visit(other, trail + [m])
        state[m] = 'done'

    for m in sorted(graph): visit(m, [])
    return [Offence(where[c[0]].relative_to(root).as_posix(), 0, '', 'circle', ' → '.join(c) + ' import one another, move what they share') for c in found]


def notebooks(root): return sorted(p for p in (root/'nbs').rglob('*.ipynb') if not any(s[0] in '._' for s in p.relative_to(root).parts))


def lint(paths, root):
    "Offences of some notebooks of a project."
    exceptions = read_exceptions(root)
    gone = [Offence(EXCEPTIONS, 0, '', 'stale', f'names {n!r}, which does not exist: run `{SHRINK}`, or rename the entry with its notebook')
            for n in exceptions if not (root/n).exists()]
    return [o for p in paths for o in lint_notebook(p, root, exceptions)] + circles(paths, root) + gone


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('notebooks', nargs='*', type=Path)
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    ap.add_argument('--shrink', action='store_true', help=f'first lower {EXCEPTIONS} to what the notebooks still need')
    a = ap.parse_args(argv)
    root = a.root.resolve()
    if a.shrink: shrink(root)
    paths = [p.resolve() for p in a.notebooks] or notebooks(root)
    if not paths: sys.exit(f'no notebook under {a.root}/nbs: nothing was linted')
    found = lint(paths, root)
    for o in found: print(o)
    bad = [o for o in found if not o.warning]
    print(f'{len(paths)} notebooks, {len(bad)} offences, {len(found) - len(bad)} warnings')
    return bool(bad)


if __name__ == '__main__': sys.exit(main())
