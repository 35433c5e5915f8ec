"""The human preference study (paper, section 5.1 and Fig. 5): blinded page sets, votes that are not lost, an analysis
that says how sure it is."""
