"""From classes to numbers: sizes, orientation, fractions; and the recovery of a known truth."""
