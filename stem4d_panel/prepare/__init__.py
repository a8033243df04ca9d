"""From the measured scan to the frames that are factorised."""

from stem4d_panel.prepare.chain import prepare_steps
from stem4d_panel.prepare.frames import Frames, Look
from stem4d_panel.prepare.look import look_steps
from stem4d_panel.prepare.survey import Survey, survey_steps

__all__ = ["Frames", "Look", "Survey", "look_steps", "prepare_steps", "survey_steps"]
