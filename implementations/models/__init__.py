"""Models around any layer: classifier and dual encoder."""
