# no identifier, but import_module finds it
