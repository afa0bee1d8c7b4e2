"""How training images are drawn: shuffled, by two workers that stay alive. A config states the batch and the dataset."""

train_dataloader = dict(num_workers=2, persistent_workers=True, sampler=dict(type='DefaultSampler', shuffle=True))
