"""Many runs: each in a process of its own, and what is seen of them from outside."""
