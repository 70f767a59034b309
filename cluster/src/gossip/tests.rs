//! Gossip over real sockets of this machine, and a hundred nodes in virtual time.

mod datagrams;
mod hundred;
mod sockets;
