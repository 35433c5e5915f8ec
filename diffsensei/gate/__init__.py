"""Whether a candidate may be released: claims tested on the benchmark's items, and a certificate anyone can check."""
