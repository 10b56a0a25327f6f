#!/usr/bin/env python3
"""The widgets of nbs/your_cells.ipynb in a real browser: run all cells, move k by the keyboard, mark a label, look at it.

    python tools/try_widgets.py [--chromium PATH] [--pictures FOLDER] [--limit 600]

JupyterLab runs headless on a free port of this machine, on a copy of the page in a temporary folder. Without Chromium or
without the package playwright (`pip install playwright`; it needs no browser of its own) it says so and skips. With
--pictures it keeps screenshots, to be looked at by a person. The page simulates its images; some minutes."""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
PAGE = 'nbs/your_cells.ipynb'
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
SETTINGS = {'@jupyterlab/notebook-extension/tracker': {'windowingMode': 'none'},
    '@jupyterlab/apputils-extension/notification': {'fetchNews': 'false', 'checkForUpdates': False}}
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking']


def say(text): print(text, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Lab:
    "JupyterLab on a copy of the page."
    def __init__(self, home, limit):
        self.home, self.port, self.end = home, free_port(), time.monotonic() + limit
        (home/'work').mkdir()
        shutil.copy(ROOT/PAGE, home/'work/page.ipynb')
        for name, values in SETTINGS.items():
            file = home/'settings'/f'{name}.jupyterlab-settings'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        env = os.environ | dict(PYTHONPATH=str(ROOT), JUPYTERLAB_SETTINGS_DIR=str(home/'settings'), TMPDIR=str(home), HOME=str(home), OMP_NUM_THREADS='1')
        self.log = open(home/'lab.log', 'w')
        self.p = subprocess.Popen([sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', f'--port={self.port}', '--ServerApp.port_retries=0',
            '--IdentityProvider.token=', '--ServerApp.password=', f'--ServerApp.root_dir={home/"work"}'], cwd=home/'work', env=env,
            stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def url(self): return f'http://127.0.0.1:{self.port}'

    def ready(self):
        while time.monotonic() < self.end and self.p.poll() is None:
            try:
                with urlopen(f'{self.url}/api/status', timeout=2): return
            except OSError: time.sleep(.3)
        raise SystemExit(f"JupyterLab did not start:\n{(self.home/'lab.log').read_text()[-2000:]}")

    def close(self):
        if self.p.poll() is None: os.killpg(self.p.pid, signal.SIGTERM)
        try: self.p.wait(20)
        except subprocess.TimeoutExpired: os.killpg(self.p.pid, signal.SIGKILL)
        self.log.close()


def run_all(page, lab):
    "Run all cells by the menu, and wait for the last one."
    page.goto(f'{lab.url}/lab/tree/page.ipynb?reset')
    page.wait_for_selector('.jp-Notebook .jp-Cell', timeout=90_000)
    prompts = lambda: [s.strip() for s in page.locator('.jp-CodeCell .jp-InputPrompt').all_inner_texts()]
    for _ in range(20):  # what is clicked before the kernel has answered is lost
        page.wait_for_timeout(3000)
        page.click('#jp-MainMenu .lm-MenuBar-itemLabel >> text="Run"')
        page.click('.lm-Menu-itemLabel >> text="Run All Cells"')
        page.wait_for_timeout(3000)
        if any('*' in s or '1' in s for s in prompts()): break
    while time.monotonic() < lab.end:
        if errors := page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts():
            raise AssertionError(errors[0][-1500:])
        if all(re.fullmatch(r'\[\d+\]:', s) for s in prompts()): return len(prompts())
        page.wait_for_timeout(500)
    raise AssertionError(f'not done in time: {prompts()}')


def move_k(page, box, keys):
    "Focus the slider of k, press keys, and return what the picture's caption says before and after."
    said = lambda: re.search(r'selected: ([\d,]+) of', box.inner_text())[1]
    handle, before = box.locator('.noUi-handle').nth(1), said()
    handle.scroll_into_view_if_needed()
    handle.focus()
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(150)
    for _ in range(100):
        if said() != before: break
        page.wait_for_timeout(100)
    page.wait_for_timeout(700)
    return before, said()


def look(page, lab, keep):
    "Everything that a person would do, with an assertion after each step."
    n = run_all(page, lab)
    say(f'{n} cells have run')
    boxes = page.locator('.jp-OutputArea-output .widget-vbox')
    ex, pair, review = (boxes.nth(i) for i in range(3))
    assert boxes.count() >= 3, boxes.count()
    before, after = move_k(page, ex, ['ArrowLeft']*4)
    assert int(after.replace(',', '')) < int(before.replace(',', '')), (before, after)
    say(f'k moved by the keyboard: {before} to {after} pixels')
    keep(ex, 'explore')
    name = ex.inner_text().split(', label')[0]
    image = ex.locator('.noUi-handle').nth(0)
    image.focus()
    page.keyboard.press('ArrowRight')
    page.wait_for_timeout(1500)
    assert ex.inner_text().split(', label')[0] != name
    say('the next image is shown')
    pair.scroll_into_view_if_needed()
    assert pair.locator('figure').count() == 8, pair.locator('figure').count()
    move_k(page, pair, ['ArrowRight']*3)
    keep(pair, 'compare')
    review.scroll_into_view_if_needed()
    if 'No mistakes' not in review.inner_text():
        review.locator('select').select_option(index=1)
        review.get_by_role('button', name='wrong label').click()
        page.wait_for_timeout(1500)
        assert 'Written' in review.inner_text() and '1 marked, 1 of them as wrong' in review.inner_text(), review.inner_text()
        (table,) = lab.home.rglob('marked_labels.csv')
        assert len(table.read_text().splitlines()) == 2
        say('a label is marked, in a table of its own')
    keep(review, 'review')


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--chromium', default='', help='the browser (default: found by itself)')
    ap.add_argument('--pictures', default='', help='folder for screenshots')
    ap.add_argument('--limit', type=float, default=600, help='seconds')
    a = ap.parse_args()
    browser = a.chromium or next((p for p in map(shutil.which, BROWSERS) if p), '')
    if not browser: return say('skipped: no Chromium on this machine (Debian, Ubuntu: apt install chromium)')
    try: from playwright.sync_api import sync_playwright
    except ImportError: return say(f'skipped: playwright is not installed for {Path(sys.executable).name} (pip install playwright)')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('stopped'))
    with tempfile.TemporaryDirectory(prefix='widgets-') as temp:
        lab = Lab(Path(temp), a.limit)
        try:
            lab.ready()
            with sync_playwright() as p:
                page = p.chromium.launch(executable_path=browser, args=FLAGS).new_page(viewport=dict(width=1500, height=1000))
                def keep(box, name):
                    if a.pictures:
                        Path(a.pictures).mkdir(parents=True, exist_ok=True)
                        box.screenshot(path=str(Path(a.pictures)/f'{name}.png'))
                try: look(page, lab, keep)
                except Exception:
                    if a.pictures: page.screenshot(path=str(Path(a.pictures)/'failed.png'))
                    raise
        finally: lab.close()
    say('the widgets work')


if __name__ == '__main__': main()
