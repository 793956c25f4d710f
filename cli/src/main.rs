//! `kaisar`: the command-line client.

fn main() {}
