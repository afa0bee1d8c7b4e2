"""Alternating training of fuser and task model, for a config."""


def alternating_rounds(task, rounds, fusion_epochs, task_epochs, gamma=1.0, decay=1.0, restart=()):
    """Train in SeAFusion's rounds: the fuser, then the task model.

    Round m = 1 … ``rounds`` (M) trains the fuser for ``fusion_epochs`` with the weight λ = γ (m − 1) on the loss of the
    task model, which is frozen; then the task model for ``task_epochs`` on the images of the frozen fuser, with weight 1.
    In the first round λ is 0, so that an untrained task model guides nothing.

    Within the fusion epochs of a round learning rates fall by the factor ``decay`` each epoch, and start again in the
    next round; the task model learns with constant ones.

    Args:
        task (str): Attribute of the task model in the cascade, ``'segmentor'`` or ``'detector'``.
        rounds (int): M.
        fusion_epochs, task_epochs (int): Epochs of either part of a round.
        gamma (float): γ.
        decay (float): Factor an epoch on the learning rates while the fuser is trained.
        restart (Sequence[str]): Parts that start each round from new random weights, such as ``('fuser.network',)``: so does
            SeAFusion's public code.

    Returns:
        dict: ``max_epochs``; ``hooks``, by name for ``default_hooks``: ``stages``, a :class:`StagedTrainingHook`, and
        ``task_weight``, a :class:`LossWeightHook`; and ``param_scheduler``.

    Raises:
        ValueError: If a number of rounds or epochs is not positive.
    """
    if min(rounds, fusion_epochs, task_epochs) < 1:
        raise ValueError(
            f'rounds, fusion_epochs and task_epochs must be at least 1, got {rounds}, {fusion_epochs} and {task_epochs}'
        )
    length = fusion_epochs + task_epochs
    starts = [m * length for m in range(rounds)]
    turns = [start + fusion_epochs for start in starts]
    stages, weights, schedulers = [], [], []
    for m, (start, turn) in enumerate(zip(starts, turns, strict=True)):
        again = dict(restart=list(restart)) if m and restart else {}
        stages += [dict(train=['fuser'], end=turn, **again), dict(train=[task], end=start + length)]
        weights += [dict(value=gamma * m, end=turn), dict(value=1.0, end=start + length)]
        if decay != 1 and fusion_epochs > 1:
            schedulers.append(dict(type='ExponentialLR', gamma=decay, begin=start, end=turn, by_epoch=True))
    if schedulers:
        # Back to where the round started: the decays took effect fusion_epochs − 1 times.
        # The end is stated: mmengine would put that of a shorter run into its checkpoints, where it stays when resumed.
        back = dict(milestones=turns, gamma=decay ** (1 - fusion_epochs), end=rounds * length)
        schedulers.append(dict(type='MultiStepLR', by_epoch=True, **back))
    return dict(
        max_epochs=rounds * length,
        hooks=dict(
            stages=dict(type='mmfusion.StagedTrainingHook', stages=stages),
            task_weight=dict(type='mmfusion.LossWeightHook', weights={'loss_weights.task': weights}),
        ),
        param_scheduler=schedulers,
    )
