"""What is measured: accuracy, speed, memory, complexity, and the hardware it was measured on."""
