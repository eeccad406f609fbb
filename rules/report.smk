# Needs: metrics.csv, effects.csv, the merged predictions and the Grad-CAM panels. Makes: tables, figures, report.html.
# Histories and run records of the cells are read too: the job that makes a cell's predictions makes them with it.


rule tables:
    input:
        metrics=f"{RESULTS}/metrics.csv",
        effects=f"{RESULTS}/effects.csv",
    output:
        [
            report(f"{RESULTS}/tables/{table}.html", caption=f"../workflow/report/{table}.rst", category="Tables")
            for table in TABLES
        ],
        expand(f"{RESULTS}/tables/{{table}}.{{kind}}", table=TABLES, kind=("csv", "md", "tex")),
    log:
        f"{LOGS}/tables.log",
    benchmark:
        f"{BENCHMARKS}/tables.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        study=lambda wildcards: SCORED.model_dump_json(),
    shell:
        r"""
        sonogrid --log {log:q} tables \
            --study {params.study:q}
        """


rule figures:
    input:
        patients=f"{RESULTS}/cohort/patients.csv",
        metrics=f"{RESULTS}/metrics.csv",
        effects=f"{RESULTS}/effects.csv",
        predictions=f"{RESULTS}/predictions.csv",
        stores=STORES,
    output:
        [
            report(f"{RESULTS}/figures/{figure}.png", caption=f"../workflow/report/{caption}.rst", category="Figures")
            for figure, caption in FIGURES.items()
        ],
        expand(f"{RESULTS}/figures/{{figure}}.svg", figure=FIGURES),
    log:
        f"{LOGS}/figures.log",
    benchmark:
        f"{BENCHMARKS}/figures.tsv"
    threads: REQUESTS["figures"].cpus
    resources:
        mem_mb=lambda wildcards, attempt: REQUESTS["figures"].mem_mb * attempt,
        runtime=lambda wildcards, attempt: REQUESTS["figures"].minutes * attempt,
    params:
        study=lambda wildcards: SCORED.model_dump_json(),
    shell:
        r"""
        sonogrid --log {log:q} figures \
            --study {params.study:q}
        """


rule report:
    input:
        CEILING,
        metrics=f"{RESULTS}/metrics.csv",
        effects=f"{RESULTS}/effects.csv",
        figures=FIGURE_FILES,
        panels=PANEL_FILES,
    output:
        report(f"{RESULTS}/report.html", caption="../workflow/report/report.rst", category="Report"),
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        study=lambda wildcards: SCORED.model_dump_json(),
    shell:
        r"""
        sonogrid --log {log:q} report \
            --study {params.study:q}
        """
