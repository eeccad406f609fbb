# Needs: a node like those that train. Makes: rates.csv, from which `sonogrid plan` computes GPU-hours; not part of `all`.


rule rates:
    output:
        f"{RESULTS}/rates.csv",
    log:
        f"{LOGS}/rates.log",
    benchmark:
        f"{BENCHMARKS}/rates.tsv"
    threads: 1
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: (20 + 3 * len(GRID.backbones) * (1 + len(CORPORA))) * attempt,
    params:
        study=lambda wildcards: STUDY.model_dump_json(),
    shell:
        r"""
        sonogrid --log {log:q} rates \
            --study {params.study:q} \
            --seconds 20 \
            --threads {threads} \
            --out {output:q}
        """
