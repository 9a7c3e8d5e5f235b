//! The client against an API server that counts, and that misbehaves: what is asked, what is read, and that the view is right again
//! afterwards. By plain HTTP on loopback; the server's own state is the truth.

#[cfg(test)]
#[path = "kubernetes/chaos.rs"]
mod chaos;
#[cfg(test)]
#[path = "kubernetes/counting.rs"]
mod counting;
#[cfg(test)]
#[path = "kubernetes/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "kubernetes/node.rs"]
mod node;
#[cfg(test)]
#[path = "kubernetes/server.rs"]
mod server;
#[cfg(test)]
#[path = "kubernetes/tls.rs"]
mod tls;
#[cfg(test)]
#[path = "kubernetes/world.rs"]
mod world;
