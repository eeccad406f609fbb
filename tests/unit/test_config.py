"""config.yaml: its schema, and the message for each kind of mistake."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from sonogrid.cohort.traits import ORGANS
from sonogrid.config import json_schema
from sonogrid.config_checks import load_study
from sonogrid.config_cohort import PHANTOM_CLASSES
from sonogrid.problems import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def raw():
    return yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def messages(raw):
    with pytest.raises(InputError) as caught:
        load_study(raw)
    return [str(problem) for problem in caught.value.problems]


def test_the_shipped_study_is_valid_and_comments_every_top_level_key(raw):
    assert set(load_study(raw).model_dump()) == set(raw)


def test_the_shipped_json_schema_is_the_one_of_the_code():
    shipped = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text(encoding="utf-8"))
    assert shipped == json_schema(), "run: make schema"


def test_unknown_key_offers_the_nearest(raw):
    raw["training"]["lerning_rate"] = 0.1
    (message,) = messages(raw)
    assert "training.lerning_rate" in message
    assert "did you mean 'learning_rate'" in message


def test_unknown_key_deep_in_a_corpus_lists_what_is_allowed_there(raw):
    raw["inits"]["pretrained"]["corpus"]["phantom"]["patient"] = 3
    (message,) = messages(raw)
    assert "did you mean 'patients'" in message
    assert "organ" in message


def test_unknown_backbone_offers_near_names(raw):
    raw["grid"]["backbones"] = ["resnt18"]
    assert any("resnt18" in message and "resnet18" in message for message in messages(raw))


def test_all_mistakes_are_told_at_once(raw):
    del raw["seed"]
    raw["splits"]["folds"] = 1
    raw["training"]["mixed_precision"] = "sometimes"
    raw["grid"]["inits"] = ["scratch", "imagenet"]
    raw["grid"]["modalities"] = ["bmode", "bmode"]
    raw["statistics"]["pretraining_effect"] = ["imagenet", "none"]
    text = "\n".join(messages(raw))
    for key in ("seed", "splits.folds", "training.mixed_precision", "grid.inits", "grid.modalities"):
        assert f"config key {key}" in text
    assert "init 'imagenet' is not defined" in text
    assert "init 'none' is not in grid.inits" in text
    assert "named more than once: bmode" in text


def test_modality_of_the_grid_must_be_in_the_cohort(raw):
    raw["cohort"]["modalities"] = ["bmode"]
    text = "\n".join(messages(raw))
    assert "'cdfi' is not among cohort.modalities" in text
    assert "'elastography' is not among cohort.modalities" in text


def test_reader_without_its_section(raw):
    raw["cohort"]["reader"] = "table"
    (message,) = messages(raw)
    assert "config key cohort.table" in message


def test_class_without_a_name_in_the_data(raw, tmp_path):
    raw["cohort"] |= {
        "reader": "folders",
        "folders": {"root": str(tmp_path), "labels": {"benign": "0", "lymphoma": "1"}, "modalities": {"bmode": "2d"}},
    }
    text = "\n".join(messages(raw))
    assert "'metastatic' of cohort.classes has no entry" in text
    assert "'cdfi' of cohort.modalities has no entry" in text


def test_missing_files_are_named(raw, tmp_path):
    raw["inits"]["imagenet"] = {"source": "timm", "files": {"test_resnet": str(tmp_path / "none.safetensors")}}
    raw["grid"]["inits"] = ["scratch", "pretrained", "imagenet"]
    raw["splits"]["official"] = {"file": str(tmp_path / "folds.csv"), "image_id": "ID", "fold": "kFold"}
    text = "\n".join(messages(raw))
    assert "inits.imagenet.files.test_resnet" in text
    assert "splits.official.file" in text


def test_names_cannot_leave_the_results_folder(raw):
    raw["study"] = "../../etc"
    raw["inits"]["../x"] = {"source": "random"}
    text = "\n".join(messages(raw))
    assert "config key study" in text
    assert "inits.../x" in text


def test_an_unused_reader_section_reruns_nothing(raw):
    edited = copy.deepcopy(raw)
    edited["cohort"]["folders"] = {"root": "x", "labels": {}, "modalities": {}}
    assert load_study(edited).cohort.used() == load_study(raw).cohort.used()


@pytest.mark.parametrize("study", ["paper", "busi", "busbra"])
def test_other_studies_are_valid_where_their_data_is(raw, study, tmp_path):
    from snakemake.utils import update_config

    update_config(raw, yaml.safe_load((ROOT / f"studies/{study}.yaml").read_text(encoding="utf-8")))
    sources = [raw["cohort"], raw["inits"]["pretrained"]["corpus"]]
    for source in sources:
        if source["reader"] == "folders":
            source["folders"]["root"] = str(tmp_path)
        if source["reader"] == "table":
            source["table"]["file"] = str(ROOT / "config.yaml")
    if raw["splits"]["official"]:
        raw["splits"]["official"]["file"] = str(ROOT / "config.yaml")
    loaded = load_study(raw)
    assert loaded.study == study
    assert loaded.results == Path("results") / study


@pytest.mark.parametrize(
    ("section", "value", "told"),
    [
        (("cohort", "classes"), ["benign"], "at least 2 items"),
        (("cohort", "classes"), ["benign", "malignant", "normal"], "other classes than benign, malignant, normal"),
        (("statistics", "pretraining_effect"), ["scratch", "scratch"], "named more than once: scratch"),
        (("explain", "quantiles"), [0.5, 0.5], "named more than once: 0.5"),
        (("grid", "backbones"), ["resnet18.no_such_tag"], "resnet18.a1_in1k"),
    ],
)
def test_values_that_only_look_right(raw, section, value, told):
    node = raw
    for key in section[:-1]:
        node = node[key]
    node[section[-1]] = value
    assert any(told in message and section[-1] in message for message in messages(raw))


def test_two_classes_cannot_have_one_name_in_the_data(raw, tmp_path):
    labels = {"benign": "0", "lymphoma": "0", "metastatic": "2"}
    modalities = {"bmode": "2d", "cdfi": "cdfi", "elastography": "elastic"}
    raw["cohort"] |= {
        "reader": "folders",
        "folders": {"root": str(tmp_path), "labels": labels, "modalities": modalities},
    }
    (message,) = messages(raw)
    assert "cohort.folders.labels" in message
    assert "named more than once: 0" in message


def test_classes_of_the_simulated_organs_are_those_of_the_traits():
    assert {name: organ.classes for name, organ in ORGANS.items()} == PHANTOM_CLASSES


def test_a_panel_depends_on_its_own_backbone_and_init_only(raw):
    panel = load_study(raw).for_panel("test_resnet", "scratch")
    raw["grid"]["backbones"] = ["test_resnet", "test_vit"]
    raw["statistics"]["resamples"] = 500
    raw["inits"]["pretrained"]["training"]["epochs"] = 1
    assert load_study(raw).for_panel("test_resnet", "scratch") == panel


def test_panels_of_two_configurations_cannot_be_one_file(raw):
    raw["grid"] |= {"backbones": ["efficientnet_b0", "efficientnet_b0_gn"], "inits": ["a", "gn_a"]}
    raw["inits"] |= {"a": {"source": "random"}, "gn_a": {"source": "random"}}
    raw["statistics"]["pretraining_effect"] = None
    (message,) = messages(raw)
    assert "'efficientnet_b0_gn_a'" in message


@pytest.mark.parametrize("results", ["a{b}", "a\nb"])
def test_results_folder_of_odd_characters(raw, results):
    raw["results"] = results
    assert any("config key results" in message for message in messages(raw))


def test_a_backbone_name_cannot_carry_a_command(raw):
    raw["grid"]["backbones"] = ["test_resnet.`touch x`", "test_resnet./../../x"]
    assert len(messages(raw)) == 2
