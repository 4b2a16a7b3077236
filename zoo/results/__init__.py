"""What was measured: records, the ledger that keeps them, and the verdicts, tables and reports made of them."""
