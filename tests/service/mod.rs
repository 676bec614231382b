//! Running it on servers: roles, readiness, several workers, service managers, stops.

mod alerts;
mod hang_up;
mod notify;
mod ready;
mod roles;
mod stop;
mod workers;
