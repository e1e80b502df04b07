import pytest

from foveal.core.errors import UserError
from foveal.core.weights.adapters import reading_shapes, refuse_unknown


def test_unknown_options_are_refused_with_a_near_name():
    refuse_unknown("Net", {"depth": 1}, ("depth", "width"))
    with pytest.raises(UserError, match="unknown Net option 'widht'; did you mean 'width'"):
        refuse_unknown("Net", {"depth": 1, "widht": 2}, ("depth", "width"))


@pytest.mark.parametrize("read", [lambda: {}["stem"], lambda: ()[0], lambda: 1 // 0])
def test_weights_whose_shapes_tell_nothing_are_refused_in_one_line(read):
    with (
        pytest.raises(UserError, match=r"these are no weights of Net: .*missing or has another rank"),
        reading_shapes("Net"),
    ):
        read()
