# Needs: every cell's predictions. Makes: metrics.csv, effects.csv and the merged predictions.csv.


rule evaluate:
    input:
        manifest=f"{RESULTS}/cohort/manifest.csv",
        patients=f"{RESULTS}/cohort/patients.csv",
        splits=f"{RESULTS}/splits.csv",
        predictions=PREDICTIONS,
    output:
        metrics=f"{RESULTS}/metrics.csv",
        effects=f"{RESULTS}/effects.csv",
        predictions=f"{RESULTS}/predictions.csv",
    log:
        f"{LOGS}/evaluate.log",
    benchmark:
        f"{BENCHMARKS}/evaluate.tsv"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        study=lambda wildcards: SCORED.model_copy(update={"explain": Explain()}).model_dump_json(),
    shell:
        r"""
        sonogrid --log {log:q} evaluate \
            --study {params.study:q}
        """
