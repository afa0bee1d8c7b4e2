"""Fixtures shared by all tests."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mmengine.dataset.base_dataset
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

import mmfusion  # noqa: F401  (applies the compatibility points before any mm* import)
from mmfusion.apis import init_model, load_model_config
from mmfusion.utils import keep_freed_memory, write_image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tests'))  # for modules that tests share
NARROW = 'model.network.channels=(4,4,8,8)'


def pytest_configure():
    """Two threads in all: as many cores as the smallest machine has that must run the suite."""
    torch.set_num_threads(1 if 'PYTEST_XDIST_WORKER' in os.environ else 2)
    keep_freed_memory()  # as the tools do
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a suite in a shell's background, whose tests send Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope='session')
def load_tool():
    """A tool as a module, by its path below the repository."""

    def load(path):
        spec = importlib.util.spec_from_file_location(f'tool_{Path(path).stem}', ROOT / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope='session')
def data_dir():
    """The folder of real pairs; skips where it is absent."""
    folder = ROOT / 'data'
    if not (folder / 'TNO' / 'ir').is_dir():
        pytest.skip(f'{folder} with the real pairs is not here')
    return folder


@pytest.fixture(scope='session', autouse=True)
def _plain_configs():
    """Configs are written as they are: yapf, which lays them out, takes longer than most runs here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.config, 'FormatCode', lambda text, **_: (text, True))
        yield


@pytest.fixture(scope='session', autouse=True)
def _no_collection():
    """mmengine's datasets collect garbage when they are built: half a second in a process as large as this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.dataset.base_dataset, 'gc', SimpleNamespace(collect=int))
        yield


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _default_scope():
    """The scope of our configs, whatever Runner an earlier test left behind."""
    with DefaultScope.overwrite_default_scope('mmfusion'):
        yield


def pytest_collection_modifyitems(items):
    """Skip GPU tests where there is no GPU."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason='no CUDA device')
    for item in items:
        if 'cuda' in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope='module')
def one_thread():
    """One thread: on images and models this small, threads that wait for each other cost more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='session')
def two_processes(tmp_path_factory):
    """Calls ``worker(rank, 2, folder)`` of a test file in two processes, and gives what each wrote to ``RANK.pt``.

    Processes of their own: a forked one could not run autograd after this one did.
    """

    def run(file):
        folder = str(tmp_path_factory.mktemp('ranks'))
        code = f'import runpy, sys; runpy.run_path({str(file)!r})["worker"](int(sys.argv[1]), 2, {folder!r})'
        env = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p), OMP_NUM_THREADS='1')
        ranks = [
            subprocess.Popen([sys.executable, '-c', code, str(rank)], env=env, stderr=subprocess.PIPE)
            for rank in (0, 1)
        ]
        for process in ranks:
            try:
                _, errors = process.communicate(timeout=600)
            finally:
                if process.poll() is None:
                    for p in ranks:
                        p.kill()
            assert process.returncode == 0, errors.decode()[-3000:]
        return [torch.load(f'{folder}/{rank}.pt', weights_only=True) for rank in (0, 1)]

    return run


@pytest.fixture(scope='session')
def narrow():
    """Overrides that make FIFN narrow, for the command line."""
    return ['--cfg-options', NARROW]


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory):
    """Checkpoint of a narrow OCCO with random weights, in mmengine's form."""
    torch.manual_seed(7)
    model = init_model(load_model_config('occo_fmb', {'model.network.channels': (4, 4, 8, 8)}), 'random', 'cpu')
    file = tmp_path_factory.mktemp('checkpoint') / 'narrow.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=1, iter=2, experiment_name='a_run')), file)
    return file


@pytest.fixture(scope='session')
def small_data(tmp_path_factory):
    """A folder ``data`` with those of all datasets, each a few times the same synthetic pair."""
    from small_training import write_data

    root = tmp_path_factory.mktemp('small')
    write_data(root)
    return root / 'data'


@pytest.fixture
def pairs(tmp_path):
    """Folders ``vi`` and ``ir`` with pairs a, b, c, of which b has another size."""
    rng = np.random.default_rng(0)
    for name, size in (('a', (16, 24)), ('b', (19, 17)), ('c', (16, 24))):
        write_image(tmp_path / 'vi' / f'{name}.png', rng.integers(0, 256, (*size, 3), np.uint8))
        write_image(tmp_path / 'ir' / f'{name}.bmp', rng.integers(0, 256, size, np.uint8))
    return tmp_path


@pytest.fixture
def refused(capsys):
    """Function (main, arguments, pattern): asserts that a tool ends in one sentence, which the pattern is found in."""

    def check(main, arguments, pattern):
        capsys.readouterr()
        assert main(arguments) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
        assert re.search(pattern, line), line

    return check
