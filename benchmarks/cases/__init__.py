"""What `make bench` measures, a file for each kind of question; `benchmarks.bench` runs them."""
