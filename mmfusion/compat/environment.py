"""Environment variables as configs can hold them.

mmengine puts the value of ``{{$MMFUSION_DATA:data}}`` into the text of a config, inside of quotes, by a regular expression:
a backslash (each path of Windows), a quote or the end of a line breaks it, as do bytes that are no UTF-8; ``~`` stays as it
is, and an empty value hides the default.
"""

import os
from collections.abc import MutableMapping

PREFIX = 'MMFUSION_'
# How a string literal writes what it cannot hold; the backslash itself is doubled, since the text is a template of `re.sub`.
# Bytes that are no UTF-8 are in Python's strings from U+DC80 to U+DCFF.
_ESCAPES = {"'": r'\\x27', '"': r'\\x22', '\n': r'\\x0a', '\r': r'\\x0d'} | {
    chr(code): rf'\\u{code:x}' for code in range(0xDC80, 0xDD00)
}


def make_fit_for_configs(environ: MutableMapping[str, str] = os.environ) -> None:
    """Rewrite MMFUSION_* variables in place to paths that configs can hold.

    An empty variable is removed, so that the default counts. ``~`` becomes the home, a backslash a slash.
    """
    for name in [name for name in environ if name.startswith(PREFIX)]:
        value = plain(environ[name]).strip()
        if not value:
            del environ[name]
            continue
        value = os.path.expanduser(value).replace('\\', '/')
        for character, escaped in _ESCAPES.items():
            value = value.replace(character, escaped)
        if value != environ[name]:
            environ[name] = value


def plain(value: str) -> str:
    """Give the path that a rewritten variable stands for."""
    for character, escaped in _ESCAPES.items():
        value = value.replace(escaped, character)
    return value
