//! The declaration of a property, and the reading and checking of values against it.
