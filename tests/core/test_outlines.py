import numpy as np

from foveal.core.outlines import COLOURS, labels_of, outlined, outlined_classes
from foveal.core.weights.card import Card
from foveal.core.weights.label import Label


def card(**facts):
    return Card(name="toy", app="toy", network={"class_path": "toy"}, tile=8, overlap=0, **facts)


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


def test_classes_without_a_label_get_the_names_of_the_outputs():
    exclusive = card(activation="argmax", outputs=("background", "a", "b"), labels=(Label(value=2, name="mine"),))
    assert [(each.value, each.name) for each in labels_of(exclusive)] == [(1, "a"), (2, "mine")]
    independent = card(activation="threshold", outputs=("a", "b"))
    assert [(each.value, each.name) for each in labels_of(independent)] == [(1, "a"), (2, "b")]


def test_each_independent_class_has_its_own_outline():
    independent = card(activation="threshold", outputs=("a", "b"))
    maps = np.zeros((2, 20, 20), np.uint8)
    maps[0, :10], maps[1, :, :10] = 1, 1
    picture = outlined_classes(np.zeros((20, 20, 3), np.uint8), maps, independent)
    assert tuple(picture[9, 15]) == COLOURS[0]
    assert tuple(picture[15, 9]) == COLOURS[1]
    assert not picture[15, 15].any()
