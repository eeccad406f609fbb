# Needs: a manifest. Makes: one memory-mapped store of canonical pictures a modality.


rule images:
    input:
        manifest=f"{RESULTS}/cohort/manifest.csv",
        patients=f"{RESULTS}/cohort/patients.csv",
    output:
        # `update`: canvases of pictures that are as they were are taken from the store that is there (a job that fails loses it).
        store=update(f"{RESULTS}/images/{{modality}}.npy"),
        index=update(f"{RESULTS}/images/{{modality}}.csv"),
    log:
        f"{LOGS}/images/{{modality}}.log",
    benchmark:
        f"{BENCHMARKS}/images/{{modality}}.tsv"
    threads: REQUESTS["images"].cpus
    resources:
        mem_mb=lambda wildcards, attempt: REQUESTS["images"].mem_mb * attempt,
        runtime=lambda wildcards, attempt: REQUESTS["images"].minutes * attempt,
    params:
        canvas=lambda wildcards: STUDY.images.canvas(wildcards.modality, STUDY.cohort.layouts).model_dump_json(),
    shell:
        r"""
        sonogrid --log {log:q} images \
            --manifest {input.manifest:q} \
            --modality {wildcards.modality:q} \
            --canvas {params.canvas:q} \
            --workers {threads} \
            --store {output.store:q} \
            --index {output.index:q}
        """


use rule images as corpus_images with:
    input:
        manifest=f"{CORPUS}/manifest.csv",
        patients=f"{CORPUS}/patients.csv",
    output:
        store=update(f"{CORPUS}/images/{{modality}}.npy"),
        index=update(f"{CORPUS}/images/{{modality}}.csv"),
    log:
        f"{LOGS}/corpus_images/{{init}}/{{modality}}.log",
    benchmark:
        f"{BENCHMARKS}/corpus_images/{{init}}/{{modality}}.tsv"
    params:
        canvas=lambda wildcards: (
            STUDY.images.canvas(wildcards.modality, CORPORA[wildcards.init].corpus.layouts).model_dump_json()
        ),
