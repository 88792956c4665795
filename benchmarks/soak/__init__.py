"""`make soak`: a mesh that people use for long; nothing may grow, and all is accounted for."""
