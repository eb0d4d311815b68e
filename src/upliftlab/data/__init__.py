"""The only place that speaks to engines: sources, ledger, moments."""
