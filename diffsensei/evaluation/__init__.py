"""The benchmark of the paper (section 5.1): a frozen set of panels, five metrics, and how sure each number is."""
