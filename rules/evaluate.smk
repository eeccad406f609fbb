# Needs: every cell's predictions. Makes: metrics.csv, effects.csv and the merged predictions.csv.


rule evaluate:
    input:
        manifest=LAYOUT.cohort.manifest,
        patients=LAYOUT.cohort.patients,
        splits=LAYOUT.splits,
        predictions=[LAYOUT.cell_predictions(cell) for cell in GRID.cells()],
    output:
        metrics=LAYOUT.metrics,
        effects=LAYOUT.effects,
        predictions=LAYOUT.predictions,
    log:
        LAYOUT.log("evaluate"),
    benchmark:
        LAYOUT.benchmark("evaluate")
    threads: REQUESTS["evaluate"].cpus
    resources:
        mem_mb=lambda wildcards, attempt: REQUESTS["evaluate"].mem_mb_at(attempt),
        runtime=lambda wildcards, attempt: REQUESTS["evaluate"].minutes_at(attempt),
    params:
        study=part("evaluate"),
    shell:
        r"""
        sonogrid --log {log:q} evaluate \
            --study - \
            <<<{params.study:q}
        """
