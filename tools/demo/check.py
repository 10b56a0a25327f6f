#!/usr/bin/env python3
"""Build the demonstration and test it in headless Chromium: what `make test-demo` runs.

    python tools/demo/check.py [pytest options]

Without Node or without Chromium it says so, tests nothing and counts nothing. CHROMIUM=path names a browser. The tests
have an environment of their own, .venv-browser, made from tools/browser-requirements.txt. Screenshots and milliseconds
go to build/demo-shots. The last line is `N passed, N failed`."""
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import build  # noqa: E402

ROOT = build.ROOT
VENV, NEEDS = ROOT/'.venv-browser', ROOT/'tools/browser-requirements.txt'
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')


def browser():
    "Path of Chromium or Chrome, or None."
    named = os.environ.get('CHROMIUM')
    return shutil.which(named) if named else next(filter(None, map(shutil.which, BROWSERS)), None)


def missing():
    "What is not there, in words."
    lacks = [f'no {n}' for n in ('node', 'npm') if not shutil.which(n)]
    if not browser(): lacks.append(f"no {os.environ.get('CHROMIUM') or 'Chromium'}")
    return ' and '.join(lacks)


def environment():
    "Make .venv-browser, or leave it where it fits."
    python, stamp, wanted = VENV/'bin/python', VENV/'stamp', f'{VENV}\n{NEEDS.read_text()}'
    if stamp.is_file() and stamp.read_text() == wanted: return python
    build.say('making .venv-browser')
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, '-m', 'venv', VENV], check=True)
    subprocess.run([python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', '-r', NEEDS], check=True)
    stamp.write_text(wanted)
    return python


def main(given):
    if lacks := missing():
        build.say(f'skipped, not passed: the tests of the demonstration; here is {lacks}')
        return 0
    if build.main([]):
        build.say('0 passed, 1 failed')
        return 1
    report = ROOT/'build/demo-tests.xml'
    report.unlink(missing_ok=True)
    env = os.environ | dict(CHROMIUM=browser(), DEMO_PYTHON=sys.executable, PYTHONDONTWRITEBYTECODE='1')
    pytest = [environment(), '-m', 'pytest', '-q', '-rP', '-p', 'no:cacheprovider', f'--junitxml={report}']
    cmd = [*pytest, ROOT/'tools/demo/test_demo.py', *given]
    status = subprocess.run(cmd, env=env, cwd=ROOT).returncode
    cases = list(ET.parse(report).iter('testcase')) if report.exists() else []
    bad = sum(c.find('failure') is not None or c.find('error') is not None for c in cases)
    skipped = sum(c.find('skipped') is not None for c in cases)
    bad = max(bad, int(status != 0 or not cases))
    build.say(f'{len(cases) - min(bad, len(cases)) - skipped} passed, {bad} failed')
    return int(bad > 0)


if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
