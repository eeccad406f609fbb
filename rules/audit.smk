# Needs: patients, manifest, splits and stores. Makes: audit/certificate.json, without which nothing is trained, and the
# same for every pre-training corpus. When findings stop the workflow, they are in audit/ all the same.


rule audit:
    input:
        patients=LAYOUT.cohort.patients,
        manifest=LAYOUT.cohort.manifest,
        refused=LAYOUT.cohort.refused,
        splits=LAYOUT.splits,
        stores=stores(LAYOUT.cohort, GRID.axes["modality"]),
    output:
        LAYOUT.cohort.certificate,
    log:
        LAYOUT.log("audit"),
    benchmark:
        LAYOUT.benchmark("audit")
    threads: REQUESTS["audit"].cpus
    resources:
        mem_mb=lambda wildcards, attempt: REQUESTS["audit"].mem_mb_at(attempt),
        runtime=lambda wildcards, attempt: REQUESTS["audit"].minutes_at(attempt),
    params:
        study=part("audit"),
        corpus="",
    shell:
        r"""
        sonogrid --log {log:q} audit \
            --study - \
            --workers {threads} {params.corpus} \
            <<<{params.study:q}
        """


use rule audit as corpus_audit with:
    input:
        cohort=LAYOUT.cohort.manifest,
        cohort_stores=stores(LAYOUT.cohort, GRID.axes["modality"]),
        patients=CORPUS.patients,
        manifest=CORPUS.manifest,
        refused=CORPUS.refused,
        stores=lambda wildcards: stores(LAYOUT.corpus(wildcards.init), STUDY.cohort_of(wildcards.init).modalities),
    output:
        CORPUS.certificate,
    log:
        LAYOUT.log("corpus_audit", "{init}"),
    benchmark:
        LAYOUT.benchmark("corpus_audit", "{init}")
    params:
        study=part("corpus_audit"),
        corpus="--corpus {init}",
