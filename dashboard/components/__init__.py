"""The parts of the pages: they own the widgets."""
