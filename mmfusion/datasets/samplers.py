"""Samplers of training patches."""

from collections.abc import Iterator

from mmengine.dataset import DefaultSampler

from mmfusion.datasets.fusion_dataset import FusionDataset
from mmfusion.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class PatchSampler(DefaultSampler):
    """Draw several patches of an image, one after the other.

    OCCO's public code cuts two patches of each image in turn, so that they mostly share a batch. mmengine's
    ``RepeatDataset`` would bring the second in another part of the epoch, with the same augmentation.

    Args:
        dataset: A :class:`FusionDataset`, which takes (index, repetition).
        repeats: Patches of an image in an epoch.
        **kwargs: Those of :class:`mmengine.dataset.DefaultSampler`.
    """

    def __init__(self, dataset: FusionDataset, repeats: int = 2, **kwargs) -> None:
        super().__init__(dataset, **kwargs)
        self.repeats = repeats

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(index, repetition), all of an image together."""
        for index in super().__iter__():
            yield from ((index, k) for k in range(self.repeats))

    def __len__(self) -> int:
        """Patches in an epoch, of one process."""
        return super().__len__() * self.repeats
