"""A fuser in front of a stock mmsegmentation segmenter."""

from mmfusion.registry import MODELS

from .task_cascade import TaskCascade


@MODELS.register_module()
class FusionSegmentor(TaskCascade):
    """Fuse, then segment by an unmodified segmenter of mmsegmentation.

    Args:
        fuser: Config of an :class:`ImageFuser`.
        segmentor: Config of a segmenter, as its own library's configs have it.
        **kwargs: Those of :class:`TaskCascade`.
    """

    task_name, prefix = 'segmentor', 'seg'

    def __init__(self, fuser: dict, segmentor: dict, **kwargs) -> None:
        super().__init__(fuser, segmentor, **kwargs)
