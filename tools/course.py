#!/usr/bin/env python3
"""The way through the course: previous and next on each page, a small map, and captions that a reader sees.

    python tools/course.py [--write | --check] [--root FOLDER]

COURSE is the one ordered list of pages. `--write` puts three kinds of markdown cells into them: the way (second cell),
the next page (last cell), and under each figure its caption, which is the `#| fig-cap` line of the figure's cell. All
other notebooks get their captions too, under the figures that are stored. `--check` writes nothing and fails where a page differs. Cells that the tool made begin with a
comment, keep their ids, and are replaced as a whole. Only the standard library is used; nothing is executed."""
import argparse
import json
import os
import posixpath
import re
import sys
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

MARK = '<!-- made by tools/course.py: '
GLOSSARY, CONTENTS = 'glossary', 'contents'


class Page(NamedTuple):
    "A page of the course."
    path: str  # below nbs, without its ending
    short: str  # its name on the map
    asks: str  # the question that it answers


COURSE = (
    Page('method/01_pixels', 'pixels', 'How does an image become points that can be read one by one?'),
    Page('method/02_first_model', 'first model', 'Can you train the network in two minutes?'),
    Page('method/03_coarse', 'coarse map', 'Which pixels are worth reading?'),
    Page('method/04_sampler', 'selection', 'How are k pixels chosen?'),
    Page('method/05_fine', 'tokens and attention', 'How do the chosen pixels become one vector?'),
    Page('method/06_influence', 'influence', 'Who tells the map about a pixel that it did not choose?'),
    Page('method/07_model', 'verdict', 'How do the parts become one model?'),
    Page('method/08_losses', 'losses', 'What is the network asked to do?'),
    Page('method/09_whole', 'all on one page', 'What is left if you take every option away?'),
    Page('method/10_kscheduler', 'how many pixels', 'Does the network find the right number of pixels?'),
    Page('learn/11_loop', 'training loop', 'What must a loop add before you can trust a long run?'),
    Page('method/12_complexity', 'cost', 'Does reading few pixels make it cheap?'),
    Page('method/13_printed', 'printed numbers', 'What does the paper print?'),
)


def join(source): return source if isinstance(source, str) else ''.join(source)


def file_of(root, page): return root/'nbs'/f'{page}.ipynb'


def link(here, to, text): return f'[{text}]({posixpath.relpath(to, posixpath.dirname(here))}.ipynb)'


def title(root, page):
    "The title of a page, without the mark of a heading."
    nb = json.loads(file_of(root, page).read_text(encoding='utf-8'))
    return join(nb['cells'][0]['source']).split('\n')[0].lstrip('# ').strip()


def cell(kind, key, source):
    "A markdown cell whose id follows from what it is and where."
    id = sha256(f'{kind} {key}'.encode()).hexdigest()[:8]
    text = f'{MARK}{kind} -->\n{source}'
    return dict(cell_type='markdown', id=id, metadata={}, source=text.splitlines(keepends=True))


def way(root, i):
    "The second cell of a page: where you are, what comes before and after, and the map."
    here = COURSE[i].path
    parts = [f'**Page {i + 1} of {len(COURSE)}**']
    if i: parts.append(link(here, COURSE[i - 1].path, f'← {title(root, COURSE[i - 1].path)}'))
    if i + 1 < len(COURSE): parts.append(link(here, COURSE[i + 1].path, f'{title(root, COURSE[i + 1].path)} →'))
    parts += [link(here, GLOSSARY, 'glossary'), link(here, CONTENTS, 'contents')]
    on_map = [f'**{p.short}**' if p.path == here else link(here, p.path, p.short) for p in COURSE]
    return cell('way', here, ' · '.join(parts) + '\n\n' + ' → '.join(on_map))


def onward(root, i):
    "The last cell of a page: the next one, with its question."
    here = COURSE[i].path
    if i + 1 == len(COURSE): return cell('next', here, f'This was the last page. {link(here, CONTENTS, "All other pages")}.')
    to = COURSE[i + 1]
    return cell('next', here, f'**Next:** {link(here, to.path, title(root, to.path))}. {to.asks}')


def caption_of(c):
    "The caption of a code cell, '' where it has none."
    m = re.search(r'^#\|\s*fig-cap:\s*(.+)$', join(c['source']), re.M) if c['cell_type'] == 'code' else None
    return m[1].strip().strip('"').replace('\\"', '"') if m else ''


def made(c): return c['cell_type'] == 'markdown' and join(c['source']).startswith(MARK)


def with_captions(page, cells, stored=True):
    "Cells with a caption under each figure; with `stored` only where a picture is among the outputs."
    for c in cells:
        yield c
        drawn = any(k.startswith('image/') for o in c.get('outputs', ()) for k in o.get('data', {}))
        if (text := caption_of(c)) and (drawn or not stored): yield cell('caption', f"{page} {c['id']}", f'**Figure.** {text}')


def with_way(root, page, nb):
    "The cells of a page with everything that this tool puts into them."
    i = next((i for i, p in enumerate(COURSE) if p.path == page), None)
    own = [c for c in nb.get('cells', ()) if not made(c)]
    if i is None: return list(with_captions(page, own))
    first, *rest = with_captions(page, own, stored=False)
    return [first, way(root, i), *rest, onward(root, i)]


def pages(root):
    "Every notebook, as a path below nbs without its ending: the course first."
    found = [p.relative_to(root/'nbs').with_suffix('').as_posix() for p in sorted((root/'nbs').rglob('*.ipynb'))]
    course = [p.path for p in COURSE]
    return course + [p for p in found if p not in course and not any(s[0] in '._' for s in p.split('/'))]


def stray(root):
    "Pages of nbs/method that the list does not name: nobody would find them."
    there = {f'method/{p.stem}' for p in (root/'nbs'/'method').glob('[!._]*.ipynb')}
    return sorted(there - {p.path for p in COURSE})


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--write', action='store_true', help='put the cells into the pages')
    ap.add_argument('--check', action='store_true', help='compare with the pages, write nothing (the default)')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    a = ap.parse_args(argv)
    wrong = [f'nbs/{p}.ipynb is on no page of the course: add it to COURSE in tools/course.py' for p in stray(a.root)]
    for page in pages(a.root):
        path = file_of(a.root, page)
        nb = json.loads(path.read_text(encoding='utf-8'))
        cells = with_way(a.root, page, nb)
        if cells == nb.get('cells', []): continue
        if not a.write:
            wrong.append(f'nbs/{page}.ipynb: way or captions differ, run `python tools/course.py --write`')
            continue
        nb['cells'] = cells
        part = path.with_name(f'.{path.name}.{os.getpid()}')
        part.write_text(json.dumps(nb, indent=1, sort_keys=True, ensure_ascii=False) + '\n', encoding='utf-8')
        os.replace(part, path)
    for w in wrong: print(w)
    if not wrong: print(f'{len(COURSE)} pages in order')
    return int(bool(wrong))


if __name__ == '__main__': sys.exit(main())
