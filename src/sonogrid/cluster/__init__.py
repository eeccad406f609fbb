"""What a job asks for, what a site offers, and talking to SLURM and Snakemake."""
