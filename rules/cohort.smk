# Needs: the source pictures named in the config (or nothing, for a simulated cohort).
# Makes: patients, manifest and refused files of the study's cohort, and of every pre-training corpus.


rule cohort:
    input:
        STUDY.cohort.source_files,
    output:
        patients=LAYOUT.cohort.patients,
        manifest=LAYOUT.cohort.manifest,
        refused=LAYOUT.cohort.refused,
        ceiling=[LAYOUT.cohort.ceiling] if STUDY.cohort.simulated else [],
    log:
        LAYOUT.log("cohort"),
    benchmark:
        LAYOUT.benchmark("cohort")
    threads: REQUESTS["cohort"].cpus
    resources:
        mem_mb=lambda wildcards, attempt: REQUESTS["cohort"].mem_mb_at(attempt),
        runtime=lambda wildcards, attempt: REQUESTS["cohort"].minutes_at(attempt),
    params:
        study=part("cohort"),
        corpus="",
    shell:
        r"""
        sonogrid --log {log:q} cohort \
            --study - \
            --workers {threads} {params.corpus} \
            <<<{params.study:q}
        """


use rule cohort as corpus_cohort with:
    input:
        lambda wildcards: STUDY.cohort_of(wildcards.init).source_files,
    output:
        patients=CORPUS.patients,
        manifest=CORPUS.manifest,
        refused=CORPUS.refused,
    log:
        LAYOUT.log("corpus_cohort", "{init}"),
    benchmark:
        LAYOUT.benchmark("corpus_cohort", "{init}")
    params:
        study=part("corpus_cohort"),
        corpus="--corpus {init}",
