"""Models that somebody runs elsewhere and an operator has registered with the owner's statement: what is registered,
and how they are asked. A library of this domain; capabilities add what their endpoints answer.
"""
