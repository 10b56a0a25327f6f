"Slips on the command lines that time networks: one line that names the argument, what came and what was expected."
import pytest
from sparseattnnet.deploy import bench
from sparseattnnet.studies import benchmark

BENCHMARK = {
    '--side -3': "argument --side: '-3': expected a whole number from 47",
    '--side 4': "argument --side: '4': expected a whole number from 47",
    '--side b': "argument --side: 'b': expected a whole number from 47",
    '--batches a': "argument --batches: 'a': expected a whole number from 1",
    '--batches 1,-3': "argument --batches: '-3': expected a whole number from 1",
    '--batches 8,': "argument --batches: '8,': expected one or more, separated by commas",
    '--engines ,': "argument --engines: ',': expected one or more",
    '--engines warp': "engine='warp': expected one of torch",
    '--devices gpu': "device='gpu': expected one of cpu, cuda",
    '--threads a': "threads='a': expected 'all', or a number from 1",
    '--seed -1': "argument --seed: '-1': expected a whole number from 0",
    '--seed 99999999999999999999': 'expected a whole number from 0',
    '--profile tiny': "argument --profile: invalid choice: 'tiny' (choose from",
    '--sied 3': 'unrecognized arguments: --sied 3'}
BENCH = {
    '--gpu --engines onnxruntime': "--engines: 'onnxruntime' is an engine for a processor and does not run on a GPU; "
        "expected with --gpu one or more of torch",
    '--gpu --engines torch,fast': "--engines: 'fast' is an engine for a processor",
    '--engines torch,Fast': "--engines: 'Fast' is no engine; expected one or more of torch",
    '--engines ,': "argument --engines: ',': expected one or more",
    '--profile tiny': "argument --profile: invalid choice: 'tiny'"}


def answer(main, argv, capsys):
    try: status = main(argv)
    except SystemExit as e: status = e.code
    out, err = capsys.readouterr()
    line, = err.splitlines()
    assert not out and status in (1, 2) and ': error: ' in line
    return line


@pytest.mark.parametrize('main, slip, text', [
    *((benchmark.main, *s) for s in BENCHMARK.items()), *((bench.main, *s) for s in BENCH.items())])
def test_a_slip_takes_one_line(main, slip, text, capsys, tmp_path):
    assert text in answer(main, ['--out', str(tmp_path/'never.json'), *slip.split()], capsys)
    assert not (tmp_path/'never.json').exists()


@pytest.mark.parametrize('main', [benchmark.main, bench.main])
def test_the_file_to_write_is_looked_at_first(main, capsys, tmp_path):
    (tmp_path/'file').write_text('x')
    assert 'the following arguments are required: --out' in answer(main, [], capsys)
    assert f"argument --out: '{tmp_path}': expected a file to write, this is a folder" in answer(main, ['--out', str(tmp_path)], capsys)
    below = str(tmp_path/'file'/'x.json')
    assert f"argument --out: '{below}': expected a file to write" in answer(main, ['--out', below], capsys)


def test_stopped(monkeypatch, capsys, tmp_path):
    def stopped(*a, **k): raise KeyboardInterrupt
    monkeypatch.setattr(benchmark, 'benchmark', stopped)
    monkeypatch.setattr(bench, 'run_bench', stopped)
    for main in (benchmark.main, bench.main):
        assert main(['--out', str(tmp_path/'x.json')]) == 130 and 'Stopped; nothing was written' in capsys.readouterr().err
