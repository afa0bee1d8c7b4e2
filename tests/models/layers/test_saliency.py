import torch

from mmfusion.models.layers import visual_saliency


def test_saliency_is_the_mean_distance_to_all_pixels():
    image = torch.rand(2, 1, 5, 7)
    levels = (image * 255).round().flatten(1)
    distance = (levels[:, :, None] - levels[:, None]).abs().mean(2)
    low, high = distance.amin(1, keepdim=True), distance.amax(1, keepdim=True)
    torch.testing.assert_close(visual_saliency(image).flatten(1), (distance - low) / (high - low), rtol=0, atol=1e-5)
    over_largest = visual_saliency(image, stretch=False)
    torch.testing.assert_close(over_largest.flatten(1), distance / high, rtol=0, atol=1e-5)
    for stretch in (True, False):
        assert visual_saliency(torch.full((1, 1, 4, 4), 0.5), stretch).eq(0).all()  # nothing stands out
