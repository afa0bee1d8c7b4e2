"""Weights of frozen networks: published, from a file, or random."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mmfusion.utils.checkpoint import CheckpointError, fetch, read_checkpoint
from mmfusion.utils.log import log_warning

RANDOM = 'random'
SAM_URLS = {
    'vit_h': 'https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth',
    'vit_l': 'https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth',
    'vit_b': 'https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth',
}


def find_weights(
    weights: str | Path, what: str, option: str, urls: Mapping[str, str] | None = None, random: bool = True
) -> Path | None:
    """Find or download the file of a frozen network's weights.

    Args:
        weights: One of the names in ``urls``, a file, a URL, or ``'random'``.
        what: The network, for messages.
        option: What sets the weights, for messages.
        urls: Name → URL of published weights. A file name that ends in a hash, as PyTorch's do, is checked.
        random: Whether random weights are allowed; the log warns of them.

    Returns:
        The local file; None for random weights.

    Raises:
        FileNotFoundError: If there is no such file.
        RuntimeError: If the download failed.
    """
    urls = dict(urls or {})
    if random and weights == RANDOM:
        log_warning(
            f'{what} has RANDOM weights: what is trained on its features runs, but means little. For results, give real '
            f'ones by {option}.'
        )
        return None
    url = urls.get(str(weights), str(weights) if '://' in str(weights) else None)
    if url is None:
        if Path(weights).is_file():
            return Path(weights)
        names = ''.join(f', {name!r} ({address})' for name, address in urls.items())
        raise FileNotFoundError(
            f'{what}: {str(weights)!r} is no file. Expected by {option}: a file, a URL{names}{", or " * random}'
            f'{repr(RANDOM) * random}.'
        )
    hashed = torch.hub.HASH_REGEX.search(Path(url).name) if weights in urls else None
    try:
        return fetch(url, hashed and hashed[1])
    except CheckpointError as e:
        cached = Path(torch.hub.get_dir()) / 'checkpoints' / Path(url).name
        raise RuntimeError(
            f'{what}: could not download {url} ({e.__cause__ or e}). Fetch it by other means and give the file by {option}, '
            f'or put it at {cached}' + f'; {RANDOM!r} runs without.' * random
        ) from e


def read_weights(*args, **kwargs) -> dict[str, Tensor] | None:
    """Read the weights that :func:`find_weights` finds; None for random ones.

    Raises:
        CheckpointError: If the file is damaged or holds no weights.
    """
    file = find_weights(*args, **kwargs)
    return None if file is None else read_checkpoint(file)[0]
