from .zoo import PublishedMethod, stand_in


class TestMFEIF(PublishedMethod):
    name = 'mfeif'
    config = 'mfeif/mfeif_tno.py'
    train = 'mfeif/mfeif_roadscene.py'
    weights = 'MFEIF/default.pth'
    narrow = {'network.channels': (4, 8, 8, 16), 'network.attention': (4, 4, 8, 8, 8, 4)}

    def test_public_code_by_stand_in_weights(self, numbers):
        """Without a larger last bias the last ReLU would make all images black."""
        state = stand_in(numbers['names'], numbers['shapes'])
        state['con.conv_4.bn.bias'] += 1
        self.compare(self.fuser(state), numbers, 'standin')
