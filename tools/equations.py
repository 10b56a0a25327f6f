#!/usr/bin/env python3
"""The equation map of nbs/contents.ipynb, made by reading the notebooks: equation -> notebook -> function -> test.

    python tools/equations.py [--write | --check] [--root FOLDER]

A function belongs to an equation if its docstring cites it (`Eq. 9`, `Eqs. 6–13`, `Eqs. 11 and 12`) in a notebook of
nbs/method that exports it; complexity.ipynb is left out, because it counts what the equations cost. A test is a cell
that is not exported, asserts something about a value, and calls that function, itself or through a helper or an object that the page made.
Only the standard library is used and nothing is executed. Without an option the table is printed; `--check` fails if an
equation has no function or no test, or if the page shows another table."""
import argparse
import ast
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from page_block import PAGE, place, split, write  # noqa: E402
from lint_notebooks import join, read_cell  # noqa: E402

ROOM, LEFT_OUT = 'nbs/method', ('complexity',)
BEGIN, END = '<!-- equations: made by tools/equations.py -->', '<!-- /equations -->'
MEANING = {1: 'an image as a set of pixels (x, y, value)', 2: 'coarse convolutions', 3: 'coarse attention', 4: 'embedding of a pixel',
    5: 'tokens, CLS last', 6: 'values, shared over heads', 7: 'queries', 8: 'keys', 9: 'rectified keys', 10: 'keys normalised over the tokens',
    11: 'values weighted by the attention', 12: 'queries applied', 13: 'read-out at CLS, mean over heads', 14: 'fusion of fine and coarse features', 15: 'classifier',
    16: 'focal loss', 17: 'contrastive loss', 18: 'attention maps as distributions', 19: 'distillation loss', 20: 'total loss',
    21: 'smoothed training loss', 22: 'its trend', 23: 'momentum of k'}
CITE = re.compile(r'\bEq(s?)\.\s*(\d+(?:\s*[-–]\s*\d+)?(?:\s*(?:,\s*and|,|and|&)\s*\d+(?:\s*[-–]\s*\d+)?\b(?!\s*[%×]))*)')
TESTS = re.compile(r'assert_\w+|test_(eq|eq_type|ne|close|is|shuffled)')


def numbers(text):
    "The numbers of `9`, `6–13`, `2, 4-6 and 9`."
    out = set()
    for a, b in re.findall(r'(\d+)(?:\s*[-–]\s*(\d+))?', text): out |= set(range(int(a), int(b or a) + 1))
    return out


def cited(text):
    "The equations that a text cites; a list counts after `Eqs.` only."
    out = set()
    for s, what in CITE.findall(text or ''): out |= numbers(what if s else re.match(r'\d+(?:\s*[-–]\s*\d+)?', what)[0])
    return out


@dataclass
class Test:
    "A cell that asserts, with what it reaches."
    section: str
    stated: set  # equations that stand in its section
    cited: set  # equations that its section mentions
    names: set  # functions and classes that it reaches
    oracles: list  # naive forms among the page's helpers


@dataclass
class Page:
    "A method notebook: its exported symbols with the equations they cite, and its tests."
    path: str
    symbols: dict = field(default_factory=dict)
    tests: list = field(default_factory=list)


def symbols(tree):
    "Public functions and classes of an exported cell with the equations of their docstrings, methods counted for their class."
    for n in tree.body:
        if not isinstance(n, (ast.FunctionDef, ast.ClassDef)): continue
        name, found = n.name, cited(ast.get_docstring(n))
        if isinstance(n, ast.ClassDef):
            for m in n.body:
                if isinstance(m, ast.FunctionDef): found |= cited(ast.get_docstring(m))
        elif any(ast.unparse(d) == 'patch' for d in n.decorator_list) and n.args.args[0].annotation: name = ast.unparse(n.args.args[0].annotation)
        if not name.startswith('_'): yield name, found


def helpers(trees):
    "Functions and classes that a page defines for itself."
    return {n.name: [n] for t in trees for n in t.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}


def objects(tree):
    "Names that a cell binds to what a call made, `net = Net(…).eval()`, with that call; None for names bound to anything else."
    for n in tree.body:
        if not isinstance(n, (ast.Assign, ast.AnnAssign)): continue
        made = isinstance(n.value, ast.Lambda) or isinstance(n.value, ast.Call)
        for t in n.targets if isinstance(n, ast.Assign) else [n.target]:
            for v in ast.walk(t):
                if isinstance(v, ast.Name): yield v.id, [n.value] if made else None


def reached(tree, own):
    "All nodes that a cell executes, through the page's helpers and objects: `(nodes, names)`."
    todo = [[n for n in tree.body if not isinstance(n, (ast.FunctionDef, ast.ClassDef))]]
    nodes, names = [], set()
    while todo:
        here = [n for s in todo.pop() for n in ast.walk(s)]
        bound = {n.arg for n in here if isinstance(n, ast.arg)} | {n.id for n in here if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        new = {n.id for n in here if isinstance(n, ast.Name)} - bound - names
        todo += [own[n] for n in new if n in own]
        nodes, names = nodes + here, names | new
    return nodes, names


def asserts(nodes):
    "Whether a value is asserted; that an error is raised (expect_fail) tests no equation."
    def name(f): return f.attr if isinstance(f, ast.Attribute) else getattr(f, 'id', '')
    return any(isinstance(n, ast.Assert) or isinstance(n, ast.Call) and TESTS.fullmatch(name(n.func)) for n in nodes)


def read_page(path, root):
    "Take a notebook apart."
    cells = [read_cell(i, c) for i, c in enumerate(json.loads(path.read_text(encoding='utf-8'))['cells'], 1)]
    page, section, stated, mentioned = Page(path.relative_to(root/'nbs').as_posix()), '', set(), set()
    own = helpers([c.tree for c in cells if c.kind == 'code' and c.tree and not c.to_module])
    for c in cells:
        if c.kind == 'markdown':
            if m := re.match(r'#{1,6} (.*)', c.source): section, stated, mentioned = m[1].strip(), set(), set()
            stated |= {n for tag in re.findall(r'\\tag\{([^}]*)\}', c.source) for n in numbers(tag)}
            mentioned |= cited(c.source)
        elif c.kind == 'code' and c.tree and c.to_module:
            for name, found in symbols(c.tree): page.symbols[name] = page.symbols.get(name, set()) | found
        elif c.kind == 'code' and c.tree:
            nodes, names = reached(c.tree, own)
            if asserts(nodes): page.tests.append(Test(section, stated, mentioned, names, sorted(n for n in names & own.keys() if 'naive' in n)))
            own = {k: v for k, v in (own | dict(objects(c.tree))).items() if v}
    return page


def plain(stem): return re.sub(r'^\d\d_', '', stem)  # a page's name without its number


def pages(root): return [read_page(p, root) for p in sorted((root/ROOM).glob('*.ipynb')) if plain(p.stem) not in LEFT_OUT]


def best_test(n, names, tests):
    "The test to name: an oracle where the equation is spoken of, else a test where it stands, else any oracle, else any test."
    def rank(t): return 3 if t.oracles and n in t.stated | t.cited else 2 if n in t.stated else bool(t.oracles)
    return max((t for t in tests if t.names & set(names)), key=rank, default=None)


def equation_map(pages):
    "Rows `(number, page, functions, test)` and what is wrong."
    rows, wrong = [], []
    for p in pages:
        for s, found in p.symbols.items():
            if odd := sorted(found - MEANING.keys()): wrong.append(f"nbs/{p.path}: the docstring of {s} cites Eq. {', '.join(map(str, odd))}, the paper has {max(MEANING)}")
    for n in MEANING:
        have = [(p, names) for p in pages if (names := [s for s, found in p.symbols.items() if n in found])]
        if not have: wrong.append(f'Eq. {n} ({MEANING[n]}): no exported function cites it, name it in the docstring of the one that computes it')
        tested = [(p, names, t) for p, names in have if (t := best_test(n, names, p.tests))]
        if have and not tested:
            wrong.append(f"Eq. {n} ({MEANING[n]}): no cell of nbs/{have[0][0].path} asserts a value of {', '.join(have[0][1])}, add a test")
        rows += [(n, *r) for r in tested]
    return rows, wrong


def table(rows):
    "The map as a Markdown table, an equation a row; an equation in two notebooks has two."
    out = ['| Eq. | what it is | notebook | functions | tested in |', '|---|---|---|---|---|']
    for n, p, names, t in rows:
        oracle = ''.join(f' (`{o}`)' for o in t.oracles[:1])
        out.append(f"| {n} | {MEANING[n]} | [{plain(Path(p.path).stem)}]({p.path}) | {', '.join(f'`{s}`' for s in names)} | {t.section}{oracle} |")
    return '\n'.join(out)


def block(rows): return f'{BEGIN}\n\n{table(rows)}\n\n{END}'


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--check', action='store_true', help='compare with the page, write nothing')
    ap.add_argument('--write', action='store_true', help='put the table into the page')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    a = ap.parse_args(argv)
    rows, wrong = equation_map(pages(a.root))
    for w in wrong: print(w)
    if not (a.check or a.write):
        print(table(rows))
        return int(bool(wrong))
    try: nb, cell = place(a.root, BEGIN, END)
    except (ValueError, FileNotFoundError) as e:
        print(e)
        return 1
    before, old, after = split(join(cell['source']), BEGIN, END)
    if a.check:
        if old != block(rows): print(f'{PAGE}: the equation map is not what the notebooks give, run `python tools/equations.py --write` and `make readme`')
        else: print(f'{len({r[0] for r in rows})} equations, {len({s for r in rows for s in r[2]})} functions')
        return int(bool(wrong) or old != block(rows))
    if wrong: return 1
    write(a.root, nb, cell, before + block(rows) + after)
    print(f'{PAGE}: the equation map is written')
    return 0


if __name__ == '__main__': sys.exit(main())
