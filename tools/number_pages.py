#!/usr/bin/env python3
"""Number the pages of the course in the order of reading: nbs/method/coarse.ipynb becomes nbs/method/03_coarse.ipynb.

    python tools/number_pages.py [--write] [--root FOLDER]

The order is that of COURSE in tools/course.py. A module keeps its name without the number, and cells keep their ids.
Every text that names a page by its path is changed with it: links in notebooks and Markdown files, the manifest, the
provenance of published results, the list of lint exceptions, the list of planted faults, tests and tools. Without
`--write` nothing is changed, and the files and places are listed. A second call finds nothing to do.

Afterwards: `make export`, `python tools/course.py --write`, `make readme`."""
import argparse
import posixpath
import re
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from course import COURSE  # noqa: E402

TEXT = {'.ipynb', '.md', '.toml', '.json', '.csv', '.py', '.yml', '.yaml', '.cff', '.smk', '.txt', ''}
QUOTED = ('tools/course.py', 'tests/test_course.py')  # these name pages without an ending
OWN = ('tests/test_readme.py', 'tests/test_number_pages.py', 'tools/number_pages.py')  # they speak of pages that they make up
NUMBERED = re.compile(r'^\d\d_')


def new_name(i, page):
    "The path of page i below nbs, with its number."
    folder, _, stem = page.rpartition('/')
    return f"{folder}/{i + 1:02d}_{NUMBERED.sub('', stem)}"


def renames(): return {p.path: new_name(i, p.path) for i, p in enumerate(COURSE) if new_name(i, p.path) != p.path}


def tracked(root):
    "Text files of the project, as git knows them."
    names = subprocess.run(['git', 'ls-files', '-z'], cwd=root, capture_output=True, check=True).stdout.decode().split('\0')
    names = [n for n in names if n and n not in OWN and not n.startswith('sparseattnnet/')]  # the package is exported anew
    return [root/n for n in names if Path(n).suffix in TEXT and (root/n).is_file() and not (root/n).is_symlink()]


def renumber(text, name, names):
    """The text of the file `name` (below the root) with the new paths. A page is named by its path below nbs, by a
    path relative to the file, or, inside its own folder, by its file name alone; `.ipynb` always follows."""
    count, folder = 0, posixpath.dirname(name)
    for old, new in names.items():
        room, stem = old.rsplit('/', 1)
        forms = [(rf'(?<![\w.-]){re.escape(room)}/{re.escape(stem)}\.ipynb', f'{new}.ipynb')]
        if name in QUOTED: forms.append((rf"(?<=')(nbs/)?{re.escape(old)}(?=')", rf'\g<1>{new}'))
        if folder == f'nbs/{room}': forms.append((rf'(?<![\w./-]){re.escape(stem)}\.ipynb', f"{new.rsplit('/', 1)[1]}.ipynb"))
        for pattern, into in forms:
            text, n = re.subn(pattern, into, text)
            count += n
    return text, count


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--write', action='store_true', help='rename and change; without it, only say what would be done')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    a = ap.parse_args(argv)
    names = {old: new for old, new in renames().items() if (a.root/'nbs'/f'{old}.ipynb').exists()}
    if not names:
        print('every page has its number')
        return 0
    places = 0
    for path in tracked(a.root):
        try: text = path.read_text(encoding='utf-8')
        except UnicodeDecodeError: continue
        changed, n = renumber(text, path.relative_to(a.root).as_posix(), names)
        if not n: continue
        places += n
        print(f'{path.relative_to(a.root).as_posix()}: {n}')
        if a.write: path.write_text(changed, encoding='utf-8')
    for old, new in names.items():
        print(f'nbs/{old}.ipynb → nbs/{new}.ipynb')
        if a.write: subprocess.run(['git', 'mv', f'nbs/{old}.ipynb', f'nbs/{new}.ipynb'], cwd=a.root, check=True)
    print(f"{len(names)} pages, {places} places {'changed' if a.write else 'to change; --write does it'}")
    return 0


if __name__ == '__main__': sys.exit(main())
