"""Freed memory that the process keeps."""

import subprocess
import sys

import pytest

SCRIPT = """
import platform, resource
import torch
from mmfusion.utils import keep_freed_memory

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = new_pages()
kept = keep_freed_memory()
new_pages()
print(first, new_pages(), kept, platform.libc_ver()[0])
"""


def _run(**env):
    run = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True, check=True, env=env)
    first, second, kept, libc = run.stdout.split()[-4:]
    if libc != 'glibc':
        pytest.skip('the setting is of glibc')
    return int(first), int(second), kept == 'True'


def test_keeps_freed_memory():
    """A tensor of the size of a freed one needs no new pages of the system."""
    first, second, kept = _run()
    assert kept
    assert first > 100
    assert second < first / 10


@pytest.mark.parametrize('env', [{'MALLOC_ARENA_MAX': '2'}, {'GLIBC_TUNABLES': 'glibc.malloc.tcache_count=7'}])
def test_leaves_what_the_user_has_set(env):
    assert not _run(**env)[2]
