"""The managed objects of the lab, one file for each, and what they are made of."""
