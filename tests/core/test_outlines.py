import numpy as np

from foveal.core.outlines import outlined
from foveal.core.weights.label import Label


def test_the_outline_of_a_label_is_drawn_inside_it_in_its_colour():
    labels = np.zeros((20, 30), int)
    labels[4:12, 5:20] = 2
    picture = outlined(np.zeros((20, 30, 3), np.uint8), labels, [Label(value=2, name="two", colour=(9, 8, 7))])
    drawn = (picture == (9, 8, 7)).all(axis=2)
    edge = labels == 2
    edge[5:11, 6:19] = False
    assert np.array_equal(drawn, edge)
    assert not picture[~drawn].any()


def test_a_label_that_is_not_there_or_fills_the_image_draws_nothing():
    image = np.full((8, 8, 3), 50, np.uint8)
    labels = np.ones((8, 8), int)
    classes = [Label(value=1, name="all"), Label(value=3, name="none")]
    assert np.array_equal(outlined(image, labels, classes), image)
