"""What every component of a kind must fulfil: identities, each tried on the component itself."""
