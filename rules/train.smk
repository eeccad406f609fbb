# Needs: stores, splits.csv, the certificate of the audit and the first weights. Makes: the cells of a job, by default one cell of the grid.


rule train:
    input:
        patients=f"{RESULTS}/cohort/patients.csv",
        splits=f"{RESULTS}/splits.csv",
        certificate=f"{RESULTS}/audit/certificate.json",
        stores=[f"{RESULTS}/images/{modality}.npy" for modality in BOX["modality"]],
        indexes=[f"{RESULTS}/images/{modality}.csv" for modality in BOX["modality"]],
        weights=lambda wildcards: [file for pair in PAIRS(wildcards) for file in WEIGHTS[pair]],
    output:
        # `update`: a job begins with what is there, so that it can keep cells that are done with the same recipe.
        model=update(expand(f"{CELLS}/model.safetensors", **INSIDE, allow_missing=True)),
        history=update(expand(f"{CELLS}/history.csv", **INSIDE, allow_missing=True)),
        predictions=update(expand(f"{CELLS}/predictions.csv", **INSIDE, allow_missing=True)),
        run=update(expand(f"{CELLS}/run.json", **INSIDE, allow_missing=True)),
    log:
        f"{LOGS}/train/{JOB}.log",
    benchmark:
        f"{BENCHMARKS}/train/{JOB}.tsv"
    threads: REQUESTS["train"].cpus
    resources:
        gpu=REQUESTS["train"].gpus,
        mem_mb=lambda wildcards, attempt: REQUESTS["train"].mem_mb * attempt,
        runtime=lambda wildcards, attempt: REQUESTS["train"].minutes * attempt,
        checkpoints=CHECKPOINTS,
    params:
        backbone=BOX["backbone"],
        init=BOX["init"],
        modality=BOX["modality"],
        fold=BOX["fold"],
        classes=STUDY.cohort.classes,
        first_weights=lambda wildcards: [FIRST[pair] for pair in PAIRS(wildcards)],
        input_sizes=lambda wildcards: [
            SIZES[backbone] for backbone in INSIDE.get("backbone", [wildcards.get("backbone")])
        ],
        training=STUDY.training.model_dump_json(),
        seed=STUDY.seed,
    shell:
        r"""
        sonogrid --log {log:q} train \
            --backbone {params.backbone:q} \
            --init {params.init:q} \
            --modality {params.modality:q} \
            --fold {params.fold} \
            --classes {params.classes:q} \
            --patients {input.patients:q} \
            --certificate {input.certificate:q} \
            --splits {input.splits:q} \
            --stores {input.stores:q} \
            --indexes {input.indexes:q} \
            --first-weights {params.first_weights:q} \
            --training {params.training:q} \
            --input-size {params.input_sizes} \
            --seed {params.seed} \
            --threads 1 \
            --together {threads} \
            --results "$(dirname {input.splits:q})" \
            --checkpoints {resources.checkpoints:q}
        """
