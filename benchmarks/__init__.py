"""Load generators and measurements; what they measured stands in `RESULTS.md`."""
