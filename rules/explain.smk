# Needs: the models of every fold of a backbone and init. Makes: its Grad-CAM panel.


rule explain:
    input:
        manifest=f"{RESULTS}/cohort/manifest.csv",
        patients=f"{RESULTS}/cohort/patients.csv",
        stores=STORES,
        # The predictions are read too: the job that makes a cell's model makes them with it.
        models=expand(
            f"{CELLS}/model.safetensors", modality=GRID.modalities, fold=range(GRID.folds), allow_missing=True
        ),
    output:
        png=report(
            f"{RESULTS}/figures/gradcam_{{backbone}}_{{init}}.png",
            caption="../workflow/report/gradcam.rst",
            category="Grad-CAM",
            labels={"backbone": "{backbone}", "init": "{init}"},
        ),
        svg=f"{RESULTS}/figures/gradcam_{{backbone}}_{{init}}.svg",
        list=f"{RESULTS}/figures/gradcam_{{backbone}}_{{init}}.csv",
    log:
        f"{LOGS}/explain/{{backbone}}_{{init}}.log",
    benchmark:
        f"{BENCHMARKS}/explain/{{backbone}}_{{init}}.tsv"
    threads: REQUESTS["explain"].cpus
    resources:
        gpu=REQUESTS["explain"].gpus,
        mem_mb=lambda wildcards, attempt: REQUESTS["explain"].mem_mb * attempt,
        runtime=lambda wildcards, attempt: REQUESTS["explain"].minutes * attempt,
    params:
        study=lambda wildcards: STUDY.for_panel(wildcards.backbone, wildcards.init).model_dump_json(),
    shell:
        r"""
        sonogrid --log {log:q} explain \
            --study {params.study:q} \
            --backbone {wildcards.backbone:q} \
            --init {wildcards.init:q}
        """
