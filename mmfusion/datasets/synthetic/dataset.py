"""Dataset of synthetic scenes, rendered on the fly."""

from mmfusion.datasets.fusion_dataset import FusionDataset
from mmfusion.registry import DATASETS

from .render import BOX_CLASSES, PALETTE, scene_name
from .scene import CLASSES


@DATASETS.register_module()
class SyntheticDataset(FusionDataset):
    """Synthetic scenes, rendered by ``RenderSyntheticPair`` in the place of loaders.

    A sample has ``synthetic`` (seed, index and size for the renderer), ``height``, ``width``, ``img_id``, ``img_path`` and
    ``ir_path`` (names for messages and for output files, not files), ``text``, ``label_map``, ``reduce_zero_label`` and
    ``seg_fields``.

    Args:
        num: Number of scenes.
        seed: Which set of scenes.
        size: Height and width.
        start: Index of the first scene: a validation set takes up where the training set ends.
        task: Whose classes ``metainfo`` tells the metrics: ``'seg'`` (:data:`CLASSES`) or ``'det'``
            (:data:`BOX_CLASSES`, which the boxes' labels count). The samples are the same.
        **kwargs: Those of :class:`FusionDataset`.

    Raises:
        ValueError: If ``num`` is not positive, or ``task`` unknown.
    """

    METAINFO = dict(classes=CLASSES, palette=PALETTE)

    def __init__(
        self,
        num: int = 64,
        seed: int = 0,
        size: tuple[int, int] = (480, 640),
        start: int = 0,
        task: str = 'seg',
        metainfo: dict | None = None,
        **kwargs,
    ) -> None:
        if num < 1:
            raise ValueError(f'SyntheticDataset needs at least one scene, got num={num}')
        if task not in ('seg', 'det'):
            raise ValueError(f"task must be 'seg' or 'det', got {task!r}")
        if task == 'det':
            colours = [PALETTE[CLASSES.index(name)] for name in BOX_CLASSES]
            metainfo = dict(classes=BOX_CLASSES, palette=colours) | dict(metainfo or {})
        self.num, self.seed, self.size, self.start = num, seed, tuple(size), start
        super().__init__(metainfo=metainfo, **kwargs)

    def load_data_list(self) -> list[dict]:
        """The recipes of the scenes; nothing is rendered here."""
        return [self._recipe(index) for index in range(self.start, self.start + self.num)]

    def _recipe(self, index: int) -> dict:
        name = scene_name(self.seed, index)
        return dict(
            synthetic=dict(seed=self.seed, index=index, size=self.size),
            height=self.size[0],
            width=self.size[1],
            img_id=name,
            text=f'a street {"at night" if name.endswith("N") else "by day"}',
            img_path=f'synthetic/vi/{name}.png',
            ir_path=f'synthetic/ir/{name}.png',
            label_map=None,
            num_classes=len(CLASSES),
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=[],
        )
