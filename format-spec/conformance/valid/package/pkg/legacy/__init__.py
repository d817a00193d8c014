# hides pkg.legacy
