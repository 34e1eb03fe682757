"""What the table of models' largest outputs is made from: `make facts`, never run in CI."""
