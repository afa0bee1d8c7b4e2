"""make_split.py: lists of given numbers of names."""

import pytest


@pytest.fixture
def tool(load_tool):
    return load_tool('tools/dataset_converters/make_split.py')


def test_counted_lists(tool):
    names = [f'{k:02d}' for k in range(30)]
    train, val = tool.split_counted(names, 20, 4, 3)
    assert (len(set(train)), len(set(val))) == (20, 4)
    assert not set(train) & set(val)
    assert {*train, *val} < set(names)
    assert train == sorted(train)
    assert tool.split_counted(reversed(names), 20, 4, 3) == (train, val)
    assert tool.split_counted(names, 20, 4, 4) != (train, val)
    with pytest.raises(ValueError, match=r'20 \+ 11 names were asked for, there are 30'):
        tool.split_counted(names, 20, 11, 0)


def test_lists_are_written(tool, tmp_path):
    tool.main(['unified', '--numbers', '9', '--digits', '2', '--num', '5', '3', '--seed', '1', '--out', str(tmp_path)])
    lists = [(tmp_path / f'unified_{part}.txt').read_text().split() for part in ('train', 'val')]
    assert lists == [list(part) for part in tool.split_counted([f'{k:02d}' for k in range(9)], 5, 3, 1)]


def test_names_stay_out(tool, tmp_path, refused):
    (tmp_path / 'seen.txt').write_text('1\n4\n')
    command = ['x', '--numbers', '6', '--digits', '1', '--every', '2', '--out', str(tmp_path), '--without']
    tool.main([*command, str(tmp_path / 'seen.txt')])
    assert [(tmp_path / f'x_{part}.txt').read_text().split() for part in ('train', 'val')] == [['0', '3'], ['2', '5']]
    (tmp_path / 'seen.txt').write_text('a1\n')
    for file, message in (('seen.txt', 'none of the 6 names is in it'), ('nowhere.txt', 'no such list')):
        refused(tool.main, [*command, str(tmp_path / file)], message)


@pytest.mark.parametrize('num', [('0', '3'), ('7', '3')])
def test_impossible_numbers(tool, tmp_path, refused, num):
    command = ['x', '--numbers', '9', '--num', *num, '--out', str(tmp_path)]
    refused(tool.main, command, 'with a sum of at most 9')
    refused(tool.main, ['../x', *command[1:]], 'expected the name of a list without folders')
    assert not list(tmp_path.iterdir())


def test_lists_come_into_the_current_folder(tool, tmp_path, monkeypatch):
    """And not among the lists of the package, which an upgrade replaces."""
    monkeypatch.chdir(tmp_path)
    assert tool.main(['mine', '--numbers', '4', '--every', '2']) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ['mine_train.txt', 'mine_val.txt']
