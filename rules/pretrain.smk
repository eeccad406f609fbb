# Needs: the stores of a corpus and the certificate of its audit.
# Makes: the weights of a pre-training per init, backbone and seed.


rule pretrain:
    input:
        patients=CORPUS.patients,
        certificate=CORPUS.certificate,
        stores=lambda wildcards: stores(LAYOUT.corpus(wildcards.init), STUDY.cohort_of(wildcards.init).modalities),
    output:
        # `update`: a fit that is there and has the same recipe is kept.
        update([LAYOUT.pretrained(*ANY_PRETRAINING) / name for name in PRETRAINED_FILES]),
    log:
        LAYOUT.log("pretrain", "{init}", "{backbone}", "seed{seed}"),
    benchmark:
        LAYOUT.benchmark("pretrain", "{init}", "{backbone}", "seed{seed}")
    threads: REQUESTS["pretrain"].cpus
    resources:
        gpu=REQUESTS["pretrain"].gpus,
        mem_mb=lambda wildcards, attempt: REQUESTS["pretrain"].mem_mb_at(attempt),
        runtime=lambda wildcards, attempt: REQUESTS["pretrain"].minutes_at(attempt),
        checkpoints=str(LAYOUT.checkpoints),
    params:
        study=part("pretrain"),
    shell:
        r"""
        sonogrid --log {log:q} pretrain \
            --study - \
            --init {wildcards.init:q} \
            --backbone {wildcards.backbone:q} \
            --seed {wildcards.seed} \
            --threads {threads} \
            --checkpoints {resources.checkpoints:q} \
            <<<{params.study:q}
        """
