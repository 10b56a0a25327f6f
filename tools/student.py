#!/usr/bin/env python3
"""The course without its solutions, for a class.

    python tools/student.py FOLDER [--root FOLDER]

Every page of the course is copied. Links between its pages stay; links to other pages lead back to this project.
A cell tagged `solution` disappears. Where it ends with a check, such as `check_1(recall)`, an empty answer takes its
place: `recall = ...`, and the check, which says what is wrong until the answer is right. Outputs of later cells stay."""
import argparse
import ast
import json
import os
import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from course import COURSE, file_of, join  # noqa: E402

CHECK = re.compile(r'^check_(\d+)\((\w+)\)$', re.M)
EMPTY = '...'


def solution(c): return 'solution' in c.get('metadata', {}).get('tags', ())


def checks_of(cells):
    "Exercise -> (name of the answer, cell of the check): the functions `check_N(answer)` of a page."
    out = {}
    for i, c in enumerate(cells):
        if c['cell_type'] != 'code' or solution(c): continue
        for n in ast.parse(re.sub(r'^%.*$', '', join(c['source']), flags=re.M)).body:
            if isinstance(n, ast.FunctionDef) and (m := re.fullmatch(r'check_(\d+)', n.name)):
                out[int(m[1])] = (n.args.args[0].arg, i)
    return out


def empty_answer(source):
    "What a student sees in place of a solution, '' where the cell ends with no check."
    found = CHECK.findall(source)
    return '\n'.join(f'{name} = {EMPTY} # your answer, of as many lines as you need\ncheck_{n}({name})' for n, name in found)


def hide(cells):
    "The cells of a page without solutions."
    out = []
    for c in cells:
        if not solution(c):
            source = join(c['source']).replace('### Solutions', '### Your answers') if c['cell_type'] == 'markdown' else join(c['source'])
            out.append(c | dict(source=source.splitlines(keepends=True)))
        elif c['cell_type'] == 'code' and (text := empty_answer(join(c['source']))):
            out.append(c | dict(source=text.splitlines(keepends=True), outputs=[], execution_count=None, metadata={}))
    return out


def led_back(source, page, to, root):
    "Markdown whose links to pages outside of the course lead from the copy to the project."
    inside = {f'{p.path}.ipynb' for p in COURSE}

    def move(m):
        link, mark, anchor = m[1].partition('#')
        if not link or re.match(r'[a-z][a-z0-9+.-]*:|/', link, re.I): return m[0]
        target = os.path.normpath(os.path.join(os.path.dirname(page), link)).replace(os.sep, '/')
        if target in inside: return m[0]
        return f"]({os.path.relpath(root/'nbs'/target, to.parent).replace(os.sep, '/')}{mark}{anchor})"

    return re.sub(r'\]\(([^)\s]+)\)', move, source)


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('folder', type=Path, help='where the pages go; it must be new or empty')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    a = ap.parse_args(argv)
    a.root = a.root.resolve()
    if a.folder.exists() and any(a.folder.iterdir()): sys.exit(f'{a.folder} is not empty: name a new folder')
    n = 0
    for p in COURSE:
        nb = json.loads(file_of(a.root, p.path).read_text(encoding='utf-8'))
        n += len(checks_of(nb['cells']))
        nb['cells'] = hide(nb['cells'])
        to = a.folder.resolve()/f'{p.path}.ipynb'
        to.parent.mkdir(parents=True, exist_ok=True)
        for c in nb['cells']:
            if c['cell_type'] == 'markdown': c['source'] = led_back(join(c['source']), p.path, to, a.root).splitlines(keepends=True)
        to.write_text(json.dumps(nb, indent=1, sort_keys=True, ensure_ascii=False) + '\n', encoding='utf-8')
    print(f'{len(COURSE)} pages with {n} open exercises in {a.folder}')


if __name__ == '__main__': main()
