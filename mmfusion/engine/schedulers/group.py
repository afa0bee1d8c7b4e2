"""mmengine's learning rate schedules, for some parameter groups alone.

A group is known by its ``group``, which the optimizer's ``paramwise_cfg`` gives it::

    optim_wrapper = dict(
        optimizer=dict(type='Adam', lr=1e-3),
        paramwise_cfg=dict(custom_keys={'segmentor.decode_head.': dict(lr_mult=0.1, group='head')}),
    )
    param_scheduler = [dict(type='mmfusion.GroupStepLR', groups='head', step_size=10, gamma=0.1, begin=50)]

``custom_keys`` match any part of a parameter's name: write them from the name's beginning, with a dot at the end.
"""

from mmengine.optim import ConstantLR, CosineAnnealingLR, LinearLR, MultiStepLR, PolyLR, StepLR

from mmfusion.registry import PARAM_SCHEDULERS


class OfGroups:
    """Confine a schedule of mmengine, the next base, to some groups.

    ``groups`` names which of the optimizer's are scheduled; the others keep their values.

    Raises:
        ValueError: If the optimizer has no group of such a name.
    """

    def __init__(self, optimizer, *args, groups, **kwargs):
        self.groups = (groups,) if isinstance(groups, str) else tuple(groups)
        known = {group['group'] for group in optimizer.param_groups if 'group' in group}
        unknown = sorted(set(self.groups) - known)
        if unknown or not self.groups:
            raise ValueError(
                f'{type(self).__name__}: groups={self.groups}, but the parameter groups are called '
                f'{", ".join(sorted(known)) or "nothing"}. Name them in optim_wrapper.paramwise_cfg: '
                f"custom_keys={{'beginning.of.the.names.': dict(group={(unknown or ['…'])[0]!r})}}."
            )
        super().__init__(optimizer, *args, **kwargs)

    def _get_value(self):
        groups = self.optimizer.param_groups
        return [
            value if group.get('group') in self.groups else group[self.param_name]
            for group, value in zip(groups, super()._get_value(), strict=True)
        ]


@PARAM_SCHEDULERS.register_module()
class GroupStepLR(OfGroups, StepLR):
    """``StepLR`` of some groups."""


@PARAM_SCHEDULERS.register_module()
class GroupMultiStepLR(OfGroups, MultiStepLR):
    """``MultiStepLR`` of some groups."""


@PARAM_SCHEDULERS.register_module()
class GroupConstantLR(OfGroups, ConstantLR):
    """``ConstantLR`` of some groups."""


@PARAM_SCHEDULERS.register_module()
class GroupLinearLR(OfGroups, LinearLR):
    """``LinearLR`` of some groups."""


@PARAM_SCHEDULERS.register_module()
class GroupCosineAnnealingLR(OfGroups, CosineAnnealingLR):
    """``CosineAnnealingLR`` of some groups."""


@PARAM_SCHEDULERS.register_module()
class GroupPolyLR(OfGroups, PolyLR):
    """``PolyLR`` of some groups."""
