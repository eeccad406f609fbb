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
from sonogrid.evaluation import primary
from sonogrid.evaluation.metrics import METRICS, auc_class, auc_ovo, class_codes, mann_whitney
from sonogrid.files import write_csv, write_json
from sonogrid.grid import AXES, CONFIGURATION, Grid, named
from sonogrid.images.store import INDEX_COLUMNS
from sonogrid.layout import Layout
from sonogrid.reporting.exhibits import at_each_point, figures_of, panels_of
from sonogrid.reporting.figures import save_figure
from sonogrid.reporting.gathered import Gathered
from sonogrid.reporting.making import draw_figure

DEMO: dict[str, tuple[str, ...]] = {
    "backbones": ("resnet18", "vit_tiny_patch16_224"),
    "inits": ("scratch", "pretrained"),
    "modalities": ("bmode", "cdfi", "elastography"),
    "classes": ("benign", "lymphoma", "metastatic"),
}
PAPER = DEMO | {"backbones": ("resnet18", "efficientnet_b7", "convnext_tiny", "vit_small_patch16_224")}
BINARY = DEMO | {"backbones": ("resnet18",), "modalities": ("bmode",), "classes": ("benign", "malignant")}


def make_study(
    axes: dict[str, tuple[str, ...]],
    results: Path = Path("results"),
    folds: int = 3,
    seeds: tuple[int, ...] = (0,),
    **sections: Any,
) -> Study:
    """A valid study with the given axes, on a simulated cohort; `sections` are added or replace others."""
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
            "grid": {name: axes[name] for name in ("backbones", "inits", "modalities")} | {"seeds": seeds},
            "training": recipe,
            "explain": {"quantiles": (0.5,)},
            "statistics": {"pretraining_effect": ("pretrained", "scratch")},
            **sections,
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
    for (step, one), seed in product(enumerate(Grid.of(study).configurations()), study.grid.seeds):
        signal = 0.4 + 1.2 * step / max(len(study.grid.backbones) * 2 * len(study.grid.modalities), 1)
        patient_noise = random.normal(size=(patients, len(classes)))[image]
        logits = signal * np.eye(len(classes))[labels[image]] + 0.7 * patient_noise
        logits += 0.3 * random.normal(size=logits.shape) + 0.5 * folds[image][:, None]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        frame = pd.DataFrame(
            {
                **dict(named(one)),
                "seed": seed,
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


def make_metrics(patients: pd.DataFrame, study: Study, metric: str = "") -> pd.DataFrame:
    """The rows of metrics.csv that people read, with other rows around them that must not be taken.

    Without a name of the primary metric.
    """
    shown = METRICS[metric or primary.PRIMARY_METRIC]

    def value_of(part: pd.DataFrame) -> float:
        p = part[[f"p_{name}" for name in study.cohort.classes]].to_numpy()
        return float(shown.fold_mean(class_codes(part["label"], study.cohort.classes), p, part["fold"].to_numpy()))

    def rows() -> Iterator[dict[str, Any]]:
        for key, group in patients.groupby(CONFIGURATION, sort=False):
            of_seeds = {seed: value_of(part) for seed, part in group.groupby("seed")}
            value = float(np.mean(list(of_seeds.values())))
            one = dict(zip(CONFIGURATION, key, strict=True)) | {
                "seed": "mean",
                "fold": "mean",
                "level": "patient",
                "pooling": "log",
                "metric": shown.name,
                "class": "",
                "value": value,
                "low": value - 0.0712345,
                "high": min(value + 0.0512345, 1.0),
                "confidence": 0.95,
                "method": "bca",
                "n_patients": group["patient_id"].nunique(),
                "n_images": int(group["n_images"].sum()) // len(of_seeds),
                "n_seeds": len(of_seeds),
                "simulated": True,
                "note": "",
            }
            yield one
            yield one | {"method": "percentile", "low": 0.111, "high": 0.999}
            nothing = {"low": np.nan, "high": np.nan, "confidence": np.nan, "method": ""}
            for seed, of_seed in of_seeds.items():
                yield one | nothing | {"seed": str(seed), "n_seeds": 1, "value": of_seed}
                yield one | nothing | {"seed": str(seed), "n_seeds": 1, "fold": "0", "value": 0.222}
                yield one | nothing | {"seed": str(seed), "n_seeds": 1, "fold": "pooled", "value": 0.333}
            yield one | {"pooling": "mean", "value": 0.444}
            yield one | {"level": "image", "pooling": "", "value": 0.555}
            yield one | {"metric": "roc_auc_ovr", "value": 0.666}

    return pd.DataFrame(rows())


def make_effects(metrics: pd.DataFrame, study: Study) -> pd.DataFrame:
    """effects.csv that follows from metrics, with intervals of a fixed width."""
    rows = metrics[
        metrics["seed"].eq("mean")
        & metrics["fold"].eq("mean")
        & metrics["level"].eq("patient")
        & metrics["pooling"].eq("log")
        & metrics["metric"].eq(primary.PRIMARY_METRIC)
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
        metric=primary.PRIMARY_METRIC,
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
            "study_seed": study.seed,
            "classes": study.cohort.classes,
            "input_size": 64,
            "training": study.training.model_dump(mode="json"),
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


def write_stores(study: Study) -> None:
    """A store of each modality with the canvases of `make_images`, each of the first patient of its class."""
    images, layout = make_images(study), Layout(study.results).cohort
    for modality in study.grid.modalities:
        classes = [name for name in study.cohort.classes if (name, modality) in images]
        index = pd.DataFrame(
            {
                "row": range(len(classes)),
                "patient_id": [f"PAT{study.cohort.classes.index(name):04d}" for name in classes],
                "image_id": [f"{modality}-{name}" for name in classes],
                **{name: [64] * len(classes) for name in ("scan_x1", "scan_y1")},
                **{name: [1.0] * len(classes) for name in ("scale_x", "scale_y")},
            }
        )
        write_csv(index.reindex(columns=list(INDEX_COLUMNS)).fillna(0), layout.index(modality))
        np.save(layout.store(modality), np.stack([images[name, modality] for name in classes]))


def write_scores(study: Study, simulated: bool = True) -> None:
    """What tables and figures are made from, below the study's results folder."""
    layout, predictions = Layout(study.results), make_predictions(study)
    patients = predictions[["patient_id", "label"]].drop_duplicates().assign(hospital="A", simulated=simulated)
    write_csv(patients, layout.cohort.patients)
    write_csv(predictions, layout.predictions)
    metrics = make_metrics(Gathered(study).scored, study)
    write_csv(metrics, layout.metrics)
    write_csv(make_effects(metrics, study), layout.effects)
    write_cells(study)
    write_stores(study)
    limits = {"population_auc": 0.93, "population_n": 100000, "cohort_auc": 0.91, "cohort_n": 90}
    write_json(dict.fromkeys(study.grid.modalities, limits), layout.cohort.ceiling)


def write_results(study: Study, simulated: bool = True, panels: bool = True) -> None:
    """Everything the report reads, below the study's results folder; pictures of `panels` are stand-ins."""
    write_scores(study, simulated)
    layout, gathered = Layout(study.results), Gathered(study)
    for exhibit in figures_of(study):
        figure = draw_figure(exhibit, study, gathered)
        save_figure(figure, {suffix: exhibit.path(layout, suffix) for suffix in study.figures.formats})
    for exhibit in panels_of(study) if panels else ():
        for one, _ in at_each_point(exhibit, study):
            save_figure(figure, {suffix: one.path(layout, suffix) for suffix in study.figures.formats})
