"""What is read: records, published numbers, and the pages made of them."""

from reports import environment

environment.require()
