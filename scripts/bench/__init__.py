"""What scripts/bench_search measures searches with: problems, a simulator, peers, figures."""
