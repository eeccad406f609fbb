"""The whole grid backbone x init x modality x seed x fold, from pictures to a report. Run: snakemake --cores all"""

from snakemake.utils import min_version

min_version("9.17")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


# Used with `--software-deployment-method apptainer`; built by: apptainer build envs/sonogrid.sif envs/sonogrid.def
container: "envs/sonogrid.sif"


include: "rules/common.smk"


# Seconds on the machine where Snakemake runs, instead of a wait in a queue.
localrules:
    all,
    splits,
    tables,
    report,


rule all:
    default_target: True
    input:
        # run.json is written last, so listing it as a target detects a deleted cell.
        [LAYOUT.run(cell) for cell in GRID.cells()],
        LAYOUT.metrics,
        LAYOUT.effects,
        LAYOUT.predictions,
        LAYOUT.report,
        exhibits.files_of(exhibits.exhibits_of(STUDY), STUDY),


include: "rules/cohort.smk"
include: "rules/images.smk"
include: "rules/splits.smk"
include: "rules/audit.smk"
include: "rules/pretrain.smk"
include: "rules/rates.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/explain.smk"
include: "rules/report.smk"


onstart:
    start_head(Path.cwd(), workflow, REQUESTS)


onerror:
    print(
        "A job failed. What went wrong is above, and at the end of the job's file below "
        f"{STUDY.results}/logs/. Finished cells are kept: type the same command to go on."
    )
