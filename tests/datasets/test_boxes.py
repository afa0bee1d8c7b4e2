"""Reading of box annotations."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from mmfusion.datasets.boxes import AnnotatedBoxes, read_voc, read_yolo
from mmfusion.utils import write_image


def write_voc(file, boxes, size=(56, 40)):
    """A VOC file of (class, corners)."""
    file.parent.mkdir(exist_ok=True)
    names = ('xmin', 'ymin', 'xmax', 'ymax')
    objects = ''.join(
        f'<object><name>{n}</name><bndbox>{"".join(f"<{k}>{v}</{k}>" for k, v in zip(names, c, strict=True))}</bndbox>'
        '</object>'
        for n, c in boxes
    )
    width, height = size
    file.write_text(f'<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>')


def test_missing_annotations(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'a\.xml: no such annotation'):
        read_voc(tmp_path / 'a.xml', ['x'])
    with pytest.raises(FileNotFoundError, match=r'a\.txt: no such annotation'):
        read_yolo(tmp_path / 'a.txt', ['x'], None)


@pytest.mark.parametrize(('line', 'message'), [
    ('0 0.5 0.5 0.1', 'line 1: expected "class x y width height"'),
    ('car 0.5 0.5 0.1 0.1', 'line 1: class car, but the dataset has classes 0 to 1'),
    ('0 30 40 10 10', 'fractions of the image, found .*outside'),
    ('3 0.5 0.5 0.1 0.1', 'line 1: class 3, but the dataset has classes 0 to 1'),
    ('0 0.5 0.5 0 0.1', 'box without extent'),
])  # fmt: skip
def test_bad_yolo_lines(tmp_path, line, message):
    write_image(tmp_path / 'a.png', np.zeros((8, 8), np.uint8))
    (tmp_path / 'a.txt').write_text(line)
    with pytest.raises(ValueError, match=message):
        read_yolo(tmp_path / 'a.txt', ['x', 'y'], tmp_path / 'a.png')


@pytest.mark.parametrize('kind', ['turned', 'npy', 'f8', 'large', 'damaged'])
def test_yolo_boxes_of_any_image_that_is_read(tmp_path, kind, monkeypatch):
    """Fractions are of the image as it is read: turned as EXIF says, of formats and sizes that Pillow refuses."""
    image, size = tmp_path / 'a.png', (8, 16)
    if kind == 'turned':
        exif = Image.Exif()
        exif[0x0112], image = 6, tmp_path / 'a.jpg'
        Image.new('RGB', (8, 16)).save(image, exif=exif)
    elif kind == 'npy':
        image = tmp_path / 'a.npy'
        np.save(image, np.zeros(size, np.float32))
    elif kind == 'f8':
        image = tmp_path / 'a.tif'
        cv2.imwrite(str(image), np.zeros((*size, 3)))
    else:
        write_image(image, np.zeros(size, np.uint8))
    if kind == 'large':
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
    (tmp_path / 'a.txt').write_text('0 0.5 0.5 0.5 0.25')
    if kind == 'damaged':
        image.write_bytes(b'none')
        with pytest.raises(ValueError, match=r'a\.png: cannot be read as an image'):
            read_yolo(tmp_path / 'a.txt', ['x'], image)
        return
    assert read_yolo(tmp_path / 'a.txt', ['x'], image) == [('x', [4, 3, 12, 5], False)]


class TestAnnotatedBoxes:
    """VOC, YOLO and COCO files."""

    corners = ((14, 10, 42, 30), (0, 20, 28, 40))
    img = np.zeros((40, 56, 3), np.uint8)

    def voc(self, folder):
        """Two boxes for a, none for b."""
        write_voc(folder / 'voc' / 'a.xml', list(zip(('People', 'Car'), self.corners, strict=True)))
        write_voc(folder / 'voc' / 'b.xml', [])
        return folder / 'voc'

    def yolo(self, folder):
        """The same."""
        (folder / 'yolo').mkdir()
        (folder / 'yolo' / 'a.txt').write_text('0 0.5 0.5 0.5 0.5\n\n1 0.25 0.75 0.5 0.5 0.93\n')
        (folder / 'yolo' / 'b.txt').write_text('')
        return folder / 'yolo'

    def coco(self, folder):
        """The same."""
        content = {
            'images': [{'id': 7, 'file_name': 'x/a.jpg', 'width': 56, 'height': 40}, {'id': 8, 'file_name': 'b.jpg'}],
            'annotations': [
                {'image_id': 7, 'category_id': 3, 'bbox': [14, 10, 28, 20]},
                {'image_id': 7, 'category_id': 4, 'bbox': [0, 20, 28, 20]},
            ],
            'categories': [{'id': 3, 'name': 'People'}, {'id': 4, 'name': 'Car'}],
        }
        (folder / 'coco.json').write_text(json.dumps(content))
        return folder / 'coco.json'

    @pytest.mark.parametrize(('kind', 'person'), [('voc', 'People'), ('yolo', '0'), ('coco', 'People')])
    def test_same_boxes(self, tmp_path, kind, person):
        """All three say the same; classes select; no object is no box."""
        file = getattr(self, kind)(tmp_path)
        boxes = AnnotatedBoxes(file)
        boxes.load(['a', 'b'])
        np.testing.assert_allclose(boxes('a', self.img, 'ir'), self.corners)
        assert boxes('b', self.img, 'vi').shape == (0, 4)
        persons = AnnotatedBoxes(file, classes=[person])
        persons.load(['a', 'b'])
        np.testing.assert_allclose(persons('a', self.img, 'vi'), self.corners[:1])
        with pytest.raises(ValueError, match=rf'no box of class Tram. Its classes are: .*{person}'):
            AnnotatedBoxes(file, classes=['Tram']).load(['a', 'b'])
        with pytest.raises(ValueError, match=r'no annotation of 1 image.s.: c.*--missing-boxes empty'):
            AnnotatedBoxes(file).load(['a', 'c'])
        lenient = AnnotatedBoxes(file, missing='empty')
        lenient.load(['a', 'c'])
        assert lenient('c', self.img, 'vi').shape == (0, 4)

    def test_infrared_apart(self, tmp_path):
        """Each modality has its own boxes where they are given."""
        write_voc(tmp_path / 'ir_voc' / 'a.xml', [('Car', (1, 2, 3, 4))])
        boxes = AnnotatedBoxes(self.voc(tmp_path), tmp_path / 'ir_voc')
        boxes.load(['a'])
        assert len(boxes('a', self.img, 'vi')) == 2
        np.testing.assert_allclose(boxes('a', self.img, 'ir'), [(1, 2, 3, 4)])

    def test_edges(self, tmp_path):
        """Boxes are clipped to the image; one outside of it is an error, and so is a file of another size."""
        write_voc(tmp_path / 'v' / 'a.xml', [('Car', (-5, 30, 60, 50))])
        write_voc(tmp_path / 'v' / 'b.xml', [('Car', (60, 2, 70, 4))])
        write_voc(tmp_path / 'v' / 'c.xml', [('Car', (1, 2, 3, 4))], size=(640, 480))
        boxes = AnnotatedBoxes(tmp_path / 'v')
        boxes.load('abc')
        np.testing.assert_allclose(boxes('a', self.img, 'vi'), [(0, 30, 56, 40)])
        with pytest.raises(ValueError, match=r'b.xml, .*: box \[60.*lies outside of its image of 56×40'):
            boxes('b', self.img, 'vi')
        with pytest.raises(ValueError, match=r'c.xml: made for an image of 640×480.* is 56×40'):
            boxes('c', self.img, 'vi')

    def test_unreadable(self, tmp_path):
        """Each message names the file and what it should hold."""
        for name, text, message in (
            ('a.xml', '<annotation><obj', r'a.xml: not readable as XML'),
            (
                'b.xml',
                '<annotation><object><name>x</name></object></annotation>',
                r'b.xml: object 1 .x. has no complete bndbox',
            ),
            ('c.txt', '0 0.5 0.5 0.5', r"c.txt, line 1: expected .* found '0 0.5 0.5 0.5'"),
            ('d.txt', '\n0 100 120 30 20', r'd.txt, line 2: .*fractions'),
        ):
            (tmp_path / name).write_text(text)
            with pytest.raises(ValueError, match=message):
                AnnotatedBoxes(tmp_path).load([name[0]])
        with pytest.raises(ValueError, match=r'holds both VOC .* and YOLO'):
            AnnotatedBoxes(tmp_path).load(['a', 'c'])
        (tmp_path / 'e.json').write_text('{"images": []}')
        with pytest.raises(ValueError, match=r'e.json: cannot be read as COCO .*categories'):
            AnnotatedBoxes(tmp_path / 'e.json').load(['a'])
        with pytest.raises(ValueError, match=r'nowhere: no such folder'):
            AnnotatedBoxes(tmp_path / 'nowhere').load(['a'])
        with pytest.raises(ValueError, match=r'neither z.xml \(VOC\) nor z.txt'):
            AnnotatedBoxes(tmp_path).load(['z'])


@pytest.mark.parametrize(
    ('line', 'box'),
    [
        ('1.0 0.5 0.5 0.5 0.25', [2, 3, 6, 5]),
        ('1 0.5 0.5 0.5 0.25 0.93', [2, 3, 6, 5]),
        ('1 0.25 0.25 0.75 0.25 0.5 0.75', [2, 2, 6, 6]),
        ('1 0.25 0.5 0.5 0.25 0.75 0.5 0.5 0.75', [2, 2, 6, 6]),
        ('1 0.5 0.5 1.005 1', [0, 0, 8, 8]),
    ],
)
def test_yolo_as_tools_write_it(tmp_path, line, box):
    write_image(tmp_path / 'a.png', np.zeros((8, 8), np.uint8))
    (tmp_path / 'a.txt').write_text(line)
    assert read_yolo(tmp_path / 'a.txt', ['x', 'y'], tmp_path / 'a.png') == [('y', box, False)]
