"""Models around any layer: classifier, dual encoder, language model and encoder-decoder."""
