"""What every stage needs: errors, files, records, randomness, device."""
