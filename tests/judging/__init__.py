"""What all judges share: running tests under the stock import and with pye, and telling and explaining what differs."""
