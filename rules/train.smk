# Needs: a store, splits.csv and the first weights. Makes: one cell of the grid.


rule train:
    input:
        patients=f"{RESULTS}/cohort/patients.csv",
        splits=f"{RESULTS}/splits.csv",
        store=f"{RESULTS}/images/{{modality}}.npy",
        index=f"{RESULTS}/images/{{modality}}.csv",
        weights=lambda wildcards: WEIGHTS[wildcards.init, wildcards.backbone],
    output:
        model=f"{CELLS}/model.safetensors",
        history=f"{CELLS}/history.csv",
        predictions=f"{CELLS}/predictions.csv",
        run=f"{CELLS}/run.json",
    log:
        f"{LOGS}/train/{{backbone}}/{{init}}/{{modality}}/fold{{fold}}.log",
    benchmark:
        f"{BENCHMARKS}/train/{{backbone}}/{{init}}/{{modality}}/fold{{fold}}.tsv"
    threads: 1
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        classes=STUDY.cohort.classes,
        source=lambda wildcards: STUDY.inits[wildcards.init].source,
        training=lambda wildcards: STUDY.training.model_dump_json(),
        input_size=lambda wildcards: SIZES[wildcards.backbone],
        seed=STUDY.seed,
    shell:
        r"""
        sonogrid --log {log:q} train \
            --backbone {wildcards.backbone:q} \
            --init {wildcards.init:q} \
            --modality {wildcards.modality:q} \
            --fold {wildcards.fold} \
            --classes {params.classes:q} \
            --patients {input.patients:q} \
            --splits {input.splits:q} \
            --store {input.store:q} \
            --index {input.index:q} \
            --init-source {params.source} \
            --weights {input.weights:q} \
            --training {params.training:q} \
            --input-size {params.input_size} \
            --seed {params.seed} \
            --threads {threads} \
            --out "$(dirname {output.run:q})"
        """
