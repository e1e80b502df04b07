from PIL import Image

from foveal.core.figures import new_figure, plain_axes, save_figure


def test_a_figure_has_its_size_and_plain_axes(tmp_path):
    figure = new_figure(2, 1)
    axes = figure.subplots()
    plain_axes(axes)
    save_figure(figure, tmp_path / "figure.png")
    assert Image.open(tmp_path / "figure.png").size == (220, 110)
    assert {side for side, spine in axes.spines.items() if spine.get_visible()} == {"left", "bottom"}
    assert [each.name for each in tmp_path.iterdir()] == ["figure.png"]
