"""The demonstration's tools: what they fetch is pinned and names no registry, and what is missing is said.
The page itself is tested by `make test-demo`, in a browser."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT/'tools/demo'


def run(tool, path, *args, **env):
    env = os.environ | dict(PATH=str(path), PYTHONPATH=str(ROOT)) | env
    return subprocess.run([sys.executable, '-B', DEMO/tool, *args], capture_output=True, text=True, env=env)


@pytest.fixture
def programs(tmp_path):
    "A folder on PATH with programs that do nothing."
    def make(*names):
        for n in names:
            (tmp_path/n).write_text('#!/bin/sh\n')
            (tmp_path/n).chmod(0o755)
        return tmp_path
    return make


def test_the_lock_file_pins_by_content_and_names_no_registry():
    lock = json.loads((DEMO/'package-lock.json').read_text(encoding='utf-8'))
    asked = json.loads((DEMO/'package.json').read_text(encoding='utf-8'))['dependencies']
    parts = {n: p for n, p in lock['packages'].items() if n}
    assert lock['packages']['']['dependencies'] == asked
    assert parts['node_modules/onnxruntime-web']['version'] == asked['onnxruntime-web']
    assert all(p['integrity'].startswith('sha512-') for p in parts.values())
    assert 'resolved' not in json.dumps(lock) and 'http' not in json.dumps(lock)
    assert 'omit-lockfile-registry-resolved=true' in (DEMO/'.npmrc').read_text()


def test_the_page_asks_for_nothing_that_the_build_does_not_bring():
    sys.path.insert(0, str(DEMO))
    try: import build
    finally: sys.path.remove(str(DEMO))
    there = {*build.PAGE, *build.RUNTIME.values(), 'data.json'}
    for name in build.PAGE:
        text = (DEMO/name).read_text(encoding='utf-8')
        found = re.findall(r"(?:from |new URL\(|href=|src=)['\"]([^'\"]+\.(?:js|css|json|wasm))['\"]", text)
        assert {f.removeprefix('./') for f in found} <= there, name
        assert not re.search(r"(?:src|href|from|fetch\(|URL\()\s*=?\s*['\"](?:https?:|/)", text), name
    assert build.without_map(b'code\n//# sourceMappingURL=code.js.map') == b'code\n'
    assert build.without_map(b'\0asm') == b'\0asm'


@pytest.mark.parametrize('there, lacks', [
    ((), 'no node and no npm and no Chromium'), (('node', 'npm'), 'no Chromium'),
    (('chromium',), 'no node and no npm')])
def test_tests_say_that_they_skip_and_count_nothing(programs, there, lacks):
    p = run('check.py', programs(*there), CHROMIUM='')
    said = f'skipped, not passed: the tests of the demonstration; here is {lacks}\n'
    assert (p.returncode, p.stdout) == (0, said), p.stderr
    assert not re.search(r'\d+ passed', p.stdout.replace('not passed', ''))


def test_a_build_without_node_says_what_to_install(programs, tmp_path):
    p = run('build.py', programs(), '--out', tmp_path/'out/demo')
    assert p.returncode == 1 and 'install Node 18 or newer' in p.stdout and not p.stderr
    assert not (tmp_path/'out/demo').exists()
