//! What CPython would refuse beyond the grammar.
