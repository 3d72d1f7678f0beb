"""Contract to thin assets, checks, jobs and schedules; nothing else."""
