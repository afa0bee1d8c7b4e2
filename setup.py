"""Package metadata, extras, and the ``.mim`` folder that carries configs and tools with the package.

OpenMMLab's libraries keep ``configs/``, ``tools/`` and ``model-index.yml`` in a folder ``.mim`` inside of the installed
package, which is where mmengine looks for ``_base_ = ['mmfusion::...']``. A wheel gets a copy; an editable installation
gets links to the checkout (git-ignored), so that an edited config is the one that is read.
"""

import ast
import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_ITEMS = ('configs', 'tools', 'demo', 'model-index.yml')
# What may lie about in a checkout and belongs to no release.
MIM_IGNORED = ('__pycache__', '*.pyc', '*.pth', 'output', 'work_dirs')


def read_version():
    """Return the version written in mmfusion/version.py, without importing the package and its requirements."""
    for node in ast.parse((ROOT / 'mmfusion' / 'version.py').read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '__version__':
            return ast.literal_eval(node.value)
    raise RuntimeError('mmfusion/version.py assigns no __version__')


def read_requirements(name):
    """Return the requirements in requirements/NAME.txt; a line ``-r other.txt`` stands for those of that file."""
    requirements = []
    for line in (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines():
        line = line.partition('#')[0].strip()
        if line.startswith('-r'):
            requirements += read_requirements(Path(line[2:].strip()).stem)
        elif line:
            requirements.append(line)
    return requirements


def read_extras():
    """Return every requirements file but runtime.txt as an extra of its name, and their union as ``all``."""
    names = sorted(path.stem for path in (ROOT / 'requirements').glob('*.txt') if path.stem != 'runtime')
    extras = {name: read_requirements(name) for name in names}
    return {**extras, 'all': sorted({requirement for group in extras.values() for requirement in group})}


def copy_mim(target):
    """Make ``target`` a copy of the items of ``.mim``, in the place of whatever an earlier build left there."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in MIM_ITEMS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns(*MIM_IGNORED))
        else:
            shutil.copy2(source, target / name)


def link_mim(target):
    """Make ``target`` a folder of relative links to the items of ``.mim`` in this checkout."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name in MIM_ITEMS:
        (target / name).symlink_to(os.path.relpath(ROOT / name, target), target_is_directory=(ROOT / name).is_dir())


class BuildWithMim(build_py):
    """Adds ``.mim`` to what is built. pip also runs this command, in ``editable_mode``, for ``pip install -e``."""

    def run(self):
        super().run()
        if getattr(self, 'editable_mode', False):
            link_mim(ROOT / 'mmfusion' / '.mim')
        else:
            copy_mim(Path(self.build_lib) / 'mmfusion' / '.mim')


if __name__ == '__main__':
    readme = ROOT / 'README.md'
    setup(
        name='mmfusion',
        version=read_version(),
        description='Infrared-visible image fusion, alone or in front of stock mmsegmentation and mmdetection models',
        long_description=readme.read_text(encoding='utf-8') if readme.exists() else '',
        long_description_content_type='text/markdown',
        license='Apache-2.0',
        classifiers=[
            'Development Status :: 4 - Beta',
            'Intended Audience :: Science/Research',
            'License :: OSI Approved :: Apache Software License',
            'Programming Language :: Python :: 3.10',
            'Programming Language :: Python :: 3.11',
            'Programming Language :: Python :: 3.12',
            'Programming Language :: Python :: 3.13',
            'Topic :: Scientific/Engineering :: Image Processing',
        ],
        keywords='image fusion, infrared, thermal, visible, multi-modal, OpenMMLab',
        packages=find_packages(include=('mmfusion', 'mmfusion.*')),
        include_package_data=True,
        # mmengine 0.10 looks modules up with pkgutil.find_loader, which Python 3.14 removed.
        python_requires='>=3.10,<3.14',
        install_requires=read_requirements('runtime'),
        extras_require=read_extras(),
        entry_points={'console_scripts': ['mmfusion=mmfusion.cli:main']},
        cmdclass={'build_py': BuildWithMim},
        zip_safe=False,
    )
