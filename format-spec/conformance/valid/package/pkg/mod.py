# not told of: it has a record
