"""Writing of images and files, which leaves no half of one."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from mmfusion.utils import (
    only_writer,
    read_visible,
    write_bytes,
    write_image,
)


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (7, 11, 3), np.uint8)


def test_write_and_read(tmp_path, rgb):
    for suffix in ('png', 'bmp', 'tif'):
        write_image(tmp_path / 'new' / f'a.{suffix}', rgb)
        np.testing.assert_array_equal(read_visible(tmp_path / 'new' / f'a.{suffix}'), rgb)
    assert sorted(f.name for f in (tmp_path / 'new').iterdir()) == ['a.bmp', 'a.png', 'a.tif']


@pytest.mark.parametrize('name', ['x' * 251 + '.png', '红' * 83 + '.png'])
def test_names_as_long_as_the_system_allows(tmp_path, rgb, name):
    write_image(tmp_path / name, rgb)
    assert [f.name for f in tmp_path.iterdir()] == [name]


def test_write_refuses(tmp_path, rgb):
    with pytest.raises(ValueError, match=r"unknown image suffix '\.xyz'"):
        write_image(tmp_path / 'a.xyz', rgb)
    with pytest.raises(ValueError, match='must be uint8, got float32'):
        write_image(tmp_path / 'a.png', rgb.astype(np.float32))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    write_bytes(tmp_path / 'a.txt', b'old')

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / 'a.txt', b'new')
    assert [f.name for f in tmp_path.iterdir()] == ['a.txt']
    assert (tmp_path / 'a.txt').read_bytes() == b'old'


def test_written_files_have_ordinary_permissions(tmp_path):
    write_bytes(tmp_path / 'a', b'')
    (tmp_path / 'b').touch()
    assert (tmp_path / 'a').stat().st_mode == (tmp_path / 'b').stat().st_mode


def test_names_where_the_system_says_ascii(tmp_path):
    """As of containers without a locale, where Python's UTF-8 mode is off."""
    code = (
        'import sys\nfrom pathlib import Path\nfrom mmfusion.utils.writing import write_bytes\n'
        "write_bytes(Path(sys.argv[1]) / sys.argv[2], b'1')"
    )
    env = dict(os.environ, LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')
    subprocess.run([sys.executable, '-c', code, str(tmp_path), '红外 é.png'], env=env, check=True)
    assert [file.name for file in tmp_path.iterdir()] == ['红外 é.png']


def test_one_process_writes_into_a_folder(tmp_path):
    """Two would mix images of two methods, and take each other's unfinished files away."""
    pytest.importorskip('fcntl', reason='this system cannot lock folders')
    code = f"from mmfusion.utils import only_writer\nwith only_writer({str(tmp_path / 'out')!r}): print('wrote')"
    with only_writer(tmp_path / 'out'), only_writer(tmp_path / 'out'):  # which a run may hold for its parts
        ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
        assert 'out: another process is writing into it. Wait until it has ended' in ended.stderr
    assert not (tmp_path / 'out').exists()
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, check=True).stdout == b'wrote\n'


def test_a_killed_process_holds_no_folder(tmp_path):
    """Though workers that it started live a moment longer, as those of a DataLoader do."""
    pytest.importorskip('fcntl', reason='this system cannot lock folders')
    code = f"""if True:
        import os, time
        from mmfusion.utils import only_writer
        with only_writer({str(tmp_path)!r}):
            os.write(1, b'%d\\n' % os.fork())
            time.sleep(60)
    """
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True) as process:
        lines = [int(process.stdout.readline()) for _ in range(2)]
        with pytest.raises(ValueError, match='another process is writing into it'), only_writer(tmp_path):
            pass
        process.kill()
        process.wait()
        try:
            os.kill(max(lines), 0)  # the worker lives
            with only_writer(tmp_path):
                pass
        finally:
            os.kill(max(lines), signal.SIGKILL)
