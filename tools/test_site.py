#!/usr/bin/env python3
"""Open the built site in headless Chromium, at desktop and phone width, with every other host cut off. `make test-site`.

    .venv-site/bin/python tools/test_site.py [FOLDER] [--only PART] [--pictures FOLDER] [--may-skip]

Every page is opened on a phone: nothing may scroll sideways, every equation must be drawn, no request may fail or leave
the site, and the console stays silent. Some pages are then used as a reader uses them: search, light and dark, a
solution, an equation's link, the next page. The last line is `N passed, N failed`. The browser is the machine's own:
CHROMIUM=/path, or chromium, chromium-browser, google-chrome. `--may-skip` makes its absence no failure."""
import argparse
import functools
import os
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')
ARGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync']
DESKTOP, PHONE = dict(width=1280, height=900), dict(width=390, height=844)
PICTURES = ('index', 'method/03_coarse', 'paper/claims', 'paper/ambiguities', 'api/method.coarse', 'use/classifier')
DRAWN = """() => ({wide: document.documentElement.scrollWidth - window.innerWidth,
  asked: document.querySelectorAll('.math').length, drawn: document.querySelectorAll('.math mjx-container').length,
  wrong: [...document.querySelectorAll('mjx-merror')].map(e => e.textContent).slice(0, 3),
  broken: [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src).slice(0, 3)})"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_): pass


class Tests:
    "Counts what passed and failed, and watches what a page asks for."
    def __init__(self, browser, base, pictures): self.browser, self.base, self.pictures, self.passed, self.failed = browser, base, pictures, 0, []

    def add(self, ok, name, why=''):
        if ok: self.passed += 1
        else:
            self.failed.append(name)
            print(f'FAILED {name}: {why}', flush=True)

    def open(self, size, **kw):
        "A fresh window whose requests to other hosts are refused and remembered."
        context = self.browser.new_context(viewport=size, **kw)
        page = context.new_page()
        page.said = []

        def gate(route):
            url = route.request.url
            if url.startswith((self.base, 'data:', 'blob:')): return route.continue_()
            page.said.append(f'asks another host: {url}')
            return route.abort()

        context.route('**/*', gate)
        page.on('console', lambda m: page.said.append(f'{m.type}: {m.text}') if m.type in ('error', 'warning') else None)
        page.on('pageerror', lambda e: page.said.append(f'error: {e}'))
        page.on('response', lambda r: page.said.append(f'{r.status}: {r.url}') if r.status >= 400 else None)
        return page

    def visit(self, page, name):
        page.said.clear()
        page.goto(self.base + name, wait_until='load')
        page.evaluate("() => window.MathJax && MathJax.startup && MathJax.startup.promise")

    def every(self, names):
        "Each page on a phone."
        page = self.open(PHONE)
        for i, name in enumerate(names, 1):
            try:
                self.visit(page, name)
                seen = page.evaluate(DRAWN)
                why = [*page.said]
                if seen['wide'] > 0: why.append(f"scrolls sideways by {seen['wide']} pixels")
                if seen['asked'] != seen['drawn']: why.append(f"{seen['asked']} equations, {seen['drawn']} drawn")
                if seen['wrong']: why.append(f"equations with an error: {seen['wrong']}")
                if seen['broken']: why.append(f"pictures that do not load: {seen['broken']}")
                self.add(not why, name, '; '.join(why))
            except Exception as e: self.add(False, name, f'{type(e).__name__}: {e}')
            if i % 20 == 0 or i == len(names): print(f'  {i}/{len(names)} pages', flush=True)
        page.context.close()

    def used(self, name, f, size=DESKTOP, **kw):
        "One thing that a reader does."
        page = self.open(size, **kw)
        try:
            why = f(page)
            self.add(not why and not page.said, name, why or '; '.join(page.said))
        except Exception as e: self.add(False, name, f'{type(e).__name__}: {e}')
        page.context.close()

    def search(self, page):
        self.visit(page, 'index.html')
        page.keyboard.press('Control+k')
        page.keyboard.type('contrastive loss')
        page.keyboard.press('Enter')
        page.wait_for_selector('#search-results li a', timeout=20_000)
        found = page.locator('#search-results li a').all_inner_texts()
        return '' if any('osses' in t for t in found) else f'found {found[:5]}'

    def theme(self, page):
        self.visit(page, 'index.html')
        shade = lambda: page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        seen = set()
        for theme in ('dark', 'light'):
            page.locator('.theme-switch-button:visible').first.click()
            page.locator(f'.theme-change-button:visible:has([data-mode="{theme}"]), .theme-change-button:visible[data-mode="{theme}"]').first.click()
            seen.add((page.evaluate("() => document.documentElement.dataset.theme"), shade()))
        themes = {t for t, _ in seen}
        return '' if themes == {'light', 'dark'} and len({s for _, s in seen}) == 2 else f'saw {seen}'

    def solution(self, page):
        self.visit(page, 'method/03_coarse.html')
        fold = page.locator('details.solution').first
        if fold.locator('.cell').first.is_visible(): return 'a solution is shown before it is asked for'
        fold.locator('summary').first.click()
        return '' if fold.locator('.cell').first.is_visible() else 'a solution does not open'

    def equation(self, page):
        self.visit(page, 'method/12_complexity.html')
        link = page.locator('.bd-article a[href*="#eq-"]').first
        to = link.get_attribute('href').split('#')[1]
        link.click()
        page.wait_for_load_state('load')
        place = page.locator(f'[id="{to}"]')
        return '' if place.count() == 1 and page.url.endswith(f'#{to}') else f'{to} is not on {page.url}'

    def onward(self, page):
        self.visit(page, 'method/01_pixels.html')
        seen = ['method/01_pixels.html']
        for _ in range(12):
            page.locator('a.right-next').first.click()
            page.wait_for_load_state('load')
            seen.append(page.url.removeprefix(self.base).split('#')[0])
        return '' if seen[-1] == 'method/13_printed.html' and len(set(seen)) == 13 else f'went through {seen}'

    def menu(self, page):
        self.visit(page, 'method/03_coarse.html')
        page.locator('button.primary-toggle:visible').first.click()
        page.wait_for_timeout(600)
        return '' if page.locator('.bd-links a:visible').count() > 10 else 'the contents do not open on a phone'

    def take(self, folder, names):
        "Pictures of some pages, for a person to look at."
        folder.mkdir(parents=True, exist_ok=True)
        for size, label, kw in ((DESKTOP, 'desktop', {}), (PHONE, 'phone', {}), (DESKTOP, 'dark', dict(color_scheme='dark'))):
            page = self.open(size, **kw)
            for name in names:
                self.visit(page, f'{name}.html')
                page.screenshot(path=folder/f"{name.replace('/', '-')}-{label}.png")
            page.context.close()


def find_browser():
    "The machine's Chromium, '' where there is none."
    named = os.environ.get('CHROMIUM', '')
    if named: return named if Path(named).is_file() else sys.exit(f'CHROMIUM={named}: no such file, name the browser itself')
    return next((p for n in BROWSERS if (p := shutil.which(n))), '')


def main(argv=None):
    root = Path(__file__).resolve().parents[1]
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('folder', type=Path, nargs='?', default=root/'build/site', help='the built site')
    ap.add_argument('--only', default='', metavar='PART', help='only pages whose path contains PART, and nothing else')
    ap.add_argument('--pictures', type=Path, metavar='FOLDER', help='also put screenshots there')
    ap.add_argument('--may-skip', action='store_true', help='succeed without a test where there is no browser')
    a = ap.parse_args(argv)
    if not (a.folder/'index.html').is_file(): sys.exit(f'{a.folder} holds no site: run `make site`')
    if not (browser := find_browser()):
        print(f"skipped: no browser here, one of {', '.join(BROWSERS)}; name one with CHROMIUM=/path")
        return 0 if a.may_skip else 1
    from playwright.sync_api import sync_playwright
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=a.folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The demonstration has tests of its own.
    names = sorted(n for p in a.folder.rglob('*.html') if a.only in (n := p.relative_to(a.folder).as_posix()) and not n.startswith('demo/'))
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=browser, args=ARGS)
        t = Tests(b, f'http://127.0.0.1:{server.server_port}/', a.pictures)
        print(f'{len(names)} pages on a phone, {b.version}', flush=True)
        t.every(names)
        if not a.only:
            for name in ('search', 'theme', 'solution', 'equation', 'onward'): t.used(name, getattr(t, name))
            t.used('menu', t.menu, PHONE)
        if a.pictures: t.take(a.pictures, PICTURES)
        b.close()
    server.shutdown()
    print(f'{t.passed} passed, {len(t.failed)} failed')
    return int(bool(t.failed) or not t.passed)


if __name__ == '__main__': sys.exit(main())
