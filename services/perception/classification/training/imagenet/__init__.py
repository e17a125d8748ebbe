"""Making the released classifier of ImageNet's classes out of published weights; torch and the registry only here."""
