"""Metafiles as docs/configs.md describes them; published weights load by the method's name alone."""

import re
from pathlib import Path

import pytest

from mmfusion.models import hub
from mmfusion.models.cost import count_parameters
from mmfusion.registry import MODELS
from mmfusion.utils import configs

ENTRIES = configs.published()
PAGES = Path(__file__).resolve().parents[2] / 'docs/methods'
# Of a commit: its files stay as they are.
PINNED = re.compile(r'https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/[0-9a-f]{40}/\S+')
PUBLISHED = {name: entry for name, entry in ENTRIES.items() if 'Authors Weights' in entry}


def test_every_method_has_an_entry():
    """Each folder of configs but those of parts and cascades has a metafile, and each entry its config."""
    folder = configs.config_folder()
    without = [f.name for f in folder.iterdir() if f.is_dir() and not (f / 'metafile.yml').is_file()]
    assert sorted(without) == ['_base_', 'cascades']
    for name, entry in ENTRIES.items():
        file = folder.parent / entry['Config']
        assert (file.is_file(), file.stem) == (True, name)
        assert entry['Collection']['Paper']['Title']
    first = {entry['In Collection']: entry['Metadata'] for entry in reversed(ENTRIES.values())}
    for collection, values in first.items():
        assert (type(values['Parameters']), type(values['FLOPs'])) == (int, int), collection


def words(text):
    return re.sub(r'[\W_]+', ' ', text).lower().strip()


PAPERS = {
    entry['In Collection']: (Path(entry['Config']).parent.name, entry['Collection']) for entry in ENTRIES.values()
}
OWN = 'Lite'


@pytest.mark.parametrize('name', sorted(set(PAPERS) - {OWN}))
def test_each_method_has_a_page(name):
    """With title, year and place of the paper, the code that was read, what differs from it, and the paper's numbers."""
    folder, collection = PAPERS[name]
    text = (PAGES / f'{dict(nestfuse="rfnnest").get(folder, folder)}.md').read_text(encoding='utf-8')
    paper, code = collection['Paper'], collection.get('Code', {})
    assert words(paper['Title']) in words(text)
    for fact in (str(paper['Year']), paper['URL'], code.get('URL', ''), code.get('Version', '')):
        assert fact in text
    assert "\n## The paper's numbers\n" in text
    assert re.search('\n## (What is taken from where|What the paper states|Where paper and public code differ)', text)
    assert f'configs/{folder}' in text


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_weights_are_described(name):
    entry = PUBLISHED[name]
    assert isinstance(entry['Collection']['Paper']['Year'], int)
    assert entry['Collection']['Code']['URL'].startswith('https://')
    weights, values = entry['Authors Weights'], entry['Metadata']
    assert weights['License']
    assert re.fullmatch(r'https://\S+', weights['Page'])
    assert weights['Files']
    for item in weights['Files']:
        assert set(item) <= {'Name', 'URL', 'Bytes', 'SHA256'}
        assert ('SHA256' in item) == ('Bytes' in item)
        assert re.fullmatch('[0-9a-f]{64}', item.get('SHA256', '0' * 64))
        assert 'SHA256' in item or 'URL' not in item  # what is fetched is checked
        assert 'URL' not in item or PINNED.fullmatch(item['URL'])
    assert isinstance(values['FLOPs'], int)
    network = MODELS.build(hub.load_model_config(name).model.network)
    assert values['Parameters'] == count_parameters(network)


@pytest.mark.data
def test_weights_load_by_name_alone(data_dir, monkeypatch):
    """All that data/zoo has, by their hashes: at least twenty methods."""
    monkeypatch.setenv('MMFUSION_WEIGHTS', str(data_dir / 'zoo'))
    methods = set()
    for name, entry in PUBLISHED.items():
        if len(hub.local_files(name)) == len(entry['Authors Weights']['Files']):
            hub.init_model(hub.load_model_config(name), device='cpu')
            methods.add(entry['In Collection'])
    assert len(methods) >= 20
