"""Where the weights of frozen networks come from."""

import pytest
import torch

from mmfusion.models.priors.weights import find_weights, read_weights

URLS = dict(best='https://example.org/best-deadbeef.pth')


def test_a_file_is_read(tmp_path):
    torch.save(dict(state_dict=dict(a=torch.ones(1))), tmp_path / 'a.pth')
    assert read_weights(str(tmp_path / 'a.pth'), 'Net', 'weights', URLS)['a'] == 1
    (tmp_path / 'b.pth').write_text('<!DOCTYPE html>')
    with pytest.raises(ValueError, match=r'b.pth: is a web page'):
        read_weights(tmp_path / 'b.pth', 'Net', 'weights')


def test_names_and_urls_are_fetched(monkeypatch, tmp_path):
    """A published file's name has the beginning of its hash, as PyTorch writes it; a user's URL need not."""
    fetched = []
    monkeypatch.setattr('mmfusion.models.priors.weights.fetch', lambda *args: fetched.append(args) or tmp_path)
    assert (
        find_weights('best', 'Net', 'weights', URLS) == find_weights('https://a/b-0.pth', 'Net', 'weights') == tmp_path
    )
    assert fetched == [(URLS['best'], 'deadbeef'), ('https://a/b-0.pth', None)]


def test_a_failed_download_says_what_to_do(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError('no route to host')

    monkeypatch.setattr('torch.hub.download_url_to_file', fail)
    with pytest.raises(
        RuntimeError, match=r'Net: could not download https.*no route to host.*by --weights, or put it'
    ) as e:
        find_weights('best', 'Net', '--weights', URLS)
    assert "checkpoints/best-deadbeef.pth; 'random' runs without" in str(e.value)


def test_random_weights_only_where_they_may_be():
    assert read_weights('random', 'Net', 'weights', URLS) is None
    with pytest.raises(FileNotFoundError, match=r"Net: 'random' is no file.*a file, a URL, 'best' \(https.*pth\)\.$"):
        find_weights('random', 'Net', 'weights', URLS, random=False)
