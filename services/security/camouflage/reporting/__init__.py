"""What is made of the measures: report, page, pictures, advice, and a set to harden a detector with."""
