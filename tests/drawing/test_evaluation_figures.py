"""Figures of an evaluation: that what is drawn and written is what was given, and what is said where nothing can be."""

import math

import numpy as np
import pytest
from matplotlib.cbook import pts_to_prestep
from matplotlib.collections import PolyCollection
from PIL import Image

from medseg.drawing.agreement_figures import bland_altman_plot, calibration_plot, difference_plot
from medseg.drawing.evaluation_figures import froc_plot, precision_recall_plot, roc_plot
from medseg.drawing.look import COLOURS, save_figure
from medseg.errors import OutputError
from medseg.evaluation import partial_auc, roc_curve

STEPS = ([0, 0, 0.5, 0.5, 1], [0, 0.4, 0.4, 1, 1])
NAN = ([math.nan, math.nan], [math.nan, math.nan])


def lines(figure, part=0):
    """Of the curves, by their name in the legend."""
    return {line.get_label(): line for line in figure.axes[part].lines if not line.get_label().startswith("_")}


def polygons(figure):
    shapes = [shape for shape in figure.axes[0].collections if isinstance(shape, PolyCollection)]
    return [shape.get_paths()[0].vertices for shape in shapes]


def corners(polygon):
    return {tuple(np.round(corner, 12)) for corner in polygon}


def shoelace(polygon):
    x, y = polygon.T
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def texts(figure, part=0):
    return [text.get_text() for text in figure.axes[part].texts]


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_roc_draws_each_curve_as_it_is_in_a_colour_of_its_own():
    straight = ([0, 1], [0, 1])
    figure = roc_plot({"a": STEPS, "b": straight}, auc={"a": "0.7 (0.5 to 0.9)"})
    drawn = lines(figure)
    assert list(drawn) == ["a: 0.7 (0.5 to 0.9)", "b"] == legend(figure)
    assert np.array_equal(drawn["a: 0.7 (0.5 to 0.9)"].get_xydata(), np.transpose(STEPS))
    assert np.array_equal(drawn["b"].get_xydata(), np.transpose(straight))
    assert [line.get_color() for line in drawn.values()] == list(COLOURS[:2])
    assert [line.get_linestyle() for line in drawn.values()] == ["-", "--"]
    assert polygons(figure) == []


def test_roc_shades_between_interpolated_ends():
    slope = ([0, 0.2, 1], [0, 0.6, 1])
    (polygon,) = polygons(roc_plot({"a": slope}, fpr_range=(0.1, 0.4)))
    assert corners(polygon) == {(0.1, 0), (0.4, 0), (0.1, 0.3), (0.2, 0.6), (0.2, 0), (0.4, 0.7)}
    assert shoelace(polygon) == pytest.approx(0.1 * 0.45 + 0.2 * 0.65)


def test_roc_shades_to_the_right_over_a_range_of_sensitivity():
    slope = ([0, 0.2, 1], [0, 0.6, 1])
    figure = roc_plot({"a": slope}, tpr_range=(0.5, 0.8))
    (polygon,) = polygons(figure)
    assert {(round(0.5 / 3, 12), 0.5), (0.2, 0.6), (0.6, 0.8), (1, 0.5), (1, 0.8)} <= corners(polygon)
    assert shoelace(polygon) == pytest.approx(0.1 * (1 - 0.55 / 3) + 0.2 * 0.6)
    assert legend(figure) == ["a", "sensitivity 0.5 to 0.8"]


def test_roc_leaves_out_the_step_at_either_end_of_the_range():
    (polygon,) = polygons(roc_plot({"a": STEPS}, fpr_range=(0, 0.5)))
    assert corners(polygon) == {(0, 0), (0, 0.4), (0.5, 0.4), (0.5, 0)}
    (polygon,) = polygons(roc_plot({"a": STEPS}, fpr_range=(0.5, 1)))
    assert corners(polygon) == {(0.5, 0), (0.5, 1), (1, 1), (1, 0)}


@pytest.mark.parametrize("options", [{"fpr_range": (0.05, 0.33)}, {"tpr_range": (0.71, 1)}, {"fpr_range": (0, 1)}])
def test_the_shaded_area_is_the_partial_area(options):
    rng = np.random.default_rng(5)
    truth = np.repeat([0, 1], 60)
    score = np.round(rng.normal(size=120) + truth, 1)
    curve = roc_curve(truth, score)
    (polygon,) = polygons(roc_plot({"a": (curve.fpr, curve.tpr)}, **options))
    assert shoelace(polygon) == pytest.approx(partial_auc(truth, score, **options).raw, abs=1e-12)


def test_roc_shades_the_curve_that_is_named():
    figure = roc_plot({"a": STEPS, "b": ([0, 1], [0, 1])}, fpr_range=(0.2, 0.4), shaded="b")
    (shape,) = figure.axes[0].collections
    assert corners(shape.get_paths()[0].vertices) == {(0.2, 0), (0.4, 0), (0.2, 0.2), (0.4, 0.4)}
    assert shape.get_facecolor()[0, :3] == pytest.approx([int(COLOURS[1][i : i + 2], 16) / 255 for i in (1, 3, 5)])


def test_an_undefined_curve_is_named_and_takes_its_colour_with_it():
    figure = roc_plot({"men": NAN, "women": STEPS}, fpr_range=(0, 0.1))
    assert legend(figure) == ["men: undefined", "women"]
    assert lines(figure)["women"].get_color() == COLOURS[1]
    assert len(lines(figure)["men: undefined"].get_xdata()) == 0
    assert polygons(figure) == []  # the first curve would have been shaded, not another in its place


@pytest.mark.parametrize("plot", [roc_plot, precision_recall_plot, lambda curves: froc_plot(curves, rates=[1])])
def test_no_curve_left_is_said_in_the_axes(plot):
    assert texts(plot({})) == ["no curve"]
    assert texts(plot({"men": NAN, "women": ([], [])})) == ["undefined: men, women"]


def test_froc_keeps_its_steps_within_the_axis_and_goes_on_flat():
    curve = ([0, 0, 0.5, 0.5, 1, 1], [0, 0.2, 0.2, 0.6, 0.6, 0.9])
    figure = froc_plot({"a": curve}, rates=(0.25, 0.5, 1, 2))
    x, y = lines(figure)["a"].get_data()
    assert (x[0], y[0]) == pytest.approx((0.125, 0.2))
    assert (x[-1], y[-1]) == pytest.approx((2.6, 0.9))
    assert (np.diff(x) >= 0).all()
    assert set(y) == {0.2, 0.6, 0.9}  # nothing between the steps
    assert list(y[x == 0.5]) == [0.2, 0.6]
    assert list(y[x == 1]) == [0.6, 0.9]
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == (0.125, 2.6)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.25", "0.5", "1", "2"]


def test_froc_slopes_are_linear_in_false_positives_not_on_the_logarithm():
    figure = froc_plot({"ratings": ([0, 4], [0, 0.8])}, rates=(0.125, 1, 8))
    x, y = lines(figure)["ratings"].get_data()
    assert len(x) > 100
    assert np.ptp(np.diff(np.log(x))) < 0.1
    assert y == pytest.approx(np.minimum(x / 5, 0.8))


def test_froc_bands_have_the_colour_of_their_curve_and_the_given_corners():
    curves = {"a": ([0, 1], [0, 0.5]), "b": ([0, 1], [0, 0.9])}
    figure = froc_plot(curves, rates=[1, 2], bands={"b": ([0.5, 1, 2], [0.2, 0.7, 0.8], [0.6, 0.95, 1])})
    (shape,) = figure.axes[0].collections
    expected = {(0.5, 0.2), (1, 0.7), (2, 0.8), (0.5, 0.6), (1, 0.95), (2, 1)}
    assert corners(shape.get_paths()[0].vertices) == expected
    assert shape.get_facecolor()[0, :3] == pytest.approx([int(COLOURS[1][i : i + 2], 16) / 255 for i in (1, 3, 5)])


def test_froc_band_has_a_gap_where_a_limit_is_unknown():
    band = ([0.5, 1, 2, 4, 8], [0.1, 0.2, math.nan, 0.3, 0.4], [0.3, 0.4, 0.5, 0.6, 0.7])
    figure = froc_plot({"a": ([0, 1], [0, 0.5])}, rates=[1, 2], bands={"a": band})
    parts = [corners(path.vertices) for path in figure.axes[0].collections[0].get_paths()]
    assert parts == [{(0.5, 0.1), (0.5, 0.3), (1, 0.2), (1, 0.4)}, {(4, 0.3), (4, 0.6), (8, 0.4), (8, 0.7)}]


def test_precision_holds_from_the_recall_before_whichever_way_recall_runs():
    rising = ([0, 0.5, 1], [1, 0.8, 0.4])
    falling = tuple(values[::-1] for values in rising)
    figure = precision_recall_plot({"a": rising, "b": falling}, prevalence=0.3)
    for line in lines(figure).values():
        assert np.array_equal(line.get_xydata(), np.transpose(rising))
        assert line.get_drawstyle() == "steps-pre"
        x, y = pts_to_prestep(*line.get_data())  # what is drawn: the area is 0.5 x 0.8 + 0.5 x 0.4
        assert np.sum(np.diff(x) * y[1:]) == pytest.approx(0.6)
    chance = figure.axes[0].lines[0]
    assert chance.get_xydata().tolist() == [[0, 0.3], [1, 0.3]]


def test_calibration_draws_bins_with_cases_and_their_intervals():
    figure = calibration_plot(
        [0.1, math.nan, 0.6, 0.9], [0.0, math.nan, 0.5, 1.0], [20, 0, 4, 2],
        [0.0, math.nan, 0.1, math.nan], [0.2, math.nan, 0.9, math.nan],
    )  # fmt: skip
    axes, bars = figure.axes
    identity, curve = axes.lines
    assert identity.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert curve.get_xydata().tolist() == [[0.1, 0], [0.6, 0.5], [0.9, 1]]
    segments = axes.collections[0].get_segments()
    assert [segment.tolist() for segment in segments] == [[[0.1, 0], [0.1, 0.2]], [[0.6, 0.1], [0.6, 0.9]]]
    assert [bar.get_height() for bar in bars.patches] == [20, 4, 2]
    assert [bar.get_x() + bar.get_width() / 2 for bar in bars.patches] == pytest.approx([0.1, 0.6, 0.9])
    assert axes.get_xlim() == bars.get_xlim()


def test_calibration_bars_do_not_touch_and_no_cases_are_said():
    bars = calibration_plot([0.10, 0.12, 0.5], [0, 0, 1], [1, 1, 1], [0, 0, 1], [0, 0, 1]).axes[1].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([0.016] * 3)
    assert texts(calibration_plot([], [], [], [], [])) == ["no cases"]
    assert texts(calibration_plot([math.nan], [math.nan], [0], [math.nan], [math.nan])) == ["no cases"]


def test_calibration_takes_the_interval_of_no_event_with_its_rounding_error():
    """Wilson's limits of 0 and of 1 as computed: a little above 0, a little below 1."""
    axes, _ = calibration_plot([0.1, 0.9], [0, 1], [5, 5], [1e-17, 0.5], [0.5, 1 - 1e-16]).axes
    assert len(axes.collections[0].get_segments()) == 2


def test_bland_altman_limits_by_hand():
    """Differences 1, 2, 3, 6: mean 3, sample variance (4 + 1 + 0 + 9) / 3 = 14/3, 1.96 SD = 4.2341."""
    figure = bland_altman_plot([11, 22, 33, 46], [10, 20, 30, 40], unit="mm")
    zero, points, *levels = figure.axes[0].lines
    assert zero.get_ydata()[0] == 0
    assert points.get_xydata().tolist() == [[10.5, 1], [21, 2], [31.5, 3], [43, 6]]
    assert [line.get_ydata()[0] for line in levels] == pytest.approx([-1.2341, 3, 7.2341], abs=1e-4)
    assert texts(figure) == ["−1.96 SD: −1.23 mm", "mean: 3 mm", "+1.96 SD: 7.23 mm"]
    assert figure.axes[0].get_ylabel() == "Prediction − reference (mm)"
    assert figure.axes[0].get_title(loc="right") == "n = 4"


def test_bland_altman_with_few_or_equal_pairs():
    assert texts(bland_altman_plot([], [], unit="mm")) == ["no pairs"]
    one = bland_altman_plot([3], [2], unit="")
    assert texts(one) == ["mean: 1"]
    assert len(one.axes[0].lines) == 3  # zero, the point, the mean: no limits
    assert one.axes[0].get_title(loc="right") == "n = 1, no limits from one pair"
    equal = bland_altman_plot([3, 4], [2, 3], unit="ml").axes[0]
    heights = [text.xy[1] for text in equal.texts]
    assert min(np.diff(heights)) == pytest.approx(0.06 * np.ptp(equal.get_ylim()))  # labels do not cover each other
    assert heights[1] == 1


def test_differences_are_drawn_and_written_from_top_to_bottom():
    nan = math.nan
    rows = [("AUC", 0.03, -0.01, 0.07), ("Dice", -0.05, nan, nan), ("CPM", nan, nan, nan)]
    figure = difference_plot(rows, label="Model − reader")
    axes = figure.axes[0]
    zero, interval, first, second = axes.lines
    assert zero.get_xdata() == [0, 0]
    assert interval.get_xydata().tolist() == [[-0.01, 0], [0.07, 0]]
    assert first.get_xydata().tolist() == [[0.03, 0]]
    assert second.get_xydata().tolist() == [[-0.05, 1]]
    bottom, top = axes.get_ylim()
    assert bottom > top  # the first row is uppermost
    assert [label.get_text() for label in axes.get_yticklabels()] == ["AUC", "Dice", "CPM"]
    assert texts(figure) == ["0.030 (−0.010 to 0.070)", "−0.050", "undefined"]
    assert texts(difference_plot([])) == ["no differences"]


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: roc_plot({"a": ([0, 0.5], [0, 0.5, 1])}), "the curve a: lists of one length"),
        (lambda: roc_plot({"a": ([0, 0.5, 0.4], [0, 0.5, 1])}), "the curve a must start at 0 or above and never fall"),
        (lambda: roc_plot({"a": ([0, 2], [0, 1])}), "values within 0 to 1 were expected, found 2"),
        (lambda: roc_plot({"a": STEPS}, fpr_range=(0.2, 0.1)), "rises within 0 to 1"),
        (lambda: roc_plot({"a": STEPS}, fpr_range=(0, 0.1), tpr_range=(0.9, 1)), "not of both"),
        (lambda: roc_plot({"a": ([0, 0.05], [0, 0.5])}, fpr_range=(0, 0.1)), "covers 0 to 0.05 only"),
        (lambda: roc_plot({"a": STEPS}, shaded="b"), "no curve 'b'; the curves are a"),
        (lambda: roc_plot({"a": STEPS}, auc={"c": "0.9"}), "no curve 'c'"),
        (lambda: froc_plot({"a": STEPS}, rates=[0, 1]), "the rates must be numbers above 0 that rise"),
        (lambda: froc_plot({"a": STEPS}, rates=[]), "the rates must be numbers above 0 that rise"),
        (lambda: froc_plot({"a": STEPS}, rates=[1], bands={"b": ([1], [0], [1])}), "no curve 'b'"),
        (lambda: froc_plot({"a": STEPS}, rates=[1], bands={"a": ([1], [0], [2])}), "the band of a"),
        (lambda: precision_recall_plot({"a": ([0, 1, 0.5], [1, 1, 1])}), "must rise or fall"),
        (lambda: precision_recall_plot({"a": ([0, 1], [1, 1])}, prevalence=3), "the prevalence"),
        (lambda: calibration_plot([0.5], [0.5], [-1], [0], [1]), "0 or more"),
        (lambda: calibration_plot([0.5, 0.4], [0.5, 0.5], [1, 1], [0, 0], [1, 1]), "in order"),
        (lambda: calibration_plot([0.5], [0.5], [1], [0.6], [1]), "does not hold its observed fraction"),
        (lambda: bland_altman_plot([1, math.nan], [1, 2], unit="mm"), "lacks a value"),
        (lambda: difference_plot([("AUC", 0.5, 0.6, 0.7)]), "AUC: the interval 0.6 to 0.7 does not hold"),
    ],
)
def test_wrong_input_is_named(draw, said):
    with pytest.raises(OutputError) as caught:
        draw()
    assert said in str(caught.value)


def test_saved_twice_has_the_same_bytes(tmp_path):
    def draw():
        return roc_plot({"a": STEPS}, fpr_range=(0, 0.1))

    first, again = save_figure(draw(), tmp_path / "one" / "fold.1"), save_figure(draw(), tmp_path / "two" / "fold.1")
    assert [path.name for path in first] == ["fold.1.svg", "fold.1.png"]  # what follows the dot is no suffix
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["fold.1.png", "fold.1.svg"]
    svg = first[0].read_text()
    assert svg.startswith("<svg")
    assert "dc:date" not in svg
    with Image.open(first[1]) as picture:
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught:
        save_figure(roc_plot({}), tmp_path / "file" / "roc")
    assert "file/roc.svg" in str(caught.value)
