"""The whole grid backbone x init x modality x fold, from pictures to a report. Run: snakemake --cores all"""

from snakemake.utils import min_version

min_version("9.14")


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
        RUNS,
        [f"{RESULTS}/{name}.csv" for name in ("metrics", "effects", "predictions")],
        TABLE_FILES,
        FIGURE_FILES,
        PANEL_FILES,
        f"{RESULTS}/report.html",


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
    try:
        certain = claim(Path.cwd())
        if workflow.executor_plugin.name == "slurm":
            ended = cancel_orphans(Path.cwd(), "sonogrid", certain)
            if ended:
                print(f"Ended {len(ended)} job(s) that an earlier run left: {', '.join(ended)}", file=sys.stderr)
            quick_check(load_site(), REQUESTS)
    except InputError as error:
        raise WorkflowError(str(error)) from None


onerror:
    print(
        "A job failed. What went wrong stands above, and at the end of the job's file below "
        f"{LOGS}/. Finished cells are kept: type the same command to go on."
    )
