"""The study as typed objects, one module per section of config.yaml."""
