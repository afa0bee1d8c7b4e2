"""Defaults of masks for the command line; without torch."""

# OCCO's first prompt; see :data:`mmfusion.masks.grounded_sam.KNOWN_PHRASES`.
DEFAULT_PROMPT = 'The scene captures a group of pedestrians or cars.'
# IDEA's Swin-T weights ("OGC"), as mmdet publishes them.
DEFAULT_DETECTOR = 'grounding_dino_swin-t_pretrain_obj365_goldg_cap4m'
# Ways of colouring feature maps; see :data:`mmfusion.masks.draw.WAYS`.
DRAWING_WAYS = ('heat', 'pca', 'tsne')
