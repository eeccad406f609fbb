# Needs: a manifest. Makes: one memory-mapped store of canvases per modality.


rule images:
    input:
        manifest=LAYOUT.cohort.manifest,
        patients=LAYOUT.cohort.patients,
    output:
        # `update`: canvases of unchanged pictures are taken from the store that is there (a job that fails loses it).
        store=update(LAYOUT.cohort.store("{modality}")),
        index=update(LAYOUT.cohort.index("{modality}")),
    log:
        LAYOUT.log("images", "{modality}"),
    benchmark:
        LAYOUT.benchmark("images", "{modality}")
    threads: REQUESTS["images"].cpus
    resources:
        mem_mb=lambda wildcards, attempt: REQUESTS["images"].mem_mb_at(attempt),
        runtime=lambda wildcards, attempt: REQUESTS["images"].minutes_at(attempt),
    params:
        study=part("images"),
        corpus="",
    shell:
        r"""
        sonogrid --log {log:q} images \
            --study - \
            --modality {wildcards.modality:q} \
            --workers {threads} {params.corpus} \
            <<<{params.study:q}
        """


use rule images as corpus_images with:
    input:
        manifest=CORPUS.manifest,
        patients=CORPUS.patients,
    output:
        store=update(CORPUS.store("{modality}")),
        index=update(CORPUS.index("{modality}")),
    log:
        LAYOUT.log("corpus_images", "{init}", "{modality}"),
    benchmark:
        LAYOUT.benchmark("corpus_images", "{init}", "{modality}")
    params:
        study=part("corpus_images"),
        corpus="--corpus {init}",
