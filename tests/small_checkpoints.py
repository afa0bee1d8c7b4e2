"""A small model, a network with authors of its own, and their files, for the tests of checkpoints."""

import torch
from torch import nn

from mmfusion.registry import MODELS


class Model(nn.Module):
    """A model with a batch norm, and losses that may be absent."""

    training_only = ('losses', 'discriminators')

    def __init__(self, width=3, losses=()):
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(1, width, 1), nn.BatchNorm2d(width))
        self.losses = nn.ModuleList(losses)


def save(path, content):
    torch.save(content, path)
    return path


# pytest imports this file twice, once to look for doctests.
@MODELS.register_module(force=True)
class Toned(nn.Module):
    """A network whose authors call its parameters otherwise."""

    def __init__(self, width=3):
        super().__init__()
        self.stem, self.head = nn.Conv2d(2, width, 3), nn.Conv2d(width, 1, 1)

    @staticmethod
    def from_authors(state):
        names = {'stem.weight': 'conv1.w', 'stem.bias': 'conv1.b', 'head.weight': 'conv2.w', 'head.bias': 'conv2.b'}
        return {ours: state[theirs] for ours, theirs in names.items()}


def authors_file(path, width=3):
    state = Toned(width).state_dict()
    return save(path, {'net': dict(zip(('conv1.w', 'conv1.b', 'conv2.w', 'conv2.b'), state.values(), strict=True))})


def fuser(network):
    return MODELS.build(dict(type='mmfusion.ImageFuser', network=dict(type=network)))
