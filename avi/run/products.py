"""The things that a run makes at its end, in their order: a new one is a line here."""

from avi.run import cost, measure, parts, snapshot, topics

PRODUCTS = (cost.PRODUCT, parts.PRODUCT, snapshot.PRODUCT, topics.PRODUCT, measure.PRODUCT)
