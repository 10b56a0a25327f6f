#!/usr/bin/env python3
"""The pages of the web site, written for Sphinx from the notebooks as they are stored. Nothing is executed.

    python tools/site_pages.py FOLDER [--root FOLDER]

What nbdev says in `#|` lines becomes what a reader sees: a caption below its figure, hidden cells left out, solutions and
imports folded. A paper's equation keeps its number and can be linked; `Eq. 9` in a sentence leads to it, and the name of
an exported function to its entry in the reference. Links between pages, to results and to files of the project lead to
their place in the site; one that leads nowhere is an error. `tools/build_site.py` calls this."""
import argparse
import ast
import html
import json
import posixpath
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import site_api  # noqa: E402
from course import COURSE, MARK, caption_of, join, made, title  # noqa: E402
from lint_notebooks import read_cell  # noqa: E402
from student import CHECK, teacher_note  # noqa: E402

# The contents beside every page: part -> pages, each a path below nbs, or a group (name, where, one line, pages).
PARTS = {
    'The course': [p.path for p in COURSE] + ['glossary'],
    'Results': ['paper/table1_all', 'paper/table2', 'paper/claims', 'paper/audit', 'paper/ambiguities', 'paper/selection', 'paper/speed', 'paper/attention',
        ('More experiments', 'paper', 'Every other page that makes a table or a figure of the paper, or one that it should have.', 'paper')],
    'Use it': ['use/classifier', 'use/command', 'use/inspect', 'use/evaluate', 'use/trained', 'use/verdicts', 'use/report', 'use/one_cell'],
    'The library': [
        ('Data', 'data', 'Reading images, events and holograms; splits, augmentation, leaks; four simulators.', 'data'),
        ('Training', 'learn', 'Recipes, baselines, metrics, and what a run leaves behind.', 'learn'),
        ('Judging', 'judge', 'Confidence, localisation, statistics, tables and figures.', 'judge'),
        ('Studies', 'studies', 'Ablations and times, planned as data.', 'studies'),
        ('Speed and export', 'deploy', 'Our engine, its rivals, GPU kernels, ONNX files.', 'deploy'),
        ('Reproducing', 'reproduce', 'The manifest, the strict runner, one pool of jobs.', 'reproduce')],
}
PROJECT, DEMO = 'The project', 'demo'
# Files that are pages: path -> name in the contents. README.md is the front page.
TEXTS = {'data/README.md': 'Data sets and their folders', 'outputs/README.md': 'Results and where they lie', 'workflow/README.md': 'Many runs at once',
    'CONTRIBUTING.md': 'Contributing', 'CHANGELOG.md': 'Changelog'}
SHOWN = {'.py': 'python', '.toml': 'toml', '.cff': 'yaml', '.txt': 'text', '.yml': 'yaml', '.yaml': 'yaml', '': 'text'}  # files that get a page of their own
PLUS_MINUS = '\u00a0±\u00a0'  # a number and its deviation stay on one line
SCHEME = re.compile(r'[a-z][a-z0-9+.-]*:|//', re.I)
CITE = re.compile(r'\bEqs?\.\s\d+(?:(?:\s?[-–]\s?|\s*,\s(?:and\s)?|\sand\s)\d+\b(?!\s*[%×]))*')
PIECES = re.compile(r'(?P<fence>^ {0,3}(?P<mark>```+|~~~+).*?^ {0,3}(?P=mark)\s*$)|(?P<code>(?P<tick>`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)(?P=tick)(?!`))'
    r'|(?P<block>\$\$.+?\$\$)|(?P<math>\$(?=\S)[^$\n]+?(?<=\S)\$)|(?P<image>!\[[^\]]*\]\((?P<picture>[^)\s]+)[^)]*\))'
    r'|(?P<link>\[(?P<text>(?:`[^`]*`|\\.|\[[^\]]*\]|[^\]\\`])*)\]\((?P<to>[^)\s]+)(?P<rest>[^)]*)\))|(?P<tag><[a-zA-Z/!][^>]*>)|(?P<heading>^#{1,6} [^\n]*)', re.M | re.S)


class SiteError(ValueError):
    "Something in the project that the site cannot show; the message names the place and the remedy."


def plain(text): return re.sub(r'\[([^\]]*)\]\([^)]*\)|[`*_$\\]', lambda m: m[1] or '', text)


def short(text):
    "A title as it stands in the contents: without what follows a colon where it is long."
    text = plain(text)
    return re.split(r'[:?] ', text)[0] if len(text) > 36 else text


class Site:
    "Where everything of a project stands in its site, what was linked, and what is wrong."
    def __init__(self, root):
        self.root, self.problems = root, []
        self.files, self.sources = set(), set()  # what must be copied, and what gets a page because a page links to it
        self.modules = site_api.modules(root)
        self.names = site_api.unique_names(self.modules)
        self.notebooks = sorted(p.relative_to(root/'nbs').with_suffix('').as_posix() for p in (root/'nbs').rglob('*.ipynb')
            if not any(s[0] in '._' for s in p.relative_to(root/'nbs').parts))
        self.equations = self.find_equations()

    def read(self, page): return json.loads((self.root/'nbs'/f'{page}.ipynb').read_text(encoding='utf-8'))

    def find_equations(self):
        "Number of an equation -> the page that shows it first, in the order of the course."
        order = [p.path for p in COURSE]
        pages = [p for p in order if p in self.notebooks] + [p for p in self.notebooks if p not in order]
        out = {}
        for page in pages:
            for c in self.read(page)['cells']:
                if c['cell_type'] == 'markdown':
                    for n in re.findall(r'\\tag\{(\d+)\}', join(c['source'])): out.setdefault(int(n), page)
        return out

    def document(self, path):
        "The document that shows a file of the project, None where it has none."
        if path == 'README.md': return 'index'
        if path.startswith('nbs/') and path.endswith('.ipynb'): return path[4:-6]
        if path in TEXTS or re.fullmatch(r'outputs/reference/[^/]+\.md', path): return path[:-3]
        if (self.root/path).is_file() and (suffix := Path(path).suffix) in SHOWN and path != 'outputs/reference':
            self.sources.add(path)
            return f"files/{path if suffix else path + '.txt'}"
        return None

    def resolve(self, link, here, doc):
        "A link of a file `here`, shown by document `doc`, as the site needs it; what leads nowhere is noted as a problem."
        if SCHEME.match(link) or link.startswith('#'): return f'place:{link}' if link.startswith('#') else link
        path, _, place = link.partition('#')
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), unquote(path)))
        if target.startswith('..') or not (self.root/target).exists():
            self.problems.append(f'{here}: {link!r} leads to no file, correct it')
            return link
        if (self.root/target).is_dir(): target = next((f'{target}/{n}' for n in ('README.md', 'index.md') if (self.root/target/n).exists()), target)
        to = self.document(target)
        if to is None:
            if not (self.root/target).is_file():
                self.problems.append(f'{here}: {link!r} leads to a folder without README.md, name a file in it')
                return link
            self.files.add(target)
            return 'page:' + posixpath.relpath(target, posixpath.dirname(doc) or '.')
        way = posixpath.relpath(to, posixpath.dirname(doc) or '.') + '.html'
        return f'place:{way}#{place}' if place else f'page:{way}'

    def url(self, link, here, doc): return re.sub(r'^(page|place):', '', self.resolve(link, here, doc))

    def sentence(self, text, doc, shown):
        "Plain prose: what cites an equation becomes a link to it."
        def one(m):
            def number(k):
                n = int(k[0])
                if n in shown: return f'[{n}](place:#eq-{n})'
                if n not in self.equations: return k[0]
                return f"[{n}](place:{posixpath.relpath(self.equations[n], posixpath.dirname(doc) or '.')}.html#eq-{n})"
            return re.sub(r'\d+', number, m[0])
        return CITE.sub(one, text)

    def markdown(self, text, here, doc, shown=(), inside=False):
        "Markdown of a page as MyST for the site. `inside` is what stands in a link or a heading, where no link may be."
        out, at = [], 0
        for m in PIECES.finditer(text):
            out.append(text[at:m.start()] if inside else self.sentence(text[at:m.start()], doc, shown))
            at, g = m.end(), m.groupdict()
            if g['code'] and not inside and (name := g['code'].strip('`')) in self.names:
                module = self.names[name]
                out.append(f"[{g['code']}](place:{posixpath.relpath('api/' + module, posixpath.dirname(doc) or '.')}.html#{site_api.anchor(name)})")
            elif g['block']: out.append(equation(g['block']))
            elif g['image']: out.append(g['image'].replace(f"({g['picture']}", f"({self.picture(g['picture'], here, doc)}"))
            elif g['link']: out.append(f"[{g['text']}]({self.resolve(g['to'], here, doc)}{g['rest']})")
            elif g['tag']: out.append(re.sub(r'\b(src|href)="([^"]+)"', lambda a: f'{a[1]}="{self.url(a[2], here, doc)}"', g['tag']))
            elif g['heading']: out.append(self.markdown(g['heading'][1:], here, doc, shown, True).join(('#', '')))
            else: out.append(m[0])
        out.append(text[at:] if inside else self.sentence(text[at:], doc, shown))
        return ''.join(out).replace(' ± ', PLUS_MINUS)

    def picture(self, link, here, doc):
        "A picture that Sphinx copies: its path as seen from the document."
        if SCHEME.match(link):
            self.problems.append(f'{here}: the picture {link!r} lies on another host, commit it and refer to the file')
            return link
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), unquote(link)))
        if not (self.root/target).is_file(): self.problems.append(f'{here}: the picture {link!r} is not there, correct the path')
        else: self.files.add(target)
        return posixpath.relpath(target, posixpath.dirname(doc) or '.')

    def notebook(self, page):
        "The cells of a notebook as a reader of the site sees them."
        nb, here = self.read(page), f'nbs/{page}.ipynb'
        shown = {int(n) for c in nb['cells'] if c['cell_type'] == 'markdown' for n in re.findall(r'\\tag\{(\d+)\}', join(c['source']))}
        module, figures, out = module_of(nb), 0, []
        for n, raw in enumerate(nb['cells'], 1):
            if raw['cell_type'] == 'raw' or 'hide' in raw.get('metadata', {}).get('tags', ()): continue
            if raw['cell_type'] == 'markdown':
                if join(raw['source']).startswith(f'{MARK}caption'): continue
                source = self.markdown(join(raw['source']), here, page, shown)
                if made(raw) and 'way -->' in source: source = way(source)
                out.append(markdown_cell(source, raw))
                continue
            c = read_cell(n, raw)
            if hidden(c): continue
            if draws(c):
                figures += 1
                if not caption_of(raw): self.problems.append(f"{here} cell {n} ({c.id}): a figure without a caption, add `#| fig-cap: \"what is seen\"`")
            out += self.code(c, raw, here, page, figures, module)
        fold_solutions(out)
        return nb | dict(cells=out, metadata=dict(kernelspec=dict(display_name='Python 3', language='python', name='python3'), language_info=dict(name='python')))

    def code(self, c, raw, here, page, figure, module):
        "One code cell: its source without `#|` lines, its outputs, and how it is shown."
        source = '\n'.join(l for l in c.source.split('\n') if not re.match(r'\s*#\|', l)).strip('\n')
        tags, options, cells = [t for t in c.tags if t in ('solution',)], {}, []
        outputs = [] if c.directives.get('output') == 'false' else [o for o in c.outputs if o.get('name') != 'stderr']
        if c.directives.get('echo') == 'false' or not source:
            tags.append('remove-input')
        elif only_imports(c):
            tags.append('hide-input')
            label = f"Imports of {'the module' if c.exported else 'this page'}"
            options |= dict(code_prompt_show=label, code_prompt_hide=label)
        elif c.directives.get('code-fold') in ('true', 'show'):
            tags.append('hide-input')
            options |= dict(code_prompt_show='Show the code', code_prompt_hide='Hide the code')
        if c.exported: tags.append('exported')
        kept = []
        for n, o in enumerate(outputs):
            data = dict(o.get('data', {}))
            if 'text/markdown' in data:
                cells.append(markdown_cell(f"<div class=\"made\">\n\n{self.markdown(join(data['text/markdown']), here, page)}\n\n</div>", dict(id=f'{c.id}-md' + (f'-{n}' if n else ''))))
                continue
            if 'text/html' in data: o = o | dict(data=data | {'text/html': self.output_html(join(data['text/html']), here, page)})
            kept.append(o)
        if draws(c):
            caption = self.markdown(caption_of(raw), here, page)
            name = c.directives.get('label', '')
            options['figure'] = dict(caption=f'<span id="{name}" class="figure-number">Figure {figure}</span> {caption}')
            options['image'] = dict(alt=plain(caption_of(raw)))
        code = dict(cell_type='code', id=c.id, execution_count=None, source=source.splitlines(keepends=True), outputs=kept,
            metadata=dict(tags=tags) | (dict(mystnb=options) if options else {}))
        if 'remove-input' in tags and not kept: return cells
        known = [i.name for i in self.modules[module].items] if module in self.modules else []
        names = [n for n in defines(c) if n in known] if c.exported else []
        return [*([package_line(names, module, page, c.id)] if names else []), code, *cells]

    def output_html(self, text, here, page):
        "HTML that a cell displayed: links led to their place, no style or script of its own."
        text = re.sub(r'<(style|script)\b.*?</\1>\s*', '', text, flags=re.S | re.I).replace(' ± ', PLUS_MINUS)
        return re.sub(r'\b(src|href)="([^"]+)"', lambda a: f'{a[1]}="{self.url(html.unescape(a[2]), here, page) if not a[2].startswith("data:") else a[2]}"', text)


def hidden(c): return bool({'hide', 'default_exp'} & c.directives.keys()) or c.directives.get('include') == 'false'


def draws(c): return any(k.startswith('image/') for o in c.outputs for k in o.get('data', {}))


def only_imports(c): return c.tree is not None and bool(c.tree.body) and all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in c.tree.body)


def defines(c):
    "The functions and classes that a cell defines."
    return [n.name for n in c.tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))] if c.tree is not None else []


def package_line(names, module, page, id):
    "The line above exported code: where it is found in the package."
    way = posixpath.relpath(f'api/{module}', posixpath.dirname(page) or '.')
    links = ', '.join(f'<a href="{way}.html#{site_api.anchor(n)}"><code>{n}</code></a>' for n in names)
    return markdown_cell(f'<p class="of-package">In the package, <code>sparseattnnet.{module}</code>: {links}</p>', dict(id=f'{id}-api'))


def module_of(nb):
    for c in nb['cells']:
        if c['cell_type'] == 'code' and (m := re.search(r'^#\|\s*default_exp\s+([\w.]+)', join(c['source']), re.M)): return m[1]
    return None


def markdown_cell(source, like):
    return dict(cell_type='markdown', id=like['id'], metadata=dict(tags=[t for t in like.get('metadata', {}).get('tags', ()) if t == 'solution']), source=source.splitlines(keepends=True))


def way(source):
    "The line that says where the reader is; the site has buttons for the previous and the next page."
    parts = source.split('\n')[1:]
    return '<div class="way">\n\n' + '\n'.join(parts) + '\n\n</div>'


def fold_solutions(cells):
    "Fold the solution cells, each exercise by itself: a run of them ends where its check is called."
    i = 0
    while i < len(cells):
        if 'solution' not in cells[i]['metadata'].get('tags', ()):
            i += 1
            continue
        j, numbers = i, []
        while j < len(cells) and 'solution' in cells[j]['metadata'].get('tags', ()) and not numbers:
            numbers = CHECK.findall(join(cells[j]['source'])) if cells[j]['cell_type'] == 'code' else []
            j += 1
        first = cells[i]['id']
        label = f'Solution of exercise {numbers[0][0]}' if numbers else 'A solution'
        cells[i:i] = [markdown_cell(f'<details class="solution"><summary>{label}</summary>', dict(id=f'{first}-open'))]
        cells[j + 1:j + 1] = [markdown_cell('</details>', dict(id=f'{first}-close'))]
        i = j + 2


def equation(block):
    "A displayed equation with its number in the paper, and places that links can name."
    body = block.strip('$').strip()
    numbers = re.findall(r'\\tag\{(\d+)\}', body)
    if not re.match(r'\\begin\{(align|equation|gather)\*?\}', body): body = f'\\begin{{equation*}}\n{body}\n\\end{{equation*}}' if not numbers else f'\\begin{{equation}}\n{body}\n\\end{{equation}}'
    places = ''.join(f'<span id="eq-{n}" class="equation-place"></span>' for n in numbers)
    body = re.sub(r'\n\s*\n', '\n', body)
    return (f'\n\n{places}' if places else '') + f'\n\n```{{math}}\n:nowrap:\n\n{body}\n```\n\n'


def missing_course(site): return [p.path for p in COURSE if p.path not in site.notebooks]


def toctree(entries, caption='', **options):
    lines = [f':caption: {caption}'] if caption else []
    lines += [f":{k.replace('_', '-')}:{'' if v is True else f' {v}'}" for k, v in options.items()]
    return '\n'.join(['```{toctree}', *lines, '', *(f'{name} </{to}>' for name, to in entries), '```'])


def one_line(nb):
    "What stands under the title of a page."
    m = re.search(r'^> (.+)$', join(nb['cells'][0]['source']), re.M)
    return m[1] if m else ''


def contents(site):
    "The parts of the site as `{part: [(name, document)]}`, and the pages that list a group: `{document: (name, line, pages)}`."
    numbers = {p.path: i for i, p in enumerate(COURSE, 1)}
    placed = {p for part in PARTS.values() for p in part if isinstance(p, str)} | {'index'}
    groups, parts = {}, {}
    for part, entries in PARTS.items():
        parts[part] = []
        for e in entries:
            if isinstance(e, str):
                if e not in site.notebooks: continue
                name = short(title(site.root, e))
                parts[part].append((f'{numbers[e]}. {name}' if e in numbers else name, e))
                continue
            name, folder, line, room = e
            pages = [p for p in site.notebooks if p.startswith(f'{room}/') and p not in placed]
            placed |= set(pages)
            if not pages: continue
            groups[f'{folder}/index'] = (name, line, pages)
            parts[part].append((name, f'{folder}/index'))
    rest = [p for p in site.notebooks if p not in placed]
    if not missing_course(site): parts['The course'].append(('For the teacher', 'teacher'))
    parts['The library'].append(('API reference', 'api/index'))
    parts['Results'].append(('Files of results', 'outputs/reference/index'))
    parts[PROJECT] = [(short(title(site.root, p)), p) for p in rest] + [(name, p[:-3]) for p, name in TEXTS.items() if (site.root/p).exists()]
    return parts, groups


def doors(site, parts, demo):
    "The ways into the site, on the front page."
    first = {part: next((to for _, to in entries if to != 'in_your_browser'), None) for part, entries in parts.items()}
    ways = [('The course', f'{len([p for p in COURSE if p.path in site.notebooks])} pages, from a pixel to the verdict, with exercises', first['The course']),
        ('Results', 'the paper\'s tables, its claims one by one, and where it is ambiguous', first['Results']),
        ('Use it', 'your own folder of images: train, predict, report', first['Use it']),
        ('Reference', 'every public function, from its docstring', 'api/index')]
    if demo: ways.insert(1, ('In your browser', 'a trained model on your own machine; no image leaves it', f'{DEMO}/index'))
    return '<div class="doors">' + ''.join(f'<a href="{to}.html"><strong>{name}</strong>{line}</a>' for name, line, to in ways if to) + '</div>'


def write(to, name, text):
    path = to/name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')


def write_all(root, to, demo=False):
    "Write the sources of the site into a folder; gives the number of pages. Raises SiteError with everything that is wrong."
    site = Site(root)
    parts, groups = contents(site)
    if demo:
        parts['Use it'].insert(0, ('In your browser', 'in_your_browser'))
        write(to, 'in_your_browser.md', f'# In your browser\n\n> A trained model runs on your machine. No image leaves it.\n\n[Open the demonstration](page:{DEMO}/index.html)\n')
    for page in site.notebooks:
        nb = site.notebook(page)
        if page == 'index':
            trees = '\n\n'.join(toctree(entries, part, hidden=True) for part, entries in parts.items() if entries)
            nb['cells'].insert(2, markdown_cell(doors(site, parts, demo), dict(id='doors')))
            nb['cells'].append(markdown_cell(trees, dict(id='contents-of-site')))
        write(to, f'{page}.ipynb', json.dumps(nb, ensure_ascii=False, indent=1))
    for doc, (name, line, pages) in groups.items():
        rows = [f'- [{plain(title(root, p))}](page:{posixpath.relpath(p, posixpath.dirname(doc))}.html)<br>{site.markdown(one_line(site.read(p)), f"nbs/{p}.ipynb", doc)}' for p in pages]
        write(to, f'{doc}.md', f'# {name}\n\n> {line}\n\n' + '\n'.join(rows) + '\n\n' + toctree([(short(title(root, p)), p) for p in pages], hidden=True) + '\n')
    for path in TEXTS:
        if (root/path).exists(): write(to, path, site.markdown((root/path).read_text(encoding='utf-8'), path, path[:-3]))
    if not missing_course(site): write(to, 'teacher.md', site.markdown(teacher_note(root), 'nbs/teacher.md', 'teacher'))
    results(site, to)
    for name, text in site_api.pages(site.modules, {module_of(site.read(p)): p for p in site.notebooks}): write(to, f'api/{name}.md', site.markdown(text, f'api/{name}.md', f'api/{name}'))
    for path in sorted(site.sources):
        suffix = Path(path).suffix
        text = (root/path).read_text(encoding='utf-8')
        fence = '`'*max(3, 1 + max((len(m) for m in re.findall('`+', text)), default=0))
        write(to, f"files/{path if suffix else path + '.txt'}.md", f'---\norphan: true\n---\n# {Path(path).name}\n\n`{path}`, a file of the project.\n\n{fence}{SHOWN[suffix]}\n{text.rstrip()}\n{fence}\n')
    for path in sorted(site.files):
        for base in (to, to/'_extra'):
            (base/path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root/path, base/path)
    if site.problems: raise SiteError('\n'.join(dict.fromkeys(site.problems)))
    return len(list(to.rglob('*.ipynb'))) + len(list(to.rglob('*.md')))


def file_title(stem):
    "The name of a committed table as words."
    words = re.sub(r'^table(\d)', r'table \1', stem).replace('_', ' ')
    return words[:1].upper() + words[1:]


def results(site, to):
    "A page for each table of outputs/reference, and one that lists all files there."
    root, folder = site.root, 'outputs/reference'
    found = sorted(p.name for p in (root/folder).glob('*') if p.is_file() and p.suffix in ('.md', '.csv', '.svg', '.png', '.tex', '.json', '.gz')) if (root/folder).exists() else []
    stems = {}
    for name in found: stems.setdefault(name.split('.')[0], []).append(name)
    rows = []
    for stem, names in stems.items():
        others = [n for n in names if not n.endswith('.md')]
        site.files |= {f'{folder}/{n}' for n in others}
        links = [f"[{n.split('.', 1)[1]}](page:{n})" for n in others]
        if f'{stem}.md' in names:
            name = f'{folder}/{stem}'
            text = site.markdown((root/f'{name}.md').read_text(encoding='utf-8'), f'{name}.md', name)
            above = ' · '.join(['[Files of results](page:index.html)', *links])
            write(to, f'{name}.md', f'---\norphan: true\n---\n# {file_title(stem)}\n\n{above}\n\n{text}\n')
            links.insert(0, f'[read](page:{stem}.html)')
        rows.append(f'| `{stem}` | ' + ' · '.join(links) + ' |')
    head = '# Files of results\n\n> Every table and figure that is committed: to read here, or to load elsewhere.\n\n'
    write(to, f'{folder}/index.md', head + '| name | as |\n|:--|:--|\n' + '\n'.join(rows) + '\n')


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('folder', type=Path, help='where the sources go; it must be new or empty')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    ap.add_argument('--demo', action='store_true', help='link the demonstration, which lies in demo/ of the site')
    a = ap.parse_args(argv)
    if a.folder.exists() and any(a.folder.iterdir()): sys.exit(f'{a.folder} is not empty: name a new folder')
    try: n = write_all(a.root.resolve(), a.folder, a.demo)
    except SiteError as e: sys.exit(str(e))
    print(f'{n} pages in {a.folder}')


if __name__ == '__main__': main()
