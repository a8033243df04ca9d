"""The scan: its axes, calibration, readers, and the built-in simulated sample."""
