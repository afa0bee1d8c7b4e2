from .zoo import PublishedMethod, stand_in


class TestLRRNet(PublishedMethod):
    name = 'lrrnet'
    config = 'lrrnet/lrrnet_tno.py'
    train = 'lrrnet/lrrnet_kaist.py'
    weights = 'LRRNet/final_lrr_net_lam2_1.5_wir_3.0_lam3_gram_2000_epoch_4_block_4.model'
    narrow = {
        'network.filters': 4,
        'losses.detail.prior.weights': 'random',
        'losses.detail.prior.width': 0.05,
    }

    def test_public_code_by_stand_in_weights(self, numbers):
        """Thresholds below zero would make the shrinkage jump at zero, where rounding decides."""
        state = stand_in(numbers['names'], numbers['shapes'])
        state = {name: value.abs() if name.endswith('lamj') else value for name, value in state.items()}
        self.compare(self.fuser(state), numbers, 'standin')
