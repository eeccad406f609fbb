import pytest
import timm

from sonogrid.config.backbone_names import check_backbone, known_backbones


def test_names_read_from_source_are_the_names_timm_registers():
    assert known_backbones() == set(timm.list_models())


def test_a_tag_after_a_dot_is_accepted():
    assert check_backbone("resnet18.a1_in1k") == "resnet18.a1_in1k"


def test_unknown_name_offers_the_nearest():
    with pytest.raises(ValueError, match="resnet18"):
        check_backbone("resnet_18")
