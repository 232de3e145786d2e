import pytest

from medseg.config import list_shipped, load_pipeline
from medseg.config.describe import describe_fields
from medseg.errors import ConfigError


@pytest.mark.parametrize("name", sorted(list_shipped()))
def test_shipped_pipelines_load_and_every_field_is_explained(name):
    pipeline = load_pipeline(name)
    assert pipeline.name == name
    assert all(description for _, _, description in describe_fields(pipeline))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("training.learning_rat=0.1", "training.learning_rat is not a field.*did you mean learning_rate"),
        ("training.learning_rate=-1", "training.learning_rate.*given -1.*greater than 0"),
        ("network.name=unett", "network.*unett"),
        ("network.filterz=[1]", "network.filterz is not a field.*did you mean filters"),
        ("training.batch_size=many", "training.batch_size.*given 'many'"),
        ("split.train=0.9", "train \\+ val \\+ test must be 1"),
        ("nonsense", "expected key=value"),
        ("training.learning_rate=[1", "override 'training.learning_rate=\\[1'"),
        ("training.deterministic=maybe", "training.deterministic.*given 'maybe'"),
        ("network.filters=[16,0,8]", "network.filters: given .16, 0, 8.*greater than 0"),
        ("network.filters=[16,32]", "network.filters: given .16, 32.*at least three"),
        ("network.filters=many", "network.filters: given 'many'.*or auto"),
        ("sampling.patch_size=[0,0]", "sampling.patch_size"),
        ("evaluation.rule=foo", "evaluation.rule.*given 'foo'.*inside or iou"),
        ("evaluation.fp_per_case=[-1]", "evaluation.fp_per_case"),
        ("evaluation.froc_range=[8,0]", "evaluation.froc_range.*must rise"),
        ("input.intensity.low=500", "low must be below high"),
        ("augmentation.gamma=[-1,1]", "augmentation.gamma.*above 0"),
        ("training.seed=1e23", "training.seed"),
        ("detector.kind=heatmap", "detector.dice_over is not a field.*allowed here: focal_alpha"),
    ],
)
def test_a_wrong_field_is_one_line(override, says):
    with pytest.raises(ConfigError, match=says) as error:
        load_pipeline("brain_infarct", [override])
    assert "\n" not in str(error.value)


def test_override_changes_only_its_field():
    before, after = load_pipeline("brain_infarct"), load_pipeline("brain_infarct", ["training.learning_rate=3e-4"])
    assert after.training.learning_rate == 3e-4
    assert after.model_copy(update={"training": before.training}) == before


def test_unknown_pipeline_names_the_shipped_ones():
    with pytest.raises(ConfigError, match="did you mean brain_infarct"):
        load_pipeline("brain_infart")


@pytest.mark.parametrize(("text", "value"), [("on", "on"), ("off", "off"), ("auto", "auto")])
def test_on_and_off_are_words(text, value):
    assert load_pipeline("brain_infarct", [f"training.compile={text}"]).training.compile == value


def test_yaml_as_people_mean_it(tmp_path):
    from medseg.config.strict_yaml import parse_yaml

    assert parse_yaml("{a: 1e-3, b: 2.5e4, c: .5, d: 3, e: true, f: yes, g: null, h: [1, 2.0]}", origin="") == {
        "a": 0.001, "b": 25000.0, "c": 0.5, "d": 3, "e": True, "f": "yes", "g": None, "h": [1, 2.0],
    }  # fmt: skip
    file = tmp_path / "p.yaml"
    file.write_text("name: a\nname: b\n")
    with pytest.raises(ConfigError, match="the field name stands twice") as error:
        load_pipeline(file)
    assert "\n" not in str(error.value)
