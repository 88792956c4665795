"""One regional bridge: a selective forwarding unit on one UDP port, and its ends of the trunks."""
