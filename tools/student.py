#!/usr/bin/env python3
"""The course, and all other pages with exercises, without the solutions, for a class, with a note for the teacher.

    python tools/student.py FOLDER [--root FOLDER]

Every page of the course is copied, and every other page that checks an exercise. Links between these pages stay;
links to other pages lead back to this project.
A cell tagged `solution` disappears. Where it ends with a check, such as `check_1(recall)`, an empty answer takes its
place: `recall = ...`, and the check, which says what is wrong until the answer is right. Outputs of later cells stay.

TEACHER.md says how long each page takes: its words and lines are counted, and the time it runs was measured by
`tools/read_in_order.py --keep`."""
import argparse
import ast
import json
import os
import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from course import COURSE, file_of, join, made, pages, title  # noqa: E402
from read_in_order import TIMES  # noqa: E402

CHECK = re.compile(r'^check_(\d+)\((\w+)\)$', re.M)
EMPTY = '...'
WORDS, LINES, EXERCISE = 150, 20, 5  # words and lines of code a minute, minutes an exercise: what we assume of a reader
SESSION = 90  # minutes


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


def cells_of(root, page): return json.loads(file_of(root, page).read_text(encoding='utf-8'))['cells']


def practice(root):
    "Pages outside of the course that check an exercise."
    course = {p.path for p in COURSE}
    return [p for p in pages(root) if p not in course and checks_of(cells_of(root, p))]


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


def led_back(source, page, to, root, copied):
    "Markdown whose links to pages that are not `copied` lead from the copy to the project."
    inside = {f'{p}.ipynb' for p in copied}

    def move(m):
        link, mark, anchor = m[1].partition('#')
        if not link or re.match(r'[a-z][a-z0-9+.-]*:|/', link, re.I): return m[0]
        target = os.path.normpath(os.path.join(os.path.dirname(page), link)).replace(os.sep, '/')
        if target in inside: return m[0]
        return f"]({os.path.relpath(root/'nbs'/target, to.parent).replace(os.sep, '/')}{mark}{anchor})"

    return re.sub(r'\]\(([^)\s]+)\)', move, source)


def counted(cells):
    "What a reader meets on a page: words of prose, lines of code, figures, exercises."
    words = lines = figures = 0
    for c in cells:
        if made(c) or solution(c): continue
        source = join(c['source'])
        if c['cell_type'] == 'markdown':
            words += len(re.findall(r'\w[\w’\'-]*', re.sub(r'\$\$.*?\$\$|\]\([^)]*\)', ' ', source, flags=re.S)))
        elif c['cell_type'] == 'code' and not re.search(r'^#\|\s*(hide|default_exp)', source, re.M):
            lines += sum(bool(l.strip()) and not l.startswith(('#|', 'import ', 'from ')) for l in source.split('\n'))
            figures += any(k.startswith('image/') for o in c['outputs'] for k in o.get('data', {}))
    return dict(words=words, lines=lines, figures=figures, exercises=len(checks_of(cells)))


def minutes(n): return max(1, round(n['words']/WORDS)), round(n['lines']/LINES)


def sessions(times, limit=SESSION):
    "Pages in their order, as many to a session as fit: lists of page numbers, counted from 0."
    out, left = [], 0
    for i, t in enumerate(times):
        if not out or t > left: out, left = [*out, []], limit
        out[-1].append(i)
        left -= t
    return out


def teacher_note(root):
    "The note for the teacher, as Markdown whose links are relative to nbs/."
    measured = json.loads((root/TIMES).read_text(encoding='utf-8')) if (root/TIMES).exists() else dict(seconds={})
    rows, totals = [], []
    for i, p in enumerate(COURSE, 1):
        n = counted(cells_of(root, p.path))
        ran = measured['seconds'].get(p.path)
        prose, code = minutes(n)
        totals.append(prose + code + EXERCISE*n['exercises'])
        rows.append(f"| {i} | [{title(root, p.path)}]({p.path}.ipynb) | {n['words']:,} | {n['lines']} | {n['figures']} | {n['exercises']} | {prose} | {code} | {totals[-1]} | {'not measured' if ran is None else f'{ran:.0f}'} |")
    plan = [f"| {i} | {', '.join(str(k + 1) for k in s)} | {sum(totals[k] for k in s)} |" for i, s in enumerate(sessions(totals), 1)]
    more = [f'| [{title(root, p)}]({p}.ipynb) | {len(checks_of(cells_of(root, p)))} |' for p in practice(root)]
    return '\n'.join([
        '# For the teacher', '', '> How long each page takes, what to prepare, and how the exercises check themselves.', '',
        '## Before the class', '',
        '- `make venv` installs what the pages need. It downloads for some minutes, so do it once on each machine, before the class.',
        '- `make student FOLDER=class` writes the pages without solutions. The project stays beside that folder: pages outside of the course are linked there.',
        '- Open the folder with `make lab`, page 1 first. Each page links to the next one.',
        '- No page needs the internet, an account or a GPU.', '',
        '## How the exercises work', '',
        'In place of a solution stands an empty answer, such as `recall = ...`, and a call such as `check_1(recall)`. Run as it is, '
        'the check stops the page and says what is missing. That is meant: whoever uses *Run All* comes to the first open exercise. A right answer passes in silence. '
        'A wrong one gets a sentence that says what is wrong, not the solution. The solutions stand in the project itself, in cells tagged `solution`; on the web site they are folded.', '',
        '## How long it takes', '',
        f'Words, lines of code, figures and exercises are counted from the pages. The minutes follow from rates that we assume for readers who are not native speakers: '
        f'{WORDS} words a minute, {LINES} lines of code a minute, {EXERCISE} minutes for an exercise. No class has been timed yet. '
        '*Runs* is measured: seconds of one processor core to execute the whole page, with its solutions.', '',
        '| page | title | words | lines of code | figures | exercises | prose, min | code, min | all, min | runs, s |', '|--:|:--|--:|--:|--:|--:|--:|--:|--:|--:|', *rows, '',
        f'Together {sum(totals)} minutes. In sessions of {SESSION} minutes:', '', '| session | pages | minutes |', '|--:|:--|--:|', *plan, '',
        'A page that is longer than a session has one of its own; leave some of its exercises for home.', '',
        '## More exercises', '', 'These pages stand beside the course. They have exercises of the same kind.', '', '| page | exercises |', '|:--|--:|', *more, ''])


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('folder', type=Path, help='where the pages go; it must be new or empty')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    a = ap.parse_args(argv)
    a.root = a.root.resolve()
    if a.folder.exists() and any(a.folder.iterdir()): sys.exit(f'{a.folder} is not empty: name a new folder')
    n, copied = 0, [p.path for p in COURSE] + practice(a.root)
    for p in copied:
        nb = json.loads(file_of(a.root, p).read_text(encoding='utf-8'))
        n += len(checks_of(nb['cells']))
        nb['cells'] = hide(nb['cells'])
        to = a.folder.resolve()/f'{p}.ipynb'
        to.parent.mkdir(parents=True, exist_ok=True)
        for c in nb['cells']:
            if c['cell_type'] == 'markdown': c['source'] = led_back(join(c['source']), p, to, a.root, copied).splitlines(keepends=True)
        to.write_text(json.dumps(nb, indent=1, sort_keys=True, ensure_ascii=False) + '\n', encoding='utf-8')
    note = led_back(teacher_note(a.root), 'TEACHER.md', a.folder.resolve()/'TEACHER.md', a.root, copied)
    (a.folder/'TEACHER.md').write_text(note, encoding='utf-8')
    print(f'{len(COURSE)} pages of the course and {len(copied) - len(COURSE)} others with {n} open exercises in {a.folder}; TEACHER.md says how long they take')


if __name__ == '__main__': main()
