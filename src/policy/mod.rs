//! What is asked: clients, service profiles, operations.
