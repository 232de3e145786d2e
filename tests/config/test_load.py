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
