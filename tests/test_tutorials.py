"""Every command and every Python block of docs/tutorials, run in order on small scenes and for few steps."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmfusion import cli
from mmfusion.apis import init_model, load_model_config
from mmfusion.cli import errors, view
from mmfusion.comparison import running
from mmfusion.export import write as exporter

FOLDER = Path(__file__).resolve().parents[1] / 'docs/tutorials'
PAGES = sorted(FOLDER.glob('*.md'))
pytestmark = pytest.mark.usefixtures('one_thread')

SMALL = [f'{part}_dataloader.num_workers=0' for part in ('train', 'val', 'test')]
SMALL += [f'{part}_dataloader.persistent_workers=False' for part in ('train', 'val', 'test')]
ONE_EPOCH = [*SMALL, 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'train_dataloader.batch_size=2']
# The resizing of YOLOX's pipelines.
PLACES = dict(train=3, val=1, test=1)
ONE_EPOCH += [f'{part}_dataloader.dataset.pipeline.{k}.scale=(64,64)' for part, k in PLACES.items()]
FEW_STEPS = [*SMALL, 'train_cfg.max_iters=2', 'default_hooks.checkpoint.interval=2', 'train_dataloader.batch_size=2']
# What is added to a command, so that it takes a moment: of options that are given twice the last one counts.
REDUCED = {
    'synthetic.py': ['--num', '4', '--num-test', '2', '--size', '96', '128'],
    'train mine.py': ['--cfg-options', *FEW_STEPS],
    'train detector.py': ['--cfg-options', *ONE_EPOCH],
    'test mine.py': ['--cfg-options', *SMALL],
    'test detector.py': ['--cfg-options', *SMALL, ONE_EPOCH[-1]],
    'compare': ['--shape', '48', '64', '--workers', '1', '--metrics', 'EN', 'CC'],
    'evaluate': ['--workers', '1'],
    'image_demo.py': ['--cfg-options', ONE_EPOCH[-1]],
    'downstream': ['--seeds', '0', '--variants', 'lite=method:lite', '--cfg-options', *ONE_EPOCH],
}
# Cameras and streams are films here, and the window a film.
LIVE = {'0': 'visible.mp4', '1': 'thermal.mp4', 'rtsp://192.168.1.20/thermal': 'thermal.mp4'}
WORDS = {'iter_500.pth': 'iter_2.pth', 'epoch_20.pth': 'epoch_1.pth'}


def blocks(page):
    """(language, text) of the code of a page."""
    return re.findall(r'^```(\w+)\n(.*?)^```', page.read_text(encoding='utf-8'), re.MULTILINE | re.DOTALL)


def config_of(page):
    """Name and text of the config that a page writes."""
    text = next(text for kind, text in blocks(FOLDER / page) if kind == 'python')
    return text.splitlines()[0].removeprefix('# '), text


def write_film(file, frames, rate, seed):
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*'mp4v'), rate, (64, 48))
    for image in np.random.default_rng(seed).integers(0, 256, (frames, 48, 64, 3), np.uint8):
        writer.write(image)
    writer.release()


def save_random(name, file):
    torch.manual_seed(0)
    torch.save(init_model(load_model_config(name), 'random', 'cpu').state_dict(), file)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder in which a page is followed, with what it takes for granted: weights, films, folders of others."""
    monkeypatch.chdir(tmp_path)
    Path('weights').mkdir()
    write_film('visible.mp4', 8, 8, 0)
    write_film('thermal.mp4', 6, 6, 1)
    # A page ends by Ctrl-C; see tests/comparison/test_viewer.py.
    monkeypatch.setattr(view, 'main', errors.verb(lambda args: None, view.make_parser))
    # Trainings that are processes of their own elsewhere.
    run = lambda command, arguments, log, claim: cli.main([*command[2:], *map(str, arguments)])  # noqa: E731
    monkeypatch.setattr(running, 'run_tool', run)
    return tmp_path


def reduced(words):
    """A command that takes a moment, in the place of that of the page."""
    words = [re.sub('|'.join(WORDS), lambda found: WORDS[found[0]], word) for word in words]
    if any(find_spec(package) is None for package in exporter.PACKAGES['onnx']):
        words = [word.replace('.onnx', '.torchscript') for word in words]
    if words[0] == 'video' and set(words) & set(LIVE):
        words = [LIVE.get(word, word) for word in words if word != '--window']
        words += ['--live', '--max-frames', '3', *([] if '--out' in words else ['--out', 'window.mp4'])]
    key = next((k for k in REDUCED if ' '.join(words).startswith(k) or Path(words[0]).name == k), None)
    return words + REDUCED.get(key, [])


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_followed_to_the_letter(page, here, load_tool, monkeypatch):
    text = page.read_text(encoding='utf-8')
    if 'SeAFusion.pth' in text:
        save_random('seafusion', 'SeAFusion.pth')
    if 'mine.pth' in text:
        save_random('lite', 'mine.pth')
        Path('mine.py').write_text(config_of('train_on_my_data.md')[1])
    for kind, code in blocks(page):
        if kind == 'python' and code.startswith('# '):
            Path(code.splitlines()[0].removeprefix('# ')).write_text(code)
        elif kind == 'python':
            first = min(Path('pairs/test/Visible').iterdir()).name
            exec(code.replace('50000D.png', first), {})
        for line in code.replace('\\\n', ' ').splitlines() if kind == 'shell' else ():
            program, *words = shlex.split(line, comments=True)
            if program == 'export':
                monkeypatch.setenv(*words[0].split('=', 1))
            elif program == 'mmfusion':
                assert cli.main(reduced(words)) == 0, line
            else:
                assert program == 'python', line
                assert not load_tool(words[0]).main(reduced(words)[1:]), line


def test_each_page_is_in_the_index():
    index = (FOLDER.parent / 'index.md').read_text(encoding='utf-8')
    assert len(PAGES) >= 5
    assert [page.stem for page in PAGES if f'tutorials/{page.stem}\n' not in index] == []
