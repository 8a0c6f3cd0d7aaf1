//! Configuration: the file as written, the settings as meant, and all problems at once.
