"""SDNet as its authors fuse colour images: Y and colours by their MATLAB scripts before and after the network.

Y is that of 16 to 235, and the fused Y, stretched to 0 to 255, is taken for such a one: contrast grows by a sixth, and what
is darker than 16 becomes black.
"""

_base_ = './sdnet_tno.py'

model = dict(
    color=dict(
        type='mmfusion.MatrixColor',
        chroma=((-0.148, -0.291, 0.439), (0.439, -0.368, -0.071)),
        inverse=((0, 1.596), (-0.392, -0.813), (2.017, 0)),
        scale=1.164,
        black=16 / 255,
        of_levels=True,
    ),
    test_cfg=dict(luminance='studio'),
)
