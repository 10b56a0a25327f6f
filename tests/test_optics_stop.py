"A simulation that is stopped by SIGTERM or Ctrl-C leaves no half file, says how to go on, and goes on."
import signal
import subprocess
import sys
import time
import pytest
from sparseattnnet.data.simulate_tcells import simulate_opd

RUN = "import sys; from sparseattnnet.data.simulate_tcells import simulate_opd\nsimulate_opd((40, 40, 40), workers={}, progress=False, parts=sys.argv[1])"
HALF = """import os, signal, sys, numpy as np
def half(f, **arrays):
    f.write(b'half'); f.flush()
    os.kill(os.getpid(), signal.SIGTERM)
    while True: pass
np.savez = half
""" + RUN.format(1)


def test_sigterm_in_the_middle_of_a_file(tmp_path):
    p = subprocess.run([sys.executable, '-c', HALF, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert list(tmp_path.iterdir()) == []
    assert 'stopped. 0 of 4 batches are kept; the same call goes on from there' in p.stderr and p.returncode


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize('workers', [1, 2])
def test_stopped_and_going_on(tmp_path, number, workers, capsys):
    p = subprocess.Popen([sys.executable, '-c', RUN.format(workers), str(tmp_path)], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not list(tmp_path.glob('0*.npz')) and time.monotonic() < end: time.sleep(.005)
    p.send_signal(number)
    _, said = p.communicate(timeout=120)
    kept = sorted(f.name for f in tmp_path.iterdir())
    assert kept and all(n in {f'{i:05d}.npz' for i in range(4)} for n in kept)
    assert f'stopped. {len(kept)} of 4 batches are kept' in said and p.returncode
    images = simulate_opd((40, 40, 40), workers=1, progress=False, parts=tmp_path)
    assert f'{len(kept)} of 4 batches were drawn by an earlier call' in capsys.readouterr().out
    assert images.fingerprint == simulate_opd((40, 40, 40), workers=1, progress=False).fingerprint
