#!/usr/bin/env python3
"""Citations of the paper's ambiguities, such as `audit 21`, become links to their entries in nbs/paper/ambiguities.ipynb.

    python tools/link_ambiguities.py [--check] [--root FOLDER]

Read are the Markdown cells of every notebook. A citation is
  * `audit 21`, `Audit 57, 58`, `audit 30–32`, `audit 32 and 72`, wherever it stands;
  * `(22)` or `(25–26)` in a cell that speaks of the audit, because there the word is not repeated;
  * a number in the first column of a table whose first heading is `audit`.
Code, formulas and what is a link already stay as they are, so a second call changes nothing. `--check` writes nothing
and fails if a citation is no link, or a link leads to no entry."""
import argparse
import json
import os
import re
import sys
from pathlib import Path

PAGE = 'nbs/paper/ambiguities.ipynb'
ENTRIES = 72
# Front pages count minutes in brackets, and cite nothing.
NOT_READ = {PAGE, 'nbs/index.ipynb'}
KEPT = re.compile(r'(```.*?```|`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]+\$|!?\[(?:[^\[\]]|\[[^\]]*\])*\]\([^)\s]*\)|<[^>\n]+>)', re.S)
NUMBERS = r'\d{1,2}(?:\s*(?:,\s*|–|-|\band\b\s*)\d{1,2})*(?!\d|\.\d|\s*%)'
NAMED = re.compile(rf'\b([Aa]udit\s+)({NUMBERS})')
IN_BRACKETS = re.compile(rf'(?<=\()({NUMBERS})(?=\))')
LINKED = re.compile(r'\]\(([^)\s]*ambiguities\.ipynb)#([^)\s]*)\)')


def relative(name): return os.path.relpath(PAGE, Path(name).parent).replace(os.sep, '/')


def link(text, number, page): return f'[{text}]({page}#{number})' if 1 <= int(number) <= ENTRIES else text


def link_list(numbers, page, first=''):
    "Each number of a list becomes a link; the word before it joins the first."
    n = iter(range(99))
    return re.sub(r'\d+', lambda m: link((first if next(n) == 0 else '') + m[0], m[0], page), numbers)


def outside(text, change):
    "Apply a change to what is neither code, nor formula, nor link."
    return ''.join(p if i % 2 else change(p) for i, p in enumerate(KEPT.split(text)))


def link_rows(source, page):
    "First columns of the tables that begin with a column `audit`."
    out, inside = [], False
    for line in source.split('\n'):
        cells = line.split('|')
        if re.match(r'\s*\|\s*audit\s*\|', line, re.I): inside = True
        elif not line.lstrip().startswith('|'): inside = False
        elif inside and re.fullmatch(rf'\s*{NUMBERS}\s*', cells[1]): line = '|'.join([cells[0], link_list(cells[1], page), *cells[2:]])
        out.append(line)
    return '\n'.join(out)


def link_source(source, page):
    "A Markdown cell with its citations as links."
    speaks = re.search(r'\baudit\b', KEPT.sub('', source), re.I) or LINKED.search(source)
    source = outside(link_rows(source, page), lambda t: NAMED.sub(lambda m: link_list(m[2], page, m[1]), t))
    return outside(source, lambda t: IN_BRACKETS.sub(lambda m: link_list(m[1], page), t)) if speaks else source


def notebooks(root):
    for p in sorted((root/'nbs').rglob('*.ipynb')):
        name = p.relative_to(root).as_posix()
        if name not in NOT_READ and '.ipynb_checkpoints' not in name: yield name, p


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--check', action='store_true', help='write nothing, fail where a citation is no link')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    a = ap.parse_args(argv)
    entries = set(re.findall(r'<a id=\\"(\d+)\\"></a>', (a.root/PAGE).read_text(encoding='utf-8')))
    links, bad = 0, []
    for name, path in notebooks(a.root):
        nb, changed = json.loads(path.read_text(encoding='utf-8')), False
        for c in nb['cells']:
            if c['cell_type'] != 'markdown': continue
            old = ''.join(c['source'])
            new = link_source(old, relative(name))
            found = LINKED.findall(new)
            links += len(found)
            bad += [f'{name} ({c["id"]}): the link to {to}#{n} leads to no entry' for to, n in found if n not in entries or to != relative(name)]
            if new == old: continue
            if a.check: bad.append(f'{name} ({c["id"]}): a citation is no link, run `python tools/link_ambiguities.py`')
            c['source'], changed = new.splitlines(True), True
        if changed and not a.check: path.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + '\n', encoding='utf-8')
    print('\n'.join(bad + [f'{links} links to {PAGE}, {len(bad)} problems']))
    return bool(bad)


if __name__ == '__main__': sys.exit(main())
