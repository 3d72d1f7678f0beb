"""One step's life: admit, launch, watch, verdict, report."""
