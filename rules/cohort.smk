# Needs: the source pictures named in the config (or nothing, for a simulated cohort).
# Makes: cohort/patients.csv and cohort/manifest.csv, and the same for every pre-training corpus.


rule cohort:
    input:
        tables=SOURCES,
    output:
        patients=f"{RESULTS}/cohort/patients.csv",
        manifest=f"{RESULTS}/cohort/manifest.csv",
        refused=f"{RESULTS}/cohort/refused.csv",
        ceiling=CEILING,
    log:
        f"{LOGS}/cohort.log",
    benchmark:
        f"{BENCHMARKS}/cohort.tsv"
    threads: REQUESTS["cohort"].cpus
    resources:
        mem_mb=lambda wildcards, attempt: REQUESTS["cohort"].mem_mb * attempt,
        runtime=lambda wildcards, attempt: REQUESTS["cohort"].minutes * attempt,
    params:
        identity="--name study",
        cohort=lambda wildcards: STUDY.cohort.used().model_dump_json(exclude_none=True),
        seed=STUDY.seed,
    shell:
        r"""
        sonogrid --log {log:q} cohort \
            --cohort {params.cohort:q} \
            {params.identity} \
            --seed {params.seed} \
            --workers {threads} \
            --out "$(dirname {output.manifest:q})"
        """


use rule cohort as corpus_cohort with:
    input:
        tables=lambda wildcards: CORPUS_SOURCES[wildcards.init],
    output:
        patients=f"{CORPUS}/patients.csv",
        manifest=f"{CORPUS}/manifest.csv",
        refused=f"{CORPUS}/refused.csv",
    log:
        f"{LOGS}/corpus_cohort/{{init}}.log",
    benchmark:
        f"{BENCHMARKS}/corpus_cohort/{{init}}.tsv"
    params:
        identity=lambda wildcards: f"--name {wildcards.init}",
        cohort=lambda wildcards: CORPORA[wildcards.init].corpus.used().model_dump_json(exclude_none=True),
        seed=STUDY.seed,
