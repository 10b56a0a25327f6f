"""What may be said about a run stands in one place, `RunSpec`; commands, pages, Makefile and workflow take all of it."""
import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
from sparseattnnet.learn import records as R, store as ST  # noqa: E402
from sparseattnnet.learn.run import OWN, SHARED, RunSpec  # noqa: E402
from sparseattnnet.reproduce.main import RUN_OPTIONS, main, parse_args  # noqa: E402
from sparseattnnet.reproduce.manifest import jobs_of, load_manifest  # noqa: E402
from sparseattnnet.reproduce.runner import notebook_parameters  # noqa: E402

FIELDS = {f.name: f.default for f in dataclasses.fields(RunSpec)}
OF_SPLIT = {'protocol', 'too_few', 'augment', 'device'}  # what does not matter to a page that shows images


@pytest.mark.parametrize('page, wanted', [('train', set(FIELDS)), ('table1', set(SHARED)), ('attention', {*SHARED, 'preset', 'seed'}), ('samples', set(SHARED) - OF_SPLIT)])
def test_a_page_takes_every_option_of_its_run(page, wanted):
    has = notebook_parameters(ROOT/f'nbs/paper/{page}.ipynb')
    lacking = sorted(wanted - has.keys())
    assert not lacking, f"nbs/paper/{page}.ipynb: add {', '.join(f'{n}:{type(FIELDS[n]).__name__} = {FIELDS[n]!r}' for n in lacking)} to the cell tagged parameters"
    for n in wanted: assert type(has[n]) is type(FIELDS[n]), n


def test_shared_and_own_are_all():
    assert {*SHARED, *OWN} == set(FIELDS) and not set(SHARED) & set(OWN)


def test_the_makefile_passes_every_option():
    line = re.search(r'^RUN_OPTIONS := (.*)$', (ROOT/'Makefile').read_text(encoding='utf-8'), re.M)[1]
    assert line.split() == [n.upper() for n in RUN_OPTIONS]


def test_an_option_reaches_the_jobs():
    given = dict(source='simulated', simulator='{"sep": 1.3}', protocol='paper', size=64, only='a*', drop='NA', too_few='drop', on_bad='skip', augment='off', device='cpu')
    given |= {n: given.get(n, FIELDS[n]) for n in RUN_OPTIONS}
    a = parse_args(['smoke', *(f"--{n.replace('_', '-')}={v}" for n, v in given.items())])
    assert {n: getattr(a, n) for n in RUN_OPTIONS} == given
    jobs = jobs_of(load_manifest(), (RunSpec(profile='smoke', **given),), models=('dense_cnn',))
    for j in jobs:
        if j.kind in ('train', 'table1', 'attention'): assert {n: j.parameters[n] for n in RUN_OPTIONS} == given, j.name


@pytest.mark.parametrize('target', ['paper', 'grid'])
def test_make_turns_words_into_arguments(target):
    "What the shell would run, with the program replaced by one that prints its arguments."
    recipe = subprocess.run(['make', '-n', '-o', '.venv/stamp', '-o', '.venv-workflow/stamp', target, 'DROP=a b', 'TOO_FEW=drop', 'SIZE=64', "ONLY=slide_1/*", 'ON_BAD=skip'],
        cwd=ROOT, capture_output=True, text=True).stdout
    script = re.sub(r'PATH="[^"]*" \.venv/bin/python -m sparseattnnet.reproduce.main|\.venv-workflow/bin/snakemake', 'printf "%s\\n"', recipe)
    out = subprocess.run(['sh', '-c', script], capture_output=True, text=True, env={'PATH': '/usr/bin:/bin', 'DROP': 'a b', 'TOO_FEW': 'drop', 'SIZE': '64', 'ONLY': 'slide_1/*', 'ON_BAD': 'skip', 'PROFILE': 'quick'}).stdout.split('\n')
    want = ['--drop', 'a b', '--too-few', 'drop', '--size', '64', '--only', 'slide_1/*', '--on-bad', 'skip'] if target == 'paper' else ['drop=a b', 'too-few=drop', 'size=64', 'only=slide_1/*', 'on-bad=skip']
    assert set(want) <= set(out), (recipe, out)


def test_the_profile_full_is_refused_with_what_replaced_it(capsys):
    for argv in (['full'], ['full', '--study', 'ksweep']):
        with pytest.raises(SystemExit) as e: main(argv)
        assert e.value.code == 2 and '`converged` replaced it' in capsys.readouterr().err
    with pytest.raises(ValueError, match='`converged` replaced it'): RunSpec(profile='full')
    made = subprocess.run(['make', 'full'], cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 2 and 'make converged' in made.stderr


def test_a_record_of_the_old_profile_is_still_read(tmp_path):
    known = next(iter(ST.stored_runs(ROOT/'outputs/reference').values()))
    old = known | dict(run_id=known['run_id'].replace(f"_{known['profile']}_", '_full_'), profile='full')
    R.write_json(tmp_path/'runs'/old['run_id']/'record.json', R.check_record(old))
    assert [r['profile'] for r in ST.load_runs(tmp_path, profile='full')] == ['full']


def test_slips_end_in_one_line_and_a_status(capsys):
    for slip in (['quik'], ['--protocl', 'paper'], ['smoke', '--seeds', 'zero'], ['smoke', '--models', 'resnet5'], ['smoke', '--artefacts', 'table 9'], ['smoke', '--size', '-3'], ['smoke', '--job', 'none'],
                 ['smoke', '--data', 'no/such/folder'], ['smoke', '--datasets', 'opdd'], ['smoke', '--at-once', '-1'], ['smoke', '--simulator', 'sep=1'], ['--remake', 'nothing']):
        try: status = main(slip)
        except SystemExit as e: status = e.code
        said = ''.join(capsys.readouterr()).strip()
        assert status == 2 and said and 'Traceback' not in said, (slip, status, said)
        assert slip[-1].lstrip('-') in said, (slip, said)
