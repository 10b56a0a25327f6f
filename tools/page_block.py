"""A table made by machine that stands between two comments in one markdown cell of nbs/contents.ipynb."""
import json
import os
import re

PAGE = 'nbs/contents.ipynb'


def split(source, begin, end):
    "What stands before, at and after the table in a cell; None where it holds none."
    m = re.fullmatch(rf'(.*?)({re.escape(begin)}.*?{re.escape(end)})(.*)', source, re.S)
    return m and m.groups()


def place(root, begin, end, needed=True):
    "The page and the cell of the table in it, None where it has none and needs none; ValueError unless there is one."
    nb = json.loads((root/PAGE).read_text(encoding='utf-8'))
    text = [(c, ''.join(c['source'])) for c in nb['cells'] if c['cell_type'] == 'markdown']
    if [t for _, t in text if (begin in t or end in t) and not split(t, begin, end)]:
        raise ValueError(f'{PAGE}: a cell holds only one of {begin} and {end}, or in the wrong order, expected exactly one cell with both')
    cells = [c for c, t in text if split(t, begin, end)]
    if len(cells) > 1 or needed and not cells: raise ValueError(f'{PAGE}: {len(cells)} markdown cells hold {begin} … {end}, expected exactly one')
    return nb, cells[0] if cells else None


def write(root, nb, cell, source):
    "Put a new source into a cell of the page, atomically."
    cell['source'] = source.splitlines(keepends=True)
    part = (root/PAGE).with_name(f'.contents.{os.getpid()}')
    part.write_text(json.dumps(nb, indent=1, sort_keys=True, ensure_ascii=False) + '\n', encoding='utf-8')
    os.replace(part, root/PAGE)
