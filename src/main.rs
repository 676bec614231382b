//! The command `bklit-tui`.

fn main() {}
