# Needs: patients, manifest, splits and stores. Makes: audit/certificate.json, without which nothing is trained, and the
# same for every pre-training corpus. When findings stop the workflow, they lie in audit/ all the same.


rule audit:
    input:
        patients=f"{RESULTS}/cohort/patients.csv",
        manifest=f"{RESULTS}/cohort/manifest.csv",
        refused=f"{RESULTS}/cohort/refused.csv",
        splits=f"{RESULTS}/splits.csv",
        stores=STORES,
    output:
        f"{RESULTS}/audit/certificate.json",
    log:
        f"{LOGS}/audit.log",
    benchmark:
        f"{BENCHMARKS}/audit.tsv"
    threads: REQUESTS["audit"].cpus
    resources:
        mem_mb=lambda wildcards, attempt: REQUESTS["audit"].mem_mb * attempt,
        runtime=lambda wildcards, attempt: REQUESTS["audit"].minutes * attempt,
    params:
        request=lambda wildcards: STUDY.audit_request().model_dump_json(),
    shell:
        r"""
        sonogrid --log {log:q} audit \
            --request {params.request:q} \
            --workers {threads}
        """


use rule audit as corpus_audit with:
    input:
        cohort=f"{RESULTS}/cohort/manifest.csv",
        cohort_stores=STORES,
        patients=f"{CORPUS}/patients.csv",
        manifest=f"{CORPUS}/manifest.csv",
        refused=f"{CORPUS}/refused.csv",
        stores=lambda wildcards: [
            f"{CORPUS}/images/{modality}.{kind}".format(init=wildcards.init)
            for modality in STUDY.corpora[wildcards.init].modalities
            for kind in ("npy", "csv")
        ],
    output:
        f"{CORPUS}/audit/certificate.json",
    log:
        f"{LOGS}/corpus_audit/{{init}}.log",
    benchmark:
        f"{BENCHMARKS}/corpus_audit/{{init}}.tsv"
    params:
        request=lambda wildcards: STUDY.audit_request(wildcards.init).model_dump_json(),
