# Needs: the stores of a corpus. Makes: pretrained/{init}/{backbone}/weights.safetensors.


rule pretrain:
    input:
        patients=f"{CORPUS}/patients.csv",
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
        weights=f"{PRETRAINED}/weights.safetensors",
        history=f"{PRETRAINED}/history.csv",
        run=f"{PRETRAINED}/run.json",
    log:
        f"{LOGS}/pretrain/{{init}}/{{backbone}}.log",
    benchmark:
        f"{BENCHMARKS}/pretrain/{{init}}/{{backbone}}.tsv"
    threads: 1
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 480 * attempt,
    params:
        classes=lambda wildcards: CORPORA[wildcards.init].corpus.classes,
        modalities=lambda wildcards: CORPORA[wildcards.init].corpus.modalities,
        training=lambda wildcards: CORPORA[wildcards.init].training.model_dump_json(),
        input_size=lambda wildcards: SIZES[wildcards.backbone],
        inner_fraction=STUDY.splits.inner_fraction,
        seed=STUDY.seed,
    shell:
        r"""
        sonogrid --log {log:q} pretrain \
            --backbone {wildcards.backbone:q} \
            --init {wildcards.init:q} \
            --classes {params.classes:q} \
            --modalities {params.modalities:q} \
            --patients {input.patients:q} \
            --stores {input.stores:q} \
            --indexes {input.indexes:q} \
            --training {params.training:q} \
            --input-size {params.input_size} \
            --inner-fraction {params.inner_fraction} \
            --seed {params.seed} \
            --threads {threads} \
            --out "$(dirname {output.run:q})"
        """
