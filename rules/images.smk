# Needs: a manifest. Makes: one memory-mapped store of canonical pictures a modality.


rule images:
    input:
        manifest=f"{RESULTS}/cohort/manifest.csv",
        patients=f"{RESULTS}/cohort/patients.csv",
    output:
        store=f"{RESULTS}/images/{{modality}}.npy",
        index=f"{RESULTS}/images/{{modality}}.csv",
    log:
        f"{LOGS}/images/{{modality}}.log",
    benchmark:
        f"{BENCHMARKS}/images/{{modality}}.tsv"
    threads: REQUESTS["images"].cpus
    resources:
        mem_mb=lambda wildcards, attempt: REQUESTS["images"].mem_mb * attempt,
        runtime=lambda wildcards, attempt: REQUESTS["images"].minutes * attempt,
    params:
        size=STUDY.images.size,
    shell:
        r"""
        sonogrid --log {log:q} images \
            --manifest {input.manifest:q} \
            --modality {wildcards.modality:q} \
            --size {params.size} \
            --workers {threads} \
            --store {output.store:q} \
            --index {output.index:q}
        """


use rule images as corpus_images with:
    input:
        manifest=f"{CORPUS}/manifest.csv",
        patients=f"{CORPUS}/patients.csv",
    output:
        store=f"{CORPUS}/images/{{modality}}.npy",
        index=f"{CORPUS}/images/{{modality}}.csv",
    log:
        f"{LOGS}/corpus_images/{{init}}/{{modality}}.log",
    benchmark:
        f"{BENCHMARKS}/corpus_images/{{init}}/{{modality}}.tsv"
