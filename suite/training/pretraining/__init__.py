"""Training of encoder-decoders by span corruption, whose weights other runs start from."""
