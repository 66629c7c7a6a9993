"""The main job through the real window, driven with a real pointer and real keys."""
