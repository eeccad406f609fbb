"""config.yaml: its schema, and the message for each kind of mistake."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from sonogrid.cohort.phantom.traits import ORGANS
from sonogrid.config.audit import Audit
from sonogrid.config.inits import COHORT
from sonogrid.config.load import load_files, load_study
from sonogrid.config.needs import Parts
from sonogrid.config.readers import PHANTOM_CLASSES
from sonogrid.config.study import Study, json_schema
from sonogrid.problems import InputError

ROOT = Path(__file__).parents[3]


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
    assert "Did you mean 'learning_rate'" in message


def test_unknown_key_deep_in_a_corpus_lists_what_is_allowed_there(raw):
    raw["inits"]["pretrained"]["corpus"]["phantom"]["patient"] = 3
    (message,) = messages(raw)
    assert "Did you mean 'patients'" in message
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


@pytest.mark.parametrize("source", ["corpus", "random"])
def test_no_init_can_have_the_random_numbers_of_the_cohort(raw, source):
    raw["inits"][COHORT] = raw["inits"]["pretrained"] | {"source": source}
    (message,) = messages(raw)
    assert message.startswith(f"config key inits.{COHORT}: value {COHORT!r}: is reserved: the study's own cohort draws")


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
        (("cohort", "classes"), ["benign"], "at least 2 entries"),
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


@pytest.mark.parametrize(
    ("seeds", "told", "doubled"),
    [
        ([0, 0, -1, 1.5], {"value -1", "value 1.5", "value [0, 0, -1, 1.5]"}, 1),
        ([0, False], {"value false"}, 0),
        ([0, "a", "a"], {"value 'a'", "value [0, 'a', 'a']"}, 1),
        ([0, [1], [1]], {"value [1]"}, 0),
        ([5, 5], {"value [5, 5]"}, 1),
    ],
)
def test_a_doubled_seed_is_told_beside_invalid_ones(raw, seeds, told, doubled):
    raw["grid"]["seeds"] = seeds
    found = messages(raw)
    assert {message.removeprefix("config key ").split(": ")[1] for message in found} == told
    assert sum("named more than once: " in message for message in found) == doubled


@pytest.mark.parametrize(
    "change", [{"grid": {"inits": [["a"]]}}, {"grid": {"modalities": [{}]}}, {"cohort": {"classes": [["a"], "b"]}}]
)
def test_entries_that_are_no_names_are_told_and_not_compared(raw, change, tmp_path):
    update_config(raw, change)
    folders = {"root": str(tmp_path), "labels": {"b": "b"}, "modalities": {"bmode": "b"}}
    update_config(raw, {"cohort": {"reader": "folders", "folders": folders}})
    ((section, keys),) = change.items()
    assert any(f"config key {section}.{next(iter(keys))}.0: value " in message for message in messages(raw))


def test_modalities_are_not_missed_in_a_cohort_that_is_none(raw):
    raw["cohort"] = 3
    (message,) = messages(raw)
    assert message.startswith("config key cohort: value 3: must be keys with values.")


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
    axes = {"backbone": ["test_resnet"], "init": ["scratch"]}
    panel = Parts(load_study(raw)).json("explain", **axes)
    raw["grid"]["backbones"] = ["test_resnet", "test_vit"]
    raw["statistics"]["resamples"] = 500
    raw["inits"]["pretrained"]["training"]["epochs"] = 1
    assert Parts(load_study(raw)).json("explain", **axes) == panel


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


def merged(*names: str) -> Study:
    return load_files([ROOT / "config.yaml", *(ROOT / name for name in names)])


@pytest.mark.parametrize("reader", ["folders", "table", "dicom"])
def test_a_study_of_real_pictures_looks_for_text_whatever_the_shipped_study_does(tmp_path: Path, reader: str) -> None:
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    assert load_study(raw).cohort.burned_in_text == "keep"
    assert "burned_in_text" not in raw["cohort"]
    raw["cohort"]["reader"] = reader
    section = {"labels": {"benign": "0", "lymphoma": "1", "metastatic": "2"}}
    names = {"modalities": {name: name for name in raw["cohort"]["modalities"]}}
    (tmp_path / "x.csv").touch()
    raw["cohort"]["folders"] = section | names | {"root": str(tmp_path)}
    columns = {"patient_id": "p", "label": "l", "modality": "m"}
    raw["cohort"]["table"] = section | names | {"file": str(tmp_path / "x.csv"), "columns": columns, "image": "{p}.png"}
    raw["cohort"]["dicom"] = section | {"root": str(tmp_path), "pattern": "{label}/{patient}"}
    assert load_study(raw).cohort.burned_in_text == "mask"


def dicom_study(changes: dict[str, Any]) -> dict[str, Any]:
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    update_config(raw, yaml.safe_load((ROOT / "studies" / "dicom.yaml").read_text(encoding="utf-8")))
    update_config(raw, changes)
    return raw


def refusal(raw: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        load_study(raw)
    return str(caught.value)


def test_the_shipped_dicom_study_lacks_nothing_but_its_data() -> None:
    told = refusal(dicom_study({})).splitlines()
    wanted = ["dicom.root: there is no folder", "patients.file: there is no file", "pseudonym_key: there is no file"]
    assert len(told) == 3
    assert all(any(what in line for line in told) for what in wanted)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cohort": {"pseudonym_key": None}}, "pseudonym_key: is missing: the patient is the header's Patient ID"),
        ({"cohort": {"dicom": {"patients": None}}}, "dicom.patients: is missing, and dicom.pattern has no {label}"),
        ({"cohort": {"pseudonym_key": "results/dicom/a.key"}}, "a.key lies inside results/dicom"),
        ({"cohort": {"dicom": {"root": "results/dicom/pictures"}}}, "lies inside results/dicom, where files are made"),
        ({"splits": {"official": {"file": "f.csv", "image_id": "i", "fold": "k"}}}, "ids that cohort.pseudonym_key"),
        ({"cohort": {"layouts": {"D": {"views": ["bmode", "bmode"]}}}}, "both views show one modality"),
        ({"cohort": {"layouts": {"D": {"at": 0.5}}}}, "say which they are"),
        ({"cohort": {"layouts": {"D": {}}}}, "is empty"),
        ({"cohort": {"layouts": {"D": {"scan": [5, 5, 5, 9]}}}}, "must be [x0, y0, x1, y1]"),
        ({"audit": {"accept": ["everything *"]}}, "must be the name of a finding"),
        ({"images": {"elastography": "velocity"}}, "'rgb' or 'stiffness'"),
    ],
)
def test_mistakes_about_real_pictures_are_told(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(dicom_study(changes))


def test_only_decoded_modalities_are_audited_by_their_grey_channel() -> None:
    study = merged()
    assert study.audit_request().decoded == ()
    decoded = study.model_copy(update={"images": study.images.model_copy(update={"cdfi": "velocity"})})
    assert decoded.audit_request("pretrained").decoded == ("cdfi",)


def test_accepting_a_finding_makes_no_score_or_panel_anew() -> None:
    study = merged()
    accepted = study.model_copy(update={"audit": Audit(accept=("fold_lacks_class",))})
    axes = {"backbone": ["test_resnet"], "init": ["scratch"]}
    for stage in ("train", "evaluate", "tables", "figures", "explain", "report"):
        assert Parts(accepted).json(stage, **axes) == Parts(study).json(stage, **axes)


@pytest.mark.parametrize("results", ["", ".", "..", "/", "results/.."])
def test_results_in_or_around_the_working_folder_are_refused(raw, results):
    raw["results"] = results
    (message,) = messages(raw)
    assert message.startswith("config key results: ") and "the folder in which the workflow lies" in message


def test_a_path_with_a_control_character_is_told_and_not_followed(raw):
    raw["results"] = "a\0b"
    (message,) = messages(raw)
    assert "must have no braces and no control characters" in message
