#!/usr/bin/env python3
"""Build the web site into build/site: pages, Sphinx, then a check of every link, asset and caption. `make site` calls this.

    .venv-site/bin/python tools/build_site.py [--out FOLDER] [--demo FOLDER]
    python tools/build_site.py --check FOLDER

The site is built in a folder of its own and moved into place only when it is whole and sound. If build/demo exists
(made by `make demo`), it becomes demo/ of the site. `--check` looks at a built site and needs Python alone."""
import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import site_pages  # noqa: E402

HERE = Path(__file__).resolve().parent
MATHJAX = ('tex-chtml-full.js', 'a11y/assistive-mml.js')  # and the fonts
ASSETS = {'script': 'src', 'img': 'src', 'source': 'src', 'iframe': 'src', 'video': 'src', 'audio': 'src', 'embed': 'src', 'object': 'data'}
LOADED = {'stylesheet', 'icon', 'preload', 'modulepreload', 'prefetch', 'shortcut', 'dns-prefetch', 'preconnect', 'manifest'}  # of <link rel>
FORBIDDEN = re.compile(r'''(?:@import\s+(?:url\()?|url\()\s*["']?((?:https?:)?//[^"')\s]+)''')


class Page(HTMLParser):
    "What a page links to, loads, and shows without a caption."
    def __init__(self, text):
        super().__init__()
        self.links, self.assets, self.places, self.bare, self.empty = [], [], set(), [], 0
        self.depth, self.figure, self.caption, self.output = 0, 0, None, []
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.places |= {v for k, v in a.items() if k == 'id' or (k == 'name' and tag == 'a')}
        if tag == 'a' and 'href' in a: self.links.append(a['href'] or '')
        if tag == 'link' and LOADED & set((a.get('rel') or '').split()): self.assets.append(a.get('href') or '')
        if tag in ASSETS and a.get(ASSETS[tag]): self.assets.append(a[ASSETS[tag]])
        if 'srcset' in a: self.assets += [part.split()[0] for part in a['srcset'].split(',') if part.strip()]
        if tag in ('img', 'br', 'hr', 'input', 'meta', 'link', 'source', 'wbr', 'col', 'area', 'embed', 'track'):
            if tag == 'img': self.image(a)
            return
        self.open.append((tag, a.get('class') or ''))
        if tag == 'figure': self.text = None
        if tag == 'figcaption': self.text = ''

    def image(self, a):
        inside = [t for t, _ in self.open]
        shown = any('cell_output' in c for _, c in self.open)
        if shown and 'figure' not in inside: self.bare.append(a.get('src', ''))
        elif 'alt' not in a: self.bare.append(a.get('src', ''))

    def handle_endtag(self, tag):
        if tag not in [t for t, _ in self.open]: return
        while self.open.pop()[0] != tag: pass
        if tag == 'figure' and not (getattr(self, 'text', None) or '').strip(): self.empty += 1

    def handle_data(self, data):
        if any(t == 'figcaption' for t, _ in self.open): self.text = (self.text or '') + data


def inside(site, page, link):
    "The file of the site that a link of a page leads to, and the place in it; None for another host."
    parts = urlsplit(link)
    if parts.scheme or parts.netloc: return None
    path = unquote(parts.path)
    to = (site/page).parent/path if path else site/page
    to = Path(os.path.normpath(to))
    if path.endswith('/') or to.is_dir(): to /= 'index.html'
    return to, unquote(parts.fragment)


def check(site):
    "Everything that is wrong with a built site, and `(page, link)` for every link that was followed."
    pages = {p.relative_to(site).as_posix(): Page(p.read_text(encoding='utf-8')) for p in sorted(site.rglob('*.html'))}
    problems, followed, elsewhere = [], [], set()
    if not pages: return [f'{site} holds no page, build the site first'], [], []
    for name, page in pages.items():
        for link in page.links + page.assets:
            if link.startswith(('data:', 'mailto:', 'javascript:')) or not link: continue
            asset = link in page.assets
            if (to := inside(site, name, link)) is None:
                if asset: problems.append(f'{name} loads {link} from another host, ship it with the site')
                else: elsewhere.add(link)
                continue
            file, place = to
            followed.append((name, link))
            if not file.is_relative_to(site): problems.append(f'{name}: {link} leads out of the site')
            elif not file.is_file(): problems.append(f'{name}: {link} leads to nothing')
            elif place and file.suffix == '.html':
                there = pages.get(file.relative_to(site).as_posix())
                if there and place not in there.places and not place.startswith('/'): problems.append(f'{name}: {link} names a place that is not on that page')
        if not name.startswith('demo/'):
            problems += [f'{name}: the picture {src} has no caption and no description' for src in page.bare]
            if page.empty: problems.append(f'{name}: {page.empty} figure(s) without a caption')
    for f in sorted(site.rglob('*.css')):
        for m in FORBIDDEN.finditer(f.read_text(encoding='utf-8')): problems.append(f'{f.relative_to(site)} loads {m[1]} from another host')
    return problems, followed, sorted(elsewhere)


def copy_mathjax(to):
    "MathJax's program and fonts out of the package that brings them."
    # The package's name holds hyphens, so it cannot be imported by a statement.
    found = importlib.util.find_spec('sphinx-mathjax-offline')
    if found is None: sys.exit('sphinx-mathjax-offline is not installed: pip install -r tools/site/requirements.txt')
    source = Path(found.origin).parent/'static/mathjax'
    for name in (*MATHJAX, *(p.relative_to(source).as_posix() for p in (source/'output/chtml/fonts/woff-v2').glob('*.woff'))):
        (to/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source/name, to/name)


def say(text): print(text, flush=True)


def size(folder): return sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())


def build(root, out, demo, jobs):
    "Build and check; gives the exit status."
    t0, work = time.monotonic(), out.with_name(f'.{out.name}.{os.getpid()}')
    source, made = work/'source', work/'html'
    try:
        source.mkdir(parents=True)
        say('[1/4] writing the pages')
        with_demo = (demo/'index.html').is_file()
        n = site_pages.write_all(root, source, with_demo)
        (source/'_extra').mkdir(exist_ok=True)
        shutil.copy(HERE/'site/conf.py', source)
        static = source/'_static_of_site'
        copy_mathjax(static/'mathjax')
        for name in ('site.css', 'icon.svg'): shutil.copy(HERE/'site'/name, static)
        (source/'_templates').mkdir()
        shutil.copy(HERE/'site/layout.html', source/'_templates')
        say(f'[2/4] Sphinx builds {n} pages')
        rc = subprocess.run([sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-j', str(jobs), '-b', 'html', '-d', str(work/'doctrees'), str(source), str(made)]).returncode
        if rc: raise site_pages.SiteError('Sphinx found what stands above: mend the page that each line names')
        # Inventory, build notes and templates of the theme: nothing that a reader opens.
        for p in (made/'objects.inv', made/'.buildinfo', *(made/'_static').glob('*macros.html')): p.unlink(missing_ok=True)
        (made/'.nojekyll').touch()
        if with_demo: shutil.copytree(demo, made/site_pages.DEMO)
        say('[3/4] following every link' + ('' if with_demo else f'; no demonstration, as {demo} does not exist (make demo)'))
        problems, followed, elsewhere = check(made)
        if problems: raise site_pages.SiteError('\n'.join(problems))
        (out.parent).mkdir(parents=True, exist_ok=True)
        listed = out.with_name(f'{out.name}-links.txt')
        listed.write_text('\n'.join([f'{p} -> {l}' for p, l in followed] + ['', 'To other hosts, not followed:', *elsewhere]) + '\n', encoding='utf-8')
        say('[4/4] moving the site into place')
        old = work/'old'
        if out.exists(): os.replace(out, old)
        os.replace(made, out)
    except site_pages.SiteError as e:
        say(str(e))
        say(f'The site was not built: {len(str(e).splitlines())} problem(s)')
        return 1
    finally: shutil.rmtree(work, ignore_errors=True)
    say(f'{n} pages, {len(followed)} links followed ({listed}), {len(elsewhere)} to other hosts not followed, {size(out)/1e6:.1f} MB, {time.monotonic() - t0:.0f} s')
    say(f'Open {out}/index.html')
    return 0


def main(argv=None):
    root = HERE.parent
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--root', type=Path, default=root, help='the project (default: this one)')
    ap.add_argument('--out', type=Path, help='where the site goes (default: build/site of the project)')
    ap.add_argument('--demo', type=Path, help='a built demonstration (default: build/demo of the project)')
    ap.add_argument('--jobs', type=int, default=1, help='processes of Sphinx (default: 1)')
    ap.add_argument('--check', type=Path, metavar='FOLDER', help='check a site that was built before')
    a = ap.parse_args(argv)
    if a.check:
        problems, followed, elsewhere = check(a.check)
        for p in problems: say(p)
        say(f'{len(followed)} links followed, {len(elsewhere)} to other hosts not followed, {len(problems)} problem(s)')
        return int(bool(problems))
    root = a.root.resolve()
    return build(root, (a.out or root/'build/site').resolve(), (a.demo or root/'build/demo').resolve(), a.jobs)


if __name__ == '__main__': sys.exit(main())
