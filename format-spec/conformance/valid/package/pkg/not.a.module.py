# nothing imports this
