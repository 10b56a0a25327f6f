"""The manifest is complete, names what exists, and its table gets into the index."""
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import artefacts  # noqa: E402
from sparseattnnet.data.splits import make_split  # noqa: E402
from sparseattnnet.reproduce.manifest import OLDER, STATUSES, artefact_status, artefact_table, jobs_of, load_manifest  # noqa: E402
from sparseattnnet.reproduce.runner import check_parameters  # noqa: E402
from sparseattnnet.learn.run import RunSpec, spec_images  # noqa: E402

PAPER = [*(f'Table {n}' for n in (1, 2)), *(f'Figure {n}' for n in range(1, 10))]


@pytest.fixture(scope='module')
def manifest(): return load_manifest(root=ROOT)


@pytest.mark.parametrize('item', PAPER)
def test_every_item_of_the_paper_is_an_artefact(manifest, item): assert any(a.paper == item for a in manifest.artefacts.values())


def test_nothing_else_claims_to_be_in_the_paper(manifest): assert {a.paper for a in manifest.artefacts.values()} <= {'', *PAPER}


TEXTS = {'nbs/paper/ambiguities.ipynb'}  # pages to read, which make nothing


def test_every_paper_notebook_makes_an_artefact_or_trains(manifest):
    used = {manifest.jobs[a.job].notebook for a in manifest.artefacts.values() if a.job} | {manifest.train.notebook}
    pages = {p.relative_to(ROOT).as_posix(): json.loads(p.read_text(encoding='utf-8'))['cells'] for p in (ROOT/'nbs/paper').glob('*.ipynb')}
    assert set(pages) == used | TEXTS and not used & TEXTS
    assert {p for p, cells in pages.items() if not any(c['cell_type'] == 'code' for c in cells)} == TEXTS


def test_every_job_is_some_artefact(manifest): assert set(manifest.jobs) - {manifest.train.name} == {a.job for a in manifest.artefacts.values() if a.job}


@pytest.mark.parametrize('profile', ['smoke', 'quick', 'converged'])
def test_the_plan_names_notebooks_that_take_its_parameters(manifest, profile):
    jobs = jobs_of(manifest, profile=profile, artefacts=('all',))
    assert len({j.name for j in jobs}) == len(jobs) and len({o for j in jobs for o in j.outputs}) == sum(len(j.outputs) for j in jobs)
    seen = set()
    for j in jobs:
        assert set(j.needs) <= seen, f'{j.name} comes before what it needs'
        seen.add(j.name)
        if j.kind != 'train' or j.parameters['seed'] == 0: check_parameters(ROOT/j.notebook, j.parameters)
    grid = {(p['dataset'], p['model'], p['preset'], p['seed']) for j in jobs if j.kind == 'train' for p in [j.parameters]}
    assert len(grid) == len(manifest.datasets)*len(manifest.models)*len(manifest.seeds[profile])


def test_other_models_and_seeds(manifest):
    jobs = jobs_of(manifest, (RunSpec(dataset='folder', folder='/cells', profile='smoke'),), models=('resnet50',), seeds=(0, 2))
    mark = jobs[0].name.removeprefix('samples_folder-cells-').removesuffix('_smoke')
    assert len(mark) == 4 and [j.name for j in jobs] == [f'{k}_folder-cells-{mark}_smoke{m}' for k, m in (('samples', ''), ('train', '_resnet50_s0'), ('train', '_resnet50_s2'), ('table1', ''))]
    assert jobs[-1].parameters['seeds'] == '0,2' and jobs[-1].parameters['folder'] == '/cells'


def test_another_protocol_has_its_own_runs_and_table_but_the_same_samples(manifest):
    names = [{j.name for j in jobs_of(manifest, (RunSpec(profile='smoke', protocol=p),), models=('resnet50',))} for p in ('strict', 'paper')]
    assert names[0] & names[1] == {'samples_opd_smoke'} and 'table1_opd_smoke_paper' in names[1]


def test_a_split_depends_on_data_and_seed_alone():
    "So all models of one seed see the same test images, and their differences are paired."
    images, first = spec_images(RunSpec(profile='smoke', source='simulated'), show=False)
    hashes = {(s, model): spec_images(RunSpec(profile='smoke', source='simulated', seed=s, model=model), show=False)[1].hash for s in (0, 1) for model in ('sparseattnnet', 'dense_cnn')}
    assert hashes[0, 'sparseattnnet'] == hashes[0, 'dense_cnn'] == first.hash == make_split(images, 'strict', 0).hash
    assert hashes[1, 'sparseattnnet'] == hashes[1, 'dense_cnn'] != first.hash


def test_statuses_are_words_of_the_vocabulary(manifest):
    for a in manifest.artefacts.values():
        for d in a.datasets or ('',): assert artefact_status(manifest, a, d, ROOT/'outputs/reference')['status'].removesuffix(OLDER) in STATUSES


def index(folder, *cells):
    (folder/'nbs').mkdir(exist_ok=True)
    nb = dict(cells=[dict(cell_type='markdown', id=f'c{i}', metadata={}, source=[c]) for i, c in enumerate(cells)], metadata={}, nbformat=4, nbformat_minor=5)
    (folder/'nbs/contents.ipynb').write_text(json.dumps(nb))
    return ['--root', str(folder)]


def test_the_table_in_the_index(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(artefacts, 'table', lambda root: '| a |\n| --- |\n| 1 |')
    at = index(tmp_path, '# Index', f'Before\n{artefacts.BEGIN}\nold\n{artefacts.END}\nafter')
    assert artefacts.main(['--check', *at]) == 1 and artefacts.main(['--write', *at]) == 0 and artefacts.main(['--check', *at]) == 0
    text = ''.join(json.loads((tmp_path/'nbs/contents.ipynb').read_text())['cells'][1]['source'])
    assert text.startswith('Before\n') and text.endswith('\nafter') and 'old' not in text and '| 1 |' in text
    assert artefacts.main(['--check', *index(tmp_path, '# Index')]) == 0 and 'no place' in capsys.readouterr().out
    assert artefacts.main(['--check', *index(tmp_path, artefacts.BEGIN)]) == 1
    assert artefacts.main(['--check', *index(tmp_path, *[f'{artefacts.BEGIN}\n{artefacts.END}']*2)]) == 1


def test_the_table_has_a_row_for_each_artefact_and_data_set(manifest):
    rows = artefact_table(manifest, ROOT/'outputs/reference').split('\n')[2:]
    assert len({len(r.split(' | ')) for r in rows}) == 1
    assert {a.title for a in manifest.artefacts.values()} == {r.split(' | ')[1] for r in rows}


def test_the_table_of_artefacts_shows_every_published_result_once(manifest):
    "Whatever images and size it was made with; and what is published is not called 'not yet run'."
    rows = artefact_table(manifest, ROOT/'outputs/reference').split('\n')[2:]
    lock = json.loads((ROOT/'outputs/reference/provenance.json').read_text())
    for name, about in lock.items():
        if not name.startswith(('selection_', 'rivals_', 'ablations_', 'elsewhere_', 'anyk_', 'planted_', 'laboratories_',
            'budget_')): continue
        kept = [n for n in about['files'] if n.endswith('.md')]
        assert sum(any(n in r for r in rows) for n in kept[:1]) == len(kept[:1]), name
    run = {r.split(' | ')[1] for r in rows if '| not yet run |' not in r}
    assert not [r for r in rows if '| not yet run |' in r and r.split(' | ')[1] in run]
