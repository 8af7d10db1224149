"""Other packages' interfaces over masklet, so that code written for them runs by changing an import."""
