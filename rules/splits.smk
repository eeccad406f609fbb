# Needs: patients.csv and manifest.csv. Makes: splits.csv, the one place that says who is in which fold and part.


rule splits:
    input:
        patients=f"{RESULTS}/cohort/patients.csv",
        manifest=f"{RESULTS}/cohort/manifest.csv",
        official=OFFICIAL,
    output:
        f"{RESULTS}/splits.csv",
    log:
        f"{LOGS}/splits.log",
    benchmark:
        f"{BENCHMARKS}/splits.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        splits=lambda wildcards: STUDY.splits.model_dump_json(exclude_none=True),
        seed=STUDY.seed,
    shell:
        r"""
        sonogrid --log {log:q} splits \
            --cohort "$(dirname {input.manifest:q})" \
            --splits {params.splits:q} \
            --seed {params.seed} \
            --out {output:q}
        """
