"""Published fusion methods, each whole in one file or folder.

Every module here is imported when the registry is first asked for a model, so that a new method costs its file and a
config, and no entry in a list. A method that needs an optional package imports it when it is built, not on import.
"""

from importlib import import_module
from pkgutil import iter_modules

__all__ = sorted(module.name for module in iter_modules(__path__))
globals().update({name: import_module(f'{__name__}.{name}') for name in __all__})
