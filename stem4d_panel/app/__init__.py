"""The workbench: views, controls and serving."""
