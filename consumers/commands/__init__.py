"""The commands of `consume`, a file each: with `__main__` the only place that reads settings and joins the parts."""
