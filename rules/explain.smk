# Needs: the models of the first seed of a backbone and init. Makes: its panels.


rule explain:
    input:
        # Predictions and records are read too: the job that makes a cell's model makes them with it.
        exhibits.inputs_of(exhibits.panels_of(STUDY), STUDY),
    output:
        shown(exhibits.panels_of(STUDY)),
        [exhibit.files(STUDY)[1:] for exhibit in exhibits.panels_of(STUDY)],
    log:
        LAYOUT.log("explain", "{backbone}_{init}"),
    benchmark:
        LAYOUT.benchmark("explain", "{backbone}_{init}")
    threads: REQUESTS["explain"].cpus
    resources:
        gpu=REQUESTS["explain"].gpus,
        mem_mb=lambda wildcards, attempt: REQUESTS["explain"].mem_mb_at(attempt),
        runtime=lambda wildcards, attempt: REQUESTS["explain"].minutes_at(attempt),
    params:
        study=part("explain"),
    shell:
        r"""
        sonogrid --log {log:q} explain \
            --study - \
            --backbone {wildcards.backbone:q} \
            --init {wildcards.init:q} \
            <<<{params.study:q}
        """
