# Needs: stores, splits.csv, the certificate of the audit and the first weights.
# Makes: the cells of a job, by default one cell of the grid.


rule train:
    input:
        patients=LAYOUT.cohort.patients,
        splits=LAYOUT.splits,
        certificate=LAYOUT.cohort.certificate,
        stores=stores(LAYOUT.cohort, BOX["modality"]),
        weights=lambda wildcards: [
            file
            for point in product(*(values(axis, wildcards) for axis in ("init", "backbone", "seed")))
            if (file := first_weights(STUDY, *point)) is not None
        ],
    output:
        # `update`: a job begins with what is there, so that it can keep cells that are done with the same recipe.
        update([LAYOUT.cell(cell) / name for cell in JOB for name in CELL_FILES]),
    log:
        LAYOUT.log("train", *JOB_NAME),
    benchmark:
        LAYOUT.benchmark("train", *JOB_NAME)
    threads: REQUESTS["train"].cpus
    resources:
        gpu=REQUESTS["train"].gpus,
        mem_mb=lambda wildcards, attempt: REQUESTS["train"].mem_mb_at(attempt),
        runtime=lambda wildcards, attempt: REQUESTS["train"].minutes_at(attempt),
        checkpoints=str(LAYOUT.checkpoints),
    params:
        study=part("train"),
        axes=" ".join(word for axis in AXES for word in (f"--{axis}", *map(str, BOX[axis]))),
    shell:
        r"""
        sonogrid --log {log:q} train \
            --study - \
            {params.axes} \
            --threads 1 \
            --together {threads} \
            --checkpoints {resources.checkpoints:q} \
            <<<{params.study:q}
        """
