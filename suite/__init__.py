"""How the comparison is run: data, recipes, training, cells, records."""

from reports import environment

environment.require()
