_base_ = '../occo_fmb.py'

# Table 9: masks from "Precisely segmenting salient objects such as vehicles, pedestrians." in folders of their own
# (docs/masks.md), beside those of the first prompt.
train_dataloader = dict(
    dataset=dict(data_prefix=dict(mask_vi_path='train/mask_vi_prompt2', mask_ir_path='train/mask_ir_prompt2'))
)
