"Where a result came from: which changes beside a commit count."
import subprocess

import pytest

import sparseattnnet
from sparseattnnet.learn import records as R


def git(at, *words): subprocess.run(['git', '-c', 'user.name=a', '-c', 'user.email=a@b', *words], cwd=at, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    "A checkout with a package, a page and two published tables; the package is taken for ours."
    for name in ('sparseattnnet/__init__.py', 'nbs/page.ipynb', 'outputs/reference/t.csv', 'outputs/other.csv'):
        (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/name).write_text('1')
    git(tmp_path, 'init', '-q')
    git(tmp_path, 'add', '.')
    git(tmp_path, 'commit', '-qm', 'all')
    monkeypatch.setattr(sparseattnnet, '__file__', str(tmp_path/'sparseattnnet/__init__.py'))
    return tmp_path


def dirty(): return R.environment()['dirty']


def test_a_published_result_leaves_the_checkout_clean(project):
    assert dirty() is False
    (project/'outputs/reference/t.csv').write_text('2')
    (project/'outputs/reference/new.csv').write_text('2')
    assert dirty() is False
    git(project, 'add', 'outputs/reference/new.csv')
    assert dirty() is False and R.provenance()['environment']['dirty'] is False


@pytest.mark.parametrize('name', ['sparseattnnet/__init__.py', 'nbs/page.ipynb', 'outputs/other.csv'])
def test_any_other_change_counts(project, name):
    (project/'outputs/reference/t.csv').write_text('2')
    (project/name).write_text('2')
    assert dirty() is True


def test_outside_a_checkout_nothing_is_known(project):
    git(project, 'rm', '-rq', '--cached', 'sparseattnnet')
    assert dirty() is None
