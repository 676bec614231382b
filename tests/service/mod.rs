//! Running as a service: roles, readiness, several workers, service managers, shutdown.

mod alerts;
mod batches;
mod hang_up;
mod notify;
mod pause;
mod ready;
mod roles;
mod stop;
mod tls;
mod workers;
