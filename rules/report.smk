# Needs: metrics.csv, effects.csv, the merged predictions and the Grad-CAM panels. Makes: tables, figures, report.html.
# Histories and run records of the cells are read too: the job that makes a cell's predictions makes them with it.


rule tables:
    input:
        metrics=LAYOUT.metrics,
        effects=LAYOUT.effects,
    output:
        TABLE_FILES,
    log:
        LAYOUT.log("tables"),
    benchmark:
        LAYOUT.benchmark("tables")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        study=part("tables"),
    shell:
        r"""
        sonogrid --log {log:q} tables \
            --study {params.study:q}
        """


rule figures:
    input:
        patients=LAYOUT.cohort.patients,
        metrics=LAYOUT.metrics,
        effects=LAYOUT.effects,
        predictions=LAYOUT.predictions,
        stores=stores(LAYOUT.cohort, GRID.axes["modality"]),
    output:
        FIGURE_FILES,
    log:
        LAYOUT.log("figures"),
    benchmark:
        LAYOUT.benchmark("figures")
    threads: REQUESTS["figures"].cpus
    resources:
        mem_mb=lambda wildcards, attempt: REQUESTS["figures"].mem_mb * attempt,
        runtime=lambda wildcards, attempt: REQUESTS["figures"].minutes * attempt,
    params:
        study=part("figures"),
    shell:
        r"""
        sonogrid --log {log:q} figures \
            --study {params.study:q}
        """


rule report:
    input:
        CEILING,
        metrics=LAYOUT.metrics,
        effects=LAYOUT.effects,
        figures=FIGURE_FILES,
        panels=ALL_PANEL_FILES,
    output:
        report(LAYOUT.report, caption="../workflow/report/report.rst", category="Report"),
    log:
        LAYOUT.log("report"),
    benchmark:
        LAYOUT.benchmark("report")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        study=part("report"),
    shell:
        r"""
        sonogrid --log {log:q} report \
            --study {params.study:q}
        """
