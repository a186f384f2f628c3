"""What every other folder uses: failures, forks, native threads, masking, values."""
