"""Making the released reference detector out of published weights, and measuring it where it was not trained."""
