_base_ = './_base_.py'
custom_imports = dict(imports=['mmfusion', 'projects.worked_methods.auto_encoder'])

# The loss of a fused image serves for a reconstruction: `inputs` says which entries it compares.
ssim = dict(type='mmfusion.SSIMLoss', inputs=dict(fused='vi_hat', vi='vi', ir='vi'))
model = dict(network=dict(type='AutoEncoderNet'), losses=dict(ssim=ssim), output=('clamp',))
pipeline = [dict(type='LoadImageFromFile'), dict(type='mmfusion.PackFusionInputs', channels=3)]
images = dict(type='mmfusion.ImageDataset', data_prefix=dict(img_path='{{$MMFUSION_DATA:data}}/images'))
train_dataloader = dict(batch_size=2, dataset=dict(_delete_=True, **images, pipeline=pipeline))
stages = [dict(train=['network'], phase='reconstruct')]
default_hooks = dict(stages=dict(type='mmfusion.StagedTrainingHook', stages=stages))
