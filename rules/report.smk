# Needs: scores, predictions, stores and panels. Makes: the exhibits of reporting/exhibits.py, report.html, captions.
# Histories and run records of the cells are read too: the job that makes a cell's predictions makes them with it.


rule tables:
    input:
        exhibits.inputs_of(exhibits.tables_of(STUDY), STUDY),
    output:
        shown(exhibits.tables_of(STUDY)),
        [exhibit.files(STUDY)[1:] for exhibit in exhibits.tables_of(STUDY)],
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
            --study - \
            <<<{params.study:q}
        """


rule figures:
    input:
        exhibits.inputs_of(exhibits.figures_of(STUDY), STUDY),
    output:
        shown(exhibits.figures_of(STUDY)),
        [exhibit.files(STUDY)[1:] for exhibit in exhibits.figures_of(STUDY)],
    log:
        LAYOUT.log("figures"),
    benchmark:
        LAYOUT.benchmark("figures")
    threads: REQUESTS["figures"].cpus
    resources:
        mem_mb=lambda wildcards, attempt: REQUESTS["figures"].mem_mb_at(attempt),
        runtime=lambda wildcards, attempt: REQUESTS["figures"].minutes_at(attempt),
    params:
        study=part("figures"),
    shell:
        r"""
        sonogrid --log {log:q} figures \
            --study - \
            <<<{params.study:q}
        """


rule report:
    input:
        exhibits.report_inputs(STUDY),
    output:
        exhibits.captions_of(STUDY),
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
            --study - \
            <<<{params.study:q}
        """
