"""Child registries of mmengine's, scope ``mmfusion``.

A type written ``mmfusion.X`` is found from any OpenMMLab config; the modules named in ``_LOCATIONS`` are imported when a
registry is first asked for something. All of mmengine's registries have a child here, so that a third party's loops,
optimizers or samplers may register under the scope, too.
"""

from collections.abc import Mapping

from mmengine import registry as _mmengine
from mmengine.registry import Registry

_LOCATIONS = {
    'MODELS': 'mmfusion.models',
    'MODEL_WRAPPERS': 'mmfusion.models',
    'DATASETS': 'mmfusion.datasets',
    'DATA_SAMPLERS': 'mmfusion.datasets',
    'TRANSFORMS': 'mmfusion.datasets.transforms',
    'METRICS': 'mmfusion.evaluation',
    'HOOKS': 'mmfusion.engine',
    'PARAM_SCHEDULERS': 'mmfusion.engine',
    'VISUALIZERS': 'mmfusion.visualization',
    'INFERENCERS': 'mmfusion.apis',
}


def _child(name: str) -> Registry:
    parent = getattr(_mmengine, name)
    # A registry without modules of ours still names a location: mmengine would otherwise look for a legacy function.
    return Registry(parent.name, parent=parent, scope='mmfusion', locations=[_LOCATIONS.get(name, 'mmfusion.engine')])


MODELS = _child('MODELS')
DATASETS = _child('DATASETS')
TRANSFORMS = _child('TRANSFORMS')
METRICS = _child('METRICS')
HOOKS = _child('HOOKS')
VISUALIZERS = _child('VISUALIZERS')
VISBACKENDS = _child('VISBACKENDS')
INFERENCERS = _child('INFERENCERS')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS')
LOOPS = _child('LOOPS')
RUNNERS = _child('RUNNERS')
RUNNER_CONSTRUCTORS = _child('RUNNER_CONSTRUCTORS')
EVALUATOR = _child('EVALUATOR')
DATA_SAMPLERS = _child('DATA_SAMPLERS')
MODEL_WRAPPERS = _child('MODEL_WRAPPERS')
WEIGHT_INITIALIZERS = _child('WEIGHT_INITIALIZERS')
OPTIMIZERS = _child('OPTIMIZERS')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS')
TASK_UTILS = _child('TASK_UTILS')
LOG_PROCESSORS = _child('LOG_PROCESSORS')
FUNCTIONS = _child('FUNCTIONS')


def is_a(config: Mapping, registry: Registry, *classes: type) -> bool:
    """Tell whether a config's ``type`` is a class or its subclass."""
    kind = config.get('type')
    cls = registry.get(kind) if isinstance(kind, str) else kind
    return isinstance(cls, type) and issubclass(cls, classes)
