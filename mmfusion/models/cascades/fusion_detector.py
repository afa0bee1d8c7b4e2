"""A fuser in front of a stock mmdetection detector."""

from mmfusion.registry import MODELS

from .task_cascade import TaskCascade


@MODELS.register_module()
class FusionDetector(TaskCascade):
    """Fuse, then detect by an unmodified detector of mmdetection.

    Args:
        fuser: Config of an :class:`ImageFuser`.
        detector: Config of a detector, as its own library's configs have it.
        **kwargs: Those of :class:`TaskCascade`.
    """

    # YOLOXModeSwitchHook looks for an attribute of just this name.
    task_name, prefix = 'detector', 'det'

    def __init__(self, fuser: dict, detector: dict, **kwargs) -> None:
        super().__init__(fuser, detector, **kwargs)
