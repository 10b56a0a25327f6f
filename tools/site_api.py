"""The reference of the package, read from its modules without importing them: docstrings, and the comment after each
parameter as a table. A module is taken as it was exported, so the reference needs none of its packages."""
import ast
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from lint_notebooks import comments_of, is_dataclass  # noqa: E402

PACKAGE = 'sparseattnnet'
FOUR = {'SparseAttnClassifier': 'use.classifier', 'SparseAttnNet': 'method.model', 'preset': 'method.model', 'load': 'use.trained'}  # as in __init__.py
ROOMS = {'method': 'The method', 'data': 'Data', 'learn': 'Training', 'judge': 'Judging', 'studies': 'Studies', 'deploy': 'Speed and export', 'use': 'Use', 'reproduce': 'Reproducing'}


@dataclass
class Item:
    "A function, a class or a value of a module."
    name: str
    kind: str  # function, class, method, property or value
    doc: str = ''
    signature: str = ''
    rows: list = field(default_factory=list)  # (name, type, default, comment)
    returns: tuple = ('', '')  # type and comment
    members: list = field(default_factory=list)


@dataclass
class Module:
    "A module of the package with what it exports."
    name: str  # without the package: method.coarse
    doc: str = ''
    items: list = field(default_factory=list)


def anchor(name): return re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')


def unquoted(node): return '' if node is None else re.sub(r'^([\'"])(.*)\1$', r'\2', ast.unparse(node))


def rows_of(f, comments):
    "The parameters of a function: `(name, type, default, comment)`."
    a = f.args
    positional = a.posonlyargs + a.args
    defaults = dict(zip([p.arg for p in positional[len(positional) - len(a.defaults):]], a.defaults))
    defaults |= {p.arg: d for p, d in zip(a.kwonlyargs, a.kw_defaults) if d is not None}
    star = [(a.vararg, '*')] if a.vararg else []
    every = [(p, '') for p in positional] + star + [(p, '') for p in a.kwonlyargs] + ([(a.kwarg, '**')] if a.kwarg else [])
    for i, (p, stars) in enumerate(every):
        if i == 0 and p.arg in ('self', 'cls'): continue
        d = defaults.get(p.arg)
        yield stars + p.arg, unquoted(p.annotation), '' if d is None else ast.unparse(d), comments.get(d.end_lineno if d is not None else p.end_lineno, comments.get(p.lineno, ''))


def signature(name, f):
    "A call as one types it."
    parts = [n + (f'={d}' if d else '') for n, _, d, _ in rows_of(f, {})]
    if f.args.kwonlyargs and not f.args.vararg: parts.insert(len(parts) - len(f.args.kwonlyargs) - bool(f.args.kwarg), '*')
    one = f"{name}({', '.join(parts)})"
    return one if len(one) <= 78 else f'{name}(\n    ' + ',\n    '.join(parts) + ')'


def function(f, name, comments, kind='function'):
    "A function with its table; the comment on the line of its return type says what comes back."
    first = f.body[0].lineno
    back = ''
    if f.returns is not None: back = comments.get(f.returns.end_lineno, '') if f.returns.end_lineno < first else ''
    rows = list(rows_of(f, comments))
    if rows and back == rows[-1][3] and f.returns.end_lineno == (f.args.args or f.args.kwonlyargs)[-1].end_lineno: back = ''
    return Item(name, kind, ast.get_docstring(f) or '', signature(name, f), rows, (unquoted(f.returns), back))


def decorators(n): return {ast.unparse(d.func if isinstance(d, ast.Call) else d).split('.')[-1] for d in n.decorator_list}


def fields(node, comments):
    "The fields of a data class or named tuple."
    for n in node.body:
        if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name) and not n.target.id.startswith('_') and 'ClassVar' not in ast.unparse(n.annotation):
            yield n.target.id, unquoted(n.annotation), '' if n.value is None else ast.unparse(n.value), comments.get(n.end_lineno, comments.get(n.lineno, ''))


def a_class(node, comments, bases):
    "A class: what makes it, its fields, its public methods; private bases of the same module are part of it."
    own = [bases[b.id] for b in node.bases if isinstance(b, ast.Name) and b.id in bases and b.id.startswith('_')]
    item = Item(node.name, 'class', ast.get_docstring(node) or '')
    made_by = {}
    for n in [*own, node]:
        if is_dataclass(n): item.rows += fields(n, comments)
        for m in n.body:
            if isinstance(m, (ast.FunctionDef, ast.AsyncFunctionDef)): made_by[m.name] = m
    if '__init__' in made_by:
        item.rows = list(rows_of(made_by['__init__'], comments))
        item.signature = signature(node.name, made_by['__init__'])
    elif item.rows:
        one = f"{node.name}({', '.join(n + (f'={d}' if d else '') for n, _, d, _ in item.rows)})"
        item.signature = one if len(one) <= 78 else f'{node.name}(…)'
    else: item.signature = f'class {node.name}'
    for name, m in made_by.items():
        if name in ('forward', '__call__') or not name.startswith('_'):
            kind = 'property' if {'property', 'cached_property'} & decorators(m) else 'method'
            item.members.append(function(m, name, comments, kind))
    return item


def sentence(text): return text[:1].upper() + text[1:]


def value_text(name, value, source, lines=24):
    "A value as it is written, cut where it is long."
    text = f"{name} = {ast.get_source_segment(source, value) if value is not None else '…'}".split('\n')
    return '\n'.join(text if len(text) <= lines else [*text[:lines], '…'])


def read_module(path, name):
    "One module: its `__all__` in the order of the source."
    source = path.read_text(encoding='utf-8')
    tree, comments = ast.parse(source), comments_of(source)[0]
    module = Module(name, ast.get_docstring(tree) or '')
    public = next((ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == '__all__'), [])
    bases = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    classes, patched = {}, []
    for n in tree.body:
        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if 'patch' in decorators(n):
                if not n.name.startswith('_'): patched.append((unquoted(n.args.args[0].annotation), function(n, n.name, comments, 'method')))
            elif n.name in public: module.items.append(function(n, n.name, comments))
        elif isinstance(n, ast.ClassDef) and n.name in public:
            classes[n.name] = a_class(n, comments, bases)
            module.items.append(classes[n.name])
        elif isinstance(n, (ast.Assign, ast.AnnAssign)):
            target = n.targets[0] if isinstance(n, ast.Assign) else n.target
            if isinstance(target, ast.Name) and target.id in public and target.id != '__all__':
                module.items.append(Item(target.id, 'value', sentence(comments.get(n.end_lineno, comments.get(n.lineno, ''))), value_text(target.id, n.value, source)))
    for owner, item in patched:
        if owner in classes: classes[owner].members.append(item)
        else: module.items.append(Item(f'{owner}.{item.name}', 'method', item.doc, item.signature, item.rows, item.returns))
    return module


def modules(root):
    "Every module of the package that exports something, by name."
    folder, out = root/PACKAGE, {}
    for p in sorted(folder.rglob('*.py')):
        name = '.'.join(p.relative_to(folder).with_suffix('').parts)
        if p.name.startswith('_'): continue
        if (m := read_module(p, name)).items: out[name] = m
    return out


def unique_names(found):
    "Public name -> its module, for names that only one module has and that are no word of the language, as `edge` is."
    owners = {}
    for m in found.values():
        for i in m.items: owners.setdefault(i.name, set()).add(m.name)
    return {n: min(o) for n, o in owners.items() if len(o) == 1 and ('_' in n.strip('_') or n != n.lower())}


def cell(text): return re.sub(r'\s+', ' ', text).replace('|', '\\|').replace('$', '\\$').strip()


def code(text):
    text = cell(text).replace('\\$', '$')
    return f'`{text}`' if text else ''


def table(rows, what):
    "A table of parameters or fields."
    if not rows: return ''
    lines = [f'| {what} | type | default | meaning |', '|:--|:--|:--|:--|']
    lines += [f'| <code>{n}</code> | {code(t)} | {code(d)} | {prose(c)} |' for n, t, d, c in rows]
    return '\n'.join(lines) + '\n'


def prose(text):
    "A comment or a docstring as Markdown: code stays, nothing else is markup."
    parts = re.split(r'(`[^`]*`)', cell(text))
    return ''.join(p if i % 2 else re.sub(r'([*_<\[\]])', r'\\\1', p) for i, p in enumerate(parts))


def doc_text(text): return '\n\n'.join(prose(p) for p in re.split(r'\n\s*\n', text)) if text else ''


def item_text(i, owner='', depth=2):
    "The entry of one name."
    name = f'{owner}.{i.name}' if owner else i.name
    lines = [f'<span id="{anchor(name)}"></span>', '', f"{'#'*depth} `{i.name}`", '']
    if i.signature and i.kind != 'property': lines += ['```python', i.signature, '```', '']
    if i.doc: lines += [doc_text(i.doc), '']
    fields_only = i.kind == 'class' and i.signature.endswith('(…)')
    if t := table(i.rows, 'field' if fields_only else 'parameter'): lines += [t]
    back = [code(i.returns[0]) if i.returns[0] != 'None' else '', prose(i.returns[1])]
    if any(back): lines += [f"{'Value' if i.kind == 'property' else 'Returns'}: {', '.join(b for b in back if b)}", '']
    for m in i.members: lines += [item_text(m, name, depth + 1), '']
    return '\n'.join(lines)


def pages(found, notebooks):
    "The pages of the reference: `(name, text)`. `notebooks` tells which page makes a module."
    rooms = {}
    for m in found.values(): rooms.setdefault(m.name.split('.')[0] if '.' in m.name else '', []).append(m)
    order = [*ROOMS, *sorted(set(rooms) - set(ROOMS) - {''}), '']
    index = ['# API reference', '', '> Every public name of the package, made from its docstrings and from the comment after each parameter.', '',
        'Most people need four names: ' + ', '.join(f'[`{n}`](place:{m}.html#{anchor(n)})' for n, m in FOUR.items() if m in found and any(i.name == n for i in found[m].items))
        + f', each by `from {PACKAGE} import …`.', '']
    tree = []
    for room in [r for r in order if r in rooms]:
        index += [f"## {ROOMS.get(room, room) or 'Around the package'}", '']
        index += [f'- [`{m.name}`](page:{m.name}.html): {prose(m.doc)}' for m in rooms[room]] + ['']
        tree += [m.name for m in rooms[room]]
    yield 'index', '\n'.join(index) + '\n```{toctree}\n:hidden:\n\n' + '\n'.join(f'{t} <{t}>' for t in tree) + '\n```\n'
    for m in found.values():
        lines = [f'# {m.name}', '', f'> {prose(m.doc)}' if m.doc else '', '']
        made = notebooks.get(m.name)
        lines += [f'`from {PACKAGE}.{m.name} import …`' + (f' Written, explained and tested on [its page](page:../{made}.html).' if made else ''), '']
        yield m.name, '\n'.join(lines) + '\n' + '\n'.join(item_text(i) for i in m.items)
