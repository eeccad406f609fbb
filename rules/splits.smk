# Needs: patients and manifest. Makes: splits.csv, the one place that says who is in which fold and part.


rule splits:
    input:
        [str(STUDY.splits.official.file)] if STUDY.splits.official else [],
        patients=LAYOUT.cohort.patients,
        manifest=LAYOUT.cohort.manifest,
    output:
        LAYOUT.splits,
    log:
        LAYOUT.log("splits"),
    benchmark:
        LAYOUT.benchmark("splits")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        study=part("splits"),
    shell:
        r"""
        sonogrid --log {log:q} splits \
            --study - \
            <<<{params.study:q}
        """
