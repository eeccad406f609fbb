# Needs: the stores of a corpus and the certificate of its audit. Makes: pretrained/{init}/{backbone}/weights.safetensors.


rule pretrain:
    input:
        patients=f"{CORPUS}/patients.csv",
        certificate=f"{CORPUS}/audit/certificate.json",
        stores=lambda wildcards: expand(
            f"{CORPUS}/images/{{modality}}.npy",
            init=wildcards.init,
            modality=CORPORA[wildcards.init].corpus.modalities,
        ),
        indexes=lambda wildcards: expand(
            f"{CORPUS}/images/{{modality}}.csv",
            init=wildcards.init,
            modality=CORPORA[wildcards.init].corpus.modalities,
        ),
    output:
        # `update`: a fit that is there and has the same recipe is kept.
        weights=update(f"{PRETRAINED}/weights.safetensors"),
        history=update(f"{PRETRAINED}/history.csv"),
        run=update(f"{PRETRAINED}/run.json"),
    log:
        f"{LOGS}/pretrain/{{init}}/{{backbone}}.log",
    benchmark:
        f"{BENCHMARKS}/pretrain/{{init}}/{{backbone}}.tsv"
    threads: REQUESTS["pretrain"].cpus
    resources:
        gpu=REQUESTS["pretrain"].gpus,
        mem_mb=lambda wildcards, attempt: REQUESTS["pretrain"].mem_mb * attempt,
        runtime=lambda wildcards, attempt: REQUESTS["pretrain"].minutes * attempt,
        checkpoints=CHECKPOINTS,
    params:
        classes=lambda wildcards: CORPORA[wildcards.init].corpus.classes,
        modalities=lambda wildcards: CORPORA[wildcards.init].corpus.modalities,
        training=lambda wildcards: CORPORA[wildcards.init].training.model_dump_json(),
        input_size=lambda wildcards: SIZES[wildcards.backbone],
        inner_fraction=STUDY.splits.inner_fraction,
        seed=STUDY.seed,
        results=lambda wildcards, output: RESULTS,
    shell:
        r"""
        sonogrid --log {log:q} pretrain \
            --backbone {wildcards.backbone:q} \
            --init {wildcards.init:q} \
            --classes {params.classes:q} \
            --modalities {params.modalities:q} \
            --patients {input.patients:q} \
            --certificate {input.certificate:q} \
            --stores {input.stores:q} \
            --indexes {input.indexes:q} \
            --training {params.training:q} \
            --input-size {params.input_size} \
            --inner-fraction {params.inner_fraction} \
            --seed {params.seed} \
            --threads {threads} \
            --results {params.results:q} \
            --checkpoints {resources.checkpoints:q}
        """
