"""What every implementation of a Protocol must do, run on each of them."""
