# Needs: a node like those that train. Makes: rates.csv, from which `sonogrid plan` computes GPU-hours; not part of `all`.


rule rates:
    output:
        LAYOUT.rates,
    log:
        LAYOUT.log("rates"),
    benchmark:
        LAYOUT.benchmark("rates")
    threads: REQUESTS["rates"].cpus
    resources:
        gpu=REQUESTS["rates"].gpus,
        mem_mb=lambda wildcards, attempt: REQUESTS["rates"].mem_mb_at(attempt),
        runtime=lambda wildcards, attempt: REQUESTS["rates"].minutes_at(attempt),
    params:
        study=part("rates"),
    shell:
        r"""
        sonogrid --log {log:q} rates \
            --study - \
            --threads {threads} \
            <<<{params.study:q}
        """
