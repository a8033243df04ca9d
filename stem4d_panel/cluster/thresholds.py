"""The suggested threshold."""

SUGGESTED = 0.25
SUGGESTED_REASON = "a pseudo-distance of 0.25 separated the classes of the simulated scans it was tried on; no noise model stands behind it yet"
