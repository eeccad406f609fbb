"""A study without training: predictions drawn from a stated distribution, and the files that follow from them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonogrid.config.study import Study
from sonogrid.evaluation.metrics import auc_class, auc_ovo, class_codes, mann_whitney, pool_patients
from sonogrid.files import write_csv, write_json
from sonogrid.grid import AXES, CONFIGURATION, Grid
from sonogrid.layout import Layout
from sonogrid.reporting import figures
from sonogrid.reporting.report import chosen_epochs, gather_history, gather_runs

DEMO: dict[str, tuple[str, ...]] = {
    "backbones": ("resnet18", "vit_tiny_patch16_224"),
    "inits": ("scratch", "pretrained"),
    "modalities": ("bmode", "cdfi", "elastography"),
    "classes": ("benign", "lymphoma", "metastatic"),
}
PAPER = DEMO | {"backbones": ("resnet18", "efficientnet_b7", "convnext_tiny", "vit_small_patch16_224")}
BINARY = DEMO | {"backbones": ("resnet18",), "modalities": ("bmode",), "classes": ("benign", "malignant")}


def make_study(axes: dict[str, tuple[str, ...]], results: Path = Path("results"), folds: int = 3) -> Study:
    """A valid study with the given axes, on a simulated cohort."""
    phantom = {"classes": axes["classes"], "modalities": axes["modalities"], "reader": "phantom", "phantom": {}}
    recipe = {"epochs": 6, "patience": 3, "batch_size": 8, "learning_rate": 1e-3}
    source = {"source": "corpus", "corpus": phantom, "training": recipe}
    return Study.model_validate(
        {
            "study": "dummy",
            "seed": 7,
            "results": results,
            "cohort": phantom,
            "images": {"size": 64},
            "splits": {"folds": folds},
            "inits": {"scratch": {"source": "random"}, "pretrained": source},
            "grid": {name: axes[name] for name in ("backbones", "inits", "modalities")},
            "training": recipe,
            "explain": {"quantiles": (0.5,)},
            "statistics": {"pretraining_effect": ("pretrained", "scratch")},
        }
    )


def make_grid(
    backbones: tuple[str, ...],
    inits: tuple[str, ...],
    modalities: tuple[str, ...],
    folds: int,
    seeds: tuple[int, ...] = (0,),
) -> Grid:
    """A grid without a study."""
    return Grid(dict(zip(AXES, (backbones, inits, modalities, seeds, tuple(range(folds))), strict=True)))


def make_predictions(study: Study, patients: int = 90) -> pd.DataFrame:
    """One or two images of each patient for every configuration; every configuration better than the one before."""
    random, classes = np.random.default_rng(study.seed), study.cohort.classes
    labels = np.arange(patients) % len(classes)
    folds = np.arange(patients) // len(classes) % study.splits.folds
    image = np.repeat(np.arange(patients), 1 + np.arange(patients) % 2)
    parts = []
    for step, one in enumerate(Grid.of(study).configurations()):
        signal = 0.4 + 1.2 * step / max(len(study.grid.backbones) * 2 * len(study.grid.modalities), 1)
        patient_noise = random.normal(size=(patients, len(classes)))[image]
        logits = signal * np.eye(len(classes))[labels[image]] + 0.7 * patient_noise
        logits += 0.3 * random.normal(size=logits.shape) + 0.5 * folds[image][:, None]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        frame = pd.DataFrame(
            {
                "backbone": one.backbone,
                "init": one.init,
                "modality": one.modality,
                "seed": 0,
                "fold": folds[image],
                "part": "test",
                "image_id": [f"IMG{number:04d}" for number in range(len(image))],
                "patient_id": [f"PAT{number:04d}" for number in image],
                "label": np.array(classes)[labels[image]],
            }
        )
        scores = {f"logit_{name}": logits[:, k] for k, name in enumerate(classes)}
        parts.append(frame.assign(**scores, **{f"p_{name}": p[:, k] for k, name in enumerate(classes)}))
    return pd.concat(parts, ignore_index=True)


def fold_mean(patients: pd.DataFrame, classes: tuple[str, ...]) -> tuple[float, NDArray[np.float64]]:
    """Macro one-vs-one AUC and the AUC of each class, averaged over folds."""
    tables = []
    for _, fold in patients.groupby("fold"):
        p = fold[[f"p_{name}" for name in classes]].to_numpy()
        tables.append(mann_whitney(class_codes(fold["label"], classes), p))
    counts, pairs = np.sum([one[0] for one in tables], axis=0), np.sum([one[1] for one in tables], axis=0)
    return float(auc_ovo(counts, pairs)), auc_class(counts, pairs)


def make_metrics(patients: pd.DataFrame, study: Study, simulated: bool = True) -> pd.DataFrame:
    """The rows of metrics.csv that people read, with other rows around them that must not be taken."""

    def rows() -> Iterator[dict[str, Any]]:
        for key, group in patients.groupby(CONFIGURATION, sort=False):
            value, _ = fold_mean(group, study.cohort.classes)
            one = dict(zip(CONFIGURATION, key, strict=True)) | {
                "fold": "mean",
                "level": "patient",
                "pooling": "log",
                "metric": "roc_auc_ovo",
                "class": "",
                "value": value,
                "low": value - 0.0712345,
                "high": min(value + 0.0512345, 1.0),
                "confidence": 0.95,
                "method": "bca",
                "n_patients": group["patient_id"].nunique(),
                "n_images": int(group["n_images"].sum()),
                "simulated": simulated,
                "note": "",
            }
            yield one
            yield one | {"method": "percentile", "low": 0.111, "high": 0.999}
            nothing = {"low": np.nan, "high": np.nan, "confidence": np.nan, "method": ""}
            yield one | nothing | {"fold": "0", "value": 0.222}
            yield one | nothing | {"fold": "pooled", "value": 0.333}
            yield one | {"pooling": "mean", "value": 0.444}
            yield one | {"level": "image", "pooling": "", "value": 0.555}
            yield one | {"metric": "roc_auc_ovr", "value": 0.666}

    return pd.DataFrame(rows())


def make_effects(metrics: pd.DataFrame, study: Study) -> pd.DataFrame:
    """effects.csv that follows from metrics, with intervals of a fixed width."""
    rows = metrics[
        metrics["fold"].eq("mean")
        & metrics["level"].eq("patient")
        & metrics["pooling"].eq("log")
        & metrics["metric"].eq("roc_auc_ovo")
        & metrics["method"].eq("bca")
    ].set_index(CONFIGURATION)
    keys = list(product(study.grid.backbones, study.grid.modalities))
    values = [rows["value"][b, "pretrained", m] - rows["value"][b, "scratch", m] for b, m in keys]
    if len(keys) > 1:
        keys, values = [*keys, ("all", "all")], [*values, float(np.mean(values))]
    frame = pd.DataFrame(keys, columns=["backbone", "modality"]).assign(value=values)
    return frame.assign(
        init="pretrained",
        reference="scratch",
        metric="roc_auc_ovo",
        low=frame["value"] - 0.06,
        high=frame["value"] + 0.05,
        confidence=0.95,
        method="bca",
        p=[0.0004 + 0.03 * number for number in range(len(keys))],
        p_holm=[0.0008 + 0.05 * number for number in range(len(keys))],
        n_patients=int(rows["n_patients"].max()),
        simulated=bool(rows["simulated"].any()),
        note="",
    )


def write_cells(study: Study) -> None:
    """history.csv and run.json of every cell."""
    for number, cell in enumerate(Grid.of(study).cells()):
        folder, epoch = Layout(study.results).cell(cell), np.arange(1, 7)
        wave = 0.05 * np.sin(epoch + number)
        history = {"epoch": epoch, "train_loss": 1.1 / np.sqrt(epoch), "inner_loss": 1.1 - 0.06 * epoch + wave}
        write_csv(pd.DataFrame(history | {"seconds": 1.0}), folder / "history.csv")
        run = {
            "seconds": 10.0 + number,
            "device": "cpu",
            "versions": {"python": "3.11.2", "torch": "2.11.0"},
            "commit": None,
            "threads": 2,
            "epochs_run": 6,
            "chosen_epoch": int(history["inner_loss"].argmin()) + 1,
        }
        write_json(run, folder / "run.json")


def make_images(study: Study) -> dict[tuple[str, str], NDArray[np.uint8]]:
    """A canvas for each class and modality but one."""
    random = np.random.default_rng(0)
    keys = list(product(study.cohort.classes, study.grid.modalities))
    return {key: random.integers(0, 255, (64, 64, 3), dtype=np.uint8) for key in keys[:-1] or keys}


def write_results(study: Study, simulated: bool = True) -> None:
    """Everything the report reads, below the study's results folder."""
    predictions = make_predictions(study)
    patients = pool_patients(predictions, study.cohort.classes)
    metrics = make_metrics(patients, study, simulated)
    effects = make_effects(metrics, study)
    write_cells(study)
    write_csv(metrics, study.results / "metrics.csv")
    write_csv(effects, study.results / "effects.csv")
    write_csv(predictions, study.results / "predictions.csv")
    if simulated:
        limits = {"population_auc": 0.93, "population_n": 100000, "cohort_auc": 0.91, "cohort_n": 90}
        ceiling = dict.fromkeys(study.grid.modalities, limits)
        write_json(ceiling, study.results / "cohort" / "ceiling.json")
    grid = Grid.of(study)
    history, chosen = gather_history(study.results, grid), chosen_epochs(gather_runs(study.results, grid))
    images = make_images(study)
    drawn = {
        "auc_heatmap": figures.auc_heatmap(metrics, study),
        "roc_curves": figures.roc_curves(patients, study, simulated),
        "confusion_matrices": figures.confusion_matrices(patients, study, simulated),
        "training_curves": figures.training_curves(history, chosen, study, simulated),
        "example_images": figures.example_images(images, study, simulated),
        "pretraining_effect": figures.pretraining_effect(effects, study),
    }
    for backbone, init in product(study.grid.backbones, study.grid.inits):
        drawn[f"gradcam_{backbone}_{init}"] = drawn["example_images"]
    for stem, figure in drawn.items():
        figures.save(figure, study.results / "figures" / stem)
