# Needs: the models of every fold of a backbone and init. Makes: its Grad-CAM panel.


rule explain:
    input:
        manifest=LAYOUT.cohort.manifest,
        patients=LAYOUT.cohort.patients,
        stores=stores(LAYOUT.cohort, GRID.axes["modality"]),
        # The predictions are read too: the job that makes a cell's model makes them with it.
        models=PANEL_MODELS,
    output:
        PANEL_FILES,
    log:
        LAYOUT.log("explain", "{backbone}_{init}"),
    benchmark:
        LAYOUT.benchmark("explain", "{backbone}_{init}")
    threads: REQUESTS["explain"].cpus
    resources:
        gpu=REQUESTS["explain"].gpus,
        mem_mb=lambda wildcards, attempt: REQUESTS["explain"].mem_mb * attempt,
        runtime=lambda wildcards, attempt: REQUESTS["explain"].minutes * attempt,
    params:
        study=part("explain"),
    shell:
        r"""
        sonogrid --log {log:q} explain \
            --study {params.study:q} \
            --backbone {wildcards.backbone:q} \
            --init {wildcards.init:q}
        """
