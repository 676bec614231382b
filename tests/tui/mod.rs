mod console;
mod sse;
mod terminal;
