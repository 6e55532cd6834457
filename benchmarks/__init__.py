"""What snapkit costs, and what the alternatives cost, measured from the client: python -m benchmarks."""
