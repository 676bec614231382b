mod console;
mod sse;
