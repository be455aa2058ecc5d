"""Side-by-side runs; what counts is the ratio of two times from the same run."""
