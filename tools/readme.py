#!/usr/bin/env python3
"""README.md, rendered from nbs/index.ipynb as it is stored (nothing is executed).

    python tools/readme.py [--check] [--root FOLDER]

Cells tagged `hide` or beginning with `#| hide` are dropped, code under `#| echo: false` and outputs under
`#| output: false` too, and every `#|` line. Relative links are rewritten for the top of the repository. Pictures are
files that the index refers to: one among its outputs is an error. `--check` compares and writes nothing."""
import argparse
import os
import posixpath
import re
import sys
from pathlib import Path

INDEX, README = 'nbs/index.ipynb', 'README.md'
FIRST = '<!-- rendered from nbs/index.ipynb by make readme; do not edit -->'
LINKS = re.compile(r'(\]\(\s*<?|\b(?:src|href)=")([^)\s">]+)|^(\s{0,3}\[[^\]\n]+\]:\s+)(\S+)', re.M)
CODE = re.compile(r'(^ {0,3}(```+|~~~+).*?^ {0,3}\2`*~*\s*$|`[^`\n]+`)', re.M | re.S)


def move_link(link, folder=posixpath.dirname(INDEX)):
    "A relative link of the index, as seen from the top of the repository."
    if re.match(r'[a-z][a-z0-9+.-]*:|/|#', link, re.I): return link
    path, mark, rest = re.match(r'([^#?]*)([#?]?)(.*)', link, re.S).groups()
    new = posixpath.normpath(posixpath.join(folder, path))
    if new.startswith('..'): raise ValueError(f'{INDEX}: the link {link!r} leaves the repository, point it at a file inside')
    return new + ('/' if path.endswith('/') and new != '.' else '') + mark + rest


def move_links(text):
    "Rewrite the relative links of a Markdown text, leaving code alone."
    def one(m): return m[1] + move_link(m[2]) if m[1] else m[3] + move_link(m[4])
    parts = CODE.split(text)
    # re.split yields text, code, fence, text, …: every third piece from the second on is code, the next its fence.
    return ''.join(p if i % 3 == 1 else LINKS.sub(one, p) for i, p in enumerate(parts) if i % 3 != 2)


def option(source, name):
    "The value of a `#| name: value` line of a cell, '' without value, None without the line."
    m = re.search(rf'^\s*#\|\s*{name}\b\s*:?[ \t]*(.*)$', source, re.M)
    return m and m[1].strip().lower()


def shown(cells):
    "The cells of the index as they are to be rendered, outputs reduced to their best text."
    import nbformat
    for i, cell in enumerate(cells, 1):
        source = cell.source
        if cell.cell_type == 'raw' or 'hide' in cell.metadata.get('tags', ()): continue
        if cell.cell_type == 'markdown':
            yield cell
            continue
        if option(source, 'hide') is not None or option(source, 'include') == 'false' or re.search(r'^\s*#\|\s*default_exp', source, re.M): continue
        outputs = [] if option(source, 'output') == 'false' else cell.outputs
        for o in outputs:
            data = o.get('data', {})
            if any(k.startswith('image/') for k in data):
                raise ValueError(f'{INDEX} cell {i} ({cell.id}): its output holds a picture, commit it as a file and refer to that by its relative path')
            if o.output_type == 'error' or o.get('name') == 'stderr':
                raise ValueError(f'{INDEX} cell {i} ({cell.id}): its output holds an error or a stderr stream, mend the cell and run it again')
            if 'text/markdown' in data: o.data = nbformat.from_dict({'text/markdown': data['text/markdown']})
            elif 'text/html' in data: data['text/html'] = re.sub(r'<style.*?</style>\s*', '', data['text/html'], flags=re.S)
        cell.outputs = outputs
        body = '\n'.join(l for l in source.split('\n') if not re.match(r'\s*#\|', l)).strip('\n')
        cell.source = '' if option(source, 'echo') == 'false' else body
        if cell.source or cell.outputs: yield cell


def render(path):
    "The text of README.md."
    import nbformat
    from nbconvert import MarkdownExporter
    nb = nbformat.read(path, 4)
    nb.cells = list(shown(nb.cells))
    text, _ = MarkdownExporter().from_notebook_node(nb)
    text = re.sub(r'^``` ?(?:python)?\n\s*```\n', '', text, flags=re.M)
    text = re.sub(r'[ \t]+$', '', move_links(text), flags=re.M)
    return f'{FIRST}\n\n' + re.sub(r'\n{3,}', '\n\n', text).strip() + '\n'


def missing(text, root):
    "Relative links of the README that lead to no file."
    targets = {m[2] or m[4] for i, p in enumerate(CODE.split(text)) if i % 3 == 0 for m in LINKS.finditer(p)}
    files = {re.sub(r'[#?].*', '', t) for t in targets if not re.match(r'[a-z][a-z0-9+.-]*:|/|#', t, re.I)}
    return sorted(f for f in files if not (root/f).exists())


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--check', action='store_true', help='compare with README.md, write nothing')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    a = ap.parse_args(argv)
    index, readme = a.root/INDEX, a.root/README
    if not index.exists():
        print(f'{INDEX} does not exist yet: nothing to render')
        return 0
    try: text = render(index)
    except ValueError as e: sys.exit(str(e))
    dead = missing(text, a.root)
    for f in dead: print(f'{README}: {f} is linked but not there, correct the link in {INDEX} or commit the file')
    if a.check:
        same = readme.exists() and readme.read_text(encoding='utf-8') == text
        if not same: print(f'{README} is not what {INDEX} renders to: run `make readme`')
        return int(bool(dead) or not same)
    part = readme.with_name(f'.{README}.{os.getpid()}')
    part.write_text(text, encoding='utf-8')
    os.replace(part, readme)
    print(f'{README} is rendered from {INDEX}')
    return 0


if __name__ == '__main__': sys.exit(main())
