//! The agent: what the kernel side saw, made into operations, decisions and limits.
