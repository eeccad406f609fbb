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
    threads: REQUESTS["evaluate"].cpus
    resources:
        mem_mb=lambda wildcards, attempt: REQUESTS["evaluate"].mem_mb * attempt,
        runtime=lambda wildcards, attempt: REQUESTS["evaluate"].minutes * attempt,
    params:
        study=lambda wildcards: SCORED.model_copy(update={"explain": Explain()}).model_dump_json(),
    shell:
        r"""
        sonogrid --log {log:q} evaluate \
            --study {params.study:q}
        """
