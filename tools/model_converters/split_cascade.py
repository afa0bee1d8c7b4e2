"""Write the sides of a cascade as checkpoints of their own: the fuser's, and the stock model's in its library's names."""

import argparse
import sys
from pathlib import Path

import mmfusion  # noqa: F401
from mmfusion.cli.errors import report
from mmfusion.models.cascades import TaskCascade
from mmfusion.models.checkpoint import full_state_dict, load_weights, save_checkpoint
from mmfusion.models.hub import build_model, load_model_config
from mmfusion.utils import check_writable


def split(config, checkpoint, fuser=None, task=None):
    """Load a cascade, and write what is asked for.

    Args:
        config, checkpoint (str | Path): The cascade's.
        fuser, task (str | Path, optional): Files to write.

    Returns:
        dict[Path, int]: File → number of tensors.

    Raises:
        CheckpointError: The checkpoint is not one of this config.
        ValueError: The config is of no cascade.
    """
    model = build_model(load_model_config(config, task='seg'))  # or a detector: what counts is that it is kept
    if not isinstance(model, TaskCascade):
        raise ValueError(f'{config}: its model is a {type(model).__name__}; only a cascade has two sides')
    meta = load_weights(model, checkpoint)
    states = {fuser: full_state_dict(model.fuser), task: model.task_state_dict()}
    written = {}
    for file, state in states.items():
        if file is not None:
            kept = ('dataset_meta', 'experiment_name', 'mmengine_version', 'priors')
            save_checkpoint(file, state, {k: v for k, v in meta.items() if k in kept})
            written[Path(file)] = len(state)
    return written


def main(argv=None):
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the cascade')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('--fuser', help='file to write the fuser to')
    parser.add_argument('--task', help='file to write the segmenter or detector to')
    args = parser.parse_args(argv)
    if not args.fuser and not args.task:
        parser.error('nothing to write: give --fuser, --task or both')
    return report(_split, args)


def _split(args):
    for option in ('fuser', 'task'):
        if getattr(args, option):
            check_writable(getattr(args, option), f'--{option}', folder=False)
    written = split(args.config, args.checkpoint, args.fuser, args.task)
    return '\n'.join(f'{file}: {count} tensors' for file, count in written.items())


if __name__ == '__main__':
    sys.exit(main())
