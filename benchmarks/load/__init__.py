"""The load generator: many clients with real ICE, DTLS and SRTP, and made-up media."""
